/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What the relay process and a session process tell each other over their SOCK_SEQPACKET pair:
 * one JSON object a packet, at most LINK_PACKET_MAX bytes.
 *
 * A session process makes one connection and ends with it; the relay process starts the next.
 *
 *   relay → session    start    once, first: account, destinations, what is of unknown fate
 *                      post     one message
 *                      quit     leave the rooms, close the stream, exit
 *   session → relay    beat     at least every second while all is well
 *                      stream   the state of the connection
 *                      room     the state of one destination
 *                      done     a message was confirmed: by the room's echo, by its history, or
 *                               for a contact by the stream's answer behind it
 *                      failed   the server refused a message
 *                      end      why the connection is over; then the process exits
 *
 * The relay process trusts none of it more than it must: an index out of range, an id that was
 * not posted or a packet that does not parse ends the session process.
 */

#include "common/util.h"
#include "xmpprelay/settings.h"

#define LINK_PACKET_MAX 131072
#define LINK_ID_MAX 64
#define LINK_REASON_MAX 512

typedef enum LinkType {
    LINK_START,
    LINK_POST,
    LINK_QUIT,
    LINK_BEAT,
    LINK_STREAM,
    LINK_ROOM,
    LINK_DONE,
    LINK_FAILED,
    LINK_END,
} LinkType;

typedef enum StreamState {
    STREAM_CONNECTING, /* DNS, TCP, TLS, authentication */
    STREAM_ONLINE,     /* bound; rooms may follow */
} StreamState;

typedef enum RoomState {
    ROOM_OUT,     /* not in, see the reason; tried again by the session */
    ROOM_JOINING, /* presence sent */
    ROOM_READY,   /* in, and its history is over: what was pending and not reported done since
                   * is not in the room. Contacts are ready when the stream is online. */
} RoomState;

typedef enum FailedKind {
    FAILED_WAIT,   /* try again later (RFC 6120 error type wait: rate limits and the like) */
    FAILED_REJOIN, /* the room says that we are not in it; ROOM_OUT follows */
    FAILED_FINAL,  /* set it aside */
} FailedKind;

typedef enum EndCause {
    END_NETWORK,     /* DNS, TCP, connection lost or silent */
    END_TLS,         /* certificate or handshake */
    END_AUTH,        /* not-authorized and the like */
    END_CONFIG,      /* password not readable, JID refused: needs the operator */
    END_CONFLICT,    /* another resource took our place */
    END_SERVER_BUSY, /* system-shutdown, see-other-host, resource-constraint, … */
    END_POISON,      /* the server ended the stream over what we sent: policy-violation, … */
    END_QUIT,        /* asked to */
} EndCause;

/* One destination as the session sees it; `index` is the one of the settings. */
typedef struct LinkDestination {
    size_t index;
    const char *name;
    const char *room; /* or NULL */
    const char *nick;
    const char *contact;  /* or NULL */
    usec_t since_usec;    /* CLOCK_REALTIME of the first pending message */
    const char **pending; /* stanza ids of unknown fate; n_pending 0: no history is asked for */
    size_t n_pending;
} LinkDestination;

typedef struct LinkMessage {
    LinkType type;

    /* start */
    const Account *account;
    usec_t ping_usec, self_ping_usec, confirm_usec;
    const LinkDestination *destinations;
    size_t n_destinations;

    /* post, room, done, failed */
    size_t destination;
    const char *stanza_id; /* post, done, failed */
    const char *body;      /* post */
    bool unstyled;         /* post: the body isn't to be styled (XEP-0393) */
    usec_t delay_usec;     /* post: XEP-0203 stamp, CLOCK_REALTIME; 0: none */

    StreamState stream_state;
    RoomState room_state;
    FailedKind failed_kind;
    EndCause end_cause;
    const char *reason; /* stream, room, failed, end: a sentence for the operator that names the
                         * cause and the setting to change; or NULL */
    const char *nick;   /* room: the one we have there */
} LinkMessage;

/* Sends one packet without blocking: 0, -EAGAIN when the other side does not keep up, -EPIPE
 * or -ECONNRESET when it has gone, -EMSGSIZE. */
int link_send(int fd, const LinkMessage *message);

/* Receives one packet without blocking: 0; -EAGAIN when there is none; -EPIPE at the end;
 * -EBADMSG for what is no message of this protocol. The message's strings and arrays belong
 * to *ret_storage. */
typedef struct LinkStorage LinkStorage;
int link_receive(int fd, LinkMessage *ret, LinkStorage **ret_storage);
LinkStorage *link_storage_free(LinkStorage *storage);
DEFINE_CLEANUP(LinkStorage *, link_storage_free)
