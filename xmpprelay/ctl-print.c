/* SPDX-License-Identifier: MIT */

/*
 * All strings are made clean before they are shown: titles come from mails, and a terminal obeys.
 */

#include "xmpprelay/ctl-print.h"

#include "common/text.h"
#include "common/units.h"

static const char *get(const Json *object, const char *key)
{
    return json_as_string(json_get(object, key), "");
}

static long long count(const Json *object, const char *key)
{
    return (long long)json_as_integer(json_get(object, key), 0);
}

static char *clean(const char *text)
{
    return text_clean_line_dup(text, strlen(text));
}

static const char *age(double now, double then, char buffer[static UNITS_TEXT_MAX])
{
    double seconds = now > then ? now - then : 0;

    if (then <= 0) {
        snprintf(buffer, UNITS_TEXT_MAX, "-");
        return buffer;
    }
    return duration_human((usec_t)(seconds * (double)USEC_PER_SEC), buffer);
}

static const char *age_of(const Json *object, const char *key, double now,
                          char buffer[static UNITS_TEXT_MAX])
{
    return age(now, json_as_number(json_get(object, key), 0), buffer);
}

/* On a line of its own, below what it is about. */
static void print_below(FILE *stream, const Json *object, const char *key)
{
    _cleanup_free_ char *text = clean(get(object, key));

    if (text && *text)
        fprintf(stream, "    %s\n", text);
}

static void print_account(FILE *stream, const Json *account, double now)
{
    char buffer[UNITS_TEXT_MAX];
    double retry = json_as_number(json_get(account, "retry"), 0);
    long long reconnects = count(account, "reconnects");

    fprintf(stream, "account %s (%s): %s for %s", get(account, "name"), get(account, "jid"),
            get(account, "state"), age_of(account, "since", now, buffer));
    if (retry > 0)
        fprintf(stream, ", next try in %s", age(retry, now, buffer));
    if (reconnects > 0)
        fprintf(stream, ", %lld reconnect%s", reconnects, reconnects == 1 ? "" : "s");
    fputc('\n', stream);
    print_below(stream, account, "reason");
}

static void print_destination(FILE *stream, const Json *destination, double now)
{
    const char *room = get(destination, "room"), *state = get(destination, "state");
    char buffer[UNITS_TEXT_MAX];
    bool ready = streq(state, "ready");
    const char *address = *room ? room : get(destination, "contact");

    fprintf(stream, "  %s (%s): ", get(destination, "name"), address);
    if (ready && *room)
        fprintf(stream, "in the room as %s", get(destination, "nick"));
    else if (streq(state, "out") && *room)
        fputs("not in the room", stream);
    else
        fputs(streq(state, "out") ? "not connected" : state, stream);
    if (json_as_number(json_get(destination, "since"), 0) > 0)
        fprintf(stream, " for %s", age_of(destination, "since", now, buffer));
    fprintf(stream, ", %lld waiting", count(destination, "waiting"));
    fputc('\n', stream);
    if (json_as_bool(json_get(destination, "paused"), false))
        fprintf(stream, "    paused; to go on: xmpprelayctl resume %s\n", get(destination, "name"));
    print_below(stream, destination, "reason");
}

static void print_numbers(FILE *stream, const Json *answer, double now)
{
    char buffer[UNITS_TEXT_MAX];
    long long failed = count(answer, "failed"), waiting = count(answer, "waiting");

    fprintf(stream, "xmpprelay %s, process %lld, up %s\n", get(answer, "version"),
            count(answer, "pid"), age_of(answer, "since", now, buffer));
    fprintf(stream, "%lld waiting, %lld of them in flight, %lld failed\n%lld delivered since start",
            waiting, count(answer, "in_flight"), failed, count(answer, "delivered"));
    if (count(answer, "busy") > 0)
        fprintf(stream, ", %lld times busy", count(answer, "busy"));
    if (count(answer, "refused") > 0)
        fprintf(stream, ", %lld refused", count(answer, "refused"));
    fputc('\n', stream);
    if (waiting > 0)
        fprintf(stream, "the oldest has waited %s, for %s\n", age_of(answer, "oldest", now, buffer),
                get(answer, "oldest_destination"));
    if (*get(answer, "busy_because"))
        fprintf(stream, "senders are told busy: %s\n", get(answer, "busy_because"));
    if (failed > 0)
        fputs("see what failed: xmpprelayctl queue; then: xmpprelayctl retry all\n", stream);
}

void print_status(FILE *stream, const Json *answer)
{
    double now = json_as_number(json_get(answer, "now"), 0);
    const Json *accounts = json_get(answer, "accounts");
    const Json *destinations = json_get(answer, "destinations");
    const Json *unknown = json_get(answer, "unknown_destinations");

    print_numbers(stream, answer, now);
    for (size_t i = 0; i < json_length(accounts); i++) {
        const Json *account = json_at(accounts, i);

        print_account(stream, account, now);
        for (size_t k = 0; k < json_length(destinations); k++)
            if (streq(get(json_at(destinations, k), "account"), get(account, "name")))
                print_destination(stream, json_at(destinations, k), now);
    }
    for (size_t i = 0; i < json_length(unknown); i++)
        fprintf(stream,
                "%lld waiting for %s, which is no longer configured\n"
                "    configure it again, or drop them\n",
                count(json_at(unknown, i), "waiting"), get(json_at(unknown, i), "name"));
}

/* How wide a column of names is, which are ASCII. */
static int width_of(const Json *entries, const char *key, const char *heading)
{
    size_t width = strlen(heading);

    for (size_t i = 0; i < json_length(entries); i++)
        width = MAX(width, strlen(get(json_at(entries, i), key)));
    return (int)width;
}

/* What has no bound that a terminal would hold stands below: the title, the reason. */
void print_entries(FILE *stream, const Json *entries, size_t n, double now, bool first)
{
    int id_width = width_of(entries, "id", "ID");
    int destination_width = width_of(entries, "destination", "DESTINATION");
    char buffer[UNITS_TEXT_MAX];

    if (first && n > 0)
        fprintf(stream, "%-*s  %-*s  %-9s %11s %5s\n", id_width, "ID", destination_width,
                "DESTINATION", "STATE", "AGE", "TRIES");
    for (size_t i = 0; i < n; i++) {
        const Json *entry = json_at(entries, i);

        fprintf(stream, "%-*s  %-*s  %-9s %11s %5lld\n", id_width, get(entry, "id"),
                destination_width, get(entry, "destination"), get(entry, "state"),
                age_of(entry, "accepted", now, buffer), count(entry, "attempts"));
        print_below(stream, entry, "title");
        print_below(stream, entry, "reason");
    }
}

void print_record(FILE *stream, const Json *answer, double now)
{
    const Json *entries = json_get(answer, "entries"), *record = json_get(answer, "record");
    _cleanup_free_ char *text = NULL;

    print_entries(stream, entries, json_length(entries), now, true);
    if (!record)
        return;
    text = json_dump_dup(record, true, NULL);
    if (text)
        fprintf(stream, "\n%s\n", text);
}
