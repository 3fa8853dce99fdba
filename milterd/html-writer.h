/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Text put together from what markup says of it: the layout that html_to_text() promises.
 *
 * All text that comes in is clean (text.h). Begin with {} and a bound in `out`. Lists, tables,
 * quotes and links past HTML_NEST_MAX in one another are text only.
 */

#include "milterd/html-table.h"

#define HTML_NEST_MAX 32
#define HTML_CELLS_MAX 4096 /* of tables open at once; what is past them are lines */

/* What goes on in a part of the text that is set down apart: a cell, a quote, or the whole. */
typedef struct HtmlFlow {
    size_t begin;        /* where in `out` */
    unsigned owed_lines; /* 1: a new line; 2: an empty line between */
    bool owed_blank;
    bool owed_gap; /* two blanks before the next text */
    unsigned list_depth;
} HtmlFlow;

typedef struct HtmlOpenTable {
    HtmlTable table;
    HtmlFlow outer;
    size_t begin;
    size_t first_cell;
    unsigned quote_depth; /* outside */
    bool in_cell;
    bool overflow; /* the cells are too many: lines from here on */
    HtmlCell cell; /* that is open */
} HtmlOpenTable;

typedef struct HtmlWriter {
    Buffer out;
    HtmlFlow flow;

    unsigned items[HTML_NEST_MAX]; /* the number of the last item; numbered lists only */
    bool numbered[HTML_NEST_MAX];

    unsigned table_depth;
    HtmlOpenTable tables[HTML_NEST_MAX];
    HtmlCell *cells;
    size_t n_cells, allocated_cells;

    unsigned quote_depth;
    HtmlFlow quotes[HTML_NEST_MAX]; /* the flows around them */

    unsigned link_depth;
    size_t link_begins[HTML_NEST_MAX];
    char *hrefs[HTML_NEST_MAX];
    char *last_address; /* the last that was shown */
} HtmlWriter;

/* Closes what is open. */
void html_writer_end(HtmlWriter *writer);
void html_writer_done(HtmlWriter *writer);

/* A new line before the next text, or with 2 an empty one. */
void html_writer_break(HtmlWriter *writer, unsigned lines);
void html_writer_rule(HtmlWriter *writer);

/* Text whose white space means blanks, and text whose lines are kept. */
void html_writer_text(HtmlWriter *writer, const char *text, size_t size);
void html_writer_lines(HtmlWriter *writer, const char *text, size_t size);

void html_writer_list_start(HtmlWriter *writer, bool numbered);
void html_writer_item(HtmlWriter *writer);
void html_writer_list_end(HtmlWriter *writer);
void html_writer_quote_start(HtmlWriter *writer);
void html_writer_quote_end(HtmlWriter *writer);
void html_writer_link_start(HtmlWriter *writer, const char *href); /* NULL: leads nowhere */
void html_writer_link_end(HtmlWriter *writer);

/* Of a table `layout` and `pairs` count, of a cell how many columns and rows it takes and
 * whether it is a heading. A cell ends where the next begins, too. */
void html_writer_table_start(HtmlWriter *writer, HtmlTable table);
void html_writer_row(HtmlWriter *writer); /* what follows is another row */
void html_writer_cell_start(HtmlWriter *writer, HtmlCell cell);
void html_writer_cell_end(HtmlWriter *writer);
void html_writer_table_end(HtmlWriter *writer);
