/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Looking up in an archive (XEP-0313, in pages as XEP-0059 has them) which messages have arrived,
 * as a state machine: what the archive says goes in, whether to ask for a further page comes out.
 * No I/O, no clock, no library.
 *
 * It ends in any case: when all are found, when the archive ends, refuses or contradicts itself,
 * after ARCHIVE_PAGES_MAX pages, and after ARCHIVE_USEC. Nothing that the archive says is kept
 * but the place where the next page begins.
 */

#include "common/util.h"

#define ARCHIVE_PAGE 100      /* messages that are asked for at once; servers may give fewer */
#define ARCHIVE_PAGES_MAX 100 /* in one look-up */
#define ARCHIVE_USEC (30 * USEC_PER_SEC)
#define ARCHIVE_POSITION_MAX 255 /* bytes of the archive's id of a message */
#define ARCHIVE_QUERY_MAX 63

/* What ends a page. */
typedef struct ArchivePage {
    const char *condition; /* the error, or NULL */
    bool complete;         /* there is no further page */
    const char *last;      /* the archive's id of the page's last message, or NULL */
} ArchivePage;

typedef enum ArchiveStep {
    ARCHIVE_ASK,        /* for the page behind archive->after */
    ARCHIVE_FINISHED,   /* its end was reached, or all were found */
    ARCHIVE_REFUSED,    /* it can't be asked; or not any more */
    ARCHIVE_UNFINISHED, /* there is more than we look at, or it is not in its right mind */
} ArchiveStep;

/* A zeroed Archive is not asked. */
typedef struct Archive {
    bool asking;
    size_t n_wanted;
    usec_t start_usec;
    unsigned n_pages;                     /* asked for */
    char query_id[ARCHIVE_QUERY_MAX + 1]; /* of the page that is asked for */
    char after[ARCHIVE_POSITION_MAX + 1]; /* "": from the beginning */
    usec_t deadline_usec;                 /* CLOCK_MONOTONIC */
} Archive;

/* Begins to look for n_wanted messages, none older than start_usec (CLOCK_REALTIME). The caller
 * asks for the first page. */
void archive_begin(Archive *archive, size_t n_wanted, usec_t start_usec, usec_t now);
/* A page was asked for under this id, of at most ARCHIVE_QUERY_MAX bytes. */
void archive_asked(Archive *archive, const char *query_id);

/* Whether this is the id of the page that is asked for; `query_id` may be NULL. */
bool archive_awaits(const Archive *archive, const char *query_id);
/* The page is over, with n_left messages yet to be found. All but ARCHIVE_ASK ends the look-up. */
ArchiveStep archive_page_over(Archive *archive, const ArchivePage *page, size_t n_left);

/* Ends it, whatever the state. */
void archive_stop(Archive *archive);
usec_t archive_deadline(const Archive *archive); /* when to stop it; USEC_INFINITY: never */
