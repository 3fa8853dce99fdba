/* SPDX-License-Identifier: MIT */

/*
 * SQLite as we use it: one connection, one thread, one file that nobody else may open.
 *
 * locking_mode=EXCLUSIVE keeps the lock of the first access until the file is closed. It also
 * keeps the index of the write-ahead log in our own memory, so there is no third file and no
 * shared mapping that somebody else could damage. POSIX locks are dropped when *any* descriptor
 * of the file is closed by the process: nothing here opens it again once SQLite has it.
 */

#include "xmpprelay/database.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include <sqlite3.h>

struct Database {
    sqlite3 *handle;
};

struct Statement {
    Database *database;
    sqlite3_stmt *handle;
    int bind_result; /* of the first bind that failed */
};

static int errno_of(int result)
{
    switch (result & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return 0;
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_IOERR:
        return result == SQLITE_IOERR_NOMEM ? -ENOMEM : -EIO;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return -EUCLEAN;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    case SQLITE_READONLY:
        return -EROFS;
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return -EACCES;
    case SQLITE_CONSTRAINT:
        return -EEXIST;
    case SQLITE_TOOBIG:
        return -EMSGSIZE;
    case SQLITE_CANTOPEN:
        return -EIO;
    default:
        return -EINVAL;
    }
}

int database_exec(Database *database, const char *sql)
{
    return errno_of(sqlite3_exec(database->handle, sql, NULL, NULL, NULL));
}

static int query_integer(Database *database, const char *sql, int64_t *ret)
{
    _cleanup_(statement_freep) Statement *statement = NULL;
    int r;

    r = statement_new(database, sql, &statement);
    if (r < 0)
        return r;
    r = statement_step(statement);
    if (r < 0)
        return r;
    *ret = r > 0 ? statement_integer(statement, 0) : 0;
    return 0;
}

/* The file is made by us, for SQLite would make it with the umask's mode. Its log inherits the
 * mode. */
static int create_file(const char *path, char reason[static DATABASE_REASON_MAX])
{
    _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
    struct stat st;
    int r;

    if (fd < 0) {
        r = -errno;
        snprintf(reason, DATABASE_REASON_MAX, "%s can't be opened: %s%s", path, strerror(-r),
                 r == -ENOENT ? "; make its folder first, owned by the relay's user" : "");
        return r;
    }
    if (fstat(fd, &st) < 0)
        r = -errno;
    else if (!S_ISREG(st.st_mode))
        r = -EINVAL;
    else if ((st.st_mode & 077) != 0 && fchmod(fd, 0600) < 0)
        r = -errno;
    else
        return 0;
    snprintf(reason, DATABASE_REASON_MAX, "%s is not usable: %s", path,
             r == -EINVAL ? "it is no regular file" : strerror(-r));
    return r;
}

/* -ENOEXEC: the file has tables and not our mark. Nothing of it is changed then. */
static int check_mark(Database *database, int32_t application_id, bool *ret_new)
{
    int64_t mark = 0, n_tables = 0;
    int r;

    r = query_integer(database, "PRAGMA application_id", &mark);
    if (r == 0 && mark != application_id)
        r = query_integer(database, "SELECT COUNT(*) FROM sqlite_schema", &n_tables);
    if (r < 0)
        return r;
    if (mark != application_id && (mark != 0 || n_tables > 0))
        return -ENOEXEC;
    *ret_new = mark != application_id;
    return 0;
}

static int configure(Database *database, int32_t application_id, usec_t wait_usec)
{
    char sql[64];
    bool is_new = false;
    int r;

    sqlite3_busy_timeout(database->handle, (int)MIN(wait_usec / USEC_PER_MSEC, (usec_t)60000));
    sqlite3_extended_result_codes(database->handle, 1);
    sqlite3_db_config(database->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);

    r = database_exec(database, "PRAGMA locking_mode = EXCLUSIVE");
    if (r == 0)
        r = check_mark(database, application_id, &is_new);
    if (r == 0)
        r = database_exec(database, "PRAGMA journal_mode = WAL;"
                                    "PRAGMA synchronous = FULL;"
                                    "PRAGMA foreign_keys = ON;"
                                    "PRAGMA trusted_schema = OFF;"
                                    "PRAGMA cell_size_check = ON;"
                                    "PRAGMA journal_size_limit = 67108864;"
                                    /* takes the lock now, not at the first alert */
                                    "BEGIN IMMEDIATE; COMMIT;");
    if (r < 0 || !is_new)
        return r;
    snprintf(sql, sizeof(sql), "PRAGMA application_id = %" PRId32, application_id);
    return database_exec(database, sql);
}

int database_open(const char *path, int32_t application_id, usec_t wait_usec, Database **ret,
                  char reason[static DATABASE_REASON_MAX])
{
    _cleanup_(database_freep) Database *database = NULL;
    int r;

    r = create_file(path, reason);
    if (r < 0)
        return r;

    database = calloc(1, sizeof(*database));
    if (!database) {
        snprintf(reason, DATABASE_REASON_MAX, "out of memory");
        return -ENOMEM;
    }
    r = errno_of(sqlite3_open_v2(path, &database->handle,
                                 SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL));
    if (r == 0)
        r = configure(database, application_id, wait_usec);

    if (r == -EBUSY)
        snprintf(reason, DATABASE_REASON_MAX,
                 "%s is in use by another process; only one relay may have it open", path);
    else if (r == -ENOEXEC)
        snprintf(reason, DATABASE_REASON_MAX, "%s is a database of some other program", path);
    else if (r == -EUCLEAN)
        snprintf(reason, DATABASE_REASON_MAX, "%s is damaged or no database: %s", path,
                 database_message(database));
    else if (r < 0)
        snprintf(reason, DATABASE_REASON_MAX, "%s can't be opened: %s", path,
                 database_message(database));
    if (r == -ENOEXEC)
        r = -EUCLEAN;
    if (r < 0)
        return r;

    *ret = steal_ptr(database);
    return 0;
}

Database *database_free(Database *database)
{
    if (!database)
        return NULL;
    sqlite3_close(database->handle);
    free(database);
    return NULL;
}

int database_check(Database *database, char reason[static DATABASE_REASON_MAX])
{
    _cleanup_(statement_freep) Statement *statement = NULL;
    const char *verdict;
    int r;

    r = statement_new(database, "PRAGMA quick_check(1)", &statement);
    if (r == 0)
        r = statement_step(statement);
    if (r < 0) {
        snprintf(reason, DATABASE_REASON_MAX, "%s", database_message(database));
        return r;
    }
    verdict = r > 0 ? statement_text(statement, 0) : NULL;
    if (verdict && streq(verdict, "ok"))
        return 0;
    snprintf(reason, DATABASE_REASON_MAX, "%s", verdict ? verdict : "it can't be checked");
    return -EUCLEAN;
}

int database_version(Database *database, int64_t *ret)
{
    return query_integer(database, "PRAGMA user_version", ret);
}

int database_set_version(Database *database, int32_t version)
{
    char sql[64];

    snprintf(sql, sizeof(sql), "PRAGMA user_version = %" PRId32, version);
    return database_exec(database, sql);
}

bool database_in_transaction(const Database *database)
{
    return !sqlite3_get_autocommit(database->handle);
}

int64_t database_last_rowid(const Database *database)
{
    return sqlite3_last_insert_rowid(database->handle);
}

int64_t database_changes(const Database *database)
{
    return sqlite3_changes64(database->handle);
}

const char *database_message(const Database *database)
{
    return database->handle ? sqlite3_errmsg(database->handle) : "out of memory";
}

int statement_new(Database *database, const char *sql, Statement **ret)
{
    _cleanup_(statement_freep) Statement *statement = calloc(1, sizeof(*statement));
    int r;

    if (!statement)
        return -ENOMEM;
    statement->database = database;
    r = errno_of(sqlite3_prepare_v3(database->handle, sql, -1, SQLITE_PREPARE_PERSISTENT,
                                    &statement->handle, NULL));
    if (r < 0)
        return r;
    *ret = steal_ptr(statement);
    return 0;
}

Statement *statement_free(Statement *statement)
{
    if (!statement)
        return NULL;
    sqlite3_finalize(statement->handle);
    free(statement);
    return NULL;
}

static void note_bind(Statement *statement, int result)
{
    if (statement->bind_result == SQLITE_OK)
        statement->bind_result = result;
}

void statement_bind_integer(Statement *statement, int at, int64_t value)
{
    note_bind(statement, sqlite3_bind_int64(statement->handle, at, value));
}

void statement_bind_text(Statement *statement, int at, const char *text)
{
    note_bind(statement, text ? sqlite3_bind_text(statement->handle, at, text, -1, SQLITE_STATIC)
                              : sqlite3_bind_null(statement->handle, at));
}

int statement_step(Statement *statement)
{
    int result = statement->bind_result;

    if (result == SQLITE_OK)
        result = sqlite3_step(statement->handle);
    if (result == SQLITE_ROW)
        return 1;
    statement_reset(statement);
    return errno_of(result);
}

void statement_reset(Statement *statement)
{
    sqlite3_reset(statement->handle);
    sqlite3_clear_bindings(statement->handle);
    statement->bind_result = SQLITE_OK;
}

int statement_run(Statement *statement)
{
    int r = statement_step(statement);

    if (r > 0) {
        statement_reset(statement);
        return 0;
    }
    return r;
}

int64_t statement_integer(Statement *statement, int column)
{
    return sqlite3_column_int64(statement->handle, column);
}

const char *statement_text(Statement *statement, int column)
{
    return (const char *)sqlite3_column_text(statement->handle, column);
}
