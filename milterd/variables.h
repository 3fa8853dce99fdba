/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What templates can name: values that every mail has or may have, variables that regexes have
 * taken out of it, and in a rule what its alert says so far.
 */

#include "common/record.h"
#include "milterd/macro.h"
#include "milterd/mail.h"
#include "milterd/names.h"
#include "milterd/regex.h"

#define VARIABLE_NAME_MAX 128 /* bytes, "header:" and the like included */

typedef struct Variable {
    char *name;
    char *value; /* clean, not empty */
} Variable;

/* Begin with {} and a mail, which must outlive it, end with variables_done(). */
typedef struct Variables {
    Mail *mail;

    /* In a rule: what its names are looked up in besides; NULL else. */
    const Record *record;
    const char *profile; /* or NULL */
    const char *rule;

    Variable *items; /* that were taken; then what was computed of the mail */
    size_t n;
    size_t bytes;
    char *groups[10]; /* 1 to 9, of the first regex that has groups */
    bool groups_taken;

    bool gave_up; /* a regex that was to take or to choose something reached its limits */
} Variables;

void variables_done(Variables *variables);

/* Takes the named groups of a regex, and if it is the first the numbered ones. White space around
 * a value goes, but for the indentation of text with several lines; what is empty then is no
 * value, and a variable that has a value keeps it. The signature is PatternSearch's. -ENOMEM. */
int variables_take(void *variables, const Regex *regex, const char *text, const RegexSpans *spans);

/* The value of a variable or of what templates call otherwise; it belongs to the variables or the
 * mail, until either changes. NULL: it has none. -ENOMEM. */
int variables_get(Variables *variables, const char *name, const char **ret);

/* Whether all templates can name this: one of the fixed names, header:NAME, macro:NAME; and
 * whether only those of rules can. */
bool variables_is_of_mail(const char *name);
bool variables_is_of_rule(const char *name);

/* Adds the fixed names that all templates, or those of rules, can name. -ENOMEM. */
int variables_add_names(bool in_rule, Names *names);

/* Adds the names of the regex's groups. *ret_taken is set to one that may not be used, since it is
 * the name of something else already, and left else; it belongs to the regex. -ENOMEM. */
int variables_add_groups(const Regex *regex, bool in_rule, Names *names, const char **ret_taken);

/* "subject, body, …", for errors. */
extern const char variables_of_mail[];
extern const char variables_of_rule[];

/* The macro's name, as in the protocol, in "macro:NAME"; false: it is another kind of name. */
bool variables_macro(const char *name, char ret[static MACRO_NAME_SIZE]);
