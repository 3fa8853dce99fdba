/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The workers' watch on the relay: while it does not answer, no mail waits for it, and a thread of
 * its own in each worker, one of them at a time, finds out when it does again.
 *
 * All functions may be called from any thread.
 */

#include "milterd/settings.h"
#include "milterd/shared-breaker.h"

typedef struct Watch {
    const RelaySettings *relay;
    SharedBreaker *breaker; /* of all workers that have this relay */
} Watch;

/* Whether to send anything to the relay now. */
bool watch_allows(const Watch *watch);

/* What came of it: the relay has given an answer, whatever it says; or it gave none to a wait that
 * began at `began` (CLOCK_MONOTONIC) with `record`, for the reason `error`, -errno. Where nobody,
 * of all workers, is to wait from now on, or all may again, this is logged with what follows from
 * it. */
void watch_answered(const Watch *watch);
void watch_failed(const Watch *watch, usec_t began, int error, const Record *record);

/* The prober, a thread's whole work: never returns. */
_Noreturn void watch_probe(const Watch *watch);
