/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The XML of the stanzas that a session sends. Every string is escaped here; it must be clean
 * (text.h), or the server ends the stream.
 *
 * Each function returns the stanza's text with its length in *ret_size, for the caller to free,
 * or NULL for want of memory.
 */

#include "common/util.h"

/* A message with an id that is its origin-id too (XEP-0359); where `unstyled`, with the hint that
 * its body isn't to be styled (XEP-0393 section 6); and with a delay stamp of the day it is about
 * (XEP-0203) by `from`, where delay_usec isn't 0. */
char *stanza_post(const char *from, const char *to, bool groupchat, const char *id,
                  const char *body, bool unstyled, usec_t delay_usec, size_t *ret_size);

/* Presence that enters a room (XEP-0045, 7.2), asking for its history of the last `age_usec`, in
 * whole seconds, or for none of it (USEC_INFINITY). */
char *stanza_join(const char *occupant, usec_t age_usec, size_t *ret_size);
char *stanza_leave(const char *occupant, size_t *ret_size);

/* XEP-0199. */
char *stanza_ping(const char *to, const char *id, size_t *ret_size);

/* XEP-0045, 10.1.2: an instant room, as the server makes them. */
char *stanza_default_configuration(const char *room, const char *id, size_t *ret_size);

/* XEP-0313: asks `to`'s archive for at most `max` messages since `start_usec` (CLOCK_REALTIME),
 * with `with` alone unless that is NULL, behind the one that the archive calls `after` unless that
 * is
 * "". The results bear `id` too. */
char *stanza_archive_query(const char *to, const char *id, usec_t start_usec, const char *with,
                           unsigned max, const char *after, size_t *ret_size);

/* The answer to a request: a result, or service-unavailable. NULL `to`: the server. */
char *stanza_answer(const char *to, const char *id, bool is_result, size_t *ret_size);
