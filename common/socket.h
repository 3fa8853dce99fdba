/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Listening sockets on a UNIX path, made so that a socket file left behind by a crash is
 * replaced and one that a live process serves never is.
 */

#include "common/util.h"

#include <grp.h>
#include <sys/types.h>

#define SOCKET_REASON_MAX 256

typedef struct SocketSpec {
    const char *path; /* absolute */
    int type;         /* SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET */
    int backlog;      /* of listen(); 0 for datagram sockets */
    mode_t mode;
    const char *group; /* NULL or "": the process's own */
} SocketSpec;

/* Binds and listens, non-blocking and close-on-exec. The socket is made under a temporary name
 * with its mode and group and only then renamed to `path`, so no one ever meets it half made.
 * `path` + ".lock" is held with flock() for as long as *ret_lock_fd is open: a second daemon of
 * the same path gets -EADDRINUSE. So does one that finds a live socket there without a lock.
 * Other failures are -errno; `reason` then says in a sentence what is wrong and what to do. */
int socket_listen_unix(const SocketSpec *spec, int *ret_fd, int *ret_lock_fd,
                       char reason[static SOCKET_REASON_MAX]);

/* Goes on with a socket of socket_listen_unix() that a process before us has left open: takes the
 * lock, and sets group and mode anew. -ESTALE when it is not the one that `path` leads to, or of
 * another type; other failures as above. `fd` stays the caller's. */
int socket_adopt_unix(const SocketSpec *spec, int fd, int *ret_lock_fd,
                      char reason[static SOCKET_REASON_MAX]);

/* Unlinks `path` if it is still the very socket that `fd`, of socket_listen_unix(), is bound to.
 * (It finds out by connecting: a last connection that says nothing may wait in `fd`.) */
void socket_unlink(const char *path, int fd);
