/* SPDX-License-Identifier: MIT */

/*
 * The table of workers, and from it the one step that is due.
 *
 * There are few workers, so each question walks the table. What always holds: a slot has at most
 * one worker of the present generation; a worker of an older one is never replaced.
 */

#include "milterd/pool.h"

void pool_init(Pool *pool, size_t n_slots, usec_t drain_usec)
{
    *pool = (Pool){
        .n_slots = n_slots,
        .drain_usec = drain_usec,
        .backoff = {
            .base_usec = 100 * USEC_PER_MSEC,
            .cap_usec = 10 * USEC_PER_SEC,
            .healthy_usec = 60 * USEC_PER_SEC,
        },
    };
}

void pool_done(Pool *pool)
{
    free(pool->workers);
    *pool = (Pool){};
}

static PoolWorker *find(Pool *pool, pid_t pid)
{
    for (size_t i = 0; i < pool->n_workers; i++)
        if (pool->workers[i].pid == pid)
            return &pool->workers[i];
    return NULL;
}

static size_t count(const Pool *pool, PoolPhase phase, bool present)
{
    size_t n = 0;

    for (size_t i = 0; i < pool->n_workers; i++)
        if (pool->workers[i].phase == phase &&
            (!present || pool->workers[i].generation == pool->generation))
            n++;
    return n;
}

size_t pool_n_ready(const Pool *pool)
{
    return count(pool, POOL_READY, true);
}

size_t pool_n_serving(const Pool *pool)
{
    return count(pool, POOL_READY, false);
}

size_t pool_n_draining(const Pool *pool)
{
    return count(pool, POOL_DRAINING, false);
}

bool pool_is_complete(const Pool *pool)
{
    return pool_n_ready(pool) == pool->n_slots;
}

bool pool_may_reload(const Pool *pool)
{
    return !pool->stopping && pool_is_complete(pool) &&
           pool_n_draining(pool) < POOL_DRAINING_MAX * pool->n_slots;
}

void pool_reload(Pool *pool, size_t n_slots, usec_t drain_usec)
{
    pool->generation++;
    pool->n_slots = n_slots;
    pool->drain_usec = drain_usec;
    pool->not_before_usec = 0;
    pool->backoff.failures = 0;
}

void pool_stop(Pool *pool)
{
    pool->stopping = true;
}

static bool is_to_drain(const Pool *pool, const PoolWorker *worker, bool complete)
{
    if (pool->stopping)
        return worker->phase == POOL_STARTING || worker->phase == POOL_READY;
    return complete && worker->generation != pool->generation &&
           (worker->phase == POOL_STARTING || worker->phase == POOL_READY);
}

static bool slot_is_taken(const Pool *pool, size_t slot)
{
    for (size_t i = 0; i < pool->n_workers; i++) {
        const PoolWorker *worker = &pool->workers[i];

        if (worker->generation == pool->generation && worker->slot == slot)
            return true;
    }
    return false;
}

static bool is_hopeless(const Pool *pool)
{
    return pool->backoff.failures >= POOL_HOPELESS && count(pool, POOL_READY, false) == 0;
}

static usec_t deadline(usec_t now, usec_t wait)
{
    return now > USEC_INFINITY - wait ? USEC_INFINITY : now + wait;
}

PoolStep pool_next(Pool *pool, usec_t now)
{
    bool complete = pool_is_complete(pool);
    usec_t at_usec = USEC_INFINITY;

    for (size_t i = 0; i < pool->n_workers; i++) {
        PoolWorker *worker = &pool->workers[i];

        if (is_to_drain(pool, worker, complete)) {
            worker->phase = POOL_DRAINING;
            worker->deadline_usec = deadline(now, pool->drain_usec);
            return (PoolStep){ .action = POOL_DRAIN, .pid = worker->pid };
        }
        if (worker->phase != POOL_STARTING && worker->phase != POOL_DRAINING)
            continue;
        if (now >= worker->deadline_usec) {
            PoolPhase phase = worker->phase;

            worker->phase = POOL_KILLED;
            return (PoolStep){ .action = POOL_KILL, .pid = worker->pid, .phase = phase };
        }
        at_usec = MIN(at_usec, worker->deadline_usec);
    }

    if (pool->stopping) {
        if (pool->n_workers == 0)
            return (PoolStep){ .action = POOL_DONE };
        return (PoolStep){ .action = POOL_NOTHING, .at_usec = at_usec };
    }
    if (is_hopeless(pool))
        return (PoolStep){ .action = POOL_GIVE_UP };

    for (size_t slot = 0; slot < pool->n_slots; slot++) {
        if (slot_is_taken(pool, slot))
            continue;
        if (now >= pool->not_before_usec)
            return (PoolStep){ .action = POOL_START, .slot = slot };
        at_usec = MIN(at_usec, pool->not_before_usec);
        break;
    }
    return (PoolStep){ .action = POOL_NOTHING, .at_usec = at_usec };
}

int pool_started(Pool *pool, size_t slot, pid_t pid, usec_t now)
{
    if (pool->n_workers == pool->n_allocated) {
        size_t n = pool->n_allocated * 2 + 8;
        PoolWorker *workers = reallocarray(pool->workers, n, sizeof(*workers));

        if (!workers)
            return -ENOMEM;
        pool->workers = workers;
        pool->n_allocated = n;
    }

    pool->workers[pool->n_workers++] = (PoolWorker){
        .pid = pid,
        .generation = pool->generation,
        .slot = slot,
        .phase = POOL_STARTING,
        .started_usec = now,
        .deadline_usec = deadline(now, POOL_START_USEC),
    };
    return 0;
}

static void throttle(Pool *pool, usec_t started_usec, usec_t now, uint32_t random)
{
    /* Several workers may be under way; the one that died is what the delay is about. */
    backoff_started(&pool->backoff, started_usec);
    pool->not_before_usec = deadline(now, backoff_failed(&pool->backoff, now, random));
}

void pool_start_failed(Pool *pool, usec_t now, uint32_t random)
{
    throttle(pool, now, now, random);
}

void pool_ready(Pool *pool, pid_t pid)
{
    PoolWorker *worker = find(pool, pid);

    if (worker && worker->phase == POOL_STARTING)
        worker->phase = POOL_READY;
}

void pool_served(Pool *pool, pid_t pid)
{
    PoolWorker *worker = find(pool, pid);

    if (worker)
        worker->served = true;
}

bool pool_ended(Pool *pool, pid_t pid, usec_t now, uint32_t random, PoolWorker *ret_worker)
{
    PoolWorker *found = find(pool, pid);
    PoolWorker worker;
    bool early;

    if (!found)
        return false;
    worker = *found;
    *found = pool->workers[--pool->n_workers];

    early = !worker.served ||
            (now >= worker.started_usec && now - worker.started_usec < POOL_EARLY_USEC);
    if (worker.phase == POOL_DRAINING || worker.generation != pool->generation) {
        /* It was to go, or is not missed. */
    } else if (early) {
        throttle(pool, worker.started_usec, now, random);
    } else {
        pool->backoff.failures = 0;
        pool->not_before_usec = 0;
    }

    *ret_worker = worker;
    return true;
}
