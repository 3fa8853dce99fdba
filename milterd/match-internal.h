/* SPDX-License-Identifier: MIT */
#pragma once

/* What match.c and match-parse.c share. */

#include "milterd/match.h"

#include <stdatomic.h>

typedef enum MatchField {
    MATCH_CLIENT,
    MATCH_CLIENT_NAME,
    MATCH_HELO,
    MATCH_AUTH,
    MATCH_ENVELOPE_FROM,
    MATCH_RCPT,
    MATCH_FROM,
    MATCH_SUBJECT,
    MATCH_HEADER,
    MATCH_BODY,
    MATCH_MACRO,
    _MATCH_FIELD_MAX,
    MATCH_VALUE = _MATCH_FIELD_MAX, /* no field of a mail: some value that is at hand */
} MatchField;

typedef struct MatchFieldInfo {
    const char *name;
    MailStage stage; /* the first that knows it whole; of a macro its name says more */
    bool caseless;   /* addresses and names of hosts: ASCII letters in either case */
    bool named;      /* its groups have a `name` */
    bool text;       /* decoded header text: in one line, white space folded */
} MatchFieldInfo;

extern const MatchFieldInfo match_fields[_MATCH_FIELD_MAX + 1];

typedef struct Alternative {
    char *name; /* of the header or macro; NULL for other fields */
    Pattern *pattern;
} Alternative;

typedef struct Condition {
    MatchField field;
    MailStage stage;           /* that decides it */
    Alternative *alternatives; /* any of them will do */
    size_t n_alternatives;
} Condition;

struct Match {
    Condition *conditions;
    size_t n_conditions;
    atomic_bool gave_up_said;
};

void condition_done(Condition *condition);
