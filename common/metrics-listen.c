/* SPDX-License-Identifier: MIT */

/*
 * Addresses are numeric, so that neither a check of the configuration nor a reload ever waits for
 * a name server. [::] takes IPv4 as well, whatever the system's own choice is.
 */

#include "common/metrics-listen.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#define BACKLOG 128
#define EXAMPLES "\"127.0.0.1:9797\", \"[::1]:9797\" or \"unix:/PATH\""

typedef struct Address {
    int family; /* AF_INET, AF_INET6 or AF_UNIX */
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    };
    socklen_t size;
} Address;

static int check_listen(ConfigFile *file, const ConfigNode *node, void *target)
{
    const char *listen = *(char **)target;
    char reason[METRICS_REASON_MAX], path[CONFIG_NODE_PATH_MAX];

    if (*listen && metrics_address_check(listen, reason) < 0)
        config_error(file, node, "%s: %s", config_node_path(node, path), reason);
    return 0;
}

const ConfigKey metrics_keys[] = {
    { "listen", CONFIG_STRING, offsetof(MetricsSettings, listen), .fallback = "\"\"",
      .parse = check_listen },
    { "mode", CONFIG_MODE, offsetof(MetricsSettings, mode), .fallback = "\"0660\"" },
    { "group", CONFIG_STRING, offsetof(MetricsSettings, group), .fallback = "\"\"" },
    {},
};

const char *metrics_settings_path(const MetricsSettings *settings)
{
    return strncmp(settings->listen, "unix:", 5) == 0 ? settings->listen + 5 : NULL;
}

static int parse_port(const char *text, in_port_t *ret)
{
    unsigned long port;

    if (!*text || strlen(text) > 5 || strspn(text, "0123456789") != strlen(text))
        return -EINVAL;
    port = strtoul(text, NULL, 10);
    if (port == 0 || port > UINT16_MAX)
        return -EINVAL;
    *ret = htons((in_port_t)port);
    return 0;
}

static int parse_unix(const char *path, Address *ret, char *reason)
{
    if (path[0] != '/' || path[strlen(path) - 1] == '/') {
        snprintf(reason, METRICS_REASON_MAX,
                 "\"unix:%.200s\" needs the absolute path of a socket after \"unix:\"", path);
        return -EINVAL;
    }
    *ret = (Address){ .family = AF_UNIX };
    return 0;
}

static int parse(const char *text, Address *ret, char *reason)
{
    Address address = {};
    const char *colon = strrchr(text, ':'), *host = text;
    char buffer[INET6_ADDRSTRLEN];
    size_t length;
    in_port_t port;
    bool in6;

    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(text + 5, ret, reason);
    if (!colon || parse_port(colon + 1, &port) < 0) {
        snprintf(reason, METRICS_REASON_MAX,
                 "\"%.200s\" has no port from 1 to 65535 after a colon; write it like " EXAMPLES,
                 text);
        return -EINVAL;
    }
    length = (size_t)(colon - host);
    in6 = length > 2 && host[0] == '[' && host[length - 1] == ']';
    if (in6) {
        host++;
        length -= 2;
    }
    snprintf(buffer, sizeof(buffer), "%.*s", (int)MIN(length, sizeof(buffer) - 1), host);
    address.family = in6 ? AF_INET6 : AF_INET;
    if (length >= sizeof(buffer) ||
        inet_pton(address.family, buffer,
                  in6 ? (void *)&address.in6.sin6_addr : (void *)&address.in.sin_addr) != 1) {
        snprintf(reason, METRICS_REASON_MAX,
                 "\"%.200s\" has no numeric address before its port; write it like " EXAMPLES,
                 text);
        return -EINVAL;
    }
    if (in6) {
        address.in6.sin6_family = AF_INET6;
        address.in6.sin6_port = port;
        address.size = sizeof(address.in6);
    } else {
        address.in.sin_family = AF_INET;
        address.in.sin_port = port;
        address.size = sizeof(address.in);
    }
    *ret = address;
    return 0;
}

int metrics_address_check(const char *text, char reason[static METRICS_REASON_MAX])
{
    Address address;

    return parse(text, &address, reason);
}

static int fail(int error, const char *listen, char *reason)
{
    const char *hint = "";

    if (error == -EADDRINUSE)
        hint = ": another process listens there: stop it, or choose another port";
    else if (error == -EADDRNOTAVAIL)
        hint = ": this machine has no such address";
    else if (error == -EACCES || error == -EPERM)
        hint = ": may not bind this port: choose one from 1024 up, and where the daemon's unit "
               "allows ports one by one, allow it (SocketBindAllow=)";
    snprintf(reason, METRICS_REASON_MAX, "metrics.listen: can't listen on %.64s%s%s", listen,
             *hint ? hint : ": ", *hint ? "" : strerror(-error));
    return error;
}

static int listen_inet(const Address *address)
{
    _cleanup_close_ int fd = -1;
    int on = 1, off = 0;

    fd = socket(address->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        (address->family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0) ||
        bind(fd, &address->any, address->size) < 0 || listen(fd, BACKLOG) < 0)
        return -errno;
    return steal_fd(&fd);
}

static int listen_unix(const MetricsSettings *settings, MetricsListener *ret, char *reason)
{
    const char *path = metrics_settings_path(settings);
    MetricsListener listener = METRICS_LISTENER_INIT;
    char why[SOCKET_REASON_MAX];
    const SocketSpec spec = {
        .path = path,
        .type = SOCK_STREAM,
        .backlog = BACKLOG,
        .mode = settings->mode,
        .group = settings->group,
    };
    int r;

    listener.path = strdup(path);
    if (!listener.path)
        return fail(-ENOMEM, settings->listen, reason);
    r = socket_listen_unix(&spec, &listener.fd, &listener.lock_fd, why);
    if (r < 0) {
        snprintf(reason, METRICS_REASON_MAX, "metrics.listen: %s", why);
        metrics_listener_done(&listener);
        return r;
    }
    *ret = listener;
    return 0;
}

int metrics_listen(const MetricsSettings *settings, MetricsListener *ret,
                   char reason[static METRICS_REASON_MAX])
{
    Address address;
    int r;

    r = parse(settings->listen, &address, reason);
    if (r < 0)
        return r;
    if (address.family == AF_UNIX)
        return listen_unix(settings, ret, reason);
    r = listen_inet(&address);
    if (r < 0)
        return fail(r, settings->listen, reason);
    *ret = METRICS_LISTENER_INIT;
    ret->fd = r;
    return 0;
}

void metrics_listener_done(MetricsListener *listener)
{
    if (listener->path && listener->fd >= 0)
        socket_unlink(listener->path, listener->fd);
    free(listener->path);
    close_fd(listener->fd);
    close_fd(listener->lock_fd);
    *listener = METRICS_LISTENER_INIT;
}
