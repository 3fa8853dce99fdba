/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Text with places for values:
 *
 *   ${name}         the value, nothing where there is none
 *   ${name:-text}   the value, or the text where there is none
 *   ${name:+text}   the text where there is a value, else nothing
 *   $$  $}          a dollar sign, a brace
 *
 * Both kinds of text may hold such places again. A template is made once and only read then, by
 * any thread; it runs nothing, and what it gives is bounded.
 */

#include "common/config.h"
#include "milterd/names.h"
#include "milterd/variables.h"

#define TEMPLATE_TEXT_MAX 4096 /* bytes of a template */
#define TEMPLATE_DEPTH_MAX 8
#define TEMPLATE_REASON_MAX 320

typedef struct Template Template;

/* -EINVAL with a reason: `"${host" has no end`; -ENOMEM. */
int template_new(const char *text, Template **ret, char reason[static TEMPLATE_REASON_MAX]);
Template *template_free(Template *template);
DEFINE_CLEANUP(Template *, template_free)

/* A parser for CONFIG_CUSTOM; `target` is a Template *, and free of its former value. */
int template_parse(ConfigFile *file, const ConfigNode *node, void *target);

/* Adds the names that it needs. -ENOMEM. */
int template_add_uses(const Template *template, Names *uses);

/* Reports the names that it needs and that neither stand in `known` nor are those of the mail, or
 * in a rule those of rules. `node` is where it stands. 0 or -ENOMEM. */
int template_check(const Template *template, const Names *known, bool in_rule, ConfigFile *file,
                   const ConfigNode *node);

/* The same for a single name. */
int template_check_name(const char *name, const Names *known, bool in_rule, ConfigFile *file,
                        const ConfigNode *node);

typedef struct Rendered {
    char *text;   /* the caller's */
    bool missing; /* a ${name} had no value, and no text in its place */
} Rendered;

/* At most `max_bytes`, cut between characters. -ENOMEM. */
int template_render(const Template *template, Variables *variables, size_t max_bytes,
                    Rendered *ret);
