/* SPDX-License-Identifier: MIT */

#include "common/backoff.h"

void backoff_started(Backoff *backoff, usec_t now)
{
    backoff->started_usec = now;
}

usec_t backoff_failed(Backoff *backoff, usec_t now, uint32_t random)
{
    usec_t wait = backoff->base_usec;

    if (backoff->started_usec > 0 && now >= backoff->started_usec &&
        now - backoff->started_usec >= backoff->healthy_usec)
        backoff->failures = 0;
    backoff->started_usec = 0;

    for (unsigned i = 0; i < backoff->failures && wait < backoff->cap_usec; i++)
        wait = wait > backoff->cap_usec / 2 ? backoff->cap_usec : wait * 2;
    if (backoff->failures < UINT32_MAX)
        backoff->failures++;

    wait = MIN(wait, backoff->cap_usec);
    return wait - (usec_t)((double)(wait / 4) * ((double)random / UINT32_MAX));
}
