/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "common/backoff.h"

static const Backoff seconds = {
    .base_usec = USEC_PER_SEC,
    .cap_usec = 60 * USEC_PER_SEC,
    .healthy_usec = 60 * USEC_PER_SEC,
};

static void backoff_failing_doubles_to_cap(void **state)
{
    static const unsigned expected[] = { 1, 2, 4, 8, 16, 32, 60, 60, 60 };
    Backoff backoff = seconds;
    usec_t now = 1000 * USEC_PER_SEC;

    for (size_t i = 0; i < ELEMENTSOF(expected); i++) {
        backoff_started(&backoff, now);
        now += USEC_PER_SEC;
        assert_int_equal(backoff_failed(&backoff, now, 0), expected[i] * USEC_PER_SEC);
    }
}

static void backoff_healthy_attempt_begins_anew(void **state)
{
    Backoff backoff = seconds;
    usec_t now = 1000 * USEC_PER_SEC;

    for (int i = 0; i < 5; i++) {
        backoff_started(&backoff, now);
        backoff_failed(&backoff, now, 0);
    }
    backoff_started(&backoff, now);
    assert_int_equal(backoff_failed(&backoff, now + 61 * USEC_PER_SEC, 0), USEC_PER_SEC);
    backoff_started(&backoff, now);
    assert_int_equal(backoff_failed(&backoff, now + 59 * USEC_PER_SEC, 0), 2 * USEC_PER_SEC);
}

static void backoff_jitter_takes_at_most_a_quarter(void **state)
{
    for (uint64_t random = 0; random <= UINT32_MAX; random += UINT32_MAX / 16) {
        Backoff backoff = seconds;
        usec_t wait = backoff_failed(&backoff, USEC_PER_SEC, (uint32_t)random);

        assert_in_range(wait, USEC_PER_SEC * 3 / 4, USEC_PER_SEC);
    }
}

static void backoff_clock_stepped_back_is_no_health(void **state)
{
    Backoff backoff = seconds;

    backoff_started(&backoff, 100 * USEC_PER_SEC);
    backoff_failed(&backoff, 100 * USEC_PER_SEC, 0);
    backoff_started(&backoff, 100 * USEC_PER_SEC);
    assert_int_equal(backoff_failed(&backoff, 10 * USEC_PER_SEC, 0), 2 * USEC_PER_SEC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(backoff_failing_doubles_to_cap),
        cmocka_unit_test(backoff_healthy_attempt_begins_anew),
        cmocka_unit_test(backoff_jitter_takes_at_most_a_quarter),
        cmocka_unit_test(backoff_clock_stepped_back_is_no_health),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
