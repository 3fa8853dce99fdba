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

#include "milterd/trust.h"

const char *const verdict_names[] = {
    [VERDICT_CONTINUE] = "continue", [VERDICT_ACCEPT] = "accept",
    [VERDICT_DISCARD] = "discard",   [VERDICT_REJECT] = "reject",
    [VERDICT_TEMPFAIL] = "tempfail", [VERDICT_QUARANTINE] = "quarantine",
    [VERDICT_QUARANTINE + 1] = NULL,
};

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

bool rules_use(const RuleSet *rules, const char *name)
{
    for (size_t i = 0; i < rules->n; i++)
        if (names_have(&rule_at(rules, i)->uses, name))
            return true;
    return false;
}

size_t macros_collect(const char *name, const char *names[static MAIL_MACROS_MAX], size_t n)
{
    for (size_t i = 0; i < MIN(n, (size_t)MAIL_MACROS_MAX); i++)
        if (streq(names[i], name))
            return n;
    if (n < MAIL_MACROS_MAX)
        names[n] = name;
    return n + 1;
}

/* Counts those that have no room as well, unless they are in `names` already. */
size_t rules_collect_macros(const RuleSet *rules, const char *names[static MAIL_MACROS_MAX])
{
    size_t n = 0;

    for (size_t i = 0; i < rules->n; i++) {
        const Rule *rule = rule_at(rules, i);
        size_t of_match = 0, of_trust = 0;
        const char *name;

        while (rule->match && (name = match_next_macro(rule->match, &of_match)))
            n = macros_collect(name, names, n);
        while (rule->trust && (name = trust_next_macro(rule->trust, &of_trust)))
            n = macros_collect(name, names, n);
        for (size_t j = 0; j < rule->macros.n; j++)
            n = macros_collect(rule->macros.items[j], names, n);
    }
    return n;
}

size_t rules_macros(const RuleSet *rules, const char *names[static MAIL_MACROS_MAX])
{
    size_t n = rules_collect_macros(rules, names);

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

bool rules_let_pass(const RuleState *state)
{
    for (size_t i = 0; i < MIN(state->rules->n, (size_t)RULES_MAX); i++) {
        const Rule *rule = rule_at(state->rules, i);

        if (is_struck(state, i))
            continue;
        return rule->skip && (unsigned)last_stage(rule) < state->looked &&
               (rule->verdict == VERDICT_CONTINUE || rule->verdict == VERDICT_ACCEPT);
    }
    return false;
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
