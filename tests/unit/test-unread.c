/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "xmpprelay/unread.h"

#define LIMIT ((size_t)400000)
#define RECEIPT ((size_t)768)

enum {
    MAIL = 100,
    DEAF = 200
};

/* Senders, and what lies unread. */
typedef struct World {
    Unread unread;
    size_t bytes;
    size_t deaf_bytes;
    unsigned n_settled;
} World;

static World world_new(void)
{
    World world = {};

    unread_init(&world.unread, LIMIT);
    return world;
}

/* Whether the receipt is sent. Whoever is given time reads, unless it is deaf. */
static bool post(World *world, uid_t uid, bool reads_at_once)
{
    UnreadAdvice advice = unread_ask(&world->unread, uid, world->bytes);

    if (advice == UNREAD_SETTLE) {
        world->n_settled++;
        world->bytes = MIN(world->bytes, MAX(world->deaf_bytes, world->unread.floor));
        unread_settled(&world->unread, uid, world->bytes);
        advice = unread_ask(&world->unread, uid, world->bytes);
        assert_int_not_equal(advice, UNREAD_SETTLE);
    }
    if (advice != UNREAD_SEND)
        return false;
    if (uid != MAIL)
        world->deaf_bytes += RECEIPT;
    if (!reads_at_once)
        world->bytes += RECEIPT;
    return true;
}

static void unread_little_is_nobodys_business(void **state)
{
    World world = world_new();

    for (size_t i = 0; i < LIMIT / 4 / RECEIPT; i++)
        assert_true(post(&world, DEAF, false));
    assert_int_equal(world.n_settled, 0);
    assert_int_equal(unread_debt(&world.unread, DEAF), 0);
}

static void unread_of_one_that_never_reads_takes_nothing_from_others(void **state)
{
    World world = world_new();
    size_t n_sent = 0;

    for (size_t i = 0; i < 5000; i++) {
        n_sent += post(&world, DEAF, false);
        assert_true(post(&world, MAIL, true));
    }
    assert_in_range(n_sent * RECEIPT, LIMIT / 4, LIMIT * 3 / 4);
    assert_int_equal(unread_debt(&world.unread, MAIL), 0);
    /* Nobody waits for one that has enough. */
    world.n_settled = 0;
    for (size_t i = 0; i < 1000; i++) {
        assert_false(post(&world, DEAF, false));
        assert_true(post(&world, MAIL, true));
    }
    assert_int_equal(world.n_settled, 0);
}

static void unread_of_many_that_never_read_leaves_room_for_who_does(void **state)
{
    World world = world_new();

    for (size_t i = 0; i < 20000; i++) {
        post(&world, (uid_t)(DEAF + i % 30), false);
        assert_true(post(&world, MAIL, true));
    }
    assert_true(world.bytes < LIMIT);
}

static void unread_of_one_that_is_late_is_forgiven(void **state)
{
    World world = world_new();

    while (post(&world, DEAF, false))
        ;
    for (size_t i = 0; i < 20; i++)
        assert_true(post(&world, MAIL, false));
    /* Not within the time that it was given. */
    unread_settled(&world.unread, DEAF, world.bytes);
    assert_int_equal(unread_debt(&world.unread, MAIL), 20 * RECEIPT);
    /* The smaller debt is the one that is paid. */
    world.bytes -= 20 * RECEIPT;
    assert_int_equal(unread_ask(&world.unread, MAIL, world.bytes), UNREAD_SEND);
    assert_int_equal(unread_debt(&world.unread, MAIL), 0);
    assert_false(post(&world, DEAF, false));
}

static void unread_that_is_read_at_last_is_forgotten(void **state)
{
    World world = world_new();

    while (post(&world, DEAF, false))
        ;
    assert_false(post(&world, DEAF, false));
    world.bytes = world.deaf_bytes = 0;
    assert_true(post(&world, DEAF, true));
    assert_int_equal(unread_debt(&world.unread, DEAF), 0);
}

static void unread_buffer_that_is_full_takes_nothing(void **state)
{
    World world = world_new();

    world.bytes = world.deaf_bytes = LIMIT;
    assert_false(post(&world, MAIL, true));
    world.bytes = world.deaf_bytes = LIMIT + RECEIPT;
    assert_false(post(&world, MAIL, true));
    world.bytes = world.deaf_bytes = LIMIT / 2;
    assert_true(post(&world, MAIL, true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unread_little_is_nobodys_business),
        cmocka_unit_test(unread_of_one_that_never_reads_takes_nothing_from_others),
        cmocka_unit_test(unread_of_many_that_never_read_leaves_room_for_who_does),
        cmocka_unit_test(unread_of_one_that_is_late_is_forgiven),
        cmocka_unit_test(unread_that_is_read_at_last_is_forgotten),
        cmocka_unit_test(unread_buffer_that_is_full_takes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
