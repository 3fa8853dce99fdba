/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "common/cut.h"

static void cuts(const char *text, size_t fit, bool more, const char *expected)
{
    _cleanup_free_ char *cut = NULL;

    assert_int_equal(cut_text(text, fit, more, &cut), 0);
    assert_string_equal(cut, expected);
    assert_true(strlen(cut) < fit + CUT_NOTE_MAX);
}

static void cut_at_a_line_counts_those_that_are_missing(void **state)
{
    cuts("first\nsecond\nthird", 12, false, "first\nsecond\n… 1 more line");
    cuts("the first\nsecond\nthird", 15, false, "the first\n… 2 more lines");
    cuts("first\nsecond\nthird\n", 12, false, "first\nsecond\n… 2 more lines");
    cuts("first\n\n \nsecond", 8, false, "first\n… 3 more lines");
}

static void cut_in_a_long_line_marks_it(void **state)
{
    cuts("0123456789", 5, false, "01234 …");
    cuts("0123456789\na\nb", 5, false, "01234 …\n… 2 more lines");
    cuts("a\n0123456789", 8, false, "a\n012345 …");
    cuts("a b", 2, false, "a …");
}

static void cut_of_text_that_was_not_all_says_so(void **state)
{
    cuts("first", 5, true, "first\n… and more");
    cuts("first\nsecond", 5, true, "first\n… more than 1 more line");
    cuts("first\nsecond\nthird", 5, true, "first\n… more than 2 more lines");
    cuts("0123456789", 5, true, "01234 …\n… and more");
}

static void cut_again_adds_up(void **state)
{
    cuts("first\nsecond\n… 214 more lines", 6, false, "first\n… 215 more lines");
    cuts("first\nsecond\n… 1 more line", 15, false, "first\nsecond\n… 1 more line");
    cuts("first\nsecond\n… more than 7 more lines", 5, false, "first\n… more than 8 more lines");
    cuts("first\nsecond\n… and more", 5, false, "first\n… more than 1 more line");
    cuts("first\n… and more", 5, false, "first\n… and more");
    cuts("0123456789\n… 3 more lines", 5, false, "01234 …\n… 3 more lines");
    cuts("0123456789 …\n… 3 more lines", 5, true, "01234 …\n… more than 3 more lines");
}

static void cut_note_is_none_unless_it_is_whole(void **state)
{
    static const char *const others[] = {
        "a\n… 5 more lines ",        "a\n… -5 more lines", "a\n… 1 more lines",
        "a\n… 5 more line",          "a\n…5 more lines",   "a\n… 1234567890 more lines",
        "a\n… more lines",           "a\n5 more lines",    "a\n… 5 more linesx",
        "a\n… more than more lines", "a\n… and more than", "a\n… ",
    };

    for (size_t i = 0; i < ELEMENTSOF(others); i++)
        cuts(others[i], 1, false, "a\n… 1 more line");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_at_a_line_counts_those_that_are_missing),
        cmocka_unit_test(cut_in_a_long_line_marks_it),
        cmocka_unit_test(cut_of_text_that_was_not_all_says_so),
        cmocka_unit_test(cut_again_adds_up),
        cmocka_unit_test(cut_note_is_none_unless_it_is_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
