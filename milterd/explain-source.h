/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The mails that the command line of --explain names, one at a time: files, mboxes, standard
 * input, Maildirs and folders of files.
 */

#include "milterd/mail.h"

typedef struct Source Source;

/* Where a mail stands. */
typedef struct SourcePlace {
    const char *path; /* "-": standard input; the source's, until the next call */
    size_t number;    /* from 1 in an mbox with several mails, else 0 */
} SourcePlace;

/* Paths of files and folders; "-" is standard input, and none at all is it too. They stay the
 * caller's and must live on. -ENOMEM. */
int source_new(char **paths, size_t n_paths, uint64_t max_message, Source **ret);
Source *source_free(Source *source);
DEFINE_CLEANUP(Source *, source_free)

/* Adds the next mail's headers and body to `mail`: 1; 0 at the end of all. -errno when what
 * *ret stands for can't be read, -ENODATA where there is no mail in it; what is behind it may then
 * be asked for. A folder with "cur" or "new" in it is a Maildir, and gives all that both hold; of
 * other folders those files count whose names end in ".eml"; either in the order of names. */
int source_next(Source *source, Mail *mail, SourcePlace *ret);

/* Whether there is, or at least may be, something behind the last mail. */
bool source_has_more(const Source *source);
