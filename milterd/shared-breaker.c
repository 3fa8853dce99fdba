/* SPDX-License-Identifier: MIT */

/*
 * A mutex that knows when its owner has died guards two copies of the state. A change is made in
 * the copy that does not hold, and takes effect with the one store that says which of them does:
 * whoever is killed meanwhile leaves the state before or after the change, never one between. The
 * record is written before the breaker is open, and read only while it is.
 *
 * A condition variable does not survive the death of those who use it. So probers sleep on a futex
 * that counts how often the breaker has opened. Who is killed between opening it and waking them
 * still had the mutex, and the next to lock it wakes them.
 */

#include "milterd/shared-breaker.h"

#include <assert.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>

typedef struct State {
    Breaker breaker;
    size_t record_size;
} State;

struct SharedBreaker {
    pthread_mutex_t mutex;
    State states[2];
    atomic_uint present;          /* which of them holds; changes under the mutex */
    atomic_bool open;             /* as that one says, for those who do not lock */
    _Atomic(uint32_t) n_openings; /* the futex */
    char record[RECORD_FRAME_MAX];
};

int shared_breaker_new(SharedBreaker **ret)
{
    pthread_mutexattr_t attributes;
    SharedBreaker *shared;
    int r;

    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return -errno;

    r = pthread_mutexattr_init(&attributes);
    if (r == 0) {
        r = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
        if (r == 0)
            r = pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
        if (r == 0)
            r = pthread_mutex_init(&shared->mutex, &attributes);
        pthread_mutexattr_destroy(&attributes);
    }
    if (r != 0) {
        shared_breaker_free(shared);
        return -r;
    }
    *ret = shared;
    return 0;
}

SharedBreaker *shared_breaker_free(SharedBreaker *shared)
{
    /* The mutex stays as it is: others may hold it. */
    if (shared)
        munmap(shared, sizeof(*shared));
    return NULL;
}

static const State *present(const SharedBreaker *shared)
{
    return &shared->states[atomic_load(&shared->present)];
}

/* What follows from the present state for those who do not look at it. */
static void announce(SharedBreaker *shared)
{
    bool open = present(shared)->breaker.open;

    if (open && !atomic_load(&shared->open)) {
        atomic_fetch_add(&shared->n_openings, 1);
        (void)syscall(SYS_futex, &shared->n_openings, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
    }
    atomic_store(&shared->open, open);
}

static void lock(SharedBreaker *shared)
{
    int r = pthread_mutex_lock(&shared->mutex);

    if (r == EOWNERDEAD) {
        r = pthread_mutex_consistent(&shared->mutex);
        announce(shared);
    }
    assert(r == 0);
}

static void unlock(SharedBreaker *shared)
{
    pthread_mutex_unlock(&shared->mutex);
}

/* A copy of the present state, to be changed. */
static State *begin_change(SharedBreaker *shared)
{
    State *next = &shared->states[!atomic_load(&shared->present)];

    *next = *present(shared);
    return next;
}

static void end_change(SharedBreaker *shared)
{
    atomic_store(&shared->present, !atomic_load(&shared->present));
    announce(shared);
}

bool shared_breaker_allows(SharedBreaker *shared)
{
    bool allows;

    lock(shared);
    allows = breaker_allows(&begin_change(shared)->breaker);
    end_change(shared);
    unlock(shared);
    return allows;
}

bool shared_breaker_failed(SharedBreaker *shared, usec_t began, usec_t now, const char *json,
                           size_t size)
{
    State *next;
    bool opened;

    assert(size <= sizeof(shared->record));
    lock(shared);
    next = begin_change(shared);
    opened = breaker_failed(&next->breaker, began, now);
    if (opened) {
        memcpy(shared->record, json, size);
        next->record_size = size;
    }
    end_change(shared);
    unlock(shared);
    return opened;
}

bool shared_breaker_answered(SharedBreaker *shared, usec_t now, Breaker *ret)
{
    State *next;
    bool closed;

    lock(shared);
    next = begin_change(shared);
    closed = breaker_answered(&next->breaker, now);
    if (closed)
        *ret = next->breaker;
    end_change(shared);
    unlock(shared);
    return closed;
}

bool shared_breaker_is_open(const SharedBreaker *shared)
{
    return atomic_load(&shared->open);
}

/* Until it opens anew, or the time has come. */
static void sleep_until(SharedBreaker *shared, uint32_t n_openings, usec_t until)
{
    const struct timespec time = { .tv_sec = (time_t)(until / USEC_PER_SEC),
                                   .tv_nsec = (long)(until % USEC_PER_SEC) * 1000 };

    /* This operation takes an absolute CLOCK_MONOTONIC. */
    (void)syscall(SYS_futex, &shared->n_openings, FUTEX_WAIT_BITSET, n_openings,
                  until == USEC_INFINITY ? NULL : &time, NULL, FUTEX_BITSET_MATCH_ANY);
}

usec_t shared_breaker_wait_turn(SharedBreaker *shared, char ret_json[static RECORD_FRAME_MAX],
                                size_t *ret_size)
{
    for (;;) {
        uint32_t n_openings;
        usec_t until;
        State *next;
        bool mine;

        lock(shared);
        n_openings = atomic_load(&shared->n_openings);
        next = begin_change(shared);
        mine = breaker_probe(&next->breaker, now_usec(CLOCK_MONOTONIC), &until);
        if (mine) {
            end_change(shared);
            memcpy(ret_json, shared->record, next->record_size);
            *ret_size = next->record_size;
        }
        unlock(shared);
        if (mine)
            return until;
        sleep_until(shared, n_openings, until);
    }
}
