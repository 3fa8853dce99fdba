/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include <stdio.h>

#include "milterd/mail.h"

#define _cleanup_mail_ _cleanup_(mail_done)

static void mail_client_has_one_form(void **state)
{
    _cleanup_mail_ Mail mail = {};

    assert_int_equal(mail_set_client(&mail, "IPv6:2001:DB8:0::1", "host"), 0);
    assert_string_equal(mail.client, "2001:db8::1");
    assert_string_equal(mail.client_name, "host");
    assert_int_equal(mail_set_client(&mail, "::ffff:10.1.2.3", NULL), 0);
    assert_string_equal(mail.client, "10.1.2.3");
    assert_null(mail.client_name);
    assert_int_equal(mail_set_client(&mail, "fe80::1%eth0", NULL), 0);
    assert_string_equal(mail.client, "fe80::1");
    assert_int_equal(mail_set_client(&mail, NULL, NULL), 0);
    assert_null(mail.client);
}

static void mail_envelope_loses_its_brackets(void **state)
{
    _cleanup_mail_ Mail mail = {};

    assert_int_equal(mail_set_envelope_from(&mail, "<a@x>"), 0);
    assert_string_equal(mail.envelope_from, "a@x");
    assert_int_equal(mail_set_envelope_from(&mail, "b@x"), 0);
    assert_string_equal(mail.envelope_from, "b@x");
    assert_int_equal(mail_set_envelope_from(&mail, "<>"), 0);
    assert_string_equal(mail.envelope_from, "");
    for (int i = 0; i < 5; i++)
        assert_int_equal(mail_add_rcpt(&mail, "<r@x>"), 0);
    assert_int_equal(mail.n_rcpts, 5);
    assert_string_equal(mail.rcpts[4], "r@x");
}

static void mail_headers_keep_their_order_and_bytes(void **state)
{
    _cleanup_mail_ Mail mail = {};

    mail_add_header(&mail, "Subject", "=?utf-8?q?=C3=BC?=\n\tx");
    mail_add_header(&mail, "X", "1");
    mail_add_header(&mail, "x", "2");
    assert_string_equal(mail_header(&mail, "SUBJECT"), "=?utf-8?q?=C3=BC?=\n\tx");
    assert_string_equal(mail_header(&mail, "x"), "1");
    assert_null(mail_header(&mail, "Y"));
    assert_string_equal(mail_header_text(&mail.headers[0]), "ü x");
    assert_ptr_equal(mail_header_text(&mail.headers[0]), mail_header_text(&mail.headers[0]));
}

static void mail_headers_that_are_not_encoded_are_as_the_text(void **state)
{
    _cleanup_mail_ Mail mail = {}, other = {};

    mail_add_header(&mail, "Subject", "\xb8\xe6\xbe\xaf =?iso-8859-1?q?=FC?=");
    mail_add_header(&mail, "Content-Type", "text/plain; charset = \"gb2312\"; x=y");
    mail_add_header(&mail, "X-Note", "\xb8\xe6\xbe\xaf");
    mail_add_header(&mail, "X-Other", "f\xc3\xbcr");
    assert_string_equal(mail_header_text(&mail.headers[0]), "告警 ü");
    assert_string_equal(mail_header_text(&mail.headers[2]), "告警");
    assert_string_equal(mail_header_text(&mail.headers[3]), "für");

    mail_add_header(&other, "Content-Type", "text/plain; charset=utf-8");
    mail_add_header(&other, "Subject", "f\xfcr");
    assert_string_equal(mail_header_text(&other.headers[1]), "für");
}

static void mail_past_its_bounds_is_cut_and_says_so(void **state)
{
    _cleanup_mail_ Mail mail = {};
    _cleanup_free_ char *large = malloc(MAIL_HEADERS_MAX_BYTES + 1);

    memset(large, 'x', MAIL_HEADERS_MAX_BYTES);
    large[MAIL_HEADERS_MAX_BYTES] = '\0';
    assert_int_equal(mail_add_header(&mail, "X", large), 0);
    assert_true(mail.truncated);
    assert_int_equal(mail.n_headers, 0);

    mail_reset(&mail);
    assert_false(mail.truncated);
    for (int i = 0; i < MAIL_HEADERS_MAX + 10; i++)
        assert_int_equal(mail_add_header(&mail, "X", "y"), 0);
    assert_int_equal(mail.n_headers, MAIL_HEADERS_MAX);
    assert_true(mail.truncated);

    mail_reset(&mail);
    for (int i = 0; i < MAIL_RCPTS_MAX + 10; i++)
        assert_int_equal(mail_add_rcpt(&mail, "a@x"), 0);
    assert_int_equal(mail.n_rcpts, MAIL_RCPTS_MAX);
    assert_true(mail.truncated);
}

static void mail_subject_is_kept_behind_any_flood(void **state)
{
    _cleanup_(mail_done) Mail mail = {};
    _cleanup_free_ char *large = malloc(MAIL_HEADERS_MAX_BYTES + 1);

    assert_non_null(large);
    memset(large, 'x', MAIL_HEADERS_MAX_BYTES);
    large[MAIL_HEADERS_MAX_BYTES] = '\0';
    for (int i = 0; i < MAIL_HEADERS_MAX + 10; i++)
        assert_int_equal(mail_add_header(&mail, "X", "y"), 0);
    assert_int_equal(mail_add_header(&mail, "subject", "news"), 0);
    assert_int_equal(mail_add_header(&mail, "Subject", "more news"), 0);
    assert_int_equal(mail_add_header(&mail, "From", large), 0);
    assert_int_equal(mail_add_header(&mail, "X-Other", "z"), 0);
    assert_true(mail.truncated);
    assert_int_equal(mail.n_headers, MAIL_HEADERS_MAX + 2);
    assert_string_equal(mail_header(&mail, "Subject"), "news");
    assert_int_equal(strlen(mail_header(&mail, "From")), MAIL_HEADER_KEPT);

    mail_reset(&mail);
    assert_int_equal(mail_add_header(&mail, "Subject", large), 0);
    assert_int_equal(strlen(mail_header(&mail, "Subject")), MAIL_HEADER_KEPT);
}

/* Nobody has such addresses, but anybody who can reach the port can send them. */
static void mail_recipients_of_any_length_are_bounded(void **state)
{
    static char address[65001];
    _cleanup_(mail_done) Mail mail = {};
    size_t bytes = 0;

    memset(address, 'a', sizeof(address) - 1);
    for (size_t i = 0; i < MAIL_RCPTS_MAX; i++)
        assert_int_equal(mail_add_rcpt(&mail, address), 0);
    assert_true(mail.truncated);
    assert_int_equal(mail_add_rcpt(&mail, "b@x"), 0);
    for (size_t i = 0; i < mail.n_rcpts; i++)
        bytes += strlen(mail.rcpts[i]);
    assert_true(mail.n_rcpts > 1 && bytes <= MAIL_RCPTS_MAX_BYTES);
    assert_string_equal(mail.rcpts[mail.n_rcpts - 1], "b@x");
}

static void mail_body_is_kept_up_to_its_bound(void **state)
{
    _cleanup_mail_ Mail mail = {};

    assert_int_equal(mail_add_body(&mail, "", 0, 8), 0);
    assert_int_equal(mail_add_body(&mail, "ab\0c", 4, 8), 0);
    assert_false(mail.truncated);
    assert_int_equal(mail_add_body(&mail, "defgh", 5, 8), 0);
    assert_int_equal(mail_add_body(&mail, "more", 4, 8), 0);
    assert_true(mail.truncated);
    assert_int_equal(mail.body_size, 8);
    assert_int_equal(mail.body_total, 13);
    assert_memory_equal(mail.body, "ab\0cdefg", 8);
}

static void mail_reset_keeps_the_connection_alone(void **state)
{
    _cleanup_mail_ Mail mail = {};

    mail_set_client(&mail, "10.0.0.1", "host");
    mail_set_queue_id(&mail, "4ABC");
    mail_set_envelope_from(&mail, "<a@x>");
    mail_add_rcpt(&mail, "b@x");
    mail_add_header(&mail, "Subject", "x");
    mail_add_body(&mail, "text", 4, 100);
    mail_reset(&mail);
    assert_string_equal(mail.client, "10.0.0.1");
    assert_string_equal(mail.client_name, "host");
    assert_null(mail.queue_id);
    assert_null(mail.envelope_from);
    assert_int_equal(mail.n_rcpts + mail.n_headers + mail.body_size + mail.body_total, 0);
}

static void mail_reset_forgets_macros_of_the_message(void **state)
{
    _cleanup_mail_ Mail mail = {};

    mail_set_helo(&mail, "host");
    assert_int_equal(mail_add_macro(&mail, MAIL_STAGE_MESSAGE, "{a}", "1"), 0);
    assert_int_equal(mail_add_macro(&mail, MAIL_STAGE_CONNECT, "j", "2"), 0);
    assert_int_equal(mail_add_macro(&mail, MAIL_STAGE_MAIL, "{b}", "3"), 0);
    assert_int_equal(mail_add_macro(&mail, MAIL_STAGE_MAIL, "{b}", "4"), 0);
    assert_int_equal(mail_add_macro(&mail, MAIL_STAGE_MAIL, "{c}", NULL), 0);
    assert_int_equal(mail_add_macro(&mail, MAIL_STAGE_MAIL, "{c}", ""), 0);
    assert_int_equal(mail.n_macros, 3);
    assert_string_equal(mail_macro(&mail, "{b}"), "4");

    mail_reset(&mail);
    assert_int_equal(mail.n_macros, 1);
    assert_string_equal(mail_macro(&mail, "j"), "2");
    assert_null(mail_macro(&mail, "{b}"));
    assert_string_equal(mail.helo, "host");
}

static void mail_macros_are_kept_up_to_their_bound(void **state)
{
    _cleanup_mail_ Mail mail = {};
    char name[32];

    for (int i = 0; i < MAIL_MACROS_MAX + 5; i++) {
        snprintf(name, sizeof(name), "{m%d}", i);
        assert_int_equal(mail_add_macro(&mail, MAIL_STAGE_MAIL, name, "x"), 0);
    }
    assert_int_equal(mail.n_macros, MAIL_MACROS_MAX);
    assert_true(mail.truncated);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mail_client_has_one_form),
        cmocka_unit_test(mail_envelope_loses_its_brackets),
        cmocka_unit_test(mail_headers_keep_their_order_and_bytes),
        cmocka_unit_test(mail_headers_that_are_not_encoded_are_as_the_text),
        cmocka_unit_test(mail_past_its_bounds_is_cut_and_says_so),
        cmocka_unit_test(mail_subject_is_kept_behind_any_flood),
        cmocka_unit_test(mail_recipients_of_any_length_are_bounded),
        cmocka_unit_test(mail_body_is_kept_up_to_its_bound),
        cmocka_unit_test(mail_reset_keeps_the_connection_alone),
        cmocka_unit_test(mail_reset_forgets_macros_of_the_message),
        cmocka_unit_test(mail_macros_are_kept_up_to_their_bound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
