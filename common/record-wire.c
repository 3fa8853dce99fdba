/* SPDX-License-Identifier: MIT */

/*
 * Records on the wire (record.h).
 *
 * Reading goes by one table: each known key has a reader that takes a value of the right type
 * and bounds or says what is allowed. What is read or written obeys the same limits, so no
 * record leaves us that a relay would refuse for its form.
 */

#include "common/record.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/json.h"

static bool name_is_valid(const char *name)
{
    size_t length = strlen(name);

    return length >= 1 && length <= RECORD_NAME_MAX;
}

PRINTF_LIKE(2, 3)
static int refuse(char *reason, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(reason, RECORD_REASON_MAX, format, args);
    va_end(args);
    return -EBADMSG;
}

static int read_string(char **member, const Json *value, size_t max_bytes, const char *allowed,
                       char *reason)
{
    const char *string = json_as_string(value, NULL);

    if (!string || strlen(string) > max_bytes)
        return refuse(reason, "%s", allowed);
    return record_set(member, string);
}

static int read_version(Record *record, const Json *value, char *reason)
{
    if (json_as_integer(value, -1) != RECORD_VERSION)
        return refuse(reason, "v must be the integer %d", RECORD_VERSION);
    return 0;
}

static int read_text(Record *record, const Json *value, char *reason)
{
    if (streq(json_as_string(value, ""), ""))
        return refuse(reason, "text must be a string that is not empty");
    return record_set(&record->text, json_as_string(value, NULL));
}

static int read_title(Record *record, const Json *value, char *reason)
{
    return read_string(&record->title, value, SIZE_MAX, "title must be a string", reason);
}

static int read_id(Record *record, const Json *value, char *reason)
{
    const char *id = json_as_string(value, "");

    if (!record_id_is_valid(id))
        return refuse(reason, "id must be a string of 1 to %d characters of A-Za-z0-9._:-",
                      RECORD_ID_MAX);
    return record_set(&record->id, id);
}

static int read_to_name(Record *record, const Json *value, char *reason)
{
    const char *name = json_as_string(value, "");
    size_t n_before = record->n_to;
    int r;

    if (!name_is_valid(name))
        return refuse(reason,
                      "to must be a destination's name of 1 to %d bytes, or an array of such",
                      RECORD_NAME_MAX);
    r = record_add_to(record, name);
    if (r == 0 && record->n_to == n_before)
        return refuse(reason, "to must not name a destination twice");
    return r;
}

static int read_to(Record *record, const Json *value, char *reason)
{
    size_t n = json_length(value);

    if (json_type(value) != JSON_IS_ARRAY)
        return read_to_name(record, value, reason);
    if (n < 1 || n > RECORD_TO_MAX)
        return refuse(reason, "to must name 1 to %d destinations", RECORD_TO_MAX);
    for (size_t i = 0; i < n; i++) {
        int r = read_to_name(record, json_at(value, i), reason);

        if (r < 0)
            return r;
    }
    return 0;
}

static int read_severity(Record *record, const Json *value, char *reason)
{
    if (severity_from_name(json_as_string(value, ""), &record->severity) < 0)
        return refuse(reason, "severity must be \"ok\", \"info\", \"warning\" or \"critical\"");
    return 0;
}

static int read_state(Record *record, const Json *value, char *reason)
{
    if (alert_state_from_name(json_as_string(value, ""), &record->state) < 0)
        return refuse(reason, "state must be \"problem\", \"recovery\" or \"event\"");
    return 0;
}

static int read_key(Record *record, const Json *value, char *reason)
{
    return read_string(&record->key, value, RECORD_KEY_MAX,
                       "key must be a string of at most 256 bytes", reason);
}

static int read_time(Record *record, const Json *value, char *reason)
{
    double seconds = json_as_number(value, -1);

    /* Written so that a NaN is refused too. */
    if (!(seconds >= 0 && seconds < RECORD_TIME_LIMIT))
        return refuse(reason, "time must be a number of seconds since 1970, from 0 to below 1e11");
    record->time_usec = json_type(value) == JSON_IS_INTEGER
                            ? (usec_t)json_as_integer(value, 0) * USEC_PER_SEC
                            : (usec_t)(seconds * USEC_PER_SEC + 0.5);
    return 0;
}

static int read_source(Record *record, const Json *value, char *reason)
{
    return read_string(&record->source, value, RECORD_SOURCE_MAX,
                       "source must be a string of at most 64 bytes", reason);
}

typedef struct FieldsReading {
    Record *record;
    char *reason;
} FieldsReading;

static int read_field(const char *name, const Json *value, void *userdata)
{
    FieldsReading *reading = userdata;

    if (!name_is_valid(name))
        return refuse(reading->reason, "names in fields must be 1 to %d bytes long",
                      RECORD_NAME_MAX);
    if (!json_as_string(value, NULL))
        return refuse(reading->reason, "fields must have strings as values");
    return record_add_field(reading->record, name, json_as_string(value, NULL));
}

static int read_fields(Record *record, const Json *value, char *reason)
{
    FieldsReading reading = { record, reason };

    if (json_type(value) != JSON_IS_OBJECT || json_length(value) > RECORD_FIELDS_MAX)
        return refuse(reason, "fields must be an object of at most %d strings", RECORD_FIELDS_MAX);
    return json_each(value, read_field, &reading);
}

static int read_fact(Record *record, const Json *value, char *reason)
{
    const char *name = json_as_string(value, "");
    size_t n_before = record->n_facts;
    int r;

    if (!name_is_valid(name))
        return refuse(reason, "facts must be names of fields, of 1 to %d bytes", RECORD_NAME_MAX);
    r = record_add_fact(record, name);
    if (r == 0 && record->n_facts == n_before)
        return refuse(reason, "facts must not name a field twice");
    return r;
}

/* Which fields there are is no matter here: a fact without its field is one that isn't shown. */
static int read_facts(Record *record, const Json *value, char *reason)
{
    size_t n = json_length(value);

    if (json_type(value) != JSON_IS_ARRAY || n > RECORD_FACTS_MAX)
        return refuse(reason, "facts must be an array of at most %d names", RECORD_FACTS_MAX);
    for (size_t i = 0; i < n; i++) {
        int r = read_fact(record, json_at(value, i), reason);

        if (r < 0)
            return r;
    }
    return 0;
}

static int read_receipt(Record *record, const Json *value, char *reason)
{
    if (receipt_wanted_from_name(json_as_string(value, ""), &record->receipt) < 0)
        return refuse(reason, "receipt must be \"accepted\", \"delivered\" or \"none\"");
    return 0;
}

static const struct {
    const char *key;
    bool required;
    int (*read)(Record *record, const Json *value, char *reason);
} keys[] = {
    { "v", true, read_version },        { "text", true, read_text },
    { "title", false, read_title },     { "id", false, read_id },
    { "to", false, read_to },           { "severity", false, read_severity },
    { "state", false, read_state },     { "key", false, read_key },
    { "time", false, read_time },       { "source", false, read_source },
    { "fields", false, read_fields },   { "facts", false, read_facts },
    { "receipt", false, read_receipt },
};

int record_parse(const char *json, size_t size, Record **ret, char ret_id[static RECORD_ID_MAX + 1],
                 char reason[static RECORD_REASON_MAX])
{
    _cleanup_json_ Json *object = NULL;
    _cleanup_record_ Record *record = NULL;
    char json_reason[JSON_REASON_MAX];
    const char *id;
    int r;

    ret_id[0] = '\0';
    if (size > RECORD_FRAME_MAX)
        return refuse(reason, "a record must be at most %d bytes", RECORD_FRAME_MAX);
    r = json_parse(json, size, &object, json_reason);
    if (r == -EBADMSG)
        return refuse(reason, "%s", json_reason);
    if (r < 0)
        return r;
    if (json_type(object) != JSON_IS_OBJECT)
        return refuse(reason, "a record must be a JSON object");

    id = json_as_string(json_get(object, "id"), "");
    if (record_id_is_valid(id))
        strcpy(ret_id, id);

    record = record_new();
    if (!record)
        return -ENOMEM;
    for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
        const Json *value = json_get(object, keys[i].key);

        if (!value && keys[i].required)
            return refuse(reason, "%s is missing", keys[i].key);
        r = value ? keys[i].read(record, value, reason) : 0;
        if (r < 0)
            return r;
    }
    *ret = steal_ptr(record);
    return 0;
}

/* What the readers above check, for a record in memory. */
static bool is_valid(const Record *record)
{
    if (!record->text || record->text[0] == '\0')
        return false;
    if (record->id && !record_id_is_valid(record->id))
        return false;
    if (record->key && strlen(record->key) > RECORD_KEY_MAX)
        return false;
    if (record->source && strlen(record->source) > RECORD_SOURCE_MAX)
        return false;
    if (record->time_usec / USEC_PER_SEC >= RECORD_TIME_LIMIT)
        return false;
    if (record->n_to > RECORD_TO_MAX || record->n_fields > RECORD_FIELDS_MAX ||
        record->n_facts > RECORD_FACTS_MAX)
        return false;
    for (size_t i = 0; i < record->n_to; i++)
        if (!name_is_valid(record->to[i]))
            return false;
    for (size_t i = 0; i < record->n_fields; i++)
        if (!name_is_valid(record->fields[i].name))
            return false;
    for (size_t i = 0; i < record->n_facts; i++)
        if (!name_is_valid(record->facts[i]))
            return false;
    return true;
}

static int write_names(Json *object, const char *key, char *const *names, size_t n)
{
    Json *array;
    int r;

    if (n == 0)
        return 0;
    array = json_array_new();
    r = json_set_consume(object, key, array);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = json_add_string(array, names[i]);
    return r;
}

static int write_fields(const Record *record, Json *object)
{
    Json *fields;
    int r;

    if (record->n_fields == 0)
        return 0;
    fields = json_object_new();
    r = json_set_consume(object, "fields", fields);
    for (size_t i = 0; r == 0 && i < record->n_fields; i++)
        r = json_set_string(fields, record->fields[i].name, record->fields[i].value);
    return r;
}

static int write_time(const Record *record, Json *object)
{
    if (record->time_usec == 0)
        return 0;
    if (record->time_usec % USEC_PER_SEC == 0)
        return json_set_integer(object, "time", (int64_t)(record->time_usec / USEC_PER_SEC));
    return json_set_number(object, "time", (double)record->time_usec / USEC_PER_SEC);
}

int record_write(const Record *record, char **ret_json, size_t *ret_size)
{
    _cleanup_json_ Json *object = NULL;
    _cleanup_free_ char *json = NULL;
    size_t size;
    int r;

    if (!is_valid(record))
        return -EINVAL;
    object = json_object_new();
    if ((r = json_set_integer(object, "v", RECORD_VERSION)) < 0 ||
        (r = json_set_string(object, "id", record->id)) < 0 ||
        (r = write_names(object, "to", record->to, record->n_to)) < 0 ||
        (r = write_fields(record, object)) < 0 ||
        (r = write_names(object, "facts", record->facts, record->n_facts)) < 0 ||
        (r = json_set_string(object, "title", record->title)) < 0 ||
        (r = json_set_string(object, "text", record->text)) < 0 ||
        (r = json_set_string(object, "severity", severity_name(record->severity))) < 0 ||
        (r = json_set_string(object, "state", alert_state_name(record->state))) < 0 ||
        (r = json_set_string(object, "key", record->key)) < 0 ||
        (r = write_time(record, object)) < 0 ||
        (r = json_set_string(object, "source", record->source)) < 0)
        return r;
    if (record->receipt != RECEIPT_WANTED_ACCEPTED) {
        r = json_set_string(object, "receipt", receipt_wanted_name(record->receipt));
        if (r < 0)
            return r;
    }
    json = json_dump_dup(object, false, &size);
    if (!json)
        return -ENOMEM;
    if (size > RECORD_FRAME_MAX)
        return -EMSGSIZE;
    *ret_size = size;
    *ret_json = steal_ptr(json);
    return 0;
}
