/* SPDX-License-Identifier: MIT */

/*
 * A state's life, and its limits.
 *
 * Everything that may raise an error runs inside run(), which is the only place that Lua jumps to;
 * libmilter and the rest of milterd never see one. The hook that looks at the time is set once and
 * inherited by coroutines. When the time is over it is called at each instruction, so that a script
 * that catches the error gets the next one at once. Hooks do not run in finalizers and in C: so
 * scripts can set no finalizer, and functions of C that may take long look at the time themselves
 * (vm-text.c).
 */

#include "milterd/vm-internal.h"

#include <stdio.h>

#include "common/log.h"
#include "milterd/buffer.h"

#define HOOK_INSTRUCTIONS 1000
#define CHARGE_BYTES (256 * 1024)
#define CODE_MAX_BYTES ((size_t)16 * 1024 * 1024)
#define IDLE_BYTES (256 * 1024) /* a state that holds more is tidied up after a message */

/* Keys of the registry, by their addresses. */
static char handlers[_SCRIPT_EVENT_MAX];

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
    if (size > old_size && size - old_size > vm->limits.memory - MIN(vm->used, vm->limits.memory))
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

/* What there is of the library */

/* Lua runs finalizers without hooks: one that never ends could not be stopped. */
static int set_metatable(lua_State *state)
{
    luaL_checktype(state, 1, LUA_TTABLE);
    luaL_argexpected(state, lua_isnil(state, 2) || lua_istable(state, 2), 2, "nil or table");
    if (luaL_getmetafield(state, 1, "__metatable") != LUA_TNIL)
        return luaL_error(state, "cannot change a protected metatable");
    lua_settop(state, 2);
    if (lua_istable(state, 2)) {
        lua_pushliteral(state, "__gc");
        if (lua_rawget(state, 2) != LUA_TNIL)
            return luaL_error(state, "__gc is not for scripts");
        lua_pop(state, 1);
    }
    lua_setmetatable(state, 1);
    return 1;
}

/* The stack holds the handler, and behind it what the call has given. */
static int end_xpcall(lua_State *state, int status, lua_KContext context)
{
    if (status == LUA_OK || status == LUA_YIELD) {
        lua_pushboolean(state, true);
        lua_replace(state, 1);
        return lua_gettop(state);
    }
    lua_pushvalue(state, 1);
    lua_insert(state, -2);
    lua_call(state, 1, 1);
    lua_pushboolean(state, false);
    lua_insert(state, -2);
    return 2;
}

/* Lua calls the handler of an error where that occurs; if that is in a hook, without hooks. So here
 * it is called behind it. */
static int call_xpcall(lua_State *state)
{
    int n = lua_gettop(state);

    luaL_checktype(state, 2, LUA_TFUNCTION);
    lua_pushvalue(state, 1);
    lua_copy(state, 2, 1);
    lua_replace(state, 2);
    return end_xpcall(state, lua_pcallk(state, n - 2, LUA_MULTRET, 0, 0, end_xpcall), 0);
}

/* A coroutine that was stopped by a hook has none any more: what it has to close stays open. */
static int resume_wrapped(lua_State *state)
{
    lua_State *thread = lua_tothread(state, lua_upvalueindex(1));
    int n = lua_gettop(state), n_results, status;

    if (!lua_checkstack(thread, n))
        return luaL_error(state, "too many arguments to resume");
    if (lua_status(thread) == LUA_OK && lua_gettop(thread) == 0)
        return luaL_error(state, "cannot resume dead coroutine");
    lua_xmove(state, thread, n);
    status = lua_resume(thread, state, n, &n_results);
    if (status == LUA_OK || status == LUA_YIELD) {
        luaL_checkstack(state, n_results + 1, "too many results to resume");
        lua_xmove(thread, state, n_results);
        return n_results;
    }
    if (vm_of(state)->expired)
        vm_raise_expired(state);
    if (lua_status(thread) != LUA_OK && lua_status(thread) != LUA_YIELD)
        lua_resetthread(thread);
    lua_xmove(thread, state, 1);
    return lua_error(state);
}

static int wrap_coroutine(lua_State *state)
{
    lua_State *thread;

    luaL_checktype(state, 1, LUA_TFUNCTION);
    thread = lua_newthread(state);
    lua_pushvalue(state, 1);
    lua_xmove(state, thread, 1);
    lua_pushcclosure(state, resume_wrapped, 1);
    return 1;
}

/* Upvalue: the library's function. */
static int close_coroutine(lua_State *state)
{
    if (vm_of(state)->expired)
        vm_raise_expired(state);
    return lua_tocfunction(state, lua_upvalueindex(1))(state);
}

static void open_coroutines(lua_State *state)
{
    lua_getglobal(state, LUA_COLIBNAME);
    lua_pushcfunction(state, wrap_coroutine);
    lua_setfield(state, -2, "wrap");
    lua_getfield(state, -1, "close");
    lua_pushcclosure(state, close_coroutine, 1);
    lua_setfield(state, -2, "close");
    lua_pop(state, 1);
}

static void open_libraries(lua_State *state)
{
    static const char *const withheld[] = {
        "collectgarbage", "dofile", "load", "loadfile", "print", "warn",
    };

    luaL_requiref(state, LUA_GNAME, luaopen_base, 1);
    luaL_requiref(state, LUA_STRLIBNAME, luaopen_string, 1);
    luaL_requiref(state, LUA_TABLIBNAME, luaopen_table, 1);
    luaL_requiref(state, LUA_MATHLIBNAME, luaopen_math, 1);
    luaL_requiref(state, LUA_UTF8LIBNAME, luaopen_utf8, 1);
    luaL_requiref(state, LUA_COLIBNAME, luaopen_coroutine, 1);
    lua_settop(state, 0);
    for (size_t i = 0; i < ELEMENTSOF(withheld); i++) {
        lua_pushnil(state);
        lua_setglobal(state, withheld[i]);
    }
    lua_pushcfunction(state, set_metatable);
    lua_setglobal(state, "setmetatable");
    lua_pushcfunction(state, call_xpcall);
    lua_setglobal(state, "xpcall");
    open_coroutines(state);
}

void vm_new_type(lua_State *state, const char *name)
{
    luaL_newmetatable(state, name);
    lua_pushliteral(state, "milterd");
    lua_setfield(state, -2, "__metatable");
}

/* Compiling, and the first run */

typedef struct Load {
    Vm *vm;
    const char *text; /* NULL: `code` is run */
    size_t size;
    const VmCode *code;
    Buffer dump;
    VmOutline *outline; /* or NULL */
} Load;

static int write_dump(lua_State *state, const void *bytes, size_t size, void *userdata)
{
    Load *load = userdata;

    buffer_add(&load->dump, bytes, size);
    return load->dump.failed || load->dump.full;
}

static bool is_event(const char *name)
{
    for (size_t i = 0; i < _SCRIPT_EVENT_MAX; i++)
        if (streq(name, script_event_names[i]))
            return true;
    return false;
}

/* In a table that is returned there is nothing else; so a slip shows. */
static void check_keys(lua_State *state, int table)
{
    lua_pushnil(state);
    while (lua_next(state, table)) {
        const char *name = lua_type(state, -2) == LUA_TSTRING ? lua_tostring(state, -2) : NULL;

        if (!name || (!is_event(name) && !streq(name, "macros"))) {
            const char *near =
                name ? config_nearest(name, script_event_names, _SCRIPT_EVENT_MAX) : NULL;

            if (near)
                luaL_error(state, "there is no event \"%s\"; did you mean \"%s\"?", name, near);
            luaL_error(state, "the table that it returns has handlers by the names of events, and "
                              "\"macros\", and nothing else");
        }
        lua_pop(state, 1);
    }
}

static void take_handlers(lua_State *state, int table, VmOutline *outline)
{
    unsigned events = 0;

    for (unsigned i = 0; i < _SCRIPT_EVENT_MAX; i++) {
        int type = lua_getfield(state, table, script_event_names[i]);

        if (type == LUA_TFUNCTION) {
            lua_rawsetp(state, LUA_REGISTRYINDEX, &handlers[i]);
            events |= 1U << i;
            continue;
        }
        if (type != LUA_TNIL)
            luaL_error(state, "\"%s\" is the name of an event, and must be a function",
                       script_event_names[i]);
        lua_pop(state, 1);
    }
    if (events == 0)
        luaL_error(state, "it has no handler: no function by the name of an event, such as "
                          "\"message\"");
    if (outline)
        outline->events = events;
}

static void take_macros(lua_State *state, int table, VmOutline *outline)
{
    int type = lua_getfield(state, table, "macros");

    if (type != LUA_TNIL && type != LUA_TTABLE)
        luaL_error(state, "\"macros\" must be a list of names");
    for (lua_Integer i = 1; type == LUA_TTABLE && i <= (lua_Integer)lua_rawlen(state, -1); i++) {
        char name[MACRO_NAME_SIZE];

        if (lua_rawgeti(state, -1, i) != LUA_TSTRING ||
            macro_name_read(lua_tostring(state, -1), name) < 0)
            luaL_error(state, "\"macros\" must be a list of names, such as \"{auth_authen}\"");
        if (outline)
            vm_check(state, names_add(&outline->macros, name));
        lua_pop(state, 1);
    }
    lua_pop(state, 1);
}

static int load_script(lua_State *state)
{
    Load *load = lua_touserdata(state, 1);
    const char *name;
    int r;

    open_libraries(state);
    vm_open_text(state);
    vm_open_mail(state);
    lua_pushfstring(state, "=%s", load->vm->name);
    name = lua_tostring(state, -1);
    if (load->text)
        r = luaL_loadbufferx(state, load->text, load->size, name, "t");
    else
        r = luaL_loadbufferx(state, load->code->bytes, load->code->size, name, "b");
    if (r != LUA_OK)
        return lua_error(state);
    if (load->text && lua_dump(state, write_dump, load, false) != 0)
        return luaL_error(state, load->dump.full ? "it is too large" : "out of memory");
    lua_call(state, 0, 1);
    if (lua_istable(state, -1)) {
        check_keys(state, lua_absindex(state, -1));
    } else if (lua_isnil(state, -1)) {
        lua_pushglobaltable(state);
    } else {
        return luaL_error(state, "it must return a table of handlers, or nothing");
    }
    take_handlers(state, lua_absindex(state, -1), load->outline);
    take_macros(state, lua_absindex(state, -1), load->outline);
    return 0;
}

/* Calls a function in C with one argument, under the limits. */
static int run(Vm *vm, lua_CFunction function, void *argument, char reason[static VM_REASON_MAX])
{
    lua_State *state = vm->state;
    int status;

    vm->expired = false;
    vm->charged = 0;
    vm->n_lines = 0;
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
    if (status == LUA_ERRMEM)
        snprintf(reason, VM_REASON_MAX, "%s: needs more than the %zu KB of memory that it may have",
                 vm->name, vm->limits.memory / 1024);
    else if (status != LUA_OK && lua_type(state, -1) == LUA_TSTRING)
        snprintf(reason, VM_REASON_MAX, "%s", lua_tostring(state, -1));
    else if (vm->expired)
        snprintf(reason, VM_REASON_MAX, "%s: took more than %d ms", vm->name,
                 (int)(vm->limits.time_usec / USEC_PER_MSEC));
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
    Load load = {
        .vm = vm, .text = text, .size = size, .dump = { .max = CODE_MAX_BYTES }, .outline = &outline
    };
    int r;

    if (!vm) {
        say_no_memory(name, reason);
        return -EINVAL;
    }
    r = run(vm, load_script, &load, reason);
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
    Load load = { .vm = vm, .code = code };
    int r;

    if (!vm) {
        say_no_memory(name, reason);
        return -EINVAL;
    }
    r = run(vm, load_script, &load, reason);
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
    lua_rawgetp(state, LUA_REGISTRYINDEX, &handlers[vm->view->event]);
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
