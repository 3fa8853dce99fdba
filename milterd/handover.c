/* SPDX-License-Identifier: MIT */

/*
 * Whatever the relay says, or fails to say, ends in one of three results and one line of log.
 * A refused record would be refused again: that is an error in somebody's configuration, and the
 * line says so; for the mail it is like any other failure, so that none is lost over it.
 */

#include "milterd/handover.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/client.h"
#include "common/log.h"
#include "common/text.h"

#include "milterd/alert.h"

typedef struct Fate {
    int level;
    bool taken;
    const char *receipt; /* for the log */
    const char *said;    /* the sentence that the log line begins with */
} Fate;

static Fate judge(int error, const Receipt *receipt)
{
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

static const char *result_name(HandoverResult result, const Rule *rule)
{
    switch (result) {
    case HANDOVER_TAKEN:
        return verdict_names[rule->verdict];
    case HANDOVER_PASS:
        return verdict_names[VERDICT_CONTINUE];
    case HANDOVER_DEFER:
        break;
    }
    return verdict_names[VERDICT_TEMPFAIL];
}

/* What follows for the mail, where the alert was not taken. */
static const char *consequence(HandoverResult result)
{
    switch (result) {
    case HANDOVER_TAKEN:
        break;
    case HANDOVER_PASS:
        return "; on_failure is accept, so the mail goes on without an alert";
    case HANDOVER_DEFER:
        return "; the mail is put off";
    }
    return "";
}

static void log_fate(const Fate *fate, const Mail *mail, const Rule *rule, const Record *record,
                     const char *reason, HandoverResult result, usec_t took_usec)
{
    _cleanup_free_ char *to = join(record->to, record->n_to);
    char delay_ms[32];
    const LogField fields[] = {
        { "id", record->id },
        { "queue_id", mail->queue_id },
        { "message_id", record_field(record, "message_id") },
        { "rule", rule->name },
        { "to", to },
        { "receipt", fate->receipt },
        { "reason", reason },
        { "verdict", result_name(result, rule) },
        { "delay_ms", delay_ms },
    };

    snprintf(delay_ms, sizeof(delay_ms), "%" PRIu64, (uint64_t)(took_usec / USEC_PER_MSEC));
    log_fields(fate->level, fields, ELEMENTSOF(fields), "%s%s", fate->said, consequence(result));
}

int handover(const Settings *settings, Mail *mail, const Rule *rule, HandoverResult *ret_result)
{
    usec_t began = now_usec(CLOCK_MONOTONIC);
    _cleanup_record_ Record *record = NULL;
    const char *reason = NULL;
    Receipt receipt = {};
    HandoverResult result;
    bool received = false;
    Fate fate;
    int r;

    r = alert_from_mail(mail, rule, now_usec(CLOCK_REALTIME), &record);
    if (r < 0)
        return r;

    r = client_send(settings->relay.socket, (const Record *const[]){ record }, 1,
                    began + settings->relay.timeout_usec, &receipt, &received);
    if (r == 0 && !received)
        r = -ETIMEDOUT;
    fate = judge(r, &receipt);
    if (r < 0 && r != -ETIMEDOUT)
        reason = strerrordesc_np(-r);
    else if (r == 0 && !fate.taken)
        reason = receipt.reason;

    if (fate.taken)
        result = HANDOVER_TAKEN;
    else
        result = settings->relay.on_failure == ON_FAILURE_ACCEPT ? HANDOVER_PASS : HANDOVER_DEFER;

    log_fate(&fate, mail, rule, record, reason, result, now_usec(CLOCK_MONOTONIC) - began);
    *ret_result = result;
    return 0;
}
