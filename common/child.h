/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * How a child process is made: all that it does before its own work is in one function.
 * When and how many is policy and lives with each daemon.
 */

#include "common/util.h"

#include <sys/types.h>

/* Forks. In the child, in this order: all signal dispositions are reset and the mask emptied; a
 * process group of its own (a Ctrl-C reaches the daemon alone, which then stops its children);
 * PR_SET_PDEATHSIG = SIGKILL, and exit at once if the parent has gone meanwhile; every
 * descriptor above 2 is closed but the `n_keep` in `keep_fds` (ascending or not), standard input
 * is /dev/null; the process is named `name` (15 bytes, prctl).
 * Returns 0 in the child, its process id in the parent, -errno on failure. */
pid_t child_fork(const char *name, const int *keep_fds, size_t n_keep);

/* Writes "exited with status 3" or "was killed by SIGSEGV (core dumped)" for a status of
 * waitpid() into `buffer`. */
#define CHILD_STATUS_MAX 64
const char *child_status(int status, char buffer[static CHILD_STATUS_MAX]);
