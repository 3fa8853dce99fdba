/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What a worker process does: it serves one listener with libmilter's threads until it is told to
 * drain (SIGUSR1), and then until its last connection has ended.
 */

#include "milterd/counters.h"
#include "milterd/listener.h"
#include "milterd/settings.h"
#include "milterd/shared-breaker.h"

#include <stdatomic.h>

/* What a worker writes, one byte each, into the pipe that it reports to the manager through. */
#define WORKER_READY 'r'  /* it accepts connections */
#define WORKER_SERVED 's' /* once: it has served a connection to its end */

typedef struct WorkerSpec {
    const Settings *settings;
    SharedBreaker *breaker; /* of the relay that the settings name */
    const Counters *counters;
    const Listener *listener;
    int report_fd;
    atomic_llong *n_connections; /* open ones; the manager looks at it */
} WorkerSpec;

/* Runs in the child, which never comes back. Leaves the process with 0 after a drain. */
_Noreturn void worker_run(const WorkerSpec *spec);
