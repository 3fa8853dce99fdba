/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What dispatch.c (the windows, and what is posted from them) and dispatch-suspects.c (what may
 * have done harm, and is posted with care) share.
 */

#include "xmpprelay/dispatch.h"

#include "common/backoff.h"

typedef struct DispatchAccount {
    bool blocked;      /* waiting for dispatch_writable() */
    bool proven;       /* the present session has brought a message to its destination */
    usec_t since_usec; /* CLOCK_MONOTONIC: the first time that one that stands back was looked
                        * at in the present session; 0: not yet */
    usec_t joining_until_usec; /* one stands back for rooms that are not joined yet; 0: none does */
} DispatchAccount;

typedef struct Target {
    size_t account;
    DispatchEntry *entries;
    size_t n_entries;
    int64_t after;  /* all undelivered ones up to here are held */
    bool exhausted; /* the spool has none past `after` */
    bool ready;
    bool paused;
    size_t width; /* how many may be in flight at once, 1 to the window */
    Backoff backoff;
    usec_t wait_until_usec; /* after FAILED_WAIT; 0: no wait */
} Target;

struct Dispatch {
    DispatchLimits limits;
    Target *targets;
    size_t n_targets;
    DispatchAccount *accounts;
    size_t n_accounts;
};

/* dispatch.c */
size_t dispatch_count(const Target *target, DispatchState state);
void dispatch_settle(DispatchEntry *entry, bool delivered, const char *reason);
bool dispatch_can_post(const Dispatch *dispatch, const Target *target, usec_t now);

/* dispatch-suspects.c */
/* A suspect that was in flight when the connection ended, or whose confirmation is overdue. */
void suspects_accuse(DispatchEntry *entry, unsigned weight, const char *verdict);
/* The session has ended with what `target` has in flight, which is to be of unknown fate then. */
void suspects_lost(Dispatch *dispatch, Target *target, EndCause cause, usec_t now);
/* When one that stands back has waited long enough for `account` to be in all its rooms. */
usec_t suspects_wake_usec(const Dispatch *dispatch, size_t account);
/* It is certain that the entry, of unknown fate until now, has not arrived. */
void suspects_not_arrived(DispatchEntry *entry);
/* The lowest entry of a target that could be posted; `all`: also those that stand back. */
DispatchEntry *suspects_first_waiting(Target *target, bool all);
/* Chooses the one that is to be alone, if it is time for it. True when the account may post only
 * that, or nothing. */
bool suspects_choose(Dispatch *dispatch, size_t account, usec_t now, usec_t now_realtime);
void suspects_mark_chosen(DispatchEntry *entry, bool alone, usec_t now_realtime);
