/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The log of both daemons and their tools.
 *
 * Lines go to the journal, with fields, when the service manager has connected our standard
 * error with it ($JOURNAL_STREAM), else as plain lines to standard error. Both show the same
 * text: the message, then the fields as name=value. Control characters and broken UTF-8 in
 * either are replaced, so nothing that comes from a mail can forge a line. A message is cut after
 * 4096 bytes, a value after 1024.
 *
 * Whoever handles an error logs it, once, and says what follows from it. No mail text, no
 * secret is ever logged. All of it is thread-safe after log_init().
 */

#include "common/util.h"

#include <syslog.h>

/* One structured field. `name` is snake_case; the journal sees it in upper case, and with MAIL_
 * before it where the journal itself gives the name a meaning: message_id is MAIL_MESSAGE_ID
 * there. Fields whose value is NULL or empty are left out. Neither string is kept. */
typedef struct LogField {
    const char *name;
    const char *value;
} LogField;

/* Chooses the journal or standard error; `ident` (kept, not copied) names the program. Until
 * it is called, lines go to standard error without a name. */
void log_init(const char *ident);

/* Lines less urgent than `level` (LOG_ERR … LOG_DEBUG) are dropped; LOG_INFO at first. */
void log_set_level(int level);
int log_level(void);

/* Writes one line. Errors in writing are ignored: there is nobody left to tell. Keeps errno. */
void log_line(int level, const char *format, ...) PRINTF_LIKE(2, 3);
void log_fields(int level, const LogField *fields, size_t n_fields, const char *format, ...)
    PRINTF_LIKE(4, 5);

#define log_error(...) log_line(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_WARNING, __VA_ARGS__)
#define log_notice(...) log_line(LOG_NOTICE, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

/* At most `burst` lines in each `interval_usec`; not thread-safe, one per place that logs. */
typedef struct LogLimit {
    usec_t interval_usec;
    unsigned burst;
    usec_t began_usec;
    unsigned passed;
    unsigned suppressed;
} LogLimit;

/* True when a line may be written now (CLOCK_MONOTONIC). *ret_suppressed, set only then, is how
 * many were held back since the last one that passed; say it in the line when it isn't 0. */
bool log_limit_pass(LogLimit *limit, usec_t now, unsigned *ret_suppressed);
