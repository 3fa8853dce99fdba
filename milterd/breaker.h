/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Whether it makes sense to wait for the relay's answer: policy alone, no clock, no lock, no
 * socket.
 *
 * After BREAKER_FAILURES waits in a row that ended without any answer it opens: nobody waits any
 * more, but for one prober. The first answer, to whomever, closes it. A busy relay and one that
 * refuses have answered. A prober has its turn for a time, and then somebody else may have it: it
 * does not matter what became of it. All times are of one clock of the caller's choice.
 */

#include "common/backoff.h"

#define BREAKER_FAILURES 3
#define BREAKER_PROBE_MIN_USEC USEC_PER_SEC
#define BREAKER_PROBE_MAX_USEC (10 * USEC_PER_SEC)

typedef struct Breaker {
    bool open;
    unsigned n_failures;  /* since the last answer */
    usec_t answered_usec; /* when that came */
    usec_t opened_usec;   /* the last time */
    uint64_t n_spared;    /* waits that were not begun since then */
    usec_t probe_usec;    /* until then somebody is probing */
    Backoff probes;
} Breaker;

/* Whether to ask the relay at all; counts those who are not to. */
bool breaker_allows(Breaker *breaker);

/* A wait ended without an answer; true when that opens it. One that began before the last answer
 * came says nothing about the time since, and does not count. */
bool breaker_failed(Breaker *breaker, usec_t began, usec_t now);

/* The relay has answered; true when that closes it. */
bool breaker_answered(Breaker *breaker, usec_t now);

/* Whether the caller is to probe now, and wait for the answer until *ret_until: longer each time.
 * If not, *ret_until is when to ask again, USEC_INFINITY where it is closed. */
bool breaker_probe(Breaker *breaker, usec_t now, usec_t *ret_until);
