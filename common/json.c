/* SPDX-License-Identifier: MIT */

/*
 * The adapter of jansson.
 *
 * A Json is jansson's json_t by another name; its reference count is never more than what the
 * tree itself needs, so json_free() frees. jansson refuses duplicate keys and NUL in strings when
 * told to; its own limit of nesting is far past ours, hence the scan before it. Its error texts
 * quote the input, which may be a mail's and must not reach a log: we write our own.
 */

#include "common/json.h"

#include <math.h>
#include <stdio.h>

/* jansson has a type of the name of our function. */
#define json_type jansson_type
#include <jansson.h>
#undef json_type

#include "common/text.h"

#define JSON_DEPTH_MAX 32

static bool nesting_is_fine(const char *text, size_t size)
{
    bool in_string = false;
    size_t depth = 0;

    for (size_t i = 0; i < size; i++) {
        char c = text[i];

        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > JSON_DEPTH_MAX)
                return false;
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return true;
}

static const char *error_sentence(enum json_error_code code)
{
    switch (code) {
    case json_error_invalid_utf8:
        return "broken UTF-8";
    case json_error_premature_end_of_input:
        return "it ends too early";
    case json_error_end_of_input_expected:
        return "something follows the value";
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return "NUL is not allowed in strings";
    case json_error_duplicate_key:
        return "a key occurs twice in one object";
    case json_error_numeric_overflow:
        return "a number is too large";
    default:
        return "wrong syntax";
    }
}

int json_parse(const char *text, size_t size, Json **ret, char reason[static JSON_REASON_MAX])
{
    json_error_t error = {};
    json_t *json;

    if (!nesting_is_fine(text, size)) {
        snprintf(reason, JSON_REASON_MAX, "not acceptable JSON: nested deeper than %d levels",
                 JSON_DEPTH_MAX);
        return -EBADMSG;
    }
    json = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!json) {
        if (json_error_code(&error) == json_error_out_of_memory)
            return -ENOMEM;
        snprintf(reason, JSON_REASON_MAX, "not acceptable JSON: %s (line %d, column %d)",
                 error_sentence(json_error_code(&error)), error.line, error.column);
        return -EBADMSG;
    }
    *ret = json;
    return 0;
}

Json *json_free(Json *json)
{
    json_decref(json);
    return NULL;
}

JsonType json_type(const Json *json)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        return JSON_IS_OBJECT;
    case JSON_ARRAY:
        return JSON_IS_ARRAY;
    case JSON_STRING:
        return JSON_IS_STRING;
    case JSON_INTEGER:
        return JSON_IS_INTEGER;
    case JSON_REAL:
        return JSON_IS_REAL;
    case JSON_TRUE:
    case JSON_FALSE:
        return JSON_IS_BOOL;
    default:
        return JSON_IS_NULL;
    }
}

const Json *json_get(const Json *object, const char *key)
{
    return json_object_get(object, key);
}

size_t json_length(const Json *array_or_object)
{
    return json_is_object(array_or_object) ? json_object_size(array_or_object)
                                           : json_array_size(array_or_object);
}

const Json *json_at(const Json *array, size_t index)
{
    return json_array_get(array, index);
}

int json_each(const Json *object, int (*visit)(const char *key, const Json *value, void *userdata),
              void *userdata)
{
    json_t *iterated = (json_t *)object; /* jansson's iterators know no const */

    for (void *at = json_object_iter(iterated); at; at = json_object_iter_next(iterated, at)) {
        int r = visit(json_object_iter_key(at), json_object_iter_value(at), userdata);

        if (r != 0)
            return r;
    }
    return 0;
}

const char *json_as_string(const Json *json, const char *fallback)
{
    return json_is_string(json) ? json_string_value(json) : fallback;
}

int64_t json_as_integer(const Json *json, int64_t fallback)
{
    return json_is_integer(json) ? json_integer_value(json) : fallback;
}

double json_as_number(const Json *json, double fallback)
{
    return json_is_number(json) ? json_number_value(json) : fallback;
}

bool json_as_bool(const Json *json, bool fallback)
{
    return json_is_boolean(json) ? json_is_true(json) : fallback;
}

Json *json_object_new(void)
{
    return json_object();
}

Json *json_array_new(void)
{
    return json_array();
}

Json *json_null_new(void)
{
    return json_null();
}

int json_set_string(Json *object, const char *key, const char *value)
{
    if (!value)
        return 0;
    if (!text_is_utf8(value, strlen(value)))
        return -EINVAL;
    return json_set_consume(object, key, json_string(value));
}

int json_set_integer(Json *object, const char *key, int64_t value)
{
    return json_set_consume(object, key, json_integer(value));
}

int json_set_number(Json *object, const char *key, double value)
{
    if (!isfinite(value))
        return -EINVAL;
    return json_set_consume(object, key, json_real(value));
}

int json_set_bool(Json *object, const char *key, bool value)
{
    return json_set_consume(object, key, json_boolean(value));
}

int json_set_consume(Json *object, const char *key, Json *value)
{
    if (!text_is_utf8(key, strlen(key))) {
        json_decref(value);
        return -EINVAL;
    }
    /* It takes the value in every case, and NULL for either as a failure. */
    return json_object_set_new(object, key, value) < 0 ? -ENOMEM : 0;
}

int json_add_string(Json *array, const char *value)
{
    if (!value)
        return 0;
    if (!text_is_utf8(value, strlen(value)))
        return -EINVAL;
    return json_add_consume(array, json_string(value));
}

int json_add_consume(Json *array, Json *value)
{
    return json_array_append_new(array, value) < 0 ? -ENOMEM : 0;
}

char *json_dump_dup(const Json *json, bool pretty, size_t *ret_size)
{
    /* 16 digits hold microseconds since the epoch, without the noise of the 17th. */
    size_t flags = JSON_ENCODE_ANY | JSON_REAL_PRECISION(16);
    char *text;

    if (!json)
        return NULL;
    flags |= pretty ? JSON_INDENT(2) : JSON_COMPACT;
    text = json_dumps(json, flags);
    if (text && !text_is_clean(text, strlen(text))) {
        /* jansson escapes the old controls; C1 ones command terminals just as well. */
        free(text);
        text = json_dumps(json, flags | JSON_ENSURE_ASCII);
    }
    if (text && ret_size)
        *ret_size = strlen(text);
    return text;
}
