/* SPDX-License-Identifier: MIT */

/*
 * Supervision with sessions that are this very program, executed anew with --session: what such
 * a one does stands in the name of its account.
 */

#include "tests/unit/test.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>

#include "common/log.h"
#include "xmpprelay/session.h"
#include "xmpprelay/sessions.h"

#define PATIENCE_USEC (30 * USEC_PER_SEC)

/* The session's side. */

static void say(const LinkMessage *message)
{
    struct pollfd fd = { .fd = SESSION_LINK_FD, .events = POLLOUT };
    int r;

    while ((r = link_send(SESSION_LINK_FD, message)) == -EAGAIN && poll(&fd, 1, -1) == 1)
        ;
    if (r < 0)
        _exit(9);
}

static void wait_for_packet(LinkMessage *ret, LinkStorage **ret_storage)
{
    struct pollfd fd = { .fd = SESSION_LINK_FD, .events = POLLIN };

    if (poll(&fd, 1, -1) != 1 || link_receive(SESSION_LINK_FD, ret, ret_storage) < 0)
        _exit(8);
}

static void say_ready(const LinkMessage *start)
{
    say(&(LinkMessage){ .type = LINK_STREAM, .stream_state = STREAM_CONNECTING });
    say(&(LinkMessage){ .type = LINK_STREAM, .stream_state = STREAM_ONLINE });
    for (size_t i = 0; i < start->n_destinations; i++) {
        const LinkDestination *destination = &start->destinations[i];

        for (size_t j = 0; j < destination->n_pending; j++)
            say(&(LinkMessage){ .type = LINK_DONE,
                                .destination = destination->index,
                                .stanza_id = destination->pending[j] });
        say(&(LinkMessage){ .type = LINK_ROOM,
                            .destination = destination->index,
                            .room_state = ROOM_READY,
                            .nick = "bot" });
    }
}

static void say_end(EndCause cause, const char *reason)
{
    say(&(LinkMessage){ .type = LINK_END, .end_cause = cause, .reason = reason });
}

/* Confirms what is posted, until told to quit or something more drastic. */
static _Noreturn void serve(void)
{
    for (;;) {
        LinkStorage *storage = NULL;
        LinkMessage message;

        wait_for_packet(&message, &storage);
        if (message.type == LINK_QUIT) {
            say_end(END_QUIT, "as asked");
            _exit(0);
        }
        if (streq(message.body, "crash"))
            abort();
        if (streq(message.body, "poison")) {
            say(&(LinkMessage){ .type = LINK_DONE, .stanza_id = "last-words" });
            say_end(END_POISON, "policy-violation");
            _exit(0);
        }
        if (streq(message.body, "out"))
            say(&(LinkMessage){ .type = LINK_ROOM, .room_state = ROOM_OUT, .reason = "kicked" });
        else if (streq(message.body, "refuse"))
            say(&(LinkMessage){ .type = LINK_FAILED,
                                .stanza_id = message.stanza_id,
                                .failed_kind = FAILED_FINAL,
                                .reason = "forbidden" });
        else if (streq(message.body, "stranger"))
            say(&(LinkMessage){ .type = LINK_DONE, .destination = 1, .stanza_id = "x" });
        else if (streq(message.body, "garbage"))
            (void)!write(SESSION_LINK_FD, "{", 1);
        else
            say(&(LinkMessage){ .type = LINK_DONE,
                                .destination = message.destination,
                                .stanza_id = message.stanza_id });
        link_storage_free(storage);
    }
}

static int play_session(void)
{
    LinkStorage *storage = NULL;
    LinkMessage start;
    const char *role;

    wait_for_packet(&start, &storage);
    role = start.account->name;
    if (streq(role, "mute"))
        pause();
    if (streq(role, "exits"))
        _exit(3);
    if (streq(role, "auth")) {
        say_end(END_AUTH, "the server refused the password");
        _exit(0);
    }
    if (streq(role, "closes")) {
        close(SESSION_LINK_FD);
        pause();
    }
    if (streq(role, "environment")) {
        bool clean = !getenv("SECRET_OF_THE_RELAY") && getenv("TZ") && fcntl(4, F_GETFD) < 0 &&
                     fcntl(5, F_GETFD) < 0 && getpgrp() == getpid();

        say_end(END_QUIT, clean ? "clean" : "not clean");
        _exit(0);
    }
    say_ready(&start);
    if (streq(role, "stubborn"))
        for (;;) {
            say(&(LinkMessage){ .type = LINK_BEAT });
            usleep(100 * 1000);
        }
    serve();
}

/* The relay's side. */

typedef struct World {
    sd_event *event;
    Settings settings;
    Account accounts[2];
    Destination destinations[2];
    void *account_items[2], *destination_items[2];
    Sessions *sessions;
    const char *pending[2];
    size_t n_pending;

    unsigned n_starting, n_ready, n_lost, n_done, n_failed, n_writable, n_stopped, n_started,
        n_online;
    EndCause lost_cause;
    char last_done[LINK_ID_MAX + 1];
    FailedKind last_kind;
} World;

static void on_starting(void *userdata, size_t destination, LinkDestination *ret)
{
    World *world = userdata;

    world->n_starting++;
    ret->pending = world->pending;
    ret->n_pending = destination == 0 ? world->n_pending : 0;
}

static void on_ready(void *userdata, size_t destination)
{
    ((World *)userdata)->n_ready++;
}

static void on_lost(void *userdata, size_t destination, EndCause cause)
{
    World *world = userdata;

    world->n_lost++;
    world->lost_cause = cause;
}

static void on_done(void *userdata, size_t destination, const char *stanza_id)
{
    World *world = userdata;

    world->n_done++;
    snprintf(world->last_done, sizeof(world->last_done), "%s", stanza_id);
}

static void on_failed(void *userdata, size_t destination, const char *stanza_id, FailedKind kind,
                      const char *reason)
{
    World *world = userdata;

    world->n_failed++;
    world->last_kind = kind;
}

static void on_writable(void *userdata, size_t account)
{
    ((World *)userdata)->n_writable++;
}

static void on_started(void *userdata, size_t account)
{
    ((World *)userdata)->n_started++;
}

static void on_online(void *userdata, size_t account)
{
    ((World *)userdata)->n_online++;
}

static void on_stopped(void *userdata)
{
    ((World *)userdata)->n_stopped++;
}

static World *new_world(const char *role, const char *second_role)
{
    static const char *const names[] = { "ops", "night" };
    World *world = calloc(1, sizeof(*world));
    SessionsOwner owner = { world,     on_starting, on_ready,   on_lost,  on_done,
                            on_failed, on_writable, on_started, on_online };

    assert_non_null(world);
    assert_true(sd_event_new(&world->event) >= 0);
    for (size_t i = 0; i < 2; i++) {
        world->accounts[i] = (Account){ .name = (char *)(i == 0 ? role : second_role),
                                        .jid = (char *)"bot@example.org",
                                        .password_file = (char *)"/none",
                                        .host = (char *)"",
                                        .ca_file = (char *)"" };
        world->destinations[i] = (Destination){ .name = (char *)names[i],
                                                .room = (char *)"ops@rooms.example.org",
                                                .nick = (char *)"bot",
                                                .account_index = i };
        world->account_items[i] = &world->accounts[i];
        world->destination_items[i] = &world->destinations[i];
    }
    world->settings = (Settings){
        .accounts = { world->account_items, second_role ? 2U : 1U },
        .destinations = { world->destination_items, second_role ? 2U : 1U },
        .session = { .silence_usec = USEC_PER_SEC,
                     .ping_usec = USEC_PER_SEC,
                     .self_ping_usec = USEC_PER_SEC,
                     .backoff_usec = 50 * USEC_PER_MSEC,
                     .backoff_cap_usec = 400 * USEC_PER_MSEC },
        .delivery = { .confirm_usec = USEC_PER_SEC },
    };
    assert_int_equal(sessions_new(world->event, &world->settings, &owner, &world->sessions), 0);
    return world;
}

static void free_world(World *world)
{
    sessions_free(world->sessions);
    sd_event_unref(world->event);
    free(world);
}

static SessionStatus status(const World *world)
{
    SessionStatus status;

    sessions_account_status(world->sessions, 0, &status);
    return status;
}

#define RUN_UNTIL(world, condition)                                                                \
    do {                                                                                           \
        usec_t deadline_ = now_usec(CLOCK_MONOTONIC) + PATIENCE_USEC;                              \
                                                                                                   \
        while (!(condition)) {                                                                     \
            assert_true(now_usec(CLOCK_MONOTONIC) < deadline_);                                    \
            assert_true(sd_event_run((world)->event, 100 * USEC_PER_MSEC) >= 0);                   \
        }                                                                                          \
    } while (0)

static void sessions_post_is_confirmed(void **state)
{
    World *world = new_world("serve", NULL);
    DestinationStatus room;

    assert_int_equal(sessions_post(world->sessions, 0, "a", "text", false, 0), -ENOTCONN);
    sessions_start(world->sessions);
    assert_string_equal(status(world).state, "connecting");
    assert_false(status(world).online);
    assert_int_equal(world->n_started, 1);
    assert_int_equal(world->n_online, 0);
    assert_int_equal(sessions_post(world->sessions, 0, "a", "text", false, 0), -ENOTCONN);
    RUN_UNTIL(world, world->n_ready == 1);
    assert_string_equal(status(world).state, "online");
    assert_true(status(world).online);
    assert_int_equal(world->n_started, 1);
    assert_int_equal(world->n_online, 1);
    assert_true(status(world).pid > 0);
    sessions_destination_status(world->sessions, 0, &room);
    assert_int_equal(room.state, ROOM_READY);
    assert_string_equal(room.nick, "bot");
    assert_int_equal(sessions_post(world->sessions, 0, "a", "text", false, 0), 0);
    RUN_UNTIL(world, world->n_done == 1);
    assert_string_equal(world->last_done, "a");
    assert_int_equal(sessions_post(world->sessions, 0, "b", "refuse", false, 0), 0);
    RUN_UNTIL(world, world->n_failed == 1);
    assert_int_equal(world->last_kind, FAILED_FINAL);
    free_world(world);
}

static void sessions_start_says_what_is_of_unknown_fate(void **state)
{
    World *world = new_world("serve", NULL);

    world->pending[0] = "seen-1";
    world->pending[1] = "seen-2";
    world->n_pending = 2;
    sessions_start(world->sessions);
    RUN_UNTIL(world, world->n_ready == 1);
    assert_int_equal(world->n_done, 2);
    assert_string_equal(world->last_done, "seen-2");
    free_world(world);
}

static void sessions_crash_is_lost_and_started_again(void **state)
{
    World *world = new_world("serve", NULL);

    sessions_start(world->sessions);
    RUN_UNTIL(world, world->n_ready == 1);
    assert_int_equal(sessions_post(world->sessions, 0, "a", "crash", false, 0), 0);
    RUN_UNTIL(world, world->n_lost == 1);
    assert_int_equal(world->lost_cause, END_NETWORK);
    assert_string_equal(status(world).state, "waiting");
    assert_non_null(strstr(status(world).reason, "SIGABRT"));
    assert_true(status(world).retry_usec > 0);
    assert_int_equal(sessions_post(world->sessions, 0, "b", "text", false, 0), -ENOTCONN);
    RUN_UNTIL(world, world->n_ready == 2);
    assert_int_equal(status(world).reconnects, 1);
    assert_int_equal(world->n_starting, 2);
    free_world(world);
}

static void sessions_last_words_count(void **state)
{
    World *world = new_world("serve", NULL);

    sessions_start(world->sessions);
    RUN_UNTIL(world, world->n_ready == 1);
    assert_int_equal(sessions_post(world->sessions, 0, "a", "poison", false, 0), 0);
    RUN_UNTIL(world, world->n_lost == 1);
    assert_string_equal(world->last_done, "last-words");
    assert_int_equal(world->lost_cause, END_POISON);
    assert_string_equal(status(world).reason, "policy-violation");
    free_world(world);
}

static void sessions_silent_one_is_killed_in_time(void **state)
{
    static const char *const roles[] = { "mute", "closes" };

    for (size_t i = 0; i < ELEMENTSOF(roles); i++) {
        World *world = new_world(roles[i], NULL);
        usec_t began = now_usec(CLOCK_MONOTONIC), took;
        pid_t pid;

        sessions_start(world->sessions);
        pid = status(world).pid;
        RUN_UNTIL(world, streq(status(world).state, "waiting"));
        took = now_usec(CLOCK_MONOTONIC) - began;
        assert_in_range(took, USEC_PER_SEC, 10 * USEC_PER_SEC);
        assert_int_equal(kill(pid, 0), -1);
        assert_non_null(strstr(status(world).reason, "session.silence"));
        free_world(world);
    }
}

static int on_other_work(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    return 0;
}

/* The inbox of a relay under load is ready whenever the loop looks. */
static void sessions_silent_one_is_killed_under_load(void **state)
{
    World *world = new_world("mute", NULL);
    _cleanup_close_ int fd = eventfd(1, EFD_CLOEXEC);
    sd_event_source *work = NULL;

    assert_true(sd_event_add_io(world->event, &work, fd, EPOLLIN, on_other_work, NULL) >= 0);
    sessions_start(world->sessions);
    RUN_UNTIL(world, world->n_starting == 2);
    sd_event_source_disable_unref(work);
    free_world(world);
}

static void sessions_beats_keep_it_alive(void **state)
{
    World *world = new_world("stubborn", NULL);
    usec_t until = now_usec(CLOCK_MONOTONIC) + 3 * USEC_PER_SEC;

    sessions_start(world->sessions);
    RUN_UNTIL(world, now_usec(CLOCK_MONOTONIC) >= until);
    assert_string_equal(status(world).state, "online");
    assert_int_equal(status(world).reconnects, 0);
    free_world(world);
}

static void sessions_backoff_grows_to_its_cap(void **state)
{
    static const char *const roles[] = { "exits", "auth" };

    for (size_t i = 0; i < ELEMENTSOF(roles); i++) {
        World *world = new_world(roles[i], NULL);
        usec_t last_wait = 0;

        sessions_start(world->sessions);
        for (unsigned starts = 0; starts < 6; starts++) {
            RUN_UNTIL(world,
                      streq(status(world).state, "waiting") && status(world).reconnects == starts);
            last_wait = status(world).retry_usec - status(world).since_usec;
            assert_true(last_wait <= 400 * USEC_PER_MSEC);
            RUN_UNTIL(world, status(world).reconnects == starts + 1);
        }
        assert_true(last_wait >= 300 * USEC_PER_MSEC);
        RUN_UNTIL(world, streq(status(world).state, "waiting"));
        assert_string_equal(status(world).reason, i == 0 ? "its process exited with status 3"
                                                         : "the server refused the password");
        assert_int_equal(world->n_lost, 0);
        free_world(world);
    }
}

static void sessions_bad_line_that_brings_something_waits_no_longer_each_time(void **state)
{
    World *world = new_world("serve", NULL);

    sessions_start(world->sessions);
    for (unsigned i = 0; i < 6; i++) {
        RUN_UNTIL(world, world->n_ready == i + 1);
        assert_int_equal(sessions_post(world->sessions, 0, "a", "text", false, 0), 0);
        assert_int_equal(sessions_post(world->sessions, 0, "b", "crash", false, 0), 0);
        RUN_UNTIL(world, world->n_lost == i + 1);
        assert_true(status(world).retry_usec - status(world).since_usec <= 50 * USEC_PER_MSEC);
    }
    free_world(world);
}

static void sessions_rule_breaker_is_killed(void **state)
{
    static const char *const bodies[] = { "garbage", "stranger" };

    for (size_t i = 0; i < ELEMENTSOF(bodies); i++) {
        World *world = new_world("serve", "serve");

        sessions_start(world->sessions);
        RUN_UNTIL(world, world->n_ready == 2);
        assert_int_equal(sessions_post(world->sessions, 0, "a", bodies[i], false, 0), 0);
        RUN_UNTIL(world, world->n_lost == 1);
        assert_non_null(strstr(status(world).reason, "rules of the link"));
        assert_int_equal(world->n_done, 0);
        RUN_UNTIL(world, world->n_ready == 3);
        free_world(world);
    }
}

static void sessions_room_lost_alone_is_told(void **state)
{
    World *world = new_world("serve", NULL);
    DestinationStatus room;

    sessions_start(world->sessions);
    RUN_UNTIL(world, world->n_ready == 1);
    assert_int_equal(sessions_post(world->sessions, 0, "a", "out", false, 0), 0);
    RUN_UNTIL(world, world->n_lost == 1);
    sessions_destination_status(world->sessions, 0, &room);
    assert_int_equal(room.state, ROOM_OUT);
    assert_string_equal(room.reason, "kicked");
    assert_string_equal(status(world).state, "online");
    assert_int_equal(sessions_post(world->sessions, 0, "b", "text", false, 0), -ENOTCONN);
    free_world(world);
}

static void sessions_given_up_is_started_again(void **state)
{
    World *world = new_world("serve", NULL);

    sessions_start(world->sessions);
    RUN_UNTIL(world, world->n_ready == 1);
    sessions_give_up(world->sessions, 0, "no echo came");
    assert_int_equal(sessions_post(world->sessions, 0, "b", "text", false, 0), -ENOTCONN);
    assert_int_equal(world->n_lost, 0); /* not from inside */
    RUN_UNTIL(world, world->n_lost == 1);
    assert_string_equal(status(world).reason, "no echo came");
    RUN_UNTIL(world, world->n_ready == 2);
    free_world(world);
}

static void sessions_that_do_not_keep_up_push_back(void **state)
{
    World *world = new_world("stubborn", NULL);
    static char body[30000];
    int r = 0;

    memset(body, 'x', sizeof(body) - 1);
    sessions_start(world->sessions);
    RUN_UNTIL(world, world->n_ready == 1);
    for (unsigned i = 0; i < 1000 && r == 0; i++)
        r = sessions_post(world->sessions, 0, "a", body, false, 0);
    assert_int_equal(r, -EAGAIN);
    assert_int_equal(sessions_post(world->sessions, 0, "a", body, false, 0), -EAGAIN);
    assert_int_equal(world->n_writable, 0);
    free_world(world);

    world = new_world("serve", NULL);
    sessions_start(world->sessions);
    RUN_UNTIL(world, world->n_ready == 1);
    for (r = 0; r == 0;)
        r = sessions_post(world->sessions, 0, "a", body, false, 0);
    assert_int_equal(r, -EAGAIN);
    RUN_UNTIL(world, world->n_writable == 1);
    assert_int_equal(sessions_post(world->sessions, 0, "last", "text", false, 0), 0);
    RUN_UNTIL(world, streq(world->last_done, "last"));
    free_world(world);
}

static void sessions_stop_asks_then_kills(void **state)
{
    World *world = new_world("serve", "stubborn");

    sessions_start(world->sessions);
    RUN_UNTIL(world, world->n_ready == 2);
    assert_int_equal(sessions_stop(world->sessions, USEC_PER_SEC, on_stopped), 0);
    assert_int_equal(sessions_post(world->sessions, 0, "b", "text", false, 0), -ENOTCONN);
    RUN_UNTIL(world, streq(status(world).state, "stopped"));
    assert_int_equal(world->n_stopped, 0);
    RUN_UNTIL(world, world->n_stopped == 1);
    assert_int_equal(world->n_lost, 2);
    assert_int_equal(status(world).pid, 0);
    free_world(world);
}

static void sessions_stop_while_waiting_is_at_once(void **state)
{
    World *world = new_world("exits", NULL);

    sessions_start(world->sessions);
    RUN_UNTIL(world, streq(status(world).state, "waiting"));
    assert_int_equal(sessions_stop(world->sessions, USEC_PER_SEC, on_stopped), 0);
    assert_int_equal(world->n_stopped, 1);
    assert_string_equal(status(world).state, "stopped");
    free_world(world);
}

static void sessions_account_that_nobody_uses_is_not_started(void **state)
{
    World *world = new_world("serve", "serve");

    world->destinations[0].account_index = 1;
    sessions_start(world->sessions);
    RUN_UNTIL(world, world->n_ready == 2);
    assert_string_equal(status(world).state, "stopped");
    assert_int_equal(status(world).pid, 0);
    free_world(world);
}

static void sessions_process_inherits_only_what_it_needs(void **state)
{
    World *world = new_world("environment", NULL);

    setenv("SECRET_OF_THE_RELAY", "1", 1);
    setenv("TZ", "UTC", 1);
    sessions_start(world->sessions);
    RUN_UNTIL(world, streq(status(world).state, "waiting"));
    assert_string_equal(status(world).reason, "clean");
    free_world(world);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sessions_post_is_confirmed),
        cmocka_unit_test(sessions_start_says_what_is_of_unknown_fate),
        cmocka_unit_test(sessions_crash_is_lost_and_started_again),
        cmocka_unit_test(sessions_last_words_count),
        cmocka_unit_test(sessions_silent_one_is_killed_in_time),
        cmocka_unit_test(sessions_silent_one_is_killed_under_load),
        cmocka_unit_test(sessions_beats_keep_it_alive),
        cmocka_unit_test(sessions_backoff_grows_to_its_cap),
        cmocka_unit_test(sessions_bad_line_that_brings_something_waits_no_longer_each_time),
        cmocka_unit_test(sessions_rule_breaker_is_killed),
        cmocka_unit_test(sessions_room_lost_alone_is_told),
        cmocka_unit_test(sessions_given_up_is_started_again),
        cmocka_unit_test(sessions_that_do_not_keep_up_push_back),
        cmocka_unit_test(sessions_stop_asks_then_kills),
        cmocka_unit_test(sessions_stop_while_waiting_is_at_once),
        cmocka_unit_test(sessions_account_that_nobody_uses_is_not_started),
        cmocka_unit_test(sessions_process_inherits_only_what_it_needs),
    };

    if (argc == 2 && streq(argv[1], "--session"))
        return play_session();
    log_set_level(LOG_CRIT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
