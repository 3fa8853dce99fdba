/* SPDX-License-Identifier: MIT */

/*
 * Labels are compared by their letters and digits alone, for senders agree on no more than these:
 * ISO_8859-1:1987, iso8859-1 and x-iso_8859_1 are the same.
 *
 * A label comes from outside. What iconv() is given always comes from here, so that a mail neither
 * loads whatever converter is installed nor brings options ("//") along.
 */

#include "milterd/charset-name.h"

#include <stdio.h>

#define LABEL_MAX 40

static const struct {
    const char *key, *name;
} names[] = {
    { "utf8", "UTF-8" },
    { "utf8n", "UTF-8" },
    { "utf8mb4", "UTF-8" },
    { "unicode11utf8", "UTF-8" },
    { "unicode20utf8", "UTF-8" },
    { "utf7", "UTF-7" },
    { "unicode11utf7", "UTF-7" },
    { "unicode20utf7", "UTF-7" },
    { "utf16", "UTF-16" },
    { "ucs2", "UTF-16" },
    { "unicode", "UTF-16" },
    { "iso10646ucs2", "UTF-16" },
    { "utf16le", "UTF-16LE" },
    { "utf16be", "UTF-16BE" },
    { "utf32", "UTF-32" },
    { "ucs4", "UTF-32" },
    { "iso10646ucs4", "UTF-32" },
    { "utf32le", "UTF-32LE" },
    { "utf32be", "UTF-32BE" },

    { "88591", "CP1252" },
    { "tis620", "CP874" },
    { "windows874", "CP874" },
    { "visual", "ISO-8859-8" },
    { "logical", "ISO-8859-8" },
    { "hebrew", "ISO-8859-8" },
    { "arabic", "ISO-8859-6" },
    { "greek", "ISO-8859-7" },
    { "cyrillic", "ISO-8859-5" },

    { "gb2312", "GB18030" },
    { "gb231280", "GB18030" },
    { "gbk", "GB18030" },
    { "gb18030", "GB18030" },
    { "gb180302000", "GB18030" },
    { "euccn", "GB18030" },
    { "cngb", "GB18030" },
    { "chinese", "GB18030" },
    { "isoir58", "GB18030" },
    { "windows936", "GB18030" },
    { "cp936", "GB18030" },
    { "ms936", "GB18030" },
    { "big5", "CP950" },
    { "cnbig5", "CP950" },
    { "windows950", "CP950" },
    { "cp950", "CP950" },
    { "big5hkscs", "BIG5-HKSCS" },
    { "euctw", "EUC-TW" },

    { "euckr", "CP949" },
    { "korean", "CP949" },
    { "ksc5601", "CP949" },
    { "ksc56011987", "CP949" },
    { "ksc56011989", "CP949" },
    { "windows949", "CP949" },
    { "cp949", "CP949" },
    { "uhc", "CP949" },
    { "johab", "JOHAB" },
    { "iso2022kr", "ISO-2022-KR" },

    { "shiftjis", "CP932" },
    { "sjis", "CP932" },
    { "mskanji", "CP932" },
    { "windows31j", "CP932" },
    { "windows932", "CP932" },
    { "cp932", "CP932" },
    { "ms932", "CP932" },
    { "cp943c", "CP932" },
    { "eucjp", "EUC-JP-MS" },
    { "eucjpms", "EUC-JP-MS" },
    { "euc", "EUC-JP-MS" },
    { "ujis", "EUC-JP-MS" },
    { "cp51932", "EUC-JP-MS" },
    { "iso2022jp", "ISO-2022-JP" },
    { "iso2022jp1", "ISO-2022-JP" },
    { "iso2022jp2", "ISO-2022-JP" },
    { "iso2022jp3", "ISO-2022-JP" },
    { "iso2022jpms", "ISO-2022-JP" },
    { "jis", "ISO-2022-JP" },
    { "cp50220", "ISO-2022-JP" },
    { "cp50221", "ISO-2022-JP" },

    { "koi8", "KOI8-R" },
    { "koi8r", "KOI8-R" },
    { "koi8u", "KOI8-U" },
    { "koi8ru", "KOI8-U" },
    { "koi8t", "KOI8-T" },
    { "viscii", "VISCII" },
    { "tcvn", "TCVN" },
    { "armscii8", "ARMSCII-8" },
    { "georgianps", "GEORGIAN-PS" },
    { "mac", "MACINTOSH" },
    { "macroman", "MACINTOSH" },
    { "macintosh", "MACINTOSH" },
    { "maccyrillic", "MAC-CYRILLIC" },
    { "maccentraleurope", "MAC-CENTRALEUROPE" },
    { "macce", "MAC-CENTRALEUROPE" },
};

/* The letters and digits of a label, lower case, without "x-" and "cs" in front, and without the
 * year behind a colon. "" where it is none. */
static void make_key(const char *label, char key[static LABEL_MAX + 1])
{
    size_t n = 0;

    if (strlen(label) > LABEL_MAX || strpbrk(label, "/\\"))
        label = "";
    for (const char *p = label; *p && *p != ':'; p++) {
        char c = *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;

        if (c == '-' && n == 1 && key[0] == 'x')
            n = 0;
        else if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
            key[n++] = c;
    }
    key[n] = '\0';
    if (strncmp(key, "charset", 7) == 0) /* "charset=charset=utf-8" */
        memmove(key, key + 7, n - 6);
    else if (strncmp(key, "cs", 2) == 0)
        memmove(key, key + 2, n - 1);
}

/* The number behind a prefix and where it ends; 0: there is none. */
static unsigned number_behind(const char *key, const char *prefix, const char **ret_end)
{
    size_t length = strlen(prefix);
    unsigned number = 0;

    if (strncmp(key, prefix, length) != 0)
        return 0;
    for (key += length; *key >= '0' && *key <= '9' && number < 10000; key++)
        number = number * 10 + (unsigned)(*key - '0');
    *ret_end = key;
    return number;
}

static unsigned number_behind_any(const char *key, const char *const *prefixes, size_t n)
{
    const char *end;

    for (size_t i = 0; i < n; i++) {
        unsigned number = number_behind(key, prefixes[i], &end);

        if (number > 0 && *end == '\0')
            return number;
    }
    return 0;
}

/* The part of ISO 8859, as "iso-8859-2", "8859_2" or "latin2". */
static unsigned iso_8859_part(const char *key)
{
    static const uint8_t of_latin[] = { 0, 1, 2, 3, 4, 9, 10, 13, 14, 15, 16 };
    static const char *const latin[] = { "latin", "isolatin", "l" };
    const char *end;
    unsigned number = number_behind(key, "iso8859", &end);

    if (number == 0)
        number = number_behind(key, "8859", &end);
    /* "i" and "e": in which direction Hebrew and Arabic run. */
    if (number > 0)
        return *end == '\0' || streq(end, "i") || streq(end, "e") ? number : 0;
    number = number_behind_any(key, latin, ELEMENTSOF(latin));
    return number < ELEMENTSOF(of_latin) ? of_latin[number] : 0;
}

/* A code page of DOS or Windows; 0: it is none. */
static unsigned code_page(const char *key)
{
    static const char *const prefixes[] = { "windows", "win", "cp",    "ms",
                                            "ibm",     "dos", "msdos", "oem" };
    static const uint16_t pages[] = {
        437, 737, 775, 850, 852, 855, 857, 858, 860, 861, 862, 863, 864, 865, 866, 869, 874, 1125,
    };
    unsigned number = number_behind_any(key, prefixes, ELEMENTSOF(prefixes));

    if (number >= 1250 && number <= 1258)
        return number;
    for (size_t i = 0; i < ELEMENTSOF(pages); i++)
        if (pages[i] == number)
            return number;
    return 0;
}

bool charset_name(const char *label, char ret[static CHARSET_NAME_MAX + 1])
{
    char key[LABEL_MAX + 1];
    unsigned number;

    make_key(label ? label : "", key);
    for (size_t i = 0; i < ELEMENTSOF(names); i++)
        if (streq(key, names[i].key))
            return strcpy(ret, names[i].name);

    number = iso_8859_part(key);
    if (number >= 1 && number <= 16 && number != 12) {
        /* As browsers read them: these pages of Windows have the same, and more. */
        if (number == 1 || number == 9)
            strcpy(ret, number == 1 ? "CP1252" : "CP1254");
        else if (number == 11)
            strcpy(ret, "CP874");
        else
            snprintf(ret, CHARSET_NAME_MAX + 1, "ISO-8859-%u", number);
        return true;
    }
    number = code_page(key);
    if (number > 0)
        snprintf(ret, CHARSET_NAME_MAX + 1, "CP%u", number);
    return number > 0;
}
