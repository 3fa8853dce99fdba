/* SPDX-License-Identifier: MIT */

/*
 * Charsets by iconv() of the C library, behind a list of those that mails have: a label comes
 * from outside, and must neither load whatever converter is installed nor bring options ("//")
 * along. windows-1252 is our own table, since it is the last resort and must be there.
 */

#include "milterd/charset.h"

#include <iconv.h>
#include <strings.h>

#include "common/text.h"

#define LABEL_MAX 40
#define ROOM_MIN ((size_t)64) /* more than iconv() ever needs for one character */

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

/* Labels that mean another charset than they say, or have another name in iconv. */
static const struct {
    const char *label;
    const char *name; /* NULL: UTF-8 or windows-1252, by the look of it */
} aliases[] = {
    { "ansi_x3.4-1968", NULL },
    { "ansi_x3.4-1986", NULL },
    { "ascii", NULL },
    { "us-ascii", NULL },
    { "iso646-us", NULL },
    { "iso_646.irv:1991", NULL },
    { "646", NULL },
    { "utf8", "UTF-8" },
    { "unicode-1-1-utf-7", "UTF-7" },
    { "iso-8859-1", "CP1252" },
    { "iso8859-1", "CP1252" },
    { "iso_8859-1", "CP1252" },
    { "latin1", "CP1252" },
    { "latin-1", "CP1252" },
    { "l1", "CP1252" },
    { "windows-1252", "CP1252" },
    { "iso-8859-8-i", "ISO-8859-8" },
    { "iso-8859-9", "CP1254" },
    { "iso-8859-11", "CP874" },
    { "tis-620", "CP874" },
    { "windows-874", "CP874" },
    { "gb2312", "GB18030" },
    { "gb_2312-80", "GB18030" },
    { "gbk", "GB18030" },
    { "x-gbk", "GB18030" },
    { "euc-cn", "GB18030" },
    { "cp936", "GB18030" },
    { "windows-936", "GB18030" },
    { "big5", "CP950" },
    { "euc-kr", "CP949" },
    { "ks_c_5601-1987", "CP949" },
    { "ks_c_5601-1989", "CP949" },
    { "windows-949", "CP949" },
    { "shift_jis", "CP932" },
    { "shift-jis", "CP932" },
    { "sjis", "CP932" },
    { "x-sjis", "CP932" },
    { "windows-31j", "CP932" },
    { "macintosh", "MACINTOSH" },
};

/* Families whose members iconv knows by the label itself. ISO-2022-CN is not among them: no mail
 * uses it, and its converter has a history. */
static const char *const families[] = {
    "utf-",  "iso-8859-",  "iso8859-", "iso_8859-",   "windows-12",  "cp125", "cp437",
    "cp85",  "cp86",       "cp949",    "cp932",       "cp950",       "cp874", "koi8-",
    "gb180", "big5-hkscs", "euc-jp",   "iso-2022-jp", "iso-2022-kr",
};

/* iconv's name for a label; NULL: by the look of it. `buffer` holds the answer where needed. */
static const char *charset_name(const char *label, char buffer[static LABEL_MAX + 1])
{
    size_t length = label ? strlen(label) : 0;

    if (length == 0 || length > LABEL_MAX)
        return NULL;
    for (size_t i = 0; i < length; i++) {
        char c = label[i];

        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        else if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && !strchr("-_.:", c))
            return NULL;
        buffer[i] = c;
    }
    buffer[length] = '\0';

    for (size_t i = 0; i < ELEMENTSOF(aliases); i++)
        if (streq(buffer, aliases[i].label))
            return aliases[i].name;
    for (size_t i = 0; i < ELEMENTSOF(families); i++)
        if (strncmp(buffer, families[i], strlen(families[i])) == 0)
            return buffer;
    return NULL;
}

static int copy(const char *bytes, size_t size, char **ret, size_t *ret_size)
{
    char *result = malloc(size + 1);

    if (!result)
        return -ENOMEM;
    if (size > 0)
        memcpy(result, bytes, size);
    result[size] = '\0';
    *ret = result;
    *ret_size = size;
    return 0;
}

static int decode_windows_1252(const char *bytes, size_t size, char **ret, size_t *ret_size)
{
    /* 0x80 to 0x9f; the rest is as in Unicode. */
    static const uint16_t high[32] = {
        0x20ac, 0xfffd, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
        0x2039, 0x0152, 0xfffd, 0x017d, 0xfffd, 0xfffd, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
        0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0xfffd, 0x017e, 0x0178,
    };
    char *result = malloc(size * 3 + 1);
    size_t n = 0;

    if (!result)
        return -ENOMEM;
    for (size_t i = 0; i < size; i++) {
        unsigned c = (unsigned char)bytes[i];

        if (c >= 0x80 && c < 0xa0)
            c = high[c - 0x80];
        if (c < 0x80) {
            result[n++] = (char)c;
        } else if (c < 0x800) {
            result[n++] = (char)(0xc0 | c >> 6);
            result[n++] = (char)(0x80 | (c & 0x3f));
        } else {
            result[n++] = (char)(0xe0 | c >> 12);
            result[n++] = (char)(0x80 | (c >> 6 & 0x3f));
            result[n++] = (char)(0x80 | (c & 0x3f));
        }
    }
    result[n] = '\0';
    *ret = result;
    *ret_size = n;
    return 0;
}

/* How many bytes to step over where the input is broken. */
static size_t unit_size(const char *name)
{
    if (strncasecmp(name, "utf-16", 6) == 0)
        return 2;
    if (strncasecmp(name, "utf-32", 6) == 0)
        return 4;
    return 1;
}

static int decode_iconv(iconv_t converter, const char *name, const char *bytes, size_t size,
                        char **ret, size_t *ret_size)
{
    size_t allocated = size + size / 2 + 2 * ROOM_MIN, n = 0, left = size;
    _cleanup_free_ char *result = malloc(allocated);
    char *input = (char *)bytes; /* iconv() does not write to it */
    bool flushed = false;

    if (!result)
        return -ENOMEM;
    while (!flushed) {
        char *output = result + n;
        size_t room = allocated - n - 1, converted;

        flushed = left == 0;
        converted = iconv(converter, flushed ? NULL : &input, &left, &output, &room);
        n = (size_t)(output - result);

        if (converted == (size_t)-1 && errno != E2BIG && left > 0 && room >= ROOM_MIN) {
            size_t step = MIN(unit_size(name), left);

            memcpy(result + n, replacement, sizeof(replacement) - 1);
            n += sizeof(replacement) - 1;
            input += step;
            left -= step;
        }
        if (allocated - n - 1 < ROOM_MIN) {
            char *larger = realloc(result, allocated + allocated / 2);

            if (!larger)
                return -ENOMEM;
            result = larger;
            allocated += allocated / 2;
        }
    }
    result[n] = '\0';
    *ret = steal_ptr(result);
    *ret_size = n;
    return 0;
}

int charset_decode(const char *label, const char *bytes, size_t size, char **ret, size_t *ret_size)
{
    char buffer[LABEL_MAX + 1];
    const char *name = charset_name(label, buffer);
    iconv_t converter;
    int r;

    if (!name)
        name = text_is_utf8(bytes, size) ? "UTF-8" : "CP1252";
    if (strcasecmp(name, "UTF-8") == 0)
        return copy(bytes, size, ret, ret_size);
    if (streq(name, "CP1252"))
        return decode_windows_1252(bytes, size, ret, ret_size);

    converter = iconv_open("UTF-8", name);
    if (converter == (iconv_t)-1) {
        if (errno == ENOMEM)
            return -ENOMEM;
        return text_is_utf8(bytes, size) ? copy(bytes, size, ret, ret_size)
                                         : decode_windows_1252(bytes, size, ret, ret_size);
    }
    r = decode_iconv(converter, name, bytes, size, ret, ret_size);
    iconv_close(converter);
    return r;
}
