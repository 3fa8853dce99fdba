/* SPDX-License-Identifier: MIT */

/*
 * Each client is in one of three phases: we read its request, it waits for a late answer, or we
 * write. What it may keep of our memory is one request and one answer, and there are at most
 * CONTROL_CLIENTS_MAX of them; while all places are taken nobody more is accepted, and the
 * kernel's queue holds the rest. So it does for a while when accept() fails, for want of a
 * descriptor say: the socket stays readable then, and would keep the loop busy.
 */

#include "xmpprelay/control-socket.h"

#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "common/log.h"
#include "common/socket.h"

#define ACCEPT_AGAIN_USEC USEC_PER_SEC

typedef enum ClientPhase {
    CLIENT_READING,
    CLIENT_WAITING,
    CLIENT_WRITING,
} ClientPhase;

typedef struct Client {
    ControlSocket *owner;
    uint64_t number;
    ClientPhase phase;
    int fd; /* -1: this place is free */
    sd_event_source *io, *timer;
    char request[CONTROL_REQUEST_MAX];
    size_t request_size;
    char *answer;
    size_t answer_size, written;
} Client;

struct ControlSocket {
    sd_event *event;
    ControlAnswer answer;
    void *userdata;
    char *path;
    int fd, lock_fd;
    sd_event_source *io, *accept_again;
    LogLimit refusals;
    uint64_t last_number;
    Client clients[CONTROL_CLIENTS_MAX];
};

static void client_close(Client *client)
{
    ControlSocket *owner = client->owner;

    sd_event_source_disable_unref(client->io);
    sd_event_source_disable_unref(client->timer);
    close_fd(client->fd);
    free(client->answer);
    *client = (Client){ .owner = owner, .fd = -1 };
    if (owner->io)
        sd_event_source_set_enabled(owner->io, SD_EVENT_ON);
}

/* What to wait for in the present phase. A client that waits is watched for its hang-up alone,
 * which needs no bit. */
static int client_watch(Client *client)
{
    static const uint32_t events[] = {
        [CLIENT_READING] = EPOLLIN, [CLIENT_WAITING] = 0, [CLIENT_WRITING] = EPOLLOUT
    };
    int r;

    r = sd_event_source_set_io_events(client->io, events[client->phase]);
    if (r < 0)
        return r;
    if (client->phase == CLIENT_WAITING)
        return sd_event_source_set_enabled(client->timer, SD_EVENT_OFF);
    r = sd_event_source_set_time_relative(client->timer, CONTROL_IDLE_USEC);
    if (r < 0)
        return r;
    return sd_event_source_set_enabled(client->timer, SD_EVENT_ONESHOT);
}

static int client_write(Client *client)
{
    while (client->written < client->answer_size) {
        ssize_t n = send(client->fd, client->answer + client->written,
                         client->answer_size - client->written, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? client_watch(client) : -errno;
        client->written += (size_t)n;
    }
    free(client->answer);
    client->answer = NULL;
    client->answer_size = client->written = 0;
    client->phase = CLIENT_READING;
    return client_watch(client);
}

static int client_answer(Client *client, const Json *answer)
{
    size_t size;
    char *text = json_dump_dup(answer, false, &size);

    if (!text)
        return -ENOMEM;
    text[size] = '\n'; /* in the place of its NUL */
    client->answer = text;
    client->answer_size = size + 1;
    client->written = 0;
    client->phase = CLIENT_WRITING;
    return client_write(client);
}

static int client_request(Client *client, size_t size)
{
    _cleanup_json_ Json *request = NULL, *answer = NULL;
    char reason[JSON_REASON_MAX];
    int r;

    r = json_parse(client->request, size, &request, reason);
    if (r == -ENOMEM)
        return r;
    if (r == 0 && json_type(request) != JSON_IS_OBJECT) {
        snprintf(reason, sizeof(reason), "a request is an object");
        r = -EBADMSG;
    }
    if (r < 0) {
        answer = json_object_new();
        if (!answer || json_set_string(answer, "error", reason) < 0)
            return -ENOMEM;
        return client_answer(client, answer);
    }

    client->phase = CLIENT_WAITING;
    r = client->owner->answer(client->owner->userdata, client->number, request, &answer);
    if (r < 0)
        return r;
    return answer ? client_answer(client, answer) : client_watch(client);
}

/* Takes the first whole line out of what has come, if there is one. */
static int client_next_request(Client *client)
{
    char *end = memchr(client->request, '\n', client->request_size);
    size_t size;
    int r;

    if (!end)
        return client->request_size == sizeof(client->request) ? -EMSGSIZE : 0;
    size = (size_t)(end - client->request);
    r = client_request(client, size);
    client->request_size -= size + 1;
    memmove(client->request, end + 1, client->request_size);
    return r < 0 ? r : 1;
}

static int client_read(Client *client)
{
    ssize_t n = recv(client->fd, client->request + client->request_size,
                     sizeof(client->request) - client->request_size, MSG_DONTWAIT);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    if (n == 0)
        return -ECONNRESET;
    client->request_size += (size_t)n;
    return 0;
}

/* Meets the requests that have come whole, one after another. */
static int client_advance(Client *client)
{
    int r = 0;

    while (client->phase == CLIENT_READING) {
        r = client_next_request(client);
        if (r <= 0)
            break;
    }
    return r;
}

static int on_client(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    Client *client = userdata;
    int r = 0;

    if (client->phase == CLIENT_WRITING)
        r = client_write(client);
    else if (client->phase == CLIENT_READING && (revents & EPOLLIN))
        r = client_read(client);
    else if (revents & (EPOLLHUP | EPOLLERR))
        r = -ECONNRESET;

    if (r >= 0)
        r = client_advance(client);
    if (r < 0)
        client_close(client);
    return 0;
}

static int on_client_idle(sd_event_source *source, uint64_t usec, void *userdata)
{
    client_close(userdata);
    return 0;
}

static Client *free_place(ControlSocket *control)
{
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
        if (control->clients[i].fd < 0)
            return &control->clients[i];
    return NULL;
}

static int client_open(ControlSocket *control, Client *client, int fd)
{
    int r;

    client->number = ++control->last_number;
    client->fd = fd;
    r = sd_event_add_io(control->event, &client->io, fd, EPOLLIN, on_client, client);
    if (r < 0)
        return r;
    r = sd_event_add_time_relative(control->event, &client->timer, CLOCK_MONOTONIC,
                                   CONTROL_IDLE_USEC, 0, on_client_idle, client);
    if (r < 0)
        return r;
    return client_watch(client);
}

static int on_accept_again(sd_event_source *source, uint64_t usec, void *userdata)
{
    ControlSocket *control = userdata;

    return sd_event_source_set_enabled(control->io, SD_EVENT_ON);
}

static int accept_failed(ControlSocket *control, int error)
{
    unsigned suppressed;
    int r;

    if (error == EAGAIN || error == EINTR || error == ECONNABORTED)
        return 0;
    if (log_limit_pass(&control->refusals, now_usec(CLOCK_MONOTONIC), &suppressed))
        log_error("%s: clients have to wait: %s", control->path, strerror(error));
    r = sd_event_source_set_time_relative(control->accept_again, ACCEPT_AGAIN_USEC);
    if (r >= 0)
        r = sd_event_source_set_enabled(control->accept_again, SD_EVENT_ONESHOT);
    return r < 0 ? r : sd_event_source_set_enabled(control->io, SD_EVENT_OFF);
}

static int on_connection(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    ControlSocket *control = userdata;
    Client *client = free_place(control);
    int connection;

    if (!client)
        return sd_event_source_set_enabled(source, SD_EVENT_OFF);
    connection = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (connection < 0)
        return accept_failed(control, errno);
    if (client_open(control, client, connection) < 0)
        client_close(client);
    return 0;
}

int control_socket_new(sd_event *event, const SocketSettings *settings, ControlAnswer answer,
                       void *userdata, ControlSocket **ret, char *reason, size_t reason_size)
{
    _cleanup_(control_socket_freep) ControlSocket *control = NULL;
    char socket_reason[SOCKET_REASON_MAX];
    SocketSpec spec = {
        .path = settings->path,
        .type = SOCK_STREAM,
        .backlog = 16,
        .mode = settings->mode,
        .group = settings->group,
    };
    int r;

    snprintf(reason, reason_size, "out of memory");
    control = calloc(1, sizeof(*control));
    if (!control)
        return -ENOMEM;
    control->event = sd_event_ref(event);
    control->answer = answer;
    control->userdata = userdata;
    control->fd = control->lock_fd = -1;
    control->refusals = (LogLimit){ .interval_usec = 60 * USEC_PER_SEC, .burst = 1 };
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
        control->clients[i] = (Client){ .owner = control, .fd = -1 };
    control->path = strdup(settings->path);
    if (!control->path)
        return -ENOMEM;

    r = socket_listen_unix(&spec, &control->fd, &control->lock_fd, socket_reason);
    if (r < 0) {
        snprintf(reason, reason_size, "%s", socket_reason);
        return r;
    }
    r = sd_event_add_io(event, &control->io, control->fd, EPOLLIN, on_connection, control);
    if (r >= 0)
        r = sd_event_add_time_relative(event, &control->accept_again, CLOCK_MONOTONIC,
                                       ACCEPT_AGAIN_USEC, 0, on_accept_again, control);
    if (r < 0) {
        snprintf(reason, reason_size, "can't watch %s: %s", control->path, strerror(-r));
        return r;
    }
    *ret = steal_ptr(control);
    return 0;
}

ControlSocket *control_socket_free(ControlSocket *control)
{
    if (!control)
        return NULL;
    control->io = sd_event_source_disable_unref(control->io);
    sd_event_source_disable_unref(control->accept_again);
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
        if (control->clients[i].fd >= 0)
            client_close(&control->clients[i]);
    if (control->fd >= 0)
        socket_unlink(control->path, control->fd);
    close_fd(control->fd);
    close_fd(control->lock_fd);
    free(control->path);
    sd_event_unref(control->event);
    free(control);
    return NULL;
}

static Client *find_waiting(const ControlSocket *control, uint64_t number)
{
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        const Client *client = &control->clients[i];

        if (client->fd >= 0 && client->number == number && client->phase == CLIENT_WAITING)
            return (Client *)client;
    }
    return NULL;
}

bool control_socket_waits(const ControlSocket *control, uint64_t number)
{
    return find_waiting(control, number) != NULL;
}

void control_socket_answer(ControlSocket *control, uint64_t number, Json *answer)
{
    _cleanup_json_ Json *consumed = answer;
    Client *client = find_waiting(control, number);

    if (!client)
        return;
    if (!consumed || client_answer(client, consumed) < 0 || client_advance(client) < 0)
        client_close(client);
}
