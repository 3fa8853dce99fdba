/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The worker processes as the manager holds them: how they are forked, what they report, how
 * they ended. What follows from it is the pool's to say.
 */

#include <systemd/sd-event.h>

#include "milterd/listener.h"
#include "milterd/pool.h"
#include "milterd/settings.h"
#include "milterd/shared-breaker.h"

typedef struct WorkerProcess WorkerProcess;

typedef struct Workers {
    sd_event *event;
    Pool *pool; /* learns all that happens */
    WorkerProcess *processes;
    SharedBreaker *breaker; /* for those that are started from now on */

    /* Something has happened: it is time to ask the pool. */
    void (*on_change)(void *userdata);
    void *userdata;
} Workers;

/* Forks a worker for the pool's `slot`, which learns of it. -errno: there is none. */
int workers_start(Workers *workers, size_t slot, const Listener *listener,
                  const Settings *settings);

/* Kills all, and waits until they are gone. */
void workers_done(Workers *workers);

/* Noise for delays. */
uint32_t workers_random(void);
