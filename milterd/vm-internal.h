/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What the parts of the adapter of liblua share. All functions that take a lua_State may raise an
 * error, which ends in the one lua_pcall() of vm.c; so they hold nothing meanwhile that nobody
 * would free.
 */

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "milterd/buffer.h"
#include "milterd/vm.h"

#define VM_REGEXES_MAX 256
#define VM_LOG_LINES_MAX 20 /* of one call */

struct Vm {
    lua_State *state;
    const char *name;
    VmLimits limits;
    size_t used;
    size_t n_allocations;
    usec_t deadline_usec; /* on the thread's CPU clock */
    bool expired;
    bool starved; /* at the limit of memory as well */
    unsigned n_hooks;
    size_t charged; /* since the time was looked at */
    bool new_message;

    /* of the call that is under way */
    const ScriptView *view; /* NULL: none is */
    ScriptWishes *wishes;
    unsigned n_lines; /* that it has logged */
    size_t wished;    /* bytes of the changes that it wants */

    /* Being made, and freed by vm.c where an error comes in between. */
    Record *record;
    Reply *reply;

    unsigned n_regexes;
};

Vm *vm_of(lua_State *state);

/* Whether the call may go on; a LuaPatternAsk. */
bool vm_may_go_on(void *vm, size_t steps);

/* Raises the error that the time is over. */
_Noreturn void vm_raise_expired(lua_State *state);

/* Counts what a function in C is about to do, and raises an error when the time is over. */
void vm_charge(lua_State *state, size_t bytes);

/* Raises -ENOMEM as an error. */
void vm_check(lua_State *state, int r);

/* The view of the call under way; raises an error where there is none. */
const ScriptView *vm_view(lua_State *state);

/* The key of an event's handler in the registry. */
const void *vm_handler_key(ScriptEvent event);

typedef struct VmLoad {
    Vm *vm;
    const char *text; /* NULL: `code` is run */
    size_t size;
    const VmCode *code;
    Buffer dump;
    VmOutline *outline; /* or NULL */
} VmLoad;

/* For lua_pcall(), with a VmLoad: makes the state what the script wants it to be. */
int vm_load_script(lua_State *state);

/* Where to begin in a string, by a position as Lua has it; beyond the end: SIZE_MAX. */
size_t vm_offset(lua_State *state, int index, size_t size);

/* Each adds its functions and types; the first is to be called first. */
void vm_open_library(lua_State *state);
void vm_open_regex(lua_State *state);
void vm_open_text(lua_State *state);
void vm_open_mail(lua_State *state);
void vm_add_action_methods(lua_State *state); /* to the table on top */

/* Pushes the object that handlers are given. */
void vm_push_mail(lua_State *state);
/* Makes the table for what a script keeps of a message anew. */
void vm_reset_message(lua_State *state);

/* What m:reply() has made, at this index; NULL: it is something else. */
const Reply *vm_to_reply(lua_State *state, int index);

/* Makes the metatable of a type of ours on top of the stack; scripts can neither see nor set it. */
void vm_new_type(lua_State *state, const char *name);
