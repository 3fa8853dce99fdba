/* SPDX-License-Identifier: MIT */

/*
 * The writer owes line ends and blanks rather than writing them: they are paid before the next
 * visible text, so that any number of nested blocks makes one break and nothing trails. A table
 * cell that stayed in one line forgives the break that its last block owed, and that makes rows
 * of simple tables lines.
 */

#include "milterd/html-writer.h"

#include <stdio.h>
#include <strings.h>

#include "common/text.h"

#define HREF_MAX 500 /* bytes of an address that are shown */

/* A block at the front of a cell breaks nothing: the row, or the cell before, has its say. */
static bool at_front_of_cell(const HtmlWriter *writer)
{
    return writer->cell_depth > 0 && writer->cell_depth <= HTML_NEST_MAX &&
           writer->out.size == writer->cell_begins[writer->cell_depth - 1];
}

void html_writer_break(HtmlWriter *writer, unsigned lines)
{
    if (at_front_of_cell(writer))
        return;
    writer->owed_lines = MAX(writer->owed_lines, lines);
    writer->owed_blank = false;
}

static void pay(HtmlWriter *writer)
{
    Buffer *out = &writer->out;

    if (out->size > 0 && writer->owed_lines > 0) {
        buffer_add(out, "\n\n", writer->owed_lines);
    } else if (out->size > 0 && out->data[out->size - 1] != '\n') {
        if (writer->owed_cell)
            buffer_add(out, "  ", 2);
        else if (writer->owed_blank)
            buffer_add(out, " ", 1);
    }
    writer->owed_lines = 0;
    writer->owed_blank = false;
    writer->owed_cell = false;
}

/* The bytes of a character that takes no room: soft hyphen, zero-width blanks and the like. */
static size_t invisible(const char *text, size_t size)
{
    static const char *const characters[] = { "\xc2\xad", "\xcd\x8f", "\xe2\x80\x8b",
                                              "\xe2\x80\x8c", "\xef\xbb\xbf" };

    for (size_t i = 0; i < ELEMENTSOF(characters); i++) {
        size_t length = strlen(characters[i]);

        if (size >= length && memcmp(text, characters[i], length) == 0)
            return length;
    }
    return 0;
}

void html_writer_text(HtmlWriter *writer, const char *text, size_t size)
{
    for (size_t i = 0; i < size;) {
        size_t length;

        if (strchr(" \t\r\n\f", text[i])) {
            writer->owed_blank = true;
            i++;
        } else if (size - i >= 2 && memcmp(text + i, "\xc2\xa0", 2) == 0) {
            writer->owed_blank = true;
            i += 2;
        } else if ((length = invisible(text + i, size - i)) > 0) {
            i += length;
        } else {
            size_t begin = i;

            while (i < size && !strchr(" \t\r\n\f", text[i]) &&
                   (i == begin || !strchr("\xc2\xcd\xe2\xef", text[i])))
                i++;
            pay(writer);
            buffer_add(&writer->out, text + begin, i - begin);
        }
    }
}

/* Preformatted: the lines as they are; those at the end are owed, as ever. */
void html_writer_lines(HtmlWriter *writer, const char *text, size_t size)
{
    while (size > 0) {
        const char *end = memchr(text, '\n', size);
        size_t length = end ? (size_t)(end - text) : size;

        if (length > 0) {
            pay(writer);
            buffer_add(&writer->out, text, length);
        }
        if (end) {
            writer->owed_lines = MIN(writer->owed_lines + 1, 2U);
            length++;
        }
        text += length;
        size -= length;
    }
}

void html_writer_rule(HtmlWriter *writer)
{
    html_writer_break(writer, 1);
    pay(writer);
    buffer_add_string(&writer->out, "---");
    html_writer_break(writer, 1);
}

void html_writer_item(HtmlWriter *writer)
{
    unsigned depth = MIN(writer->list_depth, (unsigned)HTML_NEST_MAX);
    char mark[16];

    html_writer_break(writer, 1);
    pay(writer);
    for (unsigned i = 1; i < depth; i++)
        buffer_add(&writer->out, "  ", 2);
    if (depth > 0 && writer->numbered[depth - 1]) {
        snprintf(mark, sizeof(mark), "%u. ", ++writer->items[depth - 1]);
        buffer_add_string(&writer->out, mark);
    } else {
        buffer_add_string(&writer->out, "- ");
    }
}

void html_writer_list_start(HtmlWriter *writer, bool numbered)
{
    html_writer_break(writer, 1);
    if (writer->list_depth < HTML_NEST_MAX) {
        writer->numbered[writer->list_depth] = numbered;
        writer->items[writer->list_depth] = 0;
    }
    writer->list_depth++;
}

void html_writer_list_end(HtmlWriter *writer)
{
    html_writer_break(writer, writer->list_depth > 1 ? 1 : 2);
    writer->list_depth -= writer->list_depth > 0;
}

void html_writer_cell_start(HtmlWriter *writer)
{
    if (writer->cell_depth < HTML_NEST_MAX)
        writer->cell_begins[writer->cell_depth] = writer->out.size;
    writer->cell_depth++;
}

void html_writer_cell_end(HtmlWriter *writer)
{
    size_t begin;

    if (writer->cell_depth == 0)
        return;
    writer->cell_depth--;
    if (writer->cell_depth >= HTML_NEST_MAX)
        return;
    begin = writer->cell_begins[writer->cell_depth];
    if (writer->out.size == begin)
        return; /* empty: what was owed before it is still owed */
    /* The line ends at the very front were paid for what stood before the cell. */
    while (begin < writer->out.size && writer->out.data[begin] == '\n')
        begin++;
    if (!memchr(writer->out.data + begin, '\n', writer->out.size - begin)) {
        writer->owed_lines = 0;
        writer->owed_cell = true;
    }
    writer->owed_blank = false;
}

void html_writer_link_start(HtmlWriter *writer, const char *href)
{
    if (writer->link_depth < HTML_NEST_MAX) {
        writer->hrefs[writer->link_depth] = href ? text_clean_line_dup(href, strlen(href)) : NULL;
        writer->link_begins[writer->link_depth] = writer->out.size;
    }
    writer->link_depth++;
}

/* Whether an address says the same as the text that links to it. */
static bool says_the_same(const char *text, size_t size, const char *href)
{
    static const char *const schemes[] = { "mailto:", "tel:", "https://", "http://", "" };
    size_t length = strlen(href);

    while (size > 0 && strchr(" \n/", text[size - 1]))
        size--;
    while (size > 0 && strchr(" \n", *text)) {
        text++;
        size--;
    }
    while (length > 0 && href[length - 1] == '/')
        length--;
    for (size_t i = 0; i < ELEMENTSOF(schemes); i++) {
        size_t skip = strlen(schemes[i]);

        if (strncasecmp(href, schemes[i], skip) == 0 && length - MIN(skip, length) == size &&
            strncasecmp(href + skip, text, size) == 0)
            return true;
    }
    return false;
}

void html_writer_link_end(HtmlWriter *writer)
{
    _cleanup_free_ char *href = NULL;
    size_t begin, cut;

    if (writer->link_depth == 0)
        return;
    writer->link_depth--;
    if (writer->link_depth >= HTML_NEST_MAX)
        return;
    href = steal_ptr(writer->hrefs[writer->link_depth]);
    begin = writer->link_begins[writer->link_depth];
    if (!href || !*href || *href == '#' || strncasecmp(href, "javascript:", 11) == 0 ||
        writer->out.size == begin ||
        says_the_same(writer->out.data + begin, writer->out.size - begin, href))
        return;
    cut = text_cut(href, strlen(href), HREF_MAX);
    buffer_add_string(&writer->out, " <");
    buffer_add(&writer->out, href, cut);
    buffer_add_string(&writer->out, href[cut] ? "…>" : ">");
}

void html_writer_done(HtmlWriter *writer)
{
    for (size_t i = 0; i < HTML_NEST_MAX; i++)
        free(writer->hrefs[i]);
    buffer_done(&writer->out);
    *writer = (HtmlWriter){};
}
