/* SPDX-License-Identifier: MIT */

#include "tests/unit/mails.h"

#include "common/text.h"
#include "milterd/alert.h"
#include "milterd/mime.h"

/* 2026-11-21 06:12:43 UTC, the Date of most of the mails, and ten minutes later. */
#define SENT (1795241563 * USEC_PER_SEC)
#define NOW (SENT + 600 * USEC_PER_SEC)

static char *destinations[] = { (char[]){ "ops" }, (char[]){ "night-shift" }, NULL };

static const AlertSettings settings;

static const Rule rule = {
    .name = (char[]){ "nagios" },
    .to = { destinations, 2 },
    .max_lines = 20,
    .max_bytes = 4096,
};

static Record *alert_at(Mail mail, const Rule *of, usec_t now)
{
    Record *record = NULL;
    _cleanup_free_ char *json = NULL;
    size_t size;

    assert_int_equal(alert_from_mail(&settings, &mail, of, now, NULL, &record), 0);
    mail_done(&mail);
    assert_true(record_id_is_valid(record->id));
    assert_true(record->text[0] != '\0');
    assert_true(text_is_clean(record->text, strlen(record->text)));
    assert_true(text_is_clean(record->title, strlen(record->title)));
    assert_int_equal(record_write(record, &json, &size), 0);
    return record;
}

static Record *alert(const char *mail)
{
    return alert_at(mail_of_text(mail), &rule, NOW);
}

static void alert_of_nagios_says_what_it_said(void **state)
{
    Mail mail = mail_of_file("nagios.eml");
    _cleanup_record_ Record *record = NULL;

    mail_set_queue_id(&mail, "4XyZ1A2B3C");
    mail_set_client(&mail, "192.0.2.10", NULL);
    record = alert_at(mail, &rule, NOW);
    assert_string_equal(record->title, "** PROBLEM Service Alert: web1/HTTP is CRITICAL **");
    assert_string_equal(record->text,
                        "***** Nagios *****\n\nNotification Type: PROBLEM\n\nService: HTTP\n"
                        "Host: web1\nAddress: 192.0.2.80\nState: CRITICAL\n\n"
                        "Date/Time: Sat Nov 21 06:12:43 UTC 2026\n\nAdditional Info:\n\n"
                        "connect to address 192.0.2.80 and port 80: Connection refused");
    assert_int_equal(record->time_usec, SENT);
    assert_string_equal(record->source, "milterd");
    assert_int_equal(record->n_to, 2);
    assert_string_equal(record->to[1], "night-shift");
    assert_string_equal(record_field(record, "rule"), "nagios");
    assert_string_equal(record_field(record, "queue_id"), "4XyZ1A2B3C");
    assert_string_equal(record_field(record, "client"), "192.0.2.10");
    assert_string_equal(record_field(record, "from"),
                        "nagios@nms.example.org (Nagios Process Owner)");
    assert_string_equal(record_field(record, "message_id"),
                        "<20261121061243.9F1C22E0B7@nms.example.org>");
}

static void alert_titles_are_decoded(void **state)
{
    _cleanup_record_ Record *grafana = alert_at(mail_of_file("grafana-html.eml"), &rule, NOW),
                            *gb2312 = alert_at(mail_of_file("gb2312.eml"), &rule, NOW),
                            *latin1 = alert_at(mail_of_file("latin1-unlabelled.eml"), &rule, NOW);

    assert_string_equal(grafana->title, "[FIRING:1] DiskAlmostFull – db1");
    assert_string_equal(gb2312->title, "故障: 磁盘空间不足 囧");
    assert_string_equal(latin1->title, "USV: Batterie schwach, noch für 5 Minuten");
}

static void alert_without_subject_has_a_title_all_the_same(void **state)
{
    _cleanup_record_ Record *from = alert("From: NMS <a@x>\nSubject: \n\nx"), *none = alert("\nx");
    _cleanup_record_ Record *by_envelope = NULL;
    Mail mail = mail_of_text("\nx");

    mail_set_envelope_from(&mail, "<b@x>");
    by_envelope = alert_at(mail, &rule, NOW);
    assert_string_equal(from->title, "Mail from NMS <a@x>");
    assert_string_equal(none->title, "Mail without a subject");
    assert_string_equal(by_envelope->title, "Mail from b@x");
}

static void alert_text_is_never_empty(void **state)
{
    _cleanup_record_ Record *record = alert("Subject: x\n\n \n\n");

    assert_string_equal(record->text, "(no text)");
}

static void assert_same_id(const char *one, const char *other, bool same)
{
    _cleanup_record_ Record *a = alert(one),
                            *b = alert_at(mail_of_text(other), &rule, NOW + USEC_PER_SEC);

    assert_int_equal(streq(a->id, b->id), same);
}

static void alert_tried_again_has_the_same_id(void **state)
{
    Mail first = mail_of_file("nagios.eml"), second = mail_of_file("nagios.eml");
    _cleanup_record_ Record *a = NULL, *b = NULL;

    mail_set_queue_id(&first, "A");
    mail_set_queue_id(&second, "B");
    mail_add_header(&second, "Received", "from somewhere else");
    a = alert_at(first, &rule, NOW);
    b = alert_at(second, &rule, NOW + 3600 * USEC_PER_SEC);
    assert_string_equal(a->id, b->id);
    assert_int_equal(strlen(a->id), 32);

    assert_same_id("Message-ID: <1>\nSubject: a b\n\nx", "Message-ID:\n\t<1>\nSubject: a\n b\n\nx",
                   true);
    assert_same_id("Message-ID: <1>\nDate: a\n\nx", "Message-ID: <1>\nDate: b\n\nx", true);
    assert_same_id("Date: Sat, 21 Nov 2026 06:12:43 +0000\n\nx",
                   "Date: Sat, 21 Nov 2026 06:12:43 +0000\n\nx", true);
}

static void alert_of_another_mail_has_another_id(void **state)
{
    Rule other = rule;
    _cleanup_record_ Record *a = alert("Message-ID: <1>\n\nx"), *b = NULL;

    other.name = (char[]){ "cron" };
    b = alert_at(mail_of_text("Message-ID: <1>\n\nx"), &other, NOW);
    assert_string_not_equal(a->id, b->id);

    assert_same_id("Message-ID: <1>\n\nx", "Message-ID: <2>\n\nx", false);
    assert_same_id("Date: a\n\nx", "Date: b\n\nx", false);
    assert_same_id("Message-ID: <1>\n\nx", "Message-ID: <1>\n\ny", false);
    assert_same_id("Message-ID: <1>\nSubject: a\n\nx", "Message-ID: <1>\nSubject: b\n\nx", false);
    assert_same_id("Message-ID: <1>\nFrom: ab\nSubject: c\n\nx",
                   "Message-ID: <1>\nFrom: a\nSubject: bc\n\nx", false);
}

/* As it is when it comes first, under the queue id of "one", and when it is tried again. */
static void assert_same_id_by_mta(const char *one, const char *other, bool submitted, bool same)
{
    Mail first = mail_of_text(one), second = mail_of_text(other);
    _cleanup_record_ Record *a = NULL, *b = NULL;

    first.submitted = second.submitted = submitted;
    mail_set_queue_id(&first, "9B249A7CC07");
    mail_set_queue_id(&second, "23E31A7CC23");
    a = alert_at(first, &rule, NOW);
    b = alert_at(second, &rule, NOW + 60 * USEC_PER_SEC);
    assert_int_equal(streq(a->id, b->id), same);
}

#define DATE "Date: Sat, 21 Nov 2026 06:12:43 +0000\n"
#define LATER "Date: Sat, 21 Nov 2026 06:13:43 +0000\n"
#define ID_1 "Message-Id: <20261121061243.9B249A7CC07@mx>\n"
#define ID_2 "Message-Id: <20261121061343.23E31A7CC23@mx>\n"

static void alert_is_not_known_by_what_the_mta_makes_anew(void **state)
{
    for (int submitted = 0; submitted < 2; submitted++) {
        assert_same_id_by_mta("Subject: a\n" DATE ID_1 "\nx", "Subject: a\n" DATE ID_2 "\nx",
                              submitted, true);
        assert_same_id_by_mta("Subject: a\n" DATE ID_1 "\nx", "Subject: a\n" LATER ID_2 "\nx",
                              submitted, false);
        assert_same_id_by_mta("Subject: a\n" DATE ID_1 "\nx", "Subject: b\n" DATE ID_2 "\nx",
                              submitted, false);
        assert_same_id_by_mta("Subject: a\n" DATE ID_1 "\nx", "Subject: a\n" DATE ID_1 "\nx",
                              submitted, false);
        /* The Date is made, too: that of the submission, or that of each attempt. */
        assert_same_id_by_mta("Subject: a\n" ID_1 DATE "\nx", "Subject: a\n" ID_2 DATE "\nx",
                              submitted, submitted);
        /* Others' ids, though they look the same, are theirs. */
        assert_same_id_by_mta("Subject: a\n" DATE ID_2 "\nx", "Subject: a\n" DATE ID_1 "\nx",
                              submitted, false);
        assert_same_id_by_mta(ID_2 "Subject: a\n\nx", "Message-Id: <9B249A7CC07>\nSubject: a\n\nx",
                              submitted, false);
    }
}

static void alert_without_message_id_and_date_is_told_each_time(void **state)
{
    assert_same_id("From: a@x\nSubject: x\n\nx", "From: a@x\nSubject: x\n\nx", false);
    assert_same_id("Message-ID: \nSubject: x\n\nx", "Message-ID: \nSubject: x\n\nx", false);
}

/* Text of so many lines of so many letters, in a mail; the caller frees it. */
static char *mail_with_lines(unsigned lines, unsigned letters)
{
    char *mail = malloc(64 + (size_t)lines * (letters + 1)), *at = stpcpy(mail, "Subject: x\n\n");

    for (unsigned i = 0; i < lines; i++) {
        memset(at, 'a' + (int)(i % 26), letters);
        at += letters;
        *at++ = '\n';
    }
    *at = '\0';
    return mail;
}

static void alert_text_past_its_lines_says_how_many_more(void **state)
{
    _cleanup_free_ char *exact = mail_with_lines(20, 1), *one = mail_with_lines(21, 1),
                        *many = mail_with_lines(234, 1);
    _cleanup_record_ Record *a = alert(exact), *b = alert(one), *c = alert(many);

    assert_null(strstr(a->text, "more"));
    assert_string_equal(strrchr(a->text, '\n'), "\nt");
    assert_string_equal(strstr(b->text, "\nt") + 2, "\n… 1 more line");
    assert_string_equal(strstr(c->text, "\nt") + 2, "\n… 214 more lines");
}

static void alert_text_past_its_bytes_is_cut_at_a_line(void **state)
{
    _cleanup_free_ char *lines = mail_with_lines(10, 600), *line = mail_with_lines(1, 5000),
                        *second = NULL;
    _cleanup_record_ Record *a = alert(lines), *b = alert(line), *c = NULL;

    assert_true(strlen(a->text) <= 4096);
    assert_int_equal(strlen(a->text), 6 * 601 - 1 + strlen("\n… 4 more lines"));
    assert_string_equal(strstr(a->text, "\n…"), "\n… 4 more lines");

    assert_true(strlen(b->text) <= 4096 && strlen(b->text) > 4000);
    assert_string_equal(strrchr(b->text, ' '), " …");

    assert_true(asprintf(&second, "%s\nfoot", line) > 0);
    c = alert(second);
    assert_non_null(strstr(c->text, "a …\n… 2 more lines"));
}

static void alert_cut_falls_between_characters(void **state)
{
    Rule small = rule;
    char mail[2048] = "Subject: x\n\n";
    _cleanup_record_ Record *record = NULL;

    small.max_bytes = 256;
    for (int i = 0; i < 300; i++)
        strcat(mail, "€");
    record = alert_at(mail_of_text(mail), &small, NOW);
    assert_true(strlen(record->text) <= 256);
}

static void alert_of_quotes_and_line_ends_fits_a_frame(void **state)
{
    Rule large = rule;
    char *mail = malloc(200000), *at = stpcpy(mail, "Subject: ");
    _cleanup_record_ Record *record = NULL;

    large.max_lines = 1000;
    large.max_bytes = 49152;
    for (int i = 0; i < 2000; i++)
        at = stpcpy(at, "\"\\");
    at = stpcpy(at, "\nFrom: ");
    for (int i = 0; i < 2000; i++)
        at = stpcpy(at, "\"\\");
    at = stpcpy(at, "\n\n");
    for (int i = 0; i < 50000; i++)
        at = stpcpy(at, "\"\\");
    record = alert_at(mail_of_text(mail), &large, NOW); /* looks at what record_write() says */
    assert_true(strlen(record->text) > 25000);
    free(mail);
}

static void alert_time_is_a_date_that_can_be_believed(void **state)
{
    static const struct {
        const char *mail;
        usec_t time;
    } cases[] = {
        { "Date: Sat, 21 Nov 2026 06:12:43 +0000\n\nx", SENT },
        { "Date: Sat, 21 Nov 2026 07:12:43 +0100 (CET)\n\nx", SENT },
        { "Date: Sun, 15 Nov 2026 06:12:43 +0000\n\nx", SENT - 6 * 86400 * USEC_PER_SEC },
        { "Date: Fri, 13 Nov 2026 06:12:43 +0000\n\nx", NOW },
        { "Date: Sat, 21 Nov 2026 07:12:43 +0000\n\nx", NOW },
        { "Date: Thu, 01 Jan 1970 00:00:00 +0000\n\nx", NOW },
        { "Date: yesterday\n\nx", NOW },
        { "\nx", NOW },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_record_ Record *record = alert(cases[i].mail);

        assert_int_equal(record->time_usec, cases[i].time);
    }
}

static void alert_of_hostile_header_is_clean_and_short(void **state)
{
    Mail mail = mail_of_text("Subject: \x1b[2J=?utf-8?q?a=00=0Ab=1B=E2=80?=\n\nx");
    _cleanup_free_ char *large = malloc(200001);
    _cleanup_record_ Record *record = NULL, *long_title = NULL;

    mail_set_queue_id(&mail, "\xff\n");
    record = alert_at(mail, &rule, NOW);
    assert_string_equal(record->title, "[2Ja b\xef\xbf\xbd");

    memset(large, 'x', 200000);
    large[200000] = '\0';
    mail = (Mail){};
    mail_add_header(&mail, "Subject", large);
    mail_add_header(&mail, "Date", large);
    long_title = alert_at(mail, &rule, NOW);
    assert_true(strlen(long_title->title) < 600);
}

static void alert_of_a_cut_body_says_so(void **state)
{
    Mail mail = {};
    _cleanup_record_ Record *record = NULL;

    mail_add_body(&mail, "first\nsecond", 12, 5);
    record = alert_at(mail, &rule, NOW);
    assert_string_equal(record->text, "first\n… and more");
}

static void alert_shows_no_secrets_and_keeps_its_id(void **state)
{
    static const char text[] = "From: \"token=8d1f0c\" <nms@x>\n"
                               "Subject: backup of https://bob:hunter2@db1/ failed\n"
                               "Message-ID: <1@x>\n"
                               "\n"
                               "export PGPASSWORD=hunter2\n";
    _cleanup_(redaction_freep) Redaction *redaction = NULL;
    _cleanup_(alert_notes_done) AlertNotes notes = {}, brief = { .brief = true };
    _cleanup_record_ Record *plain = alert(text), *hidden = NULL, *again = NULL;
    Mail mail = mail_of_text(text);

    assert_int_equal(redaction_new(NULL, &redaction), 0);
    assert_int_equal(alert_from_mail(&(AlertSettings){ .redaction = redaction }, &mail, &rule, NOW,
                                     &notes, &hidden),
                     0);
    assert_int_equal(alert_from_mail(&(AlertSettings){ .redaction = redaction }, &mail, &rule, NOW,
                                     &brief, &again),
                     0);
    mail_done(&mail);
    assert_string_equal(hidden->title, "backup of https://bob:[redacted]@db1/ failed");
    assert_string_equal(hidden->text, "export PGPASSWORD=[redacted]");
    assert_null(strstr(record_field(hidden, "from"), "8d1f0c"));
    assert_string_equal(hidden->id, plain->id);
    assert_string_equal(notes.redacted, "url-credentials: 1 in title\n"
                                        "password: 1 in text\n"
                                        "password: 1 in from\n");
    assert_int_equal(notes.n_redacted, 3);
    assert_int_equal(brief.n_redacted, 3);
    assert_null(brief.redacted);
    assert_null(brief.why);
}

static void alert_cut_leaves_no_part_of_a_secret(void **state)
{
    _cleanup_(redaction_freep) Redaction *redaction = NULL;

    assert_int_equal(redaction_new(NULL, &redaction), 0);
    /* The token moves over all the places at which title and text are cut. */
    for (int n = 0; n < 60; n++) {
        _cleanup_record_ Record *record = NULL;
        char text[8192];
        Mail mail;

        snprintf(text, sizeof(text),
                 "Subject: %0*d %s\n\n%0*d\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\n", 470 + n, 0,
                 "ghp_16C7e42F292c6912E7710c838347Ae178B4a", 3900 + 4 * n, 0);
        mail = mail_of_text(text);
        assert_int_equal(alert_from_mail(&(AlertSettings){ .redaction = redaction }, &mail, &rule,
                                         NOW, NULL, &record),
                         0);
        mail_done(&mail);
        assert_null(strstr(record->title, "ghp"));
        assert_null(strstr(record->text, "MII"));
        assert_null(strstr(record->text, "BEGIN"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alert_of_nagios_says_what_it_said),
        cmocka_unit_test(alert_titles_are_decoded),
        cmocka_unit_test(alert_without_subject_has_a_title_all_the_same),
        cmocka_unit_test(alert_text_is_never_empty),
        cmocka_unit_test(alert_tried_again_has_the_same_id),
        cmocka_unit_test(alert_of_another_mail_has_another_id),
        cmocka_unit_test(alert_is_not_known_by_what_the_mta_makes_anew),
        cmocka_unit_test(alert_without_message_id_and_date_is_told_each_time),
        cmocka_unit_test(alert_text_past_its_lines_says_how_many_more),
        cmocka_unit_test(alert_text_past_its_bytes_is_cut_at_a_line),
        cmocka_unit_test(alert_cut_falls_between_characters),
        cmocka_unit_test(alert_of_quotes_and_line_ends_fits_a_frame),
        cmocka_unit_test(alert_time_is_a_date_that_can_be_believed),
        cmocka_unit_test(alert_of_hostile_header_is_clean_and_short),
        cmocka_unit_test(alert_of_a_cut_body_says_so),
        cmocka_unit_test(alert_shows_no_secrets_and_keeps_its_id),
        cmocka_unit_test(alert_cut_leaves_no_part_of_a_secret),
    };

    mime_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
