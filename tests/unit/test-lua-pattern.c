/* SPDX-License-Identifier: MIT */

/* Our patterns are Lua's: Lua itself is asked. */

#include "tests/unit/test.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>

#include "milterd/lua-pattern.h"

#define CASES 200000

static bool go_on(void *userdata, size_t steps)
{
    return true;
}

static bool stop(void *userdata, size_t steps)
{
    *(size_t *)userdata += steps;
    return false;
}

/* What a search finds, as text; "error" for a pattern that is none. */
static void find_ours(const char *pattern_text, const char *text, char ret[static 512])
{
    LuaPatternMatch match;
    LuaPattern pattern;
    const char *reason;
    size_t n;

    if (lua_pattern_read(&pattern, pattern_text, strlen(pattern_text), true, &reason) < 0) {
        strcpy(ret, "error");
        return;
    }
    if (lua_pattern_search(&pattern, text, strlen(text), 0, go_on, NULL, &match) == 0) {
        strcpy(ret, "nil");
        return;
    }
    n = (size_t)snprintf(ret, 512, "%zu %zu", match.start + 1, match.end);
    for (unsigned i = 0; i < pattern.n_captures; i++) {
        const LuaPatternCapture *capture = &match.captures[i];

        if (capture->is_position)
            n += (size_t)snprintf(ret + n, 512 - n, " @%zu", capture->start + 1);
        else
            n += (size_t)snprintf(ret + n, 512 - n, " \"%.*s\"", (int)capture->size,
                                  text + capture->start);
    }
}

static void find_lua(lua_State *state, const char *pattern, const char *text, char ret[static 512])
{
    int top = lua_gettop(state);
    size_t n;

    lua_getglobal(state, "string");
    lua_getfield(state, -1, "find");
    lua_pushstring(state, text);
    lua_pushstring(state, pattern);
    if (lua_pcall(state, 2, LUA_MULTRET, 0) != LUA_OK) {
        strcpy(ret, "error");
    } else if (lua_isnil(state, top + 2)) {
        strcpy(ret, "nil");
    } else {
        n = (size_t)snprintf(ret, 512, "%lld %lld", lua_tointeger(state, top + 2),
                             lua_tointeger(state, top + 3));
        for (int i = top + 4; i <= lua_gettop(state); i++) {
            if (lua_type(state, i) == LUA_TNUMBER)
                n += (size_t)snprintf(ret + n, 512 - n, " @%lld", lua_tointeger(state, i));
            else
                n += (size_t)snprintf(ret + n, 512 - n, " \"%s\"", lua_tostring(state, i));
        }
    }
    lua_settop(state, top);
}

static void agree(lua_State *state, const char *pattern, const char *text)
{
    char ours[512], theirs[512];

    find_lua(state, pattern, text, theirs);
    /* What Lua finds out only where it gets to it, is an error for us at once. */
    find_ours(pattern, text, ours);
    if (!streq(ours, theirs) && !(streq(ours, "error") && streq(theirs, "nil")))
        fail_msg("\"%s\" in \"%s\": %s, Lua says %s", pattern, text, ours, theirs);
}

static void pattern_finds_what_lua_finds(void **state)
{
    static const char *const cases[][2] = {
        { "(%w+)@(%w+)", "to bob@home now" },
        { "^%s*(.-)%s*$", "  trimmed  " },
        { "%b()", "a (b (c) d) e)" },
        { "%f[%w]%w+", "  the first" },
        { "%f[%z]", "end" },
        { "(a)(b)%2%1", "abba abba" },
        { "()ab()", "xxab" },
        { "[%a_][%w_]*", "9 _name9" },
        { "[^%s]+$", "last word" },
        { "[]]", "a]" },
        { "[^]]", "]a" },
        { "[a-]", "-" },
        { "[%-x]", "-" },
        { "a-b", "aaab" },
        { "x?y", "y" },
        { "$", "end" },
        { "a$b", "a$b" },
        { "%", "x" },
        { "[a", "x" },
        { "(a", "a" },
        { "a)", "a" },
        { "%1", "x" },
        { "(%1)", "x" },
        { "%b", "x" },
        { "%f", "x" },
        { "()%1", "x" },
        { "", "" },
        { "^", "x" },
        { "%d+%.%d*", "v1.25" },
        { "((a)(b))", "ab" },
        { ".*%.", "a.b.c" },
        { "\xff+", "a\xff\xff" },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++)
        agree(*state, cases[i][0], cases[i][1]);
}

/* Of pieces, so that most are patterns. */
static void pattern_finds_what_lua_finds_at_random(void **state)
{
    static const char *const pieces[] = {
        "a",    "b",  ".",     "%a",     "%d",   "%s", "[ab]", "[^a]", "(",    ")", "*", "+",
        "-",    "?",  "()",    "(a)",    "(.-)", "%1", "%2",   "^",    "$",    "%", "[", "]",
        "%bab", "%f", "%f[a]", "[%a-c]", "[a-]", "%%", "a*",   "b-",   "(b*)", "1",
    };
    static const char letters[] = "aaabbc1 .%";

    srandom(1);
    for (size_t i = 0; i < CASES; i++) {
        char pattern[64] = "", text[16];
        size_t n = (size_t)random() % 6, size = (size_t)random() % (sizeof(text) - 1);

        for (size_t k = 0; k < n; k++)
            strcat(pattern, pieces[(size_t)random() % ELEMENTSOF(pieces)]);
        for (size_t k = 0; k < size; k++)
            text[k] = letters[(size_t)random() % (sizeof(letters) - 1)];
        text[size] = '\0';
        agree(*state, pattern, text);
    }
}

static void search_stops_when_told_to(void **state)
{
    static char text[20000];
    const char *reason, pattern_text[] = ".-.-.-.-b$";
    LuaPatternMatch match;
    LuaPattern pattern;
    size_t steps = 0;

    memset(text, 'a', sizeof(text));
    assert_int_equal(lua_pattern_read(&pattern, pattern_text, strlen(pattern_text), true, &reason),
                     0);
    assert_int_equal(lua_pattern_search(&pattern, text, sizeof(text), 0, stop, &steps, &match),
                     -ECANCELED);
    assert_true(steps < 100000);
}

static void pattern_that_is_too_long_is_refused(void **state)
{
    char text[LUA_PATTERN_ITEMS_MAX + 2];
    LuaPattern pattern;
    const char *reason;

    memset(text, 'a', sizeof(text));
    assert_int_equal(lua_pattern_read(&pattern, text, LUA_PATTERN_ITEMS_MAX, true, &reason), 0);
    assert_int_equal(lua_pattern_read(&pattern, text, LUA_PATTERN_ITEMS_MAX + 1, true, &reason),
                     -EINVAL);
    assert_string_equal(reason, "it is too long");
}

static int set_up(void **state)
{
    *state = luaL_newstate();
    luaL_openlibs(*state);
    return 0;
}

static int tear_down(void **state)
{
    lua_close(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pattern_finds_what_lua_finds),
        cmocka_unit_test(pattern_finds_what_lua_finds_at_random),
        cmocka_unit_test(search_stops_when_told_to),
        cmocka_unit_test(pattern_that_is_too_long_is_refused),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
