/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Bytes that grow up to a bound. What does not fit is dropped and remembered, so that writers
 * need not check each piece: `full` is a matter of content, `failed` one of memory.
 */

#include "common/util.h"

typedef struct Buffer {
    char *data; /* NUL-terminated; NULL while it is empty */
    size_t size;
    size_t max;
    size_t allocated;
    bool full;
    bool failed;
} Buffer;

static inline void buffer_add(Buffer *buffer, const char *bytes, size_t size)
{
    size_t room = buffer->max - MIN(buffer->size, buffer->max);

    if (size > room) {
        size = room;
        buffer->full = true;
    }
    if (size == 0 || buffer->failed)
        return;
    if (size >= buffer->allocated - buffer->size) {
        size_t allocated = (buffer->size + size) * 2 + 64;
        char *data = realloc(buffer->data, allocated);

        if (!data) {
            buffer->failed = true;
            return;
        }
        buffer->data = data;
        buffer->allocated = allocated;
    }
    memcpy(buffer->data + buffer->size, bytes, size);
    buffer->size += size;
    buffer->data[buffer->size] = '\0';
}

static inline void buffer_add_string(Buffer *buffer, const char *string)
{
    buffer_add(buffer, string, strlen(string));
}

/* Takes off what stands behind the first `size` bytes. */
static inline void buffer_cut(Buffer *buffer, size_t size)
{
    if (size < buffer->size) {
        buffer->size = size;
        buffer->data[size] = '\0';
    }
}

static inline void buffer_done(Buffer *buffer)
{
    free(buffer->data);
    *buffer = (Buffer){};
}
