/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "milterd/pattern.h"

static char reason[PATTERN_REASON_MAX];
static bool gave_up;

static bool matches(Pattern *pattern, const char *value)
{
    gave_up = false;
    return pattern_match(pattern, &value, 1, &gave_up);
}

static bool equal(const char *text, bool caseless, const char *value)
{
    _cleanup_(pattern_freep) Pattern *pattern = NULL;

    assert_int_equal(pattern_new_equal(text, caseless, &pattern, reason), 0);
    return matches(pattern, value);
}

static bool glob(const char *text, const char *value)
{
    _cleanup_(pattern_freep) Pattern *pattern = NULL;

    assert_int_equal(pattern_new_glob(text, false, &pattern, reason), 0);
    return matches(pattern, value);
}

static bool regex(const char *text, const char *value)
{
    _cleanup_(pattern_freep) Pattern *pattern = NULL;

    assert_int_equal(pattern_new_regex(text, &pattern, reason), 0);
    return matches(pattern, value);
}

static bool cidr(const char *text, const char *value)
{
    _cleanup_(pattern_freep) Pattern *pattern = NULL;

    assert_int_equal(pattern_new_cidr(text, &pattern, reason), 0);
    return matches(pattern, value);
}

static void pattern_equal_is_the_whole_value(void **state)
{
    assert_true(equal("a@x", false, "a@x"));
    assert_false(equal("a@x", false, "A@x"));
    assert_true(equal("a@x", true, "A@X"));
    assert_false(equal("a@x", true, "a@xx"));
    assert_true(equal("", false, ""));
}

static void pattern_glob_covers_the_whole_value(void **state)
{
    assert_true(glob("Cron <*", "Cron <root@x> backup"));
    assert_false(glob("Cron <*", "Re: Cron <root@x>"));
    assert_true(glob("*", ""));
    assert_false(glob("?", ""));
    assert_true(glob("*a*b*c*", "xxaxxbxxcxx"));
    assert_false(glob("*a*b*c", "xxaxxbxxcxx"));
    assert_true(glob("*ab", "aab"));
    assert_true(glob("** PROBLEM: *", "** PROBLEM: web1"));
    assert_true(glob("\\*\\*\\?\\\\", "**?\\"));
    assert_false(glob("\\*", "x"));
    assert_true(glob("C:\\temp*", "C:\\temp\\x"));
    assert_true(glob("x\\", "x\\"));
}

static void pattern_glob_counts_characters(void **state)
{
    assert_true(glob("?", "€"));
    assert_true(glob("a?c", "aüc"));
    assert_false(glob("*??", "€"));
    assert_true(glob("*??", "€ü"));
    assert_true(glob("?", "\xff"));
}

static void pattern_glob_on_hostile_value_returns_soon(void **state)
{
    char text[PATTERN_TEXT_MAX + 1];
    _cleanup_free_ char *value = malloc(1 << 20);
    clock_t began = clock();

    for (size_t i = 0; i < PATTERN_TEXT_MAX; i += 2)
        memcpy(text + i, "*a", 2);
    text[PATTERN_TEXT_MAX - 1] = 'b';
    text[PATTERN_TEXT_MAX] = '\0';
    memset(value, 'a', (1 << 20) - 1);
    value[(1 << 20) - 1] = '\0';
    assert_false(glob(text, value));
    memset(text + 1, 'a', PATTERN_TEXT_MAX - 2);
    assert_false(glob(text, value));
    assert_true(clock() - began < 2 * CLOCKS_PER_SEC);
}

static void pattern_regex_searches_utf8(void **state)
{
    assert_true(regex("web[0-9]+", "host web12 is down"));
    assert_false(regex("^web", "host web12"));
    assert_true(regex("^.$", "€"));
    assert_true(regex("(?i)PROBLEM", "problem"));
    assert_false(regex("PROBLEM", "problem"));
    assert_true(regex("down", "\xff\xfe is down"));
}

static void pattern_regex_bomb_gives_up_soon(void **state)
{
    static const char *const bombs[] = { "(a+)+$",      "(a|a)*b", "(.*a){20}b",  "^(a?){30}a{30}c",
                                         "a*a*a*a*a*b", "[^:]*:",  "(?:a(?R)?)+b" };
    _cleanup_free_ char *value = malloc(1 << 20);
    clock_t began = clock();

    memset(value, 'a', (1 << 20) - 1);
    value[(1 << 20) - 2] = '!';
    value[(1 << 20) - 1] = '\0';
    for (size_t i = 0; i < ELEMENTSOF(bombs); i++) {
        value[8000] = '!';
        regex(bombs[i], value);
    }
    assert_false(regex("(a+)+$", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"));
    assert_true(gave_up);
    assert_true(clock() - began < 3 * CLOCKS_PER_SEC);
}

/* Each attempt stays below PCRE2's limits; there are as many as the mail has bytes of headers. */
static void pattern_regex_that_costs_a_little_everywhere_gives_up_soon(void **state)
{
    _cleanup_(pattern_freep) Pattern *pattern = NULL;
    char value[8001];
    const char *values[32];
    clock_t began = clock();

    assert_int_equal(pattern_new_regex("a*a*a*[bc]", &pattern, reason), 0);
    for (size_t i = 0; i < sizeof(value) - 1; i++)
        value[i] = i % 81 == 80 ? ' ' : 'a';
    value[sizeof(value) - 1] = '\0';
    for (size_t i = 0; i < ELEMENTSOF(values); i++)
        values[i] = value;
    gave_up = false;
    assert_false(pattern_match(pattern, values, ELEMENTSOF(values), &gave_up));
    assert_true(gave_up);
    assert_true(clock() - began < 2 * CLOCKS_PER_SEC);
}

/* What is repeated is a single step for PCRE2, and goes to the end of the text each time. */
static void pattern_regex_that_goes_far_at_each_step_gives_up_soon(void **state)
{
    _cleanup_(pattern_freep) Pattern *pattern = NULL;
    _cleanup_free_ char *value = malloc(65001);
    const char *values[] = { value };
    clock_t began = clock();

    assert_non_null(value);
    assert_int_equal(pattern_new_regex("\\[[^]]+\\] is down", &pattern, reason), 0);
    pattern_take_long(pattern);
    memset(value, '[', 65000);
    strcpy(value + 64990, " down");
    gave_up = false;
    assert_false(pattern_match(pattern, values, 1, &gave_up));
    assert_true(gave_up);
    assert_true(clock() - began < CLOCKS_PER_SEC / 2);
    strcpy(value + 6, "] is down");
    gave_up = false;
    assert_true(pattern_match(pattern, values, 1, &gave_up));
    assert_false(gave_up);
}

static void pattern_regex_that_runs_wild_leaves_some_steps_to_others(void **state)
{
    _cleanup_(pattern_freep) Pattern *wild = NULL, *tame = NULL;
    const char *values[] = { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!" };
    size_t budget = 2000;
    PatternSearch search = { .budget = &budget };

    assert_int_equal(pattern_new_regex("(a|aa)+$", &wild, reason), 0);
    assert_int_equal(pattern_new_regex("a!$", &tame, reason), 0);
    assert_false(pattern_search(wild, values, 1, &search));
    assert_true(search.gave_up);
    search.gave_up = false;
    assert_true(pattern_search(tame, values, 1, &search));
    assert_false(search.gave_up);
    assert_true(budget > 0 && budget < 1000);
}

static void pattern_cidr_knows_networks_of_both_kinds(void **state)
{
    assert_true(cidr("10.0.0.0/8", "10.255.0.1"));
    assert_false(cidr("10.0.0.0/8", "11.0.0.1"));
    assert_true(cidr("10.0.0.0/8", "::ffff:10.1.2.3"));
    assert_true(cidr("::ffff:10.0.0.0/104", "10.1.2.3"));
    assert_true(cidr("192.0.2.7", "192.0.2.7"));
    assert_false(cidr("192.0.2.7", "192.0.2.8"));
    assert_true(cidr("2001:db8::/33", "2001:db8:7fff::1"));
    assert_false(cidr("2001:db8::/33", "2001:db8:8000::1"));
    assert_true(cidr("0.0.0.0/0", "1.2.3.4"));
    assert_false(cidr("0.0.0.0/0", "::1"));
    assert_true(cidr("::/0", "::1"));
    assert_false(cidr("::/0", "no address"));
}

static void assert_refused(int r, const char *expected)
{
    assert_int_equal(r, -EINVAL);
    assert_string_equal(reason, expected);
}

static void pattern_that_is_wrong_says_why(void **state)
{
    static char large[PATTERN_TEXT_MAX + 2];
    Pattern *pattern = NULL;

    assert_refused(pattern_new_regex("a(b", &pattern, reason),
                   "is no regular expression: missing closing parenthesis, at offset 3");
    assert_refused(pattern_new_cidr("10.0.0", &pattern, reason),
                   "is no address; it must be one such as 10.1.2.3, 10.0.0.0/8 or 2001:db8::/32");
    assert_refused(pattern_new_cidr("10.0.0.0/33", &pattern, reason),
                   "has no valid prefix length; allowed are 0 to 32");
    assert_refused(pattern_new_cidr("::/", &pattern, reason),
                   "has no valid prefix length; allowed are 0 to 128");
    assert_refused(pattern_new_cidr("10.1.2.3/8", &pattern, reason),
                   "has bits set behind its prefix; the network is 10.0.0.0/8");
    memset(large, 'x', sizeof(large) - 1);
    assert_refused(pattern_new_glob(large, true, &pattern, reason),
                   "is longer than the 1024 bytes that are allowed");
    assert_null(pattern);
}

/* not one of "a", glob "b*" */
static Pattern *not_a_nor_b(void)
{
    Pattern *negated, *any, *pattern;

    assert_int_equal(pattern_new_not(&negated), 0);
    assert_int_equal(pattern_new_any(&any), 0);
    assert_int_equal(pattern_new_equal("a", false, &pattern, reason), 0);
    assert_int_equal(pattern_add_consume(any, pattern), 0);
    assert_int_equal(pattern_new_glob("b*", false, &pattern, reason), 0);
    assert_int_equal(pattern_add_consume(any, pattern), 0);
    assert_int_equal(pattern_add_consume(negated, any), 0);
    return negated;
}

static void pattern_not_means_none_of_the_values(void **state)
{
    _cleanup_(pattern_freep) Pattern *pattern = not_a_nor_b();
    _cleanup_free_ char *text = pattern_describe(pattern);

    assert_string_equal(text, "not one of \"a\", glob \"b*\"");
    assert_true(pattern_match(pattern, (const char *const[]){ "x", "y" }, 2, &gave_up));
    assert_false(pattern_match(pattern, (const char *const[]){ "x", "a" }, 2, &gave_up));
    assert_false(pattern_match(pattern, (const char *const[]){ "bc", "x" }, 2, &gave_up));
}

static void pattern_missing_value_matches_under_not_alone(void **state)
{
    _cleanup_(pattern_freep) Pattern *pattern = not_a_nor_b(), *any = NULL, *star = NULL;

    assert_true(pattern_match(pattern, NULL, 0, &gave_up));
    assert_int_equal(pattern_new_any(&any), 0);
    assert_int_equal(pattern_new_glob("*", false, &star, reason), 0);
    assert_false(pattern_match(star, NULL, 0, &gave_up));
    assert_int_equal(pattern_add_consume(any, steal_ptr(star)), 0);
    assert_false(pattern_match(any, NULL, 0, &gave_up));
}

static void regex_groups_tell_where_they_are(void **state)
{
    static const char text[] = "a=1 b=22";
    RegexSpans spans;
    const char *name;
    size_t budget, group;
    Regex *regex;

    assert_int_equal(regex_new("(?<k>[a-z])=(\\d+)(x)?", &regex, reason), 0);
    assert_int_equal(regex_n_groups(regex), 3);
    name = regex_group_name(regex, 0, &group);
    assert_string_equal(name, "k");
    assert_int_equal(group, 1);
    assert_null(regex_group_name(regex, 1, &group));

    budget = REGEX_BUDGET;
    assert_int_equal(regex_search_groups(regex, text, strlen(text), 0, &budget, &spans),
                     REGEX_MATCH);
    assert_true(spans.items[0].set && spans.items[0].start == 0 && spans.items[0].size == 3);
    assert_int_equal(regex_search_groups(regex, text, strlen(text), 3, &budget, &spans),
                     REGEX_MATCH);
    assert_int_equal(spans.items[1].start, 4);
    assert_int_equal(spans.items[2].start, 6);
    assert_int_equal(spans.items[2].size, 2);
    assert_false(spans.items[3].set);
    assert_int_equal(regex_search_groups(regex, text, strlen(text), 5, &budget, &spans),
                     REGEX_NO_MATCH);
    budget = 0;
    assert_int_equal(regex_search_groups(regex, text, strlen(text), 0, &budget, &spans),
                     REGEX_GAVE_UP);
    regex_free(regex);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pattern_equal_is_the_whole_value),
        cmocka_unit_test(pattern_glob_covers_the_whole_value),
        cmocka_unit_test(pattern_glob_counts_characters),
        cmocka_unit_test(pattern_glob_on_hostile_value_returns_soon),
        cmocka_unit_test(pattern_regex_searches_utf8),
        cmocka_unit_test(pattern_regex_bomb_gives_up_soon),
        cmocka_unit_test(pattern_regex_that_costs_a_little_everywhere_gives_up_soon),
        cmocka_unit_test(regex_groups_tell_where_they_are),
        cmocka_unit_test(pattern_regex_that_goes_far_at_each_step_gives_up_soon),
        cmocka_unit_test(pattern_regex_that_runs_wild_leaves_some_steps_to_others),
        cmocka_unit_test(pattern_cidr_knows_networks_of_both_kinds),
        cmocka_unit_test(pattern_that_is_wrong_says_why),
        cmocka_unit_test(pattern_not_means_none_of_the_values),
        cmocka_unit_test(pattern_missing_value_matches_under_not_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
