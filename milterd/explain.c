/* SPDX-License-Identifier: MIT */

/*
 * A file becomes the same Mail that the milter callbacks would make of it, goes through the same
 * rules and the same decoder, and what comes of it is printed instead of sent.
 */

#include "milterd/explain.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "common/compose.h"
#include "common/text.h"
#include "milterd/header.h"

#define FILE_MAX_BYTES (256U << 20)
#define MESSAGE_MAX_BYTES 8192 /* the relay's default for delivery.max_size */

/* Reading. */

static int read_all(int fd, char **ret, size_t *ret_size)
{
    _cleanup_free_ char *text = NULL;
    size_t size = 0, allocated = 0;

    for (;;) {
        ssize_t n;

        if (size == allocated) {
            char *larger;

            if (allocated >= FILE_MAX_BYTES)
                return -EFBIG;
            allocated = allocated > 0 ? allocated * 2 : 65536;
            larger = realloc(text, allocated);
            if (!larger)
                return -ENOMEM;
            text = larger;
        }
        n = read(fd, text + size, allocated - size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        size += (size_t)n;
    }
    *ret_size = size;
    *ret = steal_ptr(text);
    return 0;
}

static int read_file(const char *path, char **ret, size_t *ret_size)
{
    _cleanup_close_ int fd = -1;

    if (streq(path, "-"))
        return read_all(STDIN_FILENO, ret, ret_size);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    return read_all(fd, ret, ret_size);
}

/* The end of the line at `at`, its line end not counted; *ret_next is where the next begins. */
static size_t line_end(const char *text, size_t size, size_t at, size_t *ret_next)
{
    const char *end = memchr(text + at, '\n', size - at);
    size_t stop = end ? (size_t)(end - text) : size;

    *ret_next = end ? stop + 1 : size;
    return stop > at && text[stop - 1] == '\r' ? stop - 1 : stop;
}

static bool is_folded(const char *text, size_t size, size_t at)
{
    return at < size && (text[at] == ' ' || text[at] == '\t');
}

/* Length of a header's name at `at` (RFC 5322, 2.2), 0 where there is none. */
static size_t header_name_length(const char *text, size_t stop, size_t at)
{
    size_t i = at;

    while (i < stop && text[i] > ' ' && text[i] < 127 && text[i] != ':')
        i++;
    return i < stop && i > at && text[i] == ':' ? i - at : 0;
}

/* Adds the header whose first line is [at, stop), with its folded lines; *ret_next is behind
 * them. */
static int read_header(Mail *mail, const char *text, size_t size, size_t at, size_t stop,
                       size_t *ret_next)
{
    size_t name_length = header_name_length(text, stop, at), next = *ret_next, start, written;
    _cleanup_free_ char *name = strndup(text + at, name_length), *value = NULL;
    FILE *stream = open_memstream(&value, &written);

    if (!stream)
        return -ENOMEM;
    start = at + name_length + 1;
    if (start < stop && text[start] == ' ')
        start++;
    for (;;) {
        /* As MTAs hand them over: strings, with a bare LF at each fold. */
        fwrite(text + start, 1, strnlen(text + start, stop - start), stream);
        if (!is_folded(text, size, next))
            break;
        fputc('\n', stream);
        start = next;
        stop = line_end(text, size, next, &next);
    }
    if (fclose(stream) != 0 || !name)
        return -ENOMEM;
    *ret_next = next;
    return mail_add_header(mail, name, value);
}

static int read_body(Mail *mail, const char *text, size_t size, size_t at, uint64_t max_message)
{
    int r = 0;

    while (r >= 0 && at < size) {
        size_t next, stop = line_end(text, size, at, &next);

        r = mail_add_body(mail, text + at, stop - at, max_message);
        if (r >= 0)
            r = mail_add_body(mail, "\r\n", 2, max_message);
        at = next;
    }
    return r;
}

int explain_read_mail(Mail *mail, const char *text, size_t size, uint64_t max_message)
{
    size_t at = 0, next, stop;
    int r;

    if (size >= 5 && memcmp(text, "From ", 5) == 0)
        line_end(text, size, 0, &at);
    while (at < size) {
        stop = line_end(text, size, at, &next);
        if (stop == at) {
            at = next;
            break;
        }
        /* What is no header begins the body, as MTAs see it. */
        if (header_name_length(text, stop, at) == 0)
            break;
        r = read_header(mail, text, size, at, stop, &next);
        if (r < 0)
            return r;
        at = next;
    }
    return read_body(mail, text, size, at, max_message);
}

static int set_macros(Mail *mail, const ExplainFacts *facts)
{
    for (size_t i = 0; i < facts->n_macros; i++) {
        const ExplainMacro *macro = &facts->macros[i];
        int r = mail_add_macro(mail, macro_stage(macro->name), macro->name, macro->value);

        if (r < 0)
            return r;
    }
    return 0;
}

static int set_envelope(Mail *mail, const ExplainFacts *facts)
{
    _cleanup_free_ char *from = NULL;
    const char *header;
    size_t offset = 0;
    int r;

    for (size_t i = 0; i < facts->n_rcpts; i++) {
        r = mail_add_rcpt(mail, facts->rcpts[i]);
        if (r < 0)
            return r;
    }
    if (facts->envelope_from)
        return mail_set_envelope_from(mail, facts->envelope_from);
    header = mail_header(mail, "Return-Path");
    if (header)
        return mail_set_envelope_from(mail, header);
    header = mail_header(mail, "From");
    r = header ? header_next_address(header, &offset, &from) : 0;
    return r > 0 ? mail_set_envelope_from(mail, from) : r;
}

/* Printing. */

static void print_indented(FILE *stream, const char *text, const char *before)
{
    while (*text) {
        size_t length = strcspn(text, "\n");

        fprintf(stream, "%s%.*s\n", before, (int)length, text);
        text += length + (text[length] == '\n');
    }
}

/* What came with the mail and is no header; a terminal obeys some of what may be in it. */
static int print_fact(FILE *stream, const char *name, const char *value)
{
    _cleanup_free_ char *text = text_clean_line_dup(value, strlen(value));

    if (!text)
        return -ENOMEM;
    fprintf(stream, "%s: %s\n", name, text);
    return 0;
}

static int print_envelope(FILE *stream, const Mail *mail)
{
    int r;

    r = print_fact(stream, "client", mail->client ? mail->client : "none (local submission)");
    if (r >= 0)
        r = print_fact(stream, "envelope sender",
                       !mail->envelope_from           ? "not known"
                       : *mail->envelope_from == '\0' ? "<> (the null sender)"
                                                      : mail->envelope_from);
    for (size_t i = 0; r >= 0 && i < mail->n_rcpts; i++)
        r = print_fact(stream, "recipient", mail->rcpts[i]);
    return r;
}

static int print_headers(FILE *stream, const Mail *mail)
{
    fputs("headers:\n", stream);
    for (size_t i = 0; i < mail->n_headers; i++) {
        const char *value = mail_header_text(&mail->headers[i]);

        if (!value)
            return -ENOMEM;
        fprintf(stream, "  %s: %s\n", mail->headers[i].name, value);
    }
    if (mail->truncated)
        fprintf(stream,
                "  (more than the limits allow; of %llu bytes of body %zu were looked at)\n",
                (unsigned long long)mail->body_total, mail->body_size);
    return 0;
}

static int print_text(FILE *stream, Mail *mail)
{
    const char *text;
    bool cut;
    int r = mail_text(mail, &text, &cut);

    if (r < 0)
        return r;
    fputs("text:\n", stream);
    print_indented(stream, text, "  | ");
    if (cut)
        fputs("  (there is more than is looked at)\n", stream);
    return 0;
}

/* The rules that matched, in their order; the last one decides. */
typedef struct Matched {
    const Rule *rules[RULES_MATCHED_MAX];
    size_t n;
} Matched;

static const char *describe_match(const Matched *matched, const Rule *rule)
{
    for (size_t i = 0; i < matched->n; i++)
        if (matched->rules[i] == rule)
            return i + 1 == matched->n ? "matches, and decides"
                                       : "matches, and lets others match as well";
    return "would match, but comes behind the one that decides";
}

static int print_rules(FILE *stream, const RuleSet *rules, Mail *mail, const Matched *matched)
{
    if (rules->n == 0)
        fputs("there are no rules\n", stream);
    for (size_t i = 0; i < rules->n; i++) {
        const Rule *rule = rules->items[i];
        _cleanup_free_ char *lines = NULL;
        bool matches;
        int r = rule_explain(rule, mail, &matches, &lines);

        if (r < 0)
            return r;
        fprintf(stream, "rule %s: %s\n", rule->name,
                matches ? describe_match(matched, rule) : "does not match");
        print_indented(stream, lines, "  ");
    }
    return 0;
}

static int print_alert(const ExplainSettings *settings, FILE *stream, Mail *mail, const Rule *rule)
{
    _cleanup_free_ char *json = NULL, *message = NULL;
    _cleanup_record_ Record *record = NULL;
    usec_t now = now_usec(CLOCK_REALTIME);
    size_t size;
    int r;

    r = alert_from_mail(&settings->alert, mail, rule, now, NULL, &record);
    if (r >= 0)
        r = record_write(record, &json, &size);
    if (r >= 0)
        r = compose_message(record, COMPOSE_STYLED, now, MESSAGE_MAX_BYTES, &message);
    if (r < 0)
        return r;
    fprintf(stream, "alert of rule %s\nrecord:\n  %s\nmessage in the room:\n", rule->name, json);
    print_indented(stream, message, "  | ");
    return 0;
}

static int explain_mail(const ExplainSettings *settings, Mail *mail, FILE *stream)
{
    Matched matched = {};
    RuleState state;
    int r;

    rules_begin(&state, settings->rules);
    r = rules_look(&state, mail, MAIL_STAGE_MESSAGE);
    if (r < 0)
        return r;
    if (r > 0)
        matched.n = rules_result(&state, matched.rules);

    r = print_envelope(stream, mail);
    if (r >= 0)
        r = print_headers(stream, mail);
    if (r >= 0)
        r = print_text(stream, mail);
    if (r >= 0)
        r = print_rules(stream, settings->rules, mail, &matched);
    if (r < 0)
        return r;
    if (matched.n == 0) {
        fputs("no rule matches: no alert, and the mail goes its way\n", stream);
        return 0;
    }
    for (size_t i = 0; r >= 0 && i < matched.n; i++)
        r = print_alert(settings, stream, mail, matched.rules[i]);
    if (r >= 0)
        fprintf(stream, "verdict: %s\n", verdict_names[matched.rules[matched.n - 1]->verdict]);
    return r;
}

static int explain_file(const ExplainSettings *settings, const ExplainFacts *facts,
                        const char *path, FILE *stream)
{
    _cleanup_free_ char *text = NULL;
    _cleanup_(mail_done) Mail mail = {};
    size_t size = 0;
    int r;

    mail.local = !facts->client;
    r = read_file(path, &text, &size);
    if (r >= 0)
        r = mail_set_client(&mail, facts->client, facts->client_name);
    if (r >= 0)
        r = mail_set_helo(&mail, facts->helo);
    if (r >= 0)
        r = set_macros(&mail, facts);
    if (r >= 0)
        r = explain_read_mail(&mail, text, size, settings->max_message);
    if (r >= 0)
        r = set_envelope(&mail, facts);
    if (r >= 0)
        r = explain_mail(settings, &mail, stream);
    return r;
}

int explain_run(const ExplainSettings *settings, const ExplainFacts *facts, char **files,
                size_t n_files, FILE *stream)
{
    static char standard_input[] = "-";
    char *default_files[] = { standard_input };
    int result = 0;

    if (n_files == 0) {
        files = default_files;
        n_files = 1;
    }
    for (size_t i = 0; i < n_files; i++) {
        int r;

        if (n_files > 1)
            fprintf(stream, "%s==> %s <==\n", i > 0 ? "\n" : "", files[i]);
        r = explain_file(settings, facts, files[i], stream);
        if (r < 0) {
            fflush(stream);
            fprintf(stderr, "milterd: %s: %s\n", files[i], strerror(-r));
            result = r;
        }
    }
    return result;
}
