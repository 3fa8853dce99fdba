/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * HTML made text that a person can read in a chat: the adapter of libxml2.
 */

#include "common/util.h"

/* libxml2 takes time with the square of what it reads where somebody wants it to: a second for
 * this much. Callers spend it once for a whole mail. */
#define HTML_SIZE_MAX 131072

void html_init(void); /* before threads use it */

/* Takes UTF-8, whatever a meta element says. Paragraphs, headings, breaks, lists and preformatted
 * text keep their lines, rows of simple tables are lines of cells with two blanks between, a link
 * shows its address where that is not its text, pictures are their `alt`; scripts, styles and
 * what is not displayed are left out.
 *
 * Returns 0 with clean text (text.h), "" if there is none, that the caller frees, or -ENOMEM.
 * *ret_cut tells that not all was read: past HTML_SIZE_MAX, or nested too deep. Thread-safe. */
int html_to_text(const char *html, size_t size, char **ret, bool *ret_cut);

/* The charset that a meta element among the first 1024 bytes names; false: none does. */
#define HTML_CHARSET_MAX 40
bool html_charset(const char *html, size_t size, char ret[static HTML_CHARSET_MAX + 1]);
