/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * From a mail that matched a rule to the record that is sent for it.
 */

#include "common/record.h"
#include "milterd/rules.h"

/* Decodes the mail (mime.h) and makes the record: id, title, text, to, time, source and the
 * fields host, message_id, queue_id, rule. Never fails because of what the mail holds; -ENOMEM.
 * Thread-safe. */
int alert_from_mail(const Mail *mail, const Rule *rule, usec_t now_usec, Record **ret);
