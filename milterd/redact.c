/* SPDX-License-Identifier: MIT */

/*
 * Pattern by pattern over a value, each over what those before it have left. A pattern that would
 * hide what is hidden already counts for nothing.
 *
 * Of a long text only as much is looked through as may be shown: what hides most of it may bring
 * more into view, so the window is wider than that. What lies behind the window stays, as it is,
 * only where it can't come into view; it is counted there, and else dropped.
 */

#include "milterd/redact-internal.h"

#include <stdio.h>

#include "common/log.h"
#include "common/text.h"
#include "milterd/regex.h"

#define HIDDEN "[redacted]"
#define WITHHELD_TEXT "(text withheld: a redact pattern reached its limits)"
#define WITHHELD_TITLE "(title withheld: a redact pattern reached its limits)"
#define WITHHELD_FIELD "(withheld)"

#define HITS_MAX 1000            /* of one pattern in one value */
#define WINDOW_EXTRA_BYTES 16384 /* beyond twice of what may be shown */
#define EDGE_BYTES 1024          /* at the end of a window: a secret may be cut in two there */
#define SHORT_MAX_BYTES 8192     /* of a title or a field; a part of that is shown */

/* A value */

void redactor_begin(Redactor *redactor, const Redaction *redaction)
{
    *redactor = (Redactor){ .redaction = redaction, .budget = REGEX_BUDGET };
}

void redactor_done(Redactor *redactor)
{
    free(redactor->notes);
    *redactor = (Redactor){};
}

/* Looking for needles is much cheaper than matching; so a pattern is asked only about the lines
 * that hold one of its own, or about all of the text where it spans lines. */
typedef struct Haystack {
    const char *text; /* in lower case */
    const char *const *needles;
    const char *next[REDACT_NEEDLES_MAX]; /* where each comes next; NULL: nowhere */
} Haystack;

static void haystack_begin(Haystack *haystack, const char *text, const char *const *needles)
{
    *haystack = (Haystack){ text, needles, {} };
    for (size_t i = 0; i < REDACT_NEEDLES_MAX && needles[i]; i++)
        haystack->next[i] = strstr(text, needles[i]);
}

/* Where the first needle from `at` on begins, or NULL. */
static const char *haystack_find(Haystack *haystack, const char *at)
{
    const char *first = NULL;

    for (size_t i = 0; i < REDACT_NEEDLES_MAX && haystack->needles[i]; i++) {
        if (haystack->next[i] && haystack->next[i] < at)
            haystack->next[i] = strstr(at, haystack->needles[i]);
        if (haystack->next[i] && (!first || haystack->next[i] < first))
            first = haystack->next[i];
    }
    return first;
}

static char *lower_dup(const char *text)
{
    char *lower = strdup(text);

    for (char *c = lower; c && *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c += 'a' - 'A';
    return lower;
}

/* What a match hides: the group that is called so, or all of it. */
static RegexSpan secret_of(const Regex *regex, const RegexSpans *spans)
{
    const char *name;
    size_t group;

    for (size_t i = 0; (name = regex_group_name(regex, i, &group)); i++)
        if (streq(name, REDACT_GROUP) && group < ELEMENTSOF(spans->items) &&
            spans->items[group].set)
            return spans->items[group];
    return spans->items[0];
}

static bool is_hidden(const char *text, RegexSpan span)
{
    return span.size == 0 ||
           (span.size >= strlen(HIDDEN) && memcmp(text + span.start, HIDDEN, strlen(HIDDEN)) == 0);
}

static int note(Redactor *redactor, const char *name, unsigned n, const char *where)
{
    char *notes;

    if (asprintf(&notes, "%s%s: %u in %s\n", redactor->notes ? redactor->notes : "", name, n,
                 where) < 0)
        return -ENOMEM;
    free(redactor->notes);
    redactor->notes = notes;
    redactor->n += n;
    return 0;
}

typedef enum Outcome {
    CHECKED,
    WITHHELD, /* a limit was reached: nothing is known of what is left */
} Outcome;

/* What one pattern makes of a text. */
typedef struct Work {
    const RedactPattern *pattern;
    const char *text;
    size_t *budget;
    FILE *stream;
    size_t written; /* bytes of the text that are in the stream, hidden or not */
    size_t hits;
    unsigned n; /* of them that hid something */
} Work;

/* Writes what lies before the last match between two places of the text, with what is to be hidden
 * replaced. An Outcome, or -ENOMEM. */
static int hide_between(Work *work, size_t start, size_t end)
{
    const char *text = work->text + start;
    size_t size = end - start, at = 0;

    while (at <= size) {
        RegexSpans spans;
        RegexResult result =
            regex_search_groups(work->pattern->regex, text, size, at, work->budget, &spans);
        RegexSpan secret;

        if (result == REGEX_NO_MATCH)
            return CHECKED;
        if (result == REGEX_NO_MEMORY)
            return -ENOMEM;
        if (result == REGEX_GAVE_UP || ++work->hits > HITS_MAX)
            return WITHHELD;
        secret = secret_of(work->pattern->regex, &spans);
        if (start + secret.start >= work->written && !is_hidden(text, secret)) {
            fwrite(work->text + work->written, 1, start + secret.start - work->written,
                   work->stream);
            fputs(HIDDEN, work->stream);
            work->written = start + secret.start + secret.size;
            work->n++;
        }
        /* Behind an empty match too, and behind a group that lies outside of its match. */
        at = MAX(at + 1, spans.items[0].start + spans.items[0].size);
        if (work->written > start)
            at = MAX(at, work->written - start);
        while (at < size && ((unsigned char)text[at] & 0xc0) == 0x80)
            at++;
    }
    return CHECKED;
}

static int hide(Work *work, const char *lower)
{
    const RedactBuiltin *builtin = work->pattern->builtin;
    size_t size = strlen(work->text);
    const char *needle = lower;
    Haystack haystack;
    int r = CHECKED;

    if (!builtin)
        return hide_between(work, 0, size);
    haystack_begin(&haystack, lower, builtin->needles);
    while (r == CHECKED && (needle = haystack_find(&haystack, needle))) {
        const char *start = needle, *end = strchrnul(needle, '\n');

        if (builtin->reach == REDACT_OVER_LINES)
            return hide_between(work, 0, size);
        while (start > lower && start[-1] != '\n')
            start--;
        r = hide_between(work, (size_t)(start - lower), (size_t)(end - lower));
        needle = end;
    }
    return r;
}

/* An Outcome, or -ENOMEM. */
static int apply_pattern(Redactor *redactor, RedactPattern *pattern, const char *where,
                         char **value, char **lower)
{
    _cleanup_free_ char *output = NULL;
    size_t size;
    Work work = {
        .pattern = pattern,
        .text = *value,
        .budget = &redactor->budget,
        .stream = open_memstream(&output, &size),
    };
    bool failed;
    int r;

    if (!work.stream)
        return -ENOMEM;
    r = hide(&work, *lower);
    if (work.n > 0)
        fputs(*value + work.written, work.stream);
    failed = ferror(work.stream);
    if (fclose(work.stream) != 0 || failed)
        return -ENOMEM;
    if (r == WITHHELD && !atomic_exchange(&pattern->limit_said, true))
        log_warning("the redact pattern \"%s\" reached its limits with a mail; what it could not "
                    "look through is withheld",
                    pattern->name);
    if (r < 0 || r == WITHHELD || work.n == 0)
        return r;
    free(*value);
    *value = steal_ptr(output);
    free(*lower);
    *lower = lower_dup(*value);
    if (!*lower)
        return -ENOMEM;
    r = note(redactor, pattern->name, work.n, where);
    return r < 0 ? r : CHECKED;
}

/* The same with all of them; there are some. */
static int apply(Redactor *redactor, const char *where, char **value)
{
    const Redaction *redaction = redactor->redaction;
    _cleanup_free_ char *lower = lower_dup(*value);

    if (!lower)
        return -ENOMEM;
    for (size_t i = 0; i < redaction->n; i++) {
        int r = apply_pattern(redactor, &redaction->patterns[i], where, value, &lower);

        if (r != CHECKED) {
            redactor->withheld = redactor->withheld || r == WITHHELD;
            return r;
        }
    }
    return CHECKED;
}

/* Drops what may be the beginning of a secret whose rest was not looked at. */
static void drop_edge(char *text)
{
    size_t size = strlen(text), hidden = strlen(HIDDEN), keep;

    if (size >= hidden && streq(text + size - hidden, HIDDEN))
        return;
    keep = text_cut(text, size, size - MIN(size, (size_t)EDGE_BYTES));
    text[keep] = '\0';
}

/* A short one; `withheld` NULL: it is dropped where it can't be checked. */
static int apply_or_withhold(Redactor *redactor, const char *where, char **value,
                             const char *withheld)
{
    size_t size = *value ? strlen(*value) : 0;
    bool cut = size > SHORT_MAX_BYTES;
    int r;

    if (!*value || !redactor->redaction)
        return 0;
    if (cut)
        (*value)[text_cut(*value, size, SHORT_MAX_BYTES)] = '\0';
    r = apply(redactor, where, value);
    if (r == CHECKED && cut)
        drop_edge(*value);
    return r == WITHHELD ? record_set(value, withheld) : r;
}

int redact_field(Redactor *redactor, const char *name, char **value)
{
    return apply_or_withhold(redactor, name, value, WITHHELD_FIELD);
}

/* The text */

/* Where a window of so many bytes ends: between lines, if it has some, or between characters. */
static size_t window_end(const char *text, size_t size, size_t max)
{
    size_t end;

    if (size <= max)
        return size;
    end = text_cut(text, size, max);
    for (size_t i = end; i > end - MIN(end, (size_t)EDGE_BYTES); i--)
        if (text[i - 1] == '\n')
            return i;
    return end;
}

static int redact_text(Redactor *redactor, char **text, size_t shown_bytes, bool *ret_cut)
{
    size_t max = 2 * shown_bytes + WINDOW_EXTRA_BYTES, end;
    _cleanup_free_ char *window = NULL;
    const char *start, *rest;
    char *all;
    int r;

    if (!*text || !redactor->redaction)
        return 0;
    /* What is blank is not shown. */
    start = *text + strspn(*text, " \t\n");
    while (start > *text && start[-1] != '\n')
        start--;
    end = window_end(start, strlen(start), max);
    rest = start + end;
    window = strndup(start, end);
    if (!window)
        return -ENOMEM;
    r = apply(redactor, "text", &window);
    if (r < 0)
        return r;
    if (r == WITHHELD)
        return record_set(text, WITHHELD_TEXT);

    if (*rest && strlen(window) < shown_bytes + EDGE_BYTES) {
        drop_edge(window);
        *ret_cut = true;
        rest = "";
    }
    if (asprintf(&all, "%s%s", window, rest) < 0)
        return -ENOMEM;
    free(*text);
    *text = all;
    return 0;
}

int redact_record(Redactor *redactor, Record *record, size_t shown_bytes, bool *ret_cut)
{
    int r = apply_or_withhold(redactor, "title", &record->title, WITHHELD_TITLE);

    if (r == 0)
        r = apply_or_withhold(redactor, "key", &record->key, NULL);
    for (size_t i = 0; r == 0 && i < record->n_fields; i++)
        r = redact_field(redactor, record->fields[i].name, &record->fields[i].value);
    return r < 0 ? r : redact_text(redactor, &record->text, shown_bytes, ret_cut);
}
