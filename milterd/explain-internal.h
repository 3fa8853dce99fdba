/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What explain.c has found out about a mail, and the views that show it.
 */

#include "common/record.h"
#include "milterd/explain-source.h"
#include "milterd/explain.h"
#include "milterd/guard.h"
#include "milterd/script-replay.h"

typedef struct ExplainAlert {
    const Rule *rule;
    Record *record; /* NULL: the rule skips such mails, and there is no alert */
    AlertNotes notes;
    char *message; /* as the room would show it */
} ExplainAlert;

/* An alert that a script makes. */
typedef struct ExplainScriptAlert {
    const char *script;
    Record *record;
    char *message;
} ExplainScriptAlert;

typedef struct Judgement {
    SourcePlace place;
    const RuleSet *rules;
    const ScriptSet *scripts; /* or NULL */
    Mail *mail;
    ScriptReplay replay; /* what the scripts have said */
    ExplainScriptAlert script_alerts[SCRIPT_ALERTS_MAX];
    size_t n_script_alerts;
    GuardFinding guard;                     /* what holds it back; its name NULL: nothing */
    ExplainAlert alerts[RULES_MATCHED_MAX]; /* one for each rule that matched, in their order */
    size_t n_alerts;
} Judgement;

/* The name of what happens to the mail; NULL: no script has a verdict, and no rule matches or a
 * guard holds it back, and it goes its way. */
const char *judgement_verdict(const Judgement *judgement);

/* Whether the rules are asked: a script has not ended it before. */
bool judgement_asks_rules(const Judgement *judgement);

/* 0; -ENOMEM, and -EINVAL for a record that should not be; the first part may be written then. */
int explain_text(const Judgement *judgement, FILE *stream);
int explain_json(const Judgement *judgement, FILE *stream);
int explain_json_failure(const SourcePlace *place, const char *reason, FILE *stream);

/* Counts; begin with {}. */
typedef struct SummaryRow {
    size_t order;     /* place of the rule; behind all of them, what a guard has held back */
    const char *rule; /* its name; NULL: a guard */
    char *what;       /* the profile, or a word for it in brackets; or the guard's name */
    uint64_t mails;
} SummaryRow;

typedef struct Summary {
    SummaryRow *rows;
    size_t n_rows;
    uint64_t mails; /* that could be read */
    uint64_t no_match;
    uint64_t guarded;
    uint64_t by_script;
    uint64_t failures;
} Summary;

int summary_add(Summary *summary, const Judgement *judgement);
void summary_print(Summary *summary, FILE *stream); /* puts the rows in order */
void summary_done(Summary *summary);
