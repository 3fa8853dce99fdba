/* SPDX-License-Identifier: MIT */

/*
 * libxml2's HTML parser calls us for each start, end and text, and builds no tree: memory goes
 * with the text alone, and nothing recurses. It closes what the author left open, so starts and
 * ends are balanced here.
 *
 * The writer owes line ends and blanks rather than writing them: `owed_lines` and `owed_blank`
 * are paid before the next visible text, so that any number of nested blocks makes one break and
 * nothing trails. A table cell that stayed in one line forgives the break that its last block
 * owed, and that makes rows of simple tables lines.
 */

#include "milterd/html.h"

#include <libxml/HTMLparser.h>
#include <stdio.h>
#include <strings.h>

#include "common/text.h"
#include "milterd/buffer.h"

#define DEPTH_MAX 256 /* elements open at once; their closing costs the square */
#define NEST_MAX 32   /* lists, cells, links that are kept track of */
#define HREF_MAX 500  /* bytes of an address that are shown */
#define TEXT_MAX (2 * HTML_SIZE_MAX)

typedef struct Writer {
    htmlParserCtxtPtr parser;
    Buffer out;
    unsigned owed_lines; /* 1: a new line; 2: an empty line between */
    bool owed_blank;
    bool owed_cell; /* two blanks before the next text: another cell of the row */

    unsigned depth;
    unsigned hidden_at; /* the depth of the element that is not shown; 0: none */
    unsigned pre;       /* preformatted elements open */
    bool too_deep;

    unsigned list_depth;
    unsigned items[NEST_MAX]; /* the number of the last item; numbered lists only */
    bool numbered[NEST_MAX];

    unsigned cell_depth;
    size_t cell_begins[NEST_MAX]; /* where in `out` */

    unsigned link_depth;
    size_t link_begins[NEST_MAX];
    char *hrefs[NEST_MAX];
} Writer;

typedef enum Kind {
    KIND_BLOCK = 1, /* on lines of its own */
    KIND_PARAGRAPH, /* with empty lines around */
    KIND_PRE,
    KIND_BREAK,
    KIND_RULE,
    KIND_LIST,
    KIND_ITEM,
    KIND_CELL,
    KIND_LINK,
    KIND_IMAGE,
    KIND_HIDDEN,
} Kind;

static const struct {
    const char *name;
    Kind kind;
} elements[] = {
    { "a", KIND_LINK },          { "address", KIND_BLOCK },
    { "article", KIND_BLOCK },   { "blockquote", KIND_PARAGRAPH },
    { "br", KIND_BREAK },        { "caption", KIND_BLOCK },
    { "center", KIND_BLOCK },    { "dd", KIND_BLOCK },
    { "div", KIND_BLOCK },       { "dl", KIND_BLOCK },
    { "dt", KIND_BLOCK },        { "fieldset", KIND_BLOCK },
    { "footer", KIND_BLOCK },    { "form", KIND_BLOCK },
    { "h1", KIND_PARAGRAPH },    { "h2", KIND_PARAGRAPH },
    { "h3", KIND_PARAGRAPH },    { "h4", KIND_PARAGRAPH },
    { "h5", KIND_PARAGRAPH },    { "h6", KIND_PARAGRAPH },
    { "header", KIND_BLOCK },    { "hr", KIND_RULE },
    { "img", KIND_IMAGE },       { "li", KIND_ITEM },
    { "main", KIND_BLOCK },      { "ol", KIND_LIST },
    { "p", KIND_PARAGRAPH },     { "pre", KIND_PRE },
    { "script", KIND_HIDDEN },   { "section", KIND_BLOCK },
    { "style", KIND_HIDDEN },    { "table", KIND_BLOCK },
    { "tbody", KIND_BLOCK },     { "td", KIND_CELL },
    { "template", KIND_HIDDEN }, { "th", KIND_CELL },
    { "thead", KIND_BLOCK },     { "title", KIND_HIDDEN },
    { "tr", KIND_BLOCK },        { "ul", KIND_LIST },
};

static Kind kind_of(const xmlChar *name)
{
    for (size_t i = 0; i < ELEMENTSOF(elements); i++)
        if (strcasecmp((const char *)name, elements[i].name) == 0)
            return elements[i].kind;
    return 0;
}

static const char *attribute(const xmlChar **attributes, const char *name)
{
    for (; attributes && attributes[0]; attributes += 2)
        if (strcasecmp((const char *)attributes[0], name) == 0)
            return (const char *)attributes[1];
    return NULL;
}

/* Whether a style attribute says display: none, as the previews of newsletters do. */
static bool is_hidden(const xmlChar **attributes)
{
    const char *style = attribute(attributes, "style");

    while (style && (style = strcasestr(style, "display"))) {
        style += strlen("display");
        style += strspn(style, " \t\r\n");
        if (*style == ':') {
            style += 1 + strspn(style + 1, " \t\r\n");
            if (strncasecmp(style, "none", 4) == 0)
                return true;
        }
    }
    return false;
}

/* A block at the front of a cell breaks nothing: the row, or the cell before, has its say. */
static bool at_front_of_cell(const Writer *writer)
{
    return writer->cell_depth > 0 && writer->cell_depth <= NEST_MAX &&
           writer->out.size == writer->cell_begins[writer->cell_depth - 1];
}

static void owe_lines(Writer *writer, unsigned lines)
{
    if (at_front_of_cell(writer))
        return;
    writer->owed_lines = MAX(writer->owed_lines, lines);
    writer->owed_blank = false;
}

static void pay(Writer *writer)
{
    Buffer *out = &writer->out;

    if (out->size > 0 && writer->owed_lines > 0) {
        buffer_add(out, "\n\n", writer->owed_lines);
    } else if (out->size > 0 && out->data[out->size - 1] != '\n') {
        if (writer->owed_cell)
            buffer_add(out, "  ", 2);
        else if (writer->owed_blank)
            buffer_add(out, " ", 1);
    }
    writer->owed_lines = 0;
    writer->owed_blank = false;
    writer->owed_cell = false;
}

/* The bytes of a character that takes no room: soft hyphen, zero-width blanks and the like. */
static size_t invisible(const char *text, size_t size)
{
    static const char *const characters[] = { "\xc2\xad", "\xcd\x8f", "\xe2\x80\x8b",
                                              "\xe2\x80\x8c", "\xef\xbb\xbf" };

    for (size_t i = 0; i < ELEMENTSOF(characters); i++) {
        size_t length = strlen(characters[i]);

        if (size >= length && memcmp(text, characters[i], length) == 0)
            return length;
    }
    return 0;
}

static void write_text(Writer *writer, const char *text, size_t size)
{
    for (size_t i = 0; i < size;) {
        size_t length;

        if (strchr(" \t\r\n\f", text[i])) {
            writer->owed_blank = true;
            i++;
        } else if (size - i >= 2 && memcmp(text + i, "\xc2\xa0", 2) == 0) {
            writer->owed_blank = true;
            i += 2;
        } else if ((length = invisible(text + i, size - i)) > 0) {
            i += length;
        } else {
            size_t begin = i;

            while (i < size && !strchr(" \t\r\n\f", text[i]) &&
                   (i == begin || !strchr("\xc2\xcd\xe2\xef", text[i])))
                i++;
            pay(writer);
            buffer_add(&writer->out, text + begin, i - begin);
        }
    }
}

/* Preformatted: the lines as they are; those at the end are owed, as ever. */
static void write_lines(Writer *writer, const char *text, size_t size)
{
    while (size > 0) {
        const char *end = memchr(text, '\n', size);
        size_t length = end ? (size_t)(end - text) : size;

        if (length > 0) {
            pay(writer);
            buffer_add(&writer->out, text, length);
        }
        if (end) {
            writer->owed_lines = MIN(writer->owed_lines + 1, 2U);
            length++;
        }
        text += length;
        size -= length;
    }
}

static void on_text(void *userdata, const xmlChar *text, int size)
{
    Writer *writer = userdata;

    if (writer->hidden_at > 0 || size <= 0)
        return;
    if (writer->pre > 0)
        write_lines(writer, (const char *)text, (size_t)size);
    else
        write_text(writer, (const char *)text, (size_t)size);
}

static void item_start(Writer *writer)
{
    unsigned depth = MIN(writer->list_depth, (unsigned)NEST_MAX);
    char mark[16];

    owe_lines(writer, 1);
    pay(writer);
    for (unsigned i = 1; i < depth; i++)
        buffer_add(&writer->out, "  ", 2);
    if (depth > 0 && writer->numbered[depth - 1]) {
        snprintf(mark, sizeof(mark), "%u. ", ++writer->items[depth - 1]);
        buffer_add_string(&writer->out, mark);
    } else {
        buffer_add_string(&writer->out, "- ");
    }
}

static void list_start(Writer *writer, const xmlChar *name)
{
    owe_lines(writer, 1);
    if (writer->list_depth < NEST_MAX) {
        writer->numbered[writer->list_depth] = strcasecmp((const char *)name, "ol") == 0;
        writer->items[writer->list_depth] = 0;
    }
    writer->list_depth++;
}

static void cell_start(Writer *writer)
{
    if (writer->cell_depth < NEST_MAX)
        writer->cell_begins[writer->cell_depth] = writer->out.size;
    writer->cell_depth++;
}

static void cell_end(Writer *writer)
{
    size_t begin;

    if (writer->cell_depth == 0)
        return;
    writer->cell_depth--;
    if (writer->cell_depth >= NEST_MAX)
        return;
    begin = writer->cell_begins[writer->cell_depth];
    if (writer->out.size == begin)
        return; /* empty: what was owed before it is still owed */
    /* The line ends at the very front were paid for what stood before the cell. */
    while (begin < writer->out.size && writer->out.data[begin] == '\n')
        begin++;
    if (!memchr(writer->out.data + begin, '\n', writer->out.size - begin)) {
        writer->owed_lines = 0;
        writer->owed_cell = true;
    }
    writer->owed_blank = false;
}

static void link_start(Writer *writer, const xmlChar **attributes)
{
    const char *href = attribute(attributes, "href");

    if (writer->link_depth < NEST_MAX) {
        writer->hrefs[writer->link_depth] = href ? text_clean_line_dup(href, strlen(href)) : NULL;
        writer->link_begins[writer->link_depth] = writer->out.size;
    }
    writer->link_depth++;
}

/* Whether an address says the same as the text that links to it. */
static bool says_the_same(const char *text, size_t size, const char *href)
{
    static const char *const schemes[] = { "mailto:", "tel:", "https://", "http://", "" };
    size_t length = strlen(href);

    while (size > 0 && strchr(" \n/", text[size - 1]))
        size--;
    while (size > 0 && strchr(" \n", *text)) {
        text++;
        size--;
    }
    while (length > 0 && href[length - 1] == '/')
        length--;
    for (size_t i = 0; i < ELEMENTSOF(schemes); i++) {
        size_t skip = strlen(schemes[i]);

        if (strncasecmp(href, schemes[i], skip) == 0 && length - MIN(skip, length) == size &&
            strncasecmp(href + skip, text, size) == 0)
            return true;
    }
    return false;
}

static void link_end(Writer *writer)
{
    _cleanup_free_ char *href = NULL;
    size_t begin, cut;

    if (writer->link_depth == 0)
        return;
    writer->link_depth--;
    if (writer->link_depth >= NEST_MAX)
        return;
    href = steal_ptr(writer->hrefs[writer->link_depth]);
    begin = writer->link_begins[writer->link_depth];
    if (!href || !*href || *href == '#' || strncasecmp(href, "javascript:", 11) == 0 ||
        writer->hidden_at > 0 || writer->out.size == begin ||
        says_the_same(writer->out.data + begin, writer->out.size - begin, href))
        return;
    cut = text_cut(href, strlen(href), HREF_MAX);
    buffer_add_string(&writer->out, " <");
    buffer_add(&writer->out, href, cut);
    buffer_add_string(&writer->out, href[cut] ? "…>" : ">");
}

static void on_start(void *userdata, const xmlChar *name, const xmlChar **attributes)
{
    Writer *writer = userdata;
    Kind kind = kind_of(name);
    const char *alt;

    if (++writer->depth > DEPTH_MAX) {
        writer->too_deep = true;
        xmlStopParser(writer->parser);
        return;
    }
    if (writer->hidden_at > 0)
        return;
    if (kind == KIND_HIDDEN || is_hidden(attributes)) {
        writer->hidden_at = writer->depth;
        return;
    }

    switch (kind) {
    case KIND_BLOCK:
        owe_lines(writer, 1);
        break;
    case KIND_PARAGRAPH:
        owe_lines(writer, 2);
        break;
    case KIND_PRE:
        owe_lines(writer, 2);
        writer->pre++;
        break;
    case KIND_BREAK:
        owe_lines(writer, MIN(writer->owed_lines + 1, 2U));
        break;
    case KIND_RULE:
        owe_lines(writer, 1);
        pay(writer);
        buffer_add_string(&writer->out, "---");
        owe_lines(writer, 1);
        break;
    case KIND_LIST:
        list_start(writer, name);
        break;
    case KIND_ITEM:
        item_start(writer);
        break;
    case KIND_CELL:
        cell_start(writer);
        break;
    case KIND_LINK:
        link_start(writer, attributes);
        break;
    case KIND_IMAGE:
        alt = attribute(attributes, "alt");
        if (alt)
            write_text(writer, alt, strlen(alt));
        break;
    case KIND_HIDDEN:
        break;
    }
}

static void on_end(void *userdata, const xmlChar *name)
{
    Writer *writer = userdata;

    if (writer->depth == 0)
        return;
    if (writer->hidden_at > 0) {
        if (writer->depth-- == writer->hidden_at)
            writer->hidden_at = 0;
        return;
    }
    writer->depth--;

    switch (kind_of(name)) {
    case KIND_BLOCK:
    case KIND_ITEM:
        owe_lines(writer, 1);
        break;
    case KIND_PARAGRAPH:
        owe_lines(writer, 2);
        break;
    case KIND_PRE:
        owe_lines(writer, 2);
        writer->pre -= writer->pre > 0;
        break;
    case KIND_LIST:
        owe_lines(writer, writer->list_depth > 1 ? 1 : 2);
        writer->list_depth -= writer->list_depth > 0;
        break;
    case KIND_CELL:
        cell_end(writer);
        break;
    case KIND_LINK:
        link_end(writer);
        break;
    default:
        break;
    }
}

void html_init(void)
{
    xmlInitParser();
}

static int parse(Writer *writer, const char *html, size_t size)
{
    htmlParserCtxtPtr parser = htmlNewParserCtxt();
    htmlDocPtr document;

    if (!parser)
        return -ENOMEM;
    *parser->sax = (xmlSAXHandler){
        .startElement = on_start,
        .endElement = on_end,
        .characters = on_text,
        .ignorableWhitespace = on_text,
    };
    parser->userData = writer;
    writer->parser = parser;
    document = htmlCtxtReadMemory(parser, html, (int)size, NULL, "UTF-8",
                                  HTML_PARSE_RECOVER | HTML_PARSE_NOERROR | HTML_PARSE_NOWARNING |
                                      HTML_PARSE_NONET | HTML_PARSE_IGNORE_ENC);
    if (document) /* only where our handlers were not asked */
        xmlFreeDoc(document);
    if (parser->myDoc && parser->myDoc != document)
        xmlFreeDoc(parser->myDoc);
    htmlFreeParserCtxt(parser);
    return 0;
}

int html_to_text(const char *html, size_t size, char **ret, bool *ret_cut)
{
    Writer writer = { .out = { .max = TEXT_MAX } };
    size_t taken = text_cut(html, size, HTML_SIZE_MAX);
    _cleanup_free_ char *clean = text_clean_dup(html, taken);
    char *text = NULL;
    int r = -ENOMEM;

    /* libxml2 calls an empty document an error. */
    if (clean)
        r = *clean ? parse(&writer, clean, strlen(clean)) : 0;
    for (size_t i = 0; i < NEST_MAX; i++)
        free(writer.hrefs[i]);
    if (r == 0 && !writer.out.failed)
        text = text_clean_dup(writer.out.data ? writer.out.data : "", writer.out.size);
    *ret_cut = taken < size || writer.too_deep || writer.out.full;
    buffer_done(&writer.out);
    if (!text)
        return -ENOMEM;
    *ret = text;
    return 0;
}

bool html_charset(const char *html, size_t size, char ret[static HTML_CHARSET_MAX + 1])
{
    static const char word[] = "charset=";
    char head[1025];
    const char *at;
    size_t length;

    length = MIN(size, sizeof(head) - 1);
    for (size_t i = 0; i < length; i++)
        head[i] = html[i] ? html[i] : ' ';
    head[length] = '\0';

    at = strcasestr(head, "<meta");
    at = at ? strcasestr(at, word) : NULL;
    if (!at)
        return false;
    at += strlen(word);
    at += strspn(at, "\"' ");
    length = strcspn(at, "\"'> ;/");
    if (length == 0 || length > HTML_CHARSET_MAX)
        return false;
    memcpy(ret, at, length);
    ret[length] = '\0';
    return true;
}
