/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * milterd.conf as structs: what milterd.conf(5) describes.
 */

#include "common/config.h"
#include "common/metrics-listen.h"
#include "milterd/alert.h"
#include "milterd/rules.h"
#include "milterd/script.h"

#include <sys/types.h>

#define SETTINGS_WORKERS_MAX 256
#define SETTINGS_LISTEN_MAX 16
#define SETTINGS_FOLDERS_MAX 16

/* What happens to a mail whose alert the relay did not take. */
typedef enum OnFailure {
    ON_FAILURE_TEMPFAIL,
    ON_FAILURE_ACCEPT,
} OnFailure;

typedef struct RelaySettings {
    char *socket;
    usec_t timeout_usec; /* for the receipt */
    int on_failure;      /* OnFailure */
} RelaySettings;

typedef struct Settings {
    ConfigStrings listen;
    mode_t listen_mode;
    char *listen_group;
    int64_t workers; /* processes for each listener; 0: one for each CPU */
    usec_t drain_timeout_usec;
    usec_t idle_timeout_usec;
    uint64_t max_message; /* bytes of a body that are kept */
    RelaySettings relay;
    MetricsSettings metrics;
    ConfigStrings profile_folders;
    ConfigStrings guards; /* names (guard.h) */
    ConfigItems redact;   /* RedactRule */
    ScriptSet scripts;
    RuleSet rules;

    /* made of the above and of the files in it */
    Profiles *profiles;
    Redaction *redaction;
    AlertSettings alert;
} Settings;

extern const ConfigKey settings_keys[];

/* Reads and checks the file, and those of the profiles and scripts. 0; -EINVAL when it has errors,
 * which are in *ret_file; -ENOMEM. *ret_file is set but for -ENOMEM, *ret_settings only with 0. */
int settings_load(const char *path, Settings **ret_settings, ConfigFile **ret_file);

Settings *settings_free(Settings *settings);
DEFINE_CLEANUP(Settings *, settings_free)

/* The macros that rules, profiles and scripts need, each once, as they are called in the protocol.
 * The names belong to the settings. */
size_t settings_macros(const Settings *settings, const char *names[static MAIL_MACROS_MAX]);

/* Whether anything is said or done about what clients call themselves. */
bool settings_need_helo(const Settings *settings);

/* How many processes serve each listener: `workers`, or the number of CPUs we may run on. */
size_t settings_n_workers(const Settings *settings);
