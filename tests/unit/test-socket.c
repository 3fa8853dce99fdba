/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "common/socket.h"

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

typedef struct Folder {
    char name[32];
    char path[64]; /* of the socket */
} Folder;

static int setup(void **state)
{
    Folder *folder = calloc(1, sizeof(*folder));

    strcpy(folder->name, "/tmp/test-socket.XXXXXX");
    if (!mkdtemp(folder->name))
        return -1;
    snprintf(folder->path, sizeof(folder->path), "%s/socket", folder->name);
    *state = folder;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static int teardown(void **state)
{
    Folder *folder = *state;

    nftw(folder->name, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(folder);
    return 0;
}

static int listen_at(const char *path, int type, int *ret_fd, int *ret_lock_fd, char *reason)
{
    SocketSpec spec = { .path = path, .type = type, .backlog = 5, .mode = 0660 };

    return socket_listen_unix(&spec, ret_fd, ret_lock_fd, reason);
}

static int connect_to(const char *path, int type)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    strcpy(address.sun_path, path);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        int r = -errno;

        close(fd);
        return r;
    }
    return fd;
}

/* A socket as a program without manners would make it. */
static int bind_plainly(const char *path, int type)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    strcpy(address.sun_path, path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    if (type != SOCK_DGRAM)
        assert_int_equal(listen(fd, 5), 0);
    return fd;
}

static void socket_of_each_type_is_served(void **state)
{
    static const int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };
    const Folder *folder = *state;

    for (size_t i = 0; i < ELEMENTSOF(types); i++) {
        _cleanup_close_ int fd = -1, lock_fd = -1, client = -1;
        char reason[SOCKET_REASON_MAX] = "";

        if (listen_at(folder->path, types[i], &fd, &lock_fd, reason) != 0)
            fail_msg("%s", reason);
        assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        assert_true(fcntl(lock_fd, F_GETFD) & FD_CLOEXEC);
        client = connect_to(folder->path, types[i]);
        assert_true(client >= 0);
    }
}

static void socket_has_mode_and_group_whatever_the_umask(void **state)
{
    const Folder *folder = *state;
    _cleanup_close_ int fd = -1, lock_fd = -1;
    char reason[SOCKET_REASON_MAX] = "";
    const struct group *group;
    SocketSpec spec = { .path = folder->path, .type = SOCK_DGRAM, .mode = 0666 };
    mode_t umask_before;
    struct stat st;
    gid_t gid;

    /* Only root may choose any group; others have their own. */
    group = geteuid() == 0 ? getgrnam("daemon") : getgrgid(getegid());
    if (!group)
        skip();
    gid = group->gr_gid;
    spec.group = group->gr_name;

    umask_before = umask(077);
    assert_int_equal(socket_listen_unix(&spec, &fd, &lock_fd, reason), 0);
    umask(umask_before);
    assert_int_equal(stat(folder->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0666);
    assert_int_equal(st.st_gid, gid);
}

static void socket_left_by_a_crash_is_replaced(void **state)
{
    const Folder *folder = *state;
    _cleanup_close_ int fd = -1, lock_fd = -1, client = -1;
    char reason[SOCKET_REASON_MAX] = "";

    close(bind_plainly(folder->path, SOCK_STREAM));
    assert_int_equal(connect_to(folder->path, SOCK_STREAM), -ECONNREFUSED);
    assert_int_equal(listen_at(folder->path, SOCK_DGRAM, &fd, &lock_fd, reason), 0);
    client = connect_to(folder->path, SOCK_DGRAM);
    assert_true(client >= 0);
}

static void socket_that_is_served_is_never_taken(void **state)
{
    static const int types[] = { SOCK_STREAM, SOCK_DGRAM };
    const Folder *folder = *state;

    for (size_t i = 0; i < ELEMENTSOF(types); i++) {
        _cleanup_close_ int other = bind_plainly(folder->path, types[i]), client = -1;
        char reason[SOCKET_REASON_MAX] = "";
        int fd = -1, lock_fd = -1;

        assert_int_equal(listen_at(folder->path, SOCK_DGRAM, &fd, &lock_fd, reason), -EADDRINUSE);
        assert_non_null(strstr(reason, folder->path));
        assert_int_equal(fd, -1);
        assert_int_equal(lock_fd, -1);
        client = connect_to(folder->path, types[i]);
        assert_true(client >= 0);
        assert_int_equal(unlink(folder->path), 0);
    }
}

static void socket_of_a_second_daemon_is_refused_by_the_lock(void **state)
{
    const Folder *folder = *state;
    _cleanup_close_ int fd = -1, lock_fd = -1;
    char reason[SOCKET_REASON_MAX] = "";
    int fd2 = -1, lock_fd2 = -1;

    assert_int_equal(listen_at(folder->path, SOCK_DGRAM, &fd, &lock_fd, reason), 0);
    /* The lock alone holds: also while the first is between two sockets. */
    fd = close_fd(fd);
    assert_int_equal(unlink(folder->path), 0);
    assert_int_equal(listen_at(folder->path, SOCK_DGRAM, &fd2, &lock_fd2, reason), -EADDRINUSE);
    assert_non_null(strstr(reason, "another process"));

    lock_fd = close_fd(lock_fd);
    assert_int_equal(listen_at(folder->path, SOCK_DGRAM, &fd, &lock_fd, reason), 0);
}

static void socket_file_that_is_none_is_kept(void **state)
{
    const Folder *folder = *state;
    char reason[SOCKET_REASON_MAX] = "";
    int fd = -1, lock_fd = -1;
    struct stat st;

    close(open(folder->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    assert_int_equal(listen_at(folder->path, SOCK_DGRAM, &fd, &lock_fd, reason), -EEXIST);
    assert_non_null(strstr(reason, "no socket"));
    assert_int_equal(stat(folder->path, &st), 0);
    assert_true(S_ISREG(st.st_mode));
}

static void socket_path_that_does_not_fit_is_refused(void **state)
{
    const Folder *folder = *state;
    char path[PATH_MAX], reason[SOCKET_REASON_MAX] = "";
    int fd = -1, lock_fd = -1;

    for (int length = 95; length <= 5000 && length < (int)sizeof(path); length++) {
        snprintf(path, sizeof(path), "%s/%0*d", folder->name,
                 length - (int)strlen(folder->name) - 1, 0);
        if (length <= 98) {
            assert_int_equal(listen_at(path, SOCK_DGRAM, &fd, &lock_fd, reason), 0);
            fd = close_fd(fd);
            lock_fd = close_fd(lock_fd);
        } else {
            assert_int_equal(listen_at(path, SOCK_DGRAM, &fd, &lock_fd, reason), -ENAMETOOLONG);
            assert_non_null(strstr(reason, "at most 98"));
            length += 50;
        }
    }
    assert_int_equal(listen_at("relative", SOCK_DGRAM, &fd, &lock_fd, reason), -EINVAL);
    assert_int_equal(listen_at("", SOCK_DGRAM, &fd, &lock_fd, reason), -EINVAL);
}

static void socket_without_a_folder_says_so(void **state)
{
    const Folder *folder = *state;
    char path[64], reason[SOCKET_REASON_MAX] = "";
    int fd = -1, lock_fd = -1;

    snprintf(path, sizeof(path), "%s/absent/socket", folder->name);
    assert_int_equal(listen_at(path, SOCK_DGRAM, &fd, &lock_fd, reason), -ENOENT);
    assert_non_null(strstr(reason, "/absent does not exist"));
}

static void socket_of_an_unknown_group_leaves_nothing_behind(void **state)
{
    const Folder *folder = *state;
    SocketSpec spec = { .path = folder->path, .type = SOCK_DGRAM, .group = "no-such-group-here" };
    char reason[SOCKET_REASON_MAX] = "";
    int fd = -1, lock_fd = -1;

    assert_int_equal(socket_listen_unix(&spec, &fd, &lock_fd, reason), -ESRCH);
    assert_non_null(strstr(reason, "no group \"no-such-group-here\""));
    assert_int_equal(rmdir(folder->name), 0);
    assert_int_equal(mkdir(folder->name, 0700), 0);
}

static void socket_for_a_group_that_is_not_ours_says_what_to_do(void **state)
{
    const Folder *folder = *state;
    SocketSpec spec = { .path = folder->path, .type = SOCK_DGRAM, .mode = 0660, .group = "daemon" };
    int status;
    pid_t pid;

    if (geteuid() != 0 || !getgrnam("daemon"))
        skip();
    assert_int_equal(chown(folder->name, 65534, 65534), 0);
    pid = fork();
    if (pid == 0) {
        char reason[SOCKET_REASON_MAX] = "";
        int fd = -1, lock_fd = -1, r;

        if (setgroups(0, NULL) < 0 || setresgid(65534, 65534, 65534) < 0 ||
            setresuid(65534, 65534, 65534) < 0)
            _exit(1);
        r = socket_listen_unix(&spec, &fd, &lock_fd, reason);
        _exit(r == -EPERM && strstr(reason, "member") && access(folder->path, F_OK) < 0 ? 0 : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void socket_is_unlinked_only_by_its_owner(void **state)
{
    const Folder *folder = *state;
    _cleanup_close_ int fd = -1, lock_fd = -1, next = -1, next_lock_fd = -1;
    char reason[SOCKET_REASON_MAX] = "";
    struct stat st;

    assert_int_equal(listen_at(folder->path, SOCK_STREAM, &fd, &lock_fd, reason), 0);
    lock_fd = close_fd(lock_fd);
    assert_int_equal(unlink(folder->path), 0);
    assert_int_equal(listen_at(folder->path, SOCK_STREAM, &next, &next_lock_fd, reason), 0);

    socket_unlink(folder->path, fd);
    assert_int_equal(lstat(folder->path, &st), 0);
    socket_unlink(folder->path, next);
    assert_int_equal(lstat(folder->path, &st), -1);
    socket_unlink(folder->path, next);
}

static void socket_leaves_no_temporary_name(void **state)
{
    const Folder *folder = *state;
    _cleanup_close_ int fd = -1, lock_fd = -1;
    char reason[SOCKET_REASON_MAX] = "", lock[80];

    assert_int_equal(listen_at(folder->path, SOCK_DGRAM, &fd, &lock_fd, reason), 0);
    socket_unlink(folder->path, fd);
    snprintf(lock, sizeof(lock), "%s.lock", folder->path);
    assert_int_equal(unlink(lock), 0);
    assert_int_equal(rmdir(folder->name), 0);
    assert_int_equal(mkdir(folder->name, 0700), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(socket_of_each_type_is_served),
        TEST(socket_has_mode_and_group_whatever_the_umask),
        TEST(socket_left_by_a_crash_is_replaced),
        TEST(socket_that_is_served_is_never_taken),
        TEST(socket_of_a_second_daemon_is_refused_by_the_lock),
        TEST(socket_file_that_is_none_is_kept),
        TEST(socket_path_that_does_not_fit_is_refused),
        TEST(socket_without_a_folder_says_so),
        TEST(socket_of_an_unknown_group_leaves_nothing_behind),
        TEST(socket_for_a_group_that_is_not_ours_says_what_to_do),
        TEST(socket_is_unlinked_only_by_its_owner),
        TEST(socket_leaves_no_temporary_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
