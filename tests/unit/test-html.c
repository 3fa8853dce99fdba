/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "common/text.h"
#include "milterd/html.h"

static bool cut;

static void assert_reads(const char *html, const char *expected)
{
    _cleanup_free_ char *text = NULL;

    assert_int_equal(html_to_text(html, strlen(html), &text, &cut), 0);
    assert_string_equal(text, expected);
}

static void html_blocks_keep_their_lines(void **state)
{
    assert_reads("", "");
    assert_reads("just text", "just text");
    assert_reads("<html><head><title>t</title></head><body><h1>Disk  full</h1>\n"
                 "<p>on\n <b>web1</b>,\tsince\n 10:00</p><p>Use 97&nbsp;%</p></body></html>",
                 "Disk full\n\non web1, since 10:00\n\nUse 97 %");
    assert_reads("<div>a</div><div><div>b</div></div>c<br>d<br><br>e", "a\nb\nc\nd\n\ne");
    assert_reads("<div>a<hr>b</div>", "a\n---\nb");
    assert_reads("<p>a</p><p>&nbsp;</p><p></p><p>b</p>", "a\n\nb");
}

static void html_entities_are_characters(void **state)
{
    assert_reads("&lt;a&gt; &amp; &uuml; &#8364; &#x1F600; &unknown; &", "<a> & ü € 😀 &unknown; &");
}

static void html_lists_have_marks(void **state)
{
    assert_reads("<p>Hosts:</p><ul><li>a</li><li>b<ol><li>x<li>y</ol></li></ul>end",
                 "Hosts:\n\n- a\n- b\n  1. x\n  2. y\n\nend");
}

static void html_simple_tables_are_rows(void **state)
{
    assert_reads("<table><tr><th>Host</th><th>State</th></tr>\n"
                 " <tr><td><p>web1</p></td>\n  <td><div>DOWN</div></td></tr></table>after",
                 "Host  State\nweb1  DOWN\nafter");
    assert_reads("<table><tr><td>a</td><td></td><td>c</td></tr><tr><td>d</td></tr></table>",
                 "a  c\nd");
}

static void html_layout_tables_do_not_run_together(void **state)
{
    assert_reads("<table><tr><td><table><tr><td>a</td></tr><tr><td>b</td></tr></table></td>"
                 "<td><p>c</p></td></tr></table>",
                 "a\nb\nc");
}

static void html_link_shows_its_address_where_it_differs(void **state)
{
    assert_reads("<a href=\"https://x/1?a=b&amp;c\">ticket</a>.", "ticket <https://x/1?a=b&c>.");
    assert_reads("<a href=\"https://x.org/\">https://x.org</a>", "https://x.org");
    assert_reads("<a href=\"https://x.org/\">x.org</a>", "x.org");
    assert_reads("<a href=\"mailto:a@x\">a@x</a>", "a@x");
    assert_reads("<a href=\"#top\">top</a> <a name=x>y</a> <a href=\"https://x/\"><img></a>",
                 "top y");
    assert_reads("<a href=\"https://x/\"><img alt=\"graph\"></a>", "graph <https://x/>");
}

static void html_what_is_not_displayed_is_left_out(void **state)
{
    assert_reads("<style>p { color: red }</style><script>if (a < b) \"</p>\"</script>"
                 "<!-- no --><div style=\"color:red; Display : none\">pre<b>view</b></div>seen",
                 "seen");
    assert_reads("a&#8203;b&shy;c\xef\xbb\xbf", "abc");
}

static void html_preformatted_text_stays(void **state)
{
    assert_reads("<p>x</p><pre>  a\n    b\n\nc\n</pre>y", "x\n\n  a\n    b\n\nc\n\ny");
}

static void html_meta_does_not_change_the_charset(void **state)
{
    assert_reads("<meta http-equiv=Content-Type content=\"text/html; charset=iso-8859-1\">"
                 "<p>f\xc3\xbcr</p>",
                 "für");
}

static void html_charset_is_found_in_meta(void **state)
{
    static const char first[] = "<html><META charset='koi8-r'>";
    static const char second[] =
        "<meta http-equiv=\"Content-Type\" content=\"text/html; charset=GB2312\"/>";
    char charset[HTML_CHARSET_MAX + 1];

    assert_true(html_charset(first, strlen(first), charset));
    assert_string_equal(charset, "koi8-r");
    assert_true(html_charset(second, strlen(second), charset));
    assert_string_equal(charset, "GB2312");
    assert_false(html_charset("<p>charset=x", 12, charset));
    assert_false(html_charset("<meta charset=", 14, charset));
}

static void html_broken_markup_is_read_all_the_same(void **state)
{
    assert_reads("<p>a<p>b</div></b></p>c<table><tr><td>d", "a\n\nb\n\nc\nd");
    assert_reads("a < b > c << d", "a < b > c << d");
    assert_reads("x<b", "x");
    assert_reads("x<!-- never", "x");
    assert_reads("\xff\xfe<p>\x01", "\xef\xbf\xbd\xef\xbf\xbd");
}

/* Reads `piece` again and again, up to a megabyte. */
static void assert_bounded(const char *begin, const char *piece, const char *end)
{
    size_t size = 1 << 20;
    _cleanup_free_ char *html = malloc(size + 128), *text = NULL;
    clock_t began = clock();
    char *at = stpcpy(html, begin);

    while (at < html + size / 2)
        at = stpcpy(at, piece);
    while (at < html + size)
        at = stpcpy(at, end);
    assert_int_equal(html_to_text(html, size, &text, &cut), 0);
    assert_true(text_is_clean(text, strlen(text)));
    assert_true(cut);
    assert_true(clock() - began < 3 * CLOCKS_PER_SEC);
}

static void html_hostile_markup_costs_little(void **state)
{
    assert_bounded("", "<b>", "</i>");
    assert_bounded("", "<table><tr><td>x", "</td>");
    assert_bounded("", "<ul><li>", "x");
    assert_bounded("", "<a href='x'>y", "</a>");
    assert_bounded("<p", " a1b", " c2d");
    assert_bounded("", "<!--", "-");
    assert_bounded("", "&#x41;&amp", "&");
    assert_bounded("<table>", "<tr><td>x<td>y", "<tr>");
    assert_bounded("", "<", ">");
    assert_bounded("<pre>", "\n", " ");
    assert_bounded("", "<div style='displaydisplay'>", "</div>");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(html_blocks_keep_their_lines),
        cmocka_unit_test(html_entities_are_characters),
        cmocka_unit_test(html_lists_have_marks),
        cmocka_unit_test(html_simple_tables_are_rows),
        cmocka_unit_test(html_layout_tables_do_not_run_together),
        cmocka_unit_test(html_link_shows_its_address_where_it_differs),
        cmocka_unit_test(html_what_is_not_displayed_is_left_out),
        cmocka_unit_test(html_preformatted_text_stays),
        cmocka_unit_test(html_meta_does_not_change_the_charset),
        cmocka_unit_test(html_charset_is_found_in_meta),
        cmocka_unit_test(html_broken_markup_is_read_all_the_same),
        cmocka_unit_test(html_hostile_markup_costs_little),
    };

    html_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
