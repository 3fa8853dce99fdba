/* SPDX-License-Identifier: MIT */

/*
 * A mail in, a record out; nothing is kept. All that comes from the mail is clean when it gets
 * into the record, and bounded so that the record fits into a frame even with every character
 * escaped that JSON escapes.
 */

#include "milterd/alert.h"

#include <stdio.h>
#include <strings.h>

#include "common/cut.h"
#include "common/text.h"
#include "milterd/header.h"
#include "milterd/mime-part.h"
#include "milterd/mime.h"

#define TITLE_MAX_BYTES 512
#define FIELD_MAX_BYTES 256
#define ESCAPED_MAX_BYTES 54000 /* of the text in JSON; leaves room for all the rest of a frame */
#define ID_DIGITS 32

/* The text of the first such header; "" where there is none, NULL for want of memory. */
static const char *header_text(const Mail *mail, const char *name)
{
    for (size_t i = 0; i < mail->n_headers; i++)
        if (strcasecmp(mail->headers[i].name, name) == 0)
            return mail_header_text(&mail->headers[i]);
    return "";
}

/* The id */

/* A header goes in without its white space, since MTAs may fold it anew. */
static int digest_header(Digest *digest, const Mail *mail, const char *name, bool *ret_there)
{
    const char *value = mail_header(mail, name);
    _cleanup_free_ char *copy = NULL;
    size_t n = 0;

    if (value) {
        copy = strdup(value);
        if (!copy)
            return -ENOMEM;
        for (const char *c = value; *c; c++)
            if (!strchr(" \t\r\n", *c))
                copy[n++] = *c;
    }
    digest_add(digest, copy, n);
    *ret_there = n > 0;
    return 0;
}

static int set_id(Record *record, const Mail *mail, const Rule *rule, usec_t now)
{
    Digest *digest = digest_new();
    bool has_id = false, has_date = false, there;
    char digits[DIGEST_TEXT_MAX + 1];
    int r;

    if (!digest)
        return -ENOMEM;
    digest_add(digest, rule->name, strlen(rule->name));
    r = digest_header(digest, mail, "Message-ID", &has_id);
    /* Where a mail has no Date, Postfix adds one before we see it, and another one when the mail
     * is tried again; so it counts only in want of something better. */
    if (r == 0 && !has_id)
        r = digest_header(digest, mail, "Date", &has_date);
    if (r == 0)
        r = digest_header(digest, mail, "From", &there);
    if (r == 0)
        r = digest_header(digest, mail, "Subject", &there);
    digest_add(digest, mail->body, mail->body_size);
    if (!has_id && !has_date)
        digest_add(digest, &now, sizeof(now));
    digest_end(digest, digits);
    if (r < 0)
        return r;
    digits[ID_DIGITS] = '\0';
    return record_set(&record->id, digits);
}

/* Title and fields */

/* Sets a member to as much of clean text in one line as may be. */
static int set_short(char **member, const char *prefix, const char *text, size_t max_bytes)
{
    size_t size = strlen(text), keep = text_cut(text, size, max_bytes);
    _cleanup_free_ char *value = NULL;

    if (asprintf(&value, "%s%.*s%s", prefix, (int)keep, text, keep < size ? "…" : "") < 0) {
        value = NULL;
        return -ENOMEM;
    }
    return record_set(member, value);
}

static int set_title(Record *record, const Mail *mail)
{
    const char *subject = header_text(mail, "Subject"), *from = header_text(mail, "From");
    _cleanup_free_ char *envelope = NULL;

    if (!subject || !from)
        return -ENOMEM;
    if (*subject)
        return set_short(&record->title, "", subject, TITLE_MAX_BYTES);
    if (*from)
        return set_short(&record->title, "Mail from ", from, TITLE_MAX_BYTES);
    if (!mail->envelope_from)
        return record_set(&record->title, "Mail without a subject");
    envelope = text_clean_line_dup(mail->envelope_from, strlen(mail->envelope_from));
    if (!envelope)
        return -ENOMEM;
    if (!*envelope)
        return record_set(&record->title, "Mail without a subject");
    return set_short(&record->title, "Mail from ", envelope, TITLE_MAX_BYTES);
}

static int add_field(Record *record, const char *name, const char *value)
{
    _cleanup_free_ char *clean = NULL, *shortened = NULL;
    int r;

    if (!value)
        return 0;
    clean = text_clean_line_dup(value, strlen(value));
    if (!clean)
        return -ENOMEM;
    if (!*clean)
        return 0;
    r = set_short(&shortened, "", clean, FIELD_MAX_BYTES);
    if (r < 0)
        return r;
    return record_add_field(record, name, shortened);
}

static int add_fields(Record *record, const Mail *mail, const Rule *rule)
{
    const struct {
        const char *name, *value;
    } fields[] = {
        { "rule", rule->name },
        { "from", header_text(mail, "From") },
        { "message_id", header_text(mail, "Message-ID") },
        { "queue_id", mail->queue_id },
        { "client", mail->client },
    };
    int r;

    if (!fields[1].value || !fields[2].value)
        return -ENOMEM;
    for (size_t i = 0; i < ELEMENTSOF(fields); i++) {
        r = add_field(record, fields[i].name, fields[i].value);
        if (r < 0)
            return r;
    }
    return 0;
}

/* The text */

/* The bytes of the first `lines` lines. */
static size_t lines_size(const char *text, size_t size, size_t lines)
{
    for (size_t i = 0; i < size; i++)
        if (text[i] == '\n' && --lines == 0)
            return i;
    return size;
}

/* How much of a text fits into `max` bytes, and into the frame when it is escaped. */
static size_t fitting_size(const char *text, size_t size, size_t max)
{
    size_t escaped = 0, n = 0;

    for (; n < MIN(size, max); n++) {
        escaped += strchr("\"\\\n\t", text[n]) ? 2 : 1;
        if (escaped > ESCAPED_MAX_BYTES)
            break;
    }
    return n < size ? text_cut(text, size, n) : size;
}

/* Shortens clean text to the rule's bounds. `more` tells that the text itself is not all. */
static int limit_text(const char *text, const Rule *rule, bool more, char **ret)
{
    size_t size = strlen(text), keep = lines_size(text, size, (size_t)rule->max_lines);

    if (keep == size && !more && fitting_size(text, size, rule->max_bytes) == size)
        return record_set(ret, text);
    return cut_text(text, fitting_size(text, keep, rule->max_bytes - CUT_NOTE_MAX), more, ret);
}

static int set_text(Record *record, Mail *mail, const Rule *rule)
{
    const char *text;
    bool more;
    int r;

    r = mail_text(mail, &text, &more);
    if (r < 0)
        return r;
    if (text[strspn(text, " \t\n")] == '\0')
        return record_set(&record->text, more ? "(no text that can be read)" : "(no text)");
    return limit_text(text, rule, more, &record->text);
}

static usec_t choose_time(const Mail *mail, usec_t now)
{
    const char *date = mail_header(mail, "Date");
    usec_t time;

    if (!date || !mime_date_read(date, &time) || time > now || now - time > ALERT_DATE_MAX_USEC)
        return now;
    return time;
}

void alert_notes_done(AlertNotes *notes)
{
    free(notes->profile);
    free(notes->form);
    free(notes->why);
    free(notes->redacted);
    *notes = (AlertNotes){};
}

int alert_from_mail(const AlertSettings *settings, Mail *mail, const Rule *rule, usec_t now_usec,
                    AlertNotes *notes, Record **ret)
{
    _cleanup_record_ Record *record = record_new();
    int r;

    if (!record)
        return -ENOMEM;
    record->time_usec = choose_time(mail, now_usec);
    r = set_id(record, mail, rule, now_usec);
    if (r == 0)
        r = set_title(record, mail);
    if (r == 0)
        r = set_text(record, mail, rule);
    if (r == 0)
        r = record_set(&record->source, "milterd");
    if (r == 0)
        r = add_fields(record, mail, rule);
    for (size_t i = 0; r == 0 && i < rule->to.n; i++)
        r = record_add_to(record, rule->to.items[i]);
    if (r < 0)
        return r;
    *ret = steal_ptr(record);
    return 0;
}
