/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Which address a link shows beside its text.
 */

#include "common/util.h"

/* *ret_address is what a reader may want to follow and the text does not say, NULL if there is
 * nothing: places within the mail, scripts, addresses without a server, what is the same as the
 * text. `text` may hold blanks and line ends. -ENOMEM; the caller frees it. */
int html_link_address(const char *href, const char *text, size_t size, char **ret_address);
