/* SPDX-License-Identifier: MIT */

/*
 * What always holds while turns are taken: the debts are no more than `floor`, the rest of which
 * was unread before turns began; what is unread above it is of the uid that has its turn.
 *
 * When less than `floor` is unread somebody has paid, and there is no telling who. The smallest
 * debts are taken to be paid first: a sender that reads may be late, and then has little; one that
 * never reads has the most.
 */

#include "xmpprelay/unread.h"

#define SCARCE_PART 4 /* of the buffer; unread above that, turns are taken */

void unread_init(Unread *unread, size_t limit)
{
    *unread = (Unread){ .limit = limit };
}

static UnreadDebt *find(const Unread *unread, uid_t uid)
{
    for (size_t i = 0; i < unread->n_debts; i++)
        if (unread->debts[i].uid == uid)
            return (UnreadDebt *)&unread->debts[i];
    return NULL;
}

size_t unread_debt(const Unread *unread, uid_t uid)
{
    const UnreadDebt *debt = find(unread, uid);

    return debt ? debt->bytes : 0;
}

static UnreadDebt *smallest(Unread *unread)
{
    UnreadDebt *found = NULL;

    for (size_t i = 0; i < unread->n_debts; i++)
        if (!found || unread->debts[i].bytes < found->bytes)
            found = &unread->debts[i];
    return found;
}

static void forget(Unread *unread, UnreadDebt *debt)
{
    *debt = unread->debts[--unread->n_debts];
}

static void owe(Unread *unread, uid_t uid, size_t bytes)
{
    UnreadDebt *debt = find(unread, uid);

    if (bytes == 0)
        return;
    if (debt) {
        debt->bytes += bytes;
        return;
    }
    if (unread->n_debts == UNREAD_UIDS_MAX)
        forget(unread, smallest(unread));
    unread->debts[unread->n_debts++] = (UnreadDebt){ .uid = uid, .bytes = bytes };
}

static void pay(Unread *unread, size_t bytes)
{
    while (bytes > 0 && unread->n_debts > 0) {
        UnreadDebt *debt = smallest(unread);
        size_t part = MIN(bytes, debt->bytes);

        bytes -= part;
        debt->bytes -= part;
        if (debt->bytes == 0)
            forget(unread, debt);
    }
}

/* Takes in how much is unread now. */
static void note(Unread *unread, size_t bytes)
{
    if (bytes <= unread->limit / SCARCE_PART) {
        *unread = (Unread){ .limit = unread->limit };
        return;
    }
    if (!unread->scarce) {
        unread->scarce = true;
        unread->floor = bytes;
    } else if (bytes < unread->floor) {
        pay(unread, unread->floor - bytes);
        unread->floor = bytes;
    }
}

static bool is_over(const Unread *unread, size_t owed, size_t bytes)
{
    return bytes >= unread->limit || owed >= (unread->limit - bytes) / 2;
}

UnreadAdvice unread_ask(Unread *unread, uid_t uid, size_t bytes)
{
    size_t owed;

    note(unread, bytes);
    if (!unread->scarce)
        return UNREAD_SEND;
    owed = unread_debt(unread, uid);
    if (is_over(unread, owed, unread->floor))
        return UNREAD_DROP;
    if (!unread->has_turn || bytes == unread->floor) { /* nothing of the turn before is unread */
        unread->has_turn = true;
        unread->turn = uid;
    }
    if (unread->turn == uid && !is_over(unread, owed + bytes - unread->floor, bytes))
        return UNREAD_SEND;
    return bytes > unread->floor ? UNREAD_SETTLE : UNREAD_DROP;
}

void unread_settled(Unread *unread, uid_t next, size_t bytes)
{
    note(unread, bytes);
    if (!unread->scarce)
        return;
    if (unread->has_turn)
        owe(unread, unread->turn, bytes - unread->floor);
    unread->floor = bytes;
    unread->has_turn = true;
    unread->turn = next;
}
