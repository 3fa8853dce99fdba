/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * milterd --explain: what would become of mails, and why. Needs no daemon and no root.
 */

#include "milterd/alert.h"
#include "milterd/macro.h"
#include "milterd/rules.h"
#include "milterd/script.h"

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
    char **rcpts;              /* none: taken from X-Original-To, or Delivered-To */
    size_t n_rcpts;
    ExplainMacro macros[MAIL_MACROS_MAX];
    size_t n_macros;
} ExplainFacts;

typedef enum ExplainView {
    EXPLAIN_FITTING, /* one mail as in EXPLAIN_EACH, of more than one a summary */
    EXPLAIN_EACH,    /* all about each mail, for people */
    EXPLAIN_JSON,    /* the same for programs: a JSON object and a line for each mail */
} ExplainView;

typedef struct ExplainSettings {
    const RuleSet *rules;
    const ConfigStrings *guards; /* NULL: none */
    const ScriptSet *scripts;    /* NULL: none */
    AlertSettings alert;
    uint64_t max_message; /* bytes of a body that are kept */
    ExplainView view;
} ExplainSettings;

/* Explains each mail that the paths name (explain-source.h), one after the other; the present is
 * taken to be the Date of the mail, where it has one, so that the same mail gives the same result
 * on each day.
 *
 * 0; -errno of the last mail that could not be read or judged, after having said so on standard
 * error; the others are explained though. */
int explain_run(const ExplainSettings *settings, const ExplainFacts *facts, char **paths,
                size_t n_paths, FILE *stream);

/* Splits a mail as it stands in a file into `mail`, whose body then has the line ends that it
 * would have on its way through an MTA. -ENOMEM. */
int explain_read_mail(Mail *mail, const char *text, size_t size, uint64_t max_message);
