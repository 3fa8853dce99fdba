/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "common/compose.h"
#include "common/text.h"

#include <stdio.h>

/* A literal that a Record may hold. */
#define S(literal) ((char[]){ literal })

#define FIELDS(...)                                                                                \
    .fields = (RecordField[]){ __VA_ARGS__ },                                                      \
    .n_fields = ELEMENTSOF(((RecordField[]){ __VA_ARGS__ }))
#define FACTS(...)                                                                                 \
    .facts = (char *[]){ __VA_ARGS__ }, .n_facts = ELEMENTSOF(((char *[]){ __VA_ARGS__ }))

#define NOW (1700000000 * USEC_PER_SEC) /* 2023-11-14 22:13:20 UTC */
#define OLD (NOW - COMPOSE_OLD_USEC - 1)
#define OLD_LINE "(from 2023-11-14 22:11:19 UTC)\n"

/* Lines that begin with three grave accents: none, or the first and the last of one block that is
 * the end of the message. */
static void assert_block_is_closed(const char *message)
{
    const char *first = NULL, *last = NULL;
    unsigned n = 0;

    for (const char *line = message; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, "```", 3) != 0)
            continue;
        first = first ? first : line;
        last = line;
        n++;
    }
    if (n == 0)
        return;
    assert_int_equal(n, 2);
    assert_true(first[3] == '\n');
    assert_string_equal(last, "```");
}

static char *compose(const Record *record, ComposeStyle style, size_t max_bytes)
{
    char *message;

    assert_int_equal(compose_message(record, style, NOW, max_bytes, &message), 0);
    assert_true(text_is_clean(message, strlen(message)));
    assert_true(text_xml_size(message, strlen(message)) <= max_bytes);
    assert_true(strlen(message) > 0);
    if (style == COMPOSE_STYLED)
        assert_block_is_closed(message);
    return message;
}

static void assert_styled(Record record, const char *expected)
{
    _cleanup_free_ char *message = compose(&record, COMPOSE_STYLED, 4096);

    assert_string_equal(message, expected);
}

static void assert_plain(Record record, const char *expected)
{
    _cleanup_free_ char *message = compose(&record, COMPOSE_PLAIN, 4096);

    assert_string_equal(message, expected);
}

static void compose_styled_shows_sign_title_facts_and_text(void **state)
{
    assert_styled(
        (Record){
            .severity = SEVERITY_CRITICAL,
            .state = STATE_PROBLEM,
            .title = S("web1/PING is CRITICAL"),
            .text = S("PING CRITICAL - Packet loss = 100%\n\n  rta = 0 ms\n"),
            FIELDS({ S("rule"), S("nagios") }, { S("host"), S("web1") }, { S("ip"), S("::1") }),
            FACTS(S("ip"), S("absent"), S("host")),
        },
        "🔴 CRITICAL *web1/PING is CRITICAL*\n"
        "ip: ::1 · host: web1\n"
        "```\n"
        "PING CRITICAL - Packet loss = 100%\n\n  rta = 0 ms\n"
        "```");
    assert_styled((Record){ .title = S("T"), .text = S("x") }, "*T*\n```\nx\n```");
    assert_styled((Record){ .title = S("T"), .text = S("x"), .time_usec = OLD },
                  "*T*\n" OLD_LINE "```\nx\n```");
    assert_styled((Record){ .title = S("T"), .text = S(" \n") }, "*T*");
}

static void compose_sign_follows_state_and_severity(void **state)
{
    static const struct {
        Severity severity;
        AlertState state;
        const char *styled, *plain;
    } cases[] = {
        { SEVERITY_NONE, STATE_NONE, "x", "x" },
        { SEVERITY_NONE, STATE_PROBLEM, "🟠 PROBLEM x", "[PROBLEM] x" },
        { SEVERITY_NONE, STATE_RECOVERY, "🟢 RECOVERY x", "[RECOVERY] x" },
        { SEVERITY_NONE, STATE_EVENT, "⚪ EVENT x", "[EVENT] x" },
        { SEVERITY_OK, STATE_NONE, "🟢 OK x", "[OK] x" },
        { SEVERITY_INFO, STATE_EVENT, "🔵 INFO x", "[INFO] x" },
        { SEVERITY_WARNING, STATE_PROBLEM, "🟡 WARNING x", "[WARNING] x" },
        { SEVERITY_CRITICAL, STATE_PROBLEM, "🔴 CRITICAL x", "[CRITICAL] x" },
        { SEVERITY_CRITICAL, STATE_RECOVERY, "🟢 RECOVERY x", "[RECOVERY] x" },
        { SEVERITY_OK, STATE_RECOVERY, "🟢 RECOVERY x", "[RECOVERY] x" },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        Record record = { .text = S("x"), .severity = cases[i].severity, .state = cases[i].state };

        assert_styled(record, cases[i].styled);
        assert_plain(record, cases[i].plain);
    }
}

static void compose_title_that_would_break_bold_is_not_bold(void **state)
{
    Record record = { .severity = SEVERITY_OK, .text = S("x") };

    record.title = S("*.example.org: certificate renewed");
    assert_styled(record, "🟢 OK *.example.org: certificate renewed\n```\nx\n```");
    record.title = S("** RECOVERY: web1 is UP **");
    assert_styled(record, "🟢 OK ** RECOVERY: web1 is UP **\n```\nx\n```");
    record.title = S("  web1\n up \t");
    assert_styled(record, "🟢 OK *web1 up*\n```\nx\n```");
    record.title = S("web1 up\u00a0");
    assert_styled(record, "🟢 OK web1 up\u00a0\n```\nx\n```");
    record.title = S("db_a_1 ~ `x`");
    assert_styled(record, "🟢 OK *db_a_1 ~ `x`*\n```\nx\n```");
}

static void compose_title_begins_no_block(void **state)
{
    Record record = { .text = S("x") };

    record.title = S("> 5 *");
    assert_styled(record, "```\n> 5 *\nx\n```");
    record.title = S("```*");
    assert_styled(record, "```\n``\u2060`*\nx\n```");
    record.title = S("```");
    assert_styled(record, "*```*\n```\nx\n```");
    record.severity = SEVERITY_INFO;
    record.title = S("> 5 *");
    assert_styled(record, "🔵 INFO > 5 *\n```\nx\n```");
}

static void compose_short_text_without_title_needs_no_block(void **state)
{
    char text[202];
    Record record = { .text = S("backup is done"), .severity = SEVERITY_OK };
    _cleanup_free_ char *message = NULL;

    assert_styled(record, "🟢 OK backup is done");
    record.time_usec = OLD;
    assert_styled(record, "🟢 OK backup is done\n(from 2023-11-14 22:11:19 UTC)");
    record.time_usec = 0;
    record.text = S("backup of *a* and *b*");
    assert_styled(record, "🟢 OK\n```\nbackup of *a* and *b*\n```");
    record.text = S("> x");
    assert_styled(record, "🟢 OK\n```\n> x\n```");
    record.text = S("one\ntwo");
    assert_styled(record, "🟢 OK\n```\none\ntwo\n```");
    record.severity = SEVERITY_NONE;
    assert_styled(record, "```\none\ntwo\n```");

    memset(text, 'x', sizeof(text));
    text[200] = '\0';
    record.text = text;
    assert_styled(record, text);
    text[200] = 'x';
    text[201] = '\0';
    message = compose(&record, COMPOSE_STYLED, 4096);
    assert_memory_equal(message, "```\nx", 5);
}

static void compose_text_does_not_end_its_block(void **state)
{
    assert_styled((Record){ .title = S("T"), .text = S("```\ncode\n```\n *bold*\n> quoted\n ```") },
                  "*T*\n```\n``\u2060`\ncode\n``\u2060`\n *bold*\n> quoted\n ``\u2060`\n```");
    assert_plain((Record){ .title = S("T"), .text = S("```\ncode\n```") }, "T\n```\ncode\n```");
}

static void compose_text_that_adds_nothing_is_left_out(void **state)
{
    Record record = { .title = S("disk is full"), .text = S("disk is full \n") };

    assert_styled(record, "*disk is full*");
    assert_plain(record, "disk is full");
    record.text = S("(no text)");
    assert_styled(record, "*disk is full*");
    assert_plain(record, "disk is full");
    record.text = S("disk is full\n99 %");
    assert_styled(record, "*disk is full*\n```\ndisk is full\n99 %\n```");
    record.text = S("(no text)");
    record.title = NULL;
    assert_styled(record, "(no text)");
}

static void compose_facts_are_in_one_line_and_short(void **state)
{
    char long_value[400] = "";
    _cleanup_free_ char *message = NULL;

    assert_styled((Record){ .title = S("T"),
                            .text = S("x"),
                            FIELDS({ S("a\nb"), S(" 1\n\x1B 2 ") }, { S("e"), S(" \n") }),
                            FACTS(S("e"), S("a\nb")) },
                  "*T*\na b: 1 2\n```\nx\n```");

    for (int i = 0; i < 81; i++)
        strcat(long_value, "🔥");
    message = compose(
        &(Record){
            .title = S("T"), .text = S("x"), FIELDS({ S("host"), long_value }), FACTS(S("host")) },
        COMPOSE_STYLED, 4096);
    long_value[80 * strlen("🔥")] = '\0';
    assert_memory_equal(message, "*T*\nhost: 🔥", strlen("*T*\nhost: 🔥"));
    assert_memory_equal(strstr(message, "🔥"), long_value, strlen(long_value));
    assert_string_equal(strstr(message, "🔥") + strlen(long_value), "…\n```\nx\n```");
}

static void compose_facts_that_are_too_many_are_left_out(void **state)
{
    char values[16][61], names[16][4];
    RecordField fields[16];
    char *facts[16];
    Record record = { .title = S("T"),
                      .text = S("x"),
                      .fields = fields,
                      .n_fields = 16,
                      .facts = facts,
                      .n_facts = 16 };

    for (int i = 0; i < 16; i++) {
        snprintf(names[i], sizeof(names[i]), "f%d", i);
        snprintf(values[i], sizeof(values[i]), "%060d", i);
        fields[i] = (RecordField){ names[i], values[i] };
        facts[i] = names[i];
    }
    for (int style = COMPOSE_STYLED; style <= COMPOSE_PLAIN; style++)
        for (size_t max = 256; max <= 8192; max *= 2) {
            _cleanup_free_ char *message = compose(&record, (ComposeStyle)style, max);
            char *line = strstr(message, "\nf0: "), *end = line ? strchr(line + 1, '\n') : NULL;

            if (max < 1024) {
                assert_null(line);
                continue;
            }
            *end = '\0';
            line++;
            assert_in_range(strlen(line), 60, 400);
            assert_string_equal(end - strlen(" · …"), " · …");
            if (max >= 4096)
                assert_non_null(strstr(line, " · f4: 0"));
            assert_null(strstr(line, "f6"));
        }
}

static void compose_facts_that_would_be_styled_go_into_the_block(void **state)
{
    Record record = { .title = S("T"), .text = S("x"), FACTS(S("host"), S("path")) };

    record.fields = (RecordField[]){ { S("host"), S("web_1_a") }, { S("path"), S("*.log") } };
    record.n_fields = 2;
    assert_styled(record, "*T*\nhost: web_1_a · path: *.log\n```\nx\n```");
    record.fields = (RecordField[]){ { S("host"), S("web_1_a") }, { S("path"), S("*.log*") } };
    assert_styled(record, "*T*\n```\nhost: web_1_a · path: *.log*\nx\n```");
    assert_plain(record, "T\nhost: web_1_a · path: *.log*\nx");
    record.fields = (RecordField[]){ { S("host"), S("_a") }, { S("path"), S("b_") } };
    record.text = S(" ");
    assert_styled(record, "*T*\n```\nhost: _a · path: b_\n```");
    record.fields = (RecordField[]){ { S("host"), S("```") }, { S("path"), S("b") } };
    assert_styled(record, "*T*\n```\nhost: ``\u2060` · path: b\n```");
}

static void compose_old_alert_shows_its_time(void **state)
{
    Record record = { .title = S("T"), .text = S("x") };

    record.time_usec = NOW - COMPOSE_OLD_USEC;
    assert_plain(record, "T\nx");
    record.time_usec--;
    assert_plain(record, "T\n" OLD_LINE "x");
    record.title = NULL;
    assert_plain(record, OLD_LINE "x");
    record.severity = SEVERITY_OK;
    assert_plain(record, "[OK]\n" OLD_LINE "x");
    record.time_usec = NOW + 3600 * USEC_PER_SEC;
    assert_plain(record, "[OK] x");
}

static void compose_plain_shows_the_same_without_styling(void **state)
{
    assert_plain((Record){ .text = S("hello") }, "hello");
    assert_plain((Record){ .title = S("T"), .text = S("hello\nworld") }, "T\nhello\nworld");
    assert_plain((Record){ .title = S("*T*"),
                           .text = S("x"),
                           .severity = SEVERITY_CRITICAL,
                           FIELDS({ S("host"), S("web1") }),
                           FACTS(S("host")) },
                 "[CRITICAL] *T*\nhost: web1\nx");
    assert_plain((Record){ .text = S("x"),
                           .severity = SEVERITY_CRITICAL,
                           FIELDS({ S("host"), S("web1") }),
                           FACTS(S("host")) },
                 "[CRITICAL]\nhost: web1\nx");
}

static void compose_cleans_what_it_shows(void **state)
{
    Record record = { .title = S("a\n\x1B[1mb"), .text = S("\n\r\nc\x01\xFF\r\n d \n\n") };

    assert_plain(record, "a [1mb\nc\xEF\xBF\xBD\n d");
    assert_styled(record, "*a [1mb*\n```\nc\xEF\xBF\xBD\n d\n```");
    assert_plain((Record){ .title = S("T"), .text = S("\x01") }, "T");
    assert_plain((Record){ .text = S("\x01\n") }, "(no text)");
    assert_styled((Record){ .text = S("\x01\n") }, "(no text)");
    record = (Record){ .title = S(""), .text = S("\x01\n"), .severity = SEVERITY_OK };
    assert_plain(record, "[OK] (no text)");
    assert_styled(record, "🟢 OK (no text)");
}

static void compose_long_text_is_cut_at_a_line(void **state)
{
    char text[100 * 20 + 1] = "";
    Record record = { .title = S("T"), .text = text };

    for (int i = 0; i < 100; i++)
        strcat(text, "0123456789 <&> line\n");
    for (int style = COMPOSE_STYLED; style <= COMPOSE_PLAIN; style++) {
        _cleanup_free_ char *message = compose(&record, (ComposeStyle)style, 512);
        unsigned kept = 0, missing = 0;
        int end = 0;

        for (const char *at = message; (at = strstr(at, "line\n")); at++)
            kept++;
        assert_int_equal(sscanf(strstr(message, "\n…"), "\n… %u more lines%n", &missing, &end), 1);
        assert_string_equal(strstr(message, "\n…") + end, style == COMPOSE_STYLED ? "\n```" : "");
        assert_int_equal(kept + missing, 100);
        assert_true(kept > 10);
    }
}

static void compose_text_that_was_cut_before_says_all_that_is_missing(void **state)
{
    char text[100 * 20 + 64] = "";
    Record record = { .title = S("T"), .text = text };
    _cleanup_free_ char *message = NULL;
    unsigned kept = 0, missing = 0;

    for (int i = 0; i < 100; i++)
        strcat(text, "0123456789 <&> line\n");
    strcat(text, "… 900 more lines");
    message = compose(&record, COMPOSE_STYLED, 512);
    for (const char *at = message; (at = strstr(at, "line\n")); at++)
        kept++;
    assert_int_equal(sscanf(strstr(message, "\n…"), "\n… %u more lines\n```", &missing), 1);
    assert_int_equal(kept + missing, 1000);
    assert_string_equal(strstr(strstr(message, "\n…") + 1, "\n"), "\n```");
}

static void compose_long_line_is_cut_between_characters(void **state)
{
    char text[4 * 500 + 1] = "";
    Record record = { .title = S("T"), .text = text };
    _cleanup_free_ char *message = NULL;
    unsigned kept = 0;

    for (int i = 0; i < 500; i++)
        strcat(text, "🔥");
    message = compose(&record, COMPOSE_STYLED, 300);
    for (const char *at = message; (at = strstr(at, "🔥")); at++)
        kept++;
    assert_in_range(kept, (300 - 64) / 4 - 3, 300 / 4);
    assert_string_equal(message + strlen("*T*\n```\n") + kept * 4, " …\n```");
}

static void compose_long_title_leaves_room_for_the_text(void **state)
{
    char title[2001];
    Record record = { .title = title, .text = S("what it is about"), .severity = SEVERITY_OK };
    _cleanup_free_ char *message = NULL;

    for (size_t i = 0; i < sizeof(title) - 1; i++)
        title[i] = "ab\""[i % 3];
    title[sizeof(title) - 1] = '\0';
    message = compose(&record, COMPOSE_STYLED, 512);
    assert_memory_equal(message, "🟢 OK *ab\"ab\"", strlen("🟢 OK *ab\"ab\""));
    assert_string_equal(strstr(message, "…"), "…*\n```\nwhat it is about\n```");
}

static void compose_fits_whatever_the_limit(void **state)
{
    char text[3000] = "", title[1000];
    Record record = {
        .title = title,
        .text = text,
        .severity = SEVERITY_CRITICAL,
        .time_usec = USEC_PER_SEC,
        FIELDS({ S("host"), S("<web1>") }, { S("x"), S("\"*a* ```\"") }),
        FACTS(S("host"), S("x")),
    };

    memset(title, '"', sizeof(title) - 1);
    title[sizeof(title) - 1] = '\0';
    for (size_t i = 0; i < sizeof(text) - 1; i++)
        text[i] = "a&\n```\xC3\xA4<e\xCC\x81"[i % 12];
    for (size_t title_size = 0; title_size < sizeof(title); title_size += 37) {
        title[title_size] = '\0';
        for (size_t max = 256; max < 6000; max += 101) {
            free(compose(&record, COMPOSE_STYLED, max));
            free(compose(&record, COMPOSE_PLAIN, max));
        }
        record.n_facts = record.n_facts % 2 + 1;
        title[title_size] = '"';
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compose_styled_shows_sign_title_facts_and_text),
        cmocka_unit_test(compose_sign_follows_state_and_severity),
        cmocka_unit_test(compose_title_that_would_break_bold_is_not_bold),
        cmocka_unit_test(compose_title_begins_no_block),
        cmocka_unit_test(compose_short_text_without_title_needs_no_block),
        cmocka_unit_test(compose_text_does_not_end_its_block),
        cmocka_unit_test(compose_text_that_adds_nothing_is_left_out),
        cmocka_unit_test(compose_facts_are_in_one_line_and_short),
        cmocka_unit_test(compose_facts_that_are_too_many_are_left_out),
        cmocka_unit_test(compose_facts_that_would_be_styled_go_into_the_block),
        cmocka_unit_test(compose_old_alert_shows_its_time),
        cmocka_unit_test(compose_plain_shows_the_same_without_styling),
        cmocka_unit_test(compose_cleans_what_it_shows),
        cmocka_unit_test(compose_long_text_is_cut_at_a_line),
        cmocka_unit_test(compose_text_that_was_cut_before_says_all_that_is_missing),
        cmocka_unit_test(compose_long_line_is_cut_between_characters),
        cmocka_unit_test(compose_long_title_leaves_room_for_the_text),
        cmocka_unit_test(compose_fits_whatever_the_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
