/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * xmpprelayctl's requests to the relay (control.h), over one connection, one after the other.
 */

#include "common/json.h"

typedef struct Ctl {
    const char *path;
    bool as_json, failed, drop;
    size_t limit; /* of a list; 0: all of it */
    usec_t timeout_usec;
    int fd;
} Ctl;

/* Says why on standard error; returns the status. */
int fail(int status, const char *format, ...) PRINTF_LIKE(2, 3);

/* All that follow: 0, or the exit status after having said why. */

int ctl_connect(Ctl *ctl); /* sets ctl->fd, which the caller closes */

/* NULL when out of memory. `key` may be NULL. */
Json *request_new(const char *command, const char *key, const char *value);

/* Asks and waits; the caller frees *ret. */
int ask(const Ctl *ctl, const Json *request, Json **ret);

/* One request, one answer; how it is shown to people is the caller's. */
int ask_once(const Ctl *ctl, const char *command, const char *key, const char *value, Json **ret);
