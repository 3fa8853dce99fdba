/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Why a stream ended, for the operator: from what was noted on the way to an EndCause and a
 * sentence that names the cause and the setting or act that mends it.
 */

#include "xmpprelay/link.h"

#define REASON_TEXT_MAX 160

/* What was noted; zeroed: nothing. All texts are clean. */
typedef struct ReasonNotes {
    char address[64];                  /* host and port that was tried */
    bool established;                  /* TCP */
    bool online;                       /* authenticated and bound */
    int error;                         /* errno of the connection, or 0 */
    bool parse_error;                  /* the server sent what is no XML */
    bool no_starttls;                  /* it offers none */
    bool ca_file_bad;                  /* the CA file holds no certificate */
    bool tls_failed;                   /* the handshake */
    char tls_error[REASON_TEXT_MAX];   /* … as OpenSSL says it */
    char certificate[REASON_TEXT_MAX]; /* why it was refused */
    char names[REASON_TEXT_MAX];       /* … and the names in it */
    char sasl[48];                     /* condition of the last refusal */
    bool no_mechanism;                 /* no authentication was left to try */
    bool bind_failed;
    char condition[48]; /* of the stream error */
    char text[REASON_TEXT_MAX];
} ReasonNotes;

/* A line of the library's own log. */
void reason_note_log(ReasonNotes *notes, const char *area, const char *message);
/* The certificate was refused; `names` are those it is for. */
void reason_note_certificate(ReasonNotes *notes, const char *error, const char *const *names,
                             size_t n_names);

void reason_of_end(const ReasonNotes *notes, const Account *account, const char *domain,
                   EndCause *ret_cause, char ret_reason[static LINK_REASON_MAX]);

/* Text from outside made fit for one line: clean, cut to fit, "" for NULL. */
void reason_clean(const char *text, char ret[static REASON_TEXT_MAX]);
