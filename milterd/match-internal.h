/* SPDX-License-Identifier: MIT */
#pragma once

/* What match.c and match-parse.c share. */

#include "milterd/match.h"

#include <stdatomic.h>

#include "milterd/pattern.h"

typedef enum MatchField {
    MATCH_CLIENT,
    MATCH_ENVELOPE_FROM,
    MATCH_RCPT,
    MATCH_FROM,
    MATCH_SUBJECT,
    MATCH_HEADER,
    _MATCH_FIELD_MAX,
} MatchField;

typedef struct MatchFieldInfo {
    const char *name;
    MailStage stage; /* the first that knows it whole */
    bool caseless;   /* addresses and names of hosts: ASCII letters in either case */
    bool text;       /* decoded header text: in one line, white space folded */
} MatchFieldInfo;

extern const MatchFieldInfo match_fields[_MATCH_FIELD_MAX];

typedef struct Alternative {
    char *header; /* MATCH_HEADER: the name */
    Pattern *pattern;
} Alternative;

typedef struct Condition {
    MatchField field;
    Alternative *alternatives; /* any of them will do */
    size_t n_alternatives;
} Condition;

struct Match {
    Condition *conditions;
    size_t n_conditions;
    atomic_bool gave_up_said;
};

void condition_done(Condition *condition);
