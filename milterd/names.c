/* SPDX-License-Identifier: MIT */

/*
 * An array that is kept sorted: there are a few dozen names, made once at the start.
 */

#include "milterd/names.h"

#include "common/config.h"

/* Where the name is, or belongs. */
static size_t find(const Names *names, const char *name, bool *ret_there)
{
    size_t low = 0, high = names->n;

    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(name, names->items[middle]);

        if (order == 0) {
            *ret_there = true;
            return middle;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    *ret_there = false;
    return low;
}

int names_add(Names *names, const char *name)
{
    bool there;
    size_t at = find(names, name, &there);
    char **items, *copy;

    if (there)
        return 0;
    items = reallocarray(names->items, names->n + 1, sizeof(*items));
    if (!items)
        return -ENOMEM;
    names->items = items;
    copy = strdup(name);
    if (!copy)
        return -ENOMEM;
    memmove(&items[at + 1], &items[at], (names->n - at) * sizeof(*items));
    items[at] = copy;
    names->n++;
    return 0;
}

int names_add_all(Names *names, const Names *others)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < others->n; i++)
        r = names_add(names, others->items[i]);
    return r;
}

bool names_have(const Names *names, const char *name)
{
    bool there;

    find(names, name, &there);
    return there;
}

void names_done(Names *names)
{
    for (size_t i = 0; i < names->n; i++)
        free(names->items[i]);
    free(names->items);
    *names = (Names){};
}

const char *names_nearest(const Names *names, const char *name)
{
    return config_nearest(name, (const char *const *)names->items, names->n);
}

char *names_list(const Names *names)
{
    size_t size = sizeof("none");
    char *text, *end;

    for (size_t i = 0; i < names->n; i++)
        size += strlen(names->items[i]) + 2;
    text = malloc(size);
    if (!text)
        return NULL;
    end = text;
    for (size_t i = 0; i < names->n; i++)
        end = stpcpy(stpcpy(end, i > 0 ? ", " : ""), names->items[i]);
    if (names->n == 0)
        strcpy(text, "none");
    return text;
}
