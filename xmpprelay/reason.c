/* SPDX-License-Identifier: MIT */

/*
 * Two tables (stream errors of RFC 6120 section 4.9.3, SASL failures of section 6.5) and the
 * order in which the notes are believed: what is nearest to the root comes first.
 */

#include "xmpprelay/reason.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/text.h"

void reason_clean(const char *text, char ret[static REASON_TEXT_MAX])
{
    _cleanup_free_ char *line = NULL;
    size_t size = text ? strnlen(text, 4 * REASON_TEXT_MAX) : 0;

    ret[0] = '\0';
    if (size == 0)
        return;
    line = text_clean_line_dup(text, size);
    if (!line)
        return;
    size = text_cut(line, strlen(line), REASON_TEXT_MAX - 1);
    memcpy(ret, line, size);
    ret[size] = '\0';
}

/* The name of the first child in "RECV: <failure xmlns=…><not-authorized/>…". */
static void note_failure(ReasonNotes *notes, const char *message)
{
    const char *start = strchr(message, '>');
    size_t length;

    start = start ? strchr(start, '<') : NULL;
    if (!start)
        return;
    start++;
    length = strspn(start, "abcdefghijklmnopqrstuvwxyz-");
    length = MIN(length, sizeof(notes->sasl) - 1);
    memcpy(notes->sasl, start, length);
    notes->sasl[length] = '\0';
}

static bool starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

void reason_note_log(ReasonNotes *notes, const char *area, const char *message)
{
    static const char failed[] = "connection failed, error ";

    if (streq(area, "tls")) {
        if (starts(message, "error:")) {
            const char *colon = strrchr(message, ':');

            reason_clean(colon + 1, notes->tls_error);
        } else if (starts(message, "SSL_CTX_load_verify_locations() failed"))
            notes->ca_file_bad = true;
    } else if (streq(area, "conn")) {
        if (starts(message, "Couldn't start TLS"))
            notes->tls_failed = true;
        else if (starts(message, "SENT: <stream:error")) /* nothing else makes it send one */
            notes->parse_error = true;
    } else if (streq(area, "auth")) {
        if (starts(message, "Cannot authenticate with known methods"))
            notes->no_mechanism = true;
    } else if (streq(area, "xmpp")) {
        if (streq(message, "connection successful"))
            notes->established = true;
        else if (starts(message, failed))
            notes->error = atoi(message + strlen(failed));
        else if (starts(message, "Connection attempt timed out"))
            notes->error = ETIMEDOUT;
        else if (starts(message, "parse error ["))
            notes->parse_error = true;
        else if (starts(message, "TLS is not supported, but set as mandatory"))
            notes->no_starttls = true;
        else if (starts(message, "RECV: <failure"))
            note_failure(notes, message);
        else if (starts(message, "Binding failed"))
            notes->bind_failed = true;
    }
}

void reason_note_certificate(ReasonNotes *notes, const char *error, const char *const *names,
                             size_t n_names)
{
    char list[REASON_TEXT_MAX] = "";
    size_t used = 0;

    reason_clean(error, notes->certificate);
    for (size_t i = 0; i < n_names && used < sizeof(list) - 1; i++) {
        int n = snprintf(list + used, sizeof(list) - used, "%s%.100s", i > 0 ? ", " : "", names[i]);

        used += n > 0 ? (size_t)n : 0;
    }
    reason_clean(list, notes->names);
}

static const struct {
    const char *condition;
    EndCause cause;
    const char *sentence;
} stream_errors[] = {
    { "conflict", END_CONFLICT, "another connection took the place of ours" },
    { "host-unknown", END_CONFIG,
      "the server does not serve this domain; check accounts.jid and accounts.host" },
    { "host-gone", END_CONFIG,
      "the server serves this domain no more; check accounts.jid and accounts.host" },
    { "improper-addressing", END_CONFIG, "the server does not accept the JID; check accounts.jid" },
    { "not-authorized", END_AUTH, "the server ended the stream as not authorized" },
    { "policy-violation", END_POISON, "the server says that we violated its policy" },
    { "bad-format", END_POISON, "the server could not process what we sent" },
    { "bad-namespace-prefix", END_POISON, "the server could not process what we sent" },
    { "invalid-from", END_POISON, "the server did not accept an address of ours" },
    { "invalid-namespace", END_POISON, "the server could not process what we sent" },
    { "invalid-xml", END_POISON, "the server could not process what we sent" },
    { "not-well-formed", END_POISON, "the server could not process what we sent" },
    { "xml-not-well-formed", END_POISON, "the server could not process what we sent" },
    { "restricted-xml", END_POISON, "the server could not process what we sent" },
    { "unsupported-encoding", END_POISON, "the server could not process what we sent" },
    { "unsupported-stanza-type", END_POISON, "the server could not process what we sent" },
    { "connection-timeout", END_NETWORK, "the server did not hear from us for too long" },
    { "system-shutdown", END_SERVER_BUSY, "the server is shutting down" },
    { "resource-constraint", END_SERVER_BUSY, "the server lacks the resources to serve us" },
    { "internal-server-error", END_SERVER_BUSY, "the server has an internal error" },
    { "remote-connection-failed", END_SERVER_BUSY, "the server can't reach what it depends on" },
    { "see-other-host", END_SERVER_BUSY,
      "the server wants us to use another host; check accounts.host" },
    { "reset", END_SERVER_BUSY, "the server wants a new stream" },
    { "unsupported-version", END_CONFIG, "the server does not speak XMPP 1.0" },
};

static const struct {
    const char *condition;
    EndCause cause;
    const char *sentence; /* before the account's JID */
    const char *remedy;
} sasl_errors[] = {
    { "not-authorized", END_AUTH, "the server refused the password of", "check" },
    { "account-disabled", END_AUTH, "the server has disabled the account", "ask its operator, or" },
    { "credentials-expired", END_AUTH, "the password has expired of", "renew" },
    { "invalid-authzid", END_AUTH, "the server refused the name of", "check accounts.jid and" },
    { "encryption-required", END_TLS, "the server wants TLS for", "set accounts.tls; see also" },
    { "temporary-auth-failure", END_SERVER_BUSY,
      "the server can't check passwords at the moment, nor that of", "if it stays so, check" },
};

static void say(char reason[static LINK_REASON_MAX], const char *format, ...) PRINTF_LIKE(2, 3);

static void say(char reason[static LINK_REASON_MAX], const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(reason, LINK_REASON_MAX, format, args);
    va_end(args);
}

static EndCause tls_reason(const ReasonNotes *notes, const Account *account, const char *domain,
                           char *reason)
{
    if (*notes->certificate) {
        const char *error = notes->certificate, *remedy;

        if (strstr(error, "hostname") || strstr(error, "mismatch"))
            remedy = "it must be for the domain of accounts.jid";
        else if (strstr(error, "expired") || strstr(error, "not yet valid"))
            remedy = "renew it on the server, or check the clocks";
        else
            remedy = *account->ca_file ? "check accounts.ca_file"
                                       : "set accounts.ca_file if a CA of your own signed it";
        say(reason, "the certificate of %.100s at %s was refused: %s%s%s%s; %s", domain,
            notes->address, error, *notes->names ? " (it is for " : "", notes->names,
            *notes->names ? ")" : "", remedy);
        return END_TLS;
    }
    if (notes->ca_file_bad) {
        say(reason, "%.200s holds no certificate that can be read; check accounts.ca_file",
            account->ca_file);
        return END_CONFIG;
    }
    if (notes->no_starttls) {
        say(reason,
            "the server of %.100s at %s offers no STARTTLS; check accounts.port, or set "
            "accounts.tls to \"direct\" if that port speaks TLS from the start",
            domain, notes->address);
        return END_TLS;
    }
    say(reason,
        "the TLS handshake with %.100s at %s failed%s%s; check accounts.tls and "
        "accounts.port",
        domain, notes->address, *notes->tls_error ? ": " : "", notes->tls_error);
    return END_TLS;
}

static EndCause stream_reason(const ReasonNotes *notes, const char *domain, char *reason)
{
    EndCause cause = END_SERVER_BUSY;
    const char *sentence = "the server ended the stream";

    for (size_t i = 0; i < ELEMENTSOF(stream_errors); i++)
        if (streq(notes->condition, stream_errors[i].condition)) {
            cause = stream_errors[i].cause;
            sentence = stream_errors[i].sentence;
        }
    /* Before we are online nothing of what we sent came from a message. */
    if (cause == END_POISON && !notes->online)
        cause = END_SERVER_BUSY;
    say(reason, "%s (%s from %.100s%s%s%s)", sentence, notes->condition, domain,
        *notes->text ? ": \"" : "", notes->text, *notes->text ? "\"" : "");
    return cause;
}

static EndCause sasl_reason(const ReasonNotes *notes, const Account *account, char *reason)
{
    const char *setting = account->credential ? "accounts.credential" : "accounts.password_file";

    for (size_t i = 0; i < ELEMENTSOF(sasl_errors); i++)
        if (streq(notes->sasl, sasl_errors[i].condition)) {
            say(reason, "%s %.200s; %s %s", sasl_errors[i].sentence, account->jid,
                sasl_errors[i].remedy, setting);
            return sasl_errors[i].cause;
        }
    say(reason, "the server refused to authenticate %.200s (%s); check accounts.jid and %s",
        account->jid, notes->sasl, setting);
    return END_AUTH;
}

void reason_of_end(const ReasonNotes *notes, const Account *account, const char *domain,
                   EndCause *ret_cause, char ret_reason[static LINK_REASON_MAX])
{
    *ret_cause = END_NETWORK;
    if (!notes->established)
        say(ret_reason, "can't connect to %.100s at %s: %s; check accounts.host and accounts.port",
            domain, notes->address, notes->error ? strerror(notes->error) : "no answer");
    else if (!notes->online &&
             (*notes->certificate || notes->ca_file_bad || notes->no_starttls || notes->tls_failed))
        *ret_cause = tls_reason(notes, account, domain, ret_reason);
    else if (!notes->online && *notes->sasl)
        *ret_cause = sasl_reason(notes, account, ret_reason);
    else if (*notes->condition)
        *ret_cause = stream_reason(notes, domain, ret_reason);
    else if (notes->no_mechanism) {
        *ret_cause = END_AUTH;
        say(ret_reason,
            "the server of %.100s offers no authentication that we know (SCRAM, "
            "DIGEST-MD5, PLAIN); see its configuration, and accounts.tls",
            domain);
    } else if (notes->bind_failed) {
        *ret_cause = END_SERVER_BUSY;
        say(ret_reason,
            "the server of %.100s let us in but bound no resource: too many "
            "connections of %.200s?",
            domain, account->jid);
    } else if (notes->parse_error)
        say(ret_reason,
            "the server of %.100s at %s sent what is no XML; check accounts.host, "
            "accounts.port and accounts.tls",
            domain, notes->address);
    else
        say(ret_reason, "the server of %.100s at %s closed the connection%s%s%s", domain,
            notes->address, notes->online ? "" : " before we were online",
            notes->error && notes->error != ECONNRESET ? ": " : "",
            notes->error && notes->error != ECONNRESET ? strerror(notes->error) : "");
}
