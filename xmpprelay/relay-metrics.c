/* SPDX-License-Identifier: MIT */

/*
 * The relay's metrics over HTTP: where they are served, and the gauges, which are set when a page
 * is asked for.
 */

#include "xmpprelay/relay-internal.h"

static void set_destination(const Relay *relay, size_t index, usec_t now)
{
    const DestinationMetrics *to = &relay->metrics.destinations[index];
    const char *name = settings_destination(relay->settings, index)->name;
    uint64_t undelivered = spool_n_waiting_destination(relay->spool, name);
    uint64_t in_flight = MIN(dispatch_n_in_flight(relay->dispatch, index), undelivered);
    DestinationStatus status;
    usec_t oldest = 0;

    sessions_destination_status(relay->sessions, index, &status);
    metric_set(to->waiting, (int64_t)(undelivered - in_flight));
    metric_set(to->in_flight, (int64_t)in_flight);
    metric_set(to->set_aside, (int64_t)spool_n_failed_destination(relay->spool, name));
    metric_set(to->joined, status.state == ROOM_READY);
    metric_set(to->paused, dispatch_is_paused(relay->dispatch, index));
    /* what can't be read is not known to be old */
    (void)spool_oldest_destination(relay->spool, name, &oldest);
    metric_set(to->oldest, oldest > 0 && now > oldest ? (int64_t)(now - oldest) : 0);
}

static void on_refresh(void *userdata)
{
    Relay *relay = userdata;
    usec_t now = now_usec(CLOCK_REALTIME);

    metric_set(relay->metrics.spool_entries, (int64_t)spool_n_waiting(relay->spool));
    metric_set(relay->metrics.spool_limit, relay->settings->spool.max_records);
    if (!relay->metrics.destinations)
        return;
    for (size_t i = 0; i < relay->settings->destinations.n; i++)
        set_destination(relay, i, now);
    for (size_t i = 0; i < relay->settings->accounts.n; i++) {
        SessionStatus status;

        sessions_account_status(relay->sessions, i, &status);
        metric_set(relay->metrics.accounts[i].up, status.online);
    }
}

int relay_serve_metrics(Relay *relay, const Settings *settings,
                        char reason[static METRICS_REASON_MAX])
{
    return metrics_server_update(&relay->metrics_server, relay->event, &settings->metrics,
                                 &(MetricsSource){ .program = "xmpprelay",
                                                   .metrics = relay->metrics.page,
                                                   .refresh = on_refresh,
                                                   .userdata = relay },
                                 reason);
}
