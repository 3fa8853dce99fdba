/* SPDX-License-Identifier: MIT */

/*
 * A mail as it comes in, piece by piece. Each piece is copied; what exceeds a bound is left out,
 * never refused, so that the size of a mail decides over our memory only up to the bounds.
 *
 * A header is kept as it came, since most are never looked at; mail_header_text() decodes one
 * when a rule or the alert asks for it, once. So does mail_text() with the body.
 */

#include "milterd/mail.h"

#include <arpa/inet.h>
#include <strings.h>

#include "milterd/header.h"
#include "milterd/mime.h"

static void mail_header_done(MailHeader *header)
{
    free(header->name);
    free(header->value);
    free(header->text);
}

/* Those of the stages from `first` on. */
static void drop_macros(Mail *mail, MailStage first)
{
    size_t kept = 0;

    for (size_t i = 0; i < mail->n_macros; i++) {
        if (mail->macros[i].stage < first) {
            mail->macros[kept++] = mail->macros[i];
            continue;
        }
        free(mail->macros[i].name);
        free(mail->macros[i].value);
    }
    mail->n_macros = kept;
}

void mail_reset(Mail *mail)
{
    for (size_t i = 0; i < mail->n_rcpts; i++)
        free(mail->rcpts[i]);
    for (size_t i = 0; i < mail->n_headers; i++)
        mail_header_done(&mail->headers[i]);
    free(mail->rcpts);
    free(mail->headers);
    free(mail->queue_id);
    free(mail->envelope_from);
    free(mail->body);
    free(mail->text);
    drop_macros(mail, MAIL_STAGE_MAIL);

    *mail = (Mail){
        .submitted = mail->submitted,
        .local = mail->local,
        .client = mail->client,
        .client_name = mail->client_name,
        .helo = mail->helo,
        .macros = mail->macros,
        .n_macros = mail->n_macros,
    };
}

void mail_done(Mail *mail)
{
    mail_reset(mail);
    drop_macros(mail, MAIL_STAGE_CONNECT);
    free(mail->macros);
    free(mail->client);
    free(mail->client_name);
    free(mail->helo);
    *mail = (Mail){};
}

static int replace(char **member, const char *value)
{
    char *copy = NULL;

    if (value) {
        copy = strdup(value);
        if (!copy)
            return -ENOMEM;
    }
    free(*member);
    *member = copy;
    return 0;
}

/* The usual form of a numeric address, so that the same client is always the same text. */
static const char *normal_address(const char *address, char buffer[static INET6_ADDRSTRLEN])
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    char bare[INET6_ADDRSTRLEN];
    uint8_t bytes[sizeof(struct in6_addr)];
    size_t length;

    if (strncasecmp(address, "IPv6:", 5) == 0)
        address += 5;
    length = strcspn(address, "%");
    if (length >= sizeof(bare))
        return address;
    memcpy(bare, address, length);
    bare[length] = '\0';

    if (inet_pton(AF_INET, bare, bytes) == 1)
        return inet_ntop(AF_INET, bytes, buffer, INET6_ADDRSTRLEN);
    if (inet_pton(AF_INET6, bare, bytes) != 1)
        return address;
    if (memcmp(bytes, mapped, sizeof(mapped)) == 0)
        return inet_ntop(AF_INET, bytes + sizeof(mapped), buffer, INET6_ADDRSTRLEN);
    return inet_ntop(AF_INET6, bytes, buffer, INET6_ADDRSTRLEN);
}

int mail_set_client(Mail *mail, const char *address, const char *name)
{
    char buffer[INET6_ADDRSTRLEN];
    int r;

    r = replace(&mail->client, address ? normal_address(address, buffer) : NULL);
    if (r < 0)
        return r;
    return replace(&mail->client_name, name);
}

int mail_set_helo(Mail *mail, const char *name)
{
    return replace(&mail->helo, name);
}

int mail_set_queue_id(Mail *mail, const char *queue_id)
{
    return replace(&mail->queue_id, queue_id);
}

/* The address without its angle brackets, on the heap. */
static char *bare_address_dup(const char *address)
{
    size_t length = strlen(address);

    if (length >= 2 && address[0] == '<' && address[length - 1] == '>')
        return strndup(address + 1, length - 2);
    return strndup(address, length);
}

int mail_set_envelope_from(Mail *mail, const char *address)
{
    char *bare = bare_address_dup(address);

    if (!bare)
        return -ENOMEM;
    free(mail->envelope_from);
    mail->envelope_from = bare;
    return 0;
}

/* Makes room for one more element in an array that doubles: full at each power of two. */
static void *grow(void *items, size_t n, size_t size)
{
    if (n > 0 && (n & (n - 1)) != 0)
        return items;
    return reallocarray(items, n ? n * 2 : 1, size);
}

int mail_add_rcpt(Mail *mail, const char *address)
{
    _cleanup_free_ char *bare = NULL;
    size_t size = strlen(address);
    char **rcpts;

    if (mail->n_rcpts >= MAIL_RCPTS_MAX || size > MAIL_RCPTS_MAX_BYTES - mail->rcpts_bytes) {
        mail->truncated = true;
        return 0;
    }

    bare = bare_address_dup(address);
    rcpts = grow(mail->rcpts, mail->n_rcpts, sizeof(*rcpts));
    if (rcpts)
        mail->rcpts = rcpts;
    if (!bare || !rcpts)
        return -ENOMEM;

    mail->rcpts[mail->n_rcpts++] = steal_ptr(bare);
    mail->rcpts_bytes += size;
    return 0;
}

/* It was made of less than there is now. */
static void forget_text(Mail *mail)
{
    free(mail->text);
    mail->text = NULL;
}

/* A bit for each header that an alert is made of, 0 for others. */
static unsigned vital_header(const char *name)
{
    static const char *const names[] = {
        "Content-Disposition",
        "Content-Transfer-Encoding",
        "Content-Type",
        "Date",
        "From",
        "Message-ID",
        "Subject",
    };

    for (unsigned i = 0; i < ELEMENTSOF(names); i++)
        if (strcasecmp(name, names[i]) == 0)
            return 1U << i;
    return 0;
}

/* Headers that come before it have the text's charset, too. */
static void tell_charset(Mail *mail, const char *type)
{
    char charset[HEADER_CHARSET_MAX + 1];

    header_charset(type, charset);
    if (*charset)
        for (size_t i = 0; i < mail->n_headers; i++)
            if (!mail->headers[i].text)
                strcpy(mail->headers[i].charset, charset);
}

int mail_add_header(Mail *mail, const char *name, const char *value)
{
    size_t size = strlen(name) + strlen(value);
    bool full = mail->n_headers >= MAIL_HEADERS_MAX ||
                size > MAIL_HEADERS_MAX_BYTES - MIN(mail->headers_bytes, MAIL_HEADERS_MAX_BYTES);
    unsigned vital = vital_header(name);
    MailHeader header = {}, *headers;

    if (full) {
        mail->truncated = true;
        if ((vital & ~mail->vital_headers) == 0)
            return 0;
    }

    headers = grow(mail->headers, mail->n_headers, sizeof(*headers));
    if (!headers)
        return -ENOMEM;
    mail->headers = headers;

    header.name = strdup(name);
    header.value = full ? strndup(value, MAIL_HEADER_KEPT) : strdup(value);
    if (!header.name || !header.value) {
        mail_header_done(&header);
        return -ENOMEM;
    }
    strcpy(header.charset, mail->n_headers > 0 ? mail->headers[0].charset : "");
    mail->headers[mail->n_headers++] = header;
    if (strcasecmp(name, "Content-Type") == 0 && *header.charset == '\0')
        tell_charset(mail, value);
    mail->vital_headers |= vital;
    mail->headers_bytes += strlen(header.name) + strlen(header.value);
    forget_text(mail);
    return 0;
}

int mail_add_body(Mail *mail, const void *chunk, size_t size, size_t max_body)
{
    size_t room = max_body - MIN(mail->body_size, max_body);
    size_t kept = MIN(size, room);

    if (kept > mail->body_allocated - mail->body_size) {
        size_t wanted = MAX(mail->body_size + kept, MIN(mail->body_allocated * 2, max_body));
        char *body = realloc(mail->body, wanted);

        if (!body)
            return -ENOMEM;
        mail->body = body;
        mail->body_allocated = wanted;
    }
    if (kept > 0)
        memcpy(mail->body + mail->body_size, chunk, kept);
    mail->body_size += kept;
    forget_text(mail);
    mail->body_total += size;
    if (kept < size)
        mail->truncated = true;
    return 0;
}

const char *mail_header(const Mail *mail, const char *name)
{
    for (size_t i = 0; i < mail->n_headers; i++)
        if (strcasecmp(mail->headers[i].name, name) == 0)
            return mail->headers[i].value;
    return NULL;
}

const char *mail_header_text(MailHeader *header)
{
    if (!header->text)
        header->text = header_decode_as_dup(header->value, header->charset);
    return header->text;
}

int mail_add_macro(Mail *mail, MailStage stage, const char *name, const char *value)
{
    MailMacro *macros, macro = { .stage = stage };

    if (!value || !*value)
        return 0;
    for (size_t i = 0; i < mail->n_macros; i++)
        if (streq(mail->macros[i].name, name))
            return replace(&mail->macros[i].value, value);
    if (mail->n_macros >= MAIL_MACROS_MAX) {
        mail->truncated = true;
        return 0;
    }

    macros = reallocarray(mail->macros, mail->n_macros + 1, sizeof(*macros));
    if (!macros)
        return -ENOMEM;
    mail->macros = macros;
    macro.name = strdup(name);
    macro.value = strdup(value);
    if (!macro.name || !macro.value) {
        free(macro.name);
        free(macro.value);
        return -ENOMEM;
    }
    mail->macros[mail->n_macros++] = macro;
    return 0;
}

const char *mail_macro(const Mail *mail, const char *name)
{
    for (size_t i = 0; i < mail->n_macros; i++)
        if (streq(mail->macros[i].name, name))
            return mail->macros[i].value;
    return NULL;
}

int mail_text(Mail *mail, const char **ret, bool *ret_cut)
{
    if (!mail->text) {
        int r = mime_text(mail, &mail->text, &mail->text_cut);

        if (r < 0)
            return r;
    }
    *ret_cut = mail->text_cut;
    *ret = mail->text;
    return 0;
}
