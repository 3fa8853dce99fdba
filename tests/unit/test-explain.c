/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "milterd/explain.h"

#include "common/json.h"
#include "common/text.h"
#include "milterd/guard.h"
#include "milterd/mime.h"

#define MAX_MESSAGE 65536

static void read_mail(Mail *mail, const char *text)
{
    assert_return_code(explain_read_mail(mail, text, strlen(text), MAX_MESSAGE), 0);
}

static void explain_mail_is_split_as_an_mta_does(void **state)
{
    _cleanup_(mail_done) Mail mail = {};

    read_mail(&mail, "From root Sat Nov 21 06:25:01 2026\n"
                     "Subject: disk\n"
                     "\tfull\r\n"
                     "X-Empty:\n"
                     "To:  ops\n"
                     "\n"
                     "one\r\n"
                     "two\n"
                     "\n"
                     "end");
    assert_int_equal(mail.n_headers, 3);
    assert_string_equal(mail_header(&mail, "subject"), "disk\n\tfull");
    assert_string_equal(mail_header(&mail, "X-Empty"), "");
    assert_string_equal(mail_header(&mail, "To"), " ops");
    assert_int_equal(mail.body_size, 17);
    assert_memory_equal(mail.body, "one\r\ntwo\r\n\r\nend\r\n", 17);
}

static void explain_line_that_is_no_header_begins_the_body(void **state)
{
    _cleanup_(mail_done) Mail mail = {};

    read_mail(&mail, "Subject: x\nno header here\nFrom: y\n");
    assert_int_equal(mail.n_headers, 1);
    assert_memory_equal(mail.body, "no header here\r\n", 16);
}

static void explain_garbage_is_read_as_far_as_it_goes(void **state)
{
    static const char *const garbage[] = { "",   "\n",     ":",      ":\n\n", " x\n",
                                           "\r", "From ",  "a:",     "a:\n ", "a:\n \n b",
                                           "\t", "\xFF:x", "a b: c", "a:b\r" };

    for (size_t i = 0; i < ELEMENTSOF(garbage); i++) {
        _cleanup_(mail_done) Mail mail = {};

        read_mail(&mail, garbage[i]);
    }
}

static void explain_body_past_the_limit_is_counted(void **state)
{
    _cleanup_(mail_done) Mail mail = {};
    const char text[] = "Subject: x\n\n0123456789\n0123456789\n";

    assert_return_code(explain_read_mail(&mail, text, strlen(text), 8), 0);
    assert_int_equal(mail.body_size, 8);
    assert_int_equal(mail.body_total, 24);
    assert_true(mail.truncated);
}

typedef struct Conf {
    ConfigItems rules;
    ConfigStrings guards;
} Conf;

/* What is said of `mail`; where a failure is expected, of a file that is not there as well. */
static char *explain_as(ExplainView view, int expected, const char *configuration, const char *mail,
                        const ExplainFacts *facts)
{
    static const ConfigKey keys[] = {
        { "rules", CONFIG_LIST, offsetof(Conf, rules), .fallback = "()", .keys = rule_keys,
          .item_size = sizeof(Rule), .item_free = rule_free },
        { "guards", CONFIG_STRINGS, offsetof(Conf, guards), .fallback = GUARDS_DEFAULT },
        {},
    };
    char folder[] = "/tmp/test-explain-XXXXXX", path[64], mail_path[64];
    _cleanup_(config_file_freep) ConfigFile *file = NULL;
    char nothing[] = "/no/\x1b[31msuch", *files[] = { mail_path, nothing }, *output = NULL;
    size_t size;
    Conf conf = {};
    FILE *stream;

    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/conf", folder);
    snprintf(mail_path, sizeof(mail_path), "%s/the  mail", folder);
    stream = fopen(path, "w");
    fputs(configuration, stream);
    fclose(stream);
    stream = fopen(mail_path, "w");
    fputs(mail, stream);
    fclose(stream);

    assert_return_code(config_load(path, keys, &conf, &file), 0);
    stream = open_memstream(&output, &size);
    assert_int_equal(explain_run(&(ExplainSettings){ .rules = &conf.rules,
                                                     .guards = &conf.guards,
                                                     .max_message = MAX_MESSAGE,
                                                     .view = view },
                                 facts, files, expected == 0 ? 1 : 2, stream),
                     expected);
    fclose(stream);
    config_target_done(keys, &conf);
    unlink(path);
    unlink(mail_path);
    rmdir(folder);
    return output;
}

static char *explain(const char *configuration, const char *mail, const ExplainFacts *facts)
{
    return explain_as(EXPLAIN_FITTING, 0, configuration, mail, facts);
}

static const char two_rules[] = "rules: ("
                                "  { name = \"cron\"; match: { subject: { glob = \"Cron <*\"; }; };"
                                "    to = [ \"ops\" ]; verdict = \"discard\"; },"
                                "  { name = \"nms\"; match: { from = \"nms@nms.example.org\";"
                                "    client: { cidr = \"10.0.0.0/8\"; }; }; to = [ \"ops\" ]; }"
                                ");";

static const char nms_mail[] = "From: NMS <nms@nms.example.org>\n"
                               "Subject: =?utf-8?Q?web1_ist_nicht_verf=C3=BCgbar?=\n"
                               "Message-ID: <1@nms.example.org>\n"
                               "\n"
                               "Packet loss = 100%\n";

static void explain_shows_the_message_and_the_verdict(void **state)
{
    _cleanup_free_ char *output =
        explain(two_rules, nms_mail, &(ExplainFacts){ .client = "10.1.2.3" });

    assert_non_null(strstr(output, "rule cron: does not match\n"));
    assert_non_null(strstr(output, "rule nms: matches, and decides\n"));
    assert_non_null(strstr(output, "  Subject: web1 ist nicht verf\xC3\xBCgbar\n"));
    assert_non_null(strstr(output, "  | Packet loss = 100%\n"));
    assert_non_null(strstr(output, "message in the room:\n  | *web1 ist nicht"));
    assert_non_null(strstr(output, "\"to\":[\"ops\"]"));
    assert_non_null(strstr(output, "verdict: continue\n"));
}

static void explain_says_why_no_rule_matches(void **state)
{
    _cleanup_free_ char *output =
        explain(two_rules, nms_mail, &(ExplainFacts){ .client = "192.0.2.1" });

    assert_non_null(strstr(output, "rule nms: does not match\n"));
    assert_non_null(strstr(output, "192.0.2.1"));
    assert_non_null(strstr(output, "no rule matches"));
    assert_null(strstr(output, "verdict:"));
}

/* A mail is looked at in a terminal just when it is odd. */
static void explain_no_part_of_a_mail_commands_the_terminal(void **state)
{
    static const char evil[] = "Return-Path: <\x1b]0;owned\x07@\xc2\x9b"
                               "2J\x9b"
                               "2J>\n"
                               "From: \x1b[2J <a@\x1b[1mx>\n"
                               "Subject: \x1b[31m =?utf-8?q?=1b[32m_=c2=9b33m?= \x7f\n"
                               "Content-Type: text/html; name=\"\x1b[34m\"; charset=\"\x1b[33m\"\n"
                               "\n"
                               "<p>\x1b[35m&#27;[36m&#155;37m\r\n";
    static const char rule[] =
        "rules: ( { name = \"all\"; match: { from: { glob = \"*\"; }; }; to = [ \"ops\" ]; } );";
    static const ExplainView views[] = { EXPLAIN_FITTING, EXPLAIN_EACH, EXPLAIN_JSON };
    const char *const tails[] = { evil, strchr(evil, '\n') + 1 };

    for (size_t i = 0; i < ELEMENTSOF(tails) * ELEMENTSOF(views); i++) {
        ExplainView view = views[i / ELEMENTSOF(tails)];
        char client[] = "\x1b[1m", *rcpts[] = { client };
        _cleanup_free_ char *output =
            explain_as(view, view == EXPLAIN_FITTING ? 0 : -ENOENT, rule, tails[i % 2],
                       &(ExplainFacts){ .client = client, .rcpts = rcpts, .n_rcpts = 1 });

        assert_non_null(strstr(output, "verdict"));
        assert_true(text_is_clean(output, strlen(output)));
    }
}

static const char mbox[] = "From x Sat Nov 21 06:25:01 2026\n"
                           "From: nms@nms.example.org\n"
                           "Subject: first\n"
                           "\n"
                           "text\n"
                           "\n"
                           "From x Sat Nov 21 06:25:01 2026\n"
                           "Subject: Cron <root@db1> backup\n"
                           "\n"
                           "text\n"
                           "\n"
                           "From x Sat Nov 21 06:25:01 2026\n"
                           "Subject: Lunch?\n"
                           "\n";

static void explain_many_mails_are_counted(void **state)
{
    _cleanup_free_ char *output =
        explain_as(EXPLAIN_FITTING, -ENOENT, two_rules, mbox, &(ExplainFacts){});

    assert_non_null(strstr(output, "\n       1  cron  (none)\n"));
    assert_null(strstr(output, "nms"));
    assert_non_null(strstr(output, "\n\n       3  mails\n"
                                   "       2  that no rule took\n"
                                   "       0  that a guard held back\n"
                                   "       1  that could not be read\n"));
    assert_null(strstr(output, "record:"));
}

static void explain_mails_that_a_rule_skips_are_counted_as_such(void **state)
{
    static const char rules[] =
        "rules: ("
        "  { name = \"some\"; match: { subject: { glob = \"*u*\"; }; }; next = true; },"
        "  { name = \"not\"; match: { body: { glob = \"*\"; }; }; skip = true; }"
        ");";
    _cleanup_free_ char *output =
        explain_as(EXPLAIN_FITTING, -ENOENT, rules, mbox, &(ExplainFacts){});

    assert_non_null(strstr(output, "   MAILS  RULE  PROFILE\n"
                                   "       2  some  (none)\n"
                                   "       3  not   (skipped)\n"
                                   "\n"));
}

static void explain_each_of_many_is_shown_on_demand(void **state)
{
    _cleanup_free_ char *output =
        explain_as(EXPLAIN_EACH, -ENOENT, two_rules, mbox, &(ExplainFacts){});

    assert_non_null(strstr(output, "/the mail, mail 1 <==\n"));
    assert_non_null(strstr(output, "/the mail, mail 3 <==\n"));
    assert_non_null(strstr(output, "verdict: discard\n"));
    assert_non_null(strstr(output, "  Subject: Lunch?\n"));
}

static Json *next_line(const char **lines)
{
    size_t length = strcspn(*lines, "\n");
    char reason[JSON_REASON_MAX];
    Json *json = NULL;

    assert_int_equal((*lines)[length], '\n');
    assert_return_code(json_parse(*lines, length, &json, reason), 0);
    *lines += length + 1;
    return json;
}

static void assert_member(const Json *object, const char *key, const char *expected)
{
    assert_string_equal(json_as_string(json_get(object, key), "no string"), expected);
}

static void explain_json_has_a_line_for_each_mail(void **state)
{
    _cleanup_free_ char *output =
        explain_as(EXPLAIN_JSON, -ENOENT, two_rules, mbox, &(ExplainFacts){ .client = "10.1.1.1" });
    const char *lines = output;
    _cleanup_json_ Json *first = next_line(&lines), *second = next_line(&lines),
                        *third = next_line(&lines), *failure = next_line(&lines);
    const Json *alert = json_at(json_get(first, "alerts"), 0),
               *rule = json_at(json_get(first, "rules"), 0);

    assert_string_equal(lines, "");
    assert_non_null(strstr(json_as_string(json_get(first, "file"), ""), "/the  mail"));
    assert_int_equal(json_as_integer(json_get(first, "number"), 0), 1);
    assert_member(first, "from", "nms@nms.example.org");
    assert_member(first, "subject", "first");
    assert_int_equal(json_type(json_get(first, "guard")), JSON_IS_NULL);
    assert_member(first, "verdict", "continue");
    assert_member(alert, "rule", "nms");
    assert_non_null(strstr(json_as_string(json_get(alert, "message"), ""), "*first*\n```\ntext"));
    assert_member(json_get(alert, "record"), "text", "text");
    assert_member(rule, "name", "cron");
    assert_false(json_as_bool(json_get(rule, "matches"), true));
    assert_non_null(strstr(json_as_string(json_at(json_get(rule, "why"), 0), ""), "Cron <*"));

    assert_member(second, "verdict", "discard");
    assert_int_equal(json_type(json_get(third, "from")), JSON_IS_NULL);
    assert_int_equal(json_type(json_get(third, "verdict")), JSON_IS_NULL);
    assert_int_equal(json_length(json_get(third, "alerts")), 0);
    assert_member(failure, "file", "/no/[31msuch");
    assert_non_null(json_as_string(json_get(failure, "error"), NULL));
}

/* What is true today must be true tomorrow, or no result could be compared. */
static void explain_the_present_is_the_mail_s_date(void **state)
{
    static const char mail[] = "From: nms@nms.example.org\n"
                               "Subject: old\n"
                               "Date: Sun, 9 Sep 2001 01:46:40 +0000\n"
                               "\n"
                               "text\n";
    _cleanup_free_ char *output =
        explain_as(EXPLAIN_JSON, 0, two_rules, mail, &(ExplainFacts){ .client = "10.1.1.1" });
    const char *lines = output;
    _cleanup_json_ Json *json = next_line(&lines);
    const Json *alert = json_at(json_get(json, "alerts"), 0);

    assert_int_equal(json_as_integer(json_get(json_get(alert, "record"), "time"), 0), 1000000000);
    assert_member(alert, "message", "*old*\n```\ntext\n```");
}

/* RFC 5322 allows any year from 1900 on; spam comes from the year 9999. */
static void explain_takes_no_far_future_for_the_present(void **state)
{
    static const char mail[] = "From: nms@nms.example.org\n"
                               "Subject: far\n"
                               "Date: Fri, 31 Dec 9999 23:59:59 +0000\n"
                               "\n"
                               "text\n";
    _cleanup_free_ char *output =
        explain_as(EXPLAIN_JSON, 0, two_rules, mail, &(ExplainFacts){ .client = "10.1.1.1" });
    const char *lines = output;
    _cleanup_json_ Json *json = next_line(&lines);
    const Json *alert = json_at(json_get(json, "alerts"), 0);

    assert_member(alert, "message", "*far*\n```\ntext\n```");
}

static void explain_envelope_of_headers_has_no_blanks_around_it(void **state)
{
    static const char mail[] = "Return-Path:  <> \n"
                               "Delivered-To:  <ops@example.org>\t\n"
                               "\n"
                               "text\n";
    _cleanup_free_ char *output = explain(two_rules, mail, &(ExplainFacts){});

    assert_non_null(strstr(output, "\nenvelope sender: <> (the null sender)\n"
                                   "recipient: ops@example.org\n"));
}

static void explain_tells_the_guard_that_holds_a_mail_back(void **state)
{
    static const char mail[] = "From: nms@nms.example.org\n"
                               "Subject: I am away\n"
                               "Auto-Submitted: auto-replied\n"
                               "\n"
                               "text\n";
    const ExplainFacts facts = { .client = "10.1.1.1" };
    _cleanup_free_ char *text = explain(two_rules, mail, &facts),
                        *line = explain_as(EXPLAIN_JSON, 0, two_rules, mail, &facts),
                        *counts = explain_as(EXPLAIN_FITTING, -ENOENT, two_rules, mail, &facts);
    const char *lines = line;
    _cleanup_json_ Json *json = next_line(&lines);

    assert_non_null(strstr(text, "rule nms: would match, but a guard holds the mail back\n"));
    assert_non_null(strstr(text, "guard auto-reply: the mail says Auto-Submitted: auto-replied: "
                                 "no alert, and it goes its way\n"));
    assert_null(strstr(text, "verdict"));
    assert_member(json, "guard", "auto-reply");
    assert_int_equal(json_length(json_get(json, "alerts")), 0);
    assert_int_equal(json_type(json_get(json, "verdict")), JSON_IS_NULL);
    assert_non_null(strstr(counts, "       0  that no rule took\n"
                                   "       1  that a guard held back: 1 auto-reply\n"));
}

static void explain_recipients_are_taken_from_the_last_mta(void **state)
{
    static const char rules[] = "rules: ( { name = \"a\"; match: { rcpt = \"ops@example.org\"; };"
                                "           to = [ \"ops\" ]; } );";
    static const char mail[] = "Delivered-To: root@example.org\n"
                               "X-Original-To: ops@example.org\n"
                               "\n"
                               "text\n";
    char other[] = "other@example.org", *rcpts[] = { other };
    _cleanup_free_ char *output = explain(rules, mail, &(ExplainFacts){}),
                        *given =
                            explain(rules, mail, &(ExplainFacts){ .rcpts = rcpts, .n_rcpts = 1 });

    assert_non_null(strstr(output, "recipient: ops@example.org\n"));
    assert_non_null(strstr(output, "rule a: matches, and decides\n"));
    assert_non_null(strstr(given, "rule a: does not match\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(explain_mail_is_split_as_an_mta_does),
        cmocka_unit_test(explain_line_that_is_no_header_begins_the_body),
        cmocka_unit_test(explain_garbage_is_read_as_far_as_it_goes),
        cmocka_unit_test(explain_body_past_the_limit_is_counted),
        cmocka_unit_test(explain_shows_the_message_and_the_verdict),
        cmocka_unit_test(explain_says_why_no_rule_matches),
        cmocka_unit_test(explain_no_part_of_a_mail_commands_the_terminal),
        cmocka_unit_test(explain_many_mails_are_counted),
        cmocka_unit_test(explain_mails_that_a_rule_skips_are_counted_as_such),
        cmocka_unit_test(explain_each_of_many_is_shown_on_demand),
        cmocka_unit_test(explain_json_has_a_line_for_each_mail),
        cmocka_unit_test(explain_the_present_is_the_mail_s_date),
        cmocka_unit_test(explain_takes_no_far_future_for_the_present),
        cmocka_unit_test(explain_envelope_of_headers_has_no_blanks_around_it),
        cmocka_unit_test(explain_tells_the_guard_that_holds_a_mail_back),
        cmocka_unit_test(explain_recipients_are_taken_from_the_last_mta),
    };

    mime_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
