/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * An allocator that counts, for a library that grows with what its peer sends and survives no
 * NULL. Allocation never fails: past `fatal_bytes`, or when there is no memory, the process
 * ends with a word about `name`. So it does when the library is busy for longer than it should be,
 * which nobody else could interrupt. The functions fit the usual hooks (size, userdata = Memory).
 */

#include "common/util.h"

typedef struct Memory {
    const char *name;
    size_t used_bytes;
    size_t fatal_bytes;
    bool wiping;       /* what is freed is wiped first: a secret passes through */
    usec_t fatal_usec; /* of CPU time since memory_watch(); 0: no limit */
    usec_t watched_usec;
    unsigned n_changes;
} Memory;

void memory_watch(Memory *memory);

void *memory_allocate(size_t size, void *memory);
void *memory_reallocate(void *pointer, size_t size, void *memory);
void memory_free(void *pointer, void *memory);
