/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Bytes in the charset that a mail claims, made UTF-8.
 */

#include "common/util.h"

/* What a mail says is often not what it means; this follows what is meant, as browsers and mail
 * programs do: iso-8859-1 is windows-1252, GB2312 is GB18030, EUC-KR is UHC and so on. US-ASCII
 * (by any of its names), no label (NULL or "") and an unknown one mean UTF-8 if the bytes are
 * that, else windows-1252.
 *
 * What the charset does not know becomes U+FFFD. A label of UTF-8 hands the bytes on as they
 * are, so the result may hold broken sequences and controls: clean it (text.h) when it is whole.
 * The result is NUL-terminated and the caller's. 0 or -ENOMEM; thread-safe. */
int charset_decode(const char *label, const char *bytes, size_t size, char **ret, size_t *ret_size);
