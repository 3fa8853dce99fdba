/* SPDX-License-Identifier: MIT */

/*
 * A damaged database file, and its log: the first three bytes are the size of the file, the rest
 * is the log. Each row that comes must lie within what was read.
 */

#include "tests/fuzz/fuzz.h"

#include "xmpprelay/database-pages.h"

#include <fcntl.h>

#define SIZE_BYTES 3

static int touch_row(const PagesRow *row, void *userdata)
{
    uint64_t *sum = userdata;

    REQUIRE(row->n_values <= PAGES_COLUMNS_MAX);
    for (size_t i = 0; i < row->n_values; i++) {
        const PagesValue *value = &row->values[i];

        if (value->type == PAGES_INTEGER)
            *sum += (uint64_t)value->integer;
        if (value->type == PAGES_TEXT)
            for (size_t at = 0; at < value->size; at++)
                *sum += (uint8_t)value->text[at];
    }
    return 0;
}

static void write_file(const char *path, const uint8_t *data, size_t size)
{
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    REQUIRE(fd >= 0 && write(fd, data, size) == (ssize_t)size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char path[64], log[80];
    size_t file_size, n_broken;
    uint64_t sum = 0;

    if (size < SIZE_BYTES)
        return 0;
    if (!path[0]) {
        snprintf(path, sizeof(path), "/dev/shm/fuzz-pages-%d", (int)getpid());
        snprintf(log, sizeof(log), "%s-wal", path);
    }
    file_size = MIN((size_t)data[0] << 16 | (size_t)data[1] << 8 | data[2], size - SIZE_BYTES);
    write_file(path, data + SIZE_BYTES, file_size);
    write_file(log, data + SIZE_BYTES + file_size, size - SIZE_BYTES - file_size);
    REQUIRE(pages_read(path, touch_row, &sum, &n_broken) == 0);
    (void)unlink(path);
    (void)unlink(log);
    return 0;
}
