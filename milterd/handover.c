/* SPDX-License-Identifier: MIT */

/*
 * Whatever the relay says, or fails to say, ends in one of three results and one line of log.
 * A refused record would be refused again: that is an error in somebody's configuration, and the
 * line says so; for the mail it is like any other failure, so that none is lost over it.
 *
 * Of several alerts each has its own fate and line. If some were taken and some not, the mail
 * comes again; the relay then knows the first ones by their ids.
 */

#include "milterd/handover.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

#include "common/client.h"
#include "common/log.h"
#include "common/text.h"

typedef struct Fate {
    int level;
    bool taken;
    const char *receipt; /* for the log */
    const char *said;    /* the sentence that the log line begins with */
} Fate;

/* The error of an alert that was not sent at all. */
#define NOT_ASKED (-EHOSTDOWN)

static Fate judge(int error, const Receipt *receipt)
{
    if (error == NOT_ASKED)
        return (Fate){ LOG_WARNING, false, "none", "the relay does not answer, and was not asked" };
    if (error == -ETIMEDOUT)
        return (Fate){ LOG_WARNING, false, "none", "the relay gave no receipt in time" };
    if (error < 0)
        return (Fate){ LOG_WARNING, false, "none", "the relay can't be reached" };

    switch (receipt->status) {
    case RECEIPT_ACCEPTED:
    case RECEIPT_DELIVERED:
        return (Fate){ LOG_INFO, true, receipt_status_name(receipt->status),
                       "the relay has the alert" };
    case RECEIPT_DUPLICATE:
        return (Fate){ LOG_INFO, true, receipt_status_name(receipt->status),
                       "the relay had the alert before" };
    case RECEIPT_BUSY:
        return (Fate){ LOG_WARNING, false, receipt_status_name(receipt->status),
                       "the relay is busy" };
    case RECEIPT_REFUSED:
        return (Fate){ LOG_ERR, false, receipt_status_name(receipt->status),
                       "the relay refused the alert, and will each time" };
    }
    return (Fate){ LOG_ERR, false, "none", "the relay's receipt makes no sense" };
}

static char *join(char *const *names, size_t n)
{
    size_t size = 1;
    char *text, *end;

    for (size_t i = 0; i < n; i++)
        size += strlen(names[i]) + 1;
    text = malloc(size);
    if (!text)
        return NULL;

    end = text;
    *end = '\0';
    for (size_t i = 0; i < n; i++)
        end = stpcpy(stpcpy(end, i > 0 ? "," : ""), names[i]);
    return text;
}

static const char *result_name(HandoverResult result, Verdict verdict)
{
    switch (result) {
    case HANDOVER_TAKEN:
        return verdict_names[verdict];
    case HANDOVER_PASS:
        return verdict_names[VERDICT_CONTINUE];
    case HANDOVER_DEFER:
        break;
    }
    return verdict_names[VERDICT_TEMPFAIL];
}

/* What follows for the mail, where an alert was not taken: this one or another. */
static const char *consequence(HandoverResult result, bool taken)
{
    if (taken && result != HANDOVER_TAKEN)
        return ", but not all alerts of its mail";
    switch (result) {
    case HANDOVER_TAKEN:
        break;
    case HANDOVER_PASS:
        return "; on_failure is accept, so the mail goes on without this alert";
    case HANDOVER_DEFER:
        return "; the mail is put off";
    }
    return "";
}

#define ALERTS_MAX (RULES_MATCHED_MAX + SCRIPT_ALERTS_MAX)

typedef struct Alert {
    const Rule *rule;   /* that makes it; NULL: a script does */
    const char *script; /* its name, or NULL */
    Record *record;
    unsigned n_redacted;
    Receipt receipt;
    int error; /* 0: `receipt` is there */
} Alert;

typedef struct Alerts {
    Alert items[ALERTS_MAX];
    size_t n;
} Alerts;

static void alerts_done(Alerts *alerts)
{
    for (size_t i = 0; i < alerts->n; i++)
        record_free(alerts->items[i].record);
}

static int make_alerts(const AlertSettings *settings, Alerts *alerts, Mail *mail,
                       const Rule *const *rules, size_t n_rules)
{
    usec_t now = now_usec(CLOCK_REALTIME);

    for (size_t i = 0; i < n_rules; i++) {
        _cleanup_(alert_notes_done) AlertNotes notes = { .brief = true };
        Alert *alert = &alerts->items[alerts->n];
        int r;

        if (rules[i]->skip)
            continue;
        r = alert_from_mail(settings, mail, rules[i], now, &notes, &alert->record);
        if (r < 0)
            return r;
        alert->rule = rules[i];
        alert->n_redacted = notes.n_redacted;
        alerts->n++;
    }
    return 0;
}

/* Those of scripts are the scripts' no more then. */
static int take_alerts(const AlertSettings *settings, Alerts *alerts, Mail *mail,
                       ScriptAlerts *taken)
{
    usec_t now = now_usec(CLOCK_REALTIME);

    for (size_t i = 0; i < taken->n; i++) {
        Alert *alert = &alerts->items[alerts->n++];
        int r;

        alert->script = taken->items[i].script;
        alert->record = steal_ptr(taken->items[i].record);
        r = alert_complete(settings, mail, alert->script, i, now, alert->record,
                           &alert->n_redacted);
        if (r < 0)
            return r;
    }
    taken->n = 0;
    return 0;
}

/* In one datagram, or where that is too large in two halves, and so on. */
static void send_alerts(const char *socket, Alert *alerts, size_t n, usec_t deadline_usec)
{
    const Record *records[ALERTS_MAX] = {};
    Receipt receipts[ALERTS_MAX];
    bool received[ALERTS_MAX];
    int r;

    for (size_t i = 0; i < n; i++)
        records[i] = alerts[i].record;
    r = client_send(socket, records, n, deadline_usec, receipts, received);
    if (r == -EMSGSIZE && n > 1) {
        send_alerts(socket, alerts, n / 2, deadline_usec);
        send_alerts(socket, alerts + n / 2, n - n / 2, deadline_usec);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        alerts[i].receipt = receipts[i];
        alerts[i].error = received[i] ? 0 : r < 0 ? r : -ETIMEDOUT;
    }
}

/* The failures that cost a wait are those that nobody should have to wait for again and again. */
static bool is_silence(int error)
{
    return error == -ETIMEDOUT || error == -ECONNREFUSED || error == -ENOENT;
}

static void tell_watch(const Watch *watch, const Alerts *alerts, usec_t began)
{
    const Alert *in_vain = NULL;

    for (size_t i = 0; i < alerts->n; i++) {
        if (alerts->items[i].error == 0) {
            watch_answered(watch);
            return;
        }
        if (is_silence(alerts->items[i].error))
            in_vain = &alerts->items[i];
    }
    if (in_vain)
        watch_failed(watch, began, in_vain->error, in_vain->record);
}

static void log_fate(const Alert *alert, const Fate *fate, const Mail *mail, Verdict verdict,
                     HandoverResult result, usec_t took_usec)
{
    const Record *record = alert->record;
    _cleanup_free_ char *to = join(record->to, record->n_to);
    const char *reason = NULL;
    char delay_ms[32], redacted[16];

    if (alert->error < 0 && alert->error != -ETIMEDOUT && alert->error != NOT_ASKED)
        reason = strerrordesc_np(-alert->error);
    else if (alert->error == 0 && !fate->taken)
        reason = alert->receipt.reason;
    snprintf(delay_ms, sizeof(delay_ms), "%" PRIu64, (uint64_t)(took_usec / USEC_PER_MSEC));
    snprintf(redacted, sizeof(redacted), "%u", alert->n_redacted);

    const LogField fields[] = {
        { "id", record->id },
        { "queue_id", mail->queue_id },
        { "client", mail->client },
        { "message_id", record_field(record, "message_id") },
        { "rule", alert->rule ? alert->rule->name : NULL },
        { "script", alert->script },
        { "profile", record_field(record, "profile") },
        { "to", to },
        { "receipt", fate->receipt },
        { "reason", reason },
        { "verdict", result_name(result, verdict) },
        { "redacted", alert->n_redacted > 0 ? redacted : NULL },
        { "delay_ms", delay_ms },
    };

    log_fields(fate->level, fields, ELEMENTSOF(fields), "%s%s", fate->said,
               consequence(result, fate->taken));
}

/* Nothing else tells of a mail that is no alert and does not go its way. */
static void log_skip(const Rule *rule, Mail *mail)
{
    bool passes = rule->verdict == VERDICT_CONTINUE || rule->verdict == VERDICT_ACCEPT;
    const char *message_id = NULL;

    for (size_t i = 0; i < mail->n_headers && !message_id; i++)
        if (strcasecmp(mail->headers[i].name, "Message-ID") == 0)
            message_id = mail_header_text(&mail->headers[i]);

    const LogField fields[] = {
        { "queue_id", mail->queue_id },
        { "client", mail->client },
        { "message_id", message_id },
        { "rule", rule->name },
        { "verdict", verdict_names[rule->verdict] },
    };

    log_fields(passes ? LOG_DEBUG : LOG_INFO, fields, ELEMENTSOF(fields),
               "no alert is made of a mail that its rule skips");
}

/* Sends all and waits, unless that is known to be in vain. */
static void ask_relay(const Settings *settings, const Watch *watch, const Counters *counters,
                      Alerts *alerts, usec_t deadline_usec)
{
    usec_t began = now_usec(CLOCK_MONOTONIC);

    if (watch_allows(watch)) {
        send_alerts(settings->relay.socket, alerts->items, alerts->n, deadline_usec);
        metric_observe(counters->receipt_seconds, now_usec(CLOCK_MONOTONIC) - began);
        return;
    }
    for (size_t i = 0; i < alerts->n; i++)
        alerts->items[i].error = NOT_ASKED;
}

static void count_alerts(const Settings *settings, const Counters *counters, const Alerts *alerts)
{
    for (size_t i = 0; i < alerts->n; i++) {
        const Alert *alert = &alerts->items[i];

        if (alert->rule)
            counters_alert(counters, &settings->rules, alert->rule);
        metric_add(counters->receipts[alert->error == 0 ? (size_t)alert->receipt.status
                                                        : COUNTER_RECEIPT_NONE],
                   1);
    }
}

int handover(const Settings *settings, const Watch *watch, const Counters *counters,
             const HandoverInput *input, HandoverResult *ret_result)
{
    usec_t began = now_usec(CLOCK_MONOTONIC), took;
    const Rule *const *rules = input->rules;
    _cleanup_(alerts_done) Alerts alerts = {};
    HandoverResult result = HANDOVER_TAKEN;
    size_t n_rules = input->n_rules;
    Fate fates[ALERTS_MAX];
    int r;

    assert(n_rules <= RULES_MATCHED_MAX);
    r = make_alerts(&settings->alert, &alerts, input->mail, rules, n_rules);
    if (r == 0 && input->alerts)
        r = take_alerts(&settings->alert, &alerts, input->mail, input->alerts);
    if (r < 0)
        return r;

    if (n_rules > 0 && rules[n_rules - 1]->skip)
        log_skip(rules[n_rules - 1], input->mail);
    if (alerts.n == 0) {
        *ret_result = HANDOVER_TAKEN;
        return 0;
    }
    ask_relay(settings, watch, counters, &alerts, began + settings->relay.timeout_usec);
    took = now_usec(CLOCK_MONOTONIC) - began;
    count_alerts(settings, counters, &alerts);
    for (size_t i = 0; i < alerts.n; i++) {
        fates[i] = judge(alerts.items[i].error, &alerts.items[i].receipt);
        if (!fates[i].taken)
            result =
                settings->relay.on_failure == ON_FAILURE_ACCEPT ? HANDOVER_PASS : HANDOVER_DEFER;
    }
    for (size_t i = 0; i < alerts.n; i++)
        log_fate(&alerts.items[i], &fates[i], input->mail, input->verdict, result, took);
    tell_watch(watch, &alerts, began);
    *ret_result = result;
    return 0;
}
