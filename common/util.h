/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Small things that every file needs: clean-up of locals, moving of ownership, time.
 *
 * Time is a usec_t everywhere inside: microseconds, on the clock that the name or the
 * comment says. Errors are negative errno values; outputs stand last, are called ret_…,
 * and are untouched on failure.
 */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ELEMENTSOF(array) (sizeof(array) / sizeof((array)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

#define PRINTF_LIKE(format_at, args_at) __attribute__((format(printf, format_at, args_at)))

#define _cleanup_(function) __attribute__((cleanup(function)))

/* Makes `NAMEp()`, for _cleanup_, of a `NAME()` that frees one object and accepts NULL. */
#define DEFINE_CLEANUP(type, function)                                                             \
    static inline void function##p(type *pointer)                                                  \
    {                                                                                              \
        if (*pointer)                                                                              \
            function(*pointer);                                                                    \
    }

static inline void freep(void *pointer)
{
    free(*(void **)pointer);
}

/* Closes a descriptor that may be -1, keeps errno, returns -1 for the variable that held it. */
static inline int close_fd(int fd)
{
    if (fd >= 0) {
        int saved_errno = errno;

        close(fd);
        errno = saved_errno;
    }
    return -1;
}

static inline void close_fdp(int *fd)
{
    close_fd(*fd);
}

#define _cleanup_free_ _cleanup_(freep)
#define _cleanup_close_ _cleanup_(close_fdp)

/* Takes the value out of a variable, so that its clean-up finds nothing. */
#define steal_ptr(pointer)                                                                         \
    ({                                                                                             \
        __typeof__(pointer) stolen_ = (pointer);                                                   \
        (pointer) = NULL;                                                                          \
        stolen_;                                                                                   \
    })

static inline int steal_fd(int *fd)
{
    int stolen = *fd;

    *fd = -1;
    return stolen;
}

static inline bool streq(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

typedef uint64_t usec_t;

#define USEC_PER_MSEC ((usec_t)1000)
#define USEC_PER_SEC ((usec_t)1000000)
#define USEC_INFINITY UINT64_MAX

/* The time on CLOCK_REALTIME, CLOCK_MONOTONIC or CLOCK_BOOTTIME; these can't fail. */
static inline usec_t now_usec(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return (usec_t)ts.tv_sec * USEC_PER_SEC + (usec_t)ts.tv_nsec / 1000;
}
