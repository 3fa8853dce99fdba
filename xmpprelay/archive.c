/* SPDX-License-Identifier: MIT */

/*
 * One page after another, each from behind the last message of the one before. An archive that
 * names no such message, or the same one again, would be asked for ever, and is asked no more.
 */

#include "xmpprelay/archive.h"

#include <assert.h>
#include <stdio.h>

#include "common/text.h"

void archive_begin(Archive *archive, size_t n_wanted, usec_t start_usec, usec_t now)
{
    *archive = (Archive){
        .asking = true,
        .n_wanted = n_wanted,
        .start_usec = start_usec,
        .deadline_usec = now + ARCHIVE_USEC,
    };
}

void archive_asked(Archive *archive, const char *query_id)
{
    assert(archive->asking && strlen(query_id) <= ARCHIVE_QUERY_MAX);
    snprintf(archive->query_id, sizeof(archive->query_id), "%s", query_id);
    archive->n_pages++;
}

bool archive_awaits(const Archive *archive, const char *query_id)
{
    return archive->asking && query_id && streq(archive->query_id, query_id);
}

static ArchiveStep next_step(const Archive *archive, const ArchivePage *page, size_t n_left)
{
    size_t length = page->last ? strlen(page->last) : 0;

    if (page->condition)
        return ARCHIVE_REFUSED;
    if (page->complete || n_left == 0)
        return ARCHIVE_FINISHED;
    if (length == 0 || length > ARCHIVE_POSITION_MAX || !text_is_clean(page->last, length) ||
        streq(page->last, archive->after) || archive->n_pages >= ARCHIVE_PAGES_MAX)
        return ARCHIVE_UNFINISHED;
    return ARCHIVE_ASK;
}

ArchiveStep archive_page_over(Archive *archive, const ArchivePage *page, size_t n_left)
{
    ArchiveStep step = next_step(archive, page, n_left);

    if (step == ARCHIVE_ASK)
        snprintf(archive->after, sizeof(archive->after), "%s", page->last);
    else
        archive_stop(archive);
    return step;
}

void archive_stop(Archive *archive)
{
    archive->asking = false;
}

usec_t archive_deadline(const Archive *archive)
{
    return archive->asking ? archive->deadline_usec : USEC_INFINITY;
}
