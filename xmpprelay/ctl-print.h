/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What xmpprelayctl shows to people, made of the relay's answers.
 */

#include "common/json.h"

#include <stdio.h>

void print_status(FILE *stream, const Json *answer);

/* The first `n` of the `entries` of a list: a heading before the very first (`first`), then a line
 * for each, and below it its title and its reason. */
void print_entries(FILE *stream, const Json *entries, size_t n, double now, bool first);

/* A record with its entries. */
void print_record(FILE *stream, const Json *answer, double now);
