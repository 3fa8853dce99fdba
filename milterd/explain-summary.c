/* SPDX-License-Identifier: MIT */

/*
 * Thousands of mails at a glance: which rules took how many, and by which profiles they were read.
 */

#include "milterd/explain-internal.h"

#include <inttypes.h>

#define NUMBER_WIDTH 8

static size_t place_of(const RuleSet *rules, const Rule *rule)
{
    size_t i = 0;

    while (i < rules->n && rules->items[i] != rule)
        i++;
    return i;
}

static int count(Summary *summary, size_t order, const char *rule, const char *what)
{
    SummaryRow row = { .order = order, .rule = rule, .mails = 1 }, *rows;

    for (size_t i = 0; i < summary->n_rows; i++)
        if (summary->rows[i].order == order && streq(summary->rows[i].what, what)) {
            summary->rows[i].mails++;
            return 0;
        }
    row.what = strdup(what);
    rows = reallocarray(summary->rows, summary->n_rows + 1, sizeof(*rows));
    if (rows)
        summary->rows = rows;
    if (!row.what || !rows) {
        free(row.what);
        return -ENOMEM;
    }
    rows[summary->n_rows++] = row;
    return 0;
}

static const char *profile_of(const ExplainAlert *alert)
{
    if (!alert->record)
        return "(skipped)";
    return alert->notes.profile ? alert->notes.profile : "(none)";
}

int summary_add(Summary *summary, const Judgement *judgement)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < judgement->n_alerts; i++) {
        const ExplainAlert *alert = &judgement->alerts[i];

        r = count(summary, place_of(judgement->rules, alert->rule), alert->rule->name,
                  profile_of(alert));
    }
    if (r == 0 && judgement->guard.name)
        r = count(summary, SIZE_MAX, NULL, judgement->guard.name);
    if (r < 0)
        return r;
    summary->guarded += judgement->guard.name != NULL;
    summary->by_script += !judgement_asks_rules(judgement);
    summary->no_match +=
        judgement->n_alerts == 0 && !judgement->guard.name && judgement_asks_rules(judgement);
    summary->mails++;
    return 0;
}

/* By rules in their order, and of each what has most mails first. */
static int compare_rows(const void *a, const void *b)
{
    const SummaryRow *one = a, *other = b;

    if (one->order != other->order)
        return one->order < other->order ? -1 : 1;
    if (one->mails != other->mails)
        return one->mails > other->mails ? -1 : 1;
    return strcmp(one->what, other->what);
}

static void print_count(FILE *stream, const char *what, uint64_t n)
{
    fprintf(stream, "%*" PRIu64 "  %s\n", NUMBER_WIDTH, n, what);
}

static void print_rows(const Summary *summary, size_t n, FILE *stream)
{
    int width = (int)strlen("RULE");

    for (size_t i = 0; i < n; i++) {
        int length = (int)strlen(summary->rows[i].rule);

        width = MAX(width, length);
    }
    fprintf(stream, "%*s  %-*s  PROFILE\n", NUMBER_WIDTH, "MAILS", width, "RULE");
    for (size_t i = 0; i < n; i++)
        fprintf(stream, "%*" PRIu64 "  %-*s  %s\n", NUMBER_WIDTH, summary->rows[i].mails, width,
                summary->rows[i].rule, summary->rows[i].what);
    fputc('\n', stream);
}

void summary_print(Summary *summary, FILE *stream)
{
    size_t n = 0; /* rows of rules */

    if (summary->n_rows > 0)
        qsort(summary->rows, summary->n_rows, sizeof(*summary->rows), compare_rows);
    while (n < summary->n_rows && summary->rows[n].rule)
        n++;
    if (n > 0)
        print_rows(summary, n, stream);
    print_count(stream, "mails", summary->mails);
    print_count(stream, "that no rule took", summary->no_match);
    if (summary->by_script > 0)
        print_count(stream, "that a script decided before the rules", summary->by_script);
    fprintf(stream, "%*" PRIu64 "  that a guard held back", NUMBER_WIDTH, summary->guarded);
    for (size_t i = n; i < summary->n_rows; i++)
        fprintf(stream, "%s%" PRIu64 " %s", i == n ? ": " : ", ", summary->rows[i].mails,
                summary->rows[i].what);
    fputc('\n', stream);
    print_count(stream, "that could not be read", summary->failures);
}

void summary_done(Summary *summary)
{
    for (size_t i = 0; i < summary->n_rows; i++)
        free(summary->rows[i].what);
    free(summary->rows);
    *summary = (Summary){};
}
