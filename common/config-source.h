/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The text of a configuration: a file and all that it includes, as one text, and the way back
 * from a line of that text to the file and line that it came from.
 */

#include "common/util.h"

#define CONFIG_SOURCE_MAX_BYTES ((size_t)1 << 20) /* of all files together */
#define CONFIG_SOURCE_MAX_DEPTH 10                /* of files that include files */
#define CONFIG_SOURCE_MAX_FILES 100
#define CONFIG_SOURCE_MAX_NESTING 32 /* of groups, lists and arrays */

typedef struct ConfigSpan {
    unsigned first_line; /* of the whole text, from 1 */
    unsigned line;       /* of the file there */
    size_t file;
} ConfigSpan;

typedef struct ConfigSource {
    char *text; /* NUL-terminated, holds no other NUL */
    size_t size, allocated;
    ConfigSpan *spans; /* ascending; each reaches to the next */
    size_t n_spans;
    char *files[CONFIG_SOURCE_MAX_FILES]; /* the path given first */
    size_t n_files;
} ConfigSource;

/* Hears what is wrong, at a line of the whole text (0: with the file as a whole). */
typedef void (*ConfigSourceReport)(void *userdata, unsigned line, const char *message);

/* Reads `path` and, in its place, each file of a line `@include "FILE"`; a relative FILE is
 * sought in the folder of the file that names it. Numbers past 32 bits get the suffix L that
 * libconfig wants, or it would cut them silently. 0; -EINVAL when something was reported;
 * -ENOMEM. `source` (zeroed by the caller) needs config_source_done() in each case, and the
 * places of the reported lines can be asked for at once. */
int config_source_read(ConfigSource *source, const char *path, ConfigSourceReport report,
                       void *userdata);
void config_source_done(ConfigSource *source);

/* Where a line of the whole text stands; line 0 is line 0 of the file given. */
void config_source_place(const ConfigSource *source, unsigned line, const char **ret_file,
                         unsigned *ret_line);
