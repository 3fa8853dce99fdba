/* SPDX-License-Identifier: MIT */

/*
 * Activity is seen by an epoll set of our own, which nobody waits for. It is asked edge by edge,
 * and for writability too: what arrives puts the descriptor on the kernel's ready list, and as it
 * is writable at nearly any time it is still reported when libmilter has long read the bytes. All
 * that arrives between two sweeps costs as much as the first byte of it.
 *
 * libmilter closes its descriptors without our knowledge; closing takes them out of the set. A
 * descriptor number may come back as another connection at any time: sockets are told apart by
 * their inode, and one is only shut down by way of a duplicate whose inode was looked at, which
 * nobody else can close or reuse.
 */

#include "milterd/connections.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>

int connections_init(Connections *connections, int fd_min, usec_t idle_usec)
{
    *connections = (Connections){ .fd_min = fd_min, .idle_usec = idle_usec };
    connections->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    return connections->epoll_fd < 0 ? -errno : 0;
}

void connections_done(Connections *connections)
{
    close_fd(connections->epoll_fd);
    free(connections->items);
    *connections = (Connections){ .epoll_fd = -1 };
}

/* Its inode if `fd` is a connected stream socket, else 0. */
static ino_t connection_inode(int fd)
{
    int type, accepting;
    socklen_t size = sizeof(int);
    struct stat st;

    if (fstat(fd, &st) < 0 || !S_ISSOCK(st.st_mode))
        return 0;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_STREAM)
        return 0;
    size = sizeof(int);
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepting, &size) < 0 || accepting)
        return 0;
    return st.st_ino;
}

static int reserve(Connections *connections, int fd)
{
    size_t n = MAX((size_t)fd + 1, connections->n_items * 2);
    Connection *items;

    if ((size_t)fd < connections->n_items)
        return 0;
    items = reallocarray(connections->items, n, sizeof(*items));
    if (!items)
        return -ENOMEM;
    memset(items + connections->n_items, 0, (n - connections->n_items) * sizeof(*items));
    connections->items = items;
    connections->n_items = n;
    return 0;
}

static int watch(const Connections *connections, int fd)
{
    struct epoll_event event = {
        .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
        .data.fd = fd,
    };

    /* EBADF: it was closed meanwhile; EEXIST: closed, and another has its number. */
    if (epoll_ctl(connections->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 && errno != EBADF &&
        errno != EEXIST)
        return -errno;
    return 0;
}

static int note_activity(Connections *connections, usec_t now)
{
    struct epoll_event events[64];
    size_t rounds = connections->n_items / ELEMENTSOF(events) + 1;
    int n;

    /* Those that are busy all the time could keep us here otherwise. */
    do {
        n = epoll_wait(connections->epoll_fd, events, ELEMENTSOF(events), 0);
        if (n < 0)
            return errno == EINTR ? 0 : -errno;
        for (int i = 0; i < n; i++) {
            size_t fd = (size_t)events[i].data.fd;

            if (fd < connections->n_items)
                connections->items[fd].active_usec = now;
        }
    } while (n == ELEMENTSOF(events) && --rounds > 0);
    return 0;
}

/* Shuts the connection down if it is still that one. */
static bool cut(int fd, ino_t inode)
{
    _cleanup_close_ int duplicate = -1;
    struct stat st;

    duplicate = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return duplicate >= 0 && fstat(duplicate, &st) == 0 && st.st_ino == inode &&
           shutdown(duplicate, SHUT_RDWR) == 0;
}

static int look_at(Connections *connections, int fd, ino_t inode, usec_t now)
{
    Connection *connection;
    int r;

    r = reserve(connections, fd);
    if (r < 0)
        return r;
    connection = &connections->items[fd];
    connection->seen = true;
    if (connection->inode == inode)
        return 0;

    connection->inode = inode;
    connection->active_usec = now;
    return watch(connections, fd);
}

static int look_at_all(Connections *connections, usec_t now, size_t *ret_n_open)
{
    const struct dirent *entry;
    size_t n_open = 0;
    DIR *directory;
    int r = 0;

    directory = opendir("/proc/self/fd");
    if (!directory)
        return -errno;
    while (r == 0 && (entry = readdir(directory))) {
        char *end;
        long fd = strtol(entry->d_name, &end, 10);
        ino_t inode;

        if (end == entry->d_name || *end != '\0' || fd < connections->fd_min)
            continue;
        inode = connection_inode((int)fd);
        if (inode == 0)
            continue;
        n_open++;
        r = look_at(connections, (int)fd, inode, now);
    }
    closedir(directory);
    if (r < 0)
        return r;

    *ret_n_open = n_open;
    return 0;
}

int connections_sweep(Connections *connections, usec_t now, size_t *ret_n_open, size_t *ret_n_cut)
{
    size_t n_open = 0, n_cut = 0;
    int r;

    for (size_t i = 0; i < connections->n_items; i++)
        connections->items[i].seen = false;
    r = look_at_all(connections, now, &n_open);
    if (r < 0)
        return r;
    r = note_activity(connections, now);
    if (r < 0)
        return r;

    for (size_t i = 0; i < connections->n_items; i++) {
        Connection *connection = &connections->items[i];

        if (!connection->seen)
            connection->inode = 0;
        else if (now - connection->active_usec >= connections->idle_usec &&
                 cut((int)i, connection->inode)) {
            connection->active_usec = now;
            n_cut++;
        }
    }

    *ret_n_open = n_open;
    *ret_n_cut = n_cut;
    return 0;
}
