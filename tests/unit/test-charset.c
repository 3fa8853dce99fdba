/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "milterd/charset.h"

static void assert_decodes_bytes(const char *label, const char *bytes, size_t n,
                                 const char *expected)
{
    _cleanup_free_ char *text = NULL;
    size_t size;

    assert_int_equal(charset_decode(label, bytes, n, &text, &size), 0);
    assert_string_equal(text, expected);
    assert_int_equal(size, strlen(expected));
}

static void assert_decodes(const char *label, const char *bytes, const char *expected)
{
    assert_decodes_bytes(label, bytes, strlen(bytes), expected);
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
    assert_decodes("iso-8859-2",
                   "B\xb3\xb1"
                   "d",
                   "Błąd");
    assert_decodes("utf-7", "Gr+APwA3w-e", "Grüße");
    assert_decodes("iso-8859-8-i", "\xe0", "א");
    assert_decodes("big5", "\xc4\xb5\xa7i", "警告");
    assert_decodes("windows-1251", "\xd1\xe1\xee\xe9", "Сбой");
    assert_decodes("cp866", "\x91\xa1\xae\xa9", "Сбой");
}

static void charset_label_has_many_forms(void **state)
{
    static const char *const latin1[] = { "cp1252",     "Windows-1252", "win1252",
                                          "ISO_8859-1", "iso88591",     "ISO_8859-1:1987",
                                          "latin-1",    "l1",           "x-iso-8859-1",
                                          "csISOLatin1" };
    static const char *const japanese[] = { "x-sjis", "SJIS",  "shift_jis",   "MS_Kanji",
                                            "cp932",  "ms932", "Windows-31J", "csShiftJIS" };
    static const char *const korean[] = { "ks_c_5601-1987", "KS_C_5601", "euc-kr",
                                          "cp949",          "uhc",       "x-windows-949" };
    static const char *const chinese[] = { "x-gbk", "gb2312",  "GB_2312-80", "cp936",
                                           "cn-gb", "GB18030", "csGB2312",   "euc-cn" };
    static const char *const utf8[] = { "utf8",  "UTF-8",        "x-utf-8", "unicode-1-1-utf-8",
                                        "utf_8", "charset=utf-8" };

    for (size_t i = 0; i < ELEMENTSOF(latin1); i++)
        assert_decodes(latin1[i], "f\xfcr 5 \x80", "für 5 €");
    for (size_t i = 0; i < ELEMENTSOF(japanese); i++)
        assert_decodes(japanese[i], "\x8cx\x8d\x90", "警告");
    for (size_t i = 0; i < ELEMENTSOF(korean); i++)
        assert_decodes(korean[i], "\xb0\xe6\xb0\xed \x81\x41", "경고 갂");
    for (size_t i = 0; i < ELEMENTSOF(chinese); i++)
        assert_decodes(chinese[i], "\xb8\xe6\xbe\xaf", "告警");
    for (size_t i = 0; i < ELEMENTSOF(utf8); i++)
        assert_decodes(utf8[i], "f\xc3\xbcr", "für");
    assert_decodes("latin2", "\xb3", "ł");
    assert_decodes("8859-15", "\xa4", "€");
    assert_decodes("latin9", "\xa4", "€");
    assert_decodes("iso-8859-99", "f\xfcr", "für");
    assert_decodes("latin", "f\xfcr", "für");
    assert_decodes("ibm850", "f\x81r", "für");
}

static void charset_utf16_is_read_in_either_order(void **state)
{
    assert_decodes_bytes("utf-16",
                         "\xff\xfe"
                         "a\0\xfc\0",
                         6, "aü");
    assert_decodes_bytes("utf-16", "\xfe\xff\0a\0\xfc", 6, "aü");
    assert_decodes_bytes("utf-16", "a\0\xfc\0\n\0", 6, "aü\n");
    assert_decodes_bytes("utf-16", "\0a\0\xfc\0\n", 6, "aü\n");
    assert_decodes_bytes("utf-16le", "a\0\xfc\0", 4, "aü");
    assert_decodes_bytes("UTF-16BE", "\0a\0\xfc", 4, "aü");
    assert_decodes_bytes("utf-16", "a\0b", 3, "a\xef\xbf\xbd");
    /* What a script has sent as it was, or as base64 under any label. */
    assert_decodes_bytes(NULL,
                         "\xff\xfe"
                         "a\0\xfc\0",
                         6, "aü");
    assert_decodes_bytes("utf-8", "d\0i\0s\0k\0", 8, "disk");
    assert_decodes_bytes("us-ascii", "\0d\0i\0s\0k", 8, "disk");
}

static void charset_iso_2022_jp_is_as_vendors_have_it(void **state)
{
    assert_decodes("iso-2022-jp", "\x1b$B-!\x1b(Ja\\\x1b(I1\x1b(B.", "①a\\ｱ.");
    assert_decodes("iso-2022-jp", "\x1b$B7Y9p\nabc", "警告\nabc");
    assert_decodes("iso-2022-jp", "\x1b$B7", "\xef\xbf\xbd");
    assert_decodes("us-ascii", "\x1b$B7Y9p\x1b(B", "警告");
    assert_decodes(NULL, "\x1b$@7Y9p\x1b(J", "警告");
    assert_decodes("iso-2022-jp", "f\xc3\xbcr", "für");
}

static void charset_label_that_is_wrong_gives_way(void **state)
{
    /* UTF-8 under other labels */
    assert_decodes("iso-8859-1", "f\xc3\xbcr", "für");
    assert_decodes("windows-1250", "f\xc3\xbcr 5 \xe2\x82\xac", "für 5 €");
    assert_decodes("us-ascii", "f\xc3\xbcr", "für");
    assert_decodes("utf-16", "f\xc3\xbcr", "für");
    assert_decodes("gb2312", "5 \xe2\x82\xac!", "5 €!");
    /* not UTF-8 at all under its label */
    assert_decodes("utf-8", "\x80 5 \x96 f\xfcr \xc4nderung", "€ 5 – für Änderung");
    assert_decodes("utf-8", "a\xff", "aÿ");
    /* and in one place */
    assert_decodes("utf-8", "f\xc3\xbcr f\xfcr caf\xe9 \xe2\x82", "für für café \xef\xbf\xbd");
    assert_decodes("utf-8", "\xc3\xbc \xc3", "ü \xef\xbf\xbd");
    assert_decodes(NULL, "\xe2\x82\xac 5 \xe2\x82\xac 6 \xe2\x82", "€ 5 € 6 \xef\xbf\xbd");
    assert_decodes("utf-8", "\xe2\x82\xac \x80", "€ \xef\xbf\xbd");
}

static void charset_mark_in_front_is_dropped(void **state)
{
    assert_decodes("utf-8",
                   "\xef\xbb\xbf"
                   "a",
                   "a");
    assert_decodes(NULL, "\xef\xbb\xbf", "");
    assert_decodes("iso-8859-1",
                   "\xef\xbb\xbf"
                   "a",
                   "a");
}

static void charset_ascii_or_unlabelled_is_utf8_if_valid_else_windows_1252(void **state)
{
    static const char *const labels[] = {
        NULL,        "",         "ANSI_X3.4-1968",   "us-ascii",
        "x-unknown", "//IGNORE", "../../etc/passwd", "unknown-8bit",
        "8bit",      "default",  "UTF-8//TRANSLIT"
    };

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
    assert_decodes("utf-8", "\xe2\x82", "\xef\xbf\xbd");
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
        cmocka_unit_test(charset_label_has_many_forms),
        cmocka_unit_test(charset_utf16_is_read_in_either_order),
        cmocka_unit_test(charset_iso_2022_jp_is_as_vendors_have_it),
        cmocka_unit_test(charset_label_that_is_wrong_gives_way),
        cmocka_unit_test(charset_mark_in_front_is_dropped),
        cmocka_unit_test(charset_label_means_what_senders_mean),
        cmocka_unit_test(charset_ascii_or_unlabelled_is_utf8_if_valid_else_windows_1252),
        cmocka_unit_test(charset_broken_input_is_replaced),
        cmocka_unit_test(charset_garbage_comes_through),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
