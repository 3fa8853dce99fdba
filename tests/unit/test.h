/* SPDX-License-Identifier: MIT */
#pragma once

/* What every unit test includes first: cmocka wants these before its own header. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/util.h"
