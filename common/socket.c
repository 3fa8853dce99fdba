/* SPDX-License-Identifier: MIT */

/*
 * Listening sockets on a UNIX path.
 *
 * The lock settles which of our daemons may have the path; a trial connection settles whether
 * anything else still serves what lies there. The socket is bound under a random name beside the
 * path and renamed over it: whoever connects meets the old one or the new one, ready. A socket
 * keeps the name it was bound to, which no other one has, and so can be told from its successors.
 */

#include "common/socket.h"

#include <fcntl.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define SUN_PATH_MAX (sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1)
#define TEMPORARY_SUFFIX_MAX 9 /* ".01234567" */
#define GROUP_BUFFER_MAX ((size_t)1024 * 1024)

PRINTF_LIKE(3, 4)
static int fail(int error, char *reason, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(reason, SOCKET_REASON_MAX, format, args);
    va_end(args);
    return error;
}

/* What to say when something could not be made at `path`. */
static int fail_to_make(int error, char *reason, const char *path)
{
    char copy[SUN_PATH_MAX + 1];

    snprintf(copy, sizeof(copy), "%s", path);
    switch (error) {
    case -ENOENT:
        return fail(error, reason,
                    "the folder %s does not exist: make it, or let the service manager do so "
                    "(RuntimeDirectory=)",
                    dirname(copy));
    case -EACCES:
    case -EPERM:
    case -EROFS:
        return fail(error, reason, "may not write in the folder %s: give it to the daemon's user",
                    dirname(copy));
    default:
        return fail(error, reason, "can't make a socket in the folder %s: %s", dirname(copy),
                    strerror(-error));
    }
}

static int make_address(const char *path, struct sockaddr_un *ret)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    size_t length = strlen(path);

    if (length > SUN_PATH_MAX)
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, length + 1);
    *ret = address;
    return 0;
}

static int find_group(const char *name, gid_t *ret, char *reason)
{
    _cleanup_free_ char *buffer = NULL;
    struct group group, *found = NULL;
    size_t size = 1024;
    int r;

    do {
        size *= 2;
        free(buffer);
        buffer = malloc(size);
        if (!buffer)
            return fail(-ENOMEM, reason, "out of memory");
        r = getgrnam_r(name, &group, buffer, size, &found);
    } while (r == EINTR || (r == ERANGE && size < GROUP_BUFFER_MAX));

    if (r != 0 && r != ENOENT && r != ESRCH)
        return fail(-r, reason, "can't look up the group \"%s\": %s", name, strerror(r));
    if (!found)
        return fail(-ESRCH, reason,
                    "there is no group \"%s\": make it (groupadd --system %s) or name another",
                    name, name);
    *ret = group.gr_gid;
    return 0;
}

static int take_lock(const char *path, int *ret_fd, char *reason)
{
    char lock_path[SUN_PATH_MAX + sizeof(".lock")];
    _cleanup_close_ int fd = -1;

    snprintf(lock_path, sizeof(lock_path), "%s.lock", path);
    fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0 && errno == EACCES && access(lock_path, F_OK) == 0)
        return fail(-EACCES, reason,
                    "may not open %s: another user's daemon made it; remove it if that is gone",
                    lock_path);
    if (fd < 0)
        return fail_to_make(-errno, reason, path);

    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK)
            return fail(-EADDRINUSE, reason,
                        "another process serves %s already: stop it, or choose another path", path);
        if (errno != EINTR)
            return fail(-errno, reason, "can't lock %s: %s", lock_path, strerror(errno));
    }
    *ret_fd = steal_fd(&fd);
    return 0;
}

/* Whether what lies at the path may be replaced: nothing, or a socket that no process serves. */
static int check_path(const struct sockaddr_un *address, int type, char *reason)
{
    _cleanup_close_ int fd = -1;
    struct stat st;

    if (lstat(address->sun_path, &st) < 0)
        return errno == ENOENT ? 0 : fail_to_make(-errno, reason, address->sun_path);
    if (!S_ISSOCK(st.st_mode))
        return fail(-EEXIST, reason, "%s exists and is no socket: remove it or choose another path",
                    address->sun_path);

    fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail(-errno, reason, "can't make a socket: %s", strerror(errno));
    if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0) {
        if (errno == ECONNREFUSED || errno == ENOENT)
            return 0;
        if (errno == EACCES || errno == EPERM)
            return fail(-EADDRINUSE, reason,
                        "%s belongs to another user and may be in use: remove it if it is not",
                        address->sun_path);
        /* EAGAIN: its queue is full; EPROTOTYPE: of another type. It lives, then. */
    }
    return fail(-EADDRINUSE, reason,
                "another process serves %s already: stop it, or choose another path",
                address->sun_path);
}

/* `path` is the socket's, or its temporary name. */
static int set_owner_and_mode(const SocketSpec *spec, const char *path, gid_t gid, char *reason)
{
    if (gid != (gid_t)-1 && lchown(path, (uid_t)-1, gid) < 0) {
        if (errno == EPERM)
            return fail(-errno, reason,
                        "may not give %s to the group \"%s\": make the daemon's user a member of "
                        "it (SupplementaryGroups=)",
                        spec->path, spec->group);
        return fail(-errno, reason, "can't give %s to the group \"%s\": %s", spec->path,
                    spec->group, strerror(errno));
    }
    if (chmod(path, spec->mode) < 0)
        return fail(-errno, reason, "can't set the mode of %s: %s", spec->path, strerror(errno));
    return 0;
}

/* Makes it ready under its temporary name, then shows it to the world. */
static int bind_and_rename(const SocketSpec *spec, int fd, gid_t gid, char *reason)
{
    char temporary[SUN_PATH_MAX + 1];
    struct sockaddr_un address;
    uint32_t random;
    int r;

    if (getrandom(&random, sizeof(random), 0) != sizeof(random))
        return fail(-EIO, reason, "the kernel gives no random numbers");
    snprintf(temporary, sizeof(temporary), "%s.%08x", spec->path, random);
    r = make_address(temporary, &address);
    if (r < 0)
        return fail(r, reason, "%s is too long a path", temporary);

    /* A bound file gets the mode of its socket: nobody but us until it is set up. */
    if (fchmod(fd, 0600) < 0)
        return fail(-errno, reason, "can't set the mode of a socket: %s", strerror(errno));
    if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        return fail_to_make(-errno, reason, spec->path);

    r = set_owner_and_mode(spec, temporary, gid, reason);
    if (r == 0 && spec->type != SOCK_DGRAM && listen(fd, spec->backlog) < 0)
        r = fail(-errno, reason, "can't listen on %s: %s", spec->path, strerror(errno));
    if (r == 0 && rename(temporary, spec->path) < 0)
        r = fail(-errno, reason, "can't put a socket at %s: %s", spec->path, strerror(errno));
    if (r < 0)
        (void)unlink(temporary);
    return r;
}

/* What can be said of it without touching the path: *ret_gid is (gid_t)-1 for no group. */
static int check_spec(const SocketSpec *spec, gid_t *ret_gid, char *reason)
{
    gid_t gid = (gid_t)-1;
    int r;

    if (spec->path[0] != '/')
        return fail(-EINVAL, reason, "the socket's path \"%s\" must begin with /", spec->path);
    if (strlen(spec->path) + TEMPORARY_SUFFIX_MAX > SUN_PATH_MAX)
        return fail(
            -ENAMETOOLONG, reason,
            "the socket's path has %zu bytes, at most %zu are possible: choose a shorter one",
            strlen(spec->path), SUN_PATH_MAX - TEMPORARY_SUFFIX_MAX);
    if (spec->group && spec->group[0] != '\0') {
        r = find_group(spec->group, &gid, reason);
        if (r < 0)
            return r;
    }
    *ret_gid = gid;
    return 0;
}

int socket_listen_unix(const SocketSpec *spec, int *ret_fd, int *ret_lock_fd,
                       char reason[static SOCKET_REASON_MAX])
{
    _cleanup_close_ int fd = -1, lock_fd = -1;
    struct sockaddr_un address;
    gid_t gid;
    int r;

    r = check_spec(spec, &gid, reason);
    if (r < 0)
        return r;
    (void)make_address(spec->path, &address);
    r = take_lock(spec->path, &lock_fd, reason);
    if (r < 0)
        return r;
    r = check_path(&address, spec->type, reason);
    if (r < 0)
        return r;
    fd = socket(AF_UNIX, spec->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail(-errno, reason, "can't make a socket: %s", strerror(errno));
    r = bind_and_rename(spec, fd, gid, reason);
    if (r < 0)
        return r;

    *ret_lock_fd = steal_fd(&lock_fd);
    *ret_fd = steal_fd(&fd);
    return 0;
}

/* Whether `path` leads to the very socket that `fd` is bound to. */
static bool leads_to(const char *path, int fd)
{
    struct sockaddr_un address, ours = {}, peers = {};
    socklen_t ours_size = sizeof(ours), peers_size = sizeof(peers), type_size = sizeof(int);
    _cleanup_close_ int probe = -1;
    int type;

    if (make_address(path, &address) < 0 ||
        getsockname(fd, (struct sockaddr *)&ours, &ours_size) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size) < 0)
        return false;
    probe = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0)
        return false;
    if (connect(probe, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        getpeername(probe, (struct sockaddr *)&peers, &peers_size) < 0)
        return false;
    return ours_size == peers_size && memcmp(&ours, &peers, ours_size) == 0;
}

int socket_adopt_unix(const SocketSpec *spec, int fd, int *ret_lock_fd,
                      char reason[static SOCKET_REASON_MAX])
{
    _cleanup_close_ int lock_fd = -1;
    socklen_t type_size = sizeof(int);
    int flags, type, r;
    gid_t gid;

    r = check_spec(spec, &gid, reason);
    if (r < 0)
        return r;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size) < 0 || type != spec->type ||
        !leads_to(spec->path, fd))
        return fail(-ESTALE, reason, "%s is another socket", spec->path);

    r = take_lock(spec->path, &lock_fd, reason);
    if (r < 0)
        return r;
    flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return fail(-errno, reason, "can't set up %s: %s", spec->path, strerror(errno));
    r = set_owner_and_mode(spec, spec->path, gid, reason);
    if (r < 0)
        return r;

    *ret_lock_fd = steal_fd(&lock_fd);
    return 0;
}

void socket_unlink(const char *path, int fd)
{
    if (leads_to(path, fd))
        (void)unlink(path);
}
