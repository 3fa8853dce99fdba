/* SPDX-License-Identifier: MIT */

/*
 * The session process, from `start` to `end`.
 *
 * One poll() loop over the link and the stream. Nothing is kept between two connections: when
 * the stream is over, `end` is sent and the process exits. What the server says goes through
 * the rooms' state machines (room.h) and the flights (flight.h); what is to be said goes out
 * through the outbox.
 *
 * Pressure travels backwards: while much waits to be written to the server, no post is read
 * from the link; while the relay process does not take what we tell it, nothing is read from
 * the server.
 */

#include "xmpprelay/session.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "common/log.h"
#include "xmpprelay/password.h"
#include "xmpprelay/session-internal.h"

#define BEAT_USEC USEC_PER_SEC
#define PING_ANSWER_USEC (10 * USEC_PER_SEC)
#define FAREWELL_USEC (2 * USEC_PER_SEC)
#define START_USEC (10 * USEC_PER_SEC)
#define QUEUE_MAX 64   /* stanzas waiting to be written; past it no post is taken */
#define PACKETS_MAX 64 /* taken from the link in one turn */
#define ADDRESS_SPACE_MAX ((rlim_t)512 << 20)

/* Towards the relay process. */

void session_end(Session *session, EndCause cause, const char *reason)
{
    if (session->ended)
        return;
    session->ended = true;
    session->end_cause = cause;
    snprintf(session->end_reason, sizeof(session->end_reason), "%s", reason);
}

void session_tell(Session *session, const LinkMessage *message)
{
    int r = outbox_send(&session->outbox, session->link_fd, message);

    if (r < 0) {
        session->broken = true;
        session_end(session, END_NETWORK, "the relay process does not take what it is told");
    }
}

static void flush(Session *session)
{
    int r = outbox_flush(&session->outbox, session->link_fd);

    if (r < 0 && r != -EAGAIN) {
        session->broken = true;
        session_end(session, END_NETWORK, "the relay process does not take what it is told");
    }
}

/* From the relay process. */

static void take_post(Session *session, const LinkMessage *message)
{
    SessionRoom *room = session_find_room(session, message->destination);

    if (room) {
        session_post(session, room, message);
        return;
    }
    session->broken = true;
    session_end(session, END_NETWORK, "the relay process posts to a destination that is not ours");
}

static void quit(Session *session)
{
    if (session->quitting)
        return;
    session->quitting = true;
    session_leave_rooms(session);
    stream_close(session->stream);
}

static bool takes_posts(const Session *session)
{
    return stream_queue_length(session->stream) < QUEUE_MAX && !session->outbox.head;
}

static void read_link(Session *session)
{
    for (int i = 0; i < PACKETS_MAX && takes_posts(session) && !session->ended; i++) {
        _cleanup_(link_storage_freep) LinkStorage *storage = NULL;
        LinkMessage message;
        int r = link_receive(session->link_fd, &message, &storage);

        if (r == -EAGAIN)
            return;
        if (r >= 0 && message.type == LINK_POST)
            take_post(session, &message);
        else if (r >= 0 && message.type == LINK_QUIT)
            quit(session);
        else {
            /* It has gone, or is not what it should be. */
            session->broken = true;
            session_end(session, END_QUIT, "the relay process has gone");
        }
    }
}

/* Time. */

static void ping_server(Session *session, usec_t now)
{
    if (!stream_is_online(session->stream) || session->quitting)
        return;
    if (session->ping_sent_usec > 0 && stream_heard_usec(session->stream) > session->ping_sent_usec)
        session->ping_sent_usec = 0;
    if (session->ping_sent_usec > 0) {
        if (now >= session->ping_sent_usec + PING_ANSWER_USEC)
            session_end(session, END_NETWORK, "the server is silent: no answer to a ping in 10 s");
        return;
    }
    if (now < stream_heard_usec(session->stream) + session->start.ping_usec)
        return;
    session_ping(session);
    session->ping_sent_usec = now;
}

static void tick(Session *session, usec_t now)
{
    if (now >= session->next_beat_usec) {
        session_tell(session, &(LinkMessage){ .type = LINK_BEAT });
        session->next_beat_usec = now + BEAT_USEC;
    }
    ping_server(session, now);
    if (!stream_is_online(session->stream) || session->quitting)
        return;
    session_tick_rooms(session, now);
}

static int wait_milliseconds(const Session *session, usec_t now)
{
    usec_t next = session->next_beat_usec;

    if (stream_is_online(session->stream) && !session->quitting) {
        if (session->ping_sent_usec > 0)
            next = MIN(next, session->ping_sent_usec + PING_ANSWER_USEC);
        else
            next = MIN(next, stream_heard_usec(session->stream) + session->start.ping_usec);
        next = MIN(next, session_rooms_deadline(session));
    }
    return next <= now ? 0 : (int)((next - now + 999) / 1000);
}

static void run(Session *session)
{
    StreamStep step = STREAM_IDLE;

    while (!session->ended) {
        bool held = session->outbox.head;
        struct pollfd fds[] = {
            { .fd = session->link_fd,
              .events = (short)((takes_posts(session) ? POLLIN : 0) | (held ? POLLOUT : 0)) },
            { .fd = held ? -1 : stream_fd(session->stream) },
        };
        usec_t now = now_usec(CLOCK_MONOTONIC);
        const char *reason;
        EndCause cause;

        if (fds[1].fd >= 0)
            fds[1].events = stream_events(session->stream);
        if (poll(fds, ELEMENTSOF(fds),
                 step == STREAM_MORE && !held ? 0 : wait_milliseconds(session, now)) < 0 &&
            errno != EINTR) {
            session_end(session, END_NETWORK, strerror(errno));
            return;
        }
        if (held)
            flush(session);
        if (fds[0].revents & POLLIN)
            read_link(session);
        else if (fds[0].revents & (POLLHUP | POLLERR)) {
            session->broken = true;
            session_end(session, END_QUIT, "the relay process has gone");
        }
        if (!session->outbox.head) {
            step = stream_step(session->stream);
            if (step == STREAM_OVER) {
                stream_end(session->stream, &cause, &reason);
                session_end(session, session->quitting ? END_QUIT : cause, reason);
            }
        }
        tick(session, now_usec(CLOCK_MONOTONIC));
    }
}

/* Beginning and end. */

/* Limits what a hostile server can make of this process, and keeps the password out of cores
 * and other processes' sight. */
static void confine(void)
{
    const struct rlimit no_core = {};

    prctl(PR_SET_NAME, "xmpp-session");
    setrlimit(RLIMIT_CORE, &no_core);
    signal(SIGPIPE, SIG_IGN);
#ifndef __SANITIZE_ADDRESS__
    /* A sanitizer reserves terabytes, and has itself traced for leaks. */
    setrlimit(RLIMIT_AS, &(struct rlimit){ ADDRESS_SPACE_MAX, ADDRESS_SPACE_MAX });
    prctl(PR_SET_DUMPABLE, 0);
#endif
}

static int receive_start(Session *session)
{
    struct pollfd fd = { .fd = session->link_fd, .events = POLLIN };
    int r;

    if (poll(&fd, 1, (int)(START_USEC / USEC_PER_MSEC)) <= 0)
        return -ETIMEDOUT;
    r = link_receive(session->link_fd, &session->start, &session->start_storage);
    if (r < 0)
        return r;
    return session->start.type == LINK_START ? 0 : -EBADMSG;
}

static void connect_stream(Session *session)
{
    _cleanup_(password_freep) char *password = NULL;
    const Account *account = session->start.account;
    char reason[LINK_REASON_MAX];
    EndCause cause = END_NETWORK;
    int r;

    session_tell(session, &(LinkMessage){ .type = LINK_STREAM, .stream_state = STREAM_CONNECTING });
    r = password_read(account, &password, reason, sizeof(reason));
    if (r < 0) {
        session_end(session, END_CONFIG, reason);
        return;
    }
    r = stream_new(account, password, &session_stream_handlers, session, &session->stream, &cause,
                   reason);
    if (r == -EHOSTUNREACH)
        session_end(session, cause, reason);
    else if (r < 0)
        session_end(session, END_NETWORK, strerror(-r));
}

/* The last words wait for their turn, but not for ever. */
static void say_end(Session *session)
{
    usec_t deadline = now_usec(CLOCK_MONOTONIC) + FAREWELL_USEC, now;

    if (!session->broken)
        session_tell(session, &(LinkMessage){ .type = LINK_END,
                                              .end_cause = session->end_cause,
                                              .reason = session->end_reason });
    while (!session->broken && session->outbox.head &&
           (now = now_usec(CLOCK_MONOTONIC)) < deadline) {
        struct pollfd fd = { .fd = session->link_fd, .events = POLLOUT };

        if (poll(&fd, 1, (int)((deadline - now + 999) / 1000)) < 0 && errno != EINTR)
            return;
        flush(session);
    }
}

int session_main(int link_fd)
{
    Session session = { .link_fd = link_fd };
    int r;

    confine();
    r = receive_start(&session);
    if (r >= 0)
        r = session_add_rooms(&session);
    if (r < 0)
        log_error("a session process was not told what to do: %s", strerror(-r));
    else {
        connect_stream(&session);
        if (!session.ended)
            run(&session);
        say_end(&session);
    }
    stream_free(session.stream);
    session_free_rooms(&session);
    outbox_free_entries(&session.outbox);
    link_storage_free(session.start_storage);
    return r < 0 || session.broken ? EXIT_FAILURE : EXIT_SUCCESS;
}
