/* SPDX-License-Identifier: MIT */

/*
 * The patterns, as the table and the configuration have them, compiled.
 */

#include "milterd/redact-internal.h"

#define NAME_MAX_BYTES 64

static int check_name(ConfigFile *file, const ConfigNode *node, void *target)
{
    const char *name = *(char **)target;
    size_t length = strlen(name);
    char path[CONFIG_NODE_PATH_MAX];

    if (length == 0 || length > NAME_MAX_BYTES ||
        strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-") !=
            length)
        config_error(file, node,
                     "%s: \"%.100s\" is no name; allowed are 1 to %d of A-Z a-z 0-9 . _ : -",
                     config_node_path(node, path), name, NAME_MAX_BYTES);
    return 0;
}

static int check_regex(ConfigFile *file, const ConfigNode *node, void *target)
{
    const char *text = *(char **)target;
    char path[CONFIG_NODE_PATH_MAX], reason[REGEX_REASON_MAX];
    size_t budget = REGEX_BUDGET;
    Regex *regex;
    int r = regex_new(text, &regex, reason);

    if (r == -EINVAL)
        config_error(file, node, "%s: \"%.100s\" is no regular expression: %s",
                     config_node_path(node, path), text, reason);
    if (r < 0)
        return r == -ENOMEM ? r : 0;
    if (regex_search(regex, "", 0, &budget) == REGEX_MATCH)
        config_error(
            file, node,
            "%s: \"%.100s\" matches where there is no text, too, and so everywhere; what it "
            "hides must have a character at least",
            config_node_path(node, path), text);
    regex_free(regex);
    return 0;
}

const ConfigKey redact_keys[] = {
    { "name", CONFIG_STRING, offsetof(RedactRule, name), .required = true, .parse = check_name },
    { "regex", CONFIG_STRING, offsetof(RedactRule, regex), .required = true, .parse = check_regex },
    {},
};

int redact_check(ConfigFile *file, const ConfigNode *node, void *target)
{
    const ConfigItems *items = target;

    if (items->n > REDACT_PATTERNS_MAX)
        config_error(file, node, "redact: there are %zu, at most %d are allowed", items->n,
                     REDACT_PATTERNS_MAX);
    return 0;
}

static int add_pattern(Redaction *redaction, const char *name, const char *text,
                       const RedactBuiltin *builtin)
{
    RedactPattern *pattern = &redaction->patterns[redaction->n];
    char reason[REGEX_REASON_MAX];
    int r = regex_new(text, &pattern->regex, reason);

    if (r < 0)
        return r;
    regex_take_long(pattern->regex);
    pattern->name = name;
    pattern->builtin = builtin;
    redaction->n++;
    return 0;
}

int redaction_new(const ConfigItems *own, Redaction **ret)
{
    _cleanup_(redaction_freep) Redaction *redaction = calloc(1, sizeof(*redaction));
    size_t n_builtins = 0, n_own = own ? own->n : 0;
    int r = 0;

    while (redact_builtins[n_builtins].name)
        n_builtins++;
    if (!redaction)
        return -ENOMEM;
    redaction->patterns = calloc(n_builtins + n_own, sizeof(*redaction->patterns));
    if (!redaction->patterns)
        return -ENOMEM;
    for (size_t i = 0; r == 0 && i < n_builtins; i++)
        r = add_pattern(redaction, redact_builtins[i].name, redact_builtins[i].regex,
                        &redact_builtins[i]);
    for (size_t i = 0; r == 0 && i < n_own; i++) {
        const RedactRule *rule = own->items[i];

        r = add_pattern(redaction, rule->name, rule->regex, NULL);
    }
    if (r < 0)
        return r;
    *ret = steal_ptr(redaction);
    return 0;
}

Redaction *redaction_free(Redaction *redaction)
{
    if (!redaction)
        return NULL;
    for (size_t i = 0; redaction->patterns && i < redaction->n; i++)
        regex_free(redaction->patterns[i].regex);
    free(redaction->patterns);
    free(redaction);
    return NULL;
}
