/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The values of `severity` and `state` in `set`: a name, or a group that compares the value of a
 * template, or a list of these, the first of which that gives a value is the one.
 */

#include "common/config.h"
#include "milterd/variables.h"

typedef struct Choice Choice;

/* Parsers for CONFIG_CUSTOM; `target` is a Choice *. The values are Severity and AlertState. */
int choice_parse_severity(ConfigFile *file, const ConfigNode *node, void *target);
int choice_parse_state(ConfigFile *file, const ConfigNode *node, void *target);
Choice *choice_free(Choice *choice);

/* As those of templates do (template.h); `node` is where the choice stands. */
int choice_check(const Choice *choice, const Names *known, bool in_rule, ConfigFile *file,
                 const ConfigNode *node);
int choice_add_uses(const Choice *choice, Names *uses);

/* *ret is 0 where none is chosen. `budget` as in pattern.h. -ENOMEM. */
int choice_make(const Choice *choice, Variables *variables, size_t *budget, int *ret);
