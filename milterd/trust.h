/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The `trust` of a rule: facts about where a mail comes from, which the MTA vouches for and no
 * sender can write. Any of them will do.
 *
 *     "local"         submitted on the MTA's host by sendmail(1) (Mail.local)
 *     "auth"          the client has proved a login
 *     "192.0.2.0/28"  the client's address, or a network that it is in
 */

#include "common/config.h"
#include "milterd/mail.h"

typedef struct Trust Trust;

#define TRUST_MAX 64 /* of the facts in one rule */

/* A parser for CONFIG_CUSTOM; `target` is a Trust *. Reports all that is wrong. */
int trust_parse(ConfigFile *file, const ConfigNode *node, void *target);
Trust *trust_free(Trust *trust);

/* The first stage that knows whether it holds. */
MailStage trust_stage(const Trust *trust);

/* As match_next_macro(): what the MTA must be asked for. */
const char *trust_next_macro(const Trust *trust, size_t *index);

bool trust_holds(const Trust *trust, const Mail *mail);

/* What is known and whether it will do, for people, in one line without an end; the caller frees
 * it. NULL for want of memory. */
char *trust_explain(const Trust *trust, const Mail *mail);
