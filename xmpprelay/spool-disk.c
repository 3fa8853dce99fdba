/* SPDX-License-Identifier: MIT */

/*
 * Whether the disk has room for more records, and the spool is still in its place.
 *
 * To deliver is to write too, and what frees space in the file needs some first: the log must be
 * written, and copied into the file, before pages are free. On a disk that records were allowed
 * to fill, nothing could be delivered any more. So the last of the space is for no record.
 */

#include "xmpprelay/spool-internal.h"

#include <sys/stat.h>
#include <sys/statvfs.h>

static int query(Spool *spool, const char *sql, uint64_t *ret)
{
    _cleanup_(statement_freep) Statement *statement = NULL;
    int r;

    r = statement_new(spool->database, sql, &statement);
    if (r == 0)
        r = statement_step(statement);
    if (r <= 0)
        return r < 0 ? r : -EIO;
    *ret = (uint64_t)statement_integer(statement, 0);
    return 0;
}

int spool_disk_init(Spool *spool, const char *path)
{
    struct stat st;

    spool->path = strdup(path);
    if (!spool->path)
        return -ENOMEM;
    if (stat(path, &st) < 0)
        return -errno;
    spool->device = st.st_dev;
    spool->inode = st.st_ino;
    return 0;
}

SpoolInserted spool_disk_check(Spool *spool)
{
    uint64_t free_pages, page_bytes, free_bytes;
    struct statvfs fs;
    struct stat st;

    if (stat(spool->path, &st) < 0 ? errno == ENOENT
                                   : st.st_dev != spool->device || st.st_ino != spool->inode)
        return SPOOL_REMOVED;
    if (statvfs(spool->path, &fs) < 0) /* then writing will tell */
        return SPOOL_INSERTED;
    free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (free_bytes >= spool->limits.reserve_bytes)
        return SPOOL_INSERTED;
    if (query(spool, "PRAGMA freelist_count", &free_pages) < 0 ||
        query(spool, "PRAGMA page_size", &page_bytes) < 0)
        return SPOOL_DISK;
    return free_bytes + free_pages * page_bytes < spool->limits.reserve_bytes ? SPOOL_DISK
                                                                              : SPOOL_INSERTED;
}
