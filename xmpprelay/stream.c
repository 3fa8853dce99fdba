/* SPDX-License-Identifier: MIT */

/*
 * libstrophe, and all that is peculiar to it.
 *
 * Memory: the library and expat below it allocate through memory.h. Past STREAM_MEMORY_MAX the
 * step ends the stream; past four times that, within one read, the process ends. What is freed
 * before we are online is wiped, since the password passes through there. Until then nothing that
 * is honest takes long to read, but entities can be declared, whose text grows without end; so a
 * read that does ends the process, too.
 *
 * Reading: the library takes 4096 bytes in each xmpp_run_once(), while a TLS record has up to
 * 16384, and what OpenSSL has decrypted already is seen by no poll(). It reads no further record
 * ahead, though. So a step goes on until READS_PER_RECORD calls in a row took nothing from the
 * socket: then no decrypted byte is left. Whether a call took something is told by the count of
 * bytes received (TCP_INFO) less those unread (FIONREAD).
 *
 * Reasons: the library keeps to itself why a connection failed, and says it in its debug log only.
 * watch_log() listens to that. None of that log leaves this file: it holds the password.
 *
 * Garbage: from what is no XML the library does not recover, and goes on as if nothing was. Once we
 * are online its log is not listened to all the time, because formatting it for nobody costs
 * as much as the work itself; only when there should be nothing to say, for then the error that
 * it sends to the server comes into view, and while what was read did not end with a stanza.
 *
 * Its callbacks for certificates and sockets know no userdata; hence the one static pointer.
 */

#include "xmpprelay/stream.h"

#include <assert.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <strophe.h>

#include "xmpprelay/memory.h"
#include "xmpprelay/reason.h"
#include "xmpprelay/resolve.h"
#include "xmpprelay/room.h"
#include "xmpprelay/stanza.h"

#define READS_PER_RECORD 4
#define READS_PER_STEP 64
#define STEP_USEC (100 * USEC_PER_MSEC) /* a step that takes longer lets others have their turn */
#define ANSWERS_MAX 256 /* requests are answered while no more than this waits to be written */

#define NS_FORWARD "urn:xmpp:forward:0"
#define NS_MAM "urn:xmpp:mam:2"
#define NS_MUC_USER "http://jabber.org/protocol/muc#user"
#define NS_ORIGIN_ID "urn:xmpp:sid:0"
#define NS_PING "urn:xmpp:ping"
#define NS_RSM "http://jabber.org/protocol/rsm"

struct Stream {
    const Account *account;
    const StreamHandlers *handlers;
    void *userdata;

    Memory memory;
    xmpp_mem_t memory_hooks;
    xmpp_log_t log;
    xmpp_ctx_t *ctx;
    xmpp_conn_t *conn;

    char *jid; /* full */
    char *password;
    char *domain;
    ResolvedAddress addresses[RESOLVE_ADDRESSES_MAX];
    size_t n_addresses, next_address;

    int fd;
    usec_t deadline_usec; /* to be online, CLOCK_MONOTONIC */
    usec_t heard_usec;
    uint64_t taken;       /* bytes out of the socket… */
    uint64_t unread;      /* … still in it, when last asked */
    uint64_t stanza_from; /* how many were taken when the last stanza was over */
    bool stanza_ended;    /* in the last run of the library */
    bool ragged;          /* what was read last ended no stanza */
    bool closing, disconnected, over;
    ReasonNotes notes; /* established and online are there */
    EndCause cause;
    char reason[LINK_REASON_MAX];
};

static Stream *the_stream;

/* The end. */

static void over(Stream *stream, EndCause cause, const char *format, ...) PRINTF_LIKE(3, 4);

static void over(Stream *stream, EndCause cause, const char *format, ...)
{
    va_list args;

    if (stream->over)
        return;
    stream->over = true;
    stream->cause = cause;
    va_start(args, format);
    vsnprintf(stream->reason, sizeof(stream->reason), format, args);
    va_end(args);
}

void stream_end(const Stream *stream, EndCause *ret_cause, const char **ret_reason)
{
    assert(stream->over);
    *ret_cause = stream->cause;
    *ret_reason = stream->reason;
}

/* Connecting. */

static void watch_log(void *userdata, xmpp_log_level_t level, const char *area, const char *message)
{
    Stream *stream = userdata;

    reason_note_log(&stream->notes, area, message);
}

static int on_socket(xmpp_conn_t *conn, void *socket)
{
    const struct linger drop = { .l_onoff = 1 };
    const int yes = 1;
    int fd = *(int *)socket;

    the_stream->fd = fd;
    /* Small stanzas each way: without it they wait for delayed acknowledgements. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    /* What is unsent when the socket is closed is dropped. Else the kernel might deliver it long
     * after the network has come back, when it has been found missing and was said again. */
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &drop, sizeof(drop));
    return fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ? -1 : 0;
}

static int on_certificate(const xmpp_tlscert_t *certificate, const char *const error)
{
    const char *names[4];
    size_t n = 0;

    while (n < ELEMENTSOF(names) && (names[n] = xmpp_tlscert_get_dnsname(certificate, n)))
        n++;
    if (n == 0 && (names[0] = xmpp_tlscert_get_string(certificate, XMPP_CERT_SUBJECT)))
        n++;
    reason_note_certificate(&the_stream->notes, error, names, n);
    return 0;
}

static int on_stanza(xmpp_conn_t *conn, xmpp_stanza_t *stanza, void *userdata);

static void online(Stream *stream)
{
    /* libstrophe has reached its goal; ours includes that TLS is there where it must be. */
    if (stream->account->tls != TLS_INSECURE_NONE && !xmpp_conn_is_secured(stream->conn)) {
        over(stream, END_TLS, "the stream to %s is not encrypted", stream->domain);
        return;
    }
    stream->notes.online = true;
    stream->heard_usec = now_usec(CLOCK_MONOTONIC);
    xmpp_conn_set_pass(stream->conn, NULL);
    stream->memory.wiping = false;
    stream->memory.fatal_usec = 0;
    explicit_bzero(stream->password, strlen(stream->password));
    xmpp_handler_add(stream->conn, on_stanza, NULL, NULL, NULL, stream);
    stream->handlers->on_online(stream->userdata);
}

/* Comes more than once for one end, and from the middle of a read. */
static void on_connection(xmpp_conn_t *conn, xmpp_conn_event_t event, int error,
                          xmpp_stream_error_t *stream_error, void *userdata)
{
    Stream *stream = userdata;
    xmpp_stanza_t *child;

    if (event == XMPP_CONN_CONNECT) {
        online(stream);
        return;
    }
    stream->disconnected = true;
    stream->fd = -1;
    if (!stream_error)
        return;
    /* `error` is an errno or one of OpenSSL's, there is no telling which. */
    reason_clean(stream_error->text, stream->notes.text);
    for (child = xmpp_stanza_get_children(stream_error->stanza); child;
         child = xmpp_stanza_get_next(child)) {
        const char *name = xmpp_stanza_get_name(child);

        if (name && !streq(name, "text") && !*stream->notes.condition) {
            char clean[REASON_TEXT_MAX];

            reason_clean(name, clean);
            snprintf(stream->notes.condition, sizeof(stream->notes.condition), "%.47s", clean);
        }
    }
}

static int connect_next(Stream *stream)
{
    const Account *account = stream->account;
    const ResolvedAddress *address = &stream->addresses[stream->next_address++];
    long flags = XMPP_CONN_FLAG_DISABLE_SM;

    if (stream->conn)
        xmpp_conn_release(stream->conn);
    stream->conn = xmpp_conn_new(stream->ctx);
    if (!stream->conn)
        return -ENOMEM;
    stream->fd = -1;
    stream->disconnected = false;
    stream->taken = stream->stanza_from = stream->unread = 0;
    stream->ragged = false;
    stream->notes = (ReasonNotes){};
    snprintf(stream->notes.address, sizeof(stream->notes.address),
             strchr(address->host, ':') ? "[%.46s]:%u" : "%.46s:%u", address->host, address->port);

    if (account->tls == TLS_INSECURE_NONE)
        flags |= XMPP_CONN_FLAG_DISABLE_TLS;
    else
        flags |= XMPP_CONN_FLAG_MANDATORY_TLS;
    if (account->tls == TLS_DIRECT)
        flags |= XMPP_CONN_FLAG_LEGACY_SSL;
    if (xmpp_conn_set_flags(stream->conn, flags) != XMPP_EOK)
        return -EINVAL;
    xmpp_conn_set_jid(stream->conn, stream->jid);
    xmpp_conn_set_pass(stream->conn, stream->password);
    if (*account->ca_file)
        xmpp_conn_set_cafile(stream->conn, account->ca_file);
    xmpp_conn_set_certfail_handler(stream->conn, on_certificate);
    xmpp_conn_set_sockopt_callback(stream->conn, on_socket);

    if (xmpp_connect_client(stream->conn, address->host, address->port, on_connection, stream) !=
        XMPP_EOK) {
        stream->notes.error = errno;
        stream->disconnected = true;
        stream->fd = -1;
    }
    return 0;
}

static int make_jid(Stream *stream)
{
    uint32_t random;

    if (getrandom(&random, sizeof(random), 0) != sizeof(random))
        return -EIO;
    if (asprintf(&stream->jid, "%s/xmpprelay-%08x", stream->account->jid, random) < 0) {
        stream->jid = NULL;
        return -ENOMEM;
    }
    return 0;
}

/* With a ca_file, that alone is trusted: libstrophe would add it to the system's. */
static int trust_only(const char *ca_file)
{
    if (setenv("SSL_CERT_FILE", ca_file, 1) < 0 || setenv("SSL_CERT_DIR", "/nonexistent", 1) < 0)
        return -errno;
    return 0;
}

static int prepare(Stream *stream, EndCause *ret_cause, char reason[static LINK_REASON_MAX])
{
    const Account *account = stream->account;
    const char *at = strchr(account->jid, '@');
    int r;

    if (!at || at == account->jid || at[1] == '\0' || strchr(account->jid, '/')) {
        snprintf(reason, LINK_REASON_MAX,
                 "\"%.200s\" is no JID of the form user@domain; see "
                 "accounts.jid",
                 account->jid);
        *ret_cause = END_CONFIG;
        return -EHOSTUNREACH;
    }
    if (*account->ca_file) {
        if (access(account->ca_file, R_OK) < 0) {
            snprintf(reason, LINK_REASON_MAX, "can't read %.200s: %s; check accounts.ca_file",
                     account->ca_file, strerror(errno));
            *ret_cause = END_CONFIG;
            return -EHOSTUNREACH;
        }
        r = trust_only(account->ca_file);
        if (r < 0)
            return r;
    }
    stream->domain = strdup(at + 1);
    if (!stream->domain)
        return -ENOMEM;
    r = make_jid(stream);
    if (r < 0)
        return r;
    r = resolve_account(account, stream->domain, stream->addresses, ret_cause, reason);
    if (r < 0)
        return r;
    stream->n_addresses = (size_t)r;
    return 0;
}

int stream_new(const Account *account, const char *password, const StreamHandlers *handlers,
               void *userdata, Stream **ret, EndCause *ret_cause,
               char reason[static LINK_REASON_MAX])
{
    _cleanup_(stream_freep) Stream *stream = calloc(1, sizeof(*stream));
    int r;

    assert(!the_stream);
    if (!stream)
        return -ENOMEM;
    *stream = (Stream){
        .account = account,
        .handlers = handlers,
        .userdata = userdata,
        .memory = { .name = account->name,
                    .fatal_bytes = 4 * STREAM_MEMORY_MAX,
                    .wiping = true,
                    .fatal_usec = STREAM_BUSY_USEC },
        .memory_hooks = { memory_allocate, memory_free, memory_reallocate, &stream->memory },
        .log = { watch_log, stream },
        .fd = -1,
        .password = strdup(password),
        .deadline_usec = now_usec(CLOCK_MONOTONIC) + STREAM_CONNECT_USEC,
    };
    if (!stream->password)
        return -ENOMEM;
    r = prepare(stream, ret_cause, reason);
    if (r < 0)
        return r;

    the_stream = stream;
    xmpp_initialize();
    stream->ctx = xmpp_ctx_new(&stream->memory_hooks, &stream->log);
    if (!stream->ctx)
        return -ENOMEM;
    r = connect_next(stream);
    if (r < 0)
        return r;
    *ret = steal_ptr(stream);
    return 0;
}

Stream *stream_free(Stream *stream)
{
    if (!stream)
        return NULL;
    stream->over = true;
    if (stream->conn)
        xmpp_conn_release(stream->conn);
    if (stream->ctx) {
        xmpp_ctx_free(stream->ctx);
        xmpp_shutdown();
    }
    if (stream->password) {
        explicit_bzero(stream->password, strlen(stream->password));
        free(stream->password);
    }
    free(stream->jid);
    free(stream->domain);
    if (the_stream == stream)
        the_stream = NULL;
    free(stream);
    return NULL;
}

void stream_send_consume(Stream *stream, char *text, size_t size)
{
    if (!text)
        over(stream, END_NETWORK, "out of memory");
    else if (stream_is_online(stream))
        xmpp_send_raw(stream->conn, text, size);
    free(text);
}

/* Receiving. Strings in what the handlers get belong to the stanza. */

static void get_text(Stream *stream, xmpp_stanza_t *element, char ret[static STREAM_TEXT_MAX])
{
    char *text = element ? xmpp_stanza_get_text(element) : NULL;

    reason_clean(text, ret);
    xmpp_free(stream->ctx, text);
}

/* RFC 6120, 8.3.2. NULL where there is no condition. */
static const char *get_error(Stream *stream, xmpp_stanza_t *stanza, const char **ret_type,
                             char ret_text[static STREAM_TEXT_MAX])
{
    xmpp_stanza_t *error = xmpp_stanza_get_child_by_name(stanza, "error");
    const char *condition = NULL;

    if (!error)
        return NULL;
    *ret_type = xmpp_stanza_get_type(error);
    for (xmpp_stanza_t *child = xmpp_stanza_get_children(error); child;
         child = xmpp_stanza_get_next(child)) {
        const char *name = xmpp_stanza_get_name(child), *ns = xmpp_stanza_get_ns(child);

        if (!name || !ns || !streq(ns, XMPP_NS_STANZAS_IETF))
            continue;
        if (streq(name, "text"))
            get_text(stream, child, ret_text);
        else if (!condition)
            condition = name;
    }
    return condition;
}

static bool is_type(const char *type, const char *wanted)
{
    return type && streq(type, wanted);
}

static const char *get_origin_id(xmpp_stanza_t *message)
{
    xmpp_stanza_t *origin =
        xmpp_stanza_get_child_by_name_and_ns(message, "origin-id", NS_ORIGIN_ID);

    return origin ? xmpp_stanza_get_id(origin) : NULL;
}

/* XEP-0313, 3.2. */
static StreamArchived get_archived(xmpp_stanza_t *stanza)
{
    xmpp_stanza_t *result, *forwarded, *message;

    result = xmpp_stanza_get_child_by_name_and_ns(stanza, "result", NS_MAM);
    forwarded =
        result ? xmpp_stanza_get_child_by_name_and_ns(result, "forwarded", NS_FORWARD) : NULL;
    message = forwarded ? xmpp_stanza_get_child_by_name(forwarded, "message") : NULL;
    if (!message)
        return (StreamArchived){};
    return (StreamArchived){
        .query_id = xmpp_stanza_get_attribute(result, "queryid"),
        .from = xmpp_stanza_get_from(message),
        .id = xmpp_stanza_get_id(message),
        .origin_id = get_origin_id(message),
    };
}

static void receive_message(Stream *stream, xmpp_stanza_t *stanza)
{
    StreamMessage message = {
        .from = xmpp_stanza_get_from(stanza),
        .type = xmpp_stanza_get_type(stanza),
        .id = xmpp_stanza_get_id(stanza),
        .origin_id = get_origin_id(stanza),
        .has_subject = xmpp_stanza_get_child_by_name(stanza, "subject"),
        .has_body = xmpp_stanza_get_child_by_name(stanza, "body"),
        .archived = get_archived(stanza),
    };

    if (is_type(message.type, "error"))
        message.condition = get_error(stream, stanza, &message.error_type, message.error_text);
    stream->handlers->on_message(stream->userdata, &message);
}

static void receive_presence(Stream *stream, xmpp_stanza_t *stanza)
{
    xmpp_stanza_t *x = xmpp_stanza_get_child_by_name_and_ns(stanza, "x", NS_MUC_USER);
    const char *error_type = NULL;
    StreamPresence presence = {
        .from = xmpp_stanza_get_from(stanza),
        .type = xmpp_stanza_get_type(stanza),
    };

    if (is_type(presence.type, "error"))
        presence.condition = get_error(stream, stanza, &error_type, presence.text);
    for (xmpp_stanza_t *child = x ? xmpp_stanza_get_children(x) : NULL; child;
         child = xmpp_stanza_get_next(child)) {
        const char *name = xmpp_stanza_get_name(child);
        const char *code = name ? xmpp_stanza_get_attribute(child, "code") : NULL;

        if (is_type(name, "status") && code)
            presence.status |= room_status_from_code(code);
        else if (is_type(name, "destroy"))
            presence.destroyed = true;
        else if (is_type(name, "item"))
            presence.voiceless = is_type(xmpp_stanza_get_attribute(child, "role"), "visitor");
        if (is_type(name, "destroy") || is_type(name, "item"))
            if (!*presence.text)
                get_text(stream, xmpp_stanza_get_child_by_name(child, "reason"), presence.text);
    }
    stream->handlers->on_presence(stream->userdata, &presence);
}

static bool is_true(const char *value)
{
    return is_type(value, "true") || is_type(value, "1");
}

/* XEP-0313, 4.3. What *ret_last points to is for the caller to free with xmpp_free(). */
static void get_fin(xmpp_stanza_t *stanza, StreamIq *iq, char **ret_last)
{
    xmpp_stanza_t *fin = xmpp_stanza_get_child_by_name_and_ns(stanza, "fin", NS_MAM);
    xmpp_stanza_t *set = fin ? xmpp_stanza_get_child_by_name_and_ns(fin, "set", NS_RSM) : NULL;
    xmpp_stanza_t *last = set ? xmpp_stanza_get_child_by_name(set, "last") : NULL;

    iq->fin_complete = fin && is_true(xmpp_stanza_get_attribute(fin, "complete"));
    *ret_last = last ? xmpp_stanza_get_text(last) : NULL;
    iq->fin_last = *ret_last;
}

static void receive_iq(Stream *stream, xmpp_stanza_t *stanza)
{
    const char *type = xmpp_stanza_get_type(stanza), *error_type = NULL;
    char text[STREAM_TEXT_MAX], *last = NULL;
    StreamIq iq = { .from = xmpp_stanza_get_from(stanza), .id = xmpp_stanza_get_id(stanza) };

    if (is_type(type, "get") || is_type(type, "set")) {
        bool ping =
            is_type(type, "get") && xmpp_stanza_get_child_by_name_and_ns(stanza, "ping", NS_PING);
        size_t size = 0;
        char *answer;

        /* Whoever floods us with requests goes unanswered in the end. */
        if (!iq.id || stream_queue_length(stream) > ANSWERS_MAX)
            return;
        answer = stanza_answer(iq.from, iq.id, ping, &size);
        stream_send_consume(stream, answer, size);
        return;
    }
    if (is_type(type, "error")) {
        iq.condition = get_error(stream, stanza, &error_type, text);
        if (!iq.condition)
            iq.condition = "undefined-condition";
    } else if (is_type(type, "result"))
        get_fin(stanza, &iq, &last);
    else
        return;
    stream->handlers->on_iq(stream->userdata, &iq);
    xmpp_free(stream->ctx, last);
}

static int on_stanza(xmpp_conn_t *conn, xmpp_stanza_t *stanza, void *userdata)
{
    Stream *stream = userdata;
    const char *name = xmpp_stanza_get_name(stanza);

    /* The rest of a read is still delivered when the stream has ended in the middle of it. */
    if (!name || stream->over || stream->disconnected)
        return 1;
    stream->heard_usec = now_usec(CLOCK_MONOTONIC);
    stream->stanza_from = stream->taken;
    stream->stanza_ended = true;
    if (streq(name, "message"))
        receive_message(stream, stanza);
    else if (streq(name, "presence"))
        receive_presence(stream, stanza);
    else if (streq(name, "iq"))
        receive_iq(stream, stanza);
    return 1;
}

/* Stepping. */

uint64_t stream_bytes_taken(uint64_t before, uint64_t received, uint64_t unread)
{
    return received < before + unread ? before : received - unread;
}

static void look_for_unread(Stream *stream)
{
    int unread = 0;

    if (stream->fd >= 0 && ioctl(stream->fd, FIONREAD, &unread) == 0)
        stream->unread = (uint64_t)unread;
}

static uint64_t bytes_taken(Stream *stream)
{
    struct tcp_info info = {};
    socklen_t size = sizeof(info);

    if (stream->fd < 0 || getsockopt(stream->fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
        return stream->taken;
    look_for_unread(stream);
    return stream_bytes_taken(stream->taken, info.tcpi_bytes_received, stream->unread);
}

static void disconnected(Stream *stream)
{
    EndCause cause;
    char reason[LINK_REASON_MAX];

    if (!stream->notes.established && !stream->closing &&
        stream->next_address < stream->n_addresses) {
        if (connect_next(stream) < 0)
            over(stream, END_NETWORK, "out of memory while connecting to %s", stream->domain);
        return;
    }
    if (stream->closing) {
        over(stream, END_QUIT, "closed as asked");
        return;
    }
    reason_of_end(&stream->notes, stream->account, stream->domain, &cause, reason);
    over(stream, cause, "%s", reason);
}

static void check_bounds(Stream *stream)
{
    if (stream->memory.used_bytes > STREAM_MEMORY_MAX ||
        stream->taken - stream->stanza_from > STREAM_STANZA_MAX)
        over(stream, END_NETWORK,
             "the server of %s sent a stanza larger than any should be (1 MB, or 16 MB in memory)",
             stream->domain);
    if (stream->notes.parse_error)
        over(stream, END_NETWORK, "the server of %s sent what is no XML%s", stream->domain,
             stream->notes.online ? ", in the midst of the stream"
                                  : "; check accounts.host, accounts.port and accounts.tls");
}

/* One run of the library. */
static void run_once(Stream *stream)
{
    bool quiet = stream->unread == 0 && stream_queue_length(stream) == 0;

    if (stream->notes.online)
        stream->log.handler = quiet || stream->ragged ? watch_log : NULL;
    stream->stanza_ended = false;
    memory_watch(&stream->memory);
    xmpp_run_once(stream->ctx, 0);
}

/* Reads and writes until there is nothing left, or enough is done for one turn. */
static bool pump(Stream *stream)
{
    usec_t began = now_usec(CLOCK_MONOTONIC);
    int idle = 0;

    look_for_unread(stream);
    for (int reads = 0; idle < READS_PER_RECORD && reads < READS_PER_STEP; reads++) {
        uint64_t taken;

        run_once(stream);
        check_bounds(stream);
        if (stream->over || stream->disconnected)
            return false;
        taken = bytes_taken(stream);
        if (taken != stream->taken)
            stream->ragged = !stream->stanza_ended;
        idle = taken == stream->taken ? idle + 1 : 0;
        stream->taken = taken;
        if (now_usec(CLOCK_MONOTONIC) - began > STEP_USEC)
            return true;
    }
    return idle < READS_PER_RECORD;
}

StreamStep stream_step(Stream *stream)
{
    bool more = !stream->over && !stream->disconnected && pump(stream);

    if (!stream->over && stream->disconnected)
        disconnected(stream);
    if (!stream->over && !stream->notes.online &&
        now_usec(CLOCK_MONOTONIC) >= stream->deadline_usec)
        over(stream, END_NETWORK, "the server of %s at %s did not get us online in %d s",
             stream->domain, stream->notes.address, (int)(STREAM_CONNECT_USEC / USEC_PER_SEC));
    if (stream->over)
        return STREAM_OVER;
    return more ? STREAM_MORE : STREAM_IDLE;
}

int stream_fd(const Stream *stream)
{
    return stream->fd;
}

/* While connecting, POLLOUT means connected. Later the library always writes until the socket
 * takes no more, and does not say whether all is written: if the socket is full now, something
 * may be left. */
short stream_events(Stream *stream)
{
    struct pollfd poller = { .fd = stream->fd, .events = POLLOUT };

    if (!stream->notes.established)
        return POLLOUT;
    if (poll(&poller, 1, 0) == 0)
        return POLLIN | POLLOUT;
    return POLLIN;
}

bool stream_is_online(const Stream *stream)
{
    return stream->notes.online && !stream->over && !stream->disconnected;
}

const char *stream_domain(const Stream *stream)
{
    return stream->domain;
}

usec_t stream_heard_usec(const Stream *stream)
{
    return stream->heard_usec;
}

size_t stream_queue_length(const Stream *stream)
{
    int length = xmpp_conn_send_queue_len(stream->conn);

    return length > 0 ? (size_t)length : 0;
}

void stream_close(Stream *stream)
{
    if (stream->over || stream->closing)
        return;
    stream->closing = true;
    if (stream->notes.established && !stream->disconnected)
        xmpp_disconnect(stream->conn);
    else
        over(stream, END_QUIT, "closed as asked");
}
