/* SPDX-License-Identifier: MIT */

/*
 * Any bytes as a configuration: read by a table of every type, printed, and, where there were no
 * errors, read back to the same text.
 */

#include "common/config.h"

#include <sys/mman.h>

typedef struct Item {
    char *name;
    ConfigStrings strings;
    ConfigItems items;
} Item;

typedef struct All {
    char *string, *path;
    ConfigStrings strings;
    int64_t integer;
    bool boolean;
    usec_t duration_usec;
    uint64_t size_bytes;
    mode_t mode;
    int choice;
    ConfigItems items;
} All;

static int walk(ConfigFile *file, const ConfigNode *node, void *target)
{
    char path[CONFIG_NODE_PATH_MAX];

    config_node_path(node, path);
    for (size_t i = 0; i < config_node_length(node); i++)
        walk(file, config_node_at(node, i), target);
    if (config_node_line(node) % 2)
        config_error(file, node, "%s: odd", path);
    return 0;
}

static const char *const names[] = { "one", "two", NULL };

static const ConfigKey inner_keys[] = {
    { "name", CONFIG_STRING, offsetof(Item, name), .fallback = "\"x\"" },
    {},
};

static const ConfigKey item_keys[] = {
    { "name", CONFIG_STRING, offsetof(Item, name), .required = true },
    { "strings", CONFIG_STRINGS, offsetof(Item, strings), .max = 3 },
    { "items", CONFIG_LIST, offsetof(Item, items), .keys = inner_keys, .item_size = sizeof(Item) },
    {},
};

static const ConfigKey group_keys[] = {
    { "path", CONFIG_PATH, offsetof(All, path), .fallback = "\"\"" },
    { "mode", CONFIG_MODE, offsetof(All, mode), .fallback = "\"0660\"" },
    { "choice", CONFIG_CHOICE, offsetof(All, choice), .fallback = "\"two\"", .choices = names },
    {},
};

static const ConfigKey all_keys[] = {
    { "string", CONFIG_STRING, offsetof(All, string), .fallback = "\"a\"" },
    { "strings", CONFIG_STRINGS, offsetof(All, strings), .fallback = "[ \"a\", \"b\" ]" },
    { "integer", CONFIG_INT, offsetof(All, integer), .fallback = "1", .max = 5000000000 },
    { "boolean", CONFIG_BOOL, offsetof(All, boolean), .fallback = "true" },
    { "duration", CONFIG_DURATION, offsetof(All, duration_usec), .fallback = "\"5s\"",
      .max = 9000000000000000 },
    { "size", CONFIG_SIZE, offsetof(All, size_bytes), .fallback = "\"4K\"" },
    { "group", CONFIG_GROUP, 0, .keys = group_keys },
    { "items", CONFIG_LIST, offsetof(All, items), .keys = item_keys, .item_size = sizeof(Item) },
    { "custom", CONFIG_CUSTOM, 0, .parse = walk },
    {},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* libconfig forgets a string or two when it gives up on a file. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libconfig\n";
}

/* Loads the bytes; where they have no errors, returns what is in effect, else NULL. */
static char *load_and_dump(const void *data, size_t size)
{
    _cleanup_close_ int fd = memfd_create("fuzz", MFD_CLOEXEC);
    char path[64], *text = NULL;
    All all = {};
    ConfigFile *file = NULL;
    size_t text_size;
    FILE *stream;
    int r;

    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        return NULL;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    r = config_load(path, all_keys, &all, &file);
    if (!file)
        return NULL;
    for (size_t i = 0; i < config_n_errors(file); i++)
        if (strchr(config_error_at(file, i), '\n'))
            abort();
    stream = open_memstream(&text, &text_size);
    if (stream) {
        config_dump(file, all_keys, stream);
        fclose(stream);
    }
    config_target_done(all_keys, &all);
    config_file_free(file);
    if (r < 0) {
        free(text);
        return NULL;
    }
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *first = load_and_dump(data, size), *second = NULL;

    if (!first || strstr(first, "custom = "))
        return 0;
    second = load_and_dump(first, strlen(first));
    if (!second || !streq(first, second))
        abort();
    return 0;
}
