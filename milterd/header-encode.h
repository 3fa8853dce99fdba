/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The value of a header, written (RFC 5322, RFC 2047).
 */

#include "common/util.h"

/* Any bytes become a value of at most some `max_bytes` that no reader takes for more than one
 * header: a fold (a line end with white space behind it) stays, all other line ends become a
 * blank, and controls are dropped. Words beyond ASCII, and the blanks between them, become encoded
 * words of UTF-8; lines get folded where they can be. The line begins with a name of `name_size`
 * bytes. NULL only for want of memory; the caller frees it. */
char *header_encode_dup(const char *value, size_t size, size_t name_size, size_t max_bytes);
