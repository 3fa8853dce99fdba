/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The stanza ids of one destination whose fate the session watches: those the relay process
 * called of unknown fate, those posted and not yet confirmed, and the last few that were
 * confirmed (so that a post which crossed its own confirmation isn't posted twice).
 */

#include "xmpprelay/link.h"

#define FLIGHT_MAX 1024    /* pending and posted together */
#define FLIGHT_DONE_MAX 64 /* confirmed ones that are remembered */

typedef enum FlightState {
    FLIGHT_PENDING, /* may be in the room's history or archive */
    FLIGHT_POSTED,
    FLIGHT_DONE,
} FlightState;

typedef struct FlightEntry {
    char id[LINK_ID_MAX + 1];
    FlightState state;
    usec_t since_usec; /* CLOCK_REALTIME: not in any room before */
    uint64_t ping;     /* contacts: the ping sent behind it */
} FlightEntry;

/* A zeroed Flight is empty. Entries are in the order they were added. */
typedef struct Flight {
    FlightEntry *entries;
    size_t n, n_done, allocated;
} Flight;

void flight_free_entries(Flight *flight);

/* -ENOSPC when FLIGHT_MAX are there already, -ENOMEM. The entry is valid until the next call
 * that changes the flight. */
int flight_add(Flight *flight, const char *id, FlightState state, usec_t since_usec,
               FlightEntry **ret);
FlightEntry *flight_find(Flight *flight, const char *id); /* or NULL */

void flight_confirm(Flight *flight, FlightEntry *entry);
void flight_remove(Flight *flight, FlightEntry *entry);

/* We are out of the room: what was posted is of unknown fate. */
void flight_lost(Flight *flight);
/* We are in again, and saw history and archive: what is still pending has not arrived. */
void flight_settle(Flight *flight);

size_t flight_n_pending(const Flight *flight);

/* The earliest of the pending and posted; USEC_INFINITY when there are none. */
usec_t flight_since(const Flight *flight);
