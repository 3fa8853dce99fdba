/* SPDX-License-Identifier: MIT */

/*
 * What the control socket asks of the relay. Called from the loop, never inside a transaction.
 */

#include "xmpprelay/relay-internal.h"

#include <stdio.h>

typedef struct Held {
    size_t destination;
    int64_t *seqs;
    size_t n, size;
} Held;

static int collect_held(size_t destination, const DispatchEntry *entry, void *userdata)
{
    Held *held = userdata;

    if (destination == held->destination && held->n < held->size)
        held->seqs[held->n++] = entry->seq;
    return 0;
}

static int count_held(size_t destination, const DispatchEntry *entry, void *userdata)
{
    Held *held = userdata;

    held->size += destination == held->destination;
    return 0;
}

/* What is held and no longer waits in the spool was dropped; what waits there again was
 * retried, and its old place may be in front of everything that is held. */
static void on_changed(void *userdata, const char *name)
{
    Relay *relay = userdata;
    int at = settings_find_destination(relay->settings, name);
    Held held = {};

    if (at < 0)
        return; /* no destination any more: nothing of it is held */
    held.destination = (size_t)at;
    dispatch_each(relay->dispatch, count_held, &held);
    held.seqs = calloc(MAX(held.size, (size_t)1), sizeof(*held.seqs));
    if (held.seqs) {
        dispatch_each(relay->dispatch, collect_held, &held);
        for (size_t i = 0; i < held.n; i++)
            if (spool_is_waiting(relay->spool, held.seqs[i]) == 0)
                dispatch_forget(relay->dispatch, held.destination, held.seqs[i]);
        free(held.seqs);
    } /* else they are posted once more than the operator wanted */
    dispatch_rewind(relay->dispatch, held.destination);
    relay_wake(relay);
}

static void on_paused(void *userdata, const char *name, bool paused)
{
    Relay *relay = userdata;
    int at = settings_find_destination(relay->settings, name);

    if (at < 0)
        return;
    dispatch_set_paused(relay->dispatch, (size_t)at, paused);
    relay_wake(relay);
}

static int make_test_json(const char *destination, const char *id, char **ret)
{
    _cleanup_record_ Record *record = record_new();
    char host[65] = "";
    char text[160];
    size_t size;
    int r;

    if (!record)
        return -ENOMEM;
    (void)gethostname(host, sizeof(host) - 1);
    snprintf(text, sizeof(text), "A test of xmpprelay on %s: no action is needed.", host);
    if (record_set(&record->id, id) < 0 || record_set(&record->title, "Test") < 0 ||
        record_set(&record->text, text) < 0 || record_set(&record->source, "xmpprelayctl") < 0 ||
        record_add_to(record, destination) < 0)
        return -ENOMEM;
    record->severity = SEVERITY_INFO;
    record->state = STATE_EVENT;
    record->receipt = RECEIPT_WANTED_DELIVERED;
    r = record_write(record, ret, &size);
    return MIN(r, 0);
}

static int on_test(void *userdata, const char *destination, const char *id)
{
    Relay *relay = userdata;
    int at = settings_find_destination(relay->settings, destination);
    _cleanup_free_ char *json = NULL;
    int inserted, r;

    if (at < 0)
        return -ENOENT;
    r = make_test_json(destination, id, &json);
    if (r < 0)
        return r;
    r = spool_begin(relay->spool);
    if (r < 0) {
        relay_note_spool(relay, r);
        return r;
    }
    inserted = spool_insert(relay->spool, &(SpoolRecord){ .id = id,
                                                          .json = json,
                                                          .title = "Test",
                                                          .uid = getuid(),
                                                          .accepted_usec = now_usec(CLOCK_REALTIME),
                                                          .receipt = RECEIPT_WANTED_DELIVERED,
                                                          .destinations = &destination,
                                                          .n_destinations = 1 });
    r = spool_commit(relay->spool);
    if (r < 0) {
        relay_note_spool(relay, r);
        return r;
    }
    switch (inserted) {
    case SPOOL_INSERTED:
        relay->counts.accepted++;
        dispatch_grown(relay->dispatch, (size_t)at);
        relay_wake(relay);
        return 0;
    case SPOOL_DUPLICATE:
        return -EEXIST;
    case SPOOL_FULL:
    case SPOOL_SHARE:
    case SPOOL_DISK:
    case SPOOL_REMOVED:
        return -ENOSPC;
    default:
        return inserted;
    }
}

static void on_counts(void *userdata, ControlCounts *ret)
{
    Relay *relay = userdata;

    *ret = relay->counts;
    ret->spool_failing = relay->spool_failing;
    for (size_t i = 0; i < relay->settings->destinations.n; i++)
        ret->in_flight += dispatch_n_in_flight(relay->dispatch, i);
}

const ControlOwner relay_control_owner = {
    .on_changed = on_changed,
    .on_paused = on_paused,
    .on_test = on_test,
    .on_counts = on_counts,
};
