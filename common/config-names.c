/* SPDX-License-Identifier: MIT */

/*
 * Names and values as errors show them: what is known, what is near, what was meant.
 */

#include "common/config-internal.h"

const char *config_shown(const char *value, char buffer[static CONFIG_SHOWN_MAX])
{
    size_t n = strnlen(value, CONFIG_SHOWN_MAX);

    if (n < CONFIG_SHOWN_MAX) {
        memcpy(buffer, value, n + 1);
    } else {
        n = CONFIG_SHOWN_MAX - sizeof("…");
        /* Not within a character: back over its continuation bytes. */
        while (n > 0 && ((unsigned char)value[n] & 0xC0) == 0x80)
            n--;
        memcpy(buffer, value, n);
        strcpy(buffer + n, "…");
    }
    return buffer;
}

char *config_list_names(const char *const *names)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    bool failed;

    if (!stream)
        return NULL;
    for (size_t i = 0; names[i]; i++)
        fprintf(stream, "%s\"%s\"", i == 0 ? "" : names[i + 1] ? ", " : " and ", names[i]);
    failed = ferror(stream) != 0;
    if (fclose(stream) != 0 || failed) {
        free(text);
        return NULL;
    }
    return text;
}

/* How many letters to change, add, drop or swap with their neighbour make `b` of `a`; case
 * aside. Names past DISTANCE_MAX are near to nothing. */
#define DISTANCE_MAX 40
static size_t distance(const char *a, const char *b)
{
    size_t rows[3][DISTANCE_MAX + 1], a_size = strlen(a), b_size = strlen(b);

    if (a_size > DISTANCE_MAX || b_size > DISTANCE_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= b_size; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];

        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            bool same = (a[i - 1] | 0x20) == (b[j - 1] | 0x20);

            row[j] = MIN(MIN(above[j], row[j - 1]) + 1, above[j - 1] + (same ? 0 : 1));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = MIN(row[j], above2[j - 2] + 1);
        }
    }
    return rows[a_size % 3][b_size];
}

/* One slip is forgiven in two to four letters, two in up to seven, three past that. */
const char *config_nearest(const char *name, const char *const *known, size_t n)
{
    const char *best = NULL;
    size_t best_distance = SIZE_MAX;

    for (size_t i = 0; i < n; i++) {
        size_t allowed = MIN((MAX(strlen(name), strlen(known[i])) + 1) / 3, (size_t)3),
               is = distance(name, known[i]);

        if (is <= allowed && is < best_distance) {
            best = known[i];
            best_distance = is;
        }
    }
    return best;
}

void config_unknown(ConfigFile *file, const ConfigNode *node, const char *where,
                    const char *const *known)
{
    const char *name = config_node_name(node), *near;
    char shown[CONFIG_SHOWN_MAX], path[CONFIG_NODE_PATH_MAX];
    _cleanup_free_ char *names = NULL;
    size_t n = 0;

    if (!where) {
        char *dot = strrchr(config_node_path(node, path), '.');

        *(dot ? dot : path) = '\0';
        where = path;
    }
    name = name ? name : "";
    while (known[n])
        n++;
    near = config_nearest(name, known, n);
    config_shown(name, shown);
    if (near) {
        config_error(file, node, "unknown key \"%s\"%s%s; did you mean \"%s\"?", shown,
                     *where ? " in " : "", where, near);
        return;
    }
    names = config_list_names(known);
    config_error(file, node, "unknown key \"%s\"%s%s; known are %s", shown, *where ? " in " : "",
                 where, names ? names : "others");
}
