/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What a session has to tell the relay process and could not yet, in order. While something is
 * in it, the session does not read from its server: so it is filled by one step's worth at most.
 */

#include "xmpprelay/link.h"

#define OUTBOX_MAX 65536 /* messages; more than one step can bring */

typedef struct OutboxEntry OutboxEntry;

typedef struct Outbox {
    OutboxEntry *head, *tail;
    size_t n;
} Outbox;

void outbox_free_entries(Outbox *outbox);

/* Sends the message, or keeps a copy to be sent by outbox_flush(). For messages of the
 * session → relay direction. 0, -ENOMEM, -ENOBUFS past OUTBOX_MAX, or as link_send(). */
int outbox_send(Outbox *outbox, int fd, const LinkMessage *message);

/* 0 when all is sent, -EAGAIN when not yet, or as link_send(). */
int outbox_flush(Outbox *outbox, int fd);
