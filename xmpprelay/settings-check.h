/* SPDX-License-Identifier: MIT */
#pragma once

#include "xmpprelay/settings.h"

/* Checks what spans several settings or asks the system, fills in what follows from others (the
 * index of a destination's account, a missing nick) and reports to `file`. 0; -EINVAL when the
 * file has errors, old or new; -ENOMEM. */
int settings_check(Settings *settings, ConfigFile *file);
