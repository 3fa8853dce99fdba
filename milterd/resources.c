/* SPDX-License-Identifier: MIT */

/*
 * A reload first does what may fail: it reads, allocates and opens. The old settings are given up
 * when all of it has worked.
 */

#include "milterd/resources.h"

#include <sysexits.h>

#include "common/log.h"

static void log_unused(const Resources *resources)
{
    size_t n = listeners_n_unused(&resources->listeners);

    if (n > 0)
        log_warning("the service manager handed us %zu socket%s that listen does not name, "
                    "MTAs that connect there are not served",
                    n, n == 1 ? "" : "s");
}

static int open_listeners(Resources *resources, const Settings *settings,
                          char reason[static LISTENER_REASON_MAX])
{
    return listeners_update(&resources->listeners, &settings->listen, settings->listen_mode,
                            settings->listen_group, reason);
}

static int serve_metrics(Resources *resources, const Settings *settings,
                         char reason[static METRICS_REASON_MAX])
{
    return metrics_server_update(&resources->metrics_server, resources->event, &settings->metrics,
                                 &resources->source, reason);
}

/* The memory that is shared with workers. */
static int share_memory(Resources *resources)
{
    Metric **alerts = NULL;
    int r;

    r = shared_breaker_new(&resources->breaker);
    if (r == 0)
        r = counters_new(&resources->counters);
    if (r == 0)
        r = counters_reserve(&resources->settings->rules, &alerts);
    if (r < 0)
        return r;
    counters_take(resources->counters, &resources->settings->rules, alerts);
    counters_take_scripts(resources->counters, &resources->settings->scripts);
    return 0;
}

int resources_init(Resources *resources, sd_event *event, Settings *settings,
                   void (*refresh)(void *userdata), void *userdata)
{
    char listener_reason[LISTENER_REASON_MAX], metrics_reason[METRICS_REASON_MAX];
    int r;

    *resources = (Resources){ .event = event, .settings = settings };
    r = share_memory(resources);
    if (r < 0) {
        log_error("cannot share memory: %s", strerrordesc_np(-r));
        return EX_OSERR;
    }
    r = listeners_take_handed(&resources->listeners);
    if (r < 0) {
        log_error("cannot take sockets from the service manager: %s", strerrordesc_np(-r));
        return EX_OSERR;
    }
    if (open_listeners(resources, settings, listener_reason) < 0) {
        log_error("%s", listener_reason);
        return EX_UNAVAILABLE;
    }
    log_unused(resources);

    resources->source = (MetricsSource){
        .program = "milterd",
        .metrics = resources->counters->page,
        .refresh = refresh,
        .userdata = userdata,
    };
    if (serve_metrics(resources, settings, metrics_reason) < 0) {
        log_error("%s", metrics_reason);
        return EX_UNAVAILABLE;
    }
    return 0;
}

/* Says in the log what is wrong. */
static int load_anew(const char *path, Settings **ret)
{
    _cleanup_(config_file_freep) ConfigFile *file = NULL;
    Settings *settings = NULL;
    int r;

    r = settings_load(path, &settings, &file);
    if (r == -ENOMEM) {
        log_error("cannot reload %s: out of memory, keeping the old configuration", path);
        return r;
    }
    for (size_t i = 0; i < config_n_warnings(file); i++)
        log_warning("%s", config_warning_at(file, i));
    for (size_t i = 0; i < config_n_errors(file); i++)
        log_error("%s", config_error_at(file, i));
    if (r < 0) {
        log_error("%s has errors, keeping the old configuration", path);
        return r;
    }
    *ret = settings;
    return 0;
}

/* Both, or none. */
static int move_sockets(Resources *resources, const Settings *settings)
{
    char listener_reason[LISTENER_REASON_MAX], metrics_reason[METRICS_REASON_MAX];
    int r;

    r = serve_metrics(resources, settings, metrics_reason);
    if (r < 0) {
        log_error("%s; keeping the old configuration", metrics_reason);
        return r;
    }
    r = open_listeners(resources, settings, listener_reason);
    if (r < 0) {
        log_error("%s; keeping the old configuration", listener_reason);
        if (serve_metrics(resources, resources->settings, metrics_reason) < 0)
            log_error("%s; metrics are where the new configuration has them", metrics_reason);
    }
    return r;
}

int resources_reload(Resources *resources, const char *config_path)
{
    _cleanup_(settings_freep) Settings *settings = NULL;
    _cleanup_(shared_breaker_freep) SharedBreaker *breaker = NULL;
    _cleanup_free_ Metric **alerts = NULL;
    int r;

    r = load_anew(config_path, &settings);
    if (r < 0)
        return r;
    r = counters_reserve(&settings->rules, &alerts);
    /* Another relay has a breaker of its own; what is known of the same one holds on. */
    if (r == 0 && !streq(settings->relay.socket, resources->settings->relay.socket))
        r = shared_breaker_new(&breaker);
    if (r < 0) {
        log_error("cannot share memory: %s; keeping the old configuration", strerrordesc_np(-r));
        return r;
    }
    r = move_sockets(resources, settings);
    if (r < 0)
        return r;

    counters_take(resources->counters, &settings->rules, steal_ptr(alerts));
    counters_take_scripts(resources->counters, &settings->scripts);
    if (breaker) {
        shared_breaker_free(resources->breaker);
        resources->breaker = steal_ptr(breaker);
    }
    settings_free(resources->settings);
    resources->settings = steal_ptr(settings);
    log_unused(resources);
    return 0;
}

void resources_done(Resources *resources)
{
    metrics_server_free(resources->metrics_server);
    listeners_done(&resources->listeners);
    shared_breaker_free(resources->breaker);
    counters_free(resources->counters);
    settings_free(resources->settings);
}
