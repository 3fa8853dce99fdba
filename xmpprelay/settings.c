/* SPDX-License-Identifier: MIT */

/*
 * The tables of xmpprelay.conf: every key with its type, default and bounds.
 */

#include "xmpprelay/settings.h"

#include "common/compose.h"
#include "xmpprelay/settings-check.h"

#define ACCOUNTS_MAX 100
#define DESTINATIONS_MAX 1000

#define MINUTE_USEC (60 * USEC_PER_SEC)
#define HOUR_USEC (60 * MINUTE_USEC)
#define DAY_USEC (24 * HOUR_USEC)

static const char *const tls_names[] = { "starttls", "direct", "insecure-none", NULL };

static const ConfigKey relay_socket_keys[] = {
    { "path", CONFIG_PATH, offsetof(SocketSettings, path),
      .fallback = "\"/run/xmpprelay/relay.sock\"" },
    { "mode", CONFIG_MODE, offsetof(SocketSettings, mode), .fallback = "\"0660\"" },
    { "group", CONFIG_STRING, offsetof(SocketSettings, group), .fallback = "\"\"" },
    {},
};

static const ConfigKey control_socket_keys[] = {
    { "path", CONFIG_PATH, offsetof(SocketSettings, path),
      .fallback = "\"/run/xmpprelay/control.sock\"" },
    { "mode", CONFIG_MODE, offsetof(SocketSettings, mode), .fallback = "\"0660\"" },
    { "group", CONFIG_STRING, offsetof(SocketSettings, group), .fallback = "\"\"" },
    {},
};

static const ConfigKey spool_keys[] = {
    { "path", CONFIG_PATH, offsetof(SpoolSettings, path),
      .fallback = "\"/var/lib/xmpprelay/spool.db\"" },
    { "max_records", CONFIG_INT, offsetof(SpoolSettings, max_records), .fallback = "100000",
      .min = 1, .max = 10000000 },
    { "max_share", CONFIG_INT, offsetof(SpoolSettings, max_share), .fallback = "80", .min = 1,
      .max = 100 },
    { "keep", CONFIG_DURATION, offsetof(SpoolSettings, keep_usec), .fallback = "\"7d\"",
      .min = USEC_PER_SEC, .max = 3650 * DAY_USEC },
    {},
};

static const ConfigKey delivery_keys[] = {
    { "window", CONFIG_INT, offsetof(DeliverySettings, window), .fallback = "16", .min = 1,
      .max = 1000 },
    { "confirm", CONFIG_DURATION, offsetof(DeliverySettings, confirm_usec), .fallback = "\"60s\"",
      .min = USEC_PER_SEC, .max = HOUR_USEC },
    { "max_size", CONFIG_SIZE, offsetof(DeliverySettings, max_size_bytes), .fallback = "\"8K\"",
      .min = 256, .max = UINT64_C(60) * 1024 },
    {},
};

static const ConfigKey session_keys[] = {
    { "silence", CONFIG_DURATION, offsetof(SessionSettings, silence_usec), .fallback = "\"30s\"",
      .min = 3 * USEC_PER_SEC, .max = HOUR_USEC },
    { "ping", CONFIG_DURATION, offsetof(SessionSettings, ping_usec), .fallback = "\"20s\"",
      .min = USEC_PER_SEC, .max = HOUR_USEC },
    { "self_ping", CONFIG_DURATION, offsetof(SessionSettings, self_ping_usec),
      .fallback = "\"60s\"", .min = USEC_PER_SEC, .max = DAY_USEC },
    { "backoff", CONFIG_DURATION, offsetof(SessionSettings, backoff_usec), .fallback = "\"1s\"",
      .min = 10 * USEC_PER_MSEC, .max = HOUR_USEC },
    { "backoff_cap", CONFIG_DURATION, offsetof(SessionSettings, backoff_cap_usec),
      .fallback = "\"60s\"", .min = 10 * USEC_PER_MSEC, .max = DAY_USEC },
    {},
};

static const ConfigKey account_keys[] = {
    { "name", CONFIG_STRING, offsetof(Account, name), .required = true },
    { "jid", CONFIG_STRING, offsetof(Account, jid), .required = true },
    { "password_file", CONFIG_PATH, offsetof(Account, password_file), .fallback = NULL },
    { "credential", CONFIG_STRING, offsetof(Account, credential), .fallback = NULL },
    { "host", CONFIG_STRING, offsetof(Account, host), .fallback = "\"\"" },
    { "port", CONFIG_INT, offsetof(Account, port), .fallback = "0", .max = 65535 },
    { "tls", CONFIG_CHOICE, offsetof(Account, tls), .fallback = "\"starttls\"",
      .choices = tls_names },
    { "ca_file", CONFIG_PATH, offsetof(Account, ca_file), .fallback = "\"\"" },
    {},
};

static const ConfigKey destination_keys[] = {
    { "name", CONFIG_STRING, offsetof(Destination, name), .required = true },
    { "account", CONFIG_STRING, offsetof(Destination, account), .required = true },
    { "room", CONFIG_STRING, offsetof(Destination, room), .fallback = NULL },
    { "nick", CONFIG_STRING, offsetof(Destination, nick), .fallback = NULL },
    { "contact", CONFIG_STRING, offsetof(Destination, contact), .fallback = NULL },
    { "style", CONFIG_CHOICE, offsetof(Destination, style), .fallback = "\"styled\"",
      .choices = compose_style_names },
    {},
};

const ConfigKey settings_keys[] = {
    { "socket", CONFIG_GROUP, offsetof(Settings, socket), .keys = relay_socket_keys },
    { "control", CONFIG_GROUP, offsetof(Settings, control), .keys = control_socket_keys },
    { "metrics", CONFIG_GROUP, offsetof(Settings, metrics), .keys = metrics_keys },
    { "spool", CONFIG_GROUP, offsetof(Settings, spool), .keys = spool_keys },
    { "delivery", CONFIG_GROUP, offsetof(Settings, delivery), .keys = delivery_keys },
    { "session", CONFIG_GROUP, offsetof(Settings, session), .keys = session_keys },
    { "accounts", CONFIG_LIST, offsetof(Settings, accounts), .required = true, .keys = account_keys,
      .item_size = sizeof(Account), .min = 1, .max = ACCOUNTS_MAX },
    { "destinations", CONFIG_LIST, offsetof(Settings, destinations), .required = true,
      .keys = destination_keys, .item_size = sizeof(Destination), .min = 1,
      .max = DESTINATIONS_MAX },
    { "default_destination", CONFIG_STRINGS, offsetof(Settings, default_destination),
      .fallback = NULL, .min = 1, .max = DESTINATIONS_MAX },
    {},
};

int settings_load(const char *path, Settings **ret, ConfigFile **ret_file)
{
    _cleanup_(settings_freep) Settings *settings = calloc(1, sizeof(*settings));
    _cleanup_(config_file_freep) ConfigFile *file = NULL;
    int r;

    if (!settings)
        return -ENOMEM;
    r = config_load(path, settings_keys, settings, &file);
    if (r == -ENOMEM)
        return r;
    /* Without a path nothing was read at all. */
    if (settings->socket.path)
        r = settings_check(settings, file);
    if (r == -ENOMEM)
        return r;
    *ret_file = steal_ptr(file);
    if (r < 0)
        return r;
    *ret = steal_ptr(settings);
    return 0;
}

Settings *settings_free(Settings *settings)
{
    if (settings) {
        config_target_done(settings_keys, settings);
        free(settings);
    }
    return NULL;
}

int settings_find_destination(const Settings *settings, const char *name)
{
    for (size_t i = 0; i < settings->destinations.n; i++) {
        const Destination *destination = settings->destinations.items[i];

        if (destination->name && streq(destination->name, name))
            return (int)i;
    }
    return -ENOENT;
}
