/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * `set`, of profiles and rules: what is said in an alert.
 */

#include "common/config.h"
#include "common/record.h"
#include "milterd/choice.h"
#include "milterd/template.h"

#define SET_FIELDS_MAX 24
#define SET_FIELD_NAME_MAX 32 /* bytes */

typedef struct SetField {
    char *name;
    Template *value;
} SetField;

typedef struct SetFields {
    SetField *items;
    size_t n;
} SetFields;

typedef struct Set {
    Template *title;
    Template *text; /* of forms only */
    Choice *severity;
    Choice *state;
    Template *key;
    SetFields fields;
    ConfigStrings facts; /* names of fields */
} Set;

extern const ConfigKey set_keys[];      /* for the group `set` of a form */
extern const ConfigKey set_rule_keys[]; /* of a rule: without text */
void set_done(Set *set);                /* all but what the tables free */

bool set_is_empty(const Set *set);

/* What a set has not got itself it has from the other, key by key. The result is made of pointers
 * into both, and belongs to nobody. */
Set set_inherit(const Set *set, const Set *other);

/* What `set` can name, and in what. */
typedef struct SetScope {
    const Names *known;  /* variables */
    const Names *fields; /* that facts may name besides those of the set itself */
    bool in_rule;
} SetScope;

/* Reports names that are not known; `group` is where the set stands. 0 or -ENOMEM. */
int set_check(const Set *set, const SetScope *scope, ConfigFile *file, const ConfigNode *group);
int set_add_uses(const Set *set, Names *uses);
int set_add_fields(const Set *set, Names *fields);

/* Fields first, then severity, state, key, title and text, so that those of a rule may name what
 * came before. What comes out empty leaves the record as it was, and so does a key with a
 * ${name} in it that has no value: it would be the same for what is not the same. What goes into
 * the record is clean, the title, the key and the fields in one line. `budget` as in pattern.h.
 * -ENOMEM. */
int set_apply(const Set *set, Variables *variables, size_t *budget, Record *record);

/* A string as it goes into a record: clean, in one line where it must be. -ENOMEM. */
int set_clean(char **member, const char *text, bool one_line);
void set_clear_facts(Record *record);
