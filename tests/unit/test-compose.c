/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "common/compose.h"
#include "common/text.h"

#include <stdio.h>

/* A literal that a Record may hold. */
#define S(literal) ((char[]){ literal })

#define NOW (1700000000 * USEC_PER_SEC) /* 2023-11-14 22:13:20 UTC */

static char *compose(const Record *record, size_t max_bytes)
{
    char *message;

    assert_int_equal(compose_message(record, NOW, max_bytes, &message), 0);
    assert_true(text_is_clean(message, strlen(message)));
    assert_true(text_xml_size(message, strlen(message)) <= max_bytes);
    assert_true(strlen(message) > 0);
    return message;
}

static void assert_composed(Record record, const char *expected)
{
    _cleanup_free_ char *message = compose(&record, 4096);

    assert_string_equal(message, expected);
}

static void compose_sign_title_and_text_are_shown(void **state)
{
    assert_composed((Record){ .text = S("hello") }, "hello");
    assert_composed((Record){ .title = S("T"), .text = S("hello\nworld") }, "T\nhello\nworld");
    assert_composed((Record){ .title = S("T"), .text = S("x"), .severity = SEVERITY_CRITICAL },
                    "[CRITICAL] T\nx");
    assert_composed((Record){ .text = S("x"), .severity = SEVERITY_WARNING }, "[WARNING] x");
}

static void compose_sign_follows_state_and_severity(void **state)
{
    static const struct {
        Severity severity;
        AlertState state;
        const char *expected;
    } cases[] = {
        { SEVERITY_NONE, STATE_NONE, "x" },
        { SEVERITY_NONE, STATE_PROBLEM, "[PROBLEM] x" },
        { SEVERITY_NONE, STATE_RECOVERY, "[RECOVERY] x" },
        { SEVERITY_NONE, STATE_EVENT, "[EVENT] x" },
        { SEVERITY_OK, STATE_NONE, "[OK] x" },
        { SEVERITY_INFO, STATE_EVENT, "[INFO] x" },
        { SEVERITY_WARNING, STATE_PROBLEM, "[WARNING] x" },
        { SEVERITY_CRITICAL, STATE_PROBLEM, "[CRITICAL] x" },
        { SEVERITY_CRITICAL, STATE_RECOVERY, "[RECOVERY] x" },
        { SEVERITY_OK, STATE_RECOVERY, "[RECOVERY] x" },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++)
        assert_composed(
            (Record){ .text = S("x"), .severity = cases[i].severity, .state = cases[i].state },
            cases[i].expected);
}

static void compose_old_alert_shows_its_time(void **state)
{
    Record record = { .title = S("T"), .text = S("x") };

    record.time_usec = NOW - COMPOSE_OLD_USEC;
    assert_composed(record, "T\nx");
    record.time_usec--;
    assert_composed(record, "T\n(from 2023-11-14 22:11:19 UTC)\nx");
    record.title = NULL;
    assert_composed(record, "(from 2023-11-14 22:11:19 UTC)\nx");
    record.severity = SEVERITY_OK;
    assert_composed(record, "[OK]\n(from 2023-11-14 22:11:19 UTC)\nx");
    record.time_usec = NOW + 3600 * USEC_PER_SEC;
    assert_composed(record, "[OK] x");
}

static void compose_cleans_what_it_shows(void **state)
{
    assert_composed((Record){ .title = S("a\n\x1B[1mb"), .text = S("\n\r\nc\x01\xFF\r\n d \n\n") },
                    "a [1mb\nc\xEF\xBF\xBD\n d");
    assert_composed((Record){ .title = S("T"), .text = S("\x01") }, "T");
    assert_composed((Record){ .text = S("\x01\n") }, "(no text)");
    assert_composed((Record){ .title = S(""), .text = S("\x01\n"), .severity = SEVERITY_OK },
                    "[OK] (no text)");
}

static void compose_long_text_is_cut_at_a_line(void **state)
{
    char text[100 * 20 + 1] = "";
    Record record = { .title = S("T"), .text = text };
    _cleanup_free_ char *message = NULL;
    unsigned kept = 0, missing = 0;

    for (int i = 0; i < 100; i++)
        strcat(text, "0123456789 <&> line\n");
    message = compose(&record, 512);
    for (const char *at = message; (at = strstr(at, "line\n")); at++)
        kept++;
    assert_int_equal(sscanf(strrchr(message, '\n'), "\n[… %u more lines]", &missing), 1);
    assert_int_equal(kept + missing, 100);
    assert_true(kept > 10);
}

static void compose_one_missing_line_is_a_line(void **state)
{
    char text[512] = "";
    Record record = { .text = text };
    _cleanup_free_ char *message = NULL;

    memset(text, 'x', 190);
    text[150] = '\n';
    memset(text + 190, 'y', 100);
    message = compose(&record, 256);
    assert_string_equal(message + 150, "\n[… 1 more line]");
}

static void compose_long_line_is_cut_between_characters(void **state)
{
    char text[4 * 500 + 1] = "";
    Record record = { .title = S("T"), .text = text };
    _cleanup_free_ char *message = NULL;
    unsigned kept = 0, missing = 0;

    for (int i = 0; i < 500; i++)
        strcat(text, "🔥");
    message = compose(&record, 300);
    for (const char *at = message; (at = strstr(at, "🔥")); at++)
        kept++;
    assert_int_equal(sscanf(strrchr(message, '\n'), "\n[… %u more characters]", &missing), 1);
    assert_int_equal(kept + missing, 500);
    assert_true(kept >= (300 - 64) / 4 - 2);
}

static void compose_fits_whatever_the_limit(void **state)
{
    char text[3000] = "", title[1000];
    Record record = {
        .title = title, .text = text, .severity = SEVERITY_CRITICAL, .time_usec = USEC_PER_SEC
    };

    memset(title, '"', sizeof(title) - 1);
    title[sizeof(title) - 1] = '\0';
    for (size_t i = 0; i < sizeof(text) - 1; i++)
        text[i] = "a&\n\xC3\xA4<e\xCC\x81"[i % 9];
    for (size_t title_size = 0; title_size < sizeof(title); title_size += 37) {
        title[title_size] = '\0';
        for (size_t max = 256; max < 6000; max += 101)
            free(compose(&record, max));
        title[title_size] = '"';
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compose_sign_title_and_text_are_shown),
        cmocka_unit_test(compose_sign_follows_state_and_severity),
        cmocka_unit_test(compose_old_alert_shows_its_time),
        cmocka_unit_test(compose_cleans_what_it_shows),
        cmocka_unit_test(compose_long_text_is_cut_at_a_line),
        cmocka_unit_test(compose_one_missing_line_is_a_line),
        cmocka_unit_test(compose_long_line_is_cut_between_characters),
        cmocka_unit_test(compose_fits_whatever_the_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
