/* SPDX-License-Identifier: MIT */

/*
 * A file becomes the same Mail that the milter callbacks would make of it, goes through the same
 * rules and the same decoder, and what comes of it is shown instead of sent. One mail is kept at
 * a time, whatever their number.
 */

#include "milterd/explain.h"

#include "common/compose.h"
#include "common/text.h"
#include "milterd/explain-internal.h"
#include "milterd/header.h"
#include "milterd/mail-reader.h"
#include "milterd/mime-part.h"

#define MESSAGE_MAX_BYTES 8192 /* the relay's default for delivery.max_size */

int explain_read_mail(Mail *mail, const char *text, size_t size, uint64_t max_message)
{
    _cleanup_(mail_reader_done) MailReader reader;
    int r;

    mail_reader_open_bytes(&reader, text, size);
    r = mail_reader_next(&reader, mail, max_message);
    return MIN(r, 0);
}

/* What the file does not tell, or only by headers that the last MTA has added. */

static int set_macros(Mail *mail, const ExplainFacts *facts)
{
    for (size_t i = 0; i < facts->n_macros; i++) {
        const ExplainMacro *macro = &facts->macros[i];
        int r = mail_add_macro(mail, macro_stage(macro->name), macro->name, macro->value);

        if (r < 0)
            return r;
    }
    return 0;
}

/* An address alone is in these, with as many blanks around it as a writer likes. */
static int set_by_header(Mail *mail, const char *header, int (*set)(Mail *, const char *))
{
    _cleanup_free_ char *address = text_clean_line_dup(header, strlen(header));

    return address ? set(mail, address) : -ENOMEM;
}

static int set_rcpts(Mail *mail, const ExplainFacts *facts)
{
    const char *header = mail_header(mail, "X-Original-To");

    for (size_t i = 0; i < facts->n_rcpts; i++) {
        int r = mail_add_rcpt(mail, facts->rcpts[i]);

        if (r < 0)
            return r;
    }
    if (!header)
        header = mail_header(mail, "Delivered-To");
    return facts->n_rcpts == 0 && header ? set_by_header(mail, header, mail_add_rcpt) : 0;
}

static int set_envelope_from(Mail *mail, const ExplainFacts *facts)
{
    _cleanup_free_ char *from = NULL;
    const char *header;
    size_t offset = 0;
    int r;

    if (facts->envelope_from)
        return mail_set_envelope_from(mail, facts->envelope_from);
    header = mail_header(mail, "Return-Path");
    if (header)
        return set_by_header(mail, header, mail_set_envelope_from);
    header = mail_header(mail, "From");
    r = header ? header_next_address(header, &offset, &from) : 0;
    return r > 0 ? mail_set_envelope_from(mail, from) : r;
}

static int add_facts(Mail *mail, const ExplainFacts *facts)
{
    int r = mail_set_client(mail, facts->client, facts->client_name);

    mail->submitted = mail->local = !facts->client;
    if (r == 0)
        r = mail_set_helo(mail, facts->helo);
    if (r == 0)
        r = set_macros(mail, facts);
    if (r == 0)
        r = set_rcpts(mail, facts);
    if (r == 0)
        r = set_envelope_from(mail, facts);
    return r;
}

/* Judging. */

static void judgement_done(Judgement *judgement)
{
    for (size_t i = 0; i < judgement->n_alerts; i++) {
        record_free(judgement->alerts[i].record);
        alert_notes_done(&judgement->alerts[i].notes);
        free(judgement->alerts[i].message);
    }
    judgement->n_alerts = 0;
    for (size_t i = 0; i < judgement->n_script_alerts; i++) {
        record_free(judgement->script_alerts[i].record);
        free(judgement->script_alerts[i].message);
    }
    judgement->n_script_alerts = 0;
    script_replay_done(&judgement->replay);
}

bool judgement_asks_rules(const Judgement *judgement)
{
    switch (judgement->replay.answer.verdict) {
    case VERDICT_REJECT:
    case VERDICT_TEMPFAIL:
        return false;
    case VERDICT_ACCEPT:
        return judgement->replay.event == SCRIPT_MESSAGE;
    default:
        return true;
    }
}

const char *judgement_verdict(const Judgement *judgement)
{
    if (judgement->replay.answer.verdict != VERDICT_CONTINUE)
        return verdict_names[judgement->replay.answer.verdict];
    if (judgement->n_alerts == 0)
        return NULL;
    return verdict_names[judgement->alerts[judgement->n_alerts - 1].rule->verdict];
}

static usec_t present_of(const Mail *mail)
{
    const char *date = mail_header(mail, "Date");
    usec_t usec;

    /* What lies further ahead than a record can tell is no present. */
    if (date && mime_date_read(date, &usec) && usec / USEC_PER_SEC < RECORD_TIME_LIMIT)
        return usec;
    return now_usec(CLOCK_REALTIME);
}

static int judge_rule(Judgement *judgement, const AlertSettings *settings, const Rule *rule)
{
    ExplainAlert *alert = &judgement->alerts[judgement->n_alerts++];
    usec_t now = present_of(judgement->mail);
    int r;

    *alert = (ExplainAlert){ .rule = rule };
    if (rule->skip)
        return 0;
    r = alert_from_mail(settings, judgement->mail, rule, now, &alert->notes, &alert->record);
    return r < 0 ? r
                 : compose_message(alert->record, COMPOSE_STYLED, now, MESSAGE_MAX_BYTES,
                                   &alert->message);
}

/* Makes of what the scripts say what the relay would get. */
static int judge_scripts(Judgement *judgement, const ExplainSettings *settings)
{
    usec_t now = present_of(judgement->mail);
    ScriptAlerts *alerts;
    unsigned n_redacted;
    int r = script_replay(settings->scripts, judgement->mail, &judgement->replay);

    if (r < 0 || !judgement->replay.run)
        return r;
    alerts = &script_run_wishes(judgement->replay.run)->alerts;
    for (size_t i = 0; r == 0 && i < alerts->n; i++) {
        ExplainScriptAlert *alert = &judgement->script_alerts[judgement->n_script_alerts++];

        alert->script = alerts->items[i].script;
        alert->record = steal_ptr(alerts->items[i].record);
        r = alert_complete(&settings->alert, judgement->mail, alert->script, i, now, alert->record,
                           &n_redacted);
        if (r == 0)
            r = compose_message(alert->record, COMPOSE_STYLED, now, MESSAGE_MAX_BYTES,
                                &alert->message);
    }
    return r;
}

/* 1 where rules match, 0 where none does or a guard holds the mail back. */
static int look(Judgement *judgement, const ConfigStrings *guards, RuleState *state)
{
    static const MailStage stages[] = { MAIL_STAGE_HEADERS, MAIL_STAGE_MESSAGE };

    for (size_t i = 0; i < ELEMENTSOF(stages); i++) {
        int r = rules_look(state, judgement->mail, stages[i]);

        if (r <= 0)
            return r;
        r = guards ? guards_look(guards, judgement->mail, stages[i], &judgement->guard) : 0;
        if (r != 0)
            return MIN(r, 0);
    }
    return 1;
}

static int judge(Judgement *judgement, const ExplainSettings *settings)
{
    const Rule *matched[RULES_MATCHED_MAX];
    size_t n_matched = 0;
    RuleState state;
    int r = judge_scripts(judgement, settings);

    if (r < 0 || !judgement_asks_rules(judgement))
        return r;
    rules_begin(&state, judgement->rules);
    r = look(judgement, settings->guards, &state);
    if (r > 0)
        n_matched = rules_result(&state, matched);
    for (size_t i = 0; r >= 0 && i < n_matched; i++)
        r = judge_rule(judgement, &settings->alert, matched[i]);
    return MIN(r, 0);
}

/* Showing. */

typedef struct Run {
    const ExplainSettings *settings;
    ExplainView view;
    FILE *stream;
    Summary summary;
} Run;

static int show_heading(const SourcePlace *place, FILE *stream)
{
    _cleanup_free_ char *path = text_clean_line_dup(place->path, strlen(place->path));

    if (!path)
        return -ENOMEM;
    if (place->number > 0)
        fprintf(stream, "==> %s, mail %zu <==\n", path, place->number);
    else
        fprintf(stream, "==> %s <==\n", path);
    return 0;
}

static int show(Run *run, const Judgement *judgement, bool heading)
{
    int r = 0;

    switch (run->view) {
    case EXPLAIN_JSON:
        return explain_json(judgement, run->stream);
    case EXPLAIN_EACH:
        if (heading && run->summary.mails > 0)
            fputc('\n', run->stream);
        if (heading)
            r = show_heading(&judgement->place, run->stream);
        if (r == 0)
            r = explain_text(judgement, run->stream);
        run->summary.mails++;
        return r;
    default:
        return summary_add(&run->summary, judgement);
    }
}

/* In JSON a mail that can't be read has its line as well: programs count lines. */
static void tell_failure(Run *run, const SourcePlace *place, int error)
{
    const char *reason = error == -ENODATA ? "there is no mail in it" : strerror(-error);
    const char *name = streq(place->path, "-") ? "standard input" : place->path;
    _cleanup_free_ char *clean = text_clean_line_dup(name, strlen(name));

    run->summary.failures++;
    if (run->view == EXPLAIN_JSON)
        explain_json_failure(place, reason, run->stream);
    fflush(run->stream);
    fprintf(stderr, "milterd: %s: %s\n", clean ? clean : "?", reason);
}

static int explain_mail(Run *run, const ExplainFacts *facts, Mail *mail, const SourcePlace *place,
                        bool heading)
{
    _cleanup_(judgement_done) Judgement judgement = {
        .place = *place,
        .rules = run->settings->rules,
        .scripts = run->settings->scripts,
        .mail = mail,
    };
    int r = add_facts(mail, facts);

    if (r == 0)
        r = judge(&judgement, run->settings);
    return r < 0 ? r : show(run, &judgement, heading);
}

int explain_run(const ExplainSettings *settings, const ExplainFacts *facts, char **paths,
                size_t n_paths, FILE *stream)
{
    _cleanup_(source_freep) Source *source = NULL;
    Run run = { .settings = settings, .view = settings->view, .stream = stream };
    bool first = true, several = false;
    int result = source_new(paths, n_paths, settings->max_message, &source);

    while (source && !ferror(stream)) {
        _cleanup_(mail_done) Mail mail = {};
        SourcePlace place;
        int r = source_next(source, &mail, &place);

        if (r == 0)
            break;
        if (first) {
            several = source_has_more(source);
            if (run.view == EXPLAIN_FITTING && !several)
                run.view = EXPLAIN_EACH;
            first = false;
        }
        if (r > 0)
            r = explain_mail(&run, facts, &mail, &place, several);
        if (r < 0) {
            tell_failure(&run, &place, r);
            result = r;
        }
    }
    if (source && run.view == EXPLAIN_FITTING)
        summary_print(&run.summary, stream);
    summary_done(&run.summary);
    return result;
}
