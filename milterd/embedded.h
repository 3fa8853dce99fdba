/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Files within plain text, as mail carried them before MIME and some tools still do.
 */

#include "common/util.h"

typedef enum EmbeddedKind {
    EMBEDDED_FILE,      /* uuencode, BinHex */
    EMBEDDED_ENCRYPTED, /* an OpenPGP message */
    EMBEDDED_KEY,       /* an OpenPGP key */
    EMBEDDED_SIGNATURE, /* an OpenPGP signature, or what stands before a text that is signed */
} EmbeddedKind;

typedef struct Embedded {
    EmbeddedKind kind;
    size_t begin, end; /* whole lines, the last line end among them */
    const char *name;  /* of a file, within the text; or NULL */
    size_t name_size;
    size_t size; /* bytes that it holds, or nearly */
} Embedded;

/* Finds the next in clean text, from `at`, where a line begins. What begins as one and does not go
 * on as one is text. False: there is none. */
bool embedded_next(const char *text, size_t at, Embedded *ret);
