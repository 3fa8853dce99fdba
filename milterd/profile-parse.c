/* SPDX-License-Identifier: MIT */

/*
 * The tables of a profile's file, and what can only be checked once all of it is read: the names
 * that its templates use. After that a profile is only read, by all threads at once.
 */

#include "milterd/profile.h"

#include <stdio.h>

static int parse_matches(ConfigFile *file, const ConfigNode *node, void *target)
{
    bool list = config_node_kind(node) == CONFIG_NODE_LIST;
    size_t n = list ? config_node_length(node) : 1;
    char path[CONFIG_NODE_PATH_MAX];
    Matches *matches = target;
    int r = 0;

    if (n < 1 || n > PROFILE_MATCHES_MAX) {
        config_error(file, node, "%s: has %zu groups; allowed are 1 to %d",
                     config_node_path(node, path), n, PROFILE_MATCHES_MAX);
        return 0;
    }
    matches->items = calloc(n, sizeof(*matches->items));
    if (!matches->items)
        return -ENOMEM;
    for (size_t i = 0; r == 0 && i < n; i++) {
        Match **match = &matches->items[matches->n];

        r = match_parse(file, list ? config_node_at(node, i) : node, match);
        if (*match)
            matches->n++;
    }
    return r;
}

static int parse_omitted(ConfigFile *file, const ConfigNode *node, Pattern *omit)
{
    const char *text = config_node_string(node);
    char reason[PATTERN_REASON_MAX], path[CONFIG_NODE_PATH_MAX];
    Pattern *pattern;
    int r;

    config_node_path(node, path);
    if (!text) {
        config_error(file, node, "%s: must be a regular expression, in quotes, or a list of them",
                     path);
        return 0;
    }
    r = pattern_new_regex(text, &pattern, reason);
    if (r == -EINVAL)
        config_error(file, node, "%s: \"%.100s\" %s", path, text, reason);
    if (r < 0)
        return r == -ENOMEM ? r : 0;
    return pattern_add_consume(omit, pattern);
}

static int parse_omit(ConfigFile *file, const ConfigNode *node, void *target)
{
    bool list = config_node_kind(node) == CONFIG_NODE_LIST;
    size_t n = list ? config_node_length(node) : 1;
    char path[CONFIG_NODE_PATH_MAX];
    Pattern **omit = target;
    int r = 0;

    if (n > PROFILE_OMIT_MAX) {
        config_error(file, node, "%s: there are %zu, at most %d are allowed",
                     config_node_path(node, path), n, PROFILE_OMIT_MAX);
        return 0;
    }
    r = pattern_new_any(omit);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = parse_omitted(file, list ? config_node_at(node, i) : node, *omit);
    return r;
}

static int check_name(ConfigFile *file, const ConfigNode *node, void *target)
{
    const char *name = *(char **)target;
    size_t length = strlen(name);
    char path[CONFIG_NODE_PATH_MAX];

    if (length == 0 || length > PROFILE_NAME_MAX || streq(name, "auto") || streq(name, "plain") ||
        strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") != length)
        config_error(file, node,
                     "%s: \"%.100s\" is no name; allowed are 1 to %d of A-Z a-z 0-9 . _ - but "
                     "neither \"auto\" nor \"plain\"",
                     config_node_path(node, path), name, PROFILE_NAME_MAX);
    return 0;
}

/* clang-format off */
#define KEYS_OF_BOTH(type)                                                                         \
    { "read", CONFIG_LIST, offsetof(type, read), .keys = reading_keys,                              \
      .item_size = sizeof(Reading), .item_free = reading_free, .max = READINGS_MAX },                 \
    { "set", CONFIG_GROUP, offsetof(type, set), .keys = set_keys },                                \
    { "omit", CONFIG_CUSTOM, offsetof(type, omit), .parse = parse_omit }
/* clang-format on */

static const ConfigKey form_keys[] = {
    { "name", CONFIG_STRING, offsetof(Form, name), .required = true, .parse = check_name },
    { "match", CONFIG_CUSTOM, offsetof(Form, matches), .required = true, .parse = parse_matches },
    KEYS_OF_BOTH(Form),
    {},
};

static void form_free(void *item)
{
    Form *form = item;

    if (!form)
        return;
    for (size_t i = 0; i < form->matches.n; i++)
        match_free(form->matches.items[i]);
    free(form->matches.items);
    set_done(&form->set);
    pattern_free(form->omit);
    config_target_done(form_keys, form);
    free(form);
}

static const ConfigKey profile_keys[] = {
    { "name", CONFIG_STRING, offsetof(Profile, name), .required = true, .parse = check_name },
    { "about", CONFIG_STRING, offsetof(Profile, about), .required = true },
    { "recognised", CONFIG_STRING, offsetof(Profile, recognised), .required = true },
    { "order", CONFIG_INT, offsetof(Profile, order), .fallback = "50", .min = 0, .max = 99 },
    KEYS_OF_BOTH(Profile),
    { "forms", CONFIG_LIST, offsetof(Profile, forms), .required = true, .keys = form_keys,
      .item_size = sizeof(Form), .item_free = form_free, .min = 1, .max = PROFILE_FORMS_MAX },
    {},
};

Profile *profile_free(Profile *profile)
{
    if (!profile)
        return NULL;
    set_done(&profile->set);
    pattern_free(profile->omit);
    config_target_done(profile_keys, profile);
    free(profile);
    return NULL;
}

static Form *form_at(const Profile *profile, size_t index)
{
    return profile->forms.items[index];
}

/* Checks */

static int add_match_names(const Form *form, ConfigFile *file, const ConfigNode *node, Names *names)
{
    char path[CONFIG_NODE_PATH_MAX];
    const char *taken = NULL;
    int r = 0;

    for (size_t i = 0; r == 0 && i < form->matches.n; i++)
        r = match_add_names(form->matches.items[i], false, names, &taken);
    if (taken)
        config_error(
            file, node,
            "%s: a group can't be called \"%s\", which is the name of something else; call "
            "it otherwise",
            config_node_path(node, path), taken);
    return r;
}

/* What the form's own templates may name: what its match and its readings take. */
static int check_form(const Form *form, const Names *of_profile, ConfigFile *file,
                      const ConfigNode *node, Names *of_all)
{
    const ConfigNode *read = config_node_get(node, "read"), *set = config_node_get(node, "set");
    _cleanup_(names_done) Names names = {}, fields = {};
    SetScope scope = { &names, &fields, false };
    int r;

    r = add_match_names(form, file, config_node_get(node, "match"), &names);
    if (r == 0 && read)
        r = readings_add_names(&form->read, false, file, read, &names);
    if (r == 0 && !read)
        r = names_add_all(&names, of_profile);
    if (r == 0)
        r = set_add_fields(&form->whole_set, &fields);
    if (r == 0 && read)
        r = readings_check(&form->read, &names, false, file, read);
    if (r == 0 && set)
        r = set_check(&form->set, &scope, file, set);
    if (r == 0)
        r = names_add_all(of_all, &names);
    return r;
}

/* What stands in the profile for all forms may name what any of them takes. */
static int check(Profile *profile, ConfigFile *file)
{
    const ConfigNode *read = config_find(file, "read"), *set = config_find(file, "set"),
                     *forms = config_find(file, "forms");
    _cleanup_(names_done) Names names = {}, of_all = {}, fields = {};
    SetScope scope = { &of_all, &fields, false };
    int r = 0;

    if (read)
        r = readings_add_names(&profile->read, false, file, read, &names);
    if (r == 0)
        r = names_add_all(&of_all, &names);
    for (size_t i = 0; r == 0 && i < profile->forms.n; i++) {
        Form *form = form_at(profile, i);

        r = check_form(form, &names, file, config_node_at(forms, i), &of_all);
        if (r == 0)
            r = set_add_fields(&form->set, &fields);
    }
    if (r == 0 && read)
        r = readings_check(&profile->read, &of_all, false, file, read);
    if (r == 0 && set)
        r = set_check(&profile->set, &scope, file, set);
    return r;
}

static void inherit(Profile *profile)
{
    for (size_t i = 0; i < profile->forms.n; i++) {
        Form *form = form_at(profile, i);

        form->whole_read = form->read.items ? &form->read : &profile->read;
        form->whole_set = set_inherit(&form->set, &profile->set);
        form->whole_omit = form->omit ? form->omit : profile->omit;
    }
}

int profile_load(const char *path, Profile **ret, ConfigFile **ret_file)
{
    _cleanup_(profile_freep) Profile *profile = calloc(1, sizeof(*profile));
    _cleanup_(config_file_freep) ConfigFile *file = NULL;
    int r;

    if (!profile)
        return -ENOMEM;
    r = config_load(path, profile_keys, profile, &file);
    if (r == -ENOMEM)
        return r;
    inherit(profile);
    /* A list of which some were left out no longer stands as the file has it. */
    if (r == 0) {
        r = check(profile, file);
        if (r < 0)
            return r;
        r = config_n_errors(file) > 0 ? -EINVAL : 0;
    }
    *ret_file = steal_ptr(file);
    if (r == 0)
        *ret = steal_ptr(profile);
    return r;
}

/* What it needs and gives */

int profile_add_fields(const Profile *profile, Names *fields)
{
    int r = set_add_fields(&profile->set, fields);

    for (size_t i = 0; r == 0 && i < profile->forms.n; i++)
        r = set_add_fields(&form_at(profile, i)->set, fields);
    return r;
}

int profile_add_uses(const Profile *profile, Names *uses)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < profile->forms.n; i++) {
        const Form *form = form_at(profile, i);

        r = set_add_uses(&form->whole_set, uses);
        if (r == 0)
            r = readings_add_uses(form->whole_read, uses);
    }
    return r;
}

int profile_add_macros(const Profile *profile, Names *macros)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < profile->forms.n; i++) {
        const Matches *matches = &form_at(profile, i)->matches;

        for (size_t j = 0; r == 0 && j < matches->n; j++) {
            const char *name;
            size_t index = 0;

            while (r == 0 && (name = match_next_macro(matches->items[j], &index)))
                r = names_add(macros, name);
        }
    }
    return r;
}

bool profile_matches_at(const Profile *profile, MailStage stage)
{
    for (size_t i = 0; i < profile->forms.n; i++) {
        const Matches *matches = &form_at(profile, i)->matches;

        for (size_t j = 0; j < matches->n; j++)
            if (match_decides_at(matches->items[j], stage))
                return true;
    }
    return false;
}
