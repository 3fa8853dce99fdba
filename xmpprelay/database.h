/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A database file of our own, exclusively ours while it is open: database.c is the adapter of
 * SQLite, database-file.c knows what a file of ours has to be, database-log.c looks at its log.
 *
 * Every function that can fail returns 0 or -errno; database_message() then says in SQLite's
 * words what happened. The values that matter to a caller:
 *   -ENOSPC  the disk or the quota is full           -EIO      reading or writing failed
 *   -EUCLEAN the file is damaged                     -EBUSY    another process has it open
 *   -EROFS   it can't be written                     -EEXIST   a constraint was violated
 */

#include "common/util.h"

#define DATABASE_REASON_MAX 512

typedef struct Database Database;
typedef struct Statement Statement;

/* What makes a file ours: its mark, and what brings an empty one, or one of an older version, to
 * the present version: steps[n] leads from version n to n + 1, and n_steps is the present one. */
typedef struct DatabaseFormat {
    int32_t application_id;
    int32_t n_steps;
    const char *const *steps;
} DatabaseFormat;

/* Opens the file at `path`, or makes it, with mode 0600, if there is none: write-ahead log, an
 * fsync at each commit, locked until it is closed. Waits up to `wait_usec` for another process
 * that is about to let go. All of the file is read to look for damage before anything is changed.
 * *ret_made: there was no file. On failure nothing has been changed, and `reason` says in a
 * sentence what is wrong and what to do, except with
 *   -EUCLEAN         damaged, or nothing of what makes it ours can be seen: `reason` says only
 *                    what was found;
 * and these have a meaning here, too:
 *   -ENOEXEC         it is something else: a database of another program, a folder;
 *   -EPROTONOSUPPORT of a newer version. */
int database_open(const char *path, const DatabaseFormat *format, usec_t wait_usec, Database **ret,
                  bool *ret_made, char reason[static DATABASE_REASON_MAX]);

/* Opens the file as it is, and changes and locks nothing. */
int database_connect(const char *path, usec_t wait_usec, Database **ret);

/* All of it is known to be sound: when it is closed, its log goes into it. Until then the files
 * stay as they are. */
void database_trust(Database *database);

Database *database_free(Database *database); /* its statements must have been freed before */
DEFINE_CLEANUP(Database *, database_free)

/* Reads the log beside the file at `path`, which nobody may have open, for damage that SQLite would
 * take for its end. 0, -EUCLEAN with what was found, other -errno. */
int database_check_log(const char *path, char reason[static DATABASE_REASON_MAX]);

/* Runs a query whose first row, if there is one, says what is damaged, or "ok". 0, or -EUCLEAN
 * with the first thing that was found, or -errno. */
int database_check(Database *database, const char *sql, char reason[static DATABASE_REASON_MAX]);

/* Runs statements that give no rows. */
int database_exec(Database *database, const char *sql);

/* The number in the first column of the first row; 0 where there is none. */
int database_query(Database *database, const char *sql, int64_t *ret);

/* False too after a failure that made SQLite roll the transaction back by itself. */
bool database_in_transaction(const Database *database);

int64_t database_last_rowid(const Database *database);
int64_t database_changes(const Database *database); /* rows touched by the last statement */
const char *database_message(const Database *database);

int statement_new(Database *database, const char *sql, Statement **ret);
Statement *statement_free(Statement *statement);
DEFINE_CLEANUP(Statement *, statement_free)

/* Parameters count from 1. The text is not copied and must stay until the statement is reset;
 * NULL binds NULL. Failures are kept and come out of the next statement_step(). */
void statement_bind_integer(Statement *statement, int at, int64_t value);
void statement_bind_text(Statement *statement, int at, const char *text);

/* 1: there is a row; 0: there is no more, or nothing to give; -errno. After 0 and -errno the
 * statement is reset by itself; after 1 the caller goes on or resets it. */
int statement_step(Statement *statement);
void statement_reset(Statement *statement);

/* For statements that give no row: runs and resets it. */
int statement_run(Statement *statement);

/* Columns count from 0; text is valid until the next step or reset, NULL for NULL. */
int64_t statement_integer(Statement *statement, int column);
const char *statement_text(Statement *statement, int column);
