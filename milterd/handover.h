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

/* What a mail gives rise to. */
typedef struct HandoverInput {
    Mail *mail;
    const Rule *const *rules; /* that matched */
    size_t n_rules;           /* up to RULES_MATCHED_MAX */
    ScriptAlerts *alerts;     /* of scripts, which are taken; NULL: none */
    Verdict verdict;          /* of the mail, once the relay has all */
} HandoverInput;

/* Makes a record for each of the rules that matched, but not for one that says `skip`, and
 * completes those of scripts, sends them, waits for their receipts at most `relay.timeout`, and
 * writes for each alert the one line of log that tells its fate. Where `watch` knows that the relay
 * does not answer, nothing is sent and nothing waited for. 0 with *ret_result, or -ENOMEM.
 * Thread-safe. */
int handover(const Settings *settings, const Watch *watch, const Counters *counters,
             const HandoverInput *input, HandoverResult *ret_result);
