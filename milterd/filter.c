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

#include "milterd/filter.h"

#include <libmilter/mfapi.h>
#include <limits.h>
#include <stdio.h>
#include <syslog.h>

#include "common/log.h"

#include "milterd/guard.h"
#include "milterd/handover.h"
#include "milterd/macro.h"
#include "milterd/origin.h"

/* libmilter's own sweep for silent connections walks off its list when it closes the last one;
 * silence is the worker's business (connections.h), so let it never find any. In seconds, and
 * small enough for its milliseconds in an int. */
#define NEVER_SECONDS 2000000

#define BACKLOG 512

typedef struct Session {
    Mail mail;
    RuleState rules;
    bool begun;    /* a message has, and was not dealt with yet */
    bool out;      /* no rule can match this message */
    bool shortage; /* memory gave out: nothing is known for sure about this message */
    bool can_skip; /* the MTA knows SMFIS_SKIP */
    bool can_ask;  /* the MTA tells the macros that it is asked for */
} Session;

/* libmilter has no place for what belongs to all connections; set once, before any thread. */
static const Filter *filter;

static unsigned long no_reply; /* the SMFIP_NR_ bits of steps that are not answered */
static unsigned long no_step;  /* the SMFIP_NO bits of steps that are not sent */

static MacroNeeds macros; /* of the rules and profiles */

static unsigned long choose_no_reply(const Filter *self)
{
    const RuleSet *rules = &self->settings->rules;
    unsigned long bits = SMFIP_NR_HDR | SMFIP_NR_RCPT;

    /* Over TCP the MTA's small unanswered writes wait for delayed acknowledgements. */
    if (!self->local)
        return 0;

    if (rules->n > 0 && !rules_decide_at(rules, MAIL_STAGE_CONNECT))
        bits |= SMFIP_NR_CONN;
    if (!rules_decide_at(rules, MAIL_STAGE_HELO))
        bits |= SMFIP_NR_HELO;
    if (!rules_decide_at(rules, MAIL_STAGE_MAIL))
        bits |= SMFIP_NR_MAIL;
    if (!rules_decide_at(rules, MAIL_STAGE_HEADERS))
        bits |= SMFIP_NR_EOH;
    return bits;
}

static unsigned long choose_no_step(const Filter *self)
{
    unsigned long bits = SMFIP_NOUNKNOWN;

    if (!settings_need_helo(self->settings))
        bits |= SMFIP_NOHELO;
    /* Without DATA the recipients are looked at together with the headers. */
    if (!rules_decide_at(&self->settings->rules, MAIL_STAGE_DATA))
        bits |= SMFIP_NODATA;
    return bits;
}

static bool needs_quarantine(const RuleSet *rules)
{
    for (size_t i = 0; i < rules->n; i++)
        if (((const Rule *)rules->items[i])->verdict == VERDICT_QUARANTINE)
            return true;
    return false;
}

/* libmilter declares its strings without const; it changes none. */
static char *unconst(const char *text)
{
    return (char *)text;
}

/* The answer to a step, or none where none was negotiated. */
static sfsistat answer(unsigned long no_reply_bit, sfsistat status)
{
    return (no_reply & no_reply_bit) ? SMFIS_NOREPLY : status;
}

/* Ready for a message; one that was under way is given up. */
static void message_begin(Session *session)
{
    if (session->begun)
        metric_add(filter->counters->aborted, 1);
    session->begun = false;
    mail_reset(&session->mail);
    rules_begin(&session->rules, &filter->settings->rules);
    session->out = filter->settings->rules.n == 0;
    session->shortage = false;
}

static void count_message(CounterStage stage, Verdict verdict)
{
    metric_add(filter->counters->messages[stage][verdict], 1);
}

/* The message, or the whole connection, is dealt with. */
static void message_end(Session *session, CounterStage stage, Verdict verdict)
{
    count_message(stage, verdict);
    session->begun = false;
    message_begin(session);
}

static sfsistat message_accept(Session *session, CounterStage stage)
{
    message_end(session, stage, VERDICT_ACCEPT);
    return SMFIS_ACCEPT;
}

static sfsistat message_defer(Session *session, CounterStage stage)
{
    message_end(session, stage, VERDICT_TEMPFAIL);
    return SMFIS_TEMPFAIL;
}

/* The answer to a step of a connection that has no session: with it the message has ended. */
static sfsistat defer_unknown(CounterStage stage, unsigned long no_reply_bit)
{
    if (no_reply & no_reply_bit)
        return SMFIS_NOREPLY;
    count_message(stage, VERDICT_TEMPFAIL);
    return SMFIS_TEMPFAIL;
}

static Session *session_new(SMFICTX *context)
{
    Session *session = calloc(1, sizeof(*session));

    if (session && smfi_setpriv(context, session) != MI_SUCCESS) {
        free(session);
        session = NULL;
    }
    if (!session) {
        log_error("out of memory for a connection, its mail is put off");
        return NULL;
    }
    message_begin(session);
    atomic_fetch_add(filter->n_connections, 1);
    return session;
}

static void session_free(Session *session, SMFICTX *context)
{
    if (session->begun)
        metric_add(filter->counters->aborted, 1);
    mail_done(&session->mail);
    free(session);
    smfi_setpriv(context, NULL);
    atomic_fetch_sub(filter->n_connections, 1);
}

static void note_shortage(Session *session)
{
    if (!session->shortage)
        log_error("out of memory for a message, it is put off");
    session->shortage = true;
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
    for (size_t i = 0; i < macros.n; i++) {
        const char *name = macros.names[i];
        int r;

        if (macro_stage(name) != stage)
            continue;
        r = mail_add_macro(&session->mail, stage, name, smfi_getsymval(context, unconst(name)));
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
        note_shortage(session);
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
        note_shortage(session);
    if (r > 0) {
        counters_guarded(filter->counters, finding.name);
        guards_log(&finding, &session->mail, smfi_getsymval(context, unconst("i")));
    }
    session->out = r > 0;
}

/* The answer by what was found. Where none is due, what is left is answered: a mail that is out
 * costs the MTA the beginning of its body. */
static sfsistat answer_found(Session *session, CounterStage stage, unsigned long no_reply_bit)
{
    if (no_reply & no_reply_bit)
        return SMFIS_NOREPLY;
    if (session->shortage)
        return message_defer(session, stage);
    if (session->out)
        return message_accept(session, stage);
    return SMFIS_CONTINUE;
}

static sfsistat look(Session *session, MailStage stage, unsigned long no_reply_bit)
{
    static const CounterStage counted[] = {
        [MAIL_STAGE_CONNECT] = COUNTER_CONNECT, [MAIL_STAGE_HELO] = COUNTER_HELO,
        [MAIL_STAGE_MAIL] = COUNTER_MAIL,       [MAIL_STAGE_DATA] = COUNTER_DATA,
        [MAIL_STAGE_HEADERS] = COUNTER_HEADERS, [MAIL_STAGE_MESSAGE] = COUNTER_MESSAGE,
    };

    look_at_rules(session, stage);
    return answer_found(session, counted[stage], no_reply_bit);
}

static void choose_macros(const Settings *settings)
{
    const char *names[MAIL_MACROS_MAX];
    size_t n = settings_macros(settings, names);

    macro_needs_begin(&macros, "i");
    for (size_t i = 0; i < n; i++)
        macro_needs_add(&macros, names[i]);
}

static void ask_for_macros(SMFICTX *context)
{
    /* An empty list would keep the MTA from telling what it tells by itself. */
    if (macros.at_connect[0] != '\0')
        smfi_setsymlist(context, SMFIM_CONNECT, macros.at_connect);
    if (macros.at_mail[0] != '\0')
        smfi_setsymlist(context, SMFIM_ENVFROM, macros.at_mail);
    smfi_setsymlist(context, SMFIM_EOM, macros.at_message);
    /* A guard's line of log tells the queue id. */
    if (filter->settings->guards.n > 0)
        smfi_setsymlist(context, SMFIM_EOH, unconst("i"));
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

    session->can_skip = (steps & SMFIP_SKIP) != 0;
    session->can_ask = (actions & SMFIF_SETSYMLIST) != 0;
    if (session->can_ask)
        ask_for_macros(context);

    *ret_actions = 0;
    if (needs_quarantine(&filter->settings->rules))
        *ret_actions |= actions & SMFIF_QUARANTINE;
    *ret_steps = (no_step & steps) | no_reply | (steps & SMFIP_SKIP);
    *ret_2 = 0;
    *ret_3 = 0;
    return SMFIS_CONTINUE;
}

static sfsistat on_connect(SMFICTX *context, char *name, struct sockaddr *address)
{
    Session *session = smfi_getpriv(context);
    bool asked;

    if (!session)
        session = session_new(context);
    if (!session)
        return defer_unknown(COUNTER_CONNECT, SMFIP_NR_CONN);

    mail_done(&session->mail);
    message_begin(session);
    /* The macros first: one of them tells whether there is a client. */
    asked = session->can_ask && macro_needs_have(&macros, MACRO_RESOLVED);
    if (note_macros(session, context, MAIL_STAGE_CONNECT) < 0 ||
        origin_set(&session->mail, name, address, asked) < 0) {
        session_drop(session, context);
        return defer_unknown(COUNTER_CONNECT, SMFIP_NR_CONN);
    }
    return look(session, MAIL_STAGE_CONNECT, SMFIP_NR_CONN);
}

static sfsistat on_helo(SMFICTX *context, char *name)
{
    Session *session = smfi_getpriv(context);

    if (!session)
        return defer_unknown(COUNTER_HELO, SMFIP_NR_HELO);

    message_begin(session);
    if (mail_set_helo(&session->mail, name) < 0) {
        session_drop(session, context);
        return defer_unknown(COUNTER_HELO, SMFIP_NR_HELO);
    }
    return look(session, MAIL_STAGE_HELO, SMFIP_NR_HELO);
}

static sfsistat on_mail(SMFICTX *context, char **arguments)
{
    Session *session = smfi_getpriv(context);

    if (!session)
        return defer_unknown(COUNTER_MAIL, SMFIP_NR_MAIL);

    message_begin(session);
    session->begun = true;
    if (mail_set_envelope_from(&session->mail, arguments[0] ? arguments[0] : "") < 0 ||
        note_macros(session, context, MAIL_STAGE_MAIL) < 0)
        note_shortage(session);
    return look(session, MAIL_STAGE_MAIL, SMFIP_NR_MAIL);
}

static sfsistat on_rcpt(SMFICTX *context, char **arguments)
{
    Session *session = smfi_getpriv(context);

    if (!session)
        return answer(SMFIP_NR_RCPT, SMFIS_TEMPFAIL);

    if (!session->out && arguments[0] && mail_add_rcpt(&session->mail, arguments[0]) < 0)
        note_shortage(session);
    /* A shortage is told at a later step: here it would put off this recipient alone. */
    return answer(SMFIP_NR_RCPT, SMFIS_CONTINUE);
}

static sfsistat on_data(SMFICTX *context)
{
    Session *session = smfi_getpriv(context);

    if (!session)
        return defer_unknown(COUNTER_DATA, 0);
    return look(session, MAIL_STAGE_DATA, 0);
}

static sfsistat on_header(SMFICTX *context, char *name, char *value)
{
    Session *session = smfi_getpriv(context);

    if (!session)
        return defer_unknown(COUNTER_HEADERS, SMFIP_NR_HDR);

    if (!session->out && !session->shortage && mail_add_header(&session->mail, name, value) < 0)
        note_shortage(session);
    return answer(SMFIP_NR_HDR, SMFIS_CONTINUE);
}

static sfsistat on_end_of_headers(SMFICTX *context)
{
    Session *session = smfi_getpriv(context);

    if (!session)
        return defer_unknown(COUNTER_HEADERS, SMFIP_NR_EOH);
    look_at_rules(session, MAIL_STAGE_HEADERS);
    look_at_guards(session, context, MAIL_STAGE_HEADERS);
    return answer_found(session, COUNTER_HEADERS, SMFIP_NR_EOH);
}

static sfsistat on_body(SMFICTX *context, unsigned char *chunk, size_t size)
{
    Session *session = smfi_getpriv(context);
    uint64_t max = filter->settings->max_message;

    if (!session)
        return defer_unknown(COUNTER_BODY, 0);
    if (session->out)
        return message_accept(session, COUNTER_BODY);

    if (!session->shortage && mail_add_body(&session->mail, chunk, size, max) < 0)
        note_shortage(session);
    if (session->shortage)
        return message_defer(session, COUNTER_BODY);
    /* Only what comes after the limit tells that there is more than the limit. */
    if (session->can_skip && session->mail.body_total > max)
        return SMFIS_SKIP;
    return SMFIS_CONTINUE;
}

static sfsistat reply(SMFICTX *context, const char *code, const char *status, const char *text,
                      sfsistat verdict)
{
    /* Where this fails for want of memory the MTA makes up a reply that fits. */
    smfi_setreply(context, unconst(code), unconst(status), unconst(text));
    return verdict;
}

/* *ret_verdict is what becomes of the mail then. */
static sfsistat give_verdict(SMFICTX *context, const Rule *rule, HandoverResult result,
                             Verdict *ret_verdict)
{
    *ret_verdict = VERDICT_TEMPFAIL;
    switch (result) {
    case HANDOVER_TAKEN:
        break;
    case HANDOVER_PASS:
        *ret_verdict = VERDICT_CONTINUE;
        return SMFIS_CONTINUE;
    case HANDOVER_DEFER:
        return reply(context, "451", "4.7.1", GUARD_OWN_REPLY, SMFIS_TEMPFAIL);
    }

    *ret_verdict = (Verdict)rule->verdict;
    switch (*ret_verdict) {
    case VERDICT_CONTINUE:
        return SMFIS_CONTINUE;
    case VERDICT_ACCEPT:
        return SMFIS_ACCEPT;
    case VERDICT_DISCARD:
        return SMFIS_DISCARD;
    case VERDICT_REJECT:
        return reply(context, "550", "5.7.1", "message refused by policy", SMFIS_REJECT);
    case VERDICT_TEMPFAIL:
        return reply(context, "451", "4.7.1", "message put off by policy, try again later",
                     SMFIS_TEMPFAIL);
    case VERDICT_QUARANTINE:
        if (smfi_quarantine(context, unconst("held by a rule of the mail filter")) == MI_SUCCESS)
            return SMFIS_CONTINUE;
        log_error("the MTA can't quarantine, the mail that rule \"%s\" would hold is put off",
                  rule->name);
        break;
    }
    *ret_verdict = VERDICT_TEMPFAIL;
    return SMFIS_TEMPFAIL;
}

static sfsistat on_end_of_message(SMFICTX *context)
{
    Session *session = smfi_getpriv(context);
    const Rule *matched[RULES_MATCHED_MAX];
    HandoverResult result;
    Verdict verdict;
    sfsistat status;
    size_t n;

    if (!session)
        return defer_unknown(COUNTER_MESSAGE, 0);

    if (!session->out && note_macros(session, context, MAIL_STAGE_MESSAGE) < 0)
        note_shortage(session);
    look_at_rules(session, MAIL_STAGE_MESSAGE);
    look_at_guards(session, context, MAIL_STAGE_MESSAGE);
    status = answer_found(session, COUNTER_MESSAGE, 0);
    if (status != SMFIS_CONTINUE)
        return status;
    n = rules_result(&session->rules, matched);
    if (n == 0)
        return message_accept(session, COUNTER_MESSAGE);

    if (mail_set_queue_id(&session->mail, smfi_getsymval(context, unconst("i"))) < 0 ||
        handover(filter->settings, filter->watch, filter->counters, &session->mail, matched, n,
                 &result) < 0) {
        note_shortage(session);
        return message_defer(session, COUNTER_MESSAGE);
    }
    status = give_verdict(context, matched[n - 1], result, &verdict);
    message_end(session, COUNTER_MESSAGE, verdict);
    return status;
}

static sfsistat on_abort(SMFICTX *context)
{
    Session *session = smfi_getpriv(context);

    if (session)
        message_begin(session);
    return SMFIS_CONTINUE;
}

static sfsistat on_close(SMFICTX *context)
{
    Session *session = smfi_getpriv(context);

    if (session) {
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
        .xxfi_negotiate = on_negotiate,
    };
    char address[32];

    filter = self;
    no_reply = choose_no_reply(self);
    no_step = choose_no_step(self);
    choose_macros(self->settings);

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
