/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The alert of a mail that matched a rule is handed over to the relay, and what that means for
 * the mail.
 */

#include "milterd/settings.h"

typedef enum HandoverResult {
    HANDOVER_TAKEN, /* the relay has it for good: the rule's verdict counts */
    HANDOVER_PASS,  /* it has not; the mail goes on as if no rule had matched */
    HANDOVER_DEFER, /* it has not; the mail is to come again */
} HandoverResult;

/* Makes the record, sends it, waits for its receipt at most `relay.timeout`, and writes the one
 * line of log that tells the alert's fate. 0 with *ret_result, or -ENOMEM. Thread-safe. */
int handover(const Settings *settings, Mail *mail, const Rule *rule, HandoverResult *ret_result);
