/* SPDX-License-Identifier: MIT */

/*
 * What a name stands for is found when a template asks for it, and what had to be computed for
 * that is kept beside the variables that regexes have taken. All values are clean (text.h).
 */

#include "milterd/variables.h"

#include <stdio.h>
#include <strings.h>

#include "common/text.h"
#include "milterd/header.h"

#define VARIABLES_MAX 128
#define VARIABLES_MAX_BYTES ((size_t)262144) /* of all values */

const char variables_of_mail[] =
    "subject, body, from, from_address, from_name, from_domain, to, envelope_from, date, client, "
    "client_name, helo, queue_id, message_id, header:NAME, macro:NAME";
const char variables_of_rule[] = "title, text, severity, state, key, profile, rule";

void variables_done(Variables *variables)
{
    for (size_t i = 0; i < variables->n; i++) {
        free(variables->items[i].name);
        free(variables->items[i].value);
    }
    free(variables->items);
    for (size_t i = 0; i < ELEMENTSOF(variables->groups); i++)
        free(variables->groups[i]);
    *variables = (Variables){};
}

/* Taking */

static const char *find(const Variables *variables, const char *name)
{
    for (size_t i = 0; i < variables->n; i++)
        if (streq(variables->items[i].name, name))
            return variables->items[i].value;
    return NULL;
}

/* Takes `value` over, also when it fails or drops it since there are too many. */
static int add_consume(Variables *variables, const char *name, char *value)
{
    size_t size = strlen(value);
    Variable *items, item = { .value = value };

    if (variables->n >= VARIABLES_MAX || size > VARIABLES_MAX_BYTES - variables->bytes) {
        free(value);
        return 0;
    }
    items = reallocarray(variables->items, variables->n + 1, sizeof(*items));
    if (items)
        variables->items = items;
    item.name = items ? strdup(name) : NULL;
    if (!item.name) {
        free(value);
        return -ENOMEM;
    }
    variables->items[variables->n++] = item;
    variables->bytes += size;
    return 0;
}

/* The value without white space around it; several lines keep the indentation of the first. */
static char *trimmed_dup(const char *text, size_t size)
{
    size_t start = 0, line = 0;

    while (size > 0 && strchr(" \t\n", text[size - 1]))
        size--;
    while (start < size && strchr(" \t\n", text[start]))
        if (text[start++] == '\n')
            line = start;
    if (memchr(text + start, '\n', size - start))
        start = line;
    return text_clean_dup(text + start, size - start);
}

static int take_named(Variables *variables, const char *name, const char *text, size_t size)
{
    char *value;

    if (find(variables, name))
        return 0;
    value = trimmed_dup(text, size);
    if (!value)
        return -ENOMEM;
    if (*value)
        return add_consume(variables, name, value);
    free(value);
    return 0;
}

static int take_numbered(Variables *variables, const char *text, const RegexSpans *spans)
{
    for (size_t i = 1; i < ELEMENTSOF(variables->groups); i++) {
        const RegexSpan *span = &spans->items[i];

        if (!span->set || span->size > VARIABLES_MAX_BYTES - variables->bytes)
            continue;
        variables->groups[i] = trimmed_dup(text + span->start, span->size);
        if (!variables->groups[i])
            return -ENOMEM;
        variables->bytes += span->size;
    }
    variables->groups_taken = true;
    return 0;
}

int variables_take(void *userdata, const Regex *regex, const char *text, const RegexSpans *spans)
{
    Variables *variables = userdata;
    const char *name;
    size_t group;
    int r = 0;

    if (!variables->groups_taken)
        r = take_numbered(variables, text, spans);
    for (size_t i = 0; r == 0 && (name = regex_group_name(regex, i, &group)); i++)
        if (group <= REGEX_GROUPS_MAX && spans->items[group].set)
            r = take_named(variables, name, text + spans->items[group].start,
                           spans->items[group].size);
    return r;
}

/* What every mail may have. Each gives a string of the caller's, or NULL. */

static int first_header(Mail *mail, const char *name, const char **ret)
{
    const char *text = NULL;

    for (size_t i = 0; !text && i < mail->n_headers; i++)
        if (strcasecmp(mail->headers[i].name, name) == 0) {
            text = mail_header_text(&mail->headers[i]);
            if (!text)
                return -ENOMEM;
        }
    *ret = text;
    return 0;
}

static int line_dup(const char *value, char **ret)
{
    char *line = value ? text_clean_line_dup(value, strlen(value)) : NULL;

    if (value && !line)
        return -ENOMEM;
    *ret = line;
    return 0;
}

static int from_address(Mail *mail, char **ret)
{
    _cleanup_free_ char *address = NULL;
    const char *value = mail_header(mail, "From");
    size_t offset = 0;
    int r;

    if (!value)
        return 0;
    r = header_next_address(value, &offset, &address);
    return r <= 0 ? r : line_dup(address, ret);
}

static int from_domain(Mail *mail, char **ret)
{
    _cleanup_free_ char *address = NULL;
    const char *at;
    int r = from_address(mail, &address);

    at = address ? strrchr(address, '@') : NULL;
    return r < 0 || !at ? r : line_dup(at + 1, ret);
}

/* Takes the backslashes away that quote what stands behind them, in place. */
static void unquote(char *text)
{
    char *to = text;

    for (const char *at = text; *at; at++) {
        if (*at == '\\' && at[1])
            at++;
        *to++ = *at;
    }
    *to = '\0';
}

/* `Name <a@x>`, `"Name, B" <a@x>` and `a@x (Name)`. */
static int from_name(Mail *mail, char **ret)
{
    const char *from, *open, *end;
    char *name;
    int r = first_header(mail, "From", &from);

    if (r < 0 || !from)
        return r;
    open = strrchr(from, '<');
    if (open) {
        end = open;
    } else {
        from = strchr(from, '(');
        end = from ? strrchr(from, ')') : NULL;
        if (!end)
            return 0;
        from++;
    }
    while (end > from && end[-1] == ' ')
        end--;
    if (end - from >= 2 && from[0] == '"' && end[-1] == '"') {
        from++;
        end--;
    }
    name = strndup(from, (size_t)(end - from));
    if (!name)
        return -ENOMEM;
    unquote(name);
    *ret = name;
    return 0;
}

static int envelope_from(Mail *mail, char **ret)
{
    return line_dup(mail->envelope_from, ret);
}

static int client(Mail *mail, char **ret)
{
    return line_dup(mail->client, ret);
}

static int client_name(Mail *mail, char **ret)
{
    return line_dup(mail->client_name, ret);
}

static int helo(Mail *mail, char **ret)
{
    return line_dup(mail->helo, ret);
}

static int queue_id(Mail *mail, char **ret)
{
    return line_dup(mail->queue_id, ret);
}

static const struct {
    const char *name;
    const char *header;                     /* whose text it is; NULL: */
    int (*compute)(Mail *mail, char **ret); /* NULL as well: the body */
} of_mail[] = {
    { "subject", "Subject", NULL },
    { "body", NULL, NULL },
    { "from", "From", NULL },
    { "from_address", NULL, from_address },
    { "from_name", NULL, from_name },
    { "from_domain", NULL, from_domain },
    { "to", "To", NULL },
    { "envelope_from", NULL, envelope_from },
    { "date", "Date", NULL },
    { "client", NULL, client },
    { "client_name", NULL, client_name },
    { "helo", NULL, helo },
    { "queue_id", NULL, queue_id },
    { "message_id", "Message-ID", NULL },
};

static size_t index_of_mail(const char *name)
{
    size_t i = 0;

    while (i < ELEMENTSOF(of_mail) && !streq(name, of_mail[i].name))
        i++;
    return i;
}

/* Names */

/* What stands behind "header:"; NULL: it is another kind of name. */
static const char *header_of(const char *name)
{
    return strncmp(name, "header:", 7) == 0 && name[7] ? name + 7 : NULL;
}

bool variables_macro(const char *name, char ret[static MACRO_NAME_SIZE])
{
    return strncmp(name, "macro:", 6) == 0 && macro_name_read(name + 6, ret) == 0;
}

bool variables_is_of_mail(const char *name)
{
    char macro[MACRO_NAME_SIZE];

    return index_of_mail(name) < ELEMENTSOF(of_mail) || header_of(name) ||
           variables_macro(name, macro);
}

static const char *const of_rule[] = {
    "title", "text", "severity", "state", "key", "profile", "rule",
};

bool variables_is_of_rule(const char *name)
{
    for (size_t i = 0; i < ELEMENTSOF(of_rule); i++)
        if (streq(name, of_rule[i]))
            return true;
    return strlen(name) == 1 && *name >= '1' && *name <= '9';
}

int variables_add_names(bool in_rule, Names *names)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < ELEMENTSOF(of_mail); i++)
        r = names_add(names, of_mail[i].name);
    for (size_t i = 0; r == 0 && in_rule && i < ELEMENTSOF(of_rule); i++)
        r = names_add(names, of_rule[i]);
    return r;
}

int variables_add_groups(const Regex *regex, bool in_rule, Names *names, const char **ret_taken)
{
    const char *name;
    size_t group;
    int r = 0;

    for (size_t i = 0; r == 0 && (name = regex_group_name(regex, i, &group)); i++) {
        if (variables_is_of_mail(name) || (in_rule && variables_is_of_rule(name)))
            *ret_taken = name;
        r = names_add(names, name);
    }
    return r;
}

/* Values */

static int get_computed(Variables *variables, const char *name, const char **ret)
{
    const char *known = find(variables, name);
    size_t i = index_of_mail(name);
    char macro[MACRO_NAME_SIZE];
    char *value = NULL;
    int r = 0;

    if (known) {
        *ret = known;
        return 0;
    }
    if (i < ELEMENTSOF(of_mail))
        r = of_mail[i].compute(variables->mail, &value);
    else if (variables_macro(name, macro))
        r = line_dup(mail_macro(variables->mail, macro), &value);
    if (r < 0)
        return r;
    if (!value || !*value) {
        free(value);
        *ret = NULL;
        return 0;
    }
    r = add_consume(variables, name, value);
    *ret = find(variables, name);
    return r;
}

static int get_of_mail(Variables *variables, const char *name, const char **ret)
{
    const char *header = header_of(name);
    size_t i = index_of_mail(name);
    bool cut;

    if (i < ELEMENTSOF(of_mail)) {
        if (of_mail[i].header)
            header = of_mail[i].header;
        else if (!of_mail[i].compute)
            return mail_text(variables->mail, ret, &cut);
    }
    if (header)
        return first_header(variables->mail, header, ret);
    return get_computed(variables, name, ret);
}

static const char *get_of_rule(const Variables *variables, const char *name)
{
    const Record *record = variables->record;

    if (streq(name, "title"))
        return record->title;
    if (streq(name, "text"))
        return record->text;
    if (streq(name, "severity"))
        return severity_name(record->severity);
    if (streq(name, "state"))
        return alert_state_name(record->state);
    if (streq(name, "key"))
        return record->key;
    if (streq(name, "profile"))
        return variables->profile;
    if (streq(name, "rule"))
        return variables->rule;
    return variables->groups[*name - '0'];
}

int variables_get(Variables *variables, const char *name, const char **ret)
{
    const char *value = NULL;
    int r = 0;

    if (variables_is_of_mail(name))
        r = get_of_mail(variables, name, &value);
    else if (variables->record && variables_is_of_rule(name))
        value = get_of_rule(variables, name);
    else
        value = find(variables, name);
    if (r < 0)
        return r;
    if (!value && variables->record)
        value = record_field(variables->record, name);
    *ret = value && *value ? value : NULL;
    return 0;
}
