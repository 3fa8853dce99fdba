/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What script.c and script-load.c share.
 */

#include "milterd/script.h"

ScriptFailures *script_failures_new(void); /* NULL for want of memory; free() ends it */

/* vm_compile() in a process of its own; also -errno where there can be none. */
int script_compile(const char *name, const char *text, size_t size, const VmLimits *limits,
                   VmCode *ret_code, VmOutline *ret_outline, char reason[static VM_REASON_MAX]);
