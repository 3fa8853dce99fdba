/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What session.c (the process and the link) and session-rooms.c (what goes on between us and the
 * server) share.
 */

#include "xmpprelay/flight.h"
#include "xmpprelay/outbox.h"
#include "xmpprelay/room.h"
#include "xmpprelay/stream.h"

typedef struct SessionRoom {
    const LinkDestination *destination;
    bool is_contact;
    Room room; /* unless it is a contact */
    Flight flight;
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

/* session-rooms.c */
extern const StreamHandlers session_stream_handlers; /* userdata: the Session */

int session_add_rooms(Session *session); /* those of session->start; -EBADMSG, -ENOMEM */
void session_free_rooms(Session *session);
SessionRoom *session_find_room(Session *session, size_t index); /* or NULL */

void session_post(Session *session, SessionRoom *room, const LinkMessage *message);
void session_leave_rooms(Session *session);
void session_ping(Session *session);                   /* asks the server for a sign of life */
void session_tick_rooms(Session *session, usec_t now); /* CLOCK_MONOTONIC */
usec_t session_rooms_deadline(const Session *session); /* when to call it; USEC_INFINITY: never */
