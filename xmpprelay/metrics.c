/* SPDX-License-Identifier: MIT */

/*
 * The families of the relay's metrics. xmpprelay(8) has a table of them, which a test holds
 * against this one.
 */

#include "xmpprelay/metrics.h"

/* All series of all the destinations and accounts that can be configured, and as many counters of
 * what was configured before. */
#define SERIES_MAX 20000

#define PER_DESTINATION .labels = { "destination" }
#define PER_ACCOUNT .labels = { "account" }
#define MINUTE_USEC (60 * USEC_PER_SEC)
#define HOUR_USEC (60 * MINUTE_USEC)

enum {
    BUILD_INFO,
    START_TIME,
    RECEIPTS,
    RECEIPT_SECONDS,
    DELIVERED,
    FAILED,
    DELIVERY_SECONDS,
    ENTRIES,
    SPOOL_ENTRIES,
    SPOOL_LIMIT,
    OLDEST,
    SESSION_UP,
    SESSION_CONNECTS,
    SESSION_STARTS,
    ROOM_JOINED,
    PAUSED,
    LAST_ECHO,
    TEST_SUCCESS,
    TEST_SECONDS,
    RELOADS,
    LAST_RELOAD,
    N_FAMILIES,
};

const MetricFamily relay_metric_families[] = {
    [BUILD_INFO] = { "xmpprelay_build_info", "The version that runs; the value is always 1.",
                     .type = METRIC_GAUGE, .labels = { "version" } },
    [START_TIME] = { "xmpprelay_start_time_seconds",
                     "When the daemon started, in seconds since the epoch.", .type = METRIC_GAUGE,
                     .seconds = true },
    [RECEIPTS] = { "xmpprelay_receipts_total", "Answers to records of local senders.",
                   .type = METRIC_COUNTER, .labels = { "status" } },
    [RECEIPT_SECONDS] = { "xmpprelay_receipt_seconds",
                          "From a record's arrival to the answer, with the write to disk.",
                          .type = METRIC_HISTOGRAM, .seconds = true,
                          .buckets = { 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000,
                                       500000, USEC_PER_SEC, 2500000, 5 * USEC_PER_SEC } },
    [DELIVERED] = { "xmpprelay_delivered_total", "Alerts that the destination has confirmed.",
                    .type = METRIC_COUNTER, PER_DESTINATION },
    [FAILED] = { "xmpprelay_failed_total", "Alerts that were set aside as failed.",
                 .type = METRIC_COUNTER, PER_DESTINATION },
    [DELIVERY_SECONDS] = { "xmpprelay_delivery_seconds",
                           "From accepting an alert to the destination's confirmation.",
                           .type = METRIC_HISTOGRAM, .seconds = true, PER_DESTINATION,
                           .buckets = { 10000, 50000, 100000, 250000, 500000, USEC_PER_SEC, 2500000,
                                        5 * USEC_PER_SEC, 10 * USEC_PER_SEC, 30 * USEC_PER_SEC,
                                        MINUTE_USEC, 5 * MINUTE_USEC, 15 * MINUTE_USEC, HOUR_USEC,
                                        4 * HOUR_USEC, 24 * HOUR_USEC } },
    [ENTRIES] = { "xmpprelay_entries", "Alerts that are not delivered, each in one state.",
                  .type = METRIC_GAUGE, .labels = { "destination", "state" } },
    [SPOOL_ENTRIES] = { "xmpprelay_spool_entries",
                        "Alerts in the spool that wait or are in flight, of all destinations.",
                        .type = METRIC_GAUGE },
    [SPOOL_LIMIT] = { "xmpprelay_spool_entries_limit",
                      "How many of them the spool takes: spool.max_records.",
                      .type = METRIC_GAUGE },
    [OLDEST] = { "xmpprelay_oldest_waiting_seconds",
                 "The age of the oldest alert that is not delivered; 0: there is none.",
                 .type = METRIC_GAUGE, .seconds = true, PER_DESTINATION },
    [SESSION_UP] = { "xmpprelay_session_up", "Whether the account is online.", .type = METRIC_GAUGE,
                     PER_ACCOUNT },
    [SESSION_CONNECTS] = { "xmpprelay_session_connects_total", "How often the account came online.",
                           .type = METRIC_COUNTER, PER_ACCOUNT },
    [SESSION_STARTS] = { "xmpprelay_session_starts_total",
                         "How often a session process was started for the account.",
                         .type = METRIC_COUNTER, PER_ACCOUNT },
    [ROOM_JOINED] = { "xmpprelay_room_joined",
                      "Whether the destination takes messages: its room is joined.",
                      .type = METRIC_GAUGE, PER_DESTINATION },
    [PAUSED] = { "xmpprelay_paused", "Whether an operator has paused the destination.",
                 .type = METRIC_GAUGE, PER_DESTINATION },
    [LAST_ECHO] = { "xmpprelay_last_echo_timestamp_seconds",
                    "When the destination last confirmed a message; 0: not since the start.",
                    .type = METRIC_GAUGE, .seconds = true, PER_DESTINATION },
    [TEST_SUCCESS] = { "xmpprelay_test_success_timestamp_seconds",
                       "When xmpprelayctl test last succeeded; 0: not since the start.",
                       .type = METRIC_GAUGE, .seconds = true, PER_DESTINATION },
    [TEST_SECONDS] = { "xmpprelay_test_seconds",
                       "How long that test took; 0: there was none since the start.",
                       .type = METRIC_GAUGE, .seconds = true, PER_DESTINATION },
    [RELOADS] = { "xmpprelay_reloads_total", "Reloads of the configuration.",
                  .type = METRIC_COUNTER, .labels = { "result" } },
    [LAST_RELOAD] = { "xmpprelay_last_reload_successful",
                      "Whether the configuration in the file was usable when it was last read.",
                      .type = METRIC_GAUGE },
};

const size_t relay_metrics_n_families = N_FAMILIES;

#define AT(metrics, family, ...)                                                                   \
    metrics_at((metrics)->page, family, (const char *[]){ __VA_ARGS__ })

int relay_metrics_init(RelayMetrics *metrics, usec_t started_usec)
{
    int r;

    r = metrics_new(relay_metric_families, N_FAMILIES, SERIES_MAX, &metrics->page);
    if (r < 0)
        return r;
    metric_set(AT(metrics, BUILD_INFO, PROJECT_VERSION), 1);
    metric_set(AT(metrics, START_TIME, NULL), (int64_t)started_usec);
    for (ReceiptStatus status = 0; status < ELEMENTSOF(metrics->receipts); status++)
        metrics->receipts[status] = AT(metrics, RECEIPTS, receipt_status_name(status));
    metrics->receipt_seconds = AT(metrics, RECEIPT_SECONDS, NULL);
    metrics->spool_entries = AT(metrics, SPOOL_ENTRIES, NULL);
    metrics->spool_limit = AT(metrics, SPOOL_LIMIT, NULL);
    metrics->reloads_done = AT(metrics, RELOADS, "success");
    metrics->reloads_failed = AT(metrics, RELOADS, "failure");
    metrics->last_reload = AT(metrics, LAST_RELOAD, NULL);
    metric_set(metrics->last_reload, 1);
    return 0;
}

static void forget(RelayMetrics *metrics)
{
    free(metrics->destinations);
    free(metrics->accounts);
    metrics->destinations = NULL;
    metrics->accounts = NULL;
}

void relay_metrics_done(RelayMetrics *metrics)
{
    forget(metrics);
    metrics->page = metrics_free(metrics->page);
}

static DestinationMetrics destination_metrics(RelayMetrics *metrics, const char *name)
{
    return (DestinationMetrics){
        .delivered = AT(metrics, DELIVERED, name),
        .failed = AT(metrics, FAILED, name),
        .delivery_seconds = AT(metrics, DELIVERY_SECONDS, name),
        .waiting = AT(metrics, ENTRIES, name, "waiting"),
        .in_flight = AT(metrics, ENTRIES, name, "in_flight"),
        .set_aside = AT(metrics, ENTRIES, name, "failed"),
        .oldest = AT(metrics, OLDEST, name),
        .joined = AT(metrics, ROOM_JOINED, name),
        .paused = AT(metrics, PAUSED, name),
        .last_echo = AT(metrics, LAST_ECHO, name),
        .test_success = AT(metrics, TEST_SUCCESS, name),
        .test_seconds = AT(metrics, TEST_SECONDS, name),
    };
}

int relay_metrics_configure(RelayMetrics *metrics, const Settings *settings)
{
    static const size_t by_name[] = { ENTRIES, OLDEST,    SESSION_UP,   ROOM_JOINED,
                                      PAUSED,  LAST_ECHO, TEST_SUCCESS, TEST_SECONDS };

    forget(metrics);
    for (size_t i = 0; i < ELEMENTSOF(by_name); i++)
        metrics_hide(metrics->page, by_name[i]);
    metrics->destinations =
        calloc(MAX(settings->destinations.n, (size_t)1), sizeof(*metrics->destinations));
    metrics->accounts = calloc(MAX(settings->accounts.n, (size_t)1), sizeof(*metrics->accounts));
    if (!metrics->destinations || !metrics->accounts) {
        forget(metrics);
        return -ENOMEM;
    }
    for (size_t i = 0; i < settings->destinations.n; i++)
        metrics->destinations[i] =
            destination_metrics(metrics, settings_destination(settings, i)->name);
    /* An account that no destination uses is never online, and nothing is wrong with that. */
    for (size_t i = 0; i < settings->destinations.n; i++) {
        const Destination *destination = settings_destination(settings, i);

        metrics->accounts[destination->account_index] = (AccountMetrics){
            .up = AT(metrics, SESSION_UP, destination->account),
            .connects = AT(metrics, SESSION_CONNECTS, destination->account),
            .starts = AT(metrics, SESSION_STARTS, destination->account),
        };
    }
    return 0;
}

void relay_metrics_receipt(RelayMetrics *metrics, ReceiptStatus status)
{
    metric_add(metrics->receipts[status], 1);
}

void relay_metrics_reload(RelayMetrics *metrics, bool done)
{
    metric_add(done ? metrics->reloads_done : metrics->reloads_failed, 1);
    metric_set(metrics->last_reload, done);
}

void relay_metrics_session_started(RelayMetrics *metrics, size_t account)
{
    if (metrics->accounts)
        metric_add(metrics->accounts[account].starts, 1);
}

void relay_metrics_session_online(RelayMetrics *metrics, size_t account)
{
    if (metrics->accounts)
        metric_add(metrics->accounts[account].connects, 1);
}

void relay_metrics_settled(RelayMetrics *metrics, size_t destination, bool delivered,
                           usec_t accepted_usec, usec_t now)
{
    const DestinationMetrics *to = metrics->destinations;

    if (!to)
        return;
    to += destination;
    metric_add(delivered ? to->delivered : to->failed, 1);
    if (!delivered)
        return;
    metric_observe(to->delivery_seconds, now > accepted_usec ? now - accepted_usec : 0);
    metric_set(to->last_echo, (int64_t)now);
}

void relay_metrics_tested(RelayMetrics *metrics, size_t destination, usec_t took_usec, usec_t now)
{
    if (!metrics->destinations)
        return;
    metric_set(metrics->destinations[destination].test_success, (int64_t)now);
    metric_set(metrics->destinations[destination].test_seconds, (int64_t)took_usec);
}
