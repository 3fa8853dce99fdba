/* SPDX-License-Identifier: MIT */

/*
 * A rule is struck out at the first stage at which one of its conditions fails, and never comes
 * back; so what is left after the last stage has matched. Conditions of later stages are open
 * until then: nothing is decided on what is not known yet.
 *
 * A rule that has no later conditions has matched already. If it does not say `next`, those behind
 * it are out, whatever becomes of those before it: either one of them ends the search, or this
 * one does.
 */

#include "milterd/rules.h"

#include <assert.h>
#include <stdio.h>

#include "milterd/match.h"
#include "milterd/trust.h"

#define NAME_MAX_BYTES 64

const char *const verdict_names[] = {
    [VERDICT_CONTINUE] = "continue", [VERDICT_ACCEPT] = "accept",
    [VERDICT_DISCARD] = "discard",   [VERDICT_REJECT] = "reject",
    [VERDICT_TEMPFAIL] = "tempfail", [VERDICT_QUARANTINE] = "quarantine",
    [VERDICT_QUARANTINE + 1] = NULL,
};

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
    config_target_done(rule_keys, rule);
    free(rule);
}

static const Rule *rule_at(const RuleSet *rules, size_t index)
{
    return rules->items[index];
}

/* Its conditions are those of `match`, and `trust`. While the configuration is being checked, a
 * rule may be without a match. */

static MailStage first_stage(const Rule *rule)
{
    MailStage first = match_first_stage(rule->match);

    return rule->trust ? MIN(first, trust_stage(rule->trust)) : first;
}

static MailStage last_stage(const Rule *rule)
{
    MailStage last = match_last_stage(rule->match);

    return rule->trust ? MAX(last, trust_stage(rule->trust)) : last;
}

static bool decides_at(const Rule *rule, MailStage stage)
{
    return match_decides_at(rule->match, stage) ||
           (rule->trust && trust_stage(rule->trust) == stage);
}

/* As match_look(). */
static int look(const Rule *rule, MatchInput *input, MailStage first, MailStage last)
{
    if (rule->trust && trust_stage(rule->trust) >= first && trust_stage(rule->trust) <= last &&
        !trust_holds(rule->trust, input->mail))
        return MATCH_FAILS;
    return match_look(rule->match, input, first, last, rule->name);
}

/* Adds to the *n names that there are; counts those that have no room as well. */
static void collect_macro(const char *name, const char *names[static MAIL_MACROS_MAX], size_t *n)
{
    for (size_t i = 0; i < MIN(*n, (size_t)MAIL_MACROS_MAX); i++)
        if (streq(names[i], name))
            return;
    if (*n < MAIL_MACROS_MAX)
        names[*n] = name;
    (*n)++;
}

static size_t collect_macros(const RuleSet *rules, const char *names[static MAIL_MACROS_MAX])
{
    size_t n = 0;

    for (size_t i = 0; i < rules->n; i++) {
        const Rule *rule = rule_at(rules, i);
        size_t of_match = 0, of_trust = 0;
        const char *name;

        while (rule->match && (name = match_next_macro(rule->match, &of_match)))
            collect_macro(name, names, &n);
        while (rule->trust && (name = trust_next_macro(rule->trust, &of_trust)))
            collect_macro(name, names, &n);
    }
    return n;
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

    if (rules->n > RULES_MAX)
        config_error(file, node, "rules: there are %zu, at most %d are allowed", rules->n,
                     RULES_MAX);
    if (count_next(rules) >= RULES_MATCHED_MAX)
        config_error(file, node, "rules: %zu of them say \"next\", at most %d may",
                     count_next(rules), RULES_MATCHED_MAX - 1);
    if (collect_macros(rules, macros) > MAIL_MACROS_MAX)
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

size_t rules_macros(const RuleSet *rules, const char *names[static MAIL_MACROS_MAX])
{
    size_t n = collect_macros(rules, names);

    assert(n <= MAIL_MACROS_MAX);
    return n;
}

MailStage rules_last_stage(const RuleSet *rules)
{
    MailStage last = MAIL_STAGE_CONNECT;

    for (size_t i = 0; i < rules->n; i++)
        last = MAX(last, last_stage(rule_at(rules, i)));
    return last;
}

bool rules_look_at(const RuleSet *rules, MailStage stage)
{
    for (size_t i = 0; i < rules->n; i++)
        if (decides_at(rule_at(rules, i), stage))
            return true;
    return false;
}

bool rules_decide_at(const RuleSet *rules, MailStage stage)
{
    for (size_t i = 0; i < rules->n; i++)
        if (first_stage(rule_at(rules, i)) > stage)
            return false;
    return rules_look_at(rules, stage);
}

void rules_begin(RuleState *state, const RuleSet *rules)
{
    *state = (RuleState){ .rules = rules };
}

static bool is_struck(const RuleState *state, size_t index)
{
    return state->struck[index / 8] & 1U << index % 8;
}

static void strike(RuleState *state, size_t index)
{
    state->struck[index / 8] |= (uint8_t)(1U << index % 8);
}

int rules_look(RuleState *state, Mail *mail, MailStage stage)
{
    _cleanup_(match_input_done) MatchInput input = { .mail = mail };
    RuleState next = *state;
    bool left = false;
    int r;

    for (size_t i = 0; i < MIN(state->rules->n, (size_t)RULES_MAX); i++) {
        const Rule *rule = rule_at(state->rules, i);

        if (is_struck(state, i))
            continue;
        if (state->looked <= (unsigned)stage) {
            r = look(rule, &input, state->looked, stage);
            if (r < 0)
                return r;
            if (r == MATCH_FAILS) {
                strike(&next, i);
                continue;
            }
        }
        left = true;
        if (!rule->next && last_stage(rule) <= stage) {
            for (size_t j = i + 1; j < MIN(state->rules->n, (size_t)RULES_MAX); j++)
                strike(&next, j);
            break;
        }
    }
    next.looked = MAX(next.looked, (unsigned)stage + 1);
    *state = next;
    return left;
}

size_t rules_result(const RuleState *state, const Rule *matched[static RULES_MATCHED_MAX])
{
    size_t n = 0;

    for (size_t i = 0; i < MIN(state->rules->n, (size_t)RULES_MAX) && n < RULES_MATCHED_MAX; i++) {
        if (is_struck(state, i))
            continue;
        matched[n++] = rule_at(state->rules, i);
        if (!matched[n - 1]->next)
            break;
    }
    return n;
}

int rule_explain(const Rule *rule, Mail *mail, bool *ret_matches, char **ret_lines)
{
    _cleanup_free_ char *trust = NULL, *lines = NULL;
    bool matches;
    int r;

    r = match_explain(rule->match, mail, &matches, &lines);
    if (r < 0)
        return r;
    if (rule->trust) {
        char *all;

        trust = trust_explain(rule->trust, mail);
        if (!trust || asprintf(&all, "%s%s\n", lines, trust) < 0)
            return -ENOMEM;
        free(lines);
        lines = all;
        matches = matches && trust_holds(rule->trust, mail);
    }
    *ret_matches = matches;
    *ret_lines = steal_ptr(lines);
    return 0;
}
