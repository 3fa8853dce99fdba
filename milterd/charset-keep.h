/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Converters that stay loaded. The C library loads the code of a converter when it is opened and
 * unloads it after some others came and went; a header whose every word is in another charset
 * would have it do that thousands of times.
 */

/* Keeps the converter from this charset to UTF-8 loaded from now on; `name` is one of the fixed
 * list of charset_name(), or made from it. Thread-safe. */
void charset_keep(const char *name);
