/* SPDX-License-Identifier: MIT */

/*
 * A frame has 65,536 bytes. Its text may take ESCAPED_MAX_BYTES of them and the fields of profiles
 * and rules FIELDS_MAX_BYTES, with every character escaped that JSON escapes; title, key, the
 * fields that each alert has, 32 destinations and 16 facts share the 9 KB that remain, and need no
 * more.
 */

#include "milterd/alert-limits.h"

#include <ctype.h>
#include <stdio.h>

#include "common/compose.h"
#include "common/cut.h"
#include "common/text.h"
#include "milterd/mime-part.h"

#define TITLE_MAX_BYTES 512
#define FIELD_MAX_BYTES 256
#define FIELDS_MAX_BYTES 5000
#define ESCAPED_MAX_BYTES 50500
#define KEY_DIGITS 16 /* of the digest of a key */
#define END_BYTES 80  /* of a text, by which its end is known */

static size_t escaped_size(const char *text, size_t size)
{
    size_t escaped = size;

    for (size_t i = 0; i < size; i++)
        escaped += strchr("\"\\\n\t", text[i]) != NULL;
    return escaped;
}

/* Title, key, fields */

/* Sets a member to as much of clean text in one line as may be. */
static int set_short(char **member, const char *text, size_t max_bytes)
{
    size_t size = strlen(text), keep = text_cut(text, size, max_bytes);
    _cleanup_free_ char *value = NULL;

    if (asprintf(&value, "%.*s%s", (int)keep, text, keep < size ? "…" : "") < 0) {
        value = NULL;
        return -ENOMEM;
    }
    return record_set(member, value);
}

int limits_add_field(Record *record, const char *name, const char *value)
{
    _cleanup_free_ char *clean = NULL, *shortened = NULL;
    int r;

    if (!value)
        return 0;
    clean = text_clean_line_dup(value, strlen(value));
    if (!clean)
        return -ENOMEM;
    if (!*clean)
        return 0;
    r = set_short(&shortened, clean, FIELD_MAX_BYTES);
    if (r < 0)
        return r;
    return record_add_field(record, name, shortened);
}

static int limit_key(Record *record)
{
    char digits[DIGEST_TEXT_MAX + 1];
    size_t size = strlen(record->key);
    char *key = NULL;
    Digest *digest;

    if (size <= RECORD_KEY_MAX)
        return 0;
    digest = digest_new();
    if (!digest)
        return -ENOMEM;
    digest_add(digest, record->key, size);
    digest_end(digest, digits);
    if (asprintf(&key, "%.*s~%.*s",
                 (int)text_cut(record->key, size, RECORD_KEY_MAX - KEY_DIGITS - 1), record->key,
                 KEY_DIGITS, digits) < 0)
        return -ENOMEM;
    free(record->key);
    record->key = key;
    return 0;
}

/* The first ones stay where they are too many. */
static int limit_fields(Record *record)
{
    size_t n = 0, bytes = 0;

    for (size_t i = 0; i < record->n_fields; i++) {
        RecordField field = record->fields[i];
        int r = strlen(field.value) > FIELD_MAX_BYTES
                    ? set_short(&field.value, field.value, FIELD_MAX_BYTES)
                    : 0;
        size_t size = strlen(field.name) + escaped_size(field.value, strlen(field.value)) + 6;

        record->fields[i] = field;
        if (r < 0)
            return r;
        bytes += size;
        if (bytes <= FIELDS_MAX_BYTES) {
            record->fields[i] = record->fields[n];
            record->fields[n++] = field;
        } else {
            bytes -= size;
        }
    }
    while (record->n_fields > n) {
        free(record->fields[--record->n_fields].name);
        free(record->fields[record->n_fields].value);
    }
    return 0;
}

/* Letters beyond ASCII, too: any of their bytes will do. */
static bool is_letter(char c)
{
    return isalnum((unsigned char)c) || (unsigned char)c >= 0x80;
}

/* As words of their own. */
static bool says(const char *title, const char *value)
{
    size_t size = strlen(value);

    for (const char *at = title; (at = strstr(at, value)); at++)
        if ((at == title || !is_letter(at[-1])) && !is_letter(at[size]))
            return true;
    return false;
}

static void limit_facts(Record *record)
{
    size_t n = 0;

    for (size_t i = 0; i < record->n_facts; i++) {
        const char *value = record_field(record, record->facts[i]);

        if (value && !(record->title && says(record->title, value)))
            record->facts[n++] = record->facts[i];
        else
            free(record->facts[i]);
    }
    record->n_facts = n;
}

/* The text */

/* The bytes of the first `lines` lines. */
static size_t lines_size(const char *text, size_t size, size_t lines)
{
    for (size_t i = 0; i < size; i++)
        if (text[i] == '\n' && --lines == 0)
            return i;
    return size;
}

/* How much of a text fits into `max` bytes, and into the frame when it is escaped. */
static size_t fitting_size(const char *text, size_t size, size_t max)
{
    size_t escaped = 0, n = 0;

    for (; n < MIN(size, max); n++) {
        escaped += strchr("\"\\\n\t", text[n]) ? 2 : 1;
        if (escaped > ESCAPED_MAX_BYTES)
            break;
    }
    return n < size ? text_cut(text, size, n) : size;
}

static size_t trimmed_size(const char *text)
{
    size_t size = strlen(text);

    while (size > 0 && strchr(" \t\n", text[size - 1]))
        size--;
    return size;
}

bool limits_show_end(const char *text, const char *of)
{
    size_t size = text ? trimmed_size(text) : 0, of_size = trimmed_size(of),
           end = MIN(MIN(size, of_size), (size_t)END_BYTES);

    if (!text || of_size == 0 || size == 0)
        return text && size == of_size;
    return memmem(text, size, of + of_size - end, end) != NULL;
}

/* Shortens clean text to the rule's bounds. `more` tells that the text itself is not all. */
static int limit_text(const char *text, const Rule *rule, bool more, char **ret)
{
    size_t size = strlen(text), keep = lines_size(text, size, (size_t)rule->max_lines);

    if (keep == size && !more && fitting_size(text, size, rule->max_bytes) == size)
        return record_set(ret, text);
    return cut_text(text, fitting_size(text, keep, rule->max_bytes - CUT_NOTE_MAX), more, ret);
}

/* Without blank lines at either end, in place; the first line keeps its indentation. */
static const char *trim(char *text)
{
    size_t first = strspn(text, " \t\n");

    text[trimmed_size(text)] = '\0';
    while (first > 0 && text[first - 1] != '\n')
        first--;
    return text + first;
}

static int limit_text_of(Record *record, const Rule *rule, bool more)
{
    _cleanup_free_ char *text = steal_ptr(record->text);

    if (text && text[strspn(text, " \t\n")] != '\0')
        return limit_text(trim(text), rule, more, &record->text);
    if (more)
        return record_set(&record->text, "(no text that can be read)");
    return record_set(&record->text, COMPOSE_NO_TEXT);
}

int limits_apply(Record *record, const Rule *rule, bool more)
{
    int r = 0;

    if (record->title && !*record->title)
        record_set(&record->title, NULL);
    if (record->title && strlen(record->title) > TITLE_MAX_BYTES)
        r = set_short(&record->title, record->title, TITLE_MAX_BYTES);
    if (r == 0 && record->key)
        r = limit_key(record);
    if (r == 0)
        r = limit_fields(record);
    limit_facts(record);
    if (r == 0)
        r = limit_text_of(record, rule, more);
    return r;
}
