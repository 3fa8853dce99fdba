/* SPDX-License-Identifier: MIT */

/*
 * The relay process: what it is made of, and its life.
 *
 * Everything that happens (a datagram, a report of a session, a timer) only notes what it means
 * and asks for a turn (turn.c). The turn is an event source of the same priority as all others,
 * so it runs when what became ready before it has been served: under load each turn takes many
 * events along, none can hold it off, and it holds off none. It is a timer that is always due,
 * for a deferred source keeps the place of its first day in the queue: before all others.
 *
 * To stop: no more datagrams are taken (those that the kernel still has were never answered, so
 * they are their senders' still; the next process finds them where a service manager has kept the
 * socket), the sessions leave, what they reported on the way out is written,
 * and the loop ends.
 */

#include "xmpprelay/relay-internal.h"

#include "common/log.h"
#include "xmpprelay/fd-store.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sysexits.h>

#include <systemd/sd-daemon.h>

#define TICK_USEC (10 * USEC_PER_SEC)
#define TICK_MORE_USEC (200 * USEC_PER_MSEC)
#define INBOX_AGAIN_USEC USEC_PER_SEC
#define PURGE_BATCH 200
#define STORED_SOCKET "records" /* as the service manager calls it */

void relay_wake(Relay *relay)
{
    int r = sd_event_source_set_enabled(relay->turn_source, SD_EVENT_ONESHOT);

    if (r < 0) { /* can't be; without turns we are of no use */
        log_error("the event loop is broken: %s", strerror(-r));
        sd_event_exit(relay->event, r);
    }
}

SpoolLimits relay_spool_limits(const Settings *settings)
{
    return (SpoolLimits){ .max_records = (uint64_t)settings->spool.max_records,
                          .max_share = (uint64_t)settings->spool.max_share,
                          .reserve_bytes = SPOOL_RESERVE_BYTES,
                          .keep_usec = settings->spool.keep_usec };
}

static int on_turn(sd_event_source *source, uint64_t usec, void *userdata)
{
    Relay *relay = userdata;
    int r;

    relay_turn(relay);
    if (!relay->sessions_gone)
        return 0;
    relay->sessions_gone = false;
    if (relay->phase == RELAY_STOPPING)
        return sd_event_exit(relay->event, 0);
    r = relay_take_next(relay);
    return r < 0 ? sd_event_exit(relay->event, r) : 0;
}

static int on_inbox(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    relay_wake(userdata);
    return 0;
}

static int on_inbox_again(sd_event_source *source, uint64_t usec, void *userdata)
{
    relay_wake(userdata);
    return 0;
}

void relay_rest_inbox(Relay *relay, bool failed)
{
    if (!relay->inbox_source)
        return;
    if (failed)
        sd_event_source_set_time_relative(relay->inbox_again_source, INBOX_AGAIN_USEC);
    sd_event_source_set_enabled(relay->inbox_again_source,
                                failed ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
    sd_event_source_set_enabled(relay->inbox_source, failed ? SD_EVENT_OFF : SD_EVENT_ON);
}

static int on_wake(sd_event_source *source, uint64_t usec, void *userdata)
{
    relay_wake(userdata);
    return 0;
}

/* Housekeeping. */

static void tell_status(Relay *relay)
{
    char status[sizeof(relay->status)];
    size_t n_ready = 0;

    for (size_t i = 0; relay->sessions && i < relay->settings->destinations.n; i++) {
        DestinationStatus destination;

        sessions_destination_status(relay->sessions, i, &destination);
        n_ready += destination.state == ROOM_READY;
    }
    snprintf(status, sizeof(status),
             "STATUS=%zu of %zu destinations ready; %" PRIu64 " waiting, %" PRIu64 " failed%s",
             n_ready, relay->settings->destinations.n, spool_n_waiting(relay->spool),
             spool_n_failed(relay->spool),
             relay->spool_failing ? "; the spool can't be written" : "");
    if (streq(status, relay->status))
        return;
    memcpy(relay->status, status, sizeof(status));
    sd_notify(0, status);
}

/* 1: there is more to purge. */
static int purge(Relay *relay)
{
    size_t n_dropped = 0;
    int n = 0, r;

    r = spool_begin(relay->spool);
    if (r == 0) {
        n = spool_purge(relay->spool, now_usec(CLOCK_REALTIME), PURGE_BATCH, &n_dropped);
        if (n < 0)
            spool_rollback(relay->spool);
        r = n < 0 ? n : spool_commit(relay->spool);
    }
    if (r < 0) {
        relay_note_spool(relay, r);
        return 0;
    }
    if (n_dropped > 0)
        log_warning("dropped the %zu oldest failed alerts: more than spool.max_records are kept "
                    "for nobody",
                    n_dropped);
    return n == PURGE_BATCH;
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
    Relay *relay = userdata;
    bool more = !relay->spool_failing && purge(relay) > 0;

    tell_status(relay);
    sd_event_source_set_time_relative(source, more ? TICK_MORE_USEC : TICK_USEC);
    sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
    return 0;
}

/* Signals. */

static int on_stop(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
    Relay *relay = userdata;
    RelayPhase before = relay->phase;
    int r;

    if (before == RELAY_STOPPING)
        return 0;
    log_notice("stopping");
    sd_notify(0, "STOPPING=1\nSTATUS=leaving the rooms");
    relay_turn(relay);
    relay->inbox_source = sd_event_source_disable_unref(relay->inbox_source);
    relay->inbox = inbox_free(relay->inbox);
    relay->control = control_free(relay->control);
    relay->phase = RELAY_STOPPING;
    if (before == RELAY_CHANGING) /* they leave already */
        return 0;
    r = relay_leave(relay);
    return r < 0 ? sd_event_exit(relay->event, r) : 0;
}

/* What is in flight is of unknown fate then, which the next start will clear up. */
static int on_stop_now(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
    Relay *relay = userdata;

    log_notice("stopping at once");
    sd_notify(0, "STOPPING=1");
    relay_turn(relay);
    return sd_event_exit(relay->event, 0);
}

static int on_reload(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
    Relay *relay = userdata;
    int r = relay->phase == RELAY_STOPPING ? 0 : relay_reload(relay);

    return r < 0 ? sd_event_exit(relay->event, r) : 0;
}

/* Making and ending it. */

static int add_sources(Relay *relay)
{
    int r;

    r = sd_event_add_time(relay->event, &relay->turn_source, CLOCK_MONOTONIC, 0, 1, on_turn, relay);
    if (r >= 0)
        r = sd_event_add_io(relay->event, &relay->inbox_source, inbox_fd(relay->inbox), EPOLLIN,
                            on_inbox, relay);
    if (r >= 0)
        r = sd_event_add_time(relay->event, &relay->inbox_again_source, CLOCK_MONOTONIC, 0, 0,
                              on_inbox_again, relay);
    if (r >= 0)
        r = sd_event_source_set_enabled(relay->inbox_again_source, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_add_time(relay->event, &relay->wake_source, CLOCK_MONOTONIC, 0, USEC_PER_MSEC,
                              on_wake, relay);
    if (r >= 0)
        r = sd_event_source_set_enabled(relay->wake_source, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_add_time_relative(relay->event, &relay->tick_source, CLOCK_MONOTONIC,
                                       USEC_PER_SEC, 0, on_tick, relay);
    if (r >= 0)
        r = sd_event_add_signal(relay->event, NULL, SIGTERM, on_stop, relay);
    if (r >= 0)
        r = sd_event_add_signal(relay->event, NULL, SIGINT, on_stop_now, relay);
    if (r >= 0)
        r = sd_event_add_signal(relay->event, NULL, SIGHUP, on_reload, relay);
    return MIN(r, 0);
}

static void relay_done(Relay *relay)
{
    metrics_server_free(relay->metrics_server);
    control_free(relay->control);
    inbox_free(relay->inbox);
    relay_end_sessions(relay);
    sd_event_source_disable_unref(relay->inbox_source);
    sd_event_source_disable_unref(relay->inbox_again_source);
    sd_event_source_disable_unref(relay->turn_source);
    sd_event_source_disable_unref(relay->wake_source);
    sd_event_source_disable_unref(relay->tick_source);
    spool_free(relay->spool);
    relay_metrics_done(&relay->metrics);
    free(relay->fates);
    free(relay->posts);
    settings_free(relay->settings);
    settings_free(relay->next_settings);
    sd_event_unref(relay->event);
}

/* Over a restart the service manager keeps the socket open, so that datagrams wait in it. */
static int open_inbox(Relay *relay, char reason[static RECORD_REASON_MAX])
{
    int kept = fd_store_take(STORED_SOCKET), r;

    if (kept < 0 && kept != -ENOENT)
        log_warning("can't take sockets from the service manager: %s", strerror(-kept));
    r = inbox_new(relay->settings, kept, &relay->inbox, reason);
    if (r < 0)
        return r;
    if (inbox_went_on(relay->inbox)) {
        log_info("going on with the socket of the process before");
    } else {
        if (kept >= 0)
            fd_store_drop(STORED_SOCKET);
        if (!fd_store_put(STORED_SOCKET, inbox_fd(relay->inbox)))
            return 0;
    }
    inbox_leave_open(relay->inbox);
    return 0;
}

/* EX_OK, or what to exit with: a file that must be mended will not mend itself. */
static int open_spool(Relay *relay)
{
    const SpoolLimits limits = relay_spool_limits(relay->settings);
    const char *path = relay->settings->spool.path;
    char reason[SPOOL_REASON_MAX];
    int r;

    r = spool_open(path, &limits, &relay->spool, reason);
    if (r < 0) {
        log_error("%s", reason);
        sd_notifyf(0, "STATUS=Not started: %s", reason);
        return r == -EUCLEAN || r == -ENOEXEC || r == -EPROTONOSUPPORT ? EX_DATAERR
                                                                       : EX_UNAVAILABLE;
    }
    if (spool_was_made(relay->spool))
        log_notice("%s was not there and has been made: nothing waits", path);
    return EX_OK;
}

/* What operators and monitoring look in by. */
static int open_windows(Relay *relay)
{
    ControlOwner owner = relay_control_owner;
    char reason[MAX(SPOOL_REASON_MAX, METRICS_REASON_MAX)];
    int r;

    owner.userdata = relay;
    r = control_new(relay->event, relay->settings, relay->spool, relay->sessions, &owner,
                    &relay->control, reason);
    if (r == 0)
        r = relay_serve_metrics(relay, relay->settings, reason);
    if (r < 0)
        log_error("%s", reason);
    return r;
}

static int open_all(Relay *relay)
{
    char reason[SPOOL_REASON_MAX];
    int r;

    r = open_inbox(relay, reason);
    if (r < 0) {
        log_error("%s", reason);
        return r;
    }
    r = relay_metrics_init(&relay->metrics, relay->counts.started_usec);
    if (r == 0)
        r = relay_metrics_configure(&relay->metrics, relay->settings);
    if (r == 0)
        r = add_sources(relay);
    if (r == 0)
        r = relay_start_sessions(relay);
    if (r < 0) {
        log_error("can't start: %s", strerror(-r));
        return r;
    }
    inbox_count_in(relay->inbox, relay->metrics.receipt_seconds);
    return open_windows(relay);
}

int relay_run(const char *config_path, Settings *settings)
{
    _cleanup_(relay_done) Relay relay = {
        .config_path = config_path,
        .settings = settings,
        .counts.started_usec = now_usec(CLOCK_REALTIME),
        .patience = { .interval_usec = PATIENCE_LOG_USEC, .burst = 1 },
    };
    sigset_t mask;
    int r;

    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    sigaddset(&mask, SIGHUP);
    sigaddset(&mask, SIGCHLD);
    r = sigprocmask(SIG_BLOCK, &mask, NULL) < 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR
            ? -errno
            : sd_event_new(&relay.event);
    if (r < 0) {
        log_error("no event loop: %s", strerror(-r));
        return EX_OSERR;
    }
    r = open_spool(&relay);
    if (r != EX_OK)
        return r;
    if (open_all(&relay) < 0)
        return EX_UNAVAILABLE;

    r = sd_event_set_watchdog(relay.event, true);
    if (r < 0)
        log_warning("the service manager's watchdog can't be served: %s", strerror(-r));
    sd_notify(0, "READY=1");
    log_notice("ready; alerts waiting: %" PRIu64 ", set aside: %" PRIu64,
               spool_n_waiting(relay.spool), spool_n_failed(relay.spool));
    r = sd_event_loop(relay.event);
    if (r == -EUCLEAN)
        return EX_UNAVAILABLE;
    if (r < 0) {
        log_error("the event loop ended: %s", strerror(-r));
        return EX_OSERR;
    }
    if (spool_n_waiting(relay.spool) > 0 && spool_disk_check(relay.spool) == SPOOL_REMOVED)
        log_error("%s was removed or replaced, and the %" PRIu64
                  " alerts that waited in it are lost",
                  relay.settings->spool.path, spool_n_waiting(relay.spool));
    log_notice("stopped; alerts waiting: %" PRIu64, spool_n_waiting(relay.spool));
    return EX_OK;
}
