/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What no alert may show: passwords, tokens, keys. They are replaced by "[redacted]" before
 * anything leaves, wherever an alert has text that comes from a mail.
 *
 * What could not be looked through within its bounds is withheld, never shown unchecked.
 */

#include "common/config.h"
#include "common/record.h"

#define REDACT_PATTERNS_MAX 64 /* of the configuration */

/* An item of the list `redact`. */
typedef struct RedactRule {
    char *name;
    char *regex;
} RedactRule;

extern const ConfigKey redact_keys[];

/* The check of the list as a whole, for ConfigKey.parse. */
int redact_check(ConfigFile *file, const ConfigNode *node, void *target);

/* All patterns, compiled; only read, by all threads at once. */
typedef struct Redaction Redaction;

/* The built-in ones and those of `own`, items RedactRule that are good, or NULL. -ENOMEM. */
int redaction_new(const ConfigItems *own, Redaction **ret);
Redaction *redaction_free(Redaction *redaction);
DEFINE_CLEANUP(Redaction *, redaction_free)

/* For one alert. Begin with redactor_begin(); end with redactor_done(). */
typedef struct Redactor {
    const Redaction *redaction;
    size_t budget; /* steps of regexes that are left */
    char *notes;   /* "password: 2 in text", a line for each pattern and place; NULL: nothing */
    unsigned n;    /* how much was hidden */
    bool withheld; /* a limit was reached */
} Redactor;

void redactor_begin(Redactor *redactor, const Redaction *redaction); /* NULL: nothing is hidden */
void redactor_done(Redactor *redactor);

/* Title, key, fields and text, which are clean. Of the text, from which at most `shown_bytes` will
 * be shown, no more is looked through than that takes; *ret_cut is set where what lies behind was
 * dropped, else left. -ENOMEM. */
int redact_record(Redactor *redactor, Record *record, size_t shown_bytes, bool *ret_cut);

/* A single value of a field, on the heap. -ENOMEM. */
int redact_field(Redactor *redactor, const char *name, char **value);
