/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "xmpprelay/inbox.h"

#include "common/log.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

typedef struct Place {
    char folder[64];
    char path[80];
    Settings settings;
    Destination ops, night;
    void *items[2];
    char *defaults[2];
    Inbox *inbox;
    int sender;
} Place;

static int place_setup(void **state)
{
    const struct sockaddr_un own = { .sun_family = AF_UNIX };
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    Place *place = calloc(1, sizeof(*place));
    char reason[RECORD_REASON_MAX];

    assert_non_null(place);
    log_set_level(LOG_ERR);
    snprintf(place->folder, sizeof(place->folder), "/tmp/test-inbox-XXXXXX");
    assert_non_null(mkdtemp(place->folder));
    snprintf(place->path, sizeof(place->path), "%s/relay.sock", place->folder);
    place->ops.name = strdup("ops");
    place->night.name = strdup("night");
    place->items[0] = &place->ops;
    place->items[1] = &place->night;
    place->defaults[0] = place->ops.name;
    place->settings.destinations = (ConfigItems){ .items = place->items, .n = 2 };
    place->settings.default_destination = (ConfigStrings){ .items = place->defaults, .n = 1 };
    place->settings.socket = (SocketSettings){ .path = place->path, .mode = 0600 };
    if (inbox_new(&place->settings, -1, &place->inbox, reason) < 0)
        fail_msg("%s", reason);

    place->sender = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(place->sender >= 0);
    assert_int_equal(bind(place->sender, (const struct sockaddr *)&own, sizeof(own.sun_family)), 0);
    memcpy(address.sun_path, place->path, strlen(place->path) + 1);
    assert_int_equal(connect(place->sender, (const struct sockaddr *)&address, sizeof(address)), 0);
    *state = place;
    return 0;
}

static int place_teardown(void **state)
{
    Place *place = *state;
    char lock[96];

    inbox_free(place->inbox);
    close_fd(place->sender);
    assert_int_equal(access(place->path, F_OK), -1);
    snprintf(lock, sizeof(lock), "%s.lock", place->path);
    unlink(lock);
    rmdir(place->folder);
    free(place->ops.name);
    free(place->night.name);
    free(place);
    return 0;
}

typedef struct Datagram {
    uint8_t bytes[RECORD_DATAGRAM_MAX + 64];
    size_t size;
} Datagram;

static Datagram *datagram_new(void)
{
    Datagram *datagram = calloc(1, sizeof(*datagram));

    assert_non_null(datagram);
    return datagram;
}

static void put(Datagram *datagram, const char *json)
{
    size_t size = strlen(json);

    assert_true(datagram->size + 4 + size <= sizeof(datagram->bytes));
    frame_put_length(datagram->bytes + datagram->size, size);
    memcpy(datagram->bytes + datagram->size + 4, json, size);
    datagram->size += 4 + size;
}

static void send_bytes(const Place *place, const void *bytes, size_t size)
{
    assert_int_equal(send(place->sender, bytes, size, 0), (ssize_t)size);
}

/* Sends up to four frames in one datagram and gathers. */
static void send_frames(const Place *place, const char *const *frames)
{
    _cleanup_free_ Datagram *datagram = datagram_new();

    for (; *frames; frames++)
        put(datagram, *frames);
    send_bytes(place, datagram->bytes, datagram->size);
    assert_int_equal(inbox_gather(place->inbox), 0);
}
#define SEND(place, ...) send_frames(place, (const char *const[]){ __VA_ARGS__, NULL })

static void accept_all(Inbox *inbox)
{
    for (size_t i = 0; i < inbox_n_items(inbox); i++)
        if (!inbox_item(inbox, i)->decided)
            inbox_decide(inbox_item(inbox, i), RECEIPT_ACCEPTED, NULL);
    inbox_answer(inbox);
}

typedef struct Receipts {
    size_t n;
    Receipt items[8];
} Receipts;

/* What one datagram from the relay holds; none: n is 0. */
static Receipts receive(const Place *place)
{
    static uint8_t buffer[RECORD_DATAGRAM_MAX];
    char reason[RECORD_REASON_MAX];
    Receipts receipts = {};
    size_t offset = 0, json_size;
    const char *json;
    ssize_t size;

    size = recv(place->sender, buffer, sizeof(buffer), MSG_DONTWAIT);
    while (size > 0 && frame_next(buffer, (size_t)size, &offset, &json, &json_size, reason) > 0) {
        assert_true(receipts.n < ELEMENTSOF(receipts.items));
        assert_int_equal(receipt_parse(json, json_size, &receipts.items[receipts.n++], reason), 0);
    }
    return receipts;
}

static void inbox_record_comes_with_sender_and_destinations(void **state)
{
    Place *place = *state;
    InboxItem *item;
    Receipts receipts;

    SEND(place, "{\"v\":1,\"id\":\"a\",\"text\":\"x\",\"to\":[\"night\",\"ops\"]}");
    assert_int_equal(inbox_n_items(place->inbox), 1);
    item = inbox_item(place->inbox, 0);
    assert_false(item->decided);
    assert_string_equal(item->id, "a");
    assert_string_equal(item->record->text, "x");
    assert_string_equal(item->json,
                        "{\"v\":1,\"id\":\"a\",\"text\":\"x\",\"to\":[\"night\",\"ops\"]}");
    assert_int_equal(item->n_destinations, 2);
    assert_string_equal(item->destinations[0], "night");
    assert_int_equal(inbox_uid(place->inbox, item), getuid());
    assert_int_equal(inbox_pid(place->inbox, item), getpid());
    assert_int_equal(receive(place).n, 0); /* nothing is said before the decision */

    accept_all(place->inbox);
    assert_int_equal(inbox_n_items(place->inbox), 0);
    receipts = receive(place);
    assert_int_equal(receipts.n, 1);
    assert_string_equal(receipts.items[0].id, "a");
    assert_int_equal(receipts.items[0].status, RECEIPT_ACCEPTED);
}

static void inbox_absent_id_and_destination_are_made(void **state)
{
    Place *place = *state;
    char first[RECORD_ID_MAX + 1];
    Receipts receipts;

    SEND(place, "{\"v\":1,\"text\":\"x\"}", "{\"v\":1,\"text\":\"x\"}");
    assert_int_equal(inbox_n_items(place->inbox), 2);
    assert_true(record_id_is_valid(inbox_item(place->inbox, 0)->id));
    assert_string_not_equal(inbox_item(place->inbox, 0)->id, inbox_item(place->inbox, 1)->id);
    assert_string_equal(inbox_item(place->inbox, 0)->destinations[0], "ops");
    snprintf(first, sizeof(first), "%s", inbox_item(place->inbox, 0)->id);
    accept_all(place->inbox);
    receipts = receive(place); /* both in one datagram */
    assert_int_equal(receipts.n, 2);
    assert_string_equal(receipts.items[0].id, first);
}

static void inbox_without_default_destination_refuses(void **state)
{
    Place *place = *state;
    Receipts receipts;

    place->settings.default_destination.n = 0;
    SEND(place, "{\"v\":1,\"id\":\"a\",\"text\":\"x\"}");
    accept_all(place->inbox);
    receipts = receive(place);
    assert_int_equal(receipts.items[0].status, RECEIPT_REFUSED);
    assert_non_null(strstr(receipts.items[0].reason, "default_destination"));
}

static void inbox_bad_record_is_refused_and_its_neighbours_are_not(void **state)
{
    Place *place = *state;
    Receipts receipts;

    SEND(place, "{\"v\":1,\"id\":\"a\",\"text\":\"x\"}", "{\"v\":1,\"id\":\"b\",\"text\":7}",
         "{\"v\":1,\"id\":\"c\",\"text\":\"x\",\"to\":\"nobody\"}",
         "{\"v\":1,\"id\":\"d\",\"text\":\"x\"}");
    accept_all(place->inbox);
    receipts = receive(place);
    assert_int_equal(receipts.n, 4);
    assert_int_equal(receipts.items[0].status, RECEIPT_ACCEPTED);
    assert_string_equal(receipts.items[1].id, "b");
    assert_int_equal(receipts.items[1].status, RECEIPT_REFUSED);
    assert_non_null(strstr(receipts.items[1].reason, "text"));
    assert_int_equal(receipts.items[2].status, RECEIPT_REFUSED);
    assert_non_null(strstr(receipts.items[2].reason, "nobody"));
    assert_int_equal(receipts.items[3].status, RECEIPT_ACCEPTED);
}

static void inbox_broken_datagram_is_refused_whole(void **state)
{
    Place *place = *state;
    static const char *const broken[] = {
        "{\"v\":1,\"id\":\"b\",\"text\":", /* no JSON */
        "[1]",                             /* no object */
        "{\"v\":1,\"id\":\"b\",\"text\":\"x\",\"text\":\"y\"}",
        "{\"v\":1,\"id\":\"b\",\"text\":\"\xff\"}",
    };

    for (size_t i = 0; i < ELEMENTSOF(broken); i++) {
        Receipts receipts;

        SEND(place, "{\"v\":1,\"id\":\"a\",\"text\":\"x\"}", broken[i]);
        accept_all(place->inbox);
        receipts = receive(place);
        assert_int_equal(receipts.n, 2);
        assert_string_equal(receipts.items[0].id, "a");
        assert_int_equal(receipts.items[0].status, RECEIPT_REFUSED);
        assert_int_equal(receipts.items[1].status, RECEIPT_REFUSED);
    }
}

static void inbox_broken_framing_is_refused_with_a_reason(void **state)
{
    Place *place = *state;
    static const struct {
        const char *bytes;
        size_t size;
    } broken[] = {
        { "x", 1 },
        { "\0\0\0\0", 4 },
        { "\0\0\0\x09{}", 6 },
        { "\xff\xff\xff\xff{}", 6 },
        { "\0\0\0\x02{}\0", 7 },
        { "", 0 },
    };

    for (size_t i = 0; i < ELEMENTSOF(broken); i++) {
        Receipts receipts;

        send_bytes(place, broken[i].bytes, broken[i].size);
        assert_int_equal(inbox_gather(place->inbox), 0);
        accept_all(place->inbox);
        receipts = receive(place);
        assert_int_equal(receipts.n, 1);
        assert_int_equal(receipts.items[0].status, RECEIPT_REFUSED);
        assert_true(receipts.items[0].reason[0] != '\0');
    }
}

/* As large as a datagram may be, and one byte more. */
static void inbox_datagram_past_the_limit_is_refused(void **state)
{
    Place *place = *state;
    _cleanup_free_ Datagram *datagram = datagram_new();
    Receipts receipts;

    for (int part = 0; part < 2; part++) {
        char *json = malloc(RECORD_FRAME_MAX + 1);
        size_t size = part == 0 ? RECORD_FRAME_MAX : RECORD_DATAGRAM_MAX - RECORD_FRAME_MAX - 8;
        int n;

        assert_non_null(json);
        memset(json, 'x', size);
        n = sprintf(json, "{\"v\":1,\"id\":\"%c\",\"text\":\"", 'a' + part);
        json[n] = 'x';
        memcpy(json + size - 2, "\"}", 3);
        put(datagram, json);
        free(json);
    }
    assert_int_equal(datagram->size, RECORD_DATAGRAM_MAX);
    send_bytes(place, datagram->bytes, datagram->size);
    assert_int_equal(inbox_gather(place->inbox), 0);
    accept_all(place->inbox);
    receipts = receive(place);
    assert_int_equal(receipts.n, 2);
    assert_int_equal(receipts.items[1].status, RECEIPT_ACCEPTED);

    send_bytes(place, datagram->bytes, datagram->size + 1);
    assert_int_equal(inbox_gather(place->inbox), 0);
    assert_int_equal(inbox_n_items(place->inbox), 1);
    accept_all(place->inbox);
    receipts = receive(place);
    assert_int_equal(receipts.n, 1);
    assert_int_equal(receipts.items[0].status, RECEIPT_REFUSED);
}

static void inbox_many_frames_are_taken_in_bounded_batches(void **state)
{
    Place *place = *state;
    _cleanup_free_ Datagram *datagram = datagram_new();
    size_t n = 0, n_turns = 0;
    int r;

    for (size_t i = 0; i < 700; i++)
        put(datagram, "{\"v\":1,\"text\":\"x\",\"receipt\":\"none\"}");
    for (size_t i = 0; i < 5; i++)
        send_bytes(place, datagram->bytes, datagram->size);
    do {
        r = inbox_gather(place->inbox);
        assert_true(r >= 0);
        assert_true(inbox_n_items(place->inbox) < INBOX_BATCH_RECORDS + 700);
        n += inbox_n_items(place->inbox);
        n_turns++;
        accept_all(place->inbox);
    } while (r > 0);
    assert_int_equal(n, 5 * 700);
    assert_true(n_turns > 1);
    assert_int_equal(receive(place).n, 0); /* none were wanted */
}

static void inbox_unbound_sender_is_served_unheard(void **state)
{
    Place *place = *state;
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    _cleanup_close_ int sender = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    _cleanup_free_ Datagram *datagram = datagram_new();

    assert_true(sender >= 0);
    memcpy(address.sun_path, place->path, strlen(place->path) + 1);
    put(datagram, "{\"v\":1,\"id\":\"a\",\"text\":\"x\",\"receipt\":\"delivered\"}");
    assert_int_equal(sendto(sender, datagram->bytes, datagram->size, 0,
                            (const struct sockaddr *)&address, sizeof(address)),
                     (ssize_t)datagram->size);
    assert_int_equal(inbox_gather(place->inbox), 0);
    assert_int_equal(inbox_n_items(place->inbox), 1);
    accept_all(place->inbox);
    inbox_tell(place->inbox, "a", RECEIPT_DELIVERED, NULL);
}

static void inbox_delivered_is_told_once_to_who_waits(void **state)
{
    Place *place = *state;
    Receipts receipts;

    SEND(place, "{\"v\":1,\"id\":\"a\",\"text\":\"x\",\"receipt\":\"delivered\"}",
         "{\"v\":1,\"id\":\"b\",\"text\":\"x\"}");
    accept_all(place->inbox);
    assert_int_equal(receive(place).n, 2);
    assert_false(inbox_tell(place->inbox, "b", RECEIPT_DELIVERED, NULL));
    assert_int_equal(receive(place).n, 0);
    assert_true(inbox_tell(place->inbox, "a", RECEIPT_DELIVERED, NULL));
    receipts = receive(place);
    assert_int_equal(receipts.n, 1);
    assert_int_equal(receipts.items[0].status, RECEIPT_DELIVERED);
    assert_false(inbox_tell(place->inbox, "a", RECEIPT_DELIVERED, NULL));
    assert_int_equal(receive(place).n, 0);
}

/* Once for each record, however many come in one datagram, and from its reading on. */
static void inbox_time_to_the_receipt_is_counted(void **state)
{
    static const MetricFamily family = { "t_seconds", "Time.", .type = METRIC_HISTOGRAM,
                                         .seconds = true, .buckets = { 15000 } };
    _cleanup_(metrics_freep) Metrics *metrics = NULL;
    _cleanup_free_ char *text = NULL;
    Place *place = *state;
    size_t size;

    assert_int_equal(metrics_new(&family, 1, 1, &metrics), 0);
    inbox_count_in(place->inbox, metrics_at(metrics, 0, NULL));
    SEND(place, "{\"v\":1,\"id\":\"a\",\"text\":\"x\"}", "{\"v\":1,\"id\":\"b\",\"text\":\"x\"}");
    usleep(20000);
    accept_all(place->inbox);
    assert_int_equal(receive(place).n, 2);
    assert_int_equal(metrics_render(metrics, METRICS_TEXT, &text, &size), 0);
    assert_non_null(strstr(text, "t_seconds_bucket{le=\"0.015\"} 0\n"));
    assert_non_null(strstr(text, "t_seconds_count 2\n"));
}

static size_t count_open_fds(void)
{
    size_t n = 0;

    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void inbox_passed_descriptors_are_closed(void **state)
{
    Place *place = *state;
    _cleanup_free_ Datagram *datagram = datagram_new();
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(20 * sizeof(int))];
    } control = {};
    struct iovec iovec;
    struct msghdr message = { .msg_iov = &iovec, .msg_iovlen = 1, .msg_control = &control };

    put(datagram, "{\"v\":1,\"id\":\"a\",\"text\":\"x\"}");
    iovec = (struct iovec){ datagram->bytes, datagram->size };
    for (size_t n = 1; n <= 20; n += 19) { /* some, and more than we have room for */
        size_t before = count_open_fds();

        message.msg_controllen = CMSG_SPACE(n * sizeof(int));
        control.align = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
                                          .cmsg_type = SCM_RIGHTS,
                                          .cmsg_len = CMSG_LEN(n * sizeof(int)) };
        memset(CMSG_DATA(&control.align), 0, n * sizeof(int)); /* standard input, n times */
        assert_true(sendmsg(place->sender, &message, 0) > 0);
        assert_int_equal(inbox_gather(place->inbox), 0);
        assert_int_equal(inbox_n_items(place->inbox), 1);
        assert_int_equal(inbox_uid(place->inbox, inbox_item(place->inbox, 0)), getuid());
        assert_int_equal(count_open_fds(), before);
        accept_all(place->inbox);
    }
}

/* A TCP socket that lingers, with bytes that nobody will take. */
static int lingering_socket(int *ret_peer)
{
    const struct linger linger = { .l_onoff = 1, .l_linger = 30 };
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    _cleanup_close_ int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = sizeof(address);
    static const char bytes[65536];

    assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, size), 0);
    *ret_peer = accept(listener, NULL, NULL);
    while (send(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
        ;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
    return fd;
}

static void inbox_descriptor_that_lingers_holds_up_nothing(void **state)
{
    Place *place = *state;
    _cleanup_free_ Datagram *datagram = datagram_new();
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(20 * sizeof(int))];
    } control = { .align = { .cmsg_level = SOL_SOCKET,
                             .cmsg_type = SCM_RIGHTS,
                             .cmsg_len = CMSG_LEN(20 * sizeof(int)) } };
    struct iovec iovec;
    struct msghdr message = { .msg_iov = &iovec,
                              .msg_iovlen = 1,
                              .msg_control = &control,
                              .msg_controllen = sizeof(control) };
    int fds[20], peers[20];
    usec_t began;

    for (size_t i = 0; i < ELEMENTSOF(fds); i++)
        fds[i] = lingering_socket(&peers[i]);
    memcpy(CMSG_DATA(&control.align), fds, sizeof(fds));
    put(datagram, "{\"v\":1,\"id\":\"a\",\"text\":\"x\"}");
    iovec = (struct iovec){ datagram->bytes, datagram->size };
    assert_true(sendmsg(place->sender, &message, 0) > 0);
    for (size_t i = 0; i < ELEMENTSOF(fds); i++)
        close(fds[i]); /* the relay's is the last */

    began = now_usec(CLOCK_MONOTONIC);
    assert_int_equal(inbox_gather(place->inbox), 0);
    assert_int_equal(inbox_n_items(place->inbox), 1);
    assert_true(now_usec(CLOCK_MONOTONIC) - began < 5 * USEC_PER_SEC);
    accept_all(place->inbox);
    for (size_t i = 0; i < ELEMENTSOF(peers); i++)
        close(peers[i]);
}

static int bound_socket(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    memcpy(address.sun_path, path, strlen(path) + 1);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void inbox_that_fails_in_each_turn_is_logged_once(void **state)
{
    Place *place = *state;
    _cleanup_close_ int socket_fd = fcntl(inbox_fd(place->inbox), F_DUPFD_CLOEXEC, 3);
    _cleanup_close_ int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    _cleanup_close_ int stderr_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    char text[4096] = "";
    int fds[2];
    ssize_t n;

    assert_return_code(pipe2(fds, O_CLOEXEC | O_NONBLOCK), errno);
    assert_return_code(dup2(fds[1], STDERR_FILENO), errno);
    assert_return_code(dup3(null_fd, inbox_fd(place->inbox), O_CLOEXEC), errno);
    for (int i = 0; i < 1000; i++)
        if (inbox_gather(place->inbox) != -ENOTSOCK)
            break;
    dup3(socket_fd, inbox_fd(place->inbox), O_CLOEXEC);
    for (int i = 0; i < 2; i++)
        if (inbox_gather(place->inbox) != 0)
            break;
    dup2(stderr_fd, STDERR_FILENO);
    n = read(fds[0], text, sizeof(text) - 1);
    close(fds[0]);
    close(fds[1]);
    assert_true(n > 0);
    assert_non_null(strstr(text, "relay.sock can't be read"));
    assert_null(strchr(strchr(text, '\n') + 1, '\n')); /* one line; the end of it is no error */

    /* And it goes on once that is over. */
    SEND(place, "{\"v\":1,\"text\":\"x\"}");
    assert_int_equal(inbox_n_items(place->inbox), 1);
    accept_all(place->inbox);
}

static void inbox_path_answers_to_its_sender_alone(void **state)
{
    Place *place = *state;
    struct sockaddr_un relay = { .sun_family = AF_UNIX };
    _cleanup_free_ Datagram *datagram = datagram_new();
    _cleanup_close_ int sender = -1, victim = -1;
    char own[96], others[96], buffer[256];

    snprintf(own, sizeof(own), "%s/own", place->folder);
    snprintf(others, sizeof(others), "%s/others", place->folder);
    memcpy(relay.sun_path, place->path, strlen(place->path) + 1);
    sender = bound_socket(own);
    victim = bound_socket(others);
    put(datagram, "{\"v\":1,\"id\":\"a\",\"text\":\"x\",\"receipt\":\"delivered\"}");

    for (int part = 0; part < 2; part++) {
        assert_true(sendto(sender, datagram->bytes, datagram->size, 0,
                           (const struct sockaddr *)&relay, sizeof(relay)) > 0);
        assert_int_equal(inbox_gather(place->inbox), 0);
        assert_int_equal(inbox_n_items(place->inbox), 1);
        if (part == 1) {
            unlink(own);
            assert_int_equal(symlink(others, own), 0);
        }
        accept_all(place->inbox);
        inbox_tell(place->inbox, "a", RECEIPT_DELIVERED, NULL);
        for (int i = 0; i < 2; i++)
            assert_int_equal(recv(sender, buffer, sizeof(buffer), 0) > 0, part == 0);
        assert_int_equal(recv(victim, buffer, sizeof(buffer), 0), -1);
    }

    /* The same without a link: of another user. */
    if (geteuid() == 0) {
        unlink(own);
        assert_true(sendto(victim, datagram->bytes, datagram->size, 0,
                           (const struct sockaddr *)&relay, sizeof(relay)) > 0);
        assert_int_equal(chown(others, 65534, 65534), 0);
        assert_int_equal(inbox_gather(place->inbox), 0);
        accept_all(place->inbox);
        assert_int_equal(recv(victim, buffer, sizeof(buffer), 0), -1);
    }
    unlink(own);
    unlink(others);
}

static void inbox_live_socket_is_not_taken_over(void **state)
{
    Place *place = *state;
    char reason[RECORD_REASON_MAX] = "";
    Inbox *second = NULL;

    assert_int_equal(inbox_new(&place->settings, -1, &second, reason), -EADDRINUSE);
    assert_null(second);
    assert_true(reason[0] != '\0');
    SEND(place, "{\"v\":1,\"id\":\"a\",\"text\":\"x\"}");
    accept_all(place->inbox);
    assert_int_equal(receive(place).n, 1);
}

/* What a restart is: the inbox goes, and a copy of its socket is kept by somebody else. */
static int end_and_keep(Place *place)
{
    int kept = fcntl(inbox_fd(place->inbox), F_DUPFD_CLOEXEC, 3);

    assert_true(kept >= 0);
    inbox_leave_open(place->inbox);
    place->inbox = inbox_free(place->inbox);
    return kept;
}

static void inbox_goes_on_with_a_socket_that_was_kept(void **state)
{
    Place *place = *state;
    _cleanup_free_ Datagram *datagram = datagram_new();
    char reason[RECORD_REASON_MAX] = "";
    struct stat before, after;
    Receipts receipts;
    int kept;

    assert_int_equal(stat(place->path, &before), 0);
    kept = end_and_keep(place);
    put(datagram, "{\"v\":1,\"id\":\"meanwhile\",\"text\":\"x\"}");
    send_bytes(place, datagram->bytes, datagram->size);

    place->settings.socket.mode = 0620;
    assert_int_equal(inbox_new(&place->settings, kept, &place->inbox, reason), 0);
    assert_true(inbox_went_on(place->inbox));
    assert_int_equal(stat(place->path, &after), 0);
    assert_int_equal(after.st_ino, before.st_ino);
    assert_int_equal(after.st_mode & 0777, 0620);

    assert_int_equal(inbox_gather(place->inbox), 0);
    assert_int_equal(inbox_n_items(place->inbox), 1);
    assert_int_equal(inbox_uid(place->inbox, inbox_item(place->inbox, 0)), getuid());
    accept_all(place->inbox);
    receipts = receive(place);
    assert_int_equal(receipts.n, 1);
    assert_string_equal(receipts.items[0].id, "meanwhile");
}

static void inbox_kept_socket_of_another_path_is_not_used(void **state)
{
    Place *place = *state;
    char reason[RECORD_REASON_MAX] = "", other[96], lock[112];
    int kept = end_and_keep(place);

    snprintf(other, sizeof(other), "%s/other.sock", place->folder);
    place->settings.socket.path = other;
    assert_int_equal(inbox_new(&place->settings, kept, &place->inbox, reason), 0);
    assert_false(inbox_went_on(place->inbox));
    assert_int_equal(fcntl(kept, F_GETFD) < 0 || kept == inbox_fd(place->inbox), 1);
    assert_int_equal(access(other, F_OK), 0);
    place->inbox = inbox_free(place->inbox);
    assert_int_equal(access(other, F_OK), -1);
    snprintf(lock, sizeof(lock), "%s.lock", other);
    unlink(lock);
    unlink(place->path);
}

static void inbox_kept_socket_whose_path_was_removed_is_made_anew(void **state)
{
    Place *place = *state;
    char reason[RECORD_REASON_MAX] = "";
    int kept = end_and_keep(place);

    assert_int_equal(unlink(place->path), 0);
    assert_int_equal(inbox_new(&place->settings, kept, &place->inbox, reason), 0);
    assert_false(inbox_went_on(place->inbox));
    assert_int_equal(access(place->path, F_OK), 0);
}

static void inbox_kept_socket_that_another_daemon_serves_is_refused(void **state)
{
    Place *place = *state;
    int kept = fcntl(inbox_fd(place->inbox), F_DUPFD_CLOEXEC, 3);
    char reason[RECORD_REASON_MAX] = "";
    Inbox *second = NULL;

    assert_int_equal(inbox_new(&place->settings, kept, &second, reason), -EADDRINUSE);
    assert_null(second);
    assert_int_equal(access(place->path, F_OK), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(inbox_record_comes_with_sender_and_destinations),
        TEST(inbox_absent_id_and_destination_are_made),
        TEST(inbox_without_default_destination_refuses),
        TEST(inbox_bad_record_is_refused_and_its_neighbours_are_not),
        TEST(inbox_broken_datagram_is_refused_whole),
        TEST(inbox_broken_framing_is_refused_with_a_reason),
        TEST(inbox_datagram_past_the_limit_is_refused),
        TEST(inbox_many_frames_are_taken_in_bounded_batches),
        TEST(inbox_unbound_sender_is_served_unheard),
        TEST(inbox_delivered_is_told_once_to_who_waits),
        TEST(inbox_time_to_the_receipt_is_counted),
        TEST(inbox_passed_descriptors_are_closed),
        TEST(inbox_descriptor_that_lingers_holds_up_nothing),
        TEST(inbox_that_fails_in_each_turn_is_logged_once),
        TEST(inbox_path_answers_to_its_sender_alone),
        TEST(inbox_live_socket_is_not_taken_over),
        TEST(inbox_goes_on_with_a_socket_that_was_kept),
        TEST(inbox_kept_socket_of_another_path_is_not_used),
        TEST(inbox_kept_socket_whose_path_was_removed_is_made_anew),
        TEST(inbox_kept_socket_that_another_daemon_serves_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
