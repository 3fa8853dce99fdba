/* SPDX-License-Identifier: MIT */

/*
 * Cleaning of text, by one pass over its characters that is told where to write (or to nowhere,
 * to learn the length first).
 */

#include "common/text.h"

#define REPLACEMENT "\xEF\xBF\xBD"

/* More marks than this on one character is no script but a prank. */
#define MARKS_MAX 32

/* The well-formed sequences of Unicode's table 3-7: the first byte decides the length and what
 * the second may be. `ret_good` is how much of a broken one was well formed (at least 1). */
static size_t sequence(const char *text, size_t size, size_t *ret_good)
{
    const unsigned char *s = (const unsigned char *)text;
    unsigned char low = 0x80, high = 0xBF;
    size_t length;

    *ret_good = 1;
    if (size == 0)
        return 0;
    if (s[0] < 0x80)
        return 1;
    if (s[0] >= 0xC2 && s[0] <= 0xDF)
        length = 2;
    else if (s[0] >= 0xE0 && s[0] <= 0xEF)
        length = 3;
    else if (s[0] >= 0xF0 && s[0] <= 0xF4)
        length = 4;
    else
        return 0;

    if (s[0] == 0xE0)
        low = 0xA0; /* over-long */
    else if (s[0] == 0xED)
        high = 0x9F; /* surrogates */
    else if (s[0] == 0xF0)
        low = 0x90; /* over-long */
    else if (s[0] == 0xF4)
        high = 0x8F; /* past U+10FFFF */

    for (size_t i = 1; i < length; i++) {
        if (i >= size || s[i] < low || s[i] > high)
            return 0;
        *ret_good = i + 1;
        low = 0x80;
        high = 0xBF;
    }
    return length;
}

size_t utf8_sequence(const char *text, size_t size)
{
    size_t good;

    return sequence(text, size, &good);
}

/* Of a valid sequence. */
static uint32_t code_point(const char *text, size_t length)
{
    const unsigned char *s = (const unsigned char *)text;
    uint32_t code = length == 1 ? s[0] : s[0] & (0x7FU >> length);

    for (size_t i = 1; i < length; i++)
        code = code << 6 | (s[i] & 0x3FU);
    return code;
}

static bool is_allowed(uint32_t code)
{
    if (code < 0x20)
        return code == '\t' || code == '\n';
    return !(code >= 0x7F && code <= 0x9F) && code != 0xFFFE && code != 0xFFFF;
}

/* Controls that turn the order in which text is shown, up to the end of a line: with them a name
 * says "exe.pdf" and is none. Letters have their direction without. */
static bool is_turning(uint32_t code)
{
    return (code >= 0x202A && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
}

static bool is_white(uint32_t code)
{
    return code == ' ' || (code >= '\t' && code <= '\r') || code == 0x85 || code == 0x2028 ||
           code == 0x2029;
}

/* How many bytes from here on stay as they are: most of most texts, and cheap to tell. */
static size_t plain_run(const char *text, size_t size, bool line)
{
    size_t n = 0;

    while (n < size && ((text[n] > ' ' && text[n] < 0x7F) ||
                        (!line && (text[n] == ' ' || text[n] == '\n' || text[n] == '\t'))))
        n++;
    return n;
}

/* The line ends of Unicode, CRLF among them, are one in the line form, where all are white. */
static size_t clean(const char *text, size_t size, bool line, char *to)
{
    bool pending_blank = false;
    size_t written = 0;

    for (size_t i = 0; i < size;) {
        const char *from = text + i;
        size_t good, length, n = plain_run(from, size - i, line);

        if (n > 0) {
            i += n;
        } else if ((length = sequence(from, size - i, &good)) == 0) {
            i += good;
            from = REPLACEMENT;
            n = strlen(REPLACEMENT);
        } else {
            uint32_t code = code_point(from, length);

            i += length;
            n = length;
            if (line && is_white(code)) {
                pending_blank = written > 0;
                continue;
            }
            if (code == '\r') {
                if (i < size && text[i] == '\n')
                    continue;
                from = "\n";
            } else if (!is_allowed(code) || is_turning(code)) {
                continue;
            }
        }
        if (pending_blank) {
            if (to)
                to[written] = ' ';
            written++;
            pending_blank = false;
        }
        if (to)
            memcpy(to + written, from, n);
        written += n;
    }
    return written;
}

static char *clean_dup(const char *text, size_t size, bool line)
{
    size_t length = clean(text, size, line, NULL);
    char *cleaned = malloc(length + 1);

    if (!cleaned)
        return NULL;
    clean(text, size, line, cleaned);
    cleaned[length] = '\0';
    return cleaned;
}

char *text_clean_dup(const char *text, size_t size)
{
    return clean_dup(text, size, false);
}

char *text_clean_line_dup(const char *text, size_t size)
{
    return clean_dup(text, size, true);
}

bool text_is_utf8(const char *text, size_t size)
{
    for (size_t i = 0, length; i < size; i += length) {
        if ((unsigned char)text[i] < 0x80) {
            length = 1;
            continue;
        }
        length = utf8_sequence(text + i, size - i);
        if (length == 0)
            return false;
    }
    return true;
}

bool text_is_clean(const char *text, size_t size)
{
    for (size_t i = 0, length; i < size; i += length) {
        length = utf8_sequence(text + i, size - i);
        if (length == 0 || !is_allowed(code_point(text + i, length)))
            return false;
    }
    return true;
}

static bool is_inside_character(const char *text, size_t at)
{
    return ((unsigned char)text[at] & 0xC0) == 0x80;
}

static size_t step_back(const char *text, size_t at)
{
    do
        at--;
    while (at > 0 && is_inside_character(text, at));
    return at;
}

static bool code_at(const char *text, size_t size, size_t at, uint32_t *ret)
{
    size_t length = utf8_sequence(text + at, size - at);

    if (length == 0)
        return false;
    *ret = code_point(text + at, length);
    return true;
}

/* Whether the character at `at` belongs to the one before it. */
static bool is_joined(const char *text, size_t size, size_t at)
{
    uint32_t code;

    if (!code_at(text, size, at, &code))
        return false;
    if ((code >= 0x300 && code <= 0x36F) || code == 0x200D || code == 0xFE0F)
        return true;
    return code_at(text, size, step_back(text, at), &code) && code == 0x200D;
}

size_t text_cut(const char *text, size_t size, size_t max_bytes)
{
    size_t cut = max_bytes, whole;

    if (size <= max_bytes)
        return size;
    while (cut > 0 && is_inside_character(text, cut))
        cut--;

    whole = cut;
    for (int i = 0; i < MARKS_MAX && whole > 0; i++) {
        if (!is_joined(text, size, whole))
            return whole;
        whole = step_back(text, whole);
    }
    return cut;
}

size_t text_xml_size(const char *text, size_t size)
{
    size_t bytes = 0;

    for (size_t i = 0; i < size; i++) {
        switch (text[i]) {
        case '&':
            bytes += strlen("&amp;");
            break;
        case '<':
        case '>':
            bytes += strlen("&lt;");
            break;
        case '"':
        case '\'':
            bytes += strlen("&quot;");
            break;
        default:
            bytes++;
        }
    }
    return bytes;
}
