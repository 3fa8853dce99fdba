/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include <sys/syscall.h>

/* The module itself, on a kernel that has no close_range() when a test says so. */
static bool no_close_range;
static int test_close_range(unsigned first, unsigned last, int flags);
#define close_range test_close_range
#include "common/child.c"
#undef close_range

static int test_close_range(unsigned first, unsigned last, int flags)
{
    if (no_close_range) {
        errno = ENOSYS;
        return -1;
    }
    return close_range(first, last, flags);
}

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            _exit(__LINE__ % 200 + 1);                                                             \
    } while (false)

static void expect_exit(pid_t pid, int expected)
{
    int status;

    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), expected);
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void ignore(int number)
{
}

static void child_signals_are_reset_and_unblocked(void **state)
{
    struct sigaction action;
    sigset_t mask, old;
    pid_t pid;

    signal(SIGPIPE, SIG_IGN);
    signal(SIGUSR1, ignore);
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigprocmask(SIG_BLOCK, &mask, &old);

    pid = child_fork("x", NULL, 0);
    if (pid == 0) {
        for (int number = 1; number < NSIG; number++)
            CHECK(sigaction(number, NULL, &action) < 0 || action.sa_handler == SIG_DFL);
        CHECK(sigprocmask(SIG_BLOCK, NULL, &mask) == 0);
        CHECK(sigisemptyset(&mask));
        _exit(0);
    }
    expect_exit(pid, 0);

    /* And ours are as they were. */
    sigprocmask(SIG_BLOCK, NULL, &mask);
    assert_true(sigismember(&mask, SIGTERM));
    assert_false(sigismember(&mask, SIGINT));
    sigprocmask(SIG_SETMASK, &old, NULL);
}

static void child_has_group_name_and_death_signal_of_its_own(void **state)
{
    pid_t pid = child_fork("a-name-too-long-for-it", NULL, 0);

    if (pid == 0) {
        char name[16] = "";
        int death_signal = 0;

        CHECK(getpgrp() == getpid());
        prctl(PR_GET_NAME, name);
        CHECK(streq(name, "a-name-too-long"));
        prctl(PR_GET_PDEATHSIG, &death_signal);
        CHECK(death_signal == SIGKILL);
        _exit(0);
    }
    expect_exit(pid, 0);
}

static void child_keeps_only_the_descriptors_it_is_told(void **state)
{
    int fds[8];

    for (size_t i = 0; i < ELEMENTSOF(fds); i++) {
        fds[i] = open("/dev/null", O_WRONLY | O_CLOEXEC);
        assert_true(fds[i] > 2);
    }
    for (int without = 0; without < 2; without++) {
        const int keep[] = { fds[5], 1, fds[2], fds[5], fds[3] };
        pid_t pid;

        no_close_range = without;
        pid = child_fork("x", keep, ELEMENTSOF(keep));
        if (pid == 0) {
            for (int fd = 3; fd < 1024; fd++)
                CHECK(is_open(fd) == (fd == fds[2] || fd == fds[3] || fd == fds[5]));
            CHECK(is_open(0) && is_open(1) && is_open(2));
            _exit(0);
        }
        no_close_range = false;
        expect_exit(pid, 0);
    }
    for (size_t i = 0; i < ELEMENTSOF(fds); i++)
        close(fds[i]);
}

static void child_reads_nothing_from_stdin(void **state)
{
    for (int closed = 0; closed < 2; closed++) {
        int old_stdin = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3), fds[2];
        pid_t pid;

        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        assert_int_equal(write(fds[1], "secret", 6), 6);
        if (closed)
            close(STDIN_FILENO);
        else
            dup2(fds[0], STDIN_FILENO);
        pid = child_fork("x", NULL, 0);
        if (pid == 0) {
            char byte;

            CHECK(read(STDIN_FILENO, &byte, 1) == 0);
            CHECK((fcntl(STDIN_FILENO, F_GETFD) & FD_CLOEXEC) == 0);
            _exit(0);
        }
        if (old_stdin >= 0)
            dup2(old_stdin, STDIN_FILENO);
        close(old_stdin);
        close(fds[0]);
        close(fds[1]);
        expect_exit(pid, 0);
    }
}

static void child_dies_with_its_parent(void **state)
{
    int fds[2];
    char byte;
    pid_t middle;

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    middle = child_fork("middle", &fds[1], 1);
    if (middle == 0) {
        int ready[2];

        CHECK(pipe2(ready, O_CLOEXEC) == 0);
        const int keep[] = { fds[1], ready[1] };
        pid_t pid = child_fork("child", keep, ELEMENTSOF(keep));

        if (pid == 0) {
            CHECK(write(ready[1], "r", 1) == 1);
            for (;;)
                pause();
        }
        CHECK(pid > 0);
        CHECK(read(ready[0], &byte, 1) == 1);
        _exit(0);
    }
    close(fds[1]);
    expect_exit(middle, 0);
    /* The last holder of the other end is the grandchild: its death is the end of file. */
    assert_int_equal(read(fds[0], &byte, 1), 0);
    close(fds[0]);
}

static void child_status_is_told_in_words(void **state)
{
    char buffer[CHILD_STATUS_MAX];
    int status;
    pid_t pid;

    pid = child_fork("x", NULL, 0);
    if (pid == 0)
        _exit(3);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_string_equal(child_status(status, buffer), "exited with status 3");

    pid = child_fork("x", NULL, 0);
    if (pid == 0)
        for (;;)
            pause();
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_string_equal(child_status(status, buffer), "was killed by SIGKILL");

    assert_string_equal(child_status(0x80 | SIGSEGV, buffer),
                        "was killed by SIGSEGV (core dumped)");
    assert_string_equal(child_status(40, buffer), "was killed by signal 40");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(child_signals_are_reset_and_unblocked),
        cmocka_unit_test(child_has_group_name_and_death_signal_of_its_own),
        cmocka_unit_test(child_keeps_only_the_descriptors_it_is_told),
        cmocka_unit_test(child_reads_nothing_from_stdin),
        cmocka_unit_test(child_dies_with_its_parent),
        cmocka_unit_test(child_status_is_told_in_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
