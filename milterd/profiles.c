/* SPDX-License-Identifier: MIT */

/*
 * Profiles are read folder by folder and file by file, each in its alphabet, put in the place of
 * those of their name, and sorted at the end.
 */

#include "milterd/profiles.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>

#define SUFFIX ".conf"

/* What is being loaded. */
typedef struct Load {
    Profiles *profiles;
    ConfigFile *file;               /* whose errors all errors become */
    const ConfigNode *node;         /* the key in it, or NULL */
    bool from_folder[PROFILES_MAX]; /* which profiles the folder that is read has given */
} Load;

Profiles *profiles_free(Profiles *profiles)
{
    if (!profiles)
        return NULL;
    for (size_t i = 0; i < profiles->n; i++)
        profile_free(profiles->items[i]);
    free(profiles->items);
    names_done(&profiles->fields);
    names_done(&profiles->macros);
    free(profiles);
    return NULL;
}

const Profile *profiles_find(const Profiles *profiles, const char *name)
{
    for (size_t i = 0; i < profiles->n; i++)
        if (streq(profiles->items[i]->name, name))
            return profiles->items[i];
    return NULL;
}

static int add_consume(Load *load, const char *path, Profile *profile)
{
    Profiles *profiles = load->profiles;
    Profile **items;
    size_t i = 0;

    while (i < profiles->n && !streq(profiles->items[i]->name, profile->name))
        i++;
    if (i < profiles->n && !load->from_folder[i]) {
        profile_free(profiles->items[i]);
        profiles->items[i] = profile;
        load->from_folder[i] = true;
        return 0;
    }
    if (i < profiles->n || profiles->n >= PROFILES_MAX) {
        if (i < profiles->n)
            config_error(load->file, load->node,
                         "profiles: %s: another file of its folder has a profile \"%s\" already",
                         path, profile->name);
        else
            config_error(load->file, load->node, "profiles: there are more than %d", PROFILES_MAX);
        profile_free(profile);
        return 0;
    }
    items = reallocarray(profiles->items, profiles->n + 1, sizeof(*items));
    if (!items) {
        profile_free(profile);
        return -ENOMEM;
    }
    profiles->items = items;
    profiles->items[profiles->n++] = profile;
    load->from_folder[i] = true;
    return 0;
}

static int load_file(Load *load, const char *path)
{
    _cleanup_(config_file_freep) ConfigFile *file = NULL;
    Profile *profile = NULL;
    int r;

    r = profile_load(path, &profile, &file);
    if (r == -ENOMEM)
        return r;
    config_adopt(load->file, file);
    return r == 0 ? add_consume(load, path, profile) : 0;
}

static int is_profile(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name), suffix = strlen(SUFFIX);

    return entry->d_name[0] != '.' && length > suffix &&
           streq(entry->d_name + length - suffix, SUFFIX);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int load_folder(Load *load, const char *folder)
{
    struct dirent **entries = NULL;
    int n = scandir(folder, &entries, is_profile, by_name), r = 0;

    if (n < 0) {
        if (errno == ENOMEM)
            return -ENOMEM;
        if (errno != ENOENT || (!streq(folder, PROFILES_DIR) && !streq(folder, PROFILES_LOCAL_DIR)))
            config_error(load->file, load->node, "profiles: %s: %s; it must be a folder", folder,
                         strerrordesc_np(errno));
        return 0;
    }
    memset(load->from_folder, 0, sizeof(load->from_folder));
    for (int i = 0; i < n; i++) {
        char path[PATH_MAX];

        if (r == 0 &&
            snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name) < (int)sizeof(path))
            r = load_file(load, path);
        free(entries[i]);
    }
    free(entries);
    return r;
}

static int compare(const void *a, const void *b)
{
    const Profile *const *one = a, *const *other = b;

    if ((*one)->order != (*other)->order)
        return (*one)->order < (*other)->order ? -1 : 1;
    return strcmp((*one)->name, (*other)->name);
}

/* What they need of a mail, and what rules can name. */
static int sum_up(Profiles *profiles)
{
    _cleanup_(names_done) Names uses = {};
    char macro[MACRO_NAME_SIZE];
    int r = 0;

    for (size_t i = 0; r == 0 && i < profiles->n; i++) {
        const Profile *profile = profiles->items[i];

        r = profile_add_fields(profile, &profiles->fields);
        if (r == 0)
            r = profile_add_uses(profile, &uses);
        if (r == 0)
            r = profile_add_macros(profile, &profiles->macros);
        if (profile_matches_at(profile, MAIL_STAGE_HELO))
            profiles->needs_helo = true;
    }
    for (size_t i = 0; r == 0 && i < uses.n; i++)
        if (variables_macro(uses.items[i], macro))
            r = names_add(&profiles->macros, macro);
    if (names_have(&uses, "helo"))
        profiles->needs_helo = true;
    return r;
}

int profiles_load(const ConfigStrings *folders, const char *path, ConfigFile *file, Profiles **ret)
{
    _cleanup_(profiles_freep) Profiles *profiles = calloc(1, sizeof(*profiles));
    Load load = { profiles, file, config_find(file, "profiles"), {} };
    const char *slash = strrchr(path, '/');
    int above = slash ? (int)(slash - path) + 1 : 0, r = profiles ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && i < folders->n; i++) {
        _cleanup_free_ char *folder = NULL;

        if (asprintf(&folder, "%.*s%s", folders->items[i][0] == '/' ? 0 : above, path,
                     folders->items[i]) < 0)
            return -ENOMEM;
        r = load_folder(&load, folder);
    }
    if (r == 0 && profiles->n > 0)
        qsort(profiles->items, profiles->n, sizeof(*profiles->items), compare);
    if (r == 0)
        r = sum_up(profiles);
    if (r < 0)
        return r;
    *ret = steal_ptr(profiles);
    return 0;
}

int profiles_choose(const Profiles *profiles, MatchInput *input, ProfileChoice *ret)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < profiles->n; i++)
        r = profile_choose(profiles->items[i], input, ret);
    return r;
}
