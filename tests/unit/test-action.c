/* SPDX-License-Identifier: MIT */

/* What scripts want done, made fit for the protocol. */

#include "tests/unit/test.h"

#include "milterd/action.h"
#include "milterd/header-encode.h"

static void encodes(const char *value, const char *expected)
{
    _cleanup_free_ char *encoded = header_encode_dup(value, strlen(value), 7, 65536);

    assert_string_equal(encoded, expected);
}

static void header_stays_as_it_is_where_it_can(void **state)
{
    encodes("", "");
    encodes("plain words", "plain words");
    encodes("a\n b\n\tc", "a\n b\n\tc");
    encodes("=?utf-8?q?=C3=BC?=", "=?utf-8?q?=C3=BC?=");
    encodes("two  blanks", "two  blanks");
}

static void header_is_one_header_whatever_it_holds(void **state)
{
    encodes("a\nEvil: b", "a Evil: b");
    encodes("a\r\nEvil: b", "a Evil: b");
    encodes("a\rEvil: b", "a Evil: b");
    encodes("a\n\nbody", "a  body");
    encodes("a\n \n b", "a  \n b");
    encodes("a\n", "a");
    encodes("a\n \t\n", "a");
    encodes("\n a", "a");
    encodes("bell\a\x7f", "bell");
}

static void header_beyond_ascii_is_encoded_by_words(void **state)
{
    encodes("Grüße", "=?UTF-8?B?R3LDvMOfZQ==?=");
    encodes("Grüße an Jörg Müller now",
            "=?UTF-8?B?R3LDvMOfZQ==?= an =?UTF-8?B?SsO2cmcgTcO8bGxlcg==?= now");
    encodes("J\xf6rg", "=?UTF-8?B?Su+/vXJn?=");
}

/* Each line fits, and no character is cut in two: all of it decodes to what went in. */
static void long_header_is_folded(void **state)
{
    char value[2000] = "", *line, *rest;
    _cleanup_free_ char *encoded = NULL;
    size_t n = 0;

    for (int i = 0; i < 100; i++)
        strcat(value, i % 3 ? "ääääää " : "word ");
    encoded = header_encode_dup(value, strlen(value), 7, 65536);
    rest = encoded;
    while ((line = strsep(&rest, "\n"))) {
        assert_true(strlen(line) <= 78);
        assert_true(n == 0 || *line == ' ');
        n++;
    }
    assert_true(n > 20);
}

/* It is cut behind a word, wherever its end comes: no fold is left without text. */
static void header_that_is_too_long_ends_with_a_word(void **state)
{
    for (size_t n = 0; n < 80; n++) {
        char value[1000];
        _cleanup_free_ char *encoded = NULL;
        size_t length;

        memset(value, 0xFF, sizeof(value));
        memset(value, 'x', n);
        if (n > 0)
            value[n - 1] = ' ';
        encoded = header_encode_dup(value, sizeof(value), 7, sizeof(value));
        length = strlen(encoded);
        assert_true(length > 2800 && length <= 3000);
        assert_string_equal(encoded + length - 2, "?=");
    }
}

/* NULs included. */
static void header_of_any_bytes_is_one_header(void **state)
{
    srandom(1);
    for (int i = 0; i < 20000; i++) {
        char value[40];
        size_t size = (size_t)random() % sizeof(value);
        _cleanup_free_ char *encoded = NULL;

        for (size_t k = 0; k < size; k++)
            value[k] = "\n\n\r \tab:\0\xc3\xbc\xff"[random() % 12];
        encoded = header_encode_dup(value, size, 7, 65536);
        for (const char *c = encoded; *c; c++) {
            assert_true((unsigned char)*c < 0x80 && *c != '\r');
            if (*c == '\n') {
                size_t blanks = strspn(c + 1, " \t");

                assert_true(blanks > 0 && c[1 + blanks] != '\n' && c[1 + blanks] != '\0');
            }
        }
    }
}

static Action action_of(ActionType type, const char *name, const char *value, int index)
{
    return (Action){
        .type = type,
        .name = (char *)name,
        .value = (char *)value,
        .size = value ? strlen(value) : 0,
        .index = index,
    };
}

static void actions_come_in_an_order_that_mtas_take(void **state)
{
    const Action body = action_of(ACTION_REPLACE_BODY, NULL, "x", 0),
                 add = action_of(ACTION_ADD_HEADER, "X", "y", 0),
                 first = action_of(ACTION_DELETE_HEADER, "X", NULL, 1),
                 second = action_of(ACTION_DELETE_HEADER, "X", NULL, 2),
                 from = action_of(ACTION_CHANGE_FROM, "a@x", NULL, 0);

    assert_true(action_before(&from, &add) && !action_before(&add, &from));
    assert_true(action_before(&add, &body));
    assert_true(action_before(&second, &first) && !action_before(&first, &second));
    assert_true(action_before(&first, &add));
    assert_false(action_before(&add, &add));
}

static void body_gets_the_line_ends_of_mail(void **state)
{
    Action action = action_of(ACTION_REPLACE_BODY, NULL, "a\nb\r\nc\n\nd", 0);
    char reason[ACTION_REASON_MAX];
    Actions actions = {};

    assert_int_equal(actions_add(&actions, &action, reason), 0);
    assert_int_equal(actions.items[0].size, 12);
    assert_memory_equal(actions.items[0].value, "a\r\nb\r\nc\r\n\r\nd", 12);
    actions_done(&actions);
}

static void actions_of_a_failure_are_taken_back(void **state)
{
    const Action action = action_of(ACTION_ADD_HEADER, "X", "y", 0);
    char reason[ACTION_REASON_MAX];
    Actions actions = {};

    for (int i = 0; i < 3; i++)
        assert_int_equal(actions_add(&actions, &action, reason), 0);
    actions_cut(&actions, 1);
    assert_int_equal(actions.n, 1);
    actions_done(&actions);
    assert_int_equal(actions.n, 0);
}

static void address_has_both_brackets_or_none(void **state)
{
    static const char *const bad[] = { "<a@x", "a@x>",   "<<a@x>>", "a<b@x>",  "<a@x>>",
                                       "<",    "<a@x> ", "<a @x>",  "a@x\r\n", "a@x\t" };
    static const char *const good[] = { "<a@x>", "a@x", "\xc3\xbc@x" };
    char reason[ACTION_REASON_MAX];
    Actions actions = {};

    for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
        const Action action = action_of(ACTION_ADD_RCPT, bad[i], NULL, 0);

        assert_int_equal(actions_add(&actions, &action, reason), -EINVAL);
    }
    for (size_t i = 0; i < ELEMENTSOF(good); i++) {
        const Action action = action_of(ACTION_ADD_RCPT, good[i], NULL, 0);

        assert_int_equal(actions_add(&actions, &action, reason), 0);
    }
    actions_done(&actions);
}

static void reply_line_is_cut_and_plain(void **state)
{
    char reason[ACTION_REASON_MAX], text[2000];
    Reply *reply = calloc(1, sizeof(*reply));

    memset(text, 'x', sizeof(text));
    assert_int_equal(reply_begin(reply, "550", "5.7.1", reason), 0);
    assert_int_equal(reply_add_line(reply, text, sizeof(text), reason), 0);
    assert_int_equal(strlen(reply->lines[0]), REPLY_LINE_MAX);
    assert_int_equal(reply_add_line(reply, "a\0b\nc\x80", 6, reason), 0);
    assert_string_equal(reply->lines[1], "ab c?");
    free(reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_stays_as_it_is_where_it_can),
        cmocka_unit_test(header_is_one_header_whatever_it_holds),
        cmocka_unit_test(header_beyond_ascii_is_encoded_by_words),
        cmocka_unit_test(long_header_is_folded),
        cmocka_unit_test(header_that_is_too_long_ends_with_a_word),
        cmocka_unit_test(header_of_any_bytes_is_one_header),
        cmocka_unit_test(actions_come_in_an_order_that_mtas_take),
        cmocka_unit_test(body_gets_the_line_ends_of_mail),
        cmocka_unit_test(actions_of_a_failure_are_taken_back),
        cmocka_unit_test(address_has_both_brackets_or_none),
        cmocka_unit_test(reply_line_is_cut_and_plain),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
