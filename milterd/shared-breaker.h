/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The breaker of all workers together, and the record that is probed with, in memory that they
 * share: the manager maps it, workers inherit it.
 *
 * All functions may be called from any thread of any of these processes, and none of them relies
 * on a process to live on: one may be killed at any instant.
 */

#include "common/record.h"
#include "milterd/breaker.h"

typedef struct SharedBreaker SharedBreaker;

/* 0 or -errno. Freeing unmaps it in this process; others keep it. */
int shared_breaker_new(SharedBreaker **ret);
SharedBreaker *shared_breaker_free(SharedBreaker *shared);
DEFINE_CLEANUP(SharedBreaker *, shared_breaker_free)

/* These are breaker.h's; times are CLOCK_MONOTONIC. What opens it leaves its record, `size` bytes
 * of JSON, for the probers. *ret is the breaker as it was left, set where the result is true. */
bool shared_breaker_allows(SharedBreaker *shared);
bool shared_breaker_failed(SharedBreaker *shared, usec_t began, usec_t now, const char *json,
                           size_t size);
bool shared_breaker_answered(SharedBreaker *shared, usec_t now, Breaker *ret);

/* Waits for no lock, so what it says may just have changed. */
bool shared_breaker_is_open(const SharedBreaker *shared);

/* Blocks until it is open and the caller's turn to probe, which is over at the time returned.
 * Copies the record out. */
usec_t shared_breaker_wait_turn(SharedBreaker *shared, char ret_json[static RECORD_FRAME_MAX],
                                size_t *ret_size);
