/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The `match` of a rule: conditions on fields of a mail, all of which must hold.
 */

#include "common/config.h"
#include "milterd/pattern.h"
#include "milterd/variables.h"

typedef struct Match Match;

/* What several matches read of the same mail, made once: the senders that its From names. Begin
 * with {} and the mail, end with match_input_done(); it must not outlive the mail's headers. */
typedef struct MatchInput {
    Mail *mail;
    const char **from; /* the whole header, then each address in it; all From headers */
    size_t n_from;
    char **from_addresses; /* those of `from` that are ours to free */
    size_t n_from_addresses;
    bool from_known;
    size_t *budget;    /* of all regexes together (pattern.h); NULL: no such bound */
    const char *owner; /* what the log calls those that match; NULL: "rule" */
} MatchInput;

void match_input_done(MatchInput *input);

/* A parser for CONFIG_CUSTOM; `target` is a Match *. Reports all that is wrong. */
int match_parse(ConfigFile *file, const ConfigNode *node, void *target);
Match *match_free(Match *match);

/* Names of macros, as in the protocol, that the match looks at; they belong to it. *index begins
 * with 0 and is advanced; NULL: no more of them. The same name may come twice. */
const char *match_next_macro(const Match *match, size_t *index);

/* Whether some condition demands what the MTA vouches for: an address or a name of the client, a
 * login, a macro. All else is written by the sender. */
bool match_demands_origin(const Match *match);

/* Whether there is a condition that `stage` decides; the earliest and the latest stage of one. */
bool match_decides_at(const Match *match, MailStage stage);
MailStage match_first_stage(const Match *match);
MailStage match_last_stage(const Match *match);

typedef enum MatchResult {
    MATCH_FAILS, /* some condition does not hold */
    MATCH_OPEN,  /* nothing speaks against it so far; after the last stage: it matches */
} MatchResult;

/* Looks at the conditions that stages `first` to `last` decide: a MatchResult, or -ENOMEM.
 * `name` names the owner in the log, once for each match, when a regex reaches its limits. */
int match_look(const Match *match, MatchInput *input, MailStage first, MailStage last,
               const char *name);

/* Takes the groups of the regexes of a match that holds. -ENOMEM. */
int match_take(const Match *match, MatchInput *input, Variables *variables);

/* Adds the names of the groups that it may take; *ret_taken as variables_add_groups() has it. */
int match_add_names(const Match *match, bool in_rule, Names *names, const char **ret_taken);

/* How many groups at most a regex in it has whose groups may be taken. */
size_t match_n_groups(const Match *match);

/* What a value of any kind may be compared with, ASCII letters equal in either case. 0; -EINVAL
 * when what is wrong has been reported; -ENOMEM. */
int match_parse_value(ConfigFile *file, const ConfigNode *node, Pattern **ret);

/* Each condition and whether it holds, for people, a line each. The caller frees it. -ENOMEM. */
int match_explain(const Match *match, Mail *mail, bool *ret_matches, char **ret_lines);
