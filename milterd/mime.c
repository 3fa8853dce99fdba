/* SPDX-License-Identifier: MIT */

/*
 * The walk over the parts of a mail. The body is one range of bytes; a multipart cuts its range
 * at its boundary into the ranges of its parts, top down, so a part that lacks its own end never
 * reaches past its parent's next boundary. Nothing is copied but the text that is shown, and what
 * holds parts in spite of a transfer encoding.
 *
 * Depth, number of parts, bytes of text and bytes of HTML are counted for the whole mail.
 */

#include "milterd/mime.h"

#include <stdio.h>

#include "common/text.h"
#include "milterd/html.h"
#include "milterd/mime-internal.h"

void mime_init(void)
{
    mime_part_init_library();
    html_init();
}

size_t mime_note(Walk *walk, const MimePart *part, Range content, unsigned depth, const char *fate)
{
    return mime_tree_add(walk->tree, part, mime_part_size(part, content.bytes, content.size), depth,
                         fate);
}

size_t mime_nodes(const Walk *walk)
{
    return walk->tree ? walk->tree->n : 0;
}

int mime_name_part(const char *what, const MimePart *part, Range content, Buffer *out)
{
    char type[2 * MIME_TYPE_MAX + 2];

    snprintf(type, sizeof(type), "%s/%s", part->type, part->subtype);
    return mime_leaf_note(what, part->name, type, mime_part_size(part, content.bytes, content.size),
                          out);
}

int mime_show_text(Walk *walk, const MimePart *part, Range content, unsigned depth, Buffer *out)
{
    size_t node = mime_note(walk, part, content, depth, FATE_EMPTY), before = out->size;
    int r;

    if (walk->names_only && part->name && !mime_part_is(part, "text", "html")) {
        mime_tree_set(walk->tree, node, FATE_ATTACHED);
        return mime_name_part("attachment", part, content, out);
    }
    if (walk->names_only) {
        mime_tree_set(walk->tree, node, FATE_ALTERNATIVE);
        return 0;
    }
    r = mime_leaf_read(part, content, &walk->limits, out);
    if (r > 0 || out->size > before)
        mime_tree_set(walk->tree, node, r > 0 ? FATE_SHOWN : FATE_NAMED);
    walk->shown = walk->shown || r > 0;
    return MIN(r, 0);
}

int mime_decode_whole(Walk *walk, const MimePart *part, Range *content)
{
    size_t size;
    int r;

    if (!mime_part_is_encoded(part) || walk->n_decoded >= DECODED_MAX)
        return 0;
    r = mime_part_decode(part, content->bytes, content->size, MIME_TEXT_MAX,
                         &walk->decoded[walk->n_decoded], &size, &walk->limits.cut);
    if (r < 0)
        return r;
    *content = (Range){ walk->decoded[walk->n_decoded++], size };
    return 0;
}

/* Multiparts */

/* What a text may bring along to be shown. */
static bool is_picture(const MimePart *part)
{
    return !part->attachment &&
           (mime_part_is(part, "image", NULL) || mime_part_is(part, "font", NULL) ||
            mime_part_is(part, "text", "css") || mime_part_is(part, "text", "javascript") ||
            mime_part_is(part, "application", "javascript") ||
            mime_part_is(part, "application", "x-javascript"));
}

static bool is_signature(const MimePart *part)
{
    return mime_part_is(part, "application", "pgp-signature") ||
           mime_part_is(part, "application", "pkcs7-signature") ||
           mime_part_is(part, "application", "x-pkcs7-signature");
}

/* "<id>" and "id" are the same. */
static bool is_id(const char *field, const char *id)
{
    size_t length;

    if (!field)
        return false;
    field += strspn(field, " \t\r\n<");
    id += strspn(id, " <");
    length = strcspn(id, ">");
    return length > 0 && strncmp(field, id, length) == 0 &&
           field[length + strspn(field + length, "> \t\r\n")] == '\0';
}

static int walk_related(Walk *walk, const MimePart *part, const Fields *fields, Range content,
                        unsigned depth, Buffer *out, Choice *choice)
{
    bool may_be_root = mime_leaf_is_text(part, false) || mime_part_is(part, "multipart", NULL);
    bool is_root = choice->start ? is_id(fields->id, choice->start)
                                 : may_be_root && !choice->root_seen && !part->attachment;

    choice->root_seen = choice->root_seen || is_root;
    if (!is_root && is_picture(part) && (choice->root_seen || choice->start)) {
        mime_note(walk, part, content, depth, FATE_PICTURE);
        walk->picture.max = MIME_TEXT_MAX;
        return walk->picture.size > 0 ? 0
                                      : mime_name_part("attachment", part, content, &walk->picture);
    }
    if (!is_root && choice->start && mime_leaf_is_text(part, false)) {
        mime_note(walk, part, content, depth, FATE_ATTACHED);
        return mime_name_part("attachment", part, content, out);
    }
    return mime_walk_part(walk, part, content, depth, out);
}

/* One part of a multipart. */
static int walk_child(Walk *walk, const MimePart *parent, Range range, unsigned depth, Buffer *out,
                      Choice *choice)
{
    _cleanup_(fields_done) Fields fields = {};
    _cleanup_(mime_part_done) MimePart part = {};
    int r;

    r = fields_read(&range, &fields);
    if (r < 0)
        return r;
    if (!fields.type && mime_part_is(parent, "multipart", "digest"))
        r = mime_part_read(&part, "message/rfc822", fields.encoding, fields.disposition);
    else
        r = mime_part_read(&part, fields.type, fields.encoding, fields.disposition);
    if (r < 0)
        return r;

    if (mime_part_is(parent, "multipart", "alternative"))
        return mime_choose(walk, &part, range, depth, out->max - MIN(out->size, out->max), choice);
    if (mime_part_is(parent, "multipart", "signed") && is_signature(&part)) {
        mime_note(walk, &part, range, depth, FATE_SIGNATURE);
        return 0;
    }
    if (mime_part_is(parent, "multipart", "related"))
        return walk_related(walk, &part, &fields, range, depth, out, choice);
    return mime_walk_part(walk, &part, range, depth, out);
}

/* Whether one of the parts has that Content-ID. */
static int has_part(PartCursor cursor, const char *id)
{
    bool found = false;
    Range range;

    for (size_t i = 0; i < MIME_PARTS_MAX && !found && range_next_part(&cursor, &range); i++) {
        _cleanup_(fields_done) Fields fields = {};
        int r = fields_read(&range, &fields);

        if (r < 0)
            return r;
        found = is_id(fields.id, id);
    }
    return found;
}

static int walk_parts(Walk *walk, const MimePart *part, PartCursor cursor, unsigned depth,
                      Buffer *out)
{
    Choice choice = {};
    Range range;
    int r = 0;

    if (part->start) {
        r = has_part(cursor, part->start);
        choice.start = r > 0 ? part->start : NULL;
    }
    while (r >= 0 && range_next_part(&cursor, &range)) {
        if (walk->n_parts >= MIME_PARTS_MAX) {
            walk->limits.cut = true;
            break;
        }
        walk->n_parts++;
        r = walk_child(walk, part, range, depth + 1, out, &choice);
    }
    if (r >= 0 && choice.best.data)
        mime_leaf_add(out, choice.best.data);
    if (r >= 0 && choice.names.data)
        mime_leaf_add(out, choice.names.data);
    buffer_done(&choice.best);
    buffer_done(&choice.names);
    return MIN(r, 0);
}

/* Finds the first part of a multipart: by its boundary, or by what looks like one. */
static bool find_parts(const Walk *walk, const MimePart *part, Range content,
                       char guessed[static MIME_BOUNDARY_MAX + 1], PartCursor *ret)
{
    if (walk->n_unbound >= UNBOUND_MAX)
        return false;
    return range_first_part(ret, content, part->boundary) ||
           (range_guess_boundary(content, guessed) && range_first_part(ret, content, guessed));
}

/* Shows what stands above the first part, where no mail program looks but some scripts write their
 * text, for want of other text; not what says there that the parts are MIME. */
static int show_preamble(Walk *walk, const PartCursor *cursor, unsigned depth, Buffer *out)
{
    Range preamble = range_before_parts(cursor);

    if (depth > 0 || walk->shown || memmem(preamble.bytes, preamble.size, "MIME", 4) ||
        preamble.size == 0)
        return 0;
    return mime_show_text(walk, &MIME_PART_PLAIN, preamble, depth + 1, out);
}

/* What a multipart holds without a boundary: text, or one part with its header. */
static int walk_unbound(Walk *walk, Range content, unsigned depth, Buffer *out)
{
    _cleanup_(fields_done) Fields fields = {};
    _cleanup_(mime_part_done) MimePart part = {};
    int r;

    walk->n_unbound++;
    r = fields_recover(&content, &fields);
    if (r == 0)
        r = mime_part_read(&part, fields.type, fields.encoding, fields.disposition);
    return r < 0 ? r : mime_walk_part(walk, &part, content, depth, out);
}

static int walk_multipart(Walk *walk, const MimePart *part, Range content, unsigned depth,
                          Buffer *out)
{
    char guessed[MIME_BOUNDARY_MAX + 1];
    PartCursor cursor;
    size_t size;
    int r;

    mime_note(walk, part, content, depth, NULL);
    if (find_parts(walk, part, content, guessed, &cursor)) {
        r = walk_parts(walk, part, cursor, depth, out);
        return r < 0 ? r : show_preamble(walk, &cursor, depth, out);
    }
    r = mime_decode_whole(walk, part, &content);
    if (r < 0)
        return r;
    if (find_parts(walk, part, content, guessed, &cursor))
        return walk_parts(walk, part, cursor, depth, out);
    /* No parts at all: whatever it is, but for an end without a beginning. */
    while (range_is_boundary(content, part->boundary, &size))
        content = (Range){ content.bytes + size, content.size - size };
    return walk_unbound(walk, content, depth + 1, out);
}

static int remember_attached(Walk *walk, const MimePart *part, Range content, size_t node)
{
    if (walk->attached_part.type[0] != '\0')
        return 0;
    walk->attached_part = *part;
    walk->attached_part.name = NULL;
    walk->attached_part.start = NULL;
    walk->attached_part.elsewhere = NULL;
    walk->attached_part.charset = NULL;
    walk->attached = content;
    walk->attached_node = node;
    if (part->charset) {
        walk->attached_part.charset = strdup(part->charset);
        if (!walk->attached_part.charset)
            return -ENOMEM;
    }
    return 0;
}

static bool is_encrypted(const MimePart *part)
{
    return mime_part_is(part, "multipart", "encrypted") ||
           (!part->signed_data && (mime_part_is(part, "application", "pkcs7-mime") ||
                                   mime_part_is(part, "application", "x-pkcs7-mime")));
}

static bool is_message(const MimePart *part)
{
    return mime_part_is(part, "message", "rfc822") || mime_part_is(part, "message", "global") ||
           mime_part_is(part, "message", "news") || mime_part_is(part, "text", "rfc822-headers") ||
           mime_part_is(part, "message", "global-headers");
}

/* What is named rather than shown. */
static int walk_file(Walk *walk, const MimePart *part, Range content, unsigned depth, Buffer *out)
{
    bool is_text = mime_leaf_is_text(part, false) && !walk->names_only;
    size_t node = mime_note(walk, part, content, depth, is_text ? FATE_ATTACHED : FATE_NAMED);
    int r = is_text ? remember_attached(walk, part, content, node) : 0;

    if (r < 0)
        return r;
    if (part->elsewhere)
        return mime_leaf_note("not in this mail", part->name, part->elsewhere, SIZE_MAX, out);
    return mime_name_part(is_encrypted(part) ? "encrypted" : "attachment", part, content, out);
}

int mime_walk_part(Walk *walk, const MimePart *part, Range content, unsigned depth, Buffer *out)
{
    if (depth > MIME_DEPTH_MAX) {
        mime_note(walk, part, content, depth, FATE_DEEP);
        walk->limits.cut = true;
        return 0;
    }
    if (is_encrypted(part))
        return walk_file(walk, part, content, depth, out);
    if (mime_part_is(part, "multipart", NULL))
        return walk_multipart(walk, part, content, depth, out);
    if (is_message(part))
        return mime_walk_message(walk, part, content, depth, out);
    if (mime_part_is(part, "message", "partial") && !walk->names_only)
        return mime_walk_piece(walk, part, content, depth, out);
    if (mime_leaf_is_text(part, depth == 0) && (!part->attachment || depth == 0))
        return mime_show_text(walk, part, content, depth, out);
    return walk_file(walk, part, content, depth, out);
}

/* The header as the MTA has it, or what of it has got into the body. */
static int read_header(Walk *walk, const Mail *mail, Range *content, MimePart *ret, Buffer *out)
{
    const char *type = mail_header(mail, "Content-Type");
    _cleanup_(fields_done) Fields fields = {};
    int r;

    if (type)
        return mime_part_read(ret, type, mail_header(mail, "Content-Transfer-Encoding"),
                              mail_header(mail, "Content-Disposition"));
    r = fields_recover(content, &fields);
    if (r == 0)
        r = mime_add_head(&fields, out);
    if (r == 0)
        r = mime_part_read(
            ret, fields.type,
            fields.type ? fields.encoding : mail_header(mail, "Content-Transfer-Encoding"),
            fields.type ? fields.disposition : mail_header(mail, "Content-Disposition"));
    walk->shown = fields.from || fields.subject;
    return r;
}

/* Reads the whole mail into `out`. */
static int walk_mail(Walk *walk, const Mail *mail, Buffer *out)
{
    Range content = { mail->body ? mail->body : "", mail->body_size };
    _cleanup_(mime_part_done) MimePart part = {};
    int r;

    walk->limits =
        (MimeLimits){ .html_left = HTML_SIZE_MAX, .cut = mail->body_total > mail->body_size };
    r = read_header(walk, mail, &content, &part, out);
    if (r == 0)
        r = mime_walk_part(walk, &part, content, 0, out);
    if (r == 0 && !walk->shown && walk->attached_part.type[0] != '\0') {
        r = mime_leaf_read(&walk->attached_part, walk->attached, &walk->limits, out);
        if (r > 0)
            mime_tree_set(walk->tree, walk->attached_node, FATE_BOTH);
    }
    if (r >= 0 && !walk->shown && out->size == 0 && walk->picture.data)
        mime_leaf_add(out, walk->picture.data);
    mime_part_done(&walk->attached_part);
    buffer_done(&walk->picture);
    for (size_t i = 0; i < walk->n_decoded; i++)
        free(walk->decoded[i]);
    return r < 0 || out->failed ? -ENOMEM : 0;
}

int mime_text(const Mail *mail, char **ret, bool *ret_cut)
{
    _cleanup_(buffer_done) Buffer out = { .max = MIME_TEXT_MAX };
    Walk walk = {};
    char *text;
    int r;

    r = walk_mail(&walk, mail, &out);
    if (r < 0)
        return r;
    text = text_clean_dup(out.data ? out.data : "", out.size);
    if (!text)
        return -ENOMEM;
    *ret = text;
    *ret_cut = walk.limits.cut || out.full;
    return 0;
}

int mime_tree(const Mail *mail, char **ret)
{
    _cleanup_(buffer_done) Buffer out = { .max = MIME_TEXT_MAX };
    _cleanup_(mime_tree_done) MimeTree tree = {};
    Walk walk = { .tree = &tree };
    int r;

    r = walk_mail(&walk, mail, &out);
    if (r < 0)
        return r;
    return mime_tree_write(&tree, ret);
}
