/* SPDX-License-Identifier: MIT */

/*
 * At each event the mail shows what would be known by then; the rest of it is put aside meanwhile.
 */

#include "milterd/script-replay.h"

#define CHUNK_BYTES ((size_t)65535) /* of the protocol */
#define ALL_ACTIONS ((1U << _ACTION_MAX) - 1)

typedef struct Replay {
    ScriptReplay *result;
    Mail *mail;
} Replay;

/* The text that a script has seen was made of less than there is now. */
static void forget_text(Mail *mail)
{
    free(mail->text);
    mail->text = NULL;
    mail->text_cut = false;
}

/* Whether it goes on. */
static bool ask(Replay *replay, ScriptView *view)
{
    ScriptReplay *result = replay->result;
    ScriptAnswer answer;

    if (result->answer.verdict != VERDICT_CONTINUE)
        return false;
    view->mail = replay->mail;
    view->offered = ALL_ACTIONS;
    script_run_call(result->run, view, &answer);
    if (answer.verdict == VERDICT_CONTINUE)
        return true;
    result->answer = answer;
    result->event = view->event;
    return false;
}

static bool ask_simply(Replay *replay, ScriptEvent event)
{
    ScriptView view = { .event = event };

    return ask(replay, &view);
}

static bool ask_with(Replay *replay, ScriptEvent event, const char *text, bool has_arguments)
{
    static char *const none[] = { NULL };
    ScriptView view = {
        .event = event,
        .values = { { text, strlen(text) } },
        .n_values = 1,
        .arguments = has_arguments ? none : NULL,
    };

    return ask(replay, &view);
}

/* A recipient that is refused is none, and the mail goes on. */
static void ask_about_rcpts(Replay *replay)
{
    ScriptReplay *result = replay->result;
    Mail *mail = replay->mail;
    size_t n = mail->n_rcpts;

    mail->n_rcpts = 0;
    for (size_t i = 0; i < n; i++) {
        char *address = mail->rcpts[i];
        bool refused = !ask_with(replay, SCRIPT_RCPT, address, true) &&
                       (result->answer.verdict == VERDICT_REJECT ||
                        result->answer.verdict == VERDICT_TEMPFAIL);

        mail->rcpts[i] = mail->rcpts[mail->n_rcpts];
        mail->rcpts[mail->n_rcpts] = address;
        if (!refused || result->event != SCRIPT_RCPT || n == 1)
            mail->n_rcpts++;
        else
            result->answer = (ScriptAnswer){ .verdict = VERDICT_CONTINUE };
    }
    for (size_t i = mail->n_rcpts; i < n; i++)
        free(mail->rcpts[i]);
}

static int ask_about_headers(Replay *replay)
{
    Mail *mail = replay->mail;
    size_t n = mail->n_headers;
    int r = 0;

    mail->n_headers = 0;
    for (size_t i = 0; i < n; i++) {
        MailHeader *header = &mail->headers[i];
        const char *text = mail_header_text(header);

        mail->n_headers++;
        if (!text)
            r = -ENOMEM;
        if (text && r == 0) {
            ScriptView view = {
                .event = SCRIPT_HEADER,
                .values = { { header->name, strlen(header->name) },
                            { text, strlen(text) },
                            { header->value, strlen(header->value) } },
                .n_values = 3,
            };

            ask(replay, &view);
        }
    }
    return r;
}

static void ask_about_body(Replay *replay)
{
    Mail *mail = replay->mail;
    size_t size = mail->body_size;

    for (size_t at = 0; at < size; at = mail->body_size) {
        ScriptView view = { .event = SCRIPT_BODY, .n_values = 1 };

        view.values[0] = (ScriptValue){ mail->body + at, MIN(size - at, CHUNK_BYTES) };
        mail->body_size = at + view.values[0].size;
        forget_text(mail);
        ask(replay, &view);
    }
    forget_text(mail);
}

/* With the body put aside. */
static int ask_before_body(Replay *replay)
{
    Mail *mail = replay->mail;
    size_t body_size = mail->body_size, n_headers = mail->n_headers, n_rcpts = mail->n_rcpts;
    uint64_t body_total = mail->body_total;
    char *sender = mail->envelope_from;
    int r;

    mail->body_size = 0;
    mail->body_total = 0;
    mail->n_headers = 0;
    mail->n_rcpts = 0;
    mail->envelope_from = NULL;
    ask_simply(replay, SCRIPT_CONNECT);
    if (mail->helo)
        ask_with(replay, SCRIPT_HELO, mail->helo, false);
    mail->envelope_from = sender;
    ask_with(replay, SCRIPT_MAIL, sender ? sender : "", true);
    mail->n_rcpts = n_rcpts;
    ask_about_rcpts(replay);
    ask_simply(replay, SCRIPT_DATA);
    mail->n_headers = n_headers;
    r = ask_about_headers(replay);
    forget_text(mail);
    ask_simply(replay, SCRIPT_HEADERS);
    mail->body_size = body_size;
    mail->body_total = body_total;
    return r;
}

int script_replay(const ScriptSet *scripts, Mail *mail, ScriptReplay *ret)
{
    Replay replay = { .result = ret, .mail = mail };
    int r;

    *ret = (ScriptReplay){ .answer = { .verdict = VERDICT_CONTINUE } };
    if (!scripts || scripts->n == 0)
        return 0;
    r = script_run_new(scripts, NULL, &ret->run);
    if (r == 0)
        r = ask_before_body(&replay);
    if (r < 0)
        return r;
    ask_about_body(&replay);
    ask_simply(&replay, SCRIPT_MESSAGE);
    return 0;
}

void script_replay_done(ScriptReplay *replay)
{
    replay->run = script_run_free(replay->run);
}
