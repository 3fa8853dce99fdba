/* SPDX-License-Identifier: MIT */

/*
 * Regular expressions for scripts (regex.h), bounded in what all of them cost for a mail.
 */

#include "milterd/vm-internal.h"

#include "milterd/regex.h"

static const char regex_type[] = "milterd.regex";

static int regex_collect(lua_State *state)
{
    Regex **regex = lua_touserdata(state, 1);

    if (*regex)
        vm_of(state)->n_regexes--;
    *regex = regex_free(*regex);
    return 0;
}

static int regex_make(lua_State *state)
{
    const char *pattern = luaL_checkstring(state, 1);
    char reason[REGEX_REASON_MAX];
    Vm *vm = vm_of(state);
    Regex **regex;

    if (vm->n_regexes >= VM_REGEXES_MAX)
        return luaL_error(state,
                          "a script has at most %d regexes; make them once, outside of "
                          "handlers",
                          VM_REGEXES_MAX);
    regex = lua_newuserdatauv(state, sizeof(*regex), 0);
    *regex = NULL;
    luaL_setmetatable(state, regex_type);
    vm_charge(state, 16384);
    switch (regex_new(pattern, regex, reason)) {
    case 0:
        regex_take_long(*regex);
        vm->n_regexes++;
        return 1;
    case -EINVAL:
        return luaL_error(state, "regex: %s", reason);
    default:
        return luaL_error(state, "out of memory");
    }
}

/* Steps are those of the whole mail; where there is none yet, those of this search. */
static bool regex_run(lua_State *state, RegexSpans *spans)
{
    Regex **regex = luaL_checkudata(state, 1, regex_type);
    Vm *vm = vm_of(state);
    size_t size, offset, budget = REGEX_BUDGET;
    const char *text = luaL_checklstring(state, 2, &size);

    offset = vm_offset(state, 3, size);
    if (offset == SIZE_MAX)
        return false;
    vm_charge(state, size);
    switch (regex_search_groups(*regex, text, size, offset,
                                vm->wishes ? &vm->wishes->regex_budget : &budget, spans)) {
    case REGEX_MATCH:
        return true;
    case REGEX_NO_MATCH:
        return false;
    case REGEX_NO_MEMORY:
        luaL_error(state, "not enough memory");
        break;
    case REGEX_GAVE_UP:
        break;
    }
    luaL_error(state, "the regex has reached its limits; make it simpler");
    return false;
}

static int push_groups(lua_State *state, const RegexSpans *spans, size_t first)
{
    Regex **regex = lua_touserdata(state, 1);
    size_t last = MIN(regex_n_groups(*regex), (size_t)REGEX_GROUPS_MAX);
    const char *text = lua_tostring(state, 2);

    if (last == 0)
        first = 0;
    luaL_checkstack(state, (int)last + 1, "too many groups");
    for (size_t i = first; i <= last; i++) {
        if (spans->items[i].set)
            lua_pushlstring(state, text + spans->items[i].start, spans->items[i].size);
        else
            lua_pushnil(state);
    }
    return (int)(last - first + 1);
}

/* re:match(text [, init]): its groups, or all of it where it has none. */
static int regex_match(lua_State *state)
{
    RegexSpans spans;

    if (!regex_run(state, &spans)) {
        lua_pushnil(state);
        return 1;
    }
    return push_groups(state, &spans, 1);
}

/* re:find(text [, init]): where it begins and ends, and its groups. */
static int regex_find(lua_State *state)
{
    RegexSpans spans;

    if (!regex_run(state, &spans)) {
        lua_pushnil(state);
        return 1;
    }
    lua_pushinteger(state, (lua_Integer)spans.items[0].start + 1);
    lua_pushinteger(state, (lua_Integer)(spans.items[0].start + spans.items[0].size));
    if (regex_n_groups(*(Regex **)lua_touserdata(state, 1)) == 0)
        return 2;
    return 2 + push_groups(state, &spans, 1);
}

void vm_open_regex(lua_State *state)
{
    static const luaL_Reg methods[] = {
        { "find", regex_find },
        { "match", regex_match },
        {},
    };

    vm_new_type(state, regex_type);
    luaL_newlib(state, methods);
    lua_setfield(state, -2, "__index");
    lua_pushcfunction(state, regex_collect);
    lua_setfield(state, -2, "__gc");
    lua_pop(state, 1);
    lua_pushcfunction(state, regex_make);
    lua_setglobal(state, "regex");
}
