/* SPDX-License-Identifier: MIT */
#pragma once

/* What redact.c, redaction.c and the table of redact-patterns.c share. */

#include "milterd/redact.h"

#include <stdatomic.h>

#include "milterd/regex.h"

#define REDACT_NEEDLES_MAX 16

typedef enum RedactReach {
    REDACT_IN_LINE, /* each match lies within a line */
    REDACT_OVER_LINES,
} RedactReach;

typedef struct RedactBuiltin {
    const char *name;
    RedactReach reach;
    const char *regex;
    const char *needles[REDACT_NEEDLES_MAX]; /* each match has one of them in it or in its line, in
                                              * either case; here in lower case, then NULL */
} RedactBuiltin;

extern const RedactBuiltin redact_builtins[]; /* ends with {} */

/* The group that is hidden; without it the whole match is. */
#define REDACT_GROUP "secret"

typedef struct RedactPattern {
    const char *name; /* the table's, or the configuration's */
    Regex *regex;
    const RedactBuiltin *builtin; /* NULL: of the configuration */
    atomic_bool limit_said;
} RedactPattern;

struct Redaction {
    RedactPattern *patterns;
    size_t n;
};
