/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "milterd/plain.h"

static void assert_drops(const char *text, const char *expected)
{
    _cleanup_free_ char *copy = strdup(text);

    copy[plain_drop_terminal(copy, strlen(copy))] = '\0';
    assert_string_equal(copy, expected);
}

static void plain_colours_of_terminals_are_dropped(void **state)
{
    assert_drops("\x1b[1;31mFAILED\x1b[0m: \x1b[38;5;12mweb1\x1b[K", "FAILED: web1");
    assert_drops("\x1b]0;title\amore\x1b(B\x1bM", "more");
    assert_drops("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link");
    assert_drops("a\x1b", "a\x1b"); /* what is none is left to the cleaning */
    assert_drops("a\x1b[", "a\x1b[");
    assert_drops("a\x1b]never ends", "a\x1b]never ends");
    assert_drops("a\x1b[31\nb", "a\x1b[31\nb");
}

static void plain_struck_over_text_is_read_once(void **state)
{
    assert_drops("N\bNA\bAM\bME\bE _\bx_\by", "NAME xy");
    assert_drops("\xc3\xbc\b\xc3\xbc\b\b\n\ba", "\na");
    assert_drops("page 1\fpage 2", "page 1\npage 2");
}

static void assert_unflows(const char *text, bool delsp, const char *expected)
{
    _cleanup_free_ char *unflowed = NULL;

    assert_int_equal(plain_unflow(text, delsp, &unflowed), 0);
    assert_string_equal(unflowed, expected);
}

static void plain_flowed_lines_are_joined(void **state)
{
    assert_unflows("a \nb \nc\nd\n", false, "a b c\nd\n");
    assert_unflows("a \nb\n\nc", false, "a b\n\nc\n");
    assert_unflows(" stuffed\n From x\n >no quote\n", false, "stuffed\nFrom x\n>no quote\n");
    assert_unflows("ver \nfügbar  \nist", true, "verfügbar ist\n");
    assert_unflows("flows to the end ", false, "flows to the end ");
    assert_unflows("", false, "");
}

static void plain_flowed_quotes_and_signatures_stay_apart(void **state)
{
    assert_unflows("> a \n> b\n>> c \n> d \ne\n", false, "> a b\n>> c \n> d \ne\n");
    assert_unflows("a \n-- \nname\n", false, "a \n-- \nname\n");
    assert_unflows(">\n>> x", false, ">\n>> x\n");
}

static void plain_hostile_flow_is_bounded(void **state)
{
    static const char *const pieces[] = { ">\n", ">", "> \n", " \n", "\n>a" };
    size_t size = 1 << 20;
    _cleanup_free_ char *text = malloc(size + 16);
    clock_t began = clock();

    for (size_t i = 0; i < ELEMENTSOF(pieces); i++) {
        _cleanup_free_ char *unflowed = NULL;
        char *at = text;

        while (at < text + size)
            at = stpcpy(at, pieces[i]);
        assert_int_equal(plain_unflow(text, i % 2, &unflowed), 0);
        assert_true(strlen(unflowed) <= 2 * strlen(text));
    }
    assert_true(clock() - began < 2 * CLOCKS_PER_SEC);
}

static void plain_what_is_no_text_is_known(void **state)
{
    char random[256];

    for (size_t i = 0; i < sizeof(random); i++)
        random[i] = (char)i;
    assert_true(plain_is_binary(random, sizeof(random)));
    assert_false(plain_is_binary("a\0\0\0\0\0\0\0b", 9));
    assert_false(plain_is_binary("a\x01\x02\x03", 4));
    assert_false(plain_is_binary("\x1b[31mred\x1b[0m\b\b\b\b\t\n\f", 18));
    assert_false(plain_is_binary("", 0));
    assert_true(plain_is_file("%PDF-1.4\n", 9));
    assert_true(plain_is_file("\x89PNG\r\n", 6));
    assert_false(plain_is_file("%PDF", 4));
    assert_false(plain_is_file("text", 4));
}

static void plain_stub_names_a_reader(void **state)
{
    static const char html[] =
        "web1 is down. Since 10:15 it does not answer on port 443; certificates and all the rest "
        "are fine. The last five checks were critical, and so was the one of the neighbour, which "
        "lies in the same rack and hangs on the same switch. Somebody should go and look at it. "
        "The runbook says to restart nothing before the cables have been checked by a person.";
    static const char *const stubs[] = {
        "This message is in HTML format. Please use an HTML-capable mail client.",
        "Your mail reader does not support HTML.",
        "To view this mail in your browser: https://example.org/very/long?address=0123456789",
        "Diese E-Mail kann nur mit einem anderen Mailprogramm gelesen werden.",
        "Im Browser ansehen",
        "Si vous ne voyez pas ce message, ouvrez votre navigateur.",
        "Su cliente de correo no lo muestra",
        "Письмо видно в браузере",
        "このメールはHTMLメールです",
        "请在浏览器中查看",
        " \n\xc2\xa0\n",
        "",
        "--",
    };
    static const char *const texts[] = {
        "web1 is down",
        "GET /index.html returned 500",
        "disk full on db1: 99 %",
    };

    for (size_t i = 0; i < ELEMENTSOF(stubs); i++)
        assert_true(plain_is_stub(stubs[i], html));
    for (size_t i = 0; i < ELEMENTSOF(texts); i++)
        assert_false(plain_is_stub(texts[i], html));
    assert_false(plain_is_stub(stubs[0], "Little more than it"));
    assert_false(plain_is_stub(html, html));
}

static void plain_long_text_is_no_stub_and_costs_little(void **state)
{
    static const char *const pieces[] = { "\xc2\xa0", "browser ", " ", "http://x ", "a" };
    size_t size = 1 << 20;
    _cleanup_free_ char *text = malloc(size + 16);
    clock_t began = clock();

    for (size_t i = 0; i < ELEMENTSOF(pieces); i++) {
        char *at = text;

        while (at < text + size)
            at = stpcpy(at, pieces[i]);
        for (int j = 0; j < 200; j++)
            assert_false(plain_may_be_stub(text) && *text != ' ');
    }
    assert_true(clock() - began < 3 * CLOCKS_PER_SEC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_colours_of_terminals_are_dropped),
        cmocka_unit_test(plain_struck_over_text_is_read_once),
        cmocka_unit_test(plain_flowed_lines_are_joined),
        cmocka_unit_test(plain_flowed_quotes_and_signatures_stay_apart),
        cmocka_unit_test(plain_hostile_flow_is_bounded),
        cmocka_unit_test(plain_what_is_no_text_is_known),
        cmocka_unit_test(plain_stub_names_a_reader),
        cmocka_unit_test(plain_long_text_is_no_stub_and_costs_little),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
