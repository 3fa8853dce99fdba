/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What scripts would do with a mail that is all there, for milterd --explain.
 */

#include "milterd/script.h"

typedef struct ScriptReplay {
    ScriptRun *run;      /* with what was wished for; NULL: there are no scripts */
    ScriptAnswer answer; /* the verdict that ended it, or CONTINUE */
    ScriptEvent event;   /* at which it came */
} ScriptReplay;

/* Calls the scripts for each event from the connection to the end of the message, as if the MTA
 * offered all there is. Recipients that they refuse are taken from the mail. Failures are logged.
 * -ENOMEM. */
int script_replay(const ScriptSet *scripts, Mail *mail, ScriptReplay *ret);
void script_replay_done(ScriptReplay *replay);
