/* SPDX-License-Identifier: MIT */

/*
 * Our requests, and whose answers to them count. An id is "TOKEN-KIND-INDEX-NUMBER": the answer
 * alone says what it answers, and the token, new in each session, is not to be guessed. It is no
 * secret, though: requests go through rooms, maybe to whoever has taken our nick there. So an
 * answer counts only from whom we asked.
 */

#include "xmpprelay/session-internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

#include "xmpprelay/stanza.h"

uint64_t session_request_id(Session *session, RequestKind kind, size_t index,
                            char ret[static REQUEST_ID_MAX])
{
    uint64_t number = ++session->last_id;

    snprintf(ret, REQUEST_ID_MAX, "%s-%c-%zu-%" PRIu64, session->token, (char)kind, index, number);
    return number;
}

bool session_request_parse(const Session *session, const char *id, RequestKind *ret_kind,
                           size_t *ret_index, uint64_t *ret_number)
{
    size_t length = strlen(session->token), index;
    uint64_t number;
    char kind;

    if (strncmp(id, session->token, length) != 0 ||
        sscanf(id + length, "-%c-%zu-%" SCNu64, &kind, &index, &number) != 3)
        return false;
    *ret_kind = (RequestKind)kind;
    *ret_index = index;
    *ret_number = number;
    return true;
}

bool session_jid_matches(const char *from, const char *bare, const char **ret_resource)
{
    const char *slash = strchr(from, '/');
    size_t length = slash ? (size_t)(slash - from) : strlen(from);

    if (strlen(bare) != length || strncasecmp(from, bare, length) != 0)
        return false;
    if (ret_resource)
        *ret_resource = slash ? slash + 1 : NULL;
    return true;
}

/* RFC 6120, 8.1.2.1: what has no `from` comes from our own server. */
bool session_is_answer_of(const Session *session, RequestKind kind, const SessionRoom *room,
                          const char *from)
{
    const char *account = session->start.account->jid;

    switch (kind) {
    case REQUEST_PING:
    case REQUEST_CONTACT:
        return !from || strcasecmp(from, stream_domain(session->stream)) == 0 ||
               strcasecmp(from, account) == 0;
    case REQUEST_SELF_PING:
    case REQUEST_CONFIGURE:
        return from && room && !room->is_contact &&
               session_jid_matches(from, session_room_jid(room), NULL);
    case REQUEST_ARCHIVE:
        /* Not from an occupant. */
        if (!room)
            return false;
        if (room->is_contact)
            return !from || strcasecmp(from, account) == 0;
        return from && strcasecmp(from, session_room_jid(room)) == 0;
    }
    return false;
}

void session_ping(Session *session)
{
    char id[REQUEST_ID_MAX];
    size_t size = 0;
    char *stanza;

    session_request_id(session, REQUEST_PING, 0, id);
    stanza = stanza_ping(stream_domain(session->stream), id, &size);
    stream_send_consume(session->stream, stanza, size);
}
