/* SPDX-License-Identifier: MIT */

/*
 * The spool: schema, opening, transactions, counts.
 *
 * All statements are prepared once. A record's text is kept until the last of its entries is
 * delivered or dropped, then its row shrinks to id, title and times, and is purged after `keep`.
 * Indexes cover only what they are asked for: waiting entries by destination, failed ones by
 * destination, done ones by time; so the history costs the delivery nothing.
 */

#include "xmpprelay/spool-internal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#define APPLICATION_ID 0x584d5052 /* "XMPR" */
#define SCHEMA_VERSION 1
#define OPEN_WAIT_USEC (2 * USEC_PER_SEC) /* for a relay that is about to end */

/* The numbers of EntryState stand in the indexes and statements below. */
static_assert(ENTRY_QUEUED == 0 && ENTRY_SENT == 1 && ENTRY_FAILED == 2 && ENTRY_DELIVERED == 3 &&
                  ENTRY_DROPPED == 4,
              "the states are part of the file's format");

/* migrations[n] brings a file from version n to n + 1. */
static const char *const migrations[SCHEMA_VERSION] = {
    "CREATE TABLE record ("
    "  number INTEGER PRIMARY KEY,"
    "  id TEXT NOT NULL UNIQUE,"
    "  uid INTEGER NOT NULL,"
    "  accepted_usec INTEGER NOT NULL,"
    "  receipt INTEGER NOT NULL,"
    "  title TEXT,"
    "  json TEXT,"        /* NULL once done */
    "  done_usec INTEGER" /* when the last entry was delivered or dropped */
    ") STRICT;"
    "CREATE TABLE entry ("
    "  seq INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  record INTEGER NOT NULL REFERENCES record (number) ON DELETE CASCADE,"
    "  destination TEXT NOT NULL,"
    "  stanza_id TEXT NOT NULL,"
    "  state INTEGER NOT NULL,"
    "  attempts INTEGER NOT NULL DEFAULT 0,"
    "  suspicion INTEGER NOT NULL DEFAULT 0,"
    "  sent_usec INTEGER,"
    "  done_usec INTEGER,"
    "  reason TEXT"
    ") STRICT;"
    "CREATE INDEX record_done ON record (done_usec) WHERE done_usec IS NOT NULL;"
    "CREATE INDEX entry_record ON entry (record);"
    "CREATE INDEX entry_waiting ON entry (destination, seq) WHERE state <= 1;"
    "CREATE INDEX entry_failed ON entry (destination, seq) WHERE state = 2;"
    "CREATE INDEX entry_done ON entry (done_usec) WHERE state >= 3;"
    "CREATE TABLE paused (destination TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;",
};

#define ENTRY_COLUMNS                                                                              \
    "SELECT seq, id, destination, stanza_id, title, reason, state, attempts, suspicion, uid,"      \
    "       accepted_usec, sent_usec, entry.done_usec "                                            \
    "FROM entry JOIN record ON number = record "

static const char *const statement_sql[N_STATEMENTS] = {
    [STATEMENT_BEGIN] = "BEGIN IMMEDIATE",
    [STATEMENT_COMMIT] = "COMMIT",
    [STATEMENT_ROLLBACK] = "ROLLBACK",
    [STATEMENT_SAVEPOINT] = "SAVEPOINT insertion",
    [STATEMENT_RELEASE] = "RELEASE insertion",
    [STATEMENT_UNDO] = "ROLLBACK TO insertion",
    [STATEMENT_INSERT_RECORD] = "INSERT INTO record (id, uid, accepted_usec, receipt, title, json) "
                                "VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id) DO NOTHING",
    [STATEMENT_INSERT_ENTRY] = "INSERT INTO entry (record, destination, stanza_id, state) "
                               "VALUES (?1, ?2, ?3, 0)",
    [STATEMENT_SENT] = "UPDATE entry SET state = 1, attempts = attempts + 1,"
                       "  sent_usec = COALESCE(sent_usec, ?2) WHERE seq = ?1 AND state <= 1",
    [STATEMENT_SUSPICION] = "UPDATE entry SET suspicion = ?2 WHERE seq = ?1 AND state <= 1",
    [STATEMENT_ENTRY] = "SELECT record, destination, state FROM entry WHERE seq = ?1",
    [STATEMENT_END] = "UPDATE entry SET state = ?2, done_usec = ?3, reason = COALESCE(?4, reason) "
                      "WHERE seq = ?1",
    [STATEMENT_RETRY] = "UPDATE entry SET state = 0, suspicion = 0, done_usec = NULL,"
                        "  reason = NULL WHERE seq = ?1",
    [STATEMENT_FATE] = "SELECT id, uid, receipt, accepted_usec, SUM(state <= 1), SUM(state = 2),"
                       "  SUM(state = 4) FROM record JOIN entry ON record = number "
                       "WHERE number = ?1",
    [STATEMENT_RECORD_DONE] = "UPDATE record SET done_usec = ?2, json = NULL WHERE number = ?1",
    [STATEMENT_PURGE] = "DELETE FROM record WHERE number IN (SELECT number FROM record "
                        "WHERE done_usec IS NOT NULL AND done_usec < ?1 "
                        "ORDER BY done_usec LIMIT ?2)",
    [STATEMENT_OLDEST_FAILED] = "SELECT seq FROM entry WHERE state = 2 ORDER BY seq LIMIT ?1",
    [STATEMENT_LOAD] = ENTRY_COLUMNS "WHERE state <= 1 AND destination = ?1 AND seq > ?2 "
                                     "ORDER BY seq LIMIT ?3",
    [STATEMENT_LIST_WAITING] = ENTRY_COLUMNS "WHERE state <= 1 AND (destination, seq) > (?1, ?2) "
                                             "ORDER BY destination, seq LIMIT ?3",
    [STATEMENT_LIST_FAILED] = ENTRY_COLUMNS "WHERE state = 2 AND (destination, seq) > (?1, ?2) "
                                            "ORDER BY destination, seq LIMIT ?3",
    [STATEMENT_LIST_RECORD] = ENTRY_COLUMNS "WHERE id = ?1 ORDER BY seq",
    [STATEMENT_LIST_HISTORY] =
        ENTRY_COLUMNS "WHERE state >= 3 AND (entry.done_usec, seq) < (?1, ?2) "
                      "ORDER BY entry.done_usec DESC, seq DESC LIMIT ?3",
    [STATEMENT_JSON] = "SELECT json FROM entry JOIN record ON number = record "
                       "WHERE seq = ?1 AND state <= 2",
    [STATEMENT_OLDEST] = "SELECT accepted_usec FROM entry JOIN record ON number = record "
                         "WHERE state <= 1 AND destination = ?1 ORDER BY seq LIMIT 1",
    [STATEMENT_PAUSE] = "INSERT INTO paused (destination) VALUES (?1) ON CONFLICT DO NOTHING",
    [STATEMENT_RESUME] = "DELETE FROM paused WHERE destination = ?1",
    [STATEMENT_IS_PAUSED] = "SELECT 1 FROM paused WHERE destination = ?1",
};

int spool_result(Spool *spool, int r)
{
    if (r >= 0)
        return r;
    snprintf(spool->message, sizeof(spool->message), "%s", database_message(spool->database));
    if (spool->open && ((r != -EEXIST && r != -EMSGSIZE && r != -ENOMEM) ||
                        !database_in_transaction(spool->database)))
        spool->broken = r;
    return r;
}

int spool_writable(const Spool *spool)
{
    assert(spool->open);
    return spool->broken;
}

const char *spool_message(const Spool *spool)
{
    return spool->message;
}

int spool_destination_count(Spool *spool, const char *name, DestinationCount **ret)
{
    DestinationCount *more;
    char *copy;

    for (size_t i = 0; i < spool->n_destinations; i++)
        if (streq(spool->destinations[i].name, name)) {
            *ret = &spool->destinations[i];
            return 0;
        }
    copy = strdup(name);
    if (!copy)
        return -ENOMEM;
    more = reallocarray(spool->destinations, spool->n_destinations + 1, sizeof(*more));
    if (!more) {
        free(copy);
        return -ENOMEM;
    }
    spool->destinations = more;
    more[spool->n_destinations] = (DestinationCount){ .name = copy };
    *ret = &more[spool->n_destinations++];
    return 0;
}

int spool_uid_count(Spool *spool, uid_t uid, Count **ret)
{
    UidCount *more;

    for (size_t i = 0; i < spool->n_uids; i++)
        if (spool->uids[i].uid == uid) {
            *ret = &spool->uids[i].waiting;
            return 0;
        }
    more = reallocarray(spool->uids, spool->n_uids + 1, sizeof(*more));
    if (!more)
        return -ENOMEM;
    spool->uids = more;
    more[spool->n_uids] = (UidCount){ .uid = uid };
    *ret = &more[spool->n_uids++].waiting;
    return 0;
}

static void settle_count(Count *count, bool committed)
{
    if (committed)
        count->committed = count->now;
    else
        count->now = count->committed;
}

static void settle_counts(Spool *spool, bool committed)
{
    settle_count(&spool->waiting, committed);
    settle_count(&spool->failed, committed);
    settle_count(&spool->done, committed);
    for (size_t i = 0; i < spool->n_destinations; i++) {
        settle_count(&spool->destinations[i].waiting, committed);
        settle_count(&spool->destinations[i].failed, committed);
    }
    for (size_t i = 0; i < spool->n_uids;) {
        settle_count(&spool->uids[i].waiting, committed);
        if (spool->uids[i].waiting.now == 0)
            spool->uids[i] = spool->uids[--spool->n_uids];
        else
            i++;
    }
}

/* One row or none of one number. */
static int load_number(Spool *spool, const char *sql, Count *ret)
{
    _cleanup_(statement_freep) Statement *statement = NULL;
    int r;

    r = statement_new(spool->database, sql, &statement);
    if (r == 0)
        r = statement_step(statement);
    if (r < 0)
        return r;
    ret->now = r > 0 ? (uint64_t)statement_integer(statement, 0) : 0;
    return 0;
}

/* Each of the two has an index of its own. */
static int load_destinations(Spool *spool, bool failed)
{
    _cleanup_(statement_freep) Statement *statement = NULL;
    int r;

    r = statement_new(
        spool->database,
        failed ? "SELECT destination, COUNT(*) FROM entry WHERE state = 2 GROUP BY destination"
               : "SELECT destination, COUNT(*) FROM entry WHERE state <= 1 GROUP BY destination",
        &statement);
    if (r < 0)
        return r;
    while ((r = statement_step(statement)) > 0) {
        const char *name = statement_text(statement, 0);
        uint64_t n = (uint64_t)statement_integer(statement, 1);
        DestinationCount *count;

        r = name ? spool_destination_count(spool, name, &count) : -ENOMEM;
        if (r < 0)
            return r;
        (failed ? &count->failed : &count->waiting)->now = n;
        (failed ? &spool->failed : &spool->waiting)->now += n;
    }
    return r;
}

static int load_counts(Spool *spool)
{
    static const char *const by_uid =
        "SELECT uid, COUNT(*) FROM entry JOIN record ON number = record "
        "WHERE state <= 1 GROUP BY uid";
    _cleanup_(statement_freep) Statement *uids = NULL;
    Count *count;
    int r;

    r = load_destinations(spool, false);
    if (r == 0)
        r = load_destinations(spool, true);
    if (r == 0)
        r = load_number(spool, "SELECT COUNT(*) FROM record WHERE done_usec IS NOT NULL",
                        &spool->done);
    if (r == 0)
        r = statement_new(spool->database, by_uid, &uids);
    if (r < 0)
        return r;

    while ((r = statement_step(uids)) > 0) {
        r = spool_uid_count(spool, (uid_t)statement_integer(uids, 0), &count);
        if (r < 0)
            return r;
        count->now = (uint64_t)statement_integer(uids, 1);
    }
    if (r == 0)
        settle_counts(spool, true);
    return r;
}

static const DatabaseFormat format = {
    .application_id = APPLICATION_ID,
    .n_steps = SCHEMA_VERSION,
    .steps = migrations,
};

/* What the quick check of the file leaves out, and alerts would be lost by: an entry that its index
 * does not have is never posted, nor is one whose record is gone. */
static const char *const checks[] = {
    "PRAGMA integrity_check('entry')",
    "SELECT 'entry ' || rowid || ' has no record' FROM pragma_foreign_key_check('entry') LIMIT 1",
    "SELECT 'entry ' || seq || ' has lost its text' FROM entry JOIN record ON number = record "
    "WHERE state <= 2 AND json IS NULL LIMIT 1",
};

static int prepare(Spool *spool, char reason[static SPOOL_REASON_MAX])
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < ELEMENTSOF(checks); i++)
        r = database_check(spool->database, checks[i], reason);
    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && i < N_STATEMENTS; i++)
        r = statement_new(spool->database, statement_sql[i], &spool->statements[i]);
    if (r == 0)
        r = load_counts(spool);
    if (r < 0)
        snprintf(reason, SPOOL_REASON_MAX, "%s", database_message(spool->database));
    return r;
}

int spool_open(const char *path, const SpoolLimits *limits, Spool **ret,
               char reason[static SPOOL_REASON_MAX])
{
    static_assert(SPOOL_REASON_MAX == DATABASE_REASON_MAX, "one buffer serves both");
    _cleanup_(spool_freep) Spool *spool = calloc(1, sizeof(*spool));
    char found[DATABASE_REASON_MAX] = "";
    int r;

    if (!spool) {
        snprintf(reason, SPOOL_REASON_MAX, "out of memory");
        return -ENOMEM;
    }
    spool->limits = *limits;
    r = database_open(path, &format, OPEN_WAIT_USEC, &spool->database, &spool->made, found);
    if (r < 0 && r != -EUCLEAN) {
        snprintf(reason, SPOOL_REASON_MAX, "%s", found);
        return r;
    }
    if (r == 0)
        r = prepare(spool, found);
    if (r == -EUCLEAN)
        snprintf(reason, SPOOL_REASON_MAX,
                 "%.150s is no spool or is damaged: %.150s. Nothing was changed; \"xmpprelay "
                 "--recover-spool\" makes a new one of what can be read of it, see xmpp-alerts(7)",
                 path, found);
    else if (r < 0)
        snprintf(reason, SPOOL_REASON_MAX, "%.150s can't be read: %.300s", path, found);
    if (r < 0)
        return r;
    r = spool_disk_init(spool, path);
    if (r < 0) {
        snprintf(reason, SPOOL_REASON_MAX, "%s can't be found again: %s", path, strerror(-r));
        return r;
    }
    database_trust(spool->database);
    *ret = steal_ptr(spool);
    return 0;
}

bool spool_was_made(const Spool *spool)
{
    return spool->made;
}

Spool *spool_free(Spool *spool)
{
    if (!spool)
        return NULL;
    if (spool->open)
        spool_rollback(spool);
    for (size_t i = 0; i < N_STATEMENTS; i++)
        statement_free(spool->statements[i]);
    database_free(spool->database);
    for (size_t i = 0; i < spool->n_destinations; i++)
        free(spool->destinations[i].name);
    free(spool->path);
    free(spool->destinations);
    free(spool->uids);
    free(spool);
    return NULL;
}

void spool_set_limits(Spool *spool, const SpoolLimits *limits)
{
    spool->limits = *limits;
}

int spool_begin(Spool *spool)
{
    int r;

    assert(!spool->open);
    spool->broken = 0;
    spool->disk_checked = false;
    if (database_in_transaction(spool->database)) /* a rollback failed */
        statement_run(spool->statements[STATEMENT_ROLLBACK]);
    r = spool_result(spool, statement_run(spool->statements[STATEMENT_BEGIN]));
    if (r == 0)
        spool->open = true;
    return r;
}

int spool_commit(Spool *spool)
{
    int r = spool_writable(spool);

    if (r == 0)
        r = spool_result(spool, statement_run(spool->statements[STATEMENT_COMMIT]));
    if (r < 0) {
        spool_rollback(spool);
        return r;
    }
    spool->open = false;
    settle_counts(spool, true);
    return 0;
}

void spool_rollback(Spool *spool)
{
    assert(spool->open);
    if (database_in_transaction(spool->database))
        statement_run(spool->statements[STATEMENT_ROLLBACK]);
    spool->open = false;
    settle_counts(spool, false);
}

uint64_t spool_n_waiting(const Spool *spool)
{
    return spool->waiting.now;
}

uint64_t spool_n_failed(const Spool *spool)
{
    return spool->failed.now;
}

uint64_t spool_n_waiting_destination(const Spool *spool, const char *destination)
{
    for (size_t i = 0; i < spool->n_destinations; i++)
        if (streq(spool->destinations[i].name, destination))
            return spool->destinations[i].waiting.now;
    return 0;
}

uint64_t spool_n_failed_destination(const Spool *spool, const char *destination)
{
    for (size_t i = 0; i < spool->n_destinations; i++)
        if (streq(spool->destinations[i].name, destination))
            return spool->destinations[i].failed.now;
    return 0;
}

uint64_t spool_n_waiting_uid(const Spool *spool, uid_t uid)
{
    for (size_t i = 0; i < spool->n_uids; i++)
        if (spool->uids[i].uid == uid)
            return spool->uids[i].waiting.now;
    return 0;
}

const char *spool_waiting_destination(const Spool *spool, size_t index)
{
    for (size_t i = 0; i < spool->n_destinations; i++)
        if (spool->destinations[i].waiting.now > 0 && index-- == 0)
            return spool->destinations[i].name;
    return NULL;
}
