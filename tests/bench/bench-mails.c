/* SPDX-License-Identifier: MIT */

/*
 * The processor time that milterd takes for mails, without process start and without sockets: what
 * a worker does at the end of a message, each mail as often as asked, anew each time.
 *
 *   bench-mails CONFIGURATION ROUNDS FILE…
 *
 * One line of JSON for each file: its name, its size in bytes, the nanoseconds of each step (the
 * medians over the rounds; reading the file itself is none), how many alerts, and of the first its
 * title, the bytes of its text, and the profile and form that read it:
 *
 *   take     taking the mail apart, as it would come from an MTA
 *   decode   making text of it
 *   match    the rules
 *   alert    the profiles, and making the records
 */

#include <stdio.h>

#include "milterd/explain.h"
#include "milterd/mime.h"
#include "milterd/settings.h"

#define ROUNDS_MAX 100000

typedef enum Step {
    STEP_TAKE,
    STEP_DECODE,
    STEP_MATCH,
    STEP_ALERT,
    _STEP_MAX
} Step;

static const char *const step_names[_STEP_MAX] = { "take", "decode", "match", "alert" };

typedef struct Bench {
    Settings *settings;
    size_t rounds;
    uint64_t *nsec[_STEP_MAX]; /* of each round */
} Bench;

/* What came of a mail. */
typedef struct Outcome {
    Record *record; /* the first, or NULL */
    AlertNotes notes;
    size_t n;
} Outcome;

static uint64_t cpu_nsec(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    const uint64_t *first = a, *second = b;

    return (*first > *second) - (*first < *second);
}

static uint64_t median(uint64_t *values, size_t n)
{
    qsort(values, n, sizeof(*values), compare);
    return values[n / 2];
}

static int read_file(const char *path, char **ret, size_t *ret_size)
{
    FILE *file = fopen(path, "re");
    _cleanup_free_ char *bytes = NULL;
    long size = -1;

    if (!file)
        return -errno;
    if (fseek(file, 0, SEEK_END) == 0)
        size = ftell(file);
    rewind(file);
    bytes = size >= 0 ? malloc((size_t)size + 1) : NULL;
    if (!bytes || fread(bytes, 1, (size_t)size, file) != (size_t)size) {
        fclose(file);
        return -EIO;
    }
    fclose(file);
    *ret = steal_ptr(bytes);
    *ret_size = (size_t)size;
    return 0;
}

static void outcome_done(Outcome *outcome)
{
    record_free(outcome->record);
    alert_notes_done(&outcome->notes);
    *outcome = (Outcome){};
}

static int make_alerts(const Bench *bench, Mail *mail, const RuleState *state, Outcome *outcome)
{
    const Rule *matched[RULES_MATCHED_MAX];
    usec_t now = now_usec(CLOCK_REALTIME);
    int r = 0;

    outcome->n = rules_result(state, matched);
    for (size_t i = 0; r >= 0 && i < outcome->n; i++) {
        _cleanup_record_ Record *record = NULL;
        _cleanup_free_ char *json = NULL;
        size_t size;

        r = alert_from_mail(&bench->settings->alert, mail, matched[i], now,
                            i == 0 ? &outcome->notes : NULL, &record);
        if (r >= 0)
            r = record_write(record, &json, &size);
        if (r >= 0 && i == 0)
            outcome->record = steal_ptr(record);
    }
    return r;
}

static int run_round(Bench *bench, size_t round, const char *bytes, size_t size, Outcome *outcome)
{
    _cleanup_(mail_done) Mail mail = {};
    uint64_t at[_STEP_MAX + 1];
    const char *text;
    RuleState state;
    bool cut;
    int r;

    at[STEP_TAKE] = cpu_nsec();
    r = explain_read_mail(&mail, bytes, size, bench->settings->max_message);
    at[STEP_DECODE] = cpu_nsec();
    if (r >= 0)
        r = mail_text(&mail, &text, &cut);
    at[STEP_MATCH] = cpu_nsec();
    rules_begin(&state, &bench->settings->rules);
    if (r >= 0)
        r = rules_look(&state, &mail, MAIL_STAGE_MESSAGE);
    at[STEP_ALERT] = cpu_nsec();
    if (r > 0)
        r = make_alerts(bench, &mail, &state, outcome);
    at[_STEP_MAX] = cpu_nsec();
    for (Step step = 0; step < _STEP_MAX; step++)
        bench->nsec[step][round] = at[step + 1] - at[step];
    return r;
}

/* A string of JSON; the texts are clean, so that only these need care. */
static void print_string(const char *name, const char *text)
{
    printf("\"%s\":\"", name);
    for (const char *c = text ? text : ""; *c; c++) {
        if (*c == '"' || *c == '\\')
            putchar('\\');
        if ((unsigned char)*c >= ' ')
            putchar(*c);
    }
    printf("\",");
}

static void print_result(Bench *bench, const char *path, size_t size, const Outcome *outcome)
{
    const Record *record = outcome->record;

    putchar('{');
    print_string("file", path);
    print_string("title", record ? record->title : NULL);
    print_string("profile", outcome->notes.profile);
    print_string("form", outcome->notes.form);
    for (Step step = 0; step < _STEP_MAX; step++)
        printf("\"%s\":%llu,", step_names[step],
               (unsigned long long)median(bench->nsec[step], bench->rounds));
    printf("\"bytes\":%zu,\"text_bytes\":%zu,\"alerts\":%zu}\n", size,
           record ? strlen(record->text) : 0, outcome->n);
    fflush(stdout);
}

static int bench_file(Bench *bench, const char *path)
{
    _cleanup_(outcome_done) Outcome outcome = {};
    _cleanup_free_ char *bytes = NULL;
    size_t size = 0;
    int r;

    r = read_file(path, &bytes, &size);
    for (size_t i = 0; r >= 0 && i < bench->rounds; i++) {
        outcome_done(&outcome);
        r = run_round(bench, i, bytes, size, &outcome);
    }
    if (r >= 0)
        print_result(bench, path, size, &outcome);
    return r;
}

int main(int argc, char **argv)
{
    _cleanup_(config_file_freep) ConfigFile *config = NULL;
    _cleanup_(settings_freep) Settings *settings = NULL;
    Bench bench = {};
    int status = EXIT_SUCCESS;

    if (argc < 4 || atol(argv[2]) < 1 || atol(argv[2]) > ROUNDS_MAX) {
        fprintf(stderr, "usage: bench-mails CONFIGURATION ROUNDS FILE…\n");
        return EXIT_FAILURE;
    }
    if (settings_load(argv[1], &settings, &config) < 0) {
        for (size_t i = 0; config && i < config_n_errors(config); i++)
            fprintf(stderr, "%s\n", config_error_at(config, i));
        return EXIT_FAILURE;
    }
    mime_init();
    bench.settings = settings;
    bench.rounds = (size_t)atol(argv[2]);
    for (Step step = 0; step < _STEP_MAX; step++) {
        bench.nsec[step] = calloc(bench.rounds, sizeof(uint64_t));
        if (!bench.nsec[step])
            return EXIT_FAILURE;
    }

    for (int i = 3; i < argc; i++) {
        int r = bench_file(&bench, argv[i]);

        if (r < 0) {
            fprintf(stderr, "%s: %s\n", argv[i], strerror(-r));
            status = EXIT_FAILURE;
        }
    }
    for (Step step = 0; step < _STEP_MAX; step++)
        free(bench.nsec[step]);
    return status;
}
