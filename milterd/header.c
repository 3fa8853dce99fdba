/* SPDX-License-Identifier: MIT */

/*
 * Header values. Decoding goes through the value once: plain text and encoded words are gathered
 * as bytes in a pending run for as long as the charset stays the same, and the run is converted
 * when it ends; so a character whose bytes are split between two words comes out whole.
 *
 * Each scan forward either consumes what it saw or remembers that there is nothing to find, so
 * all of it is linear in the size of the value.
 */

#include "milterd/header.h"

#include <strings.h>

#include "common/text.h"
#include "milterd/charset.h"

#define CHARSET_MAX 64
#define WORD_LOOK_MAX 512 /* bytes behind what may be the end of a word already */

static const char blanks[] = " \t\r\n";

typedef struct Decoder {
    char *result; /* converted so far */
    size_t result_size, result_allocated;
    char *run; /* bytes of one charset, not yet converted; as large as the value */
    size_t run_size;
    char charset[CHARSET_MAX + 1]; /* of the run; "" for text outside encoded words */
    const char *fallback;          /* for such text that is not UTF-8 */
    uint32_t bits;                 /* base64 left over in the run */
    unsigned n_bits;
} Decoder;

typedef struct Word {
    char charset[CHARSET_MAX + 1];
    bool base64;
    const char *text;
    size_t size;
    const char *end; /* behind the word */
} Word;

static int decoder_flush(Decoder *decoder)
{
    _cleanup_free_ char *text = NULL;
    size_t size;
    int r;

    if (decoder->run_size == 0)
        return 0;
    r = charset_decode(*decoder->charset || text_is_utf8(decoder->run, decoder->run_size)
                           ? decoder->charset
                           : decoder->fallback,
                       decoder->run, decoder->run_size, &text, &size);
    if (r < 0)
        return r;

    if (size > decoder->result_allocated - decoder->result_size) {
        size_t allocated = (decoder->result_size + size) * 2;
        char *result = realloc(decoder->result, allocated);

        if (!result)
            return -ENOMEM;
        decoder->result = result;
        decoder->result_allocated = allocated;
    }
    if (size > 0) /* a byte order mark alone is no text */
        memcpy(decoder->result + decoder->result_size, text, size);
    decoder->result_size += size;
    decoder->run_size = 0;
    return 0;
}

/* Begins a run of that charset, unless it is the one under way. */
static int decoder_switch(Decoder *decoder, const char *charset)
{
    int r;

    if (strcasecmp(charset, decoder->charset) == 0)
        return 0;
    r = decoder_flush(decoder);
    if (r < 0)
        return r;
    strcpy(decoder->charset, charset);
    decoder->n_bits = 0;
    return 0;
}

int header_base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+')
        return 62;
    return c == '/' ? 63 : -1;
}

static bool is_whole_base64(const char *text, size_t size)
{
    size_t n = 0;

    for (size_t i = 0; i < size; i++)
        n += text[i] == '=' || header_base64_value(text[i]) >= 0;
    return n % 4 == 0;
}

/* What is left over goes on into the next word, as some senders split one stream into words; but
 * for zeros before a word that is whole by itself: these lack their padding. */
static void decoder_base64(Decoder *decoder, const char *text, size_t size)
{
    if ((decoder->bits & ((1U << decoder->n_bits) - 1)) == 0 && is_whole_base64(text, size))
        decoder->n_bits = 0;
    for (size_t i = 0; i < size; i++) {
        int value = header_base64_value(text[i]);

        if (text[i] == '=')
            decoder->n_bits = 0;
        if (value < 0)
            continue;
        decoder->bits = decoder->bits << 6 | (uint32_t)value;
        decoder->n_bits += 6;
        if (decoder->n_bits >= 8) {
            decoder->n_bits -= 8;
            decoder->run[decoder->run_size++] = (char)(decoder->bits >> decoder->n_bits);
        }
    }
}

int header_hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void decoder_quoted(Decoder *decoder, const char *text, size_t size)
{
    decoder->n_bits = 0;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];

        if (c == '_') {
            c = ' ';
        } else if (c == '=' && i + 2 < size && header_hex_value(text[i + 1]) >= 0 &&
                   header_hex_value(text[i + 2]) >= 0) {
            c = (char)(header_hex_value(text[i + 1]) << 4 | header_hex_value(text[i + 2]));
            i += 2;
        } else if (c == '=' && i + 1 < size && strchr("\r\n", text[i + 1])) {
            while (i + 1 < size && strchr(blanks, text[i + 1])) /* folded as bodies are */
                i++;
            continue;
        }
        decoder->run[decoder->run_size++] = c;
    }
}

/* The "?=" that ends a word's text. In quoted text a bare question mark may stand before an encoded
 * byte ("what?=21?="), unless nothing else ends the word. A word that ends with the value has been
 * cut off; then it is one as long as it holds no blanks. NULL: this is no word. */
static const char *word_end(const Word *word)
{
    const char *end = NULL, *p;

    for (p = word->text; *p; p++) {
        if (end && p - end > WORD_LOOK_MAX)
            return end;
        if (p[0] == '?' && p[1] == '=') {
            if (word->base64 || header_hex_value(p[2]) < 0 || header_hex_value(p[3]) < 0)
                return p;
            if (!end)
                end = p;
        }
        if (p[0] == '=' && p[1] == '?' && p[2] != '=')
            return end;
    }
    if (end || p == word->text || word->text[strcspn(word->text, blanks)] != '\0')
        return end;
    return p[-1] == '?' ? p - 1 : p;
}

/* Reads "=?charset?B?text?=" at `at`. Blanks in the text are let pass; another "=?" before the
 * end means that this is no word. */
static bool word_read(const char *at, Word *ret)
{
    Word word = {};
    size_t length;
    const char *p;

    length = strcspn(at + 2, "? \t\r\n");
    p = at + 2 + length;
    if (length == 0 || length > CHARSET_MAX || p[0] != '?' || p[1] == '\0' || p[2] != '?' ||
        !strchr("BbQq", p[1]))
        return false;
    memcpy(word.charset, at + 2, length);
    word.charset[strcspn(word.charset, "*")] = '\0'; /* RFC 2231: a language may follow */
    word.base64 = p[1] == 'B' || p[1] == 'b';
    word.text = p + 3;

    p = word_end(&word);
    if (!p)
        return false;
    word.size = (size_t)(p - word.text);
    word.end = p + strnlen(p, 2);
    *ret = word;
    return true;
}

static int decoder_take(Decoder *decoder, const char *value)
{
    bool after_word = false; /* only blanks since the last encoded word */
    const char *p = value;
    Word word;
    int r;

    while (*p) {
        size_t n_blanks = strspn(p, blanks), length;

        if (p[n_blanks] == '=' && p[n_blanks + 1] == '?' && word_read(p + n_blanks, &word)) {
            if (!after_word && n_blanks > 0) {
                r = decoder_switch(decoder, "");
                if (r < 0)
                    return r;
                decoder->run[decoder->run_size++] = ' ';
            }
            r = decoder_switch(decoder, word.charset);
            if (r < 0)
                return r;
            if (word.base64)
                decoder_base64(decoder, word.text, word.size);
            else
                decoder_quoted(decoder, word.text, word.size);
            p = word.end;
            after_word = true;
            continue;
        }

        /* Up to what may be a word; at least one byte, for "=?" here was none. */
        r = decoder_switch(decoder, "");
        if (r < 0)
            return r;
        length = n_blanks;
        if (p[length])
            length++;
        while (p[length] && !strchr(blanks, p[length]) &&
               !(p[length] == '=' && p[length + 1] == '?'))
            length++;
        memcpy(decoder->run + decoder->run_size, p, length);
        decoder->run_size += length;
        p += length;
        after_word = false;
    }
    return decoder_flush(decoder);
}

/* Whether the value is its own decoded form, as most are: then there is nothing to do. */
static bool is_plain(const char *value)
{
    bool blank = true;

    for (const char *p = value; *p; p++) {
        if ((unsigned char)*p < ' ' || (unsigned char)*p > '~' || (p[0] == '=' && p[1] == '?') ||
            (*p == ' ' && blank))
            return false;
        blank = *p == ' ';
    }
    return !blank || *value == '\0';
}

char *header_decode_dup(const char *value)
{
    return header_decode_as_dup(value, "");
}

char *header_decode_as_dup(const char *value, const char *charset)
{
    Decoder decoder = { .fallback = charset };
    char *text = NULL;

    if (is_plain(value))
        return strdup(value);

    decoder.run = malloc(strlen(value) + 1);
    if (decoder.run && decoder_take(&decoder, value) == 0)
        text = text_clean_line_dup(decoder.result ? decoder.result : "", decoder.result_size);
    free(decoder.run);
    free(decoder.result);
    return text;
}

void header_charset(const char *type, char ret[static HEADER_CHARSET_MAX + 1])
{
    const char *p = type ? strcasestr(type, "charset") : NULL;
    size_t length;

    *ret = '\0';
    if (!p)
        return;
    p += strlen("charset");
    p += strspn(p, blanks);
    if (*p != '=')
        return;
    p += 1 + strspn(p + 1, " \t\r\n\"'");
    length = strcspn(p, " \t\r\n\"';");
    if (length > HEADER_CHARSET_MAX)
        return;
    memcpy(ret, p, length);
    ret[length] = '\0';
}

/* The length of the quoted string, comment or domain literal at `p`; 0: it never ends. */
static size_t enclosed(const char *p)
{
    char open = *p, close = open == '(' ? ')' : open == '[' ? ']' : '"';
    size_t depth = 1;

    for (size_t i = 1; p[i]; i++) {
        if (p[i] == '\\' && p[i + 1])
            i++;
        else if (p[i] == close && --depth == 0)
            return i + 1;
        else if (open == '(' && p[i] == '(')
            depth++;
    }
    return 0;
}

/* The address between angle brackets, without a source route ("@a,@b:"), or a bare one. */
static char *address_dup(const char *text, size_t length)
{
    char *address = malloc(length + 1);
    bool quoted = false;
    size_t n = 0;

    if (!address)
        return NULL;
    if (length > 0 && text[0] == '@') {
        const char *colon = memchr(text, ':', length);

        if (colon) {
            length -= (size_t)(colon + 1 - text);
            text = colon + 1;
        }
    }
    for (size_t i = 0; i < length; i++) {
        quoted ^= text[i] == '"';
        if (quoted || !strchr(blanks, text[i]))
            address[n++] = text[i];
    }
    address[n] = '\0';
    return address;
}

int header_next_address(const char *value, size_t *offset, char **ret)
{
    bool enclosures = true; /* until one does not end: then their characters mean nothing */
    const char *p = value + *offset, *best = NULL;
    size_t best_length = 0, n_words = 0;
    bool angle = false, best_at = false;
    char *address;

    for (;;) {
        const char *token = p;
        size_t length;
        bool at = false;

        if (*p == ',' || *p == ';' || *p == '\0') {
            if (*p)
                p++;
            if (n_words > 1 && !best_at && !angle)
                best_length = 0; /* a name alone */
            if (best_length > 0 || *token == '\0')
                break;
            n_words = 0;
            angle = false;
            continue;
        }
        if (*p == ':') { /* what stood before it was the name of a group */
            if (!angle)
                best_length = n_words = 0;
            p++;
            continue;
        }
        if (strchr(blanks, *p)) {
            p++;
            continue;
        }
        if (*p == '(' && enclosures && (length = enclosed(p)) > 0) {
            p += length;
            continue;
        }
        if (*p == '<') {
            length = strcspn(p + 1, ">");
            if (!angle) {
                best = p + 1;
                best_length = length;
                angle = true;
            }
            p += 1 + length;
            if (*p)
                p++;
            continue;
        }

        do {
            length = 1;
            if (strchr("\"[(", *p) && enclosures) {
                length = enclosed(p);
                enclosures = length > 0;
                length = MAX(length, 1U);
            }
            at = at || *p == '@';
            p += length;
        } while (*p && !strchr(" \t\r\n,;:<(", *p));
        /* Of several words the one with an @ is the address; a quoted one alone is a name. */
        n_words++;
        if (!angle && (at || (best_length == 0 && *token != '"'))) {
            best = token;
            best_length = (size_t)(p - token);
            best_at = at;
        }
    }

    *offset = (size_t)(p - value);
    if (best_length == 0)
        return 0;
    address = address_dup(best, best_length);
    if (!address)
        return -ENOMEM;
    *ret = address;
    return 1;
}
