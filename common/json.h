/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * JSON (RFC 8259): the adapter of jansson. Everything else speaks of Json only.
 *
 * A Json is one value, counted by reference inside. Those returned as `Json *` belong to the
 * caller (json_free); those returned as `const Json *` belong to the value they came from.
 * Strings are UTF-8 without NUL, in and out. Building functions take NULL for a failed
 * allocation and pass it on, so that a chain needs one check at its end (json_dump_dup).
 */

#include "common/util.h"

typedef struct json_t Json;

typedef enum JsonType {
    JSON_IS_NULL,
    JSON_IS_BOOL,
    JSON_IS_INTEGER,
    JSON_IS_REAL,
    JSON_IS_STRING,
    JSON_IS_ARRAY,
    JSON_IS_OBJECT,
} JsonType;

#define JSON_REASON_MAX 160

/* Parses exactly one value that fills `text`; duplicate keys, NUL in strings, broken UTF-8 and
 * nesting past 32 levels are errors: -EBADMSG with `reason` filled, or -ENOMEM. */
int json_parse(const char *text, size_t size, Json **ret, char reason[static JSON_REASON_MAX]);

Json *json_free(Json *json);
DEFINE_CLEANUP(Json *, json_free)
#define _cleanup_json_ _cleanup_(json_freep)

JsonType json_type(const Json *json);

/* NULL where the key is absent or `object` is none. */
const Json *json_get(const Json *object, const char *key);
size_t json_length(const Json *array_or_object);
const Json *json_at(const Json *array, size_t index);

/* Calls `visit` for each member in order until it returns non-zero, and returns that. */
int json_each(const Json *object, int (*visit)(const char *key, const Json *value, void *userdata),
              void *userdata);

/* Values; the fallback where `json` is NULL or of another type. A number is an integer or a real.
 * (Not json_string() and json_integer(): jansson exports functions of these names, and ours
 * would take their place in it.) */
const char *json_as_string(const Json *json, const char *fallback);
int64_t json_as_integer(const Json *json, int64_t fallback);
double json_as_number(const Json *json, double fallback);
bool json_as_bool(const Json *json, bool fallback);

Json *json_object_new(void);
Json *json_array_new(void);
Json *json_null_new(void);

/* Adds a member (replacing one of the same name) or an element. A NULL string adds nothing.
 * Return 0 or -ENOMEM; -EINVAL where a string is no UTF-8 or a number not finite. The _consume
 * ones free `value` on failure too. */
int json_set_string(Json *object, const char *key, const char *value);
int json_set_integer(Json *object, const char *key, int64_t value);
int json_set_number(Json *object, const char *key, double value);
int json_set_bool(Json *object, const char *key, bool value);
int json_set_consume(Json *object, const char *key, Json *value);
int json_add_string(Json *array, const char *value);
int json_add_consume(Json *array, Json *value);

/* The compact text of a value, NUL-terminated, members in the order they were added. NULL for
 * want of memory. `pretty` indents it for people. Controls of any kind are escaped, but DEL. */
char *json_dump_dup(const Json *json, bool pretty, size_t *ret_size);
