/* SPDX-License-Identifier: MIT */
#pragma once

/* Mails out of strings and of tests/mails, for tests. */

#include "tests/unit/test.h"

#include <stdio.h>

#include "milterd/explain.h"

#define _cleanup_mail_ _cleanup_(mail_done)

static inline Mail mail_of(const char *bytes, size_t size)
{
    Mail mail = {};

    assert_int_equal(explain_read_mail(&mail, bytes, size, 10 << 20), 0);
    return mail;
}

static inline Mail mail_of_text(const char *text)
{
    return mail_of(text, strlen(text));
}

static inline Mail mail_of_file(const char *name)
{
    static char bytes[1 << 20];
    char path[4096];
    size_t size;
    FILE *file;

    snprintf(path, sizeof(path), SOURCE_ROOT "/tests/unit/mails/%s", name);
    file = fopen(path, "re");
    assert_non_null(file);
    size = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    return mail_of(bytes, size);
}
