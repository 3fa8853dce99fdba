/* SPDX-License-Identifier: MIT */

#include "xmpprelay/control-internal.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/text.h"

void answer_put(Answer *answer, int r)
{
    if (r < 0 && answer->error == 0)
        answer->error = r;
}

void answer_put_time(Answer *answer, const char *key, usec_t usec)
{
    if (usec > 0)
        answer_put(answer, json_set_number(answer->json, key, (double)usec / (double)USEC_PER_SEC));
}

void answer_put_string(Answer *answer, const char *key, const char *value)
{
    _cleanup_free_ char *clean = NULL;

    if (!value || !*value)
        return;
    /* Sentences end where their buffers do, maybe inside a character; no answer fails for that. */
    if (!text_is_utf8(value, strlen(value))) {
        clean = text_clean_dup(value, strlen(value));
        answer_put(answer, clean ? 0 : -ENOMEM);
        value = clean;
    }
    answer_put(answer, json_set_string(answer->json, key, value));
}

void answer_put_count(Answer *answer, const char *key, uint64_t value)
{
    answer_put(answer, json_set_integer(answer->json, key, (int64_t)value));
}

Answer answer_new(void)
{
    Answer answer = { .json = json_object_new() };

    if (!answer.json)
        answer.error = -ENOMEM;
    return answer;
}

void answer_add_consume(Answer *to, Json *array, Answer item)
{
    answer_put(to, item.error);
    answer_put(to, json_add_consume(array, item.json));
}

int answer_done(Answer answer, Json **ret)
{
    if (answer.error < 0) {
        json_free(answer.json);
        return answer.error;
    }
    *ret = answer.json;
    return 0;
}

int answer_refusal(Json **ret, const char *format, ...)
{
    Answer answer = answer_new();
    char sentence[512];
    va_list args;

    va_start(args, format);
    vsnprintf(sentence, sizeof(sentence), format, args);
    va_end(args);
    answer_put_string(&answer, "error", sentence);
    return answer_done(answer, ret);
}

const char *request_string(const Json *request, const char *key)
{
    return json_as_string(json_get(request, key), NULL);
}
