/* SPDX-License-Identifier: MIT */

/*
 * Reading one value: of the type that its key says, within the key's bounds, or else an error
 * that says what is allowed, in the units that the user writes. A wrong value leaves the target
 * as it was.
 */

#include "common/config-internal.h"

#include <assert.h>
#include <stdarg.h>

#include "common/units.h"

int config_wrong(const ConfigPlace *place, const char *format, ...)
{
    _cleanup_free_ char *message = NULL;
    va_list args;
    int n;

    va_start(args, format);
    n = vasprintf(&message, format, args);
    va_end(args);
    if (n < 0)
        return -ENOMEM;
    config_error(place->file, place->node, "%s: %s", place->path, message);
    return -EINVAL;
}

int config_check_count(const ConfigPlace *place, const ConfigKey *key, size_t n)
{
    if (key->max == 0 || (n >= key->min && n <= key->max))
        return 0;
    if (n < key->min)
        return config_wrong(place, "has %zu %s; at least %llu must be there", n,
                            n == 1 ? "entry" : "entries", (unsigned long long)key->min);
    return config_wrong(place, "has %zu entries; at most %llu are allowed", n,
                        (unsigned long long)key->max);
}

static int set_string(char **target, const char *value)
{
    char *copy = strdup(value);

    if (!copy)
        return -ENOMEM;
    free(*target);
    *target = copy;
    return 0;
}

static int read_string(const ConfigPlace *place, const ConfigKey *key, char **target)
{
    const char *value = config_node_string(place->node);

    if (!value)
        return config_wrong(place, "must be a string in quotes");
    if (key->required && !*value)
        return config_wrong(place, "must not be empty");
    return set_string(target, value);
}

static int read_path(const ConfigPlace *place, const ConfigKey *key, char **target)
{
    const char *value = config_node_string(place->node);
    char shown[CONFIG_SHOWN_MAX];

    if (!value)
        return config_wrong(place, "must be a path in quotes");
    if (value[0] == '/' || (!*value && key->fallback && streq(key->fallback, "\"\"")))
        return set_string(target, value);
    if (!*value)
        return config_wrong(place, "must not be empty");
    return config_wrong(place, "\"%s\" is no absolute path; it must begin with \"/\"",
                        config_shown(value, shown));
}

static int read_strings(const ConfigPlace *place, const ConfigKey *key, ConfigStrings *target)
{
    bool is_list = config_node_kind(place->node) == CONFIG_NODE_LIST;
    size_t n = is_list ? config_node_length(place->node) : 1;
    ConfigStrings strings = {};
    int r;

    for (size_t i = 0; i < n; i++)
        if (!config_node_string(is_list ? config_node_at(place->node, i) : place->node))
            return config_wrong(place,
                                "must be a string or a list of strings, such as [ \"a\", \"b\" ]");
    r = config_check_count(place, key, n);
    if (r < 0)
        return r;

    strings.items = calloc(n + 1, sizeof(*strings.items));
    if (!strings.items)
        return -ENOMEM;
    for (; strings.n < n; strings.n++) {
        r = set_string(
            &strings.items[strings.n],
            config_node_string(is_list ? config_node_at(place->node, strings.n) : place->node));
        if (r < 0) {
            config_strings_done(&strings);
            return r;
        }
    }
    config_strings_done(target);
    *target = strings;
    return 0;
}

static int read_int(const ConfigPlace *place, const ConfigKey *key, int64_t *target)
{
    long long min = (int64_t)key->min, max = (int64_t)key->max;
    int64_t value;

    if (!config_node_int(place->node, &value))
        return key->max == 0
                   ? config_wrong(place, "must be a whole number, without quotes")
                   : config_wrong(
                         place, "must be a whole number, without quotes; allowed are %lld to %lld",
                         min, max);
    if (key->max != 0 && (value < min || value > max))
        return config_wrong(place, "%lld is out of range; allowed are %lld to %lld",
                            (long long)value, min, max);
    *target = value;
    return 0;
}

static int read_bool(const ConfigPlace *place, bool *target)
{
    if (!config_node_bool(place->node, target))
        return config_wrong(place, "must be true or false, without quotes");
    return 0;
}

static int read_duration(const ConfigPlace *place, const ConfigKey *key, usec_t *target)
{
    const char *value = config_node_string(place->node);
    char shown[CONFIG_SHOWN_MAX], min[UNITS_TEXT_MAX], max[UNITS_TEXT_MAX];
    usec_t usec = 0;
    int r;

    if (!value)
        return config_wrong(place,
                            "durations are strings with a unit (ms s m h d), such as \"5s\"");
    r = duration_parse(value, &usec);
    if (r == -EINVAL)
        return config_wrong(place,
                            "\"%s\" is no duration; write a whole number and a unit (ms s m h d), "
                            "such as \"5s\"",
                            config_shown(value, shown));
    /* The least that can be written is a millisecond. */
    duration_format((key->min + 999) / 1000 * 1000, min);
    duration_format(key->max, max);
    if (key->max != 0 && (r < 0 || usec < key->min || usec > key->max))
        return config_wrong(place, "\"%s\" is out of range; allowed are %s to %s",
                            config_shown(value, shown), min, max);
    if (r < 0)
        return config_wrong(place, "\"%s\" is too long", config_shown(value, shown));
    *target = usec;
    return 0;
}

static int read_size(const ConfigPlace *place, const ConfigKey *key, uint64_t *target)
{
    const char *value = config_node_string(place->node);
    char shown[CONFIG_SHOWN_MAX], min[UNITS_TEXT_MAX], max[UNITS_TEXT_MAX];
    uint64_t bytes = 0;
    int r;

    if (!value)
        return config_wrong(place,
                            "sizes are strings, in bytes or with a unit (K M G), such as \"64K\"");
    r = size_parse(value, &bytes);
    if (r == -EINVAL)
        return config_wrong(
            place,
            "\"%s\" is no size; write a whole number of bytes, or one and a unit (K M G), "
            "such as \"64K\"",
            config_shown(value, shown));
    if (key->max != 0 && (r < 0 || bytes < key->min || bytes > key->max))
        return config_wrong(place, "\"%s\" is out of range; allowed are %s to %s",
                            config_shown(value, shown), size_format(key->min, min),
                            size_format(key->max, max));
    if (r < 0)
        return config_wrong(place, "\"%s\" is too large", config_shown(value, shown));
    *target = bytes;
    return 0;
}

static int read_mode(const ConfigPlace *place, mode_t *target)
{
    const char *value = config_node_string(place->node);
    char shown[CONFIG_SHOWN_MAX];

    if (!value)
        return config_wrong(place, "modes are strings, such as \"0660\"");
    /* Three octal digits and at most a leading zero: no set-id bits, no sticky bit. */
    if (strspn(value, "01234567") != strlen(value) || strlen(value) < 3 || strlen(value) > 4 ||
        (strlen(value) == 4 && value[0] != '0'))
        return config_wrong(place, "\"%s\" is no mode; write it in octal, such as \"0660\"",
                            config_shown(value, shown));
    *target = (mode_t)strtoul(value, NULL, 8);
    return 0;
}

static int read_choice(const ConfigPlace *place, const ConfigKey *key, int *target)
{
    const char *value = config_node_string(place->node);
    _cleanup_free_ char *names = NULL;
    char shown[CONFIG_SHOWN_MAX];

    for (int i = 0; value && key->choices[i]; i++)
        if (streq(key->choices[i], value)) {
            *target = i;
            return 0;
        }
    names = config_list_names(key->choices);
    if (!names)
        return -ENOMEM;
    if (!value)
        return config_wrong(place, "must be a string in quotes; allowed are %s", names);
    return config_wrong(place, "\"%s\" is not allowed; allowed are %s", config_shown(value, shown),
                        names);
}

int config_read_value(const ConfigPlace *place, const ConfigKey *key, void *target)
{
    switch (key->type) {
    case CONFIG_STRING:
        return read_string(place, key, target);
    case CONFIG_PATH:
        return read_path(place, key, target);
    case CONFIG_STRINGS:
        return read_strings(place, key, target);
    case CONFIG_INT:
        return read_int(place, key, target);
    case CONFIG_BOOL:
        return read_bool(place, target);
    case CONFIG_DURATION:
        return read_duration(place, key, target);
    case CONFIG_SIZE:
        return read_size(place, key, target);
    case CONFIG_MODE:
        return read_mode(place, target);
    case CONFIG_CHOICE:
        return read_choice(place, key, target);
    case CONFIG_GROUP:
    case CONFIG_LIST:
    case CONFIG_CUSTOM:
        break;
    }
    assert(false);
    return -EINVAL;
}
