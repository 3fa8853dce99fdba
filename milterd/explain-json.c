/* SPDX-License-Identifier: MIT */

/*
 * All about one mail, for programs: an object in one line. Members that have nothing to say are
 * null, or empty lists, so that programs find the same ones in each line.
 */

#include <strings.h>

#include "common/json.h"
#include "common/text.h"
#include "milterd/explain-internal.h"

/* JSON holds clean text only. */
static int set_text(Json *object, const char *key, const char *value)
{
    _cleanup_free_ char *text = NULL;

    if (!value)
        return json_set_consume(object, key, json_null_new());
    text = text_clean_line_dup(value, strlen(value));
    return text ? json_set_string(object, key, text) : -ENOMEM;
}

/* An array with each line of `lines`; NULL: none. */
static int set_lines(Json *object, const char *key, const char *lines)
{
    Json *array = json_array_new();
    int r = json_set_consume(object, key, array);

    while (r == 0 && lines && *lines) {
        size_t length = strcspn(lines, "\n");
        _cleanup_free_ char *line = text_clean_dup(lines, length);

        r = line ? json_add_string(array, line) : -ENOMEM;
        lines += length + (lines[length] == '\n');
    }
    return r;
}

static int set_header(Json *object, const char *key, const Mail *mail, const char *name)
{
    for (size_t i = 0; i < mail->n_headers; i++)
        if (strcasecmp(mail->headers[i].name, name) == 0) {
            const char *text = mail_header_text(&mail->headers[i]);

            return text ? json_set_string(object, key, text) : -ENOMEM;
        }
    return set_text(object, key, NULL);
}

static int add_rule(Json *array, const Rule *rule, Mail *mail)
{
    _cleanup_free_ char *lines = NULL;
    Json *object;
    bool matches;
    int r = rule_explain(rule, mail, &matches, &lines);

    if (r < 0)
        return r;
    object = json_object_new();
    r = json_add_consume(array, object);
    if (r == 0)
        r = json_set_string(object, "name", rule->name);
    if (r == 0)
        r = json_set_bool(object, "matches", matches);
    if (r == 0)
        r = set_lines(object, "why", lines);
    return r;
}

/* The record as it would go over the wire. */
static int set_record(Json *object, const Record *record)
{
    _cleanup_free_ char *text = NULL;
    char reason[JSON_REASON_MAX];
    Json *json = NULL;
    size_t size;
    int r = record_write(record, &text, &size);

    if (r == 0)
        r = json_parse(text, size, &json, reason);
    return r < 0 ? r : json_set_consume(object, "record", json);
}

static int add_alert(Json *array, const ExplainAlert *alert)
{
    const AlertNotes *notes = &alert->notes;
    Json *object = json_object_new();
    int r = json_add_consume(array, object);

    if (r == 0)
        r = json_set_string(object, "rule", alert->rule->name);
    if (r == 0)
        r = set_text(object, "profile", notes->profile);
    if (r == 0)
        r = set_text(object, "form", notes->form);
    if (r == 0)
        r = set_lines(object, "why", notes->why);
    if (r == 0)
        r = set_record(object, alert->record);
    if (r == 0)
        r = json_set_string(object, "message", alert->message);
    if (r == 0)
        r = set_lines(object, "redacted", notes->redacted);
    return r;
}

static int set_place(Json *object, const SourcePlace *place)
{
    /* Not in one line as other texts are: a program opens it. */
    _cleanup_free_ char *path = text_clean_dup(place->path, strlen(place->path));
    int r = path ? json_set_string(object, "file", path) : -ENOMEM;

    return r == 0 && place->number > 0 ? json_set_integer(object, "number", (int64_t)place->number)
                                       : r;
}

/* Lists are members first and get their elements then: what fails frees all of it. */
static int set_rules(Json *object, const Judgement *judgement)
{
    Json *rules = json_array_new();
    int r = json_set_consume(object, "rules", rules);

    for (size_t i = 0; r == 0 && i < judgement->rules->n; i++)
        r = add_rule(rules, judgement->rules->items[i], judgement->mail);
    return r;
}

static int set_alerts(Json *object, const Judgement *judgement)
{
    Json *alerts = json_array_new();
    int r = json_set_consume(object, "alerts", alerts);

    for (size_t i = 0; r == 0 && i < judgement->n_alerts; i++)
        if (judgement->alerts[i].record)
            r = add_alert(alerts, &judgement->alerts[i]);
    return r;
}

static int add_script_alert(Json *array, const ExplainScriptAlert *alert)
{
    Json *object = json_object_new();
    int r = json_add_consume(array, object);

    if (r == 0)
        r = json_set_string(object, "script", alert->script);
    if (r == 0)
        r = set_record(object, alert->record);
    if (r == 0)
        r = json_set_string(object, "message", alert->message);
    return r;
}

static int set_script_alerts(Json *object, const Judgement *judgement)
{
    Json *alerts = json_array_new();
    int r = json_set_consume(object, "script_alerts", alerts);

    for (size_t i = 0; r == 0 && i < judgement->n_script_alerts; i++)
        r = add_script_alert(alerts, &judgement->script_alerts[i]);
    return r;
}

/* The script that has a verdict, at which event, and its reply. */
static int set_script(Json *object, const Judgement *judgement)
{
    const ScriptAnswer *answer = &judgement->replay.answer;
    const Reply *reply = answer->reply;
    _cleanup_free_ char *text = NULL;
    int r = set_text(object, "script", answer->script ? answer->script->name : NULL);

    if (reply && asprintf(&text, "%s %s %s", reply->code, reply->status, reply->lines[0]) < 0) {
        text = NULL;
        return -ENOMEM;
    }
    if (r == 0)
        r = set_text(object, "event",
                     answer->script ? script_event_names[judgement->replay.event] : NULL);
    return r == 0 ? set_text(object, "reply", text) : r;
}

static int set_changes(Json *object, const Judgement *judgement)
{
    Json *changes = json_array_new();
    int r = json_set_consume(object, "changes", changes);
    const Actions *actions;

    if (!judgement->replay.run)
        return r;
    actions = &script_run_wishes(judgement->replay.run)->actions;
    for (size_t i = 0; r == 0 && i < actions->n; i++) {
        _cleanup_free_ char *line = action_describe_dup(&actions->items[i]);

        r = line ? json_add_string(changes, line) : -ENOMEM;
    }
    return r;
}

static int fill(Json *object, const Judgement *judgement)
{
    int r = set_place(object, &judgement->place);

    if (r == 0)
        r = set_header(object, "from", judgement->mail, "From");
    if (r == 0)
        r = set_header(object, "subject", judgement->mail, "Subject");
    if (r == 0)
        r = set_text(object, "guard", judgement->guard.name);
    if (r == 0)
        r = set_script(object, judgement);
    if (r == 0)
        r = set_changes(object, judgement);
    if (r == 0)
        r = set_script_alerts(object, judgement);
    if (r == 0)
        r = set_rules(object, judgement);
    if (r == 0)
        r = set_alerts(object, judgement);
    if (r == 0)
        r = set_text(object, "verdict", judgement_verdict(judgement));
    return r;
}

static int print(const Json *object, FILE *stream)
{
    _cleanup_free_ char *line = json_dump_dup(object, false, NULL);

    if (!line)
        return -ENOMEM;
    fprintf(stream, "%s\n", line);
    return 0;
}

int explain_json(const Judgement *judgement, FILE *stream)
{
    _cleanup_json_ Json *object = json_object_new();
    int r = fill(object, judgement);

    return r < 0 ? r : print(object, stream);
}

int explain_json_failure(const SourcePlace *place, const char *reason, FILE *stream)
{
    _cleanup_json_ Json *object = json_object_new();
    int r = set_place(object, place);

    if (r == 0)
        r = json_set_string(object, "error", reason);
    return r < 0 ? r : print(object, stream);
}
