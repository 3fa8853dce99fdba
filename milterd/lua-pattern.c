/* SPDX-License-Identifier: MIT */

/*
 * A pattern is read into items once. Matching goes from item to item; where there is a choice, it
 * calls itself for what comes behind. So its depth is bounded by the items, and its time by the
 * one who is asked.
 */

#include "milterd/lua-pattern.h"

#include <ctype.h>

#define ASK_STEPS 10000
#define NOWHERE SIZE_MAX

enum {
    ITEM_SET,      /* one byte of the set, repeated */
    ITEM_OPEN,     /* a: the capture */
    ITEM_CLOSE,    /* a: the capture */
    ITEM_POSITION, /* a: the capture */
    ITEM_AGAIN,    /* a: the capture whose text stands here again */
    ITEM_BALANCED, /* from a to the b that goes with it */
    ITEM_FRONTIER, /* between a byte that is not in the set and one that is */
    ITEM_END,      /* of the text */
};

/* Reading */

typedef struct Reader {
    LuaPattern *pattern;
    const char *at, *end;
    uint8_t open[LUA_PATTERN_CAPTURES_MAX]; /* captures that are not closed yet */
    unsigned n_open;
    uint64_t closed; /* a bit for each that may be referred to */
    const char *reason;
} Reader;

static void set_add(uint64_t set[static 4], uint8_t byte)
{
    set[byte / 64] |= (uint64_t)1 << byte % 64;
}

static bool set_has(const uint64_t set[static 4], uint8_t byte)
{
    return set[byte / 64] >> byte % 64 & 1;
}

static int is_nul(int byte)
{
    return byte == 0;
}

static int (*class_of(char letter))(int)
{
    switch (tolower((unsigned char)letter)) {
    case 'a':
        return isalpha;
    case 'c':
        return iscntrl;
    case 'd':
        return isdigit;
    case 'g':
        return isgraph;
    case 'l':
        return islower;
    case 'p':
        return ispunct;
    case 's':
        return isspace;
    case 'u':
        return isupper;
    case 'w':
        return isalnum;
    case 'x':
        return isxdigit;
    case 'z':
        return is_nul;
    default:
        return NULL;
    }
}

/* What "%" and this letter stand for: a class, one of all others if it is a capital, or itself. */
static void add_escaped(uint64_t set[static 4], char letter)
{
    int (*class)(int) = class_of(letter);

    if (!class) {
        set_add(set, (uint8_t)letter);
        return;
    }
    for (unsigned byte = 0; byte < 256; byte++)
        if ((class((int)byte) != 0) != (isupper((unsigned char)letter) != 0))
            set_add(set, (uint8_t)byte);
}

static int fail(Reader *reader, const char *reason)
{
    reader->reason = reason;
    return -EINVAL;
}

/* A set; "[" has been read. */
static int read_set(Reader *reader, uint64_t set[static 4])
{
    bool others = reader->at < reader->end && *reader->at == '^', first = true;

    reader->at += others;
    for (;; first = false) {
        uint8_t low, high;

        if (reader->at == reader->end)
            return fail(reader, "a set has no \"]\"");
        if (*reader->at == ']' && !first)
            break;
        low = (uint8_t)*reader->at++;
        if (low == '%') {
            if (reader->at == reader->end)
                return fail(reader, "a set has no \"]\"");
            add_escaped(set, *reader->at++);
            continue;
        }
        high = low;
        if (reader->end - reader->at >= 2 && reader->at[0] == '-' && reader->at[1] != ']') {
            high = (uint8_t)reader->at[1];
            reader->at += 2;
        }
        for (unsigned byte = low; byte <= high; byte++)
            set_add(set, (uint8_t)byte);
    }
    reader->at++;
    if (others)
        for (unsigned i = 0; i < 4; i++)
            set[i] = ~set[i];
    return 0;
}

/* What "%" and the byte behind it begin that is more than one byte of a set: 1, or 0. */
static int read_special(Reader *reader, LuaPatternItem *item)
{
    char letter = *reader->at;

    if (letter == 'b') {
        if (reader->end - reader->at < 3)
            return fail(reader, "\"%b\" needs two characters behind it");
        *item = (LuaPatternItem){ .kind = ITEM_BALANCED,
                                  .a = (uint8_t)reader->at[1],
                                  .b = (uint8_t)reader->at[2] };
        reader->at += 3;
        return 1;
    }
    if (letter == 'f') {
        if (reader->end - reader->at < 2 || reader->at[1] != '[')
            return fail(reader, "\"%f\" needs a set behind it");
        reader->at += 2;
        *item = (LuaPatternItem){ .kind = ITEM_FRONTIER };
        return read_set(reader, item->set) < 0 ? -EINVAL : 1;
    }
    if (letter >= '0' && letter <= '9') {
        unsigned capture = (unsigned)(letter - '1');

        if (letter == '0' || !(reader->closed >> capture & 1))
            return fail(reader, "a \"%\" with a number stands for no capture before it");
        *item = (LuaPatternItem){ .kind = ITEM_AGAIN, .a = (uint8_t)capture };
        reader->at++;
        return 1;
    }
    return 0;
}

static int read_open(Reader *reader, LuaPatternItem *item)
{
    unsigned capture = reader->pattern->n_captures;

    if (capture >= LUA_PATTERN_CAPTURES_MAX)
        return fail(reader, "there are too many captures");
    reader->pattern->n_captures++;
    if (reader->at < reader->end && *reader->at == ')') {
        reader->at++;
        *item = (LuaPatternItem){ .kind = ITEM_POSITION, .a = (uint8_t)capture };
        return 0;
    }
    reader->open[reader->n_open++] = (uint8_t)capture;
    *item = (LuaPatternItem){ .kind = ITEM_OPEN, .a = (uint8_t)capture };
    return 0;
}

static int read_close(Reader *reader, LuaPatternItem *item)
{
    if (reader->n_open == 0)
        return fail(reader, "a \")\" closes nothing");
    *item = (LuaPatternItem){ .kind = ITEM_CLOSE, .a = reader->open[--reader->n_open] };
    reader->closed |= (uint64_t)1 << item->a;
    return 0;
}

static int read_item(Reader *reader, LuaPatternItem *item)
{
    char c = *reader->at++;
    int r;

    *item = (LuaPatternItem){ .kind = ITEM_SET };
    switch (c) {
    case '(':
        return read_open(reader, item);
    case ')':
        return read_close(reader, item);
    case '$':
        if (reader->at == reader->end) {
            item->kind = ITEM_END;
            return 0;
        }
        set_add(item->set, '$');
        break;
    case '%':
        if (reader->at == reader->end)
            return fail(reader, "it ends with \"%\"");
        r = read_special(reader, item);
        if (r != 0)
            return MIN(r, 0);
        add_escaped(item->set, *reader->at++);
        break;
    case '[':
        r = read_set(reader, item->set);
        if (r < 0)
            return r;
        break;
    case '.':
        memset(item->set, 0xFF, sizeof(item->set));
        break;
    default:
        set_add(item->set, (uint8_t)c);
        break;
    }
    if (reader->at < reader->end && *reader->at && strchr("*+-?", *reader->at))
        item->repeat = (uint8_t)*reader->at++;
    return 0;
}

int lua_pattern_read(LuaPattern *pattern, const char *text, size_t size, bool anchors,
                     const char **ret_reason)
{
    Reader reader = { .pattern = pattern, .at = text, .end = text + size };

    pattern->anchored = anchors && size > 0 && *text == '^';
    pattern->n_items = pattern->n_captures = 0;
    reader.at += pattern->anchored;
    while (reader.at < reader.end && !reader.reason) {
        if (pattern->n_items >= LUA_PATTERN_ITEMS_MAX)
            fail(&reader, "it is too long");
        else
            read_item(&reader, &pattern->items[pattern->n_items++]);
    }
    if (!reader.reason && reader.n_open > 0)
        fail(&reader, "a \"(\" is not closed");
    if (reader.reason) {
        *ret_reason = reader.reason;
        return -EINVAL;
    }
    return 0;
}

/* Matching */

typedef struct Matcher {
    const LuaPattern *pattern;
    const char *text;
    size_t size;
    LuaPatternAsk ask;
    void *userdata;
    size_t steps; /* since it was asked */
    bool cancelled;
    LuaPatternCapture captures[LUA_PATTERN_CAPTURES_MAX];
} Matcher;

/* Counts; false: no further. */
static bool step(Matcher *matcher, size_t steps)
{
    matcher->steps += steps;
    if (matcher->steps >= ASK_STEPS && !matcher->cancelled) {
        matcher->cancelled = !matcher->ask(matcher->userdata, matcher->steps);
        matcher->steps = 0;
    }
    return !matcher->cancelled;
}

static bool takes(const Matcher *matcher, const LuaPatternItem *item, size_t at)
{
    return at < matcher->size && set_has(item->set, (uint8_t)matcher->text[at]);
}

static size_t match_balanced(Matcher *matcher, const LuaPatternItem *item, size_t at)
{
    size_t depth = 1, begin = at;

    if (at >= matcher->size || (uint8_t)matcher->text[at] != item->a)
        return NOWHERE;
    while (++at < matcher->size) {
        uint8_t byte = (uint8_t)matcher->text[at];

        if (byte == item->b && --depth == 0)
            break;
        if (byte == item->a && item->a != item->b)
            depth++;
    }
    step(matcher, at - begin);
    return at < matcher->size ? at + 1 : NOWHERE;
}

static bool is_at_frontier(const Matcher *matcher, const LuaPatternItem *item, size_t at)
{
    uint8_t before = at > 0 ? (uint8_t)matcher->text[at - 1] : 0,
            behind = at < matcher->size ? (uint8_t)matcher->text[at] : 0;

    return !set_has(item->set, before) && set_has(item->set, behind);
}

static size_t match_again(Matcher *matcher, const LuaPatternItem *item, size_t at)
{
    const LuaPatternCapture *capture = &matcher->captures[item->a];

    if (capture->is_position || capture->size > matcher->size - at)
        return NOWHERE;
    step(matcher, capture->size);
    return memcmp(matcher->text + capture->start, matcher->text + at, capture->size) == 0
               ? at + capture->size
               : NOWHERE;
}

static size_t match_from(Matcher *matcher, unsigned index, size_t at);

/* As many as there are, then fewer. */
static size_t match_most(Matcher *matcher, unsigned index, size_t at, size_t least)
{
    const LuaPatternItem *item = &matcher->pattern->items[index];
    size_t n = 0;

    while (takes(matcher, item, at + n))
        n++;
    if (!step(matcher, n + 1))
        return NOWHERE;
    for (;; n--) {
        size_t end;

        if (n < least)
            return NOWHERE;
        end = match_from(matcher, index + 1, at + n);
        if (end != NOWHERE || matcher->cancelled || n == 0)
            return end;
    }
}

/* None, then more. */
static size_t match_least(Matcher *matcher, unsigned index, size_t at)
{
    const LuaPatternItem *item = &matcher->pattern->items[index];

    for (;; at++) {
        size_t end = match_from(matcher, index + 1, at);

        if (end != NOWHERE || matcher->cancelled)
            return end;
        if (!takes(matcher, item, at))
            return NOWHERE;
    }
}

static size_t match_optional(Matcher *matcher, unsigned index, size_t at)
{
    if (takes(matcher, &matcher->pattern->items[index], at)) {
        size_t end = match_from(matcher, index + 1, at + 1);

        if (end != NOWHERE)
            return end;
    }
    return match_from(matcher, index + 1, at);
}

static size_t match_capture(Matcher *matcher, unsigned index, size_t at)
{
    const LuaPatternItem *item = &matcher->pattern->items[index];
    LuaPatternCapture *capture = &matcher->captures[item->a], before = *capture;
    size_t end;

    if (item->kind == ITEM_CLOSE)
        capture->size = at - capture->start;
    else
        *capture = (LuaPatternCapture){ .start = at, .is_position = item->kind == ITEM_POSITION };
    end = match_from(matcher, index + 1, at);
    if (end == NOWHERE)
        *capture = before;
    return end;
}

/* Where a match of the items from `index` on ends that begins here. */
static size_t match_from(Matcher *matcher, unsigned index, size_t at)
{
    for (; index < matcher->pattern->n_items && at != NOWHERE; index++) {
        const LuaPatternItem *item = &matcher->pattern->items[index];

        if (!step(matcher, 1))
            return NOWHERE;
        switch (item->kind) {
        case ITEM_SET:
            if (item->repeat == '-')
                return match_least(matcher, index, at);
            if (item->repeat == '?')
                return match_optional(matcher, index, at);
            if (item->repeat)
                return match_most(matcher, index, at, item->repeat == '+');
            at = takes(matcher, item, at) ? at + 1 : NOWHERE;
            break;
        case ITEM_AGAIN:
            at = match_again(matcher, item, at);
            break;
        case ITEM_BALANCED:
            at = match_balanced(matcher, item, at);
            break;
        case ITEM_FRONTIER:
            at = is_at_frontier(matcher, item, at) ? at : NOWHERE;
            break;
        case ITEM_END:
            at = at == matcher->size ? at : NOWHERE;
            break;
        default:
            return match_capture(matcher, index, at);
        }
    }
    return matcher->cancelled ? NOWHERE : at;
}

int lua_pattern_search(const LuaPattern *pattern, const char *text, size_t size, size_t from,
                       LuaPatternAsk ask, void *userdata, LuaPatternMatch *ret)
{
    Matcher matcher = {
        .pattern = pattern,
        .text = text,
        .size = size,
        .ask = ask,
        .userdata = userdata,
    };

    for (size_t at = from; at <= size; at++) {
        size_t end = match_from(&matcher, 0, at);

        if (matcher.cancelled)
            return -ECANCELED;
        if (end != NOWHERE) {
            ret->start = at;
            ret->end = end;
            memcpy(ret->captures, matcher.captures, sizeof(ret->captures));
            return 1;
        }
        if (pattern->anchored)
            break;
    }
    return 0;
}
