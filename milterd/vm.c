/* SPDX-License-Identifier: MIT */

/*
 * A state's life, and its limits.
 *
 * Everything that may raise an error runs inside run(), which is the only place that Lua jumps to;
 * libmilter and the rest of milterd never see one. The hook that looks at the time is set once and
 * inherited by coroutines. When the time is over it is called at each instruction, so that a script
 * that catches the error gets the next one at once. Hooks do not run in finalizers and in C: so
 * scripts can set no finalizer, and functions of C that may take long look at the time themselves
 * (vm-library.c).
 */

#include "milterd/vm-internal.h"

#include <stdio.h>

#include "common/log.h"

/* An instruction that copies or compares strings takes as long as they are. So a state that holds
 * much looks at the time each time, and any other now and then. */
#define HOOK_INSTRUCTIONS 100
#define HOOKS_PER_LOOK 10
#define SMALL_BYTES ((size_t)1024 * 1024)
#define LARGE_BYTES ((size_t)64 * 1024)
#define CHARGE_BYTES (256 * 1024)
#define IDLE_BYTES (256 * 1024) /* a state that holds more is tidied up after a message */

/* Keys of the registry, by their addresses. */
static char handlers[_SCRIPT_EVENT_MAX];

const void *vm_handler_key(ScriptEvent event)
{
    return &handlers[event];
}

static usec_t cpu_usec(void)
{
    return now_usec(CLOCK_THREAD_CPUTIME_ID);
}

Vm *vm_of(lua_State *state)
{
    return *(Vm **)lua_getextraspace(state);
}

/* Memory */

/* For tests. Lua tries again after it has collected garbage. */
static bool fails(Vm *vm)
{
    vm->n_allocations++;
    return vm->n_allocations == vm->limits.fail_at || vm->n_allocations == vm->limits.fail_at + 1;
}

/* Lua collects all garbage when it gets nothing, and tries again. A script at its limit may so make
 * each instruction take long; and one instruction does that moves all of a growing stack again and
 * again, for a chain of __call. When the time is over a script gets nothing more of that kind. */
static bool may_grow(Vm *vm, size_t old_size, size_t size)
{
    bool fits = size - old_size <= vm->limits.memory - MIN(vm->used, vm->limits.memory);

    if (!fits || size >= LARGE_BYTES)
        vm->starved = vm->starved || !vm_may_go_on(vm, 0);
    return fits && !vm->starved;
}

static void *allocate(void *userdata, void *block, size_t old_size, size_t size)
{
    Vm *vm = userdata;
    void *moved;

    /* Of a new block Lua tells its kind instead of a size. */
    if (!block)
        old_size = 0;
    if (size == 0) {
        free(block);
        vm->used -= old_size;
        return NULL;
    }
    if (size > old_size && !may_grow(vm, old_size, size))
        return NULL;
    /* One that shrinks must not fail. */
    if (size > old_size && vm->limits.fail_at > 0 && fails(vm))
        return NULL;
    moved = realloc(block, size);
    if (moved)
        vm->used = vm->used - old_size + size;
    return moved;
}

size_t vm_memory(const Vm *vm)
{
    return vm->used;
}

/* Never reached: everything is run by run(). */
static int on_panic(lua_State *state)
{
    log_error("a script's error was not caught");
    return 0;
}

/* Time */

bool vm_may_go_on(void *userdata, size_t steps)
{
    Vm *vm = userdata;

    if (!vm->expired && cpu_usec() >= vm->deadline_usec)
        vm->expired = true;
    return !vm->expired;
}

static void on_count(lua_State *state, lua_Debug *activation)
{
    Vm *vm = vm_of(state);

    if (!vm->expired && vm->used < SMALL_BYTES && ++vm->n_hooks % HOOKS_PER_LOOK != 0)
        return;
    if (vm_may_go_on(vm, 0))
        return;
    lua_sethook(state, on_count, LUA_MASKCOUNT, 1);
    vm_raise_expired(state);
}

_Noreturn void vm_raise_expired(lua_State *state)
{
    Vm *vm = vm_of(state);

    lua_sethook(vm->state, on_count, LUA_MASKCOUNT, 1);
    luaL_where(state, 0);
    lua_pushfstring(state, "took more than %d ms", (int)(vm->limits.time_usec / USEC_PER_MSEC));
    lua_concat(state, 2);
    lua_error(state);
    abort();
}

void vm_charge(lua_State *state, size_t bytes)
{
    Vm *vm = vm_of(state);

    vm->charged += MIN(bytes, (size_t)CHARGE_BYTES);
    if (vm->charged < CHARGE_BYTES)
        return;
    vm->charged = 0;
    if (!vm_may_go_on(vm, 0))
        vm_raise_expired(state);
}

void vm_check(lua_State *state, int r)
{
    if (r < 0)
        luaL_error(state, "out of memory");
}

const ScriptView *vm_view(lua_State *state)
{
    Vm *vm = vm_of(state);

    if (!vm->view)
        luaL_error(state, "this is for handlers, while they are called");
    return vm->view;
}

/* Whether the error is the one that the hook has raised, which knows the line. */
static bool says_expired(lua_State *state, int status)
{
    return status != LUA_OK && lua_type(state, -1) == LUA_TSTRING &&
           strstr(lua_tostring(state, -1), "took more than");
}

/* Calls a function in C with one argument, under the limits. */
static int run(Vm *vm, lua_CFunction function, void *argument, char reason[static VM_REASON_MAX])
{
    lua_State *state = vm->state;
    int status;

    vm->expired = vm->starved = false;
    vm->charged = 0;
    vm->n_lines = 0;
    vm->wished = 0;
    vm->deadline_usec = cpu_usec() + vm->limits.time_usec;
    lua_settop(state, 0);
    lua_pushcfunction(state, function);
    lua_pushlightuserdata(state, argument);
    status = lua_pcall(state, 1, 0, 0);

    vm->record = record_free(vm->record);
    free(vm->reply);
    vm->reply = NULL;
    if (status == LUA_OK && !vm->expired)
        return 0;
    if (vm->expired && !says_expired(state, status))
        snprintf(reason, VM_REASON_MAX, "%s: took more than %d ms", vm->name,
                 (int)(vm->limits.time_usec / USEC_PER_MSEC));
    else if (status == LUA_ERRMEM)
        snprintf(reason, VM_REASON_MAX, "%s: needs more than the %zu KB of memory that it may have",
                 vm->name, vm->limits.memory / 1024);
    else if (status != LUA_OK && lua_type(state, -1) == LUA_TSTRING)
        snprintf(reason, VM_REASON_MAX, "%s", lua_tostring(state, -1));
    else
        snprintf(reason, VM_REASON_MAX, "%s: an error that is no text", vm->name);
    return -EINVAL;
}

static Vm *vm_new_empty(const char *name, const VmLimits *limits)
{
    Vm *vm = calloc(1, sizeof(*vm));

    if (!vm)
        return NULL;
    vm->name = name;
    vm->limits = *limits;
    vm->new_message = true;
    vm->state = lua_newstate(allocate, vm);
    if (!vm->state) {
        free(vm);
        return NULL;
    }
    *(Vm **)lua_getextraspace(vm->state) = vm;
    lua_atpanic(vm->state, on_panic);
    lua_sethook(vm->state, on_count, LUA_MASKCOUNT, HOOK_INSTRUCTIONS);
    return vm;
}

Vm *vm_free(Vm *vm)
{
    if (!vm)
        return NULL;
    lua_close(vm->state);
    record_free(vm->record);
    free(vm->reply);
    free(vm);
    return NULL;
}

static void say_no_memory(const char *name, char reason[static VM_REASON_MAX])
{
    snprintf(reason, VM_REASON_MAX, "%s: out of memory", name);
}

void vm_code_done(VmCode *code)
{
    free(code->bytes);
    *code = (VmCode){};
}

int vm_compile(const char *name, const char *text, size_t size, const VmLimits *limits,
               VmCode *ret_code, VmOutline *ret_outline, char reason[static VM_REASON_MAX])
{
    VmOutline outline = {};
    Vm *vm = vm_new_empty(name, limits);
    VmLoad load = { .vm = vm,
                    .text = text,
                    .size = size,
                    .dump = { .max = VM_CODE_MAX_BYTES },
                    .outline = &outline };
    int r;

    if (!vm) {
        say_no_memory(name, reason);
        return -EINVAL;
    }
    r = run(vm, vm_load_script, &load, reason);
    vm_free(vm);
    if (r < 0) {
        buffer_done(&load.dump);
        names_done(&outline.macros);
        return r;
    }
    *ret_outline = outline;
    *ret_code = (VmCode){ load.dump.data, load.dump.size };
    return 0;
}

int vm_new(const char *name, const VmCode *code, const VmLimits *limits, Vm **ret,
           char reason[static VM_REASON_MAX])
{
    Vm *vm = vm_new_empty(name, limits);
    VmLoad load = { .vm = vm, .code = code };
    int r;

    if (!vm) {
        say_no_memory(name, reason);
        return -EINVAL;
    }
    r = run(vm, vm_load_script, &load, reason);
    if (r < 0) {
        vm_free(vm);
        return r;
    }
    *ret = vm;
    return 0;
}

/* Calling handlers */

void vm_begin_message(Vm *vm)
{
    vm->new_message = true;
}

typedef struct Call {
    Vm *vm;
    VmResult result;
} Call;

static void refuse_result(lua_State *state, const char *event)
{
    if (lua_type(state, -1) == LUA_TSTRING)
        luaL_error(state, "%s() has returned \"%s\", which is no verdict at this event", event,
                   lua_tostring(state, -1));
    luaL_error(state, "%s() has returned a %s; it may return a verdict, m:reply(…) or nothing",
               event, luaL_typename(state, -1));
}

/* Whether a handler of this event may say so. */
static bool may_return(ScriptEvent event, Verdict verdict)
{
    switch (verdict) {
    case VERDICT_DISCARD:
        return event != SCRIPT_CONNECT && event != SCRIPT_HELO && event != SCRIPT_UNKNOWN;
    case VERDICT_ACCEPT:
        return event != SCRIPT_UNKNOWN;
    case VERDICT_QUARANTINE:
        return false;
    default:
        return true;
    }
}

static void take_result(lua_State *state, Call *call)
{
    ScriptEvent event = call->vm->view->event;
    const Reply *reply = vm_to_reply(state, -1);
    const char *word;

    if (event == SCRIPT_ABORT || event == SCRIPT_CLOSE || lua_isnil(state, -1))
        return;
    if (reply) {
        Reply *copy = malloc(sizeof(*copy));

        if (!copy)
            luaL_error(state, "out of memory");
        *copy = *reply;
        call->result.reply = copy;
        call->result.verdict = reply->code[0] == '4' ? VERDICT_TEMPFAIL : VERDICT_REJECT;
        return;
    }
    word = lua_type(state, -1) == LUA_TSTRING ? lua_tostring(state, -1) : "";
    if (event == SCRIPT_BODY && streq(word, "skip")) {
        call->result.skip = true;
        return;
    }
    for (Verdict verdict = VERDICT_CONTINUE; verdict_names[verdict]; verdict++)
        if (streq(word, verdict_names[verdict]) && may_return(event, verdict)) {
            call->result.verdict = verdict;
            return;
        }
    refuse_result(state, script_event_names[event]);
}

static int push_arguments(lua_State *state, const ScriptView *view)
{
    int n = 0;

    for (size_t i = 0; i < view->n_values; i++, n++)
        lua_pushlstring(state, view->values[i].bytes, view->values[i].size);
    if (view->arguments) {
        lua_newtable(state);
        for (lua_Integer i = 0; view->arguments[i]; i++) {
            lua_pushstring(state, view->arguments[i]);
            lua_rawseti(state, -2, i + 1);
        }
        n++;
    }
    return n;
}

static int call_handler(lua_State *state)
{
    Call *call = lua_touserdata(state, 1);
    Vm *vm = call->vm;

    if (vm->new_message) {
        vm_reset_message(state);
        vm->new_message = false;
    }
    lua_rawgetp(state, LUA_REGISTRYINDEX, vm_handler_key(vm->view->event));
    vm_push_mail(state);
    lua_call(state, 1 + push_arguments(state, vm->view), 1);
    take_result(state, call);
    return 0;
}

int vm_call(Vm *vm, const ScriptView *view, ScriptWishes *wishes, VmResult *ret,
            char reason[static VM_REASON_MAX])
{
    Call call = { .vm = vm };
    int r;

    vm->view = view;
    vm->wishes = wishes;
    r = run(vm, call_handler, &call, reason);
    vm->view = NULL;
    vm->wishes = NULL;
    if (r < 0) {
        free(call.result.reply);
        return r;
    }
    /* A connection may be silent for long then. */
    if (view->event == SCRIPT_MESSAGE && vm->used > IDLE_BYTES)
        lua_gc(vm->state, LUA_GCCOLLECT);
    *ret = call.result;
    return 0;
}
