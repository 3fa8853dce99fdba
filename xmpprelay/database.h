/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A database file of our own, exclusively ours while it is open: the adapter of SQLite.
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

/* Opens, or creates with mode 0600, the file at `path`: write-ahead log, an fsync at each commit,
 * locked until it is closed. Waits up to `wait_usec` for another process that is about to let go.
 * `application_id` marks the file as ours: one that holds tables and bears another mark is
 * refused (-EUCLEAN). On failure `reason` says in a sentence what is wrong and what to do. */
int database_open(const char *path, int32_t application_id, usec_t wait_usec, Database **ret,
                  char reason[static DATABASE_REASON_MAX]);
Database *database_free(Database *database); /* its statements must have been freed before */
DEFINE_CLEANUP(Database *, database_free)

/* Reads the whole file for damage: 0, or -EUCLEAN and `reason` names the first one found. */
int database_check(Database *database, char reason[static DATABASE_REASON_MAX]);

int database_version(Database *database, int64_t *ret);
int database_set_version(Database *database, int32_t version);

/* Runs statements that give no rows. */
int database_exec(Database *database, const char *sql);

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
