/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Descriptors that the service manager keeps over a restart (FileDescriptorStoreMax=,
 * sd_notify(3)).
 */

#include "common/util.h"

/* The descriptor that it has kept under `name` for us, the caller's from now on. -ENOENT: none.
 * Others that came along are closed. To be called once, before others are opened. */
int fd_store_take(const char *name);

/* Gives it a copy to keep. False where there is no service manager; whether the unit lets it keep
 * anything can't be learnt. */
bool fd_store_put(const char *name, int fd);

/* It shall keep nothing under `name`. */
void fd_store_drop(const char *name);
