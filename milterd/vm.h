/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Lua, fenced in: the adapter of liblua, of which vm.c, vm-mail.c, vm-action.c and vm-text.c are
 * the parts. No other file knows Lua.
 *
 * A Vm is one script's state on one connection. It has no way out: no files, no processes, no
 * environment, no code that is loaded. Its memory is bounded by its allocator, the CPU time of each
 * call by a hook and by functions that ask for the time themselves where they may take long. It
 * serves one thread at a time, any.
 */

#include "milterd/names.h"
#include "milterd/script-event.h"

typedef struct Vm Vm;

#define VM_REASON_MAX 512
#define VM_CODE_MAX_BYTES ((size_t)16 * 1024 * 1024) /* of one script, compiled */
#define VM_NAME_MAX 40 /* bytes of a script's name: Lua shows no more of it */

typedef struct VmLimits {
    size_t memory;
    usec_t time_usec;
    size_t fail_at; /* for tests: the allocation that fails; 0: none */
} VmLimits;

/* A script that has been compiled; only read, by all threads at once. */
typedef struct VmCode {
    char *bytes;
    size_t size;
} VmCode;

void vm_code_done(VmCode *code);

typedef struct VmOutline {
    unsigned events; /* a bit for each ScriptEvent that there is a handler for */
    Names macros;    /* that it declares, as in the protocol */
} VmOutline;

/* Compiles the text, and runs it once for its outline. -EINVAL with `reason`, which begins with the
 * script's name and the line, as far as there is one: "tagger:12: …". `name` is kept by what is
 * made of the code. -ENOMEM. */
int vm_compile(const char *name, const char *text, size_t size, const VmLimits *limits,
               VmCode *ret_code, VmOutline *ret_outline, char reason[static VM_REASON_MAX]);

/* Runs the code. `name` is kept. -EINVAL with `reason` for what goes wrong in it, want of memory
 * too. */
int vm_new(const char *name, const VmCode *code, const VmLimits *limits, Vm **ret,
           char reason[static VM_REASON_MAX]);
Vm *vm_free(Vm *vm);

/* What belongs to a message is new at the next call. */
void vm_begin_message(Vm *vm);

typedef struct VmResult {
    Verdict verdict; /* CONTINUE, ACCEPT, DISCARD, REJECT, TEMPFAIL */
    bool skip;       /* no more of the body is wanted */
    Reply *reply;    /* for REJECT and TEMPFAIL, or NULL; the caller's to free */
} VmResult;

/* Calls the handler of view->event, which must be there. What it wishes is added to `wishes`, and
 * must be taken off by the caller where the call fails: -EINVAL with `reason`. After that the Vm
 * can only be freed. */
int vm_call(Vm *vm, const ScriptView *view, ScriptWishes *wishes, VmResult *ret,
            char reason[static VM_REASON_MAX]);

size_t vm_memory(const Vm *vm); /* bytes that it holds */
