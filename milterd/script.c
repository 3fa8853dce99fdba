/* SPDX-License-Identifier: MIT */

/*
 * A connection has a state of each script, made when the script is first called. A script that
 * fails loses its state and all it wished for in this message, which it does not see again; with
 * the next one it begins anew.
 */

#include "milterd/script-internal.h"

#include <pthread.h>
#include <stdio.h>

#include "common/log.h"

#include "milterd/macro.h"

#define PROGRESS_USEC (5 * USEC_PER_SEC)
#define ARGUMENTS_MAX 32
#define ARGUMENT_MAX_BYTES 1000

/* How many lines of log a script's failures may take. */
struct ScriptFailures {
    pthread_mutex_t mutex;
    LogLimit limit;
};

typedef struct Slot {
    Vm *vm;    /* NULL: not made yet */
    bool out;  /* it has failed, and is not asked about this message any more */
    bool skip; /* it wants no more of the body */
} Slot;

struct ScriptRun {
    const ScriptSet *scripts;
    Metric *const *errors;
    ScriptWishes wishes;
    char **mail_arguments;
    Reply *reply;
    bool failed; /* a script has failed, and the mail is put off */
    Slot slots[];
};

static const Script *script_at(const ScriptSet *scripts, size_t index)
{
    return scripts->items[index];
}

static bool has(const Script *script, ScriptEvent event)
{
    return script->outline.events >> event & 1;
}

bool scripts_have(const ScriptSet *scripts, ScriptEvent event)
{
    for (size_t i = 0; i < scripts->n; i++)
        if (has(script_at(scripts, i), event))
            return true;
    return false;
}

size_t scripts_macros(const ScriptSet *scripts, const char *names[static MAIL_MACROS_MAX], size_t n)
{
    for (size_t i = 0; i < scripts->n; i++) {
        const Names *macros = &script_at(scripts, i)->outline.macros;

        for (size_t j = 0; j < macros->n; j++)
            n = macros_collect(macros->items[j], names, n);
    }
    /* By which m.is_local is known. */
    return scripts->n > 0 ? macros_collect(MACRO_RESOLVED, names, n) : n;
}

/* A connection */

int script_run_new(const ScriptSet *scripts, Metric *const *errors, ScriptRun **ret)
{
    ScriptRun *run = calloc(1, sizeof(*run) + scripts->n * sizeof(Slot));

    if (!run)
        return -ENOMEM;
    run->scripts = scripts;
    run->errors = errors;
    script_wishes_begin(&run->wishes);
    *ret = run;
    return 0;
}

static void free_arguments(ScriptRun *run)
{
    for (size_t i = 0; run->mail_arguments && run->mail_arguments[i]; i++)
        free(run->mail_arguments[i]);
    free(run->mail_arguments);
    run->mail_arguments = NULL;
}

ScriptRun *script_run_free(ScriptRun *run)
{
    if (!run)
        return NULL;
    script_run_begin_connection(run);
    script_wishes_done(&run->wishes);
    free(run->reply);
    free(run);
    return NULL;
}

void script_run_begin_connection(ScriptRun *run)
{
    for (size_t i = 0; i < run->scripts->n; i++)
        run->slots[i].vm = vm_free(run->slots[i].vm);
    script_run_begin_message(run);
}

void script_run_begin_message(ScriptRun *run)
{
    script_wishes_begin(&run->wishes);
    free_arguments(run);
    run->failed = false;
    for (size_t i = 0; i < run->scripts->n; i++) {
        run->slots[i].out = run->slots[i].skip = false;
        if (run->slots[i].vm)
            vm_begin_message(run->slots[i].vm);
    }
}

int script_run_set_mail_arguments(ScriptRun *run, char *const *arguments)
{
    size_t n = 0;

    free_arguments(run);
    while (arguments[n] && n < ARGUMENTS_MAX)
        n++;
    run->mail_arguments = calloc(n + 1, sizeof(char *));
    for (size_t i = 0; i < n; i++) {
        char *copy = run->mail_arguments ? strndup(arguments[i], ARGUMENT_MAX_BYTES) : NULL;

        if (!copy)
            return -ENOMEM;
        run->mail_arguments[i] = copy;
    }
    return run->mail_arguments ? 0 : -ENOMEM;
}

ScriptWishes *script_run_wishes(ScriptRun *run)
{
    return &run->wishes;
}

bool script_run_waits(const ScriptRun *run, ScriptEvent from)
{
    if (run->failed)
        return true;
    for (size_t i = 0; i < run->scripts->n; i++)
        for (ScriptEvent event = from; event <= SCRIPT_MESSAGE; event++)
            if (!run->slots[i].out && has(script_at(run->scripts, i), event) &&
                !(event == SCRIPT_BODY && run->slots[i].skip))
                return true;
    return false;
}

bool script_run_wants_body(const ScriptRun *run)
{
    for (size_t i = 0; i < run->scripts->n; i++)
        if (!run->slots[i].out && !run->slots[i].skip &&
            has(script_at(run->scripts, i), SCRIPT_BODY))
            return true;
    return false;
}

/* Failures */

ScriptFailures *script_failures_new(void)
{
    ScriptFailures *failures = calloc(1, sizeof(*failures));

    if (failures) {
        pthread_mutex_init(&failures->mutex, NULL);
        failures->limit = (LogLimit){ .interval_usec = 10 * USEC_PER_SEC, .burst = 10 };
    }
    return failures;
}

static void note_failure(const Script *script, const ScriptView *view, const char *reason)
{
    ScriptFailures *failures = script->failures;
    bool passes = script->on_error == SCRIPT_ON_ERROR_ACCEPT;
    const char *follows =
        passes ? "; on_error is accept, so the mail goes on without it" : "; the mail is put off";
    const LogField fields[] = {
        { "script", script->name },
        { "event", script_event_names[view->event] },
        { "queue_id", view->macro ? view->macro(view->userdata, "i") : view->mail->queue_id },
    };
    unsigned suppressed;
    bool may_say;

    if (view->event == SCRIPT_ABORT || view->event == SCRIPT_CLOSE)
        follows = "";
    pthread_mutex_lock(&failures->mutex);
    may_say = log_limit_pass(&failures->limit, now_usec(CLOCK_MONOTONIC), &suppressed);
    pthread_mutex_unlock(&failures->mutex);
    if (!may_say)
        return;
    if (suppressed > 0)
        log_fields(LOG_ERR, fields, ELEMENTSOF(fields),
                   "a script failed: %s%s (%u more failures were not logged)", reason, follows,
                   suppressed);
    else
        log_fields(LOG_ERR, fields, ELEMENTSOF(fields), "a script failed: %s%s", reason, follows);
}

/* Calling */

static int make_vm(const Script *script, Vm **ret, char reason[static VM_REASON_MAX])
{
    const VmLimits limits = { .memory = script->memory, .time_usec = script->time_usec };

    return vm_new(script->name, &script->code, &limits, ret, reason);
}

static int call(ScriptRun *run, size_t index, const ScriptView *view, VmResult *ret)
{
    size_t n_actions = run->wishes.actions.n;
    const Script *script = script_at(run->scripts, index);
    Slot *slot = &run->slots[index];
    char reason[VM_REASON_MAX];
    int r = slot->vm ? 0 : make_vm(script, &slot->vm, reason);

    if (r == 0)
        r = vm_call(slot->vm, view, &run->wishes, ret, reason);
    if (r == 0)
        return 0;
    if (run->errors)
        metric_add(run->errors[index], 1);
    note_failure(script, view, reason);
    slot->vm = vm_free(slot->vm);
    slot->out = true;
    actions_cut(&run->wishes.actions, n_actions);
    script_alerts_drop(&run->wishes.alerts, script->name);
    return r;
}

static const Reply *failure_reply(ScriptRun *run)
{
    char reason[ACTION_REASON_MAX];

    if (!run->reply)
        run->reply = malloc(sizeof(*run->reply));
    if (!run->reply || reply_begin(run->reply, "451", "4.3.0", reason) < 0)
        return NULL;
    strcpy(run->reply->lines[0], "mail filter failed, try again later");
    run->reply->n_lines = 1;
    return run->reply;
}

static ScriptAnswer fail(ScriptRun *run, const Script *script)
{
    run->failed = true;
    return (ScriptAnswer){
        .verdict = VERDICT_TEMPFAIL,
        .script = script,
        .reply = failure_reply(run),
        .failed = true,
    };
}

/* Whether this script is asked. One that has not seen the connection has nothing to end. */
static bool is_asked(const ScriptRun *run, size_t index, ScriptEvent event)
{
    const Slot *slot = &run->slots[index];

    if (!has(script_at(run->scripts, index), event) || slot->out)
        return false;
    if (event == SCRIPT_ABORT || event == SCRIPT_CLOSE)
        return slot->vm != NULL;
    return event != SCRIPT_BODY || !slot->skip;
}

void script_run_call(ScriptRun *run, const ScriptView *call_view, ScriptAnswer *ret)
{
    usec_t began = now_usec(CLOCK_MONOTONIC);
    ScriptView view = *call_view;
    bool ends = view.event == SCRIPT_ABORT || view.event == SCRIPT_CLOSE;

    *ret = (ScriptAnswer){ .verdict = VERDICT_CONTINUE };
    if (run->failed && !ends) {
        *ret = fail(run, NULL);
        return;
    }
    view.mail_arguments = run->mail_arguments;
    free(run->reply);
    run->reply = NULL;
    for (size_t i = 0; i < run->scripts->n; i++) {
        const Script *script = script_at(run->scripts, i);
        VmResult result;

        if (!is_asked(run, i, view.event))
            continue;
        if (view.progress && now_usec(CLOCK_MONOTONIC) - began > PROGRESS_USEC) {
            view.progress(view.userdata);
            began = now_usec(CLOCK_MONOTONIC);
        }
        if (call(run, i, &view, &result) < 0) {
            if (ends || script->on_error == SCRIPT_ON_ERROR_ACCEPT)
                continue;
            *ret = fail(run, script);
            return;
        }
        run->slots[i].skip = run->slots[i].skip || result.skip;
        if (result.verdict == VERDICT_CONTINUE)
            continue;
        run->reply = result.reply;
        *ret = (ScriptAnswer){ .verdict = result.verdict, .script = script, .reply = run->reply };
        return;
    }
}
