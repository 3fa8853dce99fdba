/* SPDX-License-Identifier: MIT */

/*
 * Messages within a mail: who wrote what, and then their text.
 */

#include <stdio.h>

#include "milterd/header.h"
#include "milterd/mime-internal.h"

int mime_add_head(const Fields *fields, Buffer *out)
{
    _cleanup_free_ char *from = NULL, *subject = NULL, *head = NULL;
    char charset[HEADER_CHARSET_MAX + 1];

    header_charset(fields->type, charset);
    from = header_decode_as_dup(fields->from ? fields->from : "", charset);
    subject = header_decode_as_dup(fields->subject ? fields->subject : "", charset);
    if (!from || !subject ||
        asprintf(&head, "%s%s%s%s%s", *from ? "From: " : "", from, *from && *subject ? "\n" : "",
                 *subject ? "Subject: " : "", subject) < 0) {
        head = NULL;
        return -ENOMEM;
    }
    mime_leaf_add(out, head);
    return 0;
}

int mime_walk_message(Walk *walk, const MimePart *message, Range content, unsigned depth,
                      Buffer *out)
{
    _cleanup_(fields_done) Fields fields = {};
    _cleanup_(mime_part_done) MimePart part = {};
    int r;

    mime_note(walk, message, content, depth, walk->names_only ? FATE_NAMED : NULL);
    if (walk->names_only)
        return mime_name_part("attachment", message, content, out);
    r = mime_decode_whole(walk, message, &content);
    if (r == 0)
        r = fields_read(&content, &fields);
    if (r == 0 && !fields.type)
        r = fields_recover(&content, &fields);
    if (r == 0)
        r = mime_add_head(&fields, out);
    if (r == 0)
        r = mime_part_read(&part, fields.type, fields.encoding, fields.disposition);
    if (r < 0)
        return r;
    walk->shown = walk->shown || fields.from || fields.subject;
    if (content.size == 0)
        return 0;
    return mime_walk_part(walk, &part, content, depth + 1, out);
}

/* The first piece has the header. */
int mime_walk_piece(Walk *walk, const MimePart *part, Range content, unsigned depth, Buffer *out)
{
    _cleanup_free_ char *line = NULL;
    int n;

    if (part->total > 0)
        n = asprintf(&line, "[part %u of %u of a message]", part->number, part->total);
    else
        n = asprintf(&line, "[part %u of a message]", part->number);
    if (n < 0) {
        line = NULL;
        return -ENOMEM;
    }
    mime_leaf_add(out, line);
    if (part->number == 1)
        return mime_walk_message(walk, part, content, depth, out);
    return mime_show_text(walk, part, content, depth, out);
}
