/* SPDX-License-Identifier: MIT */

/*
 * What session processes say, and how they end. Only the reaping of a process ends a session:
 * on_exit_status() reads what it said before, then what was ready is lost. Whatever else goes
 * wrong (silence, a broken link) ends in a SIGKILL and so comes to the same place.
 */

#include "xmpprelay/sessions-internal.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "common/child.h"
#include "common/log.h"
#include "common/units.h"

#define PACKETS_MAX 64 /* read from one session in one turn of the loop */

void supervised_kill(Supervised *supervised, EndCause cause, const char *format, ...)
{
    va_list args;

    if (supervised->pid == 0)
        return;
    if (!supervised->has_end) {
        supervised->has_end = true;
        supervised->end_cause = cause;
        va_start(args, format);
        vsnprintf(supervised->end_reason, sizeof(supervised->end_reason), format, args);
        va_end(args);
    }
    supervised->dying = true;
    /* Its own group, and not reaped yet: the id can be no one else's. */
    kill(supervised->pid, SIGKILL);
}

/* What a session says. */

static void on_stream(Supervised *supervised, const LinkMessage *message)
{
    const SessionsOwner *owner = &supervised->sessions->owner;

    if (message->stream_state != STREAM_ONLINE || supervised->state == SUPERVISED_ONLINE)
        return;
    supervised_set_state(supervised, SUPERVISED_ONLINE, "");
    backoff_started(&supervised->backoff, now_usec(CLOCK_BOOTTIME));
    if (owner->on_online)
        owner->on_online(owner->userdata, supervised->account);
    log_info("session %s: %s is online", supervised_account(supervised)->name,
             supervised_account(supervised)->jid);
}

static void lose_room(Supervised *supervised, size_t index, EndCause cause)
{
    Sessions *sessions = supervised->sessions;

    if (sessions->owner.on_lost)
        sessions->owner.on_lost(sessions->owner.userdata, index, cause);
}

static void on_room(Supervised *supervised, const LinkMessage *message)
{
    Sessions *sessions = supervised->sessions;
    size_t index = message->destination;
    const Destination *destination = settings_destination(sessions->settings, index);
    RoomState before = sessions->destinations[index].state;
    const char *reason = message->reason ? message->reason : "";

    sessions_set_room(sessions, index, message->room_state, reason, message->nick);
    switch (message->room_state) {
    case ROOM_OUT:
        log_warning("destination %s is out: %s", destination->name, reason);
        break;
    case ROOM_READY:
        if (*reason)
            log_warning("destination %s is ready: %s", destination->name, reason);
        else
            log_info("destination %s is ready", destination->name);
        break;
    case ROOM_JOINING:
        log_debug("destination %s is being joined", destination->name);
        break;
    }
    if (before == ROOM_READY && message->room_state != ROOM_READY)
        lose_room(supervised, index, END_QUIT);
    if (before != ROOM_READY && message->room_state == ROOM_READY)
        sessions->owner.on_ready(sessions->owner.userdata, index);
}

static int on_message(Supervised *supervised, const LinkMessage *message)
{
    Sessions *sessions = supervised->sessions;
    const SessionsOwner *owner = &sessions->owner;

    switch (message->type) {
    case LINK_ROOM:
    case LINK_DONE:
    case LINK_FAILED:
        if (!supervised_has(supervised, message->destination))
            return -EBADMSG;
        break;
    default:
        break;
    }
    switch (message->type) {
    case LINK_BEAT:
        return 0;
    case LINK_STREAM:
        on_stream(supervised, message);
        return 0;
    case LINK_ROOM:
        on_room(supervised, message);
        return 0;
    case LINK_DONE:
        supervised->brought = true;
        owner->on_done(owner->userdata, message->destination, message->stanza_id);
        return 0;
    case LINK_FAILED:
        owner->on_failed(owner->userdata, message->destination, message->stanza_id,
                         message->failed_kind, message->reason ? message->reason : "");
        return 0;
    case LINK_END:
        if (!supervised->has_end) {
            supervised->has_end = true;
            supervised->end_cause = message->end_cause;
            snprintf(supervised->end_reason, sizeof(supervised->end_reason), "%s",
                     message->reason ? message->reason : "");
        }
        supervised->dying = true;
        return 0;
    case LINK_START:
    case LINK_POST:
    case LINK_QUIT:
        break;
    }
    return -EBADMSG;
}

/* Reads at most `max` packets. 0 when there may be more, -EAGAIN, or -EPIPE at the end. */
static int read_link(Supervised *supervised, size_t max)
{
    for (size_t i = 0; i < max; i++) {
        _cleanup_(link_storage_freep) LinkStorage *storage = NULL;
        LinkMessage message;
        int r = link_receive(supervised->link_fd, &message, &storage);

        if (r == -EAGAIN || r == -EPIPE)
            return r;
        if (r >= 0)
            r = on_message(supervised, &message);
        if (r < 0) {
            supervised_kill(supervised, END_NETWORK,
                            "the session process broke the rules of the link: %s", strerror(-r));
            return -EPIPE;
        }
    }
    return 0;
}

static void rearm_silence(Supervised *supervised)
{
    sd_event_source_set_time_relative(supervised->silence_source,
                                      supervised->sessions->settings->session.silence_usec);
    sd_event_source_set_enabled(supervised->silence_source, SD_EVENT_ONESHOT);
}

void supervised_watch_writable(Supervised *supervised, bool writable)
{
    supervised->blocked = writable;
    if (supervised->link_source)
        sd_event_source_set_io_events(supervised->link_source,
                                      EPOLLIN | (writable ? EPOLLOUT : 0U));
}

static int on_link(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    Supervised *supervised = userdata;
    const SessionsOwner *owner = &supervised->sessions->owner;

    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        int r = read_link(supervised, PACKETS_MAX);

        if (r == -EPIPE) {
            /* It has closed the link and is about to exit; if not, silence kills it. */
            supervised->dying = true;
            sd_event_source_set_enabled(source, SD_EVENT_OFF);
            return 0;
        }
        rearm_silence(supervised);
    }
    if ((events & EPOLLOUT) && supervised->blocked) {
        supervised_watch_writable(supervised, false);
        if (owner->on_writable)
            owner->on_writable(owner->userdata, supervised->account);
    }
    return 0;
}

static bool has_packet(const Supervised *supervised)
{
    char byte;

    return recv(supervised->link_fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT) > 0;
}

static int on_silence(sd_event_source *source, uint64_t usec, void *userdata)
{
    Supervised *supervised = userdata;
    char human[UNITS_TEXT_MAX];

    /* What came in time is not late because we were. */
    if (!supervised->dying && has_packet(supervised)) {
        rearm_silence(supervised);
        return 0;
    }
    duration_human(supervised->sessions->settings->session.silence_usec, human);
    if (supervised->state == SUPERVISED_ONLINE)
        supervised_kill(supervised, END_NETWORK,
                        "the session process was silent for %s (session.silence)", human);
    else
        supervised_kill(supervised, END_NETWORK,
                        "connecting hung for %s, in the DNS or the TLS handshake; check "
                        "accounts.host, the DNS and the server (session.silence)",
                        human);
    return 0;
}

/* Ending. */

static void lose_rooms(Supervised *supervised, EndCause cause)
{
    Sessions *sessions = supervised->sessions;

    for (size_t i = 0; i < sessions->settings->destinations.n; i++) {
        RoomState before = sessions->destinations[i].state;

        if (!supervised_has(supervised, i))
            continue;
        sessions_set_room(sessions, i, ROOM_OUT, "the session is not online", NULL);
        if (before == ROOM_READY)
            lose_room(supervised, i, cause);
    }
}

static void on_exit_status(Supervised *supervised, int status)
{
    char text[CHILD_STATUS_MAX], reason[LINK_REASON_MAX + 1];
    EndCause cause;

    /* What it said before its end still counts: confirmations above all. */
    if (supervised->link_source)
        while (read_link(supervised, PACKETS_MAX) == 0)
            ;
    cause = supervised->has_end ? supervised->end_cause : END_NETWORK;
    if (supervised->has_end)
        snprintf(reason, sizeof(reason), "%s", supervised->end_reason);
    else
        snprintf(reason, sizeof(reason), "its process %s", child_status(status, text));

    supervised_release_process(supervised);
    lose_rooms(supervised, cause);
    if (supervised->sessions->stopping) {
        supervised_set_state(supervised, SUPERVISED_STOPPED, reason);
        log_info("session %s stopped: %s", supervised_account(supervised)->name, reason);
        sessions_check_stopped(supervised->sessions);
    } else
        supervised_retry(supervised, cause, reason);
}

static int on_child(sd_event_source *source, const siginfo_t *info, void *userdata)
{
    Supervised *supervised = userdata;
    int status = info->si_code == CLD_EXITED ? W_EXITCODE(info->si_status, 0)
                                             : W_EXITCODE(0, info->si_status);

    if (info->si_code == CLD_DUMPED)
        status |= WCOREFLAG;
    on_exit_status(supervised, status);
    return 0;
}

int supervised_watch(Supervised *supervised)
{
    sd_event *event = supervised->sessions->event;
    usec_t silence = supervised->sessions->settings->session.silence_usec;
    int r;

    r = sd_event_add_child(event, &supervised->child_source, supervised->pid, WEXITED, on_child,
                           supervised);
    if (r < 0)
        return r;
    r = sd_event_add_io(event, &supervised->link_source, supervised->link_fd, EPOLLIN, on_link,
                        supervised);
    if (r < 0)
        return r;
    /* Of the same priority as all others, or a busy relay would never get to it. */
    return sd_event_add_time_relative(event, &supervised->silence_source, CLOCK_BOOTTIME, silence,
                                      0, on_silence, supervised);
}
