/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The milter protocol: what the MTA is asked to send, and what it is told about each mail.
 * (The adapter of libmilter.)
 */

#include "milterd/counters.h"
#include "milterd/settings.h"
#include "milterd/watch.h"

#include <stdatomic.h>

typedef struct Filter {
    const Settings *settings;
    const Watch *watch; /* on the relay */
    const Counters *counters;
    atomic_llong *n_connections; /* goes up and down with those that are open */
    int listen_fd;               /* listening, non-blocking */
    bool local;                  /* it is a UNIX socket: steps need no reply */

    /* After each connection that MTAs open and close in good order. Called by any thread. */
    void (*connection_closed)(void *userdata);
    void *userdata;
} Filter;

/* Makes libmilter ready to serve `filter`, which is kept. Once in a process. 0 or -errno. */
int filter_open(const Filter *filter);

/* Serves until the process ends. Returns only when libmilter gives up. */
void filter_run(void);
