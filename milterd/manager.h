/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The manager process: it owns the listeners and the configuration, keeps the workers running,
 * and answers to signals and to the service manager. It parses no mail and has no threads.
 */

#include "milterd/settings.h"

/* Serves until it is told to stop. `settings` is consumed. Returns the exit status of the
 * process: 0, or one of sysexits.h, with the reason logged. */
int manager_run(const char *config_path, Settings *settings);
