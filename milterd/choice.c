/* SPDX-License-Identifier: MIT */

/*
 * A choice is a list of tests, most often one. A test compares what its template gives with the
 * patterns of its cases, in the order in which they are written; a name alone is a test without
 * cases that always gives its default.
 */

#include "milterd/choice.h"

#include <stdio.h>

#include "milterd/match.h"
#include "milterd/template.h"

#define VALUE_MAX 8192 /* bytes that are compared */

typedef struct Case {
    int value;
    Pattern *pattern;
} Case;

typedef struct Test {
    Template *of; /* NULL: the default holds */
    Case *cases;
    size_t n_cases;
    int otherwise; /* 0: none */
} Test;

struct Choice {
    Test *tests;
    size_t n_tests;
};

/* What the values are called. */
typedef struct Values {
    int (*from_name)(const char *name); /* 0: there is none of that name */
    const char *list;
    const char *const *keys; /* of a group */
} Values;

static int severity_of(const char *name)
{
    Severity severity;

    return severity_from_name(name, &severity) == 0 ? (int)severity : 0;
}

static int state_of(const char *name)
{
    AlertState state;

    return alert_state_from_name(name, &state) == 0 ? (int)state : 0;
}

static const Values severities = {
    severity_of,
    "\"ok\", \"info\", \"warning\" and \"critical\"",
    (const char *const[]){ "of", "ok", "info", "warning", "critical", "default", NULL },
};

static const Values states = {
    state_of,
    "\"problem\", \"recovery\" and \"event\"",
    (const char *const[]){ "of", "problem", "recovery", "event", "default", NULL },
};

static void test_done(Test *test)
{
    for (size_t i = 0; i < test->n_cases; i++)
        pattern_free(test->cases[i].pattern);
    free(test->cases);
    template_free(test->of);
    *test = (Test){};
}

Choice *choice_free(Choice *choice)
{
    if (!choice)
        return NULL;
    for (size_t i = 0; i < choice->n_tests; i++)
        test_done(&choice->tests[i]);
    free(choice->tests);
    free(choice);
    return NULL;
}

/* Reading. What is wrong is reported and left out: each returns 0 or -ENOMEM. */

static int parse_name(ConfigFile *file, const ConfigNode *node, const Values *values)
{
    const char *name = config_node_string(node);
    int value = name ? values->from_name(name) : 0;
    char path[CONFIG_NODE_PATH_MAX];

    if (value == 0)
        config_error(file, node, "%s: %s%.100s%s; allowed are %s", config_node_path(node, path),
                     name ? "\"" : "must be a name in quotes", name ? name : "",
                     name ? "\" is not allowed" : "", values->list);
    return value;
}

static int parse_case(ConfigFile *file, const ConfigNode *node, int value, Test *test)
{
    int r = match_parse_value(file, node, &test->cases[test->n_cases].pattern);

    if (r == 0)
        test->cases[test->n_cases++].value = value;
    return r == -ENOMEM ? r : 0;
}

static int parse_group(ConfigFile *file, const ConfigNode *group, const Values *values, Test *test)
{
    size_t n = config_node_length(group);
    char path[CONFIG_NODE_PATH_MAX];
    bool compares = false;
    int r = 0;

    test->cases = calloc(MAX(n, (size_t)1), sizeof(*test->cases));
    if (!test->cases)
        return -ENOMEM;
    for (size_t i = 0; r == 0 && i < n; i++) {
        const ConfigNode *node = config_node_at(group, i);
        const char *name = config_node_name(node);
        int value = values->from_name(name);

        if (streq(name, "of"))
            r = template_parse(file, node, &test->of);
        else if (streq(name, "default"))
            test->otherwise = parse_name(file, node, values);
        else if (value == 0)
            config_unknown(file, node, NULL, values->keys);
        else
            r = parse_case(file, node, value, test);
        compares = compares || value != 0;
    }
    if (!config_node_get(group, "of"))
        config_error(file, group, "%s: \"of\" is missing, the template that is compared",
                     config_node_path(group, path));
    if (!compares)
        config_error(file, group, "%s: compares with nothing; it takes %s, each with a value",
                     config_node_path(group, path), values->list);
    return r;
}

static int parse_test(ConfigFile *file, const ConfigNode *node, const Values *values, Test *test)
{
    if (config_node_kind(node) == CONFIG_NODE_GROUP)
        return parse_group(file, node, values, test);
    test->otherwise = parse_name(file, node, values);
    return 0;
}

static int parse(ConfigFile *file, const ConfigNode *node, const Values *values, Choice **ret)
{
    bool list = config_node_kind(node) == CONFIG_NODE_LIST;
    size_t n = list ? config_node_length(node) : 1;
    Choice *choice = calloc(1, sizeof(*choice));
    char path[CONFIG_NODE_PATH_MAX];
    int r = 0;

    if (!choice)
        return -ENOMEM;
    *ret = choice;
    if (n == 0)
        config_error(file, node, "%s: is an empty list, which gives no value",
                     config_node_path(node, path));
    choice->tests = calloc(MAX(n, (size_t)1), sizeof(*choice->tests));
    if (!choice->tests)
        return -ENOMEM;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = parse_test(file, list ? config_node_at(node, i) : node, values,
                       &choice->tests[choice->n_tests++]);
    return r;
}

int choice_parse_severity(ConfigFile *file, const ConfigNode *node, void *target)
{
    return parse(file, node, &severities, target);
}

int choice_parse_state(ConfigFile *file, const ConfigNode *node, void *target)
{
    return parse(file, node, &states, target);
}

int choice_check(const Choice *choice, const Names *known, bool in_rule, ConfigFile *file,
                 const ConfigNode *node)
{
    bool list = config_node_kind(node) == CONFIG_NODE_LIST;
    int r = 0;

    for (size_t i = 0; r == 0 && i < choice->n_tests; i++) {
        const ConfigNode *test = list ? config_node_at(node, i) : node;

        if (choice->tests[i].of)
            r = template_check(choice->tests[i].of, known, in_rule, file,
                               config_node_get(test, "of"));
    }
    return r;
}

int choice_add_uses(const Choice *choice, Names *uses)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < choice->n_tests; i++)
        if (choice->tests[i].of)
            r = template_add_uses(choice->tests[i].of, uses);
    return r;
}

static int make(const Test *test, Variables *variables, size_t *budget, int *ret)
{
    PatternSearch search = { .budget = budget };
    _cleanup_free_ char *text = NULL;
    int value = test->otherwise;
    Rendered rendered;
    const char *of;
    int r;

    if (test->of) {
        r = template_render(test->of, variables, VALUE_MAX, &rendered);
        if (r < 0)
            return r;
        of = text = rendered.text;
        for (size_t i = 0; i < test->n_cases; i++)
            if (pattern_search(test->cases[i].pattern, &of, *of ? 1 : 0, &search)) {
                value = test->cases[i].value;
                break;
            }
        variables->gave_up = variables->gave_up || search.gave_up;
    }
    *ret = value;
    return 0;
}

int choice_make(const Choice *choice, Variables *variables, size_t *budget, int *ret)
{
    int value = 0;

    for (size_t i = 0; value == 0 && i < choice->n_tests; i++) {
        int r = make(&choice->tests[i], variables, budget, &value);

        if (r < 0)
            return r;
    }
    *ret = value;
    return 0;
}
