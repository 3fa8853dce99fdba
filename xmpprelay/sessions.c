/* SPDX-License-Identifier: MIT */

/*
 * One Supervised for each account that a destination uses. Its life:
 *
 *   WAITING ──timer──▶ CONNECTING ──stream online──▶ ONLINE
 *      ▲                   │                           │
 *      └──── the process has been reaped (SIGCHLD) ◀───┘ ──▶ STOPPED, when stopping
 *
 * A process ends by itself after `end`, or is killed: when no packet came for
 * session.silence, when it breaks the link's rules, when the owner gives it up. Only its
 * reaping changes the state: what it said before is read first, then what was ready is lost.
 * So there is one place, on_exit_status(), where a session's end is handled.
 */

#include "xmpprelay/sessions-internal.h"

#include <signal.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/wait.h>

#include "common/log.h"
#include "common/units.h"
#include "xmpprelay/session-process.h"

#define HEALTHY_USEC (60 * USEC_PER_SEC)

const Account *supervised_account(const Supervised *supervised)
{
    return settings_account(supervised->sessions->settings, supervised->account);
}

bool supervised_has(const Supervised *supervised, size_t destination)
{
    const Settings *settings = supervised->sessions->settings;

    return destination < settings->destinations.n &&
           settings_destination(settings, destination)->account_index == supervised->account;
}

void supervised_set_state(Supervised *supervised, SupervisedState state, const char *reason)
{
    supervised->state = state;
    supervised->since_usec = now_usec(CLOCK_REALTIME);
    snprintf(supervised->reason, sizeof(supervised->reason), "%s", reason);
}

void sessions_set_room(Sessions *sessions, size_t index, RoomState state, const char *reason,
                       const char *nick)
{
    SupervisedDestination *destination = &sessions->destinations[index];

    if (destination->state != state)
        destination->since_usec = now_usec(CLOCK_REALTIME);
    destination->state = state;
    snprintf(destination->reason, sizeof(destination->reason), "%s", reason ? reason : "");
    free(destination->nick);
    destination->nick = nick ? strdup(nick) : NULL;
}

void supervised_release_process(Supervised *supervised)
{
    supervised->link_source = sd_event_source_disable_unref(supervised->link_source);
    supervised->child_source = sd_event_source_disable_unref(supervised->child_source);
    supervised->silence_source = sd_event_source_disable_unref(supervised->silence_source);
    supervised->link_fd = close_fd(supervised->link_fd);
    supervised->pid = 0;
    supervised->blocked = supervised->dying = supervised->has_end = false;
}

void sessions_check_stopped(Sessions *sessions)
{
    void (*on_stopped)(void *userdata) = sessions->on_stopped;

    if (!sessions->stopping || !on_stopped)
        return;
    for (size_t i = 0; i < sessions->n_supervised; i++)
        if (sessions->supervised[i].pid != 0)
            return;
    sessions->on_stopped = NULL;
    sessions->stop_source = sd_event_source_disable_unref(sessions->stop_source);
    on_stopped(sessions->owner.userdata);
}

void supervised_retry(Supervised *supervised, EndCause cause, const char *reason)
{
    const bool operators = cause == END_AUTH || cause == END_CONFIG || cause == END_TLS;
    const char *name = supervised_account(supervised)->name;
    char human[UNITS_TEXT_MAX];
    uint32_t random = 0;
    usec_t wait;
    int r;

    /* A bad line that brings us on is worth another try soon, and the others are not to wait for
     * what one message does. */
    if ((cause == END_NETWORK || cause == END_POISON) && supervised->brought)
        supervised->backoff.failures = 0;
    (void)!getrandom(&random, sizeof(random), GRND_NONBLOCK);
    wait = backoff_failed(&supervised->backoff, now_usec(CLOCK_BOOTTIME), random);
    supervised_set_state(supervised, SUPERVISED_WAITING, reason);
    supervised->retry_usec = supervised->since_usec + wait;
    r = sd_event_source_set_time_relative(supervised->retry_source, wait);
    if (r >= 0)
        r = sd_event_source_set_enabled(supervised->retry_source, SD_EVENT_ONESHOT);
    if (r < 0)
        log_error("session %s ended: %s; it can't be started again: %s", name, reason,
                  strerror(-r));
    else
        log_line(operators ? LOG_ERR : LOG_WARNING, "session %s ended: %s; next try in %s", name,
                 reason, duration_human(wait, human));
}

/* Starting. */

/* Sends `start`. Where all the ids of unknown fate don't fit into it, those of some destinations
 * are left out; what they say may then be posted twice. */
static int send_start(Supervised *supervised, int fd)
{
    const Settings *settings = supervised->sessions->settings;
    const SessionsOwner *owner = &supervised->sessions->owner;
    _cleanup_free_ LinkDestination *destinations =
        calloc(MAX(settings->destinations.n, (size_t)1), sizeof(*destinations));
    LinkMessage message = {
        .type = LINK_START,
        .account = supervised_account(supervised),
        .ping_usec = settings->session.ping_usec,
        .self_ping_usec = settings->session.self_ping_usec,
        .confirm_usec = settings->delivery.confirm_usec,
        .destinations = destinations,
    };
    size_t left_out = 0, n = 0;
    int r;

    if (!destinations)
        return -ENOMEM;
    for (size_t i = 0; i < settings->destinations.n; i++) {
        const Destination *destination = settings_destination(settings, i);
        LinkDestination *to = &destinations[n];

        if (!supervised_has(supervised, i))
            continue;
        *to = (LinkDestination){ .index = i, .name = destination->name };
        if (owner->on_starting)
            owner->on_starting(owner->userdata, i, to);
        to->room = destination->room;
        to->nick = destination->room ? destination->nick : NULL;
        to->contact = destination->contact;
        n++;
    }
    message.n_destinations = n;
    while ((r = link_send(fd, &message)) == -EMSGSIZE && left_out < n)
        destinations[n - ++left_out].n_pending = 0;
    if (r >= 0 && left_out > 0)
        log_warning("session %s: too much is of unknown fate; what %zu destinations have in "
                    "flight may be posted twice",
                    message.account->name, left_out);
    return r;
}

static int start_session(Supervised *supervised)
{
    const SessionsOwner *owner = &supervised->sessions->owner;
    _cleanup_close_ int ours = -1, theirs = -1;
    pid_t pid;
    int r;

    r = session_process_link(&ours, &theirs);
    if (r < 0)
        return r;
    r = send_start(supervised, ours);
    if (r < 0)
        return r;
    pid = session_process_start(theirs);
    if (pid < 0)
        return pid;

    supervised->pid = pid;
    supervised->link_fd = steal_fd(&ours);
    r = supervised_watch(supervised);
    if (r < 0) {
        supervised_release_process(supervised);
        kill(pid, SIGKILL);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
        return r;
    }
    supervised->starts++;
    supervised->brought = false;
    if (owner->on_started)
        owner->on_started(owner->userdata, supervised->account);
    supervised->retry_usec = 0;
    supervised->state = SUPERVISED_CONNECTING;
    supervised->since_usec = now_usec(CLOCK_REALTIME);
    return 0;
}

static void start_or_retry(Supervised *supervised)
{
    char reason[LINK_REASON_MAX];
    int r = start_session(supervised);

    if (r >= 0)
        return;
    snprintf(reason, sizeof(reason), "its process could not be started: %s", strerror(-r));
    supervised_retry(supervised, END_NETWORK, reason);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
    Supervised *supervised = userdata;

    if (!supervised->sessions->stopping && supervised->pid == 0)
        start_or_retry(supervised);
    return 0;
}

static int add_supervised(Sessions *sessions, size_t account)
{
    const SessionSettings *settings = &sessions->settings->session;
    Supervised *supervised = &sessions->supervised[account];
    int r;

    *supervised = (Supervised){
        .sessions = sessions,
        .account = account,
        .link_fd = -1,
        .state = SUPERVISED_STOPPED,
        .since_usec = now_usec(CLOCK_REALTIME),
        .backoff = { .base_usec = settings->backoff_usec,
                     .cap_usec = settings->backoff_cap_usec,
                     .healthy_usec = HEALTHY_USEC },
    };
    r = sd_event_add_time_relative(sessions->event, &supervised->retry_source, CLOCK_BOOTTIME, 0, 0,
                                   on_retry, supervised);
    if (r < 0)
        return r;
    return sd_event_source_set_enabled(supervised->retry_source, SD_EVENT_OFF);
}

int sessions_new(sd_event *event, const Settings *settings, const SessionsOwner *owner,
                 Sessions **ret)
{
    _cleanup_(sessions_freep) Sessions *sessions = calloc(1, sizeof(*sessions));
    sigset_t mask;
    int r;

    if (!sessions)
        return -ENOMEM;
    sessions->event = sd_event_ref(event);
    sessions->settings = settings;
    sessions->owner = *owner;
    sessions->supervised =
        calloc(MAX(settings->accounts.n, (size_t)1), sizeof(*sessions->supervised));
    sessions->destinations =
        calloc(MAX(settings->destinations.n, (size_t)1), sizeof(*sessions->destinations));
    if (!sessions->supervised || !sessions->destinations)
        return -ENOMEM;

    /* sd-event wants this of whoever has child sources. */
    sigemptyset(&mask);
    sigaddset(&mask, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
        return -errno;

    for (size_t i = 0; i < settings->destinations.n; i++)
        sessions_set_room(sessions, i, ROOM_OUT, "the session is not online", NULL);
    for (size_t i = 0; i < settings->accounts.n; i++) {
        sessions->n_supervised++;
        r = add_supervised(sessions, i);
        if (r < 0)
            return r;
    }
    *ret = steal_ptr(sessions);
    return 0;
}

Sessions *sessions_free(Sessions *sessions)
{
    if (!sessions)
        return NULL;
    for (size_t i = 0; i < sessions->n_supervised; i++) {
        Supervised *supervised = &sessions->supervised[i];

        if (supervised->pid != 0) {
            pid_t pid = supervised->pid;

            kill(pid, SIGKILL);
            supervised_release_process(supervised);
            while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                ;
        }
        sd_event_source_disable_unref(supervised->retry_source);
    }
    sd_event_source_disable_unref(sessions->stop_source);
    if (sessions->destinations)
        for (size_t i = 0; i < sessions->settings->destinations.n; i++)
            free(sessions->destinations[i].nick);
    free(sessions->supervised);
    free(sessions->destinations);
    sd_event_unref(sessions->event);
    free(sessions);
    return NULL;
}

int sessions_start(Sessions *sessions)
{
    for (size_t i = 0; i < sessions->n_supervised; i++) {
        Supervised *supervised = &sessions->supervised[i];
        bool used = false;

        for (size_t j = 0; j < sessions->settings->destinations.n; j++)
            used |= supervised_has(supervised, j);
        if (!used) {
            supervised_set_state(supervised, SUPERVISED_STOPPED,
                                 "no destination uses this account");
            continue;
        }
        start_or_retry(supervised);
    }
    return 0;
}

/* Stopping. */

static int on_stop_timeout(sd_event_source *source, uint64_t usec, void *userdata)
{
    Sessions *sessions = userdata;

    for (size_t i = 0; i < sessions->n_supervised; i++)
        supervised_kill(&sessions->supervised[i], END_QUIT, "killed: it did not leave in time");
    return 0;
}

int sessions_stop(Sessions *sessions, usec_t timeout_usec, void (*on_stopped)(void *userdata))
{
    int r;

    r = sd_event_add_time_relative(sessions->event, &sessions->stop_source, CLOCK_BOOTTIME,
                                   timeout_usec, 0, on_stop_timeout, sessions);
    if (r < 0)
        return r;
    sessions->stopping = true;
    sessions->on_stopped = on_stopped;
    for (size_t i = 0; i < sessions->n_supervised; i++) {
        Supervised *supervised = &sessions->supervised[i];

        sd_event_source_set_enabled(supervised->retry_source, SD_EVENT_OFF);
        if (supervised->pid == 0)
            supervised_set_state(supervised, SUPERVISED_STOPPED, "");
        else if (link_send(supervised->link_fd, &(LinkMessage){ .type = LINK_QUIT }) < 0)
            supervised_kill(supervised, END_QUIT, "killed: it could not be told to leave");
        supervised->retry_usec = 0;
        supervised->dying = true;
    }
    sessions_check_stopped(sessions);
    return 0;
}

/* For the owner. */

int sessions_post(Sessions *sessions, size_t destination, const char *stanza_id, const char *body,
                  bool unstyled, usec_t delay_usec)
{
    size_t account = settings_destination(sessions->settings, destination)->account_index;
    Supervised *supervised = &sessions->supervised[account];
    int r;

    if (supervised->pid == 0 || supervised->dying ||
        sessions->destinations[destination].state != ROOM_READY)
        return -ENOTCONN;
    if (supervised->blocked)
        return -EAGAIN;
    r = link_send(supervised->link_fd, &(LinkMessage){ .type = LINK_POST,
                                                       .destination = destination,
                                                       .stanza_id = stanza_id,
                                                       .body = body,
                                                       .unstyled = unstyled,
                                                       .delay_usec = delay_usec });
    if (r == -EAGAIN)
        supervised_watch_writable(supervised, true);
    return r == -EPIPE || r == -ECONNRESET ? -ENOTCONN : r;
}

void sessions_give_up(Sessions *sessions, size_t destination, const char *reason)
{
    size_t account = settings_destination(sessions->settings, destination)->account_index;

    supervised_kill(&sessions->supervised[account], END_NETWORK, "%s", reason);
}

void sessions_account_status(const Sessions *sessions, size_t account, SessionStatus *ret)
{
    static const char *const names[] = {
        [SUPERVISED_WAITING] = "waiting",
        [SUPERVISED_CONNECTING] = "connecting",
        [SUPERVISED_ONLINE] = "online",
        [SUPERVISED_STOPPED] = "stopped",
    };
    const Supervised *supervised = &sessions->supervised[account];

    *ret = (SessionStatus){
        .online = supervised->state == SUPERVISED_ONLINE,
        .state = names[supervised->state],
        .reason = supervised->reason,
        .since_usec = supervised->since_usec,
        .retry_usec = supervised->state == SUPERVISED_WAITING ? supervised->retry_usec : 0,
        .reconnects = supervised->starts > 0 ? supervised->starts - 1 : 0,
        .pid = supervised->pid,
    };
}

void sessions_destination_status(const Sessions *sessions, size_t destination,
                                 DestinationStatus *ret)
{
    const SupervisedDestination *status = &sessions->destinations[destination];

    *ret = (DestinationStatus){
        .state = status->state,
        .reason = status->reason,
        .nick = status->nick,
        .since_usec = status->since_usec,
    };
}
