/* SPDX-License-Identifier: MIT */

/*
 * A template is a chain of pieces: text as it is, or a name with the template that stands behind
 * its `:-` or `:+`. Who writes templates is trusted, but not to count: depth and size are bounded
 * when one is read, and what it gives when it is rendered.
 */

#include "milterd/template.h"

#include <stdio.h>

#include "common/text.h"
#include "milterd/buffer.h"

typedef enum PieceKind {
    PIECE_TEXT,
    PIECE_VALUE, /* ${name} */
    PIECE_ELSE,  /* ${name:-…} */
    PIECE_IF,    /* ${name:+…} */
} PieceKind;

typedef struct Piece {
    PieceKind kind;
    char *text;      /* or the name */
    Template *inner; /* of ELSE and IF */
} Piece;

struct Template {
    Piece *pieces;
    size_t n;
};

Template *template_free(Template *template)
{
    if (!template)
        return NULL;
    for (size_t i = 0; i < template->n; i++) {
        free(template->pieces[i].text);
        template_free(template->pieces[i].inner);
    }
    free(template->pieces);
    free(template);
    return NULL;
}

/* Reading */

typedef struct Parser {
    const char *at;
    char *reason; /* TEMPLATE_REASON_MAX bytes */
} Parser;

static int parse(Parser *parser, unsigned depth, Template **ret);

static int add_piece(Template *template, PieceKind kind, const char *text, size_t size)
{
    Piece *pieces = reallocarray(template->pieces, template->n + 1, sizeof(*pieces));
    Piece piece = { .kind = kind };

    if (!pieces)
        return -ENOMEM;
    template->pieces = pieces;
    piece.text = strndup(text, size);
    if (!piece.text)
        return -ENOMEM;
    pieces[template->n++] = piece;
    return 0;
}

static int wrong(const Parser *parser, const char *place, size_t size, const char *what)
{
    snprintf(parser->reason, TEMPLATE_REASON_MAX, "\"%.*s\" %s", (int)MIN(size, (size_t)60), place,
             what);
    return -EINVAL;
}

/* Of the name at `text`, with what stands behind "header:" or "macro:". */
static size_t name_length(const char *text)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";
    size_t length = strspn(text, letters);
    bool header = length == 6 && strncmp(text, "header:", 7) == 0,
         macro = length == 5 && strncmp(text, "macro:", 6) == 0;

    if ((!header && !macro) || text[length + 1] == '-' || text[length + 1] == '+')
        return length;
    for (length++; text[length] > ' ' && text[length] <= '~' && !strchr("{}:", text[length]);)
        length++;
    return length;
}

/* "${…}" at parser->at. */
static int parse_place(Parser *parser, unsigned depth, Template *template)
{
    const char *start = parser->at, *name = start + 2;
    size_t length = name_length(name);
    PieceKind kind = PIECE_VALUE;
    int r;

    if (length == 0 || length > VARIABLE_NAME_MAX)
        return wrong(parser, start, strcspn(start, "\n"),
                     "has no name, or one that is too long, behind the brace");
    parser->at = name + length;
    if (parser->at[0] == ':' && (parser->at[1] == '-' || parser->at[1] == '+')) {
        kind = parser->at[1] == '-' ? PIECE_ELSE : PIECE_IF;
        parser->at += 2;
    } else if (*parser->at && *parser->at != '}') {
        return wrong(parser, start, (size_t)(parser->at - start) + 1,
                     "must go on with }, :- or :+ behind the name");
    }
    if (depth >= TEMPLATE_DEPTH_MAX)
        return wrong(parser, start, (size_t)(parser->at - start), "stands too deep in others");

    r = add_piece(template, kind, name, length);
    if (r == 0 && kind != PIECE_VALUE)
        r = parse(parser, depth + 1, &template->pieces[template->n - 1].inner);
    if (r < 0)
        return r;
    if (*parser->at != '}')
        return wrong(parser, start, strcspn(start, "\n"), "has no } at its end");
    parser->at++;
    return 0;
}

/* To the end, or within a place to its brace. */
static int parse(Parser *parser, unsigned depth, Template **ret)
{
    _cleanup_(template_freep) Template *template = calloc(1, sizeof(*template));
    int r = template ? 0 : -ENOMEM;

    while (r == 0 && *parser->at && (depth == 0 || *parser->at != '}')) {
        size_t length = strcspn(parser->at, depth > 0 ? "$}" : "$");

        if (length > 0) {
            r = add_piece(template, PIECE_TEXT, parser->at, length);
            parser->at += length;
        } else if (parser->at[1] == '$' || parser->at[1] == '}') {
            r = add_piece(template, PIECE_TEXT, parser->at + 1, 1);
            parser->at += 2;
        } else if (parser->at[1] == '{') {
            r = parse_place(parser, depth, template);
        } else {
            r = wrong(parser, parser->at, strcspn(parser->at, "\n"),
                      "begins with a lone dollar sign; write $$ for one, or ${name}");
        }
    }
    if (r < 0)
        return r;
    *ret = steal_ptr(template);
    return 0;
}

int template_new(const char *text, Template **ret, char reason[static TEMPLATE_REASON_MAX])
{
    Parser parser = { text, reason };

    if (strlen(text) > TEMPLATE_TEXT_MAX) {
        snprintf(reason, TEMPLATE_REASON_MAX, "is longer than the %d bytes that are allowed",
                 TEMPLATE_TEXT_MAX);
        return -EINVAL;
    }
    return parse(&parser, 0, ret);
}

int template_parse(ConfigFile *file, const ConfigNode *node, void *target)
{
    const char *text = config_node_string(node);
    char reason[TEMPLATE_REASON_MAX], path[CONFIG_NODE_PATH_MAX];
    int r;

    if (!text) {
        config_error(file, node, "%s: must be a template: a string in quotes, such as \"${host}\"",
                     config_node_path(node, path));
        return 0;
    }
    r = template_new(text, target, reason);
    if (r == -EINVAL)
        config_error(file, node, "%s: %s", config_node_path(node, path), reason);
    return r == -ENOMEM ? r : 0;
}

/* Names */

int template_add_uses(const Template *template, Names *uses)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < template->n; i++) {
        const Piece *piece = &template->pieces[i];

        if (piece->kind != PIECE_TEXT)
            r = names_add(uses, piece->text);
        if (r == 0 && piece->inner)
            r = template_add_uses(piece->inner, uses);
    }
    return r;
}

int template_check_name(const char *name, const Names *known, bool in_rule, ConfigFile *file,
                        const ConfigNode *node)
{
    _cleanup_(names_done) Names all = {};
    _cleanup_free_ char *list = NULL;
    char path[CONFIG_NODE_PATH_MAX];
    const char *near;

    if (names_have(known, name) || variables_is_of_mail(name) ||
        (in_rule && variables_is_of_rule(name)))
        return 0;
    list = names_list(known);
    if (!list || names_add_all(&all, known) < 0 || variables_add_names(in_rule, &all) < 0)
        return -ENOMEM;
    near = names_nearest(&all, name);
    config_error(file, node,
                 "%s: \"%s\" is no variable here%s%s%s; there are %s; of every mail %s%s%s",
                 config_node_path(node, path), name, near ? " (did you mean \"" : "",
                 near ? near : "", near ? "\"?)" : "", list, variables_of_mail,
                 in_rule ? "; of the alert " : "", in_rule ? variables_of_rule : "");
    return 0;
}

int template_check(const Template *template, const Names *known, bool in_rule, ConfigFile *file,
                   const ConfigNode *node)
{
    _cleanup_(names_done) Names uses = {};
    int r = template_add_uses(template, &uses);

    for (size_t i = 0; r == 0 && i < uses.n; i++)
        r = template_check_name(uses.items[i], known, in_rule, file, node);
    return r;
}

/* Rendering */

static int render(const Template *template, Variables *variables, Buffer *buffer, bool *ret_missing)
{
    for (size_t i = 0; i < template->n && !buffer->full; i++) {
        const Piece *piece = &template->pieces[i];
        const char *value = NULL;
        int r = 0;

        if (piece->kind != PIECE_TEXT)
            r = variables_get(variables, piece->text, &value);
        if (r < 0)
            return r;
        switch (piece->kind) {
        case PIECE_TEXT:
            buffer_add_string(buffer, piece->text);
            break;
        case PIECE_VALUE:
            buffer_add_string(buffer, value ? value : "");
            *ret_missing = *ret_missing || !value;
            break;
        case PIECE_ELSE:
            if (value)
                buffer_add_string(buffer, value);
            else
                r = render(piece->inner, variables, buffer, ret_missing);
            break;
        case PIECE_IF:
            if (value)
                r = render(piece->inner, variables, buffer, ret_missing);
            break;
        }
        if (r < 0)
            return r;
    }
    return buffer->failed ? -ENOMEM : 0;
}

int template_render(const Template *template, Variables *variables, size_t max_bytes, Rendered *ret)
{
    _cleanup_(buffer_done) Buffer buffer = { .max = max_bytes };
    bool missing = false;
    int r;

    r = render(template, variables, &buffer, &missing);
    if (r < 0)
        return r;
    if (buffer.full)
        buffer_cut(&buffer, text_cut(buffer.data, buffer.size, buffer.size - 1));
    if (!buffer.data) {
        buffer.data = strdup("");
        if (!buffer.data)
            return -ENOMEM;
    }
    *ret = (Rendered){ steal_ptr(buffer.data), missing };
    return 0;
}
