/* SPDX-License-Identifier: MIT */

/*
 * The adapter of libconfig: a file, its settings as nodes, and what is wrong with it.
 *
 * The text comes from config-source.c, which has resolved the includes; libconfig sees one
 * string, and its line numbers are mapped back. A ConfigNode is libconfig's setting under a
 * name of ours. Messages are kept in the order of their lines, whenever they come in.
 */

#include "common/config-internal.h"

#include <libconfig.h>
#include <limits.h>
#include <stdarg.h>

#include "common/config-source.h"
#include "common/text.h"

#define MESSAGES_MAX 100
#define PATH_LEVELS_MAX (CONFIG_SOURCE_MAX_NESTING + 2)

typedef struct Message {
    unsigned line; /* of the whole text */
    char *text;
} Message;

typedef struct Messages {
    Message items[MESSAGES_MAX + 1];
    size_t n;
    size_t n_more; /* that are not kept */
    char more[128];
} Messages;

struct ConfigFile {
    ConfigSource source;
    config_t config;
    bool parsed;
    Messages errors;
    Messages warnings;
};

static const config_setting_t *setting(const ConfigNode *node)
{
    return (const config_setting_t *)node;
}

static const ConfigNode *node_of(const config_setting_t *set)
{
    return (const ConfigNode *)set;
}

/* Messages */

static void messages_count_more(Messages *messages)
{
    messages->n_more++;
    snprintf(messages->more, sizeof(messages->more), "and more: %zu are not shown",
             messages->n_more);
}

/* Keeps the first MESSAGES_MAX by their lines; those of one line in the order they came. */
static void messages_consume(Messages *messages, unsigned line, char *text)
{
    size_t at = messages->n;

    while (at > 0 && messages->items[at - 1].line > line)
        at--;
    memmove(&messages->items[at + 1], &messages->items[at],
            (messages->n - at) * sizeof(messages->items[0]));
    messages->items[at] = (Message){ line, text };
    messages->n++;
    if (messages->n > MESSAGES_MAX) {
        free(messages->items[--messages->n].text);
        messages_count_more(messages);
    }
}

static void make_plain(char *text)
{
    for (char *at = text; *at; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7F)
            *at = ' ';
}

static void messages_add(const ConfigFile *file, Messages *messages, unsigned line,
                         const char *format, va_list args) __attribute__((format(printf, 4, 0)));

static void messages_add(const ConfigFile *file, Messages *messages, unsigned line,
                         const char *format, va_list args)
{
    const char *path;
    char *message = NULL, *text = NULL;
    unsigned file_line;
    int n;

    config_source_place(&file->source, line, &path, &file_line);
    if (vasprintf(&message, format, args) < 0) {
        messages_count_more(messages);
        return;
    }
    if (line > 0)
        n = asprintf(&text, "%s:%u: %s", path, file_line, message);
    else
        n = asprintf(&text, "%s: %s", path, message);
    free(message);
    if (n < 0) {
        /* It must not pass for a file without errors. */
        messages_count_more(messages);
        return;
    }
    make_plain(text);
    messages_consume(messages, line, text);
}

static void PRINTF_LIKE(3, 4)
    error_at_line(ConfigFile *file, unsigned line, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    messages_add(file, &file->errors, line, format, args);
    va_end(args);
}

static size_t messages_n(const Messages *messages)
{
    return messages->n + (messages->n_more > 0 ? 1 : 0);
}

static const char *messages_at(const Messages *messages, size_t index)
{
    return index < messages->n ? messages->items[index].text : messages->more;
}

static void messages_done(Messages *messages)
{
    for (size_t i = 0; i < messages->n; i++)
        free(messages->items[i].text);
}

void config_error(ConfigFile *file, const ConfigNode *node, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    messages_add(file, &file->errors, node ? config_setting_source_line(setting(node)) : 0, format,
                 args);
    va_end(args);
}

void config_warning(ConfigFile *file, const ConfigNode *node, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    messages_add(file, &file->warnings, node ? config_setting_source_line(setting(node)) : 0,
                 format, args);
    va_end(args);
}

void config_error_elsewhere(ConfigFile *file, const char *format, ...)
{
    char *text;
    va_list args;
    int n;

    va_start(args, format);
    n = vasprintf(&text, format, args);
    va_end(args);
    if (n < 0) {
        messages_count_more(&file->errors);
        return;
    }
    make_plain(text);
    messages_consume(&file->errors, UINT_MAX, text);
}

static void messages_adopt(Messages *messages, const Messages *other)
{
    for (size_t i = 0; i < messages_n(other); i++) {
        char *text = strdup(messages_at(other, i));

        if (text)
            messages_consume(messages, UINT_MAX, text);
        else
            messages_count_more(messages);
    }
}

void config_adopt(ConfigFile *file, const ConfigFile *other)
{
    messages_adopt(&file->errors, &other->errors);
    messages_adopt(&file->warnings, &other->warnings);
}

size_t config_n_errors(const ConfigFile *file)
{
    return messages_n(&file->errors);
}

const char *config_error_at(const ConfigFile *file, size_t index)
{
    return messages_at(&file->errors, index);
}

size_t config_n_warnings(const ConfigFile *file)
{
    return messages_n(&file->warnings);
}

const char *config_warning_at(const ConfigFile *file, size_t index)
{
    return messages_at(&file->warnings, index);
}

/* Nodes */

const ConfigNode *config_root(const ConfigFile *file)
{
    return file->parsed ? node_of(config_root_setting(&file->config)) : NULL;
}

const ConfigNode *config_find(const ConfigFile *file, const char *path)
{
    return file->parsed ? node_of(config_lookup(&file->config, path)) : NULL;
}

ConfigKind config_node_kind(const ConfigNode *node)
{
    switch (config_setting_type(setting(node))) {
    case CONFIG_TYPE_STRING:
        return CONFIG_NODE_STRING;
    case CONFIG_TYPE_GROUP:
        return CONFIG_NODE_GROUP;
    case CONFIG_TYPE_LIST:
    case CONFIG_TYPE_ARRAY:
        return CONFIG_NODE_LIST;
    default:
        return CONFIG_NODE_SCALAR;
    }
}

bool config_node_is_array(const ConfigNode *node)
{
    return config_setting_is_array(setting(node));
}

const char *config_node_name(const ConfigNode *node)
{
    return config_setting_name(setting(node));
}

const char *config_node_string(const ConfigNode *node)
{
    return config_setting_get_string(setting(node));
}

bool config_node_int(const ConfigNode *node, int64_t *ret)
{
    short type = config_setting_type(setting(node));

    if (type != CONFIG_TYPE_INT && type != CONFIG_TYPE_INT64)
        return false;
    *ret = type == CONFIG_TYPE_INT ? config_setting_get_int(setting(node))
                                   : config_setting_get_int64(setting(node));
    return true;
}

bool config_node_float(const ConfigNode *node, double *ret)
{
    if (config_setting_type(setting(node)) != CONFIG_TYPE_FLOAT)
        return false;
    *ret = config_setting_get_float(setting(node));
    return true;
}

bool config_node_bool(const ConfigNode *node, bool *ret)
{
    if (config_setting_type(setting(node)) != CONFIG_TYPE_BOOL)
        return false;
    *ret = config_setting_get_bool(setting(node)) == CONFIG_TRUE;
    return true;
}

size_t config_node_length(const ConfigNode *node)
{
    return (size_t)config_setting_length(setting(node));
}

const ConfigNode *config_node_at(const ConfigNode *node, size_t index)
{
    return index < config_node_length(node)
               ? node_of(config_setting_get_elem(setting(node), (unsigned)index))
               : NULL;
}

const ConfigNode *config_node_get(const ConfigNode *group, const char *name)
{
    return node_of(config_setting_get_member(setting(group), name));
}

unsigned config_node_line(const ConfigNode *node)
{
    const ConfigFile *file =
        (const void *)((const char *)setting(node)->config - offsetof(ConfigFile, config));
    const char *path;
    unsigned line;

    config_source_place(&file->source, config_setting_source_line(setting(node)), &path, &line);
    return line;
}

const char *config_node_path(const ConfigNode *node, char buffer[static CONFIG_NODE_PATH_MAX])
{
    const config_setting_t *levels[PATH_LEVELS_MAX], *at = setting(node);
    size_t n = 0, used = 0;

    for (; at && !config_setting_is_root(at) && n < ELEMENTSOF(levels);
         at = config_setting_parent(at))
        levels[n++] = at;
    buffer[0] = '\0';
    while (n-- > 0 && used < CONFIG_NODE_PATH_MAX) {
        const char *name = config_setting_name(levels[n]);
        int written = name ? snprintf(buffer + used, CONFIG_NODE_PATH_MAX - used, "%s%s",
                                      used > 0 ? "." : "", name)
                           : snprintf(buffer + used, CONFIG_NODE_PATH_MAX - used, "[%d]",
                                      config_setting_index(levels[n]));

        used += (size_t)written;
    }
    return buffer;
}

/* Files */

static void on_source_error(void *userdata, unsigned line, const char *message)
{
    error_at_line(userdata, line, "%s", message);
}

static ConfigFile *file_new(void)
{
    ConfigFile *file = calloc(1, sizeof(*file));

    if (file)
        config_init(&file->config);
    return file;
}

ConfigFile *config_file_free(ConfigFile *file)
{
    if (!file)
        return NULL;
    config_destroy(&file->config);
    config_source_done(&file->source);
    messages_done(&file->errors);
    messages_done(&file->warnings);
    free(file);
    return NULL;
}

int config_parse_value(const char *value, ConfigFile **ret)
{
    _cleanup_(config_file_freep) ConfigFile *file = file_new();
    _cleanup_free_ char *text = NULL;

    if (!file || asprintf(&text, "value = %s;", value) < 0)
        return -ENOMEM;
    file->source.files[0] = strdup("(default)");
    if (!file->source.files[0])
        return -ENOMEM;
    file->source.n_files = 1;
    if (config_read_string(&file->config, text) != CONFIG_TRUE)
        return -EINVAL;
    file->parsed = true;
    *ret = steal_ptr(file);
    return 0;
}

static const char *syntax_error_text(const char *text)
{
    if (!text || streq(text, "syntax error"))
        return "syntax error here or just before";
    if (streq(text, "duplicate setting name"))
        return "this setting stands in its group a second time";
    if (streq(text, "mismatched element type in array"))
        return "the elements of an array must be of one type";
    return text;
}

/* Strings may be escaped bytes of any kind; those that are no UTF-8 go nowhere from here. The
 * nesting is bounded by what config_source_read() lets pass. */
static void check_strings(ConfigFile *file, const ConfigNode *node)
{
    const char *value = config_node_string(node);
    char path[CONFIG_NODE_PATH_MAX];

    if (value && !text_is_utf8(value, strlen(value)))
        config_error(file, node, "%s: is no valid UTF-8", config_node_path(node, path));
    else if (!value && config_setting_is_aggregate(setting(node)))
        for (size_t i = 0; i < config_node_length(node); i++)
            check_strings(file, config_node_at(node, i));
}

/* 0, -EINVAL with the reason reported, or -ENOMEM. */
static int parse(ConfigFile *file, const char *path)
{
    int r = config_source_read(&file->source, path, on_source_error, file);

    if (r < 0)
        return r;
    if (config_read_string(&file->config, file->source.text) != CONFIG_TRUE) {
        error_at_line(file, (unsigned)MAX(config_error_line(&file->config), 1), "%s",
                      syntax_error_text(config_error_text(&file->config)));
        return -EINVAL;
    }
    file->parsed = true;
    check_strings(file, config_root(file));
    return 0;
}

int config_load(const char *path, const ConfigKey *keys, void *target, ConfigFile **ret_file)
{
    _cleanup_(config_file_freep) ConfigFile *file = file_new();
    int r;

    if (!file)
        return -ENOMEM;
    r = parse(file, path);
    if (r == -ENOMEM)
        return r;
    if (r == 0) {
        r = config_read_group(file, keys, config_root(file), "", target);
        if (r < 0)
            return r;
    }
    r = config_n_errors(file) > 0 ? -EINVAL : 0;
    *ret_file = steal_ptr(file);
    return r;
}
