/* SPDX-License-Identifier: MIT */

/*
 * Bytes, transfer encoding, charset, what terminals and mail programs put in, and at last the
 * kind of text. Each step bounds what it makes of the one before.
 */

#include "milterd/mime-leaf.h"

#include <stdio.h>
#include <strings.h>

#include "common/text.h"
#include "milterd/charset.h"
#include "milterd/embedded.h"
#include "milterd/header.h"
#include "milterd/html.h"
#include "milterd/plain.h"
#include "milterd/rich.h"

#define NAME_SHOWN_MAX 200

/* Types */

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), n = strlen(end);

    return length >= n && streq(text + length - n, end);
}

static bool is_any(const char *text, const char *const *of, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (streq(text, of[i]))
            return true;
    return false;
}

bool mime_leaf_is_text(const MimePart *part, bool alone)
{
    static const char *const files[] = { "vcard",      "x-vcard", "directory", "x-amp-html",
                                         "javascript", "css",     "rtf" };
    static const char *const types[] = { "application", "image", "audio",    "video",
                                         "font",        "model", "chemical", "multipart" };
    static const char *const data[] = { "json", "xml", "yaml", "x-yaml", "x-ndjson", "text" };

    if (streq(part->type, "text"))
        return !is_any(part->subtype, files, ELEMENTSOF(files));
    if (streq(part->type, "message"))
        return !part->elsewhere && !streq(part->subtype, "external-body");
    if (streq(part->type, "application"))
        return alone && !part->name &&
               (is_any(part->subtype, data, ELEMENTSOF(data)) ||
                ends_with(part->subtype, "+json") || ends_with(part->subtype, "+xml"));
    /* "plain/text" and the like */
    return !is_any(part->type, types, ELEMENTSOF(types)) && strncmp(part->type, "x-", 2) != 0;
}

/* Output */

void mime_leaf_add(Buffer *out, const char *text)
{
    size_t begin = 0, end = strlen(text);

    if (text[strspn(text, " \t\r\n")] == '\0')
        return;
    for (size_t i = 0; text[i] && strchr(" \t\n", text[i]); i++)
        if (text[i] == '\n')
            begin = i + 1;
    while (end > begin && strchr(" \t\n", text[end - 1]))
        end--;
    if (out->size > 0)
        buffer_add_string(out, "\n\n");
    buffer_add(out, text + begin, end - begin);
}

static bool ends_with_note(const Buffer *out)
{
    size_t begin = out->size;

    while (begin > 0 && out->data[begin - 1] != '\n')
        begin--;
    return out->size > 0 && out->data[begin] == '[' && out->data[out->size - 1] == ']';
}

int mime_leaf_note(const char *what, const char *name, const char *type, size_t size, Buffer *out)
{
    _cleanup_free_ char *line = NULL;
    char shown[MIME_SIZE_TEXT_MAX + 1] = "";
    size_t length = name ? text_cut(name, strlen(name), NAME_SHOWN_MAX) : 0;

    if (size < SIZE_MAX)
        mime_size_text(size, shown);
    if (asprintf(&line, "[%s: %.*s%s%s%s%s%s]", what, (int)length, name ? name : "",
                 length > 0 ? " (" : "", type, *type && *shown ? ", " : "", shown,
                 length > 0 ? ")" : "") < 0) {
        line = NULL;
        return -ENOMEM;
    }
    if (out->size > 0)
        buffer_add_string(out, ends_with_note(out) ? "\n" : "\n\n");
    buffer_add_string(out, line);
    return 0;
}

/* Reading */

static int note_embedded(const Embedded *found, Buffer *out)
{
    _cleanup_free_ char *name = NULL;

    switch (found->kind) {
    case EMBEDDED_FILE:
        if (!found->name)
            return mime_leaf_note("attachment", NULL, "in the text", found->size, out);
        name = text_clean_line_dup(found->name, found->name_size);
        if (!name)
            return -ENOMEM;
        return mime_leaf_note("attachment", name, "in the text", found->size, out);
    case EMBEDDED_ENCRYPTED:
        return mime_leaf_note("encrypted", NULL, "OpenPGP", found->size, out);
    case EMBEDDED_KEY:
        return mime_leaf_note("attachment", NULL, "OpenPGP key", found->size, out);
    case EMBEDDED_SIGNATURE:
        return 0;
    }
    return 0;
}

/* Plain text, with what is in it named in its place. Returns whether there was text. */
static int add_plain(char *text, Buffer *out)
{
    Embedded found;
    size_t at = 0;
    bool any = false;
    int r = 0;

    while (r == 0 && embedded_next(text, at, &found)) {
        char first = text[found.begin];

        text[found.begin] = '\0';
        any = any || text[at + strspn(text + at, " \t\n")];
        mime_leaf_add(out, text + at);
        text[found.begin] = first;
        r = note_embedded(&found, out);
        at = found.end;
    }
    any = any || text[at + strspn(text + at, " \t\n")];
    mime_leaf_add(out, text + at);
    return r < 0 ? r : any;
}

static bool is_html(const MimePart *part, const char *text)
{
    if (mime_part_is(part, "text", "html"))
        return true;
    if (!mime_part_is(part, "text", "plain"))
        return false;
    text += strspn(text, " \t\r\n");
    return strncasecmp(text, "<!doctype html", 14) == 0 || strncasecmp(text, "<html>", 6) == 0 ||
           strncasecmp(text, "<html ", 6) == 0;
}

static int add_html(const char *html, size_t size, MimeLimits *limits, Buffer *out)
{
    _cleanup_free_ char *text = NULL;
    bool cut = false;
    int r;

    r = html_to_text(html, size, &limits->html_left, &text, &cut);
    if (r < 0)
        return r;
    limits->cut = limits->cut || cut;
    mime_leaf_add(out, text);
    return text[strspn(text, " \t\n")] != '\0';
}

/* Text whose charset is undone, and that is no HTML. */
static int add_text(const MimePart *part, char *decoded, size_t size, Buffer *out)
{
    _cleanup_free_ char *text = NULL, *unflowed = NULL;
    _cleanup_(buffer_done) Buffer rich = { .max = out->max };
    int r;

    size = plain_drop_terminal(decoded, size);
    text = text_clean_dup(decoded, size);
    if (!text)
        return -ENOMEM;

    if (mime_part_is(part, "text", "enriched") || mime_part_is(part, "text", "richtext"))
        rich_from_enriched(text, streq(part->subtype, "richtext"), &rich);
    else if (mime_part_is(part, "text", "calendar"))
        rich_from_calendar(text, &rich);
    if (rich.failed)
        return -ENOMEM;
    if (rich.size > 0) {
        mime_leaf_add(out, rich.data);
        return 1;
    }
    if (part->flowed) {
        r = plain_unflow(text, part->delsp, &unflowed);
        if (r < 0)
            return r;
    }
    return add_plain(unflowed ? unflowed : text, out);
}

/* What follows the base64 of a part: a mailing list or a gateway has put it there. */
static int add_tail(const MimePart *part, Range tail, Buffer *out)
{
    _cleanup_free_ char *decoded = NULL;
    size_t size;
    int r;

    r = charset_decode(part->charset, tail.bytes, MIN(tail.size, out->max), &decoded, &size);
    if (r < 0)
        return r;
    return add_text(&MIME_PART_PLAIN, decoded, size, out);
}

static int name_binary(const MimePart *part, Range content, Buffer *out)
{
    char type[3 * MIME_TYPE_MAX];

    snprintf(type, sizeof(type), "%s/%s that is no text", part->type, part->subtype);
    return mime_leaf_note("attachment", part->name, type,
                          mime_part_size(part, content.bytes, content.size), out);
}

/* MTAs make each line feed a line end of two bytes, also those that are half a character. */
static size_t mend_wide(char *bytes, size_t size)
{
    size_t zeros = 0, n = 0;

    for (size_t i = 0; i < size; i++)
        zeros += bytes[i] == '\0';
    if (zeros * 4 < size)
        return size;
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != '\r' || i + 1 == size || bytes[i + 1] != '\n')
            bytes[n++] = bytes[i];
    return n - (n % 2 != 0 && bytes[n - 1] == '\n');
}

int mime_leaf_read(const MimePart *part, Range content, MimeLimits *limits, Buffer *out)
{
    size_t size, whole = content.size, room = out->max - MIN(out->size, out->max);
    _cleanup_free_ char *bytes = NULL, *decoded = NULL;
    char found[HTML_CHARSET_MAX + 1];
    const char *charset = part->charset;
    Range tail = {};
    int r, tail_r = 0;
    bool is_file;

    if (mime_part_is_base64(part)) {
        content.size = range_base64_size(content);
        tail = (Range){ content.bytes + content.size, whole - content.size };
    }
    r = mime_part_decode(part, content.bytes, content.size, room, &bytes, &size, &limits->cut);
    if (r < 0)
        return r;
    if (!mime_part_is_encoded(part))
        size = mend_wide(bytes, size);
    if (!charset && mime_part_is(part, "text", "html") && html_charset(bytes, size, found))
        charset = found;
    is_file = plain_is_file(bytes, size) ||
              (!mime_part_is_encoded(part) && range_is_bare_base64((Range){ bytes, size }));
    r = charset_decode(charset, bytes, size, &decoded, &size);
    if (r < 0)
        return r;

    if (is_file || plain_is_binary(decoded, size))
        r = name_binary(part, content, out);
    else if (is_html(part, decoded))
        r = add_html(decoded, size, limits, out);
    else
        r = add_text(part, decoded, size, out);
    if (r >= 0 && tail.size > 0)
        tail_r = add_tail(part, tail, out);
    return r < 0 || tail_r < 0 ? -ENOMEM : r > 0 || tail_r > 0;
}
