/* SPDX-License-Identifier: MIT */

/*
 * A leaf page holds an array of offsets to its cells; a cell has the size of its row, the row's
 * number if it has one, as much of the row as belongs here, and where that isn't all of it the
 * first of a chain of pages with the rest. A row begins with the types of its values.
 *
 * Nothing that is read is believed: each offset and each size is held against what there is, and a
 * row counts only if its size is exactly that of its values.
 */

#include "xmpprelay/database-pages.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define USUAL_PAGE_BYTES 4096 /* where the header can't tell */
#define FILE_HEADER_BYTES 100
#define LOG_HEADER_BYTES 32
#define FRAME_HEADER_BYTES 24
#define ROW_MAX ((size_t)1 << 20)

#define INDEX_LEAF 0x0a
#define TABLE_LEAF 0x0d

typedef struct Bytes {
    const uint8_t *data;
    size_t size;
} Bytes;

typedef struct Pages {
    Bytes file;
    Bytes log;
    size_t page_bytes;
    const uint8_t **pages; /* in the file or in the log; NULL: there is none */
    size_t n_pages;
    size_t n_frames; /* of the log, up to the last one that was committed */
    uint8_t *tail;   /* of the file, where it is no whole page: filled up with zeros */
    uint8_t *row;    /* ROW_MAX bytes for one that is spread over pages */
    size_t n_broken;
} Pages;

static uint32_t get_32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static size_t get_16(const uint8_t *at)
{
    return (size_t)at[0] << 8 | at[1];
}

/* Advances *at, which must stay below `end`. */
static bool get_varint(const uint8_t **at, const uint8_t *end, uint64_t *ret)
{
    uint64_t value = 0;

    for (int i = 0; i < 9; i++) {
        uint8_t byte;

        if (*at >= end)
            return false;
        byte = *(*at)++;
        if (i == 8) {
            *ret = value << 8 | byte;
            return true;
        }
        value = value << 7 | (byte & 0x7f);
        if (!(byte & 0x80))
            break;
    }
    *ret = value;
    return true;
}

/* What the disk can't read any more is zero: to touch it in the mapping would end the process. */
static int blank_unreadable(int fd, uint8_t *data, size_t size)
{
    const size_t step = (size_t)sysconf(_SC_PAGESIZE);
    _cleanup_free_ uint8_t *block = malloc(step);

    if (!block)
        return -ENOMEM;
    for (size_t at = 0; at < size; at += step) {
        ssize_t n = pread(fd, block, step, (off_t)at);

        if (n >= 0 && (size_t)n >= MIN(step, size - at))
            continue;
        if (mmap(data + at, step, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
            MAP_FAILED)
            return -errno;
    }
    return 0;
}

static int map_file(const char *path, Bytes *ret)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    void *data;

    if (fd < 0 || fstat(fd, &st) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISREG(st.st_mode) || st.st_size == 0)
        return 0;
    data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return -errno;
    *ret = (Bytes){ .data = data, .size = (size_t)st.st_size };
    return blank_unreadable(fd, data, ret->size);
}

static void pages_done(Pages *pages)
{
    if (pages->file.data)
        munmap((void *)pages->file.data, pages->file.size);
    if (pages->log.data)
        munmap((void *)pages->log.data, pages->log.size);
    free(pages->pages);
    free(pages->tail);
    free(pages->row);
}

static bool is_page_size(size_t size)
{
    return size >= 512 && size <= 65536 && (size & (size - 1)) == 0;
}

static size_t find_page_size(const Pages *pages)
{
    size_t size;

    if (pages->file.size >= FILE_HEADER_BYTES &&
        memcmp(pages->file.data, "SQLite format 3", 16) == 0) {
        size = get_16(pages->file.data + 16);
        if (is_page_size(size == 1 ? 65536 : size))
            return size == 1 ? 65536 : size;
    }
    if (pages->log.size >= LOG_HEADER_BYTES && (get_32(pages->log.data) | 1) == 0x377f0683) {
        size = get_32(pages->log.data + 8);
        if (is_page_size(size))
            return size;
    }
    return USUAL_PAGE_BYTES;
}

static const uint8_t *frame_at(const Pages *pages, size_t index)
{
    return pages->log.data + LOG_HEADER_BYTES + index * (FRAME_HEADER_BYTES + pages->page_bytes);
}

static bool in_round(const Pages *pages, size_t index, const uint8_t *salts)
{
    return memcmp(frame_at(pages, index) + 8, salts, 8) == 0;
}

/* The frames of the log that belong to its present round and were committed take the place of the
 * file's pages. Their checksums are not looked at: a row that makes no sense is found out. */
static void lay_log_over(Pages *pages)
{
    const size_t step = FRAME_HEADER_BYTES + pages->page_bytes;
    const uint8_t *salts;
    size_t n_frames, n = 0;

    if (pages->log.size < LOG_HEADER_BYTES + step)
        return;
    n_frames = (pages->log.size - LOG_HEADER_BYTES) / step;
    /* A round begins with the first frame; where that is of another one, the header is damaged. */
    salts =
        in_round(pages, 0, pages->log.data + 16) ? pages->log.data + 16 : frame_at(pages, 0) + 8;
    for (size_t i = 0; i < n_frames; i++)
        if (in_round(pages, i, salts) && get_32(frame_at(pages, i) + 4) != 0)
            n = i + 1;
    for (size_t i = 0; i < n; i++) {
        size_t number = get_32(frame_at(pages, i));

        if (in_round(pages, i, salts) && number > 0 && number <= pages->n_pages)
            pages->pages[number - 1] = frame_at(pages, i) + FRAME_HEADER_BYTES;
    }
    pages->n_frames = n;
}

static int pages_init(Pages *pages, const char *path)
{
    char log[PATH_MAX];
    size_t in_file;
    int r;

    if (snprintf(log, sizeof(log), "%s-wal", path) >= (int)sizeof(log))
        return -ENAMETOOLONG;
    r = map_file(path, &pages->file);
    if (r == 0)
        r = map_file(log, &pages->log);
    if (r < 0)
        return r;
    pages->page_bytes = find_page_size(pages);
    in_file = pages->file.size / pages->page_bytes;
    pages->n_pages = in_file + 1 + pages->log.size / pages->page_bytes;
    pages->pages = calloc(pages->n_pages, sizeof(*pages->pages));
    pages->tail = calloc(1, pages->page_bytes);
    pages->row = malloc(ROW_MAX);
    if (!pages->pages || !pages->tail || !pages->row)
        return -ENOMEM;
    for (size_t i = 0; i < in_file; i++)
        pages->pages[i] = pages->file.data + i * pages->page_bytes;
    if (pages->file.size % pages->page_bytes > 0) {
        memcpy(pages->tail, pages->file.data + in_file * pages->page_bytes,
               pages->file.size % pages->page_bytes);
        pages->pages[in_file] = pages->tail;
    }
    lay_log_over(pages);
    return 0;
}

/* The size of a value of that type; false: there is no such type. */
static bool size_of_type(uint64_t type, uint64_t *ret)
{
    static const uint8_t sizes[] = { 0, 1, 2, 3, 4, 6, 8, 8, 0, 0 };

    if (type >= 12)
        *ret = (type - 12) / 2;
    else if (type < ELEMENTSOF(sizes))
        *ret = sizes[type];
    else
        return false;
    return true;
}

static PagesValue make_value(uint64_t type, const uint8_t *data, size_t size)
{
    PagesValue value = { .type = PAGES_OTHER };

    if (type == 0) {
        value.type = PAGES_NULL;
    } else if (type <= 6 || type == 8 || type == 9) {
        uint64_t number = type == 9;

        for (size_t i = 0; i < size; i++)
            number = (i == 0 && (data[0] & 0x80) ? UINT64_MAX << 8 : number << 8) | data[i];
        value.type = PAGES_INTEGER;
        value.integer = (int64_t)number;
    } else if (type >= 13 && type % 2 == 1) {
        value.type = PAGES_TEXT;
        value.text = (const char *)data;
        value.size = size;
    }
    return value;
}

static bool read_values(const uint8_t *data, size_t size, PagesRow *ret)
{
    const uint8_t *at = data, *end = data + size, *body;
    uint64_t header_size, type, value_size;

    ret->n_values = 0;
    if (!get_varint(&at, end, &header_size) || header_size > size)
        return false;
    body = data + header_size;
    end = body;
    while (at < end) {
        if (!get_varint(&at, end, &type) || !size_of_type(type, &value_size) ||
            value_size > (uint64_t)(data + size - body) || ret->n_values == PAGES_COLUMNS_MAX)
            return false;
        ret->values[ret->n_values++] = make_value(type, body, (size_t)value_size);
        body += value_size;
    }
    return body == data + size;
}

/* Collects a row from its cell and the chain of pages that has the rest. */
static const uint8_t *collect(Pages *pages, const uint8_t *cell, const uint8_t *end, size_t size,
                              bool keyed)
{
    const size_t usable = pages->page_bytes;
    const size_t most = keyed ? usable - 35 : (usable - 12) * 64 / 255 - 23;
    const size_t least = (usable - 12) * 32 / 255 - 23;
    size_t here = size, next, n;

    if (size > most) {
        here = least + (size - least) % (usable - 4);
        here = here <= most ? here : least;
    }
    if (here + (here < size ? 4 : 0) > (size_t)(end - cell))
        return NULL;
    if (here == size)
        return cell;

    memcpy(pages->row, cell, here);
    next = get_32(cell + here);
    for (; here < size; here += n) { /* it ends: each page has some of it */
        if (next == 0 || next > pages->n_pages || !pages->pages[next - 1])
            return NULL;
        n = MIN(size - here, usable - 4);
        memcpy(pages->row + here, pages->pages[next - 1] + 4, n);
        next = get_32(pages->pages[next - 1]);
    }
    return pages->row;
}

static int read_cell(Pages *pages, const uint8_t *cell, const uint8_t *end, PagesRow row,
                     PagesVisit visit, void *userdata)
{
    const bool keyed = row.keyed;
    const uint8_t *data = NULL;
    uint64_t size, number = 0;

    if (get_varint(&cell, end, &size) && (!keyed || get_varint(&cell, end, &number)) && size > 0 &&
        size <= ROW_MAX)
        data = collect(pages, cell, end, (size_t)size, keyed);
    row.number = (int64_t)number;
    if (data && read_values(data, (size_t)size, &row))
        return visit(&row, userdata);
    pages->n_broken += keyed && !row.old;
    return 0;
}

static int read_page(Pages *pages, const uint8_t *page, bool first, bool old, PagesVisit visit,
                     void *userdata)
{
    const uint8_t *end = page + pages->page_bytes;
    const uint8_t *header = page + (first ? FILE_HEADER_BYTES : 0);
    const PagesRow row = { .keyed = header[0] == TABLE_LEAF, .old = old };
    size_t n_cells;
    int r = 0;

    if (header[0] != TABLE_LEAF && header[0] != INDEX_LEAF)
        return 0;
    n_cells = MIN(get_16(header + 3), (size_t)(end - header - 8) / 2);
    for (size_t i = 0; r == 0 && i < n_cells; i++) {
        size_t at = get_16(header + 8 + 2 * i);

        if (at >= 8 && at < pages->page_bytes)
            r = read_cell(pages, page + at, end, row, visit, userdata);
    }
    return r;
}

/* What was laid over; the latest first. */
static int read_old(Pages *pages, PagesVisit visit, void *userdata)
{
    int r = 0;

    for (size_t i = pages->n_frames; r == 0 && i-- > 0;) {
        const uint8_t *page = frame_at(pages, i) + FRAME_HEADER_BYTES;
        size_t number = get_32(frame_at(pages, i));

        if (number == 0 || number > pages->n_pages || pages->pages[number - 1] != page)
            r = read_page(pages, page, number == 1, true, visit, userdata);
    }
    for (size_t i = 0; r == 0 && i < pages->file.size / pages->page_bytes; i++) {
        const uint8_t *page = pages->file.data + i * pages->page_bytes;

        if (pages->pages[i] != page)
            r = read_page(pages, page, i == 0, true, visit, userdata);
    }
    return r;
}

int pages_read(const char *path, PagesVisit visit, void *userdata, size_t *ret_broken)
{
    _cleanup_(pages_done) Pages pages = {};
    int r;

    r = pages_init(&pages, path);
    for (size_t i = 0; r == 0 && i < pages.n_pages; i++)
        if (pages.pages[i])
            r = read_page(&pages, pages.pages[i], i == 0, false, visit, userdata);
    if (r == 0)
        r = read_old(&pages, visit, userdata);
    if (r == 0)
        *ret_broken = pages.n_broken;
    return r;
}
