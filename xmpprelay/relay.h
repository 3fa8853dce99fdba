/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The relay process: wires the inbox, the spool, the dispatch, the sessions and the control
 * socket together in one event loop.
 */

#include "xmpprelay/settings.h"

/* Runs until TERM (the sessions leave first) or INT (at once); HUP reads `config_path` again.
 * Consumes `settings`. Blocks the signals it handles. What it returns is for exit(): EX_OK after
 * a stop, EX_UNAVAILABLE where the spool or a socket can't be had, EX_OSERR; it has been logged. */
int relay_run(const char *config_path, Settings *settings);
