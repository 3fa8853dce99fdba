/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The datagram socket: takes records in, sends receipts out.
 *
 * inbox_gather() reads a bounded batch of datagrams into items, one for each frame; what can be
 * refused without the spool already is. The caller decides the rest with inbox_decide(), and when
 * the spool has committed calls inbox_answer(), which sends all receipts and empties the batch.
 */

#include "common/metrics.h"
#include "common/record.h"
#include "xmpprelay/settings.h"

#define INBOX_BATCH_DATAGRAMS 256
#define INBOX_BATCH_BYTES (4 * 1024 * 1024)
#define INBOX_BATCH_RECORDS 1024 /* and what else the last datagram brings */
#define INBOX_WAITERS_MAX 1024   /* senders that wait for `delivered`; the oldest gives way */

typedef struct Inbox Inbox;

typedef struct InboxItem {
    size_t sender;              /* index of its datagram in the batch */
    char id[RECORD_ID_MAX + 1]; /* "" where none could be read */
    Record *record;             /* with its id; NULL where it can't be read */
    char *json;                 /* as it came, NUL-terminated */
    const char **destinations;  /* names, of the record or of the settings */
    size_t n_destinations;
    bool decided;
    ReceiptStatus status;
    char *reason; /* or NULL */
} InboxItem;

/* Opens the socket, or goes on with `kept_fd`, which is consumed: the one that a process before us
 * has left open, with what waits in it; -1 for none. `settings` must stay until
 * inbox_set_settings() names others. On failure `reason` says in a sentence what is wrong. */
int inbox_new(const Settings *settings, int kept_fd, Inbox **ret,
              char reason[static RECORD_REASON_MAX]);
Inbox *inbox_free(Inbox *inbox); /* removes the socket, unless it is left open */
DEFINE_CLEANUP(Inbox *, inbox_free)
void inbox_set_settings(Inbox *inbox, const Settings *settings);

/* A histogram of the time from a record's arrival to its receipt; NULL for none. */
void inbox_count_in(Inbox *inbox, Metric *seconds);

int inbox_fd(const Inbox *inbox);
bool inbox_went_on(const Inbox *inbox); /* with `kept_fd` */

/* The service manager has the socket, too: the path stays when we go. */
void inbox_leave_open(Inbox *inbox);

/* Gathers the next batch; the one before must have been answered. 1: there may be more at once,
 * 0: nothing more, -errno, which is logged already (the batch then has what came before). Never
 * blocks. */
int inbox_gather(Inbox *inbox);
size_t inbox_n_items(const Inbox *inbox);
InboxItem *inbox_item(Inbox *inbox, size_t index);
uid_t inbox_uid(const Inbox *inbox, const InboxItem *item);
pid_t inbox_pid(const Inbox *inbox, const InboxItem *item);

/* `reason` is copied, NULL for none; an earlier decision is replaced. */
void inbox_decide(InboxItem *item, ReceiptStatus status, const char *reason);

/* Sends the receipts of a batch in which all is decided, remembers who waits for `delivered`,
 * and empties it. A sender that does not take its receipt goes without. */
void inbox_answer(Inbox *inbox);

/* The last receipt for a record whose sender may be waiting for it. False: none is. */
bool inbox_tell(Inbox *inbox, const char *id, ReceiptStatus status, const char *reason);
