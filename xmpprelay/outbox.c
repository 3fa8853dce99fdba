/* SPDX-License-Identifier: MIT */

/*
 * A list of copied messages. A beat is never kept: it says that all is well now.
 */

#include "xmpprelay/outbox.h"

struct OutboxEntry {
    OutboxEntry *next;
    LinkMessage message;
    char *stanza_id, *reason, *nick;
};

static OutboxEntry *entry_free(OutboxEntry *entry)
{
    if (!entry)
        return NULL;
    free(entry->stanza_id);
    free(entry->reason);
    free(entry->nick);
    free(entry);
    return NULL;
}
DEFINE_CLEANUP(OutboxEntry *, entry_free)

void outbox_free_entries(Outbox *outbox)
{
    while (outbox->head) {
        OutboxEntry *entry = outbox->head;

        outbox->head = entry->next;
        entry_free(entry);
    }
    *outbox = (Outbox){};
}

static int copy(const char *from, char **to)
{
    if (!from)
        return 0;
    *to = strdup(from);
    return *to ? 0 : -ENOMEM;
}

static int keep(Outbox *outbox, const LinkMessage *message)
{
    _cleanup_(entry_freep) OutboxEntry *entry = NULL;
    int r;

    if (message->type == LINK_BEAT)
        return 0;
    if (outbox->n >= OUTBOX_MAX)
        return -ENOBUFS;
    entry = calloc(1, sizeof(*entry));
    if (!entry)
        return -ENOMEM;
    entry->message = *message;
    if ((r = copy(message->stanza_id, &entry->stanza_id)) < 0 ||
        (r = copy(message->reason, &entry->reason)) < 0 ||
        (r = copy(message->nick, &entry->nick)) < 0)
        return r;
    entry->message.stanza_id = entry->stanza_id;
    entry->message.reason = entry->reason;
    entry->message.nick = entry->nick;

    if (outbox->tail)
        outbox->tail->next = entry;
    else
        outbox->head = entry;
    outbox->tail = steal_ptr(entry);
    outbox->n++;
    return 0;
}

int outbox_send(Outbox *outbox, int fd, const LinkMessage *message)
{
    int r = outbox->head ? -EAGAIN : link_send(fd, message);

    return r == -EAGAIN ? keep(outbox, message) : r;
}

int outbox_flush(Outbox *outbox, int fd)
{
    while (outbox->head) {
        OutboxEntry *entry = outbox->head;
        int r = link_send(fd, &entry->message);

        if (r < 0)
            return r;
        outbox->head = entry->next;
        if (!outbox->head)
            outbox->tail = NULL;
        outbox->n--;
        entry_free(entry);
    }
    return 0;
}
