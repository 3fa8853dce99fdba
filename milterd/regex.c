/* SPDX-License-Identifier: MIT */

/*
 * PCRE2's interpreter, without its just-in-time compiler: values are short, and a service that
 * may not have memory both written and executed behaves as any other. The compiled code and the
 * limits are only read after regex_new(); each search has match data of its own.
 */

#include "milterd/regex.h"

#include <stdio.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* PCRE2 counts its steps anew at each place of the text where a match may begin, so its own limits
 * allow minutes for the 8 KB that a pattern looks at. Ours counts those of a whole mail, by the
 * callouts that are compiled into the pattern: less than a tenth of a second's worth. What is
 * repeated, as "[^x]+", is one step however far it goes; so the way through the text counts too. */
#define BYTES_PER_STEP 16
#define MATCH_LIMIT 100000
#define DEPTH_LIMIT 50000
#define HEAP_LIMIT_KIB 8192
#define LONG_FACTOR 8 /* for texts that are so much longer */
#define PARENS_NEST_LIMIT 100

struct Regex {
    pcre2_code *code;
    pcre2_match_context *limits;
};

static int compile(const char *pattern, pcre2_code **ret, char reason[static REGEX_REASON_MAX])
{
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    char message[REGEX_REASON_MAX - 64];
    pcre2_code *code;
    PCRE2_SIZE offset;
    int error;

    if (!context)
        return -ENOMEM;
    pcre2_set_parens_nest_limit(context, PARENS_NEST_LIMIT);
    code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                         PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C |
                             PCRE2_AUTO_CALLOUT,
                         &error, &offset, context);
    pcre2_compile_context_free(context);
    if (!code) {
        if (error == PCRE2_ERROR_HEAP_FAILED)
            return -ENOMEM;
        pcre2_get_error_message(error, (PCRE2_UCHAR *)message, sizeof(message));
        snprintf(reason, REGEX_REASON_MAX, "%s, at offset %zu", message, (size_t)offset);
        return -EINVAL;
    }
    *ret = code;
    return 0;
}

int regex_new(const char *pattern, Regex **ret, char reason[static REGEX_REASON_MAX])
{
    Regex *regex = calloc(1, sizeof(*regex));
    int r;

    if (!regex)
        return -ENOMEM;
    r = compile(pattern, &regex->code, reason);
    if (r == 0) {
        regex->limits = pcre2_match_context_create(NULL);
        if (!regex->limits)
            r = -ENOMEM;
    }
    if (r < 0) {
        regex_free(regex);
        return r;
    }
    pcre2_set_match_limit(regex->limits, MATCH_LIMIT);
    pcre2_set_depth_limit(regex->limits, DEPTH_LIMIT);
    pcre2_set_heap_limit(regex->limits, HEAP_LIMIT_KIB);
    *ret = regex;
    return 0;
}

void regex_take_long(Regex *regex)
{
    pcre2_set_match_limit(regex->limits, MATCH_LIMIT * LONG_FACTOR);
    pcre2_set_depth_limit(regex->limits, DEPTH_LIMIT * LONG_FACTOR);
    pcre2_set_heap_limit(regex->limits, HEAP_LIMIT_KIB * LONG_FACTOR);
}

Regex *regex_free(Regex *regex)
{
    if (!regex)
        return NULL;
    pcre2_code_free(regex->code);
    pcre2_match_context_free(regex->limits);
    free(regex);
    return NULL;
}

/* How a search gets on. */
typedef struct Progress {
    size_t *budget;
    size_t at; /* in the text, at the last step */
} Progress;

static int on_step(pcre2_callout_block *block, void *userdata)
{
    Progress *progress = userdata;
    size_t at = block->current_position,
           way = at > progress->at ? at - progress->at : progress->at - at,
           cost = 1 + way / BYTES_PER_STEP;

    progress->at = at;
    if (*progress->budget < cost) {
        *progress->budget = 0;
        return PCRE2_ERROR_CALLOUT;
    }
    *progress->budget -= cost;
    return 0;
}

static RegexResult search(const Regex *regex, const char *text, size_t size, size_t offset,
                          size_t *budget, pcre2_match_data *data)
{
    /* Of this search's own: others search with the same Regex meanwhile. */
    pcre2_match_context *limits = pcre2_match_context_copy(regex->limits);
    Progress progress = { budget, offset };
    int r = PCRE2_ERROR_NOMEMORY;

    if (limits && data) {
        pcre2_set_callout(limits, on_step, &progress);
        r = pcre2_match(regex->code, (PCRE2_SPTR)text, size, offset, 0, data, limits);
    }
    pcre2_match_context_free(limits);
    if (r >= 0)
        return REGEX_MATCH;
    if (r == PCRE2_ERROR_NOMEMORY)
        return REGEX_NO_MEMORY;
    return r == PCRE2_ERROR_NOMATCH ? REGEX_NO_MATCH : REGEX_GAVE_UP;
}

RegexResult regex_search(const Regex *regex, const char *text, size_t size, size_t *budget)
{
    pcre2_match_data *data = pcre2_match_data_create(1, NULL); /* groups are of no interest */
    RegexResult result = search(regex, text, size, 0, budget, data);

    pcre2_match_data_free(data);
    return result;
}

RegexResult regex_search_groups(const Regex *regex, const char *text, size_t size, size_t offset,
                                size_t *budget, RegexSpans *ret)
{
    pcre2_match_data *data = pcre2_match_data_create_from_pattern(regex->code, NULL);
    RegexResult result = search(regex, text, size, offset, budget, data);

    if (result == REGEX_MATCH) {
        const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(data);
        size_t n = MIN((size_t)pcre2_get_ovector_count(data), ELEMENTSOF(ret->items));

        *ret = (RegexSpans){};
        for (size_t i = 0; i < n; i++) {
            size_t start = ends[2 * i], end = ends[2 * i + 1];

            /* With \\K in a lookahead a match may end before it begins. */
            if (start != PCRE2_UNSET && start <= end && end <= size)
                ret->items[i] = (RegexSpan){ start, end - start, true };
        }
    }
    pcre2_match_data_free(data);
    return result;
}

static uint32_t info(const Regex *regex, uint32_t what)
{
    uint32_t value = 0;

    pcre2_pattern_info(regex->code, what, &value);
    return value;
}

size_t regex_n_groups(const Regex *regex)
{
    return info(regex, PCRE2_INFO_CAPTURECOUNT);
}

const char *regex_group_name(const Regex *regex, size_t index, size_t *ret_group)
{
    PCRE2_SPTR table;

    if (index >= info(regex, PCRE2_INFO_NAMECOUNT) ||
        pcre2_pattern_info(regex->code, PCRE2_INFO_NAMETABLE, &table) != 0)
        return NULL;
    /* Each entry: the group's number in two bytes, then its name. */
    table += index * info(regex, PCRE2_INFO_NAMEENTRYSIZE);
    *ret_group = (size_t)table[0] << 8 | table[1];
    return (const char *)table + 2;
}
