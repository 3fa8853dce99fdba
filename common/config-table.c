/* SPDX-License-Identifier: MIT */

/*
 * Reading settings into a struct by a table of keys.
 *
 * For each key the value in the file is read; where it is absent or wrong, the key's fallback
 * is read in its place, by the same functions. A wrong value is reported and gives -EINVAL up to
 * read_key(), no further: what remains above is 0 or -ENOMEM.
 */

#include "common/config-internal.h"

#include <assert.h>

static void item_free(const ConfigKey *key, void *item)
{
    if (key->item_free) {
        key->item_free(item);
        return;
    }
    config_target_done(key->keys, item);
    free(item);
}

static void items_done(const ConfigKey *key, ConfigItems *items)
{
    for (size_t i = 0; i < items->n; i++)
        item_free(key, items->items[i]);
    free(items->items);
    *items = (ConfigItems){};
}

static int read_list(const ConfigPlace *place, const ConfigKey *key, ConfigItems *target)
{
    char path[CONFIG_NODE_PATH_MAX];
    size_t n = config_node_length(place->node);
    ConfigItems items = {};
    int r;

    if (config_node_kind(place->node) != CONFIG_NODE_LIST)
        return config_wrong(place, "must be a list of groups: %s = ( { … }, { … } );", key->name);
    r = config_check_count(place, key, n);
    if (r < 0)
        return r;

    items.items = calloc(MAX(n, (size_t)1), sizeof(*items.items));
    if (!items.items)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const ConfigNode *node = config_node_at(place->node, i);

        snprintf(path, sizeof(path), "%s[%zu]", place->path, i);
        if (config_node_kind(node) != CONFIG_NODE_GROUP) {
            config_wrong(&(ConfigPlace){ place->file, node, path },
                         "must be a group of settings: { … }");
            continue;
        }
        items.items[items.n] = calloc(1, key->item_size);
        if (!items.items[items.n]) {
            items_done(key, &items);
            return -ENOMEM;
        }
        r = config_read_group(place->file, key->keys, node, path, items.items[items.n++]);
        if (r < 0) {
            items_done(key, &items);
            return r;
        }
    }
    items_done(key, target);
    *target = items;
    return 0;
}

static int read_value(const ConfigPlace *place, const ConfigKey *key, void *target)
{
    switch (key->type) {
    case CONFIG_LIST:
        return read_list(place, key, target);
    case CONFIG_GROUP:
        if (config_node_kind(place->node) != CONFIG_NODE_GROUP)
            return config_wrong(place, "must be a group of settings: %s: { … };", key->name);
        return config_read_group(place->file, key->keys, place->node, place->path, target);
    case CONFIG_CUSTOM:
        return 0;
    default:
        return config_read_value(place, key, target);
    }
}

static int read_fallback(const ConfigKey *key, const ConfigPlace *place, void *target)
{
    _cleanup_(config_file_freep) ConfigFile *file = NULL;
    int r;

    if (key->type == CONFIG_GROUP)
        return config_read_group(place->file, key->keys, NULL, place->path, target);
    if (!key->fallback || key->type == CONFIG_CUSTOM)
        return 0;
    r = config_parse_value(key->fallback, &file);
    if (r == -ENOMEM)
        return r;
    assert(r == 0);
    r = read_value(&(ConfigPlace){ file, config_find(file, "value"), key->name }, key, target);
    assert(r != -EINVAL);
    return r;
}

static int read_key(ConfigFile *file, const ConfigKey *key, const ConfigNode *group,
                    const char *group_path, void *target)
{
    char path[CONFIG_NODE_PATH_MAX];
    ConfigPlace place = { file, group ? config_node_get(group, key->name) : NULL, path };
    int r;

    snprintf(path, sizeof(path), "%s%s%s", group_path, *group_path ? "." : "", key->name);
    if (place.node) {
        r = read_value(&place, key, target);
        if (r == -EINVAL)
            return read_fallback(key, &place, target);
        if (r == 0 && key->parse) {
            r = key->parse(file, place.node, target);
            assert(r == 0 || r == -ENOMEM);
        }
        return r;
    }
    if (key->required)
        config_error(file, *group_path ? group : NULL, "%s%s\"%s\" is missing", group_path,
                     *group_path ? ": " : "", key->name);
    return read_fallback(key, &place, target);
}

static int report_unknown(ConfigFile *file, const ConfigKey *keys, const ConfigNode *group,
                          const char *path)
{
    _cleanup_free_ const char **names = NULL;
    size_t n_keys = 0;

    while (keys[n_keys].name)
        n_keys++;
    names = calloc(n_keys + 1, sizeof(*names));
    if (!names)
        return -ENOMEM;
    for (size_t i = 0; i < n_keys; i++)
        names[i] = keys[i].name;

    for (size_t i = 0; i < config_node_length(group); i++) {
        const ConfigNode *node = config_node_at(group, i);
        bool known = false;

        for (size_t k = 0; k < n_keys && !known; k++)
            known = streq(names[k], config_node_name(node));
        if (!known)
            config_unknown(file, node, path, names);
    }
    return 0;
}

int config_read_group(ConfigFile *file, const ConfigKey *keys, const ConfigNode *group,
                      const char *path, void *target)
{
    int r;

    for (const ConfigKey *key = keys; key->name; key++) {
        r = read_key(file, key, group, path, (char *)target + key->offset);
        if (r < 0)
            return r;
    }
    return group ? report_unknown(file, keys, group, path) : 0;
}

/* Freeing */

void config_strings_done(ConfigStrings *strings)
{
    for (size_t i = 0; i < strings->n; i++)
        free(strings->items[i]);
    free(strings->items);
    *strings = (ConfigStrings){};
}

void config_target_done(const ConfigKey *keys, void *target)
{
    for (const ConfigKey *key = keys; key->name; key++) {
        void *place = (char *)target + key->offset;

        switch (key->type) {
        case CONFIG_STRING:
        case CONFIG_PATH:
            free(*(char **)place);
            *(char **)place = NULL;
            break;
        case CONFIG_STRINGS:
            config_strings_done(place);
            break;
        case CONFIG_GROUP:
            config_target_done(key->keys, place);
            break;
        case CONFIG_LIST:
            items_done(key, place);
            break;
        default:
            break;
        }
    }
}
