/* SPDX-License-Identifier: MIT */

/*
 * The room's state machine. `phase` is where we are, `deadline_usec` when that ends by itself;
 * while we are in, next_self_ping_usec says when to ask whether we still are.
 *
 * Everything that leads out of the room goes through room_out(), which reports the cause and
 * sets the time of the next try. Whatever text a server sent appears in reasons in quotes; the
 * link cleans nothing, so the caller hands in clean text.
 */

#include "xmpprelay/room.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

void room_init(Room *room, const char *name, const char *jid, const char *nick,
               usec_t self_ping_usec)
{
    *room = (Room){
        .name = name,
        .jid = jid,
        .wanted_nick = nick,
        .nick_number = 1,
        .phase = ROOM_PHASE_IDLE,
        .deadline_usec = USEC_INFINITY,
        .self_ping_usec = self_ping_usec,
        .next_self_ping_usec = USEC_INFINITY,
        .backoff = { .base_usec = USEC_PER_SEC,
                     .cap_usec = ROOM_BACKOFF_CAP_USEC,
                     .healthy_usec = ROOM_BACKOFF_CAP_USEC },
    };
    snprintf(room->nick, sizeof(room->nick), "%s", nick);
}

unsigned room_status_from_code(const char *code)
{
    static const struct {
        const char *code;
        unsigned status;
    } codes[] = {
        { "110", ROOM_STATUS_SELF },         { "201", ROOM_STATUS_CREATED },
        { "210", ROOM_STATUS_NICK_CHANGED }, { "301", ROOM_STATUS_BANNED },
        { "303", ROOM_STATUS_NICK_CHANGED }, { "307", ROOM_STATUS_KICKED },
        { "321", ROOM_STATUS_AFFILIATION },  { "322", ROOM_STATUS_MEMBERS_ONLY },
        { "332", ROOM_STATUS_SHUTDOWN },
    };

    for (size_t i = 0; i < ELEMENTSOF(codes); i++)
        if (streq(code, codes[i].code))
            return codes[i].status;
    return 0;
}

static RoomAction *add_action(Room *room, RoomActionType type)
{
    RoomAction *action;

    if (room->next_action == room->n_actions)
        room->next_action = room->n_actions = 0;
    assert(room->n_actions < ROOM_ACTIONS_MAX);
    action = &room->actions[room->n_actions++];
    action->type = type;
    action->reason[0] = '\0';
    memcpy(action->nick, room->nick, sizeof(action->nick));
    return action;
}

const RoomAction *room_next_action(Room *room)
{
    if (room->next_action == room->n_actions)
        return NULL;
    return &room->actions[room->next_action++];
}

static void report(Room *room, RoomState state, const char *format, ...) PRINTF_LIKE(3, 4);

static void report(Room *room, RoomState state, const char *format, ...)
{
    RoomAction *action = add_action(room, ROOM_ACTION_REPORT);
    va_list args;

    action->state = state;
    va_start(args, format);
    vsnprintf(action->reason, sizeof(action->reason), format, args);
    va_end(args);
}

static void join(Room *room, usec_t now)
{
    room->phase = ROOM_PHASE_JOINING;
    room->created = room->wants_voice = false;
    room->self_ping_sent = false;
    room->next_self_ping_usec = USEC_INFINITY;
    room->deadline_usec = now + ROOM_JOIN_USEC;
    add_action(room, ROOM_ACTION_JOIN);
}

static void out(Room *room, const char *reason, usec_t now, uint32_t random)
{
    room->phase = ROOM_PHASE_WAITING;
    room->next_self_ping_usec = USEC_INFINITY;
    room->self_ping_sent = false;
    room->nick_number = 1;
    snprintf(room->nick, sizeof(room->nick), "%s", room->wanted_nick);
    room->deadline_usec = now + backoff_failed(&room->backoff, now, random);
    report(room, ROOM_OUT, "%s", reason);
}

static void out_because(Room *room, usec_t now, uint32_t random, const char *format, ...)
    PRINTF_LIKE(4, 5);

static void out_because(Room *room, usec_t now, uint32_t random, const char *format, ...)
{
    char reason[LINK_REASON_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(reason, sizeof(reason), format, args);
    va_end(args);
    out(room, reason, now, random);
}

static void ready(Room *room, usec_t now)
{
    room->phase = ROOM_PHASE_IN;
    room->deadline_usec = USEC_INFINITY;
    room->next_self_ping_usec = now + room->self_ping_usec;
    if (room->created)
        report(room, ROOM_READY,
               "room %s did not exist and was made now, with the server's default "
               "configuration; check destinations.room, or configure the room",
               room->jid);
    else if (!streq(room->nick, room->wanted_nick))
        report(room, ROOM_READY, "in %s as \"%s\"; \"%s\" is taken there (destinations.nick)",
               room->jid, room->nick, room->wanted_nick);
    else
        report(room, ROOM_READY, "%s", "");
}

void room_start(Room *room, usec_t now)
{
    if (room->phase != ROOM_PHASE_IDLE)
        return;
    report(room, ROOM_JOINING, "%s", "");
    join(room, now);
}

void room_leave(Room *room)
{
    bool present = room->phase >= ROOM_PHASE_JOINING;

    room->phase = ROOM_PHASE_IDLE;
    room->wants_voice = false;
    room->deadline_usec = USEC_INFINITY;
    room->next_self_ping_usec = USEC_INFINITY;
    if (present)
        add_action(room, ROOM_ACTION_LEAVE);
}

/* "nick-2", made by cutting the nick where both together would be too long. */
static bool next_nick(Room *room)
{
    char suffix[16];
    size_t length = strlen(room->wanted_nick);
    int n;

    if (room->nick_number >= ROOM_NICK_TRIES)
        return false;
    room->nick_number++;
    n = snprintf(suffix, sizeof(suffix), "-%u", room->nick_number);
    length = MIN(length, (size_t)(ROOM_NICK_MAX - n));
    while (length > 0 && ((unsigned char)room->wanted_nick[length] & 0xc0) == 0x80)
        length--;
    snprintf(room->nick, sizeof(room->nick), "%.*s%s", (int)length, room->wanted_nick, suffix);
    return true;
}

/* What each refusal of a join means and what mends it (XEP-0045, 7.2). %s: the room. */
static const struct {
    const char *condition;
    const char *sentence;
} refusals[] = {
    { "registration-required", "room %s is for members only; make the account a member of it" },
    { "forbidden", "the account is banned from room %s; have the ban lifted" },
    { "not-authorized",
      "room %s wants a password, which is not supported; let it be for members only instead" },
    { "item-not-found",
      "room %s does not exist or is locked; create it, or check destinations.room" },
    { "gone", "room %s does not exist any more; check destinations.room" },
    { "not-allowed",
      "room %s does not exist and the account may not create it, or is kept out of it; create "
      "the room, or check destinations.room" },
    { "not-acceptable",
      "room %s does not allow the nick; use the one registered there (destinations.nick)" },
    { "jid-malformed",
      "room %s refused the address or the nick as malformed; check destinations.room and "
      "destinations.nick" },
    { "conflict", "the nick and all its variations are taken in room %s; choose another "
                  "(destinations.nick)" },
    { "service-unavailable",
      "room %s is full, or nothing serves that address; check destinations.room" },
    { "remote-server-not-found",
      "the server of room %s was not found; check destinations.room and the DNS" },
    { "remote-server-timeout", "the server of room %s does not answer" },
    { "resource-constraint",
      "room %s refused us for want of resources or because of a rate limit" },
    { "policy-violation", "room %s refused us by its policy; ask the server's operator" },
};

static void refused(Room *room, const RoomPresence *presence, usec_t now, uint32_t random)
{
    const char *condition = presence->condition ? presence->condition : "no condition";
    char sentence[LINK_REASON_MAX];
    size_t i;

    /* Refused from the history phase on: the room has thrown us out by an error. */
    for (i = 0; i < ELEMENTSOF(refusals) && !streq(condition, refusals[i].condition); i++)
        ;
    if (i < ELEMENTSOF(refusals)) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(sentence, sizeof(sentence), refusals[i].sentence, room->jid);
#pragma GCC diagnostic pop
    } else
        snprintf(sentence, sizeof(sentence), "room %s refused us: %s", room->jid, condition);

    if (presence->text && *presence->text)
        out_because(room, now, random, "%s (\"%s\")", sentence, presence->text);
    else
        out(room, sentence, now, random);
}

static void removed(Room *room, const RoomPresence *presence, usec_t now, uint32_t random)
{
    const char *cause = "left by the server's doing", *remedy = "";
    const char *text = presence->text && *presence->text ? presence->text : NULL;

    if (presence->destroyed) {
        cause = "destroyed";
        remedy = "; check destinations.room";
    } else if (presence->status & ROOM_STATUS_BANNED) {
        cause = "closed to us: banned";
        remedy = "; have the ban lifted";
    } else if (presence->status & ROOM_STATUS_AFFILIATION) {
        cause = "closed to us: no longer a member";
        remedy = "; make the account a member of it";
    } else if (presence->status & ROOM_STATUS_MEMBERS_ONLY) {
        cause = "closed to us: now for members only";
        remedy = "; make the account a member of it";
    } else if (presence->status & ROOM_STATUS_SHUTDOWN)
        cause = "gone: its server is shutting down";
    else if (presence->status & ROOM_STATUS_KICKED) {
        cause = "closed to us: kicked";
        remedy = "; joining again";
    }
    out_because(room, now, random, "room %s is %s%s%s%s%s", room->jid, cause, text ? " (\"" : "",
                text ? text : "", text ? "\")" : "", remedy);
}

static void entered(Room *room, const RoomPresence *presence, usec_t now)
{
    if (presence->nick && strlen(presence->nick) <= ROOM_NICK_MAX)
        snprintf(room->nick, sizeof(room->nick), "%s", presence->nick);
    room->voiceless = presence->voiceless;
    if (room->phase == ROOM_PHASE_WAITING && room->wants_voice && !room->voiceless) {
        report(room, ROOM_JOINING, "%s", "");
        join(room, now);
        return;
    }
    if (room->phase != ROOM_PHASE_JOINING)
        return;

    room->phase = ROOM_PHASE_HISTORY;
    room->deadline_usec = now + ROOM_SUBJECT_USEC;
    backoff_started(&room->backoff, now);
    if (presence->status & ROOM_STATUS_CREATED) {
        room->created = true;
        add_action(room, ROOM_ACTION_CONFIGURE);
    }
}

void room_presence(Room *room, const RoomPresence *presence, usec_t now, uint32_t random)
{
    bool ours = (presence->status & ROOM_STATUS_SELF) ||
                (presence->nick && streq(presence->nick, room->nick));

    if (room->phase < ROOM_PHASE_JOINING && (presence->type || !room->wants_voice))
        return;

    if (!presence->type) {
        if (presence->status & ROOM_STATUS_SELF)
            entered(room, presence, now);
        return;
    }

    if (streq(presence->type, "error")) {
        /* The answer to a join comes from the nick we asked for, or from the room. An error of
         * later times that is not for our own presence is none of ours. */
        if (!ours && presence->nick)
            return;
        if (room->phase == ROOM_PHASE_JOINING && presence->condition &&
            streq(presence->condition, "conflict") && next_nick(room)) {
            join(room, now);
            return;
        }
        refused(room, presence, now, random);
        return;
    }

    if (streq(presence->type, "unavailable") && ours) {
        /* 303: the server gave us another nick; the presence under that one follows. */
        if (presence->status & ROOM_STATUS_NICK_CHANGED)
            return;
        /* An old session of ours under the same nick may leave while we join; what concerns
         * us is then marked 110 all the same, so only our own phase can tell. */
        if (room->phase == ROOM_PHASE_JOINING && !(presence->status & ~ROOM_STATUS_SELF) &&
            !presence->destroyed)
            return;
        removed(room, presence, now, random);
    }
}

/* What is of unknown fate and not in the history may be in the archive. How long that takes is
 * bounded there. */
static void look_up(Room *room)
{
    room->phase = ROOM_PHASE_ARCHIVE;
    room->deadline_usec = USEC_INFINITY;
    add_action(room, ROOM_ACTION_LOOK_UP);
}

void room_subject(Room *room, usec_t now)
{
    if (room->phase == ROOM_PHASE_HISTORY)
        look_up(room);
}

void room_looked_up(Room *room, usec_t now)
{
    if (room->phase == ROOM_PHASE_ARCHIVE)
        ready(room, now);
}

void room_not_in(Room *room, const char *condition, usec_t now, uint32_t random)
{
    if (room->phase < ROOM_PHASE_HISTORY)
        return;
    out_because(room, now, random,
                "room %s refused a message because we are not in it (%s); joining again", room->jid,
                condition);
}

/* We stay, for one that stays away can't be given a voice, and join again now and then, in case
 * the account has become a member. */
bool room_forbidden(Room *room, usec_t now, uint32_t random)
{
    if (!room->voiceless || room->phase < ROOM_PHASE_HISTORY)
        return false;
    out_because(room, now, random,
                "room %s gives the account no voice; make the account a member of it, or grant "
                "it voice",
                room->jid);
    room->wants_voice = true;
    return true;
}

/* XEP-0410, section 3.2. */
void room_self_ping_answer(Room *room, const char *condition, usec_t now, uint32_t random)
{
    static const char *const in[] = { "service-unavailable", "feature-not-implemented",
                                      "item-not-found" };
    static const char *const unknown[] = { "remote-server-not-found", "remote-server-timeout" };

    if (room->phase != ROOM_PHASE_IN || !room->self_ping_sent)
        return;
    room->self_ping_sent = false;
    room->deadline_usec = USEC_INFINITY;
    room->next_self_ping_usec = now + room->self_ping_usec;
    if (!condition)
        return;
    for (size_t i = 0; i < ELEMENTSOF(in); i++)
        if (streq(condition, in[i]))
            return;
    for (size_t i = 0; i < ELEMENTSOF(unknown); i++)
        if (streq(condition, unknown[i]))
            return;
    out_because(room, now, random,
                "room %s says that we are not in it any more (%s); joining again", room->jid,
                condition);
}

void room_tick(Room *room, usec_t now, uint32_t random)
{
    if (room->deadline_usec <= now) {
        switch (room->phase) {
        case ROOM_PHASE_WAITING:
            report(room, ROOM_JOINING, "%s", "");
            join(room, now);
            return;
        case ROOM_PHASE_JOINING:
            /* Leave, lest a late answer leave us in it unawares. */
            add_action(room, ROOM_ACTION_LEAVE);
            out_because(room, now, random,
                        "room %s did not answer our presence; check destinations.room and the "
                        "server's MUC service",
                        room->jid);
            return;
        case ROOM_PHASE_HISTORY:
            look_up(room);
            return;
        case ROOM_PHASE_IN:
            /* No answer to a self-ping says nothing; the question is put again. */
            room->self_ping_sent = false;
            room->deadline_usec = USEC_INFINITY;
            room->next_self_ping_usec = now + room->self_ping_usec;
            return;
        case ROOM_PHASE_ARCHIVE:
        case ROOM_PHASE_IDLE:
            room->deadline_usec = USEC_INFINITY;
            return;
        }
    }
    if (room->phase == ROOM_PHASE_IN && room->next_self_ping_usec <= now) {
        room->self_ping_sent = true;
        room->next_self_ping_usec = USEC_INFINITY;
        room->deadline_usec = now + ROOM_SELF_PING_USEC;
        add_action(room, ROOM_ACTION_SELF_PING);
    }
}

usec_t room_deadline(const Room *room)
{
    return MIN(room->deadline_usec, room->next_self_ping_usec);
}

bool room_is_ready(const Room *room)
{
    return room->phase == ROOM_PHASE_IN;
}
