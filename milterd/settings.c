/* SPDX-License-Identifier: MIT */

/*
 * The tables of milterd.conf.
 *
 * A Settings is made once for each load and never changed afterwards: workers inherit it over
 * fork() and read it from many threads.
 */

#include "milterd/settings.h"

#include <assert.h>
#include <sched.h>

#include "milterd/guard.h"
#include "milterd/listener.h"

static const char *const on_failure_names[] = {
    [ON_FAILURE_TEMPFAIL] = "tempfail",
    [ON_FAILURE_ACCEPT] = "accept",
    NULL,
};

static const ConfigKey relay_keys[] = {
    { "socket", CONFIG_PATH, offsetof(RelaySettings, socket),
      .fallback = "\"/run/xmpprelay/relay.sock\"" },
    /* Postfix waits 300 s for the verdict on a message, other MTAs no less. */
    { "timeout", CONFIG_DURATION, offsetof(RelaySettings, timeout_usec), .fallback = "\"5s\"",
      .min = 10 * USEC_PER_MSEC, .max = 240 * USEC_PER_SEC },
    { "on_failure", CONFIG_CHOICE, offsetof(RelaySettings, on_failure), .fallback = "\"tempfail\"",
      .choices = on_failure_names },
    {},
};

static int check_listen(ConfigFile *file, const ConfigNode *node, void *target)
{
    const ConfigStrings *listen = target;

    for (size_t i = 0; i < listen->n; i++) {
        const ConfigNode *at =
            config_node_kind(node) == CONFIG_NODE_LIST ? config_node_at(node, i) : node;
        char reason[LISTENER_REASON_MAX];
        ListenAddress address;
        size_t k = 0;

        if (listen_address_parse(listen->items[i], &address, reason) < 0)
            config_error(file, at, "listen: %s", reason);
        while (!streq(listen->items[i], listen->items[k]))
            k++;
        if (k < i)
            config_error(file, at, "listen: \"%.200s\" stands there twice, once is allowed",
                         listen->items[i]);
    }
    return 0;
}

static int check_folders(ConfigFile *file, const ConfigNode *node, void *target)
{
    const ConfigStrings *folders = target;

    for (size_t i = 0; i < folders->n; i++)
        if (folders->items[i][0] == '\0')
            config_error(file, node, "profiles: an empty string is no folder");
    return 0;
}

const ConfigKey settings_keys[] = {
    { "listen", CONFIG_STRINGS, offsetof(Settings, listen),
      .fallback = "\"unix:/run/milterd/milter.sock\"", .min = 1, .max = SETTINGS_LISTEN_MAX,
      .parse = check_listen },
    { "listen_mode", CONFIG_MODE, offsetof(Settings, listen_mode), .fallback = "\"0660\"" },
    { "listen_group", CONFIG_STRING, offsetof(Settings, listen_group), .fallback = "\"\"" },
    { "workers", CONFIG_INT, offsetof(Settings, workers), .fallback = "0", .min = 0,
      .max = SETTINGS_WORKERS_MAX },
    { "drain_timeout", CONFIG_DURATION, offsetof(Settings, drain_timeout_usec),
      .fallback = "\"30s\"", .min = 0, .max = 3600 * USEC_PER_SEC },
    /* Between two steps of one message Postfix may be silent for its content timeout, 300 s. */
    { "idle_timeout", CONFIG_DURATION, offsetof(Settings, idle_timeout_usec), .fallback = "\"10m\"",
      .min = 301 * USEC_PER_SEC, .max = 24 * (usec_t)3600 * USEC_PER_SEC },
    { "max_message", CONFIG_SIZE, offsetof(Settings, max_message), .fallback = "\"1M\"",
      .min = 1024, .max = 64 * (uint64_t)1024 * 1024 },
    { "relay", CONFIG_GROUP, offsetof(Settings, relay), .keys = relay_keys },
    { "metrics", CONFIG_GROUP, offsetof(Settings, metrics), .keys = metrics_keys },
    { "profiles", CONFIG_STRINGS, offsetof(Settings, profile_folders), .fallback = PROFILES_DEFAULT,
      .max = SETTINGS_FOLDERS_MAX, .parse = check_folders },
    { "guards", CONFIG_STRINGS, offsetof(Settings, guards), .fallback = GUARDS_DEFAULT,
      .parse = guards_check },
    { "redact", CONFIG_LIST, offsetof(Settings, redact), .keys = redact_keys,
      .item_size = sizeof(RedactRule), .parse = redact_check },
    { "scripts", CONFIG_LIST, offsetof(Settings, scripts), .keys = script_keys,
      .item_size = sizeof(Script), .item_free = script_free, .parse = scripts_check },
    { "rules", CONFIG_LIST, offsetof(Settings, rules), .keys = rule_keys, .item_size = sizeof(Rule),
      .item_free = rule_free, .parse = rules_check },
    {},
};

/* All macros, those that have no room counted as well. */
static size_t collect_macros(const Settings *settings, const char *names[static MAIL_MACROS_MAX])
{
    size_t n = rules_macros(&settings->rules, names);

    for (size_t i = 0; i < settings->profiles->macros.n; i++)
        n = macros_collect(settings->profiles->macros.items[i], names, n);
    return scripts_macros(&settings->scripts, names, n);
}

/* The profiles, and what of the rules can only be checked with them. */
static int load_profiles(const char *path, Settings *settings, ConfigFile *file)
{
    const char *macros[MAIL_MACROS_MAX];
    int r = profiles_load(&settings->profile_folders, path, file, &settings->profiles);

    if (r < 0 || config_n_errors(file) > 0)
        return r;
    settings->alert.profiles = settings->profiles;
    r = rules_resolve(&settings->rules, settings->profiles, file);
    if (collect_macros(settings, macros) > MAIL_MACROS_MAX)
        config_error(
            file, config_find(file, "profiles"),
            "profiles: they, rules and scripts look at more than the %d macros that are allowed",
            MAIL_MACROS_MAX);
    return r;
}

int settings_load(const char *path, Settings **ret_settings, ConfigFile **ret_file)
{
    _cleanup_(settings_freep) Settings *settings = NULL;
    ConfigFile *file = NULL;
    int r;

    settings = calloc(1, sizeof(*settings));
    if (!settings)
        return -ENOMEM;

    r = config_load(path, settings_keys, settings, &file);
    if (r == -ENOMEM)
        return r;
    if (scripts_load(&settings->scripts, file) < 0 || load_profiles(path, settings, file) < 0) {
        config_file_free(file);
        return -ENOMEM;
    }
    r = config_n_errors(file) > 0 ? -EINVAL : 0;
    if (r == 0 && redaction_new(&settings->redact, &settings->redaction) < 0) {
        config_file_free(file);
        return -ENOMEM;
    }
    settings->alert.redaction = settings->redaction;
    if (r == 0 && settings->rules.n == 0 && settings->scripts.n == 0)
        config_warning(file, config_find(file, "rules"),
                       "there are no rules, so no mail becomes an alert");

    *ret_file = file;
    if (r == 0)
        *ret_settings = steal_ptr(settings);
    return r;
}

Settings *settings_free(Settings *settings)
{
    if (settings) {
        config_target_done(settings_keys, settings);
        profiles_free(settings->profiles);
        redaction_free(settings->redaction);
        free(settings);
    }
    return NULL;
}

size_t settings_macros(const Settings *settings, const char *names[static MAIL_MACROS_MAX])
{
    size_t n = collect_macros(settings, names);

    assert(n <= MAIL_MACROS_MAX);
    return n;
}

bool settings_need_helo(const Settings *settings)
{
    return settings->profiles->needs_helo || settings->scripts.n > 0 ||
           rules_look_at(&settings->rules, MAIL_STAGE_HELO) || rules_use(&settings->rules, "helo");
}

size_t settings_n_workers(const Settings *settings)
{
    cpu_set_t cpus;
    int n;

    if (settings->workers > 0)
        return (size_t)settings->workers;

    /* More CPUs than the set has room for make the call fail; there is work for none of them. */
    if (sched_getaffinity(0, sizeof(cpus), &cpus) < 0)
        return 1;
    n = CPU_COUNT(&cpus);
    return (size_t)MIN(MAX(n, 1), SETTINGS_WORKERS_MAX);
}
