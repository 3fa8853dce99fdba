/* SPDX-License-Identifier: MIT */

/*
 * Events in, steps of the pool out: each event source notes what happened and calls step(), which
 * does all that the pool says is due. A timer calls it when something is due later.
 *
 * The configuration that is in use, with all it asks for, belongs to the manager (resources.h);
 * workers have their own copy since their fork. Only when a reload has worked a new generation
 * begins in the pool; until its workers are ready those before serve on.
 */

#include "milterd/manager.h"

#include <signal.h>
#include <stdio.h>
#include <sysexits.h>

#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "common/log.h"
#include "common/units.h"

#include "milterd/pool.h"
#include "milterd/resources.h"
#include "milterd/workers.h"

/* What stopping may take over the time of draining before the service manager kills us. */
#define STOP_SPARE_USEC (15 * USEC_PER_SEC)

typedef struct Manager {
    sd_event *event;
    sd_event_source *timer;
    const char *config_path;
    Resources resources;
    Pool pool;
    Workers workers;
    bool reload_wanted;
    bool reloading;      /* the service manager was told so */
    bool announced;      /* and that we are ready, once */
    const char *trouble; /* what went wrong in the last reload; NULL: nothing */
} Manager;

static usec_t now_here(void)
{
    return now_usec(CLOCK_MONOTONIC);
}

static void step(Manager *manager);

static void tell_service_manager(Manager *manager)
{
    size_t n_ready = pool_n_ready(&manager->pool);
    size_t n_draining = pool_n_draining(&manager->pool);
    char draining[64] = "";

    if (n_draining > 0)
        snprintf(draining, sizeof(draining), ", %zu draining", n_draining);
    if (manager->pool.stopping) {
        sd_notifyf(0, "STATUS=Stopping%s.", draining);
        return;
    }
    sd_notifyf(0, "STATUS=%zu of %zu workers ready%s%s%s.", n_ready, manager->pool.n_slots,
               draining, manager->trouble ? "; " : "", manager->trouble ? manager->trouble : "");

    if (!pool_is_complete(&manager->pool) || (manager->announced && !manager->reloading))
        return;
    if (!manager->announced)
        log_notice("ready with %zu worker%s", n_ready, n_ready == 1 ? "" : "s");
    else if (!manager->trouble)
        log_notice("reloaded, ready with %zu worker%s", n_ready, n_ready == 1 ? "" : "s");
    sd_notify(0, "READY=1");
    manager->announced = true;
    manager->reloading = false;
}

/* The slots go round: each listener has as many workers as the others. */
static const Listener *listener_of(const Manager *manager, size_t slot)
{
    const Listeners *listeners = &manager->resources.listeners;

    return listeners->items[slot % listeners->n];
}

static void start_step(Manager *manager, size_t slot)
{
    const WorkerSpec spec = {
        .settings = manager->resources.settings,
        .breaker = manager->resources.breaker,
        .counters = manager->resources.counters,
        .listener = listener_of(manager, slot),
    };
    int r = workers_start(&manager->workers, slot, &spec);

    if (r < 0) {
        log_error("cannot start a worker: %s; trying again later", strerrordesc_np(-r));
        pool_start_failed(&manager->pool, now_here(), workers_random());
    }
}

static void kill_step(Manager *manager, const PoolStep *due)
{
    char timeout[UNITS_TEXT_MAX];

    if (due->phase == POOL_STARTING)
        log_error("worker %d did not get ready in %s, killing it", (int)due->pid,
                  duration_human(POOL_START_USEC, timeout));
    else
        log_warning("worker %d still has open connections after drain_timeout (%s), killing it; "
                    "their MTAs will try the mail again",
                    (int)due->pid, duration_human(manager->pool.drain_usec, timeout));
    kill(due->pid, SIGKILL);
}

static void set_timer(Manager *manager, usec_t at_usec)
{
    int r;

    if (at_usec == USEC_INFINITY) {
        sd_event_source_set_enabled(manager->timer, SD_EVENT_OFF);
        return;
    }
    r = sd_event_source_set_time(manager->timer, at_usec);
    if (r >= 0)
        r = sd_event_source_set_enabled(manager->timer, SD_EVENT_ONESHOT);
    if (r < 0) {
        log_error("cannot set a timer: %s; stopping", strerrordesc_np(-r));
        sd_event_exit(manager->event, EX_OSERR);
    }
}

static void reload_now(Manager *manager);

static void step(Manager *manager)
{
    for (;;) {
        PoolStep due = pool_next(&manager->pool, now_here());

        switch (due.action) {
        case POOL_START:
            start_step(manager, due.slot);
            continue;
        case POOL_DRAIN:
            kill(due.pid, SIGUSR1);
            continue;
        case POOL_KILL:
            kill_step(manager, &due);
            continue;
        case POOL_NOTHING:
            if (manager->reload_wanted && pool_may_reload(&manager->pool)) {
                reload_now(manager);
                continue;
            }
            set_timer(manager, due.at_usec);
            break;
        case POOL_GIVE_UP:
            log_error("no worker stays up, giving up");
            sd_event_exit(manager->event, EX_SOFTWARE);
            break;
        case POOL_DONE:
            log_notice("stopped");
            sd_event_exit(manager->event, 0);
            break;
        }
        break;
    }
    tell_service_manager(manager);
}

static void on_worker_change(void *userdata)
{
    step(userdata);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    step(userdata);
    return 0;
}

static size_t n_slots(const Manager *manager)
{
    return settings_n_workers(manager->resources.settings) * manager->resources.listeners.n;
}

static void reload_now(Manager *manager)
{
    bool succeeded;

    manager->reload_wanted = false;
    manager->reloading = true;
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)now_here());

    succeeded = resources_reload(&manager->resources, manager->config_path) == 0;
    counters_reloaded(manager->resources.counters, succeeded);
    if (!succeeded) {
        manager->trouble = "the last reload failed, an older configuration is in use";
        return;
    }
    manager->trouble = NULL;
    pool_reload(&manager->pool, n_slots(manager), manager->resources.settings->drain_timeout_usec);
}

static int on_hangup(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
    Manager *manager = userdata;

    if (manager->pool.stopping)
        return 0;
    if (!pool_may_reload(&manager->pool))
        log_notice("reloading as soon as the workers of the last reload are in place");
    manager->reload_wanted = true;
    step(manager);
    return 0;
}

static int on_terminate(sd_event_source *source, const struct signalfd_siginfo *info,
                        void *userdata)
{
    Manager *manager = userdata;
    char timeout[UNITS_TEXT_MAX];

    if (manager->pool.stopping)
        return 0;
    log_notice("draining, for at most %s",
               duration_human(manager->resources.settings->drain_timeout_usec, timeout));
    sd_notifyf(
        0, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%llu",
        (unsigned long long)(manager->resources.settings->drain_timeout_usec + STOP_SPARE_USEC));
    listeners_close(&manager->resources.listeners);
    pool_stop(&manager->pool);
    step(manager);
    return 0;
}

static int on_interrupt(sd_event_source *source, const struct signalfd_siginfo *info,
                        void *userdata)
{
    Manager *manager = userdata;

    log_notice("stopping at once, open connections are cut");
    sd_notify(0, "STOPPING=1");
    sd_event_exit(manager->event, 0);
    return 0;
}

static int set_up_events(Manager *manager)
{
    sigset_t blocked;
    int r;

    sigemptyset(&blocked);
    sigaddset(&blocked, SIGHUP);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGINT);
    sigaddset(&blocked, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &blocked, NULL) < 0)
        return -errno;
    signal(SIGPIPE, SIG_IGN);

    r = sd_event_new(&manager->event);
    if (r >= 0)
        r = sd_event_set_watchdog(manager->event, true);
    if (r >= 0)
        r = sd_event_add_signal(manager->event, NULL, SIGHUP, on_hangup, manager);
    if (r >= 0)
        r = sd_event_add_signal(manager->event, NULL, SIGTERM, on_terminate, manager);
    if (r >= 0)
        r = sd_event_add_signal(manager->event, NULL, SIGINT, on_interrupt, manager);
    if (r >= 0)
        r = sd_event_add_time(manager->event, &manager->timer, CLOCK_MONOTONIC, UINT64_MAX,
                              10 * USEC_PER_MSEC, on_timer, manager);
    if (r >= 0)
        r = sd_event_source_set_enabled(manager->timer, SD_EVENT_OFF);
    return r < 0 ? r : 0;
}

/* Sets the metrics that only we know. */
static void on_metrics(void *userdata)
{
    const Manager *manager = userdata;
    const Counters *counters = manager->resources.counters;

    metric_set(counters->connections, workers_n_connections(&manager->workers));
    metric_set(counters->workers, (int64_t)pool_n_serving(&manager->pool));
    metric_set(counters->relay_available, !shared_breaker_is_open(manager->resources.breaker));
}

static int set_up(Manager *manager, Settings *settings)
{
    int r;

    r = set_up_events(manager);
    if (r < 0) {
        log_error("cannot set up events: %s", strerrordesc_np(-r));
        settings_free(settings);
        return EX_OSERR;
    }
    r = resources_init(&manager->resources, manager->event, settings, on_metrics, manager);
    if (r != 0)
        return r;
    manager->workers = (Workers){
        .event = manager->event,
        .pool = &manager->pool,
        .restarts = manager->resources.counters->worker_restarts,
        .on_change = on_worker_change,
        .userdata = manager,
    };
    pool_init(&manager->pool, n_slots(manager), settings->drain_timeout_usec);
    return 0;
}

static void manager_done(Manager *manager)
{
    workers_done(&manager->workers);
    resources_done(&manager->resources);
    pool_done(&manager->pool);
    sd_event_source_unref(manager->timer);
    sd_event_unref(manager->event);
}

int manager_run(const char *config_path, Settings *settings)
{
    Manager manager = { .config_path = config_path };
    int r;

    r = set_up(&manager, settings);
    if (r == 0) {
        step(&manager);
        r = sd_event_loop(manager.event);
        if (r < 0) {
            log_error("the event loop failed: %s", strerrordesc_np(-r));
            r = EX_OSERR;
        }
    }
    manager_done(&manager);
    return r;
}
