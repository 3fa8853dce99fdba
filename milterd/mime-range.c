/* SPDX-License-Identifier: MIT */

/*
 * Cutting ranges of bytes: no copies but the few fields of a header, every byte looked at once.
 */

#include "milterd/mime-range.h"

#include <strings.h>

void fields_done(Fields *fields)
{
    free(fields->type);
    free(fields->encoding);
    free(fields->disposition);
    free(fields->id);
    free(fields->from);
    free(fields->subject);
    *fields = (Fields){};
}

/* The next line of a range without its end; false at the end. */
static bool next_line(Range *rest, Range *ret)
{
    const char *end;

    if (rest->size == 0)
        return false;
    end = memchr(rest->bytes, '\n', rest->size);
    ret->bytes = rest->bytes;
    ret->size = end ? (size_t)(end - rest->bytes) : rest->size;
    rest->bytes += ret->size + (end ? 1 : 0);
    rest->size -= ret->size + (end ? 1 : 0);
    if (ret->size > 0 && ret->bytes[ret->size - 1] == '\r')
        ret->size--;
    return true;
}

/* The length of a header field's name, and where its value begins, behind a colon that old mail
 * may have behind blanks (RFC 5322, 4.5.8); 0: the line is none. */
static size_t field_name(Range line, size_t *ret_value)
{
    size_t n = 0, colon;

    while (n < line.size && line.bytes[n] > ' ' && line.bytes[n] < 0x7f && line.bytes[n] != ':')
        n++;
    colon = n;
    while (colon < line.size && (line.bytes[colon] == ' ' || line.bytes[colon] == '\t'))
        colon++;
    if (ret_value)
        *ret_value = colon + 1;
    return n > 0 && colon < line.size && line.bytes[colon] == ':' ? n : 0;
}

static int keep_field(Fields *fields, Range field, size_t name, size_t value)
{
    const struct {
        const char *name;
        char **value;
    } known[] = {
        { "Content-Type", &fields->type },
        { "Content-Transfer-Encoding", &fields->encoding },
        { "Content-Disposition", &fields->disposition },
        { "Content-ID", &fields->id },
        { "From", &fields->from },
        { "Subject", &fields->subject },
    };

    for (size_t i = 0; i < ELEMENTSOF(known); i++) {
        if (*known[i].value || strlen(known[i].name) != name ||
            strncasecmp(field.bytes, known[i].name, name) != 0)
            continue;
        *known[i].value =
            strndup(field.bytes + value, MIN(field.size - value, (size_t)MIME_VALUE_MAX));
        if (!*known[i].value)
            return -ENOMEM;
    }
    return 0;
}

static bool begins(Range line, const char *with)
{
    size_t length = strlen(with);

    return line.size >= length && strncasecmp(line.bytes, with, length) == 0;
}

/* "From " as in mailboxes, also behind the sign that keeps it from being one. */
static bool is_mailbox_line(Range line)
{
    while (line.size > 0 && *line.bytes == '>') {
        line.bytes++;
        line.size--;
    }
    return begins(line, "From ") && field_name(line, NULL) == 0;
}

/* Where a header follows; else they are text. */
static void skip_mailbox_lines(Range *range)
{
    Range rest = *range, before = rest, line = {};

    while (next_line(&rest, &line) && is_mailbox_line(line))
        before = rest;
    if (field_name(line, NULL) > 0)
        *range = before;
}

/* Whether the header goes on behind a line that does not belong to it. */
static bool header_goes_on(Range rest)
{
    Range line;

    return next_line(&rest, &line) && begins(line, "Content-") && field_name(line, NULL) > 0;
}

static int read_fields(Range *range, Fields *fields, bool loose)
{
    Range rest = *range, line = {}, field = {};
    size_t name = 0, value = 0;
    int r;

    skip_mailbox_lines(range);
    rest = *range;
    for (;;) {
        bool more = next_line(&rest, &line);

        if (more && name > 0 && line.size > 0 && (*line.bytes == ' ' || *line.bytes == '\t')) {
            field.size = (size_t)(line.bytes + line.size - field.bytes);
            *range = rest;
            continue;
        }
        if (name > 0) {
            r = keep_field(fields, field, name, value);
            if (r < 0)
                return r;
        }
        if (!more || line.size == 0) {
            *range = rest;
            return 0;
        }
        name = field_name(line, &value);
        /* Else the empty line is missing, and this is content already. */
        if (name == 0 && !loose && !header_goes_on(rest))
            return 0;
        field = line;
        *range = rest;
    }
}

int fields_read(Range *range, Fields *fields)
{
    return read_fields(range, fields, false);
}

int fields_recover(Range *range, Fields *fields)
{
    size_t n_fields = 0, strays = 0;
    Range rest = *range, line = {};
    bool typed = false;

    while (next_line(&rest, &line) && line.size == 0)
        *range = rest;
    rest = *range;
    while (next_line(&rest, &line) && line.size > 0) {
        bool is_field = field_name(line, NULL) > 0;

        n_fields += is_field;
        strays += !is_field && *line.bytes != ' ' && *line.bytes != '\t';
        typed = typed || begins(line, "Content-Type:");
    }
    if (line.size > 0 || !typed || n_fields < 3 || strays > n_fields)
        return 0;
    return read_fields(range, fields, true);
}

static bool is_base64(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/' || c == '=';
}

/* Whether a line may be base64, in which a character got broken at most. */
static bool is_base64_line(Range line)
{
    size_t others = 0;

    for (size_t i = 0; i < line.size; i++) {
        if (line.bytes[i] == ' ' || line.bytes[i] == '\t')
            return false;
        others += !is_base64(line.bytes[i]);
    }
    return others * 10 <= line.size;
}

/* The bytes up to a blank, if base64 ends there and something else follows in the line. */
static size_t base64_before_blank(Range line)
{
    size_t n = 0;

    while (n < line.size && is_base64(line.bytes[n]))
        n++;
    return n < line.size && line.bytes[n] == ' ' && n % 4 == 0 && n > 0 && line.bytes[n - 1] == '='
               ? n
               : 0;
}

size_t range_base64_size(Range range)
{
    Range rest = range, line;
    bool ended = false; /* by a line that is none, or by padding */
    size_t end = 0, n;

    while (next_line(&rest, &line)) {
        while (line.size > 0 && strchr(" \t", line.bytes[line.size - 1]))
            line.size--;
        if (line.size == 0)
            continue;
        n = base64_before_blank(line);
        if (n > 0 && !ended) {
            end = (size_t)(line.bytes + n - range.bytes);
            ended = true;
            continue;
        }
        if (is_base64_line(line) && (!ended || line.size >= 40 ||
                                     (line.size % 4 == 0 && line.bytes[line.size - 1] == '='))) {
            end = (size_t)(rest.bytes - range.bytes);
            ended = line.bytes[line.size - 1] == '=';
        } else {
            ended = true;
        }
    }
    return end;
}

bool range_is_bare_base64(Range range)
{
    Range rest = range, line;
    size_t n = 0, width = 0;

    while (n < 8 && next_line(&rest, &line)) {
        if (line.size == 0)
            continue;
        if (width == 0)
            width = line.size;
        for (size_t i = 0; i < line.size; i++)
            if (!is_base64(line.bytes[i]))
                return false;
        if (line.size != width && rest.size > 0)
            return false;
        n++;
    }
    return n >= 4 && width >= 60 && width <= 76;
}

bool range_guess_boundary(Range range, char ret[static MIME_BOUNDARY_MAX + 1])
{
    Range rest = range, line;

    while (next_line(&rest, &line)) {
        while (line.size > 0 && strchr(" \t", line.bytes[line.size - 1]))
            line.size--;
        if (line.size <= 2 || line.size > MIME_BOUNDARY_MAX || memcmp(line.bytes, "--", 2) != 0 ||
            memchr(line.bytes, '\0', line.size) || !header_goes_on(rest))
            continue;
        memcpy(ret, line.bytes + 2, line.size - 2);
        ret[line.size - 2] = '\0';
        return true;
    }
    return false;
}

/* The bytes of the boundary at the front of a line, 0 if it is another line. */
static size_t boundary_size(const char *line, size_t size, const char *boundary, size_t length,
                            bool *ret_last)
{
    size_t end = 2 + length;
    bool last;

    if (size < end || memcmp(line, "--", 2) != 0 || memcmp(line + 2, boundary, length) != 0)
        return 0;
    last = size - end >= 2 && memcmp(line + end, "--", 2) == 0;
    if (last)
        end += 2;
    while (end < size && (line[end] == ' ' || line[end] == '\t' || line[end] == '\r'))
        end++;
    if (end < size && line[end] != '\n')
        return 0;
    *ret_last = last;
    return MIN(end + 1, size);
}

/* Finds the next line that is the boundary, from `at`, where a line begins: where that line
 * begins, where the next one does, and whether it is the last boundary. False: there is none. */
static bool next_boundary(const PartCursor *cursor, size_t at, size_t *ret_begin, size_t *ret_end,
                          bool *ret_last)
{
    size_t length = strlen(cursor->boundary), whole = cursor->content.size;
    const char *bytes = cursor->content.bytes;

    while (at < whole) {
        size_t size = boundary_size(bytes + at, whole - at, cursor->boundary, length, ret_last);
        const char *end;

        if (size > 0) {
            *ret_begin = at;
            *ret_end = at + size;
            return true;
        }
        end = memchr(bytes + at, '\n', whole - at);
        if (!end)
            break;
        at = (size_t)(end - bytes) + 1;
    }
    return false;
}

bool range_first_part(PartCursor *cursor, Range content, const char *boundary)
{
    size_t begin;

    *cursor = (PartCursor){ content, boundary, 0, true };
    while (cursor->ended)
        if (*boundary == '\0' ||
            !next_boundary(cursor, cursor->at, &begin, &cursor->at, &cursor->ended))
            return false;
    return true;
}

Range range_before_parts(const PartCursor *cursor)
{
    size_t begin = 0, end;
    bool last;

    next_boundary(cursor, 0, &begin, &end, &last);
    return (Range){ cursor->content.bytes, begin };
}

bool range_next_part(PartCursor *cursor, Range *ret)
{
    size_t begin, end, at;
    bool ended;

    while (cursor->ended)
        if (!next_boundary(cursor, cursor->at, &begin, &cursor->at, &cursor->ended))
            return false;

    at = cursor->at;
    if (next_boundary(cursor, at, &begin, &end, &ended)) {
        cursor->at = end;
        cursor->ended = ended;
    } else {
        begin = end = cursor->content.size;
        cursor->at = end;
        cursor->ended = true;
    }
    *ret = (Range){ cursor->content.bytes + at, begin - at };
    if (end == begin)
        return true;
    if (ret->size > 0 && ret->bytes[ret->size - 1] == '\n')
        ret->size--;
    if (ret->size > 0 && ret->bytes[ret->size - 1] == '\r')
        ret->size--;
    return true;
}

bool range_is_boundary(Range range, const char *boundary, size_t *ret_size)
{
    bool last;

    *ret_size =
        *boundary ? boundary_size(range.bytes, range.size, boundary, strlen(boundary), &last) : 0;
    return *ret_size > 0;
}
