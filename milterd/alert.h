/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * From a mail that matched a rule to the record that is sent for it.
 */

#include "common/record.h"
#include "milterd/rules.h"

/* What a Date may lie back to be believed: MTAs give up on a mail after five days. */
#define ALERT_DATE_MAX_USEC (USEC_PER_SEC * 3600 * 24 * 7)

/* Decodes the mail (mime.h) and makes the record.
 *
 *   id      SHA-256, shortened, over the rule's name, Message-ID (Date where there is none), From
 *           and Subject as they came (but for folds) and the kept body. What MTAs add is left out:
 *           a mail that is tried again has the same id and is told once. Where Message-ID and Date
 *           are both missing, the time of arrival is in it as well: such a sender may say the
 *           same twice and mean it, and losing an alert is worse than telling it twice.
 *   title   the Subject; where it is missing "Mail from …"
 *   text    at most the rule's max_lines and max_bytes, then "[… 214 more lines]"; a signature is
 *           part of it, since what stands behind "-- " may be the fact that matters. Never empty.
 *   time    the Date unless it lies ahead or more than ALERT_DATE_MAX_USEC back, else now
 *   to      the rule's; source: milterd
 *   fields  rule, from, message_id, queue_id, client, as far as they are known
 *
 * It fits into a frame (record.h). It never fails because of what the mail holds, only with
 * -ENOMEM. Thread-safe. `now_usec` is of CLOCK_REALTIME. */
int alert_from_mail(Mail *mail, const Rule *rule, usec_t now_usec, Record **ret);
