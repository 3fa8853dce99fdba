/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The scripts of the configuration, and what they say of a connection's mails: which are asked, in
 * what order, and what follows when one fails. What milterd-lua(5) describes.
 */

#include "common/config.h"
#include "common/metrics.h"
#include "milterd/vm.h"

#define SCRIPTS_MAX 16

/* What happens to a mail when a script fails. */
typedef enum ScriptOnError {
    SCRIPT_ON_ERROR_TEMPFAIL,
    SCRIPT_ON_ERROR_ACCEPT, /* it goes on as if the script were not there */
} ScriptOnError;

typedef struct ScriptFailures ScriptFailures;

typedef struct Script {
    char *name;
    char *file;
    uint64_t memory; /* bytes, of each connection's state */
    usec_t time_usec;
    int on_error; /* ScriptOnError */

    /* made of the file */
    VmCode code;
    VmOutline outline;
    ScriptFailures *failures;
} Script;

/* As the configuration read them; the items are Script. */
typedef ConfigItems ScriptSet;

extern const ConfigKey script_keys[]; /* for the list `scripts` */
void script_free(void *script);

/* The check of the list as a whole, for ConfigKey.parse. */
int scripts_check(ConfigFile *file, const ConfigNode *node, void *target);

/* Reads and compiles their files, and reports what is wrong with them. 0 or -ENOMEM. */
int scripts_load(const ScriptSet *scripts, ConfigFile *file);

bool scripts_have(const ScriptSet *scripts, ScriptEvent event); /* a handler */

/* Adds the macros that they declare (macros_collect() in rules.h), and returns how many there are.
 */
size_t scripts_macros(const ScriptSet *scripts, const char *names[static MAIL_MACROS_MAX],
                      size_t n);

/* The scripts of one connection; it serves one thread at a time. */
typedef struct ScriptRun ScriptRun;

/* `scripts` is kept, and so is `errors`, which counts the failures of each; NULL: nobody does.
 * -ENOMEM. */
int script_run_new(const ScriptSet *scripts, Metric *const *errors, ScriptRun **ret);
ScriptRun *script_run_free(ScriptRun *run);
DEFINE_CLEANUP(ScriptRun *, script_run_free)

void script_run_begin_connection(ScriptRun *run); /* all that scripts have kept is gone */
void script_run_begin_message(ScriptRun *run);

/* Keeps a copy of the arguments of MAIL, NULL at the end. -ENOMEM. */
int script_run_set_mail_arguments(ScriptRun *run, char *const *arguments);

typedef struct ScriptAnswer {
    Verdict verdict;      /* CONTINUE, ACCEPT, DISCARD, REJECT, TEMPFAIL */
    const Script *script; /* whose verdict it is; NULL: nobody's, it is to continue */
    const Reply *reply;   /* or NULL; the run's, until the next call */
    bool failed;          /* it is no verdict of the script, but what follows from its failure */
} ScriptAnswer;

/* Asks the scripts that have a handler for view->event, in their order, until one gives a verdict
 * that is final. Failures are logged. */
void script_run_call(ScriptRun *run, const ScriptView *view, ScriptAnswer *ret);

/* Whether some script would be asked yet about this message, at this event or one behind it, or
 * it is to be put off; and whether one wants more of its body. */
bool script_run_waits(const ScriptRun *run, ScriptEvent from);
bool script_run_wants_body(const ScriptRun *run);

/* What was wished for since the message began; it may be changed. */
ScriptWishes *script_run_wishes(ScriptRun *run);
