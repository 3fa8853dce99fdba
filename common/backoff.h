/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * How long to wait before something that failed is tried again: policy alone, no clock, no timer.
 *
 * Waits double from `base_usec` to `cap_usec`, each with up to a quarter of jitter taken off so
 * that many of us do not come back at the same instant. What stayed healthy for `healthy_usec`
 * begins anew.
 */

#include "common/util.h"

typedef struct Backoff {
    usec_t base_usec;
    usec_t cap_usec;
    usec_t healthy_usec;
    unsigned failures;   /* in a row, without a healthy time between them */
    usec_t started_usec; /* when the present attempt began; 0: none under way */
} Backoff;

/* Notes that an attempt began. All times are of one clock of the caller's choice. */
void backoff_started(Backoff *backoff, usec_t now);

/* Notes that it failed or ended, and says how long to wait before the next one. `random` is any
 * number, the better mixed the better the jitter. */
usec_t backoff_failed(Backoff *backoff, usec_t now, uint32_t random);
