/* SPDX-License-Identifier: MIT */

/*
 * GMime reads parameters, encodings and dates. Its parser of whole messages is not used: it keeps
 * an object for each part and has no limit on how many there are, so ten megabytes of boundaries
 * cost gigabytes and many seconds. mime.c walks over the parts instead.
 *
 * GLib ends the process where it finds no memory; so it is given small pieces only.
 */

#include "milterd/mime-part.h"

#include <gmime/gmime.h>
#include <stdio.h>

#include "common/text.h"
#include "milterd/header.h"

#define CHUNK ((size_t)16384)

void mime_part_init_library(void)
{
    g_mime_init();
}

static void copy_lower(char to[static MIME_TYPE_MAX + 1], const char *from)
{
    size_t n = strnlen(from, MIME_TYPE_MAX);

    for (size_t i = 0; i < n; i++)
        to[i] = g_ascii_tolower(from[i]);
    to[n] = '\0';
}

/* A parameter as clean text: GMime has read RFC 2231; what senders do instead is RFC 2047. */
static int copy_text(char **member, const char *value)
{
    char *text;

    if (!value || !*value || *member)
        return 0;
    text = header_decode_dup(value);
    if (!text)
        return -ENOMEM;
    *member = text;
    return 0;
}

static int read_type(MimePart *part, const char *value)
{
    GMimeContentType *type;
    const char *boundary, *charset;
    int r = 0;

    /* RFC 2045, section 5.2: what makes no sense is plain text. */
    if (!value || !memchr(value, '/', strcspn(value, ";")))
        return 0;
    type = g_mime_content_type_parse(NULL, value);
    if (!type)
        return 0;
    copy_lower(part->type, g_mime_content_type_get_media_type(type));
    copy_lower(part->subtype, g_mime_content_type_get_media_subtype(type));

    boundary = g_mime_content_type_get_parameter(type, "boundary");
    if (boundary && strlen(boundary) <= MIME_BOUNDARY_MAX)
        strcpy(part->boundary, boundary);
    charset = g_mime_content_type_get_parameter(type, "charset");
    if (charset) {
        part->charset = strdup(charset);
        if (!part->charset)
            r = -ENOMEM;
    }
    if (r == 0)
        r = copy_text(&part->name, g_mime_content_type_get_parameter(type, "name"));
    g_object_unref(type);
    return r;
}

static int read_disposition(MimePart *part, const char *value)
{
    GMimeContentDisposition *disposition;
    int r;

    if (!value)
        return 0;
    disposition = g_mime_content_disposition_parse(NULL, value);
    if (!disposition)
        return 0;
    part->attachment = g_mime_content_disposition_is_attachment(disposition);
    r = copy_text(&part->name, g_mime_content_disposition_get_parameter(disposition, "filename"));
    g_object_unref(disposition);
    return r;
}

/* The value in one line, as much of it as is looked at. */
static int shorten(const char *value, char **ret)
{
    size_t size = value ? strnlen(value, MIME_VALUE_MAX) : 0;
    char *copy = NULL;

    if (value) {
        copy = strndup(value, size);
        if (!copy)
            return -ENOMEM;
        for (size_t i = 0; i < size; i++)
            if (copy[i] == '\r' || copy[i] == '\n')
                copy[i] = ' ';
    }
    *ret = copy;
    return 0;
}

int mime_part_read(MimePart *part, const char *type, const char *encoding, const char *disposition)
{
    _cleanup_free_ char *short_type = NULL, *short_encoding = NULL, *short_disposition = NULL;

    *part = (MimePart){ .type = "text", .subtype = "plain" };
    if (shorten(type, &short_type) < 0 || shorten(encoding, &short_encoding) < 0 ||
        shorten(disposition, &short_disposition) < 0)
        return -ENOMEM;

    if (short_encoding)
        part->encoding = (int)g_mime_content_encoding_from_string(g_strstrip(short_encoding));
    if (read_disposition(part, short_disposition) < 0 || read_type(part, short_type) < 0) {
        mime_part_done(part);
        return -ENOMEM;
    }
    return 0;
}

void mime_part_done(MimePart *part)
{
    free(part->charset);
    free(part->name);
    *part = (MimePart){};
}

bool mime_part_is(const MimePart *part, const char *type, const char *subtype)
{
    return streq(part->type, type) && (!subtype || streq(part->subtype, subtype));
}

bool mime_part_is_encoded(const MimePart *part)
{
    return part->encoding == GMIME_CONTENT_ENCODING_BASE64 ||
           part->encoding == GMIME_CONTENT_ENCODING_QUOTEDPRINTABLE ||
           part->encoding == GMIME_CONTENT_ENCODING_UUENCODE;
}

int mime_part_decode(const MimePart *part, const char *bytes, size_t size, size_t max, char **ret,
                     size_t *ret_size, bool *ret_cut)
{
    size_t allocated = MIN(size, max) + 2 * CHUNK, n = 0, at = 0;
    char *result = malloc(allocated + 1);
    GMimeEncoding state;

    if (!result)
        return -ENOMEM;
    g_mime_encoding_init_decode(&state, (GMimeContentEncoding)part->encoding);
    while (at < size && n < max) {
        size_t chunk = MIN(size - at, CHUNK / 2);

        /* No encoding grows when it is undone, but what was held back may come with a chunk. */
        n += g_mime_encoding_step(&state, bytes + at, chunk, result + n);
        at += chunk;
    }
    if (at < size || n > max)
        *ret_cut = true;
    n = MIN(n, max);
    result[n] = '\0';
    *ret = result;
    *ret_size = n;
    return 0;
}

size_t mime_part_size(const MimePart *part, const char *bytes, size_t size)
{
    size_t n = 0;

    if (part->encoding != GMIME_CONTENT_ENCODING_BASE64)
        return size;
    for (size_t i = 0; i < size; i++)
        n += bytes[i] > ' ' && bytes[i] != '=';
    return n / 4 * 3 + n % 4 * 3 / 4;
}

const char *mime_part_encoding(const MimePart *part)
{
    const char *name = g_mime_content_encoding_to_string((GMimeContentEncoding)part->encoding);

    return name ? name : "";
}

void mime_size_text(size_t size, char ret[static MIME_SIZE_TEXT_MAX + 1])
{
    if (size < 1024)
        snprintf(ret, MIME_SIZE_TEXT_MAX + 1, "%zu byte%s", size, size == 1 ? "" : "s");
    else if (size < 1048576)
        snprintf(ret, MIME_SIZE_TEXT_MAX + 1, "%zu KB", (size + 1023) / 1024);
    else
        snprintf(ret, MIME_SIZE_TEXT_MAX + 1, "%.1f MB", (double)size / 1048576);
}

bool mime_date_read(const char *value, usec_t *ret_usec)
{
    GDateTime *date;
    gint64 seconds;

    if (strnlen(value, MIME_VALUE_MAX) >= MIME_VALUE_MAX)
        return false;
    date = g_mime_utils_header_decode_date(value);
    if (!date)
        return false;
    seconds = g_date_time_to_unix(date);
    g_date_time_unref(date);
    if (seconds < 0)
        return false;
    *ret_usec = (usec_t)seconds * USEC_PER_SEC;
    return true;
}

Digest *digest_new(void)
{
    return (Digest *)g_checksum_new(G_CHECKSUM_SHA256);
}

void digest_add(Digest *digest, const void *bytes, size_t size)
{
    char length[24];
    int n = snprintf(length, sizeof(length), "%zu:", size);

    g_checksum_update((GChecksum *)digest, (const guchar *)length, n);
    if (size > 0)
        g_checksum_update((GChecksum *)digest, bytes, (gssize)size);
}

void digest_end(Digest *digest, char ret[static DIGEST_TEXT_MAX + 1])
{
    strcpy(ret, g_checksum_get_string((GChecksum *)digest));
    g_checksum_free((GChecksum *)digest);
}
