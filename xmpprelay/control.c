/* SPDX-License-Identifier: MIT */

/*
 * Control owns its socket and hands each request to the function of its command. Nothing here
 * lives longer than a request but the tests that wait for their fate.
 */

#include "xmpprelay/control-internal.h"

#include <stdio.h>
#include <sys/random.h>

/* A place that is free, or whose client has gone before the fate was known. */
static ControlTest *free_test(Control *control)
{
    for (size_t i = 0; i < ELEMENTSOF(control->tests); i++)
        if (!control_socket_waits(control->socket, control->tests[i].client))
            return &control->tests[i];
    return NULL;
}

static int test_begin(Control *control, uint64_t client, const Json *request, Json **ret)
{
    const char *destination = request_string(request, "destination");
    const char *id = request_string(request, "id");
    uint64_t random[2];
    ControlTest *test;
    int r;

    if (!destination)
        return answer_refusal(ret, "test needs the name of a destination");
    if (settings_find_destination(control->settings, destination) < 0)
        return control_unknown_destination(control, destination, ret);
    if (id && (!record_id_is_valid(id) || strncmp(id, "test-", strlen("test-")) != 0))
        return answer_refusal(ret, "the id of a test begins with \"test-\"");
    test = free_test(control);
    if (!test)
        return answer_refusal(ret, "%d tests wait for their fate already; wait for one of them",
                              CONTROL_CLIENTS_MAX);

    if (getrandom(random, sizeof(random), 0) != sizeof(random))
        return -EIO;
    test->client = client;
    test->began_usec = now_usec(CLOCK_MONOTONIC);
    if (id)
        snprintf(test->id, sizeof(test->id), "%s", id);
    else
        snprintf(test->id, sizeof(test->id), "test-%016llx%016llx", (unsigned long long)random[0],
                 (unsigned long long)random[1]);
    r = control->owner.on_test(control->owner.userdata, destination, test->id);
    if (r < 0) {
        test->client = 0;
        return answer_refusal(ret, "the test was not accepted: %s", spool_message(control->spool));
    }
    return 0;
}

bool control_test_done(Control *control, const char *id, bool delivered, const char *reason,
                       usec_t *ret_took_usec)
{
    for (size_t i = 0; i < ELEMENTSOF(control->tests); i++) {
        ControlTest *test = &control->tests[i];
        uint64_t client = test->client;
        usec_t took_usec;
        Answer answer;
        Json *json = NULL;
        bool waits;

        if (client == 0 || !streq(test->id, id))
            continue;
        waits = control_socket_waits(control->socket, client);
        test->client = 0;
        took_usec = now_usec(CLOCK_MONOTONIC) - test->began_usec;
        answer = answer_new();
        answer_put_string(&answer, "id", id);
        answer_put(&answer, json_set_bool(answer.json, "delivered", delivered));
        answer_put_string(&answer, "reason", reason);
        answer_put(&answer,
                   json_set_number(answer.json, "delay", (double)took_usec / (double)USEC_PER_SEC));
        answer_done(answer, &json);
        control_socket_answer(control->socket, client, json);
        *ret_took_usec = took_usec;
        return waits;
    }
    return false;
}

static int on_request(void *userdata, uint64_t client, const Json *request, Json **ret)
{
    static const struct {
        const char *name;
        int (*answer)(Control *control, const Json *request, Json **ret);
    } commands[] = {
        { "status", control_status }, { "queue", control_queue },   { "history", control_history },
        { "show", control_show },     { "retry", control_retry },   { "drop", control_drop },
        { "pause", control_pause },   { "resume", control_resume },
    };
    Control *control = userdata;
    const char *command = request_string(request, "command");

    if (!command)
        return answer_refusal(ret, "a request needs a \"command\"");
    if (streq(command, "test"))
        return test_begin(control, client, request, ret);
    for (size_t i = 0; i < ELEMENTSOF(commands); i++)
        if (streq(commands[i].name, command))
            return commands[i].answer(control, request, ret);
    return answer_refusal(ret, "this relay knows no command \"%s\"", command);
}

int control_new(sd_event *event, const Settings *settings, Spool *spool, Sessions *sessions,
                const ControlOwner *owner, Control **ret, char reason[static SPOOL_REASON_MAX])
{
    _cleanup_(control_freep) Control *control = calloc(1, sizeof(*control));
    int r;

    snprintf(reason, SPOOL_REASON_MAX, "out of memory");
    if (!control)
        return -ENOMEM;
    control->settings = settings;
    control->spool = spool;
    control->sessions = sessions;
    control->owner = *owner;
    r = control_socket_new(event, &settings->control, on_request, control, &control->socket, reason,
                           SPOOL_REASON_MAX);
    if (r < 0)
        return r;
    *ret = steal_ptr(control);
    return 0;
}

Control *control_free(Control *control)
{
    if (!control)
        return NULL;
    control_socket_free(control->socket);
    free(control);
    return NULL;
}

void control_set_sources(Control *control, const Settings *settings, Sessions *sessions)
{
    control->settings = settings;
    control->sessions = sessions;
}
