/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Regular expressions: the adapter of PCRE2.
 *
 * A Regex is compiled once and matched by many threads at once. Matching is bounded in steps and
 * memory whatever pattern and text are; what exceeds the bounds counts as not matching.
 */

#include "common/util.h"

typedef struct Regex Regex;

#define REGEX_REASON_MAX 256

/* Syntax is Perl's on UTF-8, the case is heeded unless the pattern says (?i). -ENOMEM, or -EINVAL
 * with what PCRE2 says and where. */
int regex_new(const char *pattern, Regex **ret, char reason[static REGEX_REASON_MAX]);
Regex *regex_free(Regex *regex);

/* Raises the bounds, for texts of some 64 KB; before it is matched. */
void regex_take_long(Regex *regex);

typedef enum RegexResult {
    REGEX_NO_MATCH,
    REGEX_MATCH,
    REGEX_GAVE_UP,   /* a limit was reached */
    REGEX_NO_MEMORY, /* not the mail's fault: another time it may work */
} RegexResult;

/* How many steps the texts of one mail may cost together; deterministic, so that a mail that is
 * tried again is read as before. */
#define REGEX_BUDGET ((size_t)5000000)

/* Takes what it costs from *budget. Broken UTF-8 in the text matches nothing, the rest of it is
 * searched all the same. */
RegexResult regex_search(const Regex *regex, const char *text, size_t size, size_t *budget);

#define REGEX_GROUPS_MAX 64 /* groups in parentheses that are told; others match all the same */

typedef struct RegexSpan {
    size_t start, size;
    bool set; /* the group took part */
} RegexSpan;

typedef struct RegexSpans {
    RegexSpan items[REGEX_GROUPS_MAX + 1]; /* 0 is the whole match, then each group */
} RegexSpans;

/* The same, from `offset` on, and tells where. */
RegexResult regex_search_groups(const Regex *regex, const char *text, size_t size, size_t offset,
                                size_t *budget, RegexSpans *ret);

size_t regex_n_groups(const Regex *regex); /* the whole match is none */

/* The named groups, by `index` from 0 on; NULL: no more. A name may come twice. It belongs to
 * the regex. */
const char *regex_group_name(const Regex *regex, size_t index, size_t *ret_group);
