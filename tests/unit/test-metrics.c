/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "common/metrics.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>

enum {
    INFO,
    RECEIPTS,
    TOTAL,
    WAIT_SECONDS,
    SPOOL,
    OLDEST,
    N_FAMILIES,
};

static const MetricFamily families[N_FAMILIES] = {
    [INFO] = { "t_build_info", "The program.", .type = METRIC_GAUGE, .labels = { "version" } },
    [RECEIPTS] = { "t_receipts_total", "Receipts sent.", .type = METRIC_COUNTER,
                   .labels = { "status", "to" } },
    [TOTAL] = { "t_connections_total", "Connections.", .type = METRIC_COUNTER },
    [WAIT_SECONDS] = { "t_wait_seconds", "Waiting.", .type = METRIC_HISTOGRAM, .seconds = true,
                       .labels = { "to" },
                       .buckets = { 5000, 500000, USEC_PER_SEC, 60 * USEC_PER_SEC } },
    [SPOOL] = { "t_spool", "Entries.", .type = METRIC_GAUGE },
    [OLDEST] = { "t_oldest_seconds", "The oldest.", .type = METRIC_GAUGE, .seconds = true },
};

static Metrics *page_new(size_t max_series)
{
    Metrics *metrics;

    assert_int_equal(metrics_new(families, N_FAMILIES, max_series, &metrics), 0);
    return metrics;
}

static Metric *at1(Metrics *metrics, size_t family, const char *value)
{
    return metrics_at(metrics, family, (const char *[]){ value });
}

static Metric *at2(Metrics *metrics, size_t family, const char *first, const char *second)
{
    return metrics_at(metrics, family, (const char *[]){ first, second });
}

static void assert_renders(const Metrics *metrics, MetricsFormat format, const char *expected)
{
    _cleanup_free_ char *text = NULL;
    size_t size;

    assert_int_equal(metrics_render(metrics, format, &text, &size), 0);
    assert_string_equal(text, expected);
    assert_int_equal(size, strlen(expected));
}

static void assert_shows(const Metrics *metrics, const char *line, bool shown)
{
    _cleanup_free_ char *text = NULL;
    size_t size;

    assert_int_equal(metrics_render(metrics, METRICS_TEXT, &text, &size), 0);
    if (!strstr(text, line) == shown)
        fail_msg("%s\nis %s", text, shown ? "without what is expected" : "with what is not");
}

static void metrics_empty_page_renders_only_its_end(void **state)
{
    _cleanup_(metrics_freep) Metrics *metrics = page_new(10);

    assert_renders(metrics, METRICS_TEXT, "");
    assert_renders(metrics, METRICS_OPENMETRICS, "# EOF\n");
}

static Metrics *page_with_all(void)
{
    Metrics *metrics = page_new(20);
    Metric *wait = at1(metrics, WAIT_SECONDS, "ops");

    metric_set(at1(metrics, INFO, "1.2"), 1);
    metric_add(at2(metrics, RECEIPTS, "busy", "a"), 3);
    metric_add(at2(metrics, RECEIPTS, "accepted", "a"), 1);
    metric_add(at2(metrics, RECEIPTS, "busy", "a"), 4);
    metrics_at(metrics, TOTAL, NULL);
    metric_observe(wait, 0);
    metric_observe(wait, 5000);
    metric_observe(wait, 5001);
    metric_observe(wait, 1250000);
    metric_observe(wait, 61 * USEC_PER_SEC);
    metric_set(metrics_at(metrics, SPOOL, NULL), -5);
    metric_change(metrics_at(metrics, SPOOL, NULL), 3);
    metric_set(metrics_at(metrics, OLDEST, NULL), 1763735664123400);
    return metrics;
}

static void metrics_text_format_is_exact(void **state)
{
    _cleanup_(metrics_freep) Metrics *metrics = page_with_all();

    assert_renders(metrics, METRICS_TEXT,
                   "# HELP t_build_info The program.\n"
                   "# TYPE t_build_info gauge\n"
                   "t_build_info{version=\"1.2\"} 1\n"
                   "# HELP t_receipts_total Receipts sent.\n"
                   "# TYPE t_receipts_total counter\n"
                   "t_receipts_total{status=\"busy\",to=\"a\"} 7\n"
                   "t_receipts_total{status=\"accepted\",to=\"a\"} 1\n"
                   "# HELP t_connections_total Connections.\n"
                   "# TYPE t_connections_total counter\n"
                   "t_connections_total 0\n"
                   "# HELP t_wait_seconds Waiting.\n"
                   "# TYPE t_wait_seconds histogram\n"
                   "t_wait_seconds_bucket{to=\"ops\",le=\"0.005\"} 2\n"
                   "t_wait_seconds_bucket{to=\"ops\",le=\"0.5\"} 3\n"
                   "t_wait_seconds_bucket{to=\"ops\",le=\"1.0\"} 3\n"
                   "t_wait_seconds_bucket{to=\"ops\",le=\"60.0\"} 4\n"
                   "t_wait_seconds_bucket{to=\"ops\",le=\"+Inf\"} 5\n"
                   "t_wait_seconds_sum{to=\"ops\"} 62.260001\n"
                   "t_wait_seconds_count{to=\"ops\"} 5\n"
                   "# HELP t_spool Entries.\n"
                   "# TYPE t_spool gauge\n"
                   "t_spool -2\n"
                   "# HELP t_oldest_seconds The oldest.\n"
                   "# TYPE t_oldest_seconds gauge\n"
                   "t_oldest_seconds 1763735664.1234\n");
}

static void metrics_openmetrics_is_exact(void **state)
{
    _cleanup_(metrics_freep) Metrics *metrics = page_with_all();

    assert_renders(metrics, METRICS_OPENMETRICS,
                   "# HELP t_build_info The program.\n"
                   "# TYPE t_build_info gauge\n"
                   "t_build_info{version=\"1.2\"} 1\n"
                   "# HELP t_receipts Receipts sent.\n"
                   "# TYPE t_receipts counter\n"
                   "t_receipts_total{status=\"busy\",to=\"a\"} 7\n"
                   "t_receipts_total{status=\"accepted\",to=\"a\"} 1\n"
                   "# HELP t_connections Connections.\n"
                   "# TYPE t_connections counter\n"
                   "t_connections_total 0\n"
                   "# HELP t_wait_seconds Waiting.\n"
                   "# TYPE t_wait_seconds histogram\n"
                   "# UNIT t_wait_seconds seconds\n"
                   "t_wait_seconds_bucket{to=\"ops\",le=\"0.005\"} 2\n"
                   "t_wait_seconds_bucket{to=\"ops\",le=\"0.5\"} 3\n"
                   "t_wait_seconds_bucket{to=\"ops\",le=\"1.0\"} 3\n"
                   "t_wait_seconds_bucket{to=\"ops\",le=\"60.0\"} 4\n"
                   "t_wait_seconds_bucket{to=\"ops\",le=\"+Inf\"} 5\n"
                   "t_wait_seconds_sum{to=\"ops\"} 62.260001\n"
                   "t_wait_seconds_count{to=\"ops\"} 5\n"
                   "# HELP t_spool Entries.\n"
                   "# TYPE t_spool gauge\n"
                   "t_spool -2\n"
                   "# HELP t_oldest_seconds The oldest.\n"
                   "# TYPE t_oldest_seconds gauge\n"
                   "# UNIT t_oldest_seconds seconds\n"
                   "t_oldest_seconds 1763735664.1234\n"
                   "# EOF\n");
}

static void metrics_label_values_are_escaped(void **state)
{
    _cleanup_(metrics_freep) Metrics *metrics = page_new(10);

    metric_add(at2(metrics, RECEIPTS, "a\"b\\c\nd", "Übung {x=\"1\"}"), 1);
    assert_shows(metrics, "{status=\"a\\\"b\\\\c\\nd\",to=\"Übung {x=\\\"1\\\"}\"} 1\n", true);
}

static void metrics_long_label_values_are_cut_between_characters(void **state)
{
    _cleanup_(metrics_freep) Metrics *metrics = page_new(10);
    char value[400] = "x", cut[METRIC_VALUE_SIZE + 8];

    for (size_t i = 1; i + 2 < sizeof(value); i += 2)
        memcpy(value + i, "ß", 3);
    metric_add(at1(metrics, WAIT_SECONDS, value), 0);
    assert_ptr_equal(at1(metrics, WAIT_SECONDS, value), at1(metrics, WAIT_SECONDS, value));
    /* 127 bytes: x and 63 times ß */
    snprintf(cut, sizeof(cut), "\"%.127s\"", value);
    assert_shows(metrics, cut, true);
}

static void metrics_values_that_begin_alike_are_two_series(void **state)
{
    _cleanup_(metrics_freep) Metrics *metrics = page_new(10);

    assert_ptr_not_equal(at1(metrics, WAIT_SECONDS, "ops"), at1(metrics, WAIT_SECONDS, "ops2"));
    assert_ptr_not_equal(at1(metrics, WAIT_SECONDS, "ops"), at1(metrics, WAIT_SECONDS, "op"));
    assert_ptr_not_equal(at2(metrics, RECEIPTS, "a", "b"), at2(metrics, RECEIPTS, "b", "a"));
    assert_ptr_equal(at2(metrics, RECEIPTS, "a", "b"), at2(metrics, RECEIPTS, "a", "b"));
}

static void metrics_past_the_limit_are_counted_as_other(void **state)
{
    _cleanup_(metrics_freep) Metrics *metrics = page_new(2);

    metric_add(at2(metrics, RECEIPTS, "a", "x"), 1);
    metric_add(at2(metrics, RECEIPTS, "b", "x"), 1);
    metric_add(at2(metrics, RECEIPTS, "c", "x"), 1);
    metric_add(at2(metrics, RECEIPTS, "d", "x"), 2);
    metric_add(at2(metrics, RECEIPTS, "a", "x"), 1);
    metric_observe(at1(metrics, WAIT_SECONDS, "ops"), 7);
    metric_observe(at1(metrics, WAIT_SECONDS, "dba"), 8);
    metric_set(metrics_at(metrics, SPOOL, NULL), 77);

    assert_shows(metrics, "{status=\"a\",to=\"x\"} 2\n", true);
    assert_shows(metrics, "{status=\"b\",to=\"x\"} 1\n", true);
    assert_shows(metrics, "{status=\"other\",to=\"other\"} 3\n", true);
    assert_shows(metrics, "t_wait_seconds_count{to=\"other\"} 2\n", true);
    /* which of those that share it would it be? */
    assert_shows(metrics, "t_spool", false);
}

static void metrics_past_the_limit_of_each_family_have_room(void **state)
{
    _cleanup_(metrics_freep) Metrics *metrics = page_new(0);

    for (size_t i = 0; i < N_FAMILIES; i++)
        assert_non_null(at2(metrics, i, "a", "b"));
    metric_add(metrics_at(metrics, TOTAL, NULL), 1);
    assert_shows(metrics, "t_connections_total 1\n", true);
}

static void metrics_named_other_by_the_user_are_not_the_rest(void **state)
{
    _cleanup_(metrics_freep) Metrics *metrics = page_new(1);
    Metric *named = at1(metrics, WAIT_SECONDS, METRIC_OTHER);

    assert_ptr_not_equal(at1(metrics, WAIT_SECONDS, "ops"), named);
    assert_ptr_equal(at1(metrics, WAIT_SECONDS, METRIC_OTHER), named);
}

static void metrics_hidden_gauges_come_back_when_asked_for(void **state)
{
    _cleanup_(metrics_freep) Metrics *metrics = page_new(10);
    Metric *info = at1(metrics, INFO, "1");

    metric_set(info, 1);
    metric_set(at1(metrics, INFO, "2"), 2);
    metric_add(metrics_at(metrics, TOTAL, NULL), 1);
    metrics_hide(metrics, INFO);
    metrics_hide(metrics, TOTAL);
    assert_shows(metrics, "t_build_info", false);
    assert_shows(metrics, "t_connections_total 1\n", true);

    assert_ptr_equal(at1(metrics, INFO, "1"), info);
    assert_shows(metrics, "t_build_info{version=\"1\"} 1\n", true);
    assert_shows(metrics, "t_build_info{version=\"2\"}", false);
}

static void metrics_that_are_not_there_count_nothing(void **state)
{
    Metric *none = metrics_at(NULL, RECEIPTS, (const char *[]){ "a", "b" });

    assert_null(none);
    metric_add(none, 1);
    metric_set(none, 1);
    metric_change(none, 1);
    metric_observe(none, 1);
    metrics_hide(NULL, INFO);
    assert_int_equal(metric_value(none), 0);
}

#define THREADS 4
#define ROUNDS 20000

static void *count_much(void *userdata)
{
    Metric **all = userdata;

    for (int i = 0; i < ROUNDS; i++) {
        metric_add(all[0], 1);
        metric_observe(all[1], (uint64_t)(i % 2) * USEC_PER_SEC);
        metric_change(all[2], i % 2 ? 1 : -1);
    }
    return NULL;
}

/* What is counted on several threads of several children is all there in the end. */
static void metrics_count_in_children_and_threads_without_loss(void **state)
{
    _cleanup_(metrics_freep) Metrics *metrics = page_new(10);
    Metric *all[] = { metrics_at(metrics, TOTAL, NULL), at1(metrics, WAIT_SECONDS, "ops"),
                      metrics_at(metrics, SPOOL, NULL) };
    pid_t children[3];
    int status;

    for (size_t i = 0; i < ELEMENTSOF(children); i++) {
        children[i] = fork();
        if (children[i] == 0) {
            pthread_t threads[THREADS];

            for (size_t j = 0; j < THREADS; j++)
                pthread_create(&threads[j], NULL, count_much, all);
            for (size_t j = 0; j < THREADS; j++)
                pthread_join(threads[j], NULL);
            _exit(0);
        }
    }
    for (size_t i = 0; i < ELEMENTSOF(children); i++) {
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(metric_value(all[0]), 3 * THREADS * ROUNDS);
    assert_int_equal(metric_value(all[1]), 3 * THREADS * ROUNDS);
    assert_int_equal(metric_value(all[2]), 0);
    assert_shows(metrics, "t_wait_seconds_bucket{to=\"ops\",le=\"0.005\"} 120000\n", true);
    assert_shows(metrics, "t_wait_seconds_sum{to=\"ops\"} 120000\n", true);
}

static void metrics_format_is_what_the_client_asks_for(void **state)
{
    static const struct {
        const char *accept;
        MetricsFormat format;
    } cases[] = {
        { NULL, METRICS_TEXT },
        { "", METRICS_TEXT },
        { "*/*", METRICS_TEXT },
        { "text/html, */*;q=0.8", METRICS_TEXT },
        { "application/openmetrics-text", METRICS_OPENMETRICS },
        { "Application/OpenMetrics-Text ; Version=\"1.0.0\"; charset=utf-8", METRICS_OPENMETRICS },
        /* Prometheus 2.42 and 3 */
        { "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;"
          "q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
          METRICS_OPENMETRICS },
        { "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/"
          "openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;"
          "q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
          METRICS_OPENMETRICS },
        { "application/openmetrics-text;version=0.0.1,text/plain;q=0.5", METRICS_TEXT },
        { "application/openmetrics-text;q=0.4, text/plain;q=0.5", METRICS_TEXT },
        { "application/openmetrics-text;q=0", METRICS_TEXT },
        { "application/openmetrics-text;q=0.000,text/plain;q=0", METRICS_TEXT },
        { "application/openmetrics-text;q=0.001", METRICS_OPENMETRICS },
        { "application/openmetrics-text;q=x", METRICS_TEXT },
        { ";;;,,,=;q=;version=", METRICS_TEXT },
        { "text/plain;application/openmetrics-text", METRICS_TEXT },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++)
        if (metrics_negotiate(cases[i].accept) != cases[i].format)
            fail_msg("wrong for: %s", cases[i].accept);
    assert_string_equal(metrics_content_type(METRICS_TEXT),
                        "text/plain; version=0.0.4; charset=utf-8");
    assert_string_equal(metrics_content_type(METRICS_OPENMETRICS),
                        "application/openmetrics-text; version=1.0.0; charset=utf-8");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metrics_empty_page_renders_only_its_end),
        cmocka_unit_test(metrics_text_format_is_exact),
        cmocka_unit_test(metrics_openmetrics_is_exact),
        cmocka_unit_test(metrics_label_values_are_escaped),
        cmocka_unit_test(metrics_long_label_values_are_cut_between_characters),
        cmocka_unit_test(metrics_values_that_begin_alike_are_two_series),
        cmocka_unit_test(metrics_past_the_limit_are_counted_as_other),
        cmocka_unit_test(metrics_past_the_limit_of_each_family_have_room),
        cmocka_unit_test(metrics_named_other_by_the_user_are_not_the_rest),
        cmocka_unit_test(metrics_hidden_gauges_come_back_when_asked_for),
        cmocka_unit_test(metrics_that_are_not_there_count_nothing),
        cmocka_unit_test(metrics_count_in_children_and_threads_without_loss),
        cmocka_unit_test(metrics_format_is_what_the_client_asks_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
