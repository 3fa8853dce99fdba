/* SPDX-License-Identifier: MIT */

/*
 * The rules of sections 5.1 (blocks) and 5.2 (spans). White space is what Unicode calls so; a
 * text that is clean (text.h) and in one line has still the wide, narrow and unbreakable blanks.
 */

#include "common/styling.h"

#define JOINER "\xE2\x81\xA0" /* U+2060 WORD JOINER */

static const char *const blanks[] = {
    " ",
    "\t",
    "\xC2\xA0",     /* U+00A0 */
    "\xE1\x9A\x80", /* U+1680 */
    "\xE2\x80\x80", /* U+2000 to U+200A */
    "\xE2\x80\x81",
    "\xE2\x80\x82",
    "\xE2\x80\x83",
    "\xE2\x80\x84",
    "\xE2\x80\x85",
    "\xE2\x80\x86",
    "\xE2\x80\x87",
    "\xE2\x80\x88",
    "\xE2\x80\x89",
    "\xE2\x80\x8A",
    "\xE2\x80\xAF", /* U+202F */
    "\xE2\x81\x9F", /* U+205F */
    "\xE3\x80\x80", /* U+3000 */
};

/* The bytes of the blank that `text` begins with, or 0. */
static size_t leading_blank(const char *text)
{
    for (size_t i = 0; i < ELEMENTSOF(blanks); i++)
        if (strncmp(text, blanks[i], strlen(blanks[i])) == 0)
            return strlen(blanks[i]);
    return 0;
}

static bool ends_with_blank(const char *text)
{
    size_t size = strlen(text);

    for (size_t i = 0; i < ELEMENTSOF(blanks); i++) {
        size_t n = strlen(blanks[i]);

        if (n <= size && streq(text + size - n, blanks[i]))
            return true;
    }
    return false;
}

static bool is_letter_or_digit(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

bool styling_begins_block(const char *line)
{
    size_t n;

    while ((n = leading_blank(line)) > 0)
        line += n;
    return line[0] == '>' || strncmp(line, STYLING_FENCE, strlen(STYLING_FENCE)) == 0;
}

/* A span begins at the start of the line, behind white space or behind another directive; some
 * clients let it begin behind any punctuation. */
static bool may_open(const char *line, const char *at)
{
    return (at == line || !is_letter_or_digit(at[-1])) && leading_blank(at + 1) == 0;
}

/* A span holds something, and no white space before its end. */
static bool is_closed(const char *opened)
{
    const char *at = opened[1] ? strchr(opened + 2, *opened) : NULL;

    while (at && (at[-1] == ' ' || at[-1] == '\t'))
        at = strchr(at + 1, *opened);
    return at;
}

bool styling_has_effect(const char *line)
{
    if (styling_begins_block(line))
        return true;
    for (const char *directive = "*_~`"; *directive; directive++) {
        const char *at = strchr(line, *directive);

        while (at && !may_open(line, at))
            at = strchr(at + 1, *directive);
        /* What the first finds no end for, a later one won't. */
        if (at && is_closed(at))
            return true;
    }
    return false;
}

bool styling_can_be_strong(const char *line)
{
    return line[0] != '\0' && !strchr(line, '*') && leading_blank(line) == 0 &&
           !ends_with_blank(line);
}

char *styling_guard_dup(const char *text)
{
    size_t size = strlen(text), n = 0, run = 0;
    char *guarded = malloc(size + size / 2 * strlen(JOINER) + 1);

    if (!guarded)
        return NULL;
    for (const char *c = text; *c; c++) {
        run = *c == '`' ? run + 1 : 0;
        if (run == 3) {
            memcpy(guarded + n, JOINER, strlen(JOINER));
            n += strlen(JOINER);
            run = 1;
        }
        guarded[n++] = *c;
    }
    guarded[n] = '\0';
    return guarded;
}
