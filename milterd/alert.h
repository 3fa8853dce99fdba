/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * From a mail that matched a rule to the record that is sent for it.
 */

#include "common/record.h"
#include "milterd/redact.h"
#include "milterd/rules.h"

/* What a Date may lie back to be believed: MTAs give up on a mail after five days. */
#define ALERT_DATE_MAX_USEC (USEC_PER_SEC * 3600 * 24 * 7)

typedef struct Profiles Profiles; /* how mails are read (profiles.h) */

/* What all alerts have in common; only read, by all threads at once. */
typedef struct AlertSettings {
    const Profiles *profiles;   /* NULL: there are none that could know a mail */
    const Redaction *redaction; /* NULL: nothing is hidden */
} AlertSettings;

/* How an alert came to be, for people; each may be NULL. Begin with {}, end with
 * alert_notes_done(). */
typedef struct AlertNotes {
    bool brief;     /* the caller's: no texts are wanted, which cost */
    char *profile;  /* that read the mail */
    char *form;     /* of the profile */
    char *why;      /* it was this one, in lines */
    char *redacted; /* what was hidden (redact.h), a line for each pattern and place */
    unsigned n_redacted;
} AlertNotes;

void alert_notes_done(AlertNotes *notes);

/* Completes a record that a script has made, in place: an id as a rule's alert has one, of the
 * script's name and `number`, which tells apart the alerts that it makes of a mail; what it says
 * cleaned, redacted, and cut to what a rule allows that says nothing else; fields, time and source.
 * *ret_n_redacted is how much was hidden. -ENOMEM. */
int alert_complete(const AlertSettings *settings, Mail *mail, const char *script, size_t number,
                   usec_t now_usec, Record *record, unsigned *ret_n_redacted);

/* Decodes the mail (mime.h) and makes the record.
 *
 *   id      SHA-256, shortened, over the rule's name, Message-ID (Date where there is none), From
 *           and Subject as they came (but for folds) and the kept body. What MTAs add is left out:
 *           a mail that is tried again has the same id and is told once. Where Message-ID and Date
 *           are both missing, the time of arrival is in it as well: such a sender may say the
 *           same twice and mean it, and losing an alert is worse than telling it twice.
 *   title, text, severity, state, key, fields, facts
 *           what the profile says that the rule names or that is the first to know the mail, then
 *           what the rule says. Else the title is the Subject, or where that is missing "Mail from
 *           …", and the text that of the mail; with the profile "plain" there is no title.
 *   text    at most the rule's max_lines and max_bytes, then "… 214 more lines"; a signature is
 *           part of it, since what stands behind "-- " may be the fact that matters. Never empty.
 *   time    the Date unless it lies ahead or more than ALERT_DATE_MAX_USEC back, else now
 *   to      the rule's; source: milterd
 *   fields  also rule, profile, from, message_id, queue_id, client, as far as they are known
 *
 * All of it but the id goes through the redaction, before it is cut.
 *
 * It fits into a frame (record.h). It never fails because of what the mail holds, only with
 * -ENOMEM. Thread-safe. `now_usec` is of CLOCK_REALTIME; `notes` may be NULL, and is the caller's
 * to end whatever comes of it. */
int alert_from_mail(const AlertSettings *settings, Mail *mail, const Rule *rule, usec_t now_usec,
                    AlertNotes *notes, Record **ret);
