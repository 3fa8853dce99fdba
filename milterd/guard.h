/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Guards: mails that no rule may make an alert of, since it would be of the mail system's own
 * making: a room where each alert that could not be delivered comes back as another one helps
 * nobody.
 *
 *     bounce       a report that a mail was not delivered, or not yet (RFC 3464)
 *     auto-reply   the answer of a program to a mail: vacation, receipts (RFC 3834, RFC 8098)
 *     own-failure  a report of an MTA that holds our own reply to a mail whose alert the relay did
 *                  not take
 *
 * A mail says all of this of itself; who forges it keeps but his own mail from becoming an alert.
 */

#include "common/config.h"
#include "milterd/mail.h"

/* What the MTA is told with such a mail. Known by heart by the third guard: keep it. */
#define GUARD_OWN_REPLY "alert relay is not available, try again later"

extern const char *const guard_names[]; /* NULL at the end */

/* The default of the setting, a list of names; all of them. */
#define GUARDS_DEFAULT "[ \"bounce\", \"auto-reply\", \"own-failure\" ]"

/* A check of the setting for ConfigKey.parse. */
int guards_check(ConfigFile *file, const ConfigNode *node, void *target);

typedef struct GuardFinding {
    const char *name; /* of the guard */
    const char *why;  /* how it was known, as the end of "it …" */
} GuardFinding;

/* Looks at what a stage has made known: MAIL_STAGE_HEADERS, and then MAIL_STAGE_MESSAGE; nothing
 * is known before. 1 with *ret_finding, whose strings are constants, 0 where the mail may become
 * an alert, -ENOMEM. */
int guards_look(const ConfigStrings *guards, Mail *mail, MailStage stage,
                GuardFinding *ret_finding);

/* The line of log that tells of it; `queue_id` may be NULL. */
void guards_log(const GuardFinding *finding, Mail *mail, const char *queue_id);
