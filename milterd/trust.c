/* SPDX-License-Identifier: MIT */

/*
 * Built when the configuration is read, only read afterwards, by all threads at once.
 */

#include "milterd/trust.h"

#include <stdio.h>

#include "common/text.h"
#include "milterd/macro.h"
#include "milterd/pattern.h"

struct Trust {
    bool local;
    bool auth;
    Pattern *networks; /* any of them */
    size_t n_networks;
    char *text; /* all of it, as the configuration has it */
};

Trust *trust_free(Trust *trust)
{
    if (!trust)
        return NULL;
    pattern_free(trust->networks);
    free(trust->text);
    free(trust);
    return NULL;
}

static int add_to_text(Trust *trust, const char *text)
{
    char *longer;

    if (asprintf(&longer, "%s%s\"%s\"", trust->text ? trust->text : "", trust->text ? ", " : "",
                 text) < 0)
        return -ENOMEM;
    free(trust->text);
    trust->text = longer;
    return 0;
}

static int parse_one(ConfigFile *file, const ConfigNode *node, Trust *trust)
{
    const char *text = config_node_string(node);
    char path[CONFIG_NODE_PATH_MAX], reason[PATTERN_REASON_MAX];
    Pattern *network;
    int r;

    config_node_path(node, path);
    if (!text) {
        config_error(file, node, "%s: must be a string in quotes, or a list of them", path);
        return 0;
    }
    if (streq(text, "local")) {
        trust->local = true;
        return add_to_text(trust, text);
    }
    if (streq(text, "auth")) {
        trust->auth = true;
        return add_to_text(trust, text);
    }
    r = pattern_new_cidr(text, &network, reason);
    if (r == -EINVAL) {
        /* Where it begins like an address, what is wrong with that says more. */
        if (text[strspn(text, "0123456789abcdefABCDEF")] == '.' || strchr(text, ':'))
            config_error(file, node, "%s: \"%.100s\" %s", path, text, reason);
        else
            config_error(file, node,
                         "%s: \"%.100s\" is nothing to trust; allowed are \"local\", \"auth\", "
                         "addresses, and networks such as \"192.0.2.0/28\"",
                         path, text);
        return 0;
    }
    if (r < 0)
        return r;
    r = pattern_add_consume(trust->networks, network);
    if (r < 0)
        return r;
    trust->n_networks++;
    return add_to_text(trust, text);
}

int trust_parse(ConfigFile *file, const ConfigNode *node, void *target)
{
    bool list = config_node_kind(node) == CONFIG_NODE_LIST;
    size_t n = list ? config_node_length(node) : 1;
    char path[CONFIG_NODE_PATH_MAX];
    Trust *trust;
    int r;

    config_node_path(node, path);
    if (n == 0) {
        config_error(file, node,
                     "%s: is an empty list, which no mail satisfies; leave it out to take mail "
                     "from anybody",
                     path);
        return 0;
    }
    if (n > TRUST_MAX) {
        config_error(file, node, "%s: there are %zu, at most %d are allowed", path, n, TRUST_MAX);
        return 0;
    }

    trust = calloc(1, sizeof(*trust));
    if (!trust)
        return -ENOMEM;
    *(Trust **)target = trust;
    r = pattern_new_any(&trust->networks);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = parse_one(file, list ? config_node_at(node, i) : node, trust);
    return r;
}

MailStage trust_stage(const Trust *trust)
{
    return trust->auth ? MAIL_STAGE_MAIL : MAIL_STAGE_CONNECT;
}

const char *trust_next_macro(const Trust *trust, size_t *index)
{
    const char *names[2];
    size_t n = 0;

    if (trust->auth)
        names[n++] = MACRO_AUTH;
    if (trust->local)
        names[n++] = MACRO_RESOLVED;
    return *index < n ? names[(*index)++] : NULL;
}

bool trust_holds(const Trust *trust, const Mail *mail)
{
    const char *client = mail->client;
    bool gave_up;

    if (trust->local && mail->local)
        return true;
    if (trust->auth && mail_macro(mail, MACRO_AUTH))
        return true;
    return client && trust->n_networks > 0 && pattern_match(trust->networks, &client, 1, &gave_up);
}

char *trust_explain(const Trust *trust, const Mail *mail)
{
    _cleanup_free_ char *login = NULL;
    const char *name = mail_macro(mail, MACRO_AUTH);
    char *line;

    if (name) {
        login = text_clean_line_dup(name, strlen(name));
        if (!login)
            return NULL;
    }
    if (asprintf(&line, "trust: %s, %s%s, %s%s%s: %s %s",
                 mail->local ? "submitted on this host" : "not submitted on this host",
                 mail->client ? "client " : "no client", mail->client ? mail->client : "",
                 login ? "login \"" : "no login", login ? login : "", login ? "\"" : "",
                 trust_holds(trust, mail) ? "matches one of" : "matches none of", trust->text) < 0)
        return NULL;
    return line;
}
