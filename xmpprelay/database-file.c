/* SPDX-License-Identifier: MIT */

/*
 * The file of a database: how it comes into being, and what it must be to be used.
 *
 * A file that is there is ours only if it says so, and is whole: so it is made under another name
 * and gets its own when it is complete and on disk. Thus no crash leaves one behind that is empty
 * or half made, and one that is found like that was spoilt by something else.
 *
 * Nothing is written to a file before all of it has been looked at. SQLite by itself would make a
 * new database of an empty file, and delete the log that lies beside it.
 */

#include "xmpprelay/database.h"

#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

static int sync_folder_of(const char *path)
{
    _cleanup_free_ char *copy = strdup(path);
    _cleanup_close_ int fd = -1;

    if (!copy)
        return -ENOMEM;
    fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* All steps from `version` on, or none. */
static int take_steps(Database *database, const DatabaseFormat *format, int64_t version)
{
    char sql[96];
    int r;

    r = database_exec(database, "BEGIN IMMEDIATE");
    if (r < 0)
        return r;
    for (int64_t step = version; r == 0 && step < format->n_steps; step++)
        r = database_exec(database, format->steps[step]);
    snprintf(sql, sizeof(sql),
             "PRAGMA user_version = %" PRId32 "; PRAGMA application_id = %" PRId32, format->n_steps,
             format->application_id);
    if (r == 0)
        r = database_exec(database, sql);
    if (r == 0)
        r = database_exec(database, "COMMIT");
    return r;
}

static int fill_new(const char *path, const DatabaseFormat *format,
                    char reason[static DATABASE_REASON_MAX])
{
    _cleanup_(database_freep) Database *database = NULL;
    int r;

    r = database_connect(path, 0, &database);
    if (r == 0) {
        database_trust(database);
        r = database_exec(database, "PRAGMA synchronous = FULL");
    }
    if (r == 0)
        r = take_steps(database, format, 0);
    if (r == 0)
        r = database_exec(database, "PRAGMA journal_mode = WAL");
    if (r < 0)
        snprintf(reason, DATABASE_REASON_MAX, "%.300s can't be written: %.150s", path,
                 database ? database_message(database) : strerror(-r));
    return r;
}

/* Of two processes that do so at once one is first, and the other one goes on with its file. */
static int put_in_place(const char *from, const char *path)
{
    int r = 0;

    if (renameat2(AT_FDCWD, from, AT_FDCWD, path, RENAME_NOREPLACE) < 0)
        r = -errno;
    if (r == -EINVAL) /* not every file system knows the flag */
        r = rename(from, path) < 0 ? -errno : 0;
    if (r == -EEXIST)
        return unlink(from) < 0 ? -errno : 0;
    return r < 0 ? r : sync_folder_of(path);
}

static int make_file(const char *path, const DatabaseFormat *format,
                     char reason[static DATABASE_REASON_MAX])
{
    char working[PATH_MAX];
    int fd, r;

    if (snprintf(working, sizeof(working), "%s.XXXXXX", path) >= (int)sizeof(working)) {
        snprintf(reason, DATABASE_REASON_MAX, "the path of the spool is too long");
        return -ENAMETOOLONG;
    }
    fd = mkostemp(working, O_CLOEXEC);
    if (fd < 0) {
        r = -errno;
        snprintf(reason, DATABASE_REASON_MAX, "%s can't be made: %s%s", path, strerror(-r),
                 r == -ENOENT ? "; make its folder first, owned by the relay's user" : "");
        return r;
    }
    close_fd(fd);
    r = fill_new(working, format, reason);
    if (r == 0) {
        r = put_in_place(working, path);
        if (r < 0)
            snprintf(reason, DATABASE_REASON_MAX, "%s can't be made: %s", path, strerror(-r));
    }
    if (r < 0)
        (void)unlink(working);
    return r;
}

/* What is beside a file that is missing or empty is all that is left of it. */
static bool log_has_contents(const char *path)
{
    char log[PATH_MAX];
    struct stat st;

    return snprintf(log, sizeof(log), "%s-wal", path) < (int)sizeof(log) && stat(log, &st) == 0 &&
           st.st_size > 0;
}

/* Looks at the file from outside, and makes it if there is none. */
static int prepare_file(const char *path, const DatabaseFormat *format, bool *ret_made,
                        char reason[static DATABASE_REASON_MAX])
{
    _cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st = {};
    int r = 0;

    if (fd < 0 || fstat(fd, &st) < 0)
        r = -errno;
    if (r == -ENOENT && log_has_contents(path)) {
        snprintf(reason, DATABASE_REASON_MAX, "it is missing, and its log %s-wal is not", path);
        return -EUCLEAN;
    }
    if (r == -ENOENT) {
        *ret_made = true;
        return make_file(path, format, reason);
    }
    if (r == -EISDIR || (r == 0 && !S_ISREG(st.st_mode))) {
        snprintf(reason, DATABASE_REASON_MAX, "%s is no regular file", path);
        return -ENOEXEC;
    }
    if (r == 0 && st.st_size == 0) {
        snprintf(reason, DATABASE_REASON_MAX, "it is empty, which it never is by itself");
        return -EUCLEAN;
    }
    if (r == 0 && (st.st_mode & 077) != 0 && fchmod(fd, 0600) < 0)
        r = -errno;
    if (r < 0)
        snprintf(reason, DATABASE_REASON_MAX, "%s can't be opened: %s", path, strerror(-r));
    return r;
}

/* Before anything is written: whether it is ours, and of a version that we know. */
static int look_at_mark(Database *database, const char *path, const DatabaseFormat *format,
                        int64_t *ret_version, char reason[static DATABASE_REASON_MAX])
{
    int64_t mark = 0, version = 0;
    int r;

    r = database_query(database, "PRAGMA application_id", &mark);
    if (r == 0)
        r = database_query(database, "PRAGMA user_version", &version);
    if (r < 0)
        return r;
    if (mark != format->application_id) {
        snprintf(reason, DATABASE_REASON_MAX,
                 "%s is a database of some other program; give spool.path another name", path);
        return -ENOEXEC;
    }
    if (version < 0 || version > format->n_steps) {
        snprintf(reason, DATABASE_REASON_MAX,
                 "%s was written by a newer xmpprelay (its format is %" PRId64
                 ", this one knows up to %" PRId32 "); install that version again, or move the "
                 "file aside to begin with an empty spool",
                 path, version, format->n_steps);
        return -EPROTONOSUPPORT;
    }
    *ret_version = version;
    return 0;
}

int database_check(Database *database, const char *sql, char reason[static DATABASE_REASON_MAX])
{
    static const char preamble[] = "*** in database main ***\n"; /* there is no other one */
    _cleanup_(statement_freep) Statement *statement = NULL;
    const char *found;
    int r;

    r = statement_new(database, sql, &statement);
    if (r == 0)
        r = statement_step(statement);
    if (r < 0)
        snprintf(reason, DATABASE_REASON_MAX, "%s", database_message(database));
    if (r <= 0)
        return r;
    found = statement_text(statement, 0);
    if (found && streq(found, "ok"))
        return 0;
    if (found && strncmp(found, preamble, strlen(preamble)) == 0)
        found += strlen(preamble);
    snprintf(reason, DATABASE_REASON_MAX, "%.300s", found ? found : "it can't be checked");
    for (char *c = reason; *c; c++) /* one line of the log */
        if (*c == '\n')
            *c = ' ';
    return -EUCLEAN;
}

static int configure(Database *database, const char *path, const DatabaseFormat *format,
                     char reason[static DATABASE_REASON_MAX])
{
    int64_t version;
    int r;

    /* Another process that has it open must be known as such before its log is looked at. */
    r = database_exec(database, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA schema_version");
    if (r == 0)
        r = database_check_log(path, reason);
    if (r == 0)
        r = look_at_mark(database, path, format, &version, reason);
    if (r == 0)
        r = database_check(database, "PRAGMA quick_check(1)", reason);
    if (r == 0)
        r = database_exec(database, "PRAGMA journal_mode = WAL;"
                                    "PRAGMA synchronous = FULL;"
                                    "PRAGMA foreign_keys = ON;"
                                    "PRAGMA trusted_schema = OFF;"
                                    /* what is gone must not come back in a recovery */
                                    "PRAGMA secure_delete = ON;"
                                    "PRAGMA cell_size_check = ON;"
                                    "PRAGMA journal_size_limit = 67108864;"
                                    /* takes the lock now, not at the first alert */
                                    "BEGIN IMMEDIATE; COMMIT;");
    if (r == 0 && version < format->n_steps)
        r = take_steps(database, format, version);
    return r;
}

int database_open(const char *path, const DatabaseFormat *format, usec_t wait_usec, Database **ret,
                  bool *ret_made, char reason[static DATABASE_REASON_MAX])
{
    _cleanup_(database_freep) Database *database = NULL;
    bool made = false;
    int r;

    r = prepare_file(path, format, &made, reason);
    if (r < 0)
        return r;
    reason[0] = '\0';
    r = database_connect(path, wait_usec, &database);
    if (r == 0)
        r = configure(database, path, format, reason);

    if (r == -EBUSY)
        snprintf(reason, DATABASE_REASON_MAX,
                 "%s is in use by another process; only one relay may have it open", path);
    else if (r == -EUCLEAN && !reason[0])
        snprintf(reason, DATABASE_REASON_MAX, "%s",
                 database ? database_message(database) : strerror(-r));
    else if (r < 0 && !reason[0])
        snprintf(reason, DATABASE_REASON_MAX, "%s can't be opened: %s", path,
                 database ? database_message(database) : strerror(-r));
    if (r < 0)
        return r;

    *ret = steal_ptr(database);
    *ret_made = made;
    return 0;
}
