/* SPDX-License-Identifier: MIT */

#include "tests/unit/mails.h"
#include "tests/unit/profiles.h"

#include <fcntl.h>
#include <unistd.h>

#include "common/record.h"

#define HEAD "name = \"x\"; about = \"a\"; recognised = \"b\";\n"

#define RULE                                                                                       \
    FOLDER_PROFILES "rules: ( { name = \"r\"; match: { envelope_from: { not: \"none\"; }; }; } );"

#define MAIL                                                                                       \
    "From: Monitor <nms@example.org>\nSubject: web1: DISK is CRITICAL\nX-Type: PROBLEM\n\n"        \
    "Host: web1\nDisk: /var\nValue: 97 %\n-----\nsent by a machine\n"

/* The record that a profile makes of a mail. */
static Record *read_by(void **state, const char *profile, const char *text)
{
    _cleanup_mail_ Mail mail = mail_of_text(text);
    Folder *folder = *state;

    folder_write(folder, "p/x.conf", profile);
    folder_load(folder, RULE);
    assert_string_equal(folder->said, "");
    return folder_alert(folder, &mail, NULL);
}

static void assert_refused(void **state, const char *profile, const char *expected)
{
    Folder *folder = *state;

    folder_write(folder, "p/x.conf", profile);
    assert_int_equal(folder_load(folder, RULE), -EINVAL);
    assert_null(folder->settings);
    assert_string_equal(folder->said, expected);
}

static void profile_reads_a_mail_into_all_of_a_record(void **state)
{
    _cleanup_record_ Record *record = read_by(
        state,
        HEAD
        "forms: ( { name = \"f\";\n"
        "match: { subject: { regex = \"^(?<host>\\\\S+): (?<service>.+) is (?<status>\\\\S+)\"; };\n"
        "         header: { name = \"X-Type\"; regex = \"(?<type>.+)\"; }; };\n"
        "read: ( { in = \"body\"; regex = \"(?m)^Disk: (?<disk>.+)$\"; },\n"
        "        { in = \"body\"; regex = \"(?m)^Absent: (?<absent>.+)$\"; },\n"
        "        { in = \"disk\"; regex = \"^/(?<volume>.+)$\"; } );\n"
        "set: { title = \"${host}${volume:+ (${volume})} is ${status}\";\n"
        "  severity: { of = \"${status}\"; critical = [ \"down\", \"critical\" ]; default = \"info\"; };\n"
        "  state: { of = \"${type}\"; recovery = \"OK\"; problem: { glob = \"PROB*\"; }; };\n"
        "  key = \"x/${host}/${disk:-}/${absent:-}\";\n"
        "  fields: { host = \"${host}\"; service = \"${service}\"; disk = \"${disk}\"; absent = "
        "\"${absent}\"; };\n"
        "  facts = [ \"service\", \"host\", \"absent\", \"disk\" ]; };\n"
        "omit = [ \"^-+$\", \"machine\" ]; } );",
        MAIL);

    assert_string_equal(record->title, "web1 (var) is CRITICAL");
    assert_string_equal(record->text, "Host: web1\nDisk: /var\nValue: 97 %");
    assert_int_equal(record->severity, SEVERITY_CRITICAL);
    assert_int_equal(record->state, STATE_PROBLEM);
    assert_string_equal(record->key, "x/web1//var/");
    assert_string_equal(record_field(record, "service"), "DISK");
    assert_null(record_field(record, "absent"));
    assert_string_equal(record_field(record, "profile"), "x");
    assert_string_equal(record_field(record, "from"), "Monitor <nms@example.org>");
    /* The title says the host already. */
    assert_int_equal(record->n_facts, 2);
    assert_string_equal(record->facts[0], "service");
    assert_string_equal(record->facts[1], "disk");
}

static void profile_first_form_that_matches_is_the_one(void **state)
{
    static const char forms[] = HEAD
        "forms: (\n"
        "{ name = \"a\"; match: { subject = \"a\"; }; set: { title = \"A\"; }; },\n"
        "{ name = \"b\"; match: ( { subject: { regex = \"(?<no>b)(?<never>x)\"; }; },\n"
        "                         { subject: { regex = \"(?<yes>b)\"; }; } );\n"
        "  set: { title = \"B ${yes} ${no}\"; }; },\n"
        "{ name = \"c\"; match: { subject: { glob = \"b*\"; }; }; set: { title = \"C\"; }; } );";
    _cleanup_record_ Record *a = read_by(state, forms, "Subject: a\n\nx"),
                            *b = read_by(state, forms, "Subject: b\n\nx"),
                            *none = read_by(state, forms, "Subject: d\n\nx");

    assert_string_equal(a->title, "A");
    assert_string_equal(b->title, "B b");
    assert_string_equal(none->title, "d");
    assert_null(record_field(none, "profile"));
}

static void profile_groups_below_not_take_nothing(void **state)
{
    _cleanup_record_ Record *record = read_by(
        state,
        HEAD "forms: ( { name = \"f\"; match: { subject: [ \"a\", \"b\" ];\n"
             "  header: ( { name = \"X\"; not: { regex = \"(x)\"; }; },\n"
             "            { name = \"Y\"; regex = [ \"(?<one>1)\", \"(?<two>2)\" ]; } ); };\n"
             "set: { title = \"${one:-}${two:-none}\"; }; } );",
        "Subject: b\nX: x\nY: 3\nY: 2\n\n");

    assert_string_equal(record->title, "2");
}

static void profile_forms_have_what_is_set_for_all(void **state)
{
    static const char forms[] =
        HEAD "read: ( { in = \"body\"; regex = \"Host: (?<host>.+)\"; } );\n"
             "set: { title = \"all ${host:-}\"; severity = \"critical\"; key = \"k/${host}\"; };\n"
             "omit = \"drop\";\n"
             "forms: ( { name = \"a\"; match: { subject = \"a\"; }; },\n"
             "{ name = \"b\"; match: { subject = \"b\"; }; read: ( ); omit = [ ];\n"
             "  set: { title = \"own\"; }; } );";
    _cleanup_record_ Record *a = read_by(state, forms, "Subject: a\n\nHost: h\ndrop\nx"),
                            *b = read_by(state, forms, "Subject: b\n\nHost: h\ndrop\nx");

    assert_string_equal(a->title, "all h");
    assert_string_equal(a->key, "k/h");
    assert_string_equal(a->text, "Host: h\nx");
    assert_string_equal(b->title, "own");
    assert_int_equal(b->severity, SEVERITY_CRITICAL);
    assert_null(b->key);
    assert_string_equal(b->text, "Host: h\ndrop\nx");
}

static void profile_choices_go_from_test_to_test(void **state)
{
    static const char forms[] =
        HEAD "forms: ( { name = \"a\"; match: { subject: { regex = \"(?<s>.*)\"; }; };\n"
             "set: { severity: ( { of = \"${s}\"; ok = \"fine\"; },\n"
             "                   { of = \"${header:X}\"; critical: { not: { glob = \"*\"; }; };\n"
             "                     warning: { regex = \"^W\"; }; }, \"info\" ); }; } );";
    static const struct {
        const char *mail;
        Severity severity;
    } cases[] = {
        { "Subject: FINE\n\n", SEVERITY_OK },
        { "Subject: x\n\n", SEVERITY_CRITICAL },
        { "Subject: x\nX: Wx\n\n", SEVERITY_WARNING },
        { "Subject: x\nX: x\n\n", SEVERITY_INFO },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_record_ Record *record = read_by(state, forms, cases[i].mail);

        assert_int_equal(record->severity, cases[i].severity);
    }
}

static void profile_omitted_lines_leave_one_blank_between_others(void **state)
{
    _cleanup_record_ Record *record = read_by(
        state, HEAD "forms: ( { name = \"f\"; match: { subject = \"a\"; }; omit = \"^x\"; } );",
        "Subject: a\n\nxx\n\n  one\n\nx\nx\n\n\ntwo\n\nx\n");

    assert_string_equal(record->text, "  one\n\ntwo");
}

/* What is written to the log while the mail is read twice. */
static void read_and_listen(void **state, const char *profile, const char *text,
                            char said[static 4096])
{
    int old = dup(STDERR_FILENO), fds[2];
    ssize_t n;

    assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    dup2(fds[1], STDERR_FILENO);
    close(fds[1]);
    for (int i = 0; i < 2; i++) {
        _cleanup_mail_ Mail mail = mail_of_text(text);
        Folder *folder = *state;

        if (i == 0) {
            folder_write(folder, "p/x.conf", profile);
            folder_load(folder, RULE);
        }
        record_free(folder_alert(folder, &mail, NULL));
    }
    dup2(old, STDERR_FILENO);
    close(old);
    n = read(fds[0], said, 4095);
    close(fds[0]);
    said[MAX(n, 0)] = '\0';
}

/* An alert that is not as it should be must not stay a riddle. */
static void profile_regex_that_gives_up_is_told_once(void **state)
{
    static const char mail[] = "Subject: a\n\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\n";
    char said[4096];

    read_and_listen(state,
                    HEAD "forms: ( { name = \"f\"; match: { subject = \"a\"; };"
                         "omit = \"^(a+)+$\"; } );",
                    mail, said);
    assert_string_equal(said,
                        "warning: profile \"x\": a regex of form \"f\" in omit reached its limits "
                        "with a mail, and counts as not matching; make it simpler\n");
    read_and_listen(state,
                    HEAD "forms: ( { name = \"f\"; match: { subject = \"a\"; };"
                         "set: { severity: { of = \"${body}\"; ok = { regex = \"^(a+)+$\"; };"
                         " default = \"critical\"; }; }; } );",
                    mail, said);
    assert_string_equal(said,
                        "warning: profile \"x\": a regex of form \"f\" in match or set reached "
                        "its limits with a mail, and counts as not matching; make it simpler\n");
}

/* No template of a profile can name groups by numbers: they take no room from those with names. */
static void profile_takes_long_values_by_name_alone(void **state)
{
    static char mail[65000] = "Subject: a\n\n";
    _cleanup_record_ Record *record = NULL;

    memset(mail + strlen(mail), 'x', 60000);
    record = read_by(state,
                     HEAD "forms: ( { name = \"f\"; match: { body: { regex = \"(?<a>.+)\"; }; };\n"
                          "read: ( { in = \"body\"; regex = \"(?<b>.+)\"; },\n"
                          "        { in = \"body\"; regex = \"(?<c>.+)\"; },\n"
                          "        { in = \"body\"; regex = \"(?<d>.+)\"; } );\n"
                          "set: { title = \"${a:+a}${b:+b}${c:+c}${d:+d}\"; }; } );",
                     mail);
    assert_string_equal(record->title, "abcd");
}

static void profile_text_that_is_empty_is_said_to_be_none(void **state)
{
    _cleanup_record_ Record *record = read_by(
        state,
        HEAD "forms: ( { name = \"f\"; match: { subject = \"a\"; }; set: { title = \"T\"; text = "
             "\"${header:X}\"; }; } );",
        "Subject: a\n\nbody");

    assert_string_equal(record->title, "T");
    assert_string_equal(record->text, "(no text)");
}

static void profile_long_keys_stay_different(void **state)
{
    static const char forms[] =
        HEAD "forms: ( { name = \"f\"; match: { subject: { glob = \"*\"; }; };\n"
             "set: { key = \"k/${subject}\"; }; } );";
    char one[600], other[600];
    _cleanup_record_ Record *a = NULL, *b = NULL, *again = NULL;

    snprintf(one, sizeof(one), "Subject: %0400d1\n\n", 0);
    snprintf(other, sizeof(other), "Subject: %0400d2\n\n", 0);
    a = read_by(state, forms, one);
    b = read_by(state, forms, other);
    again = read_by(state, forms, one);
    assert_true(strlen(a->key) <= RECORD_KEY_MAX && strlen(a->key) > 200);
    assert_memory_equal(a->key, "k/0000", 6);
    assert_string_not_equal(a->key, b->key);
    assert_string_equal(a->key, again->key);
}

static void profile_of_many_large_fields_fits_a_frame(void **state)
{
    _cleanup_free_ char *profile = NULL, *mail = NULL, *json = NULL;
    _cleanup_record_ Record *record = NULL;
    size_t size;
    FILE *stream = open_memstream(&profile, &size);

    fprintf(stream, HEAD "forms: ( { name = \"f\"; match: { subject: { glob = \"*\"; }; };\n"
                         "set: { key = \"${subject}\"; fields: {");
    for (int i = 0; i < SET_FIELDS_MAX; i++)
        fprintf(stream, " field%d = \"${subject}\";", i);
    fprintf(stream, "}; }; } );");
    fclose(stream);
    stream = open_memstream(&mail, &size);
    fprintf(stream, "Subject: ");
    for (int i = 0; i < 3000; i++)
        fputc('"', stream);
    fprintf(stream, "\n\n");
    for (int i = 0; i < 60000; i++)
        fputs("\"\n", stream);
    fclose(stream);

    record = read_by(state, profile, mail);
    assert_int_equal(record_write(record, &json, &size), 0);
    assert_int_equal(strlen(record_field(record, "field0")), 256 + strlen("…"));
}

static void profile_errors_tell_the_place_and_what_is_allowed(void **state)
{
    assert_refused(
        state, "name = \"plain\"; about = \"\"; forms: ( );",
        "p/x.conf: \"recognised\" is missing\n"
        "p/x.conf:1: name: \"plain\" is no name; allowed are 1 to 64 of A-Z a-z 0-9 . _ - "
        "but neither \"auto\" nor \"plain\"\n"
        "p/x.conf:1: about: must not be empty\n"
        "p/x.conf:1: forms: has 0 entries; at least 1 must be there\n");
    assert_refused(
        state,
        HEAD "forms: ( { name = \"f\"; match: { subjcet = \"a\"; };\n"
             "set: { severity = \"bad\"; state: { problem = \"x\"; okay = \"y\"; };\n"
             "key = \"$\"; fields: { Host = \"x\"; from = \"y\"; };\n"
             "}; omit = \"(\"; } );",
        "p/x.conf:2: unknown key \"subjcet\" in forms[0].match; did you mean \"subject\"?\n"
        "p/x.conf:3: forms[0].set.severity: \"bad\" is not allowed; allowed are \"ok\", "
        "\"info\", \"warning\" and \"critical\"\n"
        "p/x.conf:3: unknown key \"okay\" in forms[0].set.state; known are \"of\", "
        "\"problem\", \"recovery\", \"event\" and \"default\"\n"
        "p/x.conf:3: forms[0].set.state: \"of\" is missing, the template that is compared\n"
        "p/x.conf:4: forms[0].set.key: \"$\" begins with a lone dollar sign; write $$ for "
        "one, or ${name}\n"
        "p/x.conf:4: forms[0].set.fields.Host: \"Host\" is no name of a field; allowed are "
        "1 to 32 of a-z 0-9 _\n"
        "p/x.conf:4: forms[0].set.fields.from: \"from\" is the name of something else; call "
        "the field otherwise\n"
        "p/x.conf:5: forms[0].omit: \"(\" is no regular expression: missing closing "
        "parenthesis, at offset 1\n");
}

#define OF_MAIL                                                                                    \
    "of every mail subject, body, from, from_address, from_name, from_domain, to, envelope_from, " \
    "date, client, client_name, helo, queue_id, message_id, header:NAME, macro:NAME\n"

static void profile_names_that_nothing_takes_are_refused(void **state)
{
    assert_refused(
        state,
        HEAD "set: { title = \"${one} ${two} ${three}\"; };\n"
             "forms: ( { name = \"a\"; match: { subject: { regex = \"(?<one>1)\"; }; };\n"
             "set: { key = \"${two}\";\n"
             "state: { of = \"${3}\"; event = \"x\"; };\n"
             "fields: { f = \"${header:X}${title}\"; };\n"
             "facts = \"g\"; }; },\n"
             "{ name = \"b\"; match: { subject: { regex = \"(?<to>t)\"; }; };\n"
             "read: ( { in = \"one\"; regex = \"(?<two>2)\"; },\n"
             "{ in = \"body\"; regex = \"x\"; } ); } );",
        "p/x.conf:2: set.title: \"three\" is no variable here; there are one, to, two; " OF_MAIL
        "p/x.conf:4: forms[0].set.key: \"two\" is no variable here (did you mean \"to\"?); there are "
        "one; " OF_MAIL
        "p/x.conf:5: forms[0].set.state.of: \"3\" is no variable here; there are one; " OF_MAIL
        "p/x.conf:6: forms[0].set.fields.f: \"title\" is no variable here; there are one; " OF_MAIL
        "p/x.conf:7: forms[0].set.facts: \"g\" is no field; \"fields\" must have it\n"
        "p/x.conf:8: forms[1].match: a group can't be called \"to\", which is the name of "
        "something else; call it otherwise\n"
        "p/x.conf:9: forms[1].read[0].in: \"one\" is no variable here; there are to, two; " OF_MAIL
        "p/x.conf:10: forms[1].read[1]: the regex takes nothing; it needs a named group, "
        "such as (?<host>\\S+)\n");
}

/* Regexes that each take all the steps they can get, on a mail made for that. */
static void profile_hostile_mail_costs_no_more_with_many_regexes(void **state)
{
    _cleanup_free_ char *profile = NULL, *mail = NULL;
    _cleanup_record_ Record *record = NULL;
    usec_t began, took;
    size_t size;
    FILE *stream = open_memstream(&profile, &size);

    fprintf(stream, HEAD "forms: ( { name = \"f\"; match: { subject = \"a\"; };\nread: (");
    for (int i = 0; i < READINGS_MAX; i++)
        fprintf(stream, "%s{ in = \"body\"; regex = \"(?<v%d>(a+)+[bc]d)\"; }", i > 0 ? ",\n" : "",
                i);
    fprintf(stream, "); } );");
    fclose(stream);
    stream = open_memstream(&mail, &size);
    fprintf(stream, "Subject: a\n\n");
    for (int i = 0; i < 60000; i++)
        fputc('a', stream);
    fputs("xd", stream);
    fclose(stream);

    began = now_usec(CLOCK_MONOTONIC);
    record = read_by(state, profile, mail);
    took = now_usec(CLOCK_MONOTONIC) - began;
    /* With the sanitizers, ten times what it takes without. */
    assert_true(took < 30 * USEC_PER_SEC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_set_up, folder_tear_down)
        TEST(profile_reads_a_mail_into_all_of_a_record),
        TEST(profile_first_form_that_matches_is_the_one),
        TEST(profile_groups_below_not_take_nothing),
        TEST(profile_forms_have_what_is_set_for_all),
        TEST(profile_choices_go_from_test_to_test),
        TEST(profile_omitted_lines_leave_one_blank_between_others),
        TEST(profile_regex_that_gives_up_is_told_once),
        TEST(profile_takes_long_values_by_name_alone),
        TEST(profile_text_that_is_empty_is_said_to_be_none),
        TEST(profile_long_keys_stay_different),
        TEST(profile_of_many_large_fields_fits_a_frame),
        TEST(profile_errors_tell_the_place_and_what_is_allowed),
        TEST(profile_names_that_nothing_takes_are_refused),
        TEST(profile_hostile_mail_costs_no_more_with_many_regexes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
