/* SPDX-License-Identifier: MIT */

/*
 * Recovery of a spool: rows are read from its pages one by one, and a new spool is made of them.
 *
 * Where a page has two versions of a row, the one that is further on its way is believed. What is
 * missing is made up for on the safe side: an alert is rather said twice than not at all. The
 * damaged file and its log get second names before the first ones are taken from them. Two names
 * can't change at once, and without its log the file may look sound. So first a note takes the
 * log's place, with which no start is possible, and is removed last; a recovery that finds it goes
 * by the second names.
 */

#include "xmpprelay/spool-recover.h"

#include "common/text.h"
#include "xmpprelay/database-pages.h"
#include "xmpprelay/spool-internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#define KEPT_MAX 100 /* names that are tried for the damaged file */

/* The columns of the tables, as they stand in a row. */
enum {
    RECORD_NUMBER,
    RECORD_ID,
    RECORD_UID,
    RECORD_ACCEPTED,
    RECORD_RECEIPT,
    RECORD_TITLE,
    RECORD_JSON,
    RECORD_DONE,
    N_RECORD_COLUMNS,
};
enum {
    ENTRY_SEQ,
    ENTRY_RECORD,
    ENTRY_DESTINATION,
    ENTRY_STANZA_ID,
    ENTRY_STATE,
    ENTRY_ATTEMPTS,
    ENTRY_SUSPICION,
    ENTRY_SENT_USEC,
    ENTRY_DONE_USEC,
    ENTRY_REASON,
    N_ENTRY_COLUMNS,
};

typedef struct Recovery {
    Database *database;
    Statement *record, *entry, *old_record, *old_entry, *paused;
    uint64_t n_rows;
} Recovery;

static const char record_sql[] =
    "INSERT INTO record VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) "
    "ON CONFLICT (number) DO UPDATE SET done_usec = excluded.done_usec, json = NULL "
    "  WHERE excluded.done_usec IS NOT NULL "
    "ON CONFLICT (id) DO NOTHING";

static const char entry_sql[] =
    "INSERT INTO entry VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?8, ?9, ?10) "
    "ON CONFLICT (seq) DO UPDATE SET state = excluded.state, done_usec = excluded.done_usec,"
    "  reason = excluded.reason WHERE excluded.state > state";

/* What is old counts only where nothing newer was read. */
static const char old_record_sql[] =
    "INSERT OR IGNORE INTO record VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
static const char old_entry_sql[] =
    "INSERT OR IGNORE INTO entry VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?8, ?9, ?10)";

/* Rows that contradict each other, in the order in which that is mended. */
static const char mend_sql[] =
    /* done, but its text is there or it waits: not all of it is from the same time */
    "DELETE FROM entry WHERE state <= 2 AND record IN"
    "  (SELECT number FROM record WHERE done_usec IS NOT NULL);"
    "UPDATE record SET json = NULL WHERE done_usec IS NOT NULL AND json IS NOT NULL;"
    /* not done, though each of its entries is */
    "UPDATE record SET json = NULL, done_usec = (SELECT MAX(done_usec) FROM entry"
    "    WHERE record = number)"
    "  WHERE done_usec IS NULL AND EXISTS (SELECT 1 FROM entry WHERE record = number)"
    "    AND NOT EXISTS (SELECT 1 FROM entry WHERE record = number"
    "      AND (state <= 2 OR done_usec IS NULL));";

static const char lost_sql[] =
    "SELECT COUNT(DISTINCT record) FROM entry LEFT JOIN record ON number = record "
    "WHERE state <= 2 AND json IS NULL";

static const char forget_lost_sql[] =
    "DELETE FROM entry WHERE record NOT IN (SELECT number FROM record);"
    "DELETE FROM record WHERE json IS NULL AND done_usec IS NULL;";

static bool is_integer(const PagesValue *value, int64_t least, int64_t most)
{
    return value->type == PAGES_INTEGER && value->integer >= least && value->integer <= most;
}

static bool is_integer_or_null(const PagesValue *value)
{
    return value->type == PAGES_NULL || is_integer(value, 0, INT64_MAX);
}

static bool is_text(const PagesValue *value, size_t least, size_t most)
{
    return value->type == PAGES_TEXT && value->size >= least && value->size <= most &&
           !memchr(value->text, '\0', value->size) && text_is_utf8(value->text, value->size);
}

static void bind_integer_or_null(Statement *statement, int at, const PagesValue *value)
{
    if (value->type == PAGES_INTEGER)
        statement_bind_integer(statement, at, value->integer);
    else
        statement_bind_text(statement, at, NULL);
}

/* A line for people; NULL where there is none that can be shown. */
static char *line_dup(const PagesValue *value)
{
    return is_text(value, 1, RECORD_FRAME_MAX) ? text_clean_line_dup(value->text, value->size)
                                               : NULL;
}

static int take_record(Recovery *recovery, const PagesRow *row)
{
    Statement *statement = row->old ? recovery->old_record : recovery->record;
    const PagesValue *v = row->values;
    _cleanup_free_ char *title = line_dup(&v[RECORD_TITLE]);
    _cleanup_free_ char *json = NULL;
    char id[RECORD_ID_MAX + 1] = "";

    if (v[RECORD_NUMBER].type != PAGES_NULL || row->number <= 0 ||
        !is_integer(&v[RECORD_UID], 0, UINT32_MAX) ||
        !is_integer(&v[RECORD_ACCEPTED], 0, INT64_MAX) ||
        !is_integer(&v[RECORD_RECEIPT], 0, RECEIPT_WANTED_NONE) ||
        !is_integer_or_null(&v[RECORD_DONE]))
        return 0;
    if (is_text(&v[RECORD_ID], 1, RECORD_ID_MAX))
        memcpy(id, v[RECORD_ID].text, v[RECORD_ID].size);
    if (!record_id_is_valid(id))
        snprintf(id, sizeof(id), "recovered-%" PRId64, row->number);
    if (is_text(&v[RECORD_JSON], 1, RECORD_FRAME_MAX)) {
        json = strndup(v[RECORD_JSON].text, v[RECORD_JSON].size);
        if (!json)
            return -ENOMEM;
    }
    statement_bind_integer(statement, 1, row->number);
    statement_bind_text(statement, 2, id);
    for (int i = RECORD_UID; i <= RECORD_RECEIPT; i++)
        statement_bind_integer(statement, i + 1, v[i].integer);
    statement_bind_text(statement, 6, title);
    statement_bind_text(statement, 7, json);
    bind_integer_or_null(statement, 8, &v[RECORD_DONE]);
    recovery->n_rows++;
    return statement_run(statement);
}

static int take_entry(Recovery *recovery, const PagesRow *row)
{
    Statement *statement = row->old ? recovery->old_entry : recovery->entry;
    const PagesValue *v = row->values;
    _cleanup_free_ char *reason = line_dup(&v[ENTRY_REASON]);
    char name[RECORD_NAME_MAX + 1] = "", stanza_id[SPOOL_STANZA_ID_SIZE] = "";

    if (v[ENTRY_SEQ].type != PAGES_NULL || row->number <= 0 ||
        !is_integer(&v[ENTRY_RECORD], 1, INT64_MAX) ||
        !is_text(&v[ENTRY_DESTINATION], 1, RECORD_NAME_MAX) ||
        !is_text(&v[ENTRY_STANZA_ID], SPOOL_STANZA_ID_SIZE - 1, SPOOL_STANZA_ID_SIZE - 1) ||
        !is_integer(&v[ENTRY_STATE], ENTRY_QUEUED, ENTRY_DROPPED) ||
        !is_integer(&v[ENTRY_ATTEMPTS], 0, UINT32_MAX) ||
        !is_integer_or_null(&v[ENTRY_SENT_USEC]) || !is_integer_or_null(&v[ENTRY_DONE_USEC]))
        return 0;
    memcpy(name, v[ENTRY_DESTINATION].text, v[ENTRY_DESTINATION].size);
    memcpy(stanza_id, v[ENTRY_STANZA_ID].text, v[ENTRY_STANZA_ID].size);
    statement_bind_integer(statement, 1, row->number);
    statement_bind_integer(statement, 2, v[ENTRY_RECORD].integer);
    statement_bind_text(statement, 3, name);
    statement_bind_text(statement, 4, stanza_id);
    statement_bind_integer(statement, 5, v[ENTRY_STATE].integer);
    statement_bind_integer(statement, 6, v[ENTRY_ATTEMPTS].integer);
    bind_integer_or_null(statement, 8, &v[ENTRY_SENT_USEC]);
    bind_integer_or_null(statement, 9, &v[ENTRY_DONE_USEC]);
    statement_bind_text(statement, 10, reason);
    recovery->n_rows++;
    return statement_run(statement);
}

/* The only index of one text is what the table of paused destinations is made of. */
static int take_paused(Recovery *recovery, const PagesValue *value)
{
    char name[RECORD_NAME_MAX + 1] = "";

    if (!is_text(value, 1, RECORD_NAME_MAX))
        return 0;
    memcpy(name, value->text, value->size);
    statement_bind_text(recovery->paused, 1, name);
    return statement_run(recovery->paused);
}

static int take_row(const PagesRow *row, void *userdata)
{
    if (row->keyed && row->n_values == N_RECORD_COLUMNS)
        return take_record(userdata, row);
    if (row->keyed && row->n_values == N_ENTRY_COLUMNS)
        return take_entry(userdata, row);
    if (!row->keyed && row->n_values == 1)
        return take_paused(userdata, &row->values[0]);
    return 0;
}

/* An alert that has text and is not done needs an entry for each destination. */
static int add_entries(Database *database, int64_t record, const char *json,
                       const char *const *names, size_t n_names, uint64_t *n_added)
{
    static const char sql[] = "INSERT INTO entry (record, destination, stanza_id, state) "
                              "SELECT ?1, ?2, lower(hex(randomblob(16))), 0 WHERE NOT EXISTS"
                              "  (SELECT 1 FROM entry WHERE record = ?1 AND destination = ?2)";
    _cleanup_(statement_freep) Statement *statement = NULL;
    _cleanup_record_ Record *parsed = NULL;
    char reason[RECORD_REASON_MAX], id[RECORD_ID_MAX + 1];
    int r;

    r = record_parse(json, strlen(json), &parsed, id, reason);
    if (r < 0 && r != -EBADMSG)
        return r;
    if (parsed && parsed->n_to > 0) {
        names = (const char *const *)parsed->to;
        n_names = parsed->n_to;
    }
    r = statement_new(database, sql, &statement);
    for (size_t i = 0; r == 0 && i < n_names; i++) {
        statement_bind_integer(statement, 1, record);
        statement_bind_text(statement, 2, names[i]);
        r = statement_run(statement);
        if (r == 0)
            *n_added += (uint64_t)database_changes(database);
    }
    return r;
}

static int complete_entries(Database *database, const char *const *names, size_t n_names,
                            uint64_t *n_added)
{
    _cleanup_(statement_freep) Statement *statement = NULL;
    int64_t last = 0;
    int r;

    r = statement_new(database,
                      "SELECT number, json FROM record WHERE number > ?1 AND json IS NOT NULL "
                      "ORDER BY number LIMIT 1",
                      &statement);
    while (r == 0) {
        _cleanup_free_ char *json = NULL;

        statement_bind_integer(statement, 1, last);
        r = statement_step(statement);
        if (r <= 0)
            break;
        last = statement_integer(statement, 0);
        json = strdup(statement_text(statement, 1) ?: "");
        statement_reset(statement);
        r = json ? add_entries(database, last, json, names, n_names, n_added) : -ENOMEM;
    }
    return r;
}

static int count(Recovery *recovery, SpoolRecovered *ret)
{
    int64_t waiting = 0, failed = 0, done = 0;
    int r;

    r = database_query(recovery->database, "SELECT COUNT(*) FROM entry WHERE state <= 1", &waiting);
    if (r == 0)
        r = database_query(recovery->database, "SELECT COUNT(*) FROM entry WHERE state = 2",
                           &failed);
    if (r == 0)
        r = database_query(recovery->database,
                           "SELECT COUNT(*) FROM record WHERE done_usec IS NOT NULL", &done);
    ret->waiting = (uint64_t)waiting;
    ret->failed = (uint64_t)failed;
    ret->done = (uint64_t)done;
    return r;
}

static int fill(Recovery *recovery, const char *path, const char *const *names, size_t n_names,
                SpoolRecovered *ret)
{
    int64_t lost = 0;
    int r;

    r = statement_new(recovery->database, record_sql, &recovery->record);
    if (r == 0)
        r = statement_new(recovery->database, old_record_sql, &recovery->old_record);
    if (r == 0)
        r = statement_new(recovery->database, entry_sql, &recovery->entry);
    if (r == 0)
        r = statement_new(recovery->database, old_entry_sql, &recovery->old_entry);
    if (r == 0)
        r = statement_new(recovery->database, "INSERT OR IGNORE INTO paused VALUES (?1)",
                          &recovery->paused);
    if (r == 0) /* entries may come before their records */
        r = database_exec(recovery->database, "PRAGMA foreign_keys = OFF; BEGIN IMMEDIATE");
    if (r == 0)
        r = pages_read(path, take_row, recovery, &ret->broken);
    if (r == 0)
        r = database_exec(recovery->database, mend_sql);
    if (r == 0)
        r = database_query(recovery->database, lost_sql, &lost);
    if (r == 0)
        r = database_exec(recovery->database, forget_lost_sql);
    if (r == 0) /* the entries of what was forgotten just now */
        r = database_exec(recovery->database, forget_lost_sql);
    if (r == 0)
        r = complete_entries(recovery->database, names, n_names, &ret->again);
    if (r == 0)
        r = database_exec(recovery->database, "COMMIT; PRAGMA foreign_keys = ON");
    if (r == 0) /* it takes its place without its log; on a full disk that fails here */
        r = database_exec(recovery->database, "PRAGMA wal_checkpoint(TRUNCATE)");
    ret->lost = (uint64_t)lost;
    return r < 0 ? r : count(recovery, ret);
}

static void recovery_done(Recovery *recovery)
{
    statement_free(recovery->record);
    statement_free(recovery->entry);
    statement_free(recovery->old_record);
    statement_free(recovery->old_entry);
    statement_free(recovery->paused);
}

/* Writes the new spool at `working`. */
static int make_new(const char *path, const char *working, const char *const *names, size_t n_names,
                    SpoolRecovered *ret, char reason[static SPOOL_REASON_MAX])
{
    static const SpoolLimits limits = { .max_records = UINT64_MAX, .max_share = 100 };
    _cleanup_(spool_freep) Spool *spool = NULL;
    _cleanup_(recovery_done) Recovery recovery = {};
    int r;

    r = spool_open(working, &limits, &spool, reason);
    if (r < 0)
        return r;
    recovery.database = spool->database;
    r = fill(&recovery, path, names, n_names, ret);
    if (r < 0)
        snprintf(reason, SPOOL_REASON_MAX, "%.300s can't be written: %.150s", working,
                 database_message(spool->database));
    if (r == 0 && recovery.n_rows == 0) {
        snprintf(reason, SPOOL_REASON_MAX,
                 "nothing of %.300s can be read; it is as it was: move it aside, and what ends in "
                 "-wal with it, to begin with an empty spool",
                 path);
        r = -ENODATA;
    }
    return r;
}

/* With what SQLite may have left beside it. */
static void remove_working(const char *working)
{
    static const char *const endings[] = { "", "-wal", "-journal", "-note" };
    char path[PATH_MAX + 16];

    for (size_t i = 0; i < ELEMENTSOF(endings); i++) {
        snprintf(path, sizeof(path), "%s%s", working, endings[i]);
        (void)unlink(path);
    }
}

static int sync_folder_of(const char *path)
{
    char copy[PATH_MAX];
    _cleanup_close_ int fd = -1;

    snprintf(copy, sizeof(copy), "%s", path);
    fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int link_if_there(const char *from, const char *to)
{
    return link(from, to) < 0 && errno != ENOENT ? -errno : 0;
}

/* Gives the damaged file and its log names that nobody has. */
static int keep_old(const char *path, const char *log, SpoolRecovered *ret)
{
    char kept_log[PATH_MAX + 8];
    struct stat st;
    int r;

    for (int i = 1; i <= KEPT_MAX; i++) {
        if (snprintf(ret->kept, sizeof(ret->kept), "%s.damaged-%d", path, i) >=
            (int)sizeof(ret->kept))
            return -ENAMETOOLONG;
        snprintf(kept_log, sizeof(kept_log), "%s-wal", ret->kept);
        if (access(ret->kept, F_OK) == 0 || access(kept_log, F_OK) == 0)
            continue;
        r = link_if_there(path, ret->kept);
        if (r == 0 && (stat(log, &st) < 0 || st.st_size > 0)) /* SQLite may leave an empty one */
            r = link_if_there(log, kept_log);
        if (r < 0)
            return r;
        return sync_folder_of(path);
    }
    return -EEXIST;
}

/* Puts something that is no log in the place of the log. */
static int lay_note(const char *log, const char *working)
{
    static const char text[] = "A recovery of the spool was cut short: run it once more.\n";
    _cleanup_close_ int fd = -1;
    char note[PATH_MAX + 8];

    snprintf(note, sizeof(note), "%s-note", working);
    fd = open(note, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        return -ENOSPC;
    return fsync(fd) < 0 || rename(note, log) < 0 ? -errno : sync_folder_of(log);
}

static int put_in_place(const char *path, const char *working, SpoolRecovered *ret)
{
    char log[PATH_MAX + 8];
    bool logged;
    int r;

    snprintf(log, sizeof(log), "%s-wal", path);
    logged = access(log, F_OK) == 0;
    r = keep_old(path, log, ret);
    if (r == 0 && logged)
        r = lay_note(log, working);
    if (r < 0)
        return r;
    if (rename(working, path) < 0)
        return -errno;
    r = sync_folder_of(path);
    if (r == 0 && logged && unlink(log) < 0)
        r = -errno;
    return r < 0 ? r : sync_folder_of(path);
}

/* Where the file still has both names, the second one has the log. */
static void find_source(const char *path, char ret[static PATH_MAX])
{
    struct stat st, kept;

    if (stat(path, &st) == 0)
        for (int i = 1; i <= KEPT_MAX; i++)
            if (snprintf(ret, PATH_MAX, "%s.damaged-%d", path, i) < PATH_MAX &&
                stat(ret, &kept) == 0 && kept.st_dev == st.st_dev && kept.st_ino == st.st_ino)
                return;
    snprintf(ret, PATH_MAX, "%s", path);
}

/* Whether there is anything to recover: 1; 0: it is sound. */
static int look_at_old(const char *path, char reason[static SPOOL_REASON_MAX])
{
    static const SpoolLimits limits = { .max_records = 1, .max_share = 100 };
    _cleanup_(spool_freep) Spool *spool = NULL;
    char log[PATH_MAX];
    struct stat st;
    int r;

    if (snprintf(log, sizeof(log), "%s-wal", path) >= (int)sizeof(log)) {
        snprintf(reason, SPOOL_REASON_MAX, "the path of the spool is too long");
        return -ENAMETOOLONG;
    }
    if (stat(path, &st) < 0 && stat(log, &st) < 0) {
        r = -errno;
        snprintf(reason, SPOOL_REASON_MAX, "%.300s can't be found: %s", path, strerror(-r));
        return r;
    }
    r = spool_open(path, &limits, &spool, reason);
    return r == -EUCLEAN || r == -EIO ? 1 : r; /* parts of a disk that fails can be read, too */
}

int spool_recover(const char *path, const char *const *names, size_t n_names, SpoolRecovered *ret,
                  char reason[static SPOOL_REASON_MAX])
{
    SpoolRecovered recovered = {};
    char working[PATH_MAX], source[PATH_MAX];
    int r;

    r = look_at_old(path, reason);
    if (r <= 0)
        return r;
    if (snprintf(working, sizeof(working), "%s.recovered", path) >= (int)sizeof(working)) {
        snprintf(reason, SPOOL_REASON_MAX, "the path of the spool is too long");
        return -ENAMETOOLONG;
    }
    remove_working(working); /* of one that was cut short */
    find_source(path, source);
    r = make_new(source, working, names, n_names, &recovered, reason);
    if (r == 0) {
        r = put_in_place(path, working, &recovered);
        if (r < 0)
            snprintf(reason, SPOOL_REASON_MAX, "%.300s can't be put in place: %s", working,
                     strerror(-r));
    }
    if (r < 0) {
        remove_working(working);
        return r;
    }
    *ret = recovered;
    return 1;
}
