/* SPDX-License-Identifier: MIT */

#include "xmpprelay/ctl-ask.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sysexits.h>

#include "common/text.h"

#define ANSWER_MAX (16 * 1024 * 1024)

int fail(int status, const char *format, ...)
{
    va_list args;

    fputs("xmpprelayctl: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return status;
}

static int fail_connect(const Ctl *ctl, int error)
{
    if (error == ENOENT || error == ECONNREFUSED)
        return fail(EX_UNAVAILABLE, "no relay answers at %s; is xmpprelay running?", ctl->path);
    if (error == EACCES)
        return fail(EX_UNAVAILABLE,
                    "%s may not be used by this user; join the group that control.group in "
                    "xmpprelay.conf names, or become root",
                    ctl->path);
    return fail(EX_UNAVAILABLE, "can't reach the relay at %s: %s", ctl->path, strerror(error));
}

int ctl_connect(Ctl *ctl)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    if (strlen(ctl->path) >= sizeof(address.sun_path))
        return fail(EX_USAGE, "the path of the socket is longer than %zu bytes",
                    sizeof(address.sun_path) - 1);
    strcpy(address.sun_path, ctl->path);
    ctl->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (ctl->fd < 0)
        return fail(EX_OSERR, "can't make a socket: %s", strerror(errno));
    if (connect(ctl->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return fail_connect(ctl, errno);
    return 0;
}

static int send_line(const Ctl *ctl, const Json *request)
{
    _cleanup_free_ char *text = NULL;
    size_t size, sent = 0;

    text = json_dump_dup(request, false, &size);
    if (!text)
        return -ENOMEM;
    text[size++] = '\n';
    while (sent < size) {
        ssize_t n = send(ctl->fd, text + sent, size - sent, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        sent += (size_t)n;
    }
    return 0;
}

/* One line, without its end; -ETIMEDOUT, -EPIPE when the relay hung up, -EMSGSIZE. */
static int receive_line(const Ctl *ctl, char **ret, size_t *ret_size)
{
    usec_t deadline = now_usec(CLOCK_MONOTONIC) + ctl->timeout_usec;
    _cleanup_free_ char *text = NULL;
    size_t size = 0, allocated = 0;

    for (;;) {
        struct pollfd wait = { .fd = ctl->fd, .events = POLLIN };
        usec_t now = now_usec(CLOCK_MONOTONIC);
        ssize_t n;

        if (size == allocated) {
            char *larger = realloc(text, allocated = allocated ? allocated * 2 : 65536);

            if (!larger)
                return -ENOMEM;
            text = larger;
        }
        if (now >= deadline)
            return -ETIMEDOUT;
        if (poll(&wait, 1, (int)MIN((deadline - now) / USEC_PER_MSEC + 1, (usec_t)60000)) <= 0)
            continue;
        n = recv(ctl->fd, text + size, allocated - size, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EPIPE;
        size += (size_t)n;
        if (text[size - 1] == '\n')
            break;
        if (size > ANSWER_MAX)
            return -EMSGSIZE;
    }
    *ret_size = size - 1;
    *ret = steal_ptr(text);
    return 0;
}

int ask(const Ctl *ctl, const Json *request, Json **ret)
{
    _cleanup_free_ char *text = NULL, *sentence = NULL;
    _cleanup_json_ Json *answer = NULL;
    char reason[JSON_REASON_MAX];
    const char *error;
    size_t size = 0;
    int r;

    r = send_line(ctl, request);
    if (r >= 0)
        r = receive_line(ctl, &text, &size);
    if (r == -ETIMEDOUT)
        return fail(EX_TEMPFAIL, "no answer came in time (--timeout)");
    if (r < 0)
        return fail(EX_UNAVAILABLE, "the relay hung up: %s; it takes %s", strerror(-r),
                    "a few clients at a time, its log may say more");
    if (json_parse(text, size, &answer, reason) < 0)
        return fail(EX_PROTOCOL, "the answer can't be read: %s", reason);
    error = json_as_string(json_get(answer, "error"), NULL);
    if (error) {
        sentence = text_clean_line_dup(error, strlen(error));
        return fail(EX_DATAERR, "%s", sentence ? sentence : "refused");
    }
    *ret = steal_ptr(answer);
    return 0;
}

Json *request_new(const char *command, const char *key, const char *value)
{
    Json *request = json_object_new();

    if (!request || json_set_string(request, "command", command) < 0 ||
        (key && json_set_string(request, key, value) < 0))
        return json_free(request);
    return request;
}

int ask_once(const Ctl *ctl, const char *command, const char *key, const char *value, Json **ret)
{
    _cleanup_json_ Json *request = request_new(command, key, value);

    if (!request)
        return fail(EX_OSERR, "out of memory");
    return ask(ctl, request, ret);
}
