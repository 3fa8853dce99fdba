/* SPDX-License-Identifier: MIT */

/*
 * What scripts have of Lua's library. What leads out of the state is not there, what no hook could
 * stop is bounded, and the rest is called as it is, after a look at how much it is given.
 *
 * Functions for tables want plain ones: a metatable could tell them of a length without end.
 */

#include "milterd/vm-internal.h"

#define MOVE_MAX 1000000 /* elements */
#define CALL_BYTES 16384 /* what a function may do that is not seen from its arguments */

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
    /* One that fails itself gives its own error. */
    lua_pcall(state, 1, 1, 0);
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

/* What the thread closes counts as called from here, so that it can't go deeper and deeper. Lua
 * before 5.4.6 goes on counting by itself. */
static void close_thread(lua_State *thread, lua_State *from)
{
#if LUA_VERSION_RELEASE_NUM >= 50406
    lua_closethread(thread, from);
#else
    lua_resetthread(thread);
#endif
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
        close_thread(thread, state);
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

/* Strings and tables */

/* Calls the function that it was made for, in its place. */
static int call_guarded(lua_State *state)
{
    for (int i = 1; i <= lua_gettop(state); i++)
        if (lua_type(state, i) == LUA_TSTRING)
            vm_charge(state, lua_rawlen(state, i));
    return lua_tocfunction(state, lua_upvalueindex(1))(state);
}

static void check_plain(lua_State *state, int index)
{
    luaL_checktype(state, index, LUA_TTABLE);
    if (!lua_getmetatable(state, index))
        return;
    luaL_argerror(state, index, "a table without a metatable is wanted");
}

static int call_with_table(lua_State *state)
{
    check_plain(state, 1);
    vm_charge(state, CALL_BYTES + lua_rawlen(state, 1));
    return lua_tocfunction(state, lua_upvalueindex(1))(state);
}

static int move(lua_State *state)
{
    lua_Integer first = luaL_checkinteger(state, 2), last = luaL_checkinteger(state, 3);

    check_plain(state, 1);
    if (!lua_isnoneornil(state, 5))
        check_plain(state, 5);
    if (last >= first && (lua_Unsigned)last - (lua_Unsigned)first >= MOVE_MAX)
        return luaL_argerror(state, 3, "too many elements to move");
    if (last >= first)
        vm_charge(state, (size_t)(last - first));
    return lua_tocfunction(state, lua_upvalueindex(1))(state);
}

static int is_less(lua_State *state)
{
    vm_charge(state, 64 + (lua_type(state, 1) == LUA_TSTRING ? lua_rawlen(state, 1) : 0));
    if (lua_isnil(state, lua_upvalueindex(1))) {
        lua_pushboolean(state, lua_compare(state, 1, 2, LUA_OPLT));
        return 1;
    }
    lua_settop(state, 2);
    lua_pushvalue(state, lua_upvalueindex(1));
    lua_insert(state, 1);
    lua_call(state, 2, 1);
    return 1;
}

static int sort(lua_State *state)
{
    check_plain(state, 1);
    if (!lua_isnoneornil(state, 2))
        luaL_checktype(state, 2, LUA_TFUNCTION);
    lua_settop(state, 2);
    lua_pushcclosure(state, is_less, 1);
    return lua_tocfunction(state, lua_upvalueindex(1))(state);
}

/* Puts another function before those of a library that are named here, or all. */
static void wrap(lua_State *state, const char *library, const char *name, lua_CFunction wrapper)
{
    lua_getglobal(state, library);
    lua_getfield(state, -1, name);
    lua_pushcclosure(state, wrapper, 1);
    lua_setfield(state, -2, name);
    lua_pop(state, 1);
}

static void wrap_all(lua_State *state)
{
    static const char *const of_string[] = {
        "byte",     "char",    "format", "len",    "lower", "pack",
        "packsize", "reverse", "sub",    "unpack", "upper",
    };
    static const char *const of_utf8[] = { "char", "codepoint", "codes", "len", "offset" };
    static const char *const of_table[] = { "concat", "insert", "remove", "unpack" };

    for (size_t i = 0; i < ELEMENTSOF(of_string); i++)
        wrap(state, LUA_STRLIBNAME, of_string[i], call_guarded);
    for (size_t i = 0; i < ELEMENTSOF(of_utf8); i++)
        wrap(state, LUA_UTF8LIBNAME, of_utf8[i], call_guarded);
    for (size_t i = 0; i < ELEMENTSOF(of_table); i++)
        wrap(state, LUA_TABLIBNAME, of_table[i], call_with_table);
    wrap(state, LUA_TABLIBNAME, "move", move);
    wrap(state, LUA_TABLIBNAME, "sort", sort);
}

/* Of nothing there can be any number, so the library's own would count to it. */
static int repeat(lua_State *state)
{
    size_t size, sep_size, total;
    const char *text = luaL_checklstring(state, 1, &size);
    lua_Integer n = luaL_checkinteger(state, 2);
    const char *sep = luaL_optlstring(state, 3, "", &sep_size);
    luaL_Buffer buffer;

    if (n <= 0 || size + sep_size == 0) {
        lua_pushliteral(state, "");
        return 1;
    }
    if ((size_t)n > vm_of(state)->limits.memory / (size + sep_size))
        return luaL_error(state, "resulting string too large");
    total = (size_t)n * (size + sep_size) - sep_size;
    vm_charge(state, total);
    luaL_buffinitsize(state, &buffer, total);
    for (lua_Integer i = 0; i < n; i++) {
        luaL_addlstring(&buffer, text, size);
        if (i + 1 < n)
            luaL_addlstring(&buffer, sep, sep_size);
    }
    luaL_pushresult(&buffer);
    return 1;
}

void vm_open_library(lua_State *state)
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
    wrap_all(state);
    lua_getglobal(state, LUA_STRLIBNAME);
    lua_pushcfunction(state, repeat);
    lua_setfield(state, -2, "rep");
    lua_pushnil(state);
    lua_setfield(state, -2, "dump");
    lua_pop(state, 1);
}

void vm_new_type(lua_State *state, const char *name)
{
    luaL_newmetatable(state, name);
    lua_pushliteral(state, "milterd");
    lua_setfield(state, -2, "__metatable");
}
