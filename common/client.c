/* SPDX-License-Identifier: MIT */

/*
 * The sender's side of the datagram socket.
 *
 * One socket for each attempt: autobound to an abstract name, so that there is somewhere to answer
 * to, and connected, so that the kernel lets nobody but the relay answer and tells us when its
 * queue has room again. What arrives that is no receipt for one of our records is passed over.
 *
 * A relay that is not there may be one that is just restarted, so it is looked for until the time
 * is up. The kernel does not tell that one has gone which holds our records: whoever waits looks
 * now and then whether the socket at the path is still the same, and where it is not, sends again
 * what has no receipt. The records' ids make that safe.
 */

#include "common/client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* How often we look whether the relay is still there, or there again. */
#define LOOK_USEC (200 * USEC_PER_MSEC)
/* A relay that goes each time it gets our records may go because of them. */
#define SENDS_MAX 3
/* The kernel takes some of it for its own; the default is larger, where nobody made it small. */
#define SEND_BUFFER_MIN (RECORD_DATAGRAM_MAX + 8192)

typedef struct Waiting {
    const Record *const *records;
    size_t n;
    size_t n_open;   /* records that wait for their last receipt */
    unsigned n_sent; /* how often a relay got a datagram of ours */
    Receipt *receipts;
    bool *received;
} Waiting;

/* The relay that we are connected with. */
typedef struct Relay {
    struct sockaddr_un address;
    struct stat file; /* of its socket */
    int fd;
} Relay;

static void relay_done(Relay *relay)
{
    close_fd(relay->fd);
}

static int relay_connect(Relay *relay)
{
    const struct sockaddr_un own = { .sun_family = AF_UNIX };
    _cleanup_close_ int fd = -1;
    int bytes = 0;
    socklen_t size = sizeof(bytes);

    /* Before connect(): a socket that comes between the two is at worst taken for a new one. */
    if (stat(relay->address.sun_path, &relay->file) < 0)
        return -errno;
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (bind(fd, (const struct sockaddr *)&own, sizeof(own.sun_family)) < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)&relay->address, sizeof(relay->address)) < 0)
        return -errno;

    /* A smaller buffer that can't be raised is no error as long as the datagram fits. */
    if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, &size) == 0 && bytes < SEND_BUFFER_MIN) {
        bytes = SEND_BUFFER_MIN;
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    }
    relay->fd = steal_fd(&fd);
    return 0;
}

/* -ECONNREFUSED where the relay that we are connected with has gone, whether or not there is
 * another now; else 0. */
static int relay_look(const Relay *relay)
{
    struct stat now;

    if (stat(relay->address.sun_path, &now) < 0)
        return errno == ENOENT ? -ECONNREFUSED : 0;
    if (now.st_dev != relay->file.st_dev || now.st_ino != relay->file.st_ino ||
        now.st_ctim.tv_sec != relay->file.st_ctim.tv_sec ||
        now.st_ctim.tv_nsec != relay->file.st_ctim.tv_nsec)
        return -ECONNREFUSED;
    /* With the same one once more, which changes nothing, or with none: a file that was left. */
    if (connect(relay->fd, (const struct sockaddr *)&relay->address, sizeof(relay->address)) < 0)
        return errno == ENOENT || errno == ECONNREFUSED ? -ECONNREFUSED : 0;
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

static bool is_heard(const Waiting *waiting, size_t i)
{
    return waiting->receipts[i].id[0] != '\0';
}

/* Of the records that have no receipt yet. */
static int make_datagram(const Waiting *waiting, uint8_t **ret, size_t *ret_size)
{
    _cleanup_free_ uint8_t *datagram = NULL;
    size_t size = 0;

    for (size_t i = 0; i < waiting->n; i++) {
        _cleanup_free_ char *json = NULL;
        uint8_t *larger;
        size_t json_size;
        int r;

        if (!waiting->records[i]->id)
            return -EINVAL;
        if (is_heard(waiting, i))
            continue;
        r = record_write(waiting->records[i], &json, &json_size);
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

static bool is_last(const Waiting *waiting, size_t i, ReceiptStatus status)
{
    if (waiting->records[i]->receipt != RECEIPT_WANTED_DELIVERED)
        return true;
    /* A duplicate of what we sent ourselves a moment ago has not been delivered since. */
    return status != RECEIPT_ACCEPTED && (status != RECEIPT_DUPLICATE || waiting->n_sent == 1);
}

static void take_for(Waiting *waiting, size_t i, const Receipt *receipt)
{
    if (waiting->received[i])
        return;
    waiting->receipts[i] = *receipt;
    strcpy(waiting->receipts[i].id, waiting->records[i]->id);
    if (is_last(waiting, i, receipt->status)) {
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

static bool all_heard(const Waiting *waiting)
{
    for (size_t i = 0; i < waiting->n; i++)
        if (!is_heard(waiting, i))
            return false;
    return true;
}

/* Until something can be read: 0, -ETIMEDOUT, or -ECONNREFUSED as soon as nobody is there any more
 * who could send a receipt. */
static int wait_for_receipt(const Waiting *waiting, const Relay *relay, usec_t deadline_usec)
{
    for (;;) {
        usec_t next_look = now_usec(CLOCK_MONOTONIC) + LOOK_USEC;
        int r;

        /* What is on disk is safe with any relay, and another would not tell when it is said. */
        if (deadline_usec <= next_look || all_heard(waiting))
            return wait_for(relay->fd, POLLIN, deadline_usec);
        r = wait_for(relay->fd, POLLIN, next_look);
        if (r != -ETIMEDOUT)
            return r;
        r = relay_look(relay);
        if (r < 0)
            return r;
    }
}

static int receive_receipts(const Relay *relay, Waiting *waiting, usec_t deadline_usec)
{
    _cleanup_free_ uint8_t *buffer = malloc(RECORD_DATAGRAM_MAX);

    if (!buffer)
        return -ENOMEM;
    while (waiting->n_open > 0) {
        ssize_t size;
        int r = wait_for_receipt(waiting, relay, deadline_usec);

        if (r < 0)
            return r;
        /* MSG_TRUNC gives the true size, which frame_next() refuses when it is past our buffer. */
        size = recv(relay->fd, buffer, RECORD_DATAGRAM_MAX, MSG_TRUNC);
        if (size < 0 && errno != EAGAIN && errno != EINTR)
            return errno == ECONNRESET ? -ECONNREFUSED : -errno;
        if (size > 0)
            take_datagram(waiting, buffer, (size_t)size);
    }
    return 0;
}

/* With the relay that is there now. */
static int attempt(Waiting *waiting, const struct sockaddr_un *address, const uint8_t *datagram,
                   size_t size, usec_t deadline_usec)
{
    _cleanup_(relay_done) Relay relay = { .address = *address, .fd = -1 };
    int r;

    if ((r = relay_connect(&relay)) < 0 ||
        (r = send_datagram(relay.fd, datagram, size, deadline_usec)) < 0)
        return r;
    waiting->n_sent++;
    for (size_t i = 0; i < waiting->n; i++)
        if (waiting->records[i]->receipt == RECEIPT_WANTED_NONE)
            take_for(waiting, i, &(Receipt){ .status = RECEIPT_ACCEPTED });
    return receive_receipts(&relay, waiting, deadline_usec);
}

int client_send(const char *socket_path, const Record *const *records, size_t n,
                usec_t deadline_usec, Receipt *receipts, bool *received)
{
    Waiting waiting = {
        .records = records, .n = n, .n_open = n, .receipts = receipts, .received = received
    };
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    for (size_t i = 0; i < n; i++) {
        receipts[i] = (Receipt){};
        received[i] = false;
    }
    if (n == 0)
        return -EINVAL;
    if (strlen(socket_path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    strcpy(address.sun_path, socket_path);

    for (;;) {
        _cleanup_free_ uint8_t *datagram = NULL;
        struct timespec pause = {};
        usec_t now;
        size_t size;
        int r;

        r = make_datagram(&waiting, &datagram, &size);
        if (r < 0)
            return r;
        r = attempt(&waiting, &address, datagram, size, deadline_usec);
        now = now_usec(CLOCK_MONOTONIC);
        if ((r != -ECONNREFUSED && r != -ENOENT) || waiting.n_sent >= SENDS_MAX ||
            all_heard(&waiting) || now >= deadline_usec)
            return r;
        pause.tv_nsec = (long)MIN(LOOK_USEC, deadline_usec - now) * 1000;
        nanosleep(&pause, NULL);
    }
}
