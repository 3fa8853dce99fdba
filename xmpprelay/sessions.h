/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The relay process's side of its session processes: one for each account that a destination
 * uses. Starts them (fork and exec of our own binary), watches their heartbeat, kills the silent,
 * waits (backoff.h: 1 s doubling to 60 s; a minute of being online resets it, and so does a message
 * that was brought to its destination before the line broke), starts anew.
 *
 * Sessions knows nothing of records; what it hears it passes to its owner by callbacks, all
 * called from the event loop and never from inside sessions_post().
 */

#include "xmpprelay/link.h"

#include <systemd/sd-event.h>

typedef struct Sessions Sessions;

typedef struct SessionsOwner {
    void *userdata;

    /* A session is about to start: fill in what is of unknown fate in `destination` (pending,
     * n_pending, since_usec). The ids must stay valid until the call after next. */
    void (*on_starting)(void *userdata, size_t destination, LinkDestination *ret);
    /* The destination became ready (pending ids not reported done by now have not arrived)… */
    void (*on_ready)(void *userdata, size_t destination);
    /* …or stopped being so. Posts in flight are of unknown fate from here on, until the next
     * on_ready. `cause` is why the session ended, END_POISON when the server ended the stream
     * over what we sent; END_QUIT when it goes on and only the room was left. Called for each
     * destination that was ready. */
    void (*on_lost)(void *userdata, size_t destination, EndCause cause);
    void (*on_done)(void *userdata, size_t destination, const char *stanza_id);
    void (*on_failed)(void *userdata, size_t destination, const char *stanza_id, FailedKind kind,
                      const char *reason);
    /* Posts may go on after a sessions_post() that gave -EAGAIN. */
    void (*on_writable)(void *userdata, size_t account);

    /* For the record: a process was started, its stream is online. May be NULL. */
    void (*on_started)(void *userdata, size_t account);
    void (*on_online)(void *userdata, size_t account);
} SessionsOwner;

/* What xmpprelayctl status shows. Strings belong to Sessions, valid until the next event. */
typedef struct SessionStatus {
    bool online;
    const char *state; /* "connecting", "online", "waiting" (for the next try), "stopped" */
    const char *reason;
    usec_t since_usec;   /* CLOCK_REALTIME of the last change of state */
    usec_t retry_usec;   /* waiting: CLOCK_REALTIME of the next try, else 0 */
    unsigned reconnects; /* since the daemon started */
    pid_t pid;           /* 0: none */
} SessionStatus;

typedef struct DestinationStatus {
    RoomState state;
    const char *reason;
    const char *nick;
    usec_t since_usec;
} DestinationStatus;

/* `settings` must outlive it. */
int sessions_new(sd_event *event, const Settings *settings, const SessionsOwner *owner,
                 Sessions **ret);
Sessions *sessions_free(Sessions *sessions); /* kills what still runs */
DEFINE_CLEANUP(Sessions *, sessions_free)

int sessions_start(Sessions *sessions);

/* Asks all to leave; `on_stopped` (may be called at once) when the last has gone or, at the
 * latest, after `timeout_usec`, when the rest is killed. */
int sessions_stop(Sessions *sessions, usec_t timeout_usec, void (*on_stopped)(void *userdata));

/* 0; -EAGAIN: the session does not keep up, on_writable will come; -ENOTCONN: not ready. */
int sessions_post(Sessions *sessions, size_t destination, const char *stanza_id, const char *body,
                  bool unstyled, usec_t delay_usec);

/* The owner saw no confirmation for too long: ends the account's session as a network failure. */
void sessions_give_up(Sessions *sessions, size_t destination, const char *reason);

void sessions_account_status(const Sessions *sessions, size_t account, SessionStatus *ret);
void sessions_destination_status(const Sessions *sessions, size_t destination,
                                 DestinationStatus *ret);
