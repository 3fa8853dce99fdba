/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Reads the rows that a damaged database file still holds, without SQLite, which gives up at the
 * first thing that is wrong. The format is https://www.sqlite.org/fileformat2.html.
 *
 * Every page is looked at for itself: no root, no index and no schema is needed. First come the
 * pages as they are, then what they were before, as far as the log has not overwritten it. So a row
 * may come more than once, in an older version or after it was deleted, and rows of all tables come
 * in any order; the caller tells them apart by what they hold.
 */

#include "common/util.h"

#define PAGES_COLUMNS_MAX 16

typedef enum PagesType {
    PAGES_NULL,
    PAGES_INTEGER,
    PAGES_TEXT,
    PAGES_OTHER,
} PagesType;

typedef struct PagesValue {
    PagesType type;
    int64_t integer;
    const char *text; /* `size` bytes of anything, without a NUL at the end */
    size_t size;
} PagesValue;

typedef struct PagesRow {
    bool keyed; /* of a table that has row numbers: `number` is its; else of an index */
    int64_t number;
    bool old; /* of a page that was written anew since: worth something where that is unreadable */
    size_t n_values;
    PagesValue values[PAGES_COLUMNS_MAX];
} PagesRow;

/* 0 to go on, -errno to stop and pass that on. The row is valid during the visit only. */
typedef int (*PagesVisit)(const PagesRow *row, void *userdata);

/* Visits each row of the file at `path` and its log, either of which may be missing. *ret_broken:
 * rows that were there and can't be read. */
int pages_read(const char *path, PagesVisit visit, void *userdata, size_t *ret_broken);
