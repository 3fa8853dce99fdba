/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include <stdio.h>

#include "milterd/macro.h"

static void macro_name_is_read_with_braces_or_without(void **state)
{
    char name[MACRO_NAME_SIZE];

    assert_int_equal(macro_name_read("auth_authen", name), 0);
    assert_string_equal(name, MACRO_AUTH);
    assert_int_equal(macro_name_read("{auth_authen}", name), 0);
    assert_string_equal(name, MACRO_AUTH);
    assert_int_equal(macro_name_read("i", name), 0);
    assert_string_equal(name, "i");
    assert_int_equal(macro_name_read("{_}", name), 0);
    assert_string_equal(name, "_");
}

static void macro_name_that_is_none_is_refused(void **state)
{
    static const char *const wrong[] = {
        "", "{}", "{", "}", "{a", "a}", "{{a}}", "a b", "a-b", "ä"
    };
    char name[MACRO_NAME_SIZE] = "kept", longest[MACRO_NAME_MAX + 4];

    for (size_t i = 0; i < ELEMENTSOF(wrong); i++)
        assert_int_equal(macro_name_read(wrong[i], name), -EINVAL);
    memset(longest, 'a', sizeof(longest));
    longest[MACRO_NAME_MAX + 1] = '\0';
    assert_int_equal(macro_name_read(longest, name), -EINVAL);
    assert_string_equal(name, "kept");
    longest[MACRO_NAME_MAX] = '\0';
    assert_int_equal(macro_name_read(longest, name), 0);
    assert_int_equal(strlen(name), MACRO_NAME_MAX + 2);
}

static void macro_is_asked_for_where_it_may_be_told(void **state)
{
    MacroNeeds needs;

    macro_needs_begin(&needs, "i");
    assert_string_equal(needs.at_connect, "");
    assert_string_equal(needs.at_mail, "");
    assert_string_equal(needs.at_message, "i");

    macro_needs_add(&needs, "{daemon_name}");
    macro_needs_add(&needs, MACRO_AUTH);
    macro_needs_add(&needs, "{our_own}");
    macro_needs_add(&needs, "i");
    assert_int_equal(needs.n, 4);
    assert_string_equal(needs.at_connect, "j {daemon_name} {our_own} i");
    assert_string_equal(needs.at_mail, "{mail_addr} {auth_authen} {our_own} i");
    assert_true(strncmp(needs.at_message, "i {our_own}", 11) == 0);
}

static void macro_lists_have_room_for_the_longest_names(void **state)
{
    char names[MAIL_MACROS_MAX][MACRO_NAME_SIZE], text[MACRO_NAME_MAX + 1];
    MacroNeeds needs;

    macro_needs_begin(&needs, "i");
    for (size_t i = 0; i < MAIL_MACROS_MAX; i++) {
        snprintf(text, sizeof(text), "%0*zu", MACRO_NAME_MAX, i);
        assert_int_equal(macro_name_read(text, names[i]), 0);
        macro_needs_add(&needs, names[i]);
    }
    assert_int_equal(strlen(needs.at_message), 1 + MAIL_MACROS_MAX * (MACRO_NAME_MAX + 3));
    assert_non_null(strstr(needs.at_message, names[MAIL_MACROS_MAX - 1]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(macro_name_is_read_with_braces_or_without),
        cmocka_unit_test(macro_name_that_is_none_is_refused),
        cmocka_unit_test(macro_is_asked_for_where_it_may_be_told),
        cmocka_unit_test(macro_lists_have_room_for_the_longest_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
