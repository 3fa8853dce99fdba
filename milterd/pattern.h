/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What a value may be compared with: `equal`, `glob`, `regex`, `cidr`, and `not` and lists of them.
 *
 * A thing that is compared may have several values (recipients, a repeated header, a From as a
 * whole and its address) or none. A single comparison matches when any of the values does; `not`
 * when what it holds does not, so with several values none of them may match, and a thing that
 * is missing matches under `not` alone; a list when any of its patterns does.
 *
 * Patterns are compiled once and then only read, by any thread. Each comparison is bounded: of a
 * value longer than PATTERN_VALUE_MAX only so much is looked at, or PATTERN_LONG_MAX where whole
 * texts are compared.
 */

#include "milterd/regex.h"

#define PATTERN_VALUE_MAX 8192 /* bytes of a value that are looked at */
#define PATTERN_LONG_MAX 65536 /* the same for texts */
#define PATTERN_TEXT_MAX 1024  /* bytes of a pattern */
#define PATTERN_REASON_MAX 320

typedef struct Pattern Pattern;

/* `caseless` makes ASCII letters equal in either case. A regex has (?i) for that.
 *
 * In a glob `*` is any text, `?` any one character, and a backslash takes the meaning from the
 * one of them (or the backslash) behind it; the glob must cover the whole value. A cidr is an
 * address, which means itself alone, or address/bits; IPv4-mapped addresses are IPv4 ones.
 *
 * -EINVAL with a reason for a pattern that is wrong; -ENOMEM. */
int pattern_new_equal(const char *text, bool caseless, Pattern **ret,
                      char reason[static PATTERN_REASON_MAX]);
int pattern_new_glob(const char *text, bool caseless, Pattern **ret,
                     char reason[static PATTERN_REASON_MAX]);
int pattern_new_regex(const char *text, Pattern **ret, char reason[static PATTERN_REASON_MAX]);
int pattern_new_cidr(const char *text, Pattern **ret, char reason[static PATTERN_REASON_MAX]);

/* `not` of one pattern, or an empty list; both take patterns by pattern_add_consume(). */
int pattern_new_not(Pattern **ret);
int pattern_new_any(Pattern **ret);
int pattern_add_consume(Pattern *pattern, Pattern *inner); /* frees `inner` when it fails */

/* For texts; of a single comparison, before it is matched. */
void pattern_take_long(Pattern *pattern);

Pattern *pattern_free(Pattern *pattern);
DEFINE_CLEANUP(Pattern *, pattern_free)

/* *ret_gave_up is set where a regex reached its limits, else left; the value and those after it
 * then count as not matching. */
bool pattern_match(const Pattern *pattern, const char *const *values, size_t n_values,
                   bool *ret_gave_up);

/* Whether it matches things for what they are not, as `not` does. */
bool pattern_is_negative(const Pattern *pattern);
/* What comparing tells besides. */
typedef struct PatternSearch {
    size_t *budget; /* steps that all regexes of a mail may cost together, on top of what each may
                     * cost by itself; it is taken from. NULL: no such bound */
    bool gave_up;   /* set where a regex reached a limit */

    /* Takes the groups of a regex that has some and held, not of one below `not`; `spans` is of
     * `text`. 0 or -ENOMEM, which ends up in `error`. NULL: nobody wants them. */
    int (*take)(void *userdata, const Regex *regex, const char *text, const RegexSpans *spans);
    void *userdata;
    int error; /* also -ENOMEM where a regex had too little; what was found then means nothing */
} PatternSearch;

/* The same as pattern_match(). */
bool pattern_search(const Pattern *pattern, const char *const *values, size_t n_values,
                    PatternSearch *search);

/* The regexes in it whose groups can be taken, by `index` from 0 on; NULL: no more. */
const Regex *pattern_regex(const Pattern *pattern, size_t index);

/* As a person would say it: `"a@x"`, `glob "Cron <*"`, `not one of "a", "b"`. NULL for want of
 * memory; the caller frees it. */
char *pattern_describe(const Pattern *pattern);
