/* SPDX-License-Identifier: MIT */

/*
 * An alert may be cut twice: by the bounds of the rule that made it, and by those of a message in
 * a room. The second cut takes the note of the first away, and so has to know what it said.
 */

#include "common/cut.h"

#include <stdio.h>

#define MARK "… "
#define MORE_THAN "more than "
#define AND_MORE "and more"
#define COUNT_DIGITS_MAX 9

typedef struct Note {
    size_t lines;
    bool more; /* more than these */
} Note;

static bool skip(const char **at, const char *prefix)
{
    size_t size = strlen(prefix);

    if (strncmp(*at, prefix, size) != 0)
        return false;
    *at += size;
    return true;
}

static bool read_note(const char *line, Note *ret)
{
    size_t n_digits;
    Note note = {};

    if (!skip(&line, MARK))
        return false;
    if (streq(line, AND_MORE)) {
        *ret = (Note){ .more = true };
        return true;
    }
    note.more = skip(&line, MORE_THAN);
    n_digits = strspn(line, "0123456789");
    if (n_digits == 0 || n_digits > COUNT_DIGITS_MAX)
        return false;
    note.lines = (size_t)strtoul(line, NULL, 10);
    line += n_digits;
    if (!streq(line, note.lines == 1 ? " more line" : " more lines"))
        return false;
    *ret = note;
    return true;
}

static void write_note(const Note *note, char line[static CUT_NOTE_MAX])
{
    if (note->lines > 0)
        snprintf(line, CUT_NOTE_MAX, "\n" MARK "%s%zu more line%s", note->more ? MORE_THAN : "",
                 note->lines, note->lines == 1 ? "" : "s");
    else
        snprintf(line, CUT_NOTE_MAX, "%s", note->more ? "\n" MARK AND_MORE : "");
}

/* Where the text is cut, and whether that is in the middle of a line. */
static size_t find_cut(const char *text, size_t fit, bool *ret_inside)
{
    size_t at_line = fit, shown = fit;

    *ret_inside = false;
    if (text[fit] != '\0' && text[fit] != '\n') {
        while (at_line > 0 && text[at_line] != '\n')
            at_line--;
        *ret_inside = at_line <= fit / 2;
        if (!*ret_inside)
            shown = at_line;
    }
    while (shown > 0 && strchr(" \t\n", text[shown - 1]))
        shown--;
    return shown;
}

int cut_text(const char *text, size_t fit, bool more, char **ret)
{
    const char *last_line = strrchr(text, '\n');
    char line[CUT_NOTE_MAX], *cut;
    Note note = {}, earlier;
    bool inside;
    size_t shown = find_cut(text, fit, &inside);

    for (const char *c = text + shown; *c; c++)
        note.lines += *c == '\n';
    note.more = more;
    if (last_line && last_line >= text + shown && read_note(last_line + 1, &earlier)) {
        note.lines = note.lines - 1 + earlier.lines;
        note.more = note.more || earlier.more;
    }
    write_note(&note, line);
    if (asprintf(&cut, "%.*s%s%s", (int)shown, text, inside ? " …" : "", line) < 0)
        return -ENOMEM;
    *ret = cut;
    return 0;
}
