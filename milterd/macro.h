/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Names of the macros that MTAs tell about a connection and a mail, and when they know them.
 */

#include "milterd/mail.h"

#define MACRO_NAME_MAX 64                    /* bytes, without braces */
#define MACRO_NAME_SIZE (MACRO_NAME_MAX + 3) /* with braces and NUL */

#define MACRO_AUTH "{auth_authen}" /* the login that the client gave */

/* What came of it when the client's name was looked up. An SMTP server that is asked for it always
 * tells it, and where there was no SMTP there is none. */
#define MACRO_RESOLVED "{client_resolve}"

/* The name as it stands in the protocol: of one character without braces, else with them;
 * `text` may have them or not. -EINVAL for what is no name: 1 to MACRO_NAME_MAX of A-Z a-z 0-9 _ */
int macro_name_read(const char *text, char ret[static MACRO_NAME_SIZE]);

/* The stage at which the value of such a name is final: that of the connection, MAIL_STAGE_MAIL,
 * or for all that are not known to be final before, MAIL_STAGE_MESSAGE. */
MailStage macro_stage(const char *name);

/* Whether its value is what the client says of the mail, and so proves nothing. */
bool macro_is_claimed(const char *name);

/* What the MTA is asked for, as lists of names with blanks between them. */
#define MACRO_LIST_SIZE ((MAIL_MACROS_MAX + 1) * (MACRO_NAME_SIZE + 1))

typedef struct MacroNeeds {
    const char *names[MAIL_MACROS_MAX]; /* the caller's */
    size_t n;
    char at_connect[MACRO_LIST_SIZE];
    char at_mail[MACRO_LIST_SIZE];
    char at_message[MACRO_LIST_SIZE]; /* the end of it */
} MacroNeeds;

/* `always` is asked for at the end of the message whatever rules there are. */
void macro_needs_begin(MacroNeeds *needs, const char *always);
void macro_needs_add(MacroNeeds *needs, const char *name); /* each name once */
bool macro_needs_have(const MacroNeeds *needs, const char *name);
