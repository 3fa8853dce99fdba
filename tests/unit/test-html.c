/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include <stdio.h>

#include "common/text.h"
#include "milterd/html.h"

static bool cut;

static void assert_reads(const char *html, const char *expected)
{
    _cleanup_free_ char *text = NULL;
    size_t left = HTML_SIZE_MAX;

    assert_int_equal(html_to_text(html, strlen(html), &left, &text, &cut), 0);
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

static void html_cells_of_rows_stand_in_columns(void **state)
{
    assert_reads("<table><tr><th>Host</th><th>State</th></tr>\n"
                 " <tr><td><p>web1</p></td>\n  <td><div>DOWN</div></td></tr></table>after",
                 "Host  State\nweb1  DOWN\nafter");
    assert_reads("<table><tr><td>a</td><td></td><td>c</td></tr><tr><td>d</td></tr></table>",
                 "a  c\nd");
    assert_reads("<table><tr><th>Host<th>State<th>Since<tr><td>db1<td>DOWN<td>10:00"
                 "<tr><td>web17<td><td>9:00</table>",
                 "Host   State  Since\ndb1    DOWN   10:00\nweb17         9:00");
    assert_reads("<table><caption>Disks</caption><tr><th>Where<th>Büro<th>%<tr><td>磁盘<td>x<td>1"
                 "</table>",
                 "Disks\nWhere  Büro  %\n磁盘   x     1");
}

static void html_cells_may_take_columns_and_rows(void **state)
{
    assert_reads("<table><tr><td rowspan=2>a<td>b<td>c<tr><td>dd<td>e<tr><td colspan=2>ff<td>g"
                 "</table>",
                 "a   b   c\n    dd  e\nff      g");
    assert_reads("<table><tr><td colspan=1000000000>a<td rowspan=1000000000>b<tr><td>c<td>d"
                 "</table>",
                 "a  b\nc  d");
    assert_reads("<table><tr><td colspan=0>aa<td colspan=-1>b<tr><td colspan=x>cc<td>d</table>",
                 "aa: b\ncc: d");
}

static void html_names_beside_values_are_lines(void **state)
{
    assert_reads("<table><tr><td><b>Host</b><td>web1<tr><td>State:<td>DOWN<tr><td>Comment:<td>"
                 "<tr><td>Output<td>a<br>b<br><br>c</table>",
                 "Host: web1\nState: DOWN\nOutput:\n  a\n  b\n\n  c");
    assert_reads("<table><tr><th>Host<td>web1</table>", "Host: web1");
    assert_reads("<dl><dt>Host<dd>web1<dt>State<dd>DOWN<dd>for good</dl>",
                 "Host: web1\nState: DOWN\nfor good");
}

static void html_wide_tables_are_records(void **state)
{
    static const char row[] = "<tr><td>web1<td>something that is as long as a line and has to be "
                              "said in full, whoever reads it<td>DOWN";
    char html[1024];

    snprintf(html, sizeof(html), "<table><tr><th>Host<th>Output<th>State%s%s</table>", row, row);
    assert_reads(html, "Host: web1\nOutput: something that is as long as a line and has to be said "
                       "in full, whoever reads it\nState: DOWN\n\n"
                       "Host: web1\nOutput: something that is as long as a line and has to be said "
                       "in full, whoever reads it\nState: DOWN");
}

static void html_text_beside_cells_is_kept(void **state)
{
    assert_reads("<table>a<tr>b<td>c</td>d<td>e</td></tr>f</table>g<td>h</td>i",
                 "a\nb\nc\nd\ne\nf\ng  hi");
    assert_reads("<table><tr><td><blockquote>a<td>b</blockquote>c<td>d</table>", "> a  bc  d");
}

static void html_quotes_are_marked(void **state)
{
    assert_reads("a<blockquote>b<br>c<p>d</p><blockquote>e</blockquote></blockquote>f",
                 "a\n\n> b\n> c\n>\n> d\n>\n> > e\n\nf");
    assert_reads("<blockquote></blockquote>a", "a");
}

static void html_layout_tables_do_not_run_together(void **state)
{
    assert_reads("<table><tr><td><table><tr><td>a</td></tr><tr><td>b</td></tr></table></td>"
                 "<td><p>c</p></td></tr></table>",
                 "a\nb\nc");
    assert_reads("<table role=presentation><tr><td>a<td>b<tr><td>c<td>d</table>", "a  b\nc  d");
    assert_reads("<table><tr><td><img alt=\"❌\"><td>Failed</table>", "❌ Failed");
}

static void html_link_shows_its_address_where_it_differs(void **state)
{
    assert_reads("<a href=\"https://x/1?a=b&amp;c\">ticket</a>.", "ticket <https://x/1?a=b&c>.");
    assert_reads("<a href=\"https://x.org/\">https://x.org</a>", "https://x.org");
    assert_reads("<a href=\"https://x.org/\">x.org</a>", "x.org");
    assert_reads("<a href=\"https://www.x.org/a\">x.org/a</a>", "x.org/a");
    assert_reads("<a href=\"mailto:a@x\">a@x</a>", "a@x");
    assert_reads("<a href=\"mailto:a@x?subject=Re&amp;body=b\">Write to a@x</a>", "Write to a@x");
    assert_reads("<a href=\"mailto:a@x?subject=Re\">Ann</a>", "Ann <a@x>");
    assert_reads("<a href=\"JavaScript:a('://')\">a</a> <a href=data:text/html,://x>b</a>", "a b");
    assert_reads("<a href=\"https://x/\"><img alt=graph></a> <a href=\"https://x/\">the graph</a> "
                 "<a href=\"https://y/\">other</a>",
                 "graph <https://x/> the graph other <https://y/>");
    assert_reads("<a href=\"#top\">top</a> <a name=x>y</a> <a href=\"https://x/\"><img></a>",
                 "top y");
    assert_reads("<a href=\"https://x/\"><img alt=\"graph\"></a>", "graph <https://x/>");
}

static void html_relative_address_needs_its_base(void **state)
{
    assert_reads("<a href=\"/log\">a</a>", "a");
    assert_reads("<base href=\"https://x.org/y/\"><a href=\"log?id=1\">a</a> <a href=\"/z\">b</a> "
                 "<a href=\"#c\">c</a> <a href=\"https://z.org/\">d</a>",
                 "a <https://x.org/y/log?id=1> b <https://x.org/z> c d <https://z.org/>");
}

static void html_long_address_is_kept(void **state)
{
    char html[1200] = "<a href=\"https://x.org/", expected[1200] = "a <https://x.org/";

    memset(html + strlen(html), 'x', 1000);
    strcat(html, "\">a</a>");
    memset(expected + strlen(expected), 'x', 1000);
    strcat(expected, ">");
    assert_reads(html, expected);
}

static void html_previews_are_left_out(void **state)
{
    static const char *const styles[] = {
        "display:none",   "color:red; DISPLAY : none", "visibility:hidden",          "opacity:0",
        "max-height:0px", "height:0;overflow:hidden",  "overflow: hidden; width: 0", "font-size:0",
        "font-size: 1px",
    };
    char html[256];

    for (size_t i = 0; i < ELEMENTSOF(styles); i++) {
        snprintf(html, sizeof(html), "<div style=\"%s\">pre<b>view</b></div>seen", styles[i]);
        assert_reads(html, "seen");
    }
    assert_reads("<span class=preheader>preview</span><p hidden>preview</p>seen", "seen");
    assert_reads("<td style=\"font-size:0px\">not <div style=\"font-size:13px\">seen</div></td>",
                 "seen");
    assert_reads("<p style=\"max-height:100%;opacity:0.5;height:0;font-size:90%\">seen</p>",
                 "seen");
    assert_reads("<td style=\"max-width:0;overflow:hidden;text-overflow:ellipsis\">seen</td>",
                 "seen");
}

static void html_comments_are_left_out(void **state)
{
    assert_reads("a<!--[if mso]><p>b</p><![endif]-->c<!--[if !mso]><!-->d<!--<![endif]-->e"
                 "<![if !mso]>f<![endif]><!-->g<!---->h<?xml version=\"1.0\"?>i",
                 "acdefghi");
}

static void html_attributes_do_not_matter_but_few(void **state)
{
    assert_reads(
        "<p title='a > b' data-x=\">\">c</p><img src=\"data:image/png;base64,AA>A\" alt=d>",
        "c\n\nd");
    assert_reads("<a title=it's href='https://x/\"y'>z</a>", "z <https://x/\"y>");
    assert_reads("<p title=\"open>a</p><p>b", "a\n\nb");
}

static void html_pictures_that_count_readers_say_nothing(void **state)
{
    assert_reads("<img src=x width=1 height=1 alt=tracker>a<img src=x>b<img alt=\"\">", "ab");
}

static void html_what_is_not_displayed_is_left_out(void **state)
{
    assert_reads("<style>p { color: red }</style><script>if (a < b) \"</p>\"</script>"
                 "<!-- no --><div style=\"color:red; Display : none\">pre<b>view</b></div>seen",
                 "seen");
    assert_reads("a&#8203;b&shy;c\xef\xbb\xbf", "abc");
}

/* As XHTML has it; all the rest would be their content. */
static void html_what_closes_itself_hides_nothing(void **state)
{
    assert_reads("<head><title/><style/><script src=\"x.js\" /></head><p>web1 is down",
                 "web1 is down");
    assert_reads("<p>web1 <svg width=\"9\" height=\"9\"/>is down<svg><path/>x</svg> now",
                 "web1 is down now");
    assert_reads("<p>a<script src=http://x.example/>no text</script>b", "ab");
}

static void html_preformatted_text_stays(void **state)
{
    assert_reads("<p>x</p><pre>  a\n    b\n\nc\n</pre>y", "x\n\n  a\n    b\n\nc\n\ny");
    assert_reads("<div style=\"white-space: pre-wrap\">a\n  b</div>\n c", "a\n  b\nc");
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
    assert_reads("<p>From: X <x@y.example> <p>see <https://z.example/a?b> <o:p>now</o:p>",
                 "From: X <x@y.example>\n\nsee <https://z.example/a?b> now");
    assert_reads("x<b", "x<b");
    assert_reads("x<!-- never", "x");
    assert_reads("\xff\xfe<p>\x01", "\xef\xbf\xbd\xef\xbf\xbd");
}

/* Reads `piece` again and again, up to a megabyte. */
static void assert_bounded(const char *begin, const char *piece, const char *end)
{
    size_t size = 1 << 20, left = HTML_SIZE_MAX;
    _cleanup_free_ char *html = malloc(size + 128), *text = NULL;
    clock_t began = clock();
    char *at = stpcpy(html, begin);

    while (at < html + size / 2)
        at = stpcpy(at, piece);
    while (*end && at < html + size)
        at = stpcpy(at, end);
    assert_int_equal(html_to_text(html, strlen(html), &left, &text, &cut), 0);
    assert_true(text_is_clean(text, strlen(text)));
    assert_true(clock() - began < 3 * CLOCKS_PER_SEC);
}

static void html_text_is_found_however_deep_it_is(void **state)
{
    size_t n = 0;
    char *html = malloc(100000);

    assert_non_null(html);
    for (int i = 0; i < 4000; i++)
        n += (size_t)sprintf(html + n, "<div><font size=1>");
    sprintf(html + n, "<p>line<p>a<b>b</b>");
    assert_reads(html, "line\nab");
    free(html);
}

static void html_base_of_addresses_is_bounded(void **state)
{
    _cleanup_free_ char *html = malloc(8192);
    char *at = html;

    assert_non_null(html);
    at = stpcpy(at, "<base href=\"http://x.example/");
    for (int i = 0; i < 1000; i++)
        at = stpcpy(at, "a/");
    strcpy(at, "\"><a href=b>one</a> <a href=http://y.example/>two</a>");
    assert_reads(html, "one two <http://y.example/>");
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
    assert_bounded("<table><tr>", "<td colspan=1000000000 rowspan=1000000000>x", "<tr>");
    assert_bounded("<table><tr>", "<th>heading", "<tr><td>x<td>y<td>z");
    assert_bounded("", "<table><tr><td>x<td>y</td></tr></table>", "</table>");
    assert_bounded("", "<blockquote>x", "</blockquote>");
    assert_bounded("", "<blockquote>x<table><td>", "</blockquote></table>");
    assert_bounded("", "<a b='>' ", "");
    assert_bounded("", "<a b=\"", "<a c='");
    assert_bounded("", "<dl><dt>x<dd>y", "</dl>");
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
        cmocka_unit_test(html_cells_of_rows_stand_in_columns),
        cmocka_unit_test(html_cells_may_take_columns_and_rows),
        cmocka_unit_test(html_names_beside_values_are_lines),
        cmocka_unit_test(html_wide_tables_are_records),
        cmocka_unit_test(html_text_beside_cells_is_kept),
        cmocka_unit_test(html_quotes_are_marked),
        cmocka_unit_test(html_layout_tables_do_not_run_together),
        cmocka_unit_test(html_link_shows_its_address_where_it_differs),
        cmocka_unit_test(html_relative_address_needs_its_base),
        cmocka_unit_test(html_long_address_is_kept),
        cmocka_unit_test(html_previews_are_left_out),
        cmocka_unit_test(html_comments_are_left_out),
        cmocka_unit_test(html_attributes_do_not_matter_but_few),
        cmocka_unit_test(html_pictures_that_count_readers_say_nothing),
        cmocka_unit_test(html_what_is_not_displayed_is_left_out),
        cmocka_unit_test(html_what_closes_itself_hides_nothing),
        cmocka_unit_test(html_preformatted_text_stays),
        cmocka_unit_test(html_meta_does_not_change_the_charset),
        cmocka_unit_test(html_charset_is_found_in_meta),
        cmocka_unit_test(html_broken_markup_is_read_all_the_same),
        cmocka_unit_test(html_text_is_found_however_deep_it_is),
        cmocka_unit_test(html_base_of_addresses_is_bounded),
        cmocka_unit_test(html_hostile_markup_costs_little),
    };

    html_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
