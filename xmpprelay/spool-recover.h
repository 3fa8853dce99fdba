/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Makes a new spool of what can be read of one that is damaged.
 */

#include "xmpprelay/spool.h"

typedef struct SpoolRecovered {
    uint64_t waiting; /* entries… */
    uint64_t failed;
    uint64_t again;  /* of those that wait: what became of them can't be read */
    uint64_t done;   /* records that are only remembered */
    uint64_t lost;   /* alerts that waited or had failed, and whose text can't be read */
    size_t broken;   /* rows of any kind that are there and can't be read */
    char kept[4096]; /* where the damaged file is now, and with "-wal" behind it its log */
} SpoolRecovered;

/* Puts a new spool in the place of the one at `path`, which is kept beside it, as is its log. An
 * alert whose entries can't be read gets new ones, for the destinations that it names or, where it
 * names none, for `names`. 1: there is a new one; 0: the old one is sound and nothing was done;
 * -errno with `reason`, and what was there is there. */
int spool_recover(const char *path, const char *const *names, size_t n_names, SpoolRecovered *ret,
                  char reason[static SPOOL_REASON_MAX]);
