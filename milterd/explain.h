/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * milterd --explain: what would become of a mail, and why. Needs no daemon and no root.
 */

#include "milterd/alert.h"
#include "milterd/macro.h"
#include "milterd/rules.h"

#include <stdio.h>

typedef struct ExplainMacro {
    char name[MACRO_NAME_SIZE]; /* as macro_name_read() gives it */
    const char *value;
} ExplainMacro;

/* What a file can't tell. */
typedef struct ExplainFacts {
    const char *client;        /* numeric address; NULL: local submission */
    const char *client_name;   /* or NULL */
    const char *helo;          /* or NULL */
    const char *envelope_from; /* NULL: taken from Return-Path or the From header */
    char **rcpts;
    size_t n_rcpts;
    ExplainMacro macros[MAIL_MACROS_MAX];
    size_t n_macros;
} ExplainFacts;

typedef struct ExplainSettings {
    const RuleSet *rules;
    AlertSettings alert;
    uint64_t max_message; /* bytes of a body that are kept */
} ExplainSettings;

/* Explains each of the files, or standard input where there are none ("-" is it too): its headers
 * and text as they are understood, each rule and how its conditions fare, and for each rule that
 * matches the record and the message as the room would show it, and the verdict. Files hold one
 * mail each, with lines ending in LF or CRLF, and may begin with the "From " line of an mbox.
 *
 * 0; -errno of the last file that could not be read, after having said so on standard error. */
int explain_run(const ExplainSettings *settings, const ExplainFacts *facts, char **files,
                size_t n_files, FILE *stream);

/* Splits a mail as it stands in a file into `mail`, whose body then has the line ends that it
 * would have on its way through an MTA. -ENOMEM. */
int explain_read_mail(Mail *mail, const char *text, size_t size, uint64_t max_message);
