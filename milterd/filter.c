/* SPDX-License-Identifier: MIT */

/*
 * Callbacks of libmilter over one Session for each connection.
 *
 * Callbacks of one connection come one after another but on any thread, so all state is in the
 * Session, which libmilter keeps for us. It is made when the MTA negotiates (or, where an MTA
 * reuses the connection for another client, when that one connects) and freed at close. The part
 * for one message is cleared when a message begins, and after each final verdict, abort and close.
 *
 * A step that was negotiated as "no reply" must not be answered, whatever happens in it: what it
 * has to say waits in the Session for the next step that is answered, at the latest the end of
 * message. So a step is only negotiated that way where no rule set can drop a mail.
 */

#include "milterd/filter-internal.h"

#include <limits.h>
#include <stdio.h>
#include <syslog.h>

#include "common/log.h"

#include "milterd/guard.h"
#include "milterd/origin.h"

/* libmilter's own sweep for silent connections walks off its list when it closes the last one;
 * silence is the worker's business (connections.h), so let it never find any. In seconds, and
 * small enough for its milliseconds in an int. */
#define NEVER_SECONDS 2000000

#define BACKLOG 512

/* libmilter has no place for what belongs to all connections; set once, before any thread. */
static const Filter *filter;

static FilterNeeds needs;

/* The answer to a step, or none where none was negotiated. */
static sfsistat answer(unsigned long no_reply_bit, sfsistat status)
{
    return (needs.no_reply & no_reply_bit) ? SMFIS_NOREPLY : status;
}

/* The answer to a step of a connection that has no session: with it the message has ended. */
static sfsistat defer_unknown(CounterStage stage, unsigned long no_reply_bit)
{
    if (needs.no_reply & no_reply_bit)
        return SMFIS_NOREPLY;
    filter_count_message(filter, stage, VERDICT_TEMPFAIL);
    return SMFIS_TEMPFAIL;
}

static Session *session_new(SMFICTX *context)
{
    const Filter *own = filter;
    Session *session = calloc(1, sizeof(*session));

    if (session && ((own->settings->scripts.n > 0 &&
                     script_run_new(&own->settings->scripts, own->counters->script_errors,
                                    &session->scripts) < 0) ||
                    smfi_setpriv(context, session) != MI_SUCCESS)) {
        script_run_free(session->scripts);
        free(session);
        session = NULL;
    }
    if (!session) {
        log_error("out of memory for a connection, its mail is put off");
        return NULL;
    }
    session->filter = filter;
    /* What an MTA that reuses the connection has offered before is known to libmilter alone, which
     * refuses what was not. */
    session->offered = ~0U;
    filter_begin_message(session);
    atomic_fetch_add(filter->n_connections, 1);
    return session;
}

static void session_free(Session *session, SMFICTX *context)
{
    if (session->begun)
        metric_add(filter->counters->aborted, 1);
    mail_done(&session->mail);
    script_run_free(session->scripts);
    free(session);
    smfi_setpriv(context, NULL);
    atomic_fetch_sub(filter->n_connections, 1);
}

/* The connection can't be served: what is not known of it might make rules match that should not.
 * All its steps from now on find no session. */
static void session_drop(Session *session, SMFICTX *context)
{
    session_free(session, context);
    log_error("out of memory for a connection, its mail is put off");
}

/* Copies what the MTA says of the macros that are final at `stage`. */
static int note_macros(Session *session, SMFICTX *context, MailStage stage)
{
    for (size_t i = 0; i < needs.macros.n; i++) {
        const char *name = needs.macros.names[i];
        int r;

        if (macro_stage(name) != stage)
            continue;
        r = mail_add_macro(&session->mail, stage, name,
                           smfi_getsymval(context, filter_unconst(name)));
        if (r < 0)
            return r;
    }
    return 0;
}

/* Asks the rules about what is known at `stage`. */
static void look_at_rules(Session *session, MailStage stage)
{
    int r;

    if (session->out || session->shortage)
        return;
    r = rules_look(&session->rules, &session->mail, stage);
    if (r < 0)
        filter_note_shortage(session);
    session->out = r == 0 || rules_let_pass(&session->rules);
}

/* Asks the guards about a mail that some rule may still match. */
static void look_at_guards(Session *session, SMFICTX *context, MailStage stage)
{
    GuardFinding finding;
    int r;

    if (session->out || session->shortage)
        return;
    r = guards_look(&filter->settings->guards, &session->mail, stage, &finding);
    if (r < 0)
        filter_note_shortage(session);
    if (r > 0) {
        counters_guarded(filter->counters, finding.name);
        guards_log(&finding, &session->mail, smfi_getsymval(context, filter_unconst("i")));
    }
    session->out = r > 0;
}

/* The answer by what was found, before the event `next`. Where none is due, what is left is
 * answered: a mail that is out costs the MTA the beginning of its body. */
static sfsistat answer_found(Session *session, SMFICTX *context, CounterStage stage,
                             unsigned long no_reply_bit, ScriptEvent next)
{
    Verdict verdict = session->discard ? VERDICT_DISCARD : VERDICT_ACCEPT;

    if (needs.no_reply & no_reply_bit)
        return SMFIS_NOREPLY;
    if (session->shortage)
        return filter_defer(session, stage);
    if (!filter_is_wanted(session, next))
        return filter_finish(session, context, stage, verdict, NULL);
    return SMFIS_CONTINUE;
}

static sfsistat look(Session *session, SMFICTX *context, MailStage stage,
                     unsigned long no_reply_bit)
{
    static const struct {
        CounterStage counted;
        ScriptEvent next;
    } steps[] = {
        [MAIL_STAGE_CONNECT] = { COUNTER_CONNECT, SCRIPT_HELO },
        [MAIL_STAGE_HELO] = { COUNTER_HELO, SCRIPT_MAIL },
        [MAIL_STAGE_MAIL] = { COUNTER_MAIL, SCRIPT_RCPT },
        [MAIL_STAGE_DATA] = { COUNTER_DATA, SCRIPT_HEADER },
        [MAIL_STAGE_HEADERS] = { COUNTER_HEADERS, SCRIPT_BODY },
    };

    look_at_rules(session, stage);
    if (stage == MAIL_STAGE_HEADERS)
        look_at_guards(session, context, stage);
    return answer_found(session, context, steps[stage].counted, no_reply_bit, steps[stage].next);
}

/* What they say does not count. */
static void tell_scripts(Session *session, SMFICTX *context, ScriptEvent event)
{
    const ScriptView view = { .event = event };
    ScriptAnswer said;

    if (session->scripts)
        filter_call_scripts(session, context, &view, &said);
}

static sfsistat on_negotiate(SMFICTX *context, unsigned long actions, unsigned long steps,
                             unsigned long unused_2, unsigned long unused_3,
                             unsigned long *ret_actions, unsigned long *ret_steps,
                             unsigned long *ret_2, unsigned long *ret_3)
{
    Session *session = session_new(context);

    if (!session)
        return SMFIS_REJECT; /* of the negotiation: the MTA does what it does without us */
    metric_add(filter->counters->connections_total, 1);

    filter_negotiate(&needs, session, context, actions, steps, ret_actions, ret_steps);
    *ret_2 = 0;
    *ret_3 = 0;
    return SMFIS_CONTINUE;
}

static sfsistat on_connect(SMFICTX *context, char *name, struct sockaddr *address)
{
    const ScriptView view = { .event = SCRIPT_CONNECT };
    Session *session = smfi_getpriv(context);
    sfsistat status;
    bool asked;

    if (!session)
        session = session_new(context);
    if (!session)
        return defer_unknown(COUNTER_CONNECT, SMFIP_NR_CONN);

    mail_done(&session->mail);
    if (session->scripts)
        script_run_begin_connection(session->scripts);
    filter_begin_message(session);
    /* The macros first: one of them tells whether there is a client. */
    asked = session->can_ask && macro_needs_have(&needs.macros, MACRO_RESOLVED);
    if (note_macros(session, context, MAIL_STAGE_CONNECT) < 0 ||
        origin_set(&session->mail, name, address, asked) < 0) {
        session_drop(session, context);
        return defer_unknown(COUNTER_CONNECT, SMFIP_NR_CONN);
    }
    if (filter_ask_scripts(session, context, &view, &status))
        return status;
    return look(session, context, MAIL_STAGE_CONNECT, SMFIP_NR_CONN);
}

static sfsistat on_helo(SMFICTX *context, char *name)
{
    const ScriptView view = { .event = SCRIPT_HELO,
                              .values = { filter_value(name) },
                              .n_values = 1 };
    Session *session = smfi_getpriv(context);
    sfsistat status;

    if (!session)
        return defer_unknown(COUNTER_HELO, SMFIP_NR_HELO);

    filter_begin_message(session);
    if (mail_set_helo(&session->mail, name) < 0) {
        session_drop(session, context);
        return defer_unknown(COUNTER_HELO, SMFIP_NR_HELO);
    }
    if (filter_ask_scripts(session, context, &view, &status))
        return status;
    return look(session, context, MAIL_STAGE_HELO, SMFIP_NR_HELO);
}

static sfsistat on_mail(SMFICTX *context, char **arguments)
{
    Session *session = smfi_getpriv(context);
    const char *sender = arguments[0] ? arguments[0] : "";
    char *const *esmtp = arguments[0] ? arguments + 1 : arguments;
    const ScriptView view = {
        .event = SCRIPT_MAIL,
        .values = { filter_address(sender) },
        .n_values = 1,
        .arguments = esmtp,
    };
    sfsistat status;

    if (!session)
        return defer_unknown(COUNTER_MAIL, SMFIP_NR_MAIL);

    filter_begin_message(session);
    session->begun = true;
    if (mail_set_envelope_from(&session->mail, sender) < 0 ||
        (session->scripts && script_run_set_mail_arguments(session->scripts, esmtp) < 0) ||
        note_macros(session, context, MAIL_STAGE_MAIL) < 0)
        filter_note_shortage(session);
    if (filter_ask_scripts(session, context, &view, &status))
        return status;
    return look(session, context, MAIL_STAGE_MAIL, SMFIP_NR_MAIL);
}

static sfsistat on_rcpt(SMFICTX *context, char **arguments)
{
    Session *session = smfi_getpriv(context);
    const char *address = arguments[0] ? arguments[0] : "";
    const ScriptView view = {
        .event = SCRIPT_RCPT,
        .values = { filter_address(address) },
        .n_values = 1,
        .arguments = arguments[0] ? arguments + 1 : arguments,
    };
    sfsistat status;

    if (!session)
        return answer(SMFIP_NR_RCPT, SMFIS_TEMPFAIL);

    /* A recipient that a script refuses is none. */
    if (arguments[0] && filter_ask_scripts(session, context, &view, &status))
        return status;
    if (arguments[0] && filter_is_wanted(session, SCRIPT_RCPT) &&
        mail_add_rcpt(&session->mail, address) < 0)
        filter_note_shortage(session);
    /* A shortage is told at a later step: here it would put off this recipient alone. */
    return answer(SMFIP_NR_RCPT, SMFIS_CONTINUE);
}

static sfsistat on_data(SMFICTX *context)
{
    const ScriptView view = { .event = SCRIPT_DATA };
    Session *session = smfi_getpriv(context);
    sfsistat status;

    if (!session)
        return defer_unknown(COUNTER_DATA, 0);
    if (filter_ask_scripts(session, context, &view, &status))
        return status;
    return look(session, context, MAIL_STAGE_DATA, 0);
}

/* A command that the MTA does not know. */
static sfsistat on_unknown(SMFICTX *context, const char *command)
{
    const ScriptView view = {
        .event = SCRIPT_UNKNOWN,
        .values = { filter_value(command) },
        .n_values = 1,
    };
    Session *session = smfi_getpriv(context);
    sfsistat status;

    if (session && filter_ask_scripts(session, context, &view, &status))
        return status;
    return SMFIS_CONTINUE;
}

static sfsistat on_header(SMFICTX *context, char *name, char *value)
{
    Session *session = smfi_getpriv(context);
    sfsistat status;

    if (!session)
        return defer_unknown(COUNTER_HEADERS, SMFIP_NR_HDR);

    if (filter_is_wanted(session, SCRIPT_HEADER) &&
        mail_add_header(&session->mail, name, value) < 0)
        filter_note_shortage(session);
    if (filter_ask_about_header(session, context, name, value, &status))
        return status;
    return answer(SMFIP_NR_HDR, SMFIS_CONTINUE);
}

static sfsistat on_end_of_headers(SMFICTX *context)
{
    const ScriptView view = { .event = SCRIPT_HEADERS };
    Session *session = smfi_getpriv(context);
    sfsistat status;

    if (!session)
        return defer_unknown(COUNTER_HEADERS, SMFIP_NR_EOH);
    if (filter_ask_scripts(session, context, &view, &status))
        return status;
    return look(session, context, MAIL_STAGE_HEADERS, SMFIP_NR_EOH);
}

static sfsistat on_body(SMFICTX *context, unsigned char *chunk, size_t size)
{
    Session *session = smfi_getpriv(context);
    const ScriptView view = {
        .event = SCRIPT_BODY,
        .values = { { (const char *)chunk, size } },
        .n_values = 1,
    };
    uint64_t max = filter->settings->max_message;
    sfsistat status;

    if (!session)
        return defer_unknown(COUNTER_BODY, 0);

    if (filter_is_wanted(session, SCRIPT_BODY) &&
        mail_add_body(&session->mail, chunk, size, max) < 0)
        filter_note_shortage(session);
    if (filter_ask_scripts(session, context, &view, &status))
        return status;
    status = answer_found(session, context, COUNTER_BODY, 0, SCRIPT_BODY);
    if (status != SMFIS_CONTINUE)
        return status;
    /* Only what comes after the limit tells that there is more than the limit. */
    if (session->can_skip && session->mail.body_total > max &&
        !(session->scripts && script_run_wants_body(session->scripts)))
        return SMFIS_SKIP;
    return SMFIS_CONTINUE;
}

static sfsistat on_end_of_message(SMFICTX *context)
{
    const ScriptView view = { .event = SCRIPT_MESSAGE };
    ScriptAnswer said = { .verdict = VERDICT_CONTINUE };
    Session *session = smfi_getpriv(context);

    if (!session)
        return defer_unknown(COUNTER_MESSAGE, 0);

    if (filter_is_wanted(session, SCRIPT_MESSAGE) &&
        note_macros(session, context, MAIL_STAGE_MESSAGE) < 0)
        filter_note_shortage(session);
    look_at_rules(session, MAIL_STAGE_MESSAGE);
    look_at_guards(session, context, MAIL_STAGE_MESSAGE);
    if (session->shortage)
        return filter_defer(session, COUNTER_MESSAGE);
    if (session->discard)
        said.verdict = VERDICT_DISCARD;
    else if (session->scripts)
        filter_call_scripts(session, context, &view, &said);
    if (said.verdict == VERDICT_REJECT || said.verdict == VERDICT_TEMPFAIL)
        return filter_finish(session, context, COUNTER_MESSAGE, said.verdict, said.reply);
    return filter_conclude(session, context, said.verdict);
}

static sfsistat on_abort(SMFICTX *context)
{
    Session *session = smfi_getpriv(context);

    if (session) {
        tell_scripts(session, context, SCRIPT_ABORT);
        filter_begin_message(session);
    }
    return SMFIS_CONTINUE;
}

static sfsistat on_close(SMFICTX *context)
{
    Session *session = smfi_getpriv(context);

    if (session) {
        tell_scripts(session, context, SCRIPT_CLOSE);
        session_free(session, context);
        filter->connection_closed(filter->userdata);
    }
    return SMFIS_CONTINUE;
}

int filter_open(const Filter *self)
{
    static char name[] = "milterd";
    struct smfiDesc description = {
        .xxfi_name = name,
        .xxfi_version = SMFI_VERSION,
        .xxfi_flags = SMFIF_QUARANTINE | SMFIF_SETSYMLIST,
        .xxfi_connect = on_connect,
        .xxfi_helo = on_helo,
        .xxfi_envfrom = on_mail,
        .xxfi_envrcpt = on_rcpt,
        .xxfi_header = on_header,
        .xxfi_eoh = on_end_of_headers,
        .xxfi_body = on_body,
        .xxfi_eom = on_end_of_message,
        .xxfi_abort = on_abort,
        .xxfi_close = on_close,
        .xxfi_data = on_data,
        .xxfi_unknown = on_unknown,
        .xxfi_negotiate = on_negotiate,
    };
    char address[32];

    filter = self;
    filter_choose(self, &needs);

    /* libmilter's own complaints; beside us on standard error where nobody collects them. */
    openlog(name, LOG_PID | (getenv("JOURNAL_STREAM") ? 0 : LOG_PERROR), LOG_MAIL);

    snprintf(address, sizeof(address), "fd:%d", self->listen_fd);
    if (smfi_register(description) != MI_SUCCESS || smfi_setconn(address) != MI_SUCCESS)
        return -ENOMEM;
    smfi_settimeout(NEVER_SECONDS);
    smfi_setbacklog(BACKLOG);
    if (smfi_opensocket(false) != MI_SUCCESS)
        return -EIO;
    return 0;
}

void filter_run(void)
{
    smfi_main();
}
