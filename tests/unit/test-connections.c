/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include <fcntl.h>
#include <sys/socket.h>

#include "milterd/connections.h"

#define IDLE (10 * USEC_PER_SEC)
#define BEGIN (1000 * USEC_PER_SEC)

/* Descriptors of the test's own surroundings are below this one and not looked at. */
#define FD_MIN 100

typedef struct Fixture {
    Connections connections;
    int peer;
    int fd;
} Fixture;

static int to_watched(int fd)
{
    int watched = fcntl(fd, F_DUPFD_CLOEXEC, FD_MIN);

    assert_true(watched >= FD_MIN);
    close(fd);
    return watched;
}

static void set_up(Fixture *fixture)
{
    int pair[2];

    assert_int_equal(connections_init(&fixture->connections, FD_MIN, IDLE), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    fixture->peer = pair[0];
    fixture->fd = to_watched(pair[1]);
}

static void tear_down(Fixture *fixture)
{
    close_fd(fixture->peer);
    close_fd(fixture->fd);
    connections_done(&fixture->connections);
}

static void sweep(Fixture *fixture, usec_t now, size_t n_open, size_t n_cut)
{
    size_t open = 99, cut = 99;

    assert_int_equal(connections_sweep(&fixture->connections, now, &open, &cut), 0);
    assert_int_equal(open, n_open);
    assert_int_equal(cut, n_cut);
}

static bool is_at_end(int fd)
{
    char byte;

    return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

static void connections_silent_for_its_time_is_cut(void **state)
{
    Fixture fixture;

    set_up(&fixture);
    sweep(&fixture, BEGIN, 1, 0);
    sweep(&fixture, BEGIN + IDLE - 1, 1, 0);
    assert_false(is_at_end(fixture.peer));
    sweep(&fixture, BEGIN + IDLE, 1, 1);
    assert_true(is_at_end(fixture.peer));
    assert_true(is_at_end(fixture.fd));
    tear_down(&fixture);
}

static void connections_that_speaks_now_and_then_stays(void **state)
{
    Fixture fixture;
    usec_t now = BEGIN;
    char byte;

    set_up(&fixture);
    for (int i = 0; i < 10; i++) {
        sweep(&fixture, now, 1, 0);
        assert_int_equal(write(fixture.peer, "x", 1), 1);
        assert_int_equal(read(fixture.fd, &byte, 1), 1);
        now += IDLE - 1;
    }
    assert_false(is_at_end(fixture.peer));
    sweep(&fixture, now, 1, 0);
    sweep(&fixture, now + IDLE, 1, 1);
    tear_down(&fixture);
}

static void connections_another_at_the_same_descriptor_begins_anew(void **state)
{
    Fixture fixture;
    int pair[2], fd;

    set_up(&fixture);
    sweep(&fixture, BEGIN, 1, 0);

    fd = fixture.fd;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    close(fixture.fd);
    close(fixture.peer);
    fixture.peer = pair[0];
    fixture.fd = to_watched(pair[1]);
    assert_int_equal(fixture.fd, fd);

    sweep(&fixture, BEGIN + IDLE, 1, 0);
    sweep(&fixture, BEGIN + 2 * IDLE - 1, 1, 0);
    sweep(&fixture, BEGIN + 2 * IDLE, 1, 1);
    tear_down(&fixture);
}

static void connections_other_descriptors_do_not_count(void **state)
{
    Fixture fixture;
    int pipes[2], listening, datagram;

    set_up(&fixture);
    assert_int_equal(pipe(pipes), 0);
    pipes[0] = to_watched(pipes[0]);
    pipes[1] = to_watched(pipes[1]);
    datagram = to_watched(socket(AF_UNIX, SOCK_DGRAM, 0));
    listening = to_watched(socket(AF_UNIX, SOCK_STREAM, 0));
    assert_int_equal(
        bind(listening, &(struct sockaddr){ .sa_family = AF_UNIX }, sizeof(sa_family_t)), 0);
    assert_int_equal(listen(listening, 1), 0);

    sweep(&fixture, BEGIN, 1, 0);
    fixture.fd = close_fd(fixture.fd);
    sweep(&fixture, BEGIN + IDLE, 0, 0);

    close(pipes[0]);
    close(pipes[1]);
    close(datagram);
    close(listening);
    tear_down(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_silent_for_its_time_is_cut),
        cmocka_unit_test(connections_that_speaks_now_and_then_stays),
        cmocka_unit_test(connections_another_at_the_same_descriptor_begins_anew),
        cmocka_unit_test(connections_other_descriptors_do_not_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
