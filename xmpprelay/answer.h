/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The way back to senders: one datagram to the address of one that is known, or none. Nothing is
 * kept for a sender that does not take it: it tries again, and is told `duplicate`.
 */

#include "xmpprelay/unread.h"

#include "common/log.h"

#include <sys/socket.h>
#include <sys/un.h>

/* For receipts that lie unread, each of which takes 768 bytes or more of it. It is what Linux
 * allows unasked, and it gives twice as much. */
#define ANSWER_BUFFER_BYTES 212992

/* What lies unread is given so long to be read before it counts as left, at once and in all
 * between two calls of answer_begin(). */
#define ANSWER_WAIT_USEC (10 * USEC_PER_MSEC)
#define ANSWER_WAITS_USEC (50 * USEC_PER_MSEC)

typedef struct Sender {
    struct sockaddr_un address;
    socklen_t address_size; /* 0: can't be answered */
    struct ucred credentials;
    usec_t read_usec; /* CLOCK_MONOTONIC: when its datagram was read */
} Sender;

typedef struct Answer {
    int fd;
    Unread unread;
    usec_t waited_usec;
    LogLimit complaints;
} Answer;

/* Answers through `fd`, a datagram socket, which must stay open. */
void answer_init(Answer *answer, int fd);

void answer_begin(Answer *answer);
void answer_send(Answer *answer, const Sender *sender, const uint8_t *datagram, size_t size);
