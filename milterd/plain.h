/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Plain text as terminals and mail programs write it, made text that a person reads.
 */

#include "common/util.h"

/* Takes out, in place, what only a terminal understands: escape sequences (ECMA-48), and what was
 * struck over with backspaces; a form feed becomes a line end. Returns the new size. The text is
 * UTF-8 that is not clean yet; one of other bytes is not harmed beyond that. */
size_t plain_drop_terminal(char *text, size_t size);

/* Joins the lines of format=flowed (RFC 3676) into paragraphs; `delsp` as the parameter says. The
 * text is clean, and so is the result, which is no longer and the caller's. -ENOMEM. */
int plain_unflow(const char *text, bool delsp, char **ret);

/* Whether bytes begin as files do that are no text. */
bool plain_is_file(const char *bytes, size_t size);

/* Whether decoded text is none, by the controls in it. */
bool plain_is_binary(const char *text, size_t size);

/* Whether a plain text may only say that there is HTML: it is short and names HTML, a better reader
 * or a browser in a usual language, or says nothing. The text is clean. */
bool plain_may_be_stub(const char *text);

/* Whether it is one, beside HTML that has much more to say. */
bool plain_is_stub(const char *text, const char *html);
