/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "milterd/pool.h"

#define SECOND USEC_PER_SEC
#define DRAIN (30 * SECOND)
#define BEGIN (1000 * SECOND)

static pid_t next_pid = 100;

static PoolStep expect(Pool *pool, usec_t now, PoolAction action)
{
    PoolStep step = pool_next(pool, now);

    assert_int_equal(step.action, action);
    return step;
}

static pid_t start(Pool *pool, usec_t now)
{
    PoolStep step = expect(pool, now, POOL_START);

    assert_int_equal(pool_started(pool, step.slot, ++next_pid, now), 0);
    return next_pid;
}

static pid_t start_ready(Pool *pool, usec_t now)
{
    pid_t pid = start(pool, now);

    pool_ready(pool, pid);
    return pid;
}

static void end(Pool *pool, pid_t pid, usec_t now)
{
    PoolWorker worker;

    assert_true(pool_ended(pool, pid, now, 0, &worker));
    assert_int_equal(worker.pid, pid);
}

static void pool_fresh_fills_every_slot(void **state)
{
    Pool pool;

    pool_init(&pool, 3, DRAIN);
    for (size_t slot = 0; slot < 3; slot++) {
        PoolStep step = expect(&pool, BEGIN, POOL_START);

        assert_int_equal(step.slot, slot);
        assert_false(pool_is_complete(&pool));
        assert_int_equal(pool_started(&pool, step.slot, (pid_t)(slot + 1), BEGIN), 0);
    }
    expect(&pool, BEGIN, POOL_NOTHING);
    assert_false(pool_is_complete(&pool));
    for (pid_t pid = 1; pid <= 3; pid++)
        pool_ready(&pool, pid);
    assert_true(pool_is_complete(&pool));
    assert_int_equal(expect(&pool, BEGIN, POOL_NOTHING).at_usec, USEC_INFINITY);
    pool_done(&pool);
}

static void pool_worker_that_served_is_replaced_at_once_in_its_slot(void **state)
{
    usec_t now = BEGIN;
    Pool pool;
    pid_t first;

    pool_init(&pool, 2, DRAIN);
    first = start_ready(&pool, now);
    start_ready(&pool, now);
    pool_served(&pool, first);
    now += 2 * SECOND;
    end(&pool, first, now);
    assert_int_equal(expect(&pool, now, POOL_START).slot, 0);
    pool_done(&pool);
}

static void pool_early_death_throttles_and_doubles(void **state)
{
    usec_t now = BEGIN;
    usec_t wait = 100 * USEC_PER_MSEC;
    Pool pool;

    pool_init(&pool, 2, DRAIN);
    start_ready(&pool, now);
    for (int i = 0; i < 5; i++, wait *= 2) {
        PoolStep step;

        end(&pool, start_ready(&pool, now), now);
        step = expect(&pool, now, POOL_NOTHING);
        assert_int_equal(step.at_usec, now + wait);
        expect(&pool, step.at_usec - 1, POOL_NOTHING);
        now = step.at_usec;
    }
    pool_done(&pool);
}

static void pool_served_but_dead_within_a_second_throttles(void **state)
{
    Pool pool;
    pid_t pid;

    pool_init(&pool, 1, DRAIN);
    pid = start_ready(&pool, BEGIN);
    pool_served(&pool, pid);
    end(&pool, pid, BEGIN + SECOND - 1);
    expect(&pool, BEGIN + SECOND - 1, POOL_NOTHING);
    pool_done(&pool);
}

static void pool_work_done_forgets_early_deaths(void **state)
{
    usec_t now = BEGIN;
    Pool pool;
    pid_t pid;

    pool_init(&pool, 1, DRAIN);
    for (int i = 0; i < POOL_HOPELESS - 1; i++) {
        end(&pool, start(&pool, now), now);
        now = expect(&pool, now, POOL_NOTHING).at_usec;
    }
    pid = start_ready(&pool, now);
    pool_served(&pool, pid);
    now += 2 * SECOND;
    end(&pool, pid, now);
    end(&pool, start(&pool, now), now);
    assert_int_equal(expect(&pool, now, POOL_NOTHING).at_usec, now + 100 * USEC_PER_MSEC);
    pool_done(&pool);
}

static void pool_none_staying_up_gives_up(void **state)
{
    usec_t now = BEGIN;
    Pool pool;

    pool_init(&pool, 1, DRAIN);
    for (int i = 0; i < POOL_HOPELESS; i++) {
        now = MAX(now, pool.not_before_usec);
        end(&pool, start(&pool, now), now);
    }
    expect(&pool, now, POOL_GIVE_UP);
    pool_stop(&pool);
    expect(&pool, now, POOL_DONE);
    pool_done(&pool);
}

static void pool_one_ready_worker_keeps_it_from_giving_up(void **state)
{
    usec_t now = BEGIN;
    Pool pool;

    pool_init(&pool, 2, DRAIN);
    start_ready(&pool, now);
    for (int i = 0; i < 3 * POOL_HOPELESS; i++) {
        now = MAX(now, pool.not_before_usec);
        end(&pool, start(&pool, now), now);
    }
    expect(&pool, now, POOL_NOTHING);
    pool_done(&pool);
}

static void pool_fork_that_fails_is_tried_again_later(void **state)
{
    Pool pool;

    pool_init(&pool, 1, DRAIN);
    expect(&pool, BEGIN, POOL_START);
    pool_start_failed(&pool, BEGIN, 0);
    assert_int_equal(expect(&pool, BEGIN, POOL_NOTHING).at_usec, BEGIN + 100 * USEC_PER_MSEC);
    expect(&pool, BEGIN + 100 * USEC_PER_MSEC, POOL_START);
    pool_done(&pool);
}

static void pool_worker_never_ready_is_killed_and_counts_as_early(void **state)
{
    usec_t now = BEGIN;
    PoolStep step;
    Pool pool;
    pid_t pid;

    pool_init(&pool, 1, DRAIN);
    pid = start(&pool, now);
    now = expect(&pool, now, POOL_NOTHING).at_usec;
    assert_int_equal(now, BEGIN + POOL_START_USEC);
    step = expect(&pool, now, POOL_KILL);
    assert_int_equal(step.pid, pid);
    assert_int_equal(step.phase, POOL_STARTING);
    assert_int_equal(expect(&pool, now, POOL_NOTHING).at_usec, USEC_INFINITY);
    end(&pool, pid, now);
    assert_int_equal(expect(&pool, now, POOL_NOTHING).at_usec, now + 100 * USEC_PER_MSEC);
    pool_done(&pool);
}

static void pool_reload_drains_old_only_when_all_new_are_ready(void **state)
{
    usec_t now = BEGIN;
    pid_t old[2], new[2];
    Pool pool;

    pool_init(&pool, 2, DRAIN);
    old[0] = start_ready(&pool, now);
    old[1] = start_ready(&pool, now);
    assert_true(pool_may_reload(&pool));
    pool_reload(&pool, 2, DRAIN);
    assert_false(pool_may_reload(&pool));
    new[0] = start_ready(&pool, now);
    new[1] = start(&pool, now);
    expect(&pool, now, POOL_NOTHING);
    assert_int_equal(pool_n_ready(&pool), 1);
    assert_int_equal(pool_n_serving(&pool), 3);
    pool_ready(&pool, new[1]);
    assert_int_equal(expect(&pool, now, POOL_DRAIN).pid, old[0]);
    assert_int_equal(expect(&pool, now, POOL_DRAIN).pid, old[1]);
    assert_int_equal(expect(&pool, now, POOL_NOTHING).at_usec, now + DRAIN);
    assert_int_equal(pool_n_draining(&pool), 2);
    assert_int_equal(pool_n_ready(&pool), 2);
    assert_int_equal(pool_n_serving(&pool), 2);
    end(&pool, old[0], now);
    end(&pool, old[1], now);
    assert_int_equal(expect(&pool, now, POOL_NOTHING).at_usec, USEC_INFINITY);
    pool_done(&pool);
    (void)new[0];
}

static void pool_reload_to_fewer_workers_drains_all_old(void **state)
{
    Pool pool;

    pool_init(&pool, 3, DRAIN);
    for (int i = 0; i < 3; i++)
        start_ready(&pool, BEGIN);
    pool_reload(&pool, 1, DRAIN);
    start_ready(&pool, BEGIN);
    for (int i = 0; i < 3; i++)
        expect(&pool, BEGIN, POOL_DRAIN);
    expect(&pool, BEGIN, POOL_NOTHING);
    pool_done(&pool);
}

static void pool_old_serve_on_while_new_die(void **state)
{
    usec_t now = BEGIN;
    Pool pool;
    pid_t old;

    pool_init(&pool, 1, DRAIN);
    old = start_ready(&pool, now);
    pool_reload(&pool, 1, DRAIN);
    for (int i = 0; i < 2 * POOL_HOPELESS; i++) {
        now = MAX(now, pool.not_before_usec);
        end(&pool, start(&pool, now), now);
        expect(&pool, now, POOL_NOTHING);
    }
    /* Only when the last of them is gone too is there no hope left. */
    end(&pool, old, now);
    expect(&pool, now, POOL_GIVE_UP);
    pool_done(&pool);
}

static void pool_old_worker_that_dies_is_not_replaced(void **state)
{
    Pool pool;
    pid_t old;

    pool_init(&pool, 1, DRAIN);
    old = start_ready(&pool, BEGIN);
    pool_reload(&pool, 1, DRAIN);
    start(&pool, BEGIN);
    end(&pool, old, BEGIN);
    expect(&pool, BEGIN, POOL_NOTHING);
    assert_int_equal(pool.n_workers, 1);
    pool_done(&pool);
}

static void pool_drain_past_its_time_is_killed_once(void **state)
{
    PoolStep step;
    Pool pool;
    pid_t pid;

    pool_init(&pool, 1, DRAIN);
    pid = start_ready(&pool, BEGIN);
    pool_stop(&pool);
    expect(&pool, BEGIN, POOL_DRAIN);
    expect(&pool, BEGIN + DRAIN - 1, POOL_NOTHING);
    step = expect(&pool, BEGIN + DRAIN, POOL_KILL);
    assert_int_equal(step.pid, pid);
    assert_int_equal(step.phase, POOL_DRAINING);
    expect(&pool, BEGIN + DRAIN, POOL_NOTHING);
    end(&pool, pid, BEGIN + DRAIN);
    expect(&pool, BEGIN + DRAIN, POOL_DONE);
    pool_done(&pool);
}

static void pool_many_still_draining_hold_back_a_reload(void **state)
{
    usec_t now = BEGIN;
    pid_t last = 0;
    Pool pool;

    pool_init(&pool, 1, DRAIN);
    start_ready(&pool, now);
    for (int i = 0; i < POOL_DRAINING_MAX; i++) {
        assert_true(pool_may_reload(&pool));
        pool_reload(&pool, 1, DRAIN);
        start_ready(&pool, now);
        last = expect(&pool, now, POOL_DRAIN).pid;
    }
    assert_false(pool_may_reload(&pool));
    end(&pool, last, now);
    assert_true(pool_may_reload(&pool));
    pool_done(&pool);
}

static void pool_strangers_are_ignored(void **state)
{
    PoolWorker worker;
    Pool pool;

    pool_init(&pool, 1, DRAIN);
    pool_ready(&pool, 1);
    pool_served(&pool, 1);
    assert_false(pool_ended(&pool, 1, BEGIN, 0, &worker));
    expect(&pool, BEGIN, POOL_START);
    pool_done(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pool_fresh_fills_every_slot),
        cmocka_unit_test(pool_worker_that_served_is_replaced_at_once_in_its_slot),
        cmocka_unit_test(pool_early_death_throttles_and_doubles),
        cmocka_unit_test(pool_served_but_dead_within_a_second_throttles),
        cmocka_unit_test(pool_work_done_forgets_early_deaths),
        cmocka_unit_test(pool_none_staying_up_gives_up),
        cmocka_unit_test(pool_one_ready_worker_keeps_it_from_giving_up),
        cmocka_unit_test(pool_fork_that_fails_is_tried_again_later),
        cmocka_unit_test(pool_worker_never_ready_is_killed_and_counts_as_early),
        cmocka_unit_test(pool_reload_drains_old_only_when_all_new_are_ready),
        cmocka_unit_test(pool_reload_to_fewer_workers_drains_all_old),
        cmocka_unit_test(pool_old_serve_on_while_new_die),
        cmocka_unit_test(pool_old_worker_that_dies_is_not_replaced),
        cmocka_unit_test(pool_drain_past_its_time_is_killed_once),
        cmocka_unit_test(pool_many_still_draining_hold_back_a_reload),
        cmocka_unit_test(pool_strangers_are_ignored),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
