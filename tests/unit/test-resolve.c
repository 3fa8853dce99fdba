/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "xmpprelay/resolve.h"

typedef struct Answer {
    uint8_t bytes[2048];
    size_t size;
} Answer;

static void put(Answer *answer, const void *bytes, size_t size)
{
    assert_true(answer->size + size <= sizeof(answer->bytes));
    memcpy(answer->bytes + answer->size, bytes, size);
    answer->size += size;
}

static void put16(Answer *answer, unsigned value)
{
    put(answer, (uint8_t[]){ (uint8_t)(value >> 8), (uint8_t)value }, 2);
}

static void begin(Answer *answer, unsigned n_records)
{
    answer->size = 0;
    put16(answer, 1);
    put16(answer, 0x8180);
    put16(answer, 0);
    put16(answer, n_records);
    put16(answer, 0);
    put16(answer, 0);
}

/* `label`: one label and the root, or "" for the root alone. */
static void srv(Answer *answer, unsigned priority, unsigned weight, unsigned port,
                const char *label)
{
    uint8_t length = (uint8_t)strlen(label);

    put(answer, "\0", 1);
    put16(answer, 33);
    put16(answer, 1);
    put16(answer, 0);
    put16(answer, 60);
    put16(answer, 7 + (length ? length + 1U : 0));
    put16(answer, priority);
    put16(answer, weight);
    put16(answer, port);
    if (length > 0) {
        put(answer, &length, 1);
        put(answer, label, length);
    }
    put(answer, "\0", 1);
}

static void resolve_targets_are_ordered_by_priority(void **state)
{
    ResolveTarget targets[8];
    Answer answer;

    begin(&answer, 3);
    srv(&answer, 20, 0, 5222, "backup");
    srv(&answer, 10, 5, 5223, "main");
    srv(&answer, 30, 0, 5224, "last");
    assert_int_equal(resolve_parse_srv(answer.bytes, answer.size, 7, targets, 8), 3);
    assert_string_equal(targets[0].host, "main");
    assert_int_equal(targets[0].port, 5223);
    assert_string_equal(targets[1].host, "backup");
    assert_string_equal(targets[2].host, "last");
}

static void resolve_targets_of_one_priority_are_drawn_by_weight(void **state)
{
    unsigned heavy_first = 0;

    for (uint32_t random = 0; random < 1000; random++) {
        ResolveTarget targets[8];
        Answer answer;

        begin(&answer, 2);
        srv(&answer, 10, 10, 5222, "light");
        srv(&answer, 10, 90, 5222, "heavy");
        assert_int_equal(
            resolve_parse_srv(answer.bytes, answer.size, random * 4294967U, targets, 8), 2);
        assert_string_not_equal(targets[0].host, targets[1].host);
        heavy_first += streq(targets[0].host, "heavy");
    }
    assert_in_range(heavy_first, 800, 980);
}

static void resolve_root_target_means_no_service(void **state)
{
    ResolveTarget targets[8];
    Answer answer;

    begin(&answer, 1);
    srv(&answer, 0, 0, 0, "");
    assert_int_equal(resolve_parse_srv(answer.bytes, answer.size, 0, targets, 8), -ENODATA);
}

static void resolve_more_targets_than_fit_are_left_out(void **state)
{
    ResolveTarget targets[4];
    Answer answer;

    begin(&answer, 20);
    for (unsigned i = 0; i < 20; i++)
        srv(&answer, i, 0, 5222, "host");
    assert_int_equal(resolve_parse_srv(answer.bytes, answer.size, 0, targets, 4), 4);
}

static void resolve_cut_answers_are_refused(void **state)
{
    ResolveTarget targets[8];
    Answer answer;

    begin(&answer, 2);
    srv(&answer, 10, 0, 5222, "main");
    srv(&answer, 10, 0, 5222, "main");
    for (size_t size = 0; size < answer.size; size++) {
        uint8_t *copy = malloc(size + 1);

        assert_non_null(copy);
        memcpy(copy, answer.bytes, size);
        assert_int_equal(resolve_parse_srv(copy, size, 0, targets, 8), -EBADMSG);
        free(copy);
    }
}

static void resolve_without_tls_refuses_other_machines(void **state)
{
    Account account = { .host = (char *)"192.0.2.1", .port = 5222, .tls = TLS_INSECURE_NONE };
    ResolvedAddress addresses[RESOLVE_ADDRESSES_MAX];
    char reason[LINK_REASON_MAX];
    EndCause cause;

    assert_int_equal(resolve_account(&account, "x.test", addresses, &cause, reason), -EHOSTUNREACH);
    assert_int_equal(cause, END_CONFIG);
    assert_non_null(strstr(reason, "accounts.tls"));
    account.host = (char *)"127.0.0.2";
    assert_int_equal(resolve_account(&account, "x.test", addresses, &cause, reason), 1);
    assert_string_equal(addresses[0].host, "127.0.0.2");
    assert_int_equal(addresses[0].port, 5222);
    account.host = (char *)"::1";
    assert_int_equal(resolve_account(&account, "x.test", addresses, &cause, reason), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resolve_targets_are_ordered_by_priority),
        cmocka_unit_test(resolve_targets_of_one_priority_are_drawn_by_weight),
        cmocka_unit_test(resolve_root_target_means_no_service),
        cmocka_unit_test(resolve_more_targets_than_fit_are_left_out),
        cmocka_unit_test(resolve_cut_answers_are_refused),
        cmocka_unit_test(resolve_without_tls_refuses_other_machines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
