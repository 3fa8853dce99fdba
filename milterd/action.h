/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What scripts want done with a mail: changes that the MTA makes at the end of the message, and a
 * reply in words of their own.
 *
 * Nothing is done while a script runs. What it asks for is checked and kept, and the filter hands
 * it to the MTA once the mail's verdict is known; a script that fails takes back all it asked for.
 */

#include "common/util.h"

#define ACTIONS_MAX 1000
#define ACTION_REASON_MAX 200
#define ACTION_NAME_MAX 128     /* bytes of a header's name */
#define ACTION_VALUE_MAX 65536  /* of a header's value; what is longer is cut */
#define ACTION_ADDRESS_MAX 512  /* of an address, and of ESMTP arguments */
#define ACTION_INDEX_MAX 100000 /* of a header */

/* In the order in which they are done. */
typedef enum ActionType {
    ACTION_CHANGE_FROM,   /* name: the address; value: ESMTP arguments or NULL */
    ACTION_DELETE_RCPT,   /* name: the address */
    ACTION_ADD_RCPT,      /* as CHANGE_FROM */
    ACTION_CHANGE_HEADER, /* index: of those of this name, from 1 */
    ACTION_DELETE_HEADER, /* the same */
    ACTION_ADD_HEADER,
    ACTION_INSERT_HEADER, /* index: so many headers stand before it */
    ACTION_REPLACE_BODY,  /* value, size */
    ACTION_QUARANTINE,    /* value: the reason */
    _ACTION_MAX,
} ActionType;

extern const char *const action_names[]; /* as scripts call them */

typedef struct Action {
    ActionType type;
    char *name;
    char *value; /* NUL-terminated */
    size_t size; /* of the value; it may hold NUL in a body only */
    int index;
} Action;

typedef struct Actions {
    Action *items;
    size_t n;
} Actions;

/* Checks and keeps a copy. Names, addresses and arguments that are not fit for the protocol are
 * refused: -EINVAL with `reason`. Text that may come from a mail is made fit instead, whatever it
 * holds: the value of a header (header-encode.h), and the reason of a quarantine. -ENOMEM. */
int actions_add(Actions *actions, const Action *action, char reason[static ACTION_REASON_MAX]);
void actions_cut(Actions *actions, size_t n); /* drops those behind the first `n` */
void actions_done(Actions *actions);

/* Whether `a` comes before `b` when all are done; those alike stay in their order. */
bool action_before(const Action *a, const Action *b);

/* Prints what it does in one line of clean text, for people. NULL for want of memory. */
char *action_describe_dup(const Action *action);

#define REPLY_LINES_MAX 32 /* of libmilter */
#define REPLY_LINE_MAX 500 /* bytes */

/* Plain data. The lines are ASCII without control characters. */
typedef struct Reply {
    char code[4];    /* "" is no reply */
    char status[12]; /* or "" */
    size_t n_lines;
    char lines[REPLY_LINES_MAX][REPLY_LINE_MAX + 1];
} Reply;

/* `status` may be NULL. -EINVAL with `reason` for a code that is not 4xx or 5xx, and a status that
 * is none or of another class. */
int reply_begin(Reply *reply, const char *code, const char *status,
                char reason[static ACTION_REASON_MAX]);

/* Makes the text fit, in one line; -EINVAL where there are too many, -ENOMEM. */
int reply_add_line(Reply *reply, const char *text, size_t size,
                   char reason[static ACTION_REASON_MAX]);
