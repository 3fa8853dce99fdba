/* SPDX-License-Identifier: MIT */

/* What scripts can't do: leave, run on, take all memory, or take the worker down with them. */

#include "tests/unit/scripts.h"

#define SHORT_USEC (50 * USEC_PER_MSEC)

/* Sanitizers and other work on the machine make it slow; without a limit these take for ever. */
#define GENEROUS_USEC (10 * USEC_PER_SEC)

static void scripts_have_no_way_out(void **state)
{
    static const char *const absent[] = {
        "io",       "os",         "package", "require",        "debug", "dofile",      "load",
        "loadfile", "loadstring", "print",   "collectgarbage", "warn",  "string.dump",
    };
    Bench *bench = *state;

    for (size_t i = 0; i < ELEMENTSOF(absent); i++) {
        char text[128];

        snprintf(text, sizeof(text), "assert(%s == nil, '%s')", absent[i], absent[i]);
        bench_run(bench, text);
    }
    bench_run(bench,
              "assert(getmetatable(m) == 'milterd' and getmetatable(m.headers) == 'milterd')\n"
              "assert(getmetatable(regex('x')) == 'milterd')\n"
              "assert(not pcall(setmetatable, m, {}))\n");
    bench_fails(bench, "setmetatable({}, { __gc = function() end })", "__gc is not for scripts");
}

static void scripts_have_the_rest_of_the_library(void **state)
{
    bench_run(
        *state,
        "assert(('x'):rep(3, '-') == 'x-x-x' and ('%d'):format(7) == '7')\n"
        "assert(('ABC'):lower() == 'abc' and ('abc'):byte(2) == 98 and #('abc') == 3)\n"
        "assert(utf8.len('äöü') == 3 and math.max(1, 2) == 2 and ('ab'):reverse() == 'ba')\n"
        "local t = { 3, 1, 2 } table.sort(t) assert(table.concat(t, ',') == '1,2,3')\n"
        "table.sort(t, function(a, b) return a > b end)\n"
        "assert(table.concat(t, ',') == '3,2,1')\n"
        "table.insert(t, 1, 9) assert(t[1] == 9 and table.remove(t) == 1)\n"
        "assert(select('#', table.unpack(t)) == 3 and table.move(t, 1, 3, 2)[4] == 2)\n"
        "local co = coroutine.wrap(function() coroutine.yield(1) end)\n"
        "assert(xpcall(function(a) return a end, error, 1))\n"
        "local ok, e = xpcall(error, function(e) return e .. '!' end, 'x')\n"
        "assert(not ok and e == 'x!' and select('#', xpcall(function() return 1, 2 end, "
        "error)) == 3)\n"
        "ok, e = xpcall(error, function() error('bad', 0) end, 'x') assert(not ok and e == 'bad')\n"
        "local bad = coroutine.wrap(function() error('so', 0) end)\n"
        "ok, e = pcall(bad) assert(not ok and e == 'so')\n"
        "ok, e = pcall(bad) assert(not ok and e:find('dead'))\n"
        "local y = coroutine.wrap(function() return xpcall(coroutine.yield, error, 5) end)\n"
        "assert(y() == 5 and y(7) == true)\n"
        "assert(co() == 1 and next({}) == nil and tostring(1) == '1' and tonumber('7') == 7)\n"
        "local p = setmetatable({}, { __index = function(_, k) return k end })\n"
        "assert(p.x == 'x' and rawget(p, 'x') == nil)\n");
}

static void time_is_limited_for(Bench *bench, const char *text)
{
    usec_t began = now_usec(CLOCK_MONOTONIC);

    bench->limits.time_usec = SHORT_USEC;
    bench_fails(bench, text, "took more than 50 ms");
    if (now_usec(CLOCK_MONOTONIC) - began > GENEROUS_USEC)
        fail_msg("it took %llu ms: %s",
                 (unsigned long long)(now_usec(CLOCK_MONOTONIC) - began) / 1000, text);
}

static void time_of_a_call_is_limited(void **state)
{
    static const char *const scripts[] = {
        "while true do end",
        "repeat until false",
        "local function f() return f() end f()",
        "while true do pcall(function() while true do end end) end",
        "while true do pcall(error) end",
        "pcall(function() while true do end end) return 'accept'",
        "while true do coroutine.wrap(function() while true do end end)() end",
        "while true do local co = coroutine.create(function() while true do end end) "
        "coroutine.resume(co) end",
        "local co = coroutine.wrap(function() while true do coroutine.yield() end end) "
        "while true do co() end",
        "while true do xpcall(function() while true do end end, function() while true do end end) "
        "end",
        "local t = setmetatable({}, { __index = function(t, k) while true do end end }) return t.x",
        "while true do local x <close> = setmetatable({}, { __close = function() while true do end "
        "end }) end",
        "while true do coroutine.wrap(function() local x <close> = setmetatable({}, { __close = "
        "function() while true do end end }) while true do end end)() end",
        "local co = coroutine.create(function() local x <close> = setmetatable({}, { __close = "
        "function() while true do end end }) while true do end end) coroutine.resume(co) "
        "coroutine.close(co)",
        "local s, t = ('x'):rep(5000000), ('x'):rep(4999999) .. 'y' while s ~= t do end",
        "local s = ('x'):rep(4000000) while true do local t = s .. 'y' end",
        "while true do table.unpack({}, 1, 100000) end",
        "local t = {} pcall(function() while true do t[#t + 1] = {} end end) "
        "while true do pcall(function() local u = {} end) end",
        "local s = ('x'):rep(1000000) while true do s:upper() end",
        "local s = ('x'):rep(4000000) while true do s:reverse() end",
        "local s = ('x'):rep(1000000) while true do utf8.len(s) end",
        "local s = ('x'):rep(100000) while true do s:find('y', 1, true) end",
        "while true do m:header('x') end",
        "local s = ('\\0'):rep(14000000) while true do m:reply('550', nil, s, s, s, s, s, s) end",
        "table.sort((function() local t = {} for i = 1, 3000 do t[i] = i % 7 end return t end)(), "
        "function(a, b) while true do end end)",
        "local t = {} for i = 1, 100 do t[i] = ('x'):rep(10000) .. i end while true do "
        "table.sort(t) end",
        "local s = setmetatable({}, {}) getmetatable(s).__call = s s()",
        "(''):gsub('', function() while true do end end)",
    };
    Bench *bench = *state;

    for (size_t i = 0; i < ELEMENTSOF(scripts); i++)
        time_is_limited_for(bench, scripts[i]);
}

static void time_of_patterns_is_limited(void **state)
{
    Bench *bench = *state;

    time_is_limited_for(bench, "return ('a'):rep(50000):find('.-.-.-.-b$')");
    time_is_limited_for(bench,
                        "return ('a'):rep(50):match(('a?'):rep(50) .. ('a'):rep(50) .. 'b')");
    time_is_limited_for(bench, "return ('a'):rep(3000):gsub(('a*'):rep(30) .. 'b', '')");
    time_is_limited_for(bench, "for _ in ('a'):rep(3000):gmatch(('a-'):rep(30) .. 'b') do end");
    time_is_limited_for(bench, "return ('('):rep(300000):find('%b()')");
}

static void time_of_functions_in_c_is_limited(void **state)
{
    Bench *bench = *state;

    bench->limits.time_usec = SHORT_USEC;
    bench_run(bench, "assert((''):rep(1 << 62) == '')");
    bench_fails(bench, "table.move({}, 1, 1 << 40, 2)", "too many elements to move");
    bench_fails(bench,
                "table.insert(setmetatable({}, { __len = function() return 1 << 40 end, "
                "__index = type, __newindex = assert }), 1, 1)",
                "a table without a metatable is wanted");
    bench_fails(bench, "table.concat(setmetatable({}, { __index = type }), '', 1, 1 << 40)",
                "a table without a metatable is wanted");
    bench_fails(bench, "table.unpack({}, 1, 1 << 40)", "too many results");
    bench_fails(bench, "return ('x'):rep(1 << 40)", "resulting string too large");
}

static void time_of_loading_is_limited(void **state)
{
    Bench *bench = *state;

    bench->limits.time_usec = SHORT_USEC;
    assert_int_equal(bench_compile(bench, "while true do end"), -EINVAL);
    assert_string_equal(bench->reason, "test:1: took more than 50 ms");
}

static void memory_is_limited(void **state)
{
    static const char *const scripts[] = {
        "local t = {} while true do t[#t + 1] = {} end",
        "local s = 'x' while true do s = s .. s end",
        "return ('x'):rep(10000000)",
        "local t = {} for i = 1, 1e9 do t[i] = i end",
        "return ('x'):rep(100000):gsub('x', ('y'):rep(100000))",
        "local t = {} while true do t[#t + 1] = coroutine.create(function() end) end",
        "local t = {} for i = 1, 1e9 do t[i] = m.body .. i end",
        "local function f() return f() + 1 end return f()",
        "return ('%99d'):rep(100000):format(1)",
    };
    Bench *bench = *state;

    bench->limits.memory = 4 << 20;
    for (size_t i = 0; i < ELEMENTSOF(scripts); i++)
        assert_int_equal(bench_try(bench, scripts[i]), -EINVAL);
    bench_fails(bench, scripts[0], "needs more than the 4096 KB of memory");
    /* One that catches the error goes on, with no more than it may have. */
    bench_run(bench, "local t = {}\n"
                     "assert(not pcall(function() while true do t[#t + 1] = {} end end))\n"
                     "t = nil return 'accept'");
    assert_int_equal(bench->result.verdict, VERDICT_ACCEPT);
    assert_true(vm_memory(bench->vm) < 4 << 20);
}

/* What is wished for is kept outside of the state. */
static void changes_need_no_more_memory_than_the_state_may_have(void **state)
{
    Bench *bench = *state;

    bench->limits.memory = 4 << 20;
    bench_run(bench, "m:replace_body(('x'):rep(1000000)) m:replace_body(('y'):rep(1000000))");
    bench_fails(bench, "local s = ('x'):rep(1000000) for i = 1, 5 do m:replace_body(s) end",
                "m:replace_body(): all changes need more than the 4096 KB");
    bench_fails(bench, "local s = ('x'):rep(60000) for i = 1, 100 do m:add_header('X-A', s) end",
                "m:add_header(): all changes need more than the 4096 KB");
}

/* Uses each part of the interface. */
static const char everything[] =
    "local re = regex('(a)(b)?')\n"
    "function message(m)\n"
    "  local n = #m.headers + #m.rcpts + #m.mail_args + m.body_size\n"
    "  for i, h in ipairs(m.headers) do m.data[i] = h.name .. h.text .. h.value end\n"
    "  m.data.text = m.text .. m.body .. tostring(m.macros.i) .. (m.headers.subject or '')\n"
    "  m.data.gsub = ('one two'):gsub('(%w+)', { one = 'eins' }):gsub('w', '%0%0')\n"
    "  for word in m.text:gmatch('%a+') do m.data[word] = word:find('a', 1, true) end\n"
    "  m.data.groups = { re:match('xab'), re:find('a') }\n"
    "  m:add_header('X-A', 'a ü') m:insert_header(1, 'X-B', 'b') m:change_header('Subject', 'c')\n"
    "  m:delete_header('Received') m:change_from('a@x', 'SIZE=1') m:add_rcpt('b@x')\n"
    "  m:delete_rcpt('ops@y') m:replace_body('new') m:quarantine('why')\n"
    "  m:alert{ to = { 'ops' }, title = 't', text = 'x', key = 'k', fields = { a = 'b' } }\n"
    "  local co = coroutine.wrap(function(a) coroutine.yield(a) end) co(1)\n"
    "  table.sort(m.rcpts) m.data.rep = ('x'):rep(5000)\n"
    "  return m:reply('550', '5.7.1', 'one', 'two')\n"
    "end\n";

static void give_mail(Bench *bench)
{
    mail_done(&bench->mail);
    bench->mail = mail_of_text("Subject: x\nReceived: y\nReceived: z\n\nsome text\n");
    mail_add_rcpt(&bench->mail, "ops@y");
}

/* The n-th allocation fails, for each n there is. */
static void want_of_memory_is_an_error_wherever_it_occurs(void **state)
{
    Bench *bench = *state;
    size_t n_failed = 0;

    give_mail(bench);
    for (size_t n = 1;; n++) {
        int r;

        bench->limits = usual_limits;
        bench->limits.fail_at = n;
        script_wishes_begin(&bench->wishes);
        bench->vm = vm_free(bench->vm);
        r = bench_compile(bench, everything);
        if (r < 0) {
            n_failed++;
            continue;
        }
        /* The state that is called fails at an allocation of its own. */
        r = bench_call(bench, SCRIPT_MESSAGE);
        if (r == 0)
            break;
        n_failed++;
        assert_string_not_equal(bench->reason, "");
        assert_true(n < 100000);
    }
    assert_true(n_failed > 100);
    assert_int_equal(bench->result.verdict, VERDICT_REJECT);
    assert_int_equal(bench->wishes.actions.n, 10);
}

/* The same, with all that comes behind it failing too. */
static void limit_of_memory_is_an_error_wherever_it_occurs(void **state)
{
    Bench *bench = *state;
    size_t memory = 1000;

    give_mail(bench);
    for (;; memory += memory < 40000 ? 100 : 1000) {
        script_wishes_begin(&bench->wishes);
        bench->vm = vm_free(bench->vm);
        bench->limits.memory = memory;
        if (bench_compile(bench, everything) == 0 && bench_call(bench, SCRIPT_MESSAGE) == 0)
            break;
        assert_true(memory < 1 << 20);
    }
    assert_true(memory > 20000);
}

static void tables_of_thousands_and_deep_calls_do_no_harm(void **state)
{
    Bench *bench = *state;

    bench_fails(bench, "local s = 'x' local f = function(f) return f(f) .. 'x' end f(f)",
                "needs more than");
    bench_fails(bench,
                "local t = {} for i = 1, 300 do t = setmetatable({}, { __index = t }) end "
                "local function f(n) return ('x'):gsub('x', function() return f(n + 1) end) "
                "end f(1)",
                "stack overflow");
    bench_fails(bench, "local function f() return coroutine.wrap(f)() end f()", "stack overflow");
    bench_run(bench, "local n = 0\n"
                     "local function f()\n"
                     "  local x <close> = setmetatable({}, { __close = function()\n"
                     "    n = n + 1 pcall(coroutine.wrap(f)) end })\n"
                     "  error('x')\n"
                     "end\n"
                     "pcall(coroutine.wrap(f)) assert(n > 10 and n < 200)");
    bench_fails(bench, "error(setmetatable({}, { __tostring = function() error('x') end }))",
                "an error that is no text");
    bench_run(bench, "local t = {} t[1] = t assert(#t == 1)");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, bench_set_up, bench_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(scripts_have_no_way_out),
        TEST(scripts_have_the_rest_of_the_library),
        TEST(time_of_a_call_is_limited),
        TEST(time_of_patterns_is_limited),
        TEST(time_of_functions_in_c_is_limited),
        TEST(time_of_loading_is_limited),
        TEST(memory_is_limited),
        TEST(changes_need_no_more_memory_than_the_state_may_have),
        TEST(want_of_memory_is_an_error_wherever_it_occurs),
        TEST(limit_of_memory_is_an_error_wherever_it_occurs),
        TEST(tables_of_thousands_and_deep_calls_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
