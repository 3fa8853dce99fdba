/* SPDX-License-Identifier: MIT */

/*
 * The delivery policy.
 *
 * Each destination's entries are an array sorted by number; WAITING ones become CHOSEN in that
 * order, so the order of acceptance is the order of posting, save for what the server pushes back.
 * The window is small enough that the room's history, read at the next join, decides what has
 * arrived; all that was posted and is neither confirmed nor refused is UNKNOWN until then.
 *
 * A refusal that asks for patience (FAILED_WAIT) makes the destination wait and halves how many
 * it posts at once; each confirmation widens that by one again.
 * What may have ended a connection is posted with care: see dispatch-suspects.c.
 */

#include "xmpprelay/dispatch-internal.h"

#include <assert.h>
#include <stdio.h>

int dispatch_new(const DispatchLimits *limits, const size_t *accounts, size_t n_destinations,
                 Dispatch **ret)
{
    _cleanup_(dispatch_freep) Dispatch *dispatch = calloc(1, sizeof(*dispatch));

    assert(limits->window > 0);
    if (!dispatch)
        return -ENOMEM;
    dispatch->limits = *limits;
    dispatch->targets = calloc(MAX(n_destinations, (size_t)1), sizeof(*dispatch->targets));
    if (!dispatch->targets)
        return -ENOMEM;
    for (; dispatch->n_targets < n_destinations; dispatch->n_targets++) {
        Target *target = &dispatch->targets[dispatch->n_targets];

        target->account = accounts[dispatch->n_targets];
        target->width = limits->window;
        target->backoff = (Backoff){
            .base_usec = limits->backoff_usec,
            .cap_usec = limits->backoff_cap_usec,
            .healthy_usec = USEC_INFINITY, /* a confirmation resets it, not time */
        };
        dispatch->n_accounts = MAX(dispatch->n_accounts, target->account + 1);
    }
    dispatch->accounts = calloc(MAX(dispatch->n_accounts, (size_t)1), sizeof(*dispatch->accounts));
    if (!dispatch->accounts)
        return -ENOMEM;
    *ret = steal_ptr(dispatch);
    return 0;
}

Dispatch *dispatch_free(Dispatch *dispatch)
{
    if (!dispatch)
        return NULL;
    for (size_t i = 0; i < dispatch->n_targets; i++)
        free(dispatch->targets[i].entries);
    free(dispatch->targets);
    free(dispatch->accounts);
    free(dispatch);
    return NULL;
}

static Target *target_at(const Dispatch *dispatch, size_t destination)
{
    assert(destination < dispatch->n_targets);
    return &dispatch->targets[destination];
}

size_t dispatch_count(const Target *target, DispatchState state)
{
    size_t n = 0;

    for (size_t i = 0; i < target->n_entries; i++)
        n += target->entries[i].state == state;
    return n;
}

/* What takes room in the window. */
static size_t n_held(const Target *target)
{
    return target->n_entries - dispatch_count(target, DISPATCH_SETTLED);
}

bool dispatch_wants(const Dispatch *dispatch, size_t destination, int64_t *ret_after,
                    size_t *ret_max)
{
    const Target *target = target_at(dispatch, destination);

    if (target->exhausted || n_held(target) >= dispatch->limits.window)
        return false;
    *ret_after = target->after;
    /* those that are held already may be among them */
    *ret_max = dispatch->limits.window + dispatch_count(target, DISPATCH_SETTLED);
    if (target->n_entries == 0 || target->entries[target->n_entries - 1].seq <= target->after)
        *ret_max = dispatch->limits.window - n_held(target);
    return true;
}

int dispatch_add(Dispatch *dispatch, size_t destination, const SpoolEntry *entry)
{
    Target *target = target_at(dispatch, destination);
    DispatchEntry *more;
    size_t at = target->n_entries;

    while (at > 0 && target->entries[at - 1].seq > entry->seq)
        at--;
    if (at > 0 && target->entries[at - 1].seq == entry->seq) {
        target->after = entry->seq;
        return 0;
    }
    if (n_held(target) >= dispatch->limits.window)
        return 1;

    more = reallocarray(target->entries, target->n_entries + 1, sizeof(*more));
    if (!more)
        return -ENOMEM;
    target->entries = more;
    memmove(&more[at + 1], &more[at], (target->n_entries - at) * sizeof(*more));
    target->n_entries++;
    more[at] = (DispatchEntry){
        .seq = entry->seq,
        /* with the room's history already read there is nothing left that could decide */
        .state = entry->state == ENTRY_SENT && !target->ready ? DISPATCH_UNKNOWN : DISPATCH_WAITING,
        .suspicion = entry->suspicion,
        .fresh = true,
        .accepted_usec = entry->accepted_usec,
        .first_sent_usec = entry->sent_usec,
    };
    snprintf(more[at].stanza_id, sizeof(more[at].stanza_id), "%s", entry->stanza_id);
    target->after = entry->seq;
    return 0;
}

void dispatch_filled(Dispatch *dispatch, size_t destination, size_t n_given, size_t max)
{
    Target *target = target_at(dispatch, destination);

    /* a full window may have stopped the giving */
    if (n_given < max && n_held(target) < dispatch->limits.window)
        target->exhausted = true;
}

void dispatch_grown(Dispatch *dispatch, size_t destination)
{
    target_at(dispatch, destination)->exhausted = false;
}

void dispatch_rewind(Dispatch *dispatch, size_t destination)
{
    Target *target = target_at(dispatch, destination);

    target->exhausted = false;
    target->after = 0;
}

static void remove_at(Target *target, size_t at)
{
    target->n_entries--;
    memmove(&target->entries[at], &target->entries[at + 1],
            (target->n_entries - at) * sizeof(*target->entries));
}

void dispatch_forget(Dispatch *dispatch, size_t destination, int64_t seq)
{
    Target *target = target_at(dispatch, destination);

    for (size_t i = 0; i < target->n_entries; i++)
        if (target->entries[i].seq == seq) {
            remove_at(target, i);
            return;
        }
}

void dispatch_settle(DispatchEntry *entry, bool delivered, const char *reason)
{
    entry->state = DISPATCH_SETTLED;
    entry->delivered = delivered;
    snprintf(entry->reason, sizeof(entry->reason), "%s", reason ?: "");
}

void dispatch_ready(Dispatch *dispatch, size_t destination)
{
    Target *target = target_at(dispatch, destination);

    target->ready = true;
    dispatch->accounts[target->account].blocked = false;
    for (size_t i = 0; i < target->n_entries; i++)
        if (target->entries[i].state == DISPATCH_UNKNOWN) {
            target->entries[i].state = DISPATCH_WAITING;
            suspects_not_arrived(&target->entries[i]);
        }
}

void dispatch_lost(Dispatch *dispatch, size_t destination, EndCause cause, usec_t now)
{
    Target *target = target_at(dispatch, destination);

    target->ready = false;
    suspects_lost(dispatch, target, cause, now);
    for (size_t i = 0; i < target->n_entries; i++)
        if (target->entries[i].state == DISPATCH_IN_FLIGHT)
            target->entries[i].state = DISPATCH_UNKNOWN;
}

static DispatchEntry *find(Target *target, const char *stanza_id)
{
    for (size_t i = 0; i < target->n_entries; i++)
        if (streq(target->entries[i].stanza_id, stanza_id))
            return &target->entries[i];
    return NULL;
}

bool dispatch_done(Dispatch *dispatch, size_t destination, const char *stanza_id)
{
    Target *target = target_at(dispatch, destination);
    DispatchEntry *entry = find(target, stanza_id);

    /* An echo outweighs a verdict of failure that nobody has written down yet. */
    if (!entry || (entry->state == DISPATCH_SETTLED && entry->delivered))
        return false;
    if (entry->state == DISPATCH_IN_FLIGHT)
        dispatch->accounts[target->account].proven = true;
    dispatch_settle(entry, true, NULL);
    target->backoff.failures = 0;
    target->width = MIN(target->width + 1, dispatch->limits.window);
    return true;
}

static void hold_back(Target *target, usec_t now, uint32_t random)
{
    if (target->wait_until_usec > now)
        return; /* the same push-back told for another message */
    target->wait_until_usec = now + backoff_failed(&target->backoff, now, random);
    target->width = MAX(target->width / 2, (size_t)1);
}

bool dispatch_failed(Dispatch *dispatch, size_t destination, const char *stanza_id, FailedKind kind,
                     const char *reason, usec_t now, uint32_t random)
{
    Target *target = target_at(dispatch, destination);
    DispatchEntry *entry = find(target, stanza_id);

    if (!entry || entry->state == DISPATCH_SETTLED)
        return false;
    switch (kind) {
    case FAILED_WAIT:
        entry->state = DISPATCH_WAITING;
        hold_back(target, now, random);
        return true;
    case FAILED_REJOIN:
        entry->state = DISPATCH_UNKNOWN;
        target->ready = false;
        return true;
    case FAILED_FINAL:
        break;
    }
    dispatch_settle(entry, false, reason ?: "refused by the server");
    return true;
}

void dispatch_writable(Dispatch *dispatch, size_t account)
{
    if (account < dispatch->n_accounts)
        dispatch->accounts[account].blocked = false;
}

void dispatch_set_paused(Dispatch *dispatch, size_t destination, bool paused)
{
    target_at(dispatch, destination)->paused = paused;
}

bool dispatch_is_paused(const Dispatch *dispatch, size_t destination)
{
    return target_at(dispatch, destination)->paused;
}

size_t dispatch_pending(const Dispatch *dispatch, size_t destination,
                        char (*ret_ids)[SPOOL_STANZA_ID_SIZE], size_t max, usec_t *ret_since_usec)
{
    const Target *target = target_at(dispatch, destination);
    usec_t since_usec = 0;
    size_t n = 0;

    for (size_t i = 0; i < target->n_entries && n < max; i++) {
        const DispatchEntry *entry = &target->entries[i];

        if (entry->state != DISPATCH_UNKNOWN && entry->state != DISPATCH_IN_FLIGHT)
            continue;
        memcpy(ret_ids[n++], entry->stanza_id, SPOOL_STANZA_ID_SIZE);
        if (since_usec == 0 || entry->first_sent_usec < since_usec)
            since_usec = entry->first_sent_usec;
    }
    *ret_since_usec = since_usec;
    return n;
}

bool dispatch_can_post(const Dispatch *dispatch, const Target *target, usec_t now)
{
    return target->ready && !target->paused && target->wait_until_usec <= now &&
           !dispatch->accounts[target->account].blocked;
}

/* A wait that is over is forgotten, whether or not there is room to post: else
 * dispatch_wake_usec() would ask for turn after turn until there is. */
static void end_waits(Dispatch *dispatch, usec_t now)
{
    for (size_t i = 0; i < dispatch->n_targets; i++) {
        Target *target = &dispatch->targets[i];

        if (target->wait_until_usec == 0 || target->wait_until_usec > now)
            continue;
        target->wait_until_usec = 0;
        backoff_started(&target->backoff, now);
    }
}

void dispatch_choose(Dispatch *dispatch, usec_t now, usec_t now_realtime)
{
    end_waits(dispatch, now);
    for (size_t account = 0; account < dispatch->n_accounts; account++) {
        if (suspects_choose(dispatch, account, now, now_realtime))
            continue;
        for (size_t i = 0; i < dispatch->n_targets; i++) {
            Target *target = &dispatch->targets[i];
            size_t n_in_flight = dispatch_count(target, DISPATCH_IN_FLIGHT);
            DispatchEntry *entry;

            if (target->account != account || !dispatch_can_post(dispatch, target, now))
                continue;
            for (; n_in_flight < target->width && (entry = suspects_first_waiting(target, false));
                 n_in_flight++)
                suspects_mark_chosen(entry, false, now_realtime);
        }
    }
}

void dispatch_committed(Dispatch *dispatch)
{
    for (size_t i = 0; i < dispatch->n_targets; i++) {
        Target *target = &dispatch->targets[i];

        for (size_t j = target->n_entries; j-- > 0;) {
            target->entries[j].fresh = false;
            target->entries[j].suspicion_changed = false;
            if (target->entries[j].state == DISPATCH_SETTLED)
                remove_at(target, j);
        }
    }
}

void dispatch_rolled_back(Dispatch *dispatch)
{
    for (size_t i = 0; i < dispatch->n_targets; i++) {
        Target *target = &dispatch->targets[i];
        bool any = false;

        for (size_t j = target->n_entries; j-- > 0;) {
            if (target->entries[j].state == DISPATCH_CHOSEN)
                target->entries[j].state = DISPATCH_WAITING;
            if (target->entries[j].fresh) { /* perhaps it was never on disk */
                remove_at(target, j);
                any = true;
            }
        }
        if (any)
            target->after = 0;
        target->exhausted = false;
    }
}

void dispatch_posted(Dispatch *dispatch, size_t destination, int64_t seq, int result,
                     const char *reason, usec_t now)
{
    Target *target = target_at(dispatch, destination);

    for (size_t i = 0; i < target->n_entries; i++) {
        DispatchEntry *entry = &target->entries[i];

        if (entry->seq != seq)
            continue;
        assert(entry->state == DISPATCH_CHOSEN);
        if (result == 0) {
            entry->state = DISPATCH_IN_FLIGHT;
            entry->posted_usec = now;
            entry->deadline_usec = now + dispatch->limits.confirm_usec;
        } else if (result == -EAGAIN) {
            entry->state = DISPATCH_WAITING;
            dispatch->accounts[target->account].blocked = true;
        } else if (result == -ENOTCONN) {
            entry->state = DISPATCH_WAITING;
            target->ready = false;
        } else if (result == -ENOMEM || result == -ENOBUFS) { /* our fault, and it may pass */
            entry->state = DISPATCH_WAITING;
            hold_back(target, now, 0);
        } else {
            dispatch_settle(entry, false, reason ?: strerror(-result));
        }
        return;
    }
}

bool dispatch_overdue(Dispatch *dispatch, usec_t now, size_t *ret_destination)
{
    for (size_t i = 0; i < dispatch->n_targets; i++) {
        Target *target = &dispatch->targets[i];
        DispatchEntry *overdue = NULL;

        for (size_t j = 0; j < target->n_entries && !overdue; j++)
            if (target->entries[j].state == DISPATCH_IN_FLIGHT &&
                target->entries[j].deadline_usec <= now)
                overdue = &target->entries[j];
        if (!overdue)
            continue;
        suspects_accuse(overdue, 1, "the room took it again and again and never showed it");
        for (size_t j = 0; j < dispatch->n_targets; j++) {
            Target *other = &dispatch->targets[j];

            for (size_t k = 0; other->account == target->account && k < other->n_entries; k++)
                other->entries[k].deadline_usec = now + dispatch->limits.confirm_usec;
        }
        *ret_destination = i;
        return true;
    }
    return false;
}

usec_t dispatch_wake_usec(const Dispatch *dispatch)
{
    usec_t wake_usec = USEC_INFINITY;

    for (size_t i = 0; i < dispatch->n_accounts; i++)
        wake_usec = MIN(wake_usec, suspects_wake_usec(dispatch, i));
    for (size_t i = 0; i < dispatch->n_targets; i++) {
        const Target *target = &dispatch->targets[i];

        if (target->wait_until_usec > 0 && target->ready && !target->paused &&
            dispatch_count(target, DISPATCH_WAITING) > 0)
            wake_usec = MIN(wake_usec, target->wait_until_usec);
        for (size_t j = 0; j < target->n_entries; j++)
            if (target->entries[j].state == DISPATCH_IN_FLIGHT)
                wake_usec = MIN(wake_usec, target->entries[j].deadline_usec);
    }
    return wake_usec;
}

bool dispatch_is_dirty(const Dispatch *dispatch)
{
    for (size_t i = 0; i < dispatch->n_targets; i++)
        for (size_t j = 0; j < dispatch->targets[i].n_entries; j++)
            if (dispatch->targets[i].entries[j].state == DISPATCH_SETTLED ||
                dispatch->targets[i].entries[j].suspicion_changed)
                return true;
    return false;
}

int dispatch_each(const Dispatch *dispatch,
                  int (*visit)(size_t destination, const DispatchEntry *entry, void *userdata),
                  void *userdata)
{
    for (size_t i = 0; i < dispatch->n_targets; i++)
        for (size_t j = 0; j < dispatch->targets[i].n_entries; j++) {
            int r = visit(i, &dispatch->targets[i].entries[j], userdata);

            if (r != 0)
                return r;
        }
    return 0;
}

size_t dispatch_n_in_flight(const Dispatch *dispatch, size_t destination)
{
    return dispatch_count(target_at(dispatch, destination), DISPATCH_IN_FLIGHT);
}
