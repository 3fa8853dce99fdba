/* SPDX-License-Identifier: MIT */

/*
 * Between the server and an archive's state machine (archive.h). The history that a room gives
 * on joining is short, and many servers forget it when they restart; what is of unknown fate
 * after it is looked up in the room's archive, and what was for a contact in that of our own
 * account. Only then is a destination ready, for what is still missing is posted again. We ask
 * without asking first whether there is an archive: a refusal tells as much.
 */

#include "xmpprelay/session-internal.h"

#include <assert.h>
#include <stdio.h>

#include "common/log.h"
#include "xmpprelay/stanza.h"

static void ask(Session *session, SessionRoom *room)
{
    const char *account = session->start.account->jid, *jid = session_room_jid(room);
    char id[REQUEST_ID_MAX];
    size_t size = 0;
    char *stanza;

    static_assert(REQUEST_ID_MAX <= ARCHIVE_QUERY_MAX + 1, "a query's id is a request's");
    session_request_id(session, REQUEST_ARCHIVE, room->destination->index, id);
    archive_asked(&room->archive, id);
    stanza = stanza_archive_query(room->is_contact ? account : jid, id, room->archive.start_usec,
                                  room->is_contact ? jid : NULL, ARCHIVE_PAGE, room->archive.after,
                                  &size);
    stream_send_consume(session->stream, stanza, size);
}

void session_look_up(Session *session, SessionRoom *room, usec_t now)
{
    size_t n = flight_n_pending(&room->flight);

    if (n == 0) {
        session_looked_up(session, room, now);
        return;
    }
    archive_begin(&room->archive, n, session_room_since(room), now);
    ask(session, room);
}

/* `why` is what kept us from looking further, or NULL. */
static void over(Session *session, SessionRoom *room, const char *why, usec_t now)
{
    size_t n = room->archive.n_wanted, n_found = n - flight_n_pending(&room->flight);

    archive_stop(&room->archive);
    log_info("destination %s: looked up in the archive: %zu of %zu were there%s%s",
             room->destination->name, n_found, n, why ? "; " : "", why ? why : "");
    session_looked_up(session, room, now);
}

void session_archived(Session *session, const StreamMessage *message)
{
    const StreamArchived *archived = &message->archived;

    for (size_t i = 0; i < session->n_rooms; i++) {
        SessionRoom *room = &session->rooms[i];
        const char *by = room->is_contact ? session->start.account->jid : session_room_jid(room);

        if (!archive_awaits(&room->archive, archived->query_id))
            continue;
        if (!session_is_answer_of(session, REQUEST_ARCHIVE, room, message->from) ||
            !archived->from || !session_jid_matches(archived->from, by, NULL))
            return;
        session_message_seen(session, room, archived->id);
        session_message_seen(session, room, archived->origin_id);
        if (flight_n_pending(&room->flight) == 0)
            over(session, room, NULL, now_usec(CLOCK_MONOTONIC));
        return;
    }
}

void session_archive_answer(Session *session, SessionRoom *room, const StreamIq *iq)
{
    const ArchivePage page = { iq->condition, iq->fin_complete, iq->fin_last };
    usec_t now = now_usec(CLOCK_MONOTONIC);
    char why[128];

    if (!archive_awaits(&room->archive, iq->id))
        return;
    switch (archive_page_over(&room->archive, &page, flight_n_pending(&room->flight))) {
    case ARCHIVE_ASK:
        ask(session, room);
        return;
    case ARCHIVE_FINISHED:
        over(session, room, NULL, now);
        return;
    case ARCHIVE_REFUSED:
        snprintf(why, sizeof(why), "it can't be asked (%.60s)", iq->condition);
        over(session, room, why, now);
        return;
    case ARCHIVE_UNFINISHED:
        over(session, room, "it holds more than is looked at", now);
        return;
    }
}

void session_tick_archive(Session *session, SessionRoom *room, usec_t now)
{
    char why[64];

    if (archive_deadline(&room->archive) > now)
        return;
    snprintf(why, sizeof(why), "it took longer than %d s", (int)(ARCHIVE_USEC / USEC_PER_SEC));
    over(session, room, why, now);
}
