/* SPDX-License-Identifier: MIT */

/*
 * All series that don't come from the configuration are there from the start, so that a rate can
 * be told of the first thing that is ever counted in them. Those of rules that a reload has done
 * away with stay, for old workers may still count in them.
 */

#include "milterd/counters.h"

#include <assert.h>

#include "milterd/guard.h"

/* As much memory as is used of them: of what is more, all rules share one. */
#define SERIES_MAX 2048

typedef enum Family {
    BUILD_INFO,
    START_TIME,
    CONNECTIONS_TOTAL,
    CONNECTIONS,
    MESSAGES,
    ABORTED,
    GUARDED,
    ALERTS,
    SCRIPT_ERRORS,
    RECEIPTS,
    RECEIPT_SECONDS,
    RELAY_AVAILABLE,
    WORKERS,
    WORKER_RESTARTS,
    RELOADS,
    LAST_RELOAD,
    _FAMILY_MAX,
} Family;

/* clang-format off */
static const MetricFamily families[_FAMILY_MAX] = {
    [BUILD_INFO] = { "milterd_build_info", "The version of the program; the value is always 1.",
                     METRIC_GAUGE, .labels = { "version" } },
    [START_TIME] = { "milterd_start_time_seconds", "When the daemon started, since the epoch.",
                     METRIC_GAUGE, .seconds = true },
    [CONNECTIONS_TOTAL] = { "milterd_connections_total", "Connections that MTAs have opened.",
                            METRIC_COUNTER },
    [CONNECTIONS] = { "milterd_connections", "Connections of MTAs that are open.", METRIC_GAUGE },
    [MESSAGES] = { "milterd_messages_total",
                   "Messages, by the step at which they were dealt with and what the MTA was told.",
                   METRIC_COUNTER, .labels = { "stage", "verdict" } },
    [ABORTED] = { "milterd_aborted_total",
                  "Messages that the MTA gave up before they were dealt with.", METRIC_COUNTER },
    [GUARDED] = { "milterd_guarded_total", "Messages that a guard kept from becoming alerts.",
                  METRIC_COUNTER, .labels = { "guard" } },
    [ALERTS] = { "milterd_alerts_total", "Alerts that rules made, one for each destination.",
                 METRIC_COUNTER, .labels = { "rule", "destination" } },
    [SCRIPT_ERRORS] = { "milterd_script_errors_total",
                        "Calls of scripts that failed, or reached a limit.", METRIC_COUNTER,
                        .labels = { "script" } },
    [RECEIPTS] = { "milterd_receipts_total", "Alerts, by what the relay said of them.",
                   METRIC_COUNTER, .labels = { "status" } },
    [RECEIPT_SECONDS] = { "milterd_receipt_seconds", "How long mails waited for the relay.",
                          METRIC_HISTOGRAM, .seconds = true,
                          .buckets = { 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000,
                                       500000, 1000000, 2500000, 5000000, 10000000, 30000000,
                                       60000000, 240000000 } },
    [RELAY_AVAILABLE] = { "milterd_relay_available",
                          "Whether mails wait for the relay: 0 while it does not answer.",
                          METRIC_GAUGE },
    [WORKERS] = { "milterd_workers", "Workers that take connections.", METRIC_GAUGE },
    [WORKER_RESTARTS] = { "milterd_worker_restarts_total", "Workers that ended unasked.",
                          METRIC_COUNTER },
    [RELOADS] = { "milterd_reloads_total", "Reloads of the configuration.", METRIC_COUNTER,
                  .labels = { "result" } },
    [LAST_RELOAD] = { "milterd_last_reload_successful",
                      "Whether the configuration that was loaded last is in use.", METRIC_GAUGE },
};
/* clang-format on */

static const char *const stage_names[] = {
    [COUNTER_CONNECT] = "connect", [COUNTER_HELO] = "helo",       [COUNTER_MAIL] = "mail",
    [COUNTER_DATA] = "data",       [COUNTER_HEADERS] = "headers", [COUNTER_BODY] = "body",
    [COUNTER_MESSAGE] = "message",
};

static Metric *one(Counters *counters, Family family)
{
    return metrics_at(counters->page, family, NULL);
}

static Metric *labelled(Counters *counters, Family family, const char *value, const char *other)
{
    return metrics_at(counters->page, family, (const char *[]){ value, other });
}

static void make_series(Counters *counters)
{
    metric_set(labelled(counters, BUILD_INFO, PROJECT_VERSION, NULL), 1);
    metric_set(one(counters, START_TIME), (int64_t)now_usec(CLOCK_REALTIME));
    counters->connections_total = one(counters, CONNECTIONS_TOTAL);
    counters->connections = one(counters, CONNECTIONS);
    for (size_t i = 0; i < _COUNTER_STAGE_MAX; i++)
        for (size_t k = 0; k < COUNTER_VERDICTS; k++)
            counters->messages[i][k] =
                labelled(counters, MESSAGES, stage_names[i], verdict_names[k]);
    counters->aborted = one(counters, ABORTED);
    for (size_t i = 0; guard_names[i]; i++) {
        assert(i < COUNTER_GUARDS_MAX);
        counters->guarded[i] = labelled(counters, GUARDED, guard_names[i], NULL);
    }
    for (size_t i = 0; i < COUNTER_RECEIPT_NONE; i++)
        counters->receipts[i] =
            labelled(counters, RECEIPTS, receipt_status_name((ReceiptStatus)i), NULL);
    counters->receipts[COUNTER_RECEIPT_NONE] = labelled(counters, RECEIPTS, "none", NULL);
    counters->receipt_seconds = one(counters, RECEIPT_SECONDS);
    counters->relay_available = one(counters, RELAY_AVAILABLE);
    counters->workers = one(counters, WORKERS);
    counters->worker_restarts = one(counters, WORKER_RESTARTS);
    counters->reloads[false] = labelled(counters, RELOADS, "failure", NULL);
    counters->reloads[true] = labelled(counters, RELOADS, "success", NULL);
    counters->last_reload_successful = one(counters, LAST_RELOAD);
    metric_set(counters->last_reload_successful, 1);
}

int counters_new(Counters **ret)
{
    _cleanup_(counters_freep) Counters *counters = calloc(1, sizeof(*counters));
    int r;

    if (!counters)
        return -ENOMEM;
    r = metrics_new(families, ELEMENTSOF(families), SERIES_MAX, &counters->page);
    if (r < 0)
        return r;
    make_series(counters);
    *ret = steal_ptr(counters);
    return 0;
}

Counters *counters_free(Counters *counters)
{
    if (counters) {
        free(counters->alerts);
        metrics_free(counters->page);
        free(counters);
    }
    return NULL;
}

/* A rule without destinations has one that the relay chooses. */
static size_t n_destinations(const Rule *rule)
{
    return MAX(rule->to.n, (size_t)1);
}

int counters_reserve(const RuleSet *rules, Metric ***ret)
{
    size_t n = 0;
    Metric **reserved;

    for (size_t i = 0; i < rules->n; i++)
        n += n_destinations(rules->items[i]);
    reserved = calloc(MAX(n, (size_t)1), sizeof(*reserved));
    if (!reserved)
        return -ENOMEM;
    *ret = reserved;
    return 0;
}

void counters_take(Counters *counters, const RuleSet *rules, Metric **reserved)
{
    size_t n = 0;

    for (size_t i = 0; i < rules->n; i++) {
        const Rule *rule = rules->items[i];

        /* One that skips makes none. */
        for (size_t k = 0; !rule->skip && k < n_destinations(rule); k++)
            reserved[n + k] = labelled(counters, ALERTS, rule->name,
                                       rule->to.n > 0 ? rule->to.items[k] : "default");
        n += n_destinations(rule);
    }
    free(counters->alerts);
    counters->alerts = reserved;
}

void counters_take_scripts(Counters *counters, const ScriptSet *scripts)
{
    for (size_t i = 0; i < SCRIPTS_MAX; i++)
        counters->script_errors[i] =
            i < scripts->n
                ? labelled(counters, SCRIPT_ERRORS, ((const Script *)scripts->items[i])->name, NULL)
                : NULL;
}

void counters_alert(const Counters *counters, const RuleSet *rules, const Rule *rule)
{
    Metric **alerts = counters->alerts;

    if (!alerts)
        return;
    for (size_t i = 0; rules->items[i] != rule; i++)
        alerts += n_destinations(rules->items[i]);
    for (size_t k = 0; k < n_destinations(rule); k++)
        metric_add(alerts[k], 1);
}

void counters_guarded(const Counters *counters, const char *guard)
{
    for (size_t i = 0; guard_names[i]; i++)
        if (streq(guard_names[i], guard))
            metric_add(counters->guarded[i], 1);
}

void counters_reloaded(const Counters *counters, bool successfully)
{
    metric_add(counters->reloads[successfully], 1);
    metric_set(counters->last_reload_successful, successfully);
}
