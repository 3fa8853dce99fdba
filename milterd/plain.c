/* SPDX-License-Identifier: MIT */

/*
 * Each of these goes over the text once.
 */

#include "milterd/plain.h"

#include <strings.h>

#include "common/text.h"

/* Terminals */

/* The length of the escape sequence at `at`, where an ESC stands; 1 if it is none. */
static size_t escape_length(const char *text, size_t size, size_t at)
{
    size_t i = at + 1;

    if (i < size && text[i] == '[') { /* CSI: parameters, then one that ends it */
        for (i++; i < size && text[i] >= ' ' && text[i] <= '?'; i++)
            ;
        return i < size && text[i] >= '@' && text[i] <= '~' ? i + 1 - at : 1;
    }
    if (i < size && strchr("]P^_X", text[i])) { /* strings, to BEL or ST; titles of windows */
        for (i++; i < size && i - at < 512 && text[i] != '\n'; i++) {
            if (text[i] == '\a')
                return i + 1 - at;
            if (text[i] == 0x1b)
                return i + 1 < size && text[i + 1] == '\\' ? i + 2 - at : 1;
        }
        return 1;
    }
    while (i < size && text[i] >= ' ' && text[i] <= '/')
        i++;
    return i < size && text[i] >= '0' && text[i] <= '~' ? i + 1 - at : 1;
}

size_t plain_drop_terminal(char *text, size_t size)
{
    size_t n = 0;

    for (size_t i = 0; i < size; i++) {
        if (text[i] == 0x1b) {
            size_t length = escape_length(text, size, i);

            if (length > 1) {
                i += length - 1;
                continue;
            }
        } else if (text[i] == '\b') {
            /* "a\ba" is bold, "_\ba" underlined: the latter stays. */
            while (n > 0 && ((unsigned char)text[n - 1] & 0xc0) == 0x80)
                n--;
            if (n > 0 && text[n - 1] != '\n')
                n--;
            continue;
        }
        text[n++] = text[i] == '\f' || text[i] == '\v' ? '\n' : text[i];
    }
    return n;
}

/* format=flowed */

int plain_unflow(const char *text, bool delsp, char **ret)
{
    size_t size = strlen(text), n = 0, depth_before = 0;
    char *result = malloc(2 * size + 1); /* a quoted line may gain a blank */
    bool flowing = false;                /* the line before goes on */

    if (!result)
        return -ENOMEM;
    for (size_t i = 0; i < size;) {
        size_t depth = strspn(text + i, ">"), begin = i + depth, end;
        bool signature, flows;

        end = begin + strcspn(text + begin, "\n");
        i = end + (text[end] == '\n');
        if (text[begin] == ' ') /* stuffed */
            begin++;
        signature = end - begin == 3 && memcmp(text + begin, "-- ", 3) == 0;
        flows = end > begin && text[end - 1] == ' ' && !signature;

        /* An empty line, which would end the paragraph alone, is meant to be seen. */
        if (flowing && (depth != depth_before || signature || end == begin)) {
            result[n++] = '\n';
            flowing = false;
        }
        if (!flowing && depth > 0) {
            memset(result + n, '>', depth);
            n += depth;
            if (end > begin)
                result[n++] = ' ';
        }
        memcpy(result + n, text + begin, end - begin);
        n += end - begin - (flows && delsp);
        if (!flows)
            result[n++] = '\n';
        flowing = flows;
        depth_before = depth;
    }
    result[n] = '\0';
    *ret = result;
    return 0;
}

/* What is no text */

bool plain_is_file(const char *bytes, size_t size)
{
    static const char *const magics[] = {
        "%PDF-",
        "\x89PNG",
        "GIF89a",
        "GIF87a",
        "PK\x03\x04",
        "\x1f\x8b\x08",
        "BZh91AY",
        "\x7f"
        "ELF",
        "7z\xbc\xaf",
        "\xfd"
        "7zXZ",
        "Rar!\x1a",
        "\xff\xd8\xff",
        "\xd0\xcf\x11\xe0",
        "{\\rtf1",
    };

    for (size_t i = 0; i < ELEMENTSOF(magics); i++)
        if (size > strlen(magics[i]) && memcmp(bytes, magics[i], strlen(magics[i])) == 0)
            return true;
    return false;
}

bool plain_is_binary(const char *text, size_t size)
{
    size_t controls = 0, characters = 0;

    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];

        /* A NUL more or less is seen in logs. */
        characters += c != 0 && (c & 0xc0) != 0x80;
        controls += c != 0 && c < ' ' && !strchr("\a\b\t\n\v\f\r\x0e\x0f\x1a\x1b", c);
    }
    return controls >= 4 && controls * 24 > characters;
}

/* Stubs */

#define STUB_MAX ((size_t)400) /* bytes that say something */
#define SAYING_MAX ((size_t)1000)
#define SCANNED_MAX 16384

/* As many bytes of text as say something: no white space, not what is invisible, no addresses.
 * Counting ends at SAYING_MAX; what goes on for longer than is looked at says as much. */
static size_t saying_bytes(const char *text)
{
    static const char *const nothing[] = { "\xc2\xa0", "\xe2\x80\x8b", "\xe2\x80\x8c",
                                           "\xe2\x80\x8d", "\xef\xbb\xbf" };
    const char *begin = text;
    size_t n = 0;

    while (*text && n < SAYING_MAX) {
        size_t skip = strspn(text, " \t\n.-_=*");

        if (text - begin > SCANNED_MAX)
            return SAYING_MAX;
        for (size_t i = 0; skip == 0 && i < ELEMENTSOF(nothing); i++)
            if (strncmp(text, nothing[i], strlen(nothing[i])) == 0)
                skip = strlen(nothing[i]);
        if (skip == 0 && (strncmp(text, "http://", 7) == 0 || strncmp(text, "https://", 8) == 0))
            skip = strcspn(text, " \t\n");
        n += skip == 0;
        text += MAX(skip, (size_t)1);
    }
    return n;
}

static bool is_word_at(const char *text, size_t at, size_t length)
{
    static const char joins[] = "abcdefghijklmnopqrstuvwxyz0123456789./\\_=";

    return (at == 0 || !strchr(joins, text[at - 1])) &&
           (text[at + length] == '\0' || text[at + length] == '.' ||
            !strchr(joins, text[at + length]));
}

static bool names_a_reader(const char *lower)
{
    /* In small letters; parts of words, since many languages bend them. */
    static const char *const readers[] = {
        "browser",
        "mail client",
        "mail reader",
        "mail program",
        "mail software",
        "mail application",
        "messaging software",
        "mime-compatible",
        "mime compatible",
        "mime-capable",
        "mailprogramm",
        "mail-programm",
        "mail-client",
        "mailclient",
        "navigateur",
        "messagerie",
        "version en ligne",
        "navegador",
        "cliente de correo",
        "lector de correo",
        "cliente de e-mail",
        "client di posta",
        "programma di posta",
        "przeglądar",
        "prohlížeč",
        "prehliadač",
        "браузер",
        "почтов",
        "webbläsar",
        "nettleser",
        "selaim",
        "tarayıcı",
        "böngésző",
        "ブラウザ",
        "浏览器",
        "瀏覽器",
        "브라우저",
        "htmlメール",
    };
    const char *html = lower;

    while ((html = strstr(html, "html")) != NULL) {
        if (is_word_at(lower, (size_t)(html - lower), strlen("html")))
            return true;
        html += strlen("html");
    }
    for (size_t i = 0; i < ELEMENTSOF(readers); i++)
        if (strstr(lower, readers[i]))
            return true;
    return false;
}

bool plain_may_be_stub(const char *text)
{
    char lower[4 * STUB_MAX + 1];
    size_t saying = saying_bytes(text), n = MIN(strlen(text), sizeof(lower) - 1);

    if (saying < 2 || saying > STUB_MAX)
        return saying < 2;
    for (size_t i = 0; i < n; i++)
        lower[i] = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] - 'A' + 'a') : text[i];
    lower[n] = '\0';
    return names_a_reader(lower);
}

bool plain_is_stub(const char *text, const char *html)
{
    return plain_may_be_stub(text) && saying_bytes(html) >= 2 * saying_bytes(text) + 2;
}
