/* SPDX-License-Identifier: MIT */

/*
 * How the HTML of well-known senders reads: tests/unit/html holds mails built the way theirs are,
 * and beside each NAME.html its text, NAME.txt.
 */

#include "tests/unit/test.h"

#include <stdio.h>

#include "milterd/html.h"

static char *file_content(const char *name, const char *suffix)
{
    char path[4096];
    size_t size = 1 << 17;
    char *content = calloc(1, size);
    FILE *file;

    assert_non_null(content);
    snprintf(path, sizeof(path), SOURCE_ROOT "/tests/unit/html/%s.%s", name, suffix);
    file = fopen(path, "re");
    assert_non_null(file);
    assert_true(fread(content, 1, size - 1, file) < size - 1);
    fclose(file);
    return content;
}

static void assert_reads(const char *name)
{
    _cleanup_free_ char *html = file_content(name, "html"), *expected = file_content(name, "txt"),
                        *text = NULL;
    size_t left = HTML_SIZE_MAX, length = strlen(expected);
    bool cut;

    assert_int_equal(html_to_text(html, strlen(html), &left, &text, &cut), 0);
    assert_false(cut);
    assert_true(length > 0 && expected[length - 1] == '\n');
    expected[length - 1] = '\0';
    assert_string_equal(text, expected);
}

static void html_mails_alertmanager_is_lines(void **state)
{
    assert_reads("alertmanager");
}

static void html_mails_gitlab_is_names_and_values(void **state)
{
    assert_reads("gitlab");
}

static void html_mails_grafana_loses_layout_and_preview(void **state)
{
    assert_reads("grafana");
}

static void html_mails_icinga_is_names_and_values(void **state)
{
    assert_reads("icinga");
}

static void html_mails_newsletter_reads_downwards(void **state)
{
    assert_reads("newsletter");
}

static void html_mails_proxmox_table_is_aligned(void **state)
{
    assert_reads("proxmox");
}

static void html_mails_report_tables_read_by_what_they_hold(void **state)
{
    assert_reads("report");
}

static void html_mails_zabbix_is_names_and_values(void **state)
{
    assert_reads("zabbix");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(html_mails_alertmanager_is_lines),
        cmocka_unit_test(html_mails_gitlab_is_names_and_values),
        cmocka_unit_test(html_mails_grafana_loses_layout_and_preview),
        cmocka_unit_test(html_mails_icinga_is_names_and_values),
        cmocka_unit_test(html_mails_newsletter_reads_downwards),
        cmocka_unit_test(html_mails_proxmox_table_is_aligned),
        cmocka_unit_test(html_mails_report_tables_read_by_what_they_hold),
        cmocka_unit_test(html_mails_zabbix_is_names_and_values),
    };

    html_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
