/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * One part that holds text and no other parts: from its bytes to what a person reads.
 */

#include "milterd/buffer.h"
#include "milterd/mime-range.h"

/* What is read of all parts of a mail together. */
typedef struct MimeLimits {
    size_t html_left; /* bytes of HTML */
    bool cut;         /* there was more */
} MimeLimits;

/* Whether a part is for reading, by what it says of itself. One that stands alone may have a type
 * that is a file's elsewhere. */
bool mime_leaf_is_text(const MimePart *part, bool alone);

/* Adds a text behind what is in `out`, an empty line between, or a line of mime_leaf_note() below
 * another one. Blank text adds nothing. */
void mime_leaf_add(Buffer *out, const char *text);

/* Adds the line that names a file or so: "[attachment: graph.png (image/png, 34 KB)]". `what` is
 * the first word; `size` SIZE_MAX: not known. -ENOMEM. */
int mime_leaf_note(const char *what, const char *name, const char *type, size_t size, Buffer *out);

/* Decodes the part's content and adds its text, clean (text.h): files within it are named, and so
 * is the part itself if it is no text after all. Returns 1 if there was text, 0 if there was none,
 * or -ENOMEM. */
int mime_leaf_read(const MimePart *part, Range content, MimeLimits *limits, Buffer *out);
