/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Configuration files in libconfig's syntax (the adapter of libconfig), read by tables.
 *
 * A daemon describes each group of settings by a table of keys: type, place in its struct,
 * default, bounds. config_load() reads a whole file with it and gathers *all* its errors, each
 * as "FILE:LINE: what is wrong, what is allowed"; unknown keys are errors that name the nearest
 * known one. The same tables print the effective configuration, with every default.
 *
 *     typedef struct Relay { char *socket; usec_t timeout_usec; int on_failure; } Relay;
 *     static const ConfigKey relay_keys[] = {
 *         { "socket", CONFIG_PATH, offsetof(Relay, socket), .fallback = "\"/run/x\"" },
 *         { "timeout", CONFIG_DURATION, offsetof(Relay, timeout_usec), .fallback = "\"5s\"",
 *           .min = 1, .max = 3600 * USEC_PER_SEC },
 *         { "on_failure", CONFIG_CHOICE, offsetof(Relay, on_failure), .fallback = "\"tempfail\"",
 *           .choices = on_failure_names },
 *         {}
 *     };
 */

#include "common/util.h"

#include <stdio.h>

typedef struct ConfigFile ConfigFile; /* a parsed file and its errors */
typedef struct ConfigNode ConfigNode; /* a setting in it; belongs to the file */
typedef struct ConfigKey ConfigKey;

typedef enum ConfigType {
    CONFIG_STRING,   /* char *: never NULL unless the fallback is */
    CONFIG_PATH,     /* char *: absolute, or "" where the fallback is "" */
    CONFIG_STRINGS,  /* ConfigStrings: one string or a list or array of strings */
    CONFIG_INT,      /* int64_t, min…max */
    CONFIG_BOOL,     /* bool */
    CONFIG_DURATION, /* usec_t, min…max in microseconds */
    CONFIG_SIZE,     /* uint64_t bytes, min…max */
    CONFIG_MODE,     /* mode_t: "0660" */
    CONFIG_CHOICE,   /* int: index into `choices` */
    CONFIG_GROUP,    /* a struct embedded at offset, read with `keys` */
    CONFIG_LIST,     /* ConfigItems: a list of groups, each read with `keys` */
    CONFIG_CUSTOM,   /* whatever `parse` makes of it */
} ConfigType;

typedef struct ConfigStrings {
    char **items; /* n strings, then NULL */
    size_t n;
} ConfigStrings;

typedef struct ConfigItems {
    void **items; /* n structs of `item_size` bytes, each on the heap */
    size_t n;
} ConfigItems;

struct ConfigKey {
    const char *name;
    ConfigType type;
    size_t offset;
    const char *fallback;       /* as one would write it in the file; NULL: unset (0, NULL) */
    bool required;              /* an error where it is missing, or an empty STRING or PATH */
    uint64_t min, max;          /* INT (as int64_t), DURATION, SIZE: of the value; LIST, STRINGS:
                                 * of how many there are; max 0: no bounds */
    const char *const *choices; /* CHOICE: names, NULL at the end */
    const ConfigKey *keys;      /* GROUP, LIST: ends with {} */
    size_t item_size;           /* LIST: of the struct; begins zeroed */
    void (*item_free)(void *);  /* LIST: frees an item and all that it holds; NULL: by `keys` */

    /* CUSTOM: reads `node` into `target` (= struct + offset) and reports what is wrong with
     * config_error(); not called where the key is absent. Other types: an optional check after
     * a good value was read from the file, with the same signature. Returns 0 or -ENOMEM. */
    int (*parse)(ConfigFile *file, const ConfigNode *node, void *target);
};

/* Reads `path` into `target` (zeroed by the caller). What is absent or wrong gets its default.
 * 0 and a file without errors; -EINVAL when there are errors (target is then incomplete, and all
 * zero where the file is no configuration at all; free it all the same); -ENOMEM. *ret_file is
 * set in every case but -ENOMEM. `target` may keep pointers that CUSTOM parsers made; it keeps
 * none into the file.
 *
 * Files may `@include "FILE"`, relative to the folder of the file that says so. Limits: 1 MiB
 * and 100 files in all, 10 levels of includes, 32 levels of groups and lists. Strings are UTF-8.
 * Whole numbers may have 64 bits. */
int config_load(const char *path, const ConfigKey *keys, void *target, ConfigFile **ret_file);
ConfigFile *config_file_free(ConfigFile *file);
DEFINE_CLEANUP(ConfigFile *, config_file_free)

/* Adds an error at the place of `node` (NULL: at the file as a whole). Checks that span several
 * settings call it after config_load(). At most 100 are kept, then one that says "and more". */
void config_error(ConfigFile *file, const ConfigNode *node, const char *format, ...)
    PRINTF_LIKE(3, 4);
/* The same for something worth a word that does not stop anything. */
void config_warning(ConfigFile *file, const ConfigNode *node, const char *format, ...)
    PRINTF_LIKE(3, 4);

/* An error that tells its own place, in a file that is no configuration: "FILE:LINE: …". */
void config_error_elsewhere(ConfigFile *file, const char *format, ...) PRINTF_LIKE(2, 3);

/* Takes the errors and warnings of another file along, as they are, behind those of `file`. */
void config_adopt(ConfigFile *file, const ConfigFile *other);

/* In the order of their lines; the strings belong to the file. */
size_t config_n_errors(const ConfigFile *file);
const char *config_error_at(const ConfigFile *file, size_t index);
size_t config_n_warnings(const ConfigFile *file);
const char *config_warning_at(const ConfigFile *file, size_t index);

/* The setting at a path as libconfig writes it ("rules.[2].name"), for errors. NULL: absent. */
const ConfigNode *config_find(const ConfigFile *file, const char *path);

/* For CUSTOM parsers. */
typedef enum ConfigKind {
    CONFIG_NODE_SCALAR, /* a number or boolean */
    CONFIG_NODE_STRING,
    CONFIG_NODE_GROUP,
    CONFIG_NODE_LIST, /* list or array */
} ConfigKind;
ConfigKind config_node_kind(const ConfigNode *node);
const char *config_node_name(const ConfigNode *node);   /* NULL in a list */
const char *config_node_string(const ConfigNode *node); /* NULL if it is none */
size_t config_node_length(const ConfigNode *node);      /* of a group or list */
const ConfigNode *config_node_at(const ConfigNode *node, size_t index);
const ConfigNode *config_node_get(const ConfigNode *group, const char *name);
unsigned config_node_line(const ConfigNode *node); /* in its own file */

/* How errors call it: "rules[0].match.from"; "" for the whole file. */
#define CONFIG_NODE_PATH_MAX 256
const char *config_node_path(const ConfigNode *node, char buffer[static CONFIG_NODE_PATH_MAX]);

/* Reports that the name of `node` is none of `known` (NULL at the end): "unknown key "frmo" in
 * match; did you mean "from"?", or the list of known ones when none is near. `where` NULL: the
 * path of the group that `node` is in. */
void config_unknown(ConfigFile *file, const ConfigNode *node, const char *where,
                    const char *const *known);

/* The one of `known` that `name` may be a slip of; NULL: none is near. */
const char *config_nearest(const char *name, const char *const *known, size_t n);

/* Frees what config_load() put into `target`, by the table; CUSTOM values are the caller's. */
void config_target_done(const ConfigKey *keys, void *target);

void config_strings_done(ConfigStrings *strings);

/* Prints the effective configuration, valid as a configuration itself: what the file says and
 * the defaults of all the rest. Keys that are absent and have no default stand in a comment. */
void config_dump(const ConfigFile *file, const ConfigKey *keys, FILE *stream);
