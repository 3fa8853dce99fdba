/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A set of names, in their alphabet.
 */

#include "common/util.h"

typedef struct Names {
    char **items;
    size_t n;
} Names;

/* Copies; what is there already is not added again. -ENOMEM. */
int names_add(Names *names, const char *name);
int names_add_all(Names *names, const Names *others);
bool names_have(const Names *names, const char *name);
void names_done(Names *names);

/* The one that `name` may be a slip of; NULL: none is near. */
const char *names_nearest(const Names *names, const char *name);

/* "a, b, c", or "none"; the caller frees it, NULL for want of memory. */
char *names_list(const Names *names);
