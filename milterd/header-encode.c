/* SPDX-License-Identifier: MIT */

/*
 * First the text is made fit: one line but for its folds, valid UTF-8. Then it goes out word by
 * word; a run of words that are not ASCII is encoded as one text, since the blanks between
 * encoded words do not count.
 */

#include "milterd/header-encode.h"

#include "common/text.h"
#include "milterd/buffer.h"

#define LINE_MAX_BYTES 76
#define ENCODED_BYTES 45 /* of text in an encoded word, which has at most 75 characters */

typedef struct Writer {
    Buffer buffer;
    size_t column;
} Writer;

static void put(Writer *writer, const char *bytes, size_t size)
{
    buffer_add(&writer->buffer, bytes, size);
    writer->column += size;
}

/* White space before `size` bytes that belong together. */
static void put_gap(Writer *writer, size_t size)
{
    if (writer->column + 1 + size > LINE_MAX_BYTES && writer->buffer.size > 0) {
        buffer_add(&writer->buffer, "\n", 1);
        writer->column = 0;
    }
    put(writer, " ", 1);
}

static void put_base64(Writer *writer, const char *text, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < size; i += 3) {
        unsigned bytes = (unsigned)(uint8_t)text[i] << 16;
        char four[4];

        if (i + 1 < size)
            bytes |= (unsigned)(uint8_t)text[i + 1] << 8;
        if (i + 2 < size)
            bytes |= (uint8_t)text[i + 2];
        four[0] = digits[bytes >> 18];
        four[1] = digits[bytes >> 12 & 63];
        four[2] = i + 1 < size ? digits[bytes >> 6 & 63] : '=';
        four[3] = i + 2 < size ? digits[bytes & 63] : '=';
        put(writer, four, sizeof(four));
    }
}

/* In as many encoded words as it takes, none of which cuts a character in two. */
static void put_encoded(Writer *writer, const char *text, size_t size)
{
    while (size > 0) {
        size_t n = MIN(size, (size_t)ENCODED_BYTES);

        while (n < size && n > 0 && ((uint8_t)text[n] & 0xC0) == 0x80)
            n--;
        put_gap(writer, 12 + (n + 2) / 3 * 4);
        put(writer, "=?UTF-8?B?", 10);
        put_base64(writer, text, n);
        put(writer, "?=", 2);
        text += n;
        size -= n;
    }
}

static bool is_ascii(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if ((uint8_t)text[i] >= 0x80)
            return false;
    return true;
}

/* The end of the run of words at `text` that are not ASCII; single blanks part them. */
static size_t foreign_run(const char *text)
{
    size_t end = 0;

    for (size_t at = 0; text[at]; at++) {
        size_t size = strcspn(text + at, " \t\n");

        if (size == 0 || is_ascii(text + at, size))
            break;
        at += size;
        end = at;
        if (text[at] != ' ')
            break;
    }
    return end;
}

static void put_words(Writer *writer, const char *text)
{
    while (*text) {
        size_t gap = strspn(text, " \t\n"), size = strcspn(text + gap, " \t\n"),
               run = foreign_run(text + gap);

        if (size == 0)
            return;
        if (run > 0) {
            put_encoded(writer, text + gap, run);
            text += gap + run;
            continue;
        }
        /* What was folded or indented by more than a blank is left as it is. */
        if (gap == 1 && *text == ' ') {
            put_gap(writer, size);
        } else {
            put(writer, text, gap);
            if (memchr(text, '\n', gap))
                writer->column = 1;
        }
        put(writer, text + gap, size);
        text += gap + size;
    }
}

/* Line ends that are no folds become blanks, and so do folds with nothing behind them: a line of
 * white space would end the headers for some. */
static void unfold_false(char *text)
{
    for (char *c = text; *c; c++)
        if (*c == '\n' && ((c[1] != ' ' && c[1] != '\t') || c[1 + strspn(c + 1, " \t\n")] == '\0' ||
                           c[1 + strspn(c + 1, " \t")] == '\n'))
            *c = ' ';
}

/* Half an encoded word would be none, and white space at the end a line of its own. */
static void end_behind_word(Buffer *buffer)
{
    size_t size = buffer->size;

    while (size > 0 && !strchr(" \t\n", buffer->data[size - 1]))
        size--;
    while (size > 0 && strchr(" \t\n", buffer->data[size - 1]))
        size--;
    buffer_cut(buffer, size);
}

char *header_encode_dup(const char *value, size_t size, size_t name_size, size_t max_bytes)
{
    _cleanup_free_ char *text = text_clean_dup(value, MIN(size, max_bytes));
    /* The first word stands behind the colon and a blank that the MTA writes. */
    Writer writer = { .buffer = { .max = 3 * max_bytes }, .column = name_size + 1 };
    char *start = text;

    if (!text)
        return NULL;
    unfold_false(text);
    start += strspn(start, " \t\n");
    put_words(&writer, start);
    if (writer.buffer.failed) {
        buffer_done(&writer.buffer);
        return NULL;
    }
    if (!writer.buffer.data)
        return strdup("");
    if (writer.buffer.full)
        end_behind_word(&writer.buffer);
    start = writer.buffer.data + (*writer.buffer.data == ' ');
    memmove(writer.buffer.data, start, strlen(start) + 1);
    return writer.buffer.data;
}
