/* SPDX-License-Identifier: MIT */

/*
 * A match is a list of conditions that must all hold. A condition is a field and a pattern; for
 * `header` and `macro` with a list of groups it is several of them, any of which will do, since
 * each group has a name of its own.
 *
 * Built by match-parse.c, only read afterwards, by all threads at once; the flag that remembers
 * that the log has heard of a regex at its limits is atomic for that.
 */

#include "milterd/match-internal.h"

#include <stdio.h>
#include <strings.h>

#include "common/log.h"
#include "common/text.h"
#include "milterd/header.h"
#include "milterd/macro.h"

#define VALUES_MAX MAIL_HEADERS_MAX /* of one header name: all that there can be */
#define ADDRESSES_MAX 64            /* of all From headers */

/* What is shown of values in explanations. */
#define SHOWN_VALUES_MAX 3
#define SHOWN_BYTES_MAX 200

Match *match_free(Match *match)
{
    if (!match)
        return NULL;
    for (size_t i = 0; i < match->n_conditions; i++)
        condition_done(&match->conditions[i]);
    free(match->conditions);
    free(match);
    return NULL;
}

const char *match_next_macro(const Match *match, size_t *index)
{
    size_t at = 0;

    for (size_t i = 0; i < match->n_conditions; i++) {
        const Condition *condition = &match->conditions[i];

        if (condition->field != MATCH_MACRO && condition->field != MATCH_AUTH)
            continue;
        if (*index < at + condition->n_alternatives)
            return condition->alternatives[(*index)++ - at].name;
        at += condition->n_alternatives;
    }
    return NULL;
}

/* Each alternative must: any of them will do for the mail. */
static bool demands_origin(const Condition *condition)
{
    if (condition->field != MATCH_CLIENT && condition->field != MATCH_CLIENT_NAME &&
        condition->field != MATCH_AUTH && condition->field != MATCH_MACRO)
        return false;
    for (size_t i = 0; i < condition->n_alternatives; i++) {
        const Alternative *alternative = &condition->alternatives[i];

        if (pattern_is_negative(alternative->pattern) ||
            (condition->field == MATCH_MACRO && macro_is_claimed(alternative->name)))
            return false;
    }
    return true;
}

bool match_demands_origin(const Match *match)
{
    for (size_t i = 0; i < match->n_conditions; i++)
        if (demands_origin(&match->conditions[i]))
            return true;
    return false;
}

bool match_decides_at(const Match *match, MailStage stage)
{
    for (size_t i = 0; i < match->n_conditions; i++)
        if (match->conditions[i].stage == stage)
            return true;
    return false;
}

MailStage match_first_stage(const Match *match)
{
    MailStage first = MAIL_STAGE_MESSAGE;

    for (size_t i = 0; i < match->n_conditions; i++)
        first = MIN(first, match->conditions[i].stage);
    return first;
}

MailStage match_last_stage(const Match *match)
{
    MailStage last = MAIL_STAGE_CONNECT;

    for (size_t i = 0; i < match->n_conditions; i++)
        last = MAX(last, match->conditions[i].stage);
    return last;
}

/* Values of a field */

void match_input_done(MatchInput *input)
{
    for (size_t i = 0; i < input->n_from_addresses; i++)
        free(input->from_addresses[i]);
    free(input->from_addresses);
    free(input->from);
    *input = (MatchInput){};
}

static int input_read_from(MatchInput *input)
{
    const Mail *mail = input->mail;
    int r;

    if (input->from_known)
        return 0;
    input->from_addresses = calloc(ADDRESSES_MAX, sizeof(*input->from_addresses));
    input->from = calloc(VALUES_MAX + ADDRESSES_MAX, sizeof(*input->from));
    if (!input->from_addresses || !input->from)
        return -ENOMEM;

    for (size_t i = 0; i < mail->n_headers; i++) {
        size_t offset = 0;
        const char *text;

        if (strcasecmp(mail->headers[i].name, "From") != 0)
            continue;
        text = mail_header_text(&mail->headers[i]);
        if (!text)
            return -ENOMEM;
        if (input->n_from - input->n_from_addresses < VALUES_MAX)
            input->from[input->n_from++] = text;
        while (input->n_from_addresses < ADDRESSES_MAX) {
            char **address = &input->from_addresses[input->n_from_addresses];

            r = header_next_address(mail->headers[i].value, &offset, address);
            if (r < 0)
                return r;
            if (r == 0)
                break;
            input->n_from_addresses++;
            input->from[input->n_from++] = *address;
        }
    }
    input->from_known = true;
    return 0;
}

static int read_headers(const Mail *mail, const char *name, const char *values[static VALUES_MAX],
                        size_t *ret_n)
{
    size_t n = 0;

    for (size_t i = 0; i < mail->n_headers && n < VALUES_MAX; i++) {
        if (strcasecmp(mail->headers[i].name, name) != 0)
            continue;
        values[n] = mail_header_text(&mail->headers[i]);
        if (!values[n])
            return -ENOMEM;
        n++;
    }
    *ret_n = n;
    return 0;
}

/* The values that an alternative is compared with: those of the input or, in `buffer`, headers. */
static int read_values(MatchInput *input, MatchField field, const Alternative *alternative,
                       const char *buffer[static VALUES_MAX], const char *const **ret,
                       size_t *ret_n)
{
    Mail *mail = input->mail;
    bool cut;
    int r;

    *ret = buffer;
    switch (field) {
    case MATCH_FROM:
        r = input_read_from(input);
        if (r < 0)
            return r;
        *ret = input->from;
        *ret_n = input->n_from;
        return 0;
    case MATCH_SUBJECT:
        return read_headers(mail, "Subject", buffer, ret_n);
    case MATCH_HEADER:
        return read_headers(mail, alternative->name, buffer, ret_n);
    case MATCH_BODY:
        r = mail_text(mail, &buffer[0], &cut);
        if (r < 0)
            return r;
        break;
    case MATCH_AUTH:
    case MATCH_MACRO:
        buffer[0] = mail_macro(mail, alternative->name);
        break;
    case MATCH_RCPT:
        *ret = (const char *const *)mail->rcpts;
        *ret_n = mail->n_rcpts;
        return 0;
    case MATCH_ENVELOPE_FROM:
        buffer[0] = mail->envelope_from;
        break;
    case MATCH_CLIENT:
        buffer[0] = mail->client;
        break;
    case MATCH_CLIENT_NAME:
        buffer[0] = mail->client_name;
        break;
    case MATCH_HELO:
        buffer[0] = mail->helo;
        break;
    case MATCH_VALUE:
        break;
    }
    *ret_n = buffer[0] ? 1 : 0;
    return 0;
}

/* 1 when it holds, 0 when not, -ENOMEM. */
static int condition_holds(const Condition *condition, MatchInput *input, PatternSearch *search)
{
    const char *buffer[VALUES_MAX], *const *values;
    size_t n;
    int r;

    for (size_t i = 0; i < condition->n_alternatives; i++) {
        const Alternative *alternative = &condition->alternatives[i];
        bool matches;

        r = read_values(input, condition->field, alternative, buffer, &values, &n);
        if (r < 0)
            return r;
        matches = pattern_search(alternative->pattern, values, n, search);
        if (search->error < 0)
            return search->error;
        if (matches)
            return 1;
    }
    return 0;
}

int match_look(const Match *match, MatchInput *input, MailStage first, MailStage last,
               const char *name)
{
    for (size_t i = 0; i < match->n_conditions; i++) {
        const Condition *condition = &match->conditions[i];
        PatternSearch search = { .budget = input->budget };
        int r;

        if (condition->stage < first || condition->stage > last)
            continue;
        r = condition_holds(condition, input, &search);
        /* The flag alone is written to, and it is atomic. */
        if (search.gave_up && !atomic_exchange(&((Match *)match)->gave_up_said, true))
            log_warning("%s \"%s\": a regex on %s reached its limits with a mail, and counts as "
                        "not matching; make it simpler",
                        input->owner ? input->owner : "rule", name,
                        match_fields[condition->field].name);
        if (r < 0)
            return r;
        if (r == 0)
            return MATCH_FAILS;
    }
    return MATCH_OPEN;
}

/* Groups */

int match_take(const Match *match, MatchInput *input, Variables *variables)
{
    PatternSearch search = {
        .budget = input->budget,
        .take = variables_take,
        .userdata = variables,
    };

    for (size_t i = 0; i < match->n_conditions; i++) {
        int r = condition_holds(&match->conditions[i], input, &search);

        variables->gave_up = variables->gave_up || search.gave_up;
        if (r < 0)
            return r;
    }
    return 0;
}

/* The next regex whose groups may be taken, by the place of the one before; NULL: no more. */
typedef struct Place {
    size_t condition, alternative, regex;
} Place;

static const Regex *next_regex(const Match *match, Place *place)
{
    while (place->condition < match->n_conditions) {
        const Condition *condition = &match->conditions[place->condition];
        const Regex *regex = NULL;

        if (place->alternative < condition->n_alternatives)
            regex =
                pattern_regex(condition->alternatives[place->alternative].pattern, place->regex++);
        if (regex)
            return regex;
        place->regex = 0;
        if (++place->alternative >= condition->n_alternatives) {
            place->alternative = 0;
            place->condition++;
        }
    }
    return NULL;
}

int match_add_names(const Match *match, bool in_rule, Names *names, const char **ret_taken)
{
    const Regex *regex;
    Place place = {};
    int r = 0;

    while (r == 0 && (regex = next_regex(match, &place)))
        r = variables_add_groups(regex, in_rule, names, ret_taken);
    return r;
}

size_t match_n_groups(const Match *match)
{
    const Regex *regex;
    Place place = {};
    size_t n = 0;

    while ((regex = next_regex(match, &place)))
        n = MAX(n, regex_n_groups(regex));
    return n;
}

/* Explanations */

static int print_value(FILE *stream, const char *value)
{
    _cleanup_free_ char *text = text_clean_line_dup(value, strlen(value));
    size_t size, cut;

    if (!text)
        return -ENOMEM;
    size = strlen(text);
    cut = text_cut(text, size, SHOWN_BYTES_MAX);
    fprintf(stream, "\"%.*s%s\"", (int)cut, text, cut < size ? "…" : "");
    return 0;
}

static int print_alternative(FILE *stream, MatchField field, const Alternative *alternative,
                             MatchInput *input)
{
    _cleanup_free_ char *pattern = pattern_describe(alternative->pattern);
    const char *buffer[VALUES_MAX], *const *values;
    bool gave_up = false, matches;
    size_t n;
    int r;

    if (!pattern)
        return -ENOMEM;
    r = read_values(input, field, alternative, buffer, &values, &n);
    if (r < 0)
        return r;

    fprintf(stream, "%s%s%s: ", match_fields[field].name, match_fields[field].named ? " " : "",
            match_fields[field].named ? alternative->name : "");
    for (size_t i = 0; i < MIN(n, (size_t)SHOWN_VALUES_MAX); i++) {
        fputs(i > 0 ? ", " : "", stream);
        r = print_value(stream, values[i]);
        if (r < 0)
            return r;
    }
    if (n > SHOWN_VALUES_MAX)
        fprintf(stream, " and %zu more", n - SHOWN_VALUES_MAX);

    matches = pattern_match(alternative->pattern, values, n, &gave_up);
    fprintf(stream, "%s %s %s%s", n == 0 ? "(there is none)" : "",
            matches ? "matches" : "does not match", pattern,
            gave_up ? " (the regex reached its limits)" : "");
    return 0;
}

/* 1 when all conditions hold, 0 when not, -ENOMEM. */
static int explain(const Match *match, Mail *mail, FILE *stream)
{
    _cleanup_(match_input_done) MatchInput input = { .mail = mail };
    bool all = true;

    for (size_t i = 0; i < match->n_conditions; i++) {
        const Condition *condition = &match->conditions[i];
        PatternSearch search = {};
        int r = condition_holds(condition, &input, &search);

        if (r < 0)
            return r;
        all = all && r > 0;
        for (size_t j = 0; j < condition->n_alternatives; j++) {
            fputs(j > 0 ? "; or " : "", stream);
            r = print_alternative(stream, condition->field, &condition->alternatives[j], &input);
            if (r < 0)
                return r;
        }
        fputc('\n', stream);
    }
    return all;
}

int match_explain(const Match *match, Mail *mail, bool *ret_matches, char **ret_lines)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    bool failed;
    int r;

    if (!stream)
        return -ENOMEM;
    r = explain(match, mail, stream);
    failed = ferror(stream);
    if (fclose(stream) != 0 || failed || r < 0) {
        free(text);
        return -ENOMEM;
    }
    *ret_matches = r > 0;
    *ret_lines = text;
    return 0;
}
