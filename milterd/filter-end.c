/* SPDX-License-Identifier: MIT */

/*
 * How a message ends. Alerts go to the relay first; only when it has them the MTA is told to change
 * the mail, and what becomes of it.
 */

#include "milterd/filter-internal.h"

#include "common/log.h"

#include "milterd/handover.h"

void filter_begin_message(Session *session)
{
    if (session->begun)
        metric_add(session->filter->counters->aborted, 1);
    session->begun = false;
    mail_reset(&session->mail);
    rules_begin(&session->rules, &session->filter->settings->rules);
    session->out = session->filter->settings->rules.n == 0;
    session->discard = false;
    session->shortage = false;
    if (session->scripts)
        script_run_begin_message(session->scripts);
}

void filter_note_shortage(Session *session)
{
    if (!session->shortage)
        log_error("out of memory for a message, it is put off");
    session->shortage = true;
}

void filter_count_message(const Filter *filter, CounterStage stage, Verdict verdict)
{
    metric_add(filter->counters->messages[stage][verdict], 1);
}

/* The message, or the whole connection, is dealt with. */
static sfsistat end_message(Session *session, CounterStage stage, Verdict verdict, sfsistat status)
{
    filter_count_message(session->filter, stage, verdict);
    session->begun = false;
    filter_begin_message(session);
    return status;
}

sfsistat filter_defer(Session *session, CounterStage stage)
{
    return end_message(session, stage, VERDICT_TEMPFAIL, SMFIS_TEMPFAIL);
}

/* Hands over the alerts that there are, if any: the mail gets its verdict with 0 and *ret; -EAGAIN:
 * it is put off, since they were not taken; -ENOMEM. */
static int hand_over(Session *session, SMFICTX *context, HandoverInput *input, HandoverResult *ret)
{
    const Filter *filter = session->filter;
    int r;

    *ret = HANDOVER_TAKEN;
    input->mail = &session->mail;
    input->alerts = session->scripts ? &script_run_wishes(session->scripts)->alerts : NULL;
    if (input->n_rules == 0 && (!input->alerts || input->alerts->n == 0))
        return 0;
    r = mail_set_queue_id(&session->mail, smfi_getsymval(context, filter_unconst("i")));
    if (r == 0)
        r = handover(filter->settings, filter->watch, filter->counters, input, ret);
    if (r < 0) {
        filter_note_shortage(session);
        return r;
    }
    return *ret == HANDOVER_DEFER ? -EAGAIN : 0;
}

static sfsistat end_without_handover(Session *session, SMFICTX *context, CounterStage stage, int r)
{
    return end_message(session, stage, VERDICT_TEMPFAIL,
                       r == -EAGAIN ? filter_put_off(context) : SMFIS_TEMPFAIL);
}

sfsistat filter_finish(Session *session, SMFICTX *context, CounterStage stage, Verdict verdict,
                       const Reply *reply)
{
    HandoverInput input = { .verdict = verdict };
    HandoverResult result;
    int r = hand_over(session, context, &input, &result);

    if (r < 0)
        return end_without_handover(session, context, stage, r);
    if (result == HANDOVER_PASS && verdict == VERDICT_DISCARD)
        verdict = VERDICT_ACCEPT;
    return end_message(session, stage, verdict, filter_give(context, verdict, reply));
}

/* Changes are of use to a mail that passes only. */
static int change(Session *session, SMFICTX *context, Verdict verdict)
{
    int r;

    if (!session->scripts || verdict == VERDICT_DISCARD || verdict == VERDICT_REJECT ||
        verdict == VERDICT_TEMPFAIL)
        return 0;
    r = filter_act(context, &script_run_wishes(session->scripts)->actions);
    if (r < 0)
        log_error("the MTA was not told all that scripts want changed, the mail is put off");
    return r;
}

static int quarantine(SMFICTX *context, const Rule *rule)
{
    if (smfi_quarantine(context, filter_unconst("held by a rule of the mail filter")) == MI_SUCCESS)
        return 0;
    log_error("the MTA can't quarantine, the mail that rule \"%s\" would hold is put off",
              rule->name);
    return -EIO;
}

static bool is_held(const Session *session)
{
    const Actions *actions =
        session->scripts ? &script_run_wishes(session->scripts)->actions : NULL;

    for (size_t i = 0; actions && i < actions->n; i++)
        if (actions->items[i].type == ACTION_QUARANTINE)
            return true;
    return false;
}

sfsistat filter_conclude(Session *session, SMFICTX *context, Verdict of_scripts)
{
    const Rule *matched[RULES_MATCHED_MAX], *last;
    HandoverInput input = { .rules = matched, .verdict = of_scripts };
    HandoverResult result;
    Verdict verdict;
    int r;

    if (!session->out)
        input.n_rules = rules_result(&session->rules, matched);
    last = input.n_rules > 0 ? matched[input.n_rules - 1] : NULL;
    if (of_scripts == VERDICT_CONTINUE)
        input.verdict = last ? (Verdict)last->verdict : VERDICT_ACCEPT;
    r = hand_over(session, context, &input, &result);
    if (r < 0)
        return end_without_handover(session, context, COUNTER_MESSAGE, r);

    verdict = result == HANDOVER_PASS ? of_scripts : input.verdict;
    /* The mail would be lost together with its alert. */
    if (result == HANDOVER_PASS && verdict == VERDICT_DISCARD)
        verdict = VERDICT_CONTINUE;
    r = change(session, context, verdict);
    if (r == 0 && verdict == VERDICT_QUARANTINE)
        r = quarantine(context, last);
    if (r < 0)
        return filter_defer(session, COUNTER_MESSAGE);
    return end_message(session, COUNTER_MESSAGE,
                       (verdict == VERDICT_CONTINUE || verdict == VERDICT_ACCEPT) &&
                               is_held(session)
                           ? VERDICT_QUARANTINE
                           : verdict,
                       filter_give(context, verdict, NULL));
}
