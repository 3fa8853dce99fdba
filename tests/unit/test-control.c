/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "xmpprelay/control.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "common/json.h"
#include "common/log.h"

/* Sessions, played by the test. */

void sessions_account_status(const Sessions *sessions, size_t account, SessionStatus *ret)
{
    *ret = (SessionStatus){ .state = "waiting",
                            .reason = "the server refused the password",
                            .since_usec = USEC_PER_SEC,
                            .retry_usec = 2 * USEC_PER_SEC,
                            .reconnects = 7,
                            .pid = 0 };
}

void sessions_destination_status(const Sessions *sessions, size_t destination,
                                 DestinationStatus *ret)
{
    *ret = (DestinationStatus){ .state = destination == 0 ? ROOM_READY : ROOM_OUT,
                                .nick = destination == 0 ? "alertbot" : NULL };
}

typedef struct Fixture {
    char folder[32];
    char path[64];
    char spool_path[64];
    sd_event *event;
    Settings settings;
    Account account;
    Destination destinations[2];
    void *account_items[1], *destination_items[2];
    Spool *spool;
    Control *control;
    /* What the owner heard. */
    char changed[64];
    char paused[64];
    bool paused_now;
    char test_id[RECORD_ID_MAX + 1];
    int test_result;
} Fixture;

static void on_changed(void *userdata, const char *destination)
{
    Fixture *f = userdata;

    snprintf(f->changed, sizeof(f->changed), "%s", destination);
}

static void on_paused(void *userdata, const char *destination, bool paused)
{
    Fixture *f = userdata;

    snprintf(f->paused, sizeof(f->paused), "%s", destination);
    f->paused_now = paused;
}

static int on_test(void *userdata, const char *destination, const char *id)
{
    Fixture *f = userdata;

    snprintf(f->test_id, sizeof(f->test_id), "%s", id);
    return f->test_result;
}

static void on_counts(void *userdata, ControlCounts *ret)
{
    *ret = (ControlCounts){ .started_usec = USEC_PER_SEC, .delivered = 5, .in_flight = 1 };
}

static int setup(void **state)
{
    const SpoolLimits limits = { .max_records = 2000, .max_share = 100, .keep_usec = USEC_PER_SEC };
    char reason[SPOOL_REASON_MAX];
    Fixture *f = calloc(1, sizeof(*f));
    ControlOwner owner = { f, on_changed, on_paused, on_test, on_counts };

    assert_non_null(f);
    strcpy(f->folder, "/tmp/test-control-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof(f->path), "%s/c", f->folder);
    snprintf(f->spool_path, sizeof(f->spool_path), "%s/s.db", f->folder);
    f->account = (Account){ .name = (char *)"main", .jid = (char *)"bot@example.org" };
    f->destinations[0] = (Destination){ .name = (char *)"ops",
                                        .account = (char *)"main",
                                        .room = (char *)"ops@rooms.example.org" };
    f->destinations[1] = (Destination){ .name = (char *)"alice",
                                        .account = (char *)"main",
                                        .contact = (char *)"alice@example.org" };
    f->account_items[0] = &f->account;
    f->destination_items[0] = &f->destinations[0];
    f->destination_items[1] = &f->destinations[1];
    f->settings.accounts = (ConfigItems){ f->account_items, 1 };
    f->settings.destinations = (ConfigItems){ f->destination_items, 2 };
    f->settings.control = (SocketSettings){ .path = f->path, .mode = 0600 };
    f->settings.spool.max_records = 2000;

    assert_return_code(sd_event_new(&f->event), 0);
    assert_return_code(spool_open(f->spool_path, &limits, &f->spool, reason), 0);
    assert_return_code(
        control_new(f->event, &f->settings, f->spool, NULL, &owner, &f->control, reason), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    char command[80];

    control_free(f->control);
    spool_free(f->spool);
    sd_event_unref(f->event);
    snprintf(command, sizeof(command), "rm -rf %s", f->folder);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static void add_entry(Fixture *f, const char *id, const char *destination)
{
    const SpoolRecord record = {
        .id = id,
        .json = "{\"v\":1,\"text\":\"disk full\"}",
        .title = "disk full",
        .uid = 1000,
        .accepted_usec = now_usec(CLOCK_REALTIME),
        .destinations = &destination,
        .n_destinations = 1,
    };

    assert_return_code(spool_begin(f->spool), 0);
    assert_int_equal(spool_insert(f->spool, &record), SPOOL_INSERTED);
    assert_return_code(spool_commit(f->spool), 0);
}

static int first_seq(const SpoolEntry *entry, void *userdata)
{
    *(int64_t *)userdata = entry->seq;
    return 1;
}

static void fail_entry_because(Fixture *f, const char *id, const char *reason)
{
    SpoolFate fate;
    int64_t seq = 0;

    spool_list_record(f->spool, id, first_seq, &seq);
    assert_return_code(spool_begin(f->spool), 0);
    assert_int_equal(spool_mark_failed(f->spool, seq, now_usec(CLOCK_REALTIME), reason, &fate), 1);
    assert_return_code(spool_commit(f->spool), 0);
}

static void fail_entry(Fixture *f, const char *id)
{
    fail_entry_because(f, id, "forbidden");
}

static int client_new(Fixture *f)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    strcpy(address.sun_path, f->path);
    assert_return_code(connect(fd, (struct sockaddr *)&address, sizeof(address)), errno);
    return fd;
}

/* Runs the loop until a line has come; NULL when the relay hung up. */
static Json *receive(Fixture *f, int fd)
{
    static char text[1 << 20];
    char reason[JSON_REASON_MAX];
    size_t size = 0;
    Json *answer = NULL;

    for (int turns = 0; turns < 100000; turns++) {
        ssize_t n = recv(fd, text + size, sizeof(text) - size, 0);

        if (n == 0 || (n < 0 && errno == ECONNRESET))
            return NULL;
        if (n > 0)
            size += (size_t)n;
        if (size > 0 && text[size - 1] == '\n') {
            assert_return_code(json_parse(text, size - 1, &answer, reason), 0);
            return answer;
        }
        assert_return_code(sd_event_run(f->event, 1000), 0);
    }
    fail_msg("no answer");
    return NULL;
}

static void send_text(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static Json *ask(Fixture *f, const char *request)
{
    _cleanup_close_ int fd = client_new(f);

    send_text(fd, request);
    send_text(fd, "\n");
    return receive(f, fd);
}

static const char *string_at(const Json *json, const char *key)
{
    return json_as_string(json_get(json, key), "");
}

static void control_status_tells_what_is_wrong(void **state)
{
    Fixture *f = *state;
    _cleanup_json_ Json *answer = NULL;
    const Json *account, *room;

    add_entry(f, "a", "ops");
    add_entry(f, "b", "gone");
    answer = ask(f, "{\"command\":\"status\"}");
    assert_int_equal(json_as_integer(json_get(answer, "waiting"), -1), 2);
    assert_int_equal(json_as_integer(json_get(answer, "delivered"), -1), 5);
    assert_string_equal(string_at(answer, "oldest_destination"), "ops");

    account = json_at(json_get(answer, "accounts"), 0);
    assert_string_equal(string_at(account, "state"), "waiting");
    assert_string_equal(string_at(account, "reason"), "the server refused the password");
    room = json_at(json_get(answer, "destinations"), 0);
    assert_string_equal(string_at(room, "state"), "ready");
    assert_string_equal(string_at(room, "nick"), "alertbot");
    assert_int_equal(json_as_integer(json_get(room, "waiting"), -1), 1);

    assert_int_equal(json_length(json_get(answer, "unknown_destinations")), 1);
    assert_string_equal(string_at(json_at(json_get(answer, "unknown_destinations"), 0), "name"),
                        "gone");
}

static void control_status_tells_why_senders_are_told_busy(void **state)
{
    Fixture *f = *state;
    Json *answer;

    answer = ask(f, "{\"command\":\"status\"}");
    assert_null(json_get(answer, "busy_because"));
    json_free(answer);

    f->settings.spool.max_records = 1;
    add_entry(f, "a", "ops");
    answer = ask(f, "{\"command\":\"status\"}");
    assert_string_equal(string_at(answer, "busy_because"), "the spool is full (spool.max_records)");
    json_free(answer);

    assert_return_code(unlink(f->spool_path), errno);
    answer = ask(f, "{\"command\":\"status\"}");
    assert_non_null(strstr(string_at(answer, "busy_because"), "the spool was removed"));
    json_free(answer);
}

static void control_queue_comes_in_pages_without_gap(void **state)
{
    Fixture *f = *state;
    char request[400] = "{\"command\":\"queue\"}";
    size_t n = 0, pages = 0;
    char id[32];

    for (int i = 0; i < 1203; i++) {
        snprintf(id, sizeof(id), "id-%d", i);
        add_entry(f, id, i % 2 ? "ops" : "alice");
    }
    for (;;) {
        _cleanup_json_ Json *answer = ask(f, request);

        n += json_length(json_get(answer, "entries"));
        pages++;
        if (!json_get(answer, "next"))
            break;
        snprintf(request, sizeof(request), "{\"command\":\"queue\",\"after\":\"%s\"}",
                 string_at(answer, "next"));
    }
    assert_int_equal(n, 1203);
    assert_int_equal(pages, 3);
}

static void control_retry_queues_what_failed(void **state)
{
    Fixture *f = *state;
    _cleanup_json_ Json *none = NULL, *one = NULL, *all = NULL;

    add_entry(f, "a", "ops");
    none = ask(f, "{\"command\":\"retry\",\"id\":\"a\"}");
    assert_string_equal(string_at(none, "error"), "no entry of record a has failed");

    fail_entry(f, "a");
    one = ask(f, "{\"command\":\"retry\",\"id\":\"a\"}");
    assert_int_equal(json_as_integer(json_get(one, "retried"), -1), 1);
    assert_string_equal(f->changed, "ops");
    assert_int_equal(spool_n_failed(f->spool), 0);
    assert_int_equal(spool_n_waiting(f->spool), 1);

    fail_entry(f, "a");
    all = ask(f, "{\"command\":\"retry\",\"all\":true}");
    assert_int_equal(json_as_integer(json_get(all, "retried"), -1), 1);
}

static void control_drop_gives_up_what_waits(void **state)
{
    Fixture *f = *state;
    _cleanup_json_ Json *answer = NULL, *again = NULL, *unknown = NULL;

    add_entry(f, "a", "alice");
    answer = ask(f, "{\"command\":\"drop\",\"id\":\"a\"}");
    assert_int_equal(json_as_integer(json_get(answer, "dropped"), -1), 1);
    assert_string_equal(f->changed, "alice");
    assert_int_equal(spool_n_waiting(f->spool), 0);

    again = ask(f, "{\"command\":\"drop\",\"id\":\"a\"}");
    assert_string_equal(string_at(again, "error"), "no entry of record a waits or has failed");
    unknown = ask(f, "{\"command\":\"drop\",\"id\":\"x\"}");
    assert_string_equal(string_at(unknown, "error"),
                        "no record x is in the spool or the kept history");
}

static void control_show_gives_the_record(void **state)
{
    Fixture *f = *state;
    _cleanup_json_ Json *answer = NULL;

    add_entry(f, "a", "ops");
    answer = ask(f, "{\"command\":\"show\",\"id\":\"a\"}");
    assert_string_equal(string_at(json_get(answer, "record"), "text"), "disk full");
    assert_string_equal(string_at(json_at(json_get(answer, "entries"), 0), "state"), "queued");
}

static void control_pause_is_kept_by_the_spool(void **state)
{
    Fixture *f = *state;
    _cleanup_json_ Json *one = NULL, *all = NULL, *wrong = NULL;

    one = ask(f, "{\"command\":\"pause\",\"destination\":\"ops\"}");
    assert_null(json_get(one, "error"));
    assert_string_equal(f->paused, "ops");
    assert_true(f->paused_now);
    assert_int_equal(spool_is_paused(f->spool, "ops"), 1);
    assert_int_equal(spool_is_paused(f->spool, "alice"), 0);

    all = ask(f, "{\"command\":\"resume\"}");
    assert_null(json_get(all, "error"));
    assert_false(f->paused_now);
    assert_int_equal(spool_is_paused(f->spool, "ops"), 0);

    wrong = ask(f, "{\"command\":\"pause\",\"destination\":\"opps\"}");
    assert_string_equal(string_at(wrong, "error"),
                        "no destination \"opps\" is configured; there are: ops, alice");
}

static void control_test_answers_with_its_fate(void **state)
{
    Fixture *f = *state;
    _cleanup_close_ int fd = client_new(f);
    _cleanup_json_ Json *answer = NULL;
    usec_t took_usec = USEC_INFINITY;

    send_text(fd, "{\"command\":\"test\",\"destination\":\"ops\"}\n");
    while (!*f->test_id)
        assert_return_code(sd_event_run(f->event, 1000), 0);
    usleep(20000);
    assert_false(control_test_done(f->control, "another", true, NULL, &took_usec));
    assert_true(control_test_done(f->control, f->test_id, true, NULL, &took_usec));
    assert_in_range(took_usec, 20000, 10 * USEC_PER_SEC);
    assert_false(control_test_done(f->control, f->test_id, true, NULL, &took_usec));
    answer = receive(f, fd);
    assert_true(json_as_bool(json_get(answer, "delivered"), false));
    assert_string_equal(string_at(answer, "id"), f->test_id);
}

static void control_test_that_nobody_waits_for_any_more_is_none(void **state)
{
    Fixture *f = *state;
    int fd = client_new(f);
    usec_t took_usec;

    send_text(fd, "{\"command\":\"test\",\"destination\":\"ops\"}\n");
    while (!*f->test_id)
        assert_return_code(sd_event_run(f->event, 1000), 0);
    close(fd);
    while (sd_event_run(f->event, 10000) > 0)
        ;
    assert_false(control_test_done(f->control, f->test_id, true, NULL, &took_usec));
}

static void control_test_of_a_client_that_left_frees_its_place(void **state)
{
    Fixture *f = *state;

    for (int i = 0; i < 40; i++) {
        _cleanup_close_ int fd = client_new(f);

        *f->test_id = '\0';
        send_text(fd, "{\"command\":\"test\",\"destination\":\"ops\"}\n");
        while (!*f->test_id)
            assert_return_code(sd_event_run(f->event, 1000), 0);
    }
}

static void control_garbage_is_answered_not_obeyed(void **state)
{
    static const char *const garbage[] = {
        "",
        "x",
        "[]",
        "{}",
        "{\"command\":1}",
        "{\"command\":\"reboot\"}",
        "{\"command\":\"retry\"}",
        "{\"command\":\"show\",\"id\":7}",
        "{\"command\":\"queue\",\"after\":\"-1 x\"}",
        "{\"command\":\"queue\",\"after\":\"99999999999999999999 x\"}",
        "{\"command\":\"test\"}",
    };
    Fixture *f = *state;

    for (size_t i = 0; i < ELEMENTSOF(garbage); i++) {
        _cleanup_json_ Json *answer = ask(f, garbage[i]);

        assert_non_null(json_get(answer, "error"));
    }
}

/* The server's words in a buffer that was too short, and ours. */
static void control_sentence_cut_inside_a_character_is_shown(void **state)
{
    Fixture *f = *state;
    _cleanup_json_ Json *queue = NULL, *unknown = NULL;
    char request[2048] = "{\"command\":\"a";

    add_entry(f, "a", "ops");
    fail_entry_because(f, "a", "\"\xd0\xbd\xd0\xb5\xd1");
    queue = ask(f, "{\"command\":\"queue\",\"failed\":true}");
    assert_string_equal(string_at(json_at(json_get(queue, "entries"), 0), "reason"),
                        "\"\xd0\xbd\xd0\xb5\xef\xbf\xbd");

    for (int i = 0; i < 2; i++) {
        while (strlen(request) < 1000)
            strcat(request, "\xe2\x82\xac");
        strcat(request, "\"}");
        unknown = ask(f, request);
        assert_true(strlen(string_at(unknown, "error")) > 400);
        unknown = json_free(unknown);
        strcpy(request, "{\"command\":\"");
    }
}

static void control_request_without_end_is_cut_off(void **state)
{
    Fixture *f = *state;
    _cleanup_close_ int fd = client_new(f);
    static char text[8192];

    memset(text, 'x', sizeof(text));
    send(fd, text, sizeof(text), MSG_NOSIGNAL);
    assert_null(receive(f, fd));
}

static void control_many_clients_wait_for_a_place(void **state)
{
    Fixture *f = *state;
    int fds[20];

    for (size_t i = 0; i < ELEMENTSOF(fds) - 4; i++)
        fds[i] = client_new(f);
    for (size_t i = 0; i < ELEMENTSOF(fds) - 4; i++)
        assert_return_code(sd_event_run(f->event, 1000), 0);
    for (size_t i = ELEMENTSOF(fds) - 4; i < ELEMENTSOF(fds); i++)
        fds[i] = client_new(f);
    for (size_t i = 0; i < ELEMENTSOF(fds) - 4; i++)
        close(fds[i]);
    for (size_t i = ELEMENTSOF(fds) - 4; i < ELEMENTSOF(fds); i++) {
        _cleanup_json_ Json *answer = NULL;

        send_text(fds[i], "{\"command\":\"status\"}\n");
        answer = receive(f, fds[i]);
        assert_null(json_get(answer, "error"));
        close(fds[i]);
    }
}

static void control_client_without_a_descriptor_left_waits(void **state)
{
    Fixture *f = *state;
    _cleanup_close_ int fd = client_new(f);
    _cleanup_json_ Json *answer = NULL;
    struct rlimit before, none_left;
    usec_t began = now_usec(CLOCK_MONOTONIC);
    int next = dup(fd), served = 0;

    close(next);
    assert_return_code(getrlimit(RLIMIT_NOFILE, &before), errno);
    none_left = (struct rlimit){ (rlim_t)next, before.rlim_max };
    assert_return_code(setrlimit(RLIMIT_NOFILE, &none_left), errno);
    log_set_level(LOG_CRIT);
    while (now_usec(CLOCK_MONOTONIC) < began + 300 * USEC_PER_MSEC) {
        int r = sd_event_run(f->event, 50 * USEC_PER_MSEC);

        assert_return_code(r, -r);
        served += r;
    }
    log_set_level(LOG_INFO);
    assert_return_code(setrlimit(RLIMIT_NOFILE, &before), errno);
    assert_in_range(served, 1, 3); /* it does not keep the loop busy */

    send_text(fd, "{\"command\":\"status\"}\n");
    answer = receive(f, fd);
    assert_null(json_get(answer, "error"));
}

static void control_two_requests_at_once_get_two_answers(void **state)
{
    Fixture *f = *state;
    _cleanup_close_ int fd = client_new(f);
    size_t lines = 0;

    send_text(fd, "{\"command\":\"status\"}\n{\"command\":\"status\"}\n");
    for (int turns = 0; turns < 1000 && lines < 2; turns++) {
        char text[4096];
        ssize_t n = recv(fd, text, sizeof(text), 0);

        for (ssize_t i = 0; i < n; i++)
            lines += text[i] == '\n';
        if (lines < 2)
            assert_return_code(sd_event_run(f->event, 1000), 0);
    }
    assert_int_equal(lines, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(control_status_tells_what_is_wrong, setup, teardown),
        cmocka_unit_test_setup_teardown(control_status_tells_why_senders_are_told_busy, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(control_queue_comes_in_pages_without_gap, setup, teardown),
        cmocka_unit_test_setup_teardown(control_retry_queues_what_failed, setup, teardown),
        cmocka_unit_test_setup_teardown(control_drop_gives_up_what_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(control_show_gives_the_record, setup, teardown),
        cmocka_unit_test_setup_teardown(control_pause_is_kept_by_the_spool, setup, teardown),
        cmocka_unit_test_setup_teardown(control_test_answers_with_its_fate, setup, teardown),
        cmocka_unit_test_setup_teardown(control_test_of_a_client_that_left_frees_its_place, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(control_test_that_nobody_waits_for_any_more_is_none, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(control_sentence_cut_inside_a_character_is_shown, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(control_garbage_is_answered_not_obeyed, setup, teardown),
        cmocka_unit_test_setup_teardown(control_request_without_end_is_cut_off, setup, teardown),
        cmocka_unit_test_setup_teardown(control_many_clients_wait_for_a_place, setup, teardown),
        cmocka_unit_test_setup_teardown(control_client_without_a_descriptor_left_waits, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(control_two_requests_at_once_get_two_answers, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
