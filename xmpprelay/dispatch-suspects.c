/* SPDX-License-Identifier: MIT */

/*
 * Which message it is that ends connections.
 *
 * While any suspect could be posted, its account posts one message at a time: first what is in
 * flight is waited for, then the suspect goes alone, so that the guilty one shows itself.
 *
 * A server that ends the stream over a message often says so (END_POISON). It may also just cut
 * the connection, as any bad line does. So a cut proves nothing by itself, and what was in flight
 * is a suspect only when that happens twice in a row, soon after it was posted and without its
 * arrival. If the connection is cut when it is alone, too, it stands back: all others go before
 * it, and it is posted, alone, in a session that has just brought another message to its
 * destination. A line that works for the others and is cut upon this one is what counts against
 * it. Where there are no others it does no harm by being tried again, and is. Others may wait for
 * a room that is still being joined; without some patience a message to a faster room would cut the
 * connection each time before that.
 *
 * What is known of cuts is kept in memory only; a new process begins to look anew.
 */

#include "xmpprelay/dispatch-internal.h"

#include <stdio.h>

#define SUSPECT_CUTS 2 /* in a row, from which on it is posted alone */
#define BACK_CUTS 2    /* in a row and alone, from which on it stands back */
#define JOINING_USEC (30 * USEC_PER_SEC)

static bool is_suspect(const DispatchEntry *entry)
{
    return entry->suspicion > 0 || entry->cuts >= SUSPECT_CUTS;
}

static bool stands_back(const DispatchEntry *entry)
{
    return entry->cuts_alone >= BACK_CUTS || (entry->cuts_alone > 0 && entry->suspicion > 0);
}

void suspects_accuse(DispatchEntry *entry, unsigned weight, const char *verdict)
{
    entry->suspicion =
        entry->alone ? MAX(entry->suspicion, 1U) + weight : MAX(entry->suspicion, 1U);
    entry->suspicion_changed = true;
    if (entry->suspicion >= DISPATCH_SUSPICION_FINAL)
        dispatch_settle(entry, false, verdict);
}

static void acquit(DispatchEntry *entry)
{
    entry->cut = false;
    entry->cuts = entry->cuts_alone = 0;
}

/* Whether the account had nothing in flight that could have ended its connection. */
static bool had_nothing_out(const Dispatch *dispatch, size_t account)
{
    for (size_t i = 0; i < dispatch->n_targets; i++) {
        const Target *target = &dispatch->targets[i];

        for (size_t j = 0; target->account == account && j < target->n_entries; j++)
            if (target->entries[j].state == DISPATCH_IN_FLIGHT || target->entries[j].cut)
                return false;
    }
    return true;
}

/* The connection was cut: by the last that was posted, or for any other reason. */
static void was_cut(Dispatch *dispatch, Target *target, usec_t now)
{
    bool by_itself = had_nothing_out(dispatch, target->account);

    for (size_t i = 0; i < target->n_entries; i++) {
        DispatchEntry *entry = &target->entries[i];

        if (entry->state == DISPATCH_IN_FLIGHT && now <= entry->posted_usec + DISPATCH_SOON_USEC)
            entry->cut = true;
        else if (entry->state == DISPATCH_IN_FLIGHT || by_itself)
            acquit(entry);
    }
}

static bool is_any_ready(const Dispatch *dispatch, size_t account)
{
    for (size_t i = 0; i < dispatch->n_targets; i++)
        if (dispatch->targets[i].account == account && dispatch->targets[i].ready)
            return true;
    return false;
}

/* The end of a session with no destination ready is not told: that of the last counts as such. */
void suspects_lost(Dispatch *dispatch, Target *target, EndCause cause, usec_t now)
{
    DispatchAccount *account = &dispatch->accounts[target->account];

    if (cause != END_QUIT || !is_any_ready(dispatch, target->account)) {
        account->proven = false;
        account->since_usec = account->joining_until_usec = 0;
    }
    if (cause == END_NETWORK)
        was_cut(dispatch, target, now);
    for (size_t i = 0; cause == END_POISON && i < target->n_entries; i++)
        if (target->entries[i].state == DISPATCH_IN_FLIGHT)
            suspects_accuse(&target->entries[i], 2,
                            "the server ended the stream over this message, twice");
}

void suspects_not_arrived(DispatchEntry *entry)
{
    if (!entry->cut)
        return;
    entry->cut = false;
    entry->cuts++;
    entry->cuts_alone += entry->alone;
    if (entry->after_another)
        suspects_accuse(entry, 2,
                        "the connection was lost each time that this message was posted, right "
                        "after others had arrived");
}

DispatchEntry *suspects_first_waiting(Target *target, bool all)
{
    for (size_t i = 0; i < target->n_entries; i++) {
        DispatchEntry *entry = &target->entries[i];

        if (entry->state == DISPATCH_WAITING && (all || !stands_back(entry)))
            return entry;
    }
    return NULL;
}

void suspects_mark_chosen(DispatchEntry *entry, bool alone, usec_t now_realtime)
{
    entry->state = DISPATCH_CHOSEN;
    entry->alone = alone;
    entry->after_another = false;
    if (entry->first_sent_usec == 0)
        entry->first_sent_usec = now_realtime;
}

static bool has_waiting_suspect(const Target *target, bool all)
{
    for (size_t i = 0; i < target->n_entries; i++) {
        const DispatchEntry *entry = &target->entries[i];

        if (entry->state == DISPATCH_WAITING && is_suspect(entry) && (all || !stands_back(entry)))
            return true;
    }
    return false;
}

static bool has_standing_back(const Target *target)
{
    for (size_t i = 0; i < target->n_entries; i++)
        if (target->entries[i].state == DISPATCH_WAITING && stands_back(&target->entries[i]))
            return true;
    return false;
}

/* What could be posted as soon as its room is joined. */
static bool has_others_to_come(const Target *target)
{
    for (size_t i = 0; !target->ready && !target->paused && i < target->n_entries; i++) {
        const DispatchEntry *entry = &target->entries[i];

        if ((entry->state == DISPATCH_WAITING || entry->state == DISPATCH_UNKNOWN) &&
            !stands_back(entry))
            return true;
    }
    return false;
}

static bool waits_for_rooms(Dispatch *dispatch, size_t index, usec_t now)
{
    DispatchAccount *account = &dispatch->accounts[index];
    bool back = false, to_come = false;

    for (size_t i = 0; i < dispatch->n_targets; i++) {
        const Target *target = &dispatch->targets[i];

        if (target->account != index)
            continue;
        back = back || (target->ready && has_standing_back(target));
        to_come = to_come || has_others_to_come(target);
    }
    if (!back)
        return false;
    if (account->since_usec == 0)
        account->since_usec = now;
    if (!to_come || now >= account->since_usec + JOINING_USEC)
        return false;
    account->joining_until_usec = account->since_usec + JOINING_USEC;
    return true;
}

usec_t suspects_wake_usec(const Dispatch *dispatch, size_t account)
{
    usec_t until_usec = dispatch->accounts[account].joining_until_usec;

    return until_usec > 0 ? until_usec : USEC_INFINITY;
}

/* Those that stand back have their turn when another message has arrived, or there is none. */
static bool is_turn_of_all(Dispatch *dispatch, size_t account, usec_t now)
{
    dispatch->accounts[account].joining_until_usec = 0;
    if (dispatch->accounts[account].proven)
        return true;
    for (size_t i = 0; i < dispatch->n_targets; i++) {
        Target *target = &dispatch->targets[i];

        if (target->account == account && dispatch_can_post(dispatch, target, now) &&
            suspects_first_waiting(target, false))
            return false;
    }
    return !waits_for_rooms(dispatch, account, now);
}

bool suspects_choose(Dispatch *dispatch, size_t account, usec_t now, usec_t now_realtime)
{
    bool all = is_turn_of_all(dispatch, account, now), alone = false;
    DispatchEntry *entry = NULL;
    Target *suspected = NULL;
    size_t n_in_flight = 0;

    for (size_t i = 0; i < dispatch->n_targets; i++) {
        Target *target = &dispatch->targets[i];

        if (target->account != account)
            continue;
        for (size_t j = 0; j < target->n_entries; j++)
            if (target->entries[j].state == DISPATCH_IN_FLIGHT) {
                n_in_flight++;
                alone = alone || target->entries[j].alone;
            }
        if (!suspected && dispatch_can_post(dispatch, target, now) &&
            has_waiting_suspect(target, all))
            suspected = target;
    }
    if (suspected && n_in_flight == 0)
        entry = suspects_first_waiting(suspected, all);
    if (entry) {
        suspects_mark_chosen(entry, true, now_realtime);
        entry->after_another = stands_back(entry) && dispatch->accounts[account].proven;
    }
    return suspected || alone;
}
