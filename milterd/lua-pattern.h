/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Patterns as Lua's manual has them (section 6.4.1), matched under a bound: Lua's own functions
 * may try for years, and nothing can stop them.
 */

#include "common/util.h"

#define LUA_PATTERN_ITEMS_MAX 256
#define LUA_PATTERN_CAPTURES_MAX 32

typedef struct LuaPatternItem {
    uint8_t kind;    /* of lua-pattern.c */
    uint8_t repeat;  /* "*", "+", "-", "?" or 0 */
    uint8_t a, b;    /* what a kind needs besides the set */
    uint64_t set[4]; /* a bit for each byte that it takes */
} LuaPatternItem;

/* Plain data, to be put wherever it is freed by itself. */
typedef struct LuaPattern {
    bool anchored;
    unsigned n_items;
    unsigned n_captures;
    LuaPatternItem items[LUA_PATTERN_ITEMS_MAX];
} LuaPattern;

typedef struct LuaPatternCapture {
    size_t start, size;
    bool is_position; /* "()": where it stands, and no text */
} LuaPatternCapture;

typedef struct LuaPatternMatch {
    size_t start, end;
    LuaPatternCapture captures[LUA_PATTERN_CAPTURES_MAX];
} LuaPatternMatch;

/* 0; -EINVAL with *ret_reason, a constant, for what is no pattern. A "^" at its beginning is heeded
 * where `anchors`. */
int lua_pattern_read(LuaPattern *pattern, const char *text, size_t size, bool anchors,
                     const char **ret_reason);

/* Asked at times whether to go on, after so many steps more. */
typedef bool (*LuaPatternAsk)(void *userdata, size_t steps);

/* Looks for the first match that begins at `from` or behind it, or there alone if the pattern is
 * anchored. 1; 0; -ECANCELED: was told not to go on. */
int lua_pattern_search(const LuaPattern *pattern, const char *text, size_t size, size_t from,
                       LuaPatternAsk ask, void *userdata, LuaPatternMatch *ret);
