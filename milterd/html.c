/* SPDX-License-Identifier: MIT */

/*
 * libxml2's HTML parser calls us for each start, end and text, and builds no tree: memory goes
 * with the text alone, and nothing recurses. It closes what the author left open, so starts and
 * ends are balanced here. What they mean for the text is for html-writer.c to know.
 */

#include "milterd/html.h"

#include <libxml/HTMLparser.h>
#include <strings.h>

#include "common/text.h"
#include "milterd/html-writer.h"

#define DEPTH_MAX 256 /* elements open at once; their closing costs the square */
#define TEXT_MAX ((size_t)2 * HTML_SIZE_MAX)

typedef struct Reader {
    htmlParserCtxtPtr parser;
    HtmlWriter writer;
    unsigned depth;
    unsigned hidden_at; /* the depth of the element that is not shown; 0: none */
    unsigned pre;       /* preformatted elements open */
    bool too_deep;
} Reader;

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

static void on_text(void *userdata, const xmlChar *text, int size)
{
    Reader *reader = userdata;

    if (reader->hidden_at > 0 || size <= 0)
        return;
    if (reader->pre > 0)
        html_writer_lines(&reader->writer, (const char *)text, (size_t)size);
    else
        html_writer_text(&reader->writer, (const char *)text, (size_t)size);
}

static void on_start(void *userdata, const xmlChar *name, const xmlChar **attributes)
{
    Reader *reader = userdata;
    Kind kind = kind_of(name);
    const char *alt;

    if (++reader->depth > DEPTH_MAX) {
        reader->too_deep = true;
        xmlStopParser(reader->parser);
        return;
    }
    if (reader->hidden_at > 0)
        return;
    if (kind == KIND_HIDDEN || is_hidden(attributes)) {
        reader->hidden_at = reader->depth;
        return;
    }

    switch (kind) {
    case KIND_BLOCK:
        html_writer_break(&reader->writer, 1);
        break;
    case KIND_PARAGRAPH:
        html_writer_break(&reader->writer, 2);
        break;
    case KIND_PRE:
        html_writer_break(&reader->writer, 2);
        reader->pre++;
        break;
    case KIND_BREAK:
        html_writer_break(&reader->writer, MIN(reader->writer.owed_lines + 1, 2U));
        break;
    case KIND_RULE:
        html_writer_rule(&reader->writer);
        break;
    case KIND_LIST:
        html_writer_list_start(&reader->writer, strcasecmp((const char *)name, "ol") == 0);
        break;
    case KIND_ITEM:
        html_writer_item(&reader->writer);
        break;
    case KIND_CELL:
        html_writer_cell_start(&reader->writer);
        break;
    case KIND_LINK:
        html_writer_link_start(&reader->writer, attribute(attributes, "href"));
        break;
    case KIND_IMAGE:
        alt = attribute(attributes, "alt");
        if (alt)
            html_writer_text(&reader->writer, alt, strlen(alt));
        break;
    case KIND_HIDDEN:
        break;
    }
}

static void on_end(void *userdata, const xmlChar *name)
{
    Reader *reader = userdata;

    if (reader->depth == 0)
        return;
    if (reader->hidden_at > 0) {
        if (reader->depth-- == reader->hidden_at)
            reader->hidden_at = 0;
        return;
    }
    reader->depth--;

    switch (kind_of(name)) {
    case KIND_BLOCK:
    case KIND_ITEM:
        html_writer_break(&reader->writer, 1);
        break;
    case KIND_PARAGRAPH:
        html_writer_break(&reader->writer, 2);
        break;
    case KIND_PRE:
        html_writer_break(&reader->writer, 2);
        reader->pre -= reader->pre > 0;
        break;
    case KIND_LIST:
        html_writer_list_end(&reader->writer);
        break;
    case KIND_CELL:
        html_writer_cell_end(&reader->writer);
        break;
    case KIND_LINK:
        html_writer_link_end(&reader->writer);
        break;
    default:
        break;
    }
}

void html_init(void)
{
    xmlInitParser();
}

static int parse(Reader *reader, const char *html, size_t size)
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
    parser->userData = reader;
    reader->parser = parser;
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
    Reader reader = { .writer.out.max = TEXT_MAX };
    Buffer *out = &reader.writer.out;
    size_t taken = MIN(size, (size_t)HTML_SIZE_MAX);
    _cleanup_free_ char *clean = text_clean_dup(html, taken);
    char *text = NULL;
    int r = -ENOMEM;

    /* libxml2 calls an empty document an error. */
    if (clean)
        r = *clean ? parse(&reader, clean, strlen(clean)) : 0;
    if (r == 0 && !out->failed)
        text = text_clean_dup(out->data ? out->data : "", out->size);
    *ret_cut = taken < size || reader.too_deep || out->full;
    html_writer_done(&reader.writer);
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
