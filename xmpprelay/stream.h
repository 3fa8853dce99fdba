/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * One connection to an XMPP server (the adapter of libstrophe): from the name to the end of the
 * stream, once. It never reconnects; a new connection is a new Stream in a new process.
 *
 * The owner waits for stream_fd() with stream_events() and calls stream_step(), at the latest
 * after a second and at once while a step said STREAM_MORE. Handlers are called from inside a
 * step. There can be one Stream at a time in a process.
 *
 * stream_new() may block on DNS and a step on the TLS handshake, both without a deadline that
 * this module could set: the caller is supervised. All else has deadlines.
 *
 * What comes from the server is kept in bounds: the memory that the library may hold for
 * it, and the bytes that one step reads.
 */

#include "xmpprelay/link.h"

#include <poll.h>

/* From the beginning of the connection to the bound resource. */
#define STREAM_CONNECT_USEC (30 * USEC_PER_SEC)

/* Past either of these the server sends stanzas that no honest one does: bytes on the wire, and
 * memory that the library takes for them. The first is low because the library needs time in
 * the square of a stanza's length. */
#define STREAM_STANZA_MAX ((uint64_t)1 << 20)
#define STREAM_MEMORY_MAX ((size_t)16 << 20)

/* CPU time that one read may take until we are online. */
#define STREAM_BUSY_USEC (2 * USEC_PER_SEC)

#define STREAM_TEXT_MAX 160 /* bytes of a server's text that are kept for people */

typedef struct Stream Stream;

/* A message that an archive has (XEP-0313), within the message that brings it. */
typedef struct StreamArchived {
    const char *query_id; /* any may be NULL */
    const char *from, *id, *origin_id;
} StreamArchived;

typedef struct StreamMessage {
    const char *from, *type, *id; /* any may be NULL */
    const char *origin_id;        /* XEP-0359, or NULL */
    bool has_subject, has_body;
    StreamArchived archived;          /* it is an archive's, or all NULL */
    const char *condition;            /* type error: the defined condition, or NULL */
    const char *error_type;           /* … "wait", "cancel", …, or NULL */
    char error_text[STREAM_TEXT_MAX]; /* … clean, or "" */
} StreamMessage;

typedef struct StreamPresence {
    const char *from, *type;    /* may be NULL */
    unsigned status;            /* XEP-0045: of RoomStatus */
    bool voiceless;             /* XEP-0045: role "visitor" */
    bool destroyed;             /* XEP-0045: <destroy/> */
    const char *condition;      /* type error */
    char text[STREAM_TEXT_MAX]; /* of the error, or the <reason/>; clean, or "" */
} StreamPresence;

/* An answer; requests are answered here. */
typedef struct StreamIq {
    const char *from, *id; /* may be NULL */
    const char *condition; /* NULL: a result */
    bool fin_complete;     /* XEP-0313: a page is over, and the archive with it */
    const char *fin_last;  /* XEP-0059: the last message of a page, or NULL */
} StreamIq;

typedef struct StreamHandlers {
    void (*on_online)(void *userdata);
    void (*on_message)(void *userdata, const StreamMessage *message);
    void (*on_presence)(void *userdata, const StreamPresence *presence);
    void (*on_iq)(void *userdata, const StreamIq *iq);
} StreamHandlers;

/* What a step says. */
typedef enum StreamStep {
    STREAM_IDLE,
    STREAM_MORE, /* more is there already: step again without waiting */
    STREAM_OVER, /* see stream_end(); no further step */
} StreamStep;

/* Begins to connect; the password is copied, and wiped once it isn't needed. -EHOSTUNREACH with
 * *ret_cause and a `reason` when it can't even begin, or -ENOMEM. `account` and `handlers` must
 * outlive the stream. */
int stream_new(const Account *account, const char *password, const StreamHandlers *handlers,
               void *userdata, Stream **ret, EndCause *ret_cause,
               char reason[static LINK_REASON_MAX]);
Stream *stream_free(Stream *stream);
DEFINE_CLEANUP(Stream *, stream_free)

int stream_fd(const Stream *stream); /* -1: none at the moment */
short stream_events(Stream *stream);
StreamStep stream_step(Stream *stream);

/* Why it is over; valid after STREAM_OVER. */
void stream_end(const Stream *stream, EndCause *ret_cause, const char **ret_reason);

bool stream_is_online(const Stream *stream);
const char *stream_domain(const Stream *stream);  /* of our JID */
usec_t stream_heard_usec(const Stream *stream);   /* CLOCK_MONOTONIC: the last stanza */
size_t stream_queue_length(const Stream *stream); /* stanzas that wait to be written */

/* Sends what stanza.h made and frees it; nothing is sent when the stream is not online. A NULL
 * text, for want of memory, ends the stream. */
void stream_send_consume(Stream *stream, char *text, size_t size);

/* Says goodbye; STREAM_OVER follows within two seconds. */
void stream_close(Stream *stream);

/* How many bytes were taken out of a socket, by what the kernel says it has received and what of
 * that is unread; `before` is what was known before. The two are asked one after the other: what
 * arrives between them is unread and not yet received, so the difference may fall behind what is
 * known already, or below nothing. Then there is more to read, and poll() sees it. */
uint64_t stream_bytes_taken(uint64_t before, uint64_t received, uint64_t unread);
