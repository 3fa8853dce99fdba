/* SPDX-License-Identifier: MIT */

/*
 * One pass from "<" to "<". A search that found nothing is not made again: that there is no
 * further ">" (or quote) is remembered, so that no input is looked through more than a few times.
 * Where a tag turns out to have no end because a quote is left open, it ends at its first ">".
 */

#include "milterd/html-strip.h"

#include <strings.h>

typedef struct Strip {
    const char *at, *end;
    bool flat;
    bool no_more[128]; /* of these characters */
    bool broken;       /* a quote was left open: from there on none reaches past a ">" */
    bool self_closed;  /* the last tag was, as in XML */
    Buffer *out;
} Strip;

typedef struct Piece {
    const char *begin;
    size_t size;
} Piece;

typedef struct Tag {
    Piece name;
    bool closing;
} Tag;

static const char *const kept[] = {
    "href", "style", "alt", "width", "height", "colspan", "rowspan", "role", "class", "hidden",
};

static bool is_named(Piece piece, const char *name)
{
    return piece.size == strlen(name) && strncasecmp(piece.begin, name, piece.size) == 0;
}

static bool is_one_of(Piece piece, const char *const names[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (is_named(piece, names[i]))
            return true;
    return false;
}

/* Where the next such character stands, or NULL. */
static const char *find(Strip *strip, const char *from, char character)
{
    const char *found = NULL;

    if (!strip->no_more[(unsigned char)character])
        found = memchr(from, character, (size_t)(strip->end - from));
    strip->no_more[(unsigned char)character] = !found;
    return found;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_white(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void keep_attribute(Strip *strip, Piece name, Piece value, uint32_t *seen)
{
    for (size_t i = 0; i < ELEMENTSOF(kept); i++) {
        const char *quote = memchr(value.begin, '"', value.size) ? "'" : "\"";

        if (*seen & 1U << i || !is_named(name, kept[i]))
            continue;
        *seen |= 1U << i;
        if (value.size > HTML_ATTRIBUTE_MAX || memchr(value.begin, *quote, value.size))
            return;
        buffer_add_string(strip->out, " ");
        buffer_add_string(strip->out, kept[i]);
        buffer_add_string(strip->out, "=");
        buffer_add_string(strip->out, quote);
        buffer_add(strip->out, value.begin, value.size);
        buffer_add_string(strip->out, quote);
        return;
    }
}

/* Reads the attributes behind a tag's name, up to `limit`; where its end is: behind ">". NULL: it
 * has none, for a quote is left open. */
static const char *walk_attributes(Strip *strip, const char *at, const char *limit, bool keep)
{
    uint32_t seen = 0;

    for (;;) {
        Piece name, value = { "", 0 };
        bool slash = false;

        while (at < limit && (is_white(*at) || *at == '/'))
            slash = *at++ == '/';
        if (at >= limit)
            return NULL;
        if (*at == '>') {
            strip->self_closed = slash;
            return at + 1;
        }
        name.begin = at++;
        while (at < limit && !is_white(*at) && *at != '/' && *at != '>' && *at != '=')
            at++;
        name.size = (size_t)(at - name.begin);
        while (at < limit && is_white(*at))
            at++;
        if (at < limit && *at == '=') {
            at++;
            while (at < limit && is_white(*at))
                at++;
            value.begin = at;
            if (at < limit && (*at == '"' || *at == '\'')) {
                value.begin = at + 1;
                at = find(strip, at + 1, *at);
                if (!at || at >= limit)
                    return NULL;
                value.size = (size_t)(at++ - value.begin);
            } else {
                while (at < limit && !is_white(*at) && *at != '>')
                    at++;
                value.size = (size_t)(at - value.begin);
            }
        }
        if (keep)
            keep_attribute(strip, name, value, &seen);
    }
}

static void add_flat(Strip *strip, const Tag *tag)
{
    static const char *const lines[] = { "address", "br",    "dd",        "div", "dt", "h1",
                                         "h2",      "h3",    "h4",        "h5",  "h6", "hr",
                                         "li",      "p",     "ol",        "pre", "tr", "ul",
                                         "section", "table", "blockquote" };
    static const char *const blanks[] = { "td", "th", "img" };

    if (is_one_of(tag->name, lines, ELEMENTSOF(lines)))
        buffer_add_string(strip->out, tag->closing ? " " : "<br>");
    else if (is_one_of(tag->name, blanks, ELEMENTSOF(blanks)))
        buffer_add_string(strip->out, " ");
}

/* What stands between these tags is no text. One that closes itself, as XHTML has them, would make
 * all the rest of the mail such content, and is dropped; `begin` is where it stands in `out`. */
static void skip_content(Strip *strip, Piece name, size_t begin)
{
    static const char *const ends[] = { "</script", "</style", "</svg" };

    for (size_t i = 0; i < ELEMENTSOF(ends); i++) {
        const char *end;

        if (!is_named(name, ends[i] + 2))
            continue;
        if (strip->self_closed) {
            buffer_cut(strip->out, begin);
            return;
        }
        end = strcasestr(strip->at, ends[i]);
        strip->at = end ? end : strip->end;
    }
}

/* "<a@b.example>" and "<http://…>", which someone forgot to escape. */
static bool is_address(Piece name)
{
    return memchr(name.begin, '@', name.size) || name.begin[name.size - 1] == ':';
}

/* At "<" and a letter or "</" and a letter; false where it is no tag, or one without an end. */
static bool take_tag(Strip *strip)
{
    Tag tag = { .closing = strip->at[1] == '/' };
    const char *at = strip->at + 1 + tag.closing, *first, *end;
    size_t begin = strip->out->size;

    tag.name.begin = at;
    while (at < strip->end && !is_white(*at) && *at != '/' && *at != '>')
        at++;
    tag.name.size = (size_t)(at - tag.name.begin);
    first = find(strip, at, '>');
    if (!first || is_address(tag.name))
        return false;
    first++;
    if (strip->flat) {
        add_flat(strip, &tag);
    } else {
        buffer_add_string(strip->out, tag.closing ? "</" : "<");
        buffer_add(strip->out, tag.name.begin, MIN(tag.name.size, (size_t)40));
    }
    strip->self_closed = false;
    end = walk_attributes(strip, at, strip->broken ? first : strip->end,
                          !strip->flat && !tag.closing);
    strip->broken = strip->broken || !end;
    if (!strip->flat)
        buffer_add_string(strip->out, ">");
    strip->at = end ? end : first;
    if (!tag.closing)
        skip_content(strip, tag.name, begin);
    return true;
}

/* At "<!" or "<?": a comment, a declaration; false where it has no end. */
static bool take_comment(Strip *strip)
{
    const char *at = strip->at, *end;

    if (strncmp(at, "<!--", 4) == 0) {
        at += 4;
        if (*at == '>')
            end = at - 2; /* "<!-->" is all of a comment */
        else
            end = strstr(at, "-->");
        if (end == at - 2)
            strip->at = at + 1;
        else
            strip->at = end ? end + 3 : strip->end;
        return true;
    }
    end = find(strip, at, '>');
    if (end)
        strip->at = end + 1;
    return end != NULL;
}

void html_strip(const char *html, size_t size, bool flat, Buffer *out)
{
    Strip strip = { .at = html, .end = html + size, .flat = flat, .out = out };

    while (strip.at < strip.end && !out->full) {
        const char *next = memchr(strip.at, '<', (size_t)(strip.end - strip.at));
        bool taken = false;

        if (next != strip.at) {
            next = next ? next : strip.end;
            buffer_add(out, strip.at, (size_t)(next - strip.at));
            strip.at = next;
            continue;
        }
        if (next[1] == '!' || next[1] == '?')
            taken = take_comment(&strip);
        else if (is_letter(next[1]) || (next[1] == '/' && is_letter(next[2])))
            taken = take_tag(&strip);
        if (!taken) {
            buffer_add_string(out, "&lt;");
            strip.at++;
        }
    }
}
