/* SPDX-License-Identifier: MIT */

/*
 * A mail is hostile, and scripts copy its text into headers and replies. So what is a text is
 * made fit, and can neither end its line nor fail; and what is a name or an address, in which
 * such text has no business, is refused.
 */

#include "milterd/action.h"

#include <stdio.h>

#include "common/text.h"
#include "milterd/header-encode.h"

#define REASON_TEXT_MAX 500 /* bytes of the reason of a quarantine */

const char *const action_names[] = {
    [ACTION_CHANGE_FROM] = "change_from",     [ACTION_DELETE_RCPT] = "delete_rcpt",
    [ACTION_ADD_RCPT] = "add_rcpt",           [ACTION_CHANGE_HEADER] = "change_header",
    [ACTION_DELETE_HEADER] = "delete_header", [ACTION_ADD_HEADER] = "add_header",
    [ACTION_INSERT_HEADER] = "insert_header", [ACTION_REPLACE_BODY] = "replace_body",
    [ACTION_QUARANTINE] = "quarantine",
};

static bool is_header_name(const char *name)
{
    size_t length = strlen(name);

    for (const char *c = name; *c; c++)
        if (*c <= ' ' || *c >= 0x7F || *c == ':')
            return false;
    return length > 0 && length <= ACTION_NAME_MAX;
}

static bool is_address(const char *address)
{
    size_t length = strlen(address);

    if (length >= 2 && address[0] == '<' && address[length - 1] == '>') {
        address++;
        length -= 2;
    }
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)address[i] <= ' ' || address[i] == 0x7F || address[i] == '<' ||
            address[i] == '>')
            return false;
    return length <= ACTION_ADDRESS_MAX;
}

/* "SIZE=100 BODY=8BITMIME" */
static bool are_arguments(const char *arguments)
{
    for (const char *c = arguments; *c; c++)
        if (*c < ' ' || *c >= 0x7F)
            return false;
    return strlen(arguments) <= ACTION_ADDRESS_MAX;
}

static int refuse(char reason[static ACTION_REASON_MAX], const char *what, const char *value)
{
    snprintf(reason, ACTION_REASON_MAX, "\"%.60s\" is no %s", value, what);
    return -EINVAL;
}

static int check_envelope(const Action *action, char reason[static ACTION_REASON_MAX])
{
    bool may_be_null = action->type == ACTION_CHANGE_FROM;

    if (!is_address(action->name) ||
        (!may_be_null && (streq(action->name, "") || streq(action->name, "<>"))))
        return refuse(reason, "address of an envelope", action->name);
    if (action->value && !are_arguments(action->value))
        return refuse(reason, "argument of ESMTP", action->value);
    return 0;
}

static int check_header(const Action *action, char reason[static ACTION_REASON_MAX])
{
    int first = action->type == ACTION_INSERT_HEADER ? 0 : 1;

    if (!is_header_name(action->name))
        return refuse(reason, "name of a header", action->name);
    if (action->type != ACTION_ADD_HEADER &&
        (action->index < first || action->index > ACTION_INDEX_MAX)) {
        snprintf(reason, ACTION_REASON_MAX, "a header's number must be from %d to %d", first,
                 ACTION_INDEX_MAX);
        return -EINVAL;
    }
    return 0;
}

static int check(const Action *action, char reason[static ACTION_REASON_MAX])
{
    switch (action->type) {
    case ACTION_CHANGE_FROM:
    case ACTION_ADD_RCPT:
    case ACTION_DELETE_RCPT:
        return check_envelope(action, reason);
    case ACTION_ADD_HEADER:
    case ACTION_INSERT_HEADER:
    case ACTION_CHANGE_HEADER:
    case ACTION_DELETE_HEADER:
        return check_header(action, reason);
    default:
        return 0;
    }
}

static void action_done(Action *action)
{
    free(action->name);
    free(action->value);
    *action = (Action){};
}

/* Printable ASCII in one line, of any text; of a very long one only the beginning is looked at. */
static char *plain_line_dup(const char *text, size_t size, size_t max)
{
    char *line = text_clean_line_dup(text, MIN(size, (size_t)ACTION_VALUE_MAX));
    size_t n = 0;

    if (!line)
        return NULL;
    for (const char *c = line; *c && n < max; c++) {
        if ((unsigned char)*c >= 0xC0)
            line[n++] = '?';
        else if ((unsigned char)*c < 0x80)
            line[n++] = *c;
    }
    line[n] = '\0';
    return line;
}

/* With the line ends that mail has on its way. */
static char *body_dup(const Action *action, size_t *ret_size)
{
    char *copy = malloc(2 * action->size + 1);
    size_t n = 0;

    if (!copy)
        return NULL;
    for (size_t i = 0; i < action->size; i++) {
        if (action->value[i] == '\n' && (i == 0 || action->value[i - 1] != '\r'))
            copy[n++] = '\r';
        copy[n++] = action->value[i];
    }
    copy[n] = '\0';
    *ret_size = n;
    return copy;
}

static char *value_dup(const Action *action, size_t *ret_size)
{
    char *copy;

    switch (action->type) {
    case ACTION_ADD_HEADER:
    case ACTION_INSERT_HEADER:
    case ACTION_CHANGE_HEADER:
        return header_encode_dup(action->value, action->size, strlen(action->name),
                                 ACTION_VALUE_MAX);
    case ACTION_QUARANTINE:
        return plain_line_dup(action->value, action->size, REASON_TEXT_MAX);
    case ACTION_REPLACE_BODY:
        return body_dup(action, ret_size);
    default:
        copy = malloc(action->size + 1);
        if (copy) {
            memcpy(copy, action->value, action->size);
            copy[action->size] = '\0';
        }
        return copy;
    }
}

int actions_add(Actions *actions, const Action *action, char reason[static ACTION_REASON_MAX])
{
    Action copy = { .type = action->type, .index = action->index, .size = action->size };
    Action *items;
    int r = check(action, reason);

    if (r < 0)
        return r;
    if (actions->n >= ACTIONS_MAX) {
        snprintf(reason, ACTION_REASON_MAX, "a mail takes at most %d changes", ACTIONS_MAX);
        return -EINVAL;
    }
    items = reallocarray(actions->items, actions->n + 1, sizeof(*items));
    if (!items)
        return -ENOMEM;
    actions->items = items;

    if (action->name)
        copy.name = strdup(action->name);
    if (action->value)
        copy.value = value_dup(action, &copy.size);
    if ((action->name && !copy.name) || (action->value && !copy.value)) {
        action_done(&copy);
        return -ENOMEM;
    }
    if (copy.value && action->type != ACTION_REPLACE_BODY)
        copy.size = strlen(copy.value);
    actions->items[actions->n++] = copy;
    return 0;
}

void actions_cut(Actions *actions, size_t n)
{
    while (actions->n > n)
        action_done(&actions->items[--actions->n]);
}

void actions_done(Actions *actions)
{
    actions_cut(actions, 0);
    free(actions->items);
    *actions = (Actions){};
}

/* Headers that are changed or deleted are counted as they came, so those go from the last of
 * their name to the first. */
bool action_before(const Action *a, const Action *b)
{
    if (a->type != b->type)
        return a->type < b->type;
    return a->type == ACTION_DELETE_HEADER && a->index > b->index;
}

char *action_describe_dup(const Action *action)
{
    _cleanup_free_ char *text = NULL;
    const char *name = action->name ? action->name : "", *value = action->value ?: "";
    int n;

    switch (action->type) {
    case ACTION_CHANGE_HEADER:
    case ACTION_INSERT_HEADER:
        n = asprintf(&text, "%s %d %s: %s", action_names[action->type], action->index, name, value);
        break;
    case ACTION_ADD_HEADER:
        n = asprintf(&text, "add_header %s: %s", name, value);
        break;
    case ACTION_DELETE_HEADER:
        n = asprintf(&text, "delete_header %d %s", action->index, name);
        break;
    case ACTION_REPLACE_BODY:
        n = asprintf(&text, "replace_body with %zu bytes", action->size);
        break;
    case ACTION_QUARANTINE:
        n = asprintf(&text, "quarantine: %s", value);
        break;
    default:
        n = asprintf(&text, "%s <%s> %s", action_names[action->type], name, value);
        break;
    }
    if (n < 0) {
        text = NULL;
        return NULL;
    }
    return text_clean_line_dup(text, (size_t)n);
}

/* Replies */

static bool is_code(const char *code)
{
    return strlen(code) == 3 && (code[0] == '4' || code[0] == '5') && code[1] >= '0' &&
           code[1] <= '5' && code[2] >= '0' && code[2] <= '9';
}

/* RFC 3463: class.subject.detail */
static bool is_status(const char *status, char class)
{
    size_t subject, detail;

    if (status[0] != class || status[1] != '.')
        return false;
    subject = strspn(status + 2, "0123456789");
    if (subject < 1 || subject > 3 || status[2 + subject] != '.')
        return false;
    detail = strspn(status + 3 + subject, "0123456789");
    return detail >= 1 && detail <= 3 && status[3 + subject + detail] == '\0';
}

int reply_begin(Reply *reply, const char *code, const char *status,
                char reason[static ACTION_REASON_MAX])
{
    if (!is_code(code))
        return refuse(reason, "code of a reply that refuses, such as \"550\" or \"451\"", code);
    if (status && !is_status(status, code[0])) {
        snprintf(reason, ACTION_REASON_MAX,
                 "\"%.20s\" is no status that goes with %s, such as \"%c.7.1\"", status, code,
                 code[0]);
        return -EINVAL;
    }
    *reply = (Reply){};
    strcpy(reply->code, code);
    strcpy(reply->status, status ? status : "");
    return 0;
}

int reply_add_line(Reply *reply, const char *text, size_t size,
                   char reason[static ACTION_REASON_MAX])
{
    _cleanup_free_ char *line = NULL;

    if (reply->n_lines >= REPLY_LINES_MAX) {
        snprintf(reason, ACTION_REASON_MAX, "a reply has at most %d lines", REPLY_LINES_MAX);
        return -EINVAL;
    }
    line = plain_line_dup(text, size, REPLY_LINE_MAX);
    if (!line)
        return -ENOMEM;
    strcpy(reply->lines[reply->n_lines++], line);
    return 0;
}
