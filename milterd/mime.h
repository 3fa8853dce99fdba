/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The text of a mail (RFC 2045, 2046), as a person reads it.
 */

#include "milterd/mail.h"

#define MIME_DEPTH_MAX 32     /* multiparts and messages in one another */
#define MIME_PARTS_MAX 200    /* parts that are looked at */
#define MIME_TEXT_MAX 1048576 /* bytes of text that are read */

/* Makes the libraries ready, before the threads of a worker read mail. Never in the manager. */
void mime_init(void);

/* Decodes headers and kept body to clean text (text.h), "" if there is none, that the caller
 * frees. Of multipart/alternative the plain text is taken unless it is empty; of related and
 * signed parts the first; messages in a mail show From and Subject above their text; other files
 * are named in a line: "[attachment: graph.png (image/png, 34 KB)]". A mail whose only text is in
 * an attachment shows that.
 *
 * What is broken is read as far as it goes: it never fails because of what the mail holds, only
 * -ENOMEM. *ret_cut tells that there was more than the bounds allow. Thread-safe. */
int mime_text(const Mail *mail, char **ret, bool *ret_cut);

/* What mime_text() does with each part, in one line each, indented by depth: "text/html, charset
 * utf-8, base64, 12 KB: skipped, another alternative is shown". Clean text of at most
 * MIME_TREE_NODES_MAX lines, without a line end behind the last, that the caller frees. -ENOMEM.
 * Thread-safe. */
int mime_tree(const Mail *mail, char **ret);
