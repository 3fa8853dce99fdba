/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "milterd/listener.h"

static ListenAddress parse(const char *text)
{
    char reason[LISTENER_REASON_MAX] = "";
    ListenAddress address;
    int r;

    r = listen_address_parse(text, &address, reason);
    assert_string_equal(reason, "");
    assert_int_equal(r, 0);
    return address;
}

static void refuse(const char *text, const char *expected)
{
    char reason[LISTENER_REASON_MAX] = "";
    ListenAddress address;

    assert_int_equal(listen_address_parse(text, &address, reason), -EINVAL);
    assert_string_equal(reason, expected);
}

static void listener_unix_path_is_read(void **state)
{
    ListenAddress address = parse("unix:/run/milterd/milter.sock");

    assert_int_equal(address.family, AF_UNIX);
    assert_string_equal(address.un.sun_path, "/run/milterd/milter.sock");
}

static void listener_inet_port_and_host_are_read(void **state)
{
    static const char *const texts[] = { "inet:8891@127.0.0.1", "inet:8891@localhost",
                                         "inet:8891@[127.0.0.1]" };

    for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
        ListenAddress address = parse(texts[i]);

        assert_int_equal(address.family, AF_INET);
        assert_int_equal(ntohs(address.in.sin_port), 8891);
        assert_int_equal(ntohl(address.in.sin_addr.s_addr), INADDR_LOOPBACK);
        assert_int_equal(address.size, sizeof(struct sockaddr_in));
    }
}

static void listener_inet6_port_and_host_are_read(void **state)
{
    static const char *const texts[] = { "inet6:65535@::1", "inet6:65535@[::1]",
                                         "inet6:65535@localhost" };

    for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
        ListenAddress address = parse(texts[i]);

        assert_int_equal(address.family, AF_INET6);
        assert_int_equal(ntohs(address.in6.sin6_port), 65535);
        assert_true(IN6_IS_ADDR_LOOPBACK(&address.in6.sin6_addr));
    }
}

static void listener_what_is_no_address_is_told(void **state)
{
    refuse("", "\"\" is no address, allowed are unix:PATH, inet:PORT@HOST or inet6:PORT@HOST");
    refuse("/run/x", "\"/run/x\" is no address, allowed are unix:PATH, inet:PORT@HOST or "
                     "inet6:PORT@HOST");
    refuse("fd:3",
           "\"fd:3\" is no address, allowed are unix:PATH, inet:PORT@HOST or inet6:PORT@HOST");
    refuse("unix:milter.sock", "\"unix:milter.sock\" needs an absolute path after \"unix:\"");
    refuse("unix:", "\"unix:\" needs an absolute path after \"unix:\"");
    refuse("unix:/run/milterd/",
           "\"unix:/run/milterd/\" is a folder, the path of a socket is needed");
    refuse("inet:8891", "\"inet:8891\" says no host, add \"@127.0.0.1\" for this machine alone or "
                        "\"@0.0.0.0\" for all");
    refuse("inet6:8891@", "\"inet6:8891@\" says no host, add \"@::1\" for this machine alone or "
                          "\"@::\" for all");
    refuse("inet:@127.0.0.1", "\"inet:@127.0.0.1\" has no port from 1 to 65535 before \"@\"");
    refuse("inet:0@127.0.0.1", "\"inet:0@127.0.0.1\" has no port from 1 to 65535 before \"@\"");
    refuse("inet:65536@127.0.0.1",
           "\"inet:65536@127.0.0.1\" has no port from 1 to 65535 before \"@\"");
    refuse("inet:+25@127.0.0.1", "\"inet:+25@127.0.0.1\" has no port from 1 to 65535 before \"@\"");
    refuse("inet:25@mail.example.org", "\"inet:25@mail.example.org\" needs a numeric IPv4 address "
                                       "or \"localhost\" after \"@\"");
    refuse("inet:25@::1",
           "\"inet:25@::1\" needs a numeric IPv4 address or \"localhost\" after \"@\"");
    refuse("inet6:25@127.0.0.1",
           "\"inet6:25@127.0.0.1\" needs a numeric IPv6 address or \"localhost\" after \"@\"");
    refuse("inet6:25@[::1", "\"inet6:25@[::1\" needs a numeric IPv6 address or \"localhost\" after "
                            "\"@\"");
}

static void listener_endless_address_is_told_short(void **state)
{
    char text[4096], reason[LISTENER_REASON_MAX];
    ListenAddress address;

    for (int i = 0; i < 3; i++) {
        static const char *const starts[] = { "unix:/", "inet:1@", "inet6:1@" };

        memset(text, '1', sizeof(text) - 1);
        text[sizeof(text) - 1] = '\0';
        memcpy(text, starts[i], strlen(starts[i]));
        assert_int_equal(listen_address_parse(text, &address, reason), -EINVAL);
        assert_in_range(strlen(reason), 1, 400);
    }
}

/* In a folder of its own: sockets that are opened, kept and closed. */

typedef struct Fixture {
    char folder[32];
    char names[3][64]; /* unix:FOLDER/0 … */
    char reason[LISTENER_REASON_MAX];
    Listeners listeners;
} Fixture;

static int set_up(void **state)
{
    Fixture *fixture = calloc(1, sizeof(*fixture));

    assert_non_null(fixture);
    strcpy(fixture->folder, "/tmp/listenerXXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    for (int i = 0; i < 3; i++)
        snprintf(fixture->names[i], sizeof(fixture->names[i]), "unix:%s/%d", fixture->folder, i);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    Fixture *fixture = *state;
    char command[64];

    listeners_done(&fixture->listeners);
    snprintf(command, sizeof(command), "rm -r %s", fixture->folder);
    assert_int_equal(system(command), 0);
    free(fixture);
    return 0;
}

static int update(Fixture *fixture, mode_t mode, const char *first, const char *second)
{
    char *items[] = { (char *)first, (char *)second, NULL };
    ConfigStrings names = { .items = items, .n = second ? 2 : 1 };

    return listeners_update(&fixture->listeners, &names, mode, NULL, fixture->reason);
}

static bool exists(const char *name)
{
    return access(strchr(name, '/'), F_OK) == 0;
}

static void listener_opened_is_non_blocking_and_of_its_mode(void **state)
{
    Fixture *fixture = *state;
    struct stat st;
    int fd;

    assert_int_equal(update(fixture, 0640, fixture->names[0], NULL), 0);
    assert_int_equal(fixture->listeners.n, 1);
    fd = fixture->listeners.items[0]->fd;
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(stat(strchr(fixture->names[0], '/'), &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0640);
}

static void listener_update_keeps_opens_and_closes(void **state)
{
    Fixture *fixture = *state;
    const Listener *kept;

    assert_int_equal(update(fixture, 0600, fixture->names[0], fixture->names[1]), 0);
    kept = fixture->listeners.items[1];
    assert_int_equal(update(fixture, 0600, fixture->names[1], fixture->names[2]), 0);
    assert_int_equal(fixture->listeners.n, 2);
    assert_ptr_equal(fixture->listeners.items[0], kept);
    assert_string_equal(fixture->listeners.items[1]->name, fixture->names[2]);
    assert_false(exists(fixture->names[0]));
    assert_true(exists(fixture->names[1]));
    assert_true(exists(fixture->names[2]));
}

static void listener_update_that_fails_changes_nothing(void **state)
{
    Fixture *fixture = *state;
    const Listener *kept;

    assert_int_equal(update(fixture, 0600, fixture->names[0], NULL), 0);
    kept = fixture->listeners.items[0];
    assert_true(update(fixture, 0600, fixture->names[1], "unix:/nowhere/at/all") < 0);
    assert_non_null(strstr(fixture->reason, "unix:/nowhere/at/all"));
    assert_int_equal(fixture->listeners.n, 1);
    assert_ptr_equal(fixture->listeners.items[0], kept);
    assert_true(exists(fixture->names[0]));
    assert_false(exists(fixture->names[1]));
}

static void listener_update_sets_the_mode_of_those_that_stay(void **state)
{
    Fixture *fixture = *state;
    struct stat st;

    assert_int_equal(update(fixture, 0600, fixture->names[0], NULL), 0);
    assert_int_equal(update(fixture, 0666, fixture->names[0], NULL), 0);
    assert_int_equal(stat(strchr(fixture->names[0], '/'), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0666);
}

/* As in the folder that a package makes in Postfix's chroot: its group is one we are not in. */
static void listener_in_a_setgid_folder_keeps_the_folders_group(void **state)
{
    Fixture *fixture = *state;
    const gid_t others = getegid() + 4711;
    struct stat st;

    if (geteuid() != 0)
        skip();
    assert_int_equal(chown(fixture->folder, (uid_t)-1, others), 0);
    assert_int_equal(chmod(fixture->folder, 02750), 0);
    for (int i = 0; i < 2; i++) { /* opened, then kept */
        assert_int_equal(update(fixture, 0660, fixture->names[0], NULL), 0);
        assert_int_equal(stat(strchr(fixture->names[0], '/'), &st), 0);
        assert_int_equal(st.st_gid, others);
        assert_int_equal(st.st_mode & 07777, 0660);
    }
}

static void listener_close_takes_the_paths_away(void **state)
{
    Fixture *fixture = *state;

    assert_int_equal(update(fixture, 0600, fixture->names[0], fixture->names[1]), 0);
    listeners_close(&fixture->listeners);
    assert_int_equal(fixture->listeners.n, 0);
    assert_false(exists(fixture->names[0]));
    assert_false(exists(fixture->names[1]));
}

static void listener_tcp_port_in_use_is_told(void **state)
{
    Fixture *fixture = *state;
    struct sockaddr_in taken = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof(taken);
    char name[64], expected[160];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&taken, size), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&taken, &size), 0);
    snprintf(name, sizeof(name), "inet:%d@127.0.0.1", ntohs(taken.sin_port));
    snprintf(expected, sizeof(expected),
             "cannot listen on %s: Address already in use; is another program, or another milterd, "
             "there?",
             name);

    assert_int_equal(update(fixture, 0600, name, NULL), -EADDRINUSE);
    assert_string_equal(fixture->reason, expected);
    close(fd);
    assert_int_equal(update(fixture, 0600, name, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(listener_unix_path_is_read),
        cmocka_unit_test(listener_inet_port_and_host_are_read),
        cmocka_unit_test(listener_inet6_port_and_host_are_read),
        cmocka_unit_test(listener_what_is_no_address_is_told),
        cmocka_unit_test(listener_endless_address_is_told_short),
        cmocka_unit_test_setup_teardown(listener_opened_is_non_blocking_and_of_its_mode, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(listener_update_keeps_opens_and_closes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(listener_update_that_fails_changes_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(listener_update_sets_the_mode_of_those_that_stay, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(listener_in_a_setgid_folder_keeps_the_folders_group, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(listener_close_takes_the_paths_away, set_up, tear_down),
        cmocka_unit_test_setup_teardown(listener_tcp_port_in_use_is_told, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
