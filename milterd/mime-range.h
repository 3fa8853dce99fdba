/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Headers and boundaries in a range of bytes that somebody else owns.
 */

#include "common/util.h"

typedef struct Range {
    const char *bytes;
    size_t size;
} Range;

/* The fields of a part's header that matter, as they came; NULL where there is none. */
typedef struct Fields {
    char *type, *encoding, *disposition;
    char *from, *subject; /* of a message */
} Fields;

/* Takes the header off a range; one that begins with no header field has none, and a header
 * without an empty line behind it ends where no field stands. -ENOMEM. */
int fields_read(Range *range, Fields *fields);
void fields_done(Fields *fields);

/* Finds the next line that is the boundary, from `at`, where a line begins: where that line
 * begins, where the next one does, and whether it is the last boundary. False: there is none. */
bool range_next_boundary(Range range, size_t at, const char *boundary, size_t *ret_begin,
                         size_t *ret_end, bool *ret_last);
