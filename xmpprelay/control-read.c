/* SPDX-License-Identifier: MIT */

/*
 * The commands that only look: status, queue, history, show.
 */

#include "xmpprelay/control-internal.h"

#include <stdio.h>

#define PAGE_MAX 500 /* entries in one answer */

static Answer account_answer(const Control *control, size_t index)
{
    const Account *account = settings_account(control->settings, index);
    Answer answer = answer_new();
    SessionStatus status = {};

    sessions_account_status(control->sessions, index, &status);
    answer_put_string(&answer, "name", account->name);
    answer_put_string(&answer, "jid", account->jid);
    answer_put_string(&answer, "state", status.state);
    answer_put_string(&answer, "reason", status.reason);
    answer_put_time(&answer, "since", status.since_usec);
    answer_put_time(&answer, "retry", status.retry_usec);
    answer_put_count(&answer, "reconnects", status.reconnects);
    if (status.pid > 0)
        answer_put_count(&answer, "pid", (uint64_t)status.pid);
    return answer;
}

static Answer destination_answer(const Control *control, size_t index)
{
    static const char *const states[] = {
        [ROOM_OUT] = "out", [ROOM_JOINING] = "joining", [ROOM_READY] = "ready"
    };
    const Destination *destination = settings_destination(control->settings, index);
    Answer answer = answer_new();
    DestinationStatus status = {};
    int paused;

    sessions_destination_status(control->sessions, index, &status);
    answer_put_string(&answer, "name", destination->name);
    answer_put_string(&answer, "account", destination->account);
    answer_put_string(&answer, "room", destination->room);
    answer_put_string(&answer, "contact", destination->contact);
    answer_put_string(&answer, "state", states[status.state]);
    answer_put_string(&answer, "reason", status.reason);
    answer_put_string(&answer, "nick", status.nick);
    answer_put_time(&answer, "since", status.since_usec);
    answer_put_count(&answer, "waiting",
                     spool_n_waiting_destination(control->spool, destination->name));
    paused = spool_is_paused(control->spool, destination->name);
    answer_put(&answer, paused);
    answer_put(&answer, json_set_bool(answer.json, "paused", paused > 0));
    return answer;
}

/* What waits for destinations that the configuration no longer has. */
static void put_unknown(const Control *control, Answer *answer)
{
    Json *array = json_array_new();
    const char *name;

    for (size_t i = 0; (name = spool_waiting_destination(control->spool, i)); i++) {
        Answer item;

        if (settings_find_destination(control->settings, name) >= 0)
            continue;
        item = answer_new();
        answer_put_string(&item, "name", name);
        answer_put_count(&item, "waiting", spool_n_waiting_destination(control->spool, name));
        answer_add_consume(answer, array, item);
    }
    answer_put(answer, json_set_consume(answer->json, "unknown_destinations", array));
}

/* Why no sender's record is taken now, or NULL. */
static const char *why_busy(const Control *control, const ControlCounts *counts)
{
    switch (spool_disk_check(control->spool)) {
    case SPOOL_DISK:
        return "the spool's disk is nearly full";
    case SPOOL_REMOVED:
        return "the spool was removed; restart xmpprelay when nothing waits any more";
    default:
        break;
    }
    if (counts->spool_failing)
        return "the spool can't be written, see the log";
    if (spool_n_waiting(control->spool) >= (uint64_t)control->settings->spool.max_records)
        return "the spool is full (spool.max_records)";
    return NULL;
}

int control_status(Control *control, const Json *request, Json **ret)
{
    Answer answer = answer_new();
    Json *accounts = json_array_new(), *destinations = json_array_new();
    ControlCounts counts = {};
    const char *oldest_destination = NULL;
    usec_t oldest_usec = 0;

    control->owner.on_counts(control->owner.userdata, &counts);
    answer_put_string(&answer, "version", PROJECT_VERSION);
    answer_put_count(&answer, "pid", (uint64_t)getpid());
    answer_put_time(&answer, "since", counts.started_usec);
    answer_put_time(&answer, "now", now_usec(CLOCK_REALTIME));
    answer_put_count(&answer, "waiting", spool_n_waiting(control->spool));
    answer_put_count(&answer, "max_records", (uint64_t)control->settings->spool.max_records);
    answer_put_count(&answer, "in_flight", counts.in_flight);
    answer_put_count(&answer, "failed", spool_n_failed(control->spool));
    answer_put_count(&answer, "accepted", counts.accepted);
    answer_put_count(&answer, "duplicate", counts.duplicate);
    answer_put_count(&answer, "busy", counts.busy);
    answer_put_string(&answer, "busy_because", why_busy(control, &counts));
    answer_put_count(&answer, "refused", counts.refused);
    answer_put_count(&answer, "delivered", counts.delivered);

    answer_put(&answer, spool_oldest(control->spool, &oldest_usec, &oldest_destination));
    if (oldest_usec > 0) {
        answer_put_time(&answer, "oldest", oldest_usec);
        answer_put_string(&answer, "oldest_destination", oldest_destination);
    }

    for (size_t i = 0; i < control->settings->accounts.n; i++)
        answer_add_consume(&answer, accounts, account_answer(control, i));
    answer_put(&answer, json_set_consume(answer.json, "accounts", accounts));
    for (size_t i = 0; i < control->settings->destinations.n; i++)
        answer_add_consume(&answer, destinations, destination_answer(control, i));
    answer_put(&answer, json_set_consume(answer.json, "destinations", destinations));
    put_unknown(control, &answer);
    return answer_done(answer, ret);
}

/* Lists */

static Answer entry_answer(const SpoolEntry *entry)
{
    static const char *const states[] = {
        [ENTRY_QUEUED] = "queued",       [ENTRY_SENT] = "sent",       [ENTRY_FAILED] = "failed",
        [ENTRY_DELIVERED] = "delivered", [ENTRY_DROPPED] = "dropped",
    };
    Answer answer = answer_new();

    answer_put_count(&answer, "seq", (uint64_t)entry->seq);
    answer_put_string(&answer, "id", entry->id);
    answer_put_string(&answer, "destination", entry->destination);
    answer_put_string(&answer, "state", states[entry->state]);
    answer_put_string(&answer, "title", entry->title);
    answer_put_string(&answer, "reason", entry->reason);
    answer_put_count(&answer, "attempts", entry->attempts);
    answer_put_count(&answer, "uid", entry->uid);
    answer_put_time(&answer, "accepted", entry->accepted_usec);
    answer_put_time(&answer, "sent", entry->sent_usec);
    answer_put_time(&answer, "done", entry->done_usec);
    return answer;
}

typedef struct Page {
    Answer answer;
    Json *entries;
    size_t n;
    char destination[256];
    usec_t done_usec;
    int64_t seq;
    bool more;
} Page;

static int page_visit(const SpoolEntry *entry, void *userdata)
{
    Page *page = userdata;

    if (page->n == PAGE_MAX) {
        page->more = true;
        return 1;
    }
    answer_add_consume(&page->answer, page->entries, entry_answer(entry));
    snprintf(page->destination, sizeof(page->destination), "%s", entry->destination);
    page->done_usec = entry->done_usec;
    page->seq = entry->seq;
    page->n++;
    return page->answer.error;
}

static Page page_new(void)
{
    return (Page){ .answer = answer_new(), .entries = json_array_new() };
}

/* `r` is what the listing returned; `place` where the next page begins. */
static int page_done(Page *page, int r, const char *place, Json **ret)
{
    answer_put(&page->answer, r);
    answer_put(&page->answer, json_set_consume(page->answer.json, "entries", page->entries));
    if (page->more)
        answer_put_string(&page->answer, "next", place);
    return answer_done(page->answer, ret);
}

/* A place in a list is "SEQ KEY", the key being what the list is ordered by before the seq. */
static int parse_place(const char *after, int64_t *ret_seq, const char **ret_key)
{
    char *end;
    long long seq;

    *ret_seq = 0;
    *ret_key = "";
    if (!after)
        return 0;
    errno = 0;
    seq = strtoll(after, &end, 10);
    if (errno != 0 || end == after || *end != ' ' || seq < 0)
        return -EINVAL;
    *ret_seq = seq;
    *ret_key = end + 1;
    return 0;
}

int control_queue(Control *control, const Json *request, Json **ret)
{
    bool failed = json_as_bool(json_get(request, "failed"), false);
    const char *destination;
    char place[300];
    int64_t seq;
    Page page;
    int r;

    if (parse_place(request_string(request, "after"), &seq, &destination) < 0)
        return answer_refusal(ret, "\"after\" is no place that an answer named");
    page = page_new();
    r = spool_list(control->spool, failed, destination, seq, PAGE_MAX + 1, page_visit, &page);
    snprintf(place, sizeof(place), "%lld %s", (long long)page.seq, page.destination);
    return page_done(&page, r, place, ret);
}

int control_history(Control *control, const Json *request, Json **ret)
{
    const char *done;
    char place[64];
    int64_t seq;
    Page page;
    int r;

    if (parse_place(request_string(request, "after"), &seq, &done) < 0)
        return answer_refusal(ret, "\"after\" is no place that an answer named");
    page = page_new();
    r = spool_list_history(control->spool, strtoull(done, NULL, 10), seq, PAGE_MAX + 1, page_visit,
                           &page);
    snprintf(place, sizeof(place), "%lld %llu", (long long)page.seq,
             (unsigned long long)page.done_usec);
    return page_done(&page, r, place, ret);
}

int control_show(Control *control, const Json *request, Json **ret)
{
    const char *id = request_string(request, "id");
    _cleanup_free_ char *text = NULL;
    char reason[JSON_REASON_MAX];
    Json *record = NULL;
    Page page;
    int r;

    if (!id)
        return answer_refusal(ret, "show needs the id of a record");
    page = page_new();
    r = spool_list_record(control->spool, id, page_visit, &page);
    if (r >= 0 && page.n > 0 && spool_read_json(control->spool, page.seq, &text) >= 0 &&
        json_parse(text, strlen(text), &record, reason) >= 0)
        answer_put(&page.answer, json_set_consume(page.answer.json, "record", record));
    if (r >= 0 && page.n == 0) {
        json_free(page.answer.json);
        json_free(page.entries);
        return answer_refusal(ret, "no record %s is in the spool or the kept history", id);
    }
    return page_done(&page, r, "", ret);
}
