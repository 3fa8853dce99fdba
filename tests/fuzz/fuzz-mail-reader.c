/* SPDX-License-Identifier: MIT */

/*
 * A file with mails, read in one piece and through the window that goes over it: the mails must
 * be the same. What the fuzzer gives stands where the window ends, behind a long line.
 */

#include "tests/fuzz/fuzz.h"

#include <sys/mman.h>

#include "milterd/mail-reader.h"

#define WINDOW 65536
#define MAX_MESSAGE 300000

static bool next(MailReader *reader, Mail *mail)
{
    int r = mail_reader_next(reader, mail, MAX_MESSAGE);

    REQUIRE(r >= 0);
    REQUIRE(r == 1 || !reader->has_more);
    return r > 0;
}

static void compare(const Mail *a, const Mail *b)
{
    REQUIRE(a->n_headers == b->n_headers);
    for (size_t i = 0; i < a->n_headers; i++)
        REQUIRE(streq(a->headers[i].name, b->headers[i].name));
    REQUIRE(a->body_total == b->body_total && a->body_size == b->body_size);
    REQUIRE(a->body_size == 0 || memcmp(a->body, b->body, a->body_size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *text = NULL;
    _cleanup_(mail_reader_done) MailReader whole = {}, windowed = {};
    _cleanup_close_ int fd = memfd_create("fuzz", MFD_CLOEXEC);
    size_t before;
    bool more = true;

    if (size < 2)
        return 0;
    /* Without the long line, and with it, at 255 places. */
    before = data[0] == 0 ? 0 : WINDOW - data[0];
    data++;
    size--;
    text = malloc(before + size);
    REQUIRE(text && fd >= 0);
    memset(text, 'x', before);
    if (before > 0)
        memcpy(text, data[0] % 2 ? "From x\nA:" : "A: b\n\n  x", 9);
    memcpy(text + before, data, size);
    REQUIRE(write(fd, text, before + size) == (ssize_t)(before + size));
    REQUIRE(lseek(fd, 0, SEEK_SET) == 0);

    mail_reader_open_bytes(&whole, text, before + size);
    REQUIRE(mail_reader_open(&windowed, fd) == 0);
    while (more) {
        _cleanup_(mail_done) Mail a = {}, b = {};

        more = next(&whole, &a);
        REQUIRE(next(&windowed, &b) == more);
        compare(&a, &b);
    }
    return 0;
}
