/* SPDX-License-Identifier: MIT */

/*
 * A fork and everything a child does before its own work.
 *
 * All signals are blocked over the fork: a handler of the parent never runs in the child, and a
 * signal that comes meanwhile is met by the child's reset dispositions. Where a step fails that
 * the caller relies on, the child exits: the parent learns of it as of any other death.
 */

#include "common/child.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sysexits.h>

static void reset_signals(void)
{
    struct sigaction action = { .sa_handler = SIG_DFL };
    sigset_t none;

    /* KILL, STOP and those that the C library keeps for itself refuse; that is as well. */
    for (int number = 1; number < NSIG; number++)
        sigaction(number, &action, NULL);

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* For kernels and sandboxes that have no close_range(). */
static int close_listed(int first, int last)
{
    DIR *directory = opendir("/proc/self/fd");
    const struct dirent *entry;

    if (!directory)
        return -errno;
    while ((entry = readdir(directory))) {
        char *end;
        long fd = strtol(entry->d_name, &end, 10);

        if (end != entry->d_name && *end == '\0' && fd >= first && fd <= last &&
            fd != dirfd(directory))
            close((int)fd);
    }
    closedir(directory);
    return 0;
}

static int close_between(int first, int last)
{
    if (first > last)
        return 0;
    if (close_range((unsigned)first, (unsigned)last, 0) == 0)
        return 0;
    return close_listed(first, last);
}

/* Closes the gaps between the kept ones, from the lowest up. */
static int close_others(const int *keep_fds, size_t n_keep)
{
    int first = STDERR_FILENO + 1, r;

    for (;;) {
        int next = -1;

        for (size_t i = 0; i < n_keep; i++)
            if (keep_fds[i] >= first && (next < 0 || keep_fds[i] < next))
                next = keep_fds[i];
        if (next < 0)
            return close_between(first, INT_MAX);
        r = close_between(first, next - 1);
        if (r < 0)
            return r;
        first = next + 1;
    }
}

static int null_stdin(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    if (fd == STDIN_FILENO)
        return fcntl(fd, F_SETFD, 0) < 0 ? -errno : 0;
    if (dup2(fd, STDIN_FILENO) < 0) {
        int r = -errno;

        close_fd(fd);
        return r;
    }
    close(fd);
    return 0;
}

static void child_begin(const char *name, const int *keep_fds, size_t n_keep, pid_t parent)
{
    reset_signals();

    if (setpgid(0, 0) < 0)
        _exit(EX_OSERR);

    /* The parent may have died before the prctl(): then its signal never comes. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
        _exit(EX_OSERR);

    if (close_others(keep_fds, n_keep) < 0 || null_stdin() < 0)
        _exit(EX_OSERR);

    prctl(PR_SET_NAME, name);
}

pid_t child_fork(const char *name, const int *keep_fds, size_t n_keep)
{
    sigset_t all, saved;
    pid_t parent = getpid(), pid;
    int fork_errno;

    sigfillset(&all);
    if (sigprocmask(SIG_SETMASK, &all, &saved) < 0)
        return -errno;

    pid = fork();
    if (pid == 0) {
        child_begin(name, keep_fds, n_keep, parent);
        return 0;
    }
    fork_errno = errno;
    sigprocmask(SIG_SETMASK, &saved, NULL);
    return pid < 0 ? -fork_errno : pid;
}

const char *child_status(int status, char buffer[static CHILD_STATUS_MAX])
{
    if (WIFEXITED(status)) {
        snprintf(buffer, CHILD_STATUS_MAX, "exited with status %d", WEXITSTATUS(status));
    } else if (WIFSIGNALED(status)) {
        const char *name = sigabbrev_np(WTERMSIG(status));
        const char *core = WCOREDUMP(status) ? " (core dumped)" : "";

        if (name)
            snprintf(buffer, CHILD_STATUS_MAX, "was killed by SIG%s%s", name, core);
        else
            snprintf(buffer, CHILD_STATUS_MAX, "was killed by signal %d%s", WTERMSIG(status), core);
    } else {
        snprintf(buffer, CHILD_STATUS_MAX, "changed state (status 0x%x)", (unsigned)status);
    }
    return buffer;
}
