/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What the files of the relay share: relay.c builds it and owns the loop, turn.c is what one turn
 * of it does, relay-sessions.c its dealings with the sessions, reload.c the change to another
 * configuration, operator.c what the control socket asks of it, relay-metrics.c what it says of
 * itself over HTTP.
 */

#include "common/compose.h"
#include "common/log.h"
#include "common/metrics-server.h"
#include "xmpprelay/control.h"
#include "xmpprelay/dispatch.h"
#include "xmpprelay/inbox.h"
#include "xmpprelay/metrics.h"
#include "xmpprelay/relay.h"
#include "xmpprelay/sessions.h"
#include "xmpprelay/spool.h"

#include <systemd/sd-event.h>

#define PATIENCE_LOG_USEC (60 * USEC_PER_SEC)

/* An entry that was settled in this turn, told to everyone who wants to know after the commit. */
typedef struct Fate {
    size_t destination;
    bool delivered;
    char reason[RECORD_REASON_MAX];
    SpoolFate record;
    Record *content; /* for the log's fields; NULL where it can't be had */
} Fate;

/* A message that goes out after the commit. */
typedef struct Post {
    size_t destination;
    int64_t seq;
    char stanza_id[SPOOL_STANZA_ID_SIZE];
    char *body; /* NULL: it can't be composed, for `reason` */
    ComposeStyle style;
    usec_t delay_usec; /* CLOCK_REALTIME of an alert that is old; 0: it is fresh */
    const char *reason;
} Post;

/* Ids of unknown fate, as a session's start refers to them. */
typedef struct Pending {
    char (*ids)[SPOOL_STANZA_ID_SIZE];
    const char **pointers;
} Pending;

typedef enum RelayPhase {
    RELAY_RUNNING,
    RELAY_CHANGING, /* the sessions leave, then those of `next_settings` start */
    RELAY_STOPPING, /* the sessions leave, then the loop ends */
} RelayPhase;

typedef struct Relay {
    sd_event *event;
    const char *config_path;
    Settings *settings;
    Settings *next_settings;
    RelayPhase phase;
    bool sessions_gone; /* CHANGING, STOPPING: the last process has been reaped */

    Spool *spool;
    Inbox *inbox;
    Control *control;
    Sessions *sessions;
    Dispatch *dispatch;
    Pending *pending; /* by destination */
    size_t n_pending;

    sd_event_source *inbox_source;
    sd_event_source *inbox_again_source;
    sd_event_source *turn_source;
    sd_event_source *wake_source;
    sd_event_source *tick_source;

    Fate *fates;
    size_t n_fates;
    size_t fates_size;
    Post *posts;
    size_t n_posts;
    size_t posts_size;
    LogLimit patience; /* of the lines that say that a server asks for it */
    bool spool_failing;
    SpoolInserted disk; /* SPOOL_DISK or SPOOL_REMOVED while senders are told so */
    char status[192];   /* as told to the service manager */
    ControlCounts counts;
    RelayMetrics metrics;
    MetricsServer *metrics_server; /* NULL: they are not asked for */
} Relay;

/* Has a turn run once what is ready in the loop has been served. */
void relay_wake(Relay *relay);

/* One turn: gather, one transaction, then receipts and posts. Failures are handled inside. */
void relay_turn(Relay *relay);

/* After a failure to read the datagram socket, which stays readable then and would keep the loop
 * busy: looks at it again a second later only. */
void relay_rest_inbox(Relay *relay, bool failed);

/* Loads the windows as they stand in the spool. 0 or -errno. */
int relay_fill(Relay *relay);

/* Says once that the spool can't be written, and once that it can again. */
void relay_note_spool(Relay *relay, int r);

SpoolLimits relay_spool_limits(const Settings *settings);

/* Makes dispatch and sessions for `settings` and starts; -errno leaves what there is of them to
 * relay_end_sessions(), which kills processes that still run. */
int relay_start_sessions(Relay *relay);
void relay_end_sessions(Relay *relay);

/* Asks the sessions to leave; a turn with `sessions_gone` follows. */
int relay_leave(Relay *relay);

/* Reads the configuration again, and once the sessions have gone takes `next_settings`. On
 * failure the loop can't go on. */
int relay_reload(Relay *relay);
int relay_take_next(Relay *relay);

/* Serves the metrics where `settings` say so from now on, or nowhere. */
int relay_serve_metrics(Relay *relay, const Settings *settings,
                        char reason[static METRICS_REASON_MAX]);

extern const ControlOwner relay_control_owner; /* without userdata */
