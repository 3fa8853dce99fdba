/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What the parts of config.h share: config.c (files, nodes, errors), config-table.c (reading by
 * tables) and config-dump.c.
 */

#include "common/config.h"

/* The setting that holds all others; NULL: the file could not be parsed. */
const ConfigNode *config_root(const ConfigFile *file);

/* Scalars; false where the node is of another type. */
bool config_node_int(const ConfigNode *node, int64_t *ret);
bool config_node_float(const ConfigNode *node, double *ret);
bool config_node_bool(const ConfigNode *node, bool *ret);
bool config_node_is_array(const ConfigNode *node); /* and no list */

/* Parses `value`, as it would stand in a file, to a file that holds it as the setting "value". */
int config_parse_value(const char *value, ConfigFile **ret);

/* Reads the settings of `group` (NULL: it is absent) by the table. Errors are reported and are
 * no failure: 0 or -ENOMEM. `path` is how errors call the group; "" for the whole file. */
int config_read_group(ConfigFile *file, const ConfigKey *keys, const ConfigNode *group,
                      const char *path, void *target);

/* Where a value stands in the file, and how errors call it. */
typedef struct ConfigPlace {
    ConfigFile *file;
    const ConfigNode *node;
    const char *path;
} ConfigPlace;

/* Reads a value that is neither group nor list nor custom. 0; -EINVAL when it was wrong, which is
 * then reported and the target untouched; -ENOMEM. */
int config_read_value(const ConfigPlace *place, const ConfigKey *key, void *target);

/* The same results: for a list of `n` entries. */
int config_check_count(const ConfigPlace *place, const ConfigKey *key, size_t n);

/* Reports "PATH: what is wrong" and returns -EINVAL, or -ENOMEM. */
int config_wrong(const ConfigPlace *place, const char *format, ...) PRINTF_LIKE(2, 3);

/* A value as errors show it: not all of it when it is long. */
#define CONFIG_SHOWN_MAX 96
const char *config_shown(const char *value, char buffer[static CONFIG_SHOWN_MAX]);

/* "a", "b" and "c"; NULL for want of memory. The caller frees it. */
char *config_list_names(const char *const *names);
