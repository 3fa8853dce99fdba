/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Whose receipts lie unread, so that senders that don't read take nothing from the others: policy
 * alone, no I/O.
 *
 * The kernel charges what a sender has not read to the one socket that all receipts go through,
 * and refuses to take more when its send buffer is full. It tells how much that is in all
 * (SIOCOUTQ), not whose. So once much lies unread, receipts go out by turns: one uid's at a time,
 * and what is left of them when the next uid has its turn is that uid's debt. A sender that reads
 * has none.
 *
 * A uid may have half as much unread as there is room left. So one that never reads gets a third
 * of the room, several share it, and there is some for one that reads, unless they are a hundred.
 */

#include "common/util.h"

#define UNREAD_UIDS_MAX 64

typedef struct UnreadDebt {
    uid_t uid;
    size_t bytes;
} UnreadDebt;

typedef struct Unread {
    size_t limit;  /* the send buffer */
    bool scarce;   /* much lies unread: turns are taken */
    bool has_turn; /* `turn` is whose */
    uid_t turn;
    size_t floor; /* what was unread already when the turn began, or less */
    UnreadDebt debts[UNREAD_UIDS_MAX];
    size_t n_debts;
} Unread;

typedef enum UnreadAdvice {
    UNREAD_SEND,
    UNREAD_SETTLE, /* give them time to read, until no more than `floor` is unread; then
                    * unread_settled(), and ask again */
    UNREAD_DROP,
} UnreadAdvice;

void unread_init(Unread *unread, size_t limit);

/* Whether to send something to `uid` now; `bytes` is all that is unread. */
UnreadAdvice unread_ask(Unread *unread, uid_t uid, size_t bytes);

/* They had their time: what is still unread of a turn is its uid's debt. Then it is the turn of
 * `next`. */
void unread_settled(Unread *unread, uid_t next, size_t bytes);

size_t unread_debt(const Unread *unread, uid_t uid);
