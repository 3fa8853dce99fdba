/* SPDX-License-Identifier: MIT */

/*
 * child_fork() has done all that has to be done between the fork and our own code; what is left
 * is the environment, the descriptor's number, and the exec. /proc/self/exe is the very file we
 * run from, also when a newer one has been installed in its place meanwhile.
 */

#include "xmpprelay/session-process.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "common/child.h"
#include "xmpprelay/session.h"

/* libstrophe walks down what a server sends by recursion; this is deep enough for all that its
 * memory limit lets through. */
#define STACK_BYTES ((rlim_t)64 << 20)

/* Nothing of our environment is a session's business but what its libraries look at. */
#define ENVIRONMENT_MAX 16
static void trim_environment(char *ret[static ENVIRONMENT_MAX + 1])
{
    static const char *const kept[] = {
        "ASAN_OPTIONS=",  "CREDENTIALS_DIRECTORY=", "JOURNAL_STREAM=", "LANG=",
        "LOCALDOMAIN=",   "LSAN_OPTIONS=",          "PATH=",           "RES_OPTIONS=",
        "SSL_CERT_DIR=",  "SSL_CERT_FILE=",         "TSAN_OPTIONS=",   "TZ=",
        "UBSAN_OPTIONS=",
    };
    size_t n = 0;

    for (char **entry = environ; *entry && n < ENVIRONMENT_MAX; entry++)
        for (size_t i = 0; i < ELEMENTSOF(kept); i++)
            if (strncmp(*entry, kept[i], strlen(kept[i])) == 0) {
                ret[n++] = *entry;
                break;
            }
    ret[n] = NULL;
}

static _Noreturn void exec_session(int link_fd)
{
    static char program[] = "xmpprelay", option[] = "--session";
    char *arguments[] = { program, option, NULL };
    char *environment[ENVIRONMENT_MAX + 1];
    struct rlimit stack;

    trim_environment(environment);
    if (getrlimit(RLIMIT_STACK, &stack) == 0 &&
        (stack.rlim_max == RLIM_INFINITY || stack.rlim_max >= STACK_BYTES)) {
        stack.rlim_cur = STACK_BYTES;
        setrlimit(RLIMIT_STACK, &stack);
    }
    /* dup2() to another number clears FD_CLOEXEC, to the same it does nothing. */
    if (link_fd == SESSION_LINK_FD ? fcntl(link_fd, F_SETFD, 0) < 0
                                   : dup2(link_fd, SESSION_LINK_FD) < 0)
        _exit(203);
    execve("/proc/self/exe", arguments, environment);
    _exit(203);
}

/* Packets of the largest size must fit; where the kernel gives less, they are refused with
 * -EMSGSIZE and the owner hears of it. */
int session_process_link(int *ret_ours, int *ret_theirs)
{
    int fds[2], size = 4 * LINK_PACKET_MAX;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
        return -errno;
    for (int i = 0; i < 2; i++)
        setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    *ret_ours = fds[0];
    *ret_theirs = fds[1];
    return 0;
}

pid_t session_process_start(int theirs)
{
    pid_t pid = child_fork("xmpp-session", &theirs, 1);

    if (pid == 0)
        exec_session(theirs);
    return pid;
}
