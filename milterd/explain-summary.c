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

static int count(Summary *summary, const RuleSet *rules, const Rule *rule, const char *profile)
{
    SummaryRow row = { .rule = rule, .mails = 1 }, *rows;
    size_t at = 0;

    while (at < summary->n_rows) {
        SummaryRow *known = &summary->rows[at];

        if (known->rule == rule && streq(known->profile, profile)) {
            known->mails++;
            return 0;
        }
        if (place_of(rules, known->rule) > place_of(rules, rule))
            break;
        at++;
    }
    row.profile = strdup(profile);
    rows = reallocarray(summary->rows, summary->n_rows + 1, sizeof(*rows));
    if (rows)
        summary->rows = rows;
    if (!row.profile || !rows) {
        free(row.profile);
        return -ENOMEM;
    }
    memmove(&rows[at + 1], &rows[at], (summary->n_rows - at) * sizeof(*rows));
    rows[at] = row;
    summary->n_rows++;
    return 0;
}

int summary_add(Summary *summary, const Judgement *judgement)
{
    for (size_t i = 0; i < judgement->n_alerts; i++) {
        const ExplainAlert *alert = &judgement->alerts[i];
        int r = count(summary, judgement->rules, alert->rule,
                      alert->notes.profile ? alert->notes.profile : "");

        if (r < 0)
            return r;
    }
    summary->guarded += judgement->guard.name != NULL;
    summary->no_match += judgement->n_alerts == 0 && !judgement->guard.name;
    summary->mails++;
    return 0;
}

static void print_count(FILE *stream, const char *what, uint64_t n)
{
    fprintf(stream, "%*" PRIu64 "  %s\n", NUMBER_WIDTH, n, what);
}

void summary_print(const Summary *summary, FILE *stream)
{
    int width = (int)strlen("RULE");

    for (size_t i = 0; i < summary->n_rows; i++) {
        int length = (int)strlen(summary->rows[i].rule->name);

        width = MAX(width, length);
    }
    if (summary->n_rows > 0)
        fprintf(stream, "%*s  %-*s  PROFILE\n", NUMBER_WIDTH, "MAILS", width, "RULE");
    for (size_t i = 0; i < summary->n_rows; i++) {
        const SummaryRow *row = &summary->rows[i];

        fprintf(stream, "%*" PRIu64 "  %-*s%s%s\n", NUMBER_WIDTH, row->mails,
                *row->profile ? width : 0, row->rule->name, *row->profile ? "  " : "",
                row->profile);
    }
    if (summary->n_rows > 0)
        fputc('\n', stream);
    print_count(stream, "mails", summary->mails);
    print_count(stream, "that no rule took", summary->no_match);
    print_count(stream, "that a guard held back", summary->guarded);
    print_count(stream, "that could not be read", summary->failures);
}

void summary_done(Summary *summary)
{
    for (size_t i = 0; i < summary->n_rows; i++)
        free(summary->rows[i].profile);
    free(summary->rows);
    *summary = (Summary){};
}
