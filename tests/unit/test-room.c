/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "xmpprelay/room.h"

#define START (1000 * USEC_PER_SEC)

static void expect(Room *room, RoomActionType type, const char *nick)
{
    const RoomAction *action = room_next_action(room);

    assert_non_null(action);
    assert_int_equal(action->type, type);
    if (nick)
        assert_string_equal(action->nick, nick);
}

static void expect_report(Room *room, RoomState state, const char *containing)
{
    const RoomAction *action = room_next_action(room);

    assert_non_null(action);
    assert_int_equal(action->type, ROOM_ACTION_REPORT);
    assert_int_equal(action->state, state);
    if (!containing)
        assert_string_equal(action->reason, "");
    else if (!strstr(action->reason, containing))
        fail_msg("\"%s\" is not in \"%s\"", containing, action->reason);
}

static void expect_nothing(Room *room)
{
    assert_null(room_next_action(room));
}

static Room new_room(void)
{
    Room room;

    room_init(&room, "ops", "ops@rooms.example.org", "bot", 300 * USEC_PER_SEC);
    return room;
}

static Room joining_room(void)
{
    Room room = new_room();

    room_start(&room, START);
    expect_report(&room, ROOM_JOINING, NULL);
    expect(&room, ROOM_ACTION_JOIN, "bot");
    expect_nothing(&room);
    return room;
}

static void self_presence(Room *room, const char *nick, unsigned status, usec_t now)
{
    RoomPresence presence = { .nick = nick, .status = ROOM_STATUS_SELF | status };

    room_presence(room, &presence, now, 0);
}

/* The room has said all it had, and there is nothing to look up, or it has been. */
static void looked_up(Room *room, usec_t now)
{
    expect(room, ROOM_ACTION_LOOK_UP, NULL);
    expect_nothing(room);
    assert_false(room_is_ready(room));
    room_looked_up(room, now);
}

static Room ready_room(void)
{
    Room room = joining_room();

    self_presence(&room, "bot", 0, START);
    expect_nothing(&room);
    room_subject(&room, START);
    looked_up(&room, START);
    expect_report(&room, ROOM_READY, NULL);
    expect_nothing(&room);
    assert_true(room_is_ready(&room));
    return room;
}

static void error_presence(Room *room, const char *condition, const char *text, usec_t now)
{
    RoomPresence presence = {
        .nick = room_nick(room), .type = "error", .condition = condition, .text = text
    };

    room_presence(room, &presence, now, 0);
}

static void room_joined_is_ready_only_after_its_subject(void **state)
{
    Room room = joining_room();
    RoomPresence other = { .nick = "alice" };

    room_presence(&room, &other, START, 0);
    room_subject(&room, START); /* not ours to hear yet */
    expect_nothing(&room);
    assert_false(room_is_ready(&room));
    self_presence(&room, "bot", 0, START);
    assert_false(room_is_ready(&room));
    room_subject(&room, START);
    looked_up(&room, START);
    expect_report(&room, ROOM_READY, NULL);
    assert_true(room_is_ready(&room));
}

static void room_without_subject_is_ready_in_time(void **state)
{
    Room room = joining_room();

    self_presence(&room, "bot", 0, START);
    assert_int_equal(room_deadline(&room), START + ROOM_SUBJECT_USEC);
    room_tick(&room, START + ROOM_SUBJECT_USEC - 1, 0);
    expect_nothing(&room);
    room_tick(&room, START + ROOM_SUBJECT_USEC, 0);
    looked_up(&room, START + ROOM_SUBJECT_USEC);
    expect_report(&room, ROOM_READY, NULL);
}

static void room_is_ready_only_when_its_archive_was_looked_up(void **state)
{
    Room room = joining_room();

    room_looked_up(&room, START); /* of a time before */
    self_presence(&room, "bot", 0, START);
    room_looked_up(&room, START);
    expect_nothing(&room);
    room_subject(&room, START);
    expect(&room, ROOM_ACTION_LOOK_UP, NULL);
    room_subject(&room, START);
    room_tick(&room, START + 3600 * USEC_PER_SEC, 0);
    expect_nothing(&room);
    assert_false(room_is_ready(&room));
    room_looked_up(&room, START);
    expect_report(&room, ROOM_READY, NULL);
    assert_true(room_is_ready(&room));
    room_looked_up(&room, START);
    expect_nothing(&room);
}

static void room_left_while_its_archive_is_looked_up_is_joined_again(void **state)
{
    Room room = joining_room();
    RoomPresence kicked = { .nick = "bot",
                            .type = "unavailable",
                            .status = ROOM_STATUS_SELF | ROOM_STATUS_KICKED };

    self_presence(&room, "bot", 0, START);
    room_subject(&room, START);
    expect(&room, ROOM_ACTION_LOOK_UP, NULL);
    room_presence(&room, &kicked, START, 0);
    expect_report(&room, ROOM_OUT, "kicked");
    room_looked_up(&room, START); /* too late */
    expect_nothing(&room);
    room_tick(&room, START + USEC_PER_SEC, 0);
    expect_report(&room, ROOM_JOINING, NULL);
    expect(&room, ROOM_ACTION_JOIN, "bot");
}

static void room_created_is_configured_and_said(void **state)
{
    Room room = joining_room();

    self_presence(&room, "bot", ROOM_STATUS_CREATED, START);
    expect(&room, ROOM_ACTION_CONFIGURE, NULL);
    room_subject(&room, START);
    looked_up(&room, START);
    expect_report(&room, ROOM_READY, "did not exist");
}

static void room_that_forbids_for_want_of_a_voice_is_out_until_it_gives_one(void **state)
{
    Room room = ready_room();
    RoomPresence visitor = { .nick = "bot", .status = ROOM_STATUS_SELF, .voiceless = true };
    RoomPresence other = { .nick = "alice" };

    assert_false(room_forbidden(&room, START, 0)); /* the message was the cause */
    expect_nothing(&room);
    room_presence(&room, &visitor, START, 0);
    expect_nothing(&room); /* where a room is not moderated, visitors may speak */
    assert_true(room_forbidden(&room, START, 0));
    expect_report(&room, ROOM_OUT, "no voice");
    assert_false(room_forbidden(&room, START, 0));
    room_presence(&room, &visitor, START, 0);
    room_presence(&room, &other, START, 0);
    expect_nothing(&room);
    self_presence(&room, "bot", 0, START);
    expect_report(&room, ROOM_JOINING, NULL);
    expect(&room, ROOM_ACTION_JOIN, "bot");
    self_presence(&room, "bot", 0, START);
    room_subject(&room, START);
    expect(&room, ROOM_ACTION_LOOK_UP, "bot");
    room_looked_up(&room, START);
    expect_report(&room, ROOM_READY, NULL);
}

static void room_without_a_voice_is_joined_again(void **state)
{
    Room room = joining_room();
    RoomPresence visitor = { .nick = "bot", .status = ROOM_STATUS_SELF, .voiceless = true };

    room_presence(&room, &visitor, START, 0);
    room_subject(&room, START);
    expect(&room, ROOM_ACTION_LOOK_UP, "bot");
    room_looked_up(&room, START);
    expect_report(&room, ROOM_READY, NULL);
    assert_true(room_forbidden(&room, START, 0));
    expect_report(&room, ROOM_OUT, "no voice");
    room_tick(&room, room_deadline(&room), 0);
    expect_report(&room, ROOM_JOINING, NULL);
    expect(&room, ROOM_ACTION_JOIN, "bot");
}

static void room_nick_given_by_the_server_is_kept(void **state)
{
    Room room = joining_room();

    self_presence(&room, "bot-of-ops", ROOM_STATUS_NICK_CHANGED, START);
    room_subject(&room, START);
    looked_up(&room, START);
    expect_report(&room, ROOM_READY, "\"bot-of-ops\"");
    assert_string_equal(room_nick(&room), "bot-of-ops");
}

static void room_nick_conflicts_are_bounded(void **state)
{
    Room room = joining_room();

    for (int i = 2; i <= ROOM_NICK_TRIES; i++) {
        char nick[16];

        error_presence(&room, "conflict", NULL, START);
        snprintf(nick, sizeof(nick), "bot-%d", i);
        expect(&room, ROOM_ACTION_JOIN, nick);
        expect_nothing(&room);
    }
    error_presence(&room, "conflict", NULL, START);
    expect_report(&room, ROOM_OUT, "destinations.nick");
    /* And from the wanted one again. */
    room_tick(&room, room_deadline(&room), 0);
    expect_report(&room, ROOM_JOINING, NULL);
    expect(&room, ROOM_ACTION_JOIN, "bot");
}

static void room_longest_nick_is_varied_between_characters(void **state)
{
    char nick[ROOM_NICK_MAX + 1];
    Room room;

    for (size_t i = 0; i + 2 < sizeof(nick); i += 2)
        memcpy(nick + i, "\xc3\xa4", 2);
    nick[ROOM_NICK_MAX - 1] = 'x';
    nick[ROOM_NICK_MAX] = '\0';
    room_init(&room, "ops", "ops@rooms.example.org", nick, USEC_PER_SEC);
    room_start(&room, START);
    expect_report(&room, ROOM_JOINING, NULL);
    expect(&room, ROOM_ACTION_JOIN, nick);
    error_presence(&room, "conflict", NULL, START);
    nick[ROOM_NICK_MAX - 3] = '\0';
    strcat(nick, "-2");
    expect(&room, ROOM_ACTION_JOIN, nick);
}

static void room_refusals_name_cause_and_remedy(void **state)
{
    static const struct {
        const char *condition;
        const char *sentence;
    } cases[] = {
        { "registration-required", "make the account a member" },
        { "forbidden", "banned" },
        { "not-authorized", "password" },
        { "item-not-found", "does not exist" },
        { "not-allowed", "may not create it" },
        { "service-unavailable", "full" },
        { "remote-server-not-found", "DNS" },
        { "remote-server-timeout", "does not answer" },
        { "made-up", "made-up" },
        { NULL, "no condition" },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        Room room = joining_room();

        error_presence(&room, cases[i].condition, "so it says", START);
        expect_report(&room, ROOM_OUT, cases[i].sentence);
        room_tick(&room, room_deadline(&room), 0);
        expect_report(&room, ROOM_JOINING, NULL);
        expect(&room, ROOM_ACTION_JOIN, "bot");
        error_presence(&room, cases[i].condition, "so it says", START);
        expect_report(&room, ROOM_OUT, "(\"so it says\")");
    }
}

static void room_unanswered_join_is_left_and_tried_again(void **state)
{
    Room room = joining_room();

    room_tick(&room, START + ROOM_JOIN_USEC, 0);
    expect(&room, ROOM_ACTION_LEAVE, "bot");
    expect_report(&room, ROOM_OUT, "did not answer");
    self_presence(&room, "bot", 0, START + ROOM_JOIN_USEC); /* too late */
    expect_nothing(&room);
    room_tick(&room, START + ROOM_JOIN_USEC + USEC_PER_SEC, 0);
    expect_report(&room, ROOM_JOINING, NULL);
    expect(&room, ROOM_ACTION_JOIN, "bot");
}

static void room_refused_again_and_again_waits_longer_to_a_cap(void **state)
{
    static const unsigned expected[] = { 1, 2, 4, 8, 16, 32, 60, 60 };
    Room room = joining_room();
    usec_t now = START;

    for (size_t i = 0; i < ELEMENTSOF(expected); i++) {
        error_presence(&room, "forbidden", NULL, now);
        expect_report(&room, ROOM_OUT, "banned");
        assert_int_equal(room_deadline(&room), now + expected[i] * USEC_PER_SEC);
        now = room_deadline(&room);
        room_tick(&room, now, 0);
        expect_report(&room, ROOM_JOINING, NULL);
        expect(&room, ROOM_ACTION_JOIN, "bot");
    }
}

static void room_removals_are_told_apart(void **state)
{
    static const struct {
        unsigned status;
        bool destroyed;
        const char *sentence;
    } cases[] = {
        { ROOM_STATUS_KICKED, false, "kicked" },
        { ROOM_STATUS_BANNED, false, "banned" },
        { ROOM_STATUS_AFFILIATION, false, "no longer a member" },
        { ROOM_STATUS_MEMBERS_ONLY, false, "members only" },
        { ROOM_STATUS_SHUTDOWN, false, "shutting down" },
        { 0, true, "destroyed" },
        { 0, false, "left" },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        Room room = ready_room();
        RoomPresence presence = { .nick = "bot",
                                  .type = "unavailable",
                                  .status = ROOM_STATUS_SELF | cases[i].status,
                                  .destroyed = cases[i].destroyed,
                                  .text = "why" };

        room_presence(&room, &presence, START, 0);
        expect_report(&room, ROOM_OUT, cases[i].sentence);
        assert_false(room_is_ready(&room));
        room_tick(&room, START + USEC_PER_SEC, 0);
        expect_report(&room, ROOM_JOINING, NULL);
        expect(&room, ROOM_ACTION_JOIN, "bot");
    }
}

static void room_others_leaving_is_no_concern(void **state)
{
    Room room = ready_room();
    RoomPresence presence = { .nick = "alice",
                              .type = "unavailable",
                              .status = ROOM_STATUS_KICKED };

    room_presence(&room, &presence, START, 0);
    expect_nothing(&room);
    assert_true(room_is_ready(&room));
}

static void room_own_ghost_leaving_while_we_join_is_no_concern(void **state)
{
    Room room = joining_room();
    RoomPresence presence = { .nick = "bot", .type = "unavailable" };

    room_presence(&room, &presence, START, 0);
    expect_nothing(&room);
    self_presence(&room, "bot", 0, START);
    room_subject(&room, START);
    looked_up(&room, START);
    expect_report(&room, ROOM_READY, NULL);
}

static void room_nick_change_follows_the_new_one(void **state)
{
    Room room = ready_room();
    RoomPresence presence = { .nick = "bot",
                              .type = "unavailable",
                              .status = ROOM_STATUS_SELF | ROOM_STATUS_NICK_CHANGED };

    room_presence(&room, &presence, START, 0);
    expect_nothing(&room);
    self_presence(&room, "bot2", 0, START);
    expect_nothing(&room);
    assert_string_equal(room_nick(&room), "bot2");
    presence =
        (RoomPresence){ .nick = "bot2", .type = "unavailable", .status = ROOM_STATUS_KICKED };
    room_presence(&room, &presence, START, 0);
    expect_report(&room, ROOM_OUT, "kicked");
}

static void room_not_in_joins_again(void **state)
{
    Room room = ready_room();

    room_not_in(&room, "not-acceptable", START, 0);
    expect_report(&room, ROOM_OUT, "not-acceptable");
    room_not_in(&room, "not-acceptable", START, 0); /* a second message's */
    expect_nothing(&room);
}

static void room_self_ping_answers_follow_the_xep(void **state)
{
    static const struct {
        const char *condition;
        bool in;
    } cases[] = {
        { NULL, true },
        { "service-unavailable", true },
        { "feature-not-implemented", true },
        { "item-not-found", true },
        { "remote-server-not-found", true },
        { "remote-server-timeout", true },
        { "not-acceptable", false },
        { "not-allowed", false },
        { "bad-request", false },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        Room room = ready_room();
        usec_t now = START + 300 * USEC_PER_SEC;

        assert_int_equal(room_deadline(&room), now);
        room_tick(&room, now - 1, 0);
        expect_nothing(&room);
        room_tick(&room, now, 0);
        expect(&room, ROOM_ACTION_SELF_PING, "bot");
        room_self_ping_answer(&room, cases[i].condition, now, 0);
        assert_int_equal(room_is_ready(&room), cases[i].in);
        if (cases[i].in)
            assert_int_equal(room_deadline(&room), now + 300 * USEC_PER_SEC);
        else
            expect_report(&room, ROOM_OUT, cases[i].condition);
        expect_nothing(&room);
    }
}

static void room_unanswered_self_ping_is_put_again(void **state)
{
    Room room = ready_room();
    usec_t now = room_deadline(&room);

    room_tick(&room, now, 0);
    expect(&room, ROOM_ACTION_SELF_PING, "bot");
    room_tick(&room, now + ROOM_SELF_PING_USEC, 0);
    expect_nothing(&room);
    assert_true(room_is_ready(&room));
    room_self_ping_answer(&room, "not-acceptable", now, 0); /* of the one given up */
    assert_true(room_is_ready(&room));
    room_tick(&room, room_deadline(&room), 0);
    expect(&room, ROOM_ACTION_SELF_PING, "bot");
}

static void room_left_stays_out(void **state)
{
    Room room = ready_room();

    room_leave(&room);
    expect(&room, ROOM_ACTION_LEAVE, "bot");
    expect_nothing(&room);
    self_presence(&room, "bot", 0, START);
    error_presence(&room, "forbidden", NULL, START);
    room_tick(&room, START + 3600 * USEC_PER_SEC, 0);
    expect_nothing(&room);
    assert_int_equal(room_deadline(&room), USEC_INFINITY);
}

static void room_deadline_is_never_in_the_past_after_a_tick(void **state)
{
    Room room = joining_room();

    for (usec_t now = START; now < START + 7200 * USEC_PER_SEC; now += 7 * USEC_PER_SEC) {
        room_tick(&room, now, 0);
        while (room_next_action(&room))
            ;
        assert_true(room_deadline(&room) > now);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(room_joined_is_ready_only_after_its_subject),
        cmocka_unit_test(room_without_subject_is_ready_in_time),
        cmocka_unit_test(room_is_ready_only_when_its_archive_was_looked_up),
        cmocka_unit_test(room_left_while_its_archive_is_looked_up_is_joined_again),
        cmocka_unit_test(room_created_is_configured_and_said),
        cmocka_unit_test(room_that_forbids_for_want_of_a_voice_is_out_until_it_gives_one),
        cmocka_unit_test(room_without_a_voice_is_joined_again),
        cmocka_unit_test(room_nick_given_by_the_server_is_kept),
        cmocka_unit_test(room_nick_conflicts_are_bounded),
        cmocka_unit_test(room_longest_nick_is_varied_between_characters),
        cmocka_unit_test(room_refusals_name_cause_and_remedy),
        cmocka_unit_test(room_unanswered_join_is_left_and_tried_again),
        cmocka_unit_test(room_refused_again_and_again_waits_longer_to_a_cap),
        cmocka_unit_test(room_removals_are_told_apart),
        cmocka_unit_test(room_others_leaving_is_no_concern),
        cmocka_unit_test(room_own_ghost_leaving_while_we_join_is_no_concern),
        cmocka_unit_test(room_nick_change_follows_the_new_one),
        cmocka_unit_test(room_not_in_joins_again),
        cmocka_unit_test(room_self_ping_answers_follow_the_xep),
        cmocka_unit_test(room_unanswered_self_ping_is_put_again),
        cmocka_unit_test(room_left_stays_out),
        cmocka_unit_test(room_deadline_is_never_in_the_past_after_a_tick),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
