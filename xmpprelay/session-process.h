/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * How a session process is made: our own program again, with the link as its only descriptor
 * but for the standard ones.
 */

#include "xmpprelay/link.h"

#include <sys/types.h>

/* Opens a link, whose other end the session will have. */
int session_process_link(int *ret_ours, int *ret_theirs);

/* Forks and executes /proc/self/exe with the hidden option --session and `theirs` as descriptor
 * SESSION_LINK_FD. Returns its process id, or -errno. A program that can't be executed shows as
 * an exit with status 203. */
pid_t session_process_start(int theirs);
