/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "milterd/rich.h"

static void assert_enriched(const char *text, bool richtext, const char *expected)
{
    _cleanup_(buffer_done) Buffer out = { .max = 1 << 20 };

    rich_from_enriched(text, richtext, &out);
    assert_string_equal(out.data ? out.data : "", expected);
}

static void rich_enriched_text_loses_its_commands(void **state)
{
    assert_enriched("<bold>Disk</bold> is <<full>\nand slow\n\nReally\n\n\nyes", false,
                    "Disk is <full> and slow\nReally\n\nyes");
    assert_enriched("<color><param>red</param>a</color> <nofill>b\n c\n</nofill>d\ne", false,
                    "a b\n c\nd e");
    assert_enriched("1 < 2 <not a command> <", false, "1 < 2 <not a command> <");
    assert_enriched("</param></nofill>a<param>never ends", false, "a");
    assert_enriched("a<nl>b<lt>c\nd<comment>no</comment>", true, "a\nb<c d");
}

static void assert_calendar(const char *text, const char *expected)
{
    _cleanup_(buffer_done) Buffer out = { .max = 1 << 20 };

    rich_from_calendar(text, &out);
    assert_string_equal(out.data ? out.data : "", expected);
}

static void rich_calendar_says_what_when_and_where(void **state)
{
    assert_calendar("BEGIN:VCALENDAR\nMETHOD:REQUEST\nBEGIN:VTIMEZONE\nDTSTART:19701025T030000\n"
                    "END:VTIMEZONE\nBEGIN:VEVENT\nSUMMARY;LANGUAGE=en:Maintenance\\, db1\n"
                    "DTSTART;TZID=Europe/Berlin:20261121T061500\nDTEND:20261121T071500Z\n"
                    "LOCATION:Rack 4\nORGANIZER;CN=\"Ops: night\":MAILTO:ops@example.org\n"
                    "DESCRIPTION:Down for\n  an hour\\nat most\\;\nBEGIN:VALARM\nSUMMARY:no\n"
                    "END:VALARM\nEND:VEVENT\nSUMMARY:no\nEND:VCALENDAR\n",
                    "Maintenance, db1\nStart: 2026-11-21 06:15 Europe/Berlin\n"
                    "End: 2026-11-21 07:15 UTC\nPlace: Rack 4\nBy: ops@example.org\n"
                    "Down for an hour\nat most;\n");
    assert_calendar("BEGIN:VTODO\nDUE;VALUE=DATE:20261121\nDTSTART:soon\nSTATUS\nSUMMARY:",
                    "Due: 2026-11-21\nStart: soon\n");
    assert_calendar("no calendar", "");
    assert_calendar("", "");
}

static void rich_hostile_text_costs_little(void **state)
{
    static const char *const pieces[] = {
        "<",
        "<a",
        "<a>",
        "<<",
        "\n",
        "<param>",
        "</param>",
        "BEGIN:VEVENT\n",
        " \n ",
        "BEGIN:VEVENT\nSUMMARY:x\nEND:VEVENT\n",
        "DTSTART;TZID=:20261121T\n",
    };
    size_t size = 1 << 20;
    _cleanup_free_ char *text = malloc(size + 64);
    clock_t began = clock();

    for (size_t i = 0; i < ELEMENTSOF(pieces); i++) {
        _cleanup_(buffer_done) Buffer out = { .max = 1 << 20 };
        char *end = text;

        while (end < text + size)
            end = stpcpy(end, pieces[i]);
        rich_from_enriched(text, i % 2, &out);
        rich_from_calendar(text, &out);
        assert_true(out.size <= out.max);
    }
    assert_true(clock() - began < 3 * CLOCKS_PER_SEC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rich_enriched_text_loses_its_commands),
        cmocka_unit_test(rich_calendar_says_what_when_and_where),
        cmocka_unit_test(rich_hostile_text_costs_little),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
