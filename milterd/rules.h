/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Rules: which mails become alerts, where they go, what happens to the mail.
 *
 * A rule set is compiled once, before the workers start, and only read after that, by all
 * threads at once. A RuleState is what one mail has left of it: at each stage the rules that
 * can't match any more are struck out, and once none is left the rest of the mail need not be
 * seen at all.
 */

#include "common/config.h"
#include "milterd/mail.h"

typedef enum Verdict {
    VERDICT_CONTINUE,
    VERDICT_ACCEPT,
    VERDICT_DISCARD,
    VERDICT_REJECT,
    VERDICT_TEMPFAIL,
    VERDICT_QUARANTINE,
} Verdict;

extern const char *const verdict_names[]; /* NULL at the end */

typedef struct Match Match; /* the compiled `match` of a rule */

typedef struct Rule {
    char *name;
    Match *match;
    ConfigStrings to; /* empty: the relay's default destination */
    int verdict;      /* Verdict */
    int64_t max_lines;
    uint64_t max_bytes;
} Rule;

extern const ConfigKey rule_keys[]; /* for the list `rules` */
void rule_free(void *rule);

/* The rules as the configuration read them; the items are Rule. */
typedef ConfigItems RuleSet;

/* The latest stage that any rule looks at, and the earliest at which a mail may drop out: what
 * the worker negotiates with the MTA follows from them. */
MailStage rules_last_stage(const RuleSet *rules);
bool rules_decide_at(const RuleSet *rules, MailStage stage);

#define RULES_MAX 1024
typedef struct RuleState {
    const RuleSet *rules;
    uint8_t struck[RULES_MAX / 8]; /* a bit for each rule that can't match any more */
} RuleState;

void rules_begin(RuleState *state, const RuleSet *rules);

/* Looks at what `stage` has made known. False: no rule can match any more. */
bool rules_look(RuleState *state, const Mail *mail, MailStage stage);

/* After MAIL_STAGE_MESSAGE: the rule that matched (the first one), or NULL. */
const Rule *rules_result(const RuleState *state);

/* Why a rule did not match, for people: `from: "x@y" is not "nms@nms.example.org"`. NULL when it
 * did. The caller frees it. */
char *rule_explain(const Rule *rule, const Mail *mail);
