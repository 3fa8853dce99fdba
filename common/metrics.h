/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Numbers for a monitoring system: a page of series that any process counts in and one writes out
 * as text, in the Prometheus text format 0.0.4 or in OpenMetrics 1.0.0.
 *
 * Families are static tables. The one process that made the page adds series to it, and does so
 * from one thread; the page is shared memory, so every process forked from it since counts in the
 * same series, from any thread. Counting takes no lock, allocates nothing and calls nobody.
 *
 *     enum { RECEIPTS, N_FAMILIES };
 *     static const MetricFamily families[N_FAMILIES] = {
 *         [RECEIPTS] = { "relay_receipts_total", "Receipts sent.", .type = METRIC_COUNTER,
 *                        .labels = { "status" } },
 *     };
 *     Metric *busy = metrics_at(metrics, RECEIPTS, (const char *[]){ "busy" });
 *     metric_add(busy, 1);
 */

#include "common/util.h"

#define METRIC_LABELS_MAX 2
#define METRIC_BUCKETS_MAX 16
#define METRIC_VALUE_SIZE 128 /* of a label's value with its NUL; longer ones are cut */
#define METRIC_OTHER                                                                               \
    "other" /* each label's value in the series that takes what exceeds the limit */

typedef enum MetricType {
    METRIC_COUNTER,
    METRIC_GAUGE,
    METRIC_HISTOGRAM,
} MetricType;

typedef struct MetricFamily {
    const char *name; /* a counter's ends with _total, one of `seconds` with _seconds before that */
    const char *help; /* a sentence without quotes, backslashes and line ends */
    MetricType type;
    bool seconds;                          /* values are microseconds here, seconds in the text */
    const char *labels[METRIC_LABELS_MAX]; /* their names; NULL after the last */
    uint64_t buckets[METRIC_BUCKETS_MAX];  /* HISTOGRAM: upper bounds, rising; 0 after the last */
} MetricFamily;

typedef struct Metrics Metrics; /* a page */
typedef struct Metric Metric;   /* a series; lives as long as its page, also in children */

/* `families`, which must outlive the page, and room for `max_series` series. 0 or -ENOMEM. */
int metrics_new(const MetricFamily *families, size_t n_families, size_t max_series, Metrics **ret);
Metrics *metrics_free(Metrics *metrics); /* each process has to free its own sight of it */
DEFINE_CLEANUP(Metrics *, metrics_free)

/* The series of a family (index in the table) with these values of its labels (as many as it has;
 * NULL for none), made if need be, and shown again where it was hidden. Past the limit all have
 * one and the same series of their family. Never NULL, unless `metrics` is: then counting in it
 * does nothing. Only for the process that made the page. */
Metric *metrics_at(Metrics *metrics, size_t family, const char *const *values);

/* Hides all gauges of a family from the text, until metrics_at() asks for them again: what a
 * configuration no longer has. Counters and histograms stay: those that hold them may count on. */
void metrics_hide(Metrics *metrics, size_t family);

/* From any process and thread. NULL is fine. */
void metric_add(Metric *metric, uint64_t n);         /* COUNTER */
void metric_set(Metric *metric, int64_t value);      /* GAUGE */
void metric_change(Metric *metric, int64_t by);      /* GAUGE: up or down */
void metric_observe(Metric *metric, uint64_t value); /* HISTOGRAM */

/* The count of a COUNTER or HISTOGRAM, the value of a GAUGE; 0 for NULL. */
int64_t metric_value(const Metric *metric);

typedef enum MetricsFormat {
    METRICS_TEXT,
    METRICS_OPENMETRICS,
} MetricsFormat;

/* What a client that sent this Accept header (NULL: none) is to get, and how it is called. */
MetricsFormat metrics_negotiate(const char *accept);
const char *metrics_content_type(MetricsFormat format);

/* All series that are shown, family by family. Each number is right by itself; two of them may be
 * of different instants. The caller frees the text. 0 or -ENOMEM. */
int metrics_render(const Metrics *metrics, MetricsFormat format, char **ret, size_t *ret_size);
