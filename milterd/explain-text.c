/* SPDX-License-Identifier: MIT */

/*
 * All about one mail, for people. What comes from the mail is cleaned on its way to a terminal,
 * unless it is clean by what has made it: decoded headers, text, records.
 */

#include "common/text.h"
#include "milterd/explain-internal.h"
#include "milterd/mime.h"

static void print_indented(FILE *stream, const char *text, const char *before)
{
    while (*text) {
        size_t length = strcspn(text, "\n");

        fprintf(stream, "%s%.*s\n", before, (int)length, text);
        text += length + (text[length] == '\n');
    }
}

/* Lines with a heading, which stands there only if they do. */
static int print_lines(FILE *stream, const char *heading, const char *lines)
{
    _cleanup_free_ char *text = NULL;

    if (!lines || !*lines)
        return 0;
    text = text_clean_dup(lines, strlen(lines));
    if (!text)
        return -ENOMEM;
    fprintf(stream, "%s:\n", heading);
    print_indented(stream, text, "  ");
    return 0;
}

static int print_fact(FILE *stream, const char *name, const char *value)
{
    _cleanup_free_ char *text = text_clean_line_dup(value, strlen(value));

    if (!text)
        return -ENOMEM;
    fprintf(stream, "%s: %s\n", name, text);
    return 0;
}

static int print_envelope(FILE *stream, const Mail *mail)
{
    int r;

    r = print_fact(stream, "client", mail->client ? mail->client : "none (local submission)");
    if (r >= 0)
        r = print_fact(stream, "envelope sender",
                       !mail->envelope_from           ? "not known"
                       : *mail->envelope_from == '\0' ? "<> (the null sender)"
                                                      : mail->envelope_from);
    for (size_t i = 0; r >= 0 && i < mail->n_rcpts; i++)
        r = print_fact(stream, "recipient", mail->rcpts[i]);
    return r;
}

static int print_headers(FILE *stream, const Mail *mail)
{
    fputs("headers:\n", stream);
    for (size_t i = 0; i < mail->n_headers; i++) {
        const char *value = mail_header_text(&mail->headers[i]);

        if (!value)
            return -ENOMEM;
        fprintf(stream, "  %s: %s\n", mail->headers[i].name, value);
    }
    if (mail->truncated)
        fprintf(stream,
                "  (more than the limits allow; of %llu bytes of body %zu were looked at)\n",
                (unsigned long long)mail->body_total, mail->body_size);
    return 0;
}

static int print_parts(FILE *stream, const Mail *mail)
{
    _cleanup_free_ char *tree = NULL;
    int r = mime_tree(mail, &tree);

    if (r < 0)
        return r;
    return print_lines(stream, "parts", tree);
}

static int print_text(FILE *stream, Mail *mail)
{
    const char *text;
    bool cut;
    int r = mail_text(mail, &text, &cut);

    if (r < 0)
        return r;
    fputs("text:\n", stream);
    print_indented(stream, text, "  | ");
    if (cut)
        fputs("  (there is more than is looked at)\n", stream);
    return 0;
}

/* The rules that have matched; the last one decides. */
static const char *describe_match(const Judgement *judgement, const Rule *rule)
{
    if (!judgement_asks_rules(judgement))
        return "would match, but a script has the last word";
    if (judgement->guard.name)
        return "would match, but a guard holds the mail back";
    for (size_t i = 0; i < judgement->n_alerts; i++)
        if (judgement->alerts[i].rule == rule)
            return i + 1 == judgement->n_alerts ? "matches, and decides"
                                                : "matches, and lets others match as well";
    return "would match, but comes behind the one that decides";
}

static int print_rules(FILE *stream, const Judgement *judgement)
{
    if (judgement->rules->n == 0)
        fputs("there are no rules\n", stream);
    for (size_t i = 0; i < judgement->rules->n; i++) {
        const Rule *rule = judgement->rules->items[i];
        _cleanup_free_ char *lines = NULL;
        bool matches;
        int r = rule_explain(rule, judgement->mail, &matches, &lines);

        if (r < 0)
            return r;
        fprintf(stream, "rule %s: %s\n", rule->name,
                matches ? describe_match(judgement, rule) : "does not match");
        print_indented(stream, lines, "  ");
    }
    return 0;
}

static int print_alert(FILE *stream, const ExplainAlert *alert)
{
    const AlertNotes *notes = &alert->notes;
    _cleanup_free_ char *json = NULL;
    size_t size;
    int r;

    if (!alert->record) {
        fprintf(stream, "rule %s skips the mail: no alert\n", alert->rule->name);
        return 0;
    }
    r = record_write(alert->record, &json, &size);
    if (r < 0)
        return r;
    fprintf(stream, "alert of rule %s\n", alert->rule->name);
    if (notes->profile)
        r = print_fact(stream, "profile", notes->profile);
    if (r >= 0 && notes->form)
        r = print_fact(stream, "form", notes->form);
    if (r >= 0)
        r = print_lines(stream, "why", notes->why);
    if (r >= 0 && alert->record->key)
        r = print_fact(stream, "key", alert->record->key);
    if (r >= 0)
        r = print_lines(stream, "redacted", notes->redacted);
    fprintf(stream, "record:\n  %s\nmessage in the room:\n", json);
    print_indented(stream, alert->message, "  | ");
    return r;
}

/* What the scripts have said, and what they want done. */
static int print_scripts(FILE *stream, const Judgement *judgement)
{
    const ScriptAnswer *answer = &judgement->replay.answer;
    const Actions *actions;

    if (!judgement->replay.run)
        return 0;
    for (size_t i = 0; i < judgement->scripts->n; i++) {
        const Script *script = judgement->scripts->items[i];
        const char *before = " is asked at ";

        fprintf(stream, "script %s", script->name);
        for (unsigned event = 0; event < _SCRIPT_EVENT_MAX; event++)
            if (script->outline.events >> event & 1) {
                fprintf(stream, "%s%s", before, script_event_names[event]);
                before = ", ";
            }
        fputc('\n', stream);
    }
    if (answer->verdict != VERDICT_CONTINUE)
        fprintf(stream, "script %s says at %s: %s%s\n", answer->script ? answer->script->name : "?",
                script_event_names[judgement->replay.event], verdict_names[answer->verdict],
                answer->failed ? ", since it failed" : "");
    if (answer->reply)
        for (size_t i = 0; i < answer->reply->n_lines; i++)
            fprintf(stream, "  %s%s%s%s%s\n", answer->reply->code,
                    i + 1 < answer->reply->n_lines ? "-" : " ", answer->reply->status,
                    *answer->reply->status ? " " : "", answer->reply->lines[i]);
    actions = &script_run_wishes(judgement->replay.run)->actions;
    for (size_t i = 0; i < actions->n; i++) {
        _cleanup_free_ char *line = action_describe_dup(&actions->items[i]);

        if (!line)
            return -ENOMEM;
        fprintf(stream, "change: %s\n", line);
    }
    return 0;
}

static int print_script_alert(FILE *stream, const ExplainScriptAlert *alert)
{
    _cleanup_free_ char *json = NULL;
    size_t size;
    int r = record_write(alert->record, &json, &size);

    if (r < 0)
        return r;
    fprintf(stream, "alert of script %s\nrecord:\n  %s\nmessage in the room:\n", alert->script,
            json);
    print_indented(stream, alert->message, "  | ");
    return 0;
}

/* The end of all. */
static void print_verdict(FILE *stream, const Judgement *judgement)
{
    const char *verdict = judgement_verdict(judgement);

    if (judgement->guard.name)
        fprintf(stream, "guard %s: the mail %s: no alert%s\n", judgement->guard.name,
                judgement->guard.why, verdict ? " of a rule" : ", and it goes its way");
    if (verdict)
        fprintf(stream, "verdict: %s\n", verdict);
    else if (!judgement->guard.name && judgement->n_script_alerts > 0)
        fputs("no rule matches, and the mail goes its way\n", stream);
    else if (!judgement->guard.name)
        fputs("no rule matches: no alert, and the mail goes its way\n", stream);
}

int explain_text(const Judgement *judgement, FILE *stream)
{
    Mail *mail = judgement->mail;
    int r = print_envelope(stream, mail);

    if (r >= 0)
        r = print_headers(stream, mail);
    if (r >= 0)
        r = print_parts(stream, mail);
    if (r >= 0)
        r = print_text(stream, mail);
    if (r >= 0)
        r = print_scripts(stream, judgement);
    for (size_t i = 0; r >= 0 && i < judgement->n_script_alerts; i++)
        r = print_script_alert(stream, &judgement->script_alerts[i]);
    if (r >= 0)
        r = print_rules(stream, judgement);
    for (size_t i = 0; r >= 0 && i < judgement->n_alerts; i++)
        r = print_alert(stream, &judgement->alerts[i]);
    if (r < 0)
        return r;
    print_verdict(stream, judgement);
    return 0;
}
