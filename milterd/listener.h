/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The sockets on which MTAs reach us: UNIX and TCP, our own or the service manager's.
 */

#include "common/config.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#define LISTENER_REASON_MAX 512

typedef struct ListenAddress {
    int family; /* AF_UNIX, AF_INET, AF_INET6 */
    union {
        struct sockaddr any;
        struct sockaddr_un un;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    };
    socklen_t size; /* of the address in use */
} ListenAddress;

/* Reads "unix:PATH", "inet:PORT@HOST" or "inet6:PORT@HOST". HOST is numeric or "localhost", in
 * brackets or not; no name is ever looked up. -EINVAL with `reason`: what is wrong with the
 * address and what is allowed. */
int listen_address_parse(const char *text, ListenAddress *ret,
                         char reason[static LISTENER_REASON_MAX]);

typedef struct Listener {
    char *name; /* as it stands in the configuration */
    ListenAddress address;
    int fd;      /* listening, non-blocking, close-on-exec */
    int lock_fd; /* holds the lock of a UNIX path of our own; else -1 */
    bool handed; /* the service manager's: not ours to unlink or to change */
} Listener;

typedef struct Listeners {
    Listener **items;
    size_t n;
    int *handed_fds; /* from the service manager, kept while we run */
    size_t n_handed;
} Listeners;

/* Takes the sockets that the service manager handed to us, once, at the start. Those that no
 * `listen` names stay closed to MTAs but open, for a reload may name them. 0 or -errno. */
int listeners_take_handed(Listeners *listeners);

/* Makes the set the one that `names` asks for: sockets of the same name stay open, missing ones
 * are opened, the others closed. All or nothing: on failure (-errno, `reason` says in a sentence
 * why and what to do) the set is as it was. `mode` and `group` (NULL or "": the process's own)
 * are those of UNIX sockets, and are set anew on those that stay. */
int listeners_update(Listeners *listeners, const ConfigStrings *names, mode_t mode,
                     const char *group, char reason[static LISTENER_REASON_MAX]);

/* Closes all, and unlinks the paths of our own UNIX sockets. */
void listeners_close(Listeners *listeners);

/* The same and frees what is left of it. */
void listeners_done(Listeners *listeners);

/* How many of the handed sockets no `listen` names. */
size_t listeners_n_unused(const Listeners *listeners);
