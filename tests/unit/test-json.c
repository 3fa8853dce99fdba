/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "common/json.h"
#include "common/text.h"

static int parse(const char *text, size_t size, char *reason)
{
    _cleanup_json_ Json *json = NULL;

    memset(reason, 0, JSON_REASON_MAX);
    return json_parse(text, size, &json, reason);
}

static void assert_refused(const char *text, size_t size, const char *because)
{
    char reason[JSON_REASON_MAX];

    if (parse(text, size, reason) != -EBADMSG)
        fail_msg("taken: %.*s", (int)size, text);
    if (!strstr(reason, because))
        fail_msg("\"%s\" does not say \"%s\"", reason, because);
}

static void json_values_of_each_type_are_read(void **state)
{
    static const char text[] = "{\"s\":\"\\u00e4\\n\",\"i\":-9223372036854775808,\"r\":1.5,"
                               "\"t\":true,\"n\":null,\"a\":[1,\"two\",{}],\"o\":{}}";
    _cleanup_json_ Json *json = NULL;
    char reason[JSON_REASON_MAX];

    assert_int_equal(json_parse(text, strlen(text), &json, reason), 0);
    assert_int_equal(json_type(json), JSON_IS_OBJECT);
    assert_int_equal(json_length(json), 7);
    assert_string_equal(json_as_string(json_get(json, "s"), NULL), "ä\n");
    assert_true(json_as_integer(json_get(json, "i"), 0) == INT64_MIN);
    assert_true(json_as_number(json_get(json, "r"), 0) == 1.5);
    assert_true(json_as_bool(json_get(json, "t"), false));
    assert_int_equal(json_type(json_get(json, "n")), JSON_IS_NULL);
    assert_int_equal(json_length(json_get(json, "a")), 3);
    assert_string_equal(json_as_string(json_at(json_get(json, "a"), 1), NULL), "two");
    assert_null(json_at(json_get(json, "a"), 3));
    assert_null(json_get(json, "absent"));
}

static void json_value_of_another_type_gives_fallback(void **state)
{
    static const char text[] = "{\"s\":\"1\",\"i\":1}";
    _cleanup_json_ Json *json = NULL;
    char reason[JSON_REASON_MAX];

    assert_int_equal(json_parse(text, strlen(text), &json, reason), 0);
    assert_int_equal(json_as_integer(json_get(json, "s"), -7), -7);
    assert_null(json_as_string(json_get(json, "i"), NULL));
    assert_true(json_as_bool(json_get(json, "i"), true));
    assert_string_equal(json_as_string(NULL, "none"), "none");
    assert_null(json_get(json_get(json, "i"), "x"));
    assert_int_equal(json_length(json_get(json, "i")), 0);
    assert_true(json_as_number(json_get(json, "i"), 0) == 1.0);
}

static void json_malformed_is_refused_with_cause(void **state)
{
    static const struct {
        const char *text;
        const char *because;
    } cases[] = {
        { "", "ends too early" },
        { "{", "ends too early" },
        { "{\"a\":1", "ends too early" },
        { "{\"a\":1,}", "syntax" },
        { "{'a':1}", "syntax" },
        { "{\"a\":01}", "syntax" },
        { "{\"a\":NaN}", "syntax" },
        { "{} {}", "follows" },
        { "{}x", "follows" },
        { "{\"a\":1,\"a\":1}", "twice" },
        { "{\"b\":{\"a\":1,\"\\u0061\":2}}", "twice" },
        { "{\"a\":\"x\\u0000y\"}", "NUL" },
        { "{\"x\\u0000y\":1}", "NUL" },
        { "{\"a\":\"\x80\"}", "UTF-8" },
        { "{\"a\":\"\xC0\xAF\"}", "UTF-8" },
        { "{\"a\":\"\xED\xA0\x80\"}", "UTF-8" },
        { "{\"a\":\"\xF4\x90\x80\x80\"}", "UTF-8" },
        { "{\"a\":\"\\ud800\"}", "syntax" },
        { "{\"a\":\"\\udc00\\ud800\"}", "syntax" },
        { "{\"a\":\"line\nend\"}", "syntax" },
        { "{\"a\":1e999}", "too large" },
        { "{\"a\":99999999999999999999}", "too large" },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++)
        assert_refused(cases[i].text, strlen(cases[i].text), cases[i].because);
    assert_refused("{}\0", 3, "follows");
    assert_refused("{\"a\":\"x\0y\"}", 11, "not acceptable");
    assert_refused("\0", 1, "not acceptable");
}

static void json_reason_does_not_quote_the_input(void **state)
{
    static const char text[] = "{\"password\":hunter2}";
    char reason[JSON_REASON_MAX];

    assert_int_equal(parse(text, strlen(text), reason), -EBADMSG);
    assert_null(strstr(reason, "hunter2"));
}

static void json_nesting_past_32_levels_is_refused(void **state)
{
    char text[100000], reason[JSON_REASON_MAX];

    memset(text, '[', 32);
    memset(text + 32, ']', 32);
    assert_int_equal(parse(text, 64, reason), 0);

    memset(text, '[', 33);
    memset(text + 33, ']', 33);
    assert_refused(text, 66, "32 levels");

    memset(text, '[', sizeof(text));
    assert_refused(text, sizeof(text), "32 levels");

    /* Brackets in strings are no nesting, behind escaped quotes too. */
    text[0] = '"';
    text[1] = '\\';
    text[2] = '"';
    text[103] = '"';
    assert_int_equal(parse(text, 104, reason), 0);
}

static int count_visit(const char *key, const Json *value, void *userdata)
{
    strcat(userdata, key);
    return json_as_integer(value, 0) == 2 ? 42 : 0;
}

static void json_each_keeps_order_and_stops_when_told(void **state)
{
    static const char text[] = "{\"z\":0,\"a\":1,\"m\":2,\"b\":3}";
    _cleanup_json_ Json *json = NULL;
    char reason[JSON_REASON_MAX], keys[16] = "";

    assert_int_equal(json_parse(text, strlen(text), &json, reason), 0);
    assert_int_equal(json_each(json, count_visit, keys), 42);
    assert_string_equal(keys, "zam");
    assert_int_equal(json_each(NULL, count_visit, keys), 0);
}

static void json_built_value_is_written_in_order(void **state)
{
    _cleanup_json_ Json *json = json_object_new();
    _cleanup_free_ char *text = NULL;
    Json *array = json_array_new();
    size_t size;

    assert_int_equal(json_add_string(array, "x"), 0);
    assert_int_equal(json_add_string(array, NULL), 0);
    assert_int_equal(json_add_consume(array, json_object_new()), 0);
    assert_int_equal(json_set_string(json, "z", "first"), 0);
    assert_int_equal(json_set_string(json, "absent", NULL), 0);
    assert_int_equal(json_set_consume(json, "a", array), 0);
    assert_int_equal(json_set_integer(json, "i", INT64_MAX), 0);
    assert_int_equal(json_set_number(json, "t", 1700000000.123456), 0);
    assert_int_equal(json_set_bool(json, "b", false), 0);
    assert_int_equal(json_set_string(json, "z", "anew"), 0);

    text = json_dump_dup(json, false, &size);
    assert_string_equal(text, "{\"z\":\"anew\",\"a\":[\"x\",{}],\"i\":9223372036854775807,"
                              "\"t\":1700000000.123456,\"b\":false}");
    assert_int_equal(size, strlen(text));
}

static void json_no_text_commands_a_terminal(void **state)
{
    _cleanup_json_ Json *object = json_object_new(), *again = NULL;
    _cleanup_free_ char *text = NULL;
    char reason[JSON_REASON_MAX];
    size_t size;

    assert_int_equal(json_set_string(object, "\x1b[1m",
                                     "\x1b[2J \xc2\x9b"
                                     "2J \xc3\xa9"),
                     0);
    text = json_dump_dup(object, true, &size);
    assert_non_null(text);
    assert_true(text_is_clean(text, size));
    assert_int_equal(json_parse(text, size, &again, reason), 0);
    assert_string_equal(json_as_string(json_get(again, "\x1b[1m"), ""), "\x1b[2J \xc2\x9b"
                                                                        "2J \xc3\xa9");
}

static void json_what_cannot_be_written_is_refused(void **state)
{
    _cleanup_json_ Json *json = json_object_new();

    assert_int_equal(json_set_string(json, "a", "\xFF"), -EINVAL);
    assert_int_equal(json_set_string(json, "\xFF", "a"), -EINVAL);
    assert_int_equal(json_set_number(json, "a", 0.0 / 0.0), -EINVAL);
    assert_int_equal(json_set_consume(json, "a", NULL), -ENOMEM);
    assert_int_equal(json_set_string(NULL, "a", "b"), -ENOMEM);
    assert_null(json_dump_dup(NULL, false, NULL));
    assert_int_equal(json_length(json), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_values_of_each_type_are_read),
        cmocka_unit_test(json_value_of_another_type_gives_fallback),
        cmocka_unit_test(json_malformed_is_refused_with_cause),
        cmocka_unit_test(json_reason_does_not_quote_the_input),
        cmocka_unit_test(json_nesting_past_32_levels_is_refused),
        cmocka_unit_test(json_each_keeps_order_and_stops_when_told),
        cmocka_unit_test(json_built_value_is_written_in_order),
        cmocka_unit_test(json_no_text_commands_a_terminal),
        cmocka_unit_test(json_what_cannot_be_written_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
