/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "common/styling.h"

static void styling_of_spans_is_seen(void **state)
{
    static const char *const styled[] = {
        "*strong*",
        "plain *strong* plain",
        "_emphasis_",
        "~struck~",
        "`code`",
        "a *b c* d",
        "* plain *strong*",
        "_*both*_",
        "(*strong*)",
        "x *a *b*",
        "**a**",
        "path: *.log and _x_ as such",
        "a\xC2\xA0*b*",
        "`a` b",
    };
    static const char *const plain[] = {
        "",
        "words",
        "not strong*",
        "*not strong",
        "*not *strong",
        "**",
        "* a *",
        "2 * 3 * 4",
        "web_1_a.example.org",
        "host: db_a · name: db_b",
        "/var/log/a_b_c",
        "load 0.5 ~ 0.7",
        "a*b*c",
        "*\xC2\xA0"
        "a*",
    };

    for (size_t i = 0; i < ELEMENTSOF(styled); i++)
        if (!styling_has_effect(styled[i]))
            fail_msg("not seen: %s", styled[i]);
    for (size_t i = 0; i < ELEMENTSOF(plain); i++)
        if (styling_has_effect(plain[i]))
            fail_msg("seen: %s", plain[i]);
}

static void styling_of_blocks_is_seen(void **state)
{
    static const char *const blocks[] = { "> a", ">", "```", "```c", " ```", "\xE3\x80\x80> a" };
    static const char *const others[] = { "", "a > b", "``", "a ```", "-> a" };

    for (size_t i = 0; i < ELEMENTSOF(blocks); i++) {
        assert_true(styling_begins_block(blocks[i]));
        assert_true(styling_has_effect(blocks[i]));
    }
    for (size_t i = 0; i < ELEMENTSOF(others); i++)
        assert_false(styling_begins_block(others[i]));
}

static void styling_strong_is_for_lines_that_leave_it_whole(void **state)
{
    assert_true(styling_can_be_strong("web1: PING is CRITICAL"));
    assert_true(styling_can_be_strong("Füllstand 90 % 🔥"));
    assert_true(styling_can_be_strong("`a` _b_ ```"));
    assert_false(styling_can_be_strong(""));
    assert_false(styling_can_be_strong("cert of *.example.org"));
    assert_false(styling_can_be_strong(" a"));
    assert_false(styling_can_be_strong("a "));
    assert_false(styling_can_be_strong("\xC2\xA0"
                                       "a"));
    assert_false(styling_can_be_strong("a\xE2\x80\x89"));
    assert_false(styling_can_be_strong("\xE3\x80\x80"));
}

static void guarded(const char *text, const char *expected)
{
    _cleanup_free_ char *copy = styling_guard_dup(text);

    assert_string_equal(copy, expected);
    assert_null(strstr(copy, STYLING_FENCE));
}

static void styling_guarded_text_ends_no_block(void **state)
{
    guarded("", "");
    guarded("a `b` ``c``\n``\n", "a `b` ``c``\n``\n");
    guarded("```", "``\u2060`");
    guarded("```\n```", "``\u2060`\n``\u2060`");
    guarded("a\n````c\nd", "a\n``\u2060``c\nd");
    guarded("`````````", "``\u2060``\u2060``\u2060``\u2060`");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(styling_of_spans_is_seen),
        cmocka_unit_test(styling_of_blocks_is_seen),
        cmocka_unit_test(styling_strong_is_for_lines_that_leave_it_whole),
        cmocka_unit_test(styling_guarded_text_ends_no_block),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
