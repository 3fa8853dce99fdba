/* SPDX-License-Identifier: MIT */

/*
 * The text that a room shows for a record: plain, readable in any client and without colour.
 *
 *     [CRITICAL] web1: PING                       the sign and the title
 *     (from 2026-11-21 06:24:36 UTC)              only when it is not fresh
 *     PING CRITICAL - Packet loss = 100%          the text
 *     [… 12 more lines]                           only where it had to be cut
 */

#include "common/compose.h"

#include <assert.h>
#include <stdio.h>

#include "common/text.h"

#define SIZE_MIN 256
#define REST_MAX 64 /* of the last line, its line feed included */

/* A recovery is what matters about it, however grave the problem was. */
static const char *sign_of(const Record *record)
{
    if (record->state == STATE_RECOVERY)
        return "[RECOVERY]";
    switch (record->severity) {
    case SEVERITY_OK:
        return "[OK]";
    case SEVERITY_INFO:
        return "[INFO]";
    case SEVERITY_WARNING:
        return "[WARNING]";
    case SEVERITY_CRITICAL:
        return "[CRITICAL]";
    case SEVERITY_NONE:
        break;
    }
    switch (record->state) {
    case STATE_PROBLEM:
        return "[PROBLEM]";
    case STATE_EVENT:
        return "[EVENT]";
    default:
        return "";
    }
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
static size_t fitting_prefix(const char *text, size_t size, size_t max_bytes)
{
    size_t escaped = 0, i = 0;

    while (i < size) {
        escaped += text_xml_size(text + i, 1);
        if (escaped > max_bytes)
            break;
        i++;
    }
    return text_cut(text, size, i);
}

static size_t count(const char *text, size_t size, char c)
{
    size_t n = 0;

    for (size_t i = 0; i < size; i++)
        n += text[i] == c;
    return n;
}

static size_t count_characters(const char *text, size_t size)
{
    size_t n = 0;

    for (size_t i = 0; i < size; i++)
        n += ((unsigned char)text[i] & 0xC0) != 0x80;
    return n;
}

/* Shortens a message in place, in which there is room for REST_MAX bytes behind the cut. */
static void cut(char *message, size_t size, size_t max_bytes)
{
    size_t keep = fitting_prefix(message, size, max_bytes - REST_MAX), at_line = keep, rest;
    bool whole_lines;
    char last[REST_MAX];

    while (at_line > 0 && message[at_line] != '\n')
        at_line--;
    /* Not where it would cost more than half: then one line is nearly all there is. */
    whole_lines = at_line > keep / 2;
    if (whole_lines) {
        keep = at_line;
        rest = count(message + keep + 1, size - keep - 1, '\n') + 1;
    } else {
        rest = count_characters(message + keep, size - keep);
    }
    snprintf(last, sizeof(last), "\n[… %zu more %s%s]", rest, whole_lines ? "line" : "character",
             rest == 1 ? "" : "s");
    strcpy(message + keep, last);
}

int compose_message(const Record *record, usec_t now_usec, size_t max_bytes, char **ret)
{
    const char *sign = sign_of(record), *title, *text, *after_sign = "", *after_head = "";
    _cleanup_free_ char *title_line = NULL, *clean = NULL, *message = NULL;
    char when[64];
    size_t size;
    int r;

    assert(max_bytes >= SIZE_MIN);

    title = record->title ? record->title : "";
    text = record->text ? record->text : "";
    title_line = text_clean_line_dup(title, strlen(title));
    clean = text_clean_dup(text, strlen(text));
    if (!title_line || !clean)
        return -ENOMEM;
    text = trim(clean);
    if (text[0] == '\0' && title_line[0] == '\0')
        text = "(no text)";
    write_time(record, now_usec, when, sizeof(when));

    if (title_line[0] != '\0') {
        after_sign = sign[0] != '\0' ? " " : "";
        after_head = "\n";
    } else if (sign[0] != '\0') {
        after_head = when[0] != '\0' ? "\n" : " ";
    }
    r = asprintf(&message, "%s%s%s%s%s%s%s", sign, after_sign, title_line, after_head, when,
                 when[0] != '\0' ? "\n" : "", text);
    if (r < 0) {
        message = NULL;
        return -ENOMEM;
    }
    size = strlen(trim(message));
    if (text_xml_size(message, size) > max_bytes) {
        /* Escaped, at least max_bytes - REST_MAX of it stay; unescaped that may be less. */
        char *larger = realloc(message, size + REST_MAX + 1);

        if (!larger)
            return -ENOMEM;
        message = larger;
        cut(message, size, max_bytes);
    }
    *ret = steal_ptr(message);
    return 0;
}
