/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The text that a room shows for a record. The relay posts it; milterd --explain prints it.
 */

#include "common/record.h"

/* What an alert older than this says about its own time. */
#define COMPOSE_OLD_USEC (120 * USEC_PER_SEC)

/* The text of a record whose title says all; a record has to have one. */
#define COMPOSE_NO_TEXT "(no text)"

typedef enum ComposeStyle {
    COMPOSE_STYLED, /* with the directives of XEP-0393 */
    COMPOSE_PLAIN,  /* to be shown as it is: no client may take it for styled */
} ComposeStyle;

/* NULL-terminated, in the order of the enum. */
extern const char *const compose_style_names[];

/* Writes the message: a first line of the sign for severity and state and the title; a line with
 * the record's facts; for alerts older than COMPOSE_OLD_USEC at `now_usec` (CLOCK_REALTIME) a line
 * with their own time; then the text, in the styled form as a preformatted block, unless it is
 * COMPOSE_NO_TEXT, or just what the title says. The result is
 * clean (text.h), takes at most `max_bytes` when escaped for XML (at least 256), and is cut as
 * cut.h does it. The caller frees it. 0 or -ENOMEM. */
int compose_message(const Record *record, ComposeStyle style, usec_t now_usec, size_t max_bytes,
                    char **ret);

/* The alert's own time, when it is so old at `now_usec` that the message says so; else 0. */
usec_t compose_old_time(const Record *record, usec_t now_usec);
