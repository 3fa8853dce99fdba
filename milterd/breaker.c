/* SPDX-License-Identifier: MIT */

#include "milterd/breaker.h"

bool breaker_allows(Breaker *breaker)
{
    if (breaker->open)
        breaker->n_spared++;
    return !breaker->open;
}

bool breaker_failed(Breaker *breaker, usec_t began, usec_t now)
{
    if (breaker->open || began < breaker->answered_usec)
        return false;
    if (++breaker->n_failures < BREAKER_FAILURES)
        return false;

    breaker->open = true;
    breaker->opened_usec = now;
    breaker->n_spared = 0;
    breaker->probe_usec = now;
    breaker->probes =
        (Backoff){ .base_usec = BREAKER_PROBE_MIN_USEC, .cap_usec = BREAKER_PROBE_MAX_USEC };
    return true;
}

bool breaker_answered(Breaker *breaker, usec_t now)
{
    bool was_open = breaker->open;

    breaker->open = false;
    breaker->n_failures = 0;
    breaker->answered_usec = now;
    return was_open;
}

bool breaker_probe(Breaker *breaker, usec_t now, usec_t *ret_until)
{
    bool due = breaker->open && now >= breaker->probe_usec;

    if (due)
        breaker->probe_usec = now + backoff_failed(&breaker->probes, now, 0);
    *ret_until = breaker->open ? breaker->probe_usec : USEC_INFINITY;
    return due;
}
