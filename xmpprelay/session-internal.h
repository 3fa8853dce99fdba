/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What session.c (the process and the link), session-rooms.c (what goes on between us and the
 * server), session-requests.c (what we ask it) and session-archive.c (what has arrived that we
 * did not see) share.
 */

#include "xmpprelay/archive.h"
#include "xmpprelay/flight.h"
#include "xmpprelay/outbox.h"
#include "xmpprelay/room.h"
#include "xmpprelay/stream.h"

typedef struct SessionRoom {
    const LinkDestination *destination;
    bool is_contact;
    Room room; /* unless it is a contact */
    Flight flight;
    Archive archive;
    char suspect[LINK_ID_MAX + 1]; /* refused once for what may be the room's fault or its own */
} SessionRoom;

typedef struct Session {
    int link_fd;
    LinkMessage start;
    LinkStorage *start_storage;
    SessionRoom *rooms;
    size_t n_rooms;
    Stream *stream;
    Outbox outbox;
    char token[17];        /* in the ids of our requests, so that nobody can forge an answer */
    uint64_t last_id;      /* of the requests */
    usec_t next_beat_usec; /* CLOCK_MONOTONIC, as all that follow */
    usec_t ping_sent_usec; /* 0: no server ping is unanswered */
    bool quitting;
    bool broken; /* the link; there is nobody to tell */
    bool ended;
    EndCause end_cause;
    char end_reason[LINK_REASON_MAX];
} Session;

/* session.c */
void session_tell(Session *session, const LinkMessage *message);
void session_end(Session *session, EndCause cause, const char *reason);

/* session-requests.c */
#define REQUEST_ID_MAX 64

typedef enum RequestKind {
    REQUEST_ARCHIVE = 'a',   /* of a room, or of our own account for a contact */
    REQUEST_CONTACT = 'c',   /* of the server, behind a message to a contact */
    REQUEST_CONFIGURE = 'f', /* of a room */
    REQUEST_PING = 'p',      /* of the server, for being there */
    REQUEST_SELF_PING = 's', /* of ourselves through a room */
} RequestKind;

/* Makes the id of a new request, and returns its number. */
uint64_t session_request_id(Session *session, RequestKind kind, size_t index,
                            char ret[static REQUEST_ID_MAX]);
/* Whether an id is of a request of ours, and of which. */
bool session_request_parse(const Session *session, const char *id, RequestKind *ret_kind,
                           size_t *ret_index, uint64_t *ret_number);
/* Whether an answer comes from whom we asked; `from` may be NULL, `room` where there is none. */
bool session_is_answer_of(const Session *session, RequestKind kind, const SessionRoom *room,
                          const char *from);
/* Whether `from` is `bare` or has it before its slash; ASCII letters of any case, since the
 * server sends the prepared form of what stands in the configuration. *ret_resource, where
 * wanted, is what follows the slash, or NULL. */
bool session_jid_matches(const char *from, const char *bare, const char **ret_resource);
void session_ping(Session *session); /* asks the server for a sign of life */

/* session-archive.c */
/* Asks the archive for what is of unknown fate. Once that is over, be it at once because there is
 * nothing to ask for, session_looked_up() is called. */
void session_look_up(Session *session, SessionRoom *room, usec_t now);
void session_archived(Session *session, const StreamMessage *message); /* any message */
void session_archive_answer(Session *session, SessionRoom *room, const StreamIq *iq);
void session_tick_archive(Session *session, SessionRoom *room, usec_t now);

/* session-rooms.c */
extern const StreamHandlers session_stream_handlers; /* userdata: the Session */

int session_add_rooms(Session *session); /* those of session->start; -EBADMSG, -ENOMEM */
void session_free_rooms(Session *session);
SessionRoom *session_find_room(Session *session, size_t index); /* or NULL */
const char *session_room_jid(const SessionRoom *room);          /* or the contact's */
/* Where to begin to look for what is of unknown fate, CLOCK_REALTIME; USEC_INFINITY: nowhere. */
usec_t session_room_since(const SessionRoom *room);

/* A message has arrived, by its id, which may be NULL or none of ours. */
void session_message_seen(Session *session, SessionRoom *room, const char *id);
void session_looked_up(Session *session, SessionRoom *room, usec_t now);

void session_post(Session *session, SessionRoom *room, const LinkMessage *message);
void session_leave_rooms(Session *session);
void session_tick_rooms(Session *session, usec_t now); /* CLOCK_MONOTONIC */
usec_t session_rooms_deadline(const Session *session); /* when to call it; USEC_INFINITY: never */
