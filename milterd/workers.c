/* SPDX-License-Identifier: MIT */

/*
 * A WorkerProcess lives from its fork until its end was noticed, and owns our end of the pipe
 * through which the worker reports, and both event sources. Workers inherit the configuration as
 * it is at their fork.
 */

#include "milterd/workers.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/wait.h>

#include "common/child.h"
#include "common/log.h"
#include "common/units.h"

struct WorkerProcess {
    Workers *workers;
    pid_t pid;
    sd_event_source *exit_source;
    int report_fd;
    sd_event_source *report_source;
    atomic_llong *n_connections; /* shared with the worker alone, so that it ends with it */
    WorkerProcess *next;
};

uint32_t workers_random(void)
{
    uint32_t number = 0;

    /* Early in the boot there may be none yet; then all delays are full ones. */
    if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != sizeof(number))
        number = 0;
    return number;
}

static void process_free(WorkerProcess *process)
{
    WorkerProcess **at = &process->workers->processes;

    while (*at != process)
        at = &(*at)->next;
    *at = process->next;

    sd_event_source_disable_unref(process->report_source);
    sd_event_source_disable_unref(process->exit_source);
    close_fd(process->report_fd);
    munmap(process->n_connections, sizeof(*process->n_connections));
    free(process);
}

/* Counts an end that nobody asked for. What of an end is worth a line, and how urgent it is. */
static void note_end(const Workers *workers, const PoolWorker *worker, int status)
{
    /* One that had not come so far as to take SIGUSR1 for a word has nothing to drain. */
    bool clean = (WIFEXITED(status) && WEXITSTATUS(status) == 0) ||
                 (WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1);
    char text[CHILD_STATUS_MAX], lived[UNITS_TEXT_MAX];

    child_status(status, text);
    duration_human(now_usec(CLOCK_MONOTONIC) - worker->started_usec, lived);
    if (worker->phase == POOL_DRAINING && clean)
        log_debug("worker %d has drained", (int)worker->pid);
    else if (worker->phase == POOL_DRAINING)
        log_warning("worker %d %s while it drained", (int)worker->pid, text);
    else if (worker->phase == POOL_KILLED)
        log_debug("worker %d %s, by us", (int)worker->pid, text);
    else {
        log_error("worker %d %s after %s%s; it is replaced", (int)worker->pid, text, lived,
                  worker->served ? "" : ", before it had served a connection");
        metric_add(workers->restarts, 1);
    }
}

static int on_end(sd_event_source *source, const siginfo_t *info, void *userdata)
{
    WorkerProcess *process = userdata;
    Workers *workers = process->workers;
    PoolWorker worker;
    int status;

    /* What waitpid() would have said. */
    if (info->si_code == CLD_EXITED)
        status = W_EXITCODE(info->si_status, 0);
    else
        status = W_EXITCODE(0, info->si_status) | (info->si_code == CLD_DUMPED ? WCOREFLAG : 0);

    if (pool_ended(workers->pool, process->pid, now_usec(CLOCK_MONOTONIC), workers_random(),
                   &worker))
        note_end(workers, &worker, status);
    process_free(process);
    workers->on_change(workers->userdata);
    return 0;
}

static int on_report(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    WorkerProcess *process = userdata;
    Workers *workers = process->workers;
    char what[16];
    ssize_t n;

    n = read(fd, what, sizeof(what));
    if (n <= 0) {
        if (n == 0 || (errno != EAGAIN && errno != EINTR))
            process->report_source = sd_event_source_disable_unref(source);
        return 0;
    }
    for (ssize_t i = 0; i < n; i++) {
        if (what[i] == WORKER_READY)
            pool_ready(workers->pool, process->pid);
        else if (what[i] == WORKER_SERVED)
            pool_served(workers->pool, process->pid);
    }
    workers->on_change(workers->userdata);
    return 0;
}

static int watch(Workers *workers, WorkerProcess *process)
{
    int r;

    r = sd_event_add_child(workers->event, &process->exit_source, process->pid, WEXITED, on_end,
                           process);
    if (r < 0)
        return r;
    r = sd_event_add_io(workers->event, &process->report_source, process->report_fd, EPOLLIN,
                        on_report, process);
    if (r < 0)
        return r;

    /* What a worker said is heard before its end. */
    r = sd_event_source_set_priority(process->exit_source, SD_EVENT_PRIORITY_NORMAL + 1);
    return r < 0 ? r : 0;
}

/* Linked in, and without a process yet. `ret_report_fd` is the worker's end of the pipe. */
static int process_new(Workers *workers, WorkerProcess **ret, int *ret_report_fd)
{
    WorkerProcess *process;
    int report[2], r;
    void *count;

    process = calloc(1, sizeof(*process));
    if (!process)
        return -ENOMEM;
    count = mmap(NULL, sizeof(*process->n_connections), PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (count == MAP_FAILED || pipe2(report, O_CLOEXEC | O_NONBLOCK) < 0) {
        r = -errno;
        if (count != MAP_FAILED)
            munmap(count, sizeof(*process->n_connections));
        free(process);
        return r;
    }
    process->workers = workers;
    process->n_connections = count;
    process->report_fd = report[0];
    process->next = workers->processes;
    workers->processes = process;

    *ret_report_fd = report[1];
    *ret = process;
    return 0;
}

int workers_start(Workers *workers, size_t slot, const WorkerSpec *spec)
{
    WorkerSpec own = *spec;
    WorkerProcess *process;
    int r;

    r = process_new(workers, &process, &own.report_fd);
    if (r < 0)
        return r;
    own.n_connections = process->n_connections;

    process->pid = child_fork("milterd-worker", (int[]){ own.listener->fd, own.report_fd }, 2);
    if (process->pid == 0)
        worker_run(&own);
    close(own.report_fd);
    if (process->pid < 0) {
        r = process->pid;
        process_free(process);
        return r;
    }

    r = watch(workers, process);
    if (r == 0)
        r = pool_started(workers->pool, slot, process->pid, now_usec(CLOCK_MONOTONIC));
    if (r < 0) {
        kill(process->pid, SIGKILL);
        waitpid(process->pid, NULL, 0);
        process_free(process);
        return r;
    }
    log_debug("started worker %d on %s", (int)process->pid, own.listener->name);
    return 0;
}

int64_t workers_n_connections(const Workers *workers)
{
    int64_t n = 0;

    for (const WorkerProcess *process = workers->processes; process; process = process->next)
        n += atomic_load(process->n_connections);
    return n;
}

void workers_done(Workers *workers)
{
    for (WorkerProcess *process = workers->processes; process; process = process->next)
        kill(process->pid, SIGKILL);
    while (workers->processes) {
        waitpid(workers->processes->pid, NULL, 0);
        process_free(workers->processes);
    }
}
