/* SPDX-License-Identifier: MIT */

/*
 * Whether the log of a database is damaged.
 *
 * SQLite reads a log up to the first frame whose checksum is wrong, and takes that for the end:
 * the place where a loss of power cut off what was being written. Should a disk have spoilt that
 * frame, all that was committed after it would be dropped without a word.
 *
 * The two can be told apart. Each commit waits for the disk before the next one begins, so past the
 * place where writing was cut off there is no more than one commit. Each frame's checksum goes on
 * from that of the frame before, so frames that belong together are known as such behind a damaged
 * one, too; where these hold a second commit, something was lost between. What is damaged in the
 * very last commits looks like one that was cut off.
 */

#include "xmpprelay/database.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#define HEADER_BYTES 32
#define FRAME_BYTES 24
#define MAGIC 0x377f0682 /* the lowest bit: the words that are summed up are big-endian */

typedef struct Checksum {
    uint32_t a, b;
} Checksum;

static uint32_t get_32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint32_t get_word(const uint8_t *at, bool big_endian)
{
    return big_endian
               ? get_32(at)
               : (uint32_t)at[3] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[1] << 8 | at[0];
}

static Checksum add_up(Checksum sum, const uint8_t *data, size_t size, bool big_endian)
{
    for (size_t i = 0; i + 8 <= size; i += 8) {
        sum.a += get_word(data + i, big_endian) + sum.b;
        sum.b += get_word(data + i + 4, big_endian) + sum.a;
    }
    return sum;
}

static Checksum stored(const uint8_t *at)
{
    return (Checksum){ get_32(at), get_32(at + 4) };
}

static bool same(Checksum a, Checksum b)
{
    return a.a == b.a && a.b == b.b;
}

static int damaged(const char *log, const char *how, char reason[static DATABASE_REASON_MAX])
{
    snprintf(reason, DATABASE_REASON_MAX, "%.200s %s", log, how);
    return -EUCLEAN;
}

/* 0: the frames are good up to where writing was cut off; 1: there is more behind. */
static int look_at_frames(int fd, const uint8_t header[static HEADER_BYTES], size_t page_bytes)
{
    const bool big_endian = (get_32(header) & 1) != 0;
    const size_t step = FRAME_BYTES + page_bytes;
    _cleanup_free_ uint8_t *frame = malloc(step);
    Checksum before = stored(header + 24);
    bool whole = true;      /* all frames so far are good */
    unsigned n_commits = 0; /* past the first one that isn't, in frames that belong together */

    if (!frame)
        return -ENOMEM;
    for (off_t at = HEADER_BYTES;; at += (off_t)step) {
        ssize_t n = pread(fd, frame, step, at);
        Checksum sum;

        if (n < 0)
            return -errno;
        if ((size_t)n < step)
            return 0;
        sum = add_up(before, frame, 8, big_endian);
        sum = add_up(sum, frame + FRAME_BYTES, page_bytes, big_endian);
        before = stored(frame + 16);
        if (memcmp(frame + 8, header + 16, 8) != 0 || !same(sum, before)) {
            whole = false;
            n_commits = 0;
        } else if (!whole && get_32(frame + 4) != 0 && ++n_commits == 2) {
            return 1;
        }
    }
}

int database_check_log(const char *path, char reason[static DATABASE_REASON_MAX])
{
    _cleanup_close_ int fd = -1;
    uint8_t header[HEADER_BYTES];
    char log[PATH_MAX];
    size_t page_bytes;
    struct stat st;
    int r;

    if (snprintf(log, sizeof(log), "%s-wal", path) >= (int)sizeof(log))
        return -ENAMETOOLONG;
    fd = open(log, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0)
        return errno == ENOENT ? 0 : -errno;
    /* The header is on disk before the first frame is written. */
    if (st.st_size <= HEADER_BYTES)
        return 0;
    if (pread(fd, header, sizeof(header), 0) != (ssize_t)sizeof(header))
        return -EIO;
    page_bytes = get_32(header + 8);
    if ((get_32(header) & ~1u) != MAGIC || page_bytes < 512 || page_bytes > 65536 ||
        !same(add_up((Checksum){}, header, 24, get_32(header) & 1), stored(header + 24)))
        return damaged(log, "begins with something else than a log does", reason);

    r = look_at_frames(fd, header, page_bytes);
    return r > 0 ? damaged(log, "has changes behind others that can't be read", reason) : r;
}
