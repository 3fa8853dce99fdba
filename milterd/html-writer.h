/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Text put together from what markup says of it: the layout that html_to_text() promises.
 *
 * All text that comes in is clean (text.h). Begin with {} and a bound in `out`. Lists, cells and
 * links past HTML_NEST_MAX in one another are text only.
 */

#include "milterd/buffer.h"

#define HTML_NEST_MAX 32

typedef struct HtmlWriter {
    Buffer out;
    unsigned owed_lines; /* 1: a new line; 2: an empty line between */
    bool owed_blank;
    bool owed_cell; /* two blanks before the next text: another cell of the row */

    unsigned list_depth;
    unsigned items[HTML_NEST_MAX]; /* the number of the last item; numbered lists only */
    bool numbered[HTML_NEST_MAX];

    unsigned cell_depth;
    size_t cell_begins[HTML_NEST_MAX]; /* where in `out` */

    unsigned link_depth;
    size_t link_begins[HTML_NEST_MAX];
    char *hrefs[HTML_NEST_MAX];
} HtmlWriter;

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
void html_writer_cell_start(HtmlWriter *writer);
void html_writer_cell_end(HtmlWriter *writer);
void html_writer_link_start(HtmlWriter *writer, const char *href); /* NULL: leads nowhere */
void html_writer_link_end(HtmlWriter *writer);
