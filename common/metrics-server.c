/* SPDX-License-Identifier: MIT */

/*
 * libmicrohttpd in our loop: its epoll descriptor is an event source of ours, and a timer runs it
 * when it asks for that. It has no thread, and its own listening descriptor is a duplicate of
 * ours, which it closes when it ends.
 *
 * Its timeout counts from the last byte, so a client could stay for as long as it likes, a byte at
 * a time. Hence a deadline of our own: each connection has one request, its answer closes it, and
 * one that is still there after the deadline is shut down, which the library meets as its end.
 */

#include "common/metrics-server.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>

#include <microhttpd.h>

#include "common/log.h"

#define MEMORY_MAX ((size_t)8 * 1024) /* of a connection: the request with all its headers */
#define TIMEOUT_SEC ((unsigned)(METRICS_DEADLINE_USEC / USEC_PER_SEC))
#define RUNS_MAX 50 /* of the library in METRICS_FRESH_USEC, whatever clients do */

typedef struct Client {
    int fd; /* the library's; -1: free */
    usec_t until_usec;
} Client;

typedef struct Page {
    struct MHD_Response *response;
    usec_t made_usec;
} Page;

struct MetricsServer {
    sd_event *event;
    MetricsSource source;
    MetricsSettings settings; /* a copy */
    MetricsListener listener;
    struct MHD_Daemon *daemon;
    sd_event_source *io_source;
    sd_event_source *timer_source;
    Client clients[METRICS_CONNECTIONS_MAX];
    bool client_left; /* in the last run */
    Page pages[2];    /* by format */
};

/* What the library has to say is about its clients, mostly. */
PRINTF_LIKE(2, 0)
static void on_log(void *userdata, const char *format, va_list args)
{
    char text[256];

    if (log_level() < LOG_DEBUG)
        return;
    vsnprintf(text, sizeof(text), format, args);
    text[strcspn(text, "\n")] = '\0';
    log_debug("metrics: %s", text);
}

static void on_connection(void *userdata, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    MetricsServer *server = userdata;
    const union MHD_ConnectionInfo *info;
    Client *client = *context;

    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (client)
            client->fd = -1;
        server->client_left = true;
        return;
    }
    info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    for (size_t i = 0; info && i < METRICS_CONNECTIONS_MAX; i++)
        if (server->clients[i].fd < 0) {
            server->clients[i] = (Client){
                .fd = info->connect_fd,
                .until_usec = now_usec(CLOCK_MONOTONIC) + METRICS_DEADLINE_USEC,
            };
            *context = &server->clients[i];
            return;
        }
}

/* Answers. */

static struct MHD_Response *response_consume(char *text, size_t size, const char *type)
{
    struct MHD_Response *response =
        text ? MHD_create_response_from_buffer(size, text, MHD_RESPMEM_MUST_FREE) : NULL;

    if (!response) {
        free(text);
        return NULL;
    }
    if (MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close") == MHD_YES &&
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type) == MHD_YES)
        return response;
    MHD_destroy_response(response);
    return NULL;
}

static enum MHD_Result answer_sentence(MetricsServer *server, struct MHD_Connection *connection,
                                       unsigned status, const char *sentence)
{
    struct MHD_Response *response;
    enum MHD_Result result = MHD_NO;
    char *text = NULL;
    int size = asprintf(&text, "%s: %s\n", server->source.program, sentence);

    if (size < 0)
        return MHD_NO;
    response = response_consume(text, (size_t)size, "text/plain; charset=utf-8");
    if (!response)
        return MHD_NO;
    if (status != MHD_HTTP_METHOD_NOT_ALLOWED ||
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD") == MHD_YES)
        result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static void drop_page(Page *page)
{
    if (page->response)
        MHD_destroy_response(page->response);
    page->response = NULL;
}

static int make_page(MetricsServer *server, MetricsFormat format, usec_t now)
{
    Page *page = &server->pages[format];
    struct MHD_Response *response;
    char *text;
    size_t size;

    if (server->source.refresh)
        server->source.refresh(server->source.userdata);
    if (metrics_render(server->source.metrics, format, &text, &size) < 0)
        return -ENOMEM;
    response = response_consume(text, size, metrics_content_type(format));
    if (!response)
        return -ENOMEM;
    drop_page(page);
    *page = (Page){ .response = response, .made_usec = now };
    return 0;
}

static enum MHD_Result answer_page(MetricsServer *server, struct MHD_Connection *connection)
{
    MetricsFormat format = metrics_negotiate(
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT));
    const Page *page = &server->pages[format];
    usec_t now = now_usec(CLOCK_MONOTONIC);

    if ((!page->response || now - page->made_usec >= METRICS_FRESH_USEC) &&
        make_page(server, format, now) < 0)
        return answer_sentence(server, connection, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
    return MHD_queue_response(connection, MHD_HTTP_OK, page->response);
}

/* MHD_NO closes the connection. */
static enum MHD_Result on_request(void *userdata, struct MHD_Connection *connection,
                                  const char *url, const char *method, const char *version,
                                  const char *upload, size_t *upload_size, void **context)
{
    MetricsServer *server = userdata;

    if (!streq(method, MHD_HTTP_METHOD_GET) && !streq(method, MHD_HTTP_METHOD_HEAD))
        return answer_sentence(server, connection, MHD_HTTP_METHOD_NOT_ALLOWED,
                               "only GET and HEAD are answered");
    if (streq(url, "/metrics"))
        return answer_page(server, connection);
    if (streq(url, "/"))
        return answer_sentence(server, connection, MHD_HTTP_OK, "the metrics are at /metrics");
    return answer_sentence(server, connection, MHD_HTTP_NOT_FOUND,
                           "nothing is here, the metrics are at /metrics");
}

/* The loop. */

/* Ends what has had its time; when the next one has had it. */
static usec_t end_overdue(MetricsServer *server, usec_t now)
{
    usec_t next_usec = USEC_INFINITY;

    for (size_t i = 0; i < METRICS_CONNECTIONS_MAX; i++) {
        Client *client = &server->clients[i];

        if (client->fd < 0 || client->until_usec == USEC_INFINITY)
            continue;
        if (client->until_usec <= now) {
            (void)shutdown(client->fd, SHUT_RDWR);
            client->until_usec = USEC_INFINITY; /* once is enough */
            continue;
        }
        next_usec = MIN(next_usec, client->until_usec);
    }
    return next_usec;
}

/* Where there was no place for more clients, the library looks for those that wait only when it
 * runs again after one has left. */
static void run(MetricsServer *server)
{
    usec_t now = now_usec(CLOCK_MONOTONIC), wake_usec = end_overdue(server, now), next_usec;
    MHD_UNSIGNED_LONG_LONG msec;

    server->client_left = false;
    MHD_run(server->daemon);
    next_usec = end_overdue(server, now); /* also of those that came just now */
    wake_usec = MIN(wake_usec, next_usec);
    if (MHD_get_timeout(server->daemon, &msec) == MHD_YES)
        wake_usec = MIN(wake_usec, now + msec * USEC_PER_MSEC);
    if (server->client_left)
        wake_usec = now;
    /* Neither call fails for a timer that is there. */
    (void)sd_event_source_set_time(server->timer_source, wake_usec);
    (void)sd_event_source_set_enabled(server->timer_source,
                                      wake_usec == USEC_INFINITY ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    run(userdata);
    return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    run(userdata);
    return 0;
}

/* Making and ending it. */

MetricsServer *metrics_server_free(MetricsServer *server)
{
    if (!server)
        return NULL;
    sd_event_source_disable_unref(server->io_source);
    sd_event_source_disable_unref(server->timer_source);
    if (server->daemon)
        MHD_stop_daemon(server->daemon);
    for (size_t i = 0; i < ELEMENTSOF(server->pages); i++)
        drop_page(&server->pages[i]);
    metrics_listener_done(&server->listener);
    config_target_done(metrics_keys, &server->settings);
    sd_event_unref(server->event);
    free(server);
    return NULL;
}

static int start_library(MetricsServer *server)
{
    _cleanup_close_ int fd = fcntl(server->listener.fd, F_DUPFD_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    server->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, server,
        MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)METRICS_CONNECTIONS_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT, TIMEOUT_SEC, MHD_OPTION_CONNECTION_MEMORY_LIMIT, MEMORY_MAX,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_END);
    if (!server->daemon)
        return -ENOMEM;
    fd = -1; /* the library's */
    return 0;
}

static int add_sources(MetricsServer *server)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    int r;

    if (!info)
        return -EOPNOTSUPP;
    r = sd_event_add_io(server->event, &server->io_source, info->epoll_fd, EPOLLIN, on_io, server);
    if (r >= 0)
        r = sd_event_source_set_ratelimit(server->io_source, METRICS_FRESH_USEC, RUNS_MAX);
    if (r >= 0)
        r = sd_event_add_time(server->event, &server->timer_source, CLOCK_MONOTONIC, 0,
                              USEC_PER_MSEC, on_timer, server);
    return MIN(r, 0);
}

static int server_new(sd_event *event, const MetricsSettings *settings, const MetricsSource *source,
                      MetricsServer **ret, char reason[static METRICS_REASON_MAX])
{
    _cleanup_(metrics_server_freep) MetricsServer *server = calloc(1, sizeof(*server));
    int r = -ENOMEM;

    snprintf(reason, METRICS_REASON_MAX, "metrics.listen: out of memory");
    if (!server)
        return r;
    server->listener = METRICS_LISTENER_INIT;
    server->event = sd_event_ref(event);
    server->source = *source;
    for (size_t i = 0; i < METRICS_CONNECTIONS_MAX; i++)
        server->clients[i].fd = -1;
    server->settings.mode = settings->mode;
    server->settings.listen = strdup(settings->listen);
    server->settings.group = strdup(settings->group);
    if (!server->settings.listen || !server->settings.group)
        return r;
    r = metrics_listen(settings, &server->listener, reason);
    if (r < 0)
        return r;
    r = start_library(server);
    if (r >= 0)
        r = add_sources(server);
    if (r < 0) {
        snprintf(reason, METRICS_REASON_MAX, "metrics.listen: can't serve %.200s: %s",
                 settings->listen, strerror(-r));
        return r;
    }
    *ret = steal_ptr(server);
    return 0;
}

static bool same_settings(const MetricsSettings *a, const MetricsSettings *b)
{
    return streq(a->listen, b->listen) &&
           (!metrics_settings_path(a) || (a->mode == b->mode && streq(a->group, b->group)));
}

/* The new address overlaps with the old one, perhaps: two sockets that can't both be open. */
static int replace(MetricsServer **server, sd_event *event, const MetricsSettings *settings,
                   const MetricsSource *source, char reason[static METRICS_REASON_MAX])
{
    MetricsServer *old = *server;
    MetricsSettings old_settings = old->settings;
    MetricsSource old_source = old->source;
    char why[METRICS_REASON_MAX];
    int r, again;

    old->settings = (MetricsSettings){};
    *server = metrics_server_free(old);
    r = server_new(event, settings, source, server, reason);
    if (r < 0) {
        again = server_new(event, &old_settings, &old_source, server, why);
        if (again < 0)
            log_error("%s; there are no metrics until the next reload", why);
    }
    config_target_done(metrics_keys, &old_settings);
    return r;
}

int metrics_server_update(MetricsServer **server, sd_event *event, const MetricsSettings *settings,
                          const MetricsSource *source, char reason[static METRICS_REASON_MAX])
{
    MetricsServer *next = NULL;
    int r;

    if (*server && same_settings(&(*server)->settings, settings))
        return 0;
    if (*settings->listen) {
        r = server_new(event, settings, source, &next, reason);
        if (r == -EADDRINUSE && *server)
            return replace(server, event, settings, source, reason);
        if (r < 0)
            return r;
    }
    metrics_server_free(*server);
    *server = next;
    return 0;
}
