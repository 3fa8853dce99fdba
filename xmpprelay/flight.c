/* SPDX-License-Identifier: MIT */

/*
 * An array in the order of adding. It is small (a window's worth), so it is searched from end to
 * end; what was confirmed stays in it until FLIGHT_DONE_MAX newer ones have been.
 */

#include "xmpprelay/flight.h"

#include <assert.h>

void flight_free_entries(Flight *flight)
{
    free(flight->entries);
    *flight = (Flight){};
}

int flight_add(Flight *flight, const char *id, FlightState state, usec_t since_usec,
               FlightEntry **ret)
{
    FlightEntry *entry;

    assert(strlen(id) <= LINK_ID_MAX);
    if (flight->n - flight->n_done >= FLIGHT_MAX)
        return -ENOSPC;
    if (flight->n == flight->allocated) {
        size_t allocated = MAX(flight->allocated * 2, (size_t)16);
        FlightEntry *entries = reallocarray(flight->entries, allocated, sizeof(*entries));

        if (!entries)
            return -ENOMEM;
        flight->entries = entries;
        flight->allocated = allocated;
    }
    entry = &flight->entries[flight->n++];
    *entry = (FlightEntry){ .state = state, .since_usec = since_usec };
    memcpy(entry->id, id, strlen(id) + 1);
    if (state == FLIGHT_DONE)
        flight->n_done++;
    *ret = entry;
    return 0;
}

FlightEntry *flight_find(Flight *flight, const char *id)
{
    for (size_t i = 0; i < flight->n; i++)
        if (streq(flight->entries[i].id, id))
            return &flight->entries[i];
    return NULL;
}

void flight_remove(Flight *flight, FlightEntry *entry)
{
    size_t index = (size_t)(entry - flight->entries);

    assert(index < flight->n);
    if (entry->state == FLIGHT_DONE)
        flight->n_done--;
    memmove(entry, entry + 1, (flight->n - index - 1) * sizeof(*entry));
    flight->n--;
}

void flight_confirm(Flight *flight, FlightEntry *entry)
{
    if (entry->state == FLIGHT_DONE)
        return;
    entry->state = FLIGHT_DONE;
    flight->n_done++;
    for (size_t i = 0; flight->n_done > FLIGHT_DONE_MAX; i++)
        if (flight->entries[i].state == FLIGHT_DONE) {
            flight_remove(flight, &flight->entries[i]);
            break;
        }
}

void flight_lost(Flight *flight)
{
    for (size_t i = 0; i < flight->n; i++)
        if (flight->entries[i].state == FLIGHT_POSTED)
            flight->entries[i].state = FLIGHT_PENDING;
}

void flight_settle(Flight *flight)
{
    size_t kept = 0;

    for (size_t i = 0; i < flight->n; i++)
        if (flight->entries[i].state != FLIGHT_PENDING)
            flight->entries[kept++] = flight->entries[i];
    flight->n = kept;
}

size_t flight_n_pending(const Flight *flight)
{
    size_t n = 0;

    for (size_t i = 0; i < flight->n; i++)
        n += flight->entries[i].state == FLIGHT_PENDING;
    return n;
}

usec_t flight_since(const Flight *flight)
{
    usec_t since = USEC_INFINITY;

    for (size_t i = 0; i < flight->n; i++)
        if (flight->entries[i].state != FLIGHT_DONE)
            since = MIN(since, flight->entries[i].since_usec);
    return since;
}
