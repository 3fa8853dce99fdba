/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "xmpprelay/answer.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

static const uint8_t datagram[100] = "a receipt";

typedef struct Place {
    Answer answer;
    int relay;
    struct sockaddr_un address;
    socklen_t address_size;
} Place;

static int bound_socket(struct sockaddr_un *ret, socklen_t *ret_size)
{
    const struct sockaddr_un any = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    assert_return_code(fd, errno);
    assert_return_code(bind(fd, (const struct sockaddr *)&any, sizeof(any.sun_family)), errno);
    *ret_size = sizeof(*ret);
    assert_return_code(getsockname(fd, (struct sockaddr *)ret, ret_size), errno);
    return fd;
}

static int place_setup(void **state)
{
    Place *place = calloc(1, sizeof(*place));

    assert_non_null(place);
    log_set_level(LOG_ERR);
    place->relay = bound_socket(&place->address, &place->address_size);
    answer_init(&place->answer, place->relay);
    *state = place;
    return 0;
}

static int place_teardown(void **state)
{
    Place *place = *state;

    close_fd(place->relay);
    free(place);
    return 0;
}

/* One that has connected its socket, and whose queue the kernel therefore does not limit. */
static int sender_new(const Place *place, uid_t uid, Sender *ret)
{
    int fd;

    *ret = (Sender){ .credentials = { .uid = uid } };
    fd = bound_socket(&ret->address, &ret->address_size);
    assert_return_code(connect(fd, (const struct sockaddr *)&place->address, place->address_size),
                       errno);
    return fd;
}

static bool hears(Place *place, int fd, const Sender *sender)
{
    uint8_t bytes[200];

    answer_send(&place->answer, sender, datagram, sizeof(datagram));
    return recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) == sizeof(datagram);
}

static void answer_deaf_sender_takes_nothing_from_others(void **state)
{
    Place *place = *state;
    Sender deaf, mail;
    _cleanup_close_ int deaf_fd = sender_new(place, 2, &deaf);
    _cleanup_close_ int mail_fd = sender_new(place, 1, &mail);
    usec_t began = now_usec(CLOCK_MONOTONIC);
    int unread = 0;

    for (size_t i = 0; i < 3000; i++) {
        answer_begin(&place->answer);
        answer_send(&place->answer, &deaf, datagram, sizeof(datagram));
        assert_true(hears(place, mail_fd, &mail));
    }
    assert_return_code(ioctl(place->relay, SIOCOUTQ, &unread), errno);
    assert_true(unread > 0 && (size_t)unread < place->answer.unread.limit);
    /* It was waited for now and then, not each time. */
    assert_true(now_usec(CLOCK_MONOTONIC) - began < 30 * USEC_PER_SEC);
}

static void answer_deaf_sender_that_reads_again_is_heard_again(void **state)
{
    Place *place = *state;
    Sender deaf;
    _cleanup_close_ int deaf_fd = sender_new(place, 2, &deaf);
    uint8_t bytes[200];
    size_t n_heard = 0;

    for (size_t i = 0; i < 3000; i++)
        answer_send(&place->answer, &deaf, datagram, sizeof(datagram));
    while (recv(deaf_fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
        n_heard++;
    assert_in_range(n_heard, 100, 1000);
    assert_true(hears(place, deaf_fd, &deaf));
}

static void answer_waits_no_longer_than_it_may(void **state)
{
    Place *place = *state;
    Sender senders[40];
    int fds[40];
    usec_t began;

    for (size_t i = 0; i < ELEMENTSOF(senders); i++)
        fds[i] = sender_new(place, (uid_t)i, &senders[i]);
    for (size_t i = 0; i < 400; i++)
        answer_send(&place->answer, &senders[0], datagram, sizeof(datagram));

    began = now_usec(CLOCK_MONOTONIC);
    answer_begin(&place->answer);
    for (size_t i = 0; i < ELEMENTSOF(senders); i++) /* none of them reads */
        answer_send(&place->answer, &senders[i], datagram, sizeof(datagram));
    assert_true(place->answer.waited_usec >= ANSWER_WAIT_USEC);
    assert_true(place->answer.waited_usec < ANSWER_WAITS_USEC + 2 * ANSWER_WAIT_USEC);
    assert_true(now_usec(CLOCK_MONOTONIC) - began < 5 * USEC_PER_SEC);
    for (size_t i = 0; i < ELEMENTSOF(senders); i++)
        close_fd(fds[i]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(answer_deaf_sender_takes_nothing_from_others),
        TEST(answer_deaf_sender_that_reads_again_is_heard_again),
        TEST(answer_waits_no_longer_than_it_may),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
