/* SPDX-License-Identifier: MIT */

/*
 * From the configuration to a Match. Each function returns 0, -ENOMEM, or -EINVAL when it has
 * reported what is wrong; the callers go on after -EINVAL, so that all errors are found at once.
 */

#include "milterd/match-internal.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/text.h"
#include "milterd/macro.h"

/* How deep `not` and lists may stand in one another. */
#define DEPTH_MAX 8

const MatchFieldInfo match_fields[_MATCH_FIELD_MAX + 1] = {
    [MATCH_CLIENT] = { "client", MAIL_STAGE_CONNECT, .caseless = true },
    [MATCH_CLIENT_NAME] = { "client_name", MAIL_STAGE_CONNECT, .caseless = true },
    [MATCH_HELO] = { "helo", MAIL_STAGE_HELO, .caseless = true },
    [MATCH_AUTH] = { "auth", MAIL_STAGE_MAIL },
    [MATCH_ENVELOPE_FROM] = { "envelope_from", MAIL_STAGE_MAIL, .caseless = true },
    [MATCH_RCPT] = { "rcpt", MAIL_STAGE_DATA, .caseless = true },
    [MATCH_FROM] = { "from", MAIL_STAGE_HEADERS, .caseless = true, .text = true },
    [MATCH_SUBJECT] = { "subject", MAIL_STAGE_HEADERS, .text = true },
    [MATCH_HEADER] = { "header", MAIL_STAGE_HEADERS, .named = true, .text = true },
    [MATCH_BODY] = { "body", MAIL_STAGE_MESSAGE },
    [MATCH_MACRO] = { "macro", MAIL_STAGE_MESSAGE, .named = true },
    [MATCH_VALUE] = { "this", MAIL_STAGE_MESSAGE, .caseless = true },
};

static const char *const field_names[] = {
    "from",        "subject", "header", "envelope_from", "rcpt",  "client",
    "client_name", "helo",    "auth",   "body",          "macro", NULL,
};

/* `name` goes with the group of a header or a macro; it stands first so that others can leave it
 * out. */
static const char *const named_keys[] = {
    "name", "equal", "glob", "regex", "cidr", "not", NULL,
};
static const char *const *const group_keys = named_keys + 1;

static int parse_value(ConfigFile *file, MatchField field, const ConfigNode *node, unsigned depth,
                       Pattern **ret);

void condition_done(Condition *condition)
{
    for (size_t i = 0; i < condition->n_alternatives; i++) {
        free(condition->alternatives[i].name);
        pattern_free(condition->alternatives[i].pattern);
    }
    free(condition->alternatives);
    *condition = (Condition){};
}

PRINTF_LIKE(3, 4)
static int wrong(ConfigFile *file, const ConfigNode *node, const char *format, ...)
{
    char message[1024], path[CONFIG_NODE_PATH_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    config_error(file, node, "%s: %s", config_node_path(node, path), message);
    return -EINVAL;
}

/* A value in one line never equals a pattern with two blanks in a row; say so, it is no error. */
static int warn_of_blanks(ConfigFile *file, const ConfigNode *node, const char *text)
{
    _cleanup_free_ char *line = text_clean_line_dup(text, strlen(text));
    char path[CONFIG_NODE_PATH_MAX];

    if (!line)
        return -ENOMEM;
    if (!streq(line, text))
        config_warning(file, node,
                       "%s: \"%.100s\" never matches: headers are compared in one line, each run "
                       "of white space as one blank, none at the ends",
                       config_node_path(node, path), text);
    return 0;
}

static int parse_equal(ConfigFile *file, MatchField field, const ConfigNode *node, const char *text,
                       Pattern **ret, char reason[static PATTERN_REASON_MAX])
{
    int r;

    /* Equal as addresses, however they are written. */
    if (field == MATCH_CLIENT) {
        if (strchr(text, '/')) {
            snprintf(reason, PATTERN_REASON_MAX, "is no address; write a network as { cidr = … }");
            return -EINVAL;
        }
        return pattern_new_cidr(text, ret, reason);
    }
    if (match_fields[field].text) {
        r = warn_of_blanks(file, node, text);
        if (r < 0)
            return r;
    }
    return pattern_new_equal(text, match_fields[field].caseless, ret, reason);
}

static int parse_leaf(ConfigFile *file, MatchField field, const char *comparison,
                      const ConfigNode *node, Pattern **ret)
{
    const char *text = config_node_string(node);
    char reason[PATTERN_REASON_MAX];
    int r;

    if (!text)
        return wrong(file, node, "must be a string in quotes, or a list of them");

    if (streq(comparison, "equal"))
        r = parse_equal(file, field, node, text, ret, reason);
    else if (streq(comparison, "glob"))
        r = pattern_new_glob(text, match_fields[field].caseless, ret, reason);
    else if (streq(comparison, "regex"))
        r = pattern_new_regex(text, ret, reason);
    else
        r = pattern_new_cidr(text, ret, reason);
    if (r == -EINVAL)
        return wrong(file, node, "\"%.100s\" %s", text, reason);
    if (r == 0 && field == MATCH_BODY)
        pattern_take_long(*ret);
    return r;
}

/* A list: any of its elements, read with `comparison` or, where that is NULL, as values. */
static int parse_list(ConfigFile *file, MatchField field, const char *comparison,
                      const ConfigNode *list, unsigned depth, Pattern **ret)
{
    _cleanup_(pattern_freep) Pattern *any = NULL;
    bool good = true;
    int r;

    if (config_node_length(list) == 0)
        return wrong(file, list, "is an empty list, which nothing matches");
    r = pattern_new_any(&any);
    if (r < 0)
        return r;
    for (size_t i = 0; i < config_node_length(list); i++) {
        const ConfigNode *node = config_node_at(list, i);
        Pattern *pattern = NULL;

        r = comparison ? parse_leaf(file, field, comparison, node, &pattern)
                       : parse_value(file, field, node, depth + 1, &pattern);
        if (r == 0)
            r = pattern_add_consume(any, pattern);
        if (r == -ENOMEM)
            return r;
        good = good && r == 0;
    }
    if (!good)
        return -EINVAL;
    *ret = steal_ptr(any);
    return 0;
}

static int parse_not(ConfigFile *file, MatchField field, const ConfigNode *node, unsigned depth,
                     Pattern **ret)
{
    _cleanup_(pattern_freep) Pattern *negated = NULL;
    Pattern *inner = NULL;
    int r;

    r = parse_value(file, field, node, depth + 1, &inner);
    if (r < 0)
        return r;
    r = pattern_new_not(&negated);
    if (r < 0) {
        pattern_free(inner);
        return r;
    }
    r = pattern_add_consume(negated, inner);
    if (r < 0)
        return r;
    *ret = steal_ptr(negated);
    return 0;
}

/* A group with exactly one of the operators; with `named` also a `name`, which the caller reads. */
static int parse_group(ConfigFile *file, MatchField field, const ConfigNode *group, bool named,
                       unsigned depth, Pattern **ret)
{
    const char *const *keys = named ? named_keys : group_keys;
    const ConfigNode *chosen = NULL;
    const char *comparison = NULL;
    bool good = true;

    for (size_t i = 0; i < config_node_length(group); i++) {
        const ConfigNode *node = config_node_at(group, i);
        const char *known = NULL;

        for (const char *const *key = keys; *key && !known; key++)
            if (streq(*key, config_node_name(node)))
                known = *key;
        if (!known) {
            config_unknown(file, node, NULL, keys);
            good = false;
        } else if (comparison && !streq(known, "name")) {
            wrong(file, node,
                  "stands beside \"%s\", one comparison is allowed; a list means any "
                  "of several",
                  comparison);
            good = false;
        } else if (!streq(known, "name")) {
            comparison = known;
            chosen = node;
        }
    }
    if (good && !comparison)
        return wrong(file, group,
                     "says nothing to compare with; it takes one of \"equal\", "
                     "\"glob\", \"regex\"%s and \"not\"",
                     field == MATCH_CLIENT ? ", \"cidr\"" : "");
    if (!good)
        return -EINVAL;

    if (streq(comparison, "not"))
        return parse_not(file, field, chosen, depth, ret);
    if (streq(comparison, "cidr") && field != MATCH_CLIENT)
        return wrong(file, chosen, "is for \"client\" alone, since %s is no address of a host",
                     match_fields[field].name);
    if (config_node_kind(chosen) == CONFIG_NODE_LIST)
        return parse_list(file, field, comparison, chosen, depth, ret);
    return parse_leaf(file, field, comparison, chosen, ret);
}

static int parse_value(ConfigFile *file, MatchField field, const ConfigNode *node, unsigned depth,
                       Pattern **ret)
{
    if (depth > DEPTH_MAX)
        return wrong(file, node, "stands too deep; at most %d levels are allowed", DEPTH_MAX);

    switch (config_node_kind(node)) {
    case CONFIG_NODE_STRING:
        return parse_leaf(file, field, "equal", node, ret);
    case CONFIG_NODE_LIST:
        return parse_list(file, field, NULL, node, depth, ret);
    case CONFIG_NODE_GROUP:
        return parse_group(file, field, node, false, depth, ret);
    case CONFIG_NODE_SCALAR:
        break;
    }
    return wrong(file, node,
                 "must be a string in quotes, a group such as { glob = \"*\"; }, or a "
                 "list of these");
}

int match_parse_value(ConfigFile *file, const ConfigNode *node, Pattern **ret)
{
    return parse_value(file, MATCH_VALUE, node, 0, ret);
}

static int check_header_name(ConfigFile *file, const ConfigNode *node, const char *name)
{
    for (const char *c = name; *c; c++)
        if (*c <= ' ' || *c > '~' || *c == ':')
            return wrong(file, node,
                         "\"%.100s\" is no name of a header; it has printable ASCII characters, "
                         "no blank and no colon",
                         name);
    return 0;
}

/* One { name = "X-Header"; glob = "…"; } */
static int parse_named(ConfigFile *file, MatchField field, const ConfigNode *node, Alternative *ret)
{
    _cleanup_(pattern_freep) Pattern *pattern = NULL;
    const char *kind = match_fields[field].name, *name;
    char macro[MACRO_NAME_SIZE];
    const ConfigNode *name_node;
    int r;

    if (config_node_kind(node) != CONFIG_NODE_GROUP)
        return wrong(file, node, "must be a group such as { name = \"%s\"; glob = \"*\"; }",
                     field == MATCH_MACRO ? "daemon_name" : "X-Alert");
    r = parse_group(file, field, node, true, 0, &pattern);
    if (r == -ENOMEM)
        return r;

    name_node = config_node_get(node, "name");
    if (!name_node)
        return wrong(file, node, "\"name\" is missing, the %s's", kind);
    name = config_node_string(name_node);
    if (!name || !*name)
        return wrong(file, name_node, "must be the name of a %s, in quotes", kind);
    if (field == MATCH_MACRO) {
        if (macro_name_read(name, macro) < 0)
            return wrong(file, name_node,
                         "\"%.100s\" is no name of a macro; it has 1 to %d of A-Z a-z 0-9 _, with "
                         "braces or without",
                         name, MACRO_NAME_MAX);
        name = macro;
    } else if (check_header_name(file, name_node, name) < 0) {
        return -EINVAL;
    }
    if (r < 0)
        return r;

    ret->name = strdup(name);
    if (!ret->name)
        return -ENOMEM;
    ret->pattern = steal_ptr(pattern);
    return 0;
}

static int parse_alternative(ConfigFile *file, MatchField field, const ConfigNode *node,
                             Alternative *ret)
{
    if (match_fields[field].named)
        return parse_named(file, field, node, ret);
    if (field == MATCH_AUTH) {
        ret->name = strdup(MACRO_AUTH);
        if (!ret->name)
            return -ENOMEM;
    }
    return parse_value(file, field, node, 0, &ret->pattern);
}

/* The first stage that knows what it is compared with. */
static MailStage alternative_stage(MatchField field, const Alternative *alternative)
{
    return field == MATCH_MACRO ? macro_stage(alternative->name) : match_fields[field].stage;
}

static int parse_condition(ConfigFile *file, MatchField field, const ConfigNode *node,
                           Condition *ret)
{
    bool list = match_fields[field].named && config_node_kind(node) == CONFIG_NODE_LIST;
    size_t n = list ? config_node_length(node) : 1;
    _cleanup_(condition_done) Condition condition = { .field = field };
    bool good = true;
    int r;

    if (n == 0)
        return wrong(file, node, "is an empty list, which nothing matches");
    condition.alternatives = calloc(n, sizeof(*condition.alternatives));
    if (!condition.alternatives)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        Alternative *alternative = &condition.alternatives[condition.n_alternatives++];

        r = parse_alternative(file, field, list ? config_node_at(node, i) : node, alternative);
        if (r == -ENOMEM)
            return r;
        good = good && r == 0;
        if (r == 0)
            condition.stage = MAX(condition.stage, alternative_stage(field, alternative));
    }
    if (!good)
        return -EINVAL;
    *ret = condition;
    condition = (Condition){};
    return 0;
}

static int parse_field(ConfigFile *file, const ConfigNode *node, Match *match)
{
    const char *name = config_node_name(node);
    MatchField field = 0;
    int r;

    while (field < _MATCH_FIELD_MAX && !streq(name, match_fields[field].name))
        field++;
    if (field == _MATCH_FIELD_MAX) {
        config_unknown(file, node, NULL, field_names);
        return 0;
    }
    r = parse_condition(file, field, node, &match->conditions[match->n_conditions]);
    if (r == 0)
        match->n_conditions++;
    return r == -ENOMEM ? r : 0;
}

int match_parse(ConfigFile *file, const ConfigNode *node, void *target)
{
    size_t n;
    Match *match;
    int r;

    if (config_node_kind(node) != CONFIG_NODE_GROUP) {
        wrong(file, node, "must be a group of fields, such as { from = \"nms@example.org\"; }");
        return 0;
    }
    n = config_node_length(node);
    if (n == 0) {
        wrong(file, node,
              "is empty; to match every mail, write match: { envelope_from: { glob = "
              "\"*\"; }; };");
        return 0;
    }

    match = calloc(1, sizeof(*match));
    if (!match)
        return -ENOMEM;
    *(Match **)target = match;
    match->conditions = calloc(n, sizeof(*match->conditions));
    if (!match->conditions)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        r = parse_field(file, config_node_at(node, i), match);
        if (r < 0)
            return r;
    }
    return 0;
}
