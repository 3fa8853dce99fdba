/* SPDX-License-Identifier: MIT */

/*
 * The commands that change the spool: retry, drop, pause, resume. Each does so in one transaction
 * and tells the owner afterwards which destinations have changed.
 */

#include "xmpprelay/control-internal.h"

#include <stdio.h>

#include "common/log.h"

#define RETRY_MAX 1000 /* entries that one request retries; xmpprelayctl repeats it */

#define CHANGED_MAX 64

/* The entries a request is about, and the destinations that they are for. */
typedef struct Selection {
    int64_t *seqs;
    size_t n, max;
    char *destinations[CHANGED_MAX];
    size_t n_destinations;
    bool only_failed;
    bool found; /* an entry, of whatever state */
} Selection;

static void selection_done(Selection *selection)
{
    free(selection->seqs);
    for (size_t i = 0; i < selection->n_destinations; i++)
        free(selection->destinations[i]);
}

static int selection_add_destination(Selection *selection, const char *name)
{
    for (size_t i = 0; i < selection->n_destinations; i++)
        if (streq(selection->destinations[i], name))
            return 0;
    if (selection->n_destinations == CHANGED_MAX)
        return 1; /* the rest comes with the next request */
    selection->destinations[selection->n_destinations] = strdup(name);
    if (!selection->destinations[selection->n_destinations])
        return -ENOMEM;
    selection->n_destinations++;
    return 0;
}

static int selection_visit(const SpoolEntry *entry, void *userdata)
{
    Selection *selection = userdata;
    int r;

    selection->found = true;
    if (entry->state != ENTRY_FAILED &&
        (selection->only_failed || entry->state == ENTRY_DELIVERED ||
         entry->state == ENTRY_DROPPED))
        return 0;
    if (selection->n == selection->max)
        return 1;
    r = selection_add_destination(selection, entry->destination);
    if (r != 0)
        return r;
    selection->seqs[selection->n++] = entry->seq;
    return 0;
}

/* One transaction; how many entries were changed, or -errno. */
static int change_entries(Control *control, const Selection *selection, bool retry)
{
    int changed = 0, r;

    r = spool_begin(control->spool);
    if (r < 0)
        return r;
    for (size_t i = 0; i < selection->n; i++) {
        if (retry)
            r = spool_retry(control->spool, selection->seqs[i]);
        else
            r = spool_drop(control->spool, selection->seqs[i], now_usec(CLOCK_REALTIME));
        if (r < 0) {
            spool_rollback(control->spool);
            return r;
        }
        changed += r;
    }
    r = spool_commit(control->spool);
    return r < 0 ? r : changed;
}

static int answer_change(Control *control, const Json *request, bool retry, Json **ret)
{
    _cleanup_(selection_done) Selection selection = { .max = RETRY_MAX, .only_failed = retry };
    const char *id = request_string(request, "id");
    bool all = retry && json_as_bool(json_get(request, "all"), false);
    Answer answer;
    int r;

    if (!id && !all)
        return answer_refusal(ret, "%s needs the id of a record%s", retry ? "retry" : "drop",
                              retry ? ", or all" : "");
    selection.seqs = calloc(selection.max, sizeof(*selection.seqs));
    if (!selection.seqs)
        return -ENOMEM;
    if (all)
        r = spool_list(control->spool, true, "", 0, RETRY_MAX, selection_visit, &selection);
    else
        r = spool_list_record(control->spool, id, selection_visit, &selection);
    if (r < 0)
        return answer_refusal(ret, "the spool can't be read: %s", spool_message(control->spool));
    if (!all && !selection.found)
        return answer_refusal(ret, "no record %s is in the spool or the kept history", id);
    if (!all && selection.n == 0)
        return answer_refusal(ret, "no entry of record %s %s", id,
                              retry ? "has failed" : "waits or has failed");

    r = selection.n == 0 ? 0 : change_entries(control, &selection, retry);
    if (r < 0)
        return answer_refusal(ret, "the spool can't be written: %s", spool_message(control->spool));
    for (size_t i = 0; i < selection.n_destinations; i++)
        control->owner.on_changed(control->owner.userdata, selection.destinations[i]);

    answer = answer_new();
    answer_put_count(&answer, retry ? "retried" : "dropped", (uint64_t)r);
    answer_put_count(&answer, "failed", spool_n_failed(control->spool));
    return answer_done(answer, ret);
}

int control_retry(Control *control, const Json *request, Json **ret)
{
    return answer_change(control, request, true, ret);
}

int control_drop(Control *control, const Json *request, Json **ret)
{
    return answer_change(control, request, false, ret);
}

int control_unknown_destination(const Control *control, const char *name, Json **ret)
{
    char known[400] = "";
    size_t used = 0;

    for (size_t i = 0; i < control->settings->destinations.n && used < sizeof(known); i++)
        used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", i > 0 ? ", " : "",
                                 settings_destination(control->settings, i)->name);
    return answer_refusal(ret, "no destination \"%s\" is configured; there are: %s", name, known);
}

static int set_paused(Control *control, const char *only, bool paused)
{
    int r;

    r = spool_begin(control->spool);
    if (r < 0)
        return r;
    for (size_t i = 0; r >= 0 && i < control->settings->destinations.n; i++) {
        const char *name = settings_destination(control->settings, i)->name;

        if (!only || streq(only, name))
            r = spool_set_paused(control->spool, name, paused);
    }
    if (r < 0) {
        spool_rollback(control->spool);
        return r;
    }
    return spool_commit(control->spool);
}

static int answer_pause_resume(Control *control, const Json *request, bool paused, Json **ret)
{
    const char *only = request_string(request, "destination");
    Answer answer;
    int r;

    if (only && settings_find_destination(control->settings, only) < 0)
        return control_unknown_destination(control, only, ret);
    r = set_paused(control, only, paused);
    if (r < 0)
        return answer_refusal(ret, "the spool can't be written: %s", spool_message(control->spool));

    answer = answer_new();
    for (size_t i = 0; i < control->settings->destinations.n; i++) {
        const char *name = settings_destination(control->settings, i)->name;

        if (only && !streq(only, name))
            continue;
        log_notice("%s destination %s, as the operator asked", paused ? "paused" : "resumed", name);
        control->owner.on_paused(control->owner.userdata, name, paused);
    }
    answer_put(&answer, json_set_bool(answer.json, "paused", paused));
    return answer_done(answer, ret);
}

int control_pause(Control *control, const Json *request, Json **ret)
{
    return answer_pause_resume(control, request, true, ret);
}

int control_resume(Control *control, const Json *request, Json **ret)
{
    return answer_pause_resume(control, request, false, ret);
}
