/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What the files of Control share: its struct, its commands, and how answers are built.
 */

#include "common/json.h"
#include "xmpprelay/control-socket.h"
#include "xmpprelay/control.h"

typedef struct ControlTest {
    uint64_t client; /* 0: free */
    char id[RECORD_ID_MAX + 1];
    usec_t began_usec;
} ControlTest;

struct Control {
    const Settings *settings;
    Spool *spool;
    Sessions *sessions;
    ControlOwner owner;
    ControlSocket *socket;
    ControlTest tests[CONTROL_CLIENTS_MAX];
};

/* An answer under construction. The first failure sticks, and answer_done() gives it back. */
typedef struct Answer {
    Json *json;
    int error;
} Answer;

Answer answer_new(void);
void answer_put(Answer *answer, int r); /* notes what a json_set_…() returned */
void answer_put_time(Answer *answer, const char *key, usec_t usec);         /* 0: left out */
void answer_put_string(Answer *answer, const char *key, const char *value); /* NULL, "": left out */
void answer_put_count(Answer *answer, const char *key, uint64_t value);
void answer_add_consume(Answer *to, Json *array, Answer item);
int answer_done(Answer answer, Json **ret);

/* The answer to a request that can't be met. */
int answer_refusal(Json **ret, const char *format, ...) PRINTF_LIKE(2, 3);

const char *request_string(const Json *request, const char *key); /* NULL: absent */

/* The commands; each returns 0 with *ret or -errno. */
int control_status(Control *control, const Json *request, Json **ret);
int control_queue(Control *control, const Json *request, Json **ret);
int control_history(Control *control, const Json *request, Json **ret);
int control_show(Control *control, const Json *request, Json **ret);
int control_retry(Control *control, const Json *request, Json **ret);
int control_drop(Control *control, const Json *request, Json **ret);
int control_pause(Control *control, const Json *request, Json **ret);
int control_resume(Control *control, const Json *request, Json **ret);

/* Refuses for a destination that is not configured, and says which are. */
int control_unknown_destination(const Control *control, const char *name, Json **ret);
