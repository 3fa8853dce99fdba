/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * xmpprelay.conf in memory.
 */

#include "common/config.h"
#include "common/metrics-listen.h"

#include <sys/types.h>

typedef enum TlsMode {
    TLS_STARTTLS,
    TLS_DIRECT,
    TLS_INSECURE_NONE, /* loopback only: settings_load() refuses it for any other host */
} TlsMode;

typedef struct Account {
    char *name;
    char *jid; /* bare */
    char *password_file;
    char *credential; /* a name below $CREDENTIALS_DIRECTORY; one of the two is set */
    char *host;       /* "": DNS SRV of the JID's domain */
    int64_t port;     /* 0: the default of the TLS mode */
    int tls;          /* TlsMode */
    char *ca_file;    /* "": the system's */
} Account;

typedef struct Destination {
    char *name;
    char *account;
    char *room;    /* bare JID, or NULL */
    char *nick;    /* for rooms */
    char *contact; /* bare JID, or NULL; exactly one of room and contact is set */
    int style;     /* ComposeStyle */
    size_t account_index;
} Destination;

typedef struct SocketSettings {
    char *path;
    mode_t mode;
    char *group;
} SocketSettings;

typedef struct SpoolSettings {
    char *path;
    int64_t max_records; /* entries that wait, one for each record and destination */
    int64_t max_share;   /* percent of them that the records of one uid may take */
    usec_t keep_usec;    /* how long what is done stays known, for duplicates and history */
} SpoolSettings;

typedef struct DeliverySettings {
    int64_t window;          /* unconfirmed messages in one destination at a time */
    usec_t confirm_usec;     /* no echo for so long: the stream is taken for dead */
    uint64_t max_size_bytes; /* of a message body as escaped XML */
} DeliverySettings;

typedef struct SessionSettings {
    usec_t silence_usec;     /* no heartbeat for so long: killed */
    usec_t ping_usec;        /* nothing heard from the server for so long: pinged */
    usec_t self_ping_usec;   /* a room is asked whether we are in it this often */
    usec_t backoff_usec;     /* first wait before a reconnect */
    usec_t backoff_cap_usec; /* longest */
} SessionSettings;

typedef struct Settings {
    SocketSettings socket;
    SocketSettings control;
    MetricsSettings metrics;
    SpoolSettings spool;
    DeliverySettings delivery;
    SessionSettings session;
    ConfigItems accounts;     /* of Account */
    ConfigItems destinations; /* of Destination */
    ConfigStrings default_destination;
} Settings;

extern const ConfigKey settings_keys[];

/* Reads and checks everything, references and password files' modes included. The errors are
 * in *ret_file (set even then); 0, -EINVAL when there are any, -ENOMEM. */
int settings_load(const char *path, Settings **ret, ConfigFile **ret_file);
Settings *settings_free(Settings *settings);
DEFINE_CLEANUP(Settings *, settings_free)

static inline const Account *settings_account(const Settings *settings, size_t index)
{
    return settings->accounts.items[index];
}

static inline const Destination *settings_destination(const Settings *settings, size_t index)
{
    return settings->destinations.items[index];
}

/* Index of a destination's name, or -ENOENT. */
int settings_find_destination(const Settings *settings, const char *name);
