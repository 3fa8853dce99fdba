/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Text from outside made fit for XML, JSON and terminals.
 *
 * "Clean" text is valid UTF-8 (RFC 3629: no surrogates, no over-long forms) of characters that
 * XML 1.0 allows: no C0 control but tab and line feed, none of U+FFFE, U+FFFF; C1 controls and
 * DEL are dropped too, and CR and CRLF are a line feed. RFC 6120 section 11 ends the stream over
 * anything less.
 */

#include "common/util.h"

/* Length in bytes (1–4) of the valid UTF-8 sequence at `text`, 0 if there is none. */
size_t utf8_sequence(const char *text, size_t size);

bool text_is_utf8(const char *text, size_t size);
bool text_is_clean(const char *text, size_t size);

/* A clean, NUL-terminated copy: each broken byte sequence becomes one U+FFFD, each forbidden
 * control is dropped (NUL too), and so are those that turn the direction of text (U+202A–U+202E,
 * U+2066–U+2069), which let a name look like another. NULL only for want of memory; the caller
 * frees it. */
char *text_clean_dup(const char *text, size_t size);

/* The same in one line: runs of white space and line ends become one blank, none at the ends. */
char *text_clean_line_dup(const char *text, size_t size);

/* The largest n <= max_bytes such that the first n bytes of the valid UTF-8 `text` end between
 * characters and, if possible, between a base character and no combining mark (U+0300–U+036F,
 * U+200D, U+FE0F) that belongs to it. */
size_t text_cut(const char *text, size_t size, size_t max_bytes);

/* How many bytes `text` takes in XML character data, with & < > " ' escaped. */
size_t text_xml_size(const char *text, size_t size);
