/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What the manager holds for the configuration in use: the settings themselves, the sockets that
 * they name, and the memory that workers share. A reload replaces all that it changes, or nothing.
 */

#include "common/metrics-server.h"
#include "milterd/counters.h"
#include "milterd/listener.h"
#include "milterd/settings.h"
#include "milterd/shared-breaker.h"

typedef struct Resources {
    sd_event *event;
    MetricsSource source; /* of the metrics that are served */
    Settings *settings;
    Listeners listeners;
    SharedBreaker *breaker; /* of the relay in use */
    Counters *counters;
    MetricsServer *metrics_server; /* NULL: nobody asked for it */
} Resources;

/* Opens all, at the start. `settings` is consumed in any case. `refresh` is called before the
 * metrics are served. 0, or an exit status with the reason logged; done() is due either way. */
int resources_init(Resources *resources, sd_event *event, Settings *settings,
                   void (*refresh)(void *userdata), void *userdata);

/* Reads the configuration anew. 0, or -errno with the reason logged and all as it was. */
int resources_reload(Resources *resources, const char *config_path);

void resources_done(Resources *resources);
