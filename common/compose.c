/* SPDX-License-Identifier: MIT */

/*
 * The text that a room shows for a record, readable in any client and without colour.
 *
 *     🔴 CRITICAL *web1: PING*                    [CRITICAL] web1: PING
 *     host: web1 · address: 10.0.0.1              host: web1 · address: 10.0.0.1
 *     (from 2026-11-21 06:24:36 UTC)              (from 2026-11-21 06:24:36 UTC)
 *     ```                                         PING CRITICAL - Packet loss = 100%
 *     PING CRITICAL - Packet loss = 100%          … 12 more lines
 *     … 12 more lines
 *     ```
 *
 * The lines above the text are bounded to a part of the message, so the text alone is ever cut.
 * In the styled form what a client would take for styled goes into the block, where it is shown
 * as it is; only the title may hold spans of its own.
 */

#include "common/compose.h"

#include <assert.h>
#include <stdio.h>

#include "common/cut.h"
#include "common/styling.h"
#include "common/text.h"

#define SIZE_MIN 256
#define INLINE_MAX_BYTES 200 /* of a text that stands in the first line */
#define FACTS_MAX_BYTES 400
#define FACT_NAME_MAX_BYTES 64
#define FACT_VALUE_MAX 80 /* characters */
#define SEPARATOR " · "
#define ELLIPSIS "…"
#define FENCES_BYTES (2 * strlen(STYLING_FENCE "\n"))

/* Of a message's escaped bytes, what may be in the title and in the facts. */
#define TITLE_SHARE 3
#define FACTS_SHARE 8

const char *const compose_style_names[] = {
    [COMPOSE_STYLED] = "styled",
    [COMPOSE_PLAIN] = "plain",
    NULL,
};

typedef struct Sign {
    const char *styled, *plain;
} Sign;

/* A recovery is what matters about it, however grave the problem was. */
static Sign sign_of(const Record *record)
{
    static const Sign by_severity[] = {
        [SEVERITY_NONE] = { "", "" },
        [SEVERITY_OK] = { "🟢 OK", "[OK]" },
        [SEVERITY_INFO] = { "🔵 INFO", "[INFO]" },
        [SEVERITY_WARNING] = { "🟡 WARNING", "[WARNING]" },
        [SEVERITY_CRITICAL] = { "🔴 CRITICAL", "[CRITICAL]" },
    };
    static const Sign by_state[] = {
        [STATE_NONE] = { "", "" },
        [STATE_PROBLEM] = { "🟠 PROBLEM", "[PROBLEM]" },
        [STATE_RECOVERY] = { "🟢 RECOVERY", "[RECOVERY]" },
        [STATE_EVENT] = { "⚪ EVENT", "[EVENT]" },
    };

    if (record->state == STATE_RECOVERY || record->severity == SEVERITY_NONE)
        return by_state[record->state];
    return by_severity[record->severity];
}

usec_t compose_old_time(const Record *record, usec_t now_usec)
{
    if (now_usec < record->time_usec || now_usec - record->time_usec <= COMPOSE_OLD_USEC)
        return 0;
    return record->time_usec;
}

static void write_time(const Record *record, usec_t now, char *line, size_t size)
{
    usec_t old_time = compose_old_time(record, now);
    time_t seconds = (time_t)(old_time / USEC_PER_SEC);
    struct tm tm;

    line[0] = '\0';
    if (old_time == 0 || !gmtime_r(&seconds, &tm))
        return;
    if (strftime(line, size, "(from %Y-%m-%d %H:%M:%S UTC)", &tm) == 0)
        line[0] = '\0';
}

/* Without blank lines at either end and blanks at the end; changes `text`. */
static char *trim(char *text)
{
    size_t length = strlen(text), start = strspn(text, "\n");

    while (length > start && strchr(" \t\n", text[length - 1]))
        length--;
    text[length] = '\0';
    return text + start;
}

/* The largest prefix that takes at most `max_bytes` when escaped. */
static size_t fitting_prefix(const char *text, size_t max_bytes)
{
    size_t size = strlen(text), escaped = 0, i = 0;

    for (; i < size; i++) {
        escaped += text_xml_size(text + i, 1);
        if (escaped > max_bytes)
            break;
    }
    return text_cut(text, size, i);
}

static size_t xml_size(const char *text)
{
    return text_xml_size(text, strlen(text));
}

/* The bytes of the first `max` characters. */
static size_t characters_size(const char *text, size_t max)
{
    size_t size = 0, n = 0;

    for (; text[size]; size++) {
        n += ((unsigned char)text[size] & 0xC0) != 0x80;
        if (n > max)
            break;
    }
    return text_cut(text, strlen(text), size);
}

/* A clean copy in one line of the title, which takes at most `max_bytes` when escaped. */
static int make_title(const Record *record, size_t max_bytes, char **ret)
{
    const char *from = record->title ? record->title : "";
    _cleanup_free_ char *title = text_clean_line_dup(from, strlen(from));
    size_t keep;

    if (!title)
        return -ENOMEM;
    if (xml_size(title) <= max_bytes) {
        *ret = steal_ptr(title);
        return 0;
    }
    keep = fitting_prefix(title, max_bytes - strlen(ELLIPSIS));
    return asprintf(ret, "%.*s" ELLIPSIS, (int)keep, title) < 0 ? -ENOMEM : 0;
}

/* "name: value", each in one line and not too long; "" where the record has no such field. */
static int make_fact(const Record *record, const char *name, char **ret)
{
    const char *value = record_field(record, name);
    _cleanup_free_ char *clean_name = NULL, *clean_value = NULL;
    size_t name_size, value_size;
    int r;

    clean_name = text_clean_line_dup(name, strlen(name));
    clean_value = text_clean_line_dup(value ? value : "", value ? strlen(value) : 0);
    if (!clean_name || !clean_value)
        return -ENOMEM;
    if (clean_value[0] == '\0') {
        *ret = steal_ptr(clean_value);
        return 0;
    }
    name_size = text_cut(clean_name, strlen(clean_name), FACT_NAME_MAX_BYTES);
    value_size = characters_size(clean_value, FACT_VALUE_MAX);
    r = asprintf(ret, "%.*s%s: %.*s%s", (int)name_size, clean_name,
                 clean_name[name_size] ? ELLIPSIS : "", (int)value_size, clean_value,
                 clean_value[value_size] ? ELLIPSIS : "");
    return r < 0 ? -ENOMEM : 0;
}

/* The facts in one line, at most `max_bytes` long when escaped; "" where there are none. */
static int make_facts(const Record *record, size_t max_bytes, char **ret)
{
    char line[FACTS_MAX_BYTES + 1] = "";
    size_t size = 0, escaped = 0;
    char *copy;

    for (size_t i = 0; i < record->n_facts; i++) {
        _cleanup_free_ char *fact = NULL;
        const char *before = size > 0 ? SEPARATOR : "";
        size_t reserve = strlen(SEPARATOR ELLIPSIS), n;
        int r = make_fact(record, record->facts[i], &fact);

        if (r < 0)
            return r;
        if (fact[0] == '\0')
            continue;
        n = strlen(before) + strlen(fact);
        escaped += strlen(before) + xml_size(fact);
        if (size + n + reserve > FACTS_MAX_BYTES || escaped + reserve > max_bytes) {
            strcpy(line + size, size > 0 ? SEPARATOR ELLIPSIS : "");
            break;
        }
        size = (size_t)(stpcpy(stpcpy(line + size, before), fact) - line);
    }
    copy = strdup(line);
    if (!copy)
        return -ENOMEM;
    *ret = copy;
    return 0;
}

/* Above the block, and in it: NULL or lines, with no line feed at the end. */
typedef struct Lines {
    char *above, *inside;
} Lines;

static void lines_done(Lines *lines)
{
    free(lines->above);
    free(lines->inside);
}

static int add_line(char **lines, const char *line)
{
    char *longer;

    if (line[0] == '\0')
        return 0;
    if (asprintf(&longer, "%s%s%s", *lines ? *lines : "", *lines ? "\n" : "", line) < 0)
        return -ENOMEM;
    free(*lines);
    *lines = longer;
    return 0;
}

/* The first line: the sign, and behind it what is given. */
static int add_head(char **lines, const char *sign, const char *mark, const char *words)
{
    _cleanup_free_ char *head = NULL;
    const char *blank = sign[0] != '\0' && words[0] != '\0' ? " " : "";

    if (asprintf(&head, "%s%s%s%s%s", sign, blank, mark, words, mark) < 0) {
        head = NULL;
        return -ENOMEM;
    }
    return add_line(lines, head);
}

/* Whether the text takes the place of a title: one short line that nothing styles. */
static bool is_inline(const char *text, size_t max_bytes)
{
    return strlen(text) <= INLINE_MAX_BYTES && xml_size(text) <= max_bytes && !strchr(text, '\n') &&
           !styling_has_effect(text);
}

static int lay_out_styled(Lines *lines, const char *sign, const char *title, const char *facts,
                          const char *when, const char *text, size_t title_max_bytes)
{
    const char *mark = styling_can_be_strong(title) ? "*" : "";
    _cleanup_free_ char *raw = NULL;
    int r;

    if (title[0] == '\0' && is_inline(text, title_max_bytes)) {
        title = text;
        text = "";
    }
    /* Behind a sign or a directive nothing begins a block. */
    if (sign[0] == '\0' && mark[0] == '\0' && styling_begins_block(title))
        r = add_line(&raw, title);
    else
        r = add_head(&lines->above, sign, mark, title);
    if (r == 0)
        r = add_line(styling_has_effect(facts) ? &raw : &lines->above, facts);
    if (r == 0)
        r = add_line(&lines->above, when);
    if (r == 0)
        r = add_line(&raw, text);
    if (r == 0 && raw) {
        lines->inside = styling_guard_dup(raw);
        r = lines->inside ? 0 : -ENOMEM;
    }
    return r;
}

static int lay_out_plain(Lines *lines, const char *sign, const char *title, const char *facts,
                         const char *when, const char *text)
{
    int r;

    if (title[0] == '\0' && facts[0] == '\0' && when[0] == '\0')
        return add_head(&lines->inside, sign, "", text);
    r = add_head(&lines->above, sign, "", title);
    if (r == 0)
        r = add_line(&lines->above, facts);
    if (r == 0)
        r = add_line(&lines->above, when);
    if (r == 0)
        r = add_line(&lines->inside, text);
    return r;
}

/* Cuts what is inside so that the whole fits, and puts it together. */
static int join(Lines *lines, bool fenced, size_t max_bytes, char **ret)
{
    const char *above = lines->above ? lines->above : "";
    size_t taken = xml_size(above) + 1 + (fenced ? FENCES_BYTES : 0);
    char *message;
    int r = 0;

    if (!lines->inside) {
        *ret = steal_ptr(lines->above);
        return 0;
    }
    assert(taken + CUT_NOTE_MAX < max_bytes);
    if (taken + xml_size(lines->inside) > max_bytes) {
        char *whole = lines->inside;

        r = cut_text(whole, fitting_prefix(whole, max_bytes - taken - CUT_NOTE_MAX), false,
                     &lines->inside);
        if (r < 0)
            return r;
        free(whole);
    }
    if (asprintf(&message, "%s%s%s%s%s", above, above[0] != '\0' ? "\n" : "",
                 fenced ? STYLING_FENCE "\n" : "", lines->inside,
                 fenced ? "\n" STYLING_FENCE : "") < 0)
        return -ENOMEM;
    *ret = message;
    return 0;
}

int compose_message(const Record *record, ComposeStyle style, usec_t now_usec, size_t max_bytes,
                    char **ret)
{
    const Sign sign = sign_of(record);
    const char *text = record->text ? record->text : "";
    _cleanup_free_ char *title = NULL, *facts = NULL, *clean = NULL;
    _cleanup_(lines_done) Lines lines = {};
    char when[64];
    int r;

    assert(max_bytes >= SIZE_MIN);

    r = make_title(record, max_bytes / TITLE_SHARE, &title);
    if (r == 0)
        r = make_facts(record, max_bytes / FACTS_SHARE, &facts);
    if (r < 0)
        return r;
    clean = text_clean_dup(text, strlen(text));
    if (!clean)
        return -ENOMEM;
    text = trim(clean);
    if (title[0] == '\0')
        text = text[0] != '\0' ? text : COMPOSE_NO_TEXT;
    else if (streq(text, COMPOSE_NO_TEXT) || streq(text, title))
        text = "";
    write_time(record, now_usec, when, sizeof(when));

    if (style == COMPOSE_STYLED)
        r = lay_out_styled(&lines, sign.styled, title, facts, when, text, max_bytes / TITLE_SHARE);
    else
        r = lay_out_plain(&lines, sign.plain, title, facts, when, text);
    if (r < 0)
        return r;
    return join(&lines, style == COMPOSE_STYLED, max_bytes, ret);
}
