/* SPDX-License-Identifier: MIT */

/*
 * A mail in, a record out; nothing is kept. A profile reads the mail into the record, the rule
 * changes what it has read, and alert-limits.c cuts that to its size. All that comes from the mail
 * is clean when it gets into the record.
 */

#include "milterd/alert.h"

#include <stdio.h>
#include <strings.h>

#include "common/log.h"
#include "milterd/alert-limits.h"
#include "milterd/identity.h"
#include "milterd/mime-part.h"
#include "milterd/mime.h"

#define MESSAGE_MAX_BYTES 1114112 /* of what a rule's template gives: a mail's text and more */

/* The text of the first such header; "" where there is none, NULL for want of memory. */
static const char *header_text(const Mail *mail, const char *name)
{
    for (size_t i = 0; i < mail->n_headers; i++)
        if (strcasecmp(mail->headers[i].name, name) == 0)
            return mail_header_text(&mail->headers[i]);
    return "";
}

static int set_id(Record *record, const Mail *mail, const char *maker, usec_t now)
{
    char id[IDENTITY_DIGITS + 1];
    int r = identity_make(mail, maker, now, id);

    return r < 0 ? r : record_set(&record->id, id);
}

/* Reading the mail */

/* What one alert is made with. */
typedef struct Making {
    const AlertSettings *settings;
    Mail *mail;
    const Rule *rule;
    AlertNotes *notes; /* or NULL */
    Record *record;
    const char *profile; /* that has read the mail; NULL: none knew it */
    bool to_end;         /* the text goes as far as the mail's: if that is cut, this is not all */
    /* All regexes of profiles and rules that read a mail share what one may cost that matches it:
     * so a hostile mail costs no more with thirty profiles than with one. */
    size_t budget;
    Redactor redactor;
    const char *script; /* whose alert it is; NULL: it is the rule's */
} Making;

static int set_title(Record *record, const Mail *mail)
{
    const char *subject = header_text(mail, "Subject"), *from = header_text(mail, "From");
    _cleanup_free_ char *envelope = NULL, *title = NULL;

    if (!subject || !from)
        return -ENOMEM;
    if (*subject)
        return record_set(&record->title, subject);
    if (!*from && mail->envelope_from) {
        int r = set_clean(&envelope, mail->envelope_from, true);

        if (r < 0)
            return r;
        from = envelope;
    }
    if (!*from)
        return record_set(&record->title, "Mail without a subject");
    if (asprintf(&title, "Mail from %s", from) < 0)
        return -ENOMEM;
    free(record->title);
    record->title = steal_ptr(title);
    return 0;
}

static int read_text(Making *making)
{
    const char *text;
    bool cut;
    int r = mail_text(making->mail, &text, &cut);

    making->to_end = true;
    return r < 0 ? r : record_set(&making->record->text, text);
}

/* The mail as it is. */
static int read_plain(Making *making)
{
    static const char *const names[] = { "Date", "From", "Subject" };
    _cleanup_free_ char *text = NULL;
    const char *body;
    size_t size;
    FILE *stream;
    bool cut, failed;
    int r;

    r = mail_text(making->mail, &body, &cut);
    if (r < 0)
        return r;
    stream = open_memstream(&text, &size);
    if (!stream)
        return -ENOMEM;
    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        const char *value = header_text(making->mail, names[i]);

        if (!value)
            r = -ENOMEM;
        else if (*value)
            fprintf(stream, "%s: %s\n", names[i], value);
    }
    fprintf(stream, "\n%s", body);
    failed = ferror(stream);
    if (fclose(stream) != 0 || failed || r < 0)
        return -ENOMEM;
    making->to_end = true;
    return record_set(&making->record->text, text);
}

/* Whose form, and which of its conditions held. */
static int note_choice(const Making *making, const ProfileChoice *choice)
{
    AlertNotes *notes = making->notes;
    bool matches;
    int r;

    r = record_set(&notes->profile, choice->profile->name);
    if (r == 0)
        r = record_set(&notes->form, choice->form->name);
    free(notes->why);
    notes->why = NULL;
    return r < 0 ? r : match_explain(choice->match, making->mail, &matches, &notes->why);
}

/* 1 when some form knows the mail, 0, -ENOMEM. */
static int choose(const Making *making, MatchInput *input, ProfileChoice *ret)
{
    const Profiles *profiles = making->settings->profiles;
    const char *name = making->rule->profile;
    const Profile *named;

    if (!profiles)
        return 0;
    if (!name || streq(name, "auto"))
        return profiles_choose(profiles, input, ret);
    named = profiles_find(profiles, name);
    return named ? profile_choose(named, input, ret) : 0;
}

static int read_mail(Making *making)
{
    _cleanup_(match_input_done) MatchInput input = {
        .mail = making->mail,
        .budget = &making->budget,
        .owner = "profile",
    };
    AlertNotes *notes = making->notes;
    ProfileChoice choice;
    int r;

    if (making->rule->profile && streq(making->rule->profile, "plain")) {
        making->profile = "plain";
        if (notes && (record_set(&notes->profile, "plain") < 0 ||
                      record_set(&notes->why, "the rule wants the mail as it is\n") < 0))
            return -ENOMEM;
        return read_plain(making);
    }
    r = choose(making, &input, &choice);
    if (r < 0)
        return r;
    if (r == 0) {
        if (notes && record_set(&notes->why, "no profile that is asked knows the mail\n") < 0)
            return -ENOMEM;
        r = set_title(making->record, making->mail);
        return r < 0 ? r : read_text(making);
    }
    making->profile = choice.profile->name;
    r = notes ? note_choice(making, &choice) : 0;
    if (r == 0)
        r = profile_apply(&choice, &input, making->record);
    if (r < 0)
        return r;
    making->to_end =
        making->mail->text && limits_show_end(making->record->text, making->mail->text);
    profile_omit(&choice, &input, making->record);
    return making->record->title ? 0 : set_title(making->record, making->mail);
}

/* What the rule says of it */

/* The first line is the title; a single one is the text. */
static int set_message(Making *making, Variables *variables)
{
    _cleanup_free_ char *text = NULL, *title = NULL, *message = NULL;
    Record *record = making->record;
    Rendered rendered;
    char *rest;
    int r;

    r = template_render(making->rule->message, variables, MESSAGE_MAX_BYTES, &rendered);
    if (r < 0)
        return r;
    message = rendered.text;
    if (message[strspn(message, " \t\n")] == '\0')
        return 0;
    rest = strchr(message, '\n');
    if (rest)
        *rest++ = '\0';
    if (rest && rest[strspn(rest, " \t\n")] != '\0')
        r = set_clean(&title, message, true);
    else
        rest = message;
    if (r == 0)
        r = set_clean(&text, rest, false);
    if (r < 0)
        return r;
    making->to_end = making->to_end && limits_show_end(text, record->text ? record->text : "");
    free(record->title);
    free(record->text);
    record->title = steal_ptr(title);
    record->text = steal_ptr(text);
    set_clear_facts(record);
    return 0;
}

static int apply_rule(Making *making)
{
    _cleanup_(match_input_done) MatchInput input = {
        .mail = making->mail,
        .budget = &making->budget,
    };
    _cleanup_(variables_done) Variables variables = {
        .mail = making->mail,
        .record = making->record,
        .profile = making->profile,
        .rule = making->rule->name,
    };
    const Rule *rule = making->rule;
    int r = 0;

    if (!rule->message && set_is_empty(&rule->set))
        return 0;
    if (rule->match)
        r = match_take(rule->match, &input, &variables);
    variables.groups_taken = true;
    if (r == 0)
        r = readings_apply(&rule->read, &variables, &making->budget, "rule", rule->name);
    if (r == 0)
        r = set_apply(&rule->set, &variables, &making->budget, making->record);
    if (r == 0 && rule->message)
        r = set_message(making, &variables);
    /* The flag alone is written to, and it is atomic. */
    if (variables.gave_up && !atomic_exchange(&((Rule *)rule)->gave_up_said, true))
        log_warning("rule \"%s\": a regex in match or set reached its limits with a mail, and "
                    "takes or chooses nothing; make it simpler",
                    rule->name);
    return r;
}

/* What each alert has */

static int add_field(Making *making, const char *name, const char *value)
{
    _cleanup_free_ char *copy = NULL;
    int r;

    if (!value)
        return 0;
    r = set_clean(&copy, value, true);
    if (r == 0)
        r = redact_field(&making->redactor, name, &copy);
    return r < 0 ? r : limits_add_field(making->record, name, copy);
}

static int add_fields(Making *making)
{
    const Mail *mail = making->mail;
    const char *from = header_text(mail, "From"), *message_id = header_text(mail, "Message-ID");
    const struct {
        const char *name, *value;
    } fields[] = {
        { "rule", making->rule->name }, { "script", making->script },
        { "profile", making->profile }, { "from", from },
        { "message_id", message_id },   { "queue_id", mail->queue_id },
        { "client", mail->client },
    };
    int r = from && message_id ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && i < ELEMENTSOF(fields); i++)
        r = add_field(making, fields[i].name, fields[i].value);
    return r;
}

/* Hides what is to be hidden, and cuts what is left to its size. */
static int finish(Making *making)
{
    const Mail *mail = making->mail;
    const Rule *rule = making->rule;
    bool more = making->to_end && mail->text_cut;
    int r = redact_record(&making->redactor, making->record, rule->max_bytes, &more);

    if (r == 0)
        r = limits_apply(making->record, rule, more);
    if (r == 0)
        r = add_fields(making);
    if (making->notes) {
        free(making->notes->redacted);
        making->notes->redacted = steal_ptr(making->redactor.notes);
    }
    return r;
}

static usec_t choose_time(const Mail *mail, usec_t now)
{
    const char *date = mail_header(mail, "Date");
    usec_t time;

    if (!date || !mime_date_read(date, &time) || time > now || now - time > ALERT_DATE_MAX_USEC)
        return now;
    return time;
}

void alert_notes_done(AlertNotes *notes)
{
    free(notes->profile);
    free(notes->form);
    free(notes->why);
    free(notes->redacted);
    *notes = (AlertNotes){};
}

int alert_from_mail(const AlertSettings *settings, Mail *mail, const Rule *rule, usec_t now_usec,
                    AlertNotes *notes, Record **ret)
{
    _cleanup_record_ Record *record = record_new();
    Making making = {
        .settings = settings,
        .mail = mail,
        .rule = rule,
        .notes = notes && !notes->brief ? notes : NULL,
        .record = record,
        .budget = REGEX_BUDGET,
    };
    int r;

    if (!record)
        return -ENOMEM;
    record->time_usec = choose_time(mail, now_usec);
    r = set_id(record, mail, rule->name, now_usec);
    if (r == 0)
        r = read_mail(&making);
    if (r == 0)
        r = apply_rule(&making);
    redactor_begin(&making.redactor, settings->redaction);
    if (r == 0)
        r = finish(&making);
    if (notes)
        notes->n_redacted = making.redactor.n;
    redactor_done(&making.redactor);
    if (r == 0)
        r = record_set(&record->source, "milterd");
    for (size_t i = 0; r == 0 && i < rule->to.n; i++)
        r = record_add_to(record, rule->to.items[i]);
    if (r < 0)
        return r;
    *ret = steal_ptr(record);
    return 0;
}

static int clean(char **member, bool one_line)
{
    _cleanup_free_ char *text = steal_ptr(*member);

    return text ? set_clean(member, text, one_line) : 0;
}

int alert_complete(const AlertSettings *settings, Mail *mail, const char *script, size_t number,
                   usec_t now_usec, Record *record, unsigned *ret_n_redacted)
{
    /* What a rule has that says nothing else. */
    static const Rule rule = { .max_lines = 20, .max_bytes = 4096 };
    Making making = {
        .settings = settings,
        .mail = mail,
        .rule = &rule,
        .record = record,
        .script = script,
    };
    _cleanup_free_ char *maker = NULL;
    int r;

    /* No rule has such a name. */
    if (asprintf(&maker, "script %s %zu", script, number) < 0) {
        maker = NULL;
        return -ENOMEM;
    }
    record->time_usec = choose_time(mail, now_usec);
    r = set_id(record, mail, maker, now_usec);
    if (r == 0)
        r = clean(&record->title, true);
    if (r == 0)
        r = clean(&record->text, false);
    if (r == 0)
        r = clean(&record->key, true);
    for (size_t i = 0; r == 0 && i < record->n_fields; i++)
        r = clean(&record->fields[i].value, true);
    if (r == 0 && record->key && !*record->key)
        r = record_set(&record->key, NULL);
    redactor_begin(&making.redactor, settings->redaction);
    if (r == 0)
        r = finish(&making);
    *ret_n_redacted = making.redactor.n;
    redactor_done(&making.redactor);
    return r < 0 ? r : record_set(&record->source, "milterd");
}
