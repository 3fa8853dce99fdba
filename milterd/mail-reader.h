/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Mails out of a file, one after the other, each as an MTA would have handed it over: a file of
 * one mail, or an mbox (RFC 4155) that may be of any size, since no more than one mail is kept.
 */

#include "milterd/mail.h"

/* What begins with a "From " line is an mbox. In it a mail ends where after an empty line another
 * "From " line stands that has a time and a year in it; the lengths that some writers put into
 * headers are not believed. One ">" is taken away from lines of a body that begin with ">From ",
 * ">>From " and so on. Lines end in LF or CRLF.
 *
 * Begin with mail_reader_open() or mail_reader_open_bytes(), end with mail_reader_done(). */
typedef struct MailReader {
    int fd; /* -1: all there is stands at `at` */
    char *buffer;
    const char *at; /* what was read and is not used up */
    size_t left;
    bool ended; /* there is nothing behind that */
    bool begun;
    bool mbox;
    bool has_more; /* the "From " line of another mail has been seen */
} MailReader;

/* The descriptor stays the caller's. -ENOMEM. */
int mail_reader_open(MailReader *reader, int fd);
void mail_reader_open_bytes(MailReader *reader, const char *bytes, size_t size);
void mail_reader_done(MailReader *reader);

/* Adds headers and body of the next mail to `mail`, of the body at most max_message bytes: 1; 0
 * when there is none, nothing at all being no mail; -errno of read(2), or -ENOMEM. */
int mail_reader_next(MailReader *reader, Mail *mail, uint64_t max_message);
