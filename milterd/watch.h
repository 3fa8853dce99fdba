/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A worker's watch on the relay: while it does not answer, no mail waits for it, and a thread of
 * its own finds out when it does again.
 *
 * All functions may be called from any thread after watch_init().
 */

#include "milterd/breaker.h"
#include "milterd/settings.h"

#include <pthread.h>

typedef struct Watch {
    const RelaySettings *relay;
    pthread_mutex_t mutex; /* of all below */
    pthread_cond_t opened;
    Breaker breaker;
    Record *record; /* for the prober to take; there when the breaker has just opened */
} Watch;

/* `relay` is kept. 0 or -errno. There is no end to it: it lives as long as the process. */
int watch_init(Watch *watch, const RelaySettings *relay);

/* Whether to send anything to the relay now. */
bool watch_allows(Watch *watch);

/* What came of it: the relay has given an answer, whatever it says; or it gave none to a wait that
 * began at `began` (CLOCK_MONOTONIC), for the reason `error`, -errno. If nobody is to wait from now
 * on, *record, one that was sent in vain, is taken over and NULL. Both log when that begins and
 * ends, and what follows from it. */
void watch_answered(Watch *watch);
void watch_failed(Watch *watch, usec_t began, int error, Record **record);

/* The prober, a thread's whole work: never returns. */
_Noreturn void watch_probe(Watch *watch);
