/* SPDX-License-Identifier: MIT */

/*
 * The sender's side of the datagram socket.
 *
 * One socket for each call: autobound to an abstract name, so that there is somewhere to answer
 * to, and connected, so that the kernel lets nobody but the relay answer and tells us when its
 * queue has room again. What arrives that is no receipt for one of our records is passed over.
 */

#include "common/client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

/* The kernel takes some of it for its own; the default is larger, where nobody made it small. */
#define SEND_BUFFER_MIN (RECORD_DATAGRAM_MAX + 8192)

typedef struct Waiting {
    const Record *const *records;
    size_t n;
    size_t n_open; /* records that wait for their last receipt */
    Receipt *receipts;
    bool *received;
} Waiting;

static int connect_relay(const char *socket_path, int *ret)
{
    const struct sockaddr_un own = { .sun_family = AF_UNIX };
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    _cleanup_close_ int fd = -1;
    int bytes = 0;
    socklen_t size = sizeof(bytes);

    if (strlen(socket_path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    strcpy(address.sun_path, socket_path);

    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (bind(fd, (const struct sockaddr *)&own, sizeof(own.sun_family)) < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        return -errno;

    /* A smaller buffer that can't be raised is no error as long as the datagram fits. */
    if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, &size) == 0 && bytes < SEND_BUFFER_MIN) {
        bytes = SEND_BUFFER_MIN;
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    }
    *ret = steal_fd(&fd);
    return 0;
}

/* Waits for `events` until the deadline: 0 or -errno. */
static int wait_for(int fd, short events, usec_t deadline_usec)
{
    for (;;) {
        usec_t now = now_usec(CLOCK_MONOTONIC);
        usec_t left = deadline_usec > now ? deadline_usec - now : 0;
        struct pollfd pollfd = { .fd = fd, .events = events };
        struct timespec timeout = {
            .tv_sec = (time_t)MIN(left / USEC_PER_SEC, (usec_t)INT32_MAX),
            .tv_nsec = (long)(left % USEC_PER_SEC * 1000),
        };
        int r = ppoll(&pollfd, 1, &timeout, NULL);

        if (r > 0)
            return 0;
        if (r == 0 && left == 0)
            return -ETIMEDOUT;
        if (r < 0 && errno != EINTR)
            return -errno;
    }
}

static int make_datagram(const Record *const *records, size_t n, uint8_t **ret, size_t *ret_size)
{
    _cleanup_free_ uint8_t *datagram = NULL;
    size_t size = 0;

    for (size_t i = 0; i < n; i++) {
        _cleanup_free_ char *json = NULL;
        uint8_t *larger;
        size_t json_size;
        int r;

        if (!records[i]->id)
            return -EINVAL;
        r = record_write(records[i], &json, &json_size);
        if (r < 0)
            return r;
        if (json_size + 4 > RECORD_DATAGRAM_MAX - size)
            return -EMSGSIZE;
        larger = realloc(datagram, size + 4 + json_size);
        if (!larger)
            return -ENOMEM;
        datagram = larger;
        frame_put_length(datagram + size, json_size);
        memcpy(datagram + size + 4, json, json_size);
        size += 4 + json_size;
    }
    *ret_size = size;
    *ret = steal_ptr(datagram);
    return 0;
}

static int send_datagram(int fd, const uint8_t *datagram, size_t size, usec_t deadline_usec)
{
    for (;;) {
        int r;

        if (send(fd, datagram, size, MSG_NOSIGNAL) >= 0)
            return 0;
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return errno == ECONNRESET ? -ECONNREFUSED : -errno;
        r = wait_for(fd, POLLOUT, deadline_usec);
        if (r < 0)
            return r;
    }
}

static void take_for(Waiting *waiting, size_t i, const Receipt *receipt)
{
    bool last = receipt->status != RECEIPT_ACCEPTED ||
                waiting->records[i]->receipt != RECEIPT_WANTED_DELIVERED;

    if (waiting->received[i])
        return;
    waiting->receipts[i] = *receipt;
    strcpy(waiting->receipts[i].id, waiting->records[i]->id);
    if (last) {
        waiting->received[i] = true;
        waiting->n_open--;
    }
}

static void take(Waiting *waiting, const Receipt *receipt)
{
    /* Our records have ids and are well formed: if the relay could read none, it could not take
     * the datagram as a whole. */
    bool for_all = receipt->id[0] == '\0' &&
                   (receipt->status == RECEIPT_BUSY || receipt->status == RECEIPT_REFUSED);

    for (size_t i = 0; i < waiting->n; i++)
        if (for_all || streq(receipt->id, waiting->records[i]->id))
            take_for(waiting, i, receipt);
}

static void take_datagram(Waiting *waiting, const uint8_t *datagram, size_t size)
{
    char reason[RECORD_REASON_MAX];
    size_t offset = 0, json_size;
    const char *json;

    while (frame_next(datagram, size, &offset, &json, &json_size, reason) > 0) {
        Receipt receipt;

        if (receipt_parse(json, json_size, &receipt, reason) == 0)
            take(waiting, &receipt);
    }
}

static int receive_receipts(int fd, Waiting *waiting, usec_t deadline_usec)
{
    _cleanup_free_ uint8_t *buffer = malloc(RECORD_DATAGRAM_MAX);

    if (!buffer)
        return -ENOMEM;
    while (waiting->n_open > 0) {
        ssize_t size;
        int r = wait_for(fd, POLLIN, deadline_usec);

        if (r < 0)
            return r;
        /* MSG_TRUNC gives the true size, which frame_next() refuses when it is past our buffer. */
        size = recv(fd, buffer, RECORD_DATAGRAM_MAX, MSG_TRUNC);
        if (size < 0 && errno != EAGAIN && errno != EINTR)
            return -errno;
        if (size > 0)
            take_datagram(waiting, buffer, (size_t)size);
    }
    return 0;
}

int client_send(const char *socket_path, const Record *const *records, size_t n,
                usec_t deadline_usec, Receipt *receipts, bool *received)
{
    Waiting waiting = { records, n, n, receipts, received };
    _cleanup_free_ uint8_t *datagram = NULL;
    _cleanup_close_ int fd = -1;
    size_t size;
    int r;

    for (size_t i = 0; i < n; i++) {
        receipts[i] = (Receipt){};
        received[i] = false;
    }
    if (n == 0)
        return -EINVAL;
    if ((r = make_datagram(records, n, &datagram, &size)) < 0 ||
        (r = connect_relay(socket_path, &fd)) < 0 ||
        (r = send_datagram(fd, datagram, size, deadline_usec)) < 0)
        return r;

    for (size_t i = 0; i < n; i++)
        if (records[i]->receipt == RECEIPT_WANTED_NONE)
            take_for(&waiting, i, &(Receipt){ .status = RECEIPT_ACCEPTED });
    return receive_receipts(fd, &waiting, deadline_usec);
}
