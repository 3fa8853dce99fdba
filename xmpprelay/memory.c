/* SPDX-License-Identifier: MIT */

/*
 * Each block has its size in front of it.
 */

#include "xmpprelay/memory.h"

#include <stdlib.h>

#include "common/log.h"

typedef union Block {
    size_t size;
    max_align_t align;
} Block;

#define LOOK_EACH 64 /* changes; to ask for CPU time is a system call */

void memory_watch(Memory *memory)
{
    if (memory->fatal_usec > 0)
        memory->watched_usec = now_usec(CLOCK_PROCESS_CPUTIME_ID);
}

static void look_at_time(Memory *memory)
{
    if (memory->fatal_usec == 0 || ++memory->n_changes % LOOK_EACH != 0)
        return;
    if (now_usec(CLOCK_PROCESS_CPUTIME_ID) - memory->watched_usec > memory->fatal_usec) {
        log_error("%s kept us busy for more than %.1f s at once", memory->name,
                  (double)memory->fatal_usec / USEC_PER_SEC);
        _exit(EXIT_FAILURE);
    }
}

static void count(Memory *memory, size_t size)
{
    look_at_time(memory);
    if (size > memory->fatal_bytes || memory->used_bytes > memory->fatal_bytes - size) {
        log_error("%s made us need more than %zu MB at once", memory->name,
                  memory->fatal_bytes >> 20);
        _exit(EXIT_FAILURE);
    }
    memory->used_bytes += size;
}

static void *must(void *pointer, const Memory *memory)
{
    if (pointer)
        return pointer;
    log_error("out of memory, for %s", memory->name);
    _exit(EXIT_FAILURE);
}

void *memory_allocate(size_t size, void *userdata)
{
    Memory *memory = userdata;
    Block *block;

    count(memory, size);
    block = must(malloc(sizeof(*block) + size), memory);
    block->size = size;
    return block + 1;
}

void memory_free(void *pointer, void *userdata)
{
    Memory *memory = userdata;
    Block *block;

    if (!pointer)
        return;
    block = (Block *)pointer - 1;
    memory->used_bytes -= block->size;
    if (memory->wiping)
        explicit_bzero(pointer, block->size);
    free(block);
}

void *memory_reallocate(void *pointer, size_t size, void *userdata)
{
    Memory *memory = userdata;
    Block *block;

    if (!pointer)
        return memory_allocate(size, userdata);
    block = (Block *)pointer - 1;
    if (memory->wiping) {
        /* realloc() would leave the old place as it was. */
        void *copy = memory_allocate(size, userdata);

        memcpy(copy, pointer, MIN(size, block->size));
        memory_free(pointer, userdata);
        return copy;
    }
    memory->used_bytes -= block->size;
    count(memory, size);
    block = must(realloc(block, sizeof(*block) + size), memory);
    block->size = size;
    return block + 1;
}
