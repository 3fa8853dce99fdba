/* SPDX-License-Identifier: MIT */

#include "tests/unit/mails.h"

#include "milterd/guard.h"
#include "milterd/mime.h"

static char bounce_name[] = "bounce", auto_reply_name[] = "auto-reply",
            own_failure_name[] = "own-failure";
static char *all_names[] = { bounce_name, auto_reply_name, own_failure_name, NULL };
static const ConfigStrings all = { all_names, 3 };

/* Which of the guards it is that holds a mail with this envelope's sender back, or "none". */
static const char *guard_of(const ConfigStrings *guards, const char *sender, const char *text)
{
    _cleanup_mail_ Mail mail = mail_of_text(text);
    GuardFinding finding = { "none", "" };

    assert_int_equal(mail_set_envelope_from(&mail, sender), 0);
    for (MailStage stage = 0; stage < _MAIL_STAGE_MAX; stage++) {
        int r = guards_look(guards, &mail, stage, &finding);

        assert_return_code(r, 0);
        assert_true(stage >= MAIL_STAGE_HEADERS || r == 0);
        if (r > 0) {
            assert_true(strlen(finding.why) > 10);
            break;
        }
    }
    return finding.name;
}

#define assert_guard(sender, text, name) assert_string_equal(guard_of(&all, sender, text), name)

/* A report of Postfix, in the three parts that it has, about what a host has said. */
#define POSTFIX_REPORT(subject, from, action, said)                                                \
    "From: " from "\n"                                                                             \
    "Subject: " subject "\n"                                                                       \
    "To: nms@nms.example.org\n"                                                                    \
    "Auto-Submitted: auto-replied\n"                                                               \
    "MIME-Version: 1.0\n"                                                                          \
    "Content-Type: multipart/report; report-type=delivery-status;\n"                               \
    "\tboundary=\"4WXyZ01.1774000000/nms.example.org\"\n"                                          \
    "Message-Id: <20260314092653.4WXyZ01@nms.example.org>\n"                                       \
    "\n"                                                                                           \
    "This is a MIME-encapsulated message.\n"                                                       \
    "\n"                                                                                           \
    "--4WXyZ01.1774000000/nms.example.org\n"                                                       \
    "Content-Description: Notification\n"                                                          \
    "Content-Type: text/plain; charset=us-ascii\n"                                                 \
    "\n"                                                                                           \
    "This is the mail system at host nms.example.org.\n"                                           \
    "\n"                                                                                           \
    "<ops@example.org>: host mx.example.org[192.0.2.25] said: " said "\n"                          \
    "    (in reply to end of DATA command)\n"                                                      \
    "\n"                                                                                           \
    "--4WXyZ01.1774000000/nms.example.org\n"                                                       \
    "Content-Description: Delivery report\n"                                                       \
    "Content-Type: message/delivery-status\n"                                                      \
    "\n"                                                                                           \
    "Reporting-MTA: dns; nms.example.org\n"                                                        \
    "\n"                                                                                           \
    "Final-Recipient: rfc822; ops@example.org\n"                                                   \
    "Action: " action "\n"                                                                         \
    "Diagnostic-Code: smtp; " said "\n"                                                            \
    "\n"                                                                                           \
    "--4WXyZ01.1774000000/nms.example.org\n"                                                       \
    "Content-Description: Undelivered Message\n"                                                   \
    "Content-Type: message/rfc822\n"                                                               \
    "\n"                                                                                           \
    "From: NMS <nms@nms.example.org>\n"                                                            \
    "Subject: ** PROBLEM Service Alert: db1/Disk is CRITICAL **\n"                                 \
    "\n"                                                                                           \
    "DISK CRITICAL\n"                                                                              \
    "\n"                                                                                           \
    "--4WXyZ01.1774000000/nms.example.org--\n"

#define OUR_451_WRAPPED "451 4.7.1 alert relay is not\n    available, try again later"

static const char bounce_of_postfix[] = POSTFIX_REPORT(
    "Undelivered Mail Returned to Sender", "MAILER-DAEMON@nms.example.org (Mail Delivery System)",
    "failed", "550 5.1.1 <ops@example.org>: User unknown");

static const char delay_warning[] = POSTFIX_REPORT(
    "Delayed Mail (still being retried)", "MAILER-DAEMON@nms.example.org (Mail Delivery System)",
    "delayed", OUR_451_WRAPPED);

static const char postmaster_copy[] = POSTFIX_REPORT(
    "Postmaster Warning: Delayed Mail", "Mail Delivery System <MAILER-DAEMON@nms.example.org>",
    "delayed", OUR_451_WRAPPED);

static void guard_bounce_of_postfix_is_one(void **state)
{
    assert_guard("", bounce_of_postfix, "bounce");
    assert_guard("<>", delay_warning, "bounce");
    assert_guard("double-bounce@nms.example.org", postmaster_copy, "bounce");
}

static void guard_bounces_of_other_mtas_are_known(void **state)
{
    /* Sendmail */
    assert_guard("",
                 "From: Mail Delivery Subsystem <MAILER-DAEMON@sm.example.org>\n"
                 "Subject: Returned mail: see transcript for details\n"
                 "MIME-Version: 1.0\n"
                 "Content-Type: multipart/report; report-type=delivery-status;\n"
                 "\tboundary=\"q2E9Qrb2.1774/sm.example.org\"\n"
                 "Auto-Submitted: auto-generated (failure)\n"
                 "\n"
                 "----- The following addresses had permanent fatal errors -----\n",
                 "bounce");
    /* Exchange */
    assert_guard("",
                 "From: <postmaster@corp.example>\n"
                 "Subject: Undeliverable: ** PROBLEM Host Alert: web1 is DOWN **\n"
                 "Content-Type: multipart/report; report-type=\"delivery-status\";\n"
                 "\tboundary=\"x\"\n"
                 "\n"
                 "x\n",
                 "bounce");
    /* Exim, in the manner before it wrote reports for programs */
    assert_guard("",
                 "X-Failed-Recipients: ops@example.org\n"
                 "Auto-Submitted: auto-replied\n"
                 "From: Mail Delivery System <Mailer-Daemon@exim.example.org>\n"
                 "Subject: Mail delivery failed: returning message to sender\n"
                 "\n"
                 "This message was created automatically by mail delivery software.\n",
                 "bounce");
    assert_guard("",
                 "X-Failed-Recipients: ops@example.org\nFrom: Post Office <po@example.org>\n\nx\n",
                 "bounce");
    /* qmail */
    assert_guard("",
                 "From: MAILER-DAEMON@qmail.example.org\n"
                 "Subject: failure notice\n"
                 "\n"
                 "Hi. This is the qmail-send program at qmail.example.org.\n",
                 "bounce");
}

static void guard_answers_of_programs_are_auto_replies(void **state)
{
    /* Sieve and vacation(1) of today */
    assert_guard("erika@example.org",
                 "From: erika@example.org\nSubject: Auto: DISK CRITICAL\n"
                 "Auto-Submitted: auto-replied (vacation)\nIn-Reply-To: <1@nms>\n\nI am away.\n",
                 "auto-reply");
    assert_guard("", "Auto-submitted: AUTO-REPLIED; x=y\n\nx\n", "auto-reply");
    assert_guard("a@b", "X-Autoreply: yes\n\nx\n", "auto-reply");
    assert_guard("a@b", "X-Autorespond: DISK CRITICAL\n\nx\n", "auto-reply");
    assert_guard("a@b", "Precedence: auto_reply\n\nx\n", "auto-reply");
    /* Exchange */
    assert_guard("",
                 "From: Erika <erika@corp.example>\n"
                 "Subject: Automatic reply: ** PROBLEM Host Alert: web1 is DOWN **\n"
                 "In-Reply-To: <1@nms.example.org>\n"
                 "Auto-Submitted: auto-generated\n"
                 "X-Auto-Response-Suppress: All\n"
                 "\n"
                 "I am out of the office.\n",
                 "auto-reply");
    assert_guard("",
                 "Subject: =?utf-8?Q?R=C3=A9ponse_automatique_:_DISK?=\nIn-Reply-To: <1@nms>\n"
                 "\nx\n",
                 "auto-reply");
    /* A receipt */
    assert_guard("erika@example.org",
                 "From: erika@example.org\nSubject: Read: DISK CRITICAL\n"
                 "Content-Type: multipart/report; boundary=b;\n"
                 " report-type=disposition-notification\n\nx\n",
                 "auto-reply");
}

static void guard_own_failure_is_known_by_our_reply(void **state)
{
    static char *names[] = { own_failure_name, NULL };
    static const ConfigStrings own = { names, 1 };
    static const char notice[] =
        "From: MAILER-DAEMON@nms.example.org (Mail Delivery System)\n"
        "To: postmaster@nms.example.org (Postmaster)\n"
        "Subject: Postfix SMTP client: errors from mx.example.org[192.0.2.25]:25\n"
        "\n"
        "Transcript of session follows.\n"
        "\n"
        " In:  220 mx.example.org ESMTP Postfix\n"
        " Out: DATA\n"
        " In:  451 4.7.1 alert relay is not available, try again later\n";
    static const char other_notice[] =
        "From: MAILER-DAEMON@nms.example.org (Mail Delivery System)\n"
        "Subject: Postfix SMTP client: errors from mx.example.org[192.0.2.25]:25\n"
        "\n"
        " In:  451 4.3.0 alert relay, not available\n";

    assert_guard("double-bounce@nms.example.org", notice, "own-failure");
    assert_guard("double-bounce@nms.example.org", other_notice, "none");
    /* Also where bounces become alerts. */
    assert_string_equal(guard_of(&own, "", delay_warning), "own-failure");
    assert_string_equal(guard_of(&own, "double-bounce@nms.example.org", postmaster_copy),
                        "own-failure");
    assert_string_equal(guard_of(&own, "", bounce_of_postfix), "none");
    /* Encoded. */
    assert_string_equal(guard_of(&own, "",
                                 "From: MAILER-DAEMON@x\nContent-Transfer-Encoding: base64\n\n"
                                 "NDUxIDQuNy4xIGFsZXJ0IHJlbGF5IGlzIG5vdCBhdmFpbGFibGUsIHRyeSBh\n"
                                 "Z2FpbiBsYXRlcg==\n"),
                        "own-failure");
    /* What quotes it in the name of a person or a monitoring system is news. */
    assert_guard("root@mx.example.org",
                 "From: logcheck <logcheck@mx.example.org>\nSubject: System Events\n\n"
                 "milter-reject: END-OF-MESSAGE: 4.7.1 alert relay is not available, try again "
                 "later; from=<x>\n",
                 "none");
}

static void guard_alerts_pass(void **state)
{
    static const char *const files[] = { "cron.eml",
                                         "gb2312.eml",
                                         "grafana-html.eml",
                                         "mdadm.eml",
                                         "nagios.eml",
                                         "latin1-unlabelled.eml",
                                         "smartd-multipart.eml" };

    for (size_t i = 0; i < ELEMENTSOF(files); i++) {
        _cleanup_mail_ Mail mail = mail_of_file(files[i]);
        GuardFinding finding;

        assert_int_equal(mail_set_envelope_from(&mail, ""), 0);
        assert_int_equal(guards_look(&all, &mail, MAIL_STAGE_HEADERS, &finding), 0);
        assert_int_equal(guards_look(&all, &mail, MAIL_STAGE_MESSAGE, &finding), 0);
    }
    assert_guard("root@web", "From: root (Cron Daemon)\nAuto-Submitted: auto-generated\n\nx\n",
                 "none");
    assert_guard("a@b", "Auto-Submitted: auto-notified; owner-email=\"a@b\"\n\nx\n", "none");
    assert_guard("a@b", "Auto-Submitted: no\n\nx\n", "none");
    assert_guard("a@b", "X-Autoreply: no\n\nx\n", "none");
    assert_guard("a@b", "X-Auto-Response-Suppress: OOF, AutoReply\nPrecedence: bulk\n\nx\n",
                 "none");
    /* Devices send with the null sender, and tickets are answers. */
    assert_guard("", "From: ups@rack1.example\nSubject: On battery\n\nx\n", "none");
    assert_guard("zabbix@x", "Subject: Resolved: x\nIn-Reply-To: <1@zabbix>\n\nx\n", "none");
    assert_guard("a@b", "Subject: Automatic reply: rule broken\n\nx\n", "none");
    /* A report of abuse is no bounce. */
    assert_guard("abuse@isp.example",
                 "From: abuse@isp.example\n"
                 "Content-Type: multipart/report; report-type=feedback-report; boundary=b\n\nx\n",
                 "none");
    /* A person sends one on. */
    assert_guard("erika@example.org",
                 "From: erika@example.org\nContent-Type: multipart/mixed; boundary=b\n\n"
                 "Content-Type: multipart/report; report-type=delivery-status\n",
                 "none");
}

static void guard_that_is_off_holds_nothing_back(void **state)
{
    static char *names[] = { auto_reply_name, NULL };
    static const ConfigStrings none = {}, replies = { names, 1 };

    assert_string_equal(guard_of(&none, "", delay_warning), "none");
    /* Reports are marked as replies, but are not held back as such. */
    assert_string_equal(guard_of(&replies, "", bounce_of_postfix), "none");
    assert_string_equal(guard_of(&replies, "a@b", "X-Autoreply: yes\n\nx\n"), "auto-reply");
}

static void guard_reads_odd_headers(void **state)
{
    assert_guard("",
                 "Content-Type: MULTIPART/Report;x=\";\" ; Report-Type = \"Delivery-Status\"\n\nx",
                 "bounce");
    assert_guard("", "Content-Type: multipart/report\n\nx", "bounce");
    assert_guard("", "Content-Type: multipart/reporting; report-type=delivery-status\n\nx", "none");
    assert_guard("", "Content-Type: multipart/report; report-type=\n\nx", "none");
    assert_guard("", "Content-Type: multipart/report; report-type=delivery-statuses\n\nx", "none");
    assert_guard("", "Content-Type: ;\nFrom:\nAuto-Submitted:\nX-Autoreply:\n\n", "auto-reply");
    assert_guard("", "From: \"MAILER-DAEMON@x\" <nms@x>, nobody@x\n\nx", "none");
    assert_guard("", "", "none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guard_bounce_of_postfix_is_one),
        cmocka_unit_test(guard_bounces_of_other_mtas_are_known),
        cmocka_unit_test(guard_answers_of_programs_are_auto_replies),
        cmocka_unit_test(guard_own_failure_is_known_by_our_reply),
        cmocka_unit_test(guard_alerts_pass),
        cmocka_unit_test(guard_that_is_off_holds_nothing_back),
        cmocka_unit_test(guard_reads_odd_headers),
    };

    mime_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
