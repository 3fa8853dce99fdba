/* SPDX-License-Identifier: MIT */

/*
 * A reload of the relay's configuration.
 *
 * A broken one changes nothing. What the sessions do not go by is taken at once; for the rest
 * they leave, with the old settings in force as long as one of them lives, and those of the new
 * settings start over the same spool. Sockets and the spool stay as they were opened.
 */

#include "xmpprelay/relay-internal.h"

#include "common/log.h"

#include <inttypes.h>

#include <systemd/sd-daemon.h>

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

static void tell_reloaded(Relay *relay)
{
    relay_metrics_reload(&relay->metrics, true);
    sd_notify(0, "READY=1");
    log_notice("the configuration was read again");
}

static int refuse(Relay *relay)
{
    relay_metrics_reload(&relay->metrics, false);
    sd_notify(0, "READY=1");
    return 0;
}

/* Takes what can change while the sessions go on. */
static void take_small_changes(Relay *relay, Settings *next)
{
    ConfigStrings strings = relay->settings->default_destination;
    const SpoolLimits limits = relay_spool_limits(next);

    relay->settings->default_destination = next->default_destination;
    next->default_destination = strings;
    relay->settings->spool.max_records = next->spool.max_records;
    relay->settings->spool.max_share = next->spool.max_share;
    relay->settings->spool.keep_usec = next->spool.keep_usec;
    relay->settings->delivery.max_size_bytes = next->delivery.max_size_bytes;
    for (size_t i = 0; i < next->destinations.n; i++) {
        Destination *destination = relay->settings->destinations.items[i];

        destination->style = settings_destination(next, i)->style;
    }
    spool_set_limits(relay->spool, &limits);
}

int relay_reload(Relay *relay)
{
    _cleanup_(settings_freep) Settings *next = NULL;
    _cleanup_(config_file_freep) ConfigFile *file = NULL;
    char reason[METRICS_REASON_MAX];
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
        return refuse(relay);
    }
    r = relay_serve_metrics(relay, next, reason);
    if (r < 0) {
        log_error("%s; keeping the old configuration", reason);
        return refuse(relay);
    }
    warn_of_fixed(relay->settings, next);

    if (relay->phase == RELAY_CHANGING) {
        settings_free(relay->next_settings);
        relay->next_settings = steal_ptr(next);
        return 0;
    }
    if (same_delivery(relay->settings, next)) {
        take_small_changes(relay, next);
        tell_reloaded(relay);
        return 0;
    }
    relay->next_settings = steal_ptr(next);
    relay->phase = RELAY_CHANGING;
    return relay_leave(relay);
}

int relay_take_next(Relay *relay)
{
    Settings *old = relay->settings;
    SpoolLimits limits;
    int r;

    relay_end_sessions(relay);
    relay->settings = steal_ptr(relay->next_settings);
    relay->phase = RELAY_RUNNING;
    limits = relay_spool_limits(relay->settings);
    spool_set_limits(relay->spool, &limits);
    inbox_set_settings(relay->inbox, relay->settings);
    r = relay_metrics_configure(&relay->metrics, relay->settings);
    if (r == 0)
        r = relay_start_sessions(relay);
    if (r < 0) {
        log_error("can't go on with the new configuration: %s", strerror(-r));
        relay->control = control_free(relay->control); /* it knows the old ones still */
    } else {
        control_set_sources(relay->control, relay->settings, relay->sessions);
        tell_reloaded(relay);
        relay_wake(relay);
    }
    settings_free(old);
    return r;
}
