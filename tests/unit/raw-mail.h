/* SPDX-License-Identifier: MIT */
#pragma once

/* Raw mails (RFC 5322) made what the milter callbacks would make of them; for tests and fuzzers. */

#include "milterd/mail.h"

/* The length of the line at `bytes`, its end included. */
static inline size_t raw_line_size(const char *bytes, size_t size)
{
    const char *end = size > 0 ? memchr(bytes, '\n', size) : NULL;

    return end ? (size_t)(end - bytes) + 1 : size;
}

static inline bool raw_is_folded(const char *bytes, size_t size)
{
    return size > 0 && (bytes[0] == ' ' || bytes[0] == '\t');
}

/* The length of a field's name, 0 if the line begins with none. */
static inline size_t raw_name_size(const char *line, size_t size)
{
    size_t n = 0;

    while (n < size && line[n] > ' ' && line[n] < 0x7f && line[n] != ':')
        n++;
    return n < size && line[n] == ':' ? n : 0;
}

static inline int raw_add_field(Mail *mail, const char *field, size_t size, size_t name)
{
    _cleanup_free_ char *copy = malloc(size + 1);
    size_t n = 0;

    if (!copy)
        return -ENOMEM;
    while (size > 0 && (field[size - 1] == '\n' || field[size - 1] == '\r'))
        size--;
    for (size_t i = 0; i < size; i++) {
        bool skip = field[i] == '\0' ||
                    (field[i] == '\r' && i + 1 < size && field[i + 1] == '\n') ||
                    (i == name + 1 && field[i] == ' ');

        if (!skip)
            copy[n++] = field[i];
    }
    copy[n] = '\0';
    copy[name] = '\0';
    return mail_add_header(mail, copy, copy + name + 1);
}

/* Adds headers and body to a mail; an mbox's first line is left out. -ENOMEM. */
static inline int mail_read_raw(Mail *mail, const char *bytes, size_t size, size_t max_body)
{
    size_t at = 0;
    int r;

    if (size >= 5 && memcmp(bytes, "From ", 5) == 0)
        at = raw_line_size(bytes, size);

    while (at < size) {
        const char *field = bytes + at;
        size_t name = raw_name_size(field, size - at), length = raw_line_size(field, size - at);

        if (name == 0) {
            if (*field == '\n' || (length == 2 && *field == '\r'))
                at += length; /* the empty line */
            break;
        }
        at += length;
        while (raw_is_folded(bytes + at, size - at)) {
            length += raw_line_size(bytes + at, size - at);
            at = (size_t)(field - bytes) + length;
        }
        r = raw_add_field(mail, field, length, name);
        if (r < 0)
            return r;
    }
    return mail_add_body(mail, bytes + at, size - at, max_body);
}
