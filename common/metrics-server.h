/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A page of metrics over HTTP (the adapter of libmicrohttpd), in the event loop of the process.
 *
 * It answers GET and HEAD of /metrics, in OpenMetrics where the client asks for it, else in the
 * Prometheus text format; / says where to look. What clients may take is bounded: how many are
 * served at once (others wait in the kernel), how long each of them has, how much memory, how
 * often the page is written anew.
 *
 * Children must not keep its descriptors: fork with child_fork(), or exec.
 */

#include "common/metrics-listen.h"
#include "common/metrics.h"

#include <systemd/sd-event.h>

#define METRICS_CONNECTIONS_MAX 16
#define METRICS_DEADLINE_USEC                                                                      \
    (10 * USEC_PER_SEC)                          /* of a connection, from its first to its last    \
                                                  */
#define METRICS_FRESH_USEC (100 * USEC_PER_MSEC) /* as long a page is served again as it is */

typedef struct MetricsSource {
    const char *program;    /* as the page / calls it */
    const Metrics *metrics; /* outlives the server */
    /* Called before the page is written, to set gauges that are not kept up to date. May be NULL.
     */
    void (*refresh)(void *userdata);
    void *userdata;
} MetricsSource;

typedef struct MetricsServer MetricsServer;

/* Makes the server be what `settings` ask for: starts it, ends it (sets *server to NULL), moves it
 * to another address, or leaves it alone when nothing has changed. The new socket is open before
 * the old one closes, where they can be open together. On failure -errno, a sentence in `reason`,
 * and the server is as it was. `settings` and `source` are copied. */
int metrics_server_update(MetricsServer **server, sd_event *event, const MetricsSettings *settings,
                          const MetricsSource *source, char reason[static METRICS_REASON_MAX]);

MetricsServer *metrics_server_free(MetricsServer *server); /* cuts what is being served */
DEFINE_CLEANUP(MetricsServer *, metrics_server_free)
