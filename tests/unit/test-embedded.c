/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include <stdio.h>

#include "milterd/embedded.h"

/* All that is found, as "<kind name size>" in its place in the text. */
static void assert_finds(const char *text, const char *expected)
{
    char result[1024] = "", *at_result = result;
    Embedded found;
    size_t at = 0;

    while (embedded_next(text, at, &found)) {
        at_result += sprintf(at_result, "%.*s<%d %.*s %zu>", (int)(found.begin - at), text + at,
                             (int)found.kind, (int)found.name_size, found.name ? found.name : "",
                             found.size);
        at = found.end;
    }
    strcpy(at_result, text + at);
    assert_string_equal(result, expected);
}

static void embedded_uuencoded_file_is_found(void **state)
{
    assert_finds("text\nbegin 644 my file.txt\n#86)C\n`\nend\nmore\n",
                 "text\n<0 my file.txt 3>more\n");
    assert_finds("begin 0755 a\n#86)C\n", "<0 a 3>");
    assert_finds("begin 644 \n#86)C\nend\n", "<0  3>");
    assert_finds("begin 644 a\n#86)C\nno more of it\n", "<0 a 3>no more of it\n");
    assert_finds("begin 644 a\n#86)C\nend\nbegin 644 b\n\"86(\n \nend", "<0 a 3><0 b 2>");
}

static void embedded_sentence_that_begins_is_text(void **state)
{
    static const char *const texts[] = {
        "begin 644 checks at once\nand wait\n",
        "begin at the end\n#86)C\n",
        "begin 64 a\n#86)C\n",
        "begin 644a\n#86)C\n",
        "begin 644 a\n",
        "begin",
        "x begin 644 a\n#86)C\nend\n",
    };

    for (size_t i = 0; i < ELEMENTSOF(texts); i++)
        assert_finds(texts[i], texts[i]);
}

static void embedded_openpgp_is_found(void **state)
{
    assert_finds("a\n-----BEGIN PGP MESSAGE-----\nVersion: GnuPG v2\n\naaaa\nbbbb\n=abcd\n"
                 "-----END PGP MESSAGE-----\nb\n",
                 "a\n<1  9>b\n");
    assert_finds("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\ntext\n"
                 "-----BEGIN PGP SIGNATURE-----\n\naaaa\n-----END PGP SIGNATURE-----\n",
                 "<3  0>\ntext\n<3  3>");
    assert_finds("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\naaaa\nthis is text again\n",
                 "<2  3>this is text again\n");
    assert_finds("-----BEGIN CERTIFICATE-----\naaaa\n", "-----BEGIN CERTIFICATE-----\naaaa\n");
}

static void embedded_binhex_is_found(void **state)
{
    assert_finds("(This file must be converted with BinHex 4.0)\n\n:$f*TEQKPH#jdCA0d!R4iG!!:\nx\n",
                 "<0  18>x\n");
}

static void embedded_hostile_text_costs_little(void **state)
{
    static const char *const pieces[] = {
        "begin 644 a\n",
        "begin 644 a\n#86)C\n",
        "begin 644 a\n\n\n",
        "-----BEGIN PGP MESSAGE-----\n",
        "-----BEGIN PGP MESSAGE-----\na:\n",
        "(This file must be converted with BinHex\n:a\n",
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: x\n",
        "begin ",
        "`\n",
    };
    size_t size = 1 << 20;
    _cleanup_free_ char *text = malloc(size + 64);
    clock_t began = clock();

    for (size_t i = 0; i < ELEMENTSOF(pieces); i++) {
        char *end = text;
        size_t at = 0;
        Embedded found;

        while (end < text + size)
            end = stpcpy(end, pieces[i]);
        while (embedded_next(text, at, &found)) {
            assert_true(found.begin >= at && found.end > found.begin);
            at = found.end;
        }
    }
    assert_true(clock() - began < 3 * CLOCKS_PER_SEC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(embedded_uuencoded_file_is_found),
        cmocka_unit_test(embedded_sentence_that_begins_is_text),
        cmocka_unit_test(embedded_openpgp_is_found),
        cmocka_unit_test(embedded_binhex_is_found),
        cmocka_unit_test(embedded_hostile_text_costs_little),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
