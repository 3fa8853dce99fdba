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

int database_query(Database *database, const char *sql, int64_t *ret)
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

int database_connect(const char *path, usec_t wait_usec, Database **ret)
{
    _cleanup_(database_freep) Database *database = calloc(1, sizeof(*database));
    int r;

    if (!database)
        return -ENOMEM;
    r = errno_of(sqlite3_open_v2(path, &database->handle,
                                 SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL));
    if (r < 0)
        return r;
    sqlite3_busy_timeout(database->handle, (int)MIN(wait_usec / USEC_PER_MSEC, (usec_t)60000));
    sqlite3_extended_result_codes(database->handle, 1);
    sqlite3_db_config(database->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(database->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    *ret = steal_ptr(database);
    return 0;
}

void database_trust(Database *database)
{
    sqlite3_db_config(database->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
}

Database *database_free(Database *database)
{
    if (!database)
        return NULL;
    sqlite3_close(database->handle);
    free(database);
    return NULL;
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
    /* A query is full of nothing: it was led to a page that can't be. */
    if ((result & 0xff) == SQLITE_FULL && sqlite3_column_count(statement->handle) > 0)
        result = SQLITE_CORRUPT;
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
