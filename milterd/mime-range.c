/* SPDX-License-Identifier: MIT */

/*
 * Cutting ranges of bytes: no copies but the few fields of a header, every byte looked at once.
 */

#include "milterd/mime-range.h"

#include <strings.h>

#include "milterd/mime-part.h"

void fields_done(Fields *fields)
{
    free(fields->type);
    free(fields->encoding);
    free(fields->disposition);
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

/* The length of a header field's name; 0: the line is none. */
static size_t field_name(Range line)
{
    size_t n = 0;

    while (n < line.size && line.bytes[n] > ' ' && line.bytes[n] < 0x7f && line.bytes[n] != ':')
        n++;
    return n > 0 && n < line.size && line.bytes[n] == ':' ? n : 0;
}

static int keep_field(Fields *fields, Range field, size_t name)
{
    const struct {
        const char *name;
        char **value;
    } known[] = {
        { "Content-Type", &fields->type },
        { "Content-Transfer-Encoding", &fields->encoding },
        { "Content-Disposition", &fields->disposition },
        { "From", &fields->from },
        { "Subject", &fields->subject },
    };

    for (size_t i = 0; i < ELEMENTSOF(known); i++) {
        if (*known[i].value || strlen(known[i].name) != name ||
            strncasecmp(field.bytes, known[i].name, name) != 0)
            continue;
        *known[i].value =
            strndup(field.bytes + name + 1, MIN(field.size - name - 1, (size_t)MIME_VALUE_MAX));
        if (!*known[i].value)
            return -ENOMEM;
    }
    return 0;
}

int fields_read(Range *range, Fields *fields)
{
    Range rest = *range, line = {}, field = {};
    size_t name = 0;
    int r;

    for (;;) {
        bool more = next_line(&rest, &line);

        if (more && name > 0 && line.size > 0 && (*line.bytes == ' ' || *line.bytes == '\t')) {
            field.size = (size_t)(line.bytes + line.size - field.bytes);
            *range = rest;
            continue;
        }
        if (name > 0) {
            r = keep_field(fields, field, name);
            if (r < 0)
                return r;
        }
        if (!more || line.size == 0) {
            *range = rest;
            return 0;
        }
        name = field_name(line);
        if (name == 0) /* the empty line is missing: this is content already */
            return 0;
        field = line;
        *range = rest;
    }
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

bool range_next_boundary(Range range, size_t at, const char *boundary, size_t *ret_begin,
                         size_t *ret_end, bool *ret_last)
{
    size_t length = strlen(boundary);

    while (at < range.size) {
        const char *line = range.bytes + at, *end;
        size_t size = boundary_size(line, range.size - at, boundary, length, ret_last);

        if (size > 0) {
            *ret_begin = at;
            *ret_end = at + size;
            return true;
        }
        end = memchr(line, '\n', range.size - at);
        if (!end)
            break;
        at = (size_t)(end - range.bytes) + 1;
    }
    return false;
}
