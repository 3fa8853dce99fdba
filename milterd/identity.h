/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * By what a mail is known again that is tried once more: the id of its alert.
 */

#include "milterd/mail.h"

#define IDENTITY_DIGITS 32

/* The id of the alert that a rule of this name makes of the mail: the same each time that the mail
 * comes, and another one for each other mail. A mail that nothing tells from others is a new one at
 * each time `now` (CLOCK_REALTIME). 0 or -ENOMEM. */
int identity_make(const Mail *mail, const char *rule, usec_t now,
                  char ret[static IDENTITY_DIGITS + 1]);
