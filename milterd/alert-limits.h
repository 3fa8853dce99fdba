/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The bounds of an alert: what a room has use for, and what fits into a frame (record.h).
 */

#include "common/record.h"
#include "milterd/rules.h"

/* Cuts title, text, key and fields of clean text to their size, the text to the rule's max_lines
 * and max_bytes: "… 214 more lines". `more` tells that the text is not all that the mail has. A
 * key that is too long ends in a digest of it, so that different keys stay different. Facts stay
 * that are fields and that the title does not say already. Text is never empty after that: it is
 * the title's, which a message then says once, or tells that there is none. -ENOMEM. */
int limits_apply(Record *record, const Rule *rule, bool more);

/* Whether the clean text shows what the other ends with: so what that has not got, this has not
 * got either. NULL shows nothing. */
bool limits_show_end(const char *text, const char *of);

/* Adds a field with as much of the value as may be, in one line; none where it is NULL or empty.
 * -ENOMEM. */
int limits_add_field(Record *record, const char *name, const char *value);
