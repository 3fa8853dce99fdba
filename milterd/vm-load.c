/* SPDX-License-Identifier: MIT */

/*
 * How a script becomes a state with handlers: its text or code is loaded and run once.
 */

#include "milterd/vm-internal.h"

static int write_dump(lua_State *state, const void *bytes, size_t size, void *userdata)
{
    VmLoad *load = userdata;

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
            lua_rawsetp(state, LUA_REGISTRYINDEX, vm_handler_key(i));
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

int vm_load_script(lua_State *state)
{
    VmLoad *load = lua_touserdata(state, 1);
    const char *name;
    int r;

    vm_open_library(state);
    vm_open_text(state);
    vm_open_regex(state);
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
