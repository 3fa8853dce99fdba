/* SPDX-License-Identifier: MIT */

/*
 * What the MTA is told about a message in the end: changes, in an order that all MTAs take, and the
 * answer.
 */

#include "milterd/filter-internal.h"

#include <stdio.h>

#include "milterd/guard.h"

#define REPLY_TEXT_MAX 980 /* bytes of a line, of libmilter */

/* Changes */

/* An address as it stands in the protocol. */
static char *bracketed_dup(const char *address)
{
    char *text;

    if (*address == '<')
        return strdup(address);
    return asprintf(&text, "<%s>", address) < 0 ? NULL : text;
}

static int act_on_envelope(SMFICTX *context, const Action *action)
{
    _cleanup_free_ char *address = bracketed_dup(action->name);

    if (!address)
        return MI_FAILURE;
    if (action->type == ACTION_CHANGE_FROM)
        return smfi_chgfrom(context, address, action->value);
    if (action->type == ACTION_DELETE_RCPT)
        return smfi_delrcpt(context, address);
    if (action->value && *action->value)
        return smfi_addrcpt_par(context, address, action->value);
    return smfi_addrcpt(context, address);
}

static int act(SMFICTX *context, const Action *action)
{
    switch (action->type) {
    case ACTION_CHANGE_FROM:
    case ACTION_DELETE_RCPT:
    case ACTION_ADD_RCPT:
        return act_on_envelope(context, action);
    case ACTION_CHANGE_HEADER:
        return smfi_chgheader(context, action->name, action->index, action->value);
    case ACTION_DELETE_HEADER:
        return smfi_chgheader(context, action->name, action->index, NULL);
    case ACTION_ADD_HEADER:
        return smfi_addheader(context, action->name, action->value);
    case ACTION_INSERT_HEADER:
        return smfi_insheader(context, action->index, action->name, action->value);
    case ACTION_REPLACE_BODY:
        return smfi_replacebody(context, (unsigned char *)action->value, (int)action->size);
    case ACTION_QUARANTINE:
        return smfi_quarantine(context, action->value);
    case _ACTION_MAX:
        break;
    }
    return MI_FAILURE;
}

/* Of these the last one counts. */
static bool is_superseded(const Actions *actions, size_t index)
{
    ActionType type = actions->items[index].type;

    if (type != ACTION_REPLACE_BODY && type != ACTION_QUARANTINE && type != ACTION_CHANGE_FROM)
        return false;
    for (size_t i = index + 1; i < actions->n; i++)
        if (actions->items[i].type == type)
            return true;
    return false;
}

/* The body must be replaced in one go, not between other changes, and headers that are counted be
 * changed before any is added. */
int filter_act(SMFICTX *context, const Actions *actions)
{
    const Action *sorted[ACTIONS_MAX];
    size_t n = 0;

    for (size_t i = 0; i < actions->n && n < ACTIONS_MAX; i++) {
        const Action *action = &actions->items[i];
        size_t at = n;

        if (is_superseded(actions, i))
            continue;
        for (; at > 0 && action_before(action, sorted[at - 1]); at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = action;
        n++;
    }
    for (size_t i = 0; i < n; i++)
        if (act(context, sorted[i]) != MI_SUCCESS)
            return -EIO;
    return 0;
}

/* Answers */

/* MTAs take "%" for the beginning of a macro, so it is doubled. */
static char *reply_line_dup(const char *text)
{
    char *line = malloc(REPLY_TEXT_MAX + 1);
    size_t n = 0;

    if (!line)
        return NULL;
    for (; *text && n + 2 <= REPLY_TEXT_MAX; text++) {
        line[n++] = *text;
        if (*text == '%')
            line[n++] = '%';
    }
    line[n] = '\0';
    return line;
}

/* Where anything fails for want of memory the MTA makes up a reply that fits the answer. */
static void set_reply(SMFICTX *context, const Reply *reply)
{
    char *status = reply->status[0] != '\0' ? filter_unconst(reply->status) : NULL;
    char *lines[REPLY_LINES_MAX] = {};
    bool failed = false;

    for (size_t i = 0; i < reply->n_lines; i++) {
        lines[i] = reply_line_dup(reply->lines[i]);
        failed = failed || !lines[i];
    }
    if (!failed && reply->n_lines <= 1)
        smfi_setreply(context, filter_unconst(reply->code), status, lines[0]);
    else if (!failed)
        smfi_setmlreply(context, reply->code, status, lines[0], lines[1], lines[2], lines[3],
                        lines[4], lines[5], lines[6], lines[7], lines[8], lines[9], lines[10],
                        lines[11], lines[12], lines[13], lines[14], lines[15], lines[16], lines[17],
                        lines[18], lines[19], lines[20], lines[21], lines[22], lines[23], lines[24],
                        lines[25], lines[26], lines[27], lines[28], lines[29], lines[30], lines[31],
                        NULL);
    for (size_t i = 0; i < reply->n_lines; i++)
        free(lines[i]);
}

static sfsistat give_line(SMFICTX *context, sfsistat status, const char *code, const char *enhanced,
                          const char *text)
{
    smfi_setreply(context, filter_unconst(code), filter_unconst(enhanced), filter_unconst(text));
    return status;
}

sfsistat filter_give(SMFICTX *context, Verdict verdict, const Reply *reply)
{
    switch (verdict) {
    case VERDICT_CONTINUE:
    case VERDICT_QUARANTINE:
        return SMFIS_CONTINUE;
    case VERDICT_ACCEPT:
        return SMFIS_ACCEPT;
    case VERDICT_DISCARD:
        return SMFIS_DISCARD;
    case VERDICT_REJECT:
    case VERDICT_TEMPFAIL:
        break;
    }
    if (reply) {
        set_reply(context, reply);
        return verdict == VERDICT_REJECT ? SMFIS_REJECT : SMFIS_TEMPFAIL;
    }
    if (verdict == VERDICT_REJECT)
        return give_line(context, SMFIS_REJECT, "550", "5.7.1", "message refused by policy");
    return give_line(context, SMFIS_TEMPFAIL, "451", "4.7.1",
                     "message put off by policy, try again later");
}

sfsistat filter_put_off(SMFICTX *context)
{
    return give_line(context, SMFIS_TEMPFAIL, "451", "4.7.1", GUARD_OWN_REPLY);
}
