/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The relay process: wires the inbox, the spool, the dispatch, the sessions and the control
 * socket together in one event loop.
 */

#include "xmpprelay/settings.h"

typedef struct Relay Relay;

/* Runs until TERM or INT; HUP reads `config_path` again. Consumes `settings`. All signals but
 * those whose default is to kill or stop must have their default disposition. Returns 0 after an
 * orderly stop, or -errno when it could not start or go on (it has been logged). */
int relay_run(const char *config_path, Settings *settings);
