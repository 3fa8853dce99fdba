/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Durations, sizes and modes as they stand in configuration and on command lines.
 */

#include "common/util.h"

/* "500ms", "5s", "10m", "2h", "7d": one whole number and one unit, no sign, no blank. "0" alone
 * needs no unit. -EINVAL for anything else, -ERANGE past 2^53 microseconds (285 years). */
int duration_parse(const char *text, usec_t *ret_usec);

/* "512", "64K", "10M", "1G": bytes, powers of 1024. -EINVAL, or -ERANGE past 2^53 bytes. */
int size_parse(const char *text, uint64_t *ret_bytes);

/* The shortest exact form that the functions above read back; durations that are no whole
 * milliseconds (none that duration_parse() gives) are rounded to them. */
#define UNITS_TEXT_MAX 32
const char *duration_format(usec_t usec, char buffer[static UNITS_TEXT_MAX]);
const char *size_format(uint64_t bytes, char buffer[static UNITS_TEXT_MAX]);

/* For people, in logs and tables, rounded: "350 ms", "4.2 s", "3 min", "2 h 5 min", "3 d 4 h". */
const char *duration_human(usec_t usec, char buffer[static UNITS_TEXT_MAX]);
