/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * An account's password, from its file or from the service manager's credentials.
 */

#include "xmpprelay/settings.h"

#define PASSWORD_MAX 1024

/* Reads it, less one line end after it. 0 with a string for password_free(); -errno with a
 * `reason` that names the file and the setting. */
int password_read(const Account *account, char **ret, char *reason, size_t reason_size);
char *password_free(char *password); /* wipes it */
DEFINE_CLEANUP(char *, password_free)
