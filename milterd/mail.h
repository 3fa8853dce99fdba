/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What is known of one mail so far: connection, envelope, headers, body. The milter callbacks
 * fill it, --explain fills it from a file; rules and the decoder read it. No I/O, no library.
 */

#include "common/util.h"
#include "milterd/header.h"

/* The points at which rules are looked at; a mail passes them in this order. */
typedef enum MailStage {
    MAIL_STAGE_CONNECT, /* client is known */
    MAIL_STAGE_HELO,    /* and its HELO */
    MAIL_STAGE_MAIL,    /* and the envelope sender, and who has logged in */
    MAIL_STAGE_DATA,    /* and all recipients */
    MAIL_STAGE_HEADERS, /* and all headers */
    MAIL_STAGE_MESSAGE, /* and the body */
    _MAIL_STAGE_MAX,
} MailStage;

/* Bounds on what is kept; what exceeds them is counted, and the mail goes its way. */
#define MAIL_HEADERS_MAX 1000         /* headers kept */
#define MAIL_HEADERS_MAX_BYTES 262144 /* of their names and values */
#define MAIL_HEADER_KEPT 16384 /* of a value that must not be missing: see mail_add_header() */
#define MAIL_RCPTS_MAX 1000
#define MAIL_RCPTS_MAX_BYTES 262144
#define MAIL_MACROS_MAX 32 /* macros of the MTA; also how many rules may look at */

typedef struct MailHeader {
    char *name;
    char *value; /* as it came, folds included, without the blank after the colon; bare LF at
                  * folds, any bytes but NUL */
    char *text;  /* what mail_header_text() has made of it; NULL: nobody asked yet */
    char charset[HEADER_CHARSET_MAX + 1]; /* of the mail's text, for bytes that are not encoded */
} MailHeader;

typedef struct MailMacro {
    char *name;      /* as in the protocol: "i", "{auth_authen}" */
    char *value;     /* not empty */
    MailStage stage; /* at which it was known; up to HELO it is the connection's */
} MailMacro;

typedef struct Mail {
    /* for the whole connection */
    bool submitted;    /* by sendmail(1), as far as it looks: some SMTP clients may look the same */
    bool local;        /* submitted so on the MTA's host; no SMTP client can look the same */
    char *client;      /* numeric address; NULL: local submission or a UNIX socket */
    char *client_name; /* or NULL */
    char *helo;        /* or NULL */

    /* of the connection or of the message: mail_reset() clears the latter */
    MailMacro *macros;
    size_t n_macros;

    /* for one message; mail_reset() clears from here */
    char *queue_id;      /* or NULL */
    char *envelope_from; /* without angle brackets; "" is the null sender; NULL: not known */
    char **rcpts;        /* without angle brackets */
    size_t n_rcpts;
    size_t rcpts_bytes;
    MailHeader *headers;
    size_t n_headers;
    size_t headers_bytes;
    unsigned vital_headers; /* those that are there, a bit each */
    char *body;             /* the first max_body bytes */
    size_t body_size;
    size_t body_allocated;
    uint64_t body_total; /* bytes that were seen, kept or not */
    char *text;          /* what mail_text() has made of it; NULL: nobody asked yet */
    bool text_cut;
    bool truncated; /* something exceeded its bound */
} Mail;

void mail_done(Mail *mail); /* everything, for the end of a connection */
void mail_reset(Mail *mail);

/* Each copies; -ENOMEM. Past the bounds they keep nothing, set `truncated` and return 0. */

/* Either may be NULL. "IPv6:" and a zone are dropped, an IPv4-mapped address is its IPv4 one. */
int mail_set_client(Mail *mail, const char *address, const char *name);
int mail_set_helo(Mail *mail, const char *name); /* NULL: none */
int mail_set_queue_id(Mail *mail, const char *queue_id);
int mail_set_envelope_from(Mail *mail, const char *address); /* takes "<a@x>", "a@x", "<>", "" */
int mail_add_rcpt(Mail *mail, const char *address);

/* The first Subject, and the like of it that an alert is made of, is kept in any case, as much as
 * MAIL_HEADER_KEPT bytes of it: what a mail says of itself does not get lost behind a flood. */
int mail_add_header(Mail *mail, const char *name, const char *value);
int mail_add_body(Mail *mail, const void *chunk, size_t size, size_t max_body);

/* A macro of the MTA, under its name in the protocol (macro.h), that was known at `stage`; of
 * the same name the last one counts. NULL and "" are no value, and nothing is kept. */
int mail_add_macro(Mail *mail, MailStage stage, const char *name, const char *value);
const char *mail_macro(const Mail *mail, const char *name); /* NULL: none */

/* The first header of that name, without regard to case; NULL: none. */
const char *mail_header(const Mail *mail, const char *name);

/* The header's value as a person reads it (header_decode_as_dup()), in one line, clean (text.h). It
 * is decoded when first asked for and belongs to the mail; a mail serves one thread at a time. NULL
 * only for want of memory. */
const char *mail_header_text(MailHeader *header);

/* The mail's text as a person reads it (mime_text()): decoded when first asked for, by a rule or
 * for the alert; it belongs to the mail. *ret_cut tells that there is more. -ENOMEM. */
int mail_text(Mail *mail, const char **ret, bool *ret_cut);
