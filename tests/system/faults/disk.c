/* SPDX-License-Identifier: MIT */

/*
 * Preloaded, it writes down in the file $DISK_RECORD, in order, what a program does to the file
 * $DISK_FILE and to those whose names begin with it, when it waits for the disk, and what it sends.
 * disk.py reads it. One thread.
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS_MAX 1024

typedef struct Event {
    uint64_t inode;
    int64_t at;
    uint32_t n_names; /* bytes of one or two paths, each with its NUL */
    uint32_t n_data;
    char what[8];
} Event;

static const char *file;
static char folder[PATH_MAX];
static int record = -1;
static uint64_t inodes[FDS_MAX]; /* by descriptor; 0: it does not matter */

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("DISK_RECORD");
    int fd;

    file = getenv("DISK_FILE");
    if (!path || !file || record >= 0)
        return;
    snprintf(folder, sizeof(folder), "%s", file);
    dirname(folder);
    fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    record = fcntl(fd, F_DUPFD_CLOEXEC, 500);
    syscall(SYS_close, fd);
}

static void note(const char *what, uint64_t inode, int64_t at, const char *names, size_t n_names,
                 const void *data, size_t n_data)
{
    Event event = {
        .inode = inode, .at = at, .n_names = (uint32_t)n_names, .n_data = (uint32_t)n_data
    };
    struct iovec parts[] = { { &event, sizeof(event) },
                             { (void *)names, n_names },
                             { (void *)data, n_data } };
    int saved_errno = errno;

    strncpy(event.what, what, sizeof(event.what));
    if (record >= 0 &&
        syscall(SYS_writev, record, parts, 3) != (ssize_t)(sizeof(event) + n_names + n_data))
        abort();
    errno = saved_errno;
}

static int is_ours(const char *path)
{
    return file && strncmp(path, file, strlen(file)) == 0;
}

static int watch(int fd, const char *path, int made)
{
    struct stat st;

    if (fd < 0 || fd >= FDS_MAX)
        return fd;
    inodes[fd] = 0;
    if (!file || (!is_ours(path) && strcmp(path, folder) != 0) || fstat(fd, &st) < 0)
        return fd;
    inodes[fd] = st.st_ino;
    note(S_ISDIR(st.st_mode) ? "folder"
         : made              ? "make"
                             : "open",
         st.st_ino, 0, path, strlen(path) + 1, NULL, 0);
    return fd;
}

static int open_any(int at, const char *path, int flags, mode_t mode)
{
    int made = is_ours(path) && (flags & O_CREAT) && access(path, F_OK) < 0;

    return watch((int)syscall(SYS_openat, at, path, flags, mode), path, made);
}

static mode_t mode_of(int flags, va_list arguments)
{
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

#define DEFINE_OPEN(name)                                                                          \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        va_list arguments;                                                                         \
        mode_t mode;                                                                               \
                                                                                                   \
        va_start(arguments, flags);                                                                \
        mode = mode_of(flags, arguments);                                                          \
        va_end(arguments);                                                                         \
        return open_any(AT_FDCWD, path, flags, mode);                                              \
    }

DEFINE_OPEN(open)
DEFINE_OPEN(open64)

int mkostemp64(char *path, int flags)
{
    return watch(REAL(mkostemp64)(path, flags), path, 1);
}

int mkostemp(char *path, int flags)
{
    return watch(REAL(mkostemp)(path, flags), path, 1);
}

int close(int fd)
{
    if (fd >= 0 && fd < FDS_MAX)
        inodes[fd] = 0;
    return (int)syscall(SYS_close, fd);
}

static uint64_t inode_of(int fd)
{
    return fd >= 0 && fd < FDS_MAX ? inodes[fd] : 0;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    ssize_t n = syscall(SYS_pwrite64, fd, data, size, at);

    if (n > 0 && inode_of(fd))
        note("write", inode_of(fd), at, NULL, 0, data, (size_t)n);
    return n;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    return pwrite64(fd, data, size, at);
}

ssize_t write(int fd, const void *data, size_t size)
{
    ssize_t n = syscall(SYS_write, fd, data, size);

    if (n > 0 && inode_of(fd))
        note("write", inode_of(fd), lseek(fd, 0, SEEK_CUR) - n, NULL, 0, data, (size_t)n);
    return n;
}

int ftruncate64(int fd, off64_t size)
{
    int r = (int)syscall(SYS_ftruncate, fd, size);

    if (r == 0 && inode_of(fd))
        note("cut", inode_of(fd), size, NULL, 0, NULL, 0);
    return r;
}

int ftruncate(int fd, off_t size)
{
    return ftruncate64(fd, size);
}

int fsync(int fd)
{
    int r = (int)syscall(SYS_fsync, fd);

    if (r == 0 && inode_of(fd))
        note("sync", inode_of(fd), 0, NULL, 0, NULL, 0);
    return r;
}

int fdatasync(int fd)
{
    int r = (int)syscall(SYS_fdatasync, fd);

    if (r == 0 && inode_of(fd))
        note("sync", inode_of(fd), 0, NULL, 0, NULL, 0);
    return r;
}

static void note_two(const char *what, const char *from, const char *to)
{
    char names[2 * PATH_MAX];

    note(what, 0, 0, names, (size_t)snprintf(names, sizeof(names), "%s%c%s", from, 0, to) + 1, NULL,
         0);
}

int unlink(const char *path)
{
    int r = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);

    if (r == 0 && is_ours(path))
        note("unlink", 0, 0, path, strlen(path) + 1, NULL, 0);
    return r;
}

int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags)
{
    int r = (int)syscall(SYS_renameat2, from_at, from, to_at, to, flags);

    if (r == 0 && is_ours(to))
        note_two("rename", from, to);
    return r;
}

int rename(const char *from, const char *to)
{
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *to,
               socklen_t to_size)
{
    ssize_t n = syscall(SYS_sendto, fd, data, size, flags, to, to_size);

    if (n > 0)
        note("send", 0, 0, NULL, 0, data, (size_t)n);
    return n;
}
