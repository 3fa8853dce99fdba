/* SPDX-License-Identifier: MIT */

/*
 * A reading is a pattern and the name of what it searches; the name is looked up anew each time,
 * so that one reading may search what another has taken.
 */

#include "milterd/reading.h"

#include "common/log.h"
#include "milterd/template.h"

static int parse_regex(ConfigFile *file, const ConfigNode *node, void *target)
{
    const char *text = config_node_string(node);
    char reason[PATTERN_REASON_MAX], path[CONFIG_NODE_PATH_MAX];
    Pattern *pattern;
    int r;

    if (!text) {
        config_error(file, node, "%s: must be a regular expression, in quotes",
                     config_node_path(node, path));
        return 0;
    }
    r = pattern_new_regex(text, &pattern, reason);
    if (r == -EINVAL)
        config_error(file, node, "%s: \"%.100s\" %s", config_node_path(node, path), text, reason);
    if (r < 0)
        return r == -ENOMEM ? r : 0;
    pattern_take_long(pattern);
    *(Pattern **)target = pattern;
    return 0;
}

const ConfigKey reading_keys[] = {
    { "in", CONFIG_STRING, offsetof(Reading, in), .required = true },
    { "regex", CONFIG_CUSTOM, offsetof(Reading, pattern), .required = true, .parse = parse_regex },
    {},
};

void reading_free(void *item)
{
    Reading *reading = item;

    if (!reading)
        return;
    pattern_free(reading->pattern);
    config_target_done(reading_keys, reading);
    free(reading);
}

static const Reading *reading_at(const Readings *readings, size_t index)
{
    return readings->items[index];
}

int readings_add_names(const Readings *readings, bool in_rule, ConfigFile *file,
                       const ConfigNode *list, Names *names)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < readings->n; i++) {
        const Regex *regex = reading_at(readings, i)->pattern
                                 ? pattern_regex(reading_at(readings, i)->pattern, 0)
                                 : NULL;
        const ConfigNode *node = config_node_at(list, i);
        char path[CONFIG_NODE_PATH_MAX];
        const char *taken = NULL;
        size_t group;

        if (!regex)
            continue;
        config_node_path(node, path);
        r = variables_add_groups(regex, in_rule, names, &taken);
        if (taken)
            config_error(file, node,
                         "%s: a group can't be called \"%s\", which is the name of something else; "
                         "call it otherwise",
                         path, taken);
        if (!regex_group_name(regex, 0, &group))
            config_error(file, node,
                         "%s: the regex takes nothing; it needs a named group, such as "
                         "(?<host>\\S+)",
                         path);
    }
    return r;
}

int readings_check(const Readings *readings, const Names *known, bool in_rule, ConfigFile *file,
                   const ConfigNode *list)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < readings->n; i++) {
        const ConfigNode *item = config_node_at(list, i),
                         *node = item ? config_node_get(item, "in") : NULL;

        if (node && reading_at(readings, i)->in)
            r = template_check_name(reading_at(readings, i)->in, known, in_rule, file, node);
    }
    return r;
}

int readings_add_uses(const Readings *readings, Names *uses)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < readings->n; i++)
        if (reading_at(readings, i)->in) /* missing in one that is wrong */
            r = names_add(uses, reading_at(readings, i)->in);
    return r;
}

int readings_apply(const Readings *readings, Variables *variables, size_t *budget,
                   const char *owner, const char *name)
{
    Reading *first = readings->n > 0 ? readings->items[0] : NULL;

    for (size_t i = 0; i < readings->n; i++) {
        const Reading *reading = reading_at(readings, i);
        PatternSearch search = {
            .budget = budget,
            .take = variables_take,
            .userdata = variables,
        };
        const char *value;
        int r = variables_get(variables, reading->in, &value);

        if (r == 0 && value) {
            pattern_search(reading->pattern, &value, 1, &search);
            r = search.error;
        }
        if (r < 0)
            return r;
        /* The flag alone is written to, and it is atomic. */
        if (search.gave_up && !atomic_exchange(&first->gave_up_said, true))
            log_warning("%s \"%s\": a regex that reads \"%s\" reached its limits with a mail, and "
                        "counts as not matching; make it simpler",
                        owner, name, reading->in);
    }
    return 0;
}
