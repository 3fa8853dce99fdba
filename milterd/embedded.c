/* SPDX-License-Identifier: MIT */

/*
 * Line by line. What begins a block is looked at together with the lines behind it, so that a
 * sentence that begins with "begin" stays one; a block ends at the latest where a line does not
 * belong to it, so that no text behind it is lost.
 */

#include "milterd/embedded.h"

typedef struct Line {
    const char *at;
    size_t size;
    size_t next; /* where the next one begins */
} Line;

static bool line_at(const char *text, size_t at, Line *ret)
{
    if (text[at] == '\0')
        return false;
    ret->at = text + at;
    ret->size = strcspn(ret->at, "\n");
    ret->next = at + ret->size + (ret->at[ret->size] == '\n');
    while (ret->size > 0 && strchr(" \t", ret->at[ret->size - 1]))
        ret->size--;
    return true;
}

static bool line_begins(const Line *line, const char *with)
{
    size_t length = strlen(with);

    return line->size >= length && memcmp(line->at, with, length) == 0;
}

static bool line_is(const Line *line, const char *with)
{
    return line->size == strlen(with) && line_begins(line, with);
}

/* How many bytes a line of uuencode holds; -1: it is none. Blanks at its end may have been lost. */
static int uu_bytes(const Line *line)
{
    size_t n, wanted;

    if (line->size == 0 || line->at[0] < ' ' || line->at[0] > '`')
        return -1;
    n = (size_t)(line->at[0] - ' ') & 0x3f;
    wanted = (n + 2) / 3 * 4;
    if (line->size > wanted + 2 || line->size + 8 < wanted)
        return -1;
    for (size_t i = 1; i < line->size; i++)
        if (line->at[i] < ' ' || line->at[i] > '`')
            return -1;
    return (int)n;
}

/* "begin 644 name" and at least one line that is data. */
static bool read_uuencode(const char *text, size_t at, const Line *first, Embedded *ret)
{
    const char *p = first->at + strlen("begin "), *end = first->at + first->size;
    size_t digits = 0, next = first->next, size = 0;
    Line line;

    while (p + digits < end && p[digits] >= '0' && p[digits] <= '7')
        digits++;
    if (digits < 3 || digits > 4 || (p + digits < end && p[digits] != ' '))
        return false;
    p += MIN(digits + 1, (size_t)(end - p)); /* the name may be missing */

    while (line_at(text, next, &line)) {
        int bytes = uu_bytes(&line);

        if (line_is(&line, "end")) {
            next = line.next;
            break;
        }
        if (bytes < 0 && line.size > 0)
            break;
        if (bytes > 0)
            size += (size_t)bytes;
        next = line.next;
    }
    if (size == 0)
        return false;
    *ret = (Embedded){ EMBEDDED_FILE, at, next, p, (size_t)(end - p), size };
    return true;
}

static bool read_binhex(const char *text, size_t at, const Line *first, Embedded *ret)
{
    size_t next = first->next, size = 0;
    Line line;

    while (line_at(text, next, &line)) {
        if (memchr(line.at, ' ', line.size) || (size == 0 && line.size > 0 && line.at[0] != ':'))
            break;
        size += line.size;
        next = line.next;
        if (line.size > 1 && line.at[line.size - 1] == ':')
            break;
    }
    if (size == 0)
        return false;
    *ret = (Embedded){ EMBEDDED_FILE, at, next, NULL, 0, size / 4 * 3 };
    return true;
}

/* To the line that ends the armour (RFC 9580, 6.2), which a cut mail may lack: then to the end of
 * what can be armour. */
static bool read_armour(const char *text, size_t at, const Line *first, Embedded *ret)
{
    static const struct {
        const char *begin, *end;
        EmbeddedKind kind;
    } kinds[] = {
        { "-----BEGIN PGP MESSAGE", "-----END PGP MESSAGE", EMBEDDED_ENCRYPTED },
        { "-----BEGIN PGP SIGNATURE-----", "-----END PGP SIGNATURE-----", EMBEDDED_SIGNATURE },
        { "-----BEGIN PGP PUBLIC KEY", "-----END PGP PUBLIC KEY", EMBEDDED_KEY },
        { "-----BEGIN PGP PRIVATE KEY", "-----END PGP PRIVATE KEY", EMBEDDED_KEY },
    };
    size_t next = first->next, size = 0, i = 0;
    bool headers = true;
    Line line;

    while (i < ELEMENTSOF(kinds) && !line_begins(first, kinds[i].begin))
        i++;
    if (i == ELEMENTSOF(kinds))
        return false;
    while (line_at(text, next, &line)) {
        if (line_begins(&line, kinds[i].end)) {
            next = line.next;
            break;
        }
        if (headers && line.size > 0 && memchr(line.at, ':', line.size)) {
            next = line.next;
            continue;
        }
        headers = headers && line.size == 0;
        if (memchr(line.at, ' ', line.size) || (size > 0 && line.size == 0))
            break;
        size += line.size;
        next = line.next;
    }
    *ret = (Embedded){ kinds[i].kind, at, next, NULL, 0, size / 4 * 3 };
    return true;
}

/* The line that says that the text behind it is signed, and the headers below it. */
static bool read_signed_head(const char *text, size_t at, const Line *first, Embedded *ret)
{
    size_t next = first->next;
    Line line;

    while (line_at(text, next, &line) && line.size > 0 &&
           (line_begins(&line, "Hash:") || line_begins(&line, "Charset:") ||
            line_begins(&line, "Comment:") || line_begins(&line, "NotDashEscaped:")))
        next = line.next;
    *ret = (Embedded){ EMBEDDED_SIGNATURE, at, next, NULL, 0, 0 };
    return true;
}

bool embedded_next(const char *text, size_t at, Embedded *ret)
{
    Line line;

    for (; line_at(text, at, &line); at = line.next) {
        bool found = false;

        if (line_begins(&line, "begin "))
            found = read_uuencode(text, at, &line, ret);
        else if (line_begins(&line, "(This file must be converted with BinHex"))
            found = read_binhex(text, at, &line, ret);
        else if (line_is(&line, "-----BEGIN PGP SIGNED MESSAGE-----"))
            found = read_signed_head(text, at, &line, ret);
        else if (line_begins(&line, "-----BEGIN PGP "))
            found = read_armour(text, at, &line, ret);
        if (found)
            return true;
    }
    return false;
}
