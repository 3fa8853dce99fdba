/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include <stdio.h>

#include "milterd/settings.h"

typedef struct Fixture {
    char path[32];
    Settings *settings;
    ConfigFile *file;
} Fixture;

static int set_up(void **state)
{
    static Fixture fixture;
    int fd;

    fixture = (Fixture){ .path = "/tmp/settingsXXXXXX" };
    fd = mkstemp(fixture.path);
    assert_true(fd >= 0);
    close(fd);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state)
{
    Fixture *fixture = *state;

    settings_free(fixture->settings);
    config_file_free(fixture->file);
    unlink(fixture->path);
    return 0;
}

static int load(Fixture *fixture, const char *text)
{
    FILE *stream = fopen(fixture->path, "we");

    assert_non_null(stream);
    fputs(text, stream);
    assert_int_equal(fclose(stream), 0);

    fixture->settings = settings_free(fixture->settings);
    fixture->file = config_file_free(fixture->file);
    return settings_load(fixture->path, &fixture->settings, &fixture->file);
}

static void assert_error(Fixture *fixture, size_t index, const char *expected)
{
    char message[512];

    assert_in_range(index + 1, 1, config_n_errors(fixture->file));
    snprintf(message, sizeof(message), "%s:%s", fixture->path, expected);
    assert_string_equal(config_error_at(fixture->file, index), message);
}

/* Loads what has one mistake, and holds it to its message, which begins with the line. */
static void assert_refused(Fixture *fixture, const char *text, const char *expected)
{
    assert_int_equal(load(fixture, text), -EINVAL);
    assert_null(fixture->settings);
    assert_error(fixture, 0, expected);
    assert_int_equal(config_n_errors(fixture->file), 1);
}

static void settings_empty_file_gives_the_defaults_and_a_warning(void **state)
{
    Fixture *fixture = *state;
    const Settings *settings;

    assert_int_equal(load(fixture, ""), 0);
    settings = fixture->settings;
    assert_int_equal(settings->listen.n, 1);
    assert_string_equal(settings->listen.items[0], "unix:/run/milterd/milter.sock");
    assert_int_equal(settings->listen_mode, 0660);
    assert_string_equal(settings->listen_group, "");
    assert_int_equal(settings->workers, 0);
    assert_int_equal(settings->drain_timeout_usec, 30 * USEC_PER_SEC);
    assert_int_equal(settings->idle_timeout_usec, 600 * USEC_PER_SEC);
    assert_int_equal(settings->max_message, 1024 * 1024);
    assert_string_equal(settings->relay.socket, "/run/xmpprelay/relay.sock");
    assert_int_equal(settings->relay.timeout_usec, 5 * USEC_PER_SEC);
    assert_int_equal(settings->relay.on_failure, ON_FAILURE_TEMPFAIL);
    assert_int_equal(settings->rules.n, 0);
    assert_int_equal(config_n_warnings(fixture->file), 1);
    assert_non_null(strstr(config_warning_at(fixture->file, 0),
                           "there are no rules, so no mail becomes an alert"));
}

static void settings_all_keys_are_read(void **state)
{
    Fixture *fixture = *state;
    const Settings *settings;
    const Rule *rule;

    assert_int_equal(
        load(fixture,
             "listen = [ \"unix:/run/x\", \"inet:25@127.0.0.1\" ];\n"
             "listen_mode = \"0600\";\n"
             "listen_group = \"postfix\";\n"
             "workers = 256;\n"
             "drain_timeout = \"0\";\n"
             "idle_timeout = \"1d\";\n"
             "max_message = \"64M\";\n"
             "relay: { socket = \"/run/r\"; timeout = \"240s\";\n"
             "         on_failure = \"accept\"; };\n"
             "guards = [];\n"
             "redact: ( { name = \"badge\"; regex = \"badge [0-9]+\"; } );\n"
             "rules: ( { name = \"a\"; match: { subject = \"x\"; };\n"
             "           to = [ \"ops\" ]; trust = \"local\"; verdict = \"reject\"; } );\n"),
        0);
    settings = fixture->settings;
    assert_int_equal(settings->listen.n, 2);
    assert_string_equal(settings->listen.items[1], "inet:25@127.0.0.1");
    assert_int_equal(settings->listen_mode, 0600);
    assert_string_equal(settings->listen_group, "postfix");
    assert_int_equal(settings_n_workers(settings), 256);
    assert_int_equal(settings->drain_timeout_usec, 0);
    assert_int_equal(settings->idle_timeout_usec, 24 * 3600 * USEC_PER_SEC);
    assert_int_equal(settings->max_message, 64 * 1024 * 1024);
    assert_string_equal(settings->relay.socket, "/run/r");
    assert_int_equal(settings->relay.timeout_usec, 240 * USEC_PER_SEC);
    assert_int_equal(settings->relay.on_failure, ON_FAILURE_ACCEPT);
    assert_int_equal(settings->guards.n, 0);
    assert_int_equal(settings->redact.n, 1);
    assert_non_null(settings->alert.redaction);
    assert_int_equal(settings->rules.n, 1);
    rule = settings->rules.items[0];
    assert_string_equal(rule->name, "a");
    assert_int_equal(rule->verdict, VERDICT_REJECT);
    assert_int_equal(config_n_warnings(fixture->file), 0);
}

static void settings_zero_workers_is_one_for_each_cpu(void **state)
{
    Settings settings = { .workers = 0 };

    assert_in_range(settings_n_workers(&settings), 1, SETTINGS_WORKERS_MAX);
}

static void settings_mistake_is_told_with_line_and_what_is_allowed(void **state)
{
    Fixture *fixture = *state;

    assert_refused(fixture, "\nlisten = \"unx:/run/x\";\n",
                   "2: listen: \"unx:/run/x\" is no address, allowed are unix:PATH, inet:PORT@HOST "
                   "or inet6:PORT@HOST");
    assert_refused(fixture, "listen = [ \"unix:/run/x\",\n\"unix:/run/x\" ];\n",
                   "2: listen: \"unix:/run/x\" stands there twice, once is allowed");
    assert_refused(fixture, "listen = [];\n", "1: listen: has 0 entries; at least 1 must be there");
    assert_refused(fixture, "workers = 257;\n",
                   "1: workers: 257 is out of range; allowed are 0 to 256");
    assert_refused(fixture, "workers = \"two\";\n",
                   "1: workers: must be a whole number, without quotes; allowed are 0 to 256");
    assert_refused(fixture, "wrokers = 2;\n",
                   "1: unknown key \"wrokers\"; did you mean \"workers\"?");
    assert_refused(fixture, "idle_timeout = \"5m\";\n",
                   "1: idle_timeout: \"5m\" is out of range; allowed are 301s to 1d");
    assert_refused(fixture, "max_message = \"1G\";\n",
                   "1: max_message: \"1G\" is out of range; allowed are 1K to 64M");
    assert_refused(fixture, "relay: { timeout = \"5m\"; };\n",
                   "1: relay.timeout: \"5m\" is out of range; allowed are 10ms to 4m");
    assert_refused(
        fixture, "relay: { on_failure = \"drop\"; };\n",
        "1: relay.on_failure: \"drop\" is not allowed; allowed are \"tempfail\" and \"accept\"");
    assert_refused(fixture, "relay: { socket = \"relay.sock\"; };\n",
                   "1: relay.socket: \"relay.sock\" is no absolute path; it must begin with \"/\"");
    assert_refused(fixture, "guards = [ \"bounces\" ];\n",
                   "1: guards[0]: there is no guard \"bounces\"; there are \"bounce\", "
                   "\"auto-reply\" and \"own-failure\"");
    assert_refused(fixture, "redact: ( { name = \"a\"; regex = \"(\"; } );\n",
                   "1: redact[0].regex: \"(\" is no regular expression: missing closing "
                   "parenthesis, at offset 1");
    assert_refused(fixture, "redact: ( { name = \"a\"; regex = \"[0-9]*\"; } );\n",
                   "1: redact[0].regex: \"[0-9]*\" matches where there is no text, too, and so "
                   "everywhere; what it hides must have a character at least");
    assert_refused(fixture, "redact: ( { name = \"a b\"; regex = \"x\"; } );\n",
                   "1: redact[0].name: \"a b\" is no name; allowed are 1 to 64 of A-Z a-z 0-9 . _ "
                   ": -");
}

static void settings_mistakes_of_a_file_are_told_all_in_order(void **state)
{
    Fixture *fixture = *state;

    assert_int_equal(load(fixture, "workers = -1;\n"
                                   "listen = [ \"inet:0@::1\", \"unix:x\" ];\n"
                                   "relay: { sokcet = \"/x\"; };\n"
                                   "rules: ( { name = \"a\"; to = [ \"ops\" ]; } );\n"),
                     -EINVAL);
    assert_null(fixture->settings);
    assert_int_equal(config_n_errors(fixture->file), 5);
    assert_error(fixture, 1, "2: listen: \"inet:0@::1\" has no port from 1 to 65535 before \"@\"");
    assert_error(fixture, 2, "2: listen: \"unix:x\" needs an absolute path after \"unix:\"");
}

static void settings_missing_file_is_told_by_name(void **state)
{
    _cleanup_(config_file_freep) ConfigFile *file = NULL;
    Settings *settings = NULL;

    assert_int_equal(settings_load("/nowhere/milterd.conf", &settings, &file), -EINVAL);
    assert_null(settings);
    assert_int_equal(config_n_errors(file), 1);
    assert_non_null(strstr(config_error_at(file, 0), "/nowhere/milterd.conf"));
}

static void settings_example_is_good(void **state)
{
    Fixture *fixture = *state;
    int r;

    r = settings_load(SOURCE_ROOT "/packaging/milterd.conf", &fixture->settings, &fixture->file);
    for (size_t i = 0; i < config_n_errors(fixture->file); i++)
        print_error("%s\n", config_error_at(fixture->file, i));
    assert_int_equal(r, 0);
    assert_int_equal(config_n_warnings(fixture->file), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(settings_empty_file_gives_the_defaults_and_a_warning),
        TEST(settings_all_keys_are_read),
        TEST(settings_zero_workers_is_one_for_each_cpu),
        TEST(settings_mistake_is_told_with_line_and_what_is_allowed),
        TEST(settings_mistakes_of_a_file_are_told_all_in_order),
        TEST(settings_missing_file_is_told_by_name),
        TEST(settings_example_is_good),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
