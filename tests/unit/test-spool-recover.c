/* SPDX-License-Identifier: MIT */

/*
 * Spools damaged in many ways, by seed, and what is brought back of them.
 *
 * The texts of the alerts are small enough to lie within one page each, so whether one can be read
 * is seen from outside: it stands in the damaged file, or in its log, or it does not.
 */

#include "tests/unit/test.h"

#include "xmpprelay/spool-recover.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define N_ALERTS 240
#define N_IN_FILE 200 /* the others stand in the log */
#define N_KINDS 12
#define N_SEEDS (6 * N_KINDS)
#define PAGE 4096
#define START (1700000000 * USEC_PER_SEC)
#define FILE_MAX ((size_t)4 << 20)

typedef struct Folder {
    char path[64];
    char spool[80], log[88];
    uint8_t *file, *file_log; /* of a relay that died, with a log */
    size_t file_size, log_size;
} Folder;

static const SpoolLimits limits = { .max_records = 10000,
                                    .max_share = 100,
                                    .keep_usec = USEC_INFINITY };
static const char *const names[] = { "ops" };

static uint64_t random_state;

static uint64_t random_number(uint64_t below)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (random_state >> 33) % below;
}

static void remove_files(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;

    assert_non_null(dir);
    while ((entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            assert_int_equal(unlinkat(dirfd(dir), entry->d_name, 0), 0);
    closedir(dir);
}

static size_t read_file(const char *path, uint8_t *ret)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, ret, FILE_MAX);

    assert_true(n >= 0 && (size_t)n < FILE_MAX);
    return (size_t)n;
}

static void write_file(const char *path, const uint8_t *data, size_t size)
{
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), (ssize_t)size);
}

static void number_of(unsigned i, char ret[static 32])
{
    snprintf(ret, 32, "alert-number-%04u-", i);
}

/* Every fourth is for two destinations, every eighth failed, every third is delivered. */
static bool is_delivered(unsigned i)
{
    return i % 3 == 0;
}

static void fill_spool(Spool *spool, unsigned from, unsigned to)
{
    static const char *const both[] = { "ops", "night" };
    static const char *const to_member[] = { "", ",\"to\":[\"ops\",\"night\"]" };

    for (unsigned i = from; i < to; i++) {
        char id[16], mark[32], json[1024];
        SpoolRecord record = { .id = id,
                               .json = json,
                               .title = "a title",
                               .uid = 1,
                               .accepted_usec = START + i,
                               .destinations = both,
                               .n_destinations = i % 4 == 0 ? 2 : 1 };

        number_of(i, mark);
        snprintf(id, sizeof(id), "id-%u", i);
        snprintf(
            json, sizeof(json), "{\"v\":1,\"text\":\"%s%.*s\"%s}", mark, (int)(i * 7 % 600),
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            to_member[i % 4 == 0]);
        if (spool_begin(spool) < 0 || spool_insert(spool, &record) != SPOOL_INSERTED ||
            spool_commit(spool) < 0)
            _exit(1);
    }
}

static int see_seq(const SpoolEntry *entry, void *userdata)
{
    int64_t *seqs = userdata;
    unsigned i;

    if (sscanf(entry->id, "id-%u", &i) != 1 || i >= N_ALERTS)
        return -EINVAL;
    seqs[i] = entry->seq;
    return 0;
}

static void settle_some(Spool *spool, unsigned from, unsigned to)
{
    static int64_t ops[N_ALERTS], night[N_ALERTS];
    SpoolFate fate;

    if (spool_load(spool, "ops", 0, N_ALERTS, see_seq, ops) < 0 ||
        spool_load(spool, "night", 0, N_ALERTS, see_seq, night) < 0 || spool_begin(spool) < 0)
        _exit(1);
    for (unsigned i = from; i < to; i++) {
        if (is_delivered(i) &&
            (spool_mark_done(spool, ops[i], START + 5, &fate) < 0 ||
             (night[i] && spool_mark_done(spool, night[i], START + 5, &fate) < 0)))
            _exit(1);
        if (!is_delivered(i) && i % 8 == 1 &&
            spool_mark_failed(spool, ops[i], START + 5, "no", &fate) < 0)
            _exit(1);
    }
    if (spool_set_paused(spool, "night", true) < 0 || spool_commit(spool) < 0)
        _exit(1);
}

/* In a process of its own that does not close it, so that the log stays. */
static int folder_setup(void **state)
{
    Folder *folder = calloc(1, sizeof(*folder));
    char reason[SPOOL_REASON_MAX];
    int status;
    pid_t pid;

    assert_non_null(folder);
    snprintf(folder->path, sizeof(folder->path), "/tmp/test-recover-XXXXXX");
    assert_non_null(mkdtemp(folder->path));
    snprintf(folder->spool, sizeof(folder->spool), "%s/spool.db", folder->path);
    snprintf(folder->log, sizeof(folder->log), "%s/spool.db-wal", folder->path);
    folder->file = malloc(FILE_MAX);
    folder->file_log = malloc(FILE_MAX);
    assert_true(folder->file && folder->file_log);
    pid = fork();
    if (pid == 0) {
        Spool *spool;

        if (spool_open(folder->spool, &limits, &spool, reason) < 0)
            _exit(1);
        fill_spool(spool, 0, N_IN_FILE);
        settle_some(spool, 0, N_IN_FILE);
        spool_free(spool);
        if (spool_open(folder->spool, &limits, &spool, reason) < 0)
            _exit(1);
        fill_spool(spool, N_IN_FILE, N_ALERTS);
        settle_some(spool, N_IN_FILE, N_ALERTS);
        for (int i = 0; i < 6; i++) /* damage of the last commits is like a loss of power */
            if (spool_begin(spool) < 0 || spool_set_paused(spool, "x", i % 2 == 0) < 0 ||
                spool_commit(spool) < 0)
                _exit(1);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    folder->file_size = read_file(folder->spool, folder->file);
    folder->log_size = read_file(folder->log, folder->file_log);
    assert_true(folder->file_size > (size_t)20 * PAGE && folder->log_size > (size_t)10 * PAGE);
    *state = folder;
    return 0;
}

static int folder_teardown(void **state)
{
    Folder *folder = *state;

    remove_files(folder->path);
    rmdir(folder->path);
    free(folder->file);
    free(folder->file_log);
    free(folder);
    return 0;
}

static void overwrite(uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)random_number(256);
}

/* Damages copies of both files; says how. */
static const char *damage(unsigned kind, uint8_t *file, size_t *file_size, uint8_t *log,
                          size_t *log_size)
{
    const size_t n_pages = *file_size / PAGE;

    switch (kind) {
    case 0:
        memset(file, 0, PAGE);
        return "the first page is zero";
    case 1:
        overwrite(file, 100);
        return "the header is garbage";
    case 2:
        for (int i = 0; i < 3; i++)
            overwrite(file + random_number(n_pages) * PAGE, PAGE);
        return "three pages are garbage";
    case 3:
        for (int i = 0; i < 3; i++)
            memset(file + random_number(n_pages) * PAGE, 0, PAGE);
        return "three pages are zero";
    case 4:
        *file_size = random_number(*file_size);
        return "the file is cut off";
    case 5:
        for (int i = 0; i < 20; i++)
            file[random_number(*file_size)] ^= (uint8_t)(1 + random_number(255));
        return "single bytes are wrong";
    case 6:
        for (int i = 0; i < 4; i++)
            overwrite(log + random_number(*log_size - 512), 512);
        return "the log has garbage in it";
    case 7:
        *log_size = random_number(*log_size);
        return "the log is cut off";
    case 8:
        *log_size = 0;
        return "the log is gone";
    case 9:
        *file_size = 0;
        return "the file is gone, the log is not";
    case 10:
        overwrite(log, 32);
        overwrite(file + PAGE, PAGE);
        return "the log's header is garbage, and a page";
    default:
        overwrite(file, PAGE);
        for (size_t at = PAGE; at + PAGE < *file_size; at += (1 + random_number(8)) * PAGE)
            overwrite(file + at, PAGE);
        return "most of it is garbage";
    }
}

/* Whether it hits parts of pages. */
static bool is_partial(unsigned kind)
{
    return kind >= 4 && kind <= 7;
}

typedef struct Found {
    unsigned n_entries[N_ALERTS];
    unsigned n_waiting[N_ALERTS];
    unsigned n_strange;
} Found;

static int note(const SpoolEntry *entry, void *userdata)
{
    Found *found = userdata;
    unsigned i;

    if (sscanf(entry->id, "id-%u", &i) != 1 || i >= N_ALERTS) {
        found->n_strange++;
        return 0;
    }
    found->n_entries[i]++;
    found->n_waiting[i] += entry->state <= ENTRY_SENT;
    return 0;
}

static void read_spool(Spool *spool, Found *ret)
{
    *ret = (Found){};
    for (size_t i = 0; spool_waiting_destination(spool, i); i++)
        assert_int_equal(
            spool_load(spool, spool_waiting_destination(spool, i), 0, 10000, note, ret), 0);
    assert_int_equal(spool_list(spool, true, "", 0, 10000, note, ret), 0);
    assert_int_equal(spool_list_history(spool, 0, 0, 10000, note, ret), 0);
}

/* Each that waits can be read, as it is read for delivery. */
static int read_text(const SpoolEntry *entry, void *userdata)
{
    _cleanup_free_ char *json = NULL;

    return spool_read_json(userdata, entry->seq, &json);
}

static bool holds(const uint8_t *data, size_t size, const char *mark)
{
    return size > 0 && memmem(data, size, mark, strlen(mark));
}

static void spool_damaged_in_any_way_is_refused_or_whole_and_recovered(void **state)
{
    Folder *folder = *state;
    uint8_t *file = malloc(FILE_MAX), *log = malloc(FILE_MAX);
    unsigned n_refused = 0, n_started = 0, n_hopeless = 0;

    assert_true(file && log);
    for (unsigned seed = 0; seed < N_SEEDS; seed++) {
        size_t file_size = folder->file_size, log_size = folder->log_size;
        char reason[SPOOL_REASON_MAX] = "";
        SpoolRecovered recovered = {};
        size_t n_missing = 0, told;
        Spool *spool = NULL;
        const char *how;
        Found found;
        int r;

        random_state = seed;
        memcpy(file, folder->file, file_size);
        memcpy(log, folder->file_log, log_size);
        how = damage(seed % N_KINDS, file, &file_size, log, &log_size);
        remove_files(folder->path);
        if (file_size > 0 || seed % 24 < 12)
            write_file(folder->spool, file, file_size);
        if (log_size > 0)
            write_file(folder->log, log, log_size);

        r = spool_open(folder->spool, &limits, &spool, reason);
        if (r < 0) {
            n_refused++;
            if (r != -EUCLEAN && r != -ENOEXEC && r != -EPROTONOSUPPORT)
                fail_msg("seed %u, %s: %d, %s", seed, how, r, reason);
            assert_non_null(strstr(reason, folder->spool));
            /* as it was, to the byte */
            assert_int_equal(read_file(folder->spool, file + FILE_MAX / 2), file_size);
            assert_memory_equal(file, file + FILE_MAX / 2, file_size);
            assert_int_equal(read_file(folder->log, log + FILE_MAX / 2), log_size);
            assert_memory_equal(log, log + FILE_MAX / 2, log_size);

            r = spool_recover(folder->spool, names, 1, &recovered, reason);
            if (r < 0) {
                n_hopeless++;
                for (unsigned i = 0; i < N_ALERTS; i++) {
                    char mark[32];

                    number_of(i, mark);
                    if (holds(file, file_size, mark) || holds(log, log_size, mark))
                        fail_msg("seed %u, %s: not recovered: %s", seed, how, reason);
                }
                continue;
            }
            assert_int_equal(r, 1);
            assert_int_equal(access(recovered.kept, F_OK) == 0, file_size > 0 || seed % 24 < 12);
            r = spool_open(folder->spool, &limits, &spool, reason);
            if (r < 0)
                fail_msg("seed %u, %s: recovered, and then: %s", seed, how, reason);
        } else {
            n_started++;
        }
        read_spool(spool, &found);
        told = recovered.broken + recovered.lost + found.n_strange;
        told += seed % N_KINDS == 7; /* one that was not committed when the log was cut off */
        for (unsigned i = 0; i < N_ALERTS; i++) {
            char mark[32];

            number_of(i, mark);
            if (found.n_entries[i] || is_delivered(i) ||
                !(holds(file, file_size, mark) || holds(log, log_size, mark)))
                continue;
            /* Its text may be whole where what stands around it is not: that is told. */
            if (is_partial(seed % N_KINDS) && n_missing++ < told)
                continue;
            fail_msg("seed %u, %s: alert %u could be read and is lost", seed, how, i);
        }
        for (size_t i = 0; spool_waiting_destination(spool, i); i++)
            assert_int_equal(
                spool_load(spool, spool_waiting_destination(spool, i), 0, 10000, read_text, spool),
                0);
        spool_free(spool);
    }
    print_message("%u refused, %u started, %u without anything to read\n", n_refused, n_started,
                  n_hopeless);
    assert_true(n_refused > N_SEEDS / 2 && n_started > 5);
    free(file);
    free(log);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_setup, folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(spool_damaged_in_any_way_is_refused_or_whole_and_recovered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
