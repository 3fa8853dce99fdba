/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "common/units.h"

static void units_duration_each_unit_is_read(void **state)
{
    static const struct {
        const char *text;
        usec_t usec;
    } cases[] = {
        { "0", 0 },
        { "0d", 0 },
        { "1ms", USEC_PER_MSEC },
        { "500ms", 500 * USEC_PER_MSEC },
        { "5s", 5 * USEC_PER_SEC },
        { "005s", 5 * USEC_PER_SEC },
        { "10m", 600 * USEC_PER_SEC },
        { "2h", 7200 * USEC_PER_SEC },
        { "7d", 7 * 86400 * USEC_PER_SEC },
        { "104249d", 104249 * (usec_t)86400 * USEC_PER_SEC },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        usec_t usec = 1;

        assert_int_equal(duration_parse(cases[i].text, &usec), 0);
        assert_int_equal(usec, cases[i].usec);
    }
}

static void units_duration_malformed_is_refused(void **state)
{
    static const char *const texts[] = {
        "",    "5",    "s",    "5 s",  " 5s",  "5s ",  "-5s", "+5s",  "5S",
        "5us", "1.5s", "5s5s", "5sec", "0x5s", "5mss", "١s",  "5\ns", "99999999999999999999999999",
    };

    for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
        usec_t usec = 42;

        assert_int_equal(duration_parse(texts[i], &usec), -EINVAL);
        assert_int_equal(usec, 42);
    }
}

static void units_duration_too_long_is_out_of_range(void **state)
{
    static const char *const texts[] = { "104250d", "99999999999999999999999999s",
                                         "18446744073709551616ms", "18446744073709551617d" };

    for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
        usec_t usec = 42;

        assert_int_equal(duration_parse(texts[i], &usec), -ERANGE);
        assert_int_equal(usec, 42);
    }
}

static void units_size_each_unit_is_read(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } cases[] = {
        { "0", 0 },
        { "512", 512 },
        { "64K", 65536 },
        { "10M", 10485760 },
        { "1G", 1073741824 },
        { "0K", 0 },
        { "8388608G", (uint64_t)1 << 53 },
        { "9007199254740992", (uint64_t)1 << 53 },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        uint64_t bytes = 1;

        assert_int_equal(size_parse(cases[i].text, &bytes), 0);
        assert_int_equal(bytes, cases[i].bytes);
    }
}

static void units_size_malformed_is_refused(void **state)
{
    static const char *const texts[] = { "", "K", "5k", "5KB", "5 K", "-1", "+1", "1.5M", "0x10" };
    uint64_t bytes = 42;

    for (size_t i = 0; i < ELEMENTSOF(texts); i++)
        assert_int_equal(size_parse(texts[i], &bytes), -EINVAL);
    assert_int_equal(size_parse("8388609G", &bytes), -ERANGE);
    assert_int_equal(size_parse("9007199254740993", &bytes), -ERANGE);
    assert_int_equal(bytes, 42);
}

static void units_format_is_shortest_that_reads_back(void **state)
{
    static const char *const durations[] = { "0",   "1ms", "1500ms", "5s", "90s",    "10m",
                                             "90m", "2h",  "36h",    "7d", "104249d" };
    static const char *const sizes[] = { "0", "1", "1023", "1K", "1025", "1536K", "10M", "1G" };
    char buffer[UNITS_TEXT_MAX];

    for (size_t i = 0; i < ELEMENTSOF(durations); i++) {
        usec_t usec;

        assert_int_equal(duration_parse(durations[i], &usec), 0);
        assert_string_equal(duration_format(usec, buffer), durations[i]);
    }
    for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
        uint64_t bytes;

        assert_int_equal(size_parse(sizes[i], &bytes), 0);
        assert_string_equal(size_format(bytes, buffer), sizes[i]);
    }
    assert_string_equal(duration_format(1499, buffer), "1ms");
}

static void units_human_is_rounded_and_never_overflows_its_unit(void **state)
{
    static const struct {
        usec_t usec;
        const char *text;
    } cases[] = {
        { 0, "0 ms" },
        { 350 * USEC_PER_MSEC, "350 ms" },
        { 999600, "1 s" },
        { 4200 * USEC_PER_MSEC, "4.2 s" },
        { 5 * USEC_PER_SEC, "5 s" },
        { 9960 * USEC_PER_MSEC, "10 s" },
        { 42400 * USEC_PER_MSEC, "42 s" },
        { 59970 * USEC_PER_MSEC, "1 min" },
        { 180 * USEC_PER_SEC, "3 min" },
        { 3599 * USEC_PER_SEC, "1 h" },
        { 7500 * USEC_PER_SEC, "2 h 5 min" },
        { 86399 * USEC_PER_SEC, "1 d" },
        { 76 * 3600 * USEC_PER_SEC, "3 d 4 h" },
        { 7 * 86400 * USEC_PER_SEC, "7 d" },
        { USEC_INFINITY, "213503982 d 8 h" },
    };
    char buffer[UNITS_TEXT_MAX];

    for (size_t i = 0; i < ELEMENTSOF(cases); i++)
        assert_string_equal(duration_human(cases[i].usec, buffer), cases[i].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(units_duration_each_unit_is_read),
        cmocka_unit_test(units_duration_malformed_is_refused),
        cmocka_unit_test(units_duration_too_long_is_out_of_range),
        cmocka_unit_test(units_size_each_unit_is_read),
        cmocka_unit_test(units_size_malformed_is_refused),
        cmocka_unit_test(units_format_is_shortest_that_reads_back),
        cmocka_unit_test(units_human_is_rounded_and_never_overflows_its_unit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
