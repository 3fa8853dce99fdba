/* SPDX-License-Identifier: MIT */

/*
 * What a handler can ask for: changes of the mail, replies, alerts, lines of log. It is checked,
 * copied into the wishes of the call, and done by others later.
 */

#include "milterd/vm-internal.h"

#include <limits.h>
#include <strings.h>

#include "common/log.h"

#define LOG_TEXT_MAX 400 /* bytes */
/* What is longer is cut to far less in the end; but it would be searched for secrets first. */
#define ALERT_TEXT_MAX 262144
#define ALERT_LINE_MAX 16384 /* of a title, a key, a field */

static const char reply_type[] = "milterd.reply";

/* Changes */

static ScriptWishes *wishes_at_end(lua_State *state, ActionType type)
{
    const ScriptView *view = vm_view(state);

    if (view->event != SCRIPT_MESSAGE)
        luaL_error(state, "m:%s() is possible in message() only, not in %s()", action_names[type],
                   script_event_names[view->event]);
    if (!(view->offered >> type & 1))
        luaL_error(state, "m:%s() is nothing that the MTA offers", action_names[type]);
    return vm_of(state)->wishes;
}

/* Copies are none of the state's memory, but must not be more than it. */
static void count_wish(lua_State *state, const Action *action)
{
    bool whole = action->type == ACTION_REPLACE_BODY;
    Vm *vm = vm_of(state);

    vm->wished += whole ? action->size : MIN(action->size, (size_t)ACTION_VALUE_MAX);
    if (vm->wished > vm->limits.memory)
        luaL_error(state, "m:%s(): all changes need more than the %d KB of memory that it may have",
                   action_names[action->type], (int)(vm->limits.memory / 1024));
}

static int add(lua_State *state, const Action *action)
{
    ScriptWishes *wishes = wishes_at_end(state, action->type);
    char reason[ACTION_REASON_MAX];
    int r;

    count_wish(state, action);
    r = actions_add(&wishes->actions, action, reason);
    if (r == -EINVAL)
        return luaL_error(state, "m:%s(): %s", action_names[action->type], reason);
    vm_check(state, r);
    return 0;
}

/* Names and addresses end at a NUL in C, so there must be none in them. */
static char *check_name(lua_State *state, int index)
{
    size_t size;
    const char *text = luaL_checklstring(state, index, &size);

    luaL_argcheck(state, strlen(text) == size, index, "there is a NUL in it");
    return (char *)text;
}

static char *check_value(lua_State *state, int index, size_t *ret_size)
{
    return (char *)luaL_checklstring(state, index, ret_size);
}

static int check_index(lua_State *state, int index, int fallback)
{
    lua_Integer n = luaL_optinteger(state, index, fallback);

    luaL_argcheck(state, n >= 0 && n <= ACTION_INDEX_MAX, index, "out of bounds");
    return (int)n;
}

static int add_header(lua_State *state)
{
    Action action = { .type = ACTION_ADD_HEADER, .name = check_name(state, 2) };

    action.value = check_value(state, 3, &action.size);
    return add(state, &action);
}

static int insert_header(lua_State *state)
{
    Action action = { .type = ACTION_INSERT_HEADER };

    luaL_checkinteger(state, 2);
    action.index = check_index(state, 2, 0);
    action.name = check_name(state, 3);
    action.value = check_value(state, 4, &action.size);
    return add(state, &action);
}

static int change_header(lua_State *state)
{
    Action action = { .type = ACTION_CHANGE_HEADER, .name = check_name(state, 2) };

    action.value = check_value(state, 3, &action.size);
    action.index = check_index(state, 4, 1);
    return add(state, &action);
}

/* One of this name, or all. */
static int delete_header(lua_State *state)
{
    Action action = { .type = ACTION_DELETE_HEADER, .name = check_name(state, 2) };
    const Mail *mail = vm_view(state)->mail;

    if (!lua_isnoneornil(state, 3)) {
        action.index = check_index(state, 3, 1);
        return add(state, &action);
    }
    wishes_at_end(state, action.type);
    for (size_t i = 0; i < mail->n_headers; i++)
        if (strcasecmp(mail->headers[i].name, action.name) == 0) {
            action.index++;
            add(state, &action);
        }
    return 0;
}

static int add_with_address(lua_State *state, ActionType type)
{
    Action action = { .type = type, .name = check_name(state, 2) };

    if (type != ACTION_DELETE_RCPT && !lua_isnoneornil(state, 3)) {
        action.value = check_name(state, 3);
        action.size = strlen(action.value);
    }
    return add(state, &action);
}

static int change_from(lua_State *state)
{
    return add_with_address(state, ACTION_CHANGE_FROM);
}

static int add_rcpt(lua_State *state)
{
    return add_with_address(state, ACTION_ADD_RCPT);
}

static int delete_rcpt(lua_State *state)
{
    return add_with_address(state, ACTION_DELETE_RCPT);
}

static int replace_body(lua_State *state)
{
    Action action = { .type = ACTION_REPLACE_BODY };

    action.value = check_value(state, 2, &action.size);
    vm_charge(state, action.size);
    return add(state, &action);
}

static int quarantine(lua_State *state)
{
    Action action = { .type = ACTION_QUARANTINE };

    action.value = check_value(state, 2, &action.size);
    return add(state, &action);
}

/* Replies */

static int make_reply(lua_State *state)
{
    int n = lua_gettop(state);
    const char *code = luaL_checkstring(state, 2), *status = luaL_optstring(state, 3, NULL);
    char reason[ACTION_REASON_MAX];
    Reply *reply;
    int r;

    reply = lua_newuserdatauv(state, sizeof(*reply), 0);
    luaL_setmetatable(state, reply_type);
    r = reply_begin(reply, code, status, reason);
    if (r == 0 && n < 4)
        return luaL_error(state, "m:reply(): there is no text");
    for (int i = 4; r == 0 && i <= n; i++) {
        size_t size;
        const char *text = luaL_checklstring(state, i, &size);

        r = reply_add_line(reply, text, size, reason);
    }
    if (r == -EINVAL)
        return luaL_error(state, "m:reply(): %s", reason);
    vm_check(state, r);
    return 1;
}

const Reply *vm_to_reply(lua_State *state, int index)
{
    return luaL_testudata(state, index, reply_type);
}

/* Alerts */

/* The string or number on top of the stack, cut to some size. */
static const char *cut_string(lua_State *state, size_t max)
{
    size_t size;
    const char *text = lua_tolstring(state, -1, &size);

    if (size <= max)
        return text;
    text = lua_pushlstring(state, text, max);
    lua_replace(state, -2);
    return text;
}

/* A member of the table, as a string; NULL: none. It is on top of the stack. */
static const char *get_string(lua_State *state, const char *key, size_t max)
{
    int type = lua_getfield(state, 2, key);

    if (type == LUA_TNIL)
        return NULL;
    if (type != LUA_TSTRING && type != LUA_TNUMBER)
        luaL_error(state, "m:alert(): \"%s\" must be a string", key);
    return cut_string(state, max);
}

static void take_string(lua_State *state, const char *key, size_t max, char **member)
{
    const char *value = get_string(state, key, max);

    vm_check(state, record_set(member, value));
    lua_pop(state, 1);
}

static void check_keys(lua_State *state)
{
    static const char *const known[] = {
        "to", "title", "text", "severity", "state", "key", "fields", NULL,
    };

    lua_pushnil(state);
    while (lua_next(state, 2)) {
        const char *name = lua_type(state, -2) == LUA_TSTRING ? lua_tostring(state, -2) : "";
        size_t i = 0;

        while (known[i] && !streq(name, known[i]))
            i++;
        if (!known[i])
            luaL_error(state,
                       "m:alert(): there is no \"%s\"; known are to, title, text, severity, "
                       "state, key and fields",
                       name);
        lua_pop(state, 1);
    }
}

static void take_destination(lua_State *state, Record *record)
{
    const char *name = lua_type(state, -1) == LUA_TSTRING ? lua_tostring(state, -1) : "";

    if (!*name || strlen(name) > 64)
        luaL_error(state, "m:alert(): \"to\" must be the name of a destination, or a list of them");
    if (record->n_to >= RECORD_TO_MAX)
        luaL_error(state, "m:alert(): \"to\" has more than %d names", RECORD_TO_MAX);
    vm_check(state, record_add_to(record, name));
    lua_pop(state, 1);
}

static void take_destinations(lua_State *state, Record *record)
{
    int type = lua_getfield(state, 2, "to");

    if (type == LUA_TNIL) {
        lua_pop(state, 1);
        return;
    }
    if (type != LUA_TTABLE) {
        take_destination(state, record);
        return;
    }
    for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(state, -1); i++) {
        lua_rawgeti(state, -1, i);
        take_destination(state, record);
    }
    lua_pop(state, 1);
}

static void take_words(lua_State *state, Record *record)
{
    const char *word = get_string(state, "severity", ALERT_LINE_MAX);

    if (word && severity_from_name(word, &record->severity) < 0)
        luaL_error(state, "m:alert(): \"severity\" must be ok, info, warning or critical");
    lua_pop(state, 1);
    word = get_string(state, "state", ALERT_LINE_MAX);
    if (word && alert_state_from_name(word, &record->state) < 0)
        luaL_error(state, "m:alert(): \"state\" must be problem, recovery or event");
    lua_pop(state, 1);
}

static bool is_field_name(const char *name)
{
    size_t length = strlen(name);

    return length > 0 && length <= 32 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == length;
}

static void take_fields(lua_State *state, Record *record)
{
    int type = lua_getfield(state, 2, "fields");

    if (type != LUA_TNIL && type != LUA_TTABLE)
        luaL_error(state, "m:alert(): \"fields\" must be a table");
    if (type == LUA_TTABLE)
        lua_pushnil(state);
    while (type == LUA_TTABLE && lua_next(state, -2)) {
        const char *name = lua_type(state, -2) == LUA_TSTRING ? lua_tostring(state, -2) : "";
        int value = lua_type(state, -1);

        if (!is_field_name(name) || (value != LUA_TSTRING && value != LUA_TNUMBER))
            luaL_error(state, "m:alert(): \"fields\" has names of a-z, 0-9 and _, and strings");
        if (record->n_fields >= 24)
            luaL_error(state, "m:alert(): \"fields\" has more than 24 names");
        vm_check(state, record_add_field(record, name, cut_string(state, ALERT_LINE_MAX)));
        lua_pop(state, 1);
    }
    lua_pop(state, 1);
}

static int make_alert(lua_State *state)
{
    const ScriptView *view = vm_view(state);
    Vm *vm = vm_of(state);
    ScriptAlerts *alerts = &vm->wishes->alerts;

    luaL_checktype(state, 2, LUA_TTABLE);
    /* It could make an alert while this one is made. */
    if (lua_getmetatable(state, 2))
        return luaL_argerror(state, 2, "a table without a metatable is wanted");
    if (view->event < SCRIPT_MAIL || view->event > SCRIPT_MESSAGE)
        return luaL_error(state, "m:alert() is possible from mail() to message(), not in %s()",
                          script_event_names[view->event]);
    if (alerts->n >= SCRIPT_ALERTS_MAX)
        return luaL_error(state, "of one mail scripts make at most %d alerts", SCRIPT_ALERTS_MAX);
    check_keys(state);
    /* One that was refused, and the script has caught the error. */
    record_free(vm->record);
    vm->record = record_new();
    if (!vm->record)
        return luaL_error(state, "out of memory");
    take_string(state, "title", ALERT_LINE_MAX, &vm->record->title);
    take_string(state, "text", ALERT_TEXT_MAX, &vm->record->text);
    take_string(state, "key", ALERT_LINE_MAX, &vm->record->key);
    take_words(state, vm->record);
    take_fields(state, vm->record);
    take_destinations(state, vm->record);
    if (!vm->record->title && !vm->record->text)
        return luaL_error(state, "m:alert(): neither \"title\" nor \"text\" is there");
    alerts->items[alerts->n++] = (ScriptAlert){ vm->name, steal_ptr(vm->record) };
    return 0;
}

/* The log */

static int write_log(lua_State *state)
{
    const ScriptView *view = vm_view(state);
    Vm *vm = vm_of(state);
    const char *text = luaL_checkstring(state, 2);
    const LogField fields[] = {
        { "script", vm->name },
        { "event", script_event_names[view->event] },
        { "queue_id", view->macro ? view->macro(view->userdata, "i") : view->mail->queue_id },
    };

    if (vm->n_lines++ < VM_LOG_LINES_MAX)
        log_fields(LOG_INFO, fields, ELEMENTSOF(fields), "script: %.*s",
                   (int)strnlen(text, LOG_TEXT_MAX), text);
    return 0;
}

void vm_add_action_methods(lua_State *state)
{
    static const luaL_Reg methods[] = {
        { "add_header", add_header },
        { "add_rcpt", add_rcpt },
        { "alert", make_alert },
        { "change_from", change_from },
        { "change_header", change_header },
        { "delete_header", delete_header },
        { "delete_rcpt", delete_rcpt },
        { "insert_header", insert_header },
        { "log", write_log },
        { "quarantine", quarantine },
        { "replace_body", replace_body },
        { "reply", make_reply },
        {},
    };

    luaL_setfuncs(state, methods, 0);
    vm_new_type(state, reply_type);
    lua_pop(state, 1);
}
