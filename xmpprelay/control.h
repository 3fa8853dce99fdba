/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What operators ask of a running relay, over the control socket: the other end of xmpprelayctl.
 *
 * A request is one line of JSON, an object with "command"; the answer is one line too, an object
 * that has "error" (a sentence) when the request could not be met. Times are seconds since the
 * epoch. A list comes in pages: where the answer has "next", that value as "after" in the same
 * request gets the page behind it.
 *
 *   status                     the daemon, its accounts, its destinations, its counts
 *   queue     failed, after    waiting entries, or with "failed": true those set aside
 *   history   after            delivered and dropped entries, the latest first
 *   show      id               a record with all its entries
 *   retry     id | all         failed entries are queued again, at their old place
 *   drop      id               waiting and failed entries of a record are given up
 *   pause, resume  destination one destination, or without it all
 *   test      destination, id  posts a message, under an id that begins with "test-" if one is
 * given; the answer comes with its fate
 *
 * Who may connect is decided by the socket's mode and group. All functions are called from the
 * event loop's thread.
 */

#include "xmpprelay/sessions.h"
#include "xmpprelay/spool.h"

typedef struct Control Control;

/* Since the daemon started; `in_flight` now. */
typedef struct ControlCounts {
    usec_t started_usec; /* CLOCK_REALTIME */
    uint64_t accepted;   /* records */
    uint64_t duplicate;
    uint64_t busy;
    uint64_t refused;
    uint64_t delivered; /* entries */
    uint64_t failed;
    uint64_t in_flight;
    bool spool_failing; /* now: it can't be written */
} ControlCounts;

/* What the relay does for Control; called outside of any transaction of the spool. */
typedef struct ControlOwner {
    void *userdata;
    /* Entries of this destination were retried or dropped in the spool. */
    void (*on_changed)(void *userdata, const char *destination);
    /* The destination was paused or resumed; the spool remembers it already. */
    void (*on_paused)(void *userdata, const char *destination, bool paused);
    /* Accept a test record of this id for the destination, and call control_test_done() when its
     * fate is known. A negative errno when it can't be accepted. */
    int (*on_test)(void *userdata, const char *destination, const char *id);
    void (*on_counts)(void *userdata, ControlCounts *ret);
} ControlOwner;

/* `settings`, `spool` and `sessions` must outlive it or be replaced by control_set_sources().
 * On failure `reason` says in a sentence what is wrong (a live socket of another relay:
 * -EADDRINUSE). */
int control_new(sd_event *event, const Settings *settings, Spool *spool, Sessions *sessions,
                const ControlOwner *owner, Control **ret, char reason[static SPOOL_REASON_MAX]);
Control *control_free(Control *control); /* cuts off who is connected, removes the socket */
DEFINE_CLEANUP(Control *, control_free)

/* After a reload. The socket stays where it is: its settings are read at start only. */
void control_set_sources(Control *control, const Settings *settings, Sessions *sessions);

/* The fate of a record that may be a test: delivered, or not and why. True where it is one that
 * somebody waits for, with the time since it was asked for. */
bool control_test_done(Control *control, const char *id, bool delivered, const char *reason,
                       usec_t *ret_took_usec);
