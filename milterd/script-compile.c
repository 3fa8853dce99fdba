/* SPDX-License-Identifier: MIT */

/*
 * To compile a script is to run it, if only to see which functions it has. The manager runs none:
 * a child of its own does, for each script, and hands back through a pipe what it has made. So a
 * script can cost the manager neither its memory nor its life.
 */

#include "milterd/script-internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/child.h"
#include "milterd/buffer.h"

#define OUTCOME_MAX_BYTES (VM_CODE_MAX_BYTES + 1024 * 1024)

/* What comes through the pipe; behind it the macros, each with its NUL, and the code. */
typedef struct Outcome {
    int result; /* of vm_compile() */
    unsigned events;
    size_t n_macros;
    size_t code_size;
    char reason[VM_REASON_MAX];
} Outcome;

static void write_all(int fd, const void *bytes, size_t size)
{
    const char *at = bytes;

    while (size > 0) {
        ssize_t n = write(fd, at, size);

        if (n < 0)
            _exit(EXIT_FAILURE);
        at += n;
        size -= (size_t)n;
    }
}

_Noreturn static void run_child(int fd, const char *name, const char *text, size_t size,
                                const VmLimits *limits)
{
    Outcome outcome = {};
    VmOutline outline = {};
    VmCode code = {};

    outcome.result = vm_compile(name, text, size, limits, &code, &outline, outcome.reason);
    outcome.events = outline.events;
    outcome.n_macros = outline.macros.n;
    outcome.code_size = code.size;
    write_all(fd, &outcome, sizeof(outcome));
    for (size_t i = 0; i < outline.macros.n; i++)
        write_all(fd, outline.macros.items[i], strlen(outline.macros.items[i]) + 1);
    write_all(fd, code.bytes, code.size);
    _exit(EXIT_SUCCESS);
}

/* All that comes; -errno. */
static int read_all(int fd, Buffer *buffer)
{
    for (;;) {
        char bytes[16384];
        ssize_t n = read(fd, bytes, sizeof(bytes));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return buffer->failed ? -ENOMEM : 0;
        buffer_add(buffer, bytes, (size_t)n);
    }
}

/* -EBADMSG where it is not all there. */
static int take_outcome(const Buffer *buffer, VmCode *ret_code, VmOutline *ret_outline,
                        char reason[static VM_REASON_MAX])
{
    const char *at = buffer->data, *end = at ? at + buffer->size : NULL;
    _cleanup_(names_done) Names macros = {};
    Outcome outcome;

    if (buffer->full || buffer->size < sizeof(outcome))
        return -EBADMSG;
    memcpy(&outcome, at, sizeof(outcome));
    at += sizeof(outcome);
    if (outcome.result < 0) {
        memcpy(reason, outcome.reason, VM_REASON_MAX);
        reason[VM_REASON_MAX - 1] = '\0';
        return outcome.result;
    }
    for (size_t i = 0; i < outcome.n_macros; i++) {
        const char *next = memchr(at, '\0', (size_t)(end - at));
        int r = next ? names_add(&macros, at) : -EBADMSG;

        if (r < 0)
            return r;
        at = next + 1;
    }
    if ((size_t)(end - at) != outcome.code_size)
        return -EBADMSG;
    ret_code->bytes = malloc(MAX(outcome.code_size, (size_t)1));
    if (!ret_code->bytes)
        return -ENOMEM;
    memcpy(ret_code->bytes, at, outcome.code_size);
    ret_code->size = outcome.code_size;
    *ret_outline = (VmOutline){ .events = outcome.events, .macros = macros };
    macros = (Names){};
    return 0;
}

int script_compile(const char *name, const char *text, size_t size, const VmLimits *limits,
                   VmCode *ret_code, VmOutline *ret_outline, char reason[static VM_REASON_MAX])
{
    _cleanup_(buffer_done) Buffer buffer = { .max = OUTCOME_MAX_BYTES };
    _cleanup_close_ int ours = -1;
    char ended[CHILD_STATUS_MAX];
    int fds[2], status = 0, r;
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    ours = fds[0];
    pid = child_fork("milterd-script", &fds[1], 1);
    if (pid == 0)
        run_child(fds[1], name, text, size, limits);
    close(fds[1]);
    if (pid < 0)
        return pid;

    r = read_all(ours, &buffer);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (r == 0)
        r = take_outcome(&buffer, ret_code, ret_outline, reason);
    if (r == -EBADMSG) {
        snprintf(reason, VM_REASON_MAX, "%s: could not be compiled: the process that did it %s",
                 name, child_status(status, ended));
        return -EINVAL;
    }
    return r;
}
