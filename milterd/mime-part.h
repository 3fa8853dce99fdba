/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What the header of a MIME part says of it (RFC 2045, 2183, 2231), dates (RFC 5322) and digests:
 * the adapter of GMime and GLib.
 */

#include "common/util.h"

#define MIME_VALUE_MAX 8192 /* bytes of a header's value that are looked at */
#define MIME_TYPE_MAX 64
#define MIME_BOUNDARY_MAX 998 /* RFC 2046 allows 70; a line has room for so many */

typedef struct MimePart {
    char
        type[MIME_TYPE_MAX + 1]; /* "text", lower case; text/plain where nothing sensible is said */
    char subtype[MIME_TYPE_MAX + 1];
    char boundary[MIME_BOUNDARY_MAX + 1]; /* "" if there is none */
    char *charset;                        /* or NULL */
    char *name;      /* of a file, without a path: clean, in one line; or NULL */
    char *start;     /* related: the Content-ID of the part that the others belong to; or NULL */
    char *elsewhere; /* external-body: where the content is, clean, in one line; or NULL */
    unsigned number; /* partial: which piece this is; 0: not known */
    unsigned total;  /* and of how many */
    bool attachment; /* the sender wants it shown as a file */
    bool flowed;     /* format=flowed, and with delsp=yes */
    bool delsp;
    bool signed_data; /* smime-type: not encrypted */
    int encoding;     /* GMimeContentEncoding */
} MimePart;

/* In each process that reads mail, before its threads do; never in the manager. */
void mime_part_init_library(void);

/* Reads the values of Content-Type, Content-Transfer-Encoding and Content-Disposition, NULL where
 * there is none. -ENOMEM. */
int mime_part_read(MimePart *part, const char *type, const char *encoding, const char *disposition);
void mime_part_done(MimePart *part);

/* A part that is plain text, whatever it was. Nothing to free. */
#define MIME_PART_PLAIN ((MimePart){ .type = "text", .subtype = "plain" })

bool mime_part_is(const MimePart *part, const char *type, const char *subtype); /* NULL: any */
bool mime_part_is_encoded(const MimePart *part);
bool mime_part_is_base64(const MimePart *part);

/* The content without its transfer encoding, at most `max` bytes of it and a NUL; *ret_cut is set
 * when there is more, else left. The caller frees it. -ENOMEM. */
int mime_part_decode(const MimePart *part, const char *bytes, size_t size, size_t max, char **ret,
                     size_t *ret_size, bool *ret_cut);

/* How large the content is without its encoding, or nearly. */
size_t mime_part_size(const MimePart *part, const char *bytes, size_t size);

/* "base64" and so on; "" where there is none. */
const char *mime_part_encoding(const MimePart *part);

/* A size as people say it: "67 bytes", "34 KB", "1.5 MB". */
#define MIME_SIZE_TEXT_MAX 31
void mime_size_text(size_t size, char ret[static MIME_SIZE_TEXT_MAX + 1]);

/* False where the value is no date that can be read. */
bool mime_date_read(const char *value, usec_t *ret_usec);

/* SHA-256 over pieces, each with its length, so that no two lists of pieces are the same. */
typedef struct Digest Digest;
#define DIGEST_TEXT_MAX 64
Digest *digest_new(void);
void digest_add(Digest *digest, const void *bytes, size_t size);
/* Writes lower-case hexadecimal digits and a NUL, and frees it. */
void digest_end(Digest *digest, char ret[static DIGEST_TEXT_MAX + 1]);
