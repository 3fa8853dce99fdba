/* SPDX-License-Identifier: MIT */

/*
 * Between the server and the relay process: rooms and their state machines (room.h), and what is
 * in flight in each destination (flight.h).
 */

#include "xmpprelay/session-internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>

#include "common/log.h"
#include "common/text.h"
#include "xmpprelay/stanza.h"

/* The clocks of the room's server and ours may differ. A message that is older than it seems
 * would be missed in the history, and posted twice. */
#define CLOCKS_APART_USEC (300 * USEC_PER_SEC)

static uint32_t random_number(void)
{
    uint32_t number = 0;

    (void)!getrandom(&number, sizeof(number), GRND_NONBLOCK);
    return number;
}

/* Towards the relay process. */

static void tell_done(Session *session, SessionRoom *room, FlightEntry *entry)
{
    session_tell(session, &(LinkMessage){ .type = LINK_DONE,
                                          .destination = room->destination->index,
                                          .stanza_id = entry->id });
    flight_confirm(&room->flight, entry);
}

static void tell_failed(Session *session, const SessionRoom *room, const char *id, FailedKind kind,
                        const char *reason)
{
    session_tell(session, &(LinkMessage){ .type = LINK_FAILED,
                                          .destination = room->destination->index,
                                          .stanza_id = id,
                                          .failed_kind = kind,
                                          .reason = reason });
}

static void tell_room(Session *session, const SessionRoom *room, RoomState state, const char *nick,
                      const char *reason)
{
    session_tell(session, &(LinkMessage){ .type = LINK_ROOM,
                                          .destination = room->destination->index,
                                          .room_state = state,
                                          .nick = nick,
                                          .reason = reason && *reason ? reason : NULL });
}

/* Rooms. */

const char *session_room_jid(const SessionRoom *room)
{
    return room->is_contact ? room->destination->contact : room->destination->room;
}

usec_t session_room_since(const SessionRoom *room)
{
    usec_t since = flight_since(&room->flight);

    if (since == USEC_INFINITY)
        return since;
    return since > CLOCKS_APART_USEC ? since - CLOCKS_APART_USEC : 0;
}

/* An age, and no time of day: whatever the server's clock says, it means the same. Should ours have
 * been set back since, the age is too small, but not by more than the margin where it matters. */
static usec_t history_age(const SessionRoom *room)
{
    usec_t since = session_room_since(room), now = now_usec(CLOCK_REALTIME);

    if (since == USEC_INFINITY)
        return since;
    return MAX(now > since ? now - since : 0, CLOCKS_APART_USEC);
}

static void report_room(Session *session, SessionRoom *room, const RoomAction *action)
{
    if (action->state == ROOM_OUT) {
        flight_lost(&room->flight);
        archive_stop(&room->archive);
    }
    if (action->state == ROOM_READY)
        flight_settle(&room->flight);
    tell_room(session, room, action->state, action->state == ROOM_OUT ? NULL : action->nick,
              action->reason);
}

static void run_room(Session *session, SessionRoom *room)
{
    const RoomAction *action;

    while ((action = room_next_action(&room->room))) {
        char occupant[2 * ROOM_NICK_MAX + 3072], id[REQUEST_ID_MAX];
        char *stanza = NULL;
        size_t size = 0;

        snprintf(occupant, sizeof(occupant), "%s/%s", room->destination->room, action->nick);
        switch (action->type) {
        case ROOM_ACTION_REPORT:
            report_room(session, room, action);
            continue;
        case ROOM_ACTION_LOOK_UP:
            session_look_up(session, room, now_usec(CLOCK_MONOTONIC));
            continue;
        case ROOM_ACTION_JOIN:
            stanza = stanza_join(occupant, history_age(room), &size);
            break;
        case ROOM_ACTION_LEAVE:
            stanza = stanza_leave(occupant, &size);
            break;
        case ROOM_ACTION_CONFIGURE:
            session_request_id(session, REQUEST_CONFIGURE, room->destination->index, id);
            stanza = stanza_default_configuration(room->destination->room, id, &size);
            break;
        case ROOM_ACTION_SELF_PING:
            session_request_id(session, REQUEST_SELF_PING, room->destination->index, id);
            stanza = stanza_ping(occupant, id, &size);
            break;
        }
        stream_send_consume(session->stream, stanza, size);
    }
}

SessionRoom *session_find_room(Session *session, size_t index)
{
    for (size_t i = 0; i < session->n_rooms; i++)
        if (session->rooms[i].destination->index == index)
            return &session->rooms[i];
    return NULL;
}

void session_looked_up(Session *session, SessionRoom *room, usec_t now)
{
    if (room->is_contact) {
        flight_settle(&room->flight);
        tell_room(session, room, ROOM_READY, NULL, NULL);
    } else {
        room_looked_up(&room->room, now);
        run_room(session, room);
    }
}

/* From the server. */

static void on_online(void *userdata)
{
    Session *session = userdata;
    usec_t now = now_usec(CLOCK_MONOTONIC);

    session_tell(session, &(LinkMessage){ .type = LINK_STREAM, .stream_state = STREAM_ONLINE });
    for (size_t i = 0; i < session->n_rooms; i++) {
        SessionRoom *room = &session->rooms[i];

        if (room->is_contact)
            session_look_up(session, room, now);
        else {
            room_start(&room->room, now);
            run_room(session, room);
        }
    }
}

static bool is_one_of(const char *condition, const char *const *list)
{
    for (; *list; list++)
        if (streq(condition, *list))
            return true;
    return false;
}

/* Which errors mean what for a message. Some say that we are not in the room or that the way to
 * it is broken, or else that a filter disliked the message: then we join again and post it once
 * more, and if it meets the same end, it was the message. */
static FailedKind failed_kind(SessionRoom *room, const char *id, const StreamMessage *message)
{
    static const char *const ways[] = { "not-acceptable",
                                        "item-not-found",
                                        "gone",
                                        "service-unavailable",
                                        "recipient-unavailable",
                                        "remote-server-timeout",
                                        "remote-server-not-found",
                                        NULL };
    static const char *const waits[] = { "remote-server-not-found", "remote-server-timeout", NULL };
    const char *condition = message->condition ? message->condition : "";

    if (!room->is_contact && is_one_of(condition, ways) && !streq(id, room->suspect)) {
        snprintf(room->suspect, sizeof(room->suspect), "%s", id);
        return FAILED_REJOIN;
    }
    if ((message->error_type && streq(message->error_type, "wait")) || is_one_of(condition, waits))
        return FAILED_WAIT;
    return FAILED_FINAL;
}

static void message_failed(Session *session, SessionRoom *room, FlightEntry *entry,
                           const StreamMessage *message)
{
    const char *condition = message->condition ? message->condition : "no condition";
    bool voiceless = !room->is_contact && streq(condition, "forbidden") &&
                     room_forbidden(&room->room, now_usec(CLOCK_MONOTONIC), random_number());
    FailedKind kind = voiceless ? FAILED_REJOIN : failed_kind(room, entry->id, message);
    char reason[LINK_REASON_MAX];

    snprintf(reason, sizeof(reason), "%.200s refused the message: %.60s%s%s%s",
             session_room_jid(room), condition, *message->error_text ? " (\"" : "",
             message->error_text, *message->error_text ? "\")" : "");
    tell_failed(session, room, entry->id, kind, reason);
    flight_remove(&room->flight, entry);
    if (kind == FAILED_REJOIN) {
        /* nothing, when it is for want of a voice: then we are out already */
        room_not_in(&room->room, condition, now_usec(CLOCK_MONOTONIC), random_number());
        run_room(session, room);
    }
}

void session_message_seen(Session *session, SessionRoom *room, const char *id)
{
    FlightEntry *entry = id ? flight_find(&room->flight, id) : NULL;

    if (entry && entry->state != FLIGHT_DONE)
        tell_done(session, room, entry);
}

static void on_message(void *userdata, const StreamMessage *message)
{
    Session *session = userdata;
    const char *type = message->type ? message->type : "normal";

    session_archived(session, message);
    if (!message->from)
        return;
    for (size_t i = 0; i < session->n_rooms; i++) {
        SessionRoom *room = &session->rooms[i];
        FlightEntry *entry;

        if (!session_jid_matches(message->from, session_room_jid(room), NULL))
            continue;
        if (streq(type, "error")) {
            entry = message->id ? flight_find(&room->flight, message->id) : NULL;
            if (entry && entry->state == FLIGHT_POSTED)
                message_failed(session, room, entry, message);
        } else if (streq(type, "groupchat") && !room->is_contact) {
            /* Live echo or history, by whatever nick: our ids can't be guessed. */
            session_message_seen(session, room, message->id);
            session_message_seen(session, room, message->origin_id);
            if (message->has_subject && !message->has_body) {
                room_subject(&room->room, now_usec(CLOCK_MONOTONIC));
                run_room(session, room);
            }
        }
    }
}

static void on_presence(void *userdata, const StreamPresence *presence)
{
    Session *session = userdata;

    if (!presence->from)
        return;
    for (size_t i = 0; i < session->n_rooms; i++) {
        SessionRoom *room = &session->rooms[i];
        RoomPresence in = {
            .type = presence->type,
            .status = presence->status,
            .voiceless = presence->voiceless,
            .destroyed = presence->destroyed,
            .condition = presence->condition,
            .text = presence->text,
        };

        if (room->is_contact ||
            !session_jid_matches(presence->from, session_room_jid(room), &in.nick))
            continue;
        room_presence(&room->room, &in, now_usec(CLOCK_MONOTONIC), random_number());
        run_room(session, room);
    }
}

/* The server handles our stanzas in order: when it has answered the ping behind a message, it
 * has taken the message. */
static void contacts_confirmed(Session *session, uint64_t number)
{
    for (size_t i = 0; i < session->n_rooms; i++) {
        SessionRoom *room = &session->rooms[i];

        if (!room->is_contact)
            continue;
        for (size_t j = 0; j < room->flight.n;) {
            FlightEntry *entry = &room->flight.entries[j];
            size_t n = room->flight.n;

            if (entry->state == FLIGHT_POSTED && entry->ping <= number)
                tell_done(session, room, entry);
            /* Confirming may push an old entry out, of those before this one. */
            if (room->flight.n == n)
                j++;
        }
    }
}

static void on_iq(void *userdata, const StreamIq *iq)
{
    Session *session = userdata;
    RequestKind kind;
    SessionRoom *room;
    uint64_t number;
    size_t index;

    if (!iq->id || !session_request_parse(session, iq->id, &kind, &index, &number))
        return;
    room = session_find_room(session, index);
    if (!session_is_answer_of(session, kind, room, iq->from))
        return;
    switch (kind) {
    case REQUEST_PING:
        session->ping_sent_usec = 0;
        break;
    case REQUEST_CONTACT:
        contacts_confirmed(session, number);
        break;
    case REQUEST_SELF_PING:
        room_self_ping_answer(&room->room, iq->condition, now_usec(CLOCK_MONOTONIC),
                              random_number());
        run_room(session, room);
        break;
    case REQUEST_ARCHIVE:
        session_archive_answer(session, room, iq);
        break;
    case REQUEST_CONFIGURE:
        if (iq->condition)
            log_warning("room %s, which did not exist, did not take its configuration (%.60s); "
                        "others may not be able to enter it",
                        room->destination->room, iq->condition);
        break;
    }
}

const StreamHandlers session_stream_handlers = { on_online, on_message, on_presence, on_iq };

/* From the relay process. */

void session_post(Session *session, SessionRoom *room, const LinkMessage *message)
{
    size_t size = 0;
    FlightEntry *entry;
    char *stanza, id[REQUEST_ID_MAX];
    int r;

    /* Posts that crossed the news of our leaving: of unknown fate to the relay process, which
     * sends them again once we are ready. */
    if (!stream_is_online(session->stream) || room->archive.asking ||
        (!room->is_contact && !room_is_ready(&room->room)))
        return;

    entry = flight_find(&room->flight, message->stanza_id);
    if (entry && entry->state == FLIGHT_POSTED)
        return;
    if (entry && entry->state == FLIGHT_DONE) {
        tell_done(session, room, entry);
        return;
    }
    if (*message->body == '\0' || !text_is_clean(message->body, strlen(message->body))) {
        tell_failed(session, room, message->stanza_id, FAILED_FINAL,
                    "the message holds characters that XML forbids, or nothing");
        return;
    }
    r = flight_add(&room->flight, message->stanza_id, FLIGHT_POSTED, now_usec(CLOCK_REALTIME),
                   &entry);
    if (r < 0) {
        tell_failed(session, room, message->stanza_id, FAILED_WAIT,
                    "too many messages are unconfirmed; see delivery.window");
        return;
    }
    stanza = stanza_post(session->start.account->jid, session_room_jid(room), !room->is_contact,
                         message->stanza_id, message->body, message->unstyled, message->delay_usec,
                         &size);
    stream_send_consume(session->stream, stanza, size);
    if (room->is_contact) {
        entry->ping = session_request_id(session, REQUEST_CONTACT, 0, id);
        stanza = stanza_ping(stream_domain(session->stream), id, &size);
        stream_send_consume(session->stream, stanza, size);
    }
}

void session_leave_rooms(Session *session)
{
    for (size_t i = 0; i < session->n_rooms; i++) {
        archive_stop(&session->rooms[i].archive);
        if (!session->rooms[i].is_contact) {
            room_leave(&session->rooms[i].room);
            run_room(session, &session->rooms[i]);
        }
    }
}

void session_tick_rooms(Session *session, usec_t now)
{
    for (size_t i = 0; i < session->n_rooms; i++) {
        session_tick_archive(session, &session->rooms[i], now);
        if (!session->rooms[i].is_contact && room_deadline(&session->rooms[i].room) <= now) {
            room_tick(&session->rooms[i].room, now, random_number());
            run_room(session, &session->rooms[i]);
        }
    }
}

usec_t session_rooms_deadline(const Session *session)
{
    usec_t next = USEC_INFINITY;

    for (size_t i = 0; i < session->n_rooms; i++) {
        next = MIN(next, archive_deadline(&session->rooms[i].archive));
        if (!session->rooms[i].is_contact)
            next = MIN(next, room_deadline(&session->rooms[i].room));
    }
    return next;
}

/* Beginning and end. */

static int add_room(SessionRoom *room, const LinkDestination *destination, usec_t self_ping_usec)
{
    *room = (SessionRoom){ .destination = destination, .is_contact = destination->contact };
    if (!room->is_contact)
        room_init(&room->room, destination->name, destination->room, destination->nick,
                  self_ping_usec);
    for (size_t i = 0; i < destination->n_pending; i++) {
        FlightEntry *entry;
        int r;

        if (flight_find(&room->flight, destination->pending[i]))
            continue;
        r = flight_add(&room->flight, destination->pending[i], FLIGHT_PENDING,
                       destination->since_usec, &entry);
        if (r < 0)
            return r;
    }
    return 0;
}

int session_add_rooms(Session *session)
{
    uint64_t token;

    if (getrandom(&token, sizeof(token), 0) != sizeof(token))
        return -EIO;
    snprintf(session->token, sizeof(session->token), "%016" PRIx64, token);
    session->rooms = calloc(MAX(session->start.n_destinations, (size_t)1), sizeof(SessionRoom));
    if (!session->rooms)
        return -ENOMEM;
    for (size_t i = 0; i < session->start.n_destinations; i++) {
        const LinkDestination *destination = &session->start.destinations[i];
        int r;

        if (session_find_room(session, destination->index))
            return -EBADMSG;
        session->n_rooms++;
        r = add_room(&session->rooms[i], destination, session->start.self_ping_usec);
        if (r < 0)
            return r;
    }
    return 0;
}

void session_free_rooms(Session *session)
{
    for (size_t i = 0; i < session->n_rooms; i++)
        flight_free_entries(&session->rooms[i].flight);
    free(session->rooms);
}
