/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "milterd/counters.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#define RULES_OF_TEST 3000

/* Rules r0, r1, …, each with the destinations "a" and "b", but for the first, which has none. */
typedef struct Fixture {
    Counters *counters;
    Rule rules[RULES_OF_TEST];
    void *items[RULES_OF_TEST];
    char names[RULES_OF_TEST][8];
    RuleSet set;
} Fixture;

static int setup(void **state)
{
    static char a[] = "a", b[] = "b", *destinations[] = { a, b };
    Fixture *fixture = calloc(1, sizeof(*fixture));

    if (!fixture)
        return -1;
    for (size_t i = 0; i < RULES_OF_TEST; i++) {
        snprintf(fixture->names[i], sizeof(fixture->names[i]), "r%zu", i);
        fixture->rules[i].name = fixture->names[i];
        if (i > 0)
            fixture->rules[i].to = (ConfigStrings){ .items = destinations, .n = 2 };
        fixture->items[i] = &fixture->rules[i];
    }
    *state = fixture;
    return counters_new(&fixture->counters);
}

static int teardown(void **state)
{
    Fixture *fixture = *state;

    counters_free(fixture->counters);
    free(fixture);
    return 0;
}

/* The configuration has the rules from `first` on. */
static void configure(Fixture *fixture, size_t first, size_t n)
{
    Metric **reserved;

    fixture->set = (RuleSet){ .items = fixture->items + first, .n = n };
    assert_int_equal(counters_reserve(&fixture->set, &reserved), 0);
    counters_take(fixture->counters, &fixture->set, reserved);
}

static void alert(const Fixture *fixture, size_t rule)
{
    counters_alert(fixture->counters, &fixture->set, &fixture->rules[rule]);
}

static void assert_line(const Fixture *fixture, const char *line, bool there)
{
    _cleanup_free_ char *text = NULL;
    size_t size;

    assert_int_equal(metrics_render(fixture->counters->page, METRICS_TEXT, &text, &size), 0);
    if ((strstr(text, line) != NULL) != there)
        fail_msg("%s%s in:\n%s", line, there ? " is not" : " is", text);
}

#define ALERTS(rule, destination)                                                                  \
    "\nmilterd_alerts_total{rule=\"" rule "\",destination=\"" destination "\"} "

static void counters_alert_counts_for_each_destination_of_its_rule(void **state)
{
    Fixture *fixture = *state;

    fixture->rules[3].skip = true;
    configure(fixture, 0, 4);
    alert(fixture, 0);
    alert(fixture, 2);
    alert(fixture, 2);
    assert_line(fixture, ALERTS("r0", "default") "1\n", true);
    assert_line(fixture, ALERTS("r1", "a") "0\n", true);
    assert_line(fixture, ALERTS("r2", "a") "2\n", true);
    assert_line(fixture, ALERTS("r2", "b") "2\n", true);
    assert_line(fixture, ALERTS("r3", "a"), false);
}

static void counters_of_rules_outlast_the_configuration(void **state)
{
    Fixture *fixture = *state;

    configure(fixture, 0, 3);
    alert(fixture, 1);
    alert(fixture, 2);
    configure(fixture, 2, 2);
    alert(fixture, 2);
    alert(fixture, 3);
    assert_line(fixture, ALERTS("r1", "a") "1\n", true);
    assert_line(fixture, ALERTS("r2", "a") "2\n", true);
    assert_line(fixture, ALERTS("r3", "b") "1\n", true);
}

static void counters_of_too_many_rules_are_one(void **state)
{
    Fixture *fixture = *state;

    configure(fixture, 0, RULES_OF_TEST);
    alert(fixture, 500);
    alert(fixture, RULES_OF_TEST - 2);
    alert(fixture, RULES_OF_TEST - 1);
    assert_line(fixture, ALERTS("r500", "b") "1\n", true);
    assert_line(fixture, ALERTS("r2999", "b"), false);
    assert_line(fixture, ALERTS("other", "other") "4\n", true);
    /* What does not come from the configuration had its place before. */
    counters_reloaded(fixture->counters, false);
    counters_guarded(fixture->counters, "bounce");
    assert_line(fixture, "\nmilterd_reloads_total{result=\"failure\"} 1\n", true);
    assert_line(fixture, "\nmilterd_guarded_total{guard=\"bounce\"} 1\n", true);
    assert_line(fixture, "\nmilterd_last_reload_successful 0\n", true);
}

static void counters_of_children_are_seen_when_they_are_gone(void **state)
{
    Fixture *fixture = *state;

    configure(fixture, 0, 2);
    for (int i = 0; i < 3; i++) {
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
            alert(fixture, 1);
            metric_add(fixture->counters->messages[COUNTER_BODY][VERDICT_ACCEPT], 2);
            metric_add(fixture->counters->receipts[COUNTER_RECEIPT_NONE], 1);
            kill(getpid(), SIGKILL);
        }
        assert_int_equal(waitpid(pid, NULL, 0), pid);
    }
    assert_line(fixture, ALERTS("r1", "a") "3\n", true);
    assert_line(fixture, "\nmilterd_messages_total{stage=\"body\",verdict=\"accept\"} 6\n", true);
    assert_line(fixture, "\nmilterd_receipts_total{status=\"none\"} 3\n", true);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(counters_alert_counts_for_each_destination_of_its_rule),
        TEST(counters_of_rules_outlast_the_configuration),
        TEST(counters_of_too_many_rules_are_one),
        TEST(counters_of_children_are_seen_when_they_are_gone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
