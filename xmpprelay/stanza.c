/* SPDX-License-Identifier: MIT */

/*
 * Stanzas are written from formats in which every %s is escaped for XML first. That is all the
 * XML we ever send, and writing it so takes a fraction of the time that building a tree does.
 */

#include "xmpprelay/stanza.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static size_t escaped_size(const char *text)
{
    size_t size = 0;

    for (; *text; text++)
        switch (*text) {
        case '&':
            size += 5;
            break;
        case '<':
        case '>':
            size += 4;
            break;
        case '"':
        case '\'':
            size += 6;
            break;
        default:
            size++;
        }
    return size;
}

static char *put_escaped(char *out, const char *text)
{
    for (; *text; text++)
        switch (*text) {
        case '&':
            out = stpcpy(out, "&amp;");
            break;
        case '<':
            out = stpcpy(out, "&lt;");
            break;
        case '>':
            out = stpcpy(out, "&gt;");
            break;
        case '"':
            out = stpcpy(out, "&quot;");
            break;
        case '\'':
            out = stpcpy(out, "&apos;");
            break;
        default:
            *out++ = *text;
        }
    return out;
}

/* Fills each '%' of `format` with the next of the n escaped arguments. */
static char *fill(size_t *ret_size, const char *format, size_t n, const char *const *arguments)
{
    size_t size = strlen(format) + 1, next = 0;
    char *text, *out;

    for (size_t i = 0; i < n; i++)
        size += escaped_size(arguments[i]);
    text = out = malloc(size);
    if (!text)
        return NULL;
    for (; *format; format++)
        if (*format == '%' && next < n)
            out = put_escaped(out, arguments[next++]);
        else
            *out++ = *format;
    *out = '\0';
    *ret_size = (size_t)(out - text);
    return text;
}

#define FILL(ret_size, format, ...)                                                                \
    fill(ret_size, format, sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(const char *),    \
         (const char *const[]){ __VA_ARGS__ })

/* XEP-0082. */
#define STAMP_MAX 40
static const char *stamp(usec_t usec, char buffer[static STAMP_MAX])
{
    time_t seconds = (time_t)(usec / USEC_PER_SEC);
    struct tm tm;

    if (!gmtime_r(&seconds, &tm) || strftime(buffer, STAMP_MAX, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        return "1970-01-01T00:00:00Z";
    return buffer;
}

#define POST                                                                                       \
    "<message to='%' type='%' id='%'><body>%</body><origin-id xmlns='urn:xmpp:sid:0' id='%'/>"
#define UNSTYLED "<unstyled xmlns='urn:xmpp:styling:0'/>"
#define DELAY "<delay xmlns='urn:xmpp:delay' from='%' stamp='%'/>"

char *stanza_post(const char *from, const char *to, bool groupchat, const char *id,
                  const char *body, bool unstyled, usec_t delay_usec, size_t *ret_size)
{
    const char *type = groupchat ? "groupchat" : "chat";
    char buffer[STAMP_MAX];

    if (delay_usec == 0)
        return FILL(ret_size, unstyled ? POST UNSTYLED "</message>" : POST "</message>", to, type,
                    id, body, id);
    return FILL(ret_size, unstyled ? POST UNSTYLED DELAY "</message>" : POST DELAY "</message>", to,
                type, id, body, id, from, stamp(delay_usec, buffer));
}

char *stanza_join(const char *occupant, usec_t age_usec, size_t *ret_size)
{
    char seconds[24];

    if (age_usec == USEC_INFINITY)
        return FILL(ret_size,
                    "<presence to='%'><x xmlns='http://jabber.org/protocol/muc'>"
                    "<history maxstanzas='0'/></x></presence>",
                    occupant);
    snprintf(seconds, sizeof(seconds), "%" PRIu64, (age_usec + USEC_PER_SEC - 1) / USEC_PER_SEC);
    return FILL(ret_size,
                "<presence to='%'><x xmlns='http://jabber.org/protocol/muc'>"
                "<history seconds='%'/></x></presence>",
                occupant, seconds);
}

char *stanza_leave(const char *occupant, size_t *ret_size)
{
    return FILL(ret_size, "<presence to='%' type='unavailable'/>", occupant);
}

char *stanza_ping(const char *to, const char *id, size_t *ret_size)
{
    return FILL(ret_size, "<iq to='%' type='get' id='%'><ping xmlns='urn:xmpp:ping'/></iq>", to,
                id);
}

char *stanza_default_configuration(const char *room, const char *id, size_t *ret_size)
{
    return FILL(ret_size,
                "<iq to='%' type='set' id='%'>"
                "<query xmlns='http://jabber.org/protocol/muc#owner'>"
                "<x xmlns='jabber:x:data' type='submit'/></query></iq>",
                room, id);
}

#define QUERY                                                                                      \
    "<iq to='%' type='set' id='%'><query xmlns='urn:xmpp:mam:2' queryid='%'>"                      \
    "<x xmlns='jabber:x:data' type='submit'>"                                                      \
    "<field var='FORM_TYPE' type='hidden'><value>urn:xmpp:mam:2</value></field>"                   \
    "<field var='start'><value>%</value></field>"
#define WITH "<field var='with'><value>%</value></field>"
#define PAGE "</x><set xmlns='http://jabber.org/protocol/rsm'><max>%</max>"
#define AFTER "<after>%</after>"
#define QUERY_END "</set></query></iq>"

char *stanza_archive_query(const char *to, const char *id, usec_t start_usec, const char *with,
                           unsigned max, const char *after, size_t *ret_size)
{
    char start[STAMP_MAX], number[16];

    stamp(start_usec, start);
    snprintf(number, sizeof(number), "%u", max);
    if (with && *after)
        return FILL(ret_size, QUERY WITH PAGE AFTER QUERY_END, to, id, id, start, with, number,
                    after);
    if (with)
        return FILL(ret_size, QUERY WITH PAGE QUERY_END, to, id, id, start, with, number);
    if (*after)
        return FILL(ret_size, QUERY PAGE AFTER QUERY_END, to, id, id, start, number, after);
    return FILL(ret_size, QUERY PAGE QUERY_END, to, id, id, start, number);
}

#define UNAVAILABLE                                                                                \
    "<error type='cancel'><service-unavailable "                                                   \
    "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"

char *stanza_answer(const char *to, const char *id, bool is_result, size_t *ret_size)
{
    if (is_result && to)
        return FILL(ret_size, "<iq to='%' type='result' id='%'/>", to, id);
    if (is_result)
        return FILL(ret_size, "<iq type='result' id='%'/>", id);
    if (to)
        return FILL(ret_size, "<iq to='%' type='error' id='%'>" UNAVAILABLE "</iq>", to, id);
    return FILL(ret_size, "<iq type='error' id='%'>" UNAVAILABLE "</iq>", id);
}
