/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * HTML made text that a person can read in a chat: the adapter of libxml2.
 */

#include "common/util.h"

/* How much HTML is read, comments, styles and the like not counted. Callers spend it once for a
 * whole mail, so that hostile markup takes milliseconds. */
#define HTML_SIZE_MAX ((size_t)131072)

void html_init(void); /* before threads use it */

/* Takes UTF-8, whatever a meta element says. Paragraphs, headings, breaks, lists, quotes and
 * preformatted text keep their lines; tables read as html-table.h says; a link shows its address
 * where that is not its text; pictures are their `alt`. Scripts, styles, comments, the hidden
 * previews of newsletters and pictures of one pixel are left out.
 *
 * *left is how much may be read, at most HTML_SIZE_MAX; it becomes what is left then. Returns 0
 * with clean text (text.h), "" if there is none, that the caller frees, or -ENOMEM. *ret_cut tells
 * that not all was read. Thread-safe. */
int html_to_text(const char *html, size_t size, size_t *left, char **ret, bool *ret_cut);

/* The charset that a meta element among the first 1024 bytes names; false: none does. */
#define HTML_CHARSET_MAX 40
bool html_charset(const char *html, size_t size, char ret[static HTML_CHARSET_MAX + 1]);
