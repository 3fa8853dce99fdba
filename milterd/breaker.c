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

usec_t breaker_probe_usec(Breaker *breaker, usec_t now)
{
    return backoff_failed(&breaker->probes, now, 0);
}
