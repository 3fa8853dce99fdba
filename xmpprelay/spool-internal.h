/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What the three files of the spool share: spool.c opens it and keeps its transactions and
 * counts, spool-change.c writes, spool-list.c reads.
 */

#include "xmpprelay/database.h"
#include "xmpprelay/spool.h"

/* A count as the open transaction sees it and as it was at the last commit. */
typedef struct Count {
    uint64_t now;
    uint64_t committed;
} Count;

typedef struct DestinationCount {
    char *name;
    Count waiting;
    Count failed;
} DestinationCount;

typedef struct UidCount {
    uid_t uid;
    Count waiting;
} UidCount;

typedef enum SpoolStatement {
    STATEMENT_BEGIN,
    STATEMENT_COMMIT,
    STATEMENT_ROLLBACK,
    STATEMENT_SAVEPOINT,
    STATEMENT_RELEASE,
    STATEMENT_UNDO,
    STATEMENT_INSERT_RECORD,
    STATEMENT_INSERT_ENTRY,
    STATEMENT_SENT,
    STATEMENT_SUSPICION,
    STATEMENT_ENTRY,
    STATEMENT_END,
    STATEMENT_RETRY,
    STATEMENT_FATE,
    STATEMENT_RECORD_DONE,
    STATEMENT_PURGE,
    STATEMENT_OLDEST_FAILED,
    STATEMENT_LOAD,
    STATEMENT_LIST_WAITING,
    STATEMENT_LIST_FAILED,
    STATEMENT_LIST_RECORD,
    STATEMENT_LIST_HISTORY,
    STATEMENT_JSON,
    STATEMENT_OLDEST,
    STATEMENT_PAUSE,
    STATEMENT_RESUME,
    STATEMENT_IS_PAUSED,
    N_STATEMENTS,
} SpoolStatement;

struct Spool {
    Database *database;
    Statement *statements[N_STATEMENTS];
    SpoolLimits limits;
    char *path; /* of the file, which is on `device` and has `inode` */
    dev_t device;
    ino_t inode;
    bool made;         /* there was no file */
    bool open;         /* a transaction is */
    bool disk_checked; /* in this transaction, with this result */
    SpoolInserted disk;
    int broken; /* -errno of what made it impossible to commit */
    char message[SPOOL_REASON_MAX];

    Count waiting;
    Count failed;
    Count done; /* records */
    DestinationCount *destinations;
    size_t n_destinations;
    UidCount *uids; /* none of them 0 after a commit */
    size_t n_uids;
};

/* Passes `r` on; a failure is kept for spool_message(), and breaks the transaction unless it is
 * one that undoing a single statement repairs. */
int spool_result(Spool *spool, int r);

/* 0, or the -errno for which nothing can be changed now. */
int spool_writable(const Spool *spool);

int spool_disk_init(Spool *spool, const char *path);

/* The places of counts, made where they are missing. Valid until the next call. */
int spool_destination_count(Spool *spool, const char *name, DestinationCount **ret);
int spool_uid_count(Spool *spool, uid_t uid, Count **ret);
