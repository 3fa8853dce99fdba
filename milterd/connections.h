/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The open connections of a worker, as the kernel knows them, and how long each has been silent.
 *
 * libmilter tells no one its descriptors, and its own sweep for silent connections comes only
 * every ten minutes. So this one looks at the process's descriptors itself: every connected
 * stream socket but standard error is a connection with an MTA.
 */

#include "common/util.h"

#include <sys/types.h>

typedef struct Connection {
    ino_t inode; /* 0: none at this descriptor. The kernel gives each socket its own */
    bool seen;   /* in the present sweep */
    usec_t active_usec;
} Connection;

typedef struct Connections {
    int epoll_fd;
    int fd_min; /* descriptors below are not looked at */
    usec_t idle_usec;
    Connection *items; /* by descriptor */
    size_t n_items;
} Connections;

/* 0 or -errno. A connection that receives nothing for `idle_usec` is cut. */
int connections_init(Connections *connections, int fd_min, usec_t idle_usec);
void connections_done(Connections *connections);

/* Looks at all connections and shuts those down that were silent for too long: whoever reads
 * from them meets their end. `now` is on CLOCK_MONOTONIC. Call it several times within
 * `idle_usec`: a connection is cut at the first call after its time is over, and activity
 * counts as of the call after it. 0 with the number of those that are open and of those that
 * were cut, or -errno. */
int connections_sweep(Connections *connections, usec_t now, size_t *ret_n_open, size_t *ret_n_cut);
