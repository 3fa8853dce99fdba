/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Kinds of text that are neither plain nor HTML.
 */

#include "milterd/buffer.h"

/* text/enriched (RFC 1896) and, with `richtext`, the text/richtext before it (RFC 1341): the text
 * without its commands. What is clean stays clean. */
void rich_from_enriched(const char *text, bool richtext, Buffer *out);

/* What a calendar (RFC 5545) says of its events and tasks: what, when, where and by whom. What is
 * clean stays clean. */
void rich_from_calendar(const char *text, Buffer *out);
