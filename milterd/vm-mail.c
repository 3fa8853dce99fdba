/* SPDX-License-Identifier: MIT */

/*
 * What a handler sees: the object m. Each member is made when it is asked for, of the mail as it
 * is then; nothing that scripts hold refers to the mail.
 */

#include "milterd/vm-internal.h"

#include <strings.h>

#include "milterd/macro.h"

static const char mail_type[] = "milterd.mail";
static const char headers_type[] = "milterd.headers";
static const char macros_type[] = "milterd.macros";

/* Keys of the registry, by their addresses. */
static char the_mail, the_headers, the_macros, connection_state, message_state;

static void push_text(lua_State *state, const char *text)
{
    if (text)
        lua_pushstring(state, text);
    else
        lua_pushnil(state);
}

static void push_list(lua_State *state, char *const *items, size_t n)
{
    lua_createtable(state, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        lua_pushstring(state, items[i]);
        lua_rawseti(state, -2, (lua_Integer)i + 1);
    }
}

/* Headers */

static const char *header_text(lua_State *state, MailHeader *header)
{
    const char *text = mail_header_text(header);

    if (!text)
        luaL_error(state, "out of memory");
    return text;
}

/* The number `n` of those of this name, from 1. */
static MailHeader *find_header(Mail *mail, const char *name, lua_Integer n)
{
    for (size_t i = 0; i < mail->n_headers; i++)
        if (strcasecmp(mail->headers[i].name, name) == 0 && --n == 0)
            return &mail->headers[i];
    return NULL;
}

/* m.headers[3], m.headers.subject */
static int index_headers(lua_State *state)
{
    Mail *mail = vm_view(state)->mail;
    MailHeader *header;

    luaL_checkudata(state, 1, headers_type);
    if (lua_type(state, 2) == LUA_TSTRING) {
        header = find_header(mail, lua_tostring(state, 2), 1);
        push_text(state, header ? header_text(state, header) : NULL);
        return 1;
    }
    if (!lua_isinteger(state, 2) || lua_tointeger(state, 2) < 1 ||
        (lua_Unsigned)lua_tointeger(state, 2) > mail->n_headers) {
        lua_pushnil(state);
        return 1;
    }
    header = &mail->headers[lua_tointeger(state, 2) - 1];
    lua_createtable(state, 0, 3);
    lua_pushstring(state, header->name);
    lua_setfield(state, -2, "name");
    lua_pushstring(state, header_text(state, header));
    lua_setfield(state, -2, "text");
    lua_pushstring(state, header->value);
    lua_setfield(state, -2, "value");
    return 1;
}

static int count_headers(lua_State *state)
{
    lua_pushinteger(state, (lua_Integer)vm_view(state)->mail->n_headers);
    return 1;
}

/* m:header(name [, n]): text and value, or nothing. */
static int get_header(lua_State *state)
{
    Mail *mail = vm_view(state)->mail;
    const char *name = luaL_checkstring(state, 2);
    lua_Integer n = luaL_optinteger(state, 3, 1);
    MailHeader *header;

    luaL_argcheck(state, n > 0, 3, "headers are counted from 1");
    header = find_header(mail, name, n);
    if (!header) {
        lua_pushnil(state);
        return 1;
    }
    lua_pushstring(state, header_text(state, header));
    lua_pushstring(state, header->value);
    return 2;
}

/* Macros */

static const char *macro_value(const ScriptView *view, const char *name)
{
    const char *value = view->macro ? view->macro(view->userdata, name) : NULL;

    return value ? value : mail_macro(view->mail, name);
}

static int index_macros(lua_State *state)
{
    const ScriptView *view = vm_view(state);
    const char *text = luaL_checkstring(state, 2);
    char name[MACRO_NAME_SIZE];

    if (macro_name_read(text, name) < 0)
        return luaL_error(state, "\"%s\" is no name of a macro", text);
    push_text(state, macro_value(view, name));
    return 1;
}

/* The mail */

static void push_text_of_mail(lua_State *state, Mail *mail)
{
    const char *text;
    bool cut;

    vm_check(state, mail_text(mail, &text, &cut));
    vm_charge(state, strlen(text));
    lua_pushstring(state, text);
}

static void push_arguments(lua_State *state, char *const *arguments)
{
    size_t n = 0;

    while (arguments && arguments[n])
        n++;
    push_list(state, arguments, n);
}

typedef enum Member {
    MEMBER_BODY,
    MEMBER_BODY_SIZE,
    MEMBER_CLIENT,
    MEMBER_CLIENT_NAME,
    MEMBER_CONNECTION,
    MEMBER_DATA,
    MEMBER_ENVELOPE_FROM,
    MEMBER_EVENT,
    MEMBER_HEADERS,
    MEMBER_HELO,
    MEMBER_IS_LOCAL,
    MEMBER_MACROS,
    MEMBER_MAIL_ARGS,
    MEMBER_QUEUE_ID,
    MEMBER_RCPTS,
    MEMBER_TEXT,
    MEMBER_TIME,
    MEMBER_TRUNCATED,
    _MEMBER_MAX,
} Member;

static const char *const members[] = {
    [MEMBER_BODY] = "body",
    [MEMBER_BODY_SIZE] = "body_size",
    [MEMBER_CLIENT] = "client",
    [MEMBER_CLIENT_NAME] = "client_name",
    [MEMBER_CONNECTION] = "connection",
    [MEMBER_DATA] = "data",
    [MEMBER_ENVELOPE_FROM] = "envelope_from",
    [MEMBER_EVENT] = "event",
    [MEMBER_HEADERS] = "headers",
    [MEMBER_HELO] = "helo",
    [MEMBER_IS_LOCAL] = "is_local",
    [MEMBER_MACROS] = "macros",
    [MEMBER_MAIL_ARGS] = "mail_args",
    [MEMBER_QUEUE_ID] = "queue_id",
    [MEMBER_RCPTS] = "rcpts",
    [MEMBER_TEXT] = "text",
    [MEMBER_TIME] = "time",
    [MEMBER_TRUNCATED] = "truncated",
};

static void push_member(lua_State *state, Member member)
{
    const ScriptView *view = vm_view(state);
    Mail *mail = view->mail;
    const char *queue_id;

    switch (member) {
    case MEMBER_BODY:
        vm_charge(state, mail->body_size);
        lua_pushlstring(state, mail->body_size > 0 ? mail->body : "", mail->body_size);
        return;
    case MEMBER_BODY_SIZE:
        lua_pushinteger(state, (lua_Integer)mail->body_total);
        return;
    case MEMBER_CLIENT:
        push_text(state, mail->client);
        return;
    case MEMBER_CLIENT_NAME:
        push_text(state, mail->client_name);
        return;
    case MEMBER_CONNECTION:
        lua_rawgetp(state, LUA_REGISTRYINDEX, &connection_state);
        return;
    case MEMBER_DATA:
        lua_rawgetp(state, LUA_REGISTRYINDEX, &message_state);
        return;
    case MEMBER_ENVELOPE_FROM:
        push_text(state, mail->envelope_from);
        return;
    case MEMBER_EVENT:
        push_text(state, script_event_names[view->event]);
        return;
    case MEMBER_HEADERS:
        lua_rawgetp(state, LUA_REGISTRYINDEX, &the_headers);
        return;
    case MEMBER_HELO:
        push_text(state, mail->helo);
        return;
    case MEMBER_IS_LOCAL:
        lua_pushboolean(state, mail->local);
        return;
    case MEMBER_MACROS:
        lua_rawgetp(state, LUA_REGISTRYINDEX, &the_macros);
        return;
    case MEMBER_MAIL_ARGS:
        push_arguments(state, view->mail_arguments);
        return;
    case MEMBER_QUEUE_ID:
        queue_id = macro_value(view, "i");
        push_text(state, queue_id ? queue_id : mail->queue_id);
        return;
    case MEMBER_RCPTS:
        push_list(state, mail->rcpts, mail->n_rcpts);
        return;
    case MEMBER_TEXT:
        push_text_of_mail(state, mail);
        return;
    case MEMBER_TIME:
        lua_pushnumber(state, (lua_Number)now_usec(CLOCK_REALTIME) / (lua_Number)USEC_PER_SEC);
        return;
    case MEMBER_TRUNCATED:
        lua_pushboolean(state, mail->truncated);
        return;
    case _MEMBER_MAX:
        break;
    }
}

/* Upvalues: the methods, and the members' numbers by their names. */
static int index_mail(lua_State *state)
{
    luaL_checkudata(state, 1, mail_type);
    lua_pushvalue(state, 2);
    if (lua_rawget(state, lua_upvalueindex(1)) != LUA_TNIL)
        return 1;
    lua_pushvalue(state, 2);
    if (lua_rawget(state, lua_upvalueindex(2)) == LUA_TNIL)
        return luaL_error(state, "there is no m.%s", luaL_tolstring(state, 2, NULL));
    push_member(state, (Member)lua_tointeger(state, -1));
    return 1;
}

static int refuse_setting(lua_State *state)
{
    return luaL_error(state, "this can't be set; m.data and m.connection are for what a script "
                             "wants to keep");
}

static void push_new(lua_State *state, const char *type, const void *key)
{
    lua_newuserdatauv(state, 0, 0);
    luaL_setmetatable(state, type);
    lua_rawsetp(state, LUA_REGISTRYINDEX, key);
}

static void open_type(lua_State *state, const char *type, lua_CFunction index, int n_upvalues)
{
    lua_pushcclosure(state, index, n_upvalues);
    vm_new_type(state, type);
    lua_insert(state, -2);
    lua_setfield(state, -2, "__index");
    lua_pushcfunction(state, refuse_setting);
    lua_setfield(state, -2, "__newindex");
}

void vm_open_mail(lua_State *state)
{
    lua_newtable(state);
    lua_pushcfunction(state, get_header);
    lua_setfield(state, -2, "header");
    vm_add_action_methods(state);
    lua_createtable(state, 0, _MEMBER_MAX);
    for (int i = 0; i < _MEMBER_MAX; i++) {
        lua_pushinteger(state, i);
        lua_setfield(state, -2, members[i]);
    }
    open_type(state, mail_type, index_mail, 2);
    lua_pop(state, 1);
    push_new(state, mail_type, &the_mail);

    open_type(state, headers_type, index_headers, 0);
    lua_pushcfunction(state, count_headers);
    lua_setfield(state, -2, "__len");
    lua_pop(state, 1);
    push_new(state, headers_type, &the_headers);

    open_type(state, macros_type, index_macros, 0);
    lua_pop(state, 1);
    push_new(state, macros_type, &the_macros);

    lua_newtable(state);
    lua_rawsetp(state, LUA_REGISTRYINDEX, &connection_state);
    vm_reset_message(state);
}

void vm_push_mail(lua_State *state)
{
    lua_rawgetp(state, LUA_REGISTRYINDEX, &the_mail);
}

void vm_reset_message(lua_State *state)
{
    lua_newtable(state);
    lua_rawsetp(state, LUA_REGISTRYINDEX, &message_state);
}
