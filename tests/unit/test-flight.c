/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include <stdio.h>

#include "xmpprelay/flight.h"

static void add(Flight *flight, const char *id, FlightState state, usec_t since)
{
    FlightEntry *entry;

    assert_int_equal(flight_add(flight, id, state, since, &entry), 0);
    assert_string_equal(entry->id, id);
}

static void flight_since_is_of_the_earliest_unconfirmed(void **state)
{
    Flight flight = {};

    assert_int_equal(flight_since(&flight), USEC_INFINITY);
    add(&flight, "a", FLIGHT_POSTED, 10);
    add(&flight, "b", FLIGHT_POSTED, 20);
    assert_int_equal(flight_since(&flight), 10);
    flight_confirm(&flight, flight_find(&flight, "a"));
    assert_int_equal(flight_since(&flight), 20);
    flight_confirm(&flight, flight_find(&flight, "b"));
    assert_int_equal(flight_since(&flight), USEC_INFINITY);
    flight_free_entries(&flight);
}

static void flight_settled_forgets_only_what_was_pending(void **state)
{
    Flight flight = {};

    add(&flight, "posted", FLIGHT_POSTED, 1);
    add(&flight, "done", FLIGHT_POSTED, 1);
    flight_confirm(&flight, flight_find(&flight, "done"));
    flight_lost(&flight);
    assert_int_equal(flight_find(&flight, "posted")->state, FLIGHT_PENDING);
    assert_int_equal(flight_n_pending(&flight), 1);
    add(&flight, "new", FLIGHT_POSTED, 1);
    flight_settle(&flight);
    assert_null(flight_find(&flight, "posted"));
    assert_int_equal(flight_n_pending(&flight), 0);
    assert_int_equal(flight_find(&flight, "done")->state, FLIGHT_DONE);
    assert_int_equal(flight_find(&flight, "new")->state, FLIGHT_POSTED);
    flight_free_entries(&flight);
}

static void flight_full_refuses_more(void **state)
{
    Flight flight = {};
    FlightEntry *entry;
    char id[16];

    for (unsigned i = 0; i < FLIGHT_MAX; i++) {
        snprintf(id, sizeof(id), "%u", i);
        add(&flight, id, FLIGHT_POSTED, 1);
    }
    assert_int_equal(flight_add(&flight, "x", FLIGHT_POSTED, 1, &entry), -ENOSPC);
    flight_confirm(&flight, flight_find(&flight, "5"));
    assert_int_equal(flight_add(&flight, "x", FLIGHT_POSTED, 1, &entry), 0);
    flight_free_entries(&flight);
}

static void flight_remembers_the_last_confirmed(void **state)
{
    Flight flight = {};
    char id[16];

    for (unsigned i = 0; i < 10 * FLIGHT_DONE_MAX; i++) {
        snprintf(id, sizeof(id), "%u", i);
        add(&flight, id, FLIGHT_POSTED, 1);
        flight_confirm(&flight, flight_find(&flight, id));
        assert_true(flight.n <= FLIGHT_DONE_MAX);
    }
    assert_non_null(flight_find(&flight, id));
    assert_null(flight_find(&flight, "0"));
    flight_free_entries(&flight);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flight_since_is_of_the_earliest_unconfirmed),
        cmocka_unit_test(flight_settled_forgets_only_what_was_pending),
        cmocka_unit_test(flight_full_refuses_more),
        cmocka_unit_test(flight_remembers_the_last_confirmed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
