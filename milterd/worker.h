/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What a worker process does: it serves one listener with libmilter's threads until it is told to
 * drain (SIGUSR1), and then until its last connection has ended.
 */

#include "milterd/settings.h"
#include "milterd/shared-breaker.h"

/* What a worker writes, one byte each, into the pipe that it reports to the manager through. */
#define WORKER_READY 'r'  /* it accepts connections */
#define WORKER_SERVED 's' /* once: it has served a connection to its end */

typedef struct WorkerSpec {
    const Settings *settings;
    SharedBreaker *breaker; /* of the relay that the settings name */
    int listen_fd;
    bool local; /* it is a UNIX socket */
    int report_fd;
} WorkerSpec;

/* Runs in the child, which never comes back. Leaves the process with 0 after a drain. */
_Noreturn void worker_run(const WorkerSpec *spec);
