/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "xmpprelay/database.h"
#include "xmpprelay/spool.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define SECOND USEC_PER_SEC
#define START (1700000000 * USEC_PER_SEC)

typedef struct Folder {
    char path[64];
    char spool[80];
    char copy[80];
} Folder;

static const SpoolLimits limits = {
    .max_records = 10,
    .max_share = 50,
    .keep_usec = 100 * SECOND,
};

static int folder_setup(void **state)
{
    Folder *folder = calloc(1, sizeof(*folder));

    assert_non_null(folder);
    snprintf(folder->path, sizeof(folder->path), "/tmp/test-spool-XXXXXX");
    assert_non_null(mkdtemp(folder->path));
    snprintf(folder->spool, sizeof(folder->spool), "%s/spool.db", folder->path);
    snprintf(folder->copy, sizeof(folder->copy), "%s/copy.db", folder->path);
    *state = folder;
    return 0;
}

static int folder_teardown(void **state)
{
    static const char *const names[] = { "spool.db", "spool.db-wal", "spool.db-shm",
                                         "copy.db",  "copy.db-wal",  "copy.db-shm" };
    Folder *folder = *state;
    char path[128];

    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder->path, names[i]);
        unlink(path);
    }
    rmdir(folder->path);
    free(folder);
    return 0;
}

static Spool *must_open(const char *path)
{
    char reason[SPOOL_REASON_MAX] = "";
    Spool *spool = NULL;

    if (spool_open(path, &limits, &spool, reason) < 0)
        fail_msg("%s", reason);
    return spool;
}

static int insert(Spool *spool, const char *id, uid_t uid, size_t n, const char *const *names)
{
    SpoolRecord record = {
        .id = id,
        .json = "{\"v\":1,\"text\":\"x\"}",
        .title = "a title",
        .uid = uid,
        .accepted_usec = START,
        .receipt = RECEIPT_WANTED_ACCEPTED,
        .destinations = names,
        .n_destinations = n,
    };

    return spool_insert(spool, &record);
}

static int insert_one(Spool *spool, const char *id, uid_t uid, const char *name)
{
    return insert(spool, id, uid, 1, &name);
}

/* Inserts in a transaction of its own. */
static void must_insert(Spool *spool, const char *id, uid_t uid, const char *name)
{
    assert_int_equal(spool_begin(spool), 0);
    assert_int_equal(insert_one(spool, id, uid, name), SPOOL_INSERTED);
    assert_int_equal(spool_commit(spool), 0);
}

static void spool_on_a_disk_nearly_full_takes_no_record_and_delivers(void **state)
{
    Folder *folder = *state;
    SpoolLimits all_of_it = limits;
    Spool *spool = must_open(folder->spool);
    SpoolFate fate;

    must_insert(spool, "a", 1, "ops");
    all_of_it.reserve_bytes = UINT64_MAX / 2;
    spool_set_limits(spool, &all_of_it);
    assert_int_equal(spool_begin(spool), 0);
    assert_int_equal(insert_one(spool, "b", 1, "ops"), SPOOL_DISK);
    assert_int_equal(insert_one(spool, "a", 1, "ops"), SPOOL_DUPLICATE);
    assert_int_equal(spool_mark_done(spool, 1, START, &fate), 1);
    assert_int_equal(spool_commit(spool), 0);
    assert_int_equal(spool_n_waiting(spool), 0);

    spool_set_limits(spool, &limits);
    must_insert(spool, "b", 1, "ops");
    spool_free(spool);
}

static void spool_that_was_removed_or_replaced_takes_no_record(void **state)
{
    Folder *folder = *state;
    Spool *spool = must_open(folder->spool);
    int fd;

    must_insert(spool, "a", 1, "ops");
    assert_return_code(rename(folder->spool, folder->copy), errno);
    assert_int_equal(spool_begin(spool), 0);
    assert_int_equal(insert_one(spool, "b", 1, "ops"), SPOOL_REMOVED);
    assert_int_equal(spool_commit(spool), 0);

    fd = open(folder->spool, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    assert_return_code(fd, errno);
    close(fd);
    assert_int_equal(spool_begin(spool), 0);
    assert_int_equal(insert_one(spool, "b", 1, "ops"), SPOOL_REMOVED);
    assert_int_equal(spool_commit(spool), 0);

    assert_return_code(rename(folder->copy, folder->spool), errno);
    must_insert(spool, "b", 1, "ops");
    spool_free(spool);
}

typedef struct Seen {
    size_t n;
    int64_t seq[32];
    char id[32][RECORD_ID_MAX + 1];
    char stanza_id[32][SPOOL_STANZA_ID_SIZE];
    EntryState state[32];
    unsigned attempts[32];
    char reason[32][64];
} Seen;

static int see(const SpoolEntry *entry, void *userdata)
{
    Seen *seen = userdata;

    assert_true(seen->n < ELEMENTSOF(seen->seq));
    seen->seq[seen->n] = entry->seq;
    snprintf(seen->id[seen->n], sizeof(seen->id[0]), "%s", entry->id);
    snprintf(seen->stanza_id[seen->n], sizeof(seen->stanza_id[0]), "%s", entry->stanza_id);
    seen->state[seen->n] = entry->state;
    seen->attempts[seen->n] = entry->attempts;
    snprintf(seen->reason[seen->n], sizeof(seen->reason[0]), "%s", entry->reason ?: "");
    seen->n++;
    return 0;
}

static Seen loaded(Spool *spool, const char *destination, int64_t after, size_t max)
{
    Seen seen = {};

    assert_int_equal(spool_load(spool, destination, after, max, see, &seen), 0);
    return seen;
}

static void spool_inserted_entries_load_in_order(void **state)
{
    const Folder *folder = *state;
    _cleanup_(spool_freep) Spool *spool = must_open(folder->spool);
    char id[16];
    Seen seen;

    for (unsigned i = 0; i < 5; i++) {
        snprintf(id, sizeof(id), "a%u", i);
        must_insert(spool, id, 1, "ops");
    }
    must_insert(spool, "other", 2, "night");

    seen = loaded(spool, "ops", 0, 3);
    assert_int_equal(seen.n, 3);
    assert_string_equal(seen.id[0], "a0");
    assert_string_equal(seen.id[2], "a2");
    assert_int_equal(strlen(seen.stanza_id[0]), 32);
    assert_string_not_equal(seen.stanza_id[0], seen.stanza_id[1]);
    seen = loaded(spool, "ops", seen.seq[2], 16);
    assert_int_equal(seen.n, 2);
    assert_string_equal(seen.id[1], "a4");
    assert_int_equal(spool_n_waiting(spool), 6);
    assert_int_equal(spool_n_waiting_destination(spool, "ops"), 5);
    assert_int_equal(spool_n_waiting_uid(spool, 2), 1);
}

static void spool_known_id_is_duplicate(void **state)
{
    const Folder *folder = *state;
    _cleanup_(spool_freep) Spool *spool = must_open(folder->spool);
    SpoolFate fate;
    Seen seen;

    assert_int_equal(spool_begin(spool), 0);
    assert_int_equal(insert_one(spool, "a", 1, "ops"), SPOOL_INSERTED);
    assert_int_equal(insert_one(spool, "a", 1, "ops"), SPOOL_DUPLICATE);
    assert_int_equal(spool_commit(spool), 0);
    assert_int_equal(spool_n_waiting(spool), 1);

    seen = loaded(spool, "ops", 0, 1);
    assert_int_equal(spool_begin(spool), 0);
    assert_int_equal(spool_mark_done(spool, seen.seq[0], START, &fate), 1);
    assert_int_equal(insert_one(spool, "a", 1, "ops"), SPOOL_DUPLICATE);
    assert_int_equal(spool_commit(spool), 0);
    assert_int_equal(spool_n_waiting(spool), 0);
}

static void spool_full_and_share_are_told_apart(void **state)
{
    const Folder *folder = *state;
    _cleanup_(spool_freep) Spool *spool = must_open(folder->spool);
    static const char *const both[] = { "ops", "night" };
    char id[16];

    for (unsigned i = 0; i < 4; i++) {
        snprintf(id, sizeof(id), "a%u", i);
        must_insert(spool, id, 1, "ops");
    }
    assert_int_equal(spool_begin(spool), 0);
    /* two entries where one has room: neither */
    assert_int_equal(insert(spool, "b", 1, 2, both), SPOOL_SHARE);
    assert_int_equal(insert_one(spool, "c", 1, "ops"), SPOOL_INSERTED);
    assert_int_equal(insert_one(spool, "d", 1, "ops"), SPOOL_SHARE);
    /* one that is there needs no room */
    assert_int_equal(insert_one(spool, "c", 1, "ops"), SPOOL_DUPLICATE);
    assert_int_equal(insert(spool, "e", 2, 2, both), SPOOL_INSERTED);
    assert_int_equal(insert(spool, "f", 2, 2, both), SPOOL_INSERTED);
    assert_int_equal(insert(spool, "g", 3, 2, both), SPOOL_FULL);
    assert_int_equal(spool_commit(spool), 0);

    assert_int_equal(spool_n_waiting(spool), 9);
    assert_int_equal(spool_n_waiting_destination(spool, "night"), 2);
    assert_int_equal(spool_n_waiting_uid(spool, 1), 5);
    assert_int_equal(spool_n_waiting_uid(spool, 3), 0);
    /* what was not kept is not known either */
    assert_int_equal(spool_begin(spool), 0);
    assert_int_equal(insert_one(spool, "g", 3, "ops"), SPOOL_INSERTED);
    spool_rollback(spool);
}

static void spool_rollback_leaves_nothing(void **state)
{
    const Folder *folder = *state;
    _cleanup_(spool_freep) Spool *spool = must_open(folder->spool);
    SpoolFate fate;
    Seen seen;

    must_insert(spool, "a", 1, "ops");
    seen = loaded(spool, "ops", 0, 1);
    assert_int_equal(spool_begin(spool), 0);
    assert_int_equal(insert_one(spool, "b", 2, "night"), SPOOL_INSERTED);
    assert_int_equal(spool_mark_failed(spool, seen.seq[0], START, "no", &fate), 1);
    assert_int_equal(spool_n_failed(spool), 1);
    spool_rollback(spool);

    assert_int_equal(spool_n_waiting(spool), 1);
    assert_int_equal(spool_n_failed(spool), 0);
    assert_int_equal(spool_n_waiting_destination(spool, "night"), 0);
    assert_int_equal(loaded(spool, "night", 0, 1).n, 0);
    must_insert(spool, "b", 2, "night");
}

static void spool_record_is_complete_with_its_last_entry(void **state)
{
    const Folder *folder = *state;
    _cleanup_(spool_freep) Spool *spool = must_open(folder->spool);
    static const char *const both[] = { "ops", "night" };
    _cleanup_free_ char *json = NULL;
    SpoolFate fate;
    Seen ops, night;

    assert_int_equal(spool_begin(spool), 0);
    assert_int_equal(insert(spool, "a", 1, 2, both), SPOOL_INSERTED);
    assert_int_equal(spool_commit(spool), 0);
    ops = loaded(spool, "ops", 0, 1);
    night = loaded(spool, "night", 0, 1);

    assert_int_equal(spool_begin(spool), 0);
    assert_int_equal(spool_mark_sent(spool, ops.seq[0], START + SECOND), 0);
    assert_int_equal(spool_mark_done(spool, ops.seq[0], START + 2 * SECOND, &fate), 1);
    assert_string_equal(fate.id, "a");
    assert_false(fate.complete);
    assert_int_equal(spool_read_json(spool, night.seq[0], &json), 0);
    assert_string_equal(json, "{\"v\":1,\"text\":\"x\"}");
    assert_int_equal(spool_mark_done(spool, night.seq[0], START + 2 * SECOND, &fate), 1);
    assert_true(fate.complete && fate.delivered);
    /* a second proof changes nothing */
    assert_int_equal(spool_mark_done(spool, night.seq[0], START + 3 * SECOND, &fate), 0);
    assert_int_equal(spool_mark_failed(spool, night.seq[0], START, "late", &fate), 0);
    assert_int_equal(spool_commit(spool), 0);

    freep(&json);
    json = NULL;
    assert_int_equal(spool_read_json(spool, night.seq[0], &json), -ENOENT);
    assert_int_equal(spool_n_waiting(spool), 0);
}

/* Failed, shown, retried at the old place, dropped. */
static void spool_failed_entry_is_kept_retried_dropped(void **state)
{
    const Folder *folder = *state;
    _cleanup_(spool_freep) Spool *spool = must_open(folder->spool);
    SpoolFate fate;
    Seen seen, failed = {}, again, history = {};

    must_insert(spool, "a", 1, "ops");
    must_insert(spool, "b", 1, "ops");
    seen = loaded(spool, "ops", 0, 2);
    assert_int_equal(spool_begin(spool), 0);
    assert_int_equal(spool_mark_suspicion(spool, seen.seq[0], 5), 0);
    assert_int_equal(spool_mark_failed(spool, seen.seq[0], START, "forbidden", &fate), 1);
    assert_true(fate.complete && !fate.delivered);
    assert_int_equal(spool_commit(spool), 0);
    assert_int_equal(spool_n_failed(spool), 1);
    assert_int_equal(spool_n_waiting(spool), 1);
    assert_int_equal(spool_list(spool, true, "", 0, 10, see, &failed), 0);
    assert_int_equal(failed.n, 1);
    assert_string_equal(failed.reason[0], "forbidden");
    assert_int_equal(spool_begin(spool), 0);
    assert_int_equal(insert_one(spool, "a", 1, "ops"), SPOOL_DUPLICATE);
    spool_rollback(spool);

    assert_int_equal(spool_begin(spool), 0);
    assert_int_equal(spool_retry(spool, seen.seq[0]), 1);
    assert_int_equal(spool_retry(spool, seen.seq[0]), 0);
    assert_int_equal(spool_commit(spool), 0);
    again = loaded(spool, "ops", 0, 2);
    assert_int_equal(again.n, 2);
    assert_string_equal(again.id[0], "a");
    assert_string_equal(again.stanza_id[0], seen.stanza_id[0]);
    assert_int_equal(again.state[0], ENTRY_QUEUED);
    assert_int_equal(spool_n_failed(spool), 0);
    assert_int_equal(spool_n_waiting_uid(spool, 1), 2);

    assert_int_equal(spool_begin(spool), 0);
    assert_int_equal(spool_drop(spool, seen.seq[0], START + SECOND), 1);
    assert_int_equal(spool_drop(spool, seen.seq[0], START + SECOND), 0);
    assert_int_equal(spool_drop(spool, 4711, START), 0);
    assert_int_equal(spool_commit(spool), 0);
    assert_int_equal(spool_n_waiting(spool), 1);
    assert_int_equal(spool_list_history(spool, 0, 0, 10, see, &history), 0);
    assert_int_equal(history.n, 1);
    assert_int_equal(history.state[0], ENTRY_DROPPED);
}

static void spool_lists_come_in_pages(void **state)
{
    const Folder *folder = *state;
    _cleanup_(spool_freep) Spool *spool = must_open(folder->spool);
    Seen first = {}, second = {}, third = {}, record = {};
    SpoolFate fate;

    must_insert(spool, "a", 1, "ops");
    must_insert(spool, "b", 1, "night");
    must_insert(spool, "c", 1, "ops");
    assert_int_equal(spool_list(spool, false, "", 0, 2, see, &first), 0);
    assert_int_equal(first.n, 2);
    assert_string_equal(first.id[0], "b");
    assert_int_equal(spool_list(spool, false, "ops", first.seq[1], 2, see, &second), 0);
    assert_int_equal(second.n, 1);
    assert_string_equal(second.id[0], "c");
    assert_int_equal(spool_list_record(spool, "b", see, &record), 0);
    assert_int_equal(record.n, 1);

    assert_int_equal(spool_begin(spool), 0);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(spool_mark_done(spool, first.seq[i], START, &fate), 1);
    assert_int_equal(spool_mark_done(spool, second.seq[0], START + SECOND, &fate), 1);
    assert_int_equal(spool_commit(spool), 0);
    assert_int_equal(spool_list_history(spool, 0, 0, 2, see, &third), 0);
    assert_int_equal(third.n, 2);
    assert_string_equal(third.id[0], "c");
    assert_string_equal(third.id[1], "b");
    memset(&third, 0, sizeof(third));
    assert_int_equal(spool_list_history(spool, START, first.seq[0], 2, see, &third), 0);
    assert_int_equal(third.n, 1);
    assert_string_equal(third.id[0], "a");
}

static void spool_failed_are_counted_by_destination(void **state)
{
    const Folder *folder = *state;
    Spool *spool = must_open(folder->spool);
    SpoolFate fate;
    Seen ops, night;

    must_insert(spool, "a", 1, "ops");
    must_insert(spool, "b", 1, "ops");
    must_insert(spool, "c", 1, "night");
    ops = loaded(spool, "ops", 0, 2);
    night = loaded(spool, "night", 0, 1);
    assert_int_equal(spool_begin(spool), 0);
    assert_int_equal(spool_mark_failed(spool, ops.seq[0], START, "no", &fate), 1);
    assert_int_equal(spool_mark_failed(spool, ops.seq[1], START, "no", &fate), 1);
    assert_int_equal(spool_n_failed_destination(spool, "ops"), 2);
    spool_rollback(spool);
    assert_int_equal(spool_n_failed_destination(spool, "ops"), 0);

    assert_int_equal(spool_begin(spool), 0);
    assert_int_equal(spool_mark_failed(spool, ops.seq[0], START, "no", &fate), 1);
    assert_int_equal(spool_mark_failed(spool, ops.seq[1], START, "no", &fate), 1);
    assert_int_equal(spool_mark_failed(spool, night.seq[0], START, "no", &fate), 1);
    assert_int_equal(spool_drop(spool, ops.seq[0], START), 1);
    assert_int_equal(spool_retry(spool, night.seq[0]), 1);
    assert_int_equal(spool_commit(spool), 0);
    for (int part = 0; part < 2; part++) {
        assert_int_equal(spool_n_failed_destination(spool, "ops"), 1);
        assert_int_equal(spool_n_failed_destination(spool, "night"), 0);
        assert_int_equal(spool_n_failed_destination(spool, "nobody"), 0);
        assert_int_equal(spool_n_failed(spool), 1);
        assert_int_equal(spool_n_waiting_destination(spool, "ops"), 0);
        assert_int_equal(spool_n_waiting_destination(spool, "night"), 1);
        assert_string_equal(spool_waiting_destination(spool, 0), "night");
        assert_null(spool_waiting_destination(spool, 1));
        spool_free(spool);
        spool = must_open(folder->spool); /* they are found again */
    }
    spool_free(spool);
}

static void spool_oldest_is_found_over_destinations(void **state)
{
    const Folder *folder = *state;
    _cleanup_(spool_freep) Spool *spool = must_open(folder->spool);
    const char *destination = "x";
    usec_t oldest = 1;

    assert_int_equal(spool_oldest(spool, &oldest, &destination), 0);
    assert_int_equal(oldest, 0);
    must_insert(spool, "a", 1, "ops");
    assert_int_equal(spool_oldest(spool, &oldest, &destination), 0);
    assert_int_equal(oldest, START);
    assert_string_equal(destination, "ops");
    assert_int_equal(spool_oldest_destination(spool, "ops", &oldest), 0);
    assert_int_equal(oldest, START);
    assert_int_equal(spool_oldest_destination(spool, "night", &oldest), 0);
    assert_int_equal(oldest, 0);
    assert_string_equal(spool_waiting_destination(spool, 0), "ops");
    assert_null(spool_waiting_destination(spool, 1));
}

static void spool_purge_forgets_what_is_old(void **state)
{
    const Folder *folder = *state;
    _cleanup_(spool_freep) Spool *spool = must_open(folder->spool);
    size_t dropped = 0;
    SpoolFate fate;
    Seen seen;
    char id[16];

    for (unsigned i = 0; i < 4; i++) {
        snprintf(id, sizeof(id), "a%u", i);
        must_insert(spool, id, 1, "ops");
    }
    seen = loaded(spool, "ops", 0, 4);
    assert_int_equal(spool_begin(spool), 0);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(spool_mark_done(spool, seen.seq[i], START + i * SECOND, &fate), 1);
    assert_int_equal(spool_purge(spool, START + 50 * SECOND, 10, &dropped), 0);
    assert_int_equal(spool_purge(spool, START + 102 * SECOND, 1, &dropped), 1);
    assert_int_equal(spool_purge(spool, START + 102 * SECOND, 10, &dropped), 1);
    assert_int_equal(spool_commit(spool), 0);

    assert_int_equal(spool_begin(spool), 0);
    assert_int_equal(insert_one(spool, "a0", 1, "ops"), SPOOL_INSERTED);
    assert_int_equal(insert_one(spool, "a2", 1, "ops"), SPOOL_DUPLICATE);
    assert_int_equal(insert_one(spool, "a3", 1, "ops"), SPOOL_DUPLICATE); /* still waits */
    assert_int_equal(spool_commit(spool), 0);
}

static void spool_failed_past_the_limit_are_dropped_oldest_first(void **state)
{
    const Folder *folder = *state;
    _cleanup_(spool_freep) Spool *spool = must_open(folder->spool);
    size_t dropped = 0;
    SpoolFate fate;
    Seen seen;
    char id[16];

    for (unsigned i = 0; i < 12; i++) {
        snprintf(id, sizeof(id), "a%u", i);
        must_insert(spool, id, 1, "ops");
        seen = loaded(spool, "ops", 0, 1);
        assert_int_equal(spool_begin(spool), 0);
        assert_int_equal(spool_mark_failed(spool, seen.seq[0], START, "no", &fate), 1);
        assert_int_equal(spool_commit(spool), 0);
    }
    assert_int_equal(spool_begin(spool), 0);
    assert_int_equal(spool_purge(spool, START + 1000 * SECOND, 100, &dropped), 2);
    assert_int_equal(spool_commit(spool), 0);
    assert_int_equal(dropped, 2);
    assert_int_equal(spool_n_failed(spool), 10);
    memset(&seen, 0, sizeof(seen));
    assert_int_equal(spool_list(spool, true, "", 0, 32, see, &seen), 0);
    assert_string_equal(seen.id[0], "a2");
}

static void copy_file(const char *from, const char *to)
{
    _cleanup_close_ int in = open(from, O_RDONLY | O_CLOEXEC);
    _cleanup_close_ int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    char buffer[4096];
    ssize_t n;

    assert_true(in >= 0 && out >= 0);
    while ((n = read(in, buffer, sizeof(buffer))) > 0)
        assert_int_equal(write(out, buffer, (size_t)n), n);
    assert_int_equal(n, 0);
}

/* What a crash leaves behind: the file and its log as they are in mid-flight. The writer is a
 * process of its own, for reading the file here would drop our own locks on it. */
static void spool_after_crash_has_all_that_was_committed(void **state)
{
    const Folder *folder = *state;
    char copy_wal[96], wal[96];
    Spool *reopened;
    Seen seen;
    pid_t pid;
    int status;

    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        Spool *spool = must_open(folder->spool);

        must_insert(spool, "a", 1, "ops");
        must_insert(spool, "b", 7, "ops");
        seen = loaded(spool, "ops", 0, 1);
        if (spool_begin(spool) < 0 || spool_mark_sent(spool, seen.seq[0], START) < 0 ||
            spool_commit(spool) < 0)
            _exit(1);
        if (spool_begin(spool) < 0 || insert_one(spool, "c", 1, "ops") != SPOOL_INSERTED)
            _exit(1);
        _exit(0); /* nothing is closed, the last transaction stays open */
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    snprintf(wal, sizeof(wal), "%s-wal", folder->spool);
    snprintf(copy_wal, sizeof(copy_wal), "%s-wal", folder->copy);
    copy_file(folder->spool, folder->copy);
    copy_file(wal, copy_wal);

    reopened = must_open(folder->copy);
    seen = loaded(reopened, "ops", 0, 10);
    assert_int_equal(seen.n, 2);
    assert_int_equal(seen.state[0], ENTRY_SENT);
    assert_int_equal(seen.attempts[0], 1);
    assert_int_equal(seen.state[1], ENTRY_QUEUED);
    assert_int_equal(spool_n_waiting(reopened), 2);
    assert_int_equal(spool_n_waiting_uid(reopened, 7), 1);
    assert_int_equal(spool_n_waiting_destination(reopened, "ops"), 2);
    spool_free(reopened);
}

/* The only one (of one letter) that a process would find waiting if we died now; in a child, as
 * above. */
static char waiting_after_crash(const Folder *folder)
{
    char copy_wal[96], wal[96];
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        Spool *spool;
        Seen seen;

        snprintf(wal, sizeof(wal), "%s-wal", folder->spool);
        snprintf(copy_wal, sizeof(copy_wal), "%s-wal", folder->copy);
        copy_file(folder->spool, folder->copy);
        copy_file(wal, copy_wal);
        spool = must_open(folder->copy);
        seen = loaded(spool, "ops", 0, 10);
        spool_free(spool);
        _exit(seen.n == 1 ? seen.id[0][0] : 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return (char)WEXITSTATUS(status);
}

/* The disk takes less and then more of what a commit writes, at last all of it. */
static void spool_commit_that_fails_half_way_leaves_nothing(void **state)
{
    const Folder *folder = *state;
    _cleanup_(spool_freep) Spool *spool = must_open(folder->spool);
    struct rlimit limit, before;
    SpoolFate fate;
    unsigned n_failed = 0;
    struct stat st;
    char wal[96];
    Seen seen;

    must_insert(spool, "a", 1, "ops");
    seen = loaded(spool, "ops", 0, 1);
    snprintf(wal, sizeof(wal), "%s-wal", folder->spool);
    assert_int_equal(stat(wal, &st), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_IGN);
    for (rlim_t room = 0;; room += 1500) {
        int r;

        assert_int_equal(spool_begin(spool), 0);
        assert_int_equal(insert_one(spool, "b", 2, "ops"), SPOOL_INSERTED);
        assert_int_equal(spool_mark_failed(spool, seen.seq[0], START, "no", &fate), 1);
        limit = (struct rlimit){ (rlim_t)st.st_size + room, before.rlim_max };
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        r = spool_commit(spool);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        if (r == 0)
            break;

        n_failed++;
        assert_int_equal(spool_n_waiting(spool), 1);
        assert_int_equal(spool_n_failed(spool), 0);
        assert_int_equal(spool_n_waiting_uid(spool, 2), 0);
        assert_int_equal(loaded(spool, "ops", 0, 2).n, 1);
        assert_int_equal(waiting_after_crash(folder), 'a');
    }
    signal(SIGXFSZ, SIG_DFL);
    assert_true(n_failed > 5);
    assert_int_equal(spool_n_waiting(spool), 1);
    assert_int_equal(spool_n_failed(spool), 1);
    assert_int_equal(waiting_after_crash(folder), 'b');
    assert_string_equal(loaded(spool, "ops", 0, 2).id[0], "b");
}

static void spool_file_is_private(void **state)
{
    const Folder *folder = *state;
    _cleanup_(spool_freep) Spool *spool = NULL;
    struct stat st;
    char wal[96];
    mode_t mask = umask(0);

    spool = must_open(folder->spool);
    umask(mask);
    must_insert(spool, "a", 1, "ops");
    snprintf(wal, sizeof(wal), "%s-wal", folder->spool);
    assert_int_equal(stat(folder->spool, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(wal, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void spool_in_use_is_refused(void **state)
{
    const Folder *folder = *state;
    int to_child[2], from_child[2], status;
    char reason[SPOOL_REASON_MAX] = "", byte = 0;
    Spool *spool = NULL;
    pid_t pid;

    assert_int_equal(pipe2(to_child, O_CLOEXEC), 0);
    assert_int_equal(pipe2(from_child, O_CLOEXEC), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(to_child[1]);
        must_open(folder->spool);
        if (write(from_child[1], "x", 1) != 1)
            _exit(1);
        _exit(read(to_child[0], &byte, 1) == 0 ? 0 : 1);
    }
    close(to_child[0]);
    assert_int_equal(read(from_child[0], &byte, 1), 1);
    assert_int_equal(spool_open(folder->spool, &limits, &spool, reason), -EBUSY);
    assert_null(spool);
    assert_non_null(strstr(reason, "only one relay"));
    close(to_child[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    close(from_child[0]);
    close(from_child[1]);

    spool_free(must_open(folder->spool));
}

/* Overwrites a part of the closed file. */
static void patch(const char *path, off_t at, const void *bytes, size_t n)
{
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC | O_CREAT, 0600);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, n, at), (ssize_t)n);
}

static void spool_of_newer_version_is_refused(void **state)
{
    const Folder *folder = *state;
    static const uint8_t version[] = { 0, 0, 0, 99 }; /* user_version stands at offset 60 */
    char reason[SPOOL_REASON_MAX] = "";
    Spool *spool = NULL;

    spool_free(must_open(folder->spool));
    patch(folder->spool, 60, version, sizeof(version));
    assert_int_equal(spool_open(folder->spool, &limits, &spool, reason), -EPROTONOSUPPORT);
    assert_non_null(strstr(reason, "newer"));
    assert_non_null(strstr(reason, "99"));
}

static void spool_damaged_is_refused_with_advice(void **state)
{
    const Folder *folder = *state;
    char reason[SPOOL_REASON_MAX] = "", garbage[4096];
    Spool *spool = must_open(folder->spool);

    must_insert(spool, "a", 1, "ops");
    spool_free(spool);
    spool = NULL;
    memset(garbage, 0xa5, sizeof(garbage));
    patch(folder->spool, 4096, garbage, sizeof(garbage));
    patch(folder->spool, 2 * 4096, garbage, sizeof(garbage));
    assert_int_equal(spool_open(folder->spool, &limits, &spool, reason), -EUCLEAN);
    assert_null(spool);
    assert_non_null(strstr(reason, "damaged"));
    assert_non_null(strstr(reason, folder->spool));
    assert_non_null(strstr(reason, "--recover-spool"));
}

/* The index that leads to what waits says "opt" where the entry says "ops". */
static void spool_whose_index_lost_an_entry_is_refused(void **state)
{
    const Folder *folder = *state;
    char reason[SPOOL_REASON_MAX] = "", page[4096];
    Spool *spool = must_open(folder->spool);
    bool patched = false;
    struct stat st;
    int fd;

    must_insert(spool, "a", 1, "destination");
    spool_free(spool);
    spool = NULL;
    fd = open(folder->spool, O_RDWR | O_CLOEXEC);
    assert_int_equal(fstat(fd, &st), 0);
    for (off_t at = 4096; at < st.st_size; at += (off_t)sizeof(page)) {
        char *found;

        assert_int_equal(pread(fd, page, sizeof(page), at), sizeof(page));
        found = memmem(page, sizeof(page), "destination", 11);
        if (page[0] != 10 || !found) /* a leaf of an index */
            continue;
        patched = pwrite(fd, "x", 1, at + (found - page)) == 1;
    }
    close(fd);
    assert_true(patched);
    assert_int_equal(spool_open(folder->spool, &limits, &spool, reason), -EUCLEAN);
    assert_non_null(strstr(reason, "entry_waiting"));
}

static void spool_emptied_is_refused_untouched(void **state)
{
    const Folder *folder = *state;
    char reason[SPOOL_REASON_MAX] = "", wal[96];
    Spool *spool = NULL;
    struct stat st;

    snprintf(wal, sizeof(wal), "%s-wal", folder->spool);
    patch(wal, 0, "the log", 7);
    assert_int_equal(spool_open(folder->spool, &limits, &spool, reason), -EUCLEAN);
    assert_non_null(strstr(reason, "missing"));
    assert_int_equal(stat(folder->spool, &st), -1);

    patch(folder->spool, 0, "", 0);
    assert_int_equal(spool_open(folder->spool, &limits, &spool, reason), -EUCLEAN);
    assert_non_null(strstr(reason, "empty"));
    assert_int_equal(stat(folder->spool, &st), 0);
    assert_int_equal(st.st_size, 0);
    assert_int_equal(stat(wal, &st), 0);
    assert_int_equal(st.st_size, 7);
}

static void spool_that_is_a_folder_is_refused(void **state)
{
    const Folder *folder = *state;
    char reason[SPOOL_REASON_MAX] = "";
    Spool *spool = NULL;

    assert_int_equal(spool_open(folder->path, &limits, &spool, reason), -ENOEXEC);
    assert_non_null(strstr(reason, "no regular file"));
}

static void spool_tells_whether_it_was_made(void **state)
{
    const Folder *folder = *state;
    Spool *spool = must_open(folder->spool);

    assert_true(spool_was_made(spool));
    spool_free(spool);
    spool = must_open(folder->spool);
    assert_false(spool_was_made(spool));
    spool_free(spool);
}

/* Format 1 as the first release wrote it: these lines must never be changed. */
static const char format_1[] =
    "CREATE TABLE record (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
    " uid INTEGER NOT NULL, accepted_usec INTEGER NOT NULL, receipt INTEGER NOT NULL, title TEXT,"
    " json TEXT, done_usec INTEGER) STRICT;"
    "CREATE TABLE entry (seq INTEGER PRIMARY KEY AUTOINCREMENT,"
    " record INTEGER NOT NULL REFERENCES record (number) ON DELETE CASCADE,"
    " destination TEXT NOT NULL, stanza_id TEXT NOT NULL, state INTEGER NOT NULL,"
    " attempts INTEGER NOT NULL DEFAULT 0, suspicion INTEGER NOT NULL DEFAULT 0,"
    " sent_usec INTEGER, done_usec INTEGER, reason TEXT) STRICT;"
    "CREATE INDEX record_done ON record (done_usec) WHERE done_usec IS NOT NULL;"
    "CREATE INDEX entry_record ON entry (record);"
    "CREATE INDEX entry_waiting ON entry (destination, seq) WHERE state <= 1;"
    "CREATE INDEX entry_failed ON entry (destination, seq) WHERE state = 2;"
    "CREATE INDEX entry_done ON entry (done_usec) WHERE state >= 3;"
    "CREATE TABLE paused (destination TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;"
    "INSERT INTO record VALUES (1, 'a', 7, 1, 0, 'a title', '{\"v\":1,\"text\":\"x\"}', NULL),"
    " (2, 'b', 7, 2, 0, 'a title', NULL, 1600000000000000),"
    " (3, 'c', 7, 3, 0, 'a title', '{\"v\":1,\"text\":\"x\"}', NULL);"
    "INSERT INTO entry VALUES (1, 1, 'ops', '00000000000000000000000000000001', 1, 2, 0, 5, NULL,"
    " NULL),"
    " (2, 2, 'ops', '00000000000000000000000000000002', 3, 1, 0, 5, 1600000000000000, NULL),"
    " (3, 3, 'ops', '00000000000000000000000000000003', 2, 1, 0, 5, 6, 'forbidden');"
    "INSERT INTO paused VALUES ('night');"
    "PRAGMA application_id = 1481461842; PRAGMA user_version = 1;";

static void spool_of_format_1_is_read(void **state)
{
    const Folder *folder = *state;
    Database *database = NULL;
    Seen seen, history = {};
    Spool *spool;

    patch(folder->spool, 0, "", 0);
    assert_int_equal(database_connect(folder->spool, 0, &database), 0);
    assert_int_equal(database_exec(database, format_1), 0);
    database_free(database);

    spool = must_open(folder->spool);
    seen = loaded(spool, "ops", 0, 10);
    assert_int_equal(seen.n, 1);
    assert_string_equal(seen.id[0], "a");
    assert_int_equal(seen.attempts[0], 2);
    assert_int_equal(spool_n_failed(spool), 1);
    assert_int_equal(spool_list_history(spool, 0, 0, 10, see, &history), 0);
    assert_int_equal(history.n, 1);
    assert_string_equal(history.id[0], "b");
    assert_int_equal(spool_is_paused(spool, "night"), 1);
    must_insert(spool, "d", 1, "ops");
    assert_int_equal(loaded(spool, "ops", 0, 10).seq[1], 4);
    spool_free(spool);
}

static void spool_of_no_database_is_refused_untouched(void **state)
{
    const Folder *folder = *state;
    static const char text[] = "this was somebody's diary, and it is a long one, page after page "
                               "of it, so that nobody takes it for an empty file of SQLite's";
    char reason[SPOOL_REASON_MAX] = "", back[sizeof(text)];
    Spool *spool = NULL;
    int fd;

    patch(folder->spool, 0, text, sizeof(text));
    assert_int_equal(spool_open(folder->spool, &limits, &spool, reason), -EUCLEAN);
    fd = open(folder->spool, O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, back, sizeof(back)), sizeof(back));
    assert_memory_equal(back, text, sizeof(text));
    close(fd);
}

static void spool_without_folder_says_so(void **state)
{
    char reason[SPOOL_REASON_MAX] = "";
    Spool *spool = NULL;

    assert_int_equal(spool_open("/nonexistent/spool.db", &limits, &spool, reason), -ENOENT);
    assert_non_null(strstr(reason, "folder"));
}

static void spool_pauses_outlive_it(void **state)
{
    const Folder *folder = *state;
    Spool *spool = must_open(folder->spool);

    assert_int_equal(spool_begin(spool), 0);
    assert_int_equal(spool_set_paused(spool, "ops", true), 0);
    assert_int_equal(spool_commit(spool), 0);
    spool_free(spool);
    spool = must_open(folder->spool);
    assert_int_equal(spool_is_paused(spool, "ops"), 1);
    assert_int_equal(spool_is_paused(spool, "night"), 0);
    assert_int_equal(spool_begin(spool), 0);
    assert_int_equal(spool_set_paused(spool, "ops", false), 0);
    assert_int_equal(spool_commit(spool), 0);
    assert_int_equal(spool_is_paused(spool, "ops"), 0);
    spool_free(spool);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_setup, folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(spool_on_a_disk_nearly_full_takes_no_record_and_delivers),
        TEST(spool_that_was_removed_or_replaced_takes_no_record),
        TEST(spool_inserted_entries_load_in_order),
        TEST(spool_known_id_is_duplicate),
        TEST(spool_full_and_share_are_told_apart),
        TEST(spool_rollback_leaves_nothing),
        TEST(spool_record_is_complete_with_its_last_entry),
        TEST(spool_failed_entry_is_kept_retried_dropped),
        TEST(spool_lists_come_in_pages),
        TEST(spool_failed_are_counted_by_destination),
        TEST(spool_oldest_is_found_over_destinations),
        TEST(spool_purge_forgets_what_is_old),
        TEST(spool_failed_past_the_limit_are_dropped_oldest_first),
        TEST(spool_after_crash_has_all_that_was_committed),
        TEST(spool_commit_that_fails_half_way_leaves_nothing),
        TEST(spool_file_is_private),
        TEST(spool_in_use_is_refused),
        TEST(spool_of_newer_version_is_refused),
        TEST(spool_damaged_is_refused_with_advice),
        TEST(spool_whose_index_lost_an_entry_is_refused),
        TEST(spool_emptied_is_refused_untouched),
        TEST(spool_that_is_a_folder_is_refused),
        TEST(spool_tells_whether_it_was_made),
        TEST(spool_of_format_1_is_read),
        TEST(spool_of_no_database_is_refused_untouched),
        TEST(spool_without_folder_says_so),
        TEST(spool_pauses_outlive_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
