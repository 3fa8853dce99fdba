/* SPDX-License-Identifier: MIT */

/*
 * Paths are worked off in their order; at most one file is open. Of a folder the names are read
 * at once, to give them in order: they are all that grows with the number of mails.
 */

#include "milterd/explain-source.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "milterd/mail-reader.h"

struct Source {
    char **paths;
    size_t n_paths;
    uint64_t max_message;
    char *standard_input[1]; /* for want of paths */

    char **names; /* paths of the files in the folder that is worked off */
    size_t n_names;
    size_t next_name;

    const char *path; /* of the file that is open, or was */
    int fd;           /* -1: none is */
    MailReader reader;
    size_t number; /* of the last mail in it */
};

int source_new(char **paths, size_t n_paths, uint64_t max_message, Source **ret)
{
    static char standard_input[] = "-";
    Source *source = calloc(1, sizeof(*source));

    if (!source)
        return -ENOMEM;
    source->standard_input[0] = standard_input;
    source->paths = n_paths > 0 ? paths : source->standard_input;
    source->n_paths = n_paths > 0 ? n_paths : 1;
    source->max_message = max_message;
    source->fd = -1;
    *ret = source;
    return 0;
}

static void forget_names(Source *source)
{
    for (size_t i = 0; i < source->n_names; i++)
        free(source->names[i]);
    free(source->names);
    source->names = NULL;
    source->n_names = source->next_name = 0;
}

static void close_file(Source *source)
{
    mail_reader_done(&source->reader);
    if (source->fd != STDIN_FILENO)
        close_fd(source->fd);
    source->fd = -1;
}

Source *source_free(Source *source)
{
    if (source) {
        close_file(source);
        forget_names(source);
        free(source);
    }
    return NULL;
}

static int is_mail_of_maildir(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int is_eml(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);

    return entry->d_name[0] != '.' && length > 4 && streq(entry->d_name + length - 4, ".eml");
}

static int compare_names(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* Adds the files in `path`/`below`. 1; 0 where there is no such folder. */
static int list_folder(Source *source, const char *path, const char *below,
                       int (*is_wanted)(const struct dirent *entry))
{
    size_t length = strlen(path);
    _cleanup_free_ char *folder = NULL;
    struct dirent **entries = NULL;
    char **names;
    int n, r = 1;

    while (length > 1 && path[length - 1] == '/')
        length--;
    if (asprintf(&folder, "%.*s%s%s", (int)length, path, *below ? "/" : "", below) < 0) {
        folder = NULL;
        return -ENOMEM;
    }
    n = scandir(folder, &entries, is_wanted, compare_names);
    if (n < 0)
        return errno == ENOENT && *below ? 0 : -errno;
    names = reallocarray(source->names, source->n_names + (size_t)n + 1, sizeof(*names));
    if (names)
        source->names = names;
    else
        r = -ENOMEM;
    for (int i = 0; i < n; i++) {
        if (r == 1 && asprintf(&names[source->n_names], "%s/%s", folder, entries[i]->d_name) < 0)
            r = -ENOMEM;
        else if (r == 1)
            source->n_names++;
        free(entries[i]);
    }
    free(entries);
    return r;
}

static int list_mails(Source *source, const char *path)
{
    int r_cur = list_folder(source, path, "cur", is_mail_of_maildir);
    int r_new = r_cur >= 0 ? list_folder(source, path, "new", is_mail_of_maildir) : r_cur;
    int r = r_new;

    if (r_cur == 0 && r_new == 0)
        r = list_folder(source, path, "", is_eml);
    if (r >= 0 && source->n_names == 0)
        r = -ENODATA;
    if (r < 0)
        forget_names(source);
    return MIN(r, 0);
}

/* 1 if there is a file to be read now; 0 after a folder, of which only the names were read. What
 * is neither counts only when the user has named it: in a folder it is never waited for. */
static int take_up(Source *source, bool named)
{
    struct stat status;
    int r;

    if (source->fd < 0 || fstat(source->fd, &status) < 0)
        return -errno;
    if (S_ISDIR(status.st_mode))
        return named ? list_mails(source, source->path) : -EISDIR;
    if (!named && !S_ISREG(status.st_mode))
        return -ENXIO;
    r = mail_reader_open(&source->reader, source->fd);
    return r < 0 ? r : 1;
}

static int open_path(Source *source, const char *path, bool named)
{
    int flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | (named ? 0 : O_NONBLOCK), r;

    source->number = 0;
    source->path = path;
    source->fd = named && streq(path, "-") ? STDIN_FILENO : open(path, flags);
    r = take_up(source, named);
    if (r <= 0)
        close_file(source);
    return MIN(r, 0);
}

/* 1 with a mail; 0 when there is none any more in the file that is open. */
static int next_of_file(Source *source, Mail *mail, SourcePlace *ret)
{
    int r = mail_reader_next(&source->reader, mail, source->max_message);

    if (r > 0) {
        source->number++;
        *ret = (SourcePlace){
            .path = source->path,
            .number = source->number > 1 || source->reader.has_more ? source->number : 0,
        };
        return r;
    }
    *ret = (SourcePlace){ .path = source->path };
    if (r == 0 && source->number == 0)
        r = -ENODATA;
    close_file(source);
    return r;
}

int source_next(Source *source, Mail *mail, SourcePlace *ret)
{
    for (;;) {
        int r = 0;

        if (source->fd >= 0) {
            r = next_of_file(source, mail, ret);
            if (r != 0)
                return r;
        }
        if (source->next_name < source->n_names) {
            r = open_path(source, source->names[source->next_name++], false);
        } else if (source->n_paths > 0) {
            forget_names(source);
            source->n_paths--;
            r = open_path(source, *source->paths++, true);
        } else {
            return 0;
        }
        if (r < 0) {
            *ret = (SourcePlace){ .path = source->path };
            return r;
        }
    }
}

bool source_has_more(const Source *source)
{
    return source->reader.has_more || source->next_name < source->n_names || source->n_paths > 0;
}
