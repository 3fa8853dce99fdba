/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "milterd/watch.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/log.h"

/* Much longer than a passing test ever takes. */
#define LONG_USEC (20 * USEC_PER_SEC)

/* A relay's socket in a folder of its own, and a watch on it with two probers. */
typedef struct Place {
    char folder[32];
    struct sockaddr_un address;
    int fd;
    RelaySettings settings;
    Watch watch;
} Place;

static void *probe(void *userdata)
{
    watch_probe(userdata);
    return NULL;
}

static void place_listen(Place *place)
{
    place->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(place->fd, (struct sockaddr *)&place->address, sizeof(place->address)),
                     0);
}

/* The prober has no end, so it and what it refers to stay until the program's. */
static int setup(void **state)
{
    Place *place = calloc(1, sizeof(*place));
    pthread_t thread;

    strcpy(place->folder, "/tmp/test-watch.XXXXXX");
    if (!mkdtemp(place->folder))
        return -1;
    place->address.sun_family = AF_UNIX;
    snprintf(place->address.sun_path, sizeof(place->address.sun_path), "%s/socket", place->folder);
    place->settings = (RelaySettings){ .socket = place->address.sun_path };
    place->watch.relay = &place->settings;
    place_listen(place);
    log_set_level(LOG_EMERG);
    *state = place;
    if (shared_breaker_new(&place->watch.breaker) < 0)
        return -1;
    for (int i = 0; i < 2; i++)
        if (pthread_create(&thread, NULL, probe, &place->watch) != 0)
            return -1;
    return 0;
}

static int teardown(void **state)
{
    static Place *places[8];
    static size_t n_places;
    Place *place = *state;

    /* Ends whatever is still probed for. */
    watch_answered(&place->watch);
    place->fd = close_fd(place->fd);
    (void)unlink(place->address.sun_path);
    (void)rmdir(place->folder);
    places[n_places++] = place;
    return n_places > ELEMENTSOF(places);
}

static Record *make_record(const char *id)
{
    Record *record = record_new();

    assert_int_equal(record_set(&record->id, id), 0);
    assert_int_equal(record_set(&record->text, "hello"), 0);
    return record;
}

/* As three mails in vain. */
static void fail_three_times(Place *place)
{
    static const char *const ids[] = { "one", "two", "three" };

    for (size_t i = 0; i < ELEMENTSOF(ids); i++) {
        _cleanup_record_ Record *record = make_record(ids[i]);

        assert_true(watch_allows(&place->watch));
        watch_failed(&place->watch, now_usec(CLOCK_MONOTONIC), -ETIMEDOUT, record);
    }
    assert_false(watch_allows(&place->watch));
}

/* Answers what lies in the relay's socket; its id. */
static void answer_one(Place *place, ReceiptStatus status, char ret_id[static RECORD_ID_MAX + 1])
{
    uint8_t datagram[4096];
    struct sockaddr_un sender;
    socklen_t sender_size = sizeof(sender);
    _cleanup_free_ char *answer = NULL;
    _cleanup_record_ Record *record = NULL;
    char reason[RECORD_REASON_MAX];
    size_t offset = 0, json_size;
    Receipt receipt = { .status = status };
    const char *json;
    ssize_t size;

    size = recvfrom(place->fd, datagram, sizeof(datagram), 0, (struct sockaddr *)&sender,
                    &sender_size);
    assert_true(size > 0);
    assert_int_equal(frame_next(datagram, (size_t)size, &offset, &json, &json_size, reason), 1);
    assert_int_equal(record_parse(json, json_size, &record, ret_id, reason), 0);
    strcpy(receipt.id, ret_id);
    assert_int_equal(receipt_write(&receipt, &answer, &json_size), 0);
    frame_put_length(datagram, json_size);
    memcpy(datagram + 4, answer, json_size);
    (void)sendto(place->fd, datagram, json_size + 4, 0, (struct sockaddr *)&sender, sender_size);
}

/* Answers all probes until mails may be sent again. */
static void answer_until_allowed(Place *place, ReceiptStatus status,
                                 char ret_id[static RECORD_ID_MAX + 1])
{
    struct pollfd pollfd = { .fd = place->fd, .events = POLLIN };
    usec_t began = now_usec(CLOCK_MONOTONIC);

    while (!watch_allows(&place->watch)) {
        assert_true(now_usec(CLOCK_MONOTONIC) - began < LONG_USEC);
        if (poll(&pollfd, 1, 10) > 0)
            answer_one(place, status, ret_id);
    }
}

static void watch_sends_the_last_in_vain_until_any_answer(void **state)
{
    static const ReceiptStatus statuses[] = { RECEIPT_ACCEPTED, RECEIPT_DUPLICATE, RECEIPT_BUSY,
                                              RECEIPT_REFUSED };
    Place *place = *state;
    char id[RECORD_ID_MAX + 1] = "";

    for (size_t i = 0; i < ELEMENTSOF(statuses); i++) {
        fail_three_times(place);
        answer_until_allowed(place, statuses[i], id);
        assert_string_equal(id, "three");
    }
}

static void watch_finds_a_relay_that_comes_back(void **state)
{
    Place *place = *state;
    char id[RECORD_ID_MAX + 1] = "";

    place->fd = close_fd(place->fd);
    assert_int_equal(unlink(place->address.sun_path), 0);
    fail_three_times(place);
    nanosleep(&(struct timespec){ .tv_sec = 1, .tv_nsec = 500 * 1000 * 1000 }, NULL);
    assert_false(watch_allows(&place->watch));

    place_listen(place);
    answer_until_allowed(place, RECEIPT_ACCEPTED, id);
    assert_string_equal(id, "three");
}

static void watch_has_one_probe_under_way(void **state)
{
    Place *place = *state;
    struct pollfd pollfd = { .fd = place->fd, .events = POLLIN };
    char id[RECORD_ID_MAX + 1] = "";
    uint8_t datagram[4096];
    unsigned n_probes = 0;
    usec_t began;

    fail_three_times(place);
    /* The first waits for one second, the next for two. */
    began = now_usec(CLOCK_MONOTONIC);
    while (now_usec(CLOCK_MONOTONIC) - began < 2 * USEC_PER_SEC)
        if (poll(&pollfd, 1, 50) > 0 && recv(place->fd, datagram, sizeof(datagram), 0) > 0)
            n_probes++;
    assert_in_range(n_probes, 1, 2);
    answer_until_allowed(place, RECEIPT_ACCEPTED, id);
}

static void watch_ends_with_the_answer_to_a_mail(void **state)
{
    Place *place = *state;

    fail_three_times(place);
    watch_answered(&place->watch);
    assert_true(watch_allows(&place->watch));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(watch_sends_the_last_in_vain_until_any_answer),
        TEST(watch_finds_a_relay_that_comes_back),
        TEST(watch_has_one_probe_under_way),
        TEST(watch_ends_with_the_answer_to_a_mail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
