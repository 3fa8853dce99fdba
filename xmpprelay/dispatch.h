/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What is posted when, and what an event means for it: policy alone, no clock, no I/O.
 *
 * For each destination Dispatch holds its window: the lowest-numbered entries of the spool that
 * are not delivered, at most `window` of them. The caller moves entries in from the spool, tells
 * what the sessions report, writes to the spool what came of it, and posts what was chosen:
 *
 *     events → dispatch_done(), …_failed(), …_ready(), …_lost(), …
 *     turn   → each SETTLED and each `suspicion_changed` entry is marked in the spool;
 *              dispatch_wants()/dispatch_add() fill the windows; dispatch_choose();
 *              each CHOSEN entry is marked as sent; commit;
 *              dispatch_committed() or dispatch_rolled_back(); each entry that is still
 *              CHOSEN is posted, and dispatch_posted() told.
 *
 * `now` is CLOCK_MONOTONIC; times that come from the spool are CLOCK_REALTIME and only kept.
 */

#include "common/util.h"
#include "xmpprelay/link.h"
#include "xmpprelay/spool.h"

typedef struct Dispatch Dispatch;

typedef enum DispatchState {
    DISPATCH_WAITING,   /* in no room, as far as anybody can know */
    DISPATCH_CHOSEN,    /* to be posted when the transaction is on disk */
    DISPATCH_IN_FLIGHT, /* posted in the present session */
    DISPATCH_UNKNOWN,   /* posted in an earlier one: the next dispatch_ready() decides */
    DISPATCH_SETTLED,   /* delivered, or failed for good; the spool does not know yet */
} DispatchState;

typedef struct DispatchEntry {
    int64_t seq;
    char stanza_id[SPOOL_STANZA_ID_SIZE];
    DispatchState state;
    unsigned suspicion;        /* 0: none, see DISPATCH_SUSPICION_FINAL */
    bool suspicion_changed;    /* the spool does not know yet */
    bool alone;                /* posted while nothing else was in flight for its account */
    bool after_another;        /* … in a session that had brought another to its destination */
    bool cut;                  /* UNKNOWN since the connection ended soon after the post */
    unsigned cuts, cuts_alone; /* how often in a row, without its arrival */
    bool fresh;                /* added since the last commit */
    bool delivered;            /* SETTLED */
    usec_t accepted_usec;      /* CLOCK_REALTIME */
    usec_t first_sent_usec;    /* CLOCK_REALTIME; 0: never */
    usec_t posted_usec;        /* CLOCK_MONOTONIC */
    usec_t deadline_usec;      /* IN_FLIGHT: of its confirmation */
    char reason[RECORD_REASON_MAX]; /* SETTLED and not delivered */
} DispatchEntry;

/* A message that was in flight when the stream was ended over what we sent, or when no
 * confirmation came, is a suspect (1) and from then on posted alone. Each time that it takes the
 * stream down alone adds 2, each confirmation missed alone adds 1; at this sum it is failed. So
 * does each time that the connection is cut, for no reason that was heard, soon after it was
 * posted alone behind one that arrived: 2. */
#define DISPATCH_SUSPICION_FINAL 5
#define DISPATCH_SOON_USEC (5 * USEC_PER_SEC)

typedef struct DispatchLimits {
    size_t window;
    usec_t confirm_usec;
    usec_t backoff_usec; /* the first wait after FAILED_WAIT */
    usec_t backoff_cap_usec;
} DispatchLimits;

/* accounts[i] is the account of destination i. */
int dispatch_new(const DispatchLimits *limits, const size_t *accounts, size_t n_destinations,
                 Dispatch **ret);
Dispatch *dispatch_free(Dispatch *dispatch);
DEFINE_CLEANUP(Dispatch *, dispatch_free)

/* Filling. True: the window has room and the spool may have more; load up to *ret_max entries
 * past *ret_after and pass each to dispatch_add(), then say with dispatch_filled() how many the
 * spool gave. */
bool dispatch_wants(const Dispatch *dispatch, size_t destination, int64_t *ret_after,
                    size_t *ret_max);
/* 0; 1: the window is full, give no more; -ENOMEM. */
int dispatch_add(Dispatch *dispatch, size_t destination, const SpoolEntry *entry);
void dispatch_filled(Dispatch *dispatch, size_t destination, size_t n_given, size_t max);
/* The spool has new entries at the end… */
void dispatch_grown(Dispatch *dispatch, size_t destination);
/* …or somewhere in between. */
void dispatch_rewind(Dispatch *dispatch, size_t destination);
/* The entry waits no longer (the operator has dropped it). */
void dispatch_forget(Dispatch *dispatch, size_t destination, int64_t seq);

/* What the sessions report. */
void dispatch_ready(Dispatch *dispatch, size_t destination);
/* END_QUIT: only the destination was left, its session goes on. */
void dispatch_lost(Dispatch *dispatch, size_t destination, EndCause cause, usec_t now);
/* False: no such entry is held (it was dropped, or proven before). */
bool dispatch_done(Dispatch *dispatch, size_t destination, const char *stanza_id);
/* `random` is for the jitter of the wait. False as above. */
bool dispatch_failed(Dispatch *dispatch, size_t destination, const char *stanza_id, FailedKind kind,
                     const char *reason, usec_t now, uint32_t random);
void dispatch_writable(Dispatch *dispatch, size_t account);

void dispatch_set_paused(Dispatch *dispatch, size_t destination, bool paused);
bool dispatch_is_paused(const Dispatch *dispatch, size_t destination);

/* The stanza ids that are of unknown fate when a session starts: how many, at most `max`. They
 * are copied. *ret_since_usec is when the first of them was first sent; 0 where there is none. */
size_t dispatch_pending(const Dispatch *dispatch, size_t destination,
                        char (*ret_ids)[SPOOL_STANZA_ID_SIZE], size_t max, usec_t *ret_since_usec);

/* Chooses what to post now. `now_realtime` is kept as the time of a first attempt. */
void dispatch_choose(Dispatch *dispatch, usec_t now, usec_t now_realtime);
void dispatch_committed(Dispatch *dispatch);
void dispatch_rolled_back(Dispatch *dispatch);

/* What became of posting a chosen entry: 0, -EAGAIN (nothing more for its account until
 * dispatch_writable()), -ENOTCONN (the destination is not ready after all), -ENOMEM and -ENOBUFS
 * (tried again after a wait); any other -errno fails it with `reason`. */
void dispatch_posted(Dispatch *dispatch, size_t destination, int64_t seq, int result,
                     const char *reason, usec_t now);

/* True when a confirmation is overdue; the account of *ret_destination is then to be given up,
 * and is not reported again before as long a time has gone by. */
bool dispatch_overdue(Dispatch *dispatch, usec_t now, size_t *ret_destination);

/* When dispatch_choose() or dispatch_overdue() should be called again though nothing happens. */
usec_t dispatch_wake_usec(const Dispatch *dispatch);

/* Entries settled or suspected since the last commit: there is something to write. */
bool dispatch_is_dirty(const Dispatch *dispatch);

/* Visits all that is held, by destination and number; stops at the first result that is not 0
 * and returns it. The visit may call dispatch_posted() for the very entry, nothing else. */
int dispatch_each(const Dispatch *dispatch,
                  int (*visit)(size_t destination, const DispatchEntry *entry, void *userdata),
                  void *userdata);

size_t dispatch_n_in_flight(const Dispatch *dispatch, size_t destination);
