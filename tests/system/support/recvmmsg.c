/* SPDX-License-Identifier: MIT */

/*
 * Preloaded, it lets a program's recvmmsg() fail for as long as the file $RECVMMSG_FAILS is there,
 * and counts in it how often that was: one byte each time.
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int recvmmsg(int fd, struct mmsghdr *vector, unsigned int n, int flags, struct timespec *timeout)
{
    static int (*real)(int, struct mmsghdr *, unsigned int, int, struct timespec *);
    const char *path = getenv("RECVMMSG_FAILS");
    int file = path ? open(path, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;

    if (file >= 0) {
        ssize_t written = write(file, "x", 1);

        close(file);
        errno = written == 1 ? ENOBUFS : EIO;
        return -1;
    }
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "recvmmsg");
    return real(fd, vector, n, flags, timeout);
}
