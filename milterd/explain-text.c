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

int explain_text(const Judgement *judgement, FILE *stream)
{
    const char *verdict = judgement_verdict(judgement);
    Mail *mail = judgement->mail;
    int r = print_envelope(stream, mail);

    if (r >= 0)
        r = print_headers(stream, mail);
    if (r >= 0)
        r = print_parts(stream, mail);
    if (r >= 0)
        r = print_text(stream, mail);
    if (r >= 0)
        r = print_rules(stream, judgement);
    for (size_t i = 0; r >= 0 && i < judgement->n_alerts; i++)
        r = print_alert(stream, &judgement->alerts[i]);
    if (r < 0)
        return r;
    if (judgement->guard.name)
        fprintf(stream, "guard %s: the mail %s: no alert, and it goes its way\n",
                judgement->guard.name, judgement->guard.why);
    else if (verdict)
        fprintf(stream, "verdict: %s\n", verdict);
    else
        fputs("no rule matches: no alert, and the mail goes its way\n", stream);
    return 0;
}
