/* SPDX-License-Identifier: MIT */

/*
 * Names of events, and the end of what was wished for.
 */

#include "milterd/script-event.h"

#include "milterd/regex.h"

const char *const script_event_names[] = {
    [SCRIPT_CONNECT] = "connect", [SCRIPT_HELO] = "helo",   [SCRIPT_MAIL] = "mail",
    [SCRIPT_RCPT] = "rcpt",       [SCRIPT_DATA] = "data",   [SCRIPT_HEADER] = "header",
    [SCRIPT_HEADERS] = "headers", [SCRIPT_BODY] = "body",   [SCRIPT_MESSAGE] = "message",
    [SCRIPT_UNKNOWN] = "unknown", [SCRIPT_ABORT] = "abort", [SCRIPT_CLOSE] = "close",
    [_SCRIPT_EVENT_MAX] = NULL,
};

void script_alerts_cut(ScriptAlerts *alerts, size_t n)
{
    while (alerts->n > n)
        record_free(alerts->items[--alerts->n].record);
}

void script_alerts_drop(ScriptAlerts *alerts, const char *script)
{
    size_t n = 0;

    for (size_t i = 0; i < alerts->n; i++)
        if (streq(alerts->items[i].script, script))
            record_free(alerts->items[i].record);
        else
            alerts->items[n++] = alerts->items[i];
    alerts->n = n;
}

void script_wishes_begin(ScriptWishes *wishes)
{
    script_wishes_done(wishes);
    wishes->regex_budget = REGEX_BUDGET;
}

void script_wishes_done(ScriptWishes *wishes)
{
    actions_done(&wishes->actions);
    script_alerts_cut(&wishes->alerts, 0);
}
