/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What sessions.c (policy, and the owner's side) and sessions-events.c (what processes say and
 * how they end) share.
 */

#include "xmpprelay/sessions.h"

#include "common/backoff.h"

typedef enum SupervisedState {
    SUPERVISED_WAITING,
    SUPERVISED_CONNECTING,
    SUPERVISED_ONLINE,
    SUPERVISED_STOPPED,
} SupervisedState;

typedef struct Supervised {
    Sessions *sessions;
    size_t account;
    SupervisedState state;
    usec_t since_usec, retry_usec; /* CLOCK_REALTIME */
    unsigned starts;
    char reason[LINK_REASON_MAX + 1];

    pid_t pid; /* 0: none */
    int link_fd;
    bool brought; /* a message to its destination */
    bool dying;   /* told to quit, killed, or has said `end`: takes no more posts */
    bool has_end;
    EndCause end_cause;
    char end_reason[LINK_REASON_MAX + 1];
    bool blocked; /* a post was refused: say when there is room again */

    Backoff backoff;
    sd_event_source *link_source, *child_source, *silence_source, *retry_source;
} Supervised;

typedef struct SupervisedDestination {
    RoomState state;
    char reason[LINK_REASON_MAX + 1];
    char *nick;
    usec_t since_usec;
} SupervisedDestination;

struct Sessions {
    sd_event *event;
    const Settings *settings;
    SessionsOwner owner;
    Supervised *supervised; /* one for each account of the settings */
    size_t n_supervised;
    SupervisedDestination *destinations;
    bool stopping;
    sd_event_source *stop_source;
    void (*on_stopped)(void *userdata);
};

/* sessions.c */
const Account *supervised_account(const Supervised *supervised);
bool supervised_has(const Supervised *supervised, size_t destination);
void supervised_set_state(Supervised *supervised, SupervisedState state, const char *reason);
void supervised_release_process(Supervised *supervised);
void sessions_set_room(Sessions *sessions, size_t index, RoomState state, const char *reason,
                       const char *nick);
void sessions_check_stopped(Sessions *sessions);
/* Notes that the session could not start, or ended, and sets the time of the next try. */
void supervised_retry(Supervised *supervised, EndCause cause, const char *reason);

/* sessions-events.c */
int supervised_watch(Supervised *supervised); /* adds the sources for pid and link_fd */
void supervised_watch_writable(Supervised *supervised, bool writable);
/* Kills the process; the rest follows when it is reaped. */
void supervised_kill(Supervised *supervised, EndCause cause, const char *format, ...)
    PRINTF_LIKE(3, 4);
