/* SPDX-License-Identifier: MIT */

/*
 * The functions for strings and tables that no hook could stop, bounded. The rest of the library is
 * called as it is, after a look at how much it is given.
 *
 * Functions for tables want plain ones: a metatable could tell them of a length without end.
 */

#include "milterd/vm-internal.h"

#include "milterd/lua-pattern.h"
#include "milterd/regex.h"

#define MOVE_MAX 1000000 /* elements */

static const char regex_type[] = "milterd.regex";

/* The library's functions */

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
    vm_charge(state, lua_rawlen(state, 1));
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

/* Patterns */

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

/* Where to begin, by a position as Lua has it; beyond the end: SIZE_MAX. */
static size_t first_offset(lua_State *state, int index, size_t size)
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

    from = first_offset(state, 3, size);
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
    from = first_offset(state, 3, size);
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

/* Regular expressions */

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

    offset = first_offset(state, 3, size);
    if (offset == SIZE_MAX)
        return false;
    vm_charge(state, size);
    switch (regex_search_groups(*regex, text, size, offset,
                                vm->wishes ? &vm->wishes->regex_budget : &budget, spans)) {
    case REGEX_MATCH:
        return true;
    case REGEX_NO_MATCH:
        return false;
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

static void open_regex(lua_State *state)
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

void vm_open_text(lua_State *state)
{
    static const luaL_Reg bounded[] = {
        { "find", find },           { "gmatch", find_all }, { "gsub", replace },
        { "match", match_pattern }, { "rep", repeat },      {},
    };

    wrap_all(state);
    lua_getglobal(state, LUA_STRLIBNAME);
    luaL_setfuncs(state, bounded, 0);
    lua_pushnil(state);
    lua_setfield(state, -2, "dump");
    lua_pop(state, 1);
    open_regex(state);
}
