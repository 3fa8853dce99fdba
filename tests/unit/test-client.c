/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "common/client.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define REPLIES_MAX 16

/* Much longer than a passing test ever takes. */
#define LONG_USEC (20 * USEC_PER_SEC)

/* A relay that hears one datagram, and then says what it was told to. */
typedef struct Relay {
    char folder[32];
    struct sockaddr_un address;
    int fd;
    pthread_t thread;
    bool running;
    struct {
        uint8_t bytes[4096];
        size_t size;
    } replies[REPLIES_MAX];
    size_t n_replies;
    bool leave_file; /* when it goes */
    bool at_once;    /* it comes back */
    int n_taken;     /* datagrams that it went with */
    uint8_t heard[RECORD_DATAGRAM_MAX + 1];
    ssize_t heard_size;
} Relay;

static int setup(void **state)
{
    Relay *relay = calloc(1, sizeof(*relay));

    strcpy(relay->folder, "/tmp/test-client.XXXXXX");
    if (!mkdtemp(relay->folder))
        return -1;
    relay->address.sun_family = AF_UNIX;
    snprintf(relay->address.sun_path, sizeof(relay->address.sun_path), "%s/socket", relay->folder);
    relay->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (bind(relay->fd, (struct sockaddr *)&relay->address, sizeof(relay->address)) < 0)
        return -1;
    *state = relay;
    return 0;
}

static int teardown(void **state)
{
    Relay *relay = *state;

    if (relay->running)
        pthread_join(relay->thread, NULL);
    close_fd(relay->fd);
    (void)unlink(relay->address.sun_path);
    (void)rmdir(relay->folder);
    free(relay);
    return 0;
}

static void *serve(void *userdata)
{
    Relay *relay = userdata;
    struct sockaddr_un sender = {};
    socklen_t sender_size = sizeof(sender);

    relay->heard_size = recvfrom(relay->fd, relay->heard, sizeof(relay->heard), 0,
                                 (struct sockaddr *)&sender, &sender_size);
    for (size_t i = 0; i < relay->n_replies; i++)
        (void)sendto(relay->fd, relay->replies[i].bytes, relay->replies[i].size, 0,
                     (struct sockaddr *)&sender, sender_size);
    return NULL;
}

static void relay_start_with(Relay *relay, void *(*function)(void *userdata))
{
    assert_int_equal(pthread_create(&relay->thread, NULL, function, relay), 0);
    relay->running = true;
}

static void relay_start(Relay *relay)
{
    relay_start_with(relay, serve);
}

static void relay_join(Relay *relay)
{
    pthread_join(relay->thread, NULL);
    relay->running = false;
}

static void relay_will_say_bytes(Relay *relay, const void *bytes, size_t size)
{
    assert_true(relay->n_replies < REPLIES_MAX);
    memcpy(relay->replies[relay->n_replies].bytes, bytes, size);
    relay->replies[relay->n_replies++].size = size;
}

static void relay_will_say(Relay *relay, const char *id, ReceiptStatus status)
{
    Receipt receipt = { .status = status, .reason = "because" };
    _cleanup_free_ char *json = NULL;
    uint8_t frame[4096];
    size_t size;

    strcpy(receipt.id, id);
    assert_int_equal(receipt_write(&receipt, &json, &size), 0);
    frame_put_length(frame, size);
    memcpy(frame + 4, json, size);
    relay_will_say_bytes(relay, frame, size + 4);
}

static Record *make_record(const char *id, ReceiptWanted wanted)
{
    Record *record = record_new();

    assert_int_equal(record_set(&record->id, id), 0);
    assert_int_equal(record_set(&record->text, "hello"), 0);
    record->receipt = wanted;
    return record;
}

static int send_one(const Relay *relay, const Record *record, usec_t timeout_usec, Receipt *ret,
                    bool *received)
{
    return client_send(relay->address.sun_path, &record, 1,
                       now_usec(CLOCK_MONOTONIC) + timeout_usec, ret, received);
}

static void client_record_arrives_and_is_accepted(void **state)
{
    Relay *relay = *state;
    _cleanup_record_ Record *record = make_record("x1", RECEIPT_WANTED_ACCEPTED), *heard = NULL;
    char id[RECORD_ID_MAX + 1], reason[RECORD_REASON_MAX];
    size_t offset = 0, size;
    const char *json;
    Receipt receipt;
    bool received;

    relay_will_say(relay, "x1", RECEIPT_ACCEPTED);
    relay_start(relay);
    assert_int_equal(send_one(relay, record, LONG_USEC, &receipt, &received), 0);
    assert_true(received);
    assert_string_equal(receipt.id, "x1");
    assert_int_equal(receipt.status, RECEIPT_ACCEPTED);

    relay_join(relay);
    assert_int_equal(
        frame_next(relay->heard, (size_t)relay->heard_size, &offset, &json, &size, reason), 1);
    assert_int_equal(record_parse(json, size, &heard, id, reason), 0);
    assert_string_equal(heard->text, "hello");
}

static void client_receipts_of_several_records_are_told_apart(void **state)
{
    Relay *relay = *state;
    _cleanup_record_ Record *one = make_record("one", RECEIPT_WANTED_ACCEPTED);
    _cleanup_record_ Record *two = make_record("two", RECEIPT_WANTED_ACCEPTED);
    _cleanup_record_ Record *three = make_record("three", RECEIPT_WANTED_NONE);
    const Record *records[] = { one, two, three };
    Receipt receipts[3];
    bool received[3];

    relay_will_say(relay, "two", RECEIPT_REFUSED);
    relay_will_say(relay, "one", RECEIPT_DUPLICATE);
    relay_start(relay);
    assert_int_equal(client_send(relay->address.sun_path, records, 3,
                                 now_usec(CLOCK_MONOTONIC) + LONG_USEC, receipts, received),
                     0);
    assert_int_equal(receipts[0].status, RECEIPT_DUPLICATE);
    assert_int_equal(receipts[1].status, RECEIPT_REFUSED);
    assert_string_equal(receipts[1].reason, "because");
    assert_int_equal(receipts[2].status, RECEIPT_ACCEPTED);
    assert_true(received[0] && received[1] && received[2]);
}

static void client_foreign_and_garbled_receipts_are_passed_over(void **state)
{
    Relay *relay = *state;
    _cleanup_record_ Record *record = make_record("x1", RECEIPT_WANTED_ACCEPTED);
    Receipt receipt;
    bool received;

    relay_will_say_bytes(relay, "", 0);
    relay_will_say_bytes(relay, "\0\0", 2);
    relay_will_say_bytes(relay, "\0\0\0\2{}", 6);
    relay_will_say_bytes(relay, "\0\0\0\2xx", 6);
    relay_will_say_bytes(relay, "\xFF\xFF\xFF\xFF{}", 6);
    relay_will_say(relay, "x", RECEIPT_REFUSED);
    relay_will_say(relay, "x12", RECEIPT_REFUSED);
    relay_will_say(relay, "X1", RECEIPT_BUSY);
    relay_will_say(relay, "", RECEIPT_ACCEPTED);
    relay_will_say(relay, "x1", RECEIPT_DUPLICATE);
    relay_start(relay);
    assert_int_equal(send_one(relay, record, LONG_USEC, &receipt, &received), 0);
    assert_int_equal(receipt.status, RECEIPT_DUPLICATE);
}

static void client_delivered_is_waited_for_behind_accepted(void **state)
{
    Relay *relay = *state;
    _cleanup_record_ Record *record = make_record("x1", RECEIPT_WANTED_DELIVERED);
    Receipt receipt;
    bool received;

    relay_will_say(relay, "x1", RECEIPT_ACCEPTED);
    relay_will_say(relay, "x1", RECEIPT_DELIVERED);
    relay_start(relay);
    assert_int_equal(send_one(relay, record, LONG_USEC, &receipt, &received), 0);
    assert_int_equal(receipt.status, RECEIPT_DELIVERED);
}

static void client_accepted_alone_is_no_delivery(void **state)
{
    Relay *relay = *state;
    _cleanup_record_ Record *record = make_record("x1", RECEIPT_WANTED_DELIVERED);
    Receipt receipt;
    bool received;

    relay_will_say(relay, "x1", RECEIPT_ACCEPTED);
    relay_start(relay);
    /* It is in our queue before the time is up, however slow this machine is: */
    assert_int_equal(send_one(relay, record, USEC_PER_SEC, &receipt, &received), -ETIMEDOUT);
    assert_false(received);
    assert_string_equal(receipt.id, "x1");
    assert_int_equal(receipt.status, RECEIPT_ACCEPTED);
}

static void client_refusal_of_the_datagram_is_one_of_all_records(void **state)
{
    Relay *relay = *state;
    _cleanup_record_ Record *one = make_record("one", RECEIPT_WANTED_ACCEPTED);
    _cleanup_record_ Record *two = make_record("two", RECEIPT_WANTED_DELIVERED);
    const Record *records[] = { one, two };
    Receipt receipts[2];
    bool received[2];

    relay_will_say(relay, "", RECEIPT_REFUSED);
    relay_start(relay);
    assert_int_equal(client_send(relay->address.sun_path, records, 2,
                                 now_usec(CLOCK_MONOTONIC) + LONG_USEC, receipts, received),
                     0);
    assert_int_equal(receipts[0].status, RECEIPT_REFUSED);
    assert_int_equal(receipts[1].status, RECEIPT_REFUSED);
    assert_string_equal(receipts[1].id, "two");
}

static void client_none_wanted_waits_for_nothing(void **state)
{
    Relay *relay = *state;
    _cleanup_record_ Record *record = make_record("x1", RECEIPT_WANTED_NONE);
    Receipt receipt;
    bool received;

    /* Nobody reads: the datagram stays in the queue. The time is up already, too. */
    assert_int_equal(send_one(relay, record, 0, &receipt, &received), 0);
    assert_true(received);
    assert_int_equal(receipt.status, RECEIPT_ACCEPTED);
}

static void client_silent_relay_times_out(void **state)
{
    Relay *relay = *state;
    _cleanup_record_ Record *record = make_record("x1", RECEIPT_WANTED_ACCEPTED);
    usec_t started = now_usec(CLOCK_MONOTONIC), passed;
    Receipt receipt;
    bool received;

    assert_int_equal(send_one(relay, record, 100 * USEC_PER_MSEC, &receipt, &received), -ETIMEDOUT);
    passed = now_usec(CLOCK_MONOTONIC) - started;
    assert_true(passed >= 100 * USEC_PER_MSEC);
    assert_true(passed < LONG_USEC);
    assert_false(received);
    assert_string_equal(receipt.id, "");
}

/* Sends until the relay's queue takes no more; returns how many. */
static int fill_queue(const Relay *relay)
{
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int n = 0;

    while (sendto(fd, "x", 1, 0, (const struct sockaddr *)&relay->address,
                  sizeof(relay->address)) == 1)
        n++;
    assert_int_equal(errno, EAGAIN);
    return n;
}

static void client_full_queue_is_waited_for_until_the_deadline(void **state)
{
    Relay *relay = *state;
    _cleanup_record_ Record *record = make_record("x1", RECEIPT_WANTED_NONE);
    usec_t started;
    Receipt receipt;
    bool received;

    fill_queue(relay);
    started = now_usec(CLOCK_MONOTONIC);
    assert_int_equal(send_one(relay, record, 100 * USEC_PER_MSEC, &receipt, &received), -ETIMEDOUT);
    assert_true(now_usec(CLOCK_MONOTONIC) - started >= 100 * USEC_PER_MSEC);
    assert_false(received);
}

static void *drain(void *userdata)
{
    Relay *relay = userdata;
    char byte;

    while (recv(relay->fd, &byte, 1, 0) == 1 && byte == 'x')
        ;
    return NULL;
}

static void client_queue_that_gets_room_takes_the_record(void **state)
{
    Relay *relay = *state;
    _cleanup_record_ Record *record = make_record("x1", RECEIPT_WANTED_NONE);
    Receipt receipt;
    bool received;

    fill_queue(relay);
    relay_start_with(relay, drain);
    assert_int_equal(send_one(relay, record, LONG_USEC, &receipt, &received), 0);
}

static void *drop(void *userdata)
{
    Relay *relay = userdata;

    relay->fd = close_fd(relay->fd);
    return NULL;
}

static void client_relay_that_goes_with_a_full_queue_is_noticed(void **state)
{
    Relay *relay = *state;
    _cleanup_record_ Record *record = make_record("x1", RECEIPT_WANTED_ACCEPTED);
    Receipt receipt;
    bool received;

    fill_queue(relay);
    relay_start_with(relay, drop);
    assert_int_equal(send_one(relay, record, USEC_PER_SEC, &receipt, &received), -ECONNREFUSED);
}

static void client_without_a_relay_is_told_when_the_time_is_up(void **state)
{
    Relay *relay = *state;
    _cleanup_record_ Record *record = make_record("x1", RECEIPT_WANTED_ACCEPTED);
    Receipt receipt;
    bool received;

    usec_t started;

    relay->fd = close_fd(relay->fd);
    assert_int_equal(send_one(relay, record, 0, &receipt, &received), -ECONNREFUSED);
    assert_int_equal(unlink(relay->address.sun_path), 0);
    started = now_usec(CLOCK_MONOTONIC);
    assert_int_equal(send_one(relay, record, 300 * USEC_PER_MSEC, &receipt, &received), -ENOENT);
    assert_true(now_usec(CLOCK_MONOTONIC) - started >= 300 * USEC_PER_MSEC);
    assert_false(received);
}

/* As a relay that starts: the new socket takes the place of whatever is there. */
static void bind_anew(Relay *relay)
{
    char path[sizeof(relay->address.sun_path)];

    strcpy(path, relay->address.sun_path);
    strcpy(strrchr(relay->address.sun_path, '/'), "/new");
    relay->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    (void)bind(relay->fd, (struct sockaddr *)&relay->address, sizeof(relay->address));
    (void)rename(relay->address.sun_path, path);
    strcpy(relay->address.sun_path, path);
}

static void short_pause(void)
{
    nanosleep(&(struct timespec){ .tv_nsec = 300 * 1000 * 1000 }, NULL);
}

static void *come_and_serve(void *userdata)
{
    Relay *relay = userdata;

    short_pause();
    bind_anew(relay);
    return serve(relay);
}

static void client_relay_that_comes_within_the_time_gets_the_record(void **state)
{
    Relay *relay = *state;
    _cleanup_record_ Record *record = make_record("x1", RECEIPT_WANTED_ACCEPTED);
    Receipt receipt;
    bool received;

    for (int left_behind = 0; left_behind < 2; left_behind++) {
        relay->fd = close_fd(relay->fd);
        if (!left_behind)
            assert_int_equal(unlink(relay->address.sun_path), 0);
        relay->n_replies = 0;
        relay_will_say(relay, "x1", RECEIPT_ACCEPTED);
        relay_start_with(relay, come_and_serve);
        assert_int_equal(send_one(relay, record, LONG_USEC, &receipt, &received), 0);
        assert_int_equal(receipt.status, RECEIPT_ACCEPTED);
        relay_join(relay);
    }
}

/* Receives what comes, as one that is killed before it answers, or told to stop. */
static void receive_and_go(Relay *relay, bool leave_file)
{
    char byte;

    if (recv(relay->fd, &byte, 1, 0) == 1)
        relay->n_taken++;
    relay->fd = close_fd(relay->fd);
    if (!leave_file)
        (void)unlink(relay->address.sun_path);
}

static void *restart_and_serve(void *userdata)
{
    Relay *relay = userdata;

    receive_and_go(relay, relay->leave_file);
    if (!relay->at_once)
        short_pause();
    bind_anew(relay);
    return serve(relay);
}

static void client_relay_that_is_restarted_gets_the_record_again(void **state)
{
    Relay *relay = *state;
    _cleanup_record_ Record *record = make_record("x1", RECEIPT_WANTED_ACCEPTED);
    Receipt receipt;
    bool received;

    for (int i = 0; i < 4; i++) {
        relay->leave_file = i & 1;
        relay->at_once = i & 2;
        relay->n_replies = 0;
        relay_will_say(relay, "x1", RECEIPT_DUPLICATE);
        relay_start_with(relay, restart_and_serve);
        assert_int_equal(send_one(relay, record, LONG_USEC, &receipt, &received), 0);
        assert_int_equal(receipt.status, RECEIPT_DUPLICATE);
        relay_join(relay);
        assert_int_equal(relay->n_taken, i + 1);
        assert_true(relay->heard_size > 0);
    }
}

static void client_duplicate_of_its_own_is_no_delivery(void **state)
{
    Relay *relay = *state;
    _cleanup_record_ Record *record = make_record("x1", RECEIPT_WANTED_DELIVERED);
    Receipt receipt;
    bool received;

    relay_will_say(relay, "x1", RECEIPT_DUPLICATE);
    relay_start_with(relay, restart_and_serve);
    assert_int_equal(send_one(relay, record, 2 * USEC_PER_SEC, &receipt, &received), -ETIMEDOUT);
    assert_false(received);
    assert_string_equal(receipt.id, "x1");
}

static void *accept_and_go(void *userdata)
{
    Relay *relay = userdata;

    serve(relay);
    relay->fd = close_fd(relay->fd);
    bind_anew(relay);
    return NULL;
}

static void client_record_on_disk_is_not_sent_again(void **state)
{
    Relay *relay = *state;
    _cleanup_record_ Record *record = make_record("x1", RECEIPT_WANTED_DELIVERED);
    Receipt receipt;
    bool received;
    char byte;

    relay_will_say(relay, "x1", RECEIPT_ACCEPTED);
    relay_start_with(relay, accept_and_go);
    assert_int_equal(send_one(relay, record, USEC_PER_SEC, &receipt, &received), -ETIMEDOUT);
    assert_string_equal(receipt.id, "x1");
    relay_join(relay);
    assert_int_equal(recv(relay->fd, &byte, 1, MSG_DONTWAIT), -1);
}

static void *go_each_time(void *userdata)
{
    Relay *relay = userdata;

    for (int i = 0; i < 3; i++) {
        receive_and_go(relay, true);
        bind_anew(relay);
    }
    return NULL;
}

static void client_relay_that_goes_each_time_is_spared(void **state)
{
    Relay *relay = *state;
    _cleanup_record_ Record *record = make_record("x1", RECEIPT_WANTED_ACCEPTED);
    usec_t started = now_usec(CLOCK_MONOTONIC);
    Receipt receipt;
    bool received;
    char byte;

    relay_start_with(relay, go_each_time);
    assert_int_equal(send_one(relay, record, LONG_USEC, &receipt, &received), -ECONNREFUSED);
    assert_true(now_usec(CLOCK_MONOTONIC) - started < LONG_USEC);
    relay_join(relay);
    assert_int_equal(relay->n_taken, 3);
    assert_int_equal(recv(relay->fd, &byte, 1, MSG_DONTWAIT), -1);
}

static void client_largest_datagram_goes_through(void **state)
{
    Relay *relay = *state;
    _cleanup_record_ Record *one = make_record("one", RECEIPT_WANTED_NONE);
    _cleanup_record_ Record *two = make_record("two", RECEIPT_WANTED_NONE);
    const Record *records[] = { one, two, two };
    size_t around = strlen("{\"v\":1,\"id\":\"one\",\"text\":\"\",\"receipt\":\"none\"}");
    _cleanup_free_ char *text = malloc(RECORD_FRAME_MAX + 1);
    Receipt receipts[3];
    bool received[3];

    memset(text, 'x', RECORD_FRAME_MAX);
    text[RECORD_FRAME_MAX - around] = '\0';
    assert_int_equal(record_set(&one->text, text), 0);
    text[RECORD_FRAME_MAX - around - 8] = '\0';
    assert_int_equal(record_set(&two->text, text), 0);

    relay_start(relay);
    assert_int_equal(client_send(relay->address.sun_path, records, 2,
                                 now_usec(CLOCK_MONOTONIC) + LONG_USEC, receipts, received),
                     0);
    relay_join(relay);
    assert_int_equal(relay->heard_size, RECORD_DATAGRAM_MAX);

    assert_int_equal(client_send(relay->address.sun_path, records, 3,
                                 now_usec(CLOCK_MONOTONIC) + LONG_USEC, receipts, received),
                     -EMSGSIZE);
}

static void client_record_that_cannot_be_written_is_not_sent(void **state)
{
    Relay *relay = *state;
    _cleanup_record_ Record *record = make_record("x1", RECEIPT_WANTED_ACCEPTED);
    Receipt receipt;
    bool received;
    char byte;

    assert_int_equal(record_set(&record->id, NULL), 0);
    assert_int_equal(send_one(relay, record, LONG_USEC, &receipt, &received), -EINVAL);
    assert_int_equal(record_set(&record->id, "x1"), 0);
    assert_int_equal(record_set(&record->text, ""), 0);
    assert_int_equal(send_one(relay, record, LONG_USEC, &receipt, &received), -EINVAL);
    assert_int_equal(recv(relay->fd, &byte, 1, MSG_DONTWAIT), -1);
}

static void client_without_permission_says_so(void **state)
{
    Relay *relay = *state;
    _cleanup_record_ Record *record = make_record("x1", RECEIPT_WANTED_NONE);
    Receipt receipt;
    bool received;
    int r;

    assert_int_equal(chmod(relay->address.sun_path, 0), 0);
    assert_int_equal(chmod(relay->folder, 0755), 0);
    if (geteuid() == 0)
        assert_int_equal(seteuid(65534), 0);
    r = send_one(relay, record, LONG_USEC, &receipt, &received);
    if (getuid() == 0)
        assert_int_equal(seteuid(0), 0);
    assert_int_equal(r, -EACCES);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(client_record_arrives_and_is_accepted),
        TEST(client_receipts_of_several_records_are_told_apart),
        TEST(client_foreign_and_garbled_receipts_are_passed_over),
        TEST(client_delivered_is_waited_for_behind_accepted),
        TEST(client_accepted_alone_is_no_delivery),
        TEST(client_refusal_of_the_datagram_is_one_of_all_records),
        TEST(client_none_wanted_waits_for_nothing),
        TEST(client_silent_relay_times_out),
        TEST(client_full_queue_is_waited_for_until_the_deadline),
        TEST(client_queue_that_gets_room_takes_the_record),
        TEST(client_relay_that_goes_with_a_full_queue_is_noticed),
        TEST(client_without_a_relay_is_told_when_the_time_is_up),
        TEST(client_relay_that_comes_within_the_time_gets_the_record),
        TEST(client_relay_that_is_restarted_gets_the_record_again),
        TEST(client_duplicate_of_its_own_is_no_delivery),
        TEST(client_record_on_disk_is_not_sent_again),
        TEST(client_relay_that_goes_each_time_is_spared),
        TEST(client_largest_datagram_goes_through),
        TEST(client_record_that_cannot_be_written_is_not_sent),
        TEST(client_without_permission_says_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
