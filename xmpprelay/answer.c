/* SPDX-License-Identifier: MIT */

/*
 * A sender's address may be a path, and lead to somebody else's socket by the time we answer. An
 * answer goes to a socket that belongs to the sender, or nowhere.
 *
 * All answers go through the one socket: those who have connected theirs to it take them from no
 * other. The kernel has room for so many that are unread; unread.h says who may have how many. The
 * waits that it asks for happen only while much is unread, and are over as soon as it is read.
 */

#include "xmpprelay/answer.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>

#define LOOK_USEC 200

void answer_init(Answer *answer, int fd)
{
    int bytes = ANSWER_BUFFER_BYTES;
    socklen_t size = sizeof(bytes);

    *answer =
        (Answer){ .fd = fd, .complaints = { .interval_usec = 60 * USEC_PER_SEC, .burst = 1 } };
    /* The kernel cuts what is too much, and can always tell what there is. */
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    (void)getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, &size);
    unread_init(&answer->unread, (size_t)bytes);
}

void answer_begin(Answer *answer)
{
    answer->waited_usec = 0;
}

/* The socket at the sender's path, if it is the sender's: *ret is how to address it for as long
 * as the descriptor that is returned is open. */
static int pin_address(const Sender *sender, struct sockaddr_un *ret)
{
    _cleanup_close_ int fd = -1;
    char path[sizeof(sender->address.sun_path) + 1] = "";
    struct stat st;

    memcpy(path, sender->address.sun_path, sizeof(sender->address.sun_path));
    fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISSOCK(st.st_mode) || st.st_uid != sender->credentials.uid)
        return -EPERM;
    *ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
    snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d", fd);
    return steal_fd(&fd);
}

static size_t unread_bytes(const Answer *answer)
{
    int bytes = 0;

    return ioctl(answer->fd, SIOCOUTQ, &bytes) < 0 || bytes < 0 ? 0 : (size_t)bytes;
}

static void settle(Answer *answer, uid_t next)
{
    const struct timespec pause = { .tv_nsec = LOOK_USEC * 1000 };
    usec_t began = now_usec(CLOCK_MONOTONIC), waited = 0;
    size_t bytes = unread_bytes(answer);

    while (bytes > answer->unread.floor && waited < ANSWER_WAIT_USEC &&
           answer->waited_usec + waited < ANSWER_WAITS_USEC) {
        nanosleep(&pause, NULL);
        waited = now_usec(CLOCK_MONOTONIC) - began;
        bytes = unread_bytes(answer);
    }
    answer->waited_usec += waited;
    unread_settled(&answer->unread, next, bytes);
}

static void complain(Answer *answer, uid_t uid)
{
    unsigned suppressed;

    if (log_limit_pass(&answer->complaints, now_usec(CLOCK_MONOTONIC), &suppressed))
        log_warning("senders of uid %u do not read their receipts, and get no more for now: %zu "
                    "of %zu bytes lie unread",
                    uid, unread_bytes(answer), answer->unread.limit);
}

/* Whether the sender is to have it. */
static bool has_room(Answer *answer, uid_t uid)
{
    UnreadAdvice advice = unread_ask(&answer->unread, uid, unread_bytes(answer));

    if (advice == UNREAD_SETTLE) {
        settle(answer, uid);
        advice = unread_ask(&answer->unread, uid, unread_bytes(answer));
    }
    if (advice == UNREAD_SEND)
        return true;
    complain(answer, uid);
    return false;
}

void answer_send(Answer *answer, const Sender *sender, const uint8_t *datagram, size_t size)
{
    struct sockaddr_un address = sender->address;
    socklen_t address_size = sender->address_size;
    _cleanup_close_ int pinned = -1;

    if (!has_room(answer, sender->credentials.uid))
        return;
    if (address.sun_path[0] != '\0') {
        pinned = pin_address(sender, &address);
        address_size = sizeof(address);
        if (pinned < 0)
            return;
    }
    /* A sender's own queue may be full. */
    (void)sendto(answer->fd, datagram, size, MSG_DONTWAIT | MSG_NOSIGNAL,
                 (const struct sockaddr *)&address, address_size);
}
