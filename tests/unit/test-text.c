/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "common/text.h"

#define BROKEN "\xEF\xBF\xBD"

static void assert_cleaned(const char *text, size_t size, const char *expected)
{
    _cleanup_free_ char *cleaned = text_clean_dup(text, size);

    assert_string_equal(cleaned, expected);
    assert_true(text_is_clean(cleaned, strlen(cleaned)));
}

static void assert_line(const char *text, const char *expected)
{
    _cleanup_free_ char *line = text_clean_line_dup(text, strlen(text));

    assert_string_equal(line, expected);
}

static void text_utf8_sequences_are_measured(void **state)
{
    assert_int_equal(utf8_sequence("a", 1), 1);
    assert_int_equal(utf8_sequence("\0", 1), 1);
    assert_int_equal(utf8_sequence("ä", 2), 2);
    assert_int_equal(utf8_sequence("€", 3), 3);
    assert_int_equal(utf8_sequence("🔥", 4), 4);
    assert_int_equal(utf8_sequence("\xF4\x8F\xBF\xBF", 4), 4);
    assert_int_equal(utf8_sequence("", 0), 0);
}

static void text_direction_is_not_turned(void **state)
{
    assert_cleaned("a\xe2\x80\xae"
                   "fdp.exe\xe2\x80\xac \xe2\x81\xa7x\xe2\x81\xa9",
                   22, "afdp.exe x");
    assert_line("\xe2\x80\xaa \xe2\x80\xabx", "x");
    assert_line("\xe2\x80\x8e\xe2\x80\x8f",
                "\xe2\x80\x8e\xe2\x80\x8f"); /* marks that turn nothing */
}

static void text_broken_utf8_is_none(void **state)
{
    static const char *const broken[] = {
        "\x80",             /* continuation alone */
        "\xC3",             /* cut short */
        "\xE2\x82",         /* cut short */
        "\xC0\xAF",         /* over-long */
        "\xC1\xBF",         /* over-long */
        "\xE0\x9F\xBF",     /* over-long */
        "\xF0\x8F\xBF\xBF", /* over-long */
        "\xED\xA0\x80",     /* surrogate */
        "\xED\xBF\xBF",     /* surrogate */
        "\xF4\x90\x80\x80", /* past U+10FFFF */
        "\xF5\x80\x80\x80",
        "\xFE",
        "\xFF",
    };

    for (size_t i = 0; i < ELEMENTSOF(broken); i++) {
        assert_int_equal(utf8_sequence(broken[i], strlen(broken[i])), 0);
        assert_false(text_is_utf8(broken[i], strlen(broken[i])));
        assert_false(text_is_clean(broken[i], strlen(broken[i])));
    }
    assert_true(text_is_utf8("a\0ä", 4));
    assert_true(text_is_utf8("", 0));
}

static void text_every_pair_of_bytes_becomes_clean(void **state)
{
    for (unsigned pair = 0; pair < 0x10000; pair++) {
        const char bytes[] = { 'x', (char)(pair >> 8), (char)pair, 'y' };
        _cleanup_free_ char *cleaned = text_clean_dup(bytes, sizeof(bytes));
        _cleanup_free_ char *line = text_clean_line_dup(bytes, sizeof(bytes));

        assert_true(text_is_clean(cleaned, strlen(cleaned)));
        assert_true(text_is_clean(line, strlen(line)));
        assert_null(strpbrk(line, "\r\n\t"));
        assert_int_equal(cleaned[0], 'x');
        assert_int_equal(cleaned[strlen(cleaned) - 1], 'y');
    }
}

static void text_broken_sequence_becomes_one_replacement(void **state)
{
    assert_cleaned("a\x80z", 3, "a" BROKEN "z");
    assert_cleaned("a\xE2\x82z", 4, "a" BROKEN "z");
    assert_cleaned("a\xF0\x9F\x94", 4, "a" BROKEN);
    assert_cleaned("\xFF\xFE", 2, BROKEN BROKEN);
}

static void text_controls_are_dropped(void **state)
{
    assert_cleaned("a\0\x01\x1B[31mb\x7F", 9, "a[31mb");
    assert_cleaned("a\xC2\x80\xC2\x85\xC2\x9F\xC2\xA0z", 10, "a\xC2\xA0z");
    assert_cleaned("\xEF\xBF\xBE\xEF\xBF\xBFz", 7, "z");
    assert_cleaned("", 0, "");
}

static void text_line_ends_become_line_feeds(void **state)
{
    assert_cleaned("a\r\nb\rc\n\r\td\r", 12, "a\nb\nc\n\n\td\n");
}

static void text_line_has_single_blanks_inside_only(void **state)
{
    assert_line(" \t a \r\n\v b\xE2\x80\xA8"
                "c\xC2\x85\n",
                "a b c");
    assert_line("\n\t ", "");
    assert_line("a\x01"
                "b",
                "ab");
    assert_line("a \x01 b", "a b");
}

static void text_cut_ends_between_characters(void **state)
{
    assert_int_equal(text_cut("abc", 3, 10), 3);
    assert_int_equal(text_cut("abc", 3, 2), 2);
    assert_int_equal(text_cut("abc", 3, 0), 0);
    assert_int_equal(text_cut("aä", 3, 2), 1);
    assert_int_equal(text_cut("a🔥", 5, 4), 1);
    assert_int_equal(text_cut("🔥", 4, 3), 0);
}

static void text_cut_keeps_marks_with_their_base(void **state)
{
    char prank[1001] = "a";

    assert_int_equal(text_cut("xe\xCC\x81y", 5, 2), 1);
    assert_int_equal(text_cut("xe\xCC\x81y", 5, 4), 4);
    /* Two people joined by U+200D are one picture: cut before or behind it. */
    assert_int_equal(text_cut("x👩\xE2\x80\x8D👦y", 13, 5), 1);
    assert_int_equal(text_cut("x👩\xE2\x80\x8D👦y", 13, 8), 1);
    assert_int_equal(text_cut("x👩\xE2\x80\x8D👦y", 13, 12), 12);
    /* Where it is not possible, it still ends between characters. */
    assert_int_equal(text_cut("e\xCC\x81y", 4, 1), 1);
    for (size_t i = 1; i < 1001; i += 2)
        memcpy(prank + i, "\xCC\x81", i + 1 < 1001 ? 2 : 1);
    assert_int_equal(text_cut(prank, 1001, 900), 899);
}

static void text_xml_size_counts_escapes(void **state)
{
    assert_int_equal(text_xml_size("a&<>\"'ä", 8), 1 + 5 + 4 + 4 + 6 + 6 + 2);
    assert_int_equal(text_xml_size("", 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_utf8_sequences_are_measured),
        cmocka_unit_test(text_direction_is_not_turned),
        cmocka_unit_test(text_broken_utf8_is_none),
        cmocka_unit_test(text_every_pair_of_bytes_becomes_clean),
        cmocka_unit_test(text_broken_sequence_becomes_one_replacement),
        cmocka_unit_test(text_controls_are_dropped),
        cmocka_unit_test(text_line_ends_become_line_feeds),
        cmocka_unit_test(text_line_has_single_blanks_inside_only),
        cmocka_unit_test(text_cut_ends_between_characters),
        cmocka_unit_test(text_cut_keeps_marks_with_their_base),
        cmocka_unit_test(text_xml_size_counts_escapes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
