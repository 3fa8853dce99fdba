/* SPDX-License-Identifier: MIT */

/*
 * The page: one mapping that children share, with room for all series from the start, so that
 * none ever moves and a pointer to one is good for life, in every process.
 *
 * A series is never given to another: some process may count in it still. What a configuration no
 * longer has is hidden at most. The last places are for the series "other" of each family, so that
 * there is always one to count in.
 */

#include "common/metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>

#include "common/text.h"

/* Of a histogram: the buckets, each without those below it; what exceeds them; the sum. */
#define SLOTS_MAX (METRIC_BUCKETS_MAX + 2)

static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "counting must take no lock");

struct Metric {
    const MetricFamily *family;
    Metric *next; /* of its family */
    bool hidden;
    bool other;
    char values[METRIC_LABELS_MAX][METRIC_VALUE_SIZE];
    _Atomic uint64_t slots[SLOTS_MAX];
};

typedef struct Chain {
    Metric *first, *last;
    Metric *other; /* NULL: not needed yet */
} Chain;

struct Metrics {
    const MetricFamily *families;
    Chain *chains; /* by family */
    size_t n_families;
    Metric *series;
    size_t n_series, max_series; /* without "other" */
    size_t n_other;
    size_t mapped_bytes; /* of `series` */
};

static size_t n_labels(const MetricFamily *family)
{
    size_t n = 0;

    while (n < METRIC_LABELS_MAX && family->labels[n])
        n++;
    return n;
}

static size_t n_buckets(const MetricFamily *family)
{
    size_t n = 0;

    while (n < METRIC_BUCKETS_MAX && family->buckets[n])
        n++;
    return n;
}

int metrics_new(const MetricFamily *families, size_t n_families, size_t max_series, Metrics **ret)
{
    _cleanup_(metrics_freep) Metrics *metrics = calloc(1, sizeof(*metrics));
    void *mapping;
    size_t bytes;

    if (!metrics)
        return -ENOMEM;
    if (__builtin_mul_overflow(max_series + n_families, sizeof(Metric), &bytes))
        return -ENOMEM;
    metrics->families = families;
    metrics->n_families = n_families;
    metrics->max_series = max_series;
    metrics->chains = calloc(n_families, sizeof(*metrics->chains));
    if (!metrics->chains)
        return -ENOMEM;
    /* Only what is used of it takes memory. */
    mapping = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED)
        return -ENOMEM;
    metrics->series = mapping;
    metrics->mapped_bytes = bytes;
    *ret = steal_ptr(metrics);
    return 0;
}

Metrics *metrics_free(Metrics *metrics)
{
    if (!metrics)
        return NULL;
    if (metrics->series)
        munmap(metrics->series, metrics->mapped_bytes);
    free(metrics->chains);
    free(metrics);
    return NULL;
}

/* How much of a value is kept. */
static size_t value_length(const char *value)
{
    size_t length = strlen(value);

    return length < METRIC_VALUE_SIZE ? length : text_cut(value, length, METRIC_VALUE_SIZE - 1);
}

static bool has_values(const Metric *metric, const char *const *values)
{
    for (size_t i = 0; i < n_labels(metric->family); i++) {
        size_t length = value_length(values[i]);

        if (strlen(metric->values[i]) != length ||
            memcmp(metric->values[i], values[i], length) != 0)
            return false;
    }
    return true;
}

static Metric *add_series(Metrics *metrics, size_t family, const char *const *values)
{
    Chain *chain = &metrics->chains[family];
    bool other = metrics->n_series == metrics->max_series;
    Metric *metric;

    if (other && chain->other)
        return chain->other;
    metric = other ? &metrics->series[metrics->max_series + metrics->n_other++]
                   : &metrics->series[metrics->n_series++];
    metric->family = &metrics->families[family];
    metric->other = other;
    for (size_t i = 0; i < n_labels(metric->family); i++) {
        const char *value = other ? METRIC_OTHER : values[i];

        memcpy(metric->values[i], value, value_length(value));
    }
    if (other)
        chain->other = metric;
    if (chain->last)
        chain->last->next = metric;
    else
        chain->first = metric;
    chain->last = metric;
    return metric;
}

Metric *metrics_at(Metrics *metrics, size_t family, const char *const *values)
{
    if (!metrics)
        return NULL;
    assert(family < metrics->n_families);
    for (Metric *metric = metrics->chains[family].first; metric; metric = metric->next)
        if (!metric->other && has_values(metric, values)) {
            metric->hidden = false;
            return metric;
        }
    return add_series(metrics, family, values);
}

void metrics_hide(Metrics *metrics, size_t family)
{
    if (!metrics || metrics->families[family].type != METRIC_GAUGE)
        return;
    for (Metric *metric = metrics->chains[family].first; metric; metric = metric->next)
        metric->hidden = true;
}

static void count(_Atomic uint64_t *slot, uint64_t n)
{
    atomic_fetch_add_explicit(slot, n, memory_order_relaxed);
}

static uint64_t read_slot(const Metric *metric, size_t slot)
{
    return atomic_load_explicit(&metric->slots[slot], memory_order_relaxed);
}

void metric_add(Metric *metric, uint64_t n)
{
    if (metric)
        count(&metric->slots[0], n);
}

void metric_set(Metric *metric, int64_t value)
{
    if (metric)
        atomic_store_explicit(&metric->slots[0], (uint64_t)value, memory_order_relaxed);
}

void metric_change(Metric *metric, int64_t by)
{
    if (metric)
        count(&metric->slots[0], (uint64_t)by);
}

void metric_observe(Metric *metric, uint64_t value)
{
    size_t n, at = 0;

    if (!metric)
        return;
    n = n_buckets(metric->family);
    while (at < n && value > metric->family->buckets[at])
        at++;
    count(&metric->slots[n + 1], value);
    count(&metric->slots[at], 1);
}

int64_t metric_value(const Metric *metric)
{
    uint64_t value;

    if (!metric)
        return 0;
    value = read_slot(metric, 0);
    if (metric->family->type == METRIC_HISTOGRAM)
        for (size_t i = n_buckets(metric->family); i > 0; i--)
            value += read_slot(metric, i);
    return (int64_t)value;
}

/* The text. */

static size_t base_length(const MetricFamily *family)
{
    size_t length = strlen(family->name);

    return family->type == METRIC_COUNTER ? length - strlen("_total") : length;
}

/* What belongs to all series of a family. OpenMetrics calls a counter by its name less _total. */
static void put_head(const MetricFamily *family, MetricsFormat format, FILE *stream)
{
    static const char *const types[] = {
        [METRIC_COUNTER] = "counter",
        [METRIC_GAUGE] = "gauge",
        [METRIC_HISTOGRAM] = "histogram",
    };
    bool open = format == METRICS_OPENMETRICS;
    int length = (int)(open ? base_length(family) : strlen(family->name));

    fprintf(stream, "# HELP %.*s %s\n# TYPE %.*s %s\n", length, family->name, family->help, length,
            family->name, types[family->type]);
    if (open && family->seconds)
        fprintf(stream, "# UNIT %.*s seconds\n", length, family->name);
}

static void put_escaped(const char *value, FILE *stream)
{
    for (; *value; value++) {
        if (*value == '\n')
            fputs("\\n", stream);
        else if (*value == '"' || *value == '\\')
            fprintf(stream, "\\%c", *value);
        else
            fputc(*value, stream);
    }
}

/* The sample's name and labels; `le` NULL: it is in no bucket. */
static void put_name(const Metric *metric, const char *suffix, const char *le, FILE *stream)
{
    size_t n = n_labels(metric->family);

    fprintf(stream, "%s%s", metric->family->name, suffix);
    for (size_t i = 0; i < n; i++) {
        fprintf(stream, "%c%s=\"", i == 0 ? '{' : ',', metric->family->labels[i]);
        put_escaped(metric->values[i], stream);
        fputc('"', stream);
    }
    if (le)
        fprintf(stream, "%cle=\"%s\"", n == 0 ? '{' : ',', le);
    if (n > 0 || le)
        fputc('}', stream);
    fputc(' ', stream);
}

#define NUMBER_SIZE 40

/* A value as seconds where the family has them, exactly, with as few digits as that takes. */
static const char *number(const MetricFamily *family, bool negative, uint64_t value,
                          char buffer[static NUMBER_SIZE])
{
    const char *sign = negative ? "-" : "";
    size_t length;

    if (!family->seconds || value % USEC_PER_SEC == 0) {
        snprintf(buffer, NUMBER_SIZE, "%s%" PRIu64, sign,
                 family->seconds ? value / USEC_PER_SEC : value);
        return buffer;
    }
    snprintf(buffer, NUMBER_SIZE, "%s%" PRIu64 ".%06" PRIu64, sign, value / USEC_PER_SEC,
             value % USEC_PER_SEC);
    for (length = strlen(buffer); buffer[length - 1] == '0'; length--)
        buffer[length - 1] = '\0';
    return buffer;
}

/* Buckets are known by the text of their bounds: OpenMetrics wants the point in it, and the other
 * format has it too, so that a series is the same one in both. */
static void put_histogram(const Metric *metric, FILE *stream)
{
    const MetricFamily *family = metric->family;
    size_t n = n_buckets(family);
    char text[NUMBER_SIZE], le[NUMBER_SIZE + sizeof(".0")];
    uint64_t sum = read_slot(metric, n + 1), total = 0;

    for (size_t i = 0; i < n; i++) {
        total += read_slot(metric, i);
        number(family, false, family->buckets[i], text);
        snprintf(le, sizeof(le), "%s%s", text, strchr(text, '.') ? "" : ".0");
        put_name(metric, "_bucket", le, stream);
        fprintf(stream, "%" PRIu64 "\n", total);
    }
    total += read_slot(metric, n);
    put_name(metric, "_bucket", "+Inf", stream);
    fprintf(stream, "%" PRIu64 "\n", total);
    put_name(metric, "_sum", NULL, stream);
    fprintf(stream, "%s\n", number(family, false, sum, text));
    put_name(metric, "_count", NULL, stream);
    fprintf(stream, "%" PRIu64 "\n", total);
}

static void put_series(const Metric *metric, FILE *stream)
{
    uint64_t value = read_slot(metric, 0);
    bool negative = metric->family->type == METRIC_GAUGE && (int64_t)value < 0;
    char text[NUMBER_SIZE];

    if (metric->family->type == METRIC_HISTOGRAM) {
        put_histogram(metric, stream);
        return;
    }
    put_name(metric, "", NULL, stream);
    fprintf(stream, "%s\n", number(metric->family, negative, negative ? -value : value, text));
}

/* A gauge that several share says nothing. */
static bool is_shown(const Metric *metric)
{
    return !metric->hidden && !(metric->other && metric->family->type == METRIC_GAUGE);
}

int metrics_render(const Metrics *metrics, MetricsFormat format, char **ret, size_t *ret_size)
{
    _cleanup_free_ char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    bool failed;

    if (!stream)
        return -ENOMEM;
    for (size_t i = 0; i < metrics->n_families; i++) {
        bool begun = false;

        for (const Metric *metric = metrics->chains[i].first; metric; metric = metric->next) {
            if (!is_shown(metric))
                continue;
            if (!begun)
                put_head(metric->family, format, stream);
            begun = true;
            put_series(metric, stream);
        }
    }
    if (format == METRICS_OPENMETRICS)
        fputs("# EOF\n", stream);
    failed = ferror(stream);
    if (fclose(stream) != 0 || failed)
        return -ENOMEM;
    *ret = steal_ptr(text);
    *ret_size = size;
    return 0;
}
