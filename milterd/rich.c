/* SPDX-License-Identifier: MIT */

#include "milterd/rich.h"

#include <stdio.h>
#include <strings.h>

/* Enriched text */

#define COMMAND_MAX 60 /* RFC 1896 */

typedef struct Command {
    const char *name;
    size_t size;
    bool ends;
    size_t length; /* with its brackets */
} Command;

static bool command_at(const char *text, Command *ret)
{
    size_t ends = text[1] == '/', n = 1 + ends, size = 0;

    while (size <= COMMAND_MAX &&
           ((text[n + size] >= 'a' && text[n + size] <= 'z') ||
            (text[n + size] >= 'A' && text[n + size] <= 'Z') ||
            (text[n + size] >= '0' && text[n + size] <= '9') || text[n + size] == '-'))
        size++;
    if (size == 0 || size > COMMAND_MAX || text[n + size] != '>')
        return false;
    *ret = (Command){ text + n, size, ends > 0, n + size + 1 };
    return true;
}

static bool command_is(const Command *command, const char *name)
{
    return command->size == strlen(name) && strncasecmp(command->name, name, command->size) == 0;
}

void rich_from_enriched(const char *text, bool richtext, Buffer *out)
{
    unsigned unfilled = 0, params = 0;
    Command command;

    while (*text) {
        size_t n = strcspn(text, "<\n");

        if (params == 0)
            buffer_add(out, text, n);
        text += n;
        if (*text == '\n') {
            n = strspn(text, "\n");
            if (params == 0 && unfilled > 0)
                buffer_add(out, text, n);
            else if (params == 0 && (n == 1 || richtext))
                buffer_add(out, " ", 1);
            else if (params == 0)
                buffer_add(out, text, n - 1);
            text += n;
        } else if (text[0] == '<' && text[1] == '<' && !richtext) {
            if (params == 0)
                buffer_add(out, "<", 1);
            text += 2;
        } else if (*text == '<' && command_at(text, &command)) {
            if (command_is(&command, "param") || (richtext && command_is(&command, "comment")))
                params = command.ends ? params - (params > 0) : params + 1;
            else if (command_is(&command, "nofill"))
                unfilled = command.ends ? unfilled - (unfilled > 0) : unfilled + 1;
            else if (richtext && (command_is(&command, "nl") || command_is(&command, "np") ||
                                  (command.ends && command_is(&command, "paragraph"))))
                buffer_add(out, "\n", 1);
            else if (richtext && command_is(&command, "lt"))
                buffer_add(out, "<", 1);
            text += command.length;
        } else if (*text == '<') {
            buffer_add(out, text++, 1);
        }
    }
}

/* Calendars */

/* The next line, unfolded (RFC 5545, 3.1), into `line`; false at the end. */
static bool next_line(const char **text, Buffer *line)
{
    const char *p = *text;

    buffer_cut(line, 0);
    if (*p == '\0')
        return false;
    for (;;) {
        size_t n = strcspn(p, "\n");

        buffer_add(line, p, n);
        p += n + (p[n] == '\n');
        if (*p != ' ' && *p != '\t')
            break;
        p++;
    }
    *text = p;
    return true;
}

static void add_value(Buffer *out, const char *value)
{
    for (const char *p = value; *p; p++) {
        if (*p == '\\' && p[1] != '\0') {
            p++;
            buffer_add(out, *p == 'n' || *p == 'N' ? "\n" : p, 1);
        } else {
            buffer_add(out, p, 1);
        }
    }
}

/* 20261121T061243Z and 20261121, as people write them; others as they are. */
static void add_time(Buffer *out, const char *value, const char *zone, size_t zone_size)
{
    unsigned year, month, day, hour, minute;
    char shown[64], utc = '\0';
    int n = 0;

    if (strspn(value, "0123456789") != 8 ||
        sscanf(value, "%4u%2u%2u%n", &year, &month, &day, &n) != 3) {
        add_value(out, value);
        return;
    }
    if (sscanf(value + n, "T%2u%2u%*2u%c", &hour, &minute, &utc) >= 2)
        snprintf(shown, sizeof(shown), "%04u-%02u-%02u %02u:%02u%s", year, month, day, hour, minute,
                 utc == 'Z' ? " UTC" : "");
    else
        snprintf(shown, sizeof(shown), "%04u-%02u-%02u", year, month, day);
    buffer_add_string(out, shown);
    if (zone_size > 0) {
        buffer_add(out, " ", 1);
        buffer_add(out, zone, zone_size);
    }
}

static void add_property(Buffer *out, const char *line)
{
    static const struct {
        const char *name, *label;
        bool is_time;
    } known[] = {
        { "SUMMARY", "", false },         { "DTSTART", "Start: ", true },
        { "DTEND", "End: ", true },       { "DUE", "Due: ", true },
        { "LOCATION", "Place: ", false }, { "ORGANIZER", "By: ", false },
        { "STATUS", "Status: ", false },  { "DESCRIPTION", "", false },
    };
    size_t name = strcspn(line, ";:"), at = name;
    bool quoted = false;
    const char *zone;
    size_t zone_size;

    while (line[at] && (quoted || line[at] != ':')) /* parameters may hold colons in quotes */
        quoted ^= line[at++] == '"';
    if (line[at] == '\0' || line[at + 1] == '\0')
        return;
    zone = strstr(line, ";TZID=");
    zone = zone && zone < line + at ? zone + strlen(";TZID=") : "";
    zone_size = strcspn(zone, ";:");

    for (size_t i = 0; i < ELEMENTSOF(known); i++) {
        if (strlen(known[i].name) != name || strncasecmp(line, known[i].name, name) != 0)
            continue;
        buffer_add_string(out, known[i].label);
        if (known[i].is_time)
            add_time(out, line + at + 1, zone, zone_size);
        else
            add_value(out,
                      line + at + 1 +
                          (strncasecmp(line + at + 1, "mailto:", 7) == 0 ? strlen("mailto:") : 0));
        buffer_add(out, "\n", 1);
    }
}

static bool is_entry(const char *name)
{
    return strncasecmp(name, "VEVENT", 6) == 0 || strncasecmp(name, "VTODO", 5) == 0 ||
           strncasecmp(name, "VJOURNAL", 8) == 0;
}

void rich_from_calendar(const char *text, Buffer *out)
{
    _cleanup_(buffer_done) Buffer line = { .max = 16384 };
    bool in_entry = false;
    unsigned inside = 0; /* of what an entry holds, as alarms */

    while (next_line(&text, &line) && !out->full) {
        const char *p = line.data ? line.data : "";

        if (strncasecmp(p, "BEGIN:", 6) == 0) {
            inside += in_entry;
            if (!in_entry && is_entry(p + 6)) {
                in_entry = true;
                if (out->size > 0)
                    buffer_add(out, "\n", 1);
            }
        } else if (strncasecmp(p, "END:", 4) == 0) {
            in_entry = in_entry && inside > 0;
            inside -= inside > 0;
        } else if (in_entry && inside == 0) {
            add_property(out, p);
        }
    }
    out->failed = out->failed || line.failed;
}
