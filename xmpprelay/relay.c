/* SPDX-License-Identifier: MIT */

/*
 * The relay process: what it is made of, and its life.
 *
 * Everything that happens (a datagram, a report of a session, a timer) only notes what it means
 * and asks for a turn (turn.c). The turn is a deferred event source of the same priority as all
 * others, so it runs when what became ready before it has been served: under load each turn
 * takes many events along, and none can hold it off.
 *
 * A reload that touches accounts, destinations or delivery lets the sessions leave, with the old
 * settings in force, and then starts those of the new ones over the same spool. To stop: no more
 * datagrams are taken (those that the kernel still has were never answered, so they are their
 * senders' still), the sessions leave, what they reported on the way out is written, and the loop
 * ends.
 */

#include "xmpprelay/relay-internal.h"

#include "common/log.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/random.h>

#include <systemd/sd-daemon.h>

#define LEAVE_USEC (5 * USEC_PER_SEC)
#define TICK_USEC (10 * USEC_PER_SEC)
#define TICK_MORE_USEC (200 * USEC_PER_MSEC)
#define PURGE_BATCH 200

void relay_wake(Relay *relay)
{
    int r = sd_event_source_set_enabled(relay->turn_source, SD_EVENT_ONESHOT);

    if (r < 0) { /* can't be; without turns we are of no use */
        log_error("the event loop is broken: %s", strerror(-r));
        sd_event_exit(relay->event, r);
    }
}

/* What the sessions report. */

static void on_starting(void *userdata, size_t destination, LinkDestination *ret)
{
    Relay *relay = userdata;
    Pending *pending = &relay->pending[destination];

    ret->n_pending = dispatch_pending(relay->dispatch, destination, pending->ids,
                                      (size_t)relay->settings->delivery.window, &ret->since_usec);
    ret->pending = pending->pointers;
}

static void on_ready(void *userdata, size_t destination)
{
    Relay *relay = userdata;

    dispatch_ready(relay->dispatch, destination);
    relay_wake(relay);
}

static void on_lost(void *userdata, size_t destination, EndCause cause)
{
    Relay *relay = userdata;

    dispatch_lost(relay->dispatch, destination, cause);
    relay_wake(relay);
}

static void on_done(void *userdata, size_t destination, const char *stanza_id)
{
    Relay *relay = userdata;

    if (dispatch_done(relay->dispatch, destination, stanza_id))
        relay_wake(relay);
}

static void on_failed(void *userdata, size_t destination, const char *stanza_id, FailedKind kind,
                      const char *reason)
{
    Relay *relay = userdata;
    uint32_t random = 0;

    (void)!getrandom(&random, sizeof(random), GRND_NONBLOCK);
    if (dispatch_failed(relay->dispatch, destination, stanza_id, kind, reason,
                        now_usec(CLOCK_MONOTONIC), random))
        relay_wake(relay);
    if (kind == FAILED_WAIT)
        log_debug("%s: pushed back: %s", settings_destination(relay->settings, destination)->name,
                  reason ?: "");
}

static void on_writable(void *userdata, size_t account)
{
    Relay *relay = userdata;

    dispatch_writable(relay->dispatch, account);
    relay_wake(relay);
}

/* Setting up and changing what depends on accounts and destinations. */

static void free_pending(Relay *relay)
{
    for (size_t i = 0; i < relay->n_pending; i++) {
        free(relay->pending[i].ids);
        free(relay->pending[i].pointers);
    }
    free(relay->pending);
    relay->pending = NULL;
    relay->n_pending = 0;
}

static int make_pending(Relay *relay)
{
    size_t n = relay->settings->destinations.n, window = (size_t)relay->settings->delivery.window;

    relay->pending = calloc(MAX(n, (size_t)1), sizeof(*relay->pending));
    if (!relay->pending)
        return -ENOMEM;
    for (relay->n_pending = 0; relay->n_pending < n;) {
        Pending *pending = &relay->pending[relay->n_pending++];

        pending->ids = calloc(window, sizeof(*pending->ids));
        pending->pointers = calloc(window, sizeof(*pending->pointers));
        if (!pending->ids || !pending->pointers)
            return -ENOMEM;
        for (size_t i = 0; i < window; i++)
            pending->pointers[i] = pending->ids[i];
    }
    return 0;
}

static int make_dispatch(Relay *relay)
{
    const Settings *settings = relay->settings;
    const DispatchLimits limits = {
        .window = (size_t)settings->delivery.window,
        .confirm_usec = settings->delivery.confirm_usec,
        .backoff_usec = settings->session.backoff_usec,
        .backoff_cap_usec = settings->session.backoff_cap_usec,
    };
    _cleanup_free_ size_t *accounts =
        calloc(MAX(settings->destinations.n, (size_t)1), sizeof(*accounts));
    int r;

    if (!accounts)
        return -ENOMEM;
    for (size_t i = 0; i < settings->destinations.n; i++)
        accounts[i] = settings_destination(settings, i)->account_index;
    r = dispatch_new(&limits, accounts, settings->destinations.n, &relay->dispatch);
    for (size_t i = 0; r >= 0 && i < settings->destinations.n; i++) {
        r = spool_is_paused(relay->spool, settings_destination(settings, i)->name);
        if (r > 0)
            dispatch_set_paused(relay->dispatch, i, true);
    }
    return MIN(r, 0);
}

static void warn_of_strangers(const Relay *relay)
{
    const char *name;

    for (size_t i = 0; (name = spool_waiting_destination(relay->spool, i)); i++)
        if (settings_find_destination(relay->settings, name) < 0)
            log_warning("%" PRIu64 " alerts wait for \"%s\", which is no destination any more; "
                        "they stay until it is one again or xmpprelayctl drops them",
                        spool_n_waiting_destination(relay->spool, name), name);
}

/* The windows are loaded before the first session starts: what the last run had in flight is
 * what that session has to look for. */
static int start_sessions(Relay *relay)
{
    const SessionsOwner owner = {
        .userdata = relay,
        .on_starting = on_starting,
        .on_ready = on_ready,
        .on_lost = on_lost,
        .on_done = on_done,
        .on_failed = on_failed,
        .on_writable = on_writable,
    };
    int r;

    r = make_pending(relay);
    if (r == 0)
        r = make_dispatch(relay);
    if (r == 0)
        r = relay_fill(relay);
    if (r < 0)
        return r;
    dispatch_committed(relay->dispatch);
    warn_of_strangers(relay);
    r = sessions_new(relay->event, relay->settings, &owner, &relay->sessions);
    return r < 0 ? r : sessions_start(relay->sessions);
}

static void on_sessions_gone(void *userdata)
{
    Relay *relay = userdata;

    relay->sessions_gone = true;
    relay_wake(relay);
}

static void set_spool_limits(Relay *relay)
{
    const SpoolSettings *settings = &relay->settings->spool;

    spool_set_limits(relay->spool, &(SpoolLimits){ .max_records = (uint64_t)settings->max_records,
                                                   .max_share = (uint64_t)settings->max_share,
                                                   .keep_usec = settings->keep_usec });
}

static void tell_reloaded(void)
{
    sd_notify(0, "READY=1");
    log_notice("the configuration was read again");
}

/* The sessions have left: on to the next settings, or out. Not inside their own callback. */
static int go_on(Relay *relay)
{
    Settings *old = relay->settings;
    int r;

    relay->sessions_gone = false;
    relay->sessions = sessions_free(relay->sessions);
    if (relay->phase == RELAY_STOPPING)
        return sd_event_exit(relay->event, 0);

    relay->dispatch = dispatch_free(relay->dispatch);
    free_pending(relay);
    relay->settings = steal_ptr(relay->next_settings);
    relay->phase = RELAY_RUNNING;
    set_spool_limits(relay);
    inbox_set_settings(relay->inbox, relay->settings);
    r = start_sessions(relay);
    if (r < 0) {
        log_error("can't go on with the new configuration: %s", strerror(-r));
        settings_free(old);
        return sd_event_exit(relay->event, r);
    }
    control_set_sources(relay->control, relay->settings, relay->sessions);
    settings_free(old);
    tell_reloaded();
    relay_wake(relay);
    return 0;
}

static int on_turn(sd_event_source *source, void *userdata)
{
    Relay *relay = userdata;

    relay_turn(relay);
    return relay->sessions_gone ? go_on(relay) : 0;
}

static int on_inbox(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    relay_wake(userdata);
    return 0;
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

    if (before == RELAY_STOPPING) {
        log_notice("told to stop once more: not waiting for the sessions");
        return sd_event_exit(relay->event, 0);
    }
    log_notice("stopping");
    sd_notify(0, "STOPPING=1\nSTATUS=leaving the rooms");
    relay_turn(relay);
    relay->inbox_source = sd_event_source_disable_unref(relay->inbox_source);
    relay->inbox = inbox_free(relay->inbox);
    relay->control = control_free(relay->control);
    relay->phase = RELAY_STOPPING;
    if (before == RELAY_CHANGING) /* they leave already */
        return 0;
    r = sessions_stop(relay->sessions, LEAVE_USEC, on_sessions_gone);
    return r < 0 ? sd_event_exit(relay->event, r) : 0;
}

static bool same(const char *a, const char *b)
{
    return a == b || (a && b && streq(a, b));
}

static bool same_account(const Account *a, const Account *b)
{
    return same(a->name, b->name) && same(a->jid, b->jid) &&
           same(a->password_file, b->password_file) && same(a->credential, b->credential) &&
           same(a->host, b->host) && a->port == b->port && a->tls == b->tls &&
           same(a->ca_file, b->ca_file);
}

static bool same_destination(const Destination *a, const Destination *b)
{
    return same(a->name, b->name) && a->account_index == b->account_index &&
           same(a->room, b->room) && same(a->nick, b->nick) && same(a->contact, b->contact);
}

/* All that sessions and dispatch go by. */
static bool same_delivery(const Settings *a, const Settings *b)
{
    if (a->accounts.n != b->accounts.n || a->destinations.n != b->destinations.n ||
        a->delivery.window != b->delivery.window ||
        a->delivery.confirm_usec != b->delivery.confirm_usec ||
        a->session.silence_usec != b->session.silence_usec ||
        a->session.ping_usec != b->session.ping_usec ||
        a->session.self_ping_usec != b->session.self_ping_usec ||
        a->session.backoff_usec != b->session.backoff_usec ||
        a->session.backoff_cap_usec != b->session.backoff_cap_usec)
        return false;
    for (size_t i = 0; i < a->accounts.n; i++)
        if (!same_account(settings_account(a, i), settings_account(b, i)))
            return false;
    for (size_t i = 0; i < a->destinations.n; i++)
        if (!same_destination(settings_destination(a, i), settings_destination(b, i)))
            return false;
    return true;
}

static void warn_of_fixed(const Settings *a, const Settings *b)
{
    if (!same(a->socket.path, b->socket.path) || a->socket.mode != b->socket.mode ||
        !same(a->socket.group, b->socket.group) || !same(a->control.path, b->control.path) ||
        a->control.mode != b->control.mode || !same(a->control.group, b->control.group) ||
        !same(a->spool.path, b->spool.path))
        log_warning("changes to the sockets and to spool.path take effect at the next start");
}

/* Takes what can change while the sessions go on. */
static void take_small_changes(Relay *relay, Settings *next)
{
    ConfigStrings strings = relay->settings->default_destination;

    relay->settings->default_destination = next->default_destination;
    next->default_destination = strings;
    relay->settings->spool.max_records = next->spool.max_records;
    relay->settings->spool.max_share = next->spool.max_share;
    relay->settings->spool.keep_usec = next->spool.keep_usec;
    relay->settings->delivery.max_size_bytes = next->delivery.max_size_bytes;
    set_spool_limits(relay);
}

static int on_reload(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
    Relay *relay = userdata;
    _cleanup_(settings_freep) Settings *next = NULL;
    _cleanup_(config_file_freep) ConfigFile *file = NULL;
    int r;

    if (relay->phase == RELAY_STOPPING)
        return 0;
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, now_usec(CLOCK_MONOTONIC));
    r = settings_load(relay->config_path, &next, &file);
    for (size_t i = 0; file && i < config_n_warnings(file); i++)
        log_warning("%s", config_warning_at(file, i));
    if (r < 0) {
        for (size_t i = 0; file && i < config_n_errors(file); i++)
            log_error("%s", config_error_at(file, i));
        log_error("%s is not usable%s%s, keeping the old configuration", relay->config_path,
                  r == -EINVAL ? "" : ": ", r == -EINVAL ? "" : strerror(-r));
        sd_notify(0, "READY=1");
        return 0;
    }
    warn_of_fixed(relay->settings, next);

    if (relay->phase == RELAY_CHANGING) {
        settings_free(relay->next_settings);
        relay->next_settings = steal_ptr(next);
        return 0;
    }
    if (same_delivery(relay->settings, next)) {
        take_small_changes(relay, next);
        tell_reloaded();
        return 0;
    }
    relay->next_settings = steal_ptr(next);
    relay->phase = RELAY_CHANGING;
    r = sessions_stop(relay->sessions, LEAVE_USEC, on_sessions_gone);
    return r < 0 ? sd_event_exit(relay->event, r) : 0;
}

/* Making and ending it. */

static int add_sources(Relay *relay)
{
    int r;

    r = sd_event_add_defer(relay->event, &relay->turn_source, on_turn, relay);
    if (r >= 0)
        r = sd_event_add_io(relay->event, &relay->inbox_source, inbox_fd(relay->inbox), EPOLLIN,
                            on_inbox, relay);
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
        r = sd_event_add_signal(relay->event, NULL, SIGINT, on_stop, relay);
    if (r >= 0)
        r = sd_event_add_signal(relay->event, NULL, SIGHUP, on_reload, relay);
    return MIN(r, 0);
}

static void relay_done(Relay *relay)
{
    control_free(relay->control);
    inbox_free(relay->inbox);
    sessions_free(relay->sessions);
    dispatch_free(relay->dispatch);
    free_pending(relay);
    sd_event_source_disable_unref(relay->inbox_source);
    sd_event_source_disable_unref(relay->turn_source);
    sd_event_source_disable_unref(relay->wake_source);
    sd_event_source_disable_unref(relay->tick_source);
    spool_free(relay->spool);
    free(relay->fates);
    free(relay->posts);
    settings_free(relay->settings);
    settings_free(relay->next_settings);
    sd_event_unref(relay->event);
}

static int open_all(Relay *relay)
{
    const SpoolSettings *settings = &relay->settings->spool;
    ControlOwner owner = relay_control_owner;
    char reason[SPOOL_REASON_MAX];
    int r;

    owner.userdata = relay;
    r = spool_open(settings->path,
                   &(SpoolLimits){ .max_records = (uint64_t)settings->max_records,
                                   .max_share = (uint64_t)settings->max_share,
                                   .keep_usec = settings->keep_usec },
                   &relay->spool, reason);
    if (r == 0)
        r = inbox_new(relay->settings, &relay->inbox, reason);
    if (r < 0) {
        log_error("%s", reason);
        return r;
    }
    r = add_sources(relay);
    if (r == 0)
        r = start_sessions(relay);
    if (r < 0) {
        log_error("can't start: %s", strerror(-r));
        return r;
    }
    r = control_new(relay->event, relay->settings, relay->spool, relay->sessions, &owner,
                    &relay->control, reason);
    if (r < 0)
        log_error("%s", reason);
    return r;
}

int relay_run(const char *config_path, Settings *settings)
{
    _cleanup_(relay_done) Relay relay = {
        .config_path = config_path,
        .settings = settings,
        .counts.started_usec = now_usec(CLOCK_REALTIME),
    };
    sigset_t mask;
    int r;

    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    sigaddset(&mask, SIGHUP);
    sigaddset(&mask, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return -errno;
    r = sd_event_new(&relay.event);
    if (r < 0) {
        log_error("no event loop: %s", strerror(-r));
        return r;
    }
    r = open_all(&relay);
    if (r < 0)
        return r;

    r = sd_event_set_watchdog(relay.event, true);
    if (r < 0)
        log_warning("the service manager's watchdog can't be served: %s", strerror(-r));
    sd_notify(0, "READY=1");
    log_notice("ready: %" PRIu64 " alerts wait, %" PRIu64 " are set aside",
               spool_n_waiting(relay.spool), spool_n_failed(relay.spool));
    r = sd_event_loop(relay.event);
    if (r < 0)
        log_error("the event loop ended: %s", strerror(-r));
    else
        log_notice("stopped: %" PRIu64 " alerts wait", spool_n_waiting(relay.spool));
    return r;
}
