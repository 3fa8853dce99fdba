/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "common/record.h"

#include <stdio.h>

static int parse(const char *json, Receipt *ret, char *reason)
{
    return receipt_parse(json, strlen(json), ret, reason);
}

static void receipt_written_is_read_back(void **state)
{
    static const Receipt receipts[] = {
        { .id = "a.b:c-d_1", .status = RECEIPT_ACCEPTED },
        { .id = "x", .status = RECEIPT_DUPLICATE },
        { .id = "x", .status = RECEIPT_DELIVERED },
        { .id = "x", .status = RECEIPT_BUSY, .reason = "the spool is full" },
        { .id = "", .status = RECEIPT_REFUSED, .reason = "v is missing: \"v\"" },
    };

    for (size_t i = 0; i < ELEMENTSOF(receipts); i++) {
        _cleanup_free_ char *json = NULL;
        char reason[RECORD_REASON_MAX];
        Receipt read;
        size_t size;

        assert_int_equal(receipt_write(&receipts[i], &json, &size), 0);
        assert_int_equal(size, strlen(json));
        assert_int_equal(parse(json, &read, reason), 0);
        assert_string_equal(read.id, receipts[i].id);
        assert_int_equal(read.status, receipts[i].status);
        assert_string_equal(read.reason, receipts[i].reason);
    }
}

static void receipt_form_is_that_of_the_manual(void **state)
{
    Receipt receipt = { .id = "x1", .status = RECEIPT_REFUSED, .reason = "no such destination" };
    _cleanup_free_ char *json = NULL;
    size_t size;

    assert_int_equal(receipt_write(&receipt, &json, &size), 0);
    assert_string_equal(json, "{\"v\":1,\"id\":\"x1\",\"status\":\"refused\","
                              "\"reason\":\"no such destination\"}");
}

static void receipt_reason_is_cleaned_and_cut_both_ways(void **state)
{
    Receipt receipt = { .id = "x", .status = RECEIPT_REFUSED, .reason = "a\n\x1B[0m\xC3" }, read;
    char json[2000] = "{\"v\":1,\"id\":\"x\",\"status\":\"busy\",\"reason\":\"";
    _cleanup_free_ char *written = NULL;
    char reason[RECORD_REASON_MAX];
    size_t size;

    assert_int_equal(receipt_write(&receipt, &written, &size), 0);
    assert_int_equal(parse(written, &read, reason), 0);
    assert_string_equal(read.reason, "a [0m\xEF\xBF\xBD");

    for (int i = 0; i < 300; i++)
        strcat(json, "ä");
    strcat(json, "\"}");
    assert_int_equal(parse(json, &read, reason), 0);
    assert_int_equal(strlen(read.reason), 254);
}

static void receipt_reason_cut_at_a_blank_ends_before_it(void **state)
{
    char json[400], reason[RECORD_REASON_MAX];
    Receipt read;

    snprintf(json, sizeof(json),
             "{\"v\":1,\"id\":\"x\",\"status\":\"busy\",\"reason\":\"%0254d y\"}", 0);
    assert_int_equal(parse(json, &read, reason), 0);
    assert_int_equal(strlen(read.reason), 254);
}

static void receipt_with_an_invalid_id_is_not_written(void **state)
{
    Receipt receipt = { .id = "a b" };
    char *json = NULL;
    size_t size;

    assert_int_equal(receipt_write(&receipt, &json, &size), -EINVAL);
    assert_null(json);
}

static void receipt_malformed_is_refused_and_output_untouched(void **state)
{
    static const char *const malformed[] = {
        "",
        "[]",
        "\"accepted\"",
        "{}",
        "{\"v\":2,\"id\":\"x\",\"status\":\"accepted\"}",
        "{\"v\":\"1\",\"id\":\"x\",\"status\":\"accepted\"}",
        "{\"v\":1,\"status\":\"accepted\"}",
        "{\"v\":1,\"id\":7,\"status\":\"accepted\"}",
        "{\"v\":1,\"id\":\"a b\",\"status\":\"accepted\"}",
        "{\"v\":1,\"id\":\"x\"}",
        "{\"v\":1,\"id\":\"x\",\"status\":\"ACCEPTED\"}",
        "{\"v\":1,\"id\":\"x\",\"status\":null}",
        "{\"v\":1,\"id\":\"x\",\"status\":\"accepted\",\"reason\":1}",
        "{\"v\":1,\"id\":\"x\",\"id\":\"x\",\"status\":\"accepted\"}",
        "{\"v\":1,\"id\":"
        "\"0123456789012345678901234567890123456789012345678901234567890123456789\","
        "\"status\":\"accepted\"}",
    };

    for (size_t i = 0; i < ELEMENTSOF(malformed); i++) {
        Receipt receipt = { .id = "before" };
        char reason[RECORD_REASON_MAX] = "";

        if (parse(malformed[i], &receipt, reason) != -EBADMSG)
            fail_msg("taken: %s", malformed[i]);
        assert_string_not_equal(reason, "");
        assert_string_equal(receipt.id, "before");
    }
}

static void receipt_unknown_keys_are_ignored(void **state)
{
    char reason[RECORD_REASON_MAX];
    Receipt receipt;

    assert_int_equal(
        parse("{\"v\":1,\"new\":[{}],\"id\":\"x\",\"status\":\"busy\"}", &receipt, reason), 0);
    assert_int_equal(receipt.status, RECEIPT_BUSY);
}

static int next(const void *datagram, size_t size, size_t *offset, const char **json, size_t *n)
{
    char reason[RECORD_REASON_MAX] = "";
    int r = frame_next(datagram, size, offset, json, n, reason);

    if (r < 0)
        assert_string_not_equal(reason, "");
    return r;
}

static void frame_several_in_a_datagram_are_taken_in_turn(void **state)
{
    static const char datagram[] = "\0\0\0\2{}\0\0\0\1x";
    const size_t size = sizeof(datagram) - 1;
    size_t offset = 0, n;
    const char *json;

    assert_int_equal(next(datagram, size, &offset, &json, &n), 1);
    assert_int_equal(n, 2);
    assert_memory_equal(json, "{}", 2);
    assert_int_equal(next(datagram, size, &offset, &json, &n), 1);
    assert_int_equal(n, 1);
    assert_memory_equal(json, "x", 1);
    assert_int_equal(next(datagram, size, &offset, &json, &n), 0);
}

static void frame_broken_datagram_is_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
    } cases[] = {
        { "", 0 },                   /* nothing */
        { "\0", 1 },                 /* no whole length */
        { "\0\0\0", 3 },             /* no whole length */
        { "\0\0\0\0", 4 },           /* of nothing */
        { "\0\0\0\0{}", 6 },         /* length 0 with something behind it */
        { "\0\0\0\3{}", 6 },         /* cut short */
        { "\0\1\0\1{}", 6 },         /* 65,537 */
        { "\xFF\xFF\xFF\xFF{}", 6 }, /* would overflow */
        { "\xFF\xFF\xFF\xFC", 4 },   /* would overflow */
        { "\2\0\0\0{}", 6 },         /* little-endian */
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        size_t offset = 0, n;
        const char *json;

        assert_int_equal(next(cases[i].bytes, cases[i].size, &offset, &json, &n), -EBADMSG);
        assert_int_equal(offset, 0);
    }
}

static void frame_leftovers_are_refused(void **state)
{
    static const char datagram[] = "\0\0\0\2{}\0\0\0";
    size_t offset = 0, n;
    const char *json;

    assert_int_equal(next(datagram, sizeof(datagram) - 1, &offset, &json, &n), 1);
    assert_int_equal(next(datagram, sizeof(datagram) - 1, &offset, &json, &n), -EBADMSG);
}

static void frame_sizes_end_at_their_limits(void **state)
{
    _cleanup_free_ uint8_t *datagram = calloc(1, RECORD_DATAGRAM_MAX + 1);
    size_t offset = 0, n;
    const char *json;

    frame_put_length(datagram, RECORD_FRAME_MAX);
    assert_int_equal(next(datagram, 4 + RECORD_FRAME_MAX, &offset, &json, &n), 1);
    assert_int_equal(n, RECORD_FRAME_MAX);

    offset = 0;
    frame_put_length(datagram, RECORD_FRAME_MAX + 1);
    assert_int_equal(next(datagram, 4 + RECORD_FRAME_MAX + 1, &offset, &json, &n), -EBADMSG);

    frame_put_length(datagram, 10);
    assert_int_equal(next(datagram, RECORD_DATAGRAM_MAX, &offset, &json, &n), 1);
    offset = 0;
    assert_int_equal(next(datagram, RECORD_DATAGRAM_MAX + 1, &offset, &json, &n), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(receipt_written_is_read_back),
        cmocka_unit_test(receipt_form_is_that_of_the_manual),
        cmocka_unit_test(receipt_reason_is_cleaned_and_cut_both_ways),
        cmocka_unit_test(receipt_reason_cut_at_a_blank_ends_before_it),
        cmocka_unit_test(receipt_with_an_invalid_id_is_not_written),
        cmocka_unit_test(receipt_malformed_is_refused_and_output_untouched),
        cmocka_unit_test(receipt_unknown_keys_are_ignored),
        cmocka_unit_test(frame_several_in_a_datagram_are_taken_in_turn),
        cmocka_unit_test(frame_broken_datagram_is_refused),
        cmocka_unit_test(frame_leftovers_are_refused),
        cmocka_unit_test(frame_sizes_end_at_their_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
