/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Text that is too long, cut short, and the line that says so: "… 214 more lines".
 */

#include "common/util.h"

/* The most that a cut adds to what stays of the text. */
#define CUT_NOTE_MAX 48

/* Cuts clean text down to its first `fit` bytes at most (between characters, less than all of it
 * or, where `more` tells that the text itself is not all there was, just all of it). It is cut at
 * the end of a line unless that would cost more than half of what fits; then the line that is cut
 * ends in " …". White space at the cut goes too. A last line counts the lines that are missing,
 * together with those that an earlier cut of the same text had counted in its own last line.
 * The caller frees the copy. 0 or -ENOMEM. */
int cut_text(const char *text, size_t fit, bool more, char **ret);
