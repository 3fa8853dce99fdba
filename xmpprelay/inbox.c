/* SPDX-License-Identifier: MIT */

/*
 * The datagram socket.
 *
 * Datagrams are read in small vectors into buffers that are kept; a vector is worked off one
 * datagram after another, and what is left of it when the batch is large enough waits for the
 * next turn. Nothing that a sender does costs more than its own datagrams: one that doesn't read
 * its receipts goes without (answer.h), and complaints in the log are limited.
 *
 * The kernel vouches for the sender's uid (SO_PASSCRED). Descriptors that a sender passes are
 * for the kernel to close: we give no room for them. Closing may take as long as the sender likes,
 * a TCP socket's SO_LINGER, unless a signal comes; so an alarm rings while we receive.
 */

#include "xmpprelay/inbox.h"

#include "common/json.h"
#include "common/log.h"
#include "common/socket.h"
#include "xmpprelay/answer.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/time.h>

#define VECTOR 16
#define ALARM_USEC 20000

typedef union Ancillary {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(struct ucred))];
} Ancillary;

typedef struct Waiter {
    char id[RECORD_ID_MAX + 1]; /* "": free */
    Sender sender;
} Waiter;

struct Inbox {
    const Settings *settings;
    char *path;
    int fd;
    int lock_fd;
    bool went_on;
    bool left_open;

    /* what was read and not yet taken apart: vector[next] to vector[received - 1] */
    struct mmsghdr vector[VECTOR];
    struct iovec iovecs[VECTOR];
    Ancillary ancillary[VECTOR];
    struct sockaddr_un addresses[VECTOR];
    uint8_t *buffers; /* VECTOR of RECORD_DATAGRAM_MAX */
    size_t received;
    size_t next;
    usec_t received_usec;

    Sender senders[INBOX_BATCH_DATAGRAMS];
    size_t n_senders;
    size_t batch_bytes;
    InboxItem *items;
    size_t n_items;
    size_t items_size;

    Waiter *waiters;
    size_t n_waiters; /* used ones */
    size_t next_waiter;
    Answer answer;
    LogLimit refusals;
    bool failing; /* to be read */
    Metric *seconds;
};

static void on_alarm(int number)
{
}

static int open_socket(Inbox *inbox, int kept_fd, char reason[static RECORD_REASON_MAX])
{
    const SocketSettings *socket = &inbox->settings->socket;
    const SocketSpec spec = {
        .path = socket->path, .type = SOCK_DGRAM, .mode = socket->mode, .group = socket->group
    };
    int r = -ESTALE;

    if (kept_fd >= 0)
        r = socket_adopt_unix(&spec, kept_fd, &inbox->lock_fd, reason);
    if (r == -ESTALE) /* of another path, then: the configuration has changed */
        return socket_listen_unix(&spec, &inbox->fd, &inbox->lock_fd, reason);
    if (r < 0)
        return r;
    inbox->fd = kept_fd;
    inbox->went_on = true;
    return 0;
}

int inbox_new(const Settings *settings, int kept_fd, Inbox **ret,
              char reason[static RECORD_REASON_MAX])
{
    static_assert(RECORD_REASON_MAX == SOCKET_REASON_MAX, "one buffer serves both");
    _cleanup_(inbox_freep) Inbox *inbox = calloc(1, sizeof(*inbox));
    const struct sigaction alarm_action = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
    _cleanup_close_ int kept = kept_fd;
    const int on = 1;
    int r;

    if (!inbox)
        goto no_memory;
    inbox->fd = inbox->lock_fd = -1;
    inbox->settings = settings;
    inbox->refusals = (LogLimit){ .interval_usec = 10 * USEC_PER_SEC, .burst = 5 };
    inbox->buffers = malloc((size_t)VECTOR * RECORD_DATAGRAM_MAX);
    inbox->waiters = calloc(INBOX_WAITERS_MAX, sizeof(*inbox->waiters));
    inbox->path = strdup(settings->socket.path);
    if (!inbox->buffers || !inbox->waiters || !inbox->path)
        goto no_memory;

    r = open_socket(inbox, kept, reason);
    if (r < 0)
        return r;
    if (inbox->went_on)
        kept = -1;
    if (setsockopt(inbox->fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0 ||
        sigaction(SIGALRM, &alarm_action, NULL) < 0) {
        r = -errno;
        snprintf(reason, RECORD_REASON_MAX, "%s can't be received from: %s", inbox->path,
                 strerror(-r));
        return r;
    }
    answer_init(&inbox->answer, inbox->fd);
    *ret = steal_ptr(inbox);
    return 0;

no_memory:
    snprintf(reason, RECORD_REASON_MAX, "out of memory");
    return -ENOMEM;
}

static void clear_batch(Inbox *inbox)
{
    for (size_t i = 0; i < inbox->n_items; i++) {
        record_free(inbox->items[i].record);
        free(inbox->items[i].json);
        free(inbox->items[i].destinations);
        free(inbox->items[i].reason);
    }
    inbox->n_items = 0;
    inbox->n_senders = 0;
    inbox->batch_bytes = 0;
    if (inbox->items_size > 4 * INBOX_BATCH_RECORDS) { /* grown by something odd */
        free(inbox->items);
        inbox->items = NULL;
        inbox->items_size = 0;
    }
}

Inbox *inbox_free(Inbox *inbox)
{
    if (!inbox)
        return NULL;
    clear_batch(inbox);
    if (inbox->fd >= 0 && !inbox->left_open)
        socket_unlink(inbox->path, inbox->fd);
    close_fd(inbox->fd);
    close_fd(inbox->lock_fd);
    free(inbox->path);
    free(inbox->buffers);
    free(inbox->items);
    free(inbox->waiters);
    free(inbox);
    return NULL;
}

void inbox_set_settings(Inbox *inbox, const Settings *settings)
{
    inbox->settings = settings;
}

void inbox_count_in(Inbox *inbox, Metric *seconds)
{
    inbox->seconds = seconds;
}

int inbox_fd(const Inbox *inbox)
{
    return inbox->fd;
}

bool inbox_went_on(const Inbox *inbox)
{
    return inbox->went_on;
}

void inbox_leave_open(Inbox *inbox)
{
    inbox->left_open = true;
}

size_t inbox_n_items(const Inbox *inbox)
{
    return inbox->n_items;
}

InboxItem *inbox_item(Inbox *inbox, size_t index)
{
    assert(index < inbox->n_items);
    return &inbox->items[index];
}

uid_t inbox_uid(const Inbox *inbox, const InboxItem *item)
{
    return inbox->senders[item->sender].credentials.uid;
}

pid_t inbox_pid(const Inbox *inbox, const InboxItem *item)
{
    return inbox->senders[item->sender].credentials.pid;
}

void inbox_decide(InboxItem *item, ReceiptStatus status, const char *reason)
{
    free(item->reason);
    item->reason = reason ? strdup(reason) : NULL; /* without memory: a receipt without reason */
    item->status = status;
    item->decided = true;
}

static int add_item(Inbox *inbox, InboxItem **ret)
{
    if (inbox->n_items == inbox->items_size) {
        size_t size = MAX(inbox->items_size * 2, (size_t)64);
        InboxItem *more = reallocarray(inbox->items, size, sizeof(*more));

        if (!more)
            return -ENOMEM;
        inbox->items = more;
        inbox->items_size = size;
    }
    *ret = &inbox->items[inbox->n_items++];
    **ret = (InboxItem){ .sender = inbox->n_senders - 1 };
    return 0;
}

static void complain(Inbox *inbox, const char *id, const char *reason)
{
    const Sender *sender = &inbox->senders[inbox->n_senders - 1];
    char uid[16], pid[16];
    unsigned suppressed;

    if (!log_limit_pass(&inbox->refusals, now_usec(CLOCK_MONOTONIC), &suppressed))
        return;
    snprintf(uid, sizeof(uid), "%u", sender->credentials.uid);
    snprintf(pid, sizeof(pid), "%d", sender->credentials.pid);
    if (suppressed > 0)
        log_warning("%u other refusals were not logged", suppressed);
    log_fields(LOG_WARNING,
               (const LogField[]){ { "id", id }, { "sender_uid", uid }, { "sender_pid", pid } }, 3,
               "refused a record: %s", reason);
}

static int make_id(Record *record)
{
    uint8_t random[16];
    char id[2 * sizeof(random) + 1];

    if (getrandom(random, sizeof(random), 0) != sizeof(random))
        return -EIO;
    for (size_t i = 0; i < sizeof(random); i++)
        snprintf(id + 2 * i, 3, "%02x", random[i]);
    return record_set(&record->id, id);
}

/* 0, -ENOMEM, or -EBADMSG with a reason. */
static int resolve(const Settings *settings, InboxItem *item, char reason[static RECORD_REASON_MAX])
{
    const Record *record = item->record;
    char *const *names = record->n_to > 0 ? record->to : settings->default_destination.items;
    size_t n = record->n_to > 0 ? record->n_to : settings->default_destination.n;

    if (n == 0) {
        snprintf(reason, RECORD_REASON_MAX, "no \"to\", and the relay has no default_destination");
        return -EBADMSG;
    }
    for (size_t i = 0; i < n; i++)
        if (settings_find_destination(settings, names[i]) < 0) {
            snprintf(reason, RECORD_REASON_MAX, "unknown destination \"%.64s\"", names[i]);
            return -EBADMSG;
        }
    item->destinations = calloc(n, sizeof(*item->destinations));
    if (!item->destinations)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        item->destinations[i] = names[i];
    item->n_destinations = n;
    return 0;
}

/* Whether a frame that is no record is no JSON object either: that breaks the datagram. */
static bool breaks_datagram(const char *json, size_t size)
{
    _cleanup_json_ Json *parsed = NULL;
    char reason[JSON_REASON_MAX];

    return json_parse(json, size, &parsed, reason) == -EBADMSG ||
           (parsed && json_type(parsed) != JSON_IS_OBJECT);
}

/* Makes an item of one frame. 0, or -EBADMSG with `reason` when the whole datagram is broken. */
static int take_frame(Inbox *inbox, const char *json, size_t size,
                      char reason[static RECORD_REASON_MAX])
{
    InboxItem *item;
    int r;

    r = add_item(inbox, &item);
    if (r < 0)
        return r;
    r = record_parse(json, size, &item->record, item->id, reason);
    if (r == -EBADMSG && breaks_datagram(json, size))
        return -EBADMSG;
    if (r == 0)
        r = resolve(inbox->settings, item, reason);
    if (r == 0 && !item->record->id)
        r = make_id(item->record);
    if (r == 0) {
        snprintf(item->id, sizeof(item->id), "%s", item->record->id);
        item->json = strndup(json, size);
        r = item->json ? 0 : -ENOMEM;
    }
    if (r == -EBADMSG) {
        inbox_decide(item, RECEIPT_REFUSED, reason);
        complain(inbox, item->id, reason);
    } else if (r < 0) {
        inbox_decide(item, RECEIPT_BUSY, "the relay is out of memory");
    }
    return 0;
}

static void take_datagram(Inbox *inbox, const uint8_t *datagram, size_t size, bool truncated)
{
    size_t first = inbox->n_items, offset = 0, frame_size;
    char reason[RECORD_REASON_MAX];
    const char *frame;
    InboxItem *item;
    int r = 0;

    if (truncated || size == 0) {
        snprintf(reason, sizeof(reason), "a datagram must have 1 to %d bytes", RECORD_DATAGRAM_MAX);
        r = -EBADMSG;
    }
    while (r == 0) {
        r = frame_next(datagram, size, &offset, &frame, &frame_size, reason);
        if (r == 0)
            return;
        if (r > 0)
            r = take_frame(inbox, frame, frame_size, reason);
    }

    /* All of it is refused; where nothing can be named, with one nameless receipt. */
    complain(inbox, "", reason);
    if (inbox->n_items == first && add_item(inbox, &item) < 0)
        return;
    for (size_t i = first; i < inbox->n_items; i++)
        inbox_decide(&inbox->items[i], r == -EBADMSG ? RECEIPT_REFUSED : RECEIPT_BUSY,
                     r == -EBADMSG ? reason : "the relay is out of memory");
}

static struct ucred read_credentials(struct msghdr *message)
{
    struct ucred credentials = { .pid = 0, .uid = (uid_t)-1, .gid = (gid_t)-1 };

    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS &&
            c->cmsg_len == CMSG_LEN(sizeof(credentials)))
            memcpy(&credentials, CMSG_DATA(c), sizeof(credentials));
    return credentials;
}

static void take_message(Inbox *inbox, size_t at)
{
    struct msghdr *message = &inbox->vector[at].msg_hdr;
    size_t size = inbox->vector[at].msg_len;
    Sender *sender = &inbox->senders[inbox->n_senders++];

    sender->credentials = read_credentials(message);
    sender->read_usec = inbox->received_usec;
    sender->address = inbox->addresses[at];
    sender->address_size =
        message->msg_namelen > offsetof(struct sockaddr_un, sun_path) ? message->msg_namelen : 0;
    inbox->batch_bytes += size;
    take_datagram(inbox, inbox->buffers + at * RECORD_DATAGRAM_MAX, size,
                  (message->msg_flags & MSG_TRUNC) != 0);
}

static void set_alarm(suseconds_t usec)
{
    const struct itimerval timer = { .it_interval = { .tv_usec = usec },
                                     .it_value = { .tv_usec = usec } };

    (void)setitimer(ITIMER_REAL, &timer, NULL);
}

/* Says once that it fails, and once that it does no more. */
static void note_reading(Inbox *inbox, int error)
{
    if (error != 0 && !inbox->failing)
        log_error("%s can't be read (%s); senders have to wait until it can", inbox->path,
                  strerror(error));
    else if (error == 0 && inbox->failing)
        log_notice("%s can be read again", inbox->path);
    inbox->failing = error != 0;
}

static int receive(Inbox *inbox)
{
    int n, error;

    for (size_t i = 0; i < VECTOR; i++) {
        inbox->iovecs[i] = (struct iovec){
            .iov_base = inbox->buffers + i * RECORD_DATAGRAM_MAX,
            .iov_len = RECORD_DATAGRAM_MAX,
        };
        inbox->vector[i] = (struct mmsghdr){ .msg_hdr = {
                                                 .msg_name = &inbox->addresses[i],
                                                 .msg_namelen = sizeof(inbox->addresses[i]),
                                                 .msg_iov = &inbox->iovecs[i],
                                                 .msg_iovlen = 1,
                                                 .msg_control = &inbox->ancillary[i],
                                                 .msg_controllen = sizeof(inbox->ancillary[i]),
                                             } };
    }
    inbox->next = inbox->received = 0;
    set_alarm(ALARM_USEC);
    do
        n = recvmmsg(inbox->fd, inbox->vector, VECTOR, MSG_DONTWAIT | MSG_CMSG_CLOEXEC, NULL);
    while (n < 0 && errno == EINTR);
    error = n < 0 && errno != EAGAIN ? errno : 0;
    set_alarm(0);
    note_reading(inbox, error);
    inbox->received = n < 0 ? 0 : (size_t)n;
    inbox->received_usec = now_usec(CLOCK_MONOTONIC);
    return error != 0 ? -error : (int)inbox->received;
}

int inbox_gather(Inbox *inbox)
{
    assert(inbox->n_items == 0);
    clear_batch(inbox);
    answer_begin(&inbox->answer);
    for (;;) {
        if (inbox->next == inbox->received) {
            int r = receive(inbox);

            if (r <= 0)
                return r;
        }
        while (inbox->next < inbox->received) {
            if (inbox->n_senders == INBOX_BATCH_DATAGRAMS ||
                inbox->batch_bytes >= INBOX_BATCH_BYTES || inbox->n_items >= INBOX_BATCH_RECORDS)
                return 1;
            take_message(inbox, inbox->next++);
        }
    }
}

/* Appends the frame of a receipt to `datagram`: its size, 0 if it does not fit or can't be. */
static size_t put_receipt(uint8_t *datagram, size_t room, const char *id, ReceiptStatus status,
                          const char *reason)
{
    _cleanup_free_ char *json = NULL;
    Receipt receipt = { .status = status };
    size_t size;

    snprintf(receipt.id, sizeof(receipt.id), "%s", id);
    snprintf(receipt.reason, sizeof(receipt.reason), "%s", reason ?: "");
    if (receipt_write(&receipt, &json, &size) < 0 || size + 4 > room)
        return 0;
    frame_put_length(datagram, size);
    memcpy(datagram + 4, json, size);
    return size + 4;
}

static void remember_waiter(Inbox *inbox, const InboxItem *item)
{
    Waiter *waiter = &inbox->waiters[inbox->next_waiter];
    const Sender *sender = &inbox->senders[item->sender];

    if (sender->address_size == 0)
        return;
    inbox->next_waiter = (inbox->next_waiter + 1) % INBOX_WAITERS_MAX;
    inbox->n_waiters += waiter->id[0] == '\0';
    snprintf(waiter->id, sizeof(waiter->id), "%s", item->id);
    waiter->sender = *sender;
}

/* Each of its records has had to wait for as long. */
static void count_wait(Inbox *inbox, const Sender *sender, size_t n_records)
{
    usec_t waited = now_usec(CLOCK_MONOTONIC) - sender->read_usec;

    while (n_records-- > 0)
        metric_observe(inbox->seconds, waited);
}

/* Answers one datagram, whose items begin at `at`. */
static void answer_datagram(Inbox *inbox, size_t at)
{
    uint8_t datagram[8192]; /* what fits goes out at once: a sender's queue may be short */
    const size_t index = inbox->items[at].sender;
    const Sender *sender = &inbox->senders[index];
    size_t first = at, size = 0;

    for (; at < inbox->n_items && inbox->items[at].sender == index; at++) {
        const InboxItem *item = &inbox->items[at];
        size_t n;

        assert(item->decided);
        if (item->record && item->status == RECEIPT_ACCEPTED &&
            item->record->receipt == RECEIPT_WANTED_DELIVERED)
            remember_waiter(inbox, item);
        if (sender->address_size == 0 ||
            (item->record && item->record->receipt == RECEIPT_WANTED_NONE))
            continue;
        n = put_receipt(datagram + size, sizeof(datagram) - size, item->id, item->status,
                        item->reason);
        if (n == 0 && size > 0) {
            answer_send(&inbox->answer, sender, datagram, size);
            size = 0;
            n = put_receipt(datagram, sizeof(datagram), item->id, item->status, item->reason);
        }
        size += n;
    }
    if (size > 0)
        answer_send(&inbox->answer, sender, datagram, size);
    count_wait(inbox, sender, at - first);
}

void inbox_answer(Inbox *inbox)
{
    size_t first[INBOX_BATCH_DATAGRAMS], n = 0; /* items of datagrams that are to be answered */

    for (size_t i = 0; i < inbox->n_items; i++)
        if (i == 0 || inbox->items[i].sender != inbox->items[i - 1].sender)
            first[n++] = i;
    /* One uid after another: answer.c waits least so. */
    while (n > 0) {
        uid_t uid = inbox_uid(inbox, &inbox->items[first[0]]);
        size_t n_left = 0;

        for (size_t i = 0; i < n; i++)
            if (inbox_uid(inbox, &inbox->items[first[i]]) == uid)
                answer_datagram(inbox, first[i]);
            else
                first[n_left++] = first[i];
        n = n_left;
    }
    clear_batch(inbox);
}

bool inbox_tell(Inbox *inbox, const char *id, ReceiptStatus status, const char *reason)
{
    uint8_t datagram[1024];
    size_t size;

    for (size_t i = 0; inbox->n_waiters > 0 && i < INBOX_WAITERS_MAX; i++) {
        Waiter *waiter = &inbox->waiters[i];

        if (!streq(waiter->id, id))
            continue;
        size = put_receipt(datagram, sizeof(datagram), id, status, reason);
        if (size > 0)
            answer_send(&inbox->answer, &waiter->sender, datagram, size);
        waiter->id[0] = '\0';
        inbox->n_waiters--;
        return true;
    }
    return false;
}
