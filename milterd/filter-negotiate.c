/* SPDX-License-Identifier: MIT */

/*
 * What the MTA is asked for: no more than rules, profiles and scripts look at.
 *
 * A step is only negotiated as "no reply" where neither a rule nor a script can drop a mail.
 */

#include "milterd/filter-internal.h"

static bool script_at(const Settings *settings, ScriptEvent event)
{
    return scripts_have(&settings->scripts, event);
}

static unsigned long choose_no_reply(const Filter *filter)
{
    const RuleSet *rules = &filter->settings->rules;
    const struct {
        unsigned long bit;
        ScriptEvent event;
    } steps[] = {
        { SMFIP_NR_CONN, SCRIPT_CONNECT }, { SMFIP_NR_HELO, SCRIPT_HELO },
        { SMFIP_NR_MAIL, SCRIPT_MAIL },    { SMFIP_NR_RCPT, SCRIPT_RCPT },
        { SMFIP_NR_HDR, SCRIPT_HEADER },   { SMFIP_NR_EOH, SCRIPT_HEADERS },
    };
    unsigned long bits = SMFIP_NR_HDR | SMFIP_NR_RCPT;

    /* Over TCP the MTA's small unanswered writes wait for delayed acknowledgements. */
    if (!filter->local)
        return 0;

    if ((rules->n > 0 || filter->settings->scripts.n > 0) &&
        !rules_decide_at(rules, MAIL_STAGE_CONNECT))
        bits |= SMFIP_NR_CONN;
    if (!rules_decide_at(rules, MAIL_STAGE_HELO))
        bits |= SMFIP_NR_HELO;
    if (!rules_decide_at(rules, MAIL_STAGE_MAIL))
        bits |= SMFIP_NR_MAIL;
    if (!rules_decide_at(rules, MAIL_STAGE_HEADERS))
        bits |= SMFIP_NR_EOH;
    for (size_t i = 0; i < ELEMENTSOF(steps); i++)
        if (script_at(filter->settings, steps[i].event))
            bits &= ~steps[i].bit;
    return bits;
}

static unsigned long choose_no_step(const Filter *filter)
{
    unsigned long bits = 0;

    if (!script_at(filter->settings, SCRIPT_UNKNOWN))
        bits |= SMFIP_NOUNKNOWN;
    if (!settings_need_helo(filter->settings))
        bits |= SMFIP_NOHELO;
    /* Without DATA the recipients are looked at together with the headers. But libmilter takes
     * nothing else behind a command that is unknown, and ignores the headers. */
    if (!rules_decide_at(&filter->settings->rules, MAIL_STAGE_DATA) &&
        !script_at(filter->settings, SCRIPT_DATA) && !script_at(filter->settings, SCRIPT_UNKNOWN))
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

static void choose_macros(const Settings *settings, MacroNeeds *macros)
{
    const char *names[MAIL_MACROS_MAX];
    size_t n = settings_macros(settings, names);

    macro_needs_begin(macros, "i");
    for (size_t i = 0; i < n; i++)
        macro_needs_add(macros, names[i]);
}

void filter_choose(const Filter *filter, FilterNeeds *needs)
{
    needs->no_reply = choose_no_reply(filter);
    needs->no_step = choose_no_step(filter);
    choose_macros(filter->settings, &needs->macros);
}

static void ask_for_macros(const Filter *filter, const MacroNeeds *macros, SMFICTX *context)
{
    /* An empty list would keep the MTA from telling what it tells by itself. */
    if (macros->at_connect[0] != '\0')
        smfi_setsymlist(context, SMFIM_CONNECT, filter_unconst(macros->at_connect));
    if (macros->at_mail[0] != '\0')
        smfi_setsymlist(context, SMFIM_ENVFROM, filter_unconst(macros->at_mail));
    smfi_setsymlist(context, SMFIM_EOM, filter_unconst(macros->at_message));
    /* A guard's line of log tells the queue id. */
    if (filter->settings->guards.n > 0)
        smfi_setsymlist(context, SMFIM_EOH, filter_unconst("i"));
}

/* What scripts may want done at the end of a message. */
static unsigned long wanted_actions(const Filter *filter)
{
    unsigned long wanted = 0;

    if (needs_quarantine(&filter->settings->rules))
        wanted |= SMFIF_QUARANTINE;
    if (script_at(filter->settings, SCRIPT_MESSAGE))
        wanted |= SMFIF_ADDHDRS | SMFIF_CHGHDRS | SMFIF_CHGBODY | SMFIF_ADDRCPT |
                  SMFIF_ADDRCPT_PAR | SMFIF_DELRCPT | SMFIF_QUARANTINE | SMFIF_CHGFROM;
    return wanted;
}

static unsigned offered_actions(unsigned long actions)
{
    static const unsigned long bits[] = {
        [ACTION_CHANGE_FROM] = SMFIF_CHGFROM,   [ACTION_DELETE_RCPT] = SMFIF_DELRCPT,
        [ACTION_ADD_RCPT] = SMFIF_ADDRCPT,      [ACTION_CHANGE_HEADER] = SMFIF_CHGHDRS,
        [ACTION_DELETE_HEADER] = SMFIF_CHGHDRS, [ACTION_ADD_HEADER] = SMFIF_ADDHDRS,
        [ACTION_INSERT_HEADER] = SMFIF_ADDHDRS, [ACTION_REPLACE_BODY] = SMFIF_CHGBODY,
        [ACTION_QUARANTINE] = SMFIF_QUARANTINE,
    };
    unsigned offered = 0;

    for (unsigned i = 0; i < ELEMENTSOF(bits); i++)
        if (actions & bits[i])
            offered |= 1U << i;
    return offered;
}

void filter_negotiate(const FilterNeeds *needs, Session *session, SMFICTX *context,
                      unsigned long actions, unsigned long steps, unsigned long *ret_actions,
                      unsigned long *ret_steps)
{
    const Filter *filter = session->filter;

    session->can_skip = (steps & SMFIP_SKIP) != 0;
    session->can_ask = (actions & SMFIF_SETSYMLIST) != 0;
    session->offered = offered_actions(actions);
    if (session->can_ask)
        ask_for_macros(filter, &needs->macros, context);
    *ret_actions = actions & wanted_actions(filter);
    *ret_steps = (needs->no_step & steps) | needs->no_reply | (steps & SMFIP_SKIP);
}
