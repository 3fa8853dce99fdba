/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What milterd tells of itself in numbers (metrics.h): the series, by the places in the code that
 * count them. milterd(8) says what each means.
 *
 * The manager makes them before it forks a worker, and adds those of a configuration's rules
 * before it forks the workers that have it. Workers only count, from any thread.
 */

#include "common/metrics.h"
#include "common/record.h"
#include "milterd/settings.h"

/* The steps of the protocol at which a mail may have been dealt with. */
typedef enum CounterStage {
    COUNTER_CONNECT,
    COUNTER_HELO,
    COUNTER_MAIL,
    COUNTER_DATA,
    COUNTER_HEADERS,
    COUNTER_BODY,
    COUNTER_MESSAGE,
    _COUNTER_STAGE_MAX,
} CounterStage;

#define COUNTER_VERDICTS (VERDICT_QUARANTINE + 1)
#define COUNTER_RECEIPT_NONE (RECEIPT_REFUSED + 1)
#define COUNTER_GUARDS_MAX 8

typedef struct Counters {
    Metrics *page;

    Metric *connections_total;
    Metric *connections; /* the manager's: workers that die take theirs with them */
    Metric *messages[_COUNTER_STAGE_MAX][COUNTER_VERDICTS];
    Metric *aborted;
    Metric *receipts[COUNTER_RECEIPT_NONE + 1]; /* ReceiptStatus, or none */
    Metric *receipt_seconds;
    Metric *guarded[COUNTER_GUARDS_MAX]; /* as guard_names */
    Metric *workers;
    Metric *worker_restarts;
    Metric *relay_available;
    Metric *reloads[2]; /* failed, succeeded */
    Metric *last_reload_successful;

    Metric **alerts; /* of each rule in use, for each of its destinations; or NULL */
    Metric *script_errors[SCRIPTS_MAX]; /* of each script in use */
} Counters;

/* 0 or -ENOMEM. Freeing one that a parent has made is fine. */
int counters_new(Counters **ret);
Counters *counters_free(Counters *counters);
DEFINE_CLEANUP(Counters *, counters_free)

/* Room for the series of these rules: 0, or -ENOMEM; freed with free(). And makes them, and
 * consumes it; from then on it is these rules whose alerts are counted. */
int counters_reserve(const RuleSet *rules, Metric ***ret);
void counters_take(Counters *counters, const RuleSet *rules, Metric **reserved);

/* Makes the series of these scripts; from then on it is these whose failures are counted. */
void counters_take_scripts(Counters *counters, const ScriptSet *scripts);

/* An alert was made by `rule`, one of these rules. */
void counters_alert(const Counters *counters, const RuleSet *rules, const Rule *rule);

/* This guard held a mail back. */
void counters_guarded(const Counters *counters, const char *guard);

void counters_reloaded(const Counters *counters, bool successfully);
