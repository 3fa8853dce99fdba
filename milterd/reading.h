/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * `read`, of profiles and rules: regexes that take variables out of a mail.
 */

#include "common/config.h"
#include "milterd/pattern.h"
#include "milterd/variables.h"

#include <stdatomic.h>

#define READINGS_MAX 64

typedef struct Reading {
    char *in; /* the name of what is searched */
    Pattern *pattern;
    atomic_bool gave_up_said; /* of the first in a list: for all of it */
} Reading;

/* The list as the configuration read it; the items are Reading. */
typedef ConfigItems Readings;

extern const ConfigKey reading_keys[]; /* for the list `read` */
void reading_free(void *item);

/* Adds the names of the variables that they may take, and reports those that are taken already as
 * well as groups that take nothing. `list` is where the readings stand. 0 or -ENOMEM. */
int readings_add_names(const Readings *readings, bool in_rule, ConfigFile *file,
                       const ConfigNode *list, Names *names);

/* Reports those that search what neither is in `known` nor known to all templates. */
int readings_check(const Readings *readings, const Names *known, bool in_rule, ConfigFile *file,
                   const ConfigNode *list);

int readings_add_uses(const Readings *readings, Names *uses);

/* Each in turn; one that finds nothing is no error. `budget` as in pattern.h. `owner` and `name`
 * say in the log whose they are: `profile "x"`. -ENOMEM. */
int readings_apply(const Readings *readings, Variables *variables, size_t *budget,
                   const char *owner, const char *name);
