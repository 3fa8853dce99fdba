/* SPDX-License-Identifier: MIT */

/*
 * A scanner of libconfig's lexical grammar, no more: it knows comments, strings, names and
 * numbers well enough to find the include directives, brackets and large numbers outside of
 * them. It copies what it passes over to the whole text. Why it is here at all, instead of
 * libconfig's own reading of files: that opens whatever an @include names (a pipe, a device, a
 * file without end), finds no absolute path once a folder is set, says neither which file it
 * could not open nor why, cuts numbers to 32 bits, and nests as deep as the stack allows.
 *
 * The first thing wrong ends the scan: what follows it could not be judged.
 */

#include "common/config-source.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

typedef struct Scan {
    ConfigSource *source;
    ConfigSourceReport report;
    void *userdata;
    unsigned line; /* of the whole text */
    unsigned nesting;
} Scan;

/* A file being scanned; `at` moves towards `end`. */
typedef struct ScanFile {
    const char *path;
    const char *at, *end;
    unsigned line;
    size_t index;
    unsigned depth;
} ScanFile;

static int scan_file(Scan *scan, const char *path, unsigned depth);

static int PRINTF_LIKE(3, 4) fail(Scan *scan, unsigned line, const char *format, ...)
{
    char message[PATH_MAX + 256];
    va_list args;

    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    scan->report(scan->userdata, line, message);
    return -EINVAL;
}

static int append(Scan *scan, const char *text, size_t size)
{
    ConfigSource *source = scan->source;

    /* Twice the limit: what we add ourselves (suffixes, line ends) never is what fails. */
    if (source->size + size + 1 > source->allocated) {
        size_t allocated = MAX((source->size + size + 1) * 2, (size_t)4096);
        char *larger = realloc(source->text, allocated);

        if (!larger)
            return -ENOMEM;
        source->text = larger;
        source->allocated = allocated;
    }
    memcpy(source->text + source->size, text, size);
    source->size += size;
    source->text[source->size] = '\0';
    return 0;
}

/* Notes that from the present line on the text is that of `file`. */
static int begin_span(Scan *scan, size_t file, unsigned line)
{
    ConfigSource *source = scan->source;
    ConfigSpan *larger = reallocarray(source->spans, source->n_spans + 1, sizeof(*larger));

    if (!larger)
        return -ENOMEM;
    source->spans = larger;
    source->spans[source->n_spans++] = (ConfigSpan){ scan->line, line, file };
    return 0;
}

/* Copies `size` bytes and counts their lines. */
static int take(Scan *scan, ScanFile *file, size_t size)
{
    int r = append(scan, file->at, size);

    if (r < 0)
        return r;
    for (size_t i = 0; i < size; i++)
        if (file->at[i] == '\n') {
            scan->line++;
            file->line++;
        }
    file->at += size;
    return 0;
}

static int take_until(Scan *scan, ScanFile *file, const char *end_mark, const char *what)
{
    size_t left = (size_t)(file->end - file->at);
    const char *end = memmem(file->at + 2, left - 2, end_mark, strlen(end_mark));

    if (!end)
        return fail(scan, scan->line, "the %s that begins here never ends", what);
    return take(scan, file, (size_t)(end - file->at) + strlen(end_mark));
}

static int take_string(Scan *scan, ScanFile *file)
{
    const char *at = file->at + 1;

    for (; at < file->end && *at != '"'; at++)
        if (*at == '\\' && at + 1 < file->end) {
            if (file->end - at >= 4 && memcmp(at + 2, "00", 2) == 0 &&
                (at[1] == 'x' || at[1] == 'X'))
                return fail(scan, scan->line, "a string can't hold \\x00");
            at++;
        }
    if (at >= file->end)
        return fail(scan, scan->line, "the string that begins here never ends");
    return take(scan, file, (size_t)(at - file->at) + 1);
}

static const char *skip_digits(const char *at, const char *end, bool hex)
{
    while (at < end && (hex ? isxdigit((unsigned char)*at) : isdigit((unsigned char)*at)))
        at++;
    return at;
}

/* Whole numbers get an L where 32 bits do not hold them; others pass as they are. */
static int take_number(Scan *scan, ScanFile *file)
{
    const char *begin = file->at, *end = file->end, *at = begin;
    bool negative = *at == '-', hex, is_float = false;
    char digits[32] = "";
    uint64_t limit, value;
    int r;

    if (*at == '-' || *at == '+')
        at++;
    hex = at == begin && end - at > 2 && at[0] == '0' && (at[1] == 'x' || at[1] == 'X');
    at = skip_digits(hex ? at + 2 : at, end, hex);
    if (!hex && at < end && *at == '.') {
        is_float = true;
        at = skip_digits(at + 1, end, false);
    }
    if (!hex && at < end && (*at == 'e' || *at == 'E')) {
        is_float = true;
        at++;
        if (at < end && (*at == '-' || *at == '+'))
            at++;
        at = skip_digits(at, end, false);
    }
    if (is_float)
        return take(scan, file, (size_t)(at - begin));

    if ((size_t)(at - begin) < sizeof(digits)) {
        const char *first = begin + (*begin == '-' || *begin == '+');

        memcpy(digits, first, (size_t)(at - first));
        errno = 0;
        value = strtoull(digits, NULL, hex ? 16 : 10);
    } else {
        errno = ERANGE;
        value = 0;
    }
    limit = (uint64_t)INT64_MAX + (negative ? 1 : 0);
    if (errno || value > limit)
        return fail(scan, scan->line, "the number %.*s%s is too large", (int)MIN(at - begin, 40),
                    begin, at - begin > 40 ? "…" : "");

    r = take(scan, file, (size_t)(at - begin));
    if (r < 0)
        return r;
    if (value > (uint64_t)INT32_MAX + (negative ? 1 : 0) && (at == end || *at != 'L'))
        return append(scan, "L", 1);
    return 0;
}

/* The name between the quotes at `at`, resolved against the folder of the file. */
static int include_path(Scan *scan, const ScanFile *file, const char *at, const char **ret_after,
                        char path[static PATH_MAX])
{
    const char *slash = strrchr(file->path, '/');
    char name[PATH_MAX];
    size_t n = 0;

    for (; at < file->end && *at != '"' && *at != '\n'; at++) {
        if (*at == '\\' && at + 1 < file->end)
            at++;
        if (*at == '\0' || n >= sizeof(name) - 1)
            return fail(scan, scan->line, "@include: the name of the file is too long or no name");
        name[n++] = *at;
    }
    name[n] = '\0';
    if (at >= file->end || *at != '"' || n == 0)
        return fail(scan, scan->line, "@include needs the name of a file in quotes");

    if (name[0] == '/' || !slash)
        n = (size_t)snprintf(path, PATH_MAX, "%s", name);
    else
        n = (size_t)snprintf(path, PATH_MAX, "%.*s/%s", (int)(slash - file->path), file->path,
                             name);
    if (n >= PATH_MAX)
        return fail(scan, scan->line, "@include: the path of the file is too long");
    *ret_after = at + 1;
    return 0;
}

/* Takes an include directive, if one is here: *ret_taken says so. */
static int take_include(Scan *scan, ScanFile *file, bool *ret_taken)
{
    static const char word[] = "@include";
    const char *at = file->at + strlen(word), *after = NULL;
    char path[PATH_MAX];
    int r;

    if (file->end - file->at <= (ptrdiff_t)strlen(word) ||
        memcmp(file->at, word, strlen(word)) != 0 || (*at != ' ' && *at != '\t'))
        return 0;
    while (at < file->end && (*at == ' ' || *at == '\t'))
        at++;
    if (at >= file->end || *at != '"')
        return fail(scan, scan->line, "@include needs the name of a file in quotes");

    r = include_path(scan, file, at + 1, &after, path);
    if (r < 0)
        return r;
    r = scan_file(scan, path, file->depth + 1);
    if (r < 0)
        return r;

    /* The rest of the directive's line goes on in a line of its own. */
    r = append(scan, "\n", 1);
    if (r < 0)
        return r;
    scan->line++;
    file->at = after;
    *ret_taken = true;
    return begin_span(scan, file->index, file->line);
}

static bool is_name_byte(char byte)
{
    return isalnum((unsigned char)byte) || byte == '_' || byte == '-' || byte == '*';
}

static int take_token(Scan *scan, ScanFile *file)
{
    char byte = *file->at, next = file->end - file->at > 1 ? file->at[1] : '\0';
    const char *at = file->at;

    if (byte == '"')
        return take_string(scan, file);
    if (byte == '/' && next == '*')
        return take_until(scan, file, "*/", "comment");
    if (byte == '#' || (byte == '/' && next == '/')) {
        const char *end = memchr(at, '\n', (size_t)(file->end - at));

        return take(scan, file, (size_t)((end ? end : file->end) - at));
    }
    if (isdigit((unsigned char)byte) ||
        ((byte == '-' || byte == '+' || byte == '.') && isdigit((unsigned char)next)))
        return take_number(scan, file);
    if (isalpha((unsigned char)byte) || byte == '*') {
        while (at < file->end && is_name_byte(*at))
            at++;
        return take(scan, file, (size_t)(at - file->at));
    }
    if (byte == '{' || byte == '(' || byte == '[') {
        if (++scan->nesting > CONFIG_SOURCE_MAX_NESTING)
            return fail(scan, scan->line, "groups and lists are nested deeper than %d levels",
                        CONFIG_SOURCE_MAX_NESTING);
    } else if ((byte == '}' || byte == ')' || byte == ']') && scan->nesting > 0) {
        scan->nesting--;
    }
    return take(scan, file, 1);
}

static int scan_text(Scan *scan, ScanFile *file)
{
    bool line_start = true;
    int r;

    if (file->end - file->at >= 3 && memcmp(file->at, "\xEF\xBB\xBF", 3) == 0)
        file->at += 3; /* the byte order mark that some editors write */

    for (const char *at = file->at; at < file->end; at++)
        if ((unsigned char)*at < 0x20 && !strchr("\t\n\f\r", *at ? *at : 'x'))
            return fail(scan, scan->line, "%s is no text file: byte 0x%02X at offset %zu",
                        file->depth > 0 ? file->path : "this", (unsigned char)*at,
                        (size_t)(at - file->at));

    while (file->at < file->end) {
        char byte = *file->at;
        bool taken = false;

        if (line_start && byte == '@') {
            r = take_include(scan, file, &taken);
            if (r < 0)
                return r;
        }
        if (!taken) {
            r = take_token(scan, file);
            if (r < 0)
                return r;
            line_start = byte == '\n' || (line_start && (byte == ' ' || byte == '\t'));
        }
    }
    return 0;
}

/* Reads a whole regular file; says nothing itself but fills `reason`. */
static int read_whole(const char *path, char **ret, size_t *ret_size, char reason[static 128])
{
    /* O_NONBLOCK: opening a pipe must not wait for somebody who writes. */
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    _cleanup_free_ char *text = NULL;
    size_t size = 0;
    struct stat status;

    if (fd < 0 || fstat(fd, &status) < 0) {
        snprintf(reason, 128, "%s", strerror(errno));
        return -EINVAL;
    }
    if (!S_ISREG(status.st_mode)) {
        snprintf(reason, 128, "%s",
                 S_ISDIR(status.st_mode) ? "it is a directory" : "it is no regular file");
        return -EINVAL;
    }
    if (status.st_size > (off_t)CONFIG_SOURCE_MAX_BYTES) {
        snprintf(reason, 128, "it is larger than %zu bytes", CONFIG_SOURCE_MAX_BYTES);
        return -EINVAL;
    }
    text = malloc((size_t)status.st_size + 1);
    if (!text)
        return -ENOMEM;
    while (size < (size_t)status.st_size) {
        ssize_t n = read(fd, text + size, (size_t)status.st_size - size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            snprintf(reason, 128, "%s", strerror(errno));
            return -EINVAL;
        }
        if (n == 0)
            break;
        size += (size_t)n;
    }
    *ret_size = size;
    *ret = steal_ptr(text);
    return 0;
}

static int scan_file(Scan *scan, const char *path, unsigned depth)
{
    ConfigSource *source = scan->source;
    _cleanup_free_ char *text = NULL;
    ScanFile file = { .line = 1, .index = source->n_files, .depth = depth };
    char reason[128];
    size_t size = 0;
    int r;

    if (depth > CONFIG_SOURCE_MAX_DEPTH)
        return fail(scan, scan->line,
                    "files include files more than %d levels deep; does one include itself?",
                    CONFIG_SOURCE_MAX_DEPTH);
    if (source->n_files >= ELEMENTSOF(source->files))
        return fail(scan, scan->line, "more than %d files are included",
                    CONFIG_SOURCE_MAX_FILES - 1);

    r = read_whole(path, &text, &size, reason);
    if (r == -EINVAL)
        return depth > 0 ? fail(scan, scan->line, "can't read %s: %s", path, reason)
                         : fail(scan, 0, "can't be read: %s", reason);
    if (r < 0)
        return r;
    if (source->size + size > CONFIG_SOURCE_MAX_BYTES)
        return fail(scan, scan->line, "with %s the configuration is larger than %zu bytes", path,
                    CONFIG_SOURCE_MAX_BYTES);

    if (depth > 0) {
        source->files[source->n_files] = strdup(path);
        if (!source->files[source->n_files])
            return -ENOMEM;
        source->n_files++;
        r = append(scan, "\n", 1);
        if (r < 0)
            return r;
        scan->line++;
    } else {
        file.index = 0;
    }
    r = begin_span(scan, file.index, 1);
    if (r < 0)
        return r;

    file.path = source->files[file.index];
    file.at = text;
    file.end = text + size;
    return scan_text(scan, &file);
}

int config_source_read(ConfigSource *source, const char *path, ConfigSourceReport report,
                       void *userdata)
{
    Scan scan = { .source = source, .report = report, .userdata = userdata, .line = 1 };
    int r;

    source->files[0] = strdup(path);
    if (!source->files[0])
        return -ENOMEM;
    source->n_files = 1;
    r = append(&scan, "", 0);
    if (r < 0)
        return r;
    return scan_file(&scan, path, 0);
}

void config_source_done(ConfigSource *source)
{
    for (size_t i = 0; i < source->n_files; i++)
        free(source->files[i]);
    free(source->spans);
    free(source->text);
    *source = (ConfigSource){};
}

void config_source_place(const ConfigSource *source, unsigned line, const char **ret_file,
                         unsigned *ret_line)
{
    const ConfigSpan *span = NULL;

    for (size_t i = 0; i < source->n_spans && source->spans[i].first_line <= line; i++)
        span = &source->spans[i];
    *ret_file = source->files[span ? span->file : 0];
    *ret_line = span ? span->line + (line - span->first_line) : line;
}
