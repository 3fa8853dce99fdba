/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Rules: which mails become alerts, where they go, what happens to the mail.
 *
 * A rule set is compiled once, before the workers start, and only read after that, by all
 * threads at once. A RuleState is what one mail has left of it: at each stage the rules that
 * can't match any more are struck out, and so are those behind one that has matched for good;
 * once none is left the rest of the mail need not be seen at all.
 */

#include "common/config.h"
#include "milterd/profiles.h"

typedef enum Verdict {
    VERDICT_CONTINUE,
    VERDICT_ACCEPT,
    VERDICT_DISCARD,
    VERDICT_REJECT,
    VERDICT_TEMPFAIL,
    VERDICT_QUARANTINE,
} Verdict;

extern const char *const verdict_names[]; /* NULL at the end */

typedef struct Trust Trust; /* the `trust` of a rule (trust.h) */

typedef struct Rule {
    char *name;
    Match *match;
    Trust *trust;     /* NULL: any sender's mail will do */
    ConfigStrings to; /* empty: the relay's default destination */
    int verdict;      /* Verdict */
    bool next;        /* when it matches, the rules behind it are looked at too */
    bool skip;        /* a mail that it matches is no alert of this rule, or of those behind it */

    /* How the alert is made: the profile reads the mail, `read` and `set` change what it has
     * read, and `message` says it all in other words. */
    char *profile; /* a name, "auto" or "plain"; NULL in a rule made by hand: "auto" */
    Readings read;
    Set set;
    Template *message; /* or NULL */
    Names uses;        /* all names in these */
    Names macros;      /* of macros among them, as in the protocol */
    atomic_bool gave_up_said;

    int64_t max_lines;
    uint64_t max_bytes;
} Rule;

#define RULES_MAX 1024
#define RULE_DESTINATIONS_MAX 32
#define RULES_MATCHED_MAX 64 /* that one mail can match: all that say `next`, and another one */

extern const ConfigKey rule_keys[]; /* for the list `rules` */
void rule_free(void *rule);

/* The rules as the configuration read them; the items are Rule. */
typedef ConfigItems RuleSet;

/* The check of the list `rules` as a whole, for ConfigKey.parse: what no rule can tell alone. */
int rules_check(ConfigFile *file, const ConfigNode *node, void *target);

/* Reports profiles, variables and groups that rules name and that are not there. `file` is where
 * the rules were read from, without errors so far. 0 or -ENOMEM. */
int rules_resolve(const RuleSet *rules, const Profiles *profiles, ConfigFile *file);

/* The latest stage that any rule looks at, and whether a mail may drop out at a stage: that is
 * when some rule looks at what this stage has made known, and every rule has looked at something
 * by then. What the worker negotiates with the MTA follows from them. */
MailStage rules_last_stage(const RuleSet *rules);
bool rules_decide_at(const RuleSet *rules, MailStage stage);

/* Whether some rule looks at what this stage has made known; and whether one that makes an alert
 * says something by this name. */
bool rules_look_at(const RuleSet *rules, MailStage stage);
bool rules_use(const RuleSet *rules, const char *name);

/* The macros that rules look at or name, each once, as they are called in the protocol. The names
 * belong to the rules. */
size_t rules_macros(const RuleSet *rules, const char *names[static MAIL_MACROS_MAX]);

/* The same before they are checked; those that have no room are counted as well. */
size_t rules_collect_macros(const RuleSet *rules, const char *names[static MAIL_MACROS_MAX]);

/* Puts another name to the `n` that are there, unless it is one of them. Returns how many there
 * are then; what has no room is counted only. */
size_t macros_collect(const char *name, const char *names[static MAIL_MACROS_MAX], size_t n);

/* Plain data: it may be copied, to look at what belongs to the connection only once. */
typedef struct RuleState {
    const RuleSet *rules;
    unsigned looked;               /* the first MailStage that was not looked at */
    uint8_t struck[RULES_MAX / 8]; /* a bit for each rule that can't match any more */
} RuleState;

void rules_begin(RuleState *state, const RuleSet *rules);

/* Looks at all that stages up to `stage` have made known and that was not looked at before. 1, or
 * 0 when no rule can match any more. -ENOMEM: it is as if not called, and may be tried again; a
 * mail that it can't be called for must be put off. */
int rules_look(RuleState *state, Mail *mail, MailStage stage);

/* After rules_look(): whether a rule has matched that lets the mail go its way without an alert,
 * whatever is still to come of it. */
bool rules_let_pass(const RuleState *state);

/* After MAIL_STAGE_MESSAGE: the rules that matched, in their order, up to the first that doesn't
 * say `next`. How many; the last of them has the verdict. */
size_t rules_result(const RuleState *state, const Rule *matched[static RULES_MATCHED_MAX]);

/* The conditions of a rule and how each fares with a mail, for people, a line each:
 * `from: "x@y" does not match "nms@nms.example.org"`. The caller frees them. -ENOMEM. */
int rule_explain(const Rule *rule, Mail *mail, bool *ret_matches, char **ret_lines);
