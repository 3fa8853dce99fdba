/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "milterd/charset.h"

static void assert_decodes(const char *label, const char *bytes, const char *expected)
{
    _cleanup_free_ char *text = NULL;
    size_t size;

    assert_int_equal(charset_decode(label, bytes, strlen(bytes), &text, &size), 0);
    assert_string_equal(text, expected);
    assert_int_equal(size, strlen(expected));
}

static void charset_label_means_what_senders_mean(void **state)
{
    assert_decodes("iso-8859-1", "\x80 5 \x96 f\xfcr", "€ 5 – für");
    assert_decodes("ISO-8859-15", "\xa4", "€");
    assert_decodes("GB2312", "\x87\xe5 \xb8\xe6\xbe\xaf", "囧 告警");
    assert_decodes("Shift_JIS", "\x8c\x78\x8d\x90 \x87\x40", "警告 ①");
    assert_decodes("koi8-r", "\xf3\xc2\xcf\xca", "Сбой");
    assert_decodes("euc-kr", "\xb0\xe6\xb0\xed", "경고");
    assert_decodes("iso-2022-jp", "\x1b$B7Y9p\x1b(B!", "警告!");
}

static void charset_ascii_or_unlabelled_is_utf8_if_valid_else_windows_1252(void **state)
{
    static const char *const labels[] = { NULL,        "",         "ANSI_X3.4-1968",  "us-ascii",
                                          "x-unknown", "//IGNORE", "../../etc/passwd" };

    for (size_t i = 0; i < ELEMENTSOF(labels); i++) {
        assert_decodes(labels[i], "plain", "plain");
        assert_decodes(labels[i], "f\xc3\xbcr", "für");
        assert_decodes(labels[i], "f\xfcr", "für");
    }
}

static void charset_broken_input_is_replaced(void **state)
{
    assert_decodes("GB18030",
                   "a\xff\xff"
                   "b\xb8",
                   "a\xef\xbf\xbd\xef\xbf\xbd"
                   "b\xef\xbf\xbd");
    assert_decodes("windows-1252", "\x81", "\xef\xbf\xbd");
    assert_decodes("utf-8", "a\xff", "a\xff"); /* left for whoever cleans the whole */
}

static void charset_garbage_comes_through(void **state)
{
    static const char *const labels[] = { "utf-16",    "utf-32", "utf-7",       "gb18030", "big5",
                                          "shift_jis", "euc-kr", "iso-2022-jp", "cp1251" };
    size_t size = 1 << 15, decoded_size;
    _cleanup_free_ char *bytes = malloc(size);
    unsigned seed = 1;

    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)((seed = seed * 1103515245 + 12345) >> 16);
    for (size_t i = 0; i < ELEMENTSOF(labels); i++) {
        _cleanup_free_ char *text = NULL;

        assert_int_equal(charset_decode(labels[i], bytes, size, &text, &decoded_size), 0);
        assert_true(decoded_size > 0 && decoded_size <= 4 * size);
    }
    memset(bytes, 0xff, size);
    for (size_t i = 0; i < ELEMENTSOF(labels); i++) {
        _cleanup_free_ char *text = NULL;

        assert_int_equal(charset_decode(labels[i], bytes, size, &text, &decoded_size), 0);
        assert_true(decoded_size > 0 && decoded_size <= 4 * size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(charset_label_means_what_senders_mean),
        cmocka_unit_test(charset_ascii_or_unlabelled_is_utf8_if_valid_else_windows_1252),
        cmocka_unit_test(charset_broken_input_is_replaced),
        cmocka_unit_test(charset_garbage_comes_through),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
