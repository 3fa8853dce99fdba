/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "xmpprelay/metrics.h"

#include <stdio.h>

typedef struct Fixture {
    RelayMetrics metrics;
    Settings settings;
    Account accounts[2];
    Destination destinations[2];
    void *account_items[2], *destination_items[2];
} Fixture;

/* "ops" of the account "main", and `second` of the account "more" unless it is NULL. */
static void configure(Fixture *fixture, char *first, char *second)
{
    static char main_name[] = "main", more_name[] = "more";
    char *names[] = { first, second };

    for (size_t i = 0; i < 2; i++) {
        fixture->accounts[i] = (Account){ .name = i == 0 ? main_name : more_name };
        fixture->destinations[i] = (Destination){ .name = names[i],
                                                  .account = fixture->accounts[i].name,
                                                  .account_index = i };
        fixture->account_items[i] = &fixture->accounts[i];
        fixture->destination_items[i] = &fixture->destinations[i];
    }
    fixture->settings = (Settings){
        .accounts = { fixture->account_items, 2 },
        .destinations = { fixture->destination_items, second ? 2 : 1 },
    };
    assert_int_equal(relay_metrics_configure(&fixture->metrics, &fixture->settings), 0);
}

static int setup(void **state)
{
    Fixture *fixture = calloc(1, sizeof(*fixture));

    *state = fixture;
    return relay_metrics_init(&fixture->metrics, 1700000000500000);
}

static int teardown(void **state)
{
    Fixture *fixture = *state;

    relay_metrics_done(&fixture->metrics);
    free(fixture);
    return 0;
}

static void assert_shows(Fixture *fixture, const char *line, bool shown)
{
    _cleanup_free_ char *text = NULL;
    size_t size;

    assert_int_equal(metrics_render(fixture->metrics.page, METRICS_TEXT, &text, &size), 0);
    if (!strstr(text, line) == shown)
        fail_msg("%s\n%s %s", text, shown ? "lacks" : "has", line);
}

static char ops[] = "ops", night[] = "night";

static void relay_metrics_are_there_before_anything_happens(void **state)
{
    static const char *const lines[] = {
        "xmpprelay_build_info{version=\"" PROJECT_VERSION "\"} 1\n",
        "xmpprelay_start_time_seconds 1700000000.5\n",
        "xmpprelay_receipts_total{status=\"accepted\"} 0\n",
        "xmpprelay_receipts_total{status=\"refused\"} 0\n",
        "xmpprelay_receipt_seconds_count 0\n",
        "xmpprelay_delivered_total{destination=\"night\"} 0\n",
        "xmpprelay_failed_total{destination=\"ops\"} 0\n",
        "xmpprelay_delivery_seconds_bucket{destination=\"ops\",le=\"86400.0\"} 0\n",
        "xmpprelay_entries{destination=\"ops\",state=\"in_flight\"} 0\n",
        "xmpprelay_session_up{account=\"main\"} 0\n",
        "xmpprelay_session_starts_total{account=\"more\"} 0\n",
        "xmpprelay_last_echo_timestamp_seconds{destination=\"ops\"} 0\n",
        "xmpprelay_reloads_total{result=\"failure\"} 0\n",
        "xmpprelay_last_reload_successful 1\n",
    };
    Fixture *fixture = *state;

    configure(fixture, ops, night);
    for (size_t i = 0; i < ELEMENTSOF(lines); i++)
        assert_shows(fixture, lines[i], true);
}

static void relay_metrics_count_what_happens(void **state)
{
    Fixture *fixture = *state;
    RelayMetrics *metrics = &fixture->metrics;
    const usec_t now = 1700000100 * USEC_PER_SEC;

    configure(fixture, ops, night);
    relay_metrics_receipt(metrics, RECEIPT_BUSY);
    relay_metrics_settled(metrics, 0, true, now - 2 * USEC_PER_SEC, now);
    relay_metrics_settled(metrics, 0, true, now + USEC_PER_SEC, now); /* the clock was set back */
    relay_metrics_settled(metrics, 1, false, now - USEC_PER_SEC, now);
    relay_metrics_tested(metrics, 1, 250000, now);
    relay_metrics_session_started(metrics, 0);
    relay_metrics_session_started(metrics, 0);
    relay_metrics_session_online(metrics, 1);
    relay_metrics_reload(metrics, false);

    assert_shows(fixture, "xmpprelay_receipts_total{status=\"busy\"} 1\n", true);
    assert_shows(fixture, "xmpprelay_delivered_total{destination=\"ops\"} 2\n", true);
    assert_shows(fixture, "xmpprelay_delivery_seconds_sum{destination=\"ops\"} 2\n", true);
    assert_shows(fixture, "xmpprelay_delivery_seconds_count{destination=\"night\"} 0\n", true);
    assert_shows(fixture, "xmpprelay_failed_total{destination=\"night\"} 1\n", true);
    assert_shows(fixture, "xmpprelay_last_echo_timestamp_seconds{destination=\"ops\"} 1700000100\n",
                 true);
    assert_shows(fixture, "xmpprelay_last_echo_timestamp_seconds{destination=\"night\"} 0\n", true);
    assert_shows(fixture,
                 "xmpprelay_test_success_timestamp_seconds{destination=\"night\"} 1700000100\n",
                 true);
    assert_shows(fixture, "xmpprelay_test_seconds{destination=\"night\"} 0.25\n", true);
    assert_shows(fixture, "xmpprelay_session_starts_total{account=\"main\"} 2\n", true);
    assert_shows(fixture, "xmpprelay_session_connects_total{account=\"more\"} 1\n", true);
    assert_shows(fixture, "xmpprelay_reloads_total{result=\"failure\"} 1\n", true);
    assert_shows(fixture, "xmpprelay_last_reload_successful 0\n", true);
}

/* What is no destination any more has no gauges, but what was delivered there stays counted. */
static void relay_metrics_of_what_is_gone_keep_their_counters(void **state)
{
    Fixture *fixture = *state;

    configure(fixture, ops, night);
    relay_metrics_settled(&fixture->metrics, 1, true, 1, 1);
    configure(fixture, ops, NULL);
    assert_shows(fixture, "xmpprelay_delivered_total{destination=\"night\"} 1\n", true);
    assert_shows(fixture, "xmpprelay_entries{destination=\"night\"", false);
    assert_shows(fixture, "xmpprelay_last_echo_timestamp_seconds{destination=\"night\"", false);
    assert_shows(fixture, "xmpprelay_session_up{account=\"more\"", false);
    assert_shows(fixture, "xmpprelay_session_up{account=\"main\"", true);
    assert_shows(fixture, "xmpprelay_build_info", true);

    configure(fixture, night, ops);
    relay_metrics_settled(&fixture->metrics, 0, true, 1, 1);
    assert_shows(fixture, "xmpprelay_delivered_total{destination=\"night\"} 2\n", true);
    assert_shows(fixture, "xmpprelay_entries{destination=\"night\",state=\"failed\"} 0\n", true);
}

/* As promtool, which is no part of a build, has it; and no name may say more than once what. */
static void relay_metrics_families_are_well_formed(void **state)
{
    for (size_t i = 0; i < relay_metrics_n_families; i++) {
        const MetricFamily *family = &relay_metric_families[i];
        const char *total = strstr(family->name, "_total");
        size_t length = total ? (size_t)(total - family->name) : strlen(family->name);

        assert_int_equal(strncmp(family->name, "xmpprelay_", 10), 0);
        assert_int_equal(strspn(family->name, "abcdefghijklmnopqrstuvwxyz_"), strlen(family->name));
        assert_int_equal(!!total, family->type == METRIC_COUNTER);
        assert_true(!family->seconds || strncmp(family->name + length - 8, "_seconds", 8) == 0);
        assert_null(strpbrk(family->help, "\"\\\n"));
        assert_true(family->help[strlen(family->help) - 1] == '.');
        assert_int_equal(family->buckets[0] > 0, family->type == METRIC_HISTOGRAM);
        for (size_t j = 1; j < METRIC_BUCKETS_MAX && family->buckets[j]; j++)
            assert_true(family->buckets[j] > family->buckets[j - 1]);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(family->name, relay_metric_families[j].name);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(relay_metrics_are_there_before_anything_happens),
        TEST(relay_metrics_count_what_happens),
        TEST(relay_metrics_of_what_is_gone_keep_their_counters),
        TEST(relay_metrics_families_are_well_formed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
