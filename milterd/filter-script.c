/* SPDX-License-Identifier: MIT */

/*
 * Scripts and the protocol: what they are given at each step, and what their verdict does there.
 */

#include "milterd/filter-internal.h"

static CounterStage stage_of(ScriptEvent event)
{
    switch (event) {
    case SCRIPT_CONNECT:
        return COUNTER_CONNECT;
    case SCRIPT_HELO:
        return COUNTER_HELO;
    case SCRIPT_DATA:
        return COUNTER_DATA;
    case SCRIPT_HEADER:
    case SCRIPT_HEADERS:
        return COUNTER_HEADERS;
    case SCRIPT_BODY:
        return COUNTER_BODY;
    case SCRIPT_MESSAGE:
        return COUNTER_MESSAGE;
    default:
        return COUNTER_MAIL;
    }
}

bool filter_scripts_wait(const Session *session, ScriptEvent from)
{
    return session->scripts && !session->discard && script_run_waits(session->scripts, from);
}

bool filter_is_wanted(const Session *session, ScriptEvent from)
{
    return !session->shortage && (!session->out || filter_scripts_wait(session, from));
}

static const char *macro_of(void *context, const char *name)
{
    return smfi_getsymval(context, filter_unconst(name));
}

static void tell_progress(void *context)
{
    smfi_progress(context);
}

void filter_call_scripts(Session *session, SMFICTX *context, const ScriptView *given,
                         ScriptAnswer *ret)
{
    ScriptView view = *given;

    view.mail = &session->mail;
    view.macro = macro_of;
    view.progress = view.event == SCRIPT_MESSAGE ? tell_progress : NULL;
    view.userdata = context;
    view.offered = session->offered;
    script_run_call(session->scripts, &view, ret);
}

bool filter_ask_scripts(Session *session, SMFICTX *context, const ScriptView *view,
                        sfsistat *ret_status)
{
    ScriptAnswer said;

    if (!session->scripts || session->discard || session->shortage)
        return false;
    /* Where none has a handler the step may not be answered: a failure before it is told later. */
    if (!scripts_have(&session->filter->settings->scripts, view->event))
        return false;
    filter_call_scripts(session, context, view, &said);
    switch (said.verdict) {
    case VERDICT_CONTINUE:
        return false;
    case VERDICT_DISCARD:
        session->discard = true;
        return false;
    case VERDICT_REJECT:
    case VERDICT_TEMPFAIL:
        /* A recipient, or a command, is no message. */
        if (view->event == SCRIPT_RCPT || view->event == SCRIPT_UNKNOWN) {
            *ret_status = filter_give(context, said.verdict, said.reply);
            return true;
        }
        break;
    default:
        break;
    }
    *ret_status = filter_finish(session, context, stage_of(view->event), said.verdict, said.reply);
    return true;
}

bool filter_ask_about_header(Session *session, SMFICTX *context, const char *name,
                             const char *value, sfsistat *ret_status)
{
    const Mail *mail = &session->mail;
    const char *charset = mail->n_headers > 0 ? mail->headers[0].charset : "";
    _cleanup_free_ char *text = NULL;
    ScriptView view = { .event = SCRIPT_HEADER, .n_values = 3 };

    if (!session->scripts || !scripts_have(&session->filter->settings->scripts, SCRIPT_HEADER))
        return false;
    text = header_decode_as_dup(value, charset);
    if (!text) {
        filter_note_shortage(session);
        return false;
    }
    view.values[0] = filter_value(name);
    view.values[1] = filter_value(text);
    view.values[2] = filter_value(value);
    return filter_ask_scripts(session, context, &view, ret_status);
}

ScriptValue filter_value(const char *text)
{
    return (ScriptValue){ text, strlen(text) };
}

ScriptValue filter_address(const char *text)
{
    ScriptValue value = filter_value(text);

    if (value.size >= 2 && text[0] == '<' && text[value.size - 1] == '>')
        value = (ScriptValue){ text + 1, value.size - 2 };
    return value;
}
