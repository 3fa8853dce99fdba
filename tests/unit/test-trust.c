/* SPDX-License-Identifier: MIT */

#include "tests/unit/rules.h"

#include "milterd/macro.h"
#include "milterd/mime.h"
#include "milterd/trust.h"

/* A rule for all mail with this trust. */
static void load(const char *trust, RulesSettings *settings)
{
    _cleanup_free_ char *said = NULL;
    char text[4096];

    snprintf(text, sizeof(text),
             "rules = ( { name = \"r\"; match: { envelope_from: { glob = \"*\"; }; };"
             " trust = %s; verdict = \"discard\"; } );",
             trust);
    said = rules_load(text, settings);
    assert_string_equal(said, "");
}

/* The stage at which the mail drops out, or _MAIL_STAGE_MAX where it matches. */
static MailStage drops_out_at(const char *trust, Mail *mail)
{
    _cleanup_free_ char *lines = NULL;
    RulesSettings settings;
    RuleState rules;
    MailStage stage = 0;
    bool matches;

    load(trust, &settings);
    assert_int_equal(mail_set_envelope_from(mail, "<a@client.example>"), 0);
    rules_begin(&rules, &settings.rules);
    while (stage < _MAIL_STAGE_MAX && rules_look(&rules, mail, stage) > 0)
        stage++;
    assert_int_equal(rule_explain(settings.rules.items[0], mail, &matches, &lines), 0);
    assert_int_equal(matches, stage == _MAIL_STAGE_MAX);
    rules_done(&settings);
    return stage;
}

static bool trusted(const char *trust, Mail *mail)
{
    return drops_out_at(trust, mail) == _MAIL_STAGE_MAX;
}

static void trust_local_is_what_the_mta_says_and_no_address(void **state)
{
    Mail mail = { .local = true };

    assert_true(trusted("[ \"local\" ]", &mail));
    assert_true(trusted("\"local\"", &mail));
    mail_set_client(&mail, "127.0.0.1", "localhost");
    assert_true(trusted("[ \"local\" ]", &mail));
    mail.local = false;
    assert_false(trusted("[ \"local\" ]", &mail));
    mail_set_client(&mail, NULL, "localhost");
    assert_false(trusted("[ \"local\" ]", &mail));
    mail_done(&mail);
}

static void trust_auth_is_a_login_of_any_name(void **state)
{
    Mail mail = {};

    mail_add_macro(&mail, MAIL_STAGE_MAIL, "{auth_type}", "PLAIN");
    assert_false(trusted("[ \"auth\" ]", &mail));
    mail_add_macro(&mail, MAIL_STAGE_MAIL, MACRO_AUTH, "nms");
    assert_true(trusted("[ \"auth\" ]", &mail));
    mail_done(&mail);
}

static void trust_network_is_the_clients(void **state)
{
    Mail mail = {};

    assert_false(trusted("[ \"0.0.0.0/0\", \"::/0\" ]", &mail));
    mail_set_client(&mail, "192.0.2.7", NULL);
    assert_true(trusted("[ \"192.0.2.0/28\" ]", &mail));
    assert_true(trusted("[ \"10.0.0.1\", \"192.0.2.7\" ]", &mail));
    assert_false(trusted("[ \"192.0.2.8/29\", \"::1\" ]", &mail));
    mail_done(&mail);
}

static void trust_of_any_fact_is_enough(void **state)
{
    Mail mail = {};

    mail_set_client(&mail, "192.0.2.7", NULL);
    assert_true(trusted("[ \"local\", \"auth\", \"192.0.2.0/28\" ]", &mail));
    mail_set_client(&mail, "198.51.100.7", NULL);
    assert_false(trusted("[ \"local\", \"auth\", \"192.0.2.0/28\" ]", &mail));
    mail_add_macro(&mail, MAIL_STAGE_MAIL, MACRO_AUTH, "nms");
    assert_true(trusted("[ \"local\", \"auth\", \"192.0.2.0/28\" ]", &mail));
    mail_done(&mail);
}

static void trust_drops_mail_at_the_first_stage_that_knows(void **state)
{
    Mail mail = {};

    assert_int_equal(drops_out_at("\"local\"", &mail), MAIL_STAGE_CONNECT);
    assert_int_equal(drops_out_at("\"192.0.2.1\"", &mail), MAIL_STAGE_CONNECT);
    assert_int_equal(drops_out_at("[ \"local\", \"auth\" ]", &mail), MAIL_STAGE_MAIL);
    mail_done(&mail);
}

static void trust_is_among_what_the_rules_look_at(void **state)
{
    const char *names[MAIL_MACROS_MAX];
    RulesSettings settings;

    load("[ \"auth\", \"local\" ]", &settings);
    assert_int_equal(rules_macros(&settings.rules, names), 2);
    assert_string_equal(names[0], "{auth_authen}");
    assert_string_equal(names[1], "{client_resolve}");
    assert_true(rules_decide_at(&settings.rules, MAIL_STAGE_MAIL));
    assert_false(rules_look_at(&settings.rules, MAIL_STAGE_CONNECT));
    rules_done(&settings);

    load("[ \"192.0.2.1\" ]", &settings);
    assert_int_equal(rules_macros(&settings.rules, names), 0);
    assert_true(rules_decide_at(&settings.rules, MAIL_STAGE_CONNECT));
    rules_done(&settings);
}

static void trust_explanation_says_what_is_known(void **state)
{
    _cleanup_free_ char *lines = NULL, *others = NULL;
    Mail mail = {};
    RulesSettings settings;
    bool matches;

    load("[ \"local\", \"auth\", \"192.0.2.0/28\" ]", &settings);
    mail_set_client(&mail, "198.51.100.7", NULL);
    mail_set_envelope_from(&mail, "a@b");
    assert_int_equal(rule_explain(settings.rules.items[0], &mail, &matches, &lines), 0);
    assert_string_equal(
        lines, "envelope_from: \"a@b\" matches glob \"*\"\n"
               "trust: not submitted on this host, client 198.51.100.7, no login: matches none of"
               " \"local\", \"auth\", \"192.0.2.0/28\"\n");
    assert_false(matches);

    mail_add_macro(&mail, MAIL_STAGE_MAIL, MACRO_AUTH, "nms");
    assert_int_equal(rule_explain(settings.rules.items[0], &mail, &matches, &others), 0);
    assert_true(matches);
    assert_non_null(strstr(others, ", login \"nms\": matches one of"));
    rules_done(&settings);
    mail_done(&mail);
}

static void assert_wrong(const char *trust, const char *expected)
{
    _cleanup_free_ char *said = NULL;
    RulesSettings settings;
    char text[4096];

    snprintf(text, sizeof(text),
             "rules = ( { name = \"r\"; match: { from = \"a\"; };\ntrust = %s; } );", trust);
    said = rules_load(text, &settings);
    rules_done(&settings);
    assert_string_equal(said, expected);
}

static void trust_mistakes_are_told_with_what_is_allowed(void **state)
{
    assert_wrong("[ \"lcoal\" ]",
                 "2: rules[0].trust[0]: \"lcoal\" is nothing to trust; allowed are \"local\", "
                 "\"auth\", addresses, and networks such as \"192.0.2.0/28\"\n");
    assert_wrong("[ \"192.0.2.1/28\" ]",
                 "2: rules[0].trust[0]: \"192.0.2.1/28\" has bits set behind its prefix; the "
                 "network is 192.0.2.0/28\n");
    assert_wrong("( )", "2: rules[0].trust: is an empty list, which no mail satisfies; leave it "
                        "out to take mail from anybody\n");
    assert_wrong("true", "2: rules[0].trust: must be a string in quotes, or a list of them\n");
    assert_wrong("( \"local\", 1, \"x\" )",
                 "2: rules[0].trust[1]: must be a string in quotes, or a list of them\n"
                 "2: rules[0].trust[2]: \"x\" is nothing to trust; allowed are \"local\", "
                 "\"auth\", addresses, and networks such as \"192.0.2.0/28\"\n");
}

/* Whether a rule that throws such mail away is warned of. */
static bool warned_of(const char *rest)
{
    _cleanup_free_ char *said = NULL;
    RulesSettings settings;
    char text[4096];
    bool warned;

    snprintf(text, sizeof(text), "rules = ( { name = \"r\"; %s } );", rest);
    said = rules_load(text, &settings);
    warned = strncmp(said, "1: rules[0].verdict: \"", 22) == 0;
    if (warned)
        assert_non_null(strstr(said, "trust = [ \"local\""));
    else
        assert_string_equal(said, "");
    rules_done(&settings);
    return warned;
}

static void trust_is_missed_where_a_forger_could_have_mail_thrown_away(void **state)
{
    assert_true(warned_of("match: { from = \"a@b\"; }; verdict = \"discard\";"));
    assert_true(warned_of("match: { subject = \"a\"; body: { glob = \"*\"; }; helo = \"x\"; rcpt = "
                          "\"a@b\"; envelope_from = \"c@d\"; header: { name = \"X\"; equal = "
                          "\"y\"; }; }; verdict = \"reject\";"));
    assert_true(warned_of("match: { client: { not = \"192.0.2.1\"; }; }; verdict = \"discard\";"));
    assert_true(warned_of("match: { auth: ( \"nms\", { not: { glob = \"*\"; }; } ); };"
                          " verdict = \"discard\";"));
    assert_true(warned_of("match: { macro: ( { name = \"mail_addr\"; equal = \"a@b\"; },"
                          " { name = \"daemon_name\"; equal = \"lan\"; } ); };"
                          " verdict = \"discard\";"));

    assert_false(warned_of("match: { from = \"a@b\"; };"));
    assert_false(warned_of("match: { from = \"a@b\"; }; verdict = \"tempfail\";"));
    assert_false(warned_of("match: { from = \"a@b\"; }; trust = \"local\"; verdict = "
                           "\"discard\";"));
    assert_false(warned_of("match: { from = \"a@b\"; client: { cidr = \"10.0.0.0/8\"; }; };"
                           " verdict = \"discard\";"));
    assert_false(warned_of("match: { client_name: { glob = \"*.example.org\"; }; };"
                           " verdict = \"reject\";"));
    assert_false(warned_of("match: { auth = \"nms\"; }; verdict = \"discard\";"));
    assert_false(warned_of("match: { macro: { name = \"daemon_name\"; equal = \"lan\"; }; };"
                           " verdict = \"discard\";"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trust_local_is_what_the_mta_says_and_no_address),
        cmocka_unit_test(trust_auth_is_a_login_of_any_name),
        cmocka_unit_test(trust_network_is_the_clients),
        cmocka_unit_test(trust_of_any_fact_is_enough),
        cmocka_unit_test(trust_drops_mail_at_the_first_stage_that_knows),
        cmocka_unit_test(trust_is_among_what_the_rules_look_at),
        cmocka_unit_test(trust_explanation_says_what_is_known),
        cmocka_unit_test(trust_mistakes_are_told_with_what_is_allowed),
        cmocka_unit_test(trust_is_missed_where_a_forger_could_have_mail_thrown_away),
    };

    mime_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
