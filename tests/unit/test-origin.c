/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "milterd/origin.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "milterd/macro.h"

typedef union Address {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
} Address;

static Address address_of(const char *text, uint16_t port)
{
    Address address = {};

    if (inet_pton(AF_INET, text, &address.in.sin_addr) == 1) {
        address.in.sin_family = AF_INET;
        address.in.sin_port = htons(port);
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &address.in6.sin6_addr), 1);
        address.in6.sin6_family = AF_INET6;
        address.in6.sin6_port = htons(port);
    }
    return address;
}

static bool is_local(const char *name, const Address *address, const char *resolved, bool asked)
{
    Mail mail = {};
    bool local;

    mail_add_macro(&mail, MAIL_STAGE_CONNECT, MACRO_RESOLVED, resolved);
    assert_int_equal(origin_set(&mail, name, address ? &address->any : NULL, asked), 0);
    local = mail.local;
    mail_done(&mail);
    return local;
}

static void origin_submitted_mail_is_local(void **state)
{
    Address postfix = address_of("127.0.0.1", 0), postfix6 = address_of("::1", 0);

    assert_true(is_local("localhost", &postfix, NULL, true));
    assert_true(is_local("localhost", &postfix6, NULL, true));
    assert_true(is_local("localhost", NULL, NULL, true)); /* sendmail -bs */
}

static void origin_smtp_over_loopback_is_not_local(void **state)
{
    Address client = address_of("127.0.0.1", 40000), portless = address_of("127.0.0.1", 0);

    assert_false(is_local("localhost", &client, "OK", true));
    assert_false(is_local("localhost", &client, NULL, true));
    /* Through a proxy, or a server on a UNIX socket. */
    assert_false(is_local("localhost", &portless, "OK", true));
    assert_false(is_local("localhost", &portless, "FAIL", true));
    assert_false(is_local("localhost", NULL, "OK", true));
}

static void origin_of_another_host_is_not_local(void **state)
{
    Address client = address_of("192.0.2.7", 0), client6 = address_of("2001:db8::1", 0);
    Address named = address_of("127.0.0.1", 0), path = { .un = { AF_UNIX, "/x" } };

    assert_false(is_local("localhost", &client, NULL, true));
    assert_false(is_local("localhost", &client6, NULL, true));
    assert_false(is_local("localhost", &path, NULL, true));
    assert_false(is_local("localhost.evil.example", &named, NULL, true));
    assert_false(is_local("unknown", NULL, NULL, true));
}

static void origin_is_not_local_where_the_mta_was_not_asked(void **state)
{
    Address postfix = address_of("127.0.0.1", 0);

    assert_false(is_local("localhost", &postfix, NULL, false));
}

static void origin_sets_the_client(void **state)
{
    Address mapped = address_of("::ffff:192.0.2.7", 25);
    Mail mail = {};

    assert_int_equal(origin_set(&mail, "nms.example", &mapped.any, true), 0);
    assert_string_equal(mail.client, "192.0.2.7");
    assert_string_equal(mail.client_name, "nms.example");
    assert_int_equal(origin_set(&mail, "localhost", NULL, true), 0);
    assert_null(mail.client);
    mail_done(&mail);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(origin_submitted_mail_is_local),
        cmocka_unit_test(origin_smtp_over_loopback_is_not_local),
        cmocka_unit_test(origin_of_another_host_is_not_local),
        cmocka_unit_test(origin_is_not_local_where_the_mta_was_not_asked),
        cmocka_unit_test(origin_sets_the_client),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
