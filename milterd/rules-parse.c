/* SPDX-License-Identifier: MIT */

/*
 * Rules as the configuration has them, and what is wrong with them. What a rule can tell alone its
 * table checks; rules_check() what only all of them can; and rules_resolve() what takes the
 * profiles.
 */

#include "milterd/rules.h"

#include <stdio.h>

#include "milterd/trust.h"

#define NAME_MAX_BYTES 64

/* Names stand in logs and records, as they are. */
static bool is_name(const char *name)
{
    size_t length = strlen(name);

    return length > 0 && length <= NAME_MAX_BYTES &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-") ==
               length;
}

static int check_name(ConfigFile *file, const ConfigNode *node, void *target)
{
    const char *name = *(char **)target;
    char path[CONFIG_NODE_PATH_MAX];

    if (!is_name(name))
        config_error(file, node,
                     "%s: \"%.100s\" is no name; allowed are 1 to %d of A-Z a-z 0-9 . _ : -",
                     config_node_path(node, path), name, NAME_MAX_BYTES);
    return 0;
}

static int check_to(ConfigFile *file, const ConfigNode *node, void *target)
{
    const ConfigStrings *to = target;
    char path[CONFIG_NODE_PATH_MAX];

    config_node_path(node, path);
    for (size_t i = 0; i < to->n; i++) {
        bool twice = false;

        if (to->items[i][0] == '\0' || strlen(to->items[i]) > NAME_MAX_BYTES)
            config_error(file, node,
                         "%s: \"%.100s\" is no name of a destination; it has 1 to %d bytes", path,
                         to->items[i], NAME_MAX_BYTES);
        for (size_t j = 0; j < i && !twice; j++)
            twice = streq(to->items[i], to->items[j]);
        if (twice)
            config_error(file, node, "%s: \"%.100s\" stands there twice, once is allowed", path,
                         to->items[i]);
    }
    return 0;
}

const ConfigKey rule_keys[] = {
    { "name", CONFIG_STRING, offsetof(Rule, name), .required = true, .parse = check_name },
    { "match", CONFIG_CUSTOM, offsetof(Rule, match), .required = true, .parse = match_parse },
    { "trust", CONFIG_CUSTOM, offsetof(Rule, trust), .parse = trust_parse },
    { "to", CONFIG_STRINGS, offsetof(Rule, to), .min = 1, .max = RULE_DESTINATIONS_MAX,
      .parse = check_to },
    { "verdict", CONFIG_CHOICE, offsetof(Rule, verdict), .fallback = "\"continue\"",
      .choices = verdict_names },
    { "next", CONFIG_BOOL, offsetof(Rule, next), .fallback = "false" },
    { "skip", CONFIG_BOOL, offsetof(Rule, skip), .fallback = "false" },
    { "profile", CONFIG_STRING, offsetof(Rule, profile), .fallback = "\"auto\"" },
    { "read", CONFIG_LIST, offsetof(Rule, read), .keys = reading_keys, .item_size = sizeof(Reading),
      .item_free = reading_free, .max = READINGS_MAX },
    { "set", CONFIG_GROUP, offsetof(Rule, set), .keys = set_rule_keys },
    { "message", CONFIG_CUSTOM, offsetof(Rule, message), .parse = template_parse },
    { "max_lines", CONFIG_INT, offsetof(Rule, max_lines), .fallback = "20", .min = 1, .max = 1000 },
    { "max_bytes", CONFIG_SIZE, offsetof(Rule, max_bytes), .fallback = "\"4K\"", .min = 256,
      .max = 49152 },
    {},
};

void rule_free(void *item)
{
    Rule *rule = item;

    if (!rule)
        return;
    match_free(rule->match);
    trust_free(rule->trust);
    set_done(&rule->set);
    template_free(rule->message);
    names_done(&rule->uses);
    names_done(&rule->macros);
    config_target_done(rule_keys, rule);
    free(rule);
}

static const Rule *rule_at(const RuleSet *rules, size_t index)
{
    return rules->items[index];
}

/* What its templates and readings name; of macros the names in the protocol as well. */
static int note_uses(Rule *rule)
{
    char macro[MACRO_NAME_SIZE];
    int r = set_add_uses(&rule->set, &rule->uses);

    if (r == 0)
        r = readings_add_uses(&rule->read, &rule->uses);
    if (r == 0 && rule->message)
        r = template_add_uses(rule->message, &rule->uses);
    for (size_t i = 0; r == 0 && i < rule->uses.n; i++)
        if (variables_macro(rule->uses.items[i], macro))
            r = names_add(&rule->macros, macro);
    return r;
}

static size_t count_next(const RuleSet *rules)
{
    size_t n = 0;

    for (size_t i = 0; i < rules->n; i++)
        n += rule_at(rules, i)->next;
    return n;
}

/* What throws mail away, whoever it is from, can be turned against the mail of others, and can be
 * made to post what it likes without a trace. */
static void warn_of_forgery(ConfigFile *file, const ConfigNode *list, const RuleSet *rules)
{
    for (size_t i = 0; i < rules->n; i++) {
        const Rule *rule = rule_at(rules, i);

        if ((rule->verdict != VERDICT_DISCARD && rule->verdict != VERDICT_REJECT) || rule->trust ||
            !rule->match || match_demands_origin(rule->match))
            continue;
        config_warning(file, config_node_get(config_node_at(list, i), "verdict"),
                       "rules[%zu].verdict: \"%s\" holds for mail that anybody can make to look "
                       "so; say where it must come from, by trust, such as trust = [ \"local\", "
                       "\"auth\", \"192.0.2.0/28\" ], or by client, client_name, auth or macro in "
                       "match",
                       i, verdict_names[rule->verdict]);
    }
}

int rules_check(ConfigFile *file, const ConfigNode *node, void *target)
{
    const char *macros[MAIL_MACROS_MAX];
    const RuleSet *rules = target;

    for (size_t i = 0; i < rules->n; i++) {
        int r = note_uses(rules->items[i]);

        if (r < 0)
            return r;
    }
    if (rules->n > RULES_MAX)
        config_error(file, node, "rules: there are %zu, at most %d are allowed", rules->n,
                     RULES_MAX);
    if (count_next(rules) >= RULES_MATCHED_MAX)
        config_error(file, node, "rules: %zu of them say \"next\", at most %d may",
                     count_next(rules), RULES_MATCHED_MAX - 1);
    if (rules_collect_macros(rules, macros) > MAIL_MACROS_MAX)
        config_error(file, node, "rules: they look at more than the %d macros that are allowed",
                     MAIL_MACROS_MAX);
    warn_of_forgery(file, node, rules);
    for (size_t i = 1; i < MIN(rules->n, (size_t)RULES_MAX); i++) {
        const char *name = rule_at(rules, i)->name;

        for (size_t j = 0; name && j < i; j++) {
            const ConfigNode *first = config_node_get(config_node_at(node, j), "name"),
                             *second = config_node_get(config_node_at(node, i), "name");

            if (!rule_at(rules, j)->name || !first || !second ||
                !streq(name, rule_at(rules, j)->name))
                continue;
            config_error(file, second,
                         "rules[%zu].name: \"%.100s\" is the name of rules[%zu] already; each rule "
                         "needs one of its own",
                         i, name, j);
            break;
        }
    }
    return 0;
}

/* What a rule's templates and readings can name besides what every mail has. */
static int add_known(const Rule *rule, const Profiles *profiles, ConfigFile *file,
                     const ConfigNode *node, Names *known)
{
    const ConfigNode *match = config_node_get(node, "match"), *read = config_node_get(node, "read");
    char path[CONFIG_NODE_PATH_MAX];
    const char *taken = NULL;
    int r = match_add_names(rule->match, true, known, &taken);

    if (taken)
        config_error(
            file, match,
            "%s: a group can't be called \"%s\", which is the name of something else; call "
            "it otherwise",
            config_node_path(match, path), taken);
    if (r == 0 && read)
        r = readings_add_names(&rule->read, true, file, read, known);
    if (r == 0)
        r = names_add_all(known, &profiles->fields);
    if (r == 0)
        r = set_add_fields(&rule->set, known);
    return r;
}

static void check_profile(const Rule *rule, const Profiles *profiles, ConfigFile *file,
                          const ConfigNode *node)
{
    const ConfigNode *profile = config_node_get(node, "profile");
    const char *known[PROFILES_MAX + 2] = { "auto", "plain" }, *near;
    char path[CONFIG_NODE_PATH_MAX];
    size_t n = 2, size;
    FILE *stream;
    char *names = NULL;

    if (!profile || streq(rule->profile, "auto") || streq(rule->profile, "plain") ||
        profiles_find(profiles, rule->profile))
        return;
    for (size_t i = 0; i < profiles->n; i++)
        known[n++] = profiles->items[i]->name;
    near = config_nearest(rule->profile, known, n);
    stream = open_memstream(&names, &size);
    for (size_t i = 0; stream && i < n; i++)
        fprintf(stream, "%s\"%s\"", i > 0 ? ", " : "", known[i]);
    if (stream)
        fclose(stream);
    config_error(file, profile, "%s: there is no profile \"%.100s\"%s%s%s; there are %s",
                 config_node_path(profile, path), rule->profile, near ? " (did you mean \"" : "",
                 near ? near : "", near ? "\"?)" : "", names ? names : "others");
    free(names);
}

static void check_groups(const Rule *rule, ConfigFile *file, const ConfigNode *node)
{
    size_t n = match_n_groups(rule->match);
    char path[CONFIG_NODE_PATH_MAX];

    for (size_t i = 0; i < rule->uses.n; i++) {
        const char *name = rule->uses.items[i];

        if (strlen(name) == 1 && *name >= '1' && *name <= '9' && (size_t)(*name - '0') > n)
            config_error(file, node,
                         "%s: \"${%s}\" names a group that no regex of its \"match\" has",
                         config_node_path(node, path), name);
    }
}

static int resolve(const Rule *rule, const Profiles *profiles, ConfigFile *file,
                   const ConfigNode *node)
{
    const ConfigNode *read = config_node_get(node, "read"), *set = config_node_get(node, "set"),
                     *message = config_node_get(node, "message");
    _cleanup_(names_done) Names known = {};
    SetScope scope = { &known, &profiles->fields, true };
    char path[CONFIG_NODE_PATH_MAX];
    int r = add_known(rule, profiles, file, node, &known);

    if (r == 0 && read)
        r = readings_check(&rule->read, &known, true, file, read);
    if (r == 0 && set)
        r = set_check(&rule->set, &scope, file, set);
    if (r == 0 && message)
        r = template_check(rule->message, &known, true, file, message);
    check_profile(rule, profiles, file, node);
    check_groups(rule, file, node);
    if (rule->skip && rule->next)
        config_error(file, config_node_get(node, "next"),
                     "%s: stands beside \"skip\", which ends the search; one of them is allowed",
                     config_node_path(config_node_get(node, "next"), path));
    return r;
}

int rules_resolve(const RuleSet *rules, const Profiles *profiles, ConfigFile *file)
{
    const ConfigNode *list = config_find(file, "rules");
    int r = 0;

    for (size_t i = 0; r == 0 && list && i < rules->n; i++)
        r = resolve(rule_at(rules, i), profiles, file, config_node_at(list, i));
    return r;
}
