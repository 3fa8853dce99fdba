/* SPDX-License-Identifier: MIT */

#include "tests/unit/rules.h"

#include "milterd/mime.h"
#include "milterd/pattern.h"

typedef struct Fixture {
    RulesSettings settings;
    Mail mail;
} Fixture;

static int setup(void **state)
{
    *state = calloc(1, sizeof(Fixture));
    return 0;
}

static int teardown(void **state)
{
    Fixture *fixture = *state;

    rules_done(&fixture->settings);
    mail_done(&fixture->mail);
    free(fixture);
    return 0;
}

static void load(Fixture *fixture, const char *text)
{
    _cleanup_free_ char *said = NULL;

    rules_done(&fixture->settings);
    said = rules_load(text, &fixture->settings);
    assert_string_equal(said, "");
}

/* One rule with this match. */
static void load_match(Fixture *fixture, const char *match)
{
    char text[8192];

    snprintf(text, sizeof(text), "rules = ( { name = \"r\"; match: { %s }; } );", match);
    load(fixture, text);
}

static void assert_wrong(const char *match, const char *expected)
{
    char text[8192];
    RulesSettings settings;
    _cleanup_free_ char *said = NULL;

    snprintf(text, sizeof(text), "rules = ( { name = \"r\";\nmatch: { %s }; } );", match);
    said = rules_load(text, &settings);
    rules_done(&settings);
    assert_string_equal(said, expected);
}

/* The rules that the mail has matched after all stages, with blanks between them. */
static const char *result(Fixture *fixture)
{
    static char names[256];
    const Rule *matched[RULES_MATCHED_MAX];
    RuleState rules;
    size_t n;

    names[0] = '\0';
    rules_begin(&rules, &fixture->settings.rules);
    for (MailStage stage = 0; stage < _MAIL_STAGE_MAX; stage++)
        if (rules_look(&rules, &fixture->mail, stage) == 0) {
            assert_int_equal(rules_result(&rules, matched), 0);
            return "";
        }
    n = rules_result(&rules, matched);
    assert_true(n > 0);
    for (size_t i = 0; i < n; i++)
        strcat(strcat(names, i > 0 ? " " : ""), matched[i]->name);
    return names;
}

static bool matches(Fixture *fixture, const char *match)
{
    _cleanup_free_ char *lines = NULL;
    bool said;

    load_match(fixture, match);
    assert_int_equal(rule_explain(fixture->settings.rules.items[0], &fixture->mail, &said, &lines),
                     0);
    assert_int_equal(said, *result(fixture) != '\0');
    return said;
}

static void header(Fixture *fixture, const char *name, const char *value)
{
    assert_int_equal(mail_add_header(&fixture->mail, name, value), 0);
}

static void rules_defaults_are_as_documented(void **state)
{
    Fixture *fixture = *state;
    const Rule *rule;

    load(fixture,
         "rules = ( { name = \"a\"; match: { from = \"x\"; }; },\n"
         "  { name = \"b\"; match: { from = \"x\"; }; to = \"ops\"; verdict = \"quarantine\";\n"
         "    max_lines = 1000; max_bytes = \"48K\"; } );");
    rule = fixture->settings.rules.items[0];
    assert_int_equal(rule->to.n, 0);
    assert_int_equal(rule->verdict, VERDICT_CONTINUE);
    assert_false(rule->next);
    assert_int_equal(rule->max_lines, 20);
    assert_int_equal(rule->max_bytes, 4096);
    rule = fixture->settings.rules.items[1];
    assert_string_equal(rule->to.items[0], "ops");
    assert_int_equal(rule->verdict, VERDICT_QUARANTINE);
    assert_int_equal(rule->max_bytes, 49152);
}

static void rules_from_is_the_header_or_its_address(void **state)
{
    Fixture *fixture = *state;

    header(fixture, "From", "\"NMS, =?utf-8?q?M=C3=BCnchen?=\"\n\t<nms@NMS.example.org>");
    assert_true(matches(fixture, "from = \"nms@nms.example.org\";"));
    assert_true(matches(fixture, "from = \"\\\"NMS, München\\\" <nms@nms.example.org>\";"));
    assert_false(matches(fixture, "from = \"nms\";"));
    assert_true(matches(fixture, "from: { glob = \"*@nms.example.org\"; };"));
    assert_true(matches(fixture, "from: { regex = \"^nms@\"; };"));
    assert_false(matches(fixture, "from: { not = \"nms@nms.example.org\"; };"));
}

static void rules_from_heeds_no_address_in_a_name(void **state)
{
    Fixture *fixture = *state;

    header(fixture, "From", "\"nms@x <nms@x>\" <evil@x>");
    assert_false(matches(fixture, "from = \"nms@x\";"));
    assert_true(matches(fixture, "from = \"evil@x\";"));
}

static void rules_subject_is_read_decoded(void **state)
{
    Fixture *fixture = *state;

    header(fixture, "Subject", "=?iso-8859-1?q?St=F6rung?=\n in  Halle 3");
    assert_true(matches(fixture, "subject = \"Störung in Halle 3\";"));
    assert_false(matches(fixture, "subject = \"störung in halle 3\";"));
    assert_true(matches(fixture, "subject: { glob = \"St?rung*\"; };"));
    assert_true(matches(fixture, "subject: { regex = \"(?i)HALLE [0-9]$\"; };"));
}

static void rules_repeated_header_is_looked_at_whole(void **state)
{
    Fixture *fixture = *state;

    header(fixture, "X-Tag", "a");
    header(fixture, "x-tag", "b");
    assert_true(matches(fixture, "header: { name = \"X-TAG\"; equal = \"b\"; };"));
    assert_false(matches(fixture, "header: { name = \"X-Tag\"; not = \"b\"; };"));
    assert_true(matches(fixture, "header: { name = \"X-Tag\"; not = \"c\"; };"));
    assert_false(matches(fixture, "header: { name = \"X-Other\"; glob = \"*\"; };"));
    assert_true(matches(fixture, "header: { name = \"X-Other\"; not: { glob = \"*\"; }; };"));
    assert_true(matches(fixture, "header: ( { name = \"X-Other\"; glob = \"*\"; },"
                                 " { name = \"X-Tag\"; equal = [ \"z\", \"a\" ]; } );"));
    while (fixture->mail.n_headers < MAIL_HEADERS_MAX - 1)
        header(fixture, "X-Tag", "d");
    header(fixture, "X-Tag", "last");
    assert_true(matches(fixture, "header: { name = \"X-Tag\"; equal = \"last\"; };"));
    assert_false(matches(fixture, "header: { name = \"X-Tag\"; not = \"last\"; };"));
}

static void rules_envelope_and_client_are_matched(void **state)
{
    Fixture *fixture = *state;

    mail_set_client(&fixture->mail, "10.1.2.3", NULL);
    mail_set_envelope_from(&fixture->mail, "<>");
    mail_add_rcpt(&fixture->mail, "<a@x>");
    mail_add_rcpt(&fixture->mail, "<Alerts@X>");
    assert_true(matches(fixture, "envelope_from = \"\";"));
    assert_true(matches(fixture, "envelope_from: { glob = \"*\"; };"));
    assert_true(matches(fixture, "rcpt = \"alerts@x\";"));
    assert_false(matches(fixture, "rcpt: { not = \"a@x\"; };"));
    assert_true(matches(fixture, "client: { cidr = [ \"192.0.2.0/24\", \"10.0.0.0/8\" ]; };"));
    assert_true(matches(fixture, "client = ( \"::1\", \"::ffff:10.1.2.3\" );"));
    assert_true(matches(fixture, "client: { not: { cidr = \"192.0.2.0/24\"; }; };"));
}

static void rules_names_of_the_client_are_matched(void **state)
{
    Fixture *fixture = *state;

    mail_set_client(&fixture->mail, "10.1.2.3", "NMS.example.org");
    mail_set_helo(&fixture->mail, "nms.Local");
    assert_true(matches(fixture, "client_name = \"nms.example.org\";"));
    assert_true(matches(fixture, "client_name: { glob = \"*.example.org\"; };"));
    assert_false(matches(fixture, "client_name: { not = \"nms.example.org\"; };"));
    assert_true(matches(fixture, "helo = \"nms.local\";"));
    assert_false(matches(fixture, "helo: { regex = \"^nms$\"; };"));
}

static void rules_login_and_macros_are_matched(void **state)
{
    Fixture *fixture = *state;

    assert_false(matches(fixture, "auth: { glob = \"*\"; };"));
    assert_true(matches(fixture, "auth: { not: { glob = \"*\"; }; };"));
    mail_add_macro(&fixture->mail, MAIL_STAGE_MAIL, "{auth_authen}", "nms");
    mail_add_macro(&fixture->mail, MAIL_STAGE_CONNECT, "{daemon_name}", "submission");
    mail_add_macro(&fixture->mail, MAIL_STAGE_CONNECT, "j", "mx.example.org");
    mail_add_macro(&fixture->mail, MAIL_STAGE_MAIL, "{tls_version}", "");
    assert_true(matches(fixture, "auth = \"nms\";"));
    assert_false(matches(fixture, "auth = \"NMS\";"));
    assert_true(matches(fixture, "macro: { name = \"daemon_name\"; equal = \"submission\"; };"));
    assert_true(matches(fixture, "macro: { name = \"{daemon_name}\"; glob = \"sub*\"; };"));
    assert_true(matches(fixture, "macro: { name = \"{j}\"; regex = \"^mx\"; };"));
    assert_false(matches(fixture, "macro: { name = \"tls_version\"; glob = \"*\"; };"));
    assert_true(matches(fixture, "macro: ( { name = \"i\"; glob = \"*\"; },"
                                 " { name = \"auth_authen\"; equal = [ \"z\", \"nms\" ]; } );"));
}

static void body(Fixture *fixture, const char *text)
{
    assert_int_equal(mail_add_body(&fixture->mail, text, strlen(text), 1 << 20), 0);
}

static void rules_body_is_read_decoded(void **state)
{
    Fixture *fixture = *state;

    header(fixture, "Content-Type", "text/plain; charset=iso-8859-1");
    header(fixture, "Content-Transfer-Encoding", "quoted-printable");
    body(fixture, "Backup von db1:\r\nSt=F6rung\r\n");
    assert_true(matches(fixture, "body: { glob = \"*Störung*\"; };"));
    assert_true(matches(fixture, "body: { regex = \"(?m)^Störung$\"; };"));
    assert_false(matches(fixture, "body: { regex = \"^Störung\"; };"));
    assert_false(matches(fixture, "body: { glob = \"*F6rung*\"; };"));
}

static void rules_body_is_looked_at_up_to_its_bound(void **state)
{
    Fixture *fixture = *state;

    for (int i = 0; i < 650; i++)
        body(fixture, "one hundred bytes, as many as there are in this line, and in each line of "
                      "this long, long report.\r\n");
    body(fixture, "NEAR\r\n");
    for (int i = 0; i < 50; i++)
        body(fixture, "one hundred bytes, as many as there are in this line, and in each line of "
                      "this long, long report.\r\n");
    body(fixture, "FAR\r\n");
    assert_true(matches(fixture, "body: { glob = \"*NEAR*\"; };"));
    assert_true(matches(fixture, "body: { regex = \"[A-Z]{4}\"; };"));
    assert_true(matches(fixture, "body: { not: { glob = \"*FAR*\"; }; };"));
}

static void rules_empty_body_is_there(void **state)
{
    assert_true(matches(*state, "body = \"\";"));
    assert_true(matches(*state, "body: { glob = \"*\"; };"));
}

static void rules_local_mail_has_no_client(void **state)
{
    Fixture *fixture = *state;

    assert_false(matches(fixture, "client: { cidr = \"0.0.0.0/0\"; };"));
    assert_true(matches(fixture, "client: { not: { glob = \"*\"; }; };"));
}

static void rules_all_fields_must_match(void **state)
{
    Fixture *fixture = *state;

    header(fixture, "From", "root");
    header(fixture, "Subject", "Cron <x>");
    assert_true(matches(fixture, "from = \"root\"; subject: { glob = \"Cron <*\"; };"));
    assert_false(matches(fixture, "from = \"root\"; subject: { glob = \"cron <*\"; };"));
}

static void rules_first_that_matches_is_the_one(void **state)
{
    Fixture *fixture = *state;

    header(fixture, "Subject", "b");
    load(fixture, "rules = ( { name = \"1\"; match: { subject = \"a\"; }; },\n"
                  "{ name = \"2\"; match: { subject = [ \"a\", \"b\" ]; }; },\n"
                  "{ name = \"3\"; match: { subject = \"b\"; }; } );");
    assert_string_equal(result(fixture), "2");
}

static void rules_that_say_next_let_others_match(void **state)
{
    Fixture *fixture = *state;

    header(fixture, "Subject", "b");
    load(fixture, "rules = ( { name = \"1\"; match: { subject = \"b\"; }; next = true; },\n"
                  "{ name = \"2\"; match: { subject = \"a\"; }; },\n"
                  "{ name = \"3\"; match: { subject = \"b\"; }; next = true; },\n"
                  "{ name = \"4\"; match: { body = \"\"; }; },\n"
                  "{ name = \"5\"; match: { subject = \"b\"; }; } );");
    assert_string_equal(result(fixture), "1 3 4");
    mail_add_body(&fixture->mail, "x", 1, 100);
    assert_string_equal(result(fixture), "1 3 5");
}

static void rules_that_all_say_next_match_alone(void **state)
{
    Fixture *fixture = *state;

    header(fixture, "Subject", "b");
    load(fixture, "rules = ( { name = \"1\"; match: { subject = \"b\"; }; next = true; },\n"
                  "{ name = \"2\"; match: { subject = \"b\"; }; next = true; },\n"
                  "{ name = \"3\"; match: { subject = \"a\"; }; } );");
    assert_string_equal(result(fixture), "1 2");
}

static void rules_early_match_waits_for_those_before_it(void **state)
{
    Fixture *fixture = *state;

    mail_set_client(&fixture->mail, "::1", NULL);
    load(fixture, "rules = ( { name = \"1\"; match: { body = \"\"; }; },\n"
                  "{ name = \"2\"; match: { body: { glob = \"x*\"; }; }; next = true; },\n"
                  "{ name = \"3\"; match: { client = \"::1\"; }; },\n"
                  "{ name = \"4\"; match: { body: { glob = \"*\"; }; }; } );");
    assert_string_equal(result(fixture), "1");
    mail_add_body(&fixture->mail, "x", 1, 100);
    assert_string_equal(result(fixture), "2 3");
}

static void rules_behind_a_sure_match_are_not_looked_at(void **state)
{
    Fixture *fixture = *state;

    header(fixture, "Subject", "b");
    load(fixture, "rules = ( { name = \"1\"; match: { subject = \"b\"; }; },\n"
                  "{ name = \"2\"; match: { body: { glob = \"*\"; }; }; } );");
    assert_string_equal(result(fixture), "1");
    assert_null(fixture->mail.text);
}

static void rules_of_too_many_that_say_next_are_refused(void **state)
{
    _cleanup_free_ char *text = NULL, *said = NULL;
    RulesSettings settings;
    size_t size;
    FILE *stream = open_memstream(&text, &size);

    fputs("rules = (", stream);
    for (int i = 0; i < RULES_MATCHED_MAX; i++)
        fprintf(stream, "%s{ name = \"r%d\"; match: { helo = \"x\"; }; next = true; }",
                i ? "," : "", i);
    fputs(");", stream);
    fclose(stream);
    said = rules_load(text, &settings);
    rules_done(&settings);
    assert_string_equal(said, "1: rules: 64 of them say \"next\", at most 63 may\n");
}

static void rules_mail_drops_out_at_the_first_stage_that_decides(void **state)
{
    Fixture *fixture = *state;
    RuleState rules;

    load(fixture, "rules = ( { name = \"1\"; match: { client = \"::1\"; subject = \"a\"; }; },\n"
                  "{ name = \"2\"; match: { rcpt = \"a@x\"; }; } );");
    assert_false(rules_decide_at(&fixture->settings.rules, MAIL_STAGE_CONNECT));
    assert_false(rules_decide_at(&fixture->settings.rules, MAIL_STAGE_MAIL));
    assert_true(rules_decide_at(&fixture->settings.rules, MAIL_STAGE_DATA));
    assert_true(rules_decide_at(&fixture->settings.rules, MAIL_STAGE_HEADERS));
    assert_false(rules_decide_at(&fixture->settings.rules, MAIL_STAGE_MESSAGE));
    assert_int_equal(rules_last_stage(&fixture->settings.rules), MAIL_STAGE_HEADERS);

    mail_set_client(&fixture->mail, "::2", NULL);
    mail_set_envelope_from(&fixture->mail, "x");
    mail_add_rcpt(&fixture->mail, "b@x");
    rules_begin(&rules, &fixture->settings.rules);
    assert_int_equal(rules_look(&rules, &fixture->mail, MAIL_STAGE_CONNECT), 1);
    assert_int_equal(rules_look(&rules, &fixture->mail, MAIL_STAGE_MAIL), 1);
    assert_int_equal(rules_look(&rules, &fixture->mail, MAIL_STAGE_DATA), 0);
    assert_int_equal(rules_result(&rules, (const Rule *[RULES_MATCHED_MAX]){}), 0);
}

static void rules_that_skip_let_pass_what_no_rule_before_them_can_take(void **state)
{
    Fixture *fixture = *state;
    RuleState rules;

    load(fixture, "rules = ( { name = \"1\"; match: { subject = \"a\"; }; },\n"
                  "{ name = \"2\"; match: { client = \"::1\"; }; skip = true; },\n"
                  "{ name = \"3\"; match: { body = \"x\"; }; } );");
    mail_set_client(&fixture->mail, "::1", NULL);
    rules_begin(&rules, &fixture->settings.rules);
    assert_int_equal(rules_look(&rules, &fixture->mail, MAIL_STAGE_CONNECT), 1);
    assert_false(rules_let_pass(&rules));
    header(fixture, "Subject", "b");
    assert_int_equal(rules_look(&rules, &fixture->mail, MAIL_STAGE_HEADERS), 1);
    assert_true(rules_let_pass(&rules));

    /* Its verdict is given at the end of the mail. */
    load(fixture, "rules = ( { name = \"2\"; match: { client = \"::1\"; }; skip = true;\n"
                  "verdict = \"tempfail\"; } );");
    rules_begin(&rules, &fixture->settings.rules);
    assert_int_equal(rules_look(&rules, &fixture->mail, MAIL_STAGE_MESSAGE), 1);
    assert_false(rules_let_pass(&rules));
}

static void rules_stages_left_out_are_looked_at_later(void **state)
{
    Fixture *fixture = *state;
    RuleState rules;

    load_match(fixture, "client = \"::1\"; subject = \"a\";");
    mail_set_client(&fixture->mail, "::2", NULL);
    header(fixture, "Subject", "a");
    rules_begin(&rules, &fixture->settings.rules);
    assert_int_equal(rules_look(&rules, &fixture->mail, MAIL_STAGE_HEADERS), 0);
}

static void assert_stage(Fixture *fixture, const char *match, MailStage stage)
{
    const RuleSet *rules = &fixture->settings.rules;

    load_match(fixture, match);
    assert_int_equal(rules_last_stage(rules), stage);
    for (MailStage other = 0; other < _MAIL_STAGE_MAX; other++) {
        assert_int_equal(rules_look_at(rules, other), other == stage);
        assert_int_equal(rules_decide_at(rules, other), other == stage);
    }
}

static void rules_field_is_decided_when_it_is_known(void **state)
{
    assert_stage(*state, "client_name = \"x\";", MAIL_STAGE_CONNECT);
    assert_stage(*state, "helo = \"x\";", MAIL_STAGE_HELO);
    assert_stage(*state, "auth = \"x\";", MAIL_STAGE_MAIL);
    assert_stage(*state, "body = \"x\";", MAIL_STAGE_MESSAGE);
    assert_stage(*state, "macro: { name = \"{daemon_name}\"; equal = \"x\"; };",
                 MAIL_STAGE_CONNECT);
    assert_stage(*state, "macro: { name = \"tls_version\"; equal = \"x\"; };", MAIL_STAGE_MAIL);
    assert_stage(*state, "macro: { name = \"our_own\"; equal = \"x\"; };", MAIL_STAGE_MESSAGE);
    assert_stage(*state,
                 "macro: ( { name = \"j\"; equal = \"x\"; },"
                 " { name = \"tls_version\"; equal = \"x\"; } );",
                 MAIL_STAGE_MAIL);
}

static void rules_tell_the_macros_that_they_look_at(void **state)
{
    Fixture *fixture = *state;
    const char *names[MAIL_MACROS_MAX];

    load_match(fixture, "client = \"::1\"; subject = \"a\";");
    assert_int_equal(rules_macros(&fixture->settings.rules, names), 0);
    load(
        fixture,
        "rules = ( { name = \"1\"; match: { auth = \"a\"; from = \"x\"; macro: (\n"
        " { name = \"j\"; equal = \"a\"; }, { name = \"{auth_authen}\"; equal = \"b\"; } ); }; },\n"
        "{ name = \"2\"; match: { macro: { name = \"{x1}\"; equal = \"a\"; }; }; } );");
    assert_int_equal(rules_macros(&fixture->settings.rules, names), 3);
    assert_string_equal(names[0], "{auth_authen}");
    assert_string_equal(names[1], "j");
    assert_string_equal(names[2], "{x1}");
}

static void rules_of_too_many_macros_are_refused(void **state)
{
    _cleanup_free_ char *text = NULL, *said = NULL;
    RulesSettings settings;
    size_t size;
    FILE *stream = open_memstream(&text, &size);

    fputs("rules = ( { name = \"r\"; match: { macro: (", stream);
    for (int i = 0; i <= MAIL_MACROS_MAX; i++)
        fprintf(stream, "%s{ name = \"m%d\"; equal = \"x\"; }", i ? "," : "", i);
    fputs("); }; } );", stream);
    fclose(stream);
    said = rules_load(text, &settings);
    rules_done(&settings);
    assert_string_equal(said, "1: rules: they look at more than the 32 macros that are allowed\n");
}

static void rules_of_nobody_let_all_mail_go(void **state)
{
    Fixture *fixture = *state;
    RuleState rules;

    load(fixture, "rules = ( );");
    rules_begin(&rules, &fixture->settings.rules);
    assert_int_equal(rules_look(&rules, &fixture->mail, MAIL_STAGE_CONNECT), 0);
    assert_int_equal(rules_result(&rules, (const Rule *[RULES_MATCHED_MAX]){}), 0);
}

static void rules_explanation_names_value_and_pattern(void **state)
{
    Fixture *fixture = *state;
    _cleanup_free_ char *lines = NULL;
    bool said = true;

    header(fixture, "From", "Root <root@x>");
    header(fixture, "Subject", "Re: x");
    load_match(fixture, "subject: { glob = \"Cron <*\"; }; from = \"root@x\";"
                        "header: { name = \"X-A\"; not = ( \"a\", { regex = \"b$\"; } ); };"
                        "client = \"::1\";");
    assert_int_equal(rule_explain(fixture->settings.rules.items[0], &fixture->mail, &said, &lines),
                     0);
    assert_false(said);
    assert_string_equal(lines,
                        "subject: \"Re: x\" does not match glob \"Cron <*\"\n"
                        "from: \"Root <root@x>\", \"root@x\" matches \"root@x\"\n"
                        "header X-A: (there is none) matches not one of \"a\", regex \"b$\"\n"
                        "client: (there is none) does not match cidr \"::1\"\n");
}

static void rules_mistakes_are_told_with_what_is_allowed(void **state)
{
    assert_wrong("", "2: rules[0].match: is empty; to match every mail, write match: { "
                     "envelope_from: { glob = \"*\"; }; };\n");
    assert_wrong("frmo = \"x\";",
                 "2: unknown key \"frmo\" in rules[0].match; did you mean \"from\"?\n");
    assert_wrong("from = 5;", "2: rules[0].match.from: must be a string in quotes, a group such as "
                              "{ glob = \"*\"; }, or a list of these\n");
    assert_wrong("from: { globb = \"x\"; };",
                 "2: unknown key \"globb\" in rules[0].match.from; did "
                 "you mean \"glob\"?\n");
    assert_wrong("from: { name = \"X\"; equal = \"x\"; };",
                 "2: unknown key \"name\" in rules[0].match.from; known are \"equal\", \"glob\", "
                 "\"regex\", \"cidr\" and \"not\"\n");
    assert_wrong("from: { glob = \"x\";\nequal = \"x\"; };",
                 "3: rules[0].match.from.equal: stands beside \"glob\", one comparison is allowed; "
                 "a list means any of several\n");
    assert_wrong("from: { };", "2: rules[0].match.from: says nothing to compare with; it takes one "
                               "of \"equal\", \"glob\", \"regex\" and \"not\"\n");
    assert_wrong("from = ( );",
                 "2: rules[0].match.from: is an empty list, which nothing matches\n");
    assert_wrong("subject: { regex = \"a(b\"; };",
                 "2: rules[0].match.subject.regex: \"a(b\" is no regular expression: missing "
                 "closing parenthesis, at offset 3\n");
    assert_wrong("subject: { cidr = \"::1\"; };",
                 "2: rules[0].match.subject.cidr: is for \"client\" alone, since subject is no "
                 "address of a host\n");
    assert_wrong("client = \"10.0.0.0/8\";", "2: rules[0].match.client: \"10.0.0.0/8\" is no "
                                             "address; write a network as { cidr = … }\n");
    assert_wrong(
        "client: { cidr = \"10.0.0.1/8\"; };",
        "2: rules[0].match.client.cidr: \"10.0.0.1/8\" has bits set behind its prefix; the "
        "network is 10.0.0.0/8\n");
    assert_wrong("header = \"x\";", "2: rules[0].match.header: must be a group such as { name = "
                                    "\"X-Alert\"; glob = \"*\"; }\n");
    assert_wrong("header: { glob = \"*\"; };",
                 "2: rules[0].match.header: \"name\" is missing, the header's\n");
    assert_wrong("header: { name = \"a b\"; glob = \"*\"; };",
                 "2: rules[0].match.header.name: \"a b\" is no name of a header; it has printable "
                 "ASCII characters, no blank and no colon\n");
    assert_wrong("subject: { not: { not: { not: { not: { not: { not: { not: { not: { not: { not = "
                 "\"x\"; }; }; }; }; }; }; }; }; }; };",
                 "2: rules[0].match.subject.not.not.not.not.not.not.not.not.not: stands too deep; "
                 "at most 8 levels are allowed\n");
    assert_wrong("macro = \"x\";", "2: rules[0].match.macro: must be a group such as { name = "
                                   "\"daemon_name\"; glob = \"*\"; }\n");
    assert_wrong("macro: { glob = \"*\"; };",
                 "2: rules[0].match.macro: \"name\" is missing, the macro's\n");
    assert_wrong("macro: { name = \"\"; glob = \"*\"; };",
                 "2: rules[0].match.macro.name: must be the name of a macro, in quotes\n");
    assert_wrong("macro: { name = \"a-b\"; glob = \"*\"; };",
                 "2: rules[0].match.macro.name: \"a-b\" is no name of a macro; it has 1 to 64 of "
                 "A-Z a-z 0-9 _, with braces or without\n");
    assert_wrong("body: { cidr = \"::1\"; };",
                 "2: rules[0].match.body.cidr: is for \"client\" alone, since body is no address "
                 "of a host\n");
    assert_wrong("hello = \"x\";",
                 "2: unknown key \"hello\" in rules[0].match; did you mean \"helo\"?\n");
    assert_wrong("subject = \" x\";",
                 "2: rules[0].match.subject: \" x\" never matches: headers are compared in one "
                 "line, each run of white space as one blank, none at the ends\n");
}

static void rules_all_mistakes_are_found_at_once(void **state)
{
    RulesSettings settings;
    _cleanup_free_ char *said = rules_load("rules = (\n"
                                           "{ name = \"a b\"; match: { from = ( 1,\n 2 ); }; },\n"
                                           "{ name = \"c\"; to = [ \"x\", \"x\" ]; },\n"
                                           "{ name = \"c\"; match: { from = \"x\"; };\n"
                                           "  verdict = \"drop\"; max_lines = 0;\n"
                                           "  read: ( { regex = \"(?<a>b)\"; },\n"
                                           "          { in = \"body\"; } ); }\n"
                                           ");",
                                           &settings);

    rules_done(&settings);
    assert_string_equal(
        said,
        "2: rules[0].name: \"a b\" is no name; allowed are 1 to 64 of A-Z a-z 0-9 . _ : -\n"
        "2: rules[0].match.from[0]: must be a string in quotes, a group such as { glob = \"*\"; }, "
        "or a list of these\n"
        "3: rules[0].match.from[1]: must be a string in quotes, a group such as { glob = \"*\"; }, "
        "or a list of these\n"
        "4: rules[1]: \"match\" is missing\n"
        "4: rules[1].to: \"x\" stands there twice, once is allowed\n"
        "5: rules[2].name: \"c\" is the name of rules[1] already; each rule needs one of its own\n"
        "6: rules[2].verdict: \"drop\" is not allowed; allowed are \"continue\", \"accept\", "
        "\"discard\", \"reject\", \"tempfail\" and \"quarantine\"\n"
        "6: rules[2].max_lines: 0 is out of range; allowed are 1 to 1000\n"
        "7: rules[2].read[0]: \"in\" is missing\n"
        "8: rules[2].read[1]: \"regex\" is missing\n");
}

static void rules_hostile_body_costs_little(void **state)
{
    static char text[PATTERN_LONG_MAX];
    Fixture *fixture = *state;
    clock_t began = clock();

    memset(text, 'a', sizeof(text) - 1);
    body(fixture, text);
    assert_false(matches(fixture, "body: { regex = \"(a+)+[bc]$\"; };"));
    assert_false(matches(fixture, "body: { regex = \"(?:.|\\n)*x\"; };"));
    assert_false(matches(fixture, "body: { glob = \"*a*a*a*a*ab\"; };"));
    assert_true(clock() - began < 8 * CLOCKS_PER_SEC);
}

static void rules_hostile_headers_cost_little(void **state)
{
    Fixture *fixture = *state;
    clock_t began = clock();
    char value[256];

    memset(value, 'a', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    for (int i = 0; i < MAIL_HEADERS_MAX; i++)
        header(fixture, "From", value);
    assert_false(matches(fixture, "from: { regex = \"(a+)+[bc]$\"; };"));
    assert_true(clock() - began < 4 * CLOCKS_PER_SEC);
}

#define test(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(rules_defaults_are_as_documented),
        test(rules_from_is_the_header_or_its_address),
        test(rules_from_heeds_no_address_in_a_name),
        test(rules_subject_is_read_decoded),
        test(rules_repeated_header_is_looked_at_whole),
        test(rules_envelope_and_client_are_matched),
        test(rules_names_of_the_client_are_matched),
        test(rules_login_and_macros_are_matched),
        test(rules_body_is_read_decoded),
        test(rules_body_is_looked_at_up_to_its_bound),
        test(rules_empty_body_is_there),
        test(rules_local_mail_has_no_client),
        test(rules_all_fields_must_match),
        test(rules_first_that_matches_is_the_one),
        test(rules_that_say_next_let_others_match),
        test(rules_that_all_say_next_match_alone),
        test(rules_early_match_waits_for_those_before_it),
        test(rules_behind_a_sure_match_are_not_looked_at),
        test(rules_of_too_many_that_say_next_are_refused),
        test(rules_mail_drops_out_at_the_first_stage_that_decides),
        test(rules_that_skip_let_pass_what_no_rule_before_them_can_take),
        test(rules_stages_left_out_are_looked_at_later),
        test(rules_field_is_decided_when_it_is_known),
        test(rules_tell_the_macros_that_they_look_at),
        test(rules_of_too_many_macros_are_refused),
        test(rules_of_nobody_let_all_mail_go),
        test(rules_explanation_names_value_and_pattern),
        test(rules_mistakes_are_told_with_what_is_allowed),
        test(rules_all_mistakes_are_found_at_once),
        test(rules_hostile_headers_cost_little),
        test(rules_hostile_body_costs_little),
    };

    mime_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
