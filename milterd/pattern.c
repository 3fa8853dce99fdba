/* SPDX-License-Identifier: MIT */

/*
 * A pattern is a small tree: comparisons at the leaves, `not` and lists above them. Who builds
 * it bounds its depth, so walking it may recurse.
 */

#include "milterd/pattern.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "common/text.h"

#define ADDRESS_SIZE 16

typedef enum PatternKind {
    PATTERN_EQUAL,
    PATTERN_GLOB,
    PATTERN_REGEX,
    PATTERN_CIDR,
    PATTERN_NOT,
    PATTERN_ANY,
} PatternKind;

struct Pattern {
    PatternKind kind;
    bool caseless;
    size_t value_max; /* bytes of a value that are looked at */
    char *text;       /* as the configuration has it */
    Regex *regex;
    uint8_t address[ADDRESS_SIZE]; /* IPv4 as IPv4-mapped */
    unsigned bits;
    Pattern **inner;
    size_t n_inner;
};

Pattern *pattern_free(Pattern *pattern)
{
    if (!pattern)
        return NULL;
    for (size_t i = 0; i < pattern->n_inner; i++)
        pattern_free(pattern->inner[i]);
    free(pattern->inner);
    regex_free(pattern->regex);
    free(pattern->text);
    free(pattern);
    return NULL;
}

static int pattern_new(PatternKind kind, const char *text, Pattern **ret, char *reason)
{
    Pattern *pattern;

    if (text && strlen(text) > PATTERN_TEXT_MAX) {
        snprintf(reason, PATTERN_REASON_MAX, "is longer than the %d bytes that are allowed",
                 PATTERN_TEXT_MAX);
        return -EINVAL;
    }
    pattern = calloc(1, sizeof(*pattern));
    if (!pattern)
        return -ENOMEM;
    pattern->kind = kind;
    pattern->value_max = PATTERN_VALUE_MAX;
    if (text) {
        pattern->text = strdup(text);
        if (!pattern->text) {
            free(pattern);
            return -ENOMEM;
        }
    }
    *ret = pattern;
    return 0;
}

int pattern_new_equal(const char *text, bool caseless, Pattern **ret,
                      char reason[static PATTERN_REASON_MAX])
{
    int r = pattern_new(PATTERN_EQUAL, text, ret, reason);

    if (r == 0)
        (*ret)->caseless = caseless;
    return r;
}

int pattern_new_glob(const char *text, bool caseless, Pattern **ret,
                     char reason[static PATTERN_REASON_MAX])
{
    int r = pattern_new(PATTERN_GLOB, text, ret, reason);

    if (r == 0)
        (*ret)->caseless = caseless;
    return r;
}

int pattern_new_regex(const char *text, Pattern **ret, char reason[static PATTERN_REASON_MAX])
{
    _cleanup_(pattern_freep) Pattern *pattern = NULL;
    char why[REGEX_REASON_MAX];
    int r;

    r = pattern_new(PATTERN_REGEX, text, &pattern, reason);
    if (r < 0)
        return r;
    r = regex_new(text, &pattern->regex, why);
    if (r == -EINVAL)
        snprintf(reason, PATTERN_REASON_MAX, "is no regular expression: %s", why);
    if (r < 0)
        return r;
    *ret = steal_ptr(pattern);
    return 0;
}

/* Reads an address; IPv4 becomes IPv4-mapped, so that there is one kind to compare. */
static bool read_address(const char *text, uint8_t address[static ADDRESS_SIZE], bool *ret_v4)
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

    if (inet_pton(AF_INET, text, address + sizeof(mapped)) == 1) {
        memcpy(address, mapped, sizeof(mapped));
        *ret_v4 = true;
        return true;
    }
    *ret_v4 = false;
    return inet_pton(AF_INET6, text, address) == 1;
}

/* Clears what lies behind the first `bits` bits; true when something was set there. */
static bool mask_address(uint8_t address[static ADDRESS_SIZE], unsigned bits)
{
    bool cleared = false;

    for (unsigned i = 0; i < ADDRESS_SIZE; i++) {
        unsigned kept = bits > i * 8 ? MIN(bits - i * 8, 8U) : 0;
        uint8_t masked = address[i] & (uint8_t)(0xff00U >> kept);

        cleared = cleared || masked != address[i];
        address[i] = masked;
    }
    return cleared;
}

static bool read_bits(const char *text, unsigned max, unsigned *ret)
{
    size_t length = strlen(text);
    unsigned bits;

    if (length < 1 || length > 3 || strspn(text, "0123456789") != length ||
        (length > 1 && text[0] == '0'))
        return false;
    bits = (unsigned)strtoul(text, NULL, 10);
    if (bits > max)
        return false;
    *ret = bits;
    return true;
}

int pattern_new_cidr(const char *text, Pattern **ret, char reason[static PATTERN_REASON_MAX])
{
    _cleanup_(pattern_freep) Pattern *pattern = NULL;
    char address[INET6_ADDRSTRLEN], network[INET6_ADDRSTRLEN];
    size_t length = strcspn(text, "/");
    unsigned bits;
    bool v4;
    int r;

    r = pattern_new(PATTERN_CIDR, text, &pattern, reason);
    if (r < 0)
        return r;

    snprintf(address, sizeof(address), "%.*s", (int)MIN(length, sizeof(address)), text);
    if (length >= sizeof(address) || !read_address(address, pattern->address, &v4)) {
        snprintf(reason, PATTERN_REASON_MAX,
                 "is no address; it must be one such as 10.1.2.3, 10.0.0.0/8 or 2001:db8::/32");
        return -EINVAL;
    }
    bits = v4 ? 32 : 128;
    if (text[length] == '/' && !read_bits(text + length + 1, bits, &bits)) {
        snprintf(reason, PATTERN_REASON_MAX, "has no valid prefix length; allowed are 0 to %u",
                 bits);
        return -EINVAL;
    }
    pattern->bits = v4 ? bits + 96 : bits;
    if (mask_address(pattern->address, pattern->bits)) {
        inet_ntop(v4 ? AF_INET : AF_INET6, pattern->address + (v4 ? 12 : 0), network,
                  sizeof(network));
        snprintf(reason, PATTERN_REASON_MAX, "has bits set behind its prefix; the network is %s/%u",
                 network, bits);
        return -EINVAL;
    }
    *ret = steal_ptr(pattern);
    return 0;
}

int pattern_new_not(Pattern **ret)
{
    return pattern_new(PATTERN_NOT, NULL, ret, NULL);
}

int pattern_new_any(Pattern **ret)
{
    return pattern_new(PATTERN_ANY, NULL, ret, NULL);
}

int pattern_add_consume(Pattern *pattern, Pattern *inner)
{
    Pattern **items = reallocarray(pattern->inner, pattern->n_inner + 1, sizeof(*items));

    if (!items) {
        pattern_free(inner);
        return -ENOMEM;
    }
    pattern->inner = items;
    pattern->inner[pattern->n_inner++] = inner;
    return 0;
}

void pattern_take_long(Pattern *pattern)
{
    pattern->value_max = PATTERN_LONG_MAX;
    if (pattern->regex)
        regex_take_long(pattern->regex);
}

static unsigned char fold(char c, bool caseless)
{
    return (unsigned char)(caseless && c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

static bool match_equal(const Pattern *pattern, const char *value, size_t size)
{
    if (strlen(pattern->text) != size)
        return false;
    for (size_t i = 0; i < size; i++)
        if (fold(pattern->text[i], pattern->caseless) != fold(value[i], pattern->caseless))
            return false;
    return true;
}

/* The bytes of the character at `value`; a broken one has a single byte. */
static size_t step(const char *value, size_t left)
{
    return MAX(utf8_sequence(value, left), (size_t)1);
}

/* Only the last `*` is ever tried again, one character longer each time: what an earlier one
 * could swallow instead, the later one can as well. So it costs pattern times value at most. */
static bool match_glob(const Pattern *pattern, const char *value, size_t size)
{
    const char *glob = pattern->text, *after_star = NULL;
    size_t at = 0, star_at = 0;

    for (;;) {
        if (*glob == '*') {
            after_star = ++glob;
            star_at = at;
            continue;
        }
        if (at == size && *glob == '\0')
            return true;
        if (at < size && *glob == '?') {
            glob++;
            at += step(value + at, size - at);
            continue;
        }
        if (at < size && *glob) {
            size_t escape = glob[0] == '\\' && glob[1] && strchr("*?\\", glob[1]) ? 1 : 0;

            if (fold(glob[escape], pattern->caseless) == fold(value[at], pattern->caseless)) {
                glob += escape + 1;
                at++;
                continue;
            }
        }
        if (!after_star || star_at >= size)
            return false;
        star_at += step(value + star_at, size - star_at);
        at = star_at;
        glob = after_star;
    }
}

static bool match_cidr(const Pattern *pattern, const char *value)
{
    uint8_t address[ADDRESS_SIZE];
    bool v4;

    if (!read_address(value, address, &v4))
        return false;
    mask_address(address, pattern->bits);
    return memcmp(address, pattern->address, ADDRESS_SIZE) == 0;
}

static RegexResult match_regex(const Pattern *pattern, const char *value, size_t size,
                               size_t *budget, PatternSearch *search, bool below_not)
{
    /* Half of what is left: one that runs wild leaves something to those behind it. */
    size_t granted = search->budget ? MIN(*budget, *search->budget / 2) : *budget, left = granted;
    RegexResult result;

    if (search->take && !below_not && regex_n_groups(pattern->regex) > 0) {
        RegexSpans spans;

        result = regex_search_groups(pattern->regex, value, size, 0, &left, &spans);
        if (result == REGEX_MATCH && search->error == 0)
            search->error = search->take(search->userdata, pattern->regex, value, &spans);
    } else {
        result = regex_search(pattern->regex, value, size, &left);
    }
    *budget -= granted - left;
    if (search->budget)
        *search->budget -= granted - left;
    return result;
}

static RegexResult match_value(const Pattern *pattern, const char *value, size_t *budget,
                               PatternSearch *search, bool below_not)
{
    size_t size = strnlen(value, pattern->value_max);
    bool matches;

    switch (pattern->kind) {
    case PATTERN_EQUAL:
        matches = match_equal(pattern, value, size);
        break;
    case PATTERN_GLOB:
        matches = match_glob(pattern, value, size);
        break;
    case PATTERN_CIDR:
        matches = match_cidr(pattern, value);
        break;
    default:
        return match_regex(pattern, value, size, budget, search, below_not);
    }
    return matches ? REGEX_MATCH : REGEX_NO_MATCH;
}

static bool search_values(const Pattern *pattern, const char *const *values, size_t n_values,
                          PatternSearch *search, bool below_not)
{
    size_t budget = REGEX_BUDGET;
    bool inverted = pattern->kind == PATTERN_NOT;

    if (pattern->kind == PATTERN_NOT || pattern->kind == PATTERN_ANY) {
        for (size_t i = 0; i < pattern->n_inner; i++)
            if (search_values(pattern->inner[i], values, n_values, search, below_not || inverted))
                return !inverted;
        return inverted;
    }
    for (size_t i = 0; i < n_values; i++)
        switch (match_value(pattern, values[i], &budget, search, below_not)) {
        case REGEX_MATCH:
            return true;
        case REGEX_NO_MATCH:
            break;
        case REGEX_GAVE_UP:
            /* One is enough: a mail may bring a thousand values, each made to cost all it can. */
            search->gave_up = true;
            return false;
        case REGEX_NO_MEMORY:
            search->error = -ENOMEM;
            return false;
        }
    return false;
}

bool pattern_is_negative(const Pattern *pattern)
{
    if (pattern->kind == PATTERN_ANY)
        for (size_t i = 0; i < pattern->n_inner; i++)
            if (pattern_is_negative(pattern->inner[i]))
                return true;
    return pattern->kind == PATTERN_NOT;
}

bool pattern_search(const Pattern *pattern, const char *const *values, size_t n_values,
                    PatternSearch *search)
{
    return search_values(pattern, values, n_values, search, false);
}

bool pattern_match(const Pattern *pattern, const char *const *values, size_t n_values,
                   bool *ret_gave_up)
{
    PatternSearch search = {};
    bool matches = pattern_search(pattern, values, n_values, &search);

    if (search.gave_up)
        *ret_gave_up = true;
    return matches;
}

static const Regex *nth_regex(const Pattern *pattern, size_t *index)
{
    if (pattern->regex)
        return (*index)-- == 0 ? pattern->regex : NULL;
    for (size_t i = 0; pattern->kind == PATTERN_ANY && i < pattern->n_inner; i++) {
        const Regex *regex = nth_regex(pattern->inner[i], index);

        if (regex)
            return regex;
    }
    return NULL;
}

const Regex *pattern_regex(const Pattern *pattern, size_t index)
{
    return nth_regex(pattern, &index);
}

static void describe(const Pattern *pattern, FILE *stream)
{
    static const char *const signs[] = {
        [PATTERN_EQUAL] = "",     [PATTERN_GLOB] = "glob ", [PATTERN_REGEX] = "regex ",
        [PATTERN_CIDR] = "cidr ", [PATTERN_NOT] = "not ",   [PATTERN_ANY] = "one of ",
    };

    fputs(pattern->kind == PATTERN_ANY && pattern->n_inner == 1 ? "" : signs[pattern->kind],
          stream);
    if (pattern->text)
        fprintf(stream, "\"%s\"", pattern->text);
    for (size_t i = 0; i < pattern->n_inner; i++) {
        fputs(i > 0 ? ", " : "", stream);
        describe(pattern->inner[i], stream);
    }
}

char *pattern_describe(const Pattern *pattern)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    bool failed;

    if (!stream)
        return NULL;
    describe(pattern, stream);
    failed = ferror(stream);
    if (fclose(stream) != 0 || failed) {
        free(text);
        return NULL;
    }
    return text;
}
