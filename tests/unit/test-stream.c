/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "xmpprelay/stream.h"

static void stream_bytes_taken_is_what_was_read(void **state)
{
    assert_int_equal(stream_bytes_taken(0, 100, 0), 100);
    assert_int_equal(stream_bytes_taken(100, 300, 50), 250);
    assert_int_equal(stream_bytes_taken(250, 300, 50), 250);
}

static void stream_bytes_taken_never_falls_behind(void **state)
{
    /* Bytes came after the kernel was asked what it had received, and before it was asked what
     * was unread: none of them was taken. */
    assert_int_equal(stream_bytes_taken(100, 100, 40), 100);
    assert_int_equal(stream_bytes_taken(0, 0, 40), 0);
    assert_int_equal(stream_bytes_taken(100, 120, 60), 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stream_bytes_taken_is_what_was_read),
        cmocka_unit_test(stream_bytes_taken_never_falls_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
