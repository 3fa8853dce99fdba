/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The worker processes as the manager holds them: how they are forked, what they report, how
 * they ended. What follows from it is the pool's to say.
 */

#include <systemd/sd-event.h>

#include "milterd/pool.h"
#include "milterd/worker.h"

typedef struct WorkerProcess WorkerProcess;

typedef struct Workers {
    sd_event *event;
    Pool *pool; /* learns all that happens */
    WorkerProcess *processes;
    Metric *restarts; /* counts those that ended unasked */

    /* Something has happened: it is time to ask the pool. */
    void (*on_change)(void *userdata);
    void *userdata;
} Workers;

/* Forks a worker for the pool's `slot`, which learns of it. Of `spec` all is set but report_fd and
 * n_connections. -errno: there is none. */
int workers_start(Workers *workers, size_t slot, const WorkerSpec *spec);

/* How many connections of MTAs they have open, all together. */
int64_t workers_n_connections(const Workers *workers);

/* Kills all, and waits until they are gone. */
void workers_done(Workers *workers);

/* Noise for delays. */
uint32_t workers_random(void);
