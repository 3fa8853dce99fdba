/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * When to start, drain and kill workers: policy alone, no fork, no clock, no signal.
 *
 * There is a slot for each worker that shall run. A reload begins a generation: its workers are
 * started beside those that serve, and only when every slot has one that is ready are the older
 * ones drained. A worker that dies is replaced, at once if it had done some work, else after a
 * delay that grows; when none stays up the pool gives up.
 *
 * Whoever forks asks pool_next() after each event, does the step, and asks again until there is
 * nothing to do. Times are of one clock of the caller's choice.
 */

#include "common/backoff.h"

#include <sys/types.h>

/* A worker that lives shorter, or served no connection yet, died before its first work. */
#define POOL_EARLY_USEC USEC_PER_SEC
/* One that is not ready by then is stuck. */
#define POOL_START_USEC (30 * USEC_PER_SEC)
/* So many early deaths in a row, and no worker that is ready: there is no use in going on. */
#define POOL_HOPELESS 8
/* Reloads wait while so many workers for each slot are still draining. */
#define POOL_DRAINING_MAX 3

typedef enum PoolPhase {
    POOL_STARTING,
    POOL_READY,
    POOL_DRAINING,
    POOL_KILLED,
} PoolPhase;

typedef struct PoolWorker {
    pid_t pid;
    unsigned generation;
    size_t slot;
    PoolPhase phase;
    bool served; /* a connection, to its end */
    usec_t started_usec;
    usec_t deadline_usec; /* STARTING, DRAINING: when it is killed */
} PoolWorker;

typedef struct Pool {
    size_t n_slots;
    unsigned generation;
    bool stopping;
    usec_t drain_usec;
    usec_t not_before_usec; /* no worker is started earlier */
    Backoff backoff;
    PoolWorker *workers;
    size_t n_workers;
    size_t n_allocated;
} Pool;

typedef enum PoolAction {
    POOL_NOTHING, /* until `at_usec`, or an event */
    POOL_START,   /* a worker for `slot`; then pool_started() or pool_start_failed() */
    POOL_DRAIN,   /* tell `pid` to drain */
    POOL_KILL,    /* kill `pid`: it did not get ready, or did not drain, in time */
    POOL_GIVE_UP, /* no worker stays up; said again and again until pool_stop() */
    POOL_DONE,    /* after pool_stop(): the last one is gone */
} PoolAction;

typedef struct PoolStep {
    PoolAction action;
    size_t slot;
    pid_t pid;
    PoolPhase phase; /* POOL_KILL: what it was doing */
    usec_t at_usec;  /* POOL_NOTHING: ask again then; USEC_INFINITY: only after an event */
} PoolStep;

void pool_init(Pool *pool, size_t n_slots, usec_t drain_usec);
void pool_done(Pool *pool);

PoolStep pool_next(Pool *pool, usec_t now);

/* -ENOMEM: the pool can't hold it, kill the child. */
int pool_started(Pool *pool, size_t slot, pid_t pid, usec_t now);
void pool_start_failed(Pool *pool, usec_t now, uint32_t random);

/* What a worker reports. Unknown ids are ignored. */
void pool_ready(Pool *pool, pid_t pid);
void pool_served(Pool *pool, pid_t pid);

/* Takes out a worker that is gone. True, with *ret_worker, when it was known. */
bool pool_ended(Pool *pool, pid_t pid, usec_t now, uint32_t random, PoolWorker *ret_worker);

/* Whether a new generation may begin: the present one is complete, and few still drain. */
bool pool_may_reload(const Pool *pool);
void pool_reload(Pool *pool, size_t n_slots, usec_t drain_usec);

/* Drains all and starts no more. */
void pool_stop(Pool *pool);

size_t pool_n_ready(const Pool *pool);   /* of the present generation */
size_t pool_n_serving(const Pool *pool); /* ready and not draining, also of those before */
size_t pool_n_draining(const Pool *pool);
bool pool_is_complete(const Pool *pool); /* each slot of the present one has a ready worker */
