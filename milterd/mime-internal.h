/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What the files of the walk over the parts of a mail share; mime.c is the walk itself.
 */

#include "milterd/mime-leaf.h"
#include "milterd/mime-tree.h"

#define DECODED_MAX 8 /* multiparts and messages that are encoded as a whole */
#define UNBOUND_MAX 4 /* multiparts without a boundary; past them none is searched for one */

/* What becomes of a part. */
#define FATE_ALTERNATIVE "skipped, another alternative is shown"
#define FATE_STUB "skipped, it only points at the HTML"
#define FATE_PICTURE "skipped, it belongs to the text before it"
#define FATE_SIGNATURE "skipped, a signature"
#define FATE_DEEP "skipped, nested too deep"
#define FATE_SHOWN "shown"
#define FATE_EMPTY "empty"
#define FATE_NAMED "named"
#define FATE_ATTACHED "named, not shown"
#define FATE_BOTH "named, and shown for want of other text"

typedef struct Walk {
    MimeTree *tree; /* or NULL */
    MimeLimits limits;
    size_t n_parts;
    size_t n_unbound;
    bool shown;      /* there was text, not only names of attachments */
    bool names_only; /* text is not wanted at the moment */

    /* Owned: what ranges may lie in. */
    char *decoded[DECODED_MAX];
    size_t n_decoded;

    Buffer picture; /* the name of the first that was skipped, in case there is nothing else */

    /* The first text that is an attachment, in case there is no other. */
    Range attached;
    MimePart attached_part;
    size_t attached_node;
} Walk;

/* One part, with all that is in it. */
int mime_walk_part(Walk *walk, const MimePart *part, Range content, unsigned depth, Buffer *out);

/* Tells the tree of a part; its number. */
size_t mime_note(Walk *walk, const MimePart *part, Range content, unsigned depth, const char *fate);
size_t mime_nodes(const Walk *walk);

/* A line that names the part: "[what: name (type, size)]". */
int mime_name_part(const char *what, const MimePart *part, Range content, Buffer *out);

/* A part that is text. */
int mime_show_text(Walk *walk, const MimePart *part, Range content, unsigned depth, Buffer *out);

/* The content without its transfer encoding, where that is allowed for what holds no parts only. */
int mime_decode_whole(Walk *walk, const MimePart *part, Range *content);

/* mime-choice.c */

/* What a multipart remembers from part to part. */
typedef struct Choice {
    Buffer best; /* alternative: the text so far */
    unsigned best_rank;
    size_t best_begin, best_end; /* its nodes in the tree */
    Buffer names;                /* of files in alternatives that are not shown */
    const char *start;           /* related: the Content-ID of the root, if it is there */
    bool root_seen;              /* related: the part that the others belong to */
} Choice;

/* One part of multipart/alternative: it becomes the best text, or not. `max` bounds the text. */
int mime_choose(Walk *walk, const MimePart *part, Range content, unsigned depth, size_t max,
                Choice *choice);

/* mime-message.c */

/* From and Subject. */
int mime_add_head(const Fields *fields, Buffer *out);

/* A message, and one piece of a message that was split (RFC 2046, 5.2.2). */
int mime_walk_message(Walk *walk, const MimePart *message, Range content, unsigned depth,
                      Buffer *out);
int mime_walk_piece(Walk *walk, const MimePart *part, Range content, unsigned depth, Buffer *out);
