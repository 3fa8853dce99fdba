/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * One MUC room (XEP-0045) as a state machine: what happens in the room goes in, what is to be
 * done comes out. No I/O, no clock, no library.
 *
 * After each input the caller takes the actions with room_next_action() until there are none;
 * until then it gives no other input. All times are of one monotonic clock.
 *
 *          room_start           self-presence (110)       subject, or 10 s        room_looked_up
 *     OUT ────────────▶ JOINING ────────────────▶ JOINING ────────────────▶ JOINING ─────▶ READY
 *      ▲  after a wait     │      (history comes)    │     (archive is asked)  │             │
 *      └───────────────────┴─────────────────────────┴─────────────────────────┴─────────────┘
 *        refused, no answer, kicked, banned, room gone, self-ping says that we are out
 *
 * It never gives up: each failure leads to another try, at the latest after a minute, because
 * what is wrong is mended by an operator who will not think of telling us.
 */

#include "common/backoff.h"
#include "xmpprelay/link.h"

#define ROOM_JOIN_USEC (30 * USEC_PER_SEC)      /* from our presence to the room's answer */
#define ROOM_SUBJECT_USEC (10 * USEC_PER_SEC)   /* from that to the subject */
#define ROOM_SELF_PING_USEC (30 * USEC_PER_SEC) /* for the answer to a self-ping */
#define ROOM_BACKOFF_CAP_USEC (60 * USEC_PER_SEC)
#define ROOM_NICK_TRIES 9 /* nick, nick-2 … nick-9 */
#define ROOM_NICK_MAX 1023

/* Status codes of XEP-0045 that matter here. */
typedef enum RoomStatus {
    ROOM_STATUS_SELF = 1 << 0,         /* 110 */
    ROOM_STATUS_CREATED = 1 << 1,      /* 201 */
    ROOM_STATUS_NICK_CHANGED = 1 << 2, /* 210, or 303 */
    ROOM_STATUS_BANNED = 1 << 3,       /* 301 */
    ROOM_STATUS_KICKED = 1 << 4,       /* 307 */
    ROOM_STATUS_AFFILIATION = 1 << 5,  /* 321 */
    ROOM_STATUS_MEMBERS_ONLY = 1 << 6, /* 322 */
    ROOM_STATUS_SHUTDOWN = 1 << 7,     /* 332 */
} RoomStatus;

/* RoomStatus of a code as it stands in a stanza, 0 for one that does not matter. */
unsigned room_status_from_code(const char *code);

/* A presence from the room's bare JID or one of its occupants. */
typedef struct RoomPresence {
    const char *nick;      /* the resource of `from`; NULL: the room itself */
    const char *type;      /* NULL: available */
    unsigned status;       /* of RoomStatus */
    bool voiceless;        /* the role "visitor": many rooms don't let it speak */
    bool destroyed;        /* <destroy/> */
    const char *condition; /* type error: NULL where it has none */
    const char *text;      /* of the error or <reason/>, as the server has it, or NULL */
} RoomPresence;

typedef enum RoomActionType {
    ROOM_ACTION_JOIN,      /* presence to `nick`, asking for the history or for none of it */
    ROOM_ACTION_LEAVE,     /* unavailable presence to `nick` */
    ROOM_ACTION_CONFIGURE, /* take the default configuration of a room we have made (10.1.2) */
    ROOM_ACTION_SELF_PING, /* XEP-0410: ping `nick` */
    ROOM_ACTION_LOOK_UP,   /* ask the archive, if need be, and answer with room_looked_up() */
    ROOM_ACTION_REPORT,    /* tell the relay process `state` and `reason` ("": none) */
} RoomActionType;

typedef struct RoomAction {
    RoomActionType type;
    RoomState state;
    char nick[ROOM_NICK_MAX + 1];
    char reason[LINK_REASON_MAX];
} RoomAction;

typedef enum RoomPhase {
    ROOM_PHASE_IDLE, /* not started, or told to leave */
    ROOM_PHASE_WAITING,
    ROOM_PHASE_JOINING,
    ROOM_PHASE_HISTORY,
    ROOM_PHASE_ARCHIVE, /* for as long as the caller looks up */
    ROOM_PHASE_IN,
} RoomPhase;

#define ROOM_ACTIONS_MAX 4

typedef struct Room {
    const char *name; /* of the destination, for reasons */
    const char *jid;
    const char *wanted_nick;
    char nick[ROOM_NICK_MAX + 1]; /* the one we ask for or have */
    unsigned nick_number;         /* 1: the wanted one */
    RoomPhase phase;
    bool created;
    bool voiceless;        /* our role */
    bool wants_voice;      /* why we are out; we are still present in the room */
    usec_t deadline_usec;  /* of the phase; USEC_INFINITY: none */
    usec_t self_ping_usec; /* interval */
    usec_t next_self_ping_usec;
    bool self_ping_sent;
    Backoff backoff;
    RoomAction actions[ROOM_ACTIONS_MAX];
    size_t n_actions, next_action;
} Room;

/* The strings must outlive the room. */
void room_init(Room *room, const char *name, const char *jid, const char *nick,
               usec_t self_ping_usec);

/* Inputs. `random` is for the jitter of the next try. */
void room_start(Room *room, usec_t now);
void room_leave(Room *room);
void room_presence(Room *room, const RoomPresence *presence, usec_t now, uint32_t random);
void room_subject(Room *room, usec_t now); /* a message that has a subject and no body */
/* The archive has been asked, or need not be; it may be said as soon as ROOM_ACTION_LOOK_UP comes,
 * for that is the last of the actions then. */
void room_looked_up(Room *room, usec_t now);
/* The room answered a message of ours with an error that says that we are not in it. */
void room_not_in(Room *room, const char *condition, usec_t now, uint32_t random);
/* The room answered a message of ours with `forbidden`. True when that is for want of a voice, and
 * not for what the message says. */
bool room_forbidden(Room *room, usec_t now, uint32_t random);
/* `condition` NULL: a result. */
void room_self_ping_answer(Room *room, const char *condition, usec_t now, uint32_t random);
void room_tick(Room *room, usec_t now, uint32_t random); /* deadline reached, or not yet */

usec_t room_deadline(const Room *room); /* when to call room_tick(); USEC_INFINITY: never */
bool room_is_ready(const Room *room);

/* The next action, or NULL; valid until the next input. */
const RoomAction *room_next_action(Room *room);

/* The nick that is ours in the room, to tell our own presence from others'. */
static inline const char *room_nick(const Room *room)
{
    return room->nick;
}
