/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What the decoder did with each part of a mail, for a person who asks why a text is as it is.
 */

#include "milterd/mime-part.h"

#define MIME_TREE_NODES_MAX 256

typedef struct MimeNode {
    unsigned depth;
    char *part;       /* clean, in one line */
    const char *fate; /* of the program's life; NULL: its parts say it */
} MimeNode;

typedef struct MimeTree {
    MimeNode nodes[MIME_TREE_NODES_MAX];
    size_t n;
    bool more;   /* than there is room for */
    bool failed; /* no memory */
} MimeTree;

/* Everywhere the tree may be NULL: nobody asks. */

/* Adds a part with what became of it, and returns its number. Without a fate it is one that holds
 * others. */
size_t mime_tree_add(MimeTree *tree, const MimePart *part, size_t size, unsigned depth,
                     const char *fate);

/* Tells what became of a part after all. */
void mime_tree_set(MimeTree *tree, size_t node, const char *fate);

/* The same for all from `begin` to before `end` that have a fate. */
void mime_tree_set_all(MimeTree *tree, size_t begin, size_t end, const char *fate);

/* One line for each part, indented, without a line end behind the last: clean text that the
 * caller frees. -ENOMEM. */
int mime_tree_write(const MimeTree *tree, char **ret);

void mime_tree_done(MimeTree *tree);
