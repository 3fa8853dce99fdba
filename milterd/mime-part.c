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

/* The last part of a path, of whatever system. */
static int copy_name(char **member, const char *value)
{
    bool had_one = *member;
    char *text;
    int r;

    r = copy_text(member, value);
    if (r < 0 || had_one || !*member)
        return r;
    text = *member;
    for (const char *p = text; *p; p++)
        if (strchr("/\\", *p) && p[1] != '\0')
            text = (char *)p + 1;
    memmove(*member, text, strlen(text) + 1);
    return 0;
}

/* Where the content of message/external-body is (RFC 2046, 5.2.3; RFC 2017). */
static int read_elsewhere(MimePart *part, GMimeContentType *type)
{
    static const char *const names[] = { "site", "server", "directory", "name", "subject" };
    const char *url = g_mime_content_type_get_parameter(type, "url");
    const char *access = g_mime_content_type_get_parameter(type, "access-type");
    _cleanup_free_ char *text = NULL;
    size_t size;
    FILE *stream;
    int r;

    if (url)
        return copy_text(&part->elsewhere, url);
    stream = open_memstream(&text, &size);
    if (!stream)
        return -ENOMEM;
    fputs(access ? access : "", stream);
    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        const char *value = g_mime_content_type_get_parameter(type, names[i]);

        if (value)
            fprintf(stream, " %s", value);
    }
    if (fclose(stream) != 0)
        return -ENOMEM;
    r = copy_text(&part->elsewhere, text);
    return r;
}

static int read_parameters(MimePart *part, GMimeContentType *type)
{
    const char *boundary = g_mime_content_type_get_parameter(type, "boundary");
    const char *charset = g_mime_content_type_get_parameter(type, "charset");
    const char *format = g_mime_content_type_get_parameter(type, "format");
    const char *delsp = g_mime_content_type_get_parameter(type, "delsp");
    const char *smime = g_mime_content_type_get_parameter(type, "smime-type");
    const char *number = g_mime_content_type_get_parameter(type, "number");
    const char *total = g_mime_content_type_get_parameter(type, "total");
    int r = 0;

    if (boundary && strlen(boundary) <= MIME_BOUNDARY_MAX)
        g_strchomp(strcpy(part->boundary, boundary));
    if (charset) {
        part->charset = strdup(charset);
        if (!part->charset)
            return -ENOMEM;
    }
    part->flowed = format && g_ascii_strcasecmp(format, "flowed") == 0;
    part->delsp = delsp && g_ascii_strcasecmp(delsp, "yes") == 0;
    part->signed_data = smime && g_ascii_strcasecmp(smime, "signed-data") == 0;
    part->number = number ? (unsigned)strtoul(number, NULL, 10) : 0;
    part->total = total ? (unsigned)strtoul(total, NULL, 10) : 0;
    if (mime_part_is(part, "multipart", "related"))
        r = copy_text(&part->start, g_mime_content_type_get_parameter(type, "start"));
    if (r == 0 && mime_part_is(part, "message", "external-body"))
        r = read_elsewhere(part, type);
    if (r == 0)
        r = copy_name(&part->name, g_mime_content_type_get_parameter(type, "name"));
    return r;
}

static int read_type(MimePart *part, const char *value)
{
    GMimeContentType *type;
    int r;

    /* RFC 2045, section 5.2: what makes no sense is plain text. */
    if (!value || !memchr(value, '/', strcspn(value, ";")))
        return 0;
    type = g_mime_content_type_parse(NULL, value);
    if (!type)
        return 0;
    copy_lower(part->type, g_mime_content_type_get_media_type(type));
    copy_lower(part->subtype, g_mime_content_type_get_media_subtype(type));
    r = read_parameters(part, type);
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
    r = copy_name(&part->name, g_mime_content_disposition_get_parameter(disposition, "filename"));
    g_object_unref(disposition);
    return r;
}

/* The value in one line, as much of it as is looked at, with the quotation mark that it lacks. */
static int shorten(const char *value, char **ret)
{
    size_t size = value ? strnlen(value, MIME_VALUE_MAX) : 0;
    bool quoted = false;
    char *copy;

    *ret = NULL;
    if (!value)
        return 0;
    copy = malloc(size + 2);
    if (!copy)
        return -ENOMEM;
    for (size_t i = 0; i < size; i++) {
        copy[i] = value[i] == '\r' || value[i] == '\n' ? ' ' : value[i];
        quoted ^= value[i] == '"' && (i == 0 || value[i - 1] != '\\');
    }
    if (quoted)
        copy[size++] = '"';
    copy[size] = '\0';
    *ret = copy;
    return 0;
}

/* Senders write comments, quotes and parameters where none belong. */
static int read_encoding(char *value)
{
    char *token = value + strspn(value, " \t\"'");

    token[strcspn(token, " \t\"';(,")] = '\0';
    return (int)g_mime_content_encoding_from_string(token);
}

int mime_part_read(MimePart *part, const char *type, const char *encoding, const char *disposition)
{
    _cleanup_free_ char *short_type = NULL, *short_encoding = NULL, *short_disposition = NULL;

    *part = (MimePart){ .type = "text", .subtype = "plain" };
    if (shorten(type, &short_type) < 0 || shorten(encoding, &short_encoding) < 0 ||
        shorten(disposition, &short_disposition) < 0)
        return -ENOMEM;

    if (short_encoding)
        part->encoding = read_encoding(short_encoding);
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
    free(part->start);
    free(part->elsewhere);
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

bool mime_part_is_base64(const MimePart *part)
{
    return part->encoding == GMIME_CONTENT_ENCODING_BASE64;
}

/* Not GMime's, which takes a soft line break for text where blanks follow it. */
static size_t decode_quoted(const char *bytes, size_t size, size_t max, char *to, size_t *ret_used)
{
    size_t n = 0, i = 0;

    while (i < size && n < max) {
        size_t end = i + 1;

        if (bytes[i] != '=') {
            to[n++] = bytes[i++];
            continue;
        }
        if (i + 2 < size && header_hex_value(bytes[i + 1]) >= 0 &&
            header_hex_value(bytes[i + 2]) >= 0) {
            to[n++] = (char)(header_hex_value(bytes[i + 1]) << 4 | header_hex_value(bytes[i + 2]));
            i += 3;
            continue;
        }
        while (end < size && strchr(" \t\r", bytes[end]) && bytes[end] != '\0')
            end++;
        if (end >= size || bytes[end] == '\n')
            i = MIN(end + 1, size);
        else
            to[n++] = bytes[i++];
    }
    *ret_used = i;
    return n;
}

/* Nor here: it ends at the first padding, and drops what lacks it. Where the first line is a number
 * of whole groups, as nearly always, each line begins with a group: one that has lost a character
 * does not spoil those behind it. */
static size_t decode_base64(const char *bytes, size_t size, size_t max, char *to, size_t *ret_used)
{
    size_t n = 0, i = 0, digits = 0;
    bool first = true, aligned = false;
    uint32_t bits = 0;
    unsigned n_bits = 0;

    for (; i < size && n < max; i++) {
        int value = header_base64_value(bytes[i]);

        if (bytes[i] == '\n' && digits > 0) {
            aligned = first ? digits % 4 == 0 : aligned;
            first = false;
        }
        if (bytes[i] == '=' || (bytes[i] == '\n' && aligned))
            n_bits = 0;
        if (value < 0)
            continue;
        digits++;
        bits = bits << 6 | (uint32_t)value;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            to[n++] = (char)(bits >> n_bits);
        }
    }
    *ret_used = i;
    return n;
}

static size_t decode_by_gmime(const MimePart *part, const char *bytes, size_t size, size_t max,
                              char *to, size_t *ret_used)
{
    size_t n = 0, at = 0;
    GMimeEncoding state;

    g_mime_encoding_init_decode(&state, (GMimeContentEncoding)part->encoding);
    while (at < size && n < max) {
        size_t chunk = MIN(size - at, CHUNK / 2);

        /* No encoding grows when it is undone, but what was held back may come with a chunk. */
        n += g_mime_encoding_step(&state, bytes + at, chunk, to + n);
        at += chunk;
    }
    *ret_used = at;
    return n;
}

int mime_part_decode(const MimePart *part, const char *bytes, size_t size, size_t max, char **ret,
                     size_t *ret_size, bool *ret_cut)
{
    char *result = malloc(MIN(size, max) + 2 * CHUNK + 1);
    size_t n, used;

    if (!result)
        return -ENOMEM;
    if (part->encoding == GMIME_CONTENT_ENCODING_QUOTEDPRINTABLE)
        n = decode_quoted(bytes, size, max, result, &used);
    else if (mime_part_is_base64(part))
        n = decode_base64(bytes, size, max, result, &used);
    else
        n = decode_by_gmime(part, bytes, size, max, result, &used);
    if (used < size || n > max)
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

    if (!mime_part_is_base64(part))
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
