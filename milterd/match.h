/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The `match` of a rule: conditions on fields of a mail, all of which must hold.
 */

#include "common/config.h"
#include "milterd/mail.h"

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
 * `rule` names the rule in the log, once for each match, when a regex reaches its limits. */
int match_look(const Match *match, MatchInput *input, MailStage first, MailStage last,
               const char *rule);

/* Each condition and whether it holds, for people, a line each. The caller frees it. -ENOMEM. */
int match_explain(const Match *match, Mail *mail, bool *ret_matches, char **ret_lines);
