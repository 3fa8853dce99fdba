/* SPDX-License-Identifier: MIT */

/*
 * One turn of the relay.
 *
 *     gather datagrams
 *     begin
 *       insert their records
 *       write down what the sessions proved: delivered, failed, suspected
 *       fill the windows, choose what to post, mark it as sent
 *     commit                                         one fsync for all of it
 *     receipts; fates to the log and to who waits; posts
 *
 * Nothing is told to anyone before the commit. When it fails, every record of the batch is
 * answered `busy`, the windows go back to what they were, and what the sessions proved is kept
 * in memory (it is no more than the windows) for the next turn.
 */

#include "xmpprelay/relay-internal.h"

#include "common/compose.h"
#include "common/log.h"
#include "common/text.h"
#include "common/units.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#define SPOOL_RETRY_USEC USEC_PER_SEC

void relay_note_spool(Relay *relay, int r)
{
    if (r == -EUCLEAN) {
        /* Whatever is done with it now may do more harm. The next start looks at all of it. */
        log_error("%s turns out to be damaged (%s): ending, as what is written to it can't be "
                  "trusted any more",
                  relay->settings->spool.path, spool_message(relay->spool));
        sd_event_exit(relay->event, r);
    } else if (r < 0 && !relay->spool_failing)
        log_error("the spool can't be written (%s); senders are told \"busy\" until it can",
                  r == -ENOMEM ? "out of memory" : spool_message(relay->spool));
    else if (r >= 0 && relay->spool_failing)
        log_notice("the spool can be written again");
    relay->spool_failing = r < 0;
}

static size_t n_items(const Relay *relay)
{
    return relay->inbox ? inbox_n_items(relay->inbox) : 0;
}

static char *clean_title_dup(const Record *record)
{
    char *title;

    if (!record->title)
        return NULL;
    title = text_clean_line_dup(record->title, strlen(record->title));
    if (title)
        title[text_cut(title, strlen(title), SPOOL_TITLE_MAX)] = '\0';
    return title;
}

/* Says once why nothing is taken, and once that it is again. */
static void note_disk(Relay *relay, SpoolInserted inserted)
{
    const char *path = relay->settings->spool.path;

    if (inserted != SPOOL_DISK && inserted != SPOOL_REMOVED && inserted != SPOOL_INSERTED)
        return;
    if (inserted == relay->disk)
        return;
    if (inserted == SPOOL_DISK)
        log_error(
            "the disk of %s is nearly full; senders are told \"busy\", and what is left of it "
            "serves to deliver what waits",
            path);
    else if (inserted == SPOOL_REMOVED)
        log_error("%s was removed or replaced; senders are told \"busy\", and what waits is still "
                  "delivered: restart xmpprelay when nothing does any more (xmpprelayctl status)",
                  path);
    else
        log_notice("the disk of %s has room again", path);
    relay->disk = inserted;
}

static void insert_item(Relay *relay, InboxItem *item, usec_t now_realtime)
{
    /* a list without titles is better than none */
    _cleanup_free_ char *title = clean_title_dup(item->record);
    SpoolRecord record = {
        .id = item->id,
        .json = item->json,
        .title = title,
        .uid = inbox_uid(relay->inbox, item),
        .accepted_usec = now_realtime,
        .receipt = item->record->receipt,
        .destinations = item->destinations,
        .n_destinations = item->n_destinations,
    };

    int r = spool_insert(relay->spool, &record);

    if (r >= 0)
        note_disk(relay, (SpoolInserted)r);
    switch (r) {
    case SPOOL_INSERTED:
        inbox_decide(item, RECEIPT_ACCEPTED, NULL);
        break;
    case SPOOL_DUPLICATE:
        inbox_decide(item, RECEIPT_DUPLICATE, NULL);
        break;
    case SPOOL_FULL:
        inbox_decide(item, RECEIPT_BUSY, "the spool is full");
        break;
    case SPOOL_SHARE:
        inbox_decide(item, RECEIPT_BUSY, "too many of this sender's records wait already");
        break;
    case SPOOL_DISK:
        inbox_decide(item, RECEIPT_BUSY, "the spool's disk is nearly full");
        break;
    case SPOOL_REMOVED:
        inbox_decide(item, RECEIPT_BUSY, "the spool was removed");
        break;
    default:
        inbox_decide(item, RECEIPT_BUSY, "the spool can't be written");
        break;
    }
}

/* An undecided item is one that only the spool can decide. */
static void insert_items(Relay *relay, usec_t now_realtime)
{
    for (size_t i = 0; i < n_items(relay); i++) {
        InboxItem *item = inbox_item(relay->inbox, i);

        if (item->decided)
            continue;
        insert_item(relay, item, now_realtime);
        if (item->status != RECEIPT_ACCEPTED)
            continue;
        for (size_t j = 0; j < item->n_destinations; j++) {
            int at = settings_find_destination(relay->settings, item->destinations[j]);

            assert(at >= 0);
            dispatch_grown(relay->dispatch, (size_t)at);
        }
    }
}

static int read_record(Relay *relay, int64_t seq, Record **ret)
{
    _cleanup_free_ char *json = NULL;
    char id[RECORD_ID_MAX + 1], reason[RECORD_REASON_MAX];
    int r;

    r = spool_read_json(relay->spool, seq, &json);
    if (r < 0)
        return r;
    return record_parse(json, strlen(json), ret, id, reason);
}

/* Makes room for one more element of an array. */
static int grow(void **array, size_t *size, size_t n, size_t element_size)
{
    size_t larger = MAX(*size * 2, (size_t)32);
    void *more;

    if (n < *size)
        return 0;
    more = reallocarray(*array, larger, element_size);
    if (!more)
        return -ENOMEM;
    *array = more;
    *size = larger;
    return 0;
}

static int write_settled(Relay *relay, size_t destination, const DispatchEntry *entry)
{
    usec_t now = now_usec(CLOCK_REALTIME);
    Fate *fate;
    int r;

    r = grow((void **)&relay->fates, &relay->fates_size, relay->n_fates, sizeof(*fate));
    if (r < 0)
        return r;
    fate = &relay->fates[relay->n_fates];
    *fate = (Fate){ .destination = destination, .delivered = entry->delivered };
    snprintf(fate->reason, sizeof(fate->reason), "%s", entry->reason);

    (void)read_record(relay, entry->seq, &fate->content);
    r = entry->delivered
            ? spool_mark_done(relay->spool, entry->seq, now, &fate->record)
            : spool_mark_failed(relay->spool, entry->seq, now, entry->reason, &fate->record);
    if (r > 0)
        relay->n_fates++;
    else
        fate->content = record_free(fate->content);
    return MIN(r, 0);
}

static int write_proven(size_t destination, const DispatchEntry *entry, void *userdata)
{
    Relay *relay = userdata;
    int r = 0;

    if (entry->suspicion_changed)
        r = spool_mark_suspicion(relay->spool, entry->seq, entry->suspicion);
    if (r == 0 && entry->state == DISPATCH_SETTLED)
        r = write_settled(relay, destination, entry);
    return r;
}

typedef struct Filling {
    Dispatch *dispatch;
    size_t destination;
    size_t n_given;
} Filling;

static int add_entry(const SpoolEntry *entry, void *userdata)
{
    Filling *filling = userdata;

    filling->n_given++;
    return dispatch_add(filling->dispatch, filling->destination, entry);
}

int relay_fill(Relay *relay)
{
    for (size_t i = 0; i < relay->settings->destinations.n; i++) {
        int64_t after;
        size_t max;

        while (dispatch_wants(relay->dispatch, i, &after, &max)) {
            Filling filling = { .dispatch = relay->dispatch, .destination = i };
            int r = spool_load(relay->spool, settings_destination(relay->settings, i)->name, after,
                               max, add_entry, &filling);

            if (r < 0)
                return r;
            dispatch_filled(relay->dispatch, i, filling.n_given, max);
        }
    }
    return 0;
}

/* The body of a chosen entry, and the stamp of an old one. -EBADMSG: it can never be had. */
static int compose_post(Relay *relay, const DispatchEntry *entry, Post *post)
{
    _cleanup_record_ Record *record = NULL;
    usec_t now = now_usec(CLOCK_REALTIME);
    int r;

    r = read_record(relay, entry->seq, &record);
    if (r < 0)
        return r;
    if (record->time_usec == 0)
        record->time_usec = entry->accepted_usec;
    post->delay_usec = compose_old_time(record, now);
    post->style = (ComposeStyle)settings_destination(relay->settings, post->destination)->style;
    return compose_message(record, post->style, now, relay->settings->delivery.max_size_bytes,
                           &post->body);
}

static int prepare_post(size_t destination, const DispatchEntry *entry, void *userdata)
{
    Relay *relay = userdata;
    Post *post;
    int r;

    if (entry->state != DISPATCH_CHOSEN)
        return 0;
    r = grow((void **)&relay->posts, &relay->posts_size, relay->n_posts, sizeof(*post));
    if (r < 0)
        return r;
    post = &relay->posts[relay->n_posts++];
    *post = (Post){ .destination = destination, .seq = entry->seq };
    memcpy(post->stanza_id, entry->stanza_id, sizeof(post->stanza_id));
    r = compose_post(relay, entry, post);
    if (r == -EBADMSG)
        post->reason = "its record in the spool can't be read any more";
    else if (r == -ENOENT)
        post->reason = "it is not in the spool any more";
    else if (r < 0)
        return r;
    return spool_mark_sent(relay->spool, entry->seq, now_usec(CLOCK_REALTIME));
}

/* All that goes to disk in this turn, in an open transaction. */
static int write_turn(Relay *relay)
{
    usec_t now_realtime = now_usec(CLOCK_REALTIME);
    int r;

    insert_items(relay, now_realtime);
    r = dispatch_each(relay->dispatch, write_proven, relay);
    if (r < 0)
        return r;
    if (relay->phase != RELAY_RUNNING) /* nothing new is begun */
        return 0;
    r = relay_fill(relay);
    if (r < 0)
        return r;
    dispatch_choose(relay->dispatch, now_usec(CLOCK_MONOTONIC), now_realtime);
    return dispatch_each(relay->dispatch, prepare_post, relay);
}

static void log_fate(const Relay *relay, const Fate *fate)
{
    const char *name = settings_destination(relay->settings, fate->destination)->name;
    usec_t now = now_usec(CLOCK_REALTIME), since = fate->record.accepted_usec;
    char delay[32];

    snprintf(delay, sizeof(delay), "%.3f", now > since ? (double)(now - since) / USEC_PER_SEC : 0);
    log_fields(
        fate->delivered ? LOG_INFO : LOG_WARNING,
        (const LogField[]){
            { "id", fate->record.id },
            { "destination", name },
            { "delay", delay },
            { "rule", fate->content ? record_field(fate->content, "rule") : NULL },
            { "queue_id", fate->content ? record_field(fate->content, "queue_id") : NULL },
            { "message_id", fate->content ? record_field(fate->content, "message_id") : NULL },
        },
        6, "%s%s%s", fate->delivered ? "delivered" : "failed",
        fate->delivered ? "" : ", set aside: ", fate->delivered ? "" : fate->reason);
}

/* To whoever asked to be told when it is delivered. */
static void tell_sender(Relay *relay, const Fate *fate, usec_t now)
{
    const char *name = settings_destination(relay->settings, fate->destination)->name;
    ReceiptStatus status = fate->delivered ? RECEIPT_DELIVERED : RECEIPT_REFUSED;
    char reason[RECORD_REASON_MAX];
    usec_t took_usec;

    if (!fate->delivered)
        snprintf(reason, sizeof(reason), "%s: %.180s", name, fate->reason);
    if (relay->inbox &&
        inbox_tell(relay->inbox, fate->record.id, status, fate->delivered ? NULL : reason))
        relay_metrics_receipt(&relay->metrics, status);
    if (relay->control &&
        control_test_done(relay->control, fate->record.id, fate->delivered,
                          fate->delivered ? NULL : reason, &took_usec) &&
        fate->delivered)
        relay_metrics_tested(&relay->metrics, fate->destination, took_usec, now);
}

static void tell_fates(Relay *relay)
{
    usec_t now = now_usec(CLOCK_REALTIME);

    for (size_t i = 0; i < relay->n_fates; i++) {
        const Fate *fate = &relay->fates[i];

        log_fate(relay, fate);
        relay->counts.delivered += fate->delivered;
        relay->counts.failed += !fate->delivered;
        relay_metrics_settled(&relay->metrics, fate->destination, fate->delivered,
                              fate->record.accepted_usec, now);
        if (fate->record.receipt == RECEIPT_WANTED_DELIVERED &&
            (!fate->delivered || fate->record.delivered))
            tell_sender(relay, fate, now);
    }
}

static void forget_fates(Relay *relay)
{
    for (size_t i = 0; i < relay->n_fates; i++)
        record_free(relay->fates[i].content);
    relay->n_fates = 0;
}

static void send_posts(Relay *relay)
{
    usec_t now = now_usec(CLOCK_MONOTONIC);

    for (size_t i = 0; i < relay->n_posts; i++) {
        Post *post = &relay->posts[i];
        int r = -EBADMSG;

        if (post->body)
            r = sessions_post(relay->sessions, post->destination, post->stanza_id, post->body,
                              post->style == COMPOSE_PLAIN, post->delay_usec);
        dispatch_posted(relay->dispatch, post->destination, post->seq, r, post->reason, now);
    }
}

static void forget_posts(Relay *relay)
{
    for (size_t i = 0; i < relay->n_posts; i++)
        free(relay->posts[i].body);
    relay->n_posts = 0;
}

/* How many records are now in the spool that were not before. */
static size_t count_and_log_items(Relay *relay)
{
    size_t n_accepted = 0;

    for (size_t i = 0; i < n_items(relay); i++) {
        const InboxItem *item = inbox_item(relay->inbox, i);
        char uid[16];

        relay_metrics_receipt(&relay->metrics, item->status);
        n_accepted += item->status == RECEIPT_ACCEPTED;
        relay->counts.duplicate += item->status == RECEIPT_DUPLICATE;
        relay->counts.busy += item->status == RECEIPT_BUSY;
        relay->counts.refused += item->status == RECEIPT_REFUSED;
        if (log_level() < LOG_DEBUG)
            continue;
        snprintf(uid, sizeof(uid), "%u", inbox_uid(relay->inbox, item));
        log_fields(LOG_DEBUG, (const LogField[]){ { "id", item->id }, { "sender_uid", uid } }, 2,
                   "%s", receipt_status_name(item->status));
    }
    relay->counts.accepted += n_accepted;
    return n_accepted;
}

/* Nothing of the batch is on disk, whatever the spool thought of it before. */
static void make_busy(Relay *relay)
{
    for (size_t i = 0; i < n_items(relay); i++) {
        InboxItem *item = inbox_item(relay->inbox, i);

        if (!item->decided || item->status != RECEIPT_REFUSED)
            inbox_decide(item, RECEIPT_BUSY, "the spool can't be written");
    }
}

static void give_up_overdue(Relay *relay)
{
    char waited[UNITS_TEXT_MAX], reason[128];
    size_t destination;

    while (dispatch_overdue(relay->dispatch, now_usec(CLOCK_MONOTONIC), &destination)) {
        snprintf(reason, sizeof(reason), "no confirmation from %.64s within %s",
                 settings_destination(relay->settings, destination)->name,
                 duration_human(relay->settings->delivery.confirm_usec, waited));
        sessions_give_up(relay->sessions, destination, reason);
    }
}

static void set_wake(Relay *relay)
{
    usec_t wake_usec = USEC_INFINITY;

    if (relay->spool_failing)
        wake_usec = now_usec(CLOCK_MONOTONIC) + SPOOL_RETRY_USEC;
    else if (dispatch_is_dirty(relay->dispatch))
        relay_wake(relay);
    if (relay->phase == RELAY_RUNNING && !relay->spool_failing)
        wake_usec = dispatch_wake_usec(relay->dispatch);
    if (wake_usec == USEC_INFINITY) {
        sd_event_source_set_enabled(relay->wake_source, SD_EVENT_OFF);
        return;
    }
    sd_event_source_set_time(relay->wake_source, wake_usec);
    sd_event_source_set_enabled(relay->wake_source, SD_EVENT_ONESHOT);
}

void relay_turn(Relay *relay)
{
    size_t n_accepted;
    int r;

    if (relay->inbox) {
        r = inbox_gather(relay->inbox);
        if (r > 0)
            relay_wake(relay);
        relay_rest_inbox(relay, r < 0);
    }
    if (relay->phase == RELAY_RUNNING)
        give_up_overdue(relay);

    r = spool_begin(relay->spool);
    if (r == 0) {
        r = write_turn(relay);
        if (r == 0)
            r = spool_commit(relay->spool);
        else
            spool_rollback(relay->spool);
    }
    if (r < 0) {
        dispatch_rolled_back(relay->dispatch);
        make_busy(relay);
    } else {
        dispatch_committed(relay->dispatch);
    }
    n_accepted = count_and_log_items(relay);
    /* A transaction that had nothing to write proves nothing about the disk. */
    if (r < 0 || n_accepted + relay->n_fates + relay->n_posts > 0)
        relay_note_spool(relay, r);
    if (relay->inbox)
        inbox_answer(relay->inbox);
    if (r == 0) {
        tell_fates(relay);
        send_posts(relay);
    }
    forget_fates(relay);
    forget_posts(relay);
    set_wake(relay);
}
