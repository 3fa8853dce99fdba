/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What the parts of the adapter of libmilter share: filter.c has the callbacks, and the others
 *
 *     filter-negotiate.c   what the MTA is asked for
 *     filter-script.c      what scripts are asked
 *     filter-end.c         how a message ends
 *     filter-action.c      what the MTA is told then
 */

#include "milterd/filter.h"

#include <libmilter/mfapi.h>

#include "milterd/macro.h"

typedef struct Session {
    const Filter *filter;
    Mail mail;
    RuleState rules;
    ScriptRun *scripts; /* NULL: there are none */
    bool begun;         /* a message has, and was not dealt with yet */
    bool out;           /* no rule can match this message */
    bool discard;       /* a script has said so; the rules may still make alerts of the message */
    bool shortage;      /* memory gave out: nothing is known for sure about this message */
    bool can_skip;      /* the MTA knows SMFIS_SKIP */
    bool can_ask;       /* the MTA tells the macros that it is asked for */
    unsigned offered;   /* a bit for each ActionType that the MTA does */
} Session;

/* libmilter declares its strings without const; it changes none. */
static inline char *filter_unconst(const char *text)
{
    return (char *)text;
}

/* filter-negotiate.c */

/* Made of the settings once: the SMFIP_NR_ bits of steps that are not answered, the SMFIP_NO bits
 * of steps that are not sent, and the macros that are asked for. */
typedef struct FilterNeeds {
    unsigned long no_reply;
    unsigned long no_step;
    MacroNeeds macros;
} FilterNeeds;

void filter_choose(const Filter *filter, FilterNeeds *needs);

/* Notes in the session what the MTA can do, asks it for the macros, and says which of the actions
 * and steps that it offers are wanted. */
void filter_negotiate(const FilterNeeds *needs, Session *session, SMFICTX *context,
                      unsigned long actions, unsigned long steps, unsigned long *ret_actions,
                      unsigned long *ret_steps);

/* filter-script.c */

/* Whether some script would be asked about this message, at an event from this one on; and whether
 * what comes from there on is worth keeping, for scripts or rules. */
bool filter_scripts_wait(const Session *session, ScriptEvent from);
bool filter_is_wanted(const Session *session, ScriptEvent from);

/* Asks the scripts at an event. True: they end the message, the connection, or refuse what the
 * event is about, and *ret_status is the answer. */
bool filter_ask_scripts(Session *session, SMFICTX *context, const ScriptView *view,
                        sfsistat *ret_status);
bool filter_ask_about_header(Session *session, SMFICTX *context, const char *name,
                             const char *value, sfsistat *ret_status);
/* The same, and what they say is left to the caller. */
void filter_call_scripts(Session *session, SMFICTX *context, const ScriptView *view,
                         ScriptAnswer *ret);

/* As arguments of a handler: a string, and an address without its brackets. */
ScriptValue filter_value(const char *text);
ScriptValue filter_address(const char *text);

/* filter-end.c */

/* Makes ready for a message; one that was under way is given up. */
void filter_begin_message(Session *session);

void filter_note_shortage(Session *session);
void filter_count_message(const Filter *filter, CounterStage stage, Verdict verdict);

/* Ends the message, or the whole connection, without an alert of a rule. Gives the answer. */
sfsistat filter_finish(Session *session, SMFICTX *context, CounterStage stage, Verdict verdict,
                       const Reply *reply);

/* Ends it for want of memory, or of anything else that was not told. */
sfsistat filter_defer(Session *session, CounterStage stage);

/* Ends the message when all of it is known, and scripts want this; the rules that have matched make
 * their alerts. */
sfsistat filter_conclude(Session *session, SMFICTX *context, Verdict of_scripts);

/* filter-action.c */

/* At the end of the message. -EIO when the MTA was not told all; the mail must be put off then. */
int filter_act(SMFICTX *context, const Actions *actions);

/* The answer that a verdict is, with a reply for REJECT and TEMPFAIL; NULL: the usual one. */
sfsistat filter_give(SMFICTX *context, Verdict verdict, const Reply *reply);

/* The answer to a mail whose alert the relay has not taken. */
sfsistat filter_put_off(SMFICTX *context);
