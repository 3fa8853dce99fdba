/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What the labels of charsets mean.
 */

#include "common/util.h"

#define CHARSET_NAME_MAX 16

/* The name for iconv() of what senders mean by a label, one of a fixed list; "UTF-8", "CP1252",
 * "ISO-2022-JP", "UTF-16" (without saying in which order) among them. False: the label says
 * nothing, as NULL, "" and the names of ASCII do, or nothing that is known. */
bool charset_name(const char *label, char ret[static CHARSET_NAME_MAX + 1]);
