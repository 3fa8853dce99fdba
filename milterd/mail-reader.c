/* SPDX-License-Identifier: MIT */

/*
 * A window of WINDOW bytes goes over the file. What is looked at are pieces of it: a whole line
 * where it fits into the window, as all but odd ones do, or else as much as there is room for.
 */

#include "milterd/mail-reader.h"

#include <ctype.h>
#include <stdio.h>

#define WINDOW 65536
#define SEPARATOR_MAX 1000 /* bytes of the line between two mails */

typedef struct Piece {
    const char *bytes;
    size_t size;   /* without the line's end */
    size_t stride; /* with it */
    bool whole;    /* the line ends here */
} Piece;

int mail_reader_open(MailReader *reader, int fd)
{
    char *buffer = malloc(WINDOW);

    if (!buffer)
        return -ENOMEM;
    *reader = (MailReader){ .fd = fd, .buffer = buffer, .at = buffer };
    return 0;
}

void mail_reader_open_bytes(MailReader *reader, const char *bytes, size_t size)
{
    *reader = (MailReader){ .fd = -1, .at = bytes, .left = size, .ended = true };
}

void mail_reader_done(MailReader *reader)
{
    free(reader->buffer);
    *reader = (MailReader){ .fd = -1, .ended = true };
}

/* Reads on until a line's end is in the window, or it is full, or there is no more. */
static int fill(MailReader *reader)
{
    if (reader->ended || memchr(reader->at, '\n', reader->left))
        return 0;
    memmove(reader->buffer, reader->at, reader->left);
    reader->at = reader->buffer;
    while (reader->left < WINDOW) {
        char *end = reader->buffer + reader->left;
        ssize_t n = read(reader->fd, end, WINDOW - reader->left);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        reader->left += (size_t)n;
        reader->ended = n == 0;
        if (n == 0 || memchr(end, '\n', (size_t)n))
            break;
    }
    return 0;
}

/* What comes next, without using it up: 1, 0 at the end. */
static int peek(MailReader *reader, Piece *ret)
{
    Piece piece = { .whole = true };
    const char *end;
    int r = fill(reader);

    if (r < 0)
        return r;
    if (reader->left == 0)
        return 0;
    piece.bytes = reader->at;
    end = memchr(reader->at, '\n', reader->left);
    piece.size = end ? (size_t)(end - reader->at) : reader->left;
    piece.stride = end ? piece.size + 1 : piece.size;
    piece.whole = end || reader->ended;
    if (piece.size > 0 && piece.bytes[piece.size - 1] == '\r') {
        /* Where the piece is no whole line, the LF may be the first of the next one. */
        piece.size--;
        if (!piece.whole)
            piece.stride--;
    }
    *ret = piece;
    return 1;
}

static void use_up(MailReader *reader, const Piece *piece)
{
    reader->at += piece->stride;
    reader->left -= piece->stride;
}

/* To the end of a line of which `piece` is the first. */
static int use_up_line(MailReader *reader, Piece piece)
{
    int r = 1;

    for (;;) {
        use_up(reader, &piece);
        if (piece.whole || r <= 0)
            return MIN(r, 0);
        r = peek(reader, &piece);
    }
}

static bool begins(const Piece *piece, const char *with)
{
    size_t length = strlen(with);

    return piece->size >= length && memcmp(piece->bytes, with, length) == 0;
}

static bool are_digits(const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isdigit((unsigned char)bytes[i]))
            return false;
    return true;
}

/* Prose can begin with "From " too, and not every writer of an mbox quotes it. */
static bool is_separator(const Piece *piece)
{
    const char *bytes = piece->bytes;
    bool has_time = false, has_year = false;

    if (!piece->whole || piece->size > SEPARATOR_MAX || !begins(piece, "From "))
        return false;
    for (size_t i = 5; i + 3 <= piece->size; i++) {
        bool after_digit = isdigit((unsigned char)bytes[i - 1]);

        if (after_digit && bytes[i] == ':' && are_digits(bytes + i + 1, 2))
            has_time = true;
        if (!after_digit && i + 4 <= piece->size && are_digits(bytes + i, 4) &&
            (memcmp(bytes + i, "19", 2) == 0 || memcmp(bytes + i, "20", 2) == 0))
            has_year = true;
    }
    return has_time && has_year;
}

static bool is_quoted(const Piece *piece)
{
    size_t signs = 0;

    while (signs < piece->size && piece->bytes[signs] == '>')
        signs++;
    return signs > 0 && piece->size - signs >= 5 && memcmp(piece->bytes + signs, "From ", 5) == 0;
}

static bool is_folded(const Piece *piece)
{
    return piece->size > 0 && (piece->bytes[0] == ' ' || piece->bytes[0] == '\t');
}

/* Length of a header's name (RFC 5322, 2.2), 0 where there is none; *ret_value is behind its colon,
 * before which old mail may have blanks (4.5). */
static size_t header_name_length(const Piece *piece, size_t *ret_value)
{
    size_t i = 0, length;

    while (i < piece->size && piece->bytes[i] > ' ' && piece->bytes[i] < 127 &&
           piece->bytes[i] != ':')
        i++;
    length = i;
    while (length > 0 && i < piece->size && (piece->bytes[i] == ' ' || piece->bytes[i] == '\t'))
        i++;
    *ret_value = i + 1;
    return i < piece->size && piece->bytes[i] == ':' ? length : 0;
}

/* As MTAs hand values over: strings, with a bare LF at each fold. Past the bound for headers the
 * value is too long to be kept, however long it is. */
static void write_value(FILE *stream, const char *bytes, size_t size)
{
    if (ftell(stream) <= MAIL_HEADERS_MAX_BYTES)
        fwrite(bytes, 1, strnlen(bytes, size), stream);
}

static int read_value(MailReader *reader, Piece piece, size_t skip, FILE *stream)
{
    int r;

    if (skip < piece.size && piece.bytes[skip] == ' ')
        skip++;
    write_value(stream, piece.bytes + skip, piece.size - skip);
    for (;;) {
        bool whole = piece.whole;

        use_up(reader, &piece);
        r = peek(reader, &piece);
        if (r <= 0 || (whole && !is_folded(&piece)))
            return MIN(r, 0);
        if (whole)
            write_value(stream, "\n", 1);
        write_value(stream, piece.bytes, piece.size);
    }
}

/* The header that begins with `piece`, with its folded lines. */
static int read_header(MailReader *reader, Mail *mail, const Piece *piece, size_t name_length,
                       size_t value_at)
{
    _cleanup_free_ char *name = strndup(piece->bytes, name_length), *value = NULL;
    size_t size;
    FILE *stream = open_memstream(&value, &size);
    int r;

    if (!stream)
        return -ENOMEM;
    r = read_value(reader, *piece, value_at, stream);
    if (fclose(stream) != 0 || !name)
        return -ENOMEM;
    return r < 0 ? r : mail_add_header(mail, name, value);
}

/* Up to the empty line, which is used up, or the first line that is no header: with that the body
 * begins, as MTAs see it. *ret_empty_line tells which. */
static int read_headers(MailReader *reader, Mail *mail, bool *ret_empty_line)
{
    Piece piece;
    int r;

    while ((r = peek(reader, &piece)) > 0) {
        size_t value_at, name_length = header_name_length(&piece, &value_at);

        if (piece.whole && piece.size == 0) {
            use_up(reader, &piece);
            *ret_empty_line = true;
            return 0;
        }
        if (name_length == 0)
            break;
        r = read_header(reader, mail, &piece, name_length, value_at);
        if (r < 0)
            return r;
    }
    *ret_empty_line = false;
    return MIN(r, 0);
}

/* The empty line before a separator belongs to it: an empty line waits until the next is known. */
static int read_body(MailReader *reader, Mail *mail, bool after_empty_line, uint64_t max)
{
    bool at_line = true, empty_waits = false;
    Piece piece;
    int r;

    while ((r = peek(reader, &piece)) > 0) {
        if (reader->mbox && at_line && after_empty_line && is_separator(&piece)) {
            use_up(reader, &piece);
            reader->has_more = true;
            return 0;
        }
        if (empty_waits)
            r = mail_add_body(mail, "\r\n", 2, max);
        after_empty_line = at_line && piece.whole && piece.size == 0;
        empty_waits = reader->mbox && after_empty_line;
        if (!empty_waits) {
            size_t quote = reader->mbox && at_line && is_quoted(&piece);

            if (r >= 0)
                r = mail_add_body(mail, piece.bytes + quote, piece.size - quote, max);
            if (r >= 0 && piece.whole)
                r = mail_add_body(mail, "\r\n", 2, max);
        }
        if (r < 0)
            return r;
        at_line = piece.whole;
        use_up(reader, &piece);
    }
    if (r == 0 && !at_line)
        r = mail_add_body(mail, "\r\n", 2, max);
    return r;
}

int mail_reader_next(MailReader *reader, Mail *mail, uint64_t max_message)
{
    bool after_empty_line;
    Piece piece;
    int r;

    if (!reader->begun) {
        r = peek(reader, &piece);
        if (r <= 0)
            return r;
        reader->begun = reader->has_more = true;
        reader->mbox = begins(&piece, "From ");
        r = reader->mbox ? use_up_line(reader, piece) : 0;
        if (r < 0)
            return r;
    }
    if (!reader->has_more)
        return 0;
    reader->has_more = false;
    r = read_headers(reader, mail, &after_empty_line);
    if (r == 0)
        r = read_body(reader, mail, after_empty_line, max_message);
    return r < 0 ? r : 1;
}
