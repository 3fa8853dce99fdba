/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Bytes in the charset that a mail claims, made UTF-8.
 */

#include "common/util.h"

/* What a mail says is often not what it means; this follows what is meant, as browsers and mail
 * programs do: iso-8859-1 is windows-1252, GB2312 is GB18030, EUC-KR is UHC and so on
 * (charset-name.h). Where the label is wrong, the bytes say so:
 *
 *  - US-ASCII (by any of its names), no label (NULL or "") and an unknown one mean UTF-8 if the
 *    bytes are that, ISO-2022-JP and UTF-16 where they look like it, else windows-1252.
 *  - Bytes that are UTF-8 from end to end, and not ASCII alone, are UTF-8 where the label is that
 *    of a charset with one byte a character, or one in which they make no sense.
 *  - What is labelled UTF-8 and has no character of it is windows-1252. What is broken in UTF-8
 *    is windows-1252 where it is one letter within a word, else U+FFFD.
 *
 * What the charset does not know becomes U+FFFD. The result is valid UTF-8, which may hold
 * controls: clean it (text.h) when it is whole. A byte order mark in front is dropped. It is
 * NUL-terminated and the caller's. 0 or -ENOMEM; thread-safe. */
int charset_decode(const char *label, const char *bytes, size_t size, char **ret, size_t *ret_size);
