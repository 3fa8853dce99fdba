/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Where a daemon's metrics are to be had: the `metrics` group of its configuration, and the
 * listening socket that it asks for.
 */

#include "common/config.h"
#include "common/socket.h"

#define METRICS_REASON_MAX (SOCKET_REASON_MAX + 128)

typedef struct MetricsSettings {
    char *listen; /* "": nowhere */
    mode_t mode;  /* of a unix: socket */
    char *group;
} MetricsSettings;

/* For a CONFIG_GROUP: listen, mode, group. Wrong addresses are errors of the file. */
extern const ConfigKey metrics_keys[];

/* NULL for what is no unix: address. */
const char *metrics_settings_path(const MetricsSettings *settings);

/* Whether `text` is "ADDRESS:PORT", "[ADDRESS]:PORT" (of IPv6) or "unix:PATH"; -EINVAL with a
 * `reason` that says what is allowed. Nothing is looked up. */
int metrics_address_check(const char *text, char reason[static METRICS_REASON_MAX]);

typedef struct MetricsListener {
    int fd;      /* bound and listening, non-blocking, close-on-exec */
    int lock_fd; /* of a unix: socket, else -1 */
    char *path;  /* the same; NULL */
} MetricsListener;

#define METRICS_LISTENER_INIT ((MetricsListener){ .fd = -1, .lock_fd = -1 })

/* Opens what `settings` name. -errno with a sentence in `reason`; -EADDRINUSE: it is taken. */
int metrics_listen(const MetricsSettings *settings, MetricsListener *ret,
                   char reason[static METRICS_REASON_MAX]);
void metrics_listener_done(MetricsListener *listener); /* closes, and removes the socket's file */
