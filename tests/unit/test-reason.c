/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "xmpprelay/reason.h"

static Account account = {
    .name = (char *)"main",
    .jid = (char *)"bot@example.org",
    .password_file = (char *)"/etc/password",
    .host = (char *)"",
    .ca_file = (char *)"",
};

static void check(const ReasonNotes *notes, EndCause cause, const char *containing)
{
    char reason[LINK_REASON_MAX];
    EndCause got;

    reason_of_end(notes, &account, "example.org", &got, reason);
    assert_int_equal(got, cause);
    if (!strstr(reason, containing))
        fail_msg("\"%s\" is not in \"%s\"", containing, reason);
}

static void reason_of_password_names_jid_and_setting(void **state)
{
    ReasonNotes notes = {};

    reason_note_log(&notes, "xmpp", "connection successful");
    reason_note_log(&notes, "xmpp",
                    "RECV: <failure xmlns=\"urn:ietf:params:xml:ns:xmpp-sasl\"><not-authorized/>"
                    "<text>no</text></failure>");
    reason_note_log(&notes, "auth", "Cannot authenticate with known methods");
    check(&notes, END_AUTH, "password of bot@example.org; check accounts.password_file");
    account.credential = (char *)"xmpp";
    check(&notes, END_AUTH, "accounts.credential");
    account.credential = NULL;
}

static void reason_of_busy_server_is_no_ones_fault(void **state)
{
    ReasonNotes notes = { .established = true };

    reason_note_log(&notes, "xmpp",
                    "RECV: <failure xmlns=\"x\"><temporary-auth-failure/></failure>");
    check(&notes, END_SERVER_BUSY, "at the moment");
}

static void reason_before_tcp_says_why(void **state)
{
    ReasonNotes notes = { .address = "192.0.2.1:5222" };

    reason_note_log(&notes, "xmpp", "connection failed, error 111");
    check(&notes, END_NETWORK, "at 192.0.2.1:5222: Connection refused");
    reason_note_log(&notes, "xmpp", "Connection attempt timed out.");
    check(&notes, END_NETWORK, "timed out");
}

static void reason_of_certificate_is_believed_before_all_else(void **state)
{
    static const char *const names[] = { "a.example", "b\n.example" };
    ReasonNotes notes = { .established = true,
                          .tls_failed = true,
                          .condition = "policy-violation" };

    reason_note_certificate(&notes, "hostname mismatch", names, 2);
    check(&notes, END_TLS, "hostname mismatch (it is for a.example, b .example)");
}

static void reason_of_policy_is_poison_only_when_online(void **state)
{
    ReasonNotes notes = { .established = true, .online = true, .condition = "policy-violation" };

    check(&notes, END_POISON, "policy");
    notes.online = false;
    check(&notes, END_SERVER_BUSY, "policy");
}

static void reason_of_odd_log_lines_is_bounded(void **state)
{
    static char line[100000];
    ReasonNotes notes = {};

    memset(line, 'a', sizeof(line) - 1);
    memcpy(line, "RECV: <failure><", 16);
    reason_note_log(&notes, "xmpp", line);
    assert_int_equal(strlen(notes.sasl), sizeof(notes.sasl) - 1);
    reason_note_log(&notes, "xmpp", "RECV: <failure");
    reason_note_log(&notes, "xmpp", "RECV: <failure>");
    memcpy(line, "error:", 6);
    reason_note_log(&notes, "tls", line);
    assert_true(strlen(notes.tls_error) < sizeof(notes.tls_error));
}

static void reason_of_garbage_is_said_whoever_notes_it(void **state)
{
    static const char *const lines[][2] = {
        { "xmpp", "parse error [HTTP/1.1 400]" },
        { "conn", "SENT: <stream:error><invalid-xml/></stream:error>" },
    };

    for (size_t i = 0; i < ELEMENTSOF(lines); i++) {
        ReasonNotes notes = {};

        reason_note_log(&notes, "xmpp", "connection successful");
        reason_note_log(&notes, "conn", "SENT: <message><body>&lt;stream:error></body></message>");
        assert_false(notes.parse_error);
        reason_note_log(&notes, lines[i][0], lines[i][1]);
        check(&notes, END_NETWORK, "no XML");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reason_of_password_names_jid_and_setting),
        cmocka_unit_test(reason_of_busy_server_is_no_ones_fault),
        cmocka_unit_test(reason_before_tcp_says_why),
        cmocka_unit_test(reason_of_certificate_is_believed_before_all_else),
        cmocka_unit_test(reason_of_policy_is_poison_only_when_online),
        cmocka_unit_test(reason_of_odd_log_lines_is_bounded),
        cmocka_unit_test(reason_of_garbage_is_said_whoever_notes_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
