/* SPDX-License-Identifier: MIT */

/*
 * First each cell gets its column, as rows and columns that others take allow; then columns that
 * are empty everywhere go; then the way is chosen that all rows together suit. A row of a single
 * cell belongs to no column and is a line between the others in each of the ways.
 */

#include "milterd/html-table.h"

#include "common/text.h"

#define WIDTH_MAX 84      /* of the columns before the last, aligned */
#define LINE_MAX_WIDTH 96 /* of cells in one line that are not aligned */
#define NAME_MAX_WIDTH 32 /* of what may be a name before its value */
#define NONE HTML_COLUMNS_MAX

typedef struct Spot {
    const HtmlCell *cell;
    unsigned column; /* NONE: the cell is all of its row, or past the columns */
    unsigned width;
    bool lines; /* it has more than one */
} Spot;

typedef struct Layout {
    const HtmlTable *table;
    const HtmlCell *cells_end;
    const char *text;
    Buffer *out;

    Spot *spots; /* of the cells that are not empty, in order */
    size_t n_spots;
    unsigned widths[HTML_COLUMNS_MAX]; /* of the columns; 0: empty */
    unsigned n_columns;                /* that are not empty */
    unsigned n_rows;                   /* with columns */
    size_t n_headings;                 /* spots of the row of headings; 0: none */
    bool lines;                        /* some cell in a column has more than one */
} Layout;

/* How many cells of a terminal text takes; near enough for the scripts of the world. */
static unsigned width_of(const char *text, size_t size)
{
    unsigned width = 0;

    for (size_t i = 0, length; i < size; i += length) {
        const unsigned char *s = (const unsigned char *)text + i;

        length = MAX(utf8_sequence(text + i, size - i), (size_t)1);
        if (length == 4 || (length == 3 && s[0] >= 0xE3 && s[0] <= 0xED))
            width += 2; /* ideographs, Hangul, emoji */
        else if (!((s[0] == 0xCC || s[0] == 0xCD) && length == 2) &&
                 !(length == 3 && s[0] == 0xEF && s[1] == 0xB8))
            width++; /* no combining mark, no variation selector */
    }
    return width;
}

static const char *spot_text(const Layout *layout, const Spot *spot)
{
    return layout->text + spot->cell->begin;
}

static size_t spot_size(const Spot *spot)
{
    return spot->cell->end - spot->cell->begin;
}

static size_t row_end(const Layout *layout, size_t begin)
{
    size_t end = begin + 1;

    while (end < layout->n_spots && layout->spots[end].cell->row == layout->spots[begin].cell->row)
        end++;
    return end;
}

/* Gives each cell that is not empty its column. */
static void place(Layout *layout, const HtmlCell *cells, size_t n_cells)
{
    unsigned taken[HTML_COLUMNS_MAX] = {}; /* by cells of rows before: for how many rows more */
    unsigned column = 0;

    for (size_t i = 0; i < n_cells; i++) {
        const HtmlCell *cell = &cells[i];
        Spot *spot = &layout->spots[layout->n_spots];

        if (i == 0 || cells[i - 1].row != cell->row)
            column = 0;
        for (; column < NONE && taken[column] > 0; column++)
            taken[column]--;
        if (cell->end > cell->begin) {
            *spot = (Spot){ .cell = cell, .column = cell->columns > 0 ? column : NONE };
            spot->width = width_of(spot_text(layout, spot), spot_size(spot));
            spot->lines = memchr(spot_text(layout, spot), '\n', spot_size(spot));
            layout->n_spots++;
        }
        for (unsigned n = 0; n < cell->columns && column < NONE; n++, column++)
            taken[column] = MAX(cell->rows, 1U) - 1U;
        if (i + 1 == n_cells || cells[i + 1].row != cell->row)
            for (; column < NONE; column++)
                taken[column] -= taken[column] > 0;
    }
}

/* A row of one cell alone is a line of its own, if it begins the row. */
static void measure(Layout *layout)
{
    for (size_t i = 0, end; i < layout->n_spots; i = end) {
        bool headings = true;

        end = row_end(layout, i);
        if (end - i == 1 && layout->spots[i].column == 0)
            layout->spots[i].column = NONE;
        if (end - i == 1 && layout->spots[i].column == NONE)
            continue;
        for (size_t k = i; k < end; k++) {
            Spot *spot = &layout->spots[k];

            headings = headings && spot->cell->heading && !spot->lines;
            layout->lines = layout->lines || spot->lines;
            if (spot->column < NONE)
                layout->widths[spot->column] = MAX(layout->widths[spot->column], spot->width);
        }
        if (layout->n_rows++ == 0 && headings && end - i > 1 && i == 0)
            layout->n_headings = end;
    }
    for (unsigned i = 0; i < NONE; i++)
        layout->n_columns += layout->widths[i] > 0;
}

static void add_spot(Layout *layout, const Spot *spot)
{
    buffer_add(layout->out, spot_text(layout, spot), spot_size(spot));
}

static bool has_paragraphs(const Layout *layout, const Spot *spot)
{
    return spot->lines && memmem(spot_text(layout, spot), spot_size(spot), "\n\n", 2);
}

static void new_line(Layout *layout, size_t begin)
{
    if (layout->out->size > begin)
        buffer_add_string(layout->out, "\n");
}

/* A mark before a text, such as a cross or an emoji, belongs to it. */
static bool is_mark(const Layout *layout, const Spot *spot)
{
    unsigned char first = (unsigned char)*spot_text(layout, spot);

    return spot->width <= 2 && first >= 0x80;
}

/* Cell after cell: short ones of a row in one line. */
static void add_rows(Layout *layout)
{
    size_t begin = layout->out->size;
    unsigned width = 0;

    for (size_t i = 0; i < layout->n_spots && !layout->out->full; i++) {
        const Spot *spot = &layout->spots[i], *before = i > 0 ? spot - 1 : NULL;

        if (before && before->cell->row == spot->cell->row && !before->lines && !spot->lines &&
            width + 2 + spot->width <= LINE_MAX_WIDTH) {
            buffer_add(layout->out, "  ", is_mark(layout, before) ? 1 : 2);
            width += 2 + spot->width;
        } else {
            new_line(layout, begin);
            if (before && (has_paragraphs(layout, before) || has_paragraphs(layout, spot)))
                new_line(layout, begin);
            width = spot->width;
        }
        add_spot(layout, spot);
    }
}

/* A value of several lines stands below its name. */
static void add_pair(Layout *layout, const Spot *name, const Spot *value)
{
    add_spot(layout, name);
    if (!value)
        return;
    buffer_add_string(layout->out, spot_text(layout, name)[spot_size(name) - 1] == ':' ? "" : ":");
    if (!value->lines) {
        buffer_add_string(layout->out, " ");
        add_spot(layout, value);
        return;
    }
    for (size_t i = 0, next, size = spot_size(value); i < size; i = next) {
        const char *line = spot_text(layout, value) + i, *end = memchr(line, '\n', size - i);

        next = end ? i + (size_t)(end - line) + 1 : size;
        buffer_add_string(layout->out, line == end ? "\n" : "\n  ");
        buffer_add(layout->out, line, next - i - (end ? 1 : 0));
    }
}

/* "Comment:" and an empty cell. */
static bool is_name_of_nothing(const Layout *layout, const Spot *spot)
{
    const HtmlCell *next = spot->cell + 1;

    return spot_text(layout, spot)[spot_size(spot) - 1] == ':' && next < layout->cells_end &&
           next->row == spot->cell->row;
}

static void add_pairs(Layout *layout)
{
    size_t begin = layout->out->size;

    for (size_t i = 0, end; i < layout->n_spots && !layout->out->full; i = end) {
        end = row_end(layout, i);
        if (end - i == 1 && is_name_of_nothing(layout, &layout->spots[i]))
            continue;
        new_line(layout, begin);
        if (end - i == 1)
            add_spot(layout, &layout->spots[i]);
        else
            add_pair(layout, &layout->spots[i], &layout->spots[i + 1]);
        for (size_t k = i + 2; k < end; k++) {
            new_line(layout, begin);
            add_spot(layout, &layout->spots[k]);
        }
    }
}

static void add_aligned(Layout *layout)
{
    size_t begin = layout->out->size;

    for (size_t i = 0, end; i < layout->n_spots && !layout->out->full; i = end) {
        unsigned owed = 0, column = 0; /* blanks before the next cell */

        end = row_end(layout, i);
        new_line(layout, begin);
        for (; i < end; i++) {
            const Spot *spot = &layout->spots[i];

            for (; column < MIN(spot->column, (unsigned)NONE) && spot->column < NONE; column++)
                owed += layout->widths[column] > 0 ? layout->widths[column] + 2 : 0;
            for (; owed > 0; owed--)
                buffer_add_string(layout->out, " ");
            add_spot(layout, spot);
            if (column < NONE)
                owed = layout->widths[column] + 2 - MIN(spot->width, layout->widths[column]);
            column++;
        }
    }
}

/* Each cell under its heading. */
static void add_records(Layout *layout)
{
    size_t begin = layout->out->size;

    for (size_t i = layout->n_headings, end; i < layout->n_spots && !layout->out->full; i = end) {
        end = row_end(layout, i);
        if (i > layout->n_headings)
            new_line(layout, begin);
        for (; i < end; i++) {
            const Spot *spot = &layout->spots[i], *heading = NULL;

            for (size_t k = 0; k < MIN(layout->n_headings, (size_t)NONE); k++)
                if (spot->column < NONE && layout->spots[k].column == spot->column)
                    heading = &layout->spots[k];
            new_line(layout, begin);
            if (heading)
                add_pair(layout, heading, spot);
            else
                add_spot(layout, spot);
        }
    }
}

/* Whether the first cell of each row reads as the name of the second. */
static bool is_names_and_values(const Layout *layout)
{
    bool marked = layout->table->pairs;

    if (layout->n_columns != 2 || layout->n_headings > 0)
        return marked;
    for (size_t i = 0, end; i < layout->n_spots; i = end) {
        const Spot *name = &layout->spots[i];
        size_t size = spot_size(name);

        end = row_end(layout, i);
        if (end - i == 1)
            continue;
        if (name->lines || name->width > NAME_MAX_WIDTH || name->width < 2 ||
            memchr(".!?,;", spot_text(layout, name)[size - 1], 5))
            return marked;
        marked = marked || name->cell->heading || spot_text(layout, name)[size - 1] == ':';
    }
    return marked || layout->n_rows > 1;
}

static unsigned aligned_width(const Layout *layout)
{
    unsigned width = 0, last = 0;

    for (unsigned i = 0; i < NONE; i++) {
        width += last > 0 ? last + 2 : 0;
        last = layout->widths[i];
    }
    return width;
}

static bool headings_are_names(const Layout *layout)
{
    for (size_t i = 0; i < layout->n_headings; i++)
        if (layout->spots[i].width > NAME_MAX_WIDTH)
            return false;
    return layout->n_headings > 0;
}

void html_table_lay_out(const HtmlTable *table, const HtmlCell *cells, size_t n_cells,
                        const char *text, Buffer *out)
{
    Layout layout = { .table = table, .cells_end = cells + n_cells, .text = text, .out = out };

    if (n_cells == 0)
        return;
    layout.spots = calloc(n_cells, sizeof(Spot));
    if (!layout.spots) {
        out->failed = true;
        return;
    }
    place(&layout, cells, n_cells);
    measure(&layout);

    if (layout.n_rows == 0 || table->layout)
        add_rows(&layout);
    else if (is_names_and_values(&layout))
        add_pairs(&layout);
    else if (!layout.lines && layout.n_rows > 1 && aligned_width(&layout) <= WIDTH_MAX)
        add_aligned(&layout);
    else if (headings_are_names(&layout))
        add_records(&layout);
    else
        add_rows(&layout);
    free(layout.spots);
}
