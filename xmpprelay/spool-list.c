/* SPDX-License-Identifier: MIT */

/*
 * What is read from the spool: loads for delivery, lists for the operator.
 *
 * Every list is read in pages along an index, so none holds up the delivery.
 */

#include "xmpprelay/spool-internal.h"

static EntryState entry_state(int64_t value)
{
    return value >= ENTRY_QUEUED && value <= ENTRY_DROPPED ? (EntryState)value : ENTRY_FAILED;
}

/* Visits the rows of a bound statement whose columns are ENTRY_COLUMNS. */
static int visit_rows(Spool *spool, Statement *statement, SpoolVisit visit, void *userdata)
{
    int r;

    while ((r = spool_result(spool, statement_step(statement))) > 0) {
        SpoolEntry entry = {
            .seq = statement_integer(statement, 0),
            .id = statement_text(statement, 1),
            .destination = statement_text(statement, 2),
            .stanza_id = statement_text(statement, 3),
            .title = statement_text(statement, 4),
            .reason = statement_text(statement, 5),
            .state = entry_state(statement_integer(statement, 6)),
            .attempts = (unsigned)statement_integer(statement, 7),
            .suspicion = (unsigned)statement_integer(statement, 8),
            .uid = (uid_t)statement_integer(statement, 9),
            .accepted_usec = (usec_t)statement_integer(statement, 10),
            .sent_usec = (usec_t)statement_integer(statement, 11),
            .done_usec = (usec_t)statement_integer(statement, 12),
        };

        r = entry.id && entry.destination && entry.stanza_id ? visit(&entry, userdata) : -ENOMEM;
        if (r != 0) {
            statement_reset(statement);
            return r < 0 ? r : 0;
        }
    }
    return r;
}

int spool_load(Spool *spool, const char *destination, int64_t after_seq, size_t max,
               SpoolVisit visit, void *userdata)
{
    Statement *statement = spool->statements[STATEMENT_LOAD];

    statement_bind_text(statement, 1, destination);
    statement_bind_integer(statement, 2, after_seq);
    statement_bind_integer(statement, 3, (int64_t)max);
    return visit_rows(spool, statement, visit, userdata);
}

int spool_list(Spool *spool, bool failed, const char *after_destination, int64_t after_seq,
               size_t max, SpoolVisit visit, void *userdata)
{
    Statement *statement =
        spool->statements[failed ? STATEMENT_LIST_FAILED : STATEMENT_LIST_WAITING];

    statement_bind_text(statement, 1, after_destination);
    statement_bind_integer(statement, 2, after_seq);
    statement_bind_integer(statement, 3, (int64_t)max);
    return visit_rows(spool, statement, visit, userdata);
}

int spool_list_record(Spool *spool, const char *id, SpoolVisit visit, void *userdata)
{
    Statement *statement = spool->statements[STATEMENT_LIST_RECORD];

    statement_bind_text(statement, 1, id);
    return visit_rows(spool, statement, visit, userdata);
}

int spool_list_history(Spool *spool, usec_t before_done_usec, int64_t before_seq, size_t max,
                       SpoolVisit visit, void *userdata)
{
    Statement *statement = spool->statements[STATEMENT_LIST_HISTORY];

    statement_bind_integer(statement, 1, before_done_usec ? (int64_t)before_done_usec : INT64_MAX);
    statement_bind_integer(statement, 2, before_seq);
    statement_bind_integer(statement, 3, (int64_t)max);
    return visit_rows(spool, statement, visit, userdata);
}

int spool_read_json(Spool *spool, int64_t seq, char **ret)
{
    Statement *statement = spool->statements[STATEMENT_JSON];
    const char *json;
    char *copy;
    int r;

    statement_bind_integer(statement, 1, seq);
    r = spool_result(spool, statement_step(statement));
    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    json = statement_text(statement, 0);
    copy = json ? strdup(json) : NULL;
    statement_reset(statement);
    if (!copy)
        return -ENOMEM;
    *ret = copy;
    return 0;
}

int spool_is_waiting(Spool *spool, int64_t seq)
{
    Statement *statement = spool->statements[STATEMENT_ENTRY];
    bool waiting;
    int r;

    statement_bind_integer(statement, 1, seq);
    r = spool_result(spool, statement_step(statement));
    if (r <= 0)
        return r;
    waiting = entry_state(statement_integer(statement, 2)) <= ENTRY_SENT;
    statement_reset(statement);
    return waiting;
}

int spool_oldest_destination(Spool *spool, const char *destination, usec_t *ret_usec)
{
    Statement *statement = spool->statements[STATEMENT_OLDEST];
    int r = 0;

    if (spool_n_waiting_destination(spool, destination) > 0) {
        statement_bind_text(statement, 1, destination);
        r = spool_result(spool, statement_step(statement));
    }
    if (r < 0)
        return r;
    *ret_usec = r > 0 ? (usec_t)statement_integer(statement, 0) : 0;
    if (r > 0)
        statement_reset(statement);
    return 0;
}

int spool_oldest(Spool *spool, usec_t *ret_usec, const char **ret_destination)
{
    const char *destination = NULL;
    usec_t oldest = 0;

    for (size_t i = 0; i < spool->n_destinations; i++) {
        usec_t accepted_usec;
        int r = spool_oldest_destination(spool, spool->destinations[i].name, &accepted_usec);

        if (r < 0)
            return r;
        if (accepted_usec == 0)
            continue;
        if (!destination || accepted_usec < oldest) {
            oldest = accepted_usec;
            destination = spool->destinations[i].name;
        }
    }
    *ret_usec = oldest;
    *ret_destination = destination;
    return 0;
}

int spool_is_paused(Spool *spool, const char *destination)
{
    Statement *statement = spool->statements[STATEMENT_IS_PAUSED];
    int r;

    statement_bind_text(statement, 1, destination);
    r = spool_result(spool, statement_step(statement));
    if (r > 0)
        statement_reset(statement);
    return r;
}
