/* SPDX-License-Identifier: MIT */
#pragma once

/* Scripts out of strings, called for a mail, for tests. */

#include "tests/unit/mails.h"

#include "milterd/regex.h"
#include "milterd/vm.h"

#define ALL_OFFERED ((1U << _ACTION_MAX) - 1)

static const VmLimits usual_limits = { .memory = 16 << 20, .time_usec = 2 * USEC_PER_SEC };

/* A script, and the mail that its handlers are called for. */
typedef struct Bench {
    VmCode code;
    VmOutline outline;
    VmLimits limits;
    Vm *vm;
    Mail mail;
    ScriptView view;
    ScriptWishes wishes;
    VmResult result;
    char reason[VM_REASON_MAX];
} Bench;

static inline void bench_forget(Bench *bench)
{
    bench->vm = vm_free(bench->vm);
    vm_code_done(&bench->code);
    names_done(&bench->outline.macros);
    free(bench->result.reply);
    bench->result = (VmResult){};
    script_wishes_begin(&bench->wishes);
}

/* 0, or -EINVAL with the reason. */
static inline int bench_compile(Bench *bench, const char *text)
{
    bench_forget(bench);
    return vm_compile("test", text, strlen(text), &bench->limits, &bench->code, &bench->outline,
                      bench->reason);
}

static inline int bench_call(Bench *bench, ScriptEvent event)
{
    int r;

    free(bench->result.reply);
    bench->result = (VmResult){};
    bench->view.event = event;
    bench->view.mail = &bench->mail;
    r = bench->vm ? 0 : vm_new("test", &bench->code, &bench->limits, &bench->vm, bench->reason);
    if (r == 0)
        r = vm_call(bench->vm, &bench->view, &bench->wishes, &bench->result, bench->reason);
    if (r < 0)
        bench->vm = vm_free(bench->vm);
    return r;
}

/* Runs the text as the body of message(m). */
static inline int bench_try(Bench *bench, const char *text)
{
    _cleanup_free_ char *script = NULL;

    assert_true(asprintf(&script, "function message(m) %s\nend", text) > 0);
    if (bench_compile(bench, script) < 0)
        return -EINVAL;
    return bench_call(bench, SCRIPT_MESSAGE);
}

static inline void bench_run(Bench *bench, const char *text)
{
    if (bench_try(bench, text) < 0)
        fail_msg("%s\nin: %s", bench->reason, text);
}

/* It fails, and this is part of the reason. */
static inline void bench_fails(Bench *bench, const char *text, const char *reason)
{
    if (bench_try(bench, text) == 0)
        fail_msg("it does not fail: %s", text);
    if (!strstr(bench->reason, reason))
        fail_msg("\"%s\" is not in \"%s\"", reason, bench->reason);
}

static inline int bench_set_up(void **state)
{
    Bench *bench = calloc(1, sizeof(*bench));

    bench->limits = usual_limits;
    bench->view.offered = ALL_OFFERED;
    script_wishes_begin(&bench->wishes);
    *state = bench;
    return 0;
}

static inline int bench_tear_down(void **state)
{
    Bench *bench = *state;

    bench_forget(bench);
    script_wishes_done(&bench->wishes);
    mail_done(&bench->mail);
    free(bench);
    return 0;
}
