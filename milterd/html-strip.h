/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What is for browsers alone taken out of HTML, before a parser reads it: comments, scripts,
 * styles, pictures within addresses, attributes that say nothing about the text. That is most of
 * many a mail, and what is left costs a parser no more than its size.
 */

#include "milterd/buffer.h"

#define HTML_ATTRIBUTE_MAX 4096 /* bytes of a value; a longer one is left out */

/* Adds what is left of clean, NUL-terminated HTML to `out`, as far as its bound allows. With
 * `flat` only line breaks are left of the tags. Time goes with the size. */
void html_strip(const char *html, size_t size, bool flat, Buffer *out);
