/* SPDX-License-Identifier: MIT */

/*
 * Charsets by iconv() of the C library, but for those that must be there and those that mails have
 * in other forms than their standards say: UTF-8 with something else in it, windows-1252, and
 * ISO-2022-JP with characters of vendors (which iconv() knows in EUC alone).
 */

#include "milterd/charset.h"

#include <iconv.h>

#include "common/text.h"
#include "milterd/charset-keep.h"
#include "milterd/charset-name.h"

#define ROOM_MIN ((size_t)64) /* more than iconv() ever needs for one character */

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

/* How UTF-16 begins, or looks like without a mark. NULL: it is none. */
static const char *utf16_order(const char *bytes, size_t size, bool labelled)
{
    size_t zeros[2] = {}, n = MIN(size, (size_t)4096);

    if (size >= 2 && memcmp(bytes, "\xff\xfe", 2) == 0)
        return "UTF-16LE";
    if (size >= 2 && memcmp(bytes, "\xfe\xff", 2) == 0)
        return "UTF-16BE";
    for (size_t i = 0; i < n; i++)
        zeros[i % 2] += bytes[i] == '\0';
    /* Every other byte of a text with Latin letters is a zero. */
    if (zeros[1] > zeros[0] && (labelled || (n >= 4 && zeros[1] * 4 >= n && zeros[0] == 0)))
        return "UTF-16LE";
    if (zeros[0] > zeros[1] && (labelled || (n >= 4 && zeros[0] * 4 >= n && zeros[1] == 0)))
        return "UTF-16BE";
    return labelled ? "UTF-16LE" : NULL;
}

static bool looks_like_iso_2022_jp(const char *bytes, size_t size)
{
    bool escaped = false;

    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)bytes[i] >= 0x80)
            return false;
        if (bytes[i] == 0x1b && i + 2 < size && bytes[i + 1] == '$')
            escaped = escaped || bytes[i + 2] == 'B' || bytes[i + 2] == '@';
    }
    return escaped;
}

static bool is_utf8_beyond_ascii(const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)bytes[i] >= 0x80)
            return text_is_utf8(bytes, size);
    return false;
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

/* Writes what a byte is in windows-1252. */
static size_t put_windows_1252(char *to, unsigned char byte)
{
    /* 0x80 to 0x9f; the rest is as in Unicode. */
    static const uint16_t high[32] = {
        0x20ac, 0xfffd, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
        0x2039, 0x0152, 0xfffd, 0x017d, 0xfffd, 0xfffd, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
        0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0xfffd, 0x017e, 0x0178,
    };
    unsigned c = byte >= 0x80 && byte < 0xa0 ? high[byte - 0x80] : byte;
    size_t n = 0;

    if (c < 0x80) {
        to[n++] = (char)c;
    } else if (c < 0x800) {
        to[n++] = (char)(0xc0 | c >> 6);
        to[n++] = (char)(0x80 | (c & 0x3f));
    } else {
        to[n++] = (char)(0xe0 | c >> 12);
        to[n++] = (char)(0x80 | (c >> 6 & 0x3f));
        to[n++] = (char)(0x80 | (c & 0x3f));
    }
    return n;
}

static int decode_windows_1252(const char *bytes, size_t size, char **ret, size_t *ret_size)
{
    char *result = malloc(size * 3 + 1);
    size_t n = 0;

    if (!result)
        return -ENOMEM;
    for (size_t i = 0; i < size; i++)
        n += put_windows_1252(result + n, (unsigned char)bytes[i]);
    result[n] = '\0';
    *ret = result;
    *ret_size = n;
    return 0;
}

static bool is_letter(const char *bytes, size_t size, size_t at)
{
    return at < size &&
           ((bytes[at] >= 'a' && bytes[at] <= 'z') || (bytes[at] >= 'A' && bytes[at] <= 'Z'));
}

/* Whether the byte at `at`, which begins nothing in UTF-8, is a letter of windows-1252 within a
 * word. 0xc2 and 0xc3 rather begin a character whose end got lost. */
static bool is_stray_letter(const char *bytes, size_t size, size_t at)
{
    unsigned char c = (unsigned char)bytes[at];

    return c >= 0xc0 && c != 0xc2 && c != 0xc3 && c != 0xd7 && c != 0xf7 &&
           (is_letter(bytes, size, at + 1) || (at > 0 && is_letter(bytes, size, at - 1))) &&
           (at + 1 >= size || (unsigned char)bytes[at + 1] < 0x80);
}

/* How many characters of more than one byte there are, and how many bytes that are none, but for
 * those that may be what is left of one. */
static size_t count_utf8(const char *bytes, size_t size, size_t *ret_strays)
{
    size_t good = 0, strays = 0;
    bool in_rest = false;

    for (size_t i = 0, length; i < size; i += MAX(length, (size_t)1)) {
        length = utf8_sequence(bytes + i, size - i);
        if (length > 1) {
            good++;
        } else if (length == 0) {
            unsigned char c = (unsigned char)bytes[i];

            if (in_rest && (c & 0xc0) == 0x80)
                continue;
            in_rest = c >= 0xc2 && c <= 0xf4 && !is_stray_letter(bytes, size, i);
            strays += !in_rest;
            continue;
        }
        in_rest = false;
    }
    *ret_strays = strays;
    return good;
}

/* UTF-8 with some bytes that are not. */
static int decode_mended_utf8(const char *bytes, size_t size, char **ret, size_t *ret_size)
{
    char *result = malloc(size * 3 + 1);
    size_t n = 0;
    bool broken = false; /* the rest of a character is not told twice */

    if (!result)
        return -ENOMEM;
    for (size_t i = 0, length; i < size; i += MAX(length, (size_t)1)) {
        length = utf8_sequence(bytes + i, size - i);
        if (length > 0) {
            memcpy(result + n, bytes + i, length);
            n += length;
        } else if (is_stray_letter(bytes, size, i)) {
            n += put_windows_1252(result + n, (unsigned char)bytes[i]);
        } else if (!broken || ((unsigned char)bytes[i] & 0xc0) != 0x80) {
            memcpy(result + n, replacement, sizeof(replacement) - 1);
            n += sizeof(replacement) - 1;
        }
        broken = length == 0;
    }
    result[n] = '\0';
    *ret = result;
    *ret_size = n;
    return 0;
}

/* UTF-8, mended where need be, or windows-1252. */
static int decode_guessed(const char *bytes, size_t size, char **ret, size_t *ret_size)
{
    size_t strays, good;

    if (text_is_utf8(bytes, size))
        return copy(bytes, size, ret, ret_size);
    good = count_utf8(bytes, size, &strays);
    /* Umlauts before quotation marks may look like UTF-8, but not often in one text. */
    if (strays > 4 * good)
        return decode_windows_1252(bytes, size, ret, ret_size);
    return decode_mended_utf8(bytes, size, ret, ret_size);
}

/* How many bytes to step over where the input is broken. */
static size_t unit_size(const char *name)
{
    if (strncmp(name, "UTF-16", 6) == 0)
        return 2;
    if (strncmp(name, "UTF-32", 6) == 0)
        return 4;
    return 1;
}

/* *ret_broken tells how often the input was broken. */
static int convert(iconv_t converter, const char *name, const char *bytes, size_t size, char **ret,
                   size_t *ret_size, size_t *ret_broken)
{
    size_t allocated = size + size / 2 + 2 * ROOM_MIN, n = 0, left = size, broken = 0;
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

        if (converted == (size_t)-1 && errno != E2BIG && !flushed && room >= ROOM_MIN) {
            /* Nothing is left where it has taken half a character at the end. */
            size_t step = MIN(unit_size(name), left);

            memcpy(result + n, replacement, sizeof(replacement) - 1);
            n += sizeof(replacement) - 1;
            input += step;
            left -= step;
            broken++;
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
    *ret_broken = broken;
    return 0;
}

static int decode_iconv(const char *name, const char *bytes, size_t size, char **ret,
                        size_t *ret_size)
{
    _cleanup_free_ char *result = NULL;
    size_t result_size, broken;
    iconv_t converter;
    int r;

    charset_keep(name);
    converter = iconv_open("UTF-8", name);
    if (converter == (iconv_t)-1)
        return errno == ENOMEM ? -ENOMEM : decode_guessed(bytes, size, ret, ret_size);
    r = convert(converter, name, bytes, size, &result, &result_size, &broken);
    iconv_close(converter);
    if (r < 0)
        return r;
    if (broken > 0 && is_utf8_beyond_ascii(bytes, size))
        return copy(bytes, size, ret, ret_size);
    *ret = steal_ptr(result);
    *ret_size = result_size;
    return 0;
}

/* The set that an escape sequence of ISO-2022-JP selects: 'B' ASCII (and the Roman set, which
 * differs in the yen sign that everyone means as a backslash), 'I' half-width katakana, '2' JIS X
 * 0208, '3' JIS X 0212; 0: it is none. */
static char jis_set(const char *escape, size_t size, size_t *ret_length)
{
    static const struct {
        const char *sequence;
        char set;
    } sets[] = {
        { "(B", 'B' }, { "(J", 'B' }, { "(H", 'B' },  { "(I", 'I' },
        { "$B", '2' }, { "$@", '2' }, { "$(B", '2' }, { "$(D", '3' },
    };

    for (size_t i = 0; i < ELEMENTSOF(sets); i++) {
        size_t length = strlen(sets[i].sequence);

        if (size > length && memcmp(escape + 1, sets[i].sequence, length) == 0) {
            *ret_length = 1 + length;
            return sets[i].set;
        }
    }
    return 0;
}

static int decode_iso_2022_jp(const char *bytes, size_t size, char **ret, size_t *ret_size)
{
    _cleanup_free_ char *euc = malloc(size * 3 + 1);
    size_t n = 0, length;
    char set = 'B', next;

    if (!euc)
        return -ENOMEM;
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)bytes[i];

        if (c == 0x1b && (next = jis_set(bytes + i, size - i, &length)) != 0) {
            set = next;
            i += length - 1;
        } else if (c == '\n') {
            set = 'B'; /* each line begins with ASCII */
            euc[n++] = '\n';
        } else if (set == 'B' || c <= ' ' || c >= 0x7f) {
            euc[n++] = (char)c;
        } else if (set == 'I') {
            euc[n++] = (char)0x8e;
            euc[n++] = (char)(c | 0x80);
        } else {
            if (set == '3')
                euc[n++] = (char)0x8f;
            euc[n++] = (char)(c | 0x80);
            if (i + 1 < size && bytes[i + 1] > ' ' && bytes[i + 1] < 0x7f)
                euc[n++] = (char)(bytes[++i] | 0x80);
        }
    }
    return decode_iconv("EUC-JP-MS", euc, n, ret, ret_size);
}

static bool has_one_byte_a_character(const char *name)
{
    static const char *const families[] = { "ISO-8859-", "CP125", "CP4", "CP7",
                                            "CP8",       "KOI8-", "MAC" };

    for (size_t i = 0; i < ELEMENTSOF(families); i++)
        if (strncmp(name, families[i], strlen(families[i])) == 0)
            return true;
    return false;
}

static int decode(const char *label, const char *bytes, size_t size, char **ret, size_t *ret_size)
{
    char name[CHARSET_NAME_MAX + 1];
    bool known = charset_name(label, name);
    const char *order;

    if (!known || streq(name, "UTF-8") || streq(name, "CP1252")) {
        order = utf16_order(bytes, size, false);
        if (order)
            return decode_iconv(order, bytes, size, ret, ret_size);
        if (looks_like_iso_2022_jp(bytes, size))
            return decode_iso_2022_jp(bytes, size, ret, ret_size);
        if (known && streq(name, "CP1252") && !text_is_utf8(bytes, size))
            return decode_windows_1252(bytes, size, ret, ret_size);
        return decode_guessed(bytes, size, ret, ret_size);
    }
    if (strncmp(name, "UTF-16", 6) == 0) {
        if (!memchr(bytes, '\0', size) && text_is_utf8(bytes, size))
            return copy(bytes, size, ret, ret_size);
        order = streq(name, "UTF-16") ? utf16_order(bytes, size, true) : name;
        return decode_iconv(order, bytes, size, ret, ret_size);
    }
    if (streq(name, "ISO-2022-JP") && !is_utf8_beyond_ascii(bytes, size))
        return decode_iso_2022_jp(bytes, size, ret, ret_size);
    if (streq(name, "ISO-2022-JP") ||
        (has_one_byte_a_character(name) && is_utf8_beyond_ascii(bytes, size)))
        return copy(bytes, size, ret, ret_size);
    return decode_iconv(name, bytes, size, ret, ret_size);
}

int charset_decode(const char *label, const char *bytes, size_t size, char **ret, size_t *ret_size)
{
    static const char mark[] = "\xef\xbb\xbf"; /* U+FEFF: no text, but how it is encoded */
    int r = decode(label, bytes, size, ret, ret_size);

    if (r == 0 && *ret_size >= strlen(mark) && memcmp(*ret, mark, strlen(mark)) == 0) {
        *ret_size -= strlen(mark);
        memmove(*ret, *ret + strlen(mark), *ret_size + 1);
    }
    return r;
}
