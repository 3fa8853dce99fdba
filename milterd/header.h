/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What stands in a header's value (RFC 5322, RFC 2047), read as leniently as mail demands.
 */

#include "common/util.h"

/* The value as a person reads it: encoded words decoded, also over-long ones and characters that
 * are split between two; bytes without a charset taken as charset.h says; in one line, each run
 * of white space one blank; clean (text.h). NULL only for want of memory; the caller frees it. */
char *header_decode_dup(const char *value);

/* The same; bytes without a charset that are not UTF-8 are in that one, if it is known: senders
 * that do not encode their headers write them as their bodies. */
char *header_decode_as_dup(const char *value, const char *charset);

/* The charset that a Content-Type names, without a library that would convert it; "" if there is
 * none. The value may be NULL. */
#define HEADER_CHARSET_MAX 40
void header_charset(const char *type, char ret[static HEADER_CHARSET_MAX + 1]);

/* Takes the next bare address, "a@x" or a lone "a", out of a From or To at *offset (0 at first):
 * 1 with an address that the caller frees and *offset advanced, 0 at the end, -ENOMEM. Names,
 * comments, quoted strings and encoded words never count as addresses, whatever they hold. */
int header_next_address(const char *value, size_t *offset, char **ret);

/* The value of a digit of base64 (RFC 4648) or hexadecimal ones, -1 for all else. */
int header_base64_value(char c);
int header_hex_value(char c);
