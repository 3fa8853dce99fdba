/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Where a mail comes from, by what the MTA tells when a connection begins.
 */

#include "milterd/mail.h"

#include <sys/socket.h>

/* Sets the mail's client, and whether it was submitted and is local. `name` is the MTA's name for
 * the client; `address` may be NULL, where there is none. `asked` tells that the MTA was asked for
 * MACRO_RESOLVED, which the mail has if it came; without asking no mail is local. -ENOMEM. */
int origin_set(Mail *mail, const char *name, const struct sockaddr *address, bool asked);
