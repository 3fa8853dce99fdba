/* SPDX-License-Identifier: MIT */

/*
 * The effective configuration as text: for each key of the tables what the file says, or else
 * the fallback as the table writes it. It reads back to the same values.
 */

#include "common/config-internal.h"

#include <inttypes.h>
#include <math.h>

static void dump_string(const char *value, FILE *stream)
{
    fputc('"', stream);
    for (const char *at = value; *at; at++) {
        unsigned char byte = (unsigned char)*at;

        if (byte == '"' || byte == '\\')
            fprintf(stream, "\\%c", byte);
        else if (byte == '\n')
            fputs("\\n", stream);
        else if (byte == '\t')
            fputs("\\t", stream);
        else if (byte < 0x20 || byte == 0x7F)
            fprintf(stream, "\\x%02X", byte);
        else
            fputc(byte, stream);
    }
    fputc('"', stream);
}

static void dump_scalar(const ConfigNode *node, FILE *stream)
{
    int64_t integer;
    double number;
    bool boolean;

    if (config_node_bool(node, &boolean))
        fputs(boolean ? "true" : "false", stream);
    else if (config_node_int(node, &integer))
        fprintf(stream, "%" PRId64 "%s", integer,
                integer > INT32_MAX || integer < INT32_MIN ? "L" : "");
    else if (config_node_float(node, &number))
        /* The exponent makes it a float for the reader, whatever the number. */
        fprintf(stream, "%.16e", isfinite(number) ? number : 0.0);
}

static void indent(unsigned level, FILE *stream)
{
    for (unsigned i = 0; i < level; i++)
        fputs("  ", stream);
}

/* Any setting, as it stands in the file. */
static void dump_node(const ConfigNode *node, unsigned level, FILE *stream)
{
    size_t n;

    switch (config_node_kind(node)) {
    case CONFIG_NODE_STRING:
        dump_string(config_node_string(node), stream);
        break;
    case CONFIG_NODE_SCALAR:
        dump_scalar(node, stream);
        break;
    case CONFIG_NODE_GROUP:
        n = config_node_length(node);
        fputs("{\n", stream);
        for (size_t i = 0; i < n; i++) {
            const ConfigNode *member = config_node_at(node, i);

            indent(level + 1, stream);
            fprintf(stream, "%s = ", config_node_name(member));
            dump_node(member, level + 1, stream);
            fputs(";\n", stream);
        }
        indent(level, stream);
        fputc('}', stream);
        break;
    case CONFIG_NODE_LIST:
        n = config_node_length(node);
        fputs(config_node_is_array(node) ? "[ " : "( ", stream);
        for (size_t i = 0; i < n; i++) {
            dump_node(config_node_at(node, i), level + 1, stream);
            fputs(i + 1 < n ? ", " : " ", stream);
        }
        fputs(config_node_is_array(node) ? "]" : ")", stream);
        break;
    }
}

static void dump_keys(const ConfigKey *keys, const ConfigNode *group, unsigned level, FILE *stream);

static void dump_list(const ConfigKey *key, const ConfigNode *list, unsigned level, FILE *stream)
{
    size_t n = list && config_node_kind(list) == CONFIG_NODE_LIST ? config_node_length(list) : 0;

    fprintf(stream, "%s = (", key->name);
    for (size_t i = 0; i < n; i++) {
        const ConfigNode *item = config_node_at(list, i);

        fputs(i > 0 ? ",\n" : "\n", stream);
        indent(level + 1, stream);
        fputs("{\n", stream);
        dump_keys(key->keys, config_node_kind(item) == CONFIG_NODE_GROUP ? item : NULL, level + 2,
                  stream);
        indent(level + 1, stream);
        fputc('}', stream);
    }
    if (n > 0) {
        fputc('\n', stream);
        indent(level, stream);
    }
    fputs(");\n", stream);
}

static void dump_keys(const ConfigKey *keys, const ConfigNode *group, unsigned level, FILE *stream)
{
    for (const ConfigKey *key = keys; key->name; key++) {
        const ConfigNode *node = group ? config_node_get(group, key->name) : NULL;

        indent(level, stream);
        if (key->type == CONFIG_GROUP) {
            fprintf(stream, "%s = {\n", key->name);
            dump_keys(key->keys, node && config_node_kind(node) == CONFIG_NODE_GROUP ? node : NULL,
                      level + 1, stream);
            indent(level, stream);
            fputs("};\n", stream);
        } else if (key->type == CONFIG_LIST) {
            dump_list(key, node, level, stream);
        } else if (node) {
            fprintf(stream, "%s = ", key->name);
            dump_node(node, level, stream);
            fputs(";\n", stream);
        } else if (key->fallback) {
            fprintf(stream, "%s = %s;\n", key->name, key->fallback);
        } else {
            fprintf(stream, "# %s: not set\n", key->name);
        }
    }
}

void config_dump(const ConfigFile *file, const ConfigKey *keys, FILE *stream)
{
    dump_keys(keys, config_root(file), 0, stream);
}
