/* SPDX-License-Identifier: MIT */

#include "tests/unit/mails.h"

#include "milterd/template.h"

static const char mail_text_of_all[] = "From: \"Doe, \\\"J\\\"\" <nms@Monitor.example.org>\n"
                                       "To: ops@example.org\n"
                                       "Subject: =?UTF-8?Q?B=C3=BCro?= is\n down\n"
                                       "Message-ID: <1@x>\n"
                                       "Date: Sat, 21 Nov 2026 06:12:43 +0000\n"
                                       "X-Host: web1\n"
                                       "X-Host: web2\n"
                                       "\n"
                                       "first\n"
                                       "second\n";

/* What the template gives for that mail and the variables that `regex` takes out of `text`. */
static char *rendered(const char *template, const char *regex, const char *text, bool *ret_missing)
{
    _cleanup_mail_ Mail mail = mail_of_text(mail_text_of_all);
    _cleanup_(variables_done) Variables variables = { .mail = &mail };
    _cleanup_(template_freep) Template *parsed = NULL;
    char reason[TEMPLATE_REASON_MAX];
    Rendered result;

    assert_int_equal(mail_set_client(&mail, "192.0.2.1", "web1.example.org"), 0);
    assert_int_equal(mail_set_helo(&mail, "web1\x1b[31m"), 0);
    assert_int_equal(mail_add_macro(&mail, MAIL_STAGE_CONNECT, "{daemon_name}", "printers"), 0);
    if (regex) {
        RegexSpans spans;
        Regex *compiled;
        size_t budget;

        assert_int_equal(regex_new(regex, &compiled, reason), 0);
        budget = REGEX_BUDGET;
        assert_int_equal(regex_search_groups(compiled, text, strlen(text), 0, &budget, &spans),
                         REGEX_MATCH);
        assert_int_equal(variables_take(&variables, compiled, text, &spans), 0);
        regex_free(compiled);
    }
    assert_int_equal(template_new(template, &parsed, reason), 0);
    assert_int_equal(template_render(parsed, &variables, 4096, &result), 0);
    *ret_missing = result.missing;
    return result.text;
}

static void assert_rendered(const char *template, const char *expected)
{
    bool missing;
    _cleanup_free_ char *text = rendered(template, NULL, NULL, &missing);

    assert_string_equal(text, expected);
}

static void assert_taken(const char *regex, const char *text, const char *template,
                         const char *expected)
{
    bool missing;
    _cleanup_free_ char *result = rendered(template, regex, text, &missing);

    assert_string_equal(result, expected);
}

static void template_names_what_every_mail_has(void **state)
{
    assert_rendered("", "");
    assert_rendered("${subject}", "Büro is down");
    assert_rendered("${from}", "\"Doe, \\\"J\\\"\" <nms@Monitor.example.org>");
    assert_rendered("${from_address} ${from_domain}",
                    "nms@Monitor.example.org Monitor.example.org");
    assert_rendered("${from_name}", "Doe, \"J\"");
    assert_rendered("${to} ${message_id} ${date}",
                    "ops@example.org <1@x> Sat, 21 Nov 2026 06:12:43 +0000");
    assert_rendered("${header:X-Host} ${header:x-host}", "web1 web1");
    assert_rendered("${client} ${client_name} ${helo}", "192.0.2.1 web1.example.org web1[31m");
    assert_rendered("${macro:daemon_name}", "printers");
    assert_rendered("${body}", "first\nsecond");
    assert_rendered("[${queue_id}${envelope_from}${header:X-Absent}${macro:absent}]", "[]");
}

/* A sender writes it, and it may be a quarter of a megabyte long. */
static void template_reads_a_long_name_at_once(void **state)
{
    enum {
        SIZE = 250000
    };
    static char text[SIZE + 64] = "From: ";
    _cleanup_(template_freep) Template *template = NULL;
    char reason[TEMPLATE_REASON_MAX];
    usec_t began;
    Rendered result;

    memset(text + 6, '\\', SIZE);
    strcpy(text + 6 + SIZE, " <nms@example.org>\n\n");

    _cleanup_mail_ Mail mail = mail_of_text(text);
    _cleanup_(variables_done) Variables variables = { .mail = &mail };

    assert_int_equal(template_new("${from_name}", &template, reason), 0);
    began = now_usec(CLOCK_THREAD_CPUTIME_ID);
    assert_int_equal(template_render(template, &variables, SIZE, &result), 0);
    assert_true(now_usec(CLOCK_THREAD_CPUTIME_ID) - began < USEC_PER_SEC);
    assert_int_equal(strlen(result.text), SIZE / 2);
    free(result.text);
}

static void template_has_text_for_values_and_for_want_of_them(void **state)
{
    assert_rendered("${queue_id:-none}", "none");
    assert_rendered("${queue_id:-}", "");
    assert_rendered("${client:-none}", "192.0.2.1");
    assert_rendered("${client:+at ${client}}.", "at 192.0.2.1.");
    assert_rendered("${queue_id:+queue ${queue_id}}.", ".");
    assert_rendered("${header:A:-${header:B:-${subject}}}", "Büro is down");
    assert_rendered("${header:X-Host:+x}", "x");
}

static void template_dollars_and_braces_are_written_twice(void **state)
{
    assert_rendered("$$5 } { ${queue_id:-a$}b$$c}", "$5 } { a}b$c");
}

static void assert_wrong(const char *text, const char *expected)
{
    Template *template = NULL;
    char reason[TEMPLATE_REASON_MAX];

    assert_int_equal(template_new(text, &template, reason), -EINVAL);
    assert_null(template);
    assert_string_equal(reason, expected);
}

static void template_that_is_broken_is_refused(void **state)
{
    char large[TEMPLATE_TEXT_MAX + 2] = {};

    assert_wrong("a ${host", "\"${host\" has no } at its end");
    assert_wrong("${a:-b", "\"${a:-b\" has no } at its end");
    assert_wrong("${}", "\"${}\" has no name, or one that is too long, behind the brace");
    assert_wrong("${a=b}", "\"${a=\" must go on with }, :- or :+ behind the name");
    assert_wrong("${a:b}", "\"${a:\" must go on with }, :- or :+ behind the name");
    assert_wrong("costs $5", "\"$5\" begins with a lone dollar sign; write $$ for one, or ${name}");
    assert_wrong("x$", "\"$\" begins with a lone dollar sign; write $$ for one, or ${name}");
    assert_wrong("${a:-${a:-${a:-${a:-${a:-${a:-${a:-${a:-${a}}}}}}}}}",
                 "\"${a\" stands too deep in others");
    memset(large, 'a', TEMPLATE_TEXT_MAX + 1);
    assert_wrong(large, "is longer than the 4096 bytes that are allowed");
}

static void template_says_when_a_value_is_missing(void **state)
{
    bool missing;

    free(rendered("${subject}${queue_id:-}${queue_id:+${header:A}}", NULL, NULL, &missing));
    assert_false(missing);
    free(rendered("${queue_id}", NULL, NULL, &missing));
    assert_true(missing);
    free(rendered("${queue_id:-${header:A}}", NULL, NULL, &missing));
    assert_true(missing);
}

static void template_output_is_bounded_between_characters(void **state)
{
    _cleanup_mail_ Mail mail = mail_of_text("Subject: \xc3\xa4\xc3\xb6\n\n");
    _cleanup_(template_freep) Template *template = NULL;
    Variables variables = { .mail = &mail };
    char reason[TEMPLATE_REASON_MAX];
    Rendered result;

    assert_int_equal(template_new("${subject}${subject}", &template, reason), 0);
    assert_int_equal(template_render(template, &variables, 3, &result), 0);
    assert_string_equal(result.text, "ä");
    free(result.text);
    variables_done(&variables);
}

static void variables_of_groups_are_trimmed_and_keep_their_first_value(void **state)
{
    assert_taken("(?<a>.*)-(?<b>.*)", " x y \t- ", "[${a}][${b:-none}]", "[x y][none]");
    assert_taken("(?J)(?<a>x)?(?<a>.+)", "xyz", "${a}", "x");
    assert_taken("(?s)(?<a>.*)", "\n\n  one\n    two\n\n", "${a}", "  one\n    two");
    assert_taken("(?s)(?<a>.*)", "\n\n  one\n\n", "${a}", "one");
    assert_taken("(?<a>.*)", "a\x1b[0m", "${a}", "a[0m");
}

static void variables_know_which_names_are_not_theirs(void **state)
{
    assert_true(variables_is_of_mail("from_domain"));
    assert_true(variables_is_of_mail("header:X-Host"));
    assert_true(variables_is_of_mail("macro:{auth_authen}"));
    assert_false(variables_is_of_mail("macro:a b"));
    assert_false(variables_is_of_mail("header:"));
    assert_false(variables_is_of_mail("host"));
    assert_false(variables_is_of_mail("title"));
    assert_true(variables_is_of_rule("title"));
    assert_true(variables_is_of_rule("9"));
    assert_false(variables_is_of_rule("0"));
    assert_false(variables_is_of_rule("10"));
}

static void variables_are_bounded_in_number_and_size(void **state)
{
    _cleanup_mail_ Mail mail = mail_of_text("\n");
    _cleanup_(variables_done) Variables variables = { .mail = &mail };
    size_t size = 200000, budget = SIZE_MAX;
    char *text = malloc(size + 1), reason[REGEX_REASON_MAX];
    const char *value;
    RegexSpans spans;
    Regex *regex;

    memset(text, 'a', size);
    text[size] = '\0';
    assert_int_equal(regex_new("(?s)(?<a>(?<b>.*))", &regex, reason), 0);
    assert_int_equal(regex_search_groups(regex, text, size, 0, &budget, &spans), REGEX_MATCH);
    variables.groups_taken = true;
    assert_int_equal(variables_take(&variables, regex, text, &spans), 0);
    assert_int_equal(variables_get(&variables, "a", &value), 0);
    assert_int_equal(strlen(value), size);
    assert_int_equal(variables_get(&variables, "b", &value), 0);
    assert_null(value);
    regex_free(regex);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(template_names_what_every_mail_has),
        cmocka_unit_test(template_reads_a_long_name_at_once),
        cmocka_unit_test(template_has_text_for_values_and_for_want_of_them),
        cmocka_unit_test(template_dollars_and_braces_are_written_twice),
        cmocka_unit_test(template_that_is_broken_is_refused),
        cmocka_unit_test(template_says_when_a_value_is_missing),
        cmocka_unit_test(template_output_is_bounded_between_characters),
        cmocka_unit_test(variables_of_groups_are_trimmed_and_keep_their_first_value),
        cmocka_unit_test(variables_know_which_names_are_not_theirs),
        cmocka_unit_test(variables_are_bounded_in_number_and_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
