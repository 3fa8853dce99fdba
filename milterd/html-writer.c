/* SPDX-License-Identifier: MIT */

/*
 * The writer owes line ends and blanks rather than writing them: they are paid before the next
 * visible text, so that any number of nested blocks makes one break and nothing trails.
 *
 * A cell or a quote is a flow of its own at the end of `out`, and nothing is owed from without to
 * within. When the table (or quote) ends, what it holds is taken off and set down anew as it is
 * to be read, in the flow around it.
 */

#include "milterd/html-writer.h"

#include <limits.h>
#include <stdio.h>

#include "common/text.h"
#include "milterd/html-link.h"

#define ADDRESS_MAX 2000 /* bytes of an address that are shown */

void html_writer_break(HtmlWriter *writer, unsigned lines)
{
    writer->flow.owed_lines = MAX(writer->flow.owed_lines, lines);
    writer->flow.owed_blank = false;
}

static void pay(HtmlWriter *writer)
{
    Buffer *out = &writer->out;
    HtmlFlow *flow = &writer->flow;

    if (out->size > flow->begin) {
        if (flow->owed_lines > 0)
            buffer_add(out, "\n\n", flow->owed_lines);
        else if (out->data[out->size - 1] != '\n' && (flow->owed_gap || flow->owed_blank))
            buffer_add(out, "  ", flow->owed_gap ? 2 : 1);
    }
    flow->owed_lines = 0;
    flow->owed_blank = false;
    flow->owed_gap = false;
}

/* The bytes of a character that takes no room: soft hyphen, zero-width blanks and the like. */
static size_t invisible(const char *text, size_t size)
{
    static const char *const characters[] = { "\xc2\xad",     "\xcd\x8f",     "\xe2\x80\x8b",
                                              "\xe2\x80\x8c", "\xe2\x81\xa0", "\xef\xbb\xbf" };

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
            writer->flow.owed_blank = true;
            i++;
        } else if (size - i >= 2 && memcmp(text + i, "\xc2\xa0", 2) == 0) {
            writer->flow.owed_blank = true;
            i += 2;
        } else if (size - i >= 3 && memcmp(text + i, "\xe2\x80\x87", 3) == 0) {
            writer->flow.owed_blank = true;
            i += 3;
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
            writer->flow.owed_lines = MIN(writer->flow.owed_lines + 1, 2U);
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
    unsigned depth = MIN(writer->flow.list_depth, (unsigned)HTML_NEST_MAX);
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
    if (writer->flow.list_depth < HTML_NEST_MAX) {
        writer->numbered[writer->flow.list_depth] = numbered;
        writer->items[writer->flow.list_depth] = 0;
    }
    writer->flow.list_depth++;
}

void html_writer_list_end(HtmlWriter *writer)
{
    html_writer_break(writer, writer->flow.list_depth > 1 ? 1 : 2);
    writer->flow.list_depth -= writer->flow.list_depth > 0;
}

/* What a flow holds, taken off; the flow around it goes on. The caller frees it. */
static char *take_off(HtmlWriter *writer, const HtmlFlow *outer)
{
    size_t begin = MIN(writer->flow.begin, writer->out.size);
    char *text =
        strndup(writer->out.data ? writer->out.data + begin : "", writer->out.size - begin);

    buffer_cut(&writer->out, begin);
    writer->flow = *outer;
    if (!text)
        writer->out.failed = true;
    return text;
}

static void begin_flow(HtmlWriter *writer)
{
    writer->flow = (HtmlFlow){ .begin = writer->out.size };
}

void html_writer_quote_start(HtmlWriter *writer)
{
    html_writer_break(writer, 2);
    if (writer->quote_depth < HTML_NEST_MAX) {
        writer->quotes[writer->quote_depth] = writer->flow;
        begin_flow(writer);
    }
    writer->quote_depth++;
}

void html_writer_quote_end(HtmlWriter *writer)
{
    _cleanup_free_ char *text = NULL;

    if (writer->quote_depth == 0)
        return;
    writer->quote_depth--;
    if (writer->quote_depth < HTML_NEST_MAX) {
        text = take_off(writer, &writer->quotes[writer->quote_depth]);
        if (text && *text)
            pay(writer);
        for (char *line = text, *next; line && *line; line = next) {
            next = line + strcspn(line, "\n");
            next += *next == '\n';
            buffer_add_string(&writer->out, *line == '\n' ? ">" : "> ");
            buffer_add(&writer->out, line, (size_t)(next - line));
        }
    }
    html_writer_break(writer, 2);
}

/* Tables */

/* The table that rows and cells belong to; NULL where none is open or they are too many, or a
 * quote is open within it: broken markup, whose flow must not end before the quote does. */
static HtmlOpenTable *open_table(HtmlWriter *writer)
{
    HtmlOpenTable *open;

    if (writer->table_depth == 0 || writer->table_depth > HTML_NEST_MAX)
        return NULL;
    open = &writer->tables[writer->table_depth - 1];
    return open->quote_depth == writer->quote_depth ? open : NULL;
}

static void add_cell(HtmlWriter *writer, HtmlOpenTable *open, const HtmlCell *cell)
{
    if (writer->n_cells >= writer->allocated_cells) {
        size_t allocated = (writer->allocated_cells + 32) * 2;
        HtmlCell *cells = reallocarray(writer->cells, allocated, sizeof(HtmlCell));

        if (!cells) {
            writer->out.failed = true;
            return;
        }
        writer->cells = cells;
        writer->allocated_cells = allocated;
    }
    writer->cells[writer->n_cells] = *cell;
    writer->cells[writer->n_cells++].end = MAX(writer->out.size, cell->begin);
    /* A last one for all that comes after has its place yet. */
    open->overflow = writer->n_cells >= HTML_CELLS_MAX;
}

/* Ends the open cell; text that stands beside all cells becomes a row of its own. */
static void end_cell(HtmlWriter *writer, HtmlOpenTable *open)
{
    if (open->overflow)
        return;
    if (open->in_cell) {
        add_cell(writer, open, &open->cell);
    } else if (writer->out.size > writer->flow.begin) {
        HtmlCell stray = { .begin = writer->flow.begin, .row = ++open->table.n_rows };

        add_cell(writer, open, &stray);
        open->table.n_rows++;
    }
    open->in_cell = false;
    begin_flow(writer);
}

void html_writer_table_start(HtmlWriter *writer, HtmlTable table)
{
    html_writer_break(writer, 1);
    if (writer->table_depth < HTML_NEST_MAX) {
        writer->tables[writer->table_depth] = (HtmlOpenTable){
            .table = table,
            .outer = writer->flow,
            .begin = writer->out.size,
            .first_cell = writer->n_cells,
            .quote_depth = writer->quote_depth,
            .overflow = writer->n_cells >= HTML_CELLS_MAX,
        };
        begin_flow(writer);
    }
    writer->table_depth++;
}

void html_writer_row(HtmlWriter *writer)
{
    HtmlOpenTable *open = open_table(writer);

    if (open && !open->overflow) {
        end_cell(writer, open);
        open->table.n_rows++;
    } else {
        html_writer_break(writer, 1);
    }
}

void html_writer_cell_start(HtmlWriter *writer, HtmlCell cell)
{
    HtmlOpenTable *open = open_table(writer);

    if (open)
        end_cell(writer, open);
    if (!open || open->overflow) {
        writer->flow.owed_gap = true;
        return;
    }
    open->in_cell = true;
    open->cell = cell;
    open->cell.begin = writer->out.size;
    open->cell.row = open->table.n_rows;
}

void html_writer_cell_end(HtmlWriter *writer)
{
    HtmlOpenTable *open = open_table(writer);

    if (open && open->in_cell)
        end_cell(writer, open);
}

void html_writer_table_end(HtmlWriter *writer)
{
    HtmlOpenTable *open = open_table(writer);
    Buffer lines = {};
    bool paragraphs;

    writer->table_depth -= writer->table_depth > 0;
    if (!open) {
        html_writer_break(writer, 1);
        return;
    }
    if (open->overflow)
        add_cell(writer, open, &(HtmlCell){ .begin = writer->flow.begin, .row = UINT_MAX });
    else
        end_cell(writer, open);

    lines.max = writer->out.max - open->begin;
    html_table_lay_out(&open->table, writer->cells + open->first_cell,
                       writer->n_cells - open->first_cell, writer->out.data, &lines);
    buffer_cut(&writer->out, open->begin);
    writer->n_cells = open->first_cell;
    writer->flow = open->outer;
    /* One that holds paragraphs stands apart itself. */
    paragraphs = lines.size > 0 && strstr(lines.data, "\n\n");
    if (lines.size > 0) {
        html_writer_break(writer, paragraphs ? 2 : 1);
        pay(writer);
        buffer_add(&writer->out, lines.data, lines.size);
    }
    writer->out.full = writer->out.full || lines.full;
    writer->out.failed = writer->out.failed || lines.failed;
    buffer_done(&lines);
    html_writer_break(writer, paragraphs ? 2 : 1);
}

/* Links */

void html_writer_link_start(HtmlWriter *writer, const char *href)
{
    if (writer->link_depth < HTML_NEST_MAX) {
        writer->hrefs[writer->link_depth] = href ? text_clean_line_dup(href, strlen(href)) : NULL;
        writer->link_begins[writer->link_depth] = writer->out.size;
    }
    writer->link_depth++;
}

void html_writer_link_end(HtmlWriter *writer)
{
    _cleanup_free_ char *href = NULL, *address = NULL;
    size_t begin, cut;

    if (writer->link_depth == 0)
        return;
    writer->link_depth--;
    if (writer->link_depth >= HTML_NEST_MAX)
        return;
    href = steal_ptr(writer->hrefs[writer->link_depth]);
    begin = writer->link_begins[writer->link_depth];
    /* Where cells ended meanwhile, nothing may be left of what the link was around. */
    if (!href || begin >= writer->out.size)
        return;
    if (html_link_address(href, writer->out.data + begin, writer->out.size - begin, &address) < 0) {
        writer->out.failed = true;
        return;
    }
    /* A picture and the words below it lead to the same place. */
    if (!address || (writer->last_address && streq(address, writer->last_address)))
        return;
    cut = text_cut(address, strlen(address), ADDRESS_MAX);
    buffer_add_string(&writer->out, " <");
    buffer_add(&writer->out, address, cut);
    buffer_add_string(&writer->out, address[cut] ? "…>" : ">");
    free(writer->last_address);
    writer->last_address = steal_ptr(address);
}

void html_writer_end(HtmlWriter *writer)
{
    while (writer->table_depth > 0 || writer->quote_depth > 0) {
        unsigned depth = MIN(writer->table_depth, (unsigned)HTML_NEST_MAX);

        if (depth > 0 && writer->tables[depth - 1].quote_depth >= writer->quote_depth)
            html_writer_table_end(writer);
        else
            html_writer_quote_end(writer);
    }
}

void html_writer_done(HtmlWriter *writer)
{
    for (size_t i = 0; i < HTML_NEST_MAX; i++)
        free(writer->hrefs[i]);
    free(writer->last_address);
    free(writer->cells);
    buffer_done(&writer->out);
    *writer = (HtmlWriter){};
}
