/* SPDX-License-Identifier: MIT */

/*
 * What the sender wrote counts, and nothing that MTAs add. Postfix adds a Message-ID and then a
 * Date where they are missing, behind all other headers, before we see the mail, and anew each time
 * that the mail is tried. Its Message-ID bears the queue id. Its Date is the time at which the mail
 * came: for one that waits in the maildrop that of its submission, and so worth as much as the
 * sender's own; for one that comes by SMTP that of the present attempt, and worth nothing.
 */

#include "milterd/identity.h"

#include <strings.h>

#include "milterd/mime-part.h"

/* Shorter ones are no queue ids that a sender's Message-ID could not hold by chance. */
#define QUEUE_ID_MIN 6

/* The index of the first such header that is not empty; n_headers: none. */
static size_t find(const Mail *mail, const char *name)
{
    size_t i = 0;

    while (i < mail->n_headers &&
           (strcasecmp(mail->headers[i].name, name) != 0 ||
            mail->headers[i].value[strspn(mail->headers[i].value, " \t\r\n")] == '\0'))
        i++;
    return i;
}

/* Whether the Message-ID is "<time.QUEUEID@host>" of this very attempt. */
static bool is_made_by_mta(const Mail *mail, const char *message_id)
{
    const char *dot, *queue_id = mail->queue_id;
    size_t size = queue_id ? strlen(queue_id) : 0;

    if (size < QUEUE_ID_MIN)
        return false;
    dot = strchr(message_id, '.');
    return dot && strncmp(dot + 1, queue_id, size) == 0 && dot[1 + size] == '@';
}

/* A header goes in without its white space, since MTAs may fold it anew. */
static int add_header(Digest *digest, const Mail *mail, size_t i)
{
    const char *value = i < mail->n_headers ? mail->headers[i].value : "";
    _cleanup_free_ char *copy = strdup(value);
    size_t n = 0;

    if (!copy)
        return -ENOMEM;
    for (const char *c = value; *c; c++)
        if (!strchr(" \t\r\n", *c))
            copy[n++] = *c;
    digest_add(digest, copy, n);
    return 0;
}

int identity_make(const Mail *mail, const char *rule, usec_t now,
                  char ret[static IDENTITY_DIGITS + 1])
{
    size_t none = mail->n_headers, id = find(mail, "Message-ID"), date = find(mail, "Date");
    char digits[DIGEST_TEXT_MAX + 1];
    Digest *digest;
    int r;

    if (id < none && is_made_by_mta(mail, mail->headers[id].value)) {
        if (date > id && !mail->submitted)
            date = none;
        id = none;
    }

    digest = digest_new();
    if (!digest)
        return -ENOMEM;
    digest_add(digest, rule, strlen(rule));
    r = add_header(digest, mail, id);
    if (r == 0 && id == none)
        r = add_header(digest, mail, date);
    if (r == 0)
        r = add_header(digest, mail, find(mail, "From"));
    if (r == 0)
        r = add_header(digest, mail, find(mail, "Subject"));
    digest_add(digest, mail->body, mail->body_size);
    if (id == none && date == none)
        digest_add(digest, &now, sizeof(now));
    digest_end(digest, digits);
    if (r < 0)
        return r;
    memcpy(ret, digits, IDENTITY_DIGITS);
    ret[IDENTITY_DIGITS] = '\0';
    return 0;
}
