/* SPDX-License-Identifier: MIT */

/*
 * Only signs that no mail of a person or of a monitoring system bears. `Auto-Submitted:
 * auto-generated` is none, since alerts bear it; nor is a null sender alone, which devices use, nor
 * X-Auto-Response-Suppress and `Precedence: bulk`, which ask for no answer and are none.
 */

#include "milterd/guard.h"

#include <strings.h>

#include "common/log.h"

#include "milterd/header.h"

#define ADDRESSES_MAX 4 /* of a From header that are looked at */
#define VALUE_MAX 1024  /* bytes of a Content-Type that are */

typedef enum Guard {
    GUARD_BOUNCE,
    GUARD_AUTO_REPLY,
    GUARD_OWN_FAILURE,
} Guard;

const char *const guard_names[] = {
    [GUARD_BOUNCE] = "bounce",
    [GUARD_AUTO_REPLY] = "auto-reply",
    [GUARD_OWN_FAILURE] = "own-failure",
    NULL,
};

int guards_check(ConfigFile *file, const ConfigNode *node, void *target)
{
    const ConfigStrings *guards = target;
    char path[CONFIG_NODE_PATH_MAX];

    for (size_t i = 0; i < guards->n; i++) {
        const ConfigNode *at =
            config_node_kind(node) == CONFIG_NODE_LIST ? config_node_at(node, i) : node;
        size_t known = 0;

        while (guard_names[known] && !streq(guard_names[known], guards->items[i]))
            known++;
        if (!guard_names[known])
            config_error(file, at,
                         "%s: there is no guard \"%.100s\"; there are \"bounce\", \"auto-reply\" "
                         "and \"own-failure\"",
                         config_node_path(at, path), guards->items[i]);
    }
    return 0;
}

static bool is_on(const ConfigStrings *guards, Guard guard)
{
    for (size_t i = 0; i < guards->n; i++)
        if (streq(guards->items[i], guard_names[guard]))
            return true;
    return false;
}

/* Reading headers */

typedef struct Signs {
    bool null_sender;
    bool from_daemon;       /* From or the envelope's sender is an MTA */
    bool report;            /* multipart/report (RFC 6522) */
    bool delivery_report;   /* of a delivery, or it does not say what of */
    bool disposition;       /* of what became of a mail that was delivered */
    bool failed_recipients; /* Exim's header */
    bool is_answer;         /* to a mail */
    bool subject_of_reply;
    const char *replied; /* the sign that a program answers; or NULL */
} Signs;

/* Whether the value's first word is this one. */
static bool begins_with_word(const char *value, const char *word)
{
    size_t length = strlen(word);

    value += strspn(value, " \t\r\n");
    return strncasecmp(value, word, length) == 0 &&
           (value[length] == '\0' || strchr(" \t\r\n;(", value[length]));
}

/* Whether a parameter of Content-Type has this value; *ret_there: whether it has any. */
static bool parameter_is(const char *value, const char *name, const char *wanted, bool *ret_there)
{
    _cleanup_free_ char *start = strndup(value, VALUE_MAX);
    const char *at = start;

    *ret_there = false;
    while (at && (at = strchr(at, ';'))) {
        at++;
        at += strspn(at, " \t\r\n");
        if (strncasecmp(at, name, strlen(name)) != 0)
            continue;
        at += strlen(name);
        at += strspn(at, " \t\r\n");
        if (*at != '=')
            continue;
        at++;
        at += strspn(at, " \t\r\n");
        at += *at == '"';
        *ret_there = true;
        return strncasecmp(at, wanted, strlen(wanted)) == 0 &&
               (at[strlen(wanted)] == '\0' || strchr("\"; \t\r\n", at[strlen(wanted)]));
    }
    return false;
}

static void read_type(Signs *signs, const char *value)
{
    bool says_what;

    if (!begins_with_word(value, "multipart/report"))
        return;
    signs->report = true;
    signs->disposition = parameter_is(value, "report-type", "disposition-notification", &says_what);
    signs->delivery_report =
        parameter_is(value, "report-type", "delivery-status", &says_what) || !says_what;
}

/* An address at which no person writes mail, but MTAs their reports. */
static bool is_daemon(const char *address)
{
    static const char *const names[] = { "mailer-daemon", "double-bounce" };
    size_t length = strcspn(address, "@");

    for (size_t i = 0; i < ELEMENTSOF(names); i++)
        if (length == strlen(names[i]) && strncasecmp(address, names[i], length) == 0)
            return true;
    return false;
}

static int read_from(Signs *signs, const char *value)
{
    size_t offset = 0;

    for (int i = 0; i < ADDRESSES_MAX && !signs->from_daemon; i++) {
        _cleanup_free_ char *address = NULL;
        int r = header_next_address(value, &offset, &address);

        if (r <= 0)
            return r;
        signs->from_daemon = is_daemon(address);
    }
    return 0;
}

/* Exchange marks its replies as what alerts are as well. Its subjects depend on the language. */
static bool is_subject_of_reply(const char *text)
{
    static const char *const beginnings[] = {
        "Automatic reply:",      "Out of Office:",         "Out of Office AutoReply:",
        "Automatische Antwort:", "Abwesenheitsnotiz:",     "Réponse automatique :",
        "Respuesta automática:", "Risposta automatica:",   "Automatisch antwoord:",
        "Resposta automática:",  "Odpowiedź automatyczna:"
    };

    for (size_t i = 0; i < ELEMENTSOF(beginnings); i++)
        if (strncasecmp(text, beginnings[i], strlen(beginnings[i])) == 0)
            return true;
    return false;
}

typedef struct ReplySign {
    const char *header;
    const char *word; /* the value begins with it; NULL: any value but "no" */
    const char *why;
} ReplySign;

static const ReplySign reply_signs[] = {
    { "Auto-Submitted", "auto-replied", "says Auto-Submitted: auto-replied" },
    { "X-Autoreply", NULL, "has the header X-Autoreply" },
    { "X-Autoreply-From", NULL, "has the header X-Autoreply-From" },
    { "X-Autorespond", NULL, "has the header X-Autorespond" },
    { "X-Autoresponder", NULL, "has the header X-Autoresponder" },
    { "X-Mail-Autoreply", NULL, "has the header X-Mail-Autoreply" },
    { "X-Autogenerated", "Reply", "says X-Autogenerated: Reply" },
    { "Precedence", "auto_reply", "says Precedence: auto_reply" },
    { "Precedence", "auto-reply", "says Precedence: auto-reply" },
    { "Preference", "auto_reply", "says Preference: auto_reply" },
};

static void read_reply_sign(Signs *signs, const MailHeader *header)
{
    for (size_t i = 0; i < ELEMENTSOF(reply_signs) && !signs->replied; i++) {
        const ReplySign *sign = &reply_signs[i];

        if (strcasecmp(header->name, sign->header) == 0 &&
            (sign->word ? begins_with_word(header->value, sign->word)
                        : !begins_with_word(header->value, "no")))
            signs->replied = sign->why;
    }
}

static int read_signs(Mail *mail, Signs *ret)
{
    Signs signs = {
        .null_sender = mail->envelope_from && !*mail->envelope_from,
        .from_daemon = mail->envelope_from && is_daemon(mail->envelope_from),
    };

    for (size_t i = 0; i < mail->n_headers; i++) {
        MailHeader *header = &mail->headers[i];

        if (strcasecmp(header->name, "Content-Type") == 0) {
            read_type(&signs, header->value);
        } else if (strcasecmp(header->name, "From") == 0) {
            int r = read_from(&signs, header->value);

            if (r < 0)
                return r;
        } else if (strcasecmp(header->name, "Subject") == 0) {
            const char *text = mail_header_text(header);

            if (!text)
                return -ENOMEM;
            signs.subject_of_reply = is_subject_of_reply(text);
        } else if (strcasecmp(header->name, "X-Failed-Recipients") == 0) {
            signs.failed_recipients = true;
        } else if (strcasecmp(header->name, "In-Reply-To") == 0) {
            signs.is_answer = true;
        } else {
            read_reply_sign(&signs, header);
        }
    }
    *ret = signs;
    return 0;
}

/* The guards */

static const char *find_bounce(const Signs *signs)
{
    if (signs->delivery_report && (signs->null_sender || signs->from_daemon))
        return "is a report of a delivery (multipart/report)";
    if (signs->null_sender && signs->from_daemon)
        return "comes from MAILER-DAEMON with the null sender";
    if (signs->null_sender && signs->failed_recipients)
        return "has the null sender and X-Failed-Recipients";
    return NULL;
}

static const char *find_auto_reply(const Signs *signs)
{
    /* MTAs mark their reports so as well; whether these are held back is another setting. */
    if (find_bounce(signs))
        return NULL;
    if (signs->disposition)
        return "is a receipt (multipart/report of a disposition-notification)";
    if (signs->replied)
        return signs->replied;
    if (signs->subject_of_reply && signs->is_answer)
        return "answers a mail, with the Subject of an automatic reply";
    return NULL;
}

/* Whether the text holds the phrase, in whatever way its lines are wrapped. */
static bool holds_phrase(const char *text, size_t size, const char *phrase)
{
    for (const char *at = text; (at = memchr(at, *phrase, size - (size_t)(at - text))); at++) {
        const char *end = text + size, *c = at, *p = phrase;

        while (*p && c < end) {
            if (*p == ' ' && strchr(" \t\r\n", *c) && *c) {
                while (c < end && *c && strchr(" \t\r\n", *c))
                    c++;
                p++;
            } else if (*c++ != *p++) {
                p = phrase;
                break;
            }
        }
        if (!*p)
            return true;
    }
    return false;
}

/* What a report quotes of our reply stands in its first part, or in the one for programs, in
 * either case as it came; that is looked at before any decoding. */
static int find_own_failure(const Signs *signs, Mail *mail, const char **ret_why)
{
    static const char why[] = "reports that this filter put another mail off";
    const char *text;
    bool cut;
    int r;

    *ret_why = NULL;
    if (!signs->null_sender && !signs->from_daemon && !signs->delivery_report)
        return 0;
    if (mail->body_size > 0 && holds_phrase(mail->body, mail->body_size, GUARD_OWN_REPLY)) {
        *ret_why = why;
        return 0;
    }
    r = mail_text(mail, &text, &cut);
    if (r < 0)
        return r;
    if (holds_phrase(text, strlen(text), GUARD_OWN_REPLY))
        *ret_why = why;
    return 0;
}

int guards_look(const ConfigStrings *guards, Mail *mail, MailStage stage, GuardFinding *ret_finding)
{
    const char *why = NULL;
    Guard guard = GUARD_BOUNCE;
    Signs signs;
    int r;

    if (guards->n == 0 || stage < MAIL_STAGE_HEADERS)
        return 0;
    r = read_signs(mail, &signs);
    if (r < 0)
        return r;

    if (stage == MAIL_STAGE_HEADERS) {
        if (is_on(guards, GUARD_BOUNCE))
            why = find_bounce(&signs);
        if (!why && is_on(guards, GUARD_AUTO_REPLY)) {
            why = find_auto_reply(&signs);
            guard = GUARD_AUTO_REPLY;
        }
    } else if (is_on(guards, GUARD_OWN_FAILURE)) {
        r = find_own_failure(&signs, mail, &why);
        if (r < 0)
            return r;
        guard = GUARD_OWN_FAILURE;
    }
    if (!why)
        return 0;
    *ret_finding = (GuardFinding){ guard_names[guard], why };
    return 1;
}

void guards_log(const GuardFinding *finding, Mail *mail, const char *queue_id)
{
    const char *message_id = NULL;

    for (size_t i = 0; i < mail->n_headers && !message_id; i++)
        if (strcasecmp(mail->headers[i].name, "Message-ID") == 0)
            message_id = mail_header_text(&mail->headers[i]);

    const LogField fields[] = {
        { "queue_id", queue_id },
        { "client", mail->client },
        { "message_id", message_id },
        { "guard", finding->name },
    };

    log_fields(LOG_INFO, fields, ELEMENTSOF(fields), "no alert is made of a mail that %s",
               finding->why);
}
