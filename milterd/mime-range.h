/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Headers and boundaries in a range of bytes that somebody else owns.
 */

#include "milterd/mime-part.h"

typedef struct Range {
    const char *bytes;
    size_t size;
} Range;

/* The fields of a part's header that matter, as they came; NULL where there is none. */
typedef struct Fields {
    char *type, *encoding, *disposition, *id;
    char *from, *subject; /* of a message */
} Fields;

/* Takes the header off a range; one that begins with no header field has none, and a header
 * without an empty line behind it ends where no field stands. Lines of mailboxes ("From …") before
 * it and a line within it that is none are let pass. -ENOMEM. */
int fields_read(Range *range, Fields *fields);

/* Takes off what looks like the rest of a message's header, which some line that is none has cut
 * off: several fields, one of them Content-Type, with few other lines between. Else nothing. */
int fields_recover(Range *range, Fields *fields);
void fields_done(Fields *fields);

/* How much of a range is base64; behind it may stand text that somebody added. */
size_t range_base64_size(Range range);

/* Whether a range begins with several full lines of base64 and nothing else: what is left of a file
 * whose header got lost. */
bool range_is_bare_base64(Range range);

/* The boundary of a multipart that names none, or another one than it has: the first line that
 * looks like one, with a field of a part's header behind it. False: there is none. */
bool range_guess_boundary(Range range, char ret[static MIME_BOUNDARY_MAX + 1]);

/* Goes over the parts of a multipart. A part ends before the line end before the next boundary, or
 * with the multipart. The last boundary ends the parts, unless others follow in spite of it. */
typedef struct PartCursor {
    Range content;
    const char *boundary;
    size_t at;  /* behind the boundary that was found last */
    bool ended; /* that one was the last */
} PartCursor;

/* Goes to the first part; false: there is none. */
bool range_first_part(PartCursor *cursor, Range content, const char *boundary);

/* What stands above the first boundary. */
Range range_before_parts(const PartCursor *cursor);

/* Takes the next part; false: there is no more. */
bool range_next_part(PartCursor *cursor, Range *ret);

/* Whether a range begins with a boundary, and how long its line is. */
bool range_is_boundary(Range range, const char *boundary, size_t *ret_size);
