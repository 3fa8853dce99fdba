/* SPDX-License-Identifier: MIT */

/*
 * The functions of strings that take patterns, on our own matcher (lua-pattern.h).
 */

#include "milterd/vm-internal.h"

#include "milterd/lua-pattern.h"

static void read_pattern(lua_State *state, LuaPattern *pattern, const char *text, size_t size,
                         bool anchors)
{
    const char *reason;

    if (lua_pattern_read(pattern, text, size, anchors, &reason) < 0)
        luaL_error(state, "malformed pattern: %s", reason);
}

static bool search(lua_State *state, const LuaPattern *pattern, const char *text, size_t size,
                   size_t from, LuaPatternMatch *match)
{
    int r;

    vm_charge(state, 64);
    r = lua_pattern_search(pattern, text, size, from, vm_may_go_on, vm_of(state), match);
    if (r < 0)
        vm_raise_expired(state);
    return r > 0;
}

static void push_capture(lua_State *state, const LuaPattern *pattern, const LuaPatternMatch *match,
                         const char *text, unsigned index)
{
    if (index == 0 && pattern->n_captures == 0)
        lua_pushlstring(state, text + match->start, match->end - match->start);
    else if (index >= pattern->n_captures)
        luaL_error(state, "there is no capture %d", (int)index + 1);
    else if (match->captures[index].is_position)
        lua_pushinteger(state, (lua_Integer)match->captures[index].start + 1);
    else
        lua_pushlstring(state, text + match->captures[index].start, match->captures[index].size);
}

/* All of them; the whole match where there are none. */
static int push_captures(lua_State *state, const LuaPattern *pattern, const LuaPatternMatch *match,
                         const char *text)
{
    unsigned n = MAX(pattern->n_captures, 1);

    luaL_checkstack(state, (int)n, "too many captures");
    for (unsigned i = 0; i < n; i++)
        push_capture(state, pattern, match, text, i);
    return (int)n;
}

size_t vm_offset(lua_State *state, int index, size_t size)
{
    lua_Integer at = luaL_optinteger(state, index, 1);

    if (at > 0)
        return (lua_Unsigned)at - 1 <= size ? (size_t)at - 1 : SIZE_MAX;
    if (at == 0 || (lua_Unsigned)0 - (lua_Unsigned)at > size)
        return 0;
    return size - (size_t)((lua_Unsigned)0 - (lua_Unsigned)at);
}

static bool is_plain(const char *pattern, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (pattern[i] && strchr("^$*+?.([%-)", pattern[i]))
            return false;
    return true;
}

static int find_plain(lua_State *state, const char *text, size_t size, size_t from,
                      const char *wanted, size_t wanted_size)
{
    const char *found = text + from;

    vm_charge(state, size - from);
    if (wanted_size > 0)
        found = memmem(text + from, size - from, wanted, wanted_size);
    if (!found) {
        lua_pushnil(state);
        return 1;
    }
    lua_pushinteger(state, found - text + 1);
    lua_pushinteger(state, found - text + (lua_Integer)wanted_size);
    return 2;
}

static int find_or_match(lua_State *state, bool find)
{
    size_t size, pattern_size, from;
    const char *text = luaL_checklstring(state, 1, &size),
               *pattern_text = luaL_checklstring(state, 2, &pattern_size);
    LuaPatternMatch match;
    LuaPattern pattern;

    from = vm_offset(state, 3, size);
    if (from == SIZE_MAX) {
        lua_pushnil(state);
        return 1;
    }
    if (find && (lua_toboolean(state, 4) || is_plain(pattern_text, pattern_size)))
        return find_plain(state, text, size, from, pattern_text, pattern_size);
    read_pattern(state, &pattern, pattern_text, pattern_size, true);
    if (!search(state, &pattern, text, size, from, &match)) {
        lua_pushnil(state);
        return 1;
    }
    if (!find)
        return push_captures(state, &pattern, &match, text);
    lua_pushinteger(state, (lua_Integer)match.start + 1);
    lua_pushinteger(state, (lua_Integer)match.end);
    return pattern.n_captures == 0 ? 2 : 2 + push_captures(state, &pattern, &match, text);
}

static int find(lua_State *state)
{
    return find_or_match(state, true);
}

static int match_pattern(lua_State *state)
{
    return find_or_match(state, false);
}

/* Where a walk over all matches has got to. */
typedef struct Walk {
    size_t at;       /* where the next one may begin */
    size_t last_end; /* of the last one; an empty one does not follow there */
    LuaPattern pattern;
} Walk;

static bool walk_next(lua_State *state, Walk *walk, const char *text, size_t size,
                      LuaPatternMatch *match)
{
    while (walk->at <= size && search(state, &walk->pattern, text, size, walk->at, match)) {
        if (match->end != walk->last_end) {
            walk->at = walk->last_end = match->end;
            return true;
        }
        walk->at = match->start + 1;
        if (walk->pattern.anchored)
            break;
    }
    return false;
}

/* Upvalues: the text, and a Walk. */
static int next_match(lua_State *state)
{
    Walk *walk = lua_touserdata(state, lua_upvalueindex(2));
    LuaPatternMatch match;
    size_t size;
    const char *text = lua_tolstring(state, lua_upvalueindex(1), &size);

    if (!walk_next(state, walk, text, size, &match)) {
        walk->at = SIZE_MAX;
        return 0;
    }
    return push_captures(state, &walk->pattern, &match, text);
}

static int find_all(lua_State *state)
{
    size_t size, pattern_size, from;
    const char *pattern_text;
    Walk *walk;

    luaL_checklstring(state, 1, &size);
    pattern_text = luaL_checklstring(state, 2, &pattern_size);
    from = vm_offset(state, 3, size);
    lua_settop(state, 2);
    walk = lua_newuserdatauv(state, sizeof(*walk), 0);
    walk->at = from;
    walk->last_end = SIZE_MAX;
    read_pattern(state, &walk->pattern, pattern_text, pattern_size, false);
    lua_replace(state, 2);
    lua_pushcclosure(state, next_match, 2);
    return 1;
}

/* The text that a "%" and a digit stand for is put in. */
static void add_expanded(lua_State *state, luaL_Buffer *buffer, const LuaPattern *pattern,
                         const LuaPatternMatch *match, const char *text)
{
    size_t size;
    const char *by = lua_tolstring(state, 3, &size);

    for (size_t i = 0; i < size; i++) {
        if (by[i] != '%') {
            luaL_addchar(buffer, by[i]);
            continue;
        }
        i++;
        if (i < size && by[i] == '%') {
            luaL_addchar(buffer, '%');
        } else if (i < size && by[i] == '0') {
            luaL_addlstring(buffer, text + match->start, match->end - match->start);
        } else if (i < size && by[i] >= '1' && by[i] <= '9') {
            push_capture(state, pattern, match, text, (unsigned)(by[i] - '1'));
            luaL_tolstring(state, -1, NULL);
            lua_remove(state, -2);
            luaL_addvalue(buffer);
        } else {
            luaL_error(state, "a \"%%\" in what replaces must stand before a digit or \"%%\"");
        }
    }
}

/* What comes in the place of a match. */
static void add_replacement(lua_State *state, luaL_Buffer *buffer, const LuaPattern *pattern,
                            const LuaPatternMatch *match, const char *text)
{
    switch (lua_type(state, 3)) {
    case LUA_TFUNCTION:
        lua_pushvalue(state, 3);
        lua_call(state, push_captures(state, pattern, match, text), 1);
        break;
    case LUA_TTABLE:
        push_capture(state, pattern, match, text, 0);
        lua_gettable(state, 3);
        break;
    default:
        add_expanded(state, buffer, pattern, match, text);
        return;
    }
    if (!lua_toboolean(state, -1)) {
        lua_pop(state, 1);
        luaL_addlstring(buffer, text + match->start, match->end - match->start);
        return;
    }
    if (!lua_isstring(state, -1))
        luaL_error(state, "what replaces is a %s; a string is wanted", luaL_typename(state, -1));
    luaL_addvalue(buffer);
}

static int replace(lua_State *state)
{
    size_t size, pattern_size, copied = 0;
    const char *text = luaL_checklstring(state, 1, &size),
               *pattern_text = luaL_checklstring(state, 2, &pattern_size);
    int type = lua_type(state, 3);
    lua_Integer n = 0, max = luaL_optinteger(state, 4, (lua_Integer)size + 1);
    LuaPatternMatch match;
    luaL_Buffer buffer;
    Walk walk;

    luaL_argexpected(state,
                     type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION ||
                         type == LUA_TTABLE,
                     3, "string, function or table");
    lua_settop(state, 3);
    if (type == LUA_TNUMBER)
        lua_tostring(state, 3);
    read_pattern(state, &walk.pattern, pattern_text, pattern_size, true);
    walk.at = 0;
    walk.last_end = SIZE_MAX;
    luaL_buffinit(state, &buffer);
    while (n < max && walk_next(state, &walk, text, size, &match)) {
        n++;
        luaL_addlstring(&buffer, text + copied, match.start - copied);
        add_replacement(state, &buffer, &walk.pattern, &match, text);
        copied = match.end;
        if (walk.pattern.anchored)
            break;
    }
    luaL_addlstring(&buffer, text + copied, size - copied);
    vm_charge(state, size);
    luaL_pushresult(&buffer);
    lua_pushinteger(state, n);
    return 2;
}

void vm_open_text(lua_State *state)
{
    static const luaL_Reg functions[] = {
        { "find", find },
        { "gmatch", find_all },
        { "gsub", replace },
        { "match", match_pattern },
        {},
    };

    lua_getglobal(state, LUA_STRLIBNAME);
    luaL_setfuncs(state, functions, 0);
    lua_pop(state, 1);
}
