/* SPDX-License-Identifier: MIT */

/*
 * Recovery of a spool that has a past: one that was cut short, alerts that were said long ago.
 */

#include "tests/unit/test.h"

#include "xmpprelay/spool-recover.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define N_OLD 300
#define N_WAITING 20
#define PAGE 4096

typedef struct Folder {
    char path[64];
    char spool[80];
} Folder;

static const SpoolLimits limits = { .max_records = 10000, .max_share = 100, .keep_usec = 1 };
static const char *const names[] = { "ops" };

/* A page of the disk that can't be read; 0: none. */
static ino_t bad_inode;
static off_t bad_at;

/* In the place of the C library's, for SQLite's reading as for our own. */
ssize_t read_64(int fd, void *data, size_t size, off_t at) __asm__("pread64");
ssize_t read_plain(int fd, void *data, size_t size, off_t at) __asm__("pread");
ssize_t read_checked(int fd, void *data, size_t size, off_t at,
                     size_t room) __asm__("__pread64_chk"); /* as _FORTIFY_SOURCE has it */

ssize_t read_64(int fd, void *data, size_t size, off_t at)
{
    struct stat st;

    if (bad_inode && fstat(fd, &st) == 0 && st.st_ino == bad_inode && at < bad_at + PAGE &&
        at + (off_t)size > bad_at) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_pread64, fd, data, size, at);
}

ssize_t read_plain(int fd, void *data, size_t size, off_t at)
{
    return read_64(fd, data, size, at);
}

ssize_t read_checked(int fd, void *data, size_t size, off_t at, size_t room)
{
    return read_64(fd, data, MIN(size, room), at);
}

/* How many more changes of the folder there are before the process is gone; 0: any number. */
static unsigned changes_left;

static void count_change(void)
{
    if (changes_left > 0 && --changes_left == 0)
        _exit(9);
}

int rename_counted(const char *from, const char *to) __asm__("rename");
int unlink_counted(const char *path) __asm__("unlink");

int rename_counted(const char *from, const char *to)
{
    count_change();
    return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int unlink_counted(const char *path)
{
    count_change();
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

static int folder_setup(void **state)
{
    Folder *folder = calloc(1, sizeof(*folder));

    assert_non_null(folder);
    snprintf(folder->path, sizeof(folder->path), "/tmp/test-recover-XXXXXX");
    assert_non_null(mkdtemp(folder->path));
    snprintf(folder->spool, sizeof(folder->spool), "%s/spool.db", folder->path);
    *state = folder;
    return 0;
}

static int folder_teardown(void **state)
{
    Folder *folder = *state;
    DIR *dir = opendir(folder->path);
    struct dirent *entry;

    assert_non_null(dir);
    while ((entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            assert_int_equal(unlinkat(dirfd(dir), entry->d_name, 0), 0);
    closedir(dir);
    rmdir(folder->path);
    free(folder);
    return 0;
}

static Spool *open_spool(const char *path)
{
    char reason[SPOOL_REASON_MAX] = "";
    Spool *spool = NULL;

    if (spool_open(path, &limits, &spool, reason) < 0)
        fail_msg("%s", reason);
    return spool;
}

static void insert(Spool *spool, const char *kind, unsigned n)
{
    assert_int_equal(spool_begin(spool), 0);
    for (unsigned i = 0; i < n; i++) {
        char id[32], json[1200];
        const SpoolRecord record = { .id = id,
                                     .json = json,
                                     .uid = 1,
                                     .accepted_usec = 5,
                                     .destinations = names,
                                     .n_destinations = 1 };

        snprintf(id, sizeof(id), "%s-%u", kind, i);
        snprintf(json, sizeof(json), "{\"v\":1,\"text\":\"%s %01000u\"}", kind, i);
        assert_int_equal(spool_insert(spool, &record), SPOOL_INSERTED);
    }
    assert_int_equal(spool_commit(spool), 0);
}

static int note_seq(const SpoolEntry *entry, void *userdata)
{
    int64_t **at = userdata;

    *(*at)++ = entry->seq;
    return 0;
}

static void deliver_all(Spool *spool)
{
    int64_t seqs[N_OLD], *at = seqs;
    SpoolFate fate;

    assert_int_equal(spool_load(spool, "ops", 0, N_OLD, note_seq, &at), 0);
    assert_int_equal(spool_begin(spool), 0);
    for (int64_t *seq = seqs; seq < at; seq++)
        assert_int_equal(spool_mark_done(spool, *seq, 10, &fate), 1);
    assert_int_equal(spool_commit(spool), 0);
}

static void purge_all(Spool *spool)
{
    size_t n_dropped;
    int n;

    do {
        assert_int_equal(spool_begin(spool), 0);
        n = spool_purge(spool, 1000, 100, &n_dropped);
        assert_true(n >= 0);
        assert_int_equal(spool_commit(spool), 0);
    } while (n > 0);
}

static off_t find_page(int fd, uint8_t kind, const char *text)
{
    uint8_t page[PAGE];

    for (off_t at = PAGE; pread(fd, page, PAGE, at) == PAGE; at += PAGE)
        if (page[0] == kind && memmem(page, PAGE, text, strlen(text)))
            return at;
    fail_msg("there is no such page");
    return 0;
}

/* A page of the index by which waiting alerts are found. */
static void spoil_index(const char *path)
{
    _cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t page[PAGE];

    assert_true(fd >= 0);
    memset(page, 0xa5, PAGE);
    assert_int_equal(pwrite(fd, page, PAGE, find_page(fd, 0x0a, "ops")), PAGE);
}

static SpoolRecovered recover(const char *path)
{
    char reason[SPOOL_REASON_MAX] = "";
    SpoolRecovered recovered = {};
    int r;

    r = spool_recover(path, names, 1, &recovered, reason);
    if (r != 1)
        fail_msg("%d: %s", r, reason);
    return recovered;
}

static void alerts_said_long_ago_are_not_said_again(void **state)
{
    Folder *folder = *state;
    Spool *spool = open_spool(folder->spool);
    SpoolRecovered recovered;

    insert(spool, "old", N_OLD);
    deliver_all(spool);
    purge_all(spool);
    insert(spool, "new", N_WAITING);
    spool_free(spool);
    spoil_index(folder->spool);

    recovered = recover(folder->spool);
    assert_int_equal(recovered.waiting, N_WAITING);
    assert_int_equal(recovered.again, 0);
}

static void write_file(const char *path)
{
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    uint8_t garbage[3 * PAGE];

    memset(garbage, 0x5a, sizeof(garbage));
    assert_true(fd >= 0);
    assert_int_equal(write(fd, garbage, sizeof(garbage)), (ssize_t)sizeof(garbage));
}

static void recovery_that_was_cut_short_can_be_had_again(void **state)
{
    static const char *const left[] = { ".recovered", ".recovered-wal", ".recovered-journal" };
    Folder *folder = *state;
    Spool *spool = open_spool(folder->spool);

    insert(spool, "new", N_WAITING);
    spool_free(spool);
    spoil_index(folder->spool);
    for (size_t i = 0; i < ELEMENTSOF(left); i++) {
        char path[128];

        snprintf(path, sizeof(path), "%s%s", folder->spool, left[i]);
        write_file(path);
    }
    assert_int_equal(recover(folder->spool).waiting, N_WAITING);
    spool = open_spool(folder->spool);
    assert_int_equal(spool_n_waiting(spool), N_WAITING);
    spool_free(spool);
}

/* Spoils the disk under a spool; gives what is brought back. */
static SpoolRecovered recover_beside(const char *path, bool first_page)
{
    Spool *spool = open_spool(path);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    char reason[SPOOL_REASON_MAX];
    SpoolRecovered recovered;
    struct stat st;

    insert(spool, "new", N_WAITING);
    spool_free(spool);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    bad_at = first_page ? 0 : find_page(fd, 0x0d, "\"text\":\"new");
    bad_inode = st.st_ino;
    assert_true(spool_open(path, &limits, &spool, reason) < 0);
    recovered = recover(path);
    bad_inode = 0;
    spool = open_spool(path);
    assert_int_equal(spool_n_waiting(spool), recovered.waiting);
    spool_free(spool);
    return recovered;
}

static void alerts_beside_what_the_disk_can_not_read_are_recovered(void **state)
{
    Folder *folder = *state;
    SpoolRecovered recovered = recover_beside(folder->spool, false);

    assert_in_range(recovered.lost, 1, PAGE / 1000);
    assert_int_equal(recovered.waiting, N_WAITING - recovered.lost);
}

static void all_is_recovered_where_the_disk_can_not_read_the_first_page(void **state)
{
    Folder *folder = *state;

    assert_int_equal(recover_beside(folder->spool, true).waiting, N_WAITING);
}

/* 16 alerts, all in a log that is damaged at its beginning. */
static void make_damaged_log(const char *path)
{
    static const uint8_t garbage[8] = "garbage";
    char log[128];
    int fd, status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        Spool *spool = open_spool(path);

        insert(spool, "a", 4);
        insert(spool, "b", 4);
        insert(spool, "c", 4);
        insert(spool, "d", 4);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    snprintf(log, sizeof(log), "%s-wal", path);
    fd = open(log, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, garbage, 8, 32 + 16), 8); /* the checksum of the first frame */
    close(fd);
}

static void no_alert_is_lost_where_a_recovery_is_cut_short(void **state)
{
    Folder *folder = *state;
    unsigned n_cut = 0;
    int status = -1;

    for (unsigned n = 1; status != 0; n++) {
        char path[96], reason[SPOOL_REASON_MAX];
        Spool *spool = NULL;
        pid_t pid;

        snprintf(path, sizeof(path), "%s/cut-%u", folder->path, n);
        make_damaged_log(path);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            changes_left = n;
            recover(path);
            _exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        n_cut += status != 0;
        if (spool_open(path, &limits, &spool, reason) < 0) {
            assert_int_equal(recover(path).waiting, 16);
            spool = open_spool(path);
        }
        if (spool_n_waiting(spool) != 16)
            fail_msg("after %u changes %d wait", n - 1, (int)spool_n_waiting(spool));
        spool_free(spool);
    }
    assert_true(n_cut >= 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_setup, folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(alerts_said_long_ago_are_not_said_again),
        TEST(recovery_that_was_cut_short_can_be_had_again),
        TEST(no_alert_is_lost_where_a_recovery_is_cut_short),
        TEST(alerts_beside_what_the_disk_can_not_read_are_recovered),
        TEST(all_is_recovered_where_the_disk_can_not_read_the_first_page),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
