/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What the relay counts, and under which names. Counters are counted where things happen, by a
 * call of one line; gauges are set when somebody asks (relay-metrics.c).
 *
 * Destinations and accounts are meant by their indexes in the settings. What a reload takes away
 * loses its gauges; its counters stay until the daemon ends, so that no sum ever falls.
 */

#include "common/metrics.h"
#include "common/record.h"
#include "xmpprelay/settings.h"

typedef struct DestinationMetrics {
    Metric *delivered, *failed, *delivery_seconds;
    Metric *waiting, *in_flight, *set_aside, *oldest;
    Metric *joined, *paused, *last_echo;
    Metric *test_success, *test_seconds;
} DestinationMetrics;

typedef struct AccountMetrics {
    Metric *up, *connects, *starts;
} AccountMetrics;

typedef struct RelayMetrics {
    Metrics *page;
    Metric *receipts[RECEIPT_REFUSED + 1]; /* by ReceiptStatus */
    Metric *receipt_seconds;
    Metric *spool_entries, *spool_limit;
    Metric *reloads_done, *reloads_failed, *last_reload;
    DestinationMetrics *destinations;
    AccountMetrics *accounts;
} RelayMetrics;

extern const MetricFamily relay_metric_families[];
extern const size_t relay_metrics_n_families;

/* `started_usec` is CLOCK_REALTIME. 0 or -ENOMEM. */
int relay_metrics_init(RelayMetrics *metrics, usec_t started_usec);
void relay_metrics_done(RelayMetrics *metrics);

/* Makes the series of the destinations and accounts of `settings`, and hides the gauges of those
 * before. Where it fails (-ENOMEM) nothing is counted for any of them. */
int relay_metrics_configure(RelayMetrics *metrics, const Settings *settings);

void relay_metrics_receipt(RelayMetrics *metrics, ReceiptStatus status);
void relay_metrics_reload(RelayMetrics *metrics, bool done);
void relay_metrics_session_started(RelayMetrics *metrics, size_t account);
void relay_metrics_session_online(RelayMetrics *metrics, size_t account);

/* An entry of a destination that was accepted then is settled now (both CLOCK_REALTIME). */
void relay_metrics_settled(RelayMetrics *metrics, size_t destination, bool delivered,
                           usec_t accepted_usec, usec_t now);
/* The echo of a test came, `took_usec` after the operator asked for it. */
void relay_metrics_tested(RelayMetrics *metrics, size_t destination, usec_t took_usec, usec_t now);
