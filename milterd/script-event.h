/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The events that scripts have handlers for, and what passes between the filter and a handler.
 */

#include "common/record.h"
#include "milterd/action.h"
#include "milterd/rules.h"

/* In the order in which they come; UNKNOWN may come at any time, ABORT and CLOSE too. */
typedef enum ScriptEvent {
    SCRIPT_CONNECT,
    SCRIPT_HELO,
    SCRIPT_MAIL,
    SCRIPT_RCPT,
    SCRIPT_DATA,
    SCRIPT_HEADER,
    SCRIPT_HEADERS,
    SCRIPT_BODY,
    SCRIPT_MESSAGE,
    SCRIPT_UNKNOWN,
    SCRIPT_ABORT,
    SCRIPT_CLOSE,
    _SCRIPT_EVENT_MAX,
} ScriptEvent;

extern const char *const script_event_names[]; /* of the handlers; NULL at the end */

/* Alerts that scripts make of one mail. */
#define SCRIPT_ALERTS_MAX 16

typedef struct ScriptAlert {
    const char *script; /* its name */
    Record *record;     /* what the script says: without an id, not cleaned, not cut */
} ScriptAlert;

typedef struct ScriptAlerts {
    ScriptAlert items[SCRIPT_ALERTS_MAX];
    size_t n;
} ScriptAlerts;

void script_alerts_cut(ScriptAlerts *alerts, size_t n); /* drops those behind the first `n` */
void script_alerts_drop(ScriptAlerts *alerts, const char *script); /* drops this script's */

typedef struct ScriptValue {
    const char *bytes;
    size_t size;
} ScriptValue;

#define SCRIPT_VALUES_MAX 3

/* What a handler is given. All of it stays the caller's. */
typedef struct ScriptView {
    ScriptEvent event;
    Mail *mail;
    ScriptValue values[SCRIPT_VALUES_MAX]; /* its arguments */
    size_t n_values;
    char *const *arguments;      /* of ESMTP, NULL at the end; an argument as well. NULL: none */
    char *const *mail_arguments; /* those of MAIL */

    /* A macro by its name in the protocol; NULL: the mail knows all there are. */
    const char *(*macro)(void *userdata, const char *name);
    void (*progress)(void *userdata); /* tells the MTA that it takes longer; NULL: there is none */
    void *userdata;

    unsigned offered; /* a bit for each ActionType that the MTA can do */
} ScriptView;

/* What all handlers together have said of a mail so far. */
typedef struct ScriptWishes {
    Actions actions;
    ScriptAlerts alerts;
    size_t regex_budget; /* steps that are left (regex.h) */
} ScriptWishes;

void script_wishes_begin(ScriptWishes *wishes); /* frees what is there */
void script_wishes_done(ScriptWishes *wishes);
