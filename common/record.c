/* SPDX-License-Identifier: MIT */

/*
 * Records in memory, and the names of their parts. How they are read and written: record-wire.c.
 */

#include "common/record.h"

static const char *const severity_names[] = {
    [SEVERITY_OK] = "ok",
    [SEVERITY_INFO] = "info",
    [SEVERITY_WARNING] = "warning",
    [SEVERITY_CRITICAL] = "critical",
};

static const char *const state_names[] = {
    [STATE_PROBLEM] = "problem",
    [STATE_RECOVERY] = "recovery",
    [STATE_EVENT] = "event",
};

static const char *const wanted_names[] = {
    [RECEIPT_WANTED_ACCEPTED] = "accepted",
    [RECEIPT_WANTED_DELIVERED] = "delivered",
    [RECEIPT_WANTED_NONE] = "none",
};

static int find_name(const char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (names[i] && streq(names[i], name))
            return (int)i;
    return -EINVAL;
}

const char *severity_name(Severity severity)
{
    return severity_names[severity];
}

int severity_from_name(const char *name, Severity *ret)
{
    int i = find_name(severity_names, ELEMENTSOF(severity_names), name);

    if (i < 0)
        return i;
    *ret = (Severity)i;
    return 0;
}

const char *alert_state_name(AlertState state)
{
    return state_names[state];
}

int alert_state_from_name(const char *name, AlertState *ret)
{
    int i = find_name(state_names, ELEMENTSOF(state_names), name);

    if (i < 0)
        return i;
    *ret = (AlertState)i;
    return 0;
}

const char *receipt_wanted_name(ReceiptWanted wanted)
{
    return wanted_names[wanted];
}

int receipt_wanted_from_name(const char *name, ReceiptWanted *ret)
{
    int i = find_name(wanted_names, ELEMENTSOF(wanted_names), name);

    if (i < 0)
        return i;
    *ret = (ReceiptWanted)i;
    return 0;
}

Record *record_new(void)
{
    return calloc(1, sizeof(Record));
}

Record *record_free(Record *record)
{
    if (!record)
        return NULL;
    for (size_t i = 0; i < record->n_to; i++)
        free(record->to[i]);
    for (size_t i = 0; i < record->n_fields; i++) {
        free(record->fields[i].name);
        free(record->fields[i].value);
    }
    for (size_t i = 0; i < record->n_facts; i++)
        free(record->facts[i]);
    free(record->to);
    free(record->fields);
    free(record->facts);
    free(record->id);
    free(record->title);
    free(record->text);
    free(record->key);
    free(record->source);
    free(record);
    return NULL;
}

int record_set(char **member, const char *value)
{
    char *copy = NULL;

    if (value) {
        copy = strdup(value);
        if (!copy)
            return -ENOMEM;
    }
    free(*member);
    *member = copy;
    return 0;
}

/* Adds a copy of a name to a list, unless it is in there. */
static int add_name(char ***names, size_t *n_names, const char *name)
{
    _cleanup_free_ char *copy = NULL;
    char **larger;

    for (size_t i = 0; i < *n_names; i++)
        if (streq((*names)[i], name))
            return 0;
    copy = strdup(name);
    if (!copy)
        return -ENOMEM;
    larger = reallocarray(*names, *n_names + 1, sizeof(*larger));
    if (!larger)
        return -ENOMEM;
    *names = larger;
    (*names)[(*n_names)++] = steal_ptr(copy);
    return 0;
}

int record_add_to(Record *record, const char *name)
{
    return add_name(&record->to, &record->n_to, name);
}

int record_add_fact(Record *record, const char *name)
{
    return add_name(&record->facts, &record->n_facts, name);
}

static RecordField *find_field(const Record *record, const char *name)
{
    for (size_t i = 0; i < record->n_fields; i++)
        if (streq(record->fields[i].name, name))
            return &record->fields[i];
    return NULL;
}

int record_add_field(Record *record, const char *name, const char *value)
{
    _cleanup_free_ char *name_copy = NULL, *value_copy = NULL;
    RecordField *fields = find_field(record, name);

    if (fields)
        return record_set(&fields->value, value);

    name_copy = strdup(name);
    value_copy = strdup(value);
    if (!name_copy || !value_copy)
        return -ENOMEM;
    fields = reallocarray(record->fields, record->n_fields + 1, sizeof(*fields));
    if (!fields)
        return -ENOMEM;
    record->fields = fields;
    record->fields[record->n_fields++] = (RecordField){
        .name = steal_ptr(name_copy),
        .value = steal_ptr(value_copy),
    };
    return 0;
}

const char *record_field(const Record *record, const char *name)
{
    const RecordField *field = find_field(record, name);

    return field ? field->value : NULL;
}

bool record_id_is_valid(const char *id)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-";
    size_t length = strlen(id);

    return length >= 1 && length <= RECORD_ID_MAX && strspn(id, allowed) == length;
}
