/* SPDX-License-Identifier: MIT */

/* Parts that hold text, read through whole mails. */

#include "tests/unit/mails.h"

#include "common/text.h"
#include "milterd/mime.h"

static void assert_reads_bytes(const char *bytes, size_t size, const char *expected)
{
    _cleanup_mail_ Mail mail = mail_of(bytes, size);
    _cleanup_free_ char *text = NULL;
    bool cut;

    assert_int_equal(mime_text(&mail, &text, &cut), 0);
    assert_string_equal(text, expected);
    assert_true(text_is_clean(text, strlen(text)));
}

static void assert_reads(const char *mail, const char *expected)
{
    assert_reads_bytes(mail, strlen(mail), expected);
}

#define QP "Content-Transfer-Encoding: quoted-printable\n\n"
#define BASE64 "Content-Transfer-Encoding: base64\n\n"

static void leaf_quoted_printable_is_read_as_far_as_it_goes(void **state)
{
    assert_reads(QP "a=\nb=  \nc =3D d", "abc = d");
    assert_reads(QP "=ZZ =G1 =c3=bc = =", "=ZZ =G1 ü =");
    assert_reads(QP "a=3", "a=3");
    assert_reads(QP "raw \xc3\xbc =C3=BC", "raw ü ü");
}

static void leaf_base64_is_read_with_garbage_in_it(void **state)
{
    assert_reads(BASE64 "R3LDvMOfZQ==", "Grüße");
    assert_reads(BASE64 "R3LDvMOfZQ", "Grüße");
    assert_reads(BASE64 "\n\nR3LD\n\nvMOf\nZQ==\n", "Grüße");
    assert_reads(BASE64 "R3LDvMOfZSBhdXMgVW!xtIHVuZCB1bSBVbG0gaGVydW0=",
                 "Grüße aus Ulm und um Ulm herum");
    assert_reads(BASE64 "R3LDvMOfZQ==\nR3LDvMOfZQ==", "GrüßeGrüße");
    assert_reads(BASE64 "R3LD\nvMO\nZSEK\n", "Grü\xef\xbf\xbd"
                                             "e!"); /* a character is lost */
    assert_reads(BASE64 "R3LDv\nMOfZSEK\n", "Grüße!");
    assert_reads("Content-Transfer-Encoding: base64 (what else)\n\nR3LDvMOfZQ==", "Grüße");
    assert_reads("Content-Transfer-Encoding: \"Base64\";\n\nR3LDvMOfZQ==", "Grüße");
}

static void leaf_text_behind_base64_is_shown(void **state)
{
    assert_reads(BASE64 "R3LDvMOfZQ==\n_______________\nops mailing list\nhttps://example.org\n",
                 "Grüße\n\n_______________\nops mailing list\nhttps://example.org");
    assert_reads(BASE64 "R3LDvMOfZQ== and more\n", "Grüße\n\n and more");
    assert_reads(BASE64 "This is no base64 at all.\n", "This is no base64 at all.");
}

static void leaf_flowed_text_is_joined(void **state)
{
    assert_reads("Content-Type: text/plain; format=flowed; DelSp=YES\n\n"
                 "Die Batterie h\xc3\xa4lt \nnoch. \n\n> quote  \n> more\n-- \nname",
                 "Die Batterie hältnoch.\n\n> quote more\n-- \nname");
    assert_reads("Content-Type: text/plain\n\na \nb", "a \nb");
}

static void leaf_charsets_are_what_is_meant(void **state)
{
    static const char wide[] = "Content-Type: text/plain; charset=utf-16\n\nd\0i\0s\0k\0\r\0\n\0x";

    assert_reads_bytes(wide, sizeof(wide), "disk\nx");
    assert_reads("Content-Type: text/plain; charset=\"x-sjis\"\n\n\x8cx\x8d\x90", "警告");
    assert_reads("Content-Type: text/plain; charset='iso-8859-1'\n\n\x80", "€");
    assert_reads("Content-Type: text/plain; charset=utf-8\n\nf\xfcr", "für");
    assert_reads("Content-Type: text/plain; charset=utf-8\n\n\xc3\xbc f\xfcr \xe2\x82.",
                 "ü für \xef\xbf\xbd.");
}

static void leaf_controls_of_terminals_and_line_ends(void **state)
{
    assert_reads("\n\x1b[31mFAILED\x1b[0m\rone\ntwo\r\n\r\n\fthree\0",
                 "FAILED\none\ntwo\n\n\nthree");
    assert_reads("Content-Type: text/plain; charset=utf-8\n\na\xe2\x80\xae"
                 "b\xe2\x81\xa6"
                 "c",
                 "abc");
}

static void leaf_files_in_text_are_named(void **state)
{
    assert_reads("\nsee this:\n\nbegin 644 core.bin\n#86)C\n`\nend\n\nthat was it\n",
                 "see this:\n\n[attachment: core.bin (in the text, 3 bytes)]\n\nthat was it");
    assert_reads("\n-----BEGIN PGP MESSAGE-----\n\naaaa\n-----END PGP MESSAGE-----\n",
                 "[encrypted: OpenPGP, 3 bytes]");
    assert_reads("\n-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA1\n\ntext\n"
                 "-----BEGIN PGP SIGNATURE-----\n\naaaa\n-----END PGP SIGNATURE-----\n",
                 "text");
}

static void leaf_what_is_no_text_is_named(void **state)
{
    char mail[400] = "Content-Type: text/plain; name=core\n\n";
    size_t size = strlen(mail);

    for (int i = 0; i < 256; i++)
        mail[size++] = (char)i;
    assert_reads_bytes(mail, size, "[attachment: core (text/plain that is no text, 259 bytes)]");
    assert_reads("\n%PDF-1.4\n1 0 obj", "[attachment: text/plain that is no text, 19 bytes]");
    /* A line with odd bytes in it is still a line. */
    assert_reads("\nDevice \x01\x02 failed, and there is more text than that",
                 "Device  failed, and there is more text than that");
}

static void leaf_other_kinds_of_text_are_read(void **state)
{
    assert_reads("Content-Type: text/enriched\n\n<bold>a</bold>\nb", "a b");
    assert_reads(
        "Content-Type: text/calendar\n\nBEGIN:VCALENDAR\nBEGIN:VEVENT\nSUMMARY:Main\n tenance\n"
        "END:VEVENT\nEND:VCALENDAR",
        "Maintenance");
    assert_reads("Content-Type: text/plain\n\n<!DOCTYPE html>\n<html><p>a<p>b</html>", "a\n\nb");
    assert_reads("Content-Type: application/json\n\n{\"a\": 1}", "{\"a\": 1}");
    assert_reads("Content-Type: plain/text\n\na", "a");
    assert_reads("Content-Type: application/octet-stream; name=x.log\n\na",
                 "[attachment: x.log (application/octet-stream, 3 bytes)]");
    assert_reads("Content-Type: text/rtf\n\n{\\rtf1}", "[attachment: text/rtf, 9 bytes]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaf_quoted_printable_is_read_as_far_as_it_goes),
        cmocka_unit_test(leaf_base64_is_read_with_garbage_in_it),
        cmocka_unit_test(leaf_text_behind_base64_is_shown),
        cmocka_unit_test(leaf_flowed_text_is_joined),
        cmocka_unit_test(leaf_charsets_are_what_is_meant),
        cmocka_unit_test(leaf_controls_of_terminals_and_line_ends),
        cmocka_unit_test(leaf_files_in_text_are_named),
        cmocka_unit_test(leaf_what_is_no_text_is_named),
        cmocka_unit_test(leaf_other_kinds_of_text_are_read),
    };

    mime_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
