/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * XEP-0393 (Message Styling), as far as who sends has to know it: when a client would take text
 * for styled, and how to say what is to be styled. Clients differ in how closely they read the
 * rules, so the answers here err on the side of "it would".
 */

#include "common/util.h"

/* On a line of its own it begins a preformatted block, and ends it. */
#define STYLING_FENCE "```"

/* Whether the line, as the first of a block, begins a quotation or a preformatted block. */
bool styling_begins_block(const char *line);

/* Whether any of a line would be styled: the above, or a span in it. */
bool styling_has_effect(const char *line);

/* Whether the line, with a '*' before and behind it, is one strong span. */
bool styling_can_be_strong(const char *line);

/* A copy for the inside of a preformatted block, which nothing in it can end: no more than two
 * grave accents stay together, with a word joiner, which isn't seen, behind each two. NULL for
 * want of memory; the caller frees it. */
char *styling_guard_dup(const char *text);
