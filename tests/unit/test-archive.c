/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include <stdio.h>

#include "xmpprelay/archive.h"

#define NOW (1000 * USEC_PER_SEC)

static Archive asked(size_t n_wanted)
{
    Archive archive = {};

    archive_begin(&archive, n_wanted, 7, NOW);
    archive_asked(&archive, "q-1");
    return archive;
}

static void archive_is_asked_page_after_page_to_its_end(void **state)
{
    Archive archive = asked(3);
    ArchivePage page = { .last = "m100" };

    assert_string_equal(archive.after, "");
    assert_int_equal(archive_page_over(&archive, &page, 3), ARCHIVE_ASK);
    assert_string_equal(archive.after, "m100");
    archive_asked(&archive, "q-2");
    page.last = "m200";
    assert_int_equal(archive_page_over(&archive, &page, 1), ARCHIVE_ASK);
    assert_string_equal(archive.after, "m200");
    archive_asked(&archive, "q-3");
    page = (ArchivePage){ .complete = true, .last = "m230" };
    assert_int_equal(archive_page_over(&archive, &page, 1), ARCHIVE_FINISHED);
    assert_false(archive.asking);
}

static void archive_awaits_only_the_page_asked_for(void **state)
{
    Archive archive = {};
    ArchivePage page = { .last = "m" };

    assert_false(archive_awaits(&archive, ""));
    archive = asked(1);
    assert_true(archive_awaits(&archive, "q-1"));
    assert_false(archive_awaits(&archive, "q-2"));
    assert_false(archive_awaits(&archive, ""));
    assert_false(archive_awaits(&archive, NULL));
    archive_page_over(&archive, &page, 1);
    archive_asked(&archive, "q-2");
    assert_true(archive_awaits(&archive, "q-2"));
    assert_false(archive_awaits(&archive, "q-1"));
    archive_stop(&archive);
    assert_false(archive_awaits(&archive, "q-2"));
}

static void archive_with_all_found_is_asked_no_more(void **state)
{
    Archive archive = asked(3);
    ArchivePage page = { .last = "m100" };

    assert_int_equal(archive_page_over(&archive, &page, 0), ARCHIVE_FINISHED);
    assert_false(archive.asking);
}

static void archive_that_refuses_is_asked_no_more(void **state)
{
    Archive archive = asked(3);
    ArchivePage page = { .condition = "feature-not-implemented", .last = "m" };

    assert_int_equal(archive_page_over(&archive, &page, 3), ARCHIVE_REFUSED);
    assert_false(archive.asking);
}

static void archive_without_a_way_on_is_asked_no_more(void **state)
{
    char long_position[ARCHIVE_POSITION_MAX + 2];
    const char *const positions[] = { NULL, "", "bell \a", "\xff", "again", long_position };

    memset(long_position, 'x', sizeof(long_position) - 1);
    long_position[sizeof(long_position) - 1] = '\0';
    for (size_t i = 0; i < ELEMENTSOF(positions); i++) {
        Archive archive = asked(3);
        ArchivePage page = { .last = "again" };

        assert_int_equal(archive_page_over(&archive, &page, 3), ARCHIVE_ASK);
        archive_asked(&archive, "q-2");
        page.last = positions[i];
        assert_int_equal(archive_page_over(&archive, &page, 3), ARCHIVE_UNFINISHED);
        assert_false(archive.asking);
    }
    {
        Archive archive = asked(3);
        ArchivePage page = { .last = long_position + 1 };

        assert_int_equal(archive_page_over(&archive, &page, 3), ARCHIVE_ASK);
        assert_string_equal(archive.after, long_position + 1);
    }
}

static void archive_without_end_is_left_after_some_pages(void **state)
{
    Archive archive = asked(3);
    unsigned n_pages = 1;
    char position[16];
    ArchivePage page = { .last = position };

    for (;; n_pages++) {
        snprintf(position, sizeof(position), "m%u", n_pages);
        if (archive_page_over(&archive, &page, 3) != ARCHIVE_ASK)
            break;
        archive_asked(&archive, position);
    }
    assert_int_equal(n_pages, ARCHIVE_PAGES_MAX);
    assert_false(archive.asking);
}

static void archive_has_one_deadline_for_all_pages(void **state)
{
    Archive archive = {};
    ArchivePage page = { .last = "m" };

    archive_stop(&archive);
    assert_int_equal(archive_deadline(&archive), USEC_INFINITY);
    archive = asked(3);
    assert_int_equal(archive_deadline(&archive), NOW + ARCHIVE_USEC);
    archive_page_over(&archive, &page, 3);
    archive_asked(&archive, "q-2");
    assert_int_equal(archive_deadline(&archive), NOW + ARCHIVE_USEC);
    archive_stop(&archive);
    assert_int_equal(archive_deadline(&archive), USEC_INFINITY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(archive_is_asked_page_after_page_to_its_end),
        cmocka_unit_test(archive_awaits_only_the_page_asked_for),
        cmocka_unit_test(archive_with_all_found_is_asked_no_more),
        cmocka_unit_test(archive_that_refuses_is_asked_no_more),
        cmocka_unit_test(archive_without_a_way_on_is_asked_no_more),
        cmocka_unit_test(archive_without_end_is_left_after_some_pages),
        cmocka_unit_test(archive_has_one_deadline_for_all_pages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
