/* SPDX-License-Identifier: MIT */

/*
 * Bounds are wide here: redaction wants to see what it hides before anything is cut, and the alert
 * is cut to its size at the end (alert.c).
 */

#include "milterd/set.h"

#include <stdio.h>

#include "common/text.h"

#define LINE_MAX_BYTES 8192    /* of title, key and fields */
#define TEXT_MAX_BYTES 1114112 /* somewhat more than a mail's whole text (mime.h) */

static bool is_field_name(const char *name)
{
    size_t length = strlen(name);

    return length > 0 && length <= SET_FIELD_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == length;
}

/* Each alert has these anyhow; and a field's name is a variable in rules. */
static bool is_reserved(const char *name)
{
    return variables_is_of_mail(name) || variables_is_of_rule(name);
}

static int parse_field(ConfigFile *file, const ConfigNode *node, SetFields *fields)
{
    SetField *field = &fields->items[fields->n];
    const char *name = config_node_name(node);
    char path[CONFIG_NODE_PATH_MAX];
    int r;

    if (!is_field_name(name) || is_reserved(name)) {
        config_error(file, node, "%s: \"%.100s\" %s", config_node_path(node, path), name,
                     is_field_name(name)
                         ? "is the name of something else; call the field otherwise"
                         : "is no name of a field; allowed are 1 to 32 of a-z 0-9 _");
        return 0;
    }
    r = template_parse(file, node, &field->value);
    if (r < 0 || !field->value)
        return r;
    field->name = strdup(name);
    fields->n++;
    return field->name ? 0 : -ENOMEM;
}

static int parse_fields(ConfigFile *file, const ConfigNode *node, void *target)
{
    SetFields *fields = target;
    char path[CONFIG_NODE_PATH_MAX];
    size_t n;
    int r = 0;

    if (config_node_kind(node) != CONFIG_NODE_GROUP) {
        config_error(file, node, "%s: must be a group of templates: { host = \"${host}\"; }",
                     config_node_path(node, path));
        return 0;
    }
    n = config_node_length(node);
    if (n > SET_FIELDS_MAX) {
        config_error(file, node, "%s: there are %zu, at most %d are allowed",
                     config_node_path(node, path), n, SET_FIELDS_MAX);
        return 0;
    }
    fields->items = calloc(MAX(n, (size_t)1), sizeof(*fields->items));
    if (!fields->items)
        return -ENOMEM;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = parse_field(file, config_node_at(node, i), fields);
    return r;
}

/* clang-format off */
#define KEYS_OF_ALL                                                                                \
    { "title", CONFIG_CUSTOM, offsetof(Set, title), .parse = template_parse },                     \
    { "severity", CONFIG_CUSTOM, offsetof(Set, severity), .parse = choice_parse_severity },        \
    { "state", CONFIG_CUSTOM, offsetof(Set, state), .parse = choice_parse_state },                 \
    { "key", CONFIG_CUSTOM, offsetof(Set, key), .parse = template_parse },                         \
    { "fields", CONFIG_CUSTOM, offsetof(Set, fields), .parse = parse_fields },                     \
    { "facts", CONFIG_STRINGS, offsetof(Set, facts), .max = RECORD_FACTS_MAX }
/* clang-format on */

const ConfigKey set_keys[] = {
    KEYS_OF_ALL,
    { "text", CONFIG_CUSTOM, offsetof(Set, text), .parse = template_parse },
    {},
};

const ConfigKey set_rule_keys[] = {
    KEYS_OF_ALL,
    {},
};

void set_done(Set *set)
{
    template_free(set->title);
    template_free(set->text);
    template_free(set->key);
    choice_free(set->severity);
    choice_free(set->state);
    for (size_t i = 0; i < set->fields.n; i++) {
        free(set->fields.items[i].name);
        template_free(set->fields.items[i].value);
    }
    free(set->fields.items);
}

bool set_is_empty(const Set *set)
{
    return !set->title && !set->text && !set->severity && !set->state && !set->key &&
           !set->fields.items && !set->facts.items;
}

Set set_inherit(const Set *set, const Set *other)
{
    return (Set){
        .title = set->title ? set->title : other->title,
        .text = set->text ? set->text : other->text,
        .severity = set->severity ? set->severity : other->severity,
        .state = set->state ? set->state : other->state,
        .key = set->key ? set->key : other->key,
        .fields = set->fields.items ? set->fields : other->fields,
        .facts = set->facts.items ? set->facts : other->facts,
    };
}

/* Checks */

static bool has_field(const Set *set, const char *name)
{
    for (size_t i = 0; i < set->fields.n; i++)
        if (streq(set->fields.items[i].name, name))
            return true;
    return false;
}

static void check_facts(const Set *set, const SetScope *scope, ConfigFile *file,
                        const ConfigNode *group)
{
    const ConfigNode *node = config_node_get(group, "facts");
    char path[CONFIG_NODE_PATH_MAX];

    for (size_t i = 0; node && i < set->facts.n; i++)
        if (!has_field(set, set->facts.items[i]) && !names_have(scope->fields, set->facts.items[i]))
            config_error(file, node, "%s: \"%.100s\" is no field; \"fields\" must have it",
                         config_node_path(node, path), set->facts.items[i]);
}

static int check_template(const Template *template, const SetScope *scope, ConfigFile *file,
                          const ConfigNode *group, const char *name)
{
    if (!template)
        return 0;
    return template_check(template, scope->known, scope->in_rule, file,
                          config_node_get(group, name));
}

static int check_choice(const Choice *choice, const SetScope *scope, ConfigFile *file,
                        const ConfigNode *group, const char *name)
{
    if (!choice)
        return 0;
    return choice_check(choice, scope->known, scope->in_rule, file, config_node_get(group, name));
}

int set_check(const Set *set, const SetScope *scope, ConfigFile *file, const ConfigNode *group)
{
    const ConfigNode *fields = config_node_get(group, "fields");
    int r;

    r = check_template(set->title, scope, file, group, "title");
    if (r == 0)
        r = check_template(set->text, scope, file, group, "text");
    if (r == 0)
        r = check_template(set->key, scope, file, group, "key");
    if (r == 0)
        r = check_choice(set->severity, scope, file, group, "severity");
    if (r == 0)
        r = check_choice(set->state, scope, file, group, "state");
    for (size_t i = 0; r == 0 && i < set->fields.n; i++)
        r = check_template(set->fields.items[i].value, scope, file, fields,
                           set->fields.items[i].name);
    check_facts(set, scope, file, group);
    return r;
}

int set_add_uses(const Set *set, Names *uses)
{
    const Template *const templates[] = { set->title, set->text, set->key };
    const Choice *const choices[] = { set->severity, set->state };
    int r = 0;

    for (size_t i = 0; r == 0 && i < ELEMENTSOF(templates); i++)
        if (templates[i])
            r = template_add_uses(templates[i], uses);
    for (size_t i = 0; r == 0 && i < ELEMENTSOF(choices); i++)
        if (choices[i])
            r = choice_add_uses(choices[i], uses);
    for (size_t i = 0; r == 0 && i < set->fields.n; i++)
        r = template_add_uses(set->fields.items[i].value, uses);
    return r;
}

int set_add_fields(const Set *set, Names *fields)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < set->fields.n; i++)
        r = names_add(fields, set->fields.items[i].name);
    return r;
}

/* Applying */

int set_clean(char **member, const char *text, bool one_line)
{
    size_t size = strlen(text);
    char *clean = one_line ? text_clean_line_dup(text, size) : text_clean_dup(text, size);

    if (!clean)
        return -ENOMEM;
    free(*member);
    *member = clean;
    return 0;
}

/* *ret is NULL where nothing comes of it. */
static int render(const Template *template, Variables *variables, bool one_line, bool whole,
                  char **ret)
{
    _cleanup_free_ char *text = NULL, *clean = NULL;
    Rendered rendered;
    int r;

    r = template_render(template, variables, one_line ? LINE_MAX_BYTES : TEXT_MAX_BYTES, &rendered);
    if (r < 0)
        return r;
    text = rendered.text;
    r = set_clean(&clean, text, one_line);
    if (r < 0)
        return r;
    *ret = clean[strspn(clean, " \t\n")] && !(whole && rendered.missing) ? steal_ptr(clean) : NULL;
    return 0;
}

static int apply_member(const Template *template, Variables *variables, bool one_line, bool whole,
                        char **member)
{
    char *value = NULL;
    int r = template ? render(template, variables, one_line, whole, &value) : 0;

    if (r < 0 || !value)
        return r;
    free(*member);
    *member = value;
    return 0;
}

static int apply_fields(const SetFields *fields, Variables *variables, Record *record)
{
    for (size_t i = 0; i < fields->n; i++) {
        _cleanup_free_ char *value = NULL;
        int r = render(fields->items[i].value, variables, true, false, &value);

        if (r == 0 && value)
            r = record_add_field(record, fields->items[i].name, value);
        if (r < 0)
            return r;
    }
    return 0;
}

static int apply_choices(const Set *set, Variables *variables, size_t *budget, Record *record)
{
    int severity = 0, state = 0, r = 0;

    if (set->severity)
        r = choice_make(set->severity, variables, budget, &severity);
    if (severity != 0)
        record->severity = (Severity)severity;
    if (r == 0 && set->state)
        r = choice_make(set->state, variables, budget, &state);
    if (state != 0)
        record->state = (AlertState)state;
    return r;
}

void set_clear_facts(Record *record)
{
    for (size_t i = 0; i < record->n_facts; i++)
        free(record->facts[i]);
    free(record->facts);
    record->facts = NULL;
    record->n_facts = 0;
}

static int apply_facts(const ConfigStrings *facts, Record *record)
{
    int r = 0;

    if (!facts->items)
        return 0;
    set_clear_facts(record);
    for (size_t i = 0; r == 0 && i < facts->n; i++)
        r = record_add_fact(record, facts->items[i]);
    return r;
}

int set_apply(const Set *set, Variables *variables, size_t *budget, Record *record)
{
    int r;

    r = apply_fields(&set->fields, variables, record);
    if (r == 0)
        r = apply_choices(set, variables, budget, record);
    if (r == 0)
        r = apply_member(set->key, variables, true, true, &record->key);
    if (r == 0)
        r = apply_member(set->title, variables, true, false, &record->title);
    if (r == 0)
        r = apply_member(set->text, variables, false, false, &record->text);
    if (r == 0)
        r = apply_facts(&set->facts, record);
    return r;
}
