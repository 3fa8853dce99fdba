/* SPDX-License-Identifier: MIT */

/*
 * Beside libmilter's threads run two of our own: the keeper, and one that looks for a relay that
 * does not answer (watch.h). The keeper waits for SIGUSR1, and sweeps the connections for silent
 * ones meanwhile.
 *
 * libmilter knows no drain: its stop cuts what is under way. So the keeper puts a
 * descriptor on which nothing ever arrives in the place of the listening one, which takes effect
 * at once for a thread that is about to accept and leaves what waits in the queue to the other
 * workers. (A socket in its place would have a name, and so be a way in for anybody.) Then it
 * counts the connections down to none. The manager kills a worker whose drain takes too long.
 *
 * HUP, TERM and INT all mean "stop, cut everything" to libmilter's signal thread, and are the
 * manager's business: they are blocked before any thread exists, and so is SIGUSR1.
 */

#include "milterd/worker.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <syslog.h>

#include "common/log.h"

#include "milterd/connections.h"
#include "milterd/filter.h"
#include "milterd/mime.h"
#include "milterd/watch.h"

/* How often a draining worker counts its connections. */
#define DRAIN_STEP_USEC (20 * USEC_PER_MSEC)
/* Silence is noticed at most an eighth of the timeout late. */
#define IDLE_STEPS 8
/* Connections, and for each at most one socket to the relay. */
#define DESCRIPTORS_MAX ((rlim_t)65536)

typedef struct Worker {
    const WorkerSpec *spec;
    Connections connections;
    Watch watch;
    atomic_bool served;
} Worker;

static void report(const Worker *worker, char what)
{
    /* The pipe holds all that a worker ever says; where the manager is gone, so are we soon. */
    if (write(worker->spec->report_fd, &what, 1) != 1)
        log_debug("cannot report to the manager: %m");
}

static void on_connection_closed(void *userdata)
{
    Worker *worker = userdata;

    if (!atomic_exchange(&worker->served, true))
        report(worker, WORKER_SERVED);
}

/* 0, or -errno: the worker still accepts. */
static int stop_accepting(int listen_fd)
{
    _cleanup_close_ int fd = -1;

    fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return -errno;

    /* The thread that has just been woken by the real one fails to accept from this, once, and
     * would complain. What else libmilter says of connections that end is no loss. */
    setlogmask(LOG_MASK(LOG_EMERG));
    return dup3(fd, listen_fd, O_CLOEXEC) < 0 ? -errno : 0;
}

static void begin_drain(const Worker *worker)
{
    int r = stop_accepting(worker->spec->listener->fd);

    if (r < 0) {
        log_error("cannot stop accepting connections: %s; leaving at once, open ones are cut",
                  strerrordesc_np(-r));
        _exit(EX_OSERR);
    }
    log_debug("draining");
}

/* How many are open; when they can't be counted, as if there were one. */
static size_t sweep(Worker *worker)
{
    size_t n_open, n_cut;
    int r;

    r = connections_sweep(&worker->connections, now_usec(CLOCK_MONOTONIC), &n_open, &n_cut);
    if (r < 0) {
        log_warning("cannot look at the open connections: %s", strerrordesc_np(-r));
        return 1;
    }
    if (n_cut > 0)
        log_notice("cut %zu connection%s that said nothing for all of idle_timeout", n_cut,
                   n_cut == 1 ? "" : "s");
    return n_open;
}

static struct timespec to_timespec(usec_t usec)
{
    return (struct timespec){ .tv_sec = (time_t)(usec / USEC_PER_SEC),
                              .tv_nsec = (long)(usec % USEC_PER_SEC) * 1000 };
}

static void *keep(void *userdata)
{
    Worker *worker = userdata;
    usec_t step = worker->spec->settings->idle_timeout_usec / IDLE_STEPS;
    bool draining = false;
    sigset_t drain;

    sigemptyset(&drain);
    sigaddset(&drain, SIGUSR1);

    for (;;) {
        struct timespec timeout = to_timespec(step);

        if (sigtimedwait(&drain, NULL, &timeout) == SIGUSR1 && !draining) {
            begin_drain(worker);
            draining = true;
            step = DRAIN_STEP_USEC;
        }
        if (sweep(worker) == 0 && draining)
            _exit(0);
    }
    return NULL;
}

static void *probe(void *userdata)
{
    Worker *worker = userdata;

    watch_probe(&worker->watch);
    return NULL;
}

_Noreturn static void fail(const char *what, int error)
{
    log_error("worker: %s: %s", what, strerrordesc_np(error));
    _exit(EX_OSERR);
}

/* libmilter gives up, and with it all its sessions, when accept() finds no descriptor free a few
 * times. The soft limit is low for the sake of select(), which nothing here uses. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = MAX(limit.rlim_cur, MIN(limit.rlim_max, DESCRIPTORS_MAX));
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        log_debug("cannot raise the limit of open files: %m");
}

_Noreturn void worker_run(const WorkerSpec *spec)
{
    /* Lives as long as the process; libmilter's threads refer to it. */
    static Worker worker;
    static Filter filter;
    pthread_t thread;
    sigset_t blocked;
    int r;

    sigemptyset(&blocked);
    sigaddset(&blocked, SIGHUP);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGINT);
    sigaddset(&blocked, SIGUSR1);
    r = pthread_sigmask(SIG_BLOCK, &blocked, NULL);
    if (r != 0)
        fail("cannot block signals", r);
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    mime_init();

    worker.spec = spec;
    r = connections_init(&worker.connections, STDERR_FILENO + 1, spec->settings->idle_timeout_usec);
    if (r < 0)
        fail("cannot watch connections", -r);
    worker.watch = (Watch){ .relay = &spec->settings->relay, .breaker = spec->breaker };

    filter = (Filter){
        .settings = spec->settings,
        .watch = &worker.watch,
        .counters = spec->counters,
        .n_connections = spec->n_connections,
        .listen_fd = spec->listener->fd,
        .local = spec->listener->address.family == AF_UNIX,
        .connection_closed = on_connection_closed,
        .userdata = &worker,
    };
    r = filter_open(&filter);
    if (r < 0)
        fail("cannot set up the milter library", -r);

    r = pthread_create(&thread, NULL, keep, &worker);
    if (r == 0)
        r = pthread_create(&thread, NULL, probe, &worker);
    if (r != 0)
        fail("cannot start a thread", r);

    report(&worker, WORKER_READY);
    filter_run();
    log_error("the milter library has given up");
    _exit(EX_SOFTWARE);
}
