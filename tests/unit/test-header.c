/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "milterd/header.h"

static void assert_decodes(const char *value, const char *expected)
{
    _cleanup_free_ char *text = header_decode_dup(value);

    assert_non_null(text);
    assert_string_equal(text, expected);
}

static void header_plain_value_comes_in_one_line(void **state)
{
    assert_decodes("", "");
    assert_decodes("** PROBLEM: web1 is DOWN **", "** PROBLEM: web1 is DOWN **");
    assert_decodes(" folded\n\tand   folded\r\n again \n", "folded and folded again");
}

static void header_encoded_words_are_decoded(void **state)
{
    assert_decodes("=?utf-8?Q?Gr=C3=BC=C3=9Fe_aus?= Ulm", "Grüße aus Ulm");
    assert_decodes("=?UTF-8?B?R3LDvMOfZQ==?=", "Grüße");
    assert_decodes("=?iso-8859-1*de?q?f=FCr_=80_5?=", "für € 5");
    assert_decodes("=?gb2312?B?uOa+rw==?= x", "告警 x");
    assert_decodes("[=?utf-8?q?a?=] (=?utf-8?q?b?=)", "[a] (b)");
    assert_decodes("=?utf-8?q?a?=\n =?utf-8?q?b?=", "ab");
    assert_decodes("=?utf-8?q?a?= =?koi8-r?q?=F3?= c", "aС c");
    assert_decodes("=?utf-8?q?\?=x", "x");
    assert_decodes("=?utf-16?b?//4=?=", ""); /* a byte order mark alone */
}

static void header_character_split_between_words_is_whole(void **state)
{
    assert_decodes("=?utf-8?q?Gr=C3?=\n =?utf-8?q?=BCn?=", "Grün");
    assert_decodes("=?utf-8?b?R3LD?= =?utf-8?q?=BCn?=", "Grün");
    assert_decodes("=?utf-8?b?R3LDv?= =?utf-8?b?G4=?=", "Grün"); /* base64 split, too */
    assert_decodes("=?iso-2022-jp?b?GyRCN1k=?= =?iso-2022-jp?b?OXAbKEI=?=", "警告");
}

static void header_overlong_word_is_decoded(void **state)
{
    char value[4096] = "=?utf-8?q?", expected[4096] = "";

    for (int i = 0; i < 300; i++) {
        strcat(value, "=C3=BC_");
        strcat(expected, i < 299 ? "ü " : "ü");
    }
    strcat(value, "?=");
    assert_decodes(value, expected);
    assert_decodes("=?utf-8?q?with blanks\n in it?=", "with blanks in it");
}

static void header_word_in_the_wrong_place_or_form_is_decoded(void **state)
{
    assert_decodes("\"=?utf-8?q?Gr=C3=BCn?=\" <a@x>", "\"Grün\" <a@x>");
    assert_decodes("=?utf-8?q?a?==?utf-8?q?b?=c", "abc");
    assert_decodes("disk=?utf-8?b?w7w=?=full", "disküfull");
    assert_decodes("=?UTF-8?b?R3LDvMOfZQ?= =?UTF-8?B?w7w=?=", "Grüßeü");
    assert_decodes("=?utf-8*en?Q?a?=", "a");
    assert_decodes("=?utf-8?Q?a b\n\t=C3=\n =BC?=", "a b ü"); /* folded as bodies are */
    assert_decodes("=?utf-8?B?R3LD\n vMOfZQ==?=", "Grüße");
    assert_decodes("=?utf-8?Q?Was ist?=E2=80=A6 Nichts!?=", "Was ist?… Nichts!");
    assert_decodes("=?utf-8?Q?a?=21 b", "a21 b");
    assert_decodes("=?utf-8?Q?a?=21 =?utf-8?Q?b?=", "a21 b");
    assert_decodes("=?iso-8859-1?q?Gr=C3=BCn?= =?utf-8?q?Gr=FCn?=", "GrünGrün");
    assert_decodes("=?utf-8?Q?raw \xc3\xbc?= =?iso-8859-1?q?raw_\xfc?=", "raw üraw ü");
}

static void header_word_that_is_cut_off_is_decoded(void **state)
{
    assert_decodes("x =?utf-8?B?R3LDvMOfZSBhd", "x Grüße a");
    assert_decodes("=?utf-8?q?Gr=C3=BC=C3", "Grü\xef\xbf\xbd");
    assert_decodes("=?utf-8?q?Gr=C3=BCn?", "Grün");
    assert_decodes("=?utf-8?q?", "=?utf-8?q?");
}

static void header_order_of_writing_is_not_turned(void **state)
{
    assert_decodes("\xe2\x80\xae"
                   "fdp.exe =?utf-8?q?=E2=81=A6x=E2=81=A9?=",
                   "fdp.exe x");
}

static void header_bytes_without_charset_are_guessed(void **state)
{
    assert_decodes("Gr\xc3\xbc\xc3\x9f"
                   "e",
                   "Grüße");
    assert_decodes("Gr\xfc\xdf"
                   "e",
                   "Grüße");
    assert_decodes("f\xfcr =?utf-8?q?=C3=BC?=", "für ü");
}

static void header_charset_of_the_text_is_found(void **state)
{
    static const char *const types[][2] = {
        { "text/plain; charset=utf-8", "utf-8" },
        { "text/plain; format=flowed;\n\tCharset = \"KOI8-R\" ;x", "KOI8-R" },
        { "text/plain; charset='x", "x" },
        { "text/plain; charset", "" },
        { "text/plain", "" },
        { "text/plain; charset=0123456789012345678901234567890123456789012", "" },
    };
    char charset[HEADER_CHARSET_MAX + 1];

    for (size_t i = 0; i < ELEMENTSOF(types); i++) {
        header_charset(types[i][0], charset);
        assert_string_equal(charset, types[i][1]);
    }
    header_charset(NULL, charset);
    assert_string_equal(charset, "");
}

static void header_garbage_stays_readable(void **state)
{
    assert_decodes("=?utf-8?q?never ends", "=?utf-8?q?never ends");
    assert_decodes("=?utf-8?x?abc?=", "=?utf-8?x?abc?=");
    assert_decodes("=?utf-8?q?abc =?utf-8?q?def?=", "=?utf-8?q?abc def");
    assert_decodes("=?", "=?");
    assert_decodes("=?\?q?a?=", "=?\?q?a?=");
    assert_decodes("=?utf-8?q?=C3=?=", "\xef\xbf\xbd=");
    assert_decodes("=?utf-8?b?!!!!?=x", "x");
    assert_decodes("=?no-such-charset?q?=FCx?=", "üx");
    assert_decodes("=?utf-8?q?a=00=07=0A=0Db?=", "a b");
}

static void header_hostile_value_costs_little(void **state)
{
    static const char *const pieces[] = {
        "=?",
        "=?a?q?x",
        "=?koi8-r?q?=F3?==?big5?q?=A4?=",
        "=?utf-8?b?",
        "=?a?q?\" =?b?q?",
        "\t\n =",
        "=?a?q?x?=41",
        "?=41",
        "=?=",
    };
    size_t size = 262144;
    _cleanup_free_ char *value = malloc(size + 64);

    for (size_t i = 0; i < ELEMENTSOF(pieces); i++) {
        clock_t began = clock();
        char *end = value;

        while (end < value + size)
            end = stpcpy(end, pieces[i]);
        free(header_decode_dup(value));
        assert_true(clock() - began < 3 * CLOCKS_PER_SEC);
    }
}

/* All addresses with a bar behind each. */
static void assert_addresses(const char *value, const char *expected)
{
    char found[1024] = "", *address;
    size_t offset = 0;

    while (header_next_address(value, &offset, &address) == 1) {
        strcat(strcat(found, address), "|");
        free(address);
    }
    assert_string_equal(found, expected);
}

static void header_addresses_are_found(void **state)
{
    assert_addresses("a@x", "a@x|");
    assert_addresses("NMS <nms@nms.example.org>", "nms@nms.example.org|");
    assert_addresses("root (Cron Daemon)", "root|");
    assert_addresses("\"A, B\" <a@x>, b@y (c@z),\n <d@x>", "a@x|b@y|d@x|");
    assert_addresses("team: a@x, B <b@x>;", "a@x|b@x|");
    assert_addresses("<@r1,@r2:a@x>", "a@x|");
    assert_addresses("\"a b\"@x, c@[IPv6:::1]", "\"a b\"@x|c@[IPv6:::1]|");
    assert_addresses("NMS nms@x", "nms@x|");
}

static void header_name_is_no_address(void **state)
{
    assert_addresses("\"nms@good <nms@good>\" <evil@x>", "evil@x|");
    assert_addresses("=?utf-8?q?nms=40good?= <evil@x>", "evil@x|");
    assert_addresses("x (<nms@good>) <evil@x>", "evil@x|");
    assert_addresses("Cron Daemon", "");
    assert_addresses("\"nms@good\"", "");
    assert_addresses("<>", "");
    assert_addresses("", "");
}

static void header_broken_addresses_cost_little(void **state)
{
    static const char *const pieces[] = { "\"", "\\\"", "(", "<", "[", ",", "a@b ", "\"\\", ":;" };
    size_t size = 262144;
    _cleanup_free_ char *value = malloc(size + 64);

    for (size_t i = 0; i < ELEMENTSOF(pieces); i++) {
        clock_t began = clock();
        size_t offset = 0;
        char *end = value, *address;

        while (end < value + size)
            end = stpcpy(end, pieces[i]);
        while (header_next_address(value, &offset, &address) == 1)
            free(address);
        assert_true(clock() - began < 3 * CLOCKS_PER_SEC);
    }
    assert_addresses("\"NMS <nms@x>", "nms@x|");
    assert_addresses("NMS <nms@x", "nms@x|");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_plain_value_comes_in_one_line),
        cmocka_unit_test(header_encoded_words_are_decoded),
        cmocka_unit_test(header_character_split_between_words_is_whole),
        cmocka_unit_test(header_overlong_word_is_decoded),
        cmocka_unit_test(header_word_in_the_wrong_place_or_form_is_decoded),
        cmocka_unit_test(header_word_that_is_cut_off_is_decoded),
        cmocka_unit_test(header_order_of_writing_is_not_turned),
        cmocka_unit_test(header_bytes_without_charset_are_guessed),
        cmocka_unit_test(header_charset_of_the_text_is_found),
        cmocka_unit_test(header_garbage_stays_readable),
        cmocka_unit_test(header_hostile_value_costs_little),
        cmocka_unit_test(header_addresses_are_found),
        cmocka_unit_test(header_name_is_no_address),
        cmocka_unit_test(header_broken_addresses_cost_little),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
