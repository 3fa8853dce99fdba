/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "milterd/breaker.h"

#define SEC USEC_PER_SEC

/* Fails as often as it takes to open, each wait five seconds long; returns the time after them. */
static usec_t open_at(Breaker *breaker, usec_t now)
{
    for (unsigned i = 1; i <= BREAKER_FAILURES; i++, now += 5 * SEC)
        assert_int_equal(breaker_failed(breaker, now, now + 5 * SEC), i == BREAKER_FAILURES);
    return now;
}

static void breaker_new_allows(void **state)
{
    Breaker breaker = {};

    assert_true(breaker_allows(&breaker));
    assert_false(breaker_answered(&breaker, SEC));
    assert_true(breaker_allows(&breaker));
}

static void breaker_failures_in_a_row_open_it_once(void **state)
{
    Breaker breaker = {};
    usec_t now = open_at(&breaker, 100 * SEC);

    assert_false(breaker_allows(&breaker));
    /* Those who waited still as it opened are no news. */
    assert_false(breaker_failed(&breaker, 100 * SEC, now));
    assert_false(breaker_failed(&breaker, now, now + SEC));
    assert_false(breaker_allows(&breaker));
    assert_int_equal(breaker.n_spared, 2);
}

static void breaker_answer_between_failures_begins_anew(void **state)
{
    Breaker breaker = {};

    for (usec_t now = 100 * SEC; now < 1000 * SEC; now += 30 * SEC) {
        assert_false(breaker_failed(&breaker, now, now + 5 * SEC));
        assert_false(breaker_failed(&breaker, now + 5 * SEC, now + 10 * SEC));
        assert_false(breaker_answered(&breaker, now + 20 * SEC));
        assert_true(breaker_allows(&breaker));
    }
}

static void breaker_wait_during_which_another_got_an_answer_does_not_count(void **state)
{
    Breaker breaker = {};

    breaker_answered(&breaker, 100 * SEC);
    for (int i = 0; i < 10; i++)
        assert_false(breaker_failed(&breaker, 99 * SEC, 104 * SEC));
    assert_true(breaker_allows(&breaker));

    open_at(&breaker, 100 * SEC);
    assert_false(breaker_allows(&breaker));
}

static void breaker_first_answer_closes_it_once(void **state)
{
    Breaker breaker = {};
    usec_t now = open_at(&breaker, 100 * SEC);

    assert_true(breaker_answered(&breaker, now));
    assert_false(breaker_answered(&breaker, now));
    assert_true(breaker_allows(&breaker));

    /* Waits that began before it count no more, and new ones from the first on. */
    assert_false(breaker_failed(&breaker, now - SEC, now + SEC));
    now = open_at(&breaker, now + SEC);
    assert_int_equal(breaker.n_spared, 0);
    assert_int_equal(breaker.opened_usec, now);
}

static void breaker_probes_wait_longer_each_time_up_to_a_limit(void **state)
{
    static const unsigned expected[] = { 1, 2, 4, 8, 10, 10, 10 };
    Breaker breaker = {};
    usec_t now = 100 * SEC, until;

    for (int again = 0; again < 2; again++) {
        now = open_at(&breaker, now);
        for (size_t i = 0; i < ELEMENTSOF(expected); i++) {
            assert_true(breaker_probe(&breaker, now, &until));
            assert_int_equal(until, now + expected[i] * SEC);
            now = until;
        }
        assert_true(breaker_answered(&breaker, now));
    }
}

static void breaker_gives_one_prober_the_turn_until_its_time_is_over(void **state)
{
    Breaker breaker = {};
    usec_t now = open_at(&breaker, 100 * SEC), until, again;

    assert_true(breaker_probe(&breaker, now, &until));
    assert_false(breaker_probe(&breaker, now, &again));
    assert_false(breaker_probe(&breaker, until - 1, &again));
    assert_int_equal(again, until);
    assert_true(breaker_probe(&breaker, until, &again));
}

static void breaker_closed_gives_nobody_the_turn(void **state)
{
    Breaker breaker = {};
    usec_t now = 100 * SEC, until;

    assert_false(breaker_probe(&breaker, now, &until));
    assert_true(until == USEC_INFINITY);
    now = open_at(&breaker, now);
    assert_true(breaker_probe(&breaker, now, &until));
    breaker_answered(&breaker, now);
    assert_false(breaker_probe(&breaker, now + 100 * SEC, &until));

    /* The turn that was given before it opened anew is over. */
    now = open_at(&breaker, now);
    assert_true(breaker_probe(&breaker, now, &until));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(breaker_new_allows),
        cmocka_unit_test(breaker_failures_in_a_row_open_it_once),
        cmocka_unit_test(breaker_answer_between_failures_begins_anew),
        cmocka_unit_test(breaker_wait_during_which_another_got_an_answer_does_not_count),
        cmocka_unit_test(breaker_first_answer_closes_it_once),
        cmocka_unit_test(breaker_probes_wait_longer_each_time_up_to_a_limit),
        cmocka_unit_test(breaker_gives_one_prober_the_turn_until_its_time_is_over),
        cmocka_unit_test(breaker_closed_gives_nobody_the_turn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
