/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The alerts of a mail that matched rules are handed over to the relay, and what that means for
 * the mail.
 */

#include "milterd/counters.h"
#include "milterd/settings.h"
#include "milterd/watch.h"

typedef enum HandoverResult {
    HANDOVER_TAKEN, /* the relay has all of them for good: the last rule's verdict counts */
    HANDOVER_PASS,  /* it has not; the mail goes on as if no rule had matched */
    HANDOVER_DEFER, /* it has not; the mail is to come again */
} HandoverResult;

/* Makes a record for each of the rules that matched, 1 to RULES_MATCHED_MAX, but not for one that
 * says `skip`, sends them, waits for their receipts at most `relay.timeout`, and writes for each
 * alert the one line of log that tells its fate. Where `watch` knows that the relay does not
 * answer, nothing is sent and nothing waited for. 0 with *ret_result, or -ENOMEM. Thread-safe. */
int handover(const Settings *settings, const Watch *watch, const Counters *counters, Mail *mail,
             const Rule *const *rules, size_t n_rules, HandoverResult *ret_result);
