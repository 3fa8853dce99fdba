/* SPDX-License-Identifier: MIT */

/*
 * The walk over the parts of a mail. The body is one range of bytes; a multipart cuts its range
 * at its boundary into the ranges of its parts, top down, so a part that lacks its own end never
 * reaches past its parent's next boundary. Nothing is copied but the text that is shown.
 *
 * Depth, number of parts, bytes of text and bytes of HTML are counted for the whole mail.
 */

#include "milterd/mime.h"

#include <stdio.h>

#include "common/text.h"
#include "milterd/buffer.h"
#include "milterd/charset.h"
#include "milterd/header.h"
#include "milterd/html.h"
#include "milterd/mime-part.h"
#include "milterd/mime-range.h"
#include "milterd/mime-tree.h"

typedef struct Walk {
    MimeTree *tree; /* or NULL */
    size_t n_parts;
    size_t html_left;
    bool cut;
    bool shown; /* there was text, not only names of attachments */

    /* The first text that is an attachment, in case there is no other. */
    Range attached;
    MimePart attached_part;
    size_t attached_node;
} Walk;

static int walk_part(Walk *walk, const MimePart *part, Range content, unsigned depth, Buffer *out);

void mime_init(void)
{
    mime_part_init_library();
    html_init();
}

static size_t note(Walk *walk, const MimePart *part, Range content, unsigned depth,
                   const char *fate)
{
    return mime_tree_add(walk->tree, part, mime_part_size(part, content.bytes, content.size), depth,
                         fate);
}

static bool is_blank(const char *text)
{
    return text[strspn(text, " \t\r\n")] == '\0';
}

/* Pieces of text stand apart by an empty line. */
static void add_text(Buffer *out, const char *text)
{
    size_t begin = 0, end = strlen(text);

    if (is_blank(text))
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

static int add_attachment(const MimePart *part, Range content, Buffer *out)
{
    size_t size = mime_part_size(part, content.bytes, content.size);
    char *line;
    char shown[MIME_SIZE_TEXT_MAX + 1];
    int n;

    mime_size_text(size, shown);
    if (part->name)
        n = asprintf(&line, "[attachment: %.*s (%s/%s, %s)]",
                     (int)text_cut(part->name, strlen(part->name), 200), part->name, part->type,
                     part->subtype, shown);
    else
        n = asprintf(&line, "[attachment: %s/%s, %s]", part->type, part->subtype, shown);
    if (n < 0)
        return -ENOMEM;
    if (out->size > 0)
        buffer_add_string(out, out->data[out->size - 1] == ']' ? "\n" : "\n\n");
    buffer_add_string(out, line);
    free(line);
    return 0;
}

static int show_html(Walk *walk, const char *charset, const char *bytes, size_t size, Buffer *out)
{
    _cleanup_free_ char *html = NULL, *text = NULL;
    char found[HTML_CHARSET_MAX + 1];
    bool cut = false;
    int r;

    if (!charset && html_charset(bytes, size, found))
        charset = found;
    r = charset_decode(charset, bytes, size, &html, &size);
    if (r < 0)
        return r;
    r = html_to_text(html, size, &walk->html_left, &text, &cut);
    if (r < 0)
        return r;
    walk->cut = walk->cut || cut;
    add_text(out, text);
    return 0;
}

static int show_text(Walk *walk, const MimePart *part, Range content, Buffer *out)
{
    _cleanup_free_ char *bytes = NULL, *decoded = NULL, *text = NULL;
    size_t size, before = out->size;
    int r;

    r = mime_part_decode(part, content.bytes, content.size, out->max - out->size, &bytes, &size,
                         &walk->cut);
    if (r < 0)
        return r;
    if (mime_part_is(part, "text", "html")) {
        r = show_html(walk, part->charset, bytes, size, out);
        if (r < 0)
            return r;
    } else {
        r = charset_decode(part->charset, bytes, size, &decoded, &size);
        if (r < 0)
            return r;
        text = text_clean_dup(decoded, size);
        if (!text)
            return -ENOMEM;
        add_text(out, strncmp(text, "\xef\xbb\xbf", 3) == 0 ? text + 3 : text);
    }
    walk->shown = walk->shown || out->size > before;
    return 0;
}

static int show_noted(Walk *walk, const MimePart *part, Range content, unsigned depth, Buffer *out)
{
    size_t node = note(walk, part, content, depth, "empty"), before = out->size;
    int r = show_text(walk, part, content, out);

    if (out->size > before)
        mime_tree_set(walk->tree, node, "shown");
    return r;
}

/* Whether a text is for reading; a calendar entry is text, too. */
static bool is_readable(const MimePart *part)
{
    return mime_part_is(part, "message", "delivery-status") ||
           (mime_part_is(part, "text", NULL) && !mime_part_is(part, "text", "calendar") &&
            !mime_part_is(part, "text", "vcard") && !mime_part_is(part, "text", "x-vcard") &&
            !mime_part_is(part, "text", "x-amp-html"));
}

/* How good a part of multipart/alternative is, apart from whether it has text. */
static unsigned rank(const MimePart *part)
{
    if (mime_part_is(part, "text", "plain"))
        return 3;
    return mime_part_is(part, "text", "html") || mime_part_is(part, "multipart", NULL) ? 2 : 1;
}

/* What a multipart remembers from part to part. */
typedef struct Choice {
    Buffer best; /* alternative: the text so far */
    unsigned best_rank;
    size_t first_node; /* of the alternatives in the tree */
    bool root_seen;    /* related, signed: the part that the others belong to */
} Choice;

static int choose(Walk *walk, const MimePart *part, Range content, unsigned depth, size_t max,
                  Choice *choice)
{
    _cleanup_(buffer_done) Buffer text = { .max = max };
    size_t nodes = walk->tree ? walk->tree->n : 0;
    bool shown = walk->shown;
    int r;

    /* Text after good text is not read at all; rank 0 is what shows no text of its own. */
    if (rank(part) <= choice->best_rank) {
        note(walk, part, content, depth, "skipped, another alternative is shown");
        return 0;
    }
    walk->shown = false;
    r = walk_part(walk, part, content, depth, &text);
    if (r < 0 || text.failed) {
        walk->shown = shown;
        return -ENOMEM;
    }
    if (walk->shown || (choice->best_rank == 0 && !choice->best.data)) {
        mime_tree_set_all(walk->tree, choice->first_node, nodes,
                          "skipped, another alternative is shown");
        choice->best_rank = walk->shown ? rank(part) : 0;
        buffer_done(&choice->best);
        choice->best = text;
        text = (Buffer){};
    }
    walk->shown = walk->shown || shown;
    return 0;
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
        return choose(walk, &part, range, depth, out->max - out->size, choice);
    /* The rest are pictures of the text and its signature. */
    if (choice->root_seen && (mime_part_is(parent, "multipart", "signed") ||
                              (mime_part_is(parent, "multipart", "related") && !part.attachment))) {
        note(walk, &part, range, depth, "skipped, it belongs to the part before it");
        return 0;
    }
    choice->root_seen =
        choice->root_seen || is_readable(&part) || mime_part_is(&part, "multipart", NULL);
    return walk_part(walk, &part, range, depth, out);
}

static int walk_multipart(Walk *walk, const MimePart *part, Range content, unsigned depth,
                          Buffer *out)
{
    size_t begin, end, next;
    Choice choice = {};
    bool last, last_next;
    int r = 0;

    note(walk, part, content, depth, NULL);
    choice.first_node = walk->tree ? walk->tree->n : 0;
    if (part->boundary[0] == '\0' ||
        !range_next_boundary(content, 0, part->boundary, &begin, &end, &last)) {
        const MimePart plain = { .type = "text", .subtype = "plain" };

        return show_noted(walk, &plain, content, depth + 1, out);
    }

    while (r == 0 && !last) {
        Range range = { content.bytes + end, content.size - end };

        if (walk->n_parts >= MIME_PARTS_MAX) {
            walk->cut = true;
            break;
        }
        walk->n_parts++;
        last_next = true;
        next = content.size;
        if (range_next_boundary(content, end, part->boundary, &begin, &next, &last_next)) {
            range.size = begin - end;
            /* The line end before a boundary belongs to the boundary. */
            if (range.size > 0 && range.bytes[range.size - 1] == '\n')
                range.size--;
            if (range.size > 0 && range.bytes[range.size - 1] == '\r')
                range.size--;
        }
        r = walk_child(walk, part, range, depth + 1, out, &choice);
        end = next;
        last = last_next;
    }
    if (r == 0 && choice.best.data)
        add_text(out, choice.best.data);
    buffer_done(&choice.best);
    return r;
}

static int walk_message(Walk *walk, const MimePart *message, Range content, unsigned depth,
                        Buffer *out)
{
    _cleanup_(fields_done) Fields fields = {};
    _cleanup_(mime_part_done) MimePart part = {};
    _cleanup_free_ char *from = NULL, *subject = NULL, *head = NULL;
    int r;

    note(walk, message, content, depth, NULL);
    r = fields_read(&content, &fields);
    if (r < 0)
        return r;
    from = header_decode_dup(fields.from ? fields.from : "");
    subject = header_decode_dup(fields.subject ? fields.subject : "");
    if (!from || !subject || asprintf(&head, "From: %s\nSubject: %s", from, subject) < 0)
        return -ENOMEM;
    add_text(out, head);
    walk->shown = true;

    r = mime_part_read(&part, fields.type, fields.encoding, fields.disposition);
    if (r < 0)
        return r;
    return walk_part(walk, &part, content, depth + 1, out);
}

static int remember_attached(Walk *walk, const MimePart *part, Range content, size_t node)
{
    if (walk->attached_part.type[0] != '\0')
        return 0;
    walk->attached_part = *part;
    walk->attached_part.name = NULL;
    walk->attached = content;
    walk->attached_node = node;
    if (part->charset) {
        walk->attached_part.charset = strdup(part->charset);
        if (!walk->attached_part.charset)
            return -ENOMEM;
    }
    return 0;
}

static int walk_part(Walk *walk, const MimePart *part, Range content, unsigned depth, Buffer *out)
{
    int r;

    if (depth > MIME_DEPTH_MAX) {
        note(walk, part, content, depth, "skipped, nested too deep");
        walk->cut = true;
        return 0;
    }
    if (mime_part_is(part, "multipart", NULL))
        return walk_multipart(walk, part, content, depth, out);
    if (mime_part_is(part, "message", "rfc822") && !mime_part_is_encoded(part))
        return walk_message(walk, part, content, depth, out);
    if (is_readable(part)) {
        if (!part->attachment || depth == 0)
            return show_noted(walk, part, content, depth, out);
        r = remember_attached(walk, part, content,
                              note(walk, part, content, depth, "named, not shown"));
        if (r < 0)
            return r;
    } else {
        note(walk, part, content, depth, "named");
    }
    return add_attachment(part, content, out);
}

/* Reads the whole mail into `out`. */
static int walk_mail(Walk *walk, const Mail *mail, Buffer *out)
{
    Range content = { mail->body ? mail->body : "", mail->body_size };
    _cleanup_(mime_part_done) MimePart part = {};
    int r;

    walk->html_left = HTML_SIZE_MAX;
    walk->cut = mail->body_total > mail->body_size;
    r = mime_part_read(&part, mail_header(mail, "Content-Type"),
                       mail_header(mail, "Content-Transfer-Encoding"),
                       mail_header(mail, "Content-Disposition"));
    if (r < 0)
        return r;
    r = walk_part(walk, &part, content, 0, out);
    if (r == 0 && !walk->shown && walk->attached_part.type[0] != '\0') {
        r = show_text(walk, &walk->attached_part, walk->attached, out);
        if (walk->shown)
            mime_tree_set(walk->tree, walk->attached_node,
                          "named, and shown for want of other text");
    }
    mime_part_done(&walk->attached_part);
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
    *ret_cut = walk.cut || out.full;
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
