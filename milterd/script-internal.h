/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What script.c and script-load.c share.
 */

#include "milterd/script.h"

ScriptFailures *script_failures_new(void); /* NULL for want of memory; free() ends it */
