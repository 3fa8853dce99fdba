/* SPDX-License-Identifier: MIT */

/*
 * What changes in the spool: insertion, the fates of entries, retry, drop, purge.
 *
 * A count is changed only after the statements it stands for have succeeded, and a transaction
 * that fails takes its counts back with it.
 */

#include "xmpprelay/spool-internal.h"

#include <assert.h>
#include <stdio.h>
#include <sys/random.h>

#define DONE_PER_WAITING 10 /* the history holds at most so many times max_records */

/* An entry as a change finds it. */
typedef struct Found {
    int64_t record;
    EntryState state;
    DestinationCount *destination;
} Found;

static int make_stanza_id(char ret[static SPOOL_STANZA_ID_SIZE])
{
    uint8_t random[(SPOOL_STANZA_ID_SIZE - 1) / 2];
    ssize_t n;

    do
        n = getrandom(random, sizeof(random), 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    if ((size_t)n != sizeof(random))
        return -EIO;
    for (size_t i = 0; i < sizeof(random); i++)
        snprintf(ret + 2 * i, 3, "%02x", random[i]);
    return 0;
}

static int insert_entry(Spool *spool, int64_t record, const char *destination)
{
    Statement *statement = spool->statements[STATEMENT_INSERT_ENTRY];
    char stanza_id[SPOOL_STANZA_ID_SIZE];
    int r;

    r = make_stanza_id(stanza_id);
    if (r < 0)
        return r;
    statement_bind_integer(statement, 1, record);
    statement_bind_text(statement, 2, destination);
    statement_bind_text(statement, 3, stanza_id);
    return spool_result(spool, statement_run(statement));
}

/* 1: inserted with all entries, 0: the id is known, -errno. */
static int insert_rows(Spool *spool, const SpoolRecord *record)
{
    Statement *statement = spool->statements[STATEMENT_INSERT_RECORD];
    int64_t number;
    int r;

    statement_bind_text(statement, 1, record->id);
    statement_bind_integer(statement, 2, record->uid);
    statement_bind_integer(statement, 3, (int64_t)record->accepted_usec);
    statement_bind_integer(statement, 4, record->receipt);
    statement_bind_text(statement, 5, record->title);
    statement_bind_text(statement, 6, record->json);
    r = spool_result(spool, statement_run(statement));
    if (r < 0)
        return r;
    if (database_changes(spool->database) == 0)
        return 0;
    number = database_last_rowid(spool->database);

    for (size_t i = 0; i < record->n_destinations; i++) {
        r = insert_entry(spool, number, record->destinations[i]);
        if (r < 0)
            return r;
    }
    return 1;
}

static int count_inserted(Spool *spool, const SpoolRecord *record)
{
    DestinationCount *count;
    Count *uid;
    int r;

    /* the places first: once they are there nothing below can fail */
    r = spool_uid_count(spool, record->uid, &uid);
    for (size_t i = 0; r == 0 && i < record->n_destinations; i++)
        r = spool_destination_count(spool, record->destinations[i], &count);
    if (r < 0)
        return r;

    for (size_t i = 0; i < record->n_destinations; i++) {
        spool_destination_count(spool, record->destinations[i], &count);
        count->waiting.now++;
    }
    spool_uid_count(spool, record->uid, &uid);
    uid->now += record->n_destinations;
    spool->waiting.now += record->n_destinations;
    return 0;
}

static SpoolInserted has_room(Spool *spool, const SpoolRecord *record)
{
    uint64_t max = spool->limits.max_records;
    uint64_t share =
        MAX(max / 100 * spool->limits.max_share + max % 100 * spool->limits.max_share / 100,
            (uint64_t)1);

    if (spool->waiting.now + record->n_destinations > max)
        return SPOOL_FULL;
    if (spool_n_waiting_uid(spool, record->uid) + record->n_destinations > share)
        return SPOOL_SHARE;
    if (!spool->disk_checked) {
        spool->disk = spool_disk_check(spool);
        spool->disk_checked = true;
    }
    return spool->disk;
}

int spool_insert(Spool *spool, const SpoolRecord *record)
{
    SpoolInserted room;
    int r;

    assert(record->n_destinations > 0);
    r = spool_writable(spool);
    if (r < 0)
        return r;
    r = spool_result(spool, statement_run(spool->statements[STATEMENT_SAVEPOINT]));
    if (r < 0)
        return r;

    /* The id is looked at before the room: what is there already needs none. */
    r = insert_rows(spool, record);
    room = r > 0 ? has_room(spool, record) : SPOOL_DUPLICATE;
    if (r > 0 && room == SPOOL_INSERTED)
        r = count_inserted(spool, record);
    if (r >= 0 && room == SPOOL_INSERTED)
        return spool_result(spool, statement_run(spool->statements[STATEMENT_RELEASE])) < 0
                   ? spool->broken
                   : SPOOL_INSERTED;

    if (!spool->broken && (statement_run(spool->statements[STATEMENT_UNDO]) < 0 ||
                           statement_run(spool->statements[STATEMENT_RELEASE]) < 0)) {
        /* a record half inserted must never be committed */
        spool->broken = -EIO;
        snprintf(spool->message, sizeof(spool->message), "%s", database_message(spool->database));
    }
    if (spool->broken)
        return spool->broken;
    return r < 0 ? r : (int)room;
}

int spool_mark_sent(Spool *spool, int64_t seq, usec_t now)
{
    Statement *statement = spool->statements[STATEMENT_SENT];
    int r = spool_writable(spool);

    if (r < 0)
        return r;
    statement_bind_integer(statement, 1, seq);
    statement_bind_integer(statement, 2, (int64_t)now);
    return spool_result(spool, statement_run(statement));
}

int spool_mark_suspicion(Spool *spool, int64_t seq, unsigned suspicion)
{
    Statement *statement = spool->statements[STATEMENT_SUSPICION];
    int r = spool_writable(spool);

    if (r < 0)
        return r;
    statement_bind_integer(statement, 1, seq);
    statement_bind_integer(statement, 2, suspicion);
    return spool_result(spool, statement_run(statement));
}

/* 1 with *ret, 0: there is no such entry, -errno. */
static int find_entry(Spool *spool, int64_t seq, Found *ret)
{
    Statement *statement = spool->statements[STATEMENT_ENTRY];
    const char *destination;
    Found found;
    int r = spool_writable(spool);

    if (r < 0)
        return r;
    statement_bind_integer(statement, 1, seq);
    r = spool_result(spool, statement_step(statement));
    if (r <= 0)
        return r;
    found.record = statement_integer(statement, 0);
    found.state = (EntryState)statement_integer(statement, 2);
    destination = statement_text(statement, 1);
    r = destination ? spool_destination_count(spool, destination, &found.destination) : -ENOMEM;
    statement_reset(statement);
    if (r < 0)
        return r;
    *ret = found;
    return 1;
}

/* Moves the counts of an entry that goes from one state to another, and gives its record the
 * time at which the last of its entries was done. */
static int settle_record(Spool *spool, const Found *found, EntryState state, usec_t now,
                         SpoolFate *ret)
{
    Statement *statement = spool->statements[STATEMENT_FATE];
    Statement *done = spool->statements[STATEMENT_RECORD_DONE];
    bool was_waiting = found->state <= ENTRY_SENT, is_waiting = state <= ENTRY_SENT;
    SpoolFate fate = {};
    bool any_failed;
    Count *uid;
    int r;

    statement_bind_integer(statement, 1, found->record);
    r = spool_result(spool, statement_step(statement));
    if (r <= 0)
        return r < 0 ? r : -EUCLEAN;
    snprintf(fate.id, sizeof(fate.id), "%s", statement_text(statement, 0) ?: "");
    fate.receipt = (ReceiptWanted)statement_integer(statement, 2);
    fate.accepted_usec = (usec_t)statement_integer(statement, 3);
    fate.complete = statement_integer(statement, 4) == 0;
    any_failed = statement_integer(statement, 5) > 0;
    fate.delivered = fate.complete && !any_failed && statement_integer(statement, 6) == 0;
    r = spool_uid_count(spool, (uid_t)statement_integer(statement, 1), &uid);
    statement_reset(statement);
    if (r < 0)
        return r;

    if (fate.complete && !any_failed) {
        statement_bind_integer(done, 1, found->record);
        statement_bind_integer(done, 2, (int64_t)now);
        r = spool_result(spool, statement_run(done));
        if (r < 0)
            return r;
        spool->done.now++;
    }
    if (was_waiting != is_waiting) {
        uint64_t step = is_waiting ? 1 : UINT64_MAX; /* wraps: minus one */

        spool->waiting.now += step;
        found->destination->waiting.now += step;
        uid->now += step;
    }
    spool->failed.now -= found->state == ENTRY_FAILED;
    spool->failed.now += state == ENTRY_FAILED;
    found->destination->failed.now -= found->state == ENTRY_FAILED;
    found->destination->failed.now += state == ENTRY_FAILED;
    if (ret)
        *ret = fate;
    return 1;
}

static int end_entry(Spool *spool, int64_t seq, EntryState highest, EntryState state, usec_t now,
                     const char *reason, SpoolFate *ret)
{
    Statement *statement = spool->statements[STATEMENT_END];
    Found found;
    int r;

    r = find_entry(spool, seq, &found);
    if (r <= 0)
        return r;
    if (found.state > highest)
        return 0;
    statement_bind_integer(statement, 1, seq);
    statement_bind_integer(statement, 2, state);
    statement_bind_integer(statement, 3, (int64_t)now);
    statement_bind_text(statement, 4, reason);
    r = spool_result(spool, statement_run(statement));
    if (r == 0)
        r = settle_record(spool, &found, state, now, ret);
    if (r < 0 && !spool->broken) /* half done: must not be committed */
        spool->broken = r;
    return r;
}

int spool_mark_done(Spool *spool, int64_t seq, usec_t now, SpoolFate *ret)
{
    return end_entry(spool, seq, ENTRY_SENT, ENTRY_DELIVERED, now, NULL, ret);
}

int spool_mark_failed(Spool *spool, int64_t seq, usec_t now, const char *reason, SpoolFate *ret)
{
    return end_entry(spool, seq, ENTRY_SENT, ENTRY_FAILED, now, reason, ret);
}

int spool_drop(Spool *spool, int64_t seq, usec_t now)
{
    return end_entry(spool, seq, ENTRY_FAILED, ENTRY_DROPPED, now, NULL, NULL);
}

int spool_retry(Spool *spool, int64_t seq)
{
    Statement *statement = spool->statements[STATEMENT_RETRY];
    Found found;
    int r;

    r = find_entry(spool, seq, &found);
    if (r <= 0)
        return r;
    if (found.state != ENTRY_FAILED)
        return 0;
    statement_bind_integer(statement, 1, seq);
    r = spool_result(spool, statement_run(statement));
    if (r == 0)
        r = settle_record(spool, &found, ENTRY_QUEUED, 0, NULL);
    if (r < 0 && !spool->broken)
        spool->broken = r;
    return r;
}

/* All are found at one go: each search walks past the whole history. */
static int find_oldest_failed(Spool *spool, int64_t *seqs, size_t max, size_t *ret)
{
    Statement *statement = spool->statements[STATEMENT_OLDEST_FAILED];
    size_t n = 0;
    int r = 0;

    statement_bind_integer(statement, 1, (int64_t)max);
    while (n < max && (r = spool_result(spool, statement_step(statement))) > 0)
        seqs[n++] = statement_integer(statement, 0);
    statement_reset(statement);
    if (r < 0)
        return r;
    *ret = n;
    return 0;
}

static int drop_oldest_failed(Spool *spool, usec_t now, size_t max, size_t *ret)
{
    _cleanup_free_ int64_t *seqs = NULL;
    size_t n = 0;
    int r;

    if (spool->failed.now <= spool->limits.max_records) {
        *ret = 0;
        return 0;
    }
    max = MIN(max, (size_t)(spool->failed.now - spool->limits.max_records));
    seqs = calloc(MAX(max, (size_t)1), sizeof(*seqs));
    if (!seqs)
        return -ENOMEM;
    r = find_oldest_failed(spool, seqs, max, &n);
    for (size_t i = 0; r >= 0 && i < n; i++)
        r = spool_drop(spool, seqs[i], now);
    if (r < 0)
        return r;
    *ret = n;
    return 0;
}

static int delete_done(Spool *spool, int64_t before_usec, size_t max, size_t *ret)
{
    Statement *statement = spool->statements[STATEMENT_PURGE];
    int r;

    statement_bind_integer(statement, 1, before_usec);
    statement_bind_integer(statement, 2, (int64_t)max);
    r = spool_result(spool, statement_run(statement));
    if (r < 0)
        return r;
    *ret = (size_t)database_changes(spool->database);
    spool->done.now -= *ret;
    return 0;
}

int spool_purge(Spool *spool, usec_t now, size_t max, size_t *ret_failed_dropped)
{
    uint64_t max_done = spool->limits.max_records * DONE_PER_WAITING;
    size_t n = 0, more = 0, dropped = 0;
    int r = spool_writable(spool);

    if (r == 0)
        r = drop_oldest_failed(spool, now, max, &dropped);
    if (r == 0 && now > spool->limits.keep_usec)
        r = delete_done(spool, (int64_t)(now - spool->limits.keep_usec), max, &n);
    if (r == 0 && n < max && spool->done.now > max_done)
        r = delete_done(spool, INT64_MAX, MIN(max - n, (size_t)(spool->done.now - max_done)),
                        &more);
    if (r < 0)
        return r;
    *ret_failed_dropped = dropped;
    return (int)MAX(n + more, dropped);
}

int spool_set_paused(Spool *spool, const char *destination, bool paused)
{
    Statement *statement = spool->statements[paused ? STATEMENT_PAUSE : STATEMENT_RESUME];
    int r = spool_writable(spool);

    if (r < 0)
        return r;
    statement_bind_text(statement, 1, destination);
    return spool_result(spool, statement_run(statement));
}
