/* SPDX-License-Identifier: MIT */

/*
 * Which macros there are is the MTA's affair, and an operator may define more; so any name will
 * do. Those that Postfix and Sendmail both know early are in a table, and the rest waits for the
 * end of the message, when all has been told that will be.
 */

#include "milterd/macro.h"

#include <assert.h>
#include <stdio.h>

static const char *const of_connection[] = {
    "_",
    "j",
    "v",
    "{client_addr}",
    "{client_name}",
    "{client_port}",
    "{client_ptr}",
    MACRO_RESOLVED,
    "{daemon_addr}",
    "{daemon_name}",
    "{daemon_port}",
    "{if_addr}",
    "{if_name}",
};

/* TLS begins between the connection and the mail, and so does a login. */
static const char *const of_mail[] = {
    MACRO_AUTH,       "{auth_author}", "{auth_ssf}",    "{auth_type}",   "{cert_issuer}",
    "{cert_subject}", "{cipher}",      "{cipher_bits}", "{cn_issuer}",   "{cn_subject}",
    "{mail_addr}",    "{mail_host}",   "{mail_mailer}", "{tls_version}", "{verify}",
};

/* Read out of the envelope and the headers. */
static const char *const claimed[] = {
    "{mail_addr}", "{mail_host}", "{mail_mailer}", "{msg_id}",
    "{rcpt_addr}", "{rcpt_host}", "{rcpt_mailer}",
};

int macro_name_read(const char *text, char ret[static MACRO_NAME_SIZE])
{
    size_t length = strlen(text);
    bool braces = length > 2 && text[0] == '{' && text[length - 1] == '}';

    if (braces) {
        text++;
        length -= 2;
    }
    if (length < 1 || length > MACRO_NAME_MAX ||
        strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") != length)
        return -EINVAL;
    snprintf(ret, MACRO_NAME_SIZE, length == 1 ? "%.*s" : "{%.*s}", (int)length, text);
    return 0;
}

static bool is_one_of(const char *name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (streq(name, names[i]))
            return true;
    return false;
}

MailStage macro_stage(const char *name)
{
    if (is_one_of(name, of_connection, ELEMENTSOF(of_connection)))
        return MAIL_STAGE_CONNECT;
    if (is_one_of(name, of_mail, ELEMENTSOF(of_mail)))
        return MAIL_STAGE_MAIL;
    return MAIL_STAGE_MESSAGE;
}

bool macro_is_claimed(const char *name)
{
    return is_one_of(name, claimed, ELEMENTSOF(claimed));
}

static void add_to_list(char list[static MACRO_LIST_SIZE], const char *name)
{
    size_t size = strlen(list);

    snprintf(list + size, MACRO_LIST_SIZE - size, "%s%s", size > 0 ? " " : "", name);
}

/* What a step tells replaces what it told for the mail before, but a step for which the MTA has
 * none of the macros to tell leaves that in effect. So where any is asked for, one is as well
 * that is always there. */
static void ask(char list[static MACRO_LIST_SIZE], const char *present, const char *name)
{
    if (list[0] == '\0')
        add_to_list(list, present);
    if (!streq(name, present))
        add_to_list(list, name);
}

void macro_needs_begin(MacroNeeds *needs, const char *always)
{
    *needs = (MacroNeeds){};
    add_to_list(needs->at_message, always);
}

void macro_needs_add(MacroNeeds *needs, const char *name)
{
    MailStage stage = macro_stage(name);

    assert(needs->n < MAIL_MACROS_MAX);
    needs->names[needs->n++] = name;
    /* What is final only at the end may be told at any step before; what is told of the connection
     * and at MAIL is in effect until then. */
    if (stage != MAIL_STAGE_MAIL)
        ask(needs->at_connect, "j", name);
    if (stage != MAIL_STAGE_CONNECT)
        ask(needs->at_mail, "{mail_addr}", name);
    if (stage == MAIL_STAGE_MESSAGE && !streq(name, needs->at_message))
        add_to_list(needs->at_message, name);
}

bool macro_needs_have(const MacroNeeds *needs, const char *name)
{
    return is_one_of(name, needs->names, needs->n);
}
