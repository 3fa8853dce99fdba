/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "common/metrics-server.h"

#include <arpa/inet.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static const MetricFamily families[] = {
    { "t_asked_total", "How often the page was made.", .type = METRIC_COUNTER },
    { "t_much", "Much.", .type = METRIC_GAUGE, .labels = { "n" } },
};

/* A server in a loop that the test turns by itself. */
typedef struct Fixture {
    char folder[32];
    char path[64];
    char listen[80]; /* unix: and the path */
    sd_event *event;
    Metrics *metrics;
    MetricsServer *server;
    MetricsSource source;
} Fixture;

static void on_refresh(void *userdata)
{
    Fixture *fixture = userdata;

    metric_add(metrics_at(fixture->metrics, 0, NULL), 1);
}

static int update(Fixture *fixture, const char *at, mode_t mode, char *reason)
{
    char copy[200];
    const MetricsSettings settings = { .listen = copy, .mode = mode, .group = (char[]){ "" } };

    snprintf(copy, sizeof(copy), "%s", at);
    return metrics_server_update(&fixture->server, fixture->event, &settings, &fixture->source,
                                 reason);
}

static int setup(void **state)
{
    Fixture *fixture = calloc(1, sizeof(*fixture));
    char reason[METRICS_REASON_MAX];

    strcpy(fixture->folder, "/tmp/test-metrics.XXXXXX");
    if (!mkdtemp(fixture->folder))
        return -1;
    snprintf(fixture->path, sizeof(fixture->path), "%s/metrics", fixture->folder);
    snprintf(fixture->listen, sizeof(fixture->listen), "unix:%s", fixture->path);
    if (sd_event_new(&fixture->event) < 0 || metrics_new(families, 2, 4000, &fixture->metrics) < 0)
        return -1;
    fixture->source = (MetricsSource){
        .program = "test", .metrics = fixture->metrics, .refresh = on_refresh, .userdata = fixture
    };
    *state = fixture;
    return update(fixture, fixture->listen, 0600, reason);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static int teardown(void **state)
{
    Fixture *fixture = *state;

    metrics_server_free(fixture->server);
    metrics_free(fixture->metrics);
    sd_event_unref(fixture->event);
    nftw(fixture->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(fixture);
    return 0;
}

static int connect_unix(const Fixture *fixture)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    strcpy(address.sun_path, fixture->path);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* Turns the loop until `fd` has ended or `usec` are over: what came, as a string. */
static char *talk(Fixture *fixture, int fd, usec_t usec)
{
    usec_t until = now_usec(CLOCK_MONOTONIC) + usec;
    size_t size = 0, room = 2000000;
    char *text = calloc(1, room);

    while (now_usec(CLOCK_MONOTONIC) < until) {
        ssize_t n;

        sd_event_run(fixture->event, 1000);
        n = read(fd, text + size, room - size - 1);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            break;
        if (n > 0)
            size += (size_t)n;
    }
    return text;
}

static char *ask(Fixture *fixture, const char *request)
{
    _cleanup_close_ int fd = connect_unix(fixture);

    assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
    return talk(fixture, fd, 5 * USEC_PER_SEC);
}

static void assert_answer(Fixture *fixture, const char *request, const char *status,
                          const char *header, const char *body)
{
    _cleanup_free_ char *text = ask(fixture, request);
    const char *end = strstr(text, "\r\n\r\n");
    char *asked = strstr(text, "\nt_asked_total ");

    /* How often the page was made depends on the machine's speed. */
    if (asked)
        asked[strlen("\nt_asked_total ")] = '1';
    if (strncmp(text, status, strlen(status)) != 0 || !end || !strstr(text, header) ||
        !streq(end + 4, body))
        fail_msg("%s\nwas answered:\n%s", request, text);
}

#define HOST "Host: x\r\n\r\n"

static void server_answers_each_path_and_method(void **state)
{
    Fixture *fixture = *state;
    const char *page = "# HELP t_asked_total How often the page was made.\n"
                       "# TYPE t_asked_total counter\nt_asked_total 1\n";

    assert_answer(fixture, "GET /metrics HTTP/1.1\r\n" HOST, "HTTP/1.1 200 ",
                  "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n", page);
    assert_answer(fixture, "GET /metrics?x=%00 HTTP/1.0\r\n\r\n", "HTTP/1.", "Connection: close",
                  page);
    assert_answer(fixture, "HEAD /metrics HTTP/1.1\r\n" HOST, "HTTP/1.1 200 ",
                  "Content-Length: 95\r\n", "");
    assert_answer(fixture, "GET / HTTP/1.1\r\n" HOST, "HTTP/1.1 200 ", "",
                  "test: the metrics are at /metrics\n");
    assert_answer(fixture, "GET /metrics/ HTTP/1.1\r\n" HOST, "HTTP/1.1 404 ", "",
                  "test: nothing is here, the metrics are at /metrics\n");
    assert_answer(fixture, "POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n" HOST "abc",
                  "HTTP/1.1 405 ", "Allow: GET, HEAD\r\n",
                  "test: only GET and HEAD are answered\n");
    assert_answer(fixture, "GET /metrics HTTP/1.1\r\nContent-Length: 3\r\n" HOST "abc",
                  "HTTP/1.1 200 ", "", page);
}

static void server_speaks_openmetrics_when_asked_to(void **state)
{
    assert_answer(*state, "GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text\r\n" HOST,
                  "HTTP/1.1 200 ",
                  "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n",
                  "# HELP t_asked How often the page was made.\n"
                  "# TYPE t_asked counter\nt_asked_total 1\n# EOF\n");
}

static void server_makes_a_page_anew_only_now_and_then(void **state)
{
    Fixture *fixture = *state;
    usec_t began = now_usec(CLOCK_MONOTONIC), took;
    int64_t made;

    for (unsigned n = 0; n < 200; n++) {
        _cleanup_free_ char *text = ask(fixture, "GET /metrics HTTP/1.1\r\n" HOST);

        assert_non_null(strstr(text, "t_asked_total"));
    }
    took = now_usec(CLOCK_MONOTONIC) - began;
    made = metric_value(metrics_at(fixture->metrics, 0, NULL));
    assert_true(made >= 1 && (usec_t)made <= took / METRICS_FRESH_USEC + 1);

    usleep(METRICS_FRESH_USEC);
    free(ask(fixture, "GET /metrics HTTP/1.1\r\n" HOST));
    assert_int_equal(metric_value(metrics_at(fixture->metrics, 0, NULL)), made + 1);
}

static void server_refuses_garbage_and_goes_on(void **state)
{
    static const char *const garbage[] = {
        "\r\n\r\n\r\n\r\n",
        "\x16\x03\x01\x02hello tls",
        "GET\r\n\r\n",
        "GET /metrics HTTP/9.9\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost x\r\n\r\n",
        "POST /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: x\r\n\r\nzz\r\n",
        "GET /metrics HTTP/1.1\r\nContent-Length: -1\r\nHost: x\r\n\r\n",
    };
    Fixture *fixture = *state;
    _cleanup_free_ char *long_line = calloc(1, 30000);

    for (size_t i = 0; i < ELEMENTSOF(garbage); i++) {
        _cleanup_close_ int fd = connect_unix(fixture);
        _cleanup_free_ char *text = NULL;

        assert_true(send(fd, garbage[i], strlen(garbage[i]), MSG_NOSIGNAL) > 0);
        text = talk(fixture, fd, 50 * USEC_PER_MSEC);
    }
    memset(long_line, 'A', 29999);
    memcpy(long_line, "GET /", 5);
    free(ask(fixture, long_line));

    assert_answer(fixture, "GET / HTTP/1.1\r\n" HOST, "HTTP/1.1 200 ", "",
                  "test: the metrics are at /metrics\n");
}

/* Clients that say nothing, or a byte now and then, have had their time after a while; those that
 * wait for a place get it then. */
static void server_ends_slow_clients_and_serves_those_that_wait(void **state)
{
    Fixture *fixture = *state;
    int slow[METRICS_CONNECTIONS_MAX];
    usec_t began = now_usec(CLOCK_MONOTONIC), waited;
    _cleanup_close_ int fd = -1;
    _cleanup_free_ char *text = NULL;

    for (size_t i = 0; i < ELEMENTSOF(slow); i++) {
        slow[i] = connect_unix(fixture);
        sd_event_run(fixture->event, 1000);
    }
    sd_event_run(fixture->event, 1000);
    fd = connect_unix(fixture);
    assert_true(send(fd, "GET / HTTP/1.1\r\n" HOST, 27, MSG_NOSIGNAL) > 0);
    for (;;) {
        text = talk(fixture, fd, 500 * USEC_PER_MSEC);
        waited = now_usec(CLOCK_MONOTONIC) - began;
        if (*text || waited > 2 * METRICS_DEADLINE_USEC)
            break;
        text = (free(text), NULL);
        for (size_t i = 0; i < ELEMENTSOF(slow); i += 2)
            (void)!send(slow[i], "G", 1, MSG_NOSIGNAL);
    }
    assert_int_equal(strncmp(text, "HTTP/1.1 200 ", 13), 0);
    assert_in_range(waited, METRICS_DEADLINE_USEC / 2, METRICS_DEADLINE_USEC * 3 / 2);
    for (size_t i = 0; i < ELEMENTSOF(slow); i++)
        close(slow[i]);
}

/* Idle clients cost nothing: the loop sleeps. */
static void server_sleeps_while_clients_say_nothing(void **state)
{
    Fixture *fixture = *state;
    int idle[METRICS_CONNECTIONS_MAX + 8];
    usec_t until;
    unsigned turns = 0;

    for (size_t i = 0; i < ELEMENTSOF(idle); i++) {
        idle[i] = connect_unix(fixture);
        sd_event_run(fixture->event, 1000);
    }
    until = now_usec(CLOCK_MONOTONIC) + 500 * USEC_PER_MSEC;
    while (now_usec(CLOCK_MONOTONIC) < until) {
        sd_event_run(fixture->event, 100 * USEC_PER_MSEC);
        turns++;
    }
    assert_in_range(turns, 5, 60);
    for (size_t i = 0; i < ELEMENTSOF(idle); i++)
        close(idle[i]);
}

/* A large page, and a client that leaves in the middle of it. */
static void server_survives_a_client_that_leaves(void **state)
{
    Fixture *fixture = *state;
    char n[16];

    signal(SIGPIPE, SIG_DFL);
    for (int i = 0; i < 4000; i++) {
        snprintf(n, sizeof(n), "%0*d", 12, i);
        metric_set(metrics_at(fixture->metrics, 1, (const char *[]){ n }), i);
    }
    for (int i = 0; i < 5; i++) {
        int fd = connect_unix(fixture);
        char few[100];

        assert_true(send(fd, "GET /metrics HTTP/1.1\r\n" HOST, 34, MSG_NOSIGNAL) > 0);
        for (int j = 0; j < 20; j++)
            sd_event_run(fixture->event, 1000);
        assert_true(read(fd, few, sizeof(few)) > 0);
        close(fd);
        for (int j = 0; j < 20; j++)
            sd_event_run(fixture->event, 1000);
    }
    {
        _cleanup_free_ char *text = ask(fixture, "GET /metrics HTTP/1.1\r\n" HOST);

        assert_true(strlen(text) > 90000);
        assert_non_null(strstr(text, "t_much{n=\"000000003998\"} 3998\n"));
    }
}

/* A client that can't be taken in for want of descriptors waits, and the loop does not spin. */
static void server_without_descriptors_rests_and_goes_on(void **state)
{
    Fixture *fixture = *state;
    _cleanup_close_ int fd = connect_unix(fixture);
    _cleanup_free_ char *text = NULL;
    struct rlimit before, none;
    unsigned turns = 0;
    usec_t until;

    assert_true(send(fd, "GET / HTTP/1.1\r\n" HOST, 27, MSG_NOSIGNAL) > 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    until = now_usec(CLOCK_MONOTONIC) + 500 * USEC_PER_MSEC;
    while (now_usec(CLOCK_MONOTONIC) < until) {
        sd_event_run(fixture->event, 50 * USEC_PER_MSEC);
        turns++;
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_in_range(turns, 5, 400);

    text = talk(fixture, fd, 5 * USEC_PER_SEC);
    assert_int_equal(strncmp(text, "HTTP/1.1 200 ", 13), 0);
}

/* Loopback addresses with ports that the kernel has just given and taken back. */
static unsigned free_port(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t size = sizeof(address);
    _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    return ntohs(address.sin_port);
}

static bool connects(unsigned port, bool in6)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    struct sockaddr_in6 in6_address = { .sin6_family = AF_INET6,
                                        .sin6_port = htons((uint16_t)port),
                                        .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    _cleanup_close_ int fd = socket(in6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return connect(fd, in6 ? (struct sockaddr *)&in6_address : (struct sockaddr *)&in,
                   in6 ? sizeof(in6_address) : sizeof(in)) == 0;
}

static void server_moves_ends_and_starts_again(void **state)
{
    Fixture *fixture = *state;
    const MetricsServer *before;
    char reason[METRICS_REASON_MAX], at[64];
    unsigned port = free_port();
    struct stat st;

    snprintf(at, sizeof(at), "127.0.0.1:%u", port);
    assert_int_equal(update(fixture, at, 0600, reason), 0);
    assert_int_equal(lstat(fixture->path, &st), -1);
    assert_true(connects(port, false));
    assert_false(connects(port, true));

    before = fixture->server;
    assert_int_equal(update(fixture, at, 0640, reason), 0);
    assert_ptr_equal(fixture->server, before);

    snprintf(at, sizeof(at), "[::]:%u", port); /* overlaps */
    assert_int_equal(update(fixture, at, 0600, reason), 0);
    assert_true(connects(port, false));
    assert_true(connects(port, true));

    assert_int_equal(update(fixture, "", 0600, reason), 0);
    assert_null(fixture->server);
    assert_false(connects(port, false));
    assert_int_equal(update(fixture, "", 0600, reason), 0);

    assert_int_equal(update(fixture, fixture->listen, 0640, reason), 0);
    assert_int_equal(lstat(fixture->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(update(fixture, fixture->listen, 0666, reason), 0);
    assert_int_equal(lstat(fixture->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0666);
}

static void server_stays_where_it_is_when_it_can_not_move(void **state)
{
    Fixture *fixture = *state;
    struct sockaddr_in address = { .sin_family = AF_INET };
    char reason[METRICS_REASON_MAX] = "", at[64];
    _cleanup_close_ int taken = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    unsigned port = free_port();

    address.sin_port = htons((uint16_t)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(taken, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(taken, 1), 0);

    snprintf(at, sizeof(at), "127.0.0.1:%u", port);
    assert_int_equal(update(fixture, at, 0600, reason), -EADDRINUSE);
    assert_non_null(strstr(reason, at));
    assert_non_null(strstr(reason, "another process listens there"));
    assert_answer(fixture, "GET / HTTP/1.1\r\n" HOST, "HTTP/1.1 200 ", "",
                  "test: the metrics are at /metrics\n");

    assert_true(update(fixture, "192.0.2.1:9797", 0600, reason) < 0);
    assert_non_null(strstr(reason, "this machine has no such address"));
    assert_true(update(fixture, "unix:/nowhere/at/all", 0600, reason) < 0);
    assert_non_null(strstr(reason, "the folder /nowhere/at does not exist"));
    assert_answer(fixture, "GET / HTTP/1.1\r\n" HOST, "HTTP/1.1 200 ", "",
                  "test: the metrics are at /metrics\n");
}

static void server_addresses_are_numeric_and_errors_say_how(void **state)
{
    static const char *const good[] = { "127.0.0.1:1", "0.0.0.0:65535",    "[::1]:9797",
                                        "[::]:9797",   "[fe80::1:2]:9797", "unix:/run/x" };
    static const struct {
        const char *text, *wrong;
    } bad[] = {
        { "9797", "has no port from 1 to 65535 after a colon" },
        { "127.0.0.1", "has no port" },
        { "127.0.0.1:0", "has no port" },
        { "127.0.0.1:65536", "has no port" },
        { "127.0.0.1:+80", "has no port" },
        { "127.0.0.1:", "has no port" },
        { "localhost:9797", "has no numeric address before its port" },
        { ":9797", "has no numeric address" },
        { "::1:9797", "has no numeric address" },
        { "[127.0.0.1]:9797", "has no numeric address" },
        { "[::1:9797", "has no numeric address" },
        { "[]:9797", "has no numeric address" },
        { "0127.1:9797", "has no numeric address" },
        { "1111111111111111111111111111111111111111111111111111:1", "has no numeric address" },
        { "unix:metrics.sock", "needs the absolute path of a socket" },
        { "unix:", "needs the absolute path of a socket" },
        { "unix:/run/", "needs the absolute path of a socket" },
    };
    char reason[METRICS_REASON_MAX];

    for (size_t i = 0; i < ELEMENTSOF(good); i++)
        if (metrics_address_check(good[i], reason) < 0)
            fail_msg("%s: %s", good[i], reason);
    for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
        if (metrics_address_check(bad[i].text, reason) != -EINVAL)
            fail_msg("%s is taken", bad[i].text);
        if (!strstr(reason, bad[i].wrong) || !strstr(reason, bad[i].text))
            fail_msg("%s: %s", bad[i].text, reason);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(server_answers_each_path_and_method),
        TEST(server_speaks_openmetrics_when_asked_to),
        TEST(server_makes_a_page_anew_only_now_and_then),
        TEST(server_refuses_garbage_and_goes_on),
        TEST(server_ends_slow_clients_and_serves_those_that_wait),
        TEST(server_sleeps_while_clients_say_nothing),
        TEST(server_survives_a_client_that_leaves),
        TEST(server_without_descriptors_rests_and_goes_on),
        TEST(server_moves_ends_and_starts_again),
        TEST(server_stays_where_it_is_when_it_can_not_move),
        cmocka_unit_test(server_addresses_are_numeric_and_errors_say_how),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
