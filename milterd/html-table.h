/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * How a table reads: by what its cells hold, not by what its author used it for.
 *
 * Names beside values become "name: value" lines; rows of short cells become aligned columns, or,
 * where those would be too wide, a line "heading: value" for each cell; all else was a means of
 * layout and becomes lines, cell after cell.
 */

#include "milterd/buffer.h"

#define HTML_COLUMNS_MAX 32

typedef struct HtmlCell {
    size_t begin, end; /* its text: clean, nothing blank at its ends */
    unsigned row;
    unsigned short columns, rows; /* that it takes; columns 0: the whole row */
    bool heading;
} HtmlCell;

typedef struct HtmlTable {
    unsigned n_rows;
    bool layout; /* its author says that it holds no data */
    bool pairs;  /* of names and values, whatever they look like */
} HtmlTable;

/* Adds the lines to `out`, which is not where `text` stands; no line end behind the last. */
void html_table_lay_out(const HtmlTable *table, const HtmlCell *cells, size_t n_cells,
                        const char *text, Buffer *out);
