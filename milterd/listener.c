/* SPDX-License-Identifier: MIT */

/*
 * Addresses are parsed without any lookup, so that neither a check of the configuration nor a
 * reload ever waits for a name server. A set of listeners is replaced as a whole: what a reload
 * keeps is moved over, what it adds is opened first, and only when all is there the rest closes.
 *
 * The descriptors are non-blocking, because several processes accept from each.
 */

#include "milterd/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <stdio.h>
#include <sys/stat.h>

#include <systemd/sd-daemon.h>

#include "common/socket.h"

#define BACKLOG 512
#define EXAMPLES "unix:PATH, inet:PORT@HOST or inet6:PORT@HOST"

static int parse_unix(const char *text, const char *path, ListenAddress *address,
                      char reason[static LISTENER_REASON_MAX])
{
    if (path[0] != '/') {
        snprintf(reason, LISTENER_REASON_MAX, "\"%s\" needs an absolute path after \"unix:\"",
                 text);
        return -EINVAL;
    }
    if (path[strlen(path) - 1] == '/') {
        snprintf(reason, LISTENER_REASON_MAX, "\"%s\" is a folder, the path of a socket is needed",
                 text);
        return -EINVAL;
    }
    if (strlen(path) >= sizeof(address->un.sun_path)) {
        snprintf(reason, LISTENER_REASON_MAX, "the path \"%.200s\" is too long, at most %zu bytes",
                 path, sizeof(address->un.sun_path) - 1);
        return -EINVAL;
    }

    address->family = AF_UNIX;
    address->un.sun_family = AF_UNIX;
    memcpy(address->un.sun_path, path, strlen(path) + 1);
    address->size = sizeof(address->un);
    return 0;
}

static int parse_port(const char *text, size_t size, in_port_t *ret)
{
    unsigned long port = 0;

    if (size == 0 || size > 5)
        return -EINVAL;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -EINVAL;
        port = port * 10 + (unsigned long)(text[i] - '0');
    }
    if (port == 0 || port > UINT16_MAX)
        return -EINVAL;

    *ret = htons((in_port_t)port);
    return 0;
}

static int parse_inet(const char *text, const char *rest, int family, ListenAddress *address,
                      char reason[static LISTENER_REASON_MAX])
{
    const char *at = strchr(rest, '@');
    const char *loopback = family == AF_INET ? "127.0.0.1" : "::1";
    char host[INET6_ADDRSTRLEN + 2];
    size_t size;
    in_port_t port;
    int ok;

    if (!at || at[1] == '\0') {
        snprintf(reason, LISTENER_REASON_MAX,
                 "\"%.200s\" says no host, add \"@%s\" for this machine alone or \"@%s\" for all",
                 text, loopback, family == AF_INET ? "0.0.0.0" : "::");
        return -EINVAL;
    }
    if (parse_port(rest, (size_t)(at - rest), &port) < 0) {
        snprintf(reason, LISTENER_REASON_MAX, "\"%.200s\" has no port from 1 to 65535 before \"@\"",
                 text);
        return -EINVAL;
    }

    at++;
    size = strlen(at);
    if (size > 2 && at[0] == '[' && at[size - 1] == ']') {
        at++;
        size -= 2;
    }
    if (size == strlen("localhost") && memcmp(at, "localhost", size) == 0) {
        at = loopback;
        size = strlen(loopback);
    }
    snprintf(host, sizeof(host), "%.*s", (int)MIN(size, sizeof(host) - 1), at);

    address->family = family;
    if (family == AF_INET) {
        address->in.sin_family = AF_INET;
        address->in.sin_port = port;
        ok = inet_pton(AF_INET, host, &address->in.sin_addr);
        address->size = sizeof(address->in);
    } else {
        address->in6.sin6_family = AF_INET6;
        address->in6.sin6_port = port;
        ok = inet_pton(AF_INET6, host, &address->in6.sin6_addr);
        address->size = sizeof(address->in6);
    }
    if (ok != 1 || size >= sizeof(host)) {
        snprintf(reason, LISTENER_REASON_MAX,
                 "\"%.200s\" needs a numeric %s address or \"localhost\" after \"@\"", text,
                 family == AF_INET ? "IPv4" : "IPv6");
        return -EINVAL;
    }
    return 0;
}

int listen_address_parse(const char *text, ListenAddress *ret,
                         char reason[static LISTENER_REASON_MAX])
{
    ListenAddress address = {};
    int r;

    if (strncmp(text, "unix:", 5) == 0)
        r = parse_unix(text, text + 5, &address, reason);
    else if (strncmp(text, "inet:", 5) == 0)
        r = parse_inet(text, text + 5, AF_INET, &address, reason);
    else if (strncmp(text, "inet6:", 6) == 0)
        r = parse_inet(text, text + 6, AF_INET6, &address, reason);
    else {
        snprintf(reason, LISTENER_REASON_MAX, "\"%.200s\" is no address, allowed are " EXAMPLES,
                 text);
        return -EINVAL;
    }
    if (r < 0)
        return r;

    *ret = address;
    return 0;
}

static Listener *listener_free(Listener *listener)
{
    if (!listener)
        return NULL;
    if (listener->fd >= 0 && !listener->handed) {
        if (listener->address.family == AF_UNIX)
            socket_unlink(listener->address.un.sun_path, listener->fd);
        close_fd(listener->fd);
    }
    close_fd(listener->lock_fd);
    free(listener->name);
    free(listener);
    return NULL;
}

DEFINE_CLEANUP(Listener *, listener_free)

int listeners_take_handed(Listeners *listeners)
{
    int n = sd_listen_fds(1);

    if (n <= 0)
        return n;

    listeners->handed_fds = calloc((size_t)n, sizeof(int));
    if (!listeners->handed_fds)
        return -ENOMEM;
    for (int i = 0; i < n; i++) {
        int fd = SD_LISTEN_FDS_START + i;
        int flags = fcntl(fd, F_GETFL);

        if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
            return -errno;
        listeners->handed_fds[listeners->n_handed++] = fd;
    }
    return 0;
}

static bool is_bound_to(int fd, const ListenAddress *address)
{
    if (address->family == AF_UNIX)
        return sd_is_socket_unix(fd, SOCK_STREAM, 1, address->un.sun_path, 0) > 0;
    return sd_is_socket_sockaddr(fd, SOCK_STREAM, &address->any, address->size, 1) > 0;
}

static int open_inet(Listener *listener, char reason[static LISTENER_REASON_MAX])
{
    _cleanup_close_ int fd = -1;
    int on = 1;
    int r;

    fd = socket(listener->address.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        (listener->address.family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0) ||
        bind(fd, &listener->address.any, listener->address.size) < 0 || listen(fd, BACKLOG) < 0) {
        r = -errno;
        snprintf(reason, LISTENER_REASON_MAX, "cannot listen on %s: %s%s", listener->name,
                 strerror(-r),
                 r == -EADDRINUSE ? "; is another program, or another milterd, there?" : "");
        return r;
    }

    listener->fd = steal_fd(&fd);
    return 0;
}

static int open_unix(Listener *listener, mode_t mode, const char *group,
                     char reason[static LISTENER_REASON_MAX])
{
    SocketSpec spec = {
        .path = listener->address.un.sun_path,
        .type = SOCK_STREAM,
        .backlog = BACKLOG,
        .mode = mode,
        .group = group,
    };
    char why[SOCKET_REASON_MAX] = "";
    int r;

    r = socket_listen_unix(&spec, &listener->fd, &listener->lock_fd, why);
    if (r < 0)
        snprintf(reason, LISTENER_REASON_MAX, "cannot listen on %.120s: %s", listener->name,
                 why[0] ? why : strerror(-r));
    return r;
}

static int listener_open(const Listeners *listeners, const char *name, mode_t mode,
                         const char *group, Listener **ret, char reason[static LISTENER_REASON_MAX])
{
    _cleanup_(listener_freep) Listener *listener = NULL;
    int r;

    snprintf(reason, LISTENER_REASON_MAX, "out of memory");
    listener = calloc(1, sizeof(*listener));
    if (!listener)
        return -ENOMEM;
    listener->fd = -1;
    listener->lock_fd = -1;
    listener->name = strdup(name);
    if (!listener->name)
        return -ENOMEM;

    r = listen_address_parse(name, &listener->address, reason);
    if (r < 0)
        return r;

    for (size_t i = 0; i < listeners->n_handed; i++)
        if (is_bound_to(listeners->handed_fds[i], &listener->address)) {
            listener->fd = listeners->handed_fds[i];
            listener->handed = true;
            *ret = steal_ptr(listener);
            return 0;
        }

    r = listener->address.family == AF_UNIX ? open_unix(listener, mode, group, reason)
                                            : open_inet(listener, reason);
    if (r < 0)
        return r;

    *ret = steal_ptr(listener);
    return 0;
}

/* The group that a socket at `path` gets without anybody's doing. */
static gid_t group_of_new_file(const char *path)
{
    _cleanup_free_ char *copy = strdup(path);
    struct stat folder;

    if (copy && stat(dirname(copy), &folder) == 0 && (folder.st_mode & S_ISGID))
        return folder.st_gid;
    return getegid();
}

/* Sets mode and group anew on a path that stays. */
static int listener_set_access(const Listener *listener, mode_t mode, const char *group,
                               char reason[static LISTENER_REASON_MAX])
{
    const char *path = listener->address.un.sun_path;
    struct stat now;
    gid_t gid;
    int r;

    if (listener->handed || listener->address.family != AF_UNIX)
        return 0;

    if (group && group[0] != '\0') {
        const struct group *found = getgrnam(group);

        if (!found) {
            snprintf(reason, LISTENER_REASON_MAX, "cannot listen on %.200s: no group \"%.100s\"",
                     listener->name, group);
            return -ENOENT;
        }
        gid = found->gr_gid;
    } else {
        gid = group_of_new_file(path);
    }
    /* A group that we are not in may well be its group already, by the folder's doing. */
    if (lstat(path, &now) < 0 || (now.st_gid != gid && lchown(path, (uid_t)-1, gid) < 0) ||
        chmod(path, mode) < 0) {
        r = -errno;
        snprintf(reason, LISTENER_REASON_MAX, "cannot set group and mode of %.200s: %s", path,
                 strerror(-r));
        return r;
    }
    return 0;
}

static size_t find(const Listeners *listeners, const char *name)
{
    size_t i = 0;

    while (i < listeners->n && !streq(listeners->items[i]->name, name))
        i++;
    return i;
}

int listeners_update(Listeners *listeners, const ConfigStrings *names, mode_t mode,
                     const char *group, char reason[static LISTENER_REASON_MAX])
{
    _cleanup_free_ Listener **items = NULL;
    int r = 0;
    size_t n;

    items = calloc(names->n + 1, sizeof(Listener *));
    if (!items) {
        snprintf(reason, LISTENER_REASON_MAX, "out of memory");
        return -ENOMEM;
    }

    for (n = 0; n < names->n; n++) {
        size_t at = find(listeners, names->items[n]);

        if (at < listeners->n)
            r = listener_set_access(listeners->items[at], mode, group, reason);
        else
            r = listener_open(listeners, names->items[n], mode, group, &items[n], reason);
        if (r < 0)
            break;
    }
    if (r < 0) {
        for (size_t i = 0; i < n; i++)
            listener_free(items[i]);
        return r;
    }

    for (size_t i = 0; i < names->n; i++)
        if (!items[i]) {
            size_t at = find(listeners, names->items[i]);

            items[i] = listeners->items[at];
            listeners->items[at] = listeners->items[--listeners->n];
        }
    for (size_t i = 0; i < listeners->n; i++)
        listener_free(listeners->items[i]);
    free(listeners->items);
    listeners->items = steal_ptr(items);
    listeners->n = names->n;
    return 0;
}

void listeners_close(Listeners *listeners)
{
    for (size_t i = 0; i < listeners->n; i++)
        listener_free(listeners->items[i]);
    listeners->n = 0;
}

void listeners_done(Listeners *listeners)
{
    listeners_close(listeners);
    for (size_t i = 0; i < listeners->n_handed; i++)
        close_fd(listeners->handed_fds[i]);
    free(listeners->handed_fds);
    free(listeners->items);
    *listeners = (Listeners){};
}

size_t listeners_n_unused(const Listeners *listeners)
{
    size_t n = listeners->n_handed;

    for (size_t i = 0; i < listeners->n; i++)
        if (listeners->items[i]->handed)
            n--;
    return n;
}
