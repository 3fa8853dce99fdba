/* SPDX-License-Identifier: MIT */

/*
 * The relay's side of its sessions: what they report goes to the dispatch, what the dispatch
 * holds of unknown fate goes to them when they start.
 *
 * Sessions and dispatch live and end together, for both count destinations as the settings do
 * that they were made with.
 */

#include "xmpprelay/relay-internal.h"

#include "common/log.h"

#include <inttypes.h>
#include <sys/random.h>

#define LEAVE_USEC (5 * USEC_PER_SEC)

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

    dispatch_lost(relay->dispatch, destination, cause, now_usec(CLOCK_MONOTONIC));
    relay_wake(relay);
}

static void on_done(void *userdata, size_t destination, const char *stanza_id)
{
    Relay *relay = userdata;

    if (dispatch_done(relay->dispatch, destination, stanza_id))
        relay_wake(relay);
}

/* Now and then: a server with a rate limit may ask for it with each message. */
static void log_patience(Relay *relay, size_t destination, const char *reason)
{
    const char *name = settings_destination(relay->settings, destination)->name;
    unsigned suppressed;

    if (log_limit_pass(&relay->patience, now_usec(CLOCK_MONOTONIC), &suppressed))
        log_notice("destination %s has to wait, as its server asks for patience: %s", name, reason);
    else
        log_debug("destination %s has to wait: %s", name, reason);
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
        log_patience(relay, destination, reason ?: "");
}

static void on_writable(void *userdata, size_t account)
{
    Relay *relay = userdata;

    dispatch_writable(relay->dispatch, account);
    relay_wake(relay);
}

static void on_started(void *userdata, size_t account)
{
    relay_metrics_session_started(&((Relay *)userdata)->metrics, account);
}

static void on_online(void *userdata, size_t account)
{
    relay_metrics_session_online(&((Relay *)userdata)->metrics, account);
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
            log_warning("\"%s\" is no destination any more, but alerts wait for it: %" PRIu64
                        "; they stay until it is one again or xmpprelayctl drops them",
                        name, spool_n_waiting_destination(relay->spool, name));
}

/* The windows are loaded before the first session starts: what the last run had in flight is
 * what that session has to look for. */
int relay_start_sessions(Relay *relay)
{
    const SessionsOwner owner = {
        .userdata = relay,
        .on_starting = on_starting,
        .on_ready = on_ready,
        .on_lost = on_lost,
        .on_done = on_done,
        .on_failed = on_failed,
        .on_writable = on_writable,
        .on_started = on_started,
        .on_online = on_online,
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

void relay_end_sessions(Relay *relay)
{
    relay->sessions = sessions_free(relay->sessions);
    relay->dispatch = dispatch_free(relay->dispatch);
    free_pending(relay);
}

static void on_sessions_gone(void *userdata)
{
    Relay *relay = userdata;

    relay->sessions_gone = true;
    relay_wake(relay);
}

int relay_leave(Relay *relay)
{
    return sessions_stop(relay->sessions, LEAVE_USEC, on_sessions_gone);
}
