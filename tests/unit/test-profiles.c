/* SPDX-License-Identifier: MIT */

#include "tests/unit/mails.h"
#include "tests/unit/profiles.h"

#include <fcntl.h>
#include <unistd.h>

#include "common/record.h"
#include "milterd/handover.h"

#define EVERY "match: { envelope_from: { not: \"none\"; }; };"

static void write_profile(Folder *folder, const char *path, const char *name, const char *order,
                          const char *subject, const char *title)
{
    char text[1024];

    snprintf(text, sizeof(text),
             "name = \"%s\"; about = \"a\"; recognised = \"b\"; %s\n"
             "forms: ( { name = \"f\"; match: { subject: { glob = \"%s\"; }; };\n"
             "set: { title = \"%s\"; fields: { host = \"h1\"; }; facts = \"host\"; }; } );",
             name, order, subject, title);
    folder_write(folder, path, text);
}

static Record *alert(Folder *folder, const char *text, AlertNotes *notes)
{
    _cleanup_mail_ Mail mail = mail_of_text(text);

    return folder_alert(folder, &mail, notes);
}

static void assert_title(Folder *folder, const char *subject, const char *expected)
{
    _cleanup_record_ Record *record = NULL;
    char mail[256];

    snprintf(mail, sizeof(mail), "Subject: %s\n\nx", subject);
    record = alert(folder, mail, NULL);
    assert_string_equal(record->title, expected);
}

static void load(Folder *folder, const char *text)
{
    folder_load(folder, text);
    assert_string_equal(folder->said, "");
}

static void profiles_are_asked_by_order_and_name(void **state)
{
    Folder *folder = *state;

    write_profile(folder, "p/1.conf", "d", "order = 60;", "*", "fallback");
    write_profile(folder, "p/2.conf", "c", "", "c*", "C");
    write_profile(folder, "p/3.conf", "b", "", "*b", "B");
    write_profile(folder, "p/4.conf", "a", "order = 51;", "*a", "A");
    folder_write(folder, "p/ignored", "x");
    folder_write(folder, "p/.hidden.conf", "x");
    load(folder, FOLDER_PROFILES "rules: ( { name = \"r\"; " EVERY " } );");
    assert_title(folder, "cb", "B");
    assert_title(folder, "ca", "C");
    assert_title(folder, "xa", "A");
    assert_title(folder, "x", "fallback");
}

static void profiles_of_later_folders_replace_those_of_their_name(void **state)
{
    Folder *folder = *state;
    char path[64], text[256];

    snprintf(path, sizeof(path), "%s/q", folder->path);
    assert_int_equal(mkdir(path, 0755), 0);
    write_profile(folder, "p/a.conf", "a", "", "*", "first");
    write_profile(folder, "q/z.conf", "a", "", "*", "second");
    snprintf(text, sizeof(text),
             "profiles = [ \"p\", \"%s\" ]; rules: ( { name = \"r\"; " EVERY " } );", path);
    load(folder, text);
    assert_int_equal(folder->settings->profiles->n, 1);
    assert_title(folder, "x", "second");
}

/* The mail is longer than what is kept of it. */
static Record *alert_of_cut_mail(Folder *folder, const char *subject, const char *body)
{
    _cleanup_mail_ Mail mail = {};

    assert_int_equal(mail_add_header(&mail, "Subject", subject), 0);
    assert_int_equal(mail_add_body(&mail, body, strlen(body), strlen(body) - 1), 0);
    return folder_alert(folder, &mail, NULL);
}

static void assert_text_of_cut_mail(Folder *folder, const char *subject, const char *body,
                                    const char *expected)
{
    _cleanup_record_ Record *record = alert_of_cut_mail(folder, subject, body);

    assert_string_equal(record->text, expected);
}

/* What was taken out of the text is all there is of it, however much of the mail is missing. */
static void profile_that_takes_a_part_of_a_cut_text_has_all_of_it(void **state)
{
    Folder *folder = *state;

    folder_write(folder, "p/a.conf",
                 "name = \"a\"; about = \"a\"; recognised = \"b\";\n"
                 "forms: ( { name = \"part\"; match: { subject = \"part\"; };\n"
                 "  read: ( { in = \"body\"; regex = \"Error: (?<error>.+)\"; } );\n"
                 "  set: { title = \"backup\"; text = \"${error}\"; }; },\n"
                 " { name = \"end\"; match: { subject = \"end\"; };\n"
                 "  read: ( { in = \"body\"; regex = \"(?s)Error: (?<error>.+)\"; } );\n"
                 "  set: { title = \"backup\"; text = \"${error}\"; }; },\n"
                 " { name = \"none\"; match: { subject = \"none\"; };\n"
                 "  set: { title = \"backup\"; text = \"${header:X-Absent}\"; }; },\n"
                 " { name = \"whole\"; match: { subject = \"whole\"; }; omit = \"^log\"; } );");
    load(folder, FOLDER_PROFILES "rules: ( { name = \"r\"; " EVERY " } );");
    assert_text_of_cut_mail(folder, "part", "Error: full\nlog 1\nlog 2\n", "full");
    assert_text_of_cut_mail(folder, "end", "Error: full\nlog 1\nlog 2\n",
                            "full\nlog 1\nlog 2\n… and more");
    assert_text_of_cut_mail(folder, "none", "Error: full\nlog 1\nlog 2\n", "(no text)");
    assert_text_of_cut_mail(folder, "whole", "Error: full\nlog 1\nlog 2\n",
                            "Error: full\n… and more");
}

static void rule_message_tells_of_a_cut_text_only_where_it_shows_it(void **state)
{
    Folder *folder = *state;

    load(folder,
         FOLDER_PROFILES "rules: ( { name = \"r\"; " EVERY " message = \"Mail: ${subject}\"; } );");
    assert_text_of_cut_mail(folder, "x", "log 1\nlog 2\n", "Mail: x");
    load(folder, FOLDER_PROFILES "rules: ( { name = \"r\"; " EVERY
                                 " message = \"Mail\n${text}\nto ops\"; } );");
    assert_text_of_cut_mail(folder, "x", "log 1\nlog 2\n", "log 1\nlog 2\nto ops\n… and more");
}

static void rule_message_counts_the_lines_of_a_long_text(void **state)
{
    enum {
        LINES = 7500,
    };
    static char text[LINES * 30];
    Folder *folder = *state;
    _cleanup_record_ Record *record = NULL;
    char *end = stpcpy(text, "Subject: x\n\n");

    for (size_t i = 0; i < LINES; i++)
        end = stpcpy(end, "one line and another one\n");
    load(folder, FOLDER_PROFILES "rules: ( { name = \"r\"; " EVERY " max_lines = 20;"
                                 " message = \"Mail\n${text}\"; } );");
    record = alert(folder, text, NULL);
    assert_string_equal(strrchr(record->text, '\n'), "\n… 7480 more lines");
}

static void profiles_that_are_wrong_are_errors_of_the_configuration(void **state)
{
    Folder *folder = *state;

    folder_write(folder, "p/a.conf", "name = ");
    write_profile(folder, "p/b.conf", "b", "", "*", "${host}");
    assert_int_equal(folder_load(folder, "workers = 1000;\n" FOLDER_PROFILES
                                         "rules: ( { name = \"r\"; " EVERY " } );"),
                     -EINVAL);
    assert_null(folder->settings);
    assert_non_null(strstr(folder->said, "milterd.conf:1: workers: 1000 is out of range"));
    assert_non_null(strstr(folder->said, "\np/a.conf:1: syntax error"));
    assert_non_null(
        strstr(folder->said, "\np/b.conf:3: forms[0].set.title: \"host\" is no variable"));
}

static void profiles_of_one_folder_have_names_of_their_own(void **state)
{
    Folder *folder = *state;

    write_profile(folder, "p/a.conf", "a", "", "*", "A");
    write_profile(folder, "p/b.conf", "a", "", "*", "B");
    assert_int_equal(folder_load(folder, FOLDER_PROFILES "rules: ( { name = \"r\"; " EVERY " } );"),
                     -EINVAL);
    assert_non_null(strstr(folder->said,
                           "/p/b.conf: another file of its folder has a profile \"a\" "
                           "already\n"));
}

/* Those that replace others are no exception: which of two copies counts must not be left open. */
static void profiles_that_replace_another_have_names_of_their_own(void **state)
{
    Folder *folder = *state;
    char path[64];

    snprintf(path, sizeof(path), "%s/q", folder->path);
    assert_int_equal(mkdir(path, 0755), 0);
    write_profile(folder, "p/a.conf", "a", "", "*", "A");
    write_profile(folder, "q/a.conf", "a", "", "*", "mine");
    write_profile(folder, "q/old.conf", "a", "", "*", "mine before");
    assert_int_equal(folder_load(folder, "profiles = [ \"p\", \"q\" ];\n"
                                         "rules: ( { name = \"r\"; " EVERY " } );"),
                     -EINVAL);
    assert_non_null(strstr(folder->said,
                           "/q/old.conf: another file of its folder has a profile \"a\" "
                           "already\n"));
}

static void profiles_folder_that_is_named_must_be_there(void **state)
{
    Folder *folder = *state;

    assert_int_equal(folder_load(folder, "\nprofiles = \"absent\";"), -EINVAL);
    assert_memory_equal(folder->said, "milterd.conf:2: profiles: ", 26);
    assert_non_null(
        strstr(folder->said, "/absent: No such file or directory; it must be a folder\n"));
    assert_int_equal(folder_load(folder, "profiles = ( );\nrules: ( );"), 0);
    assert_int_equal(folder->settings->profiles->n, 0);
}

static void rule_chooses_how_a_mail_is_read(void **state)
{
    static const char mail[] = "Date: now\nFrom: a@x\nSubject: s\n\nbody\n";
    Folder *folder = *state;
    _cleanup_record_ Record *plain = NULL, *named = NULL, *other = NULL;
    _cleanup_(alert_notes_done) AlertNotes of_plain = {}, of_named = {}, of_other = {};

    write_profile(folder, "p/a.conf", "a", "", "*", "A");
    write_profile(folder, "p/b.conf", "b", "", "s", "B");
    write_profile(folder, "p/c.conf", "c", "", "other", "C");
    load(folder, FOLDER_PROFILES "rules: ( { name = \"r\"; " EVERY " profile = \"plain\"; } );");
    plain = alert(folder, mail, &of_plain);
    assert_null(plain->title);
    assert_string_equal(plain->text, "Date: now\nFrom: a@x\nSubject: s\n\nbody");
    assert_string_equal(record_field(plain, "profile"), "plain");
    assert_string_equal(of_plain.profile, "plain");

    load(folder, FOLDER_PROFILES "rules: ( { name = \"r\"; " EVERY " profile = \"b\"; } );");
    named = alert(folder, mail, &of_named);
    assert_string_equal(named->title, "B");
    assert_string_equal(of_named.profile, "b");
    assert_string_equal(of_named.form, "f");
    assert_string_equal(of_named.why, "subject: \"s\" matches glob \"s\"\n");

    load(folder, FOLDER_PROFILES "rules: ( { name = \"r\"; " EVERY " profile = \"c\"; } );");
    other = alert(folder, mail, &of_other);
    assert_string_equal(other->title, "s");
    assert_string_equal(other->text, "body");
    assert_int_equal(other->severity, SEVERITY_NONE);
    assert_null(of_other.profile);
    assert_null(of_other.form);

    assert_int_equal(folder_load(folder, FOLDER_PROFILES "rules: ( { name = \"r\"; " EVERY
                                                         "\nprofile = \"d\"; } );"),
                     -EINVAL);
    assert_string_equal(folder->said,
                        "milterd.conf:3: rules[0].profile: there is no profile \"d\"; there are "
                        "\"auto\", \"plain\", \"a\", \"b\", \"c\"\n");
    assert_int_equal(folder_load(folder, FOLDER_PROFILES "rules: ( { name = \"r\"; " EVERY
                                                         "\nprofile = \"plian\"; } );"),
                     -EINVAL);
    assert_string_equal(folder->said, "milterd.conf:3: rules[0].profile: there is no profile "
                                      "\"plian\" (did you mean \"plain\"?); there are "
                                      "\"auto\", \"plain\", \"a\", \"b\", \"c\"\n");
}

static void rule_changes_what_the_profile_has_read(void **state)
{
    Folder *folder = *state;
    _cleanup_record_ Record *record = NULL;

    write_profile(folder, "p/a.conf", "a", "", "*", "profile's");
    load(
        folder, FOLDER_PROFILES
        "rules: ( { name = \"r\"; match: { subject: { regex = \"^(?<what>\\\\w+) (on|at) (\\\\w+)\"; }; };\n"
        "read: ( { in = \"text\"; regex = \"at (?<where>.+)\"; },\n"
        "        { in = \"where\"; regex = \"^(?<room>\\\\w+)\"; } );\n"
        "set: { severity: { of = \"${3}\"; warning = \"web1\"; };\n"
        "       fields: { place = \"${where}\"; host = \"h2\"; };\n"
        "       title = \"${title}: ${what} ${2} ${3}, ${place} ${host} ${severity}\";\n"
        "       key = \"${rule}/${profile}/${room}\"; state = \"event\"; facts = [ \"place\", \"host\" "
        "]; }; } );");
    record = alert(folder, "Subject: disk on web1\n\nat home again", NULL);
    assert_string_equal(record->title, "profile's: disk on web1, home again h2 warning");
    assert_string_equal(record->text, "at home again");
    assert_string_equal(record->key, "r/a/home");
    assert_int_equal(record->severity, SEVERITY_WARNING);
    assert_int_equal(record->state, STATE_EVENT);
    assert_string_equal(record_field(record, "host"), "h2");
    assert_int_equal(record->n_facts, 0); /* all in the title */
}

static void rule_set_that_comes_out_empty_changes_nothing(void **state)
{
    Folder *folder = *state;
    _cleanup_record_ Record *record = NULL;

    write_profile(folder, "p/a.conf", "a", "", "*", "T");
    load(folder, FOLDER_PROFILES
         "rules: ( { name = \"r\"; " EVERY "\n"
         "set: { title = \"${header:X}\"; severity: { of = \"${subject}\"; critical = \"x\"; };\n"
         "key = \"k/${header:X}\"; fields: { host = \"${header:X}\"; }; }; } );");
    record = alert(folder, "Subject: s\n\nx", NULL);
    assert_string_equal(record->title, "T");
    assert_int_equal(record->severity, SEVERITY_NONE);
    assert_null(record->key);
    assert_string_equal(record_field(record, "host"), "h1");
    assert_int_equal(record->n_facts, 1);
}

static void assert_message(Folder *folder, const char *message, const char *title, const char *text)
{
    _cleanup_record_ Record *record = NULL;
    char config[1024];

    snprintf(config, sizeof(config),
             FOLDER_PROFILES "rules: ( { name = \"r\"; " EVERY " message = \"%s\"; } );", message);
    load(folder, config);
    record = alert(folder, "Subject: s\n\none\ntwo", NULL);
    if (title)
        assert_string_equal(record->title, title);
    else
        assert_null(record->title);
    assert_string_equal(record->text, text);
    assert_int_equal(record->n_facts, strstr(message, "absent") ? 1 : 0);
}

static void rule_message_says_it_in_other_words(void **state)
{
    Folder *folder = *state;

    write_profile(folder, "p/a.conf", "a", "", "*", "T");
    assert_message(folder, "${title} on ${host}\\n${text}", "T on h1", "one\ntwo");
    assert_message(folder, "${title} only", NULL, "T only");
    assert_message(folder, "${title} only\\n\\n", NULL, "T only");
    assert_message(folder, "\\n${text}", NULL, "one\ntwo");
    /* What comes out empty says nothing. */
    assert_message(folder, "${header:absent}", "T", "one\ntwo");
}

static void rule_names_that_are_not_there_are_refused(void **state)
{
    Folder *folder = *state;

    write_profile(folder, "p/a.conf", "a", "", "*", "T");
    assert_int_equal(
        folder_load(
            folder, FOLDER_PROFILES
            "rules: ( { name = \"r\"; match: { subject: { regex = \"(?<x>x)(?<title>y)\"; }; };\n"
            "read: ( { in = \"nothing\"; regex = \"(?<y>y)\"; } );\n"
            "message = \"${1}${3}${x}${y}${host}${z}\";\n"
            "set: { facts = \"nope\"; text = \"t\"; };\n"
            "skip = true; next = true; } );"),
        -EINVAL);
    assert_string_equal(folder->said,
                        "milterd.conf:5: unknown key \"text\" in rules[0].set; known are "
                        "\"title\", \"severity\", \"state\", \"key\", \"fields\" and "
                        "\"facts\"\n");
    assert_int_equal(
        folder_load(
            folder, FOLDER_PROFILES
            "rules: ( { name = \"r\"; match: { subject: { regex = \"(?<x>x)(?<title>y)\"; }; };\n"
            "read: ( { in = \"nothing\"; regex = \"(?<y>y)\"; } );\n"
            "message = \"${1}${3}${x}${y}${host}${z}\";\n"
            "set: { facts = \"nope\"; };\n"
            "skip = true; next = true; } );"),
        -EINVAL);
#define KNOWN                                                                                      \
    "there are host, title, x, y; of every mail subject, body, from, from_address, from_name, "    \
    "from_domain, to, envelope_from, date, client, client_name, helo, queue_id, message_id, "      \
    "header:NAME, macro:NAME; of the alert title, text, severity, state, key, profile, rule\n"
    assert_string_equal(
        folder->said,
        "milterd.conf:2: rules[0].match: a group can't be called \"title\", which is the name of "
        "something else; call it otherwise\n"
        "milterd.conf:2: rules[0]: \"${3}\" names a group that no regex of its \"match\" has\n"
        "milterd.conf:3: rules[0].read[0].in: \"nothing\" is no variable here; " KNOWN
        "milterd.conf:4: rules[0].message: \"z\" is no variable here; " KNOWN
        "milterd.conf:5: rules[0].set.facts: \"nope\" is no field; \"fields\" must have it\n"
        "milterd.conf:6: rules[0].next: stands beside \"skip\", which ends the search; one of them is "
        "allowed\n");
}

static void settings_ask_for_what_templates_and_profiles_name(void **state)
{
    const char *names[MAIL_MACROS_MAX];
    Folder *folder = *state;

    load(folder, FOLDER_PROFILES "rules: ( { name = \"r\"; " EVERY " } );");
    assert_int_equal(settings_macros(folder->settings, names), 0);
    assert_false(settings_need_helo(folder->settings));

    write_profile(folder, "p/a.conf", "a", "", "*", "${macro:daemon_name} ${header:X:-${helo}}");
    load(folder,
         FOLDER_PROFILES "rules: ( { name = \"r\"; " EVERY " message = \"${macro:v}\"; } );");
    assert_int_equal(settings_macros(folder->settings, names), 2);
    assert_true(settings_need_helo(folder->settings));
}

static void settings_refuse_too_many_macros_of_rules_and_profiles(void **state)
{
    Folder *folder = *state;
    char title[512] = "", message[512] = "", config[1024];

    for (int i = 0; i < 20; i++) {
        snprintf(title + strlen(title), sizeof(title) - strlen(title), "${macro:a%d}", i);
        snprintf(message + strlen(message), sizeof(message) - strlen(message), "${macro:b%d}", i);
    }
    write_profile(folder, "p/a.conf", "a", "", "*", title);
    snprintf(config, sizeof(config),
             FOLDER_PROFILES "rules: ( { name = \"r\"; " EVERY " message = \"%s\"; } );", message);
    assert_int_equal(folder_load(folder, config), -EINVAL);
    assert_string_equal(folder->said,
                        "milterd.conf:1: profiles: they, rules and scripts look at more "
                        "than the 32 macros that are allowed\n");
}

static void rule_that_skips_makes_no_alert(void **state)
{
    Folder *folder = *state;
    _cleanup_mail_ Mail mail = mail_of_text("Subject: s\n\nx");
    HandoverResult result = HANDOVER_DEFER;
    const Watch watch = {}; /* nobody is asked: there is no relay */
    const Counters counters = {};
    HandoverInput input;
    const Rule *rule;

    load(folder, "profiles = ( );\nrelay: { socket = \"/nonexistent/relay.sock\"; };\n"
                 "rules: ( { name = \"r\"; " EVERY " skip = true; verdict = \"accept\"; } );");
    rule = folder->settings->rules.items[0];
    input = (HandoverInput){ .mail = &mail, .rules = &rule, .n_rules = 1 };
    assert_int_equal(handover(folder->settings, &watch, &counters, &input, &result), 0);
    assert_int_equal(result, HANDOVER_TAKEN);
}

/* What the log says of a mail that this rule skips. */
static void read_log(Folder *folder, const char *verdict, char said[static 1024])
{
    _cleanup_mail_ Mail mail = mail_of_text("Subject: s\nMessage-ID: <1@x>\n\nx");
    _cleanup_close_ int stderr_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    const Watch watch = {};
    const Counters counters = {};
    HandoverResult result;
    HandoverInput input;
    char rules[256];
    const Rule *rule;
    int fds[2];
    ssize_t n;

    snprintf(rules, sizeof(rules),
             "profiles = ( );\nrules: ( { name = \"r\"; " EVERY " trust = \"local\"; skip = true; "
             "verdict = \"%s\"; } );",
             verdict);
    load(folder, rules);
    rule = folder->settings->rules.items[0];
    input = (HandoverInput){ .mail = &mail, .rules = &rule, .n_rules = 1 };
    input.verdict = (Verdict)rule->verdict;
    assert_return_code(pipe2(fds, O_CLOEXEC | O_NONBLOCK), errno);
    assert_return_code(dup2(fds[1], STDERR_FILENO), errno);
    handover(folder->settings, &watch, &counters, &input, &result);
    dup2(stderr_fd, STDERR_FILENO);
    n = read(fds[0], said, 1023);
    said[MAX(n, 0)] = '\0';
    close(fds[0]);
    close(fds[1]);
}

static void rule_that_skips_tells_of_mail_that_does_not_go_on(void **state)
{
    char said[1024];

    read_log(*state, "continue", said);
    assert_string_equal(said, "");
    read_log(*state, "discard", said);
    assert_string_equal(said, "no alert is made of a mail that its rule skips message_id=<1@x> "
                              "rule=r verdict=discard\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_set_up, folder_tear_down)
        TEST(profiles_are_asked_by_order_and_name),
        TEST(profiles_of_later_folders_replace_those_of_their_name),
        TEST(profile_that_takes_a_part_of_a_cut_text_has_all_of_it),
        TEST(rule_message_tells_of_a_cut_text_only_where_it_shows_it),
        TEST(rule_message_counts_the_lines_of_a_long_text),
        TEST(profiles_that_are_wrong_are_errors_of_the_configuration),
        TEST(profiles_of_one_folder_have_names_of_their_own),
        TEST(profiles_that_replace_another_have_names_of_their_own),
        TEST(profiles_folder_that_is_named_must_be_there),
        TEST(rule_chooses_how_a_mail_is_read),
        TEST(rule_changes_what_the_profile_has_read),
        TEST(rule_set_that_comes_out_empty_changes_nothing),
        TEST(rule_message_says_it_in_other_words),
        TEST(rule_names_that_are_not_there_are_refused),
        TEST(settings_ask_for_what_templates_and_profiles_name),
        TEST(settings_refuse_too_many_macros_of_rules_and_profiles),
        TEST(rule_that_skips_makes_no_alert),
        TEST(rule_that_skips_tells_of_mail_that_does_not_go_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
