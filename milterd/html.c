/* SPDX-License-Identifier: MIT */

/*
 * html_strip() takes out what is no text. libxml2's HTML parser then calls us for each start, end
 * and text, and builds no tree: memory goes with the text alone, and nothing recurses. It closes
 * what the author left open, so starts and ends are balanced here. What they mean for the text is
 * for html-writer.c to know.
 *
 * Elements that nest deeper than anybody's mail are read again without their tags.
 */

#include "milterd/html.h"

#include <libxml/HTMLparser.h>
#include <libxml/uri.h>
#include <strings.h>

#include "common/text.h"
#include "milterd/html-kind.h"
#include "milterd/html-strip.h"
#include "milterd/html-style.h"
#include "milterd/html-writer.h"

#define DEPTH_MAX 256 /* elements open at once; their closing costs the square */
#define TEXT_MAX ((size_t)2 * HTML_SIZE_MAX)
#define BASE_MAX 1024 /* bytes; each relative address takes time with it */

typedef struct Element {
    bool lines;     /* its white space is kept */
    bool invisible; /* its letters have no size */
} Element;

typedef struct Reader {
    htmlParserCtxtPtr parser;
    HtmlWriter writer;
    char *base; /* what addresses are relative to, or NULL */
    unsigned depth;
    Element elements[DEPTH_MAX + 1]; /* that are open; [0]: none */
    unsigned hidden_at;              /* the depth of the element that is not shown; 0: none */
    bool too_deep;
} Reader;

static const char *attribute(const xmlChar **attributes, const char *name)
{
    for (; attributes && attributes[0]; attributes += 2)
        if (strcasecmp((const char *)attributes[0], name) == 0)
            return attributes[1] ? (const char *)attributes[1] : "";
    return NULL;
}

/* A number of columns, rows or pixels; `missing` where there is none. */
static unsigned number(const xmlChar **attributes, const char *name, unsigned missing, unsigned max)
{
    const char *value = attribute(attributes, name);
    unsigned long n;

    if (!value || *value < '0' || *value > '9')
        return missing;
    n = strtoul(value, NULL, 10);
    return (unsigned)MIN(n, (unsigned long)max);
}

/* The class by which the preview of a mail is known, when its style stands elsewhere. */
static bool is_preview(const xmlChar **attributes)
{
    const char *class = attribute(attributes, "class");

    return class && (strcasecmp(class, "preheader") == 0 || strcasecmp(class, "preview-text") == 0);
}

static void on_text(void *userdata, const xmlChar *text, int size)
{
    Reader *reader = userdata;
    const Element *element = &reader->elements[MIN(reader->depth, (unsigned)DEPTH_MAX)];

    if (reader->hidden_at > 0 || size <= 0)
        return;
    if (element->invisible)
        html_writer_text(&reader->writer, " ", 1);
    else if (element->lines)
        html_writer_lines(&reader->writer, (const char *)text, (size_t)size);
    else
        html_writer_text(&reader->writer, (const char *)text, (size_t)size);
}

static void start_link(Reader *reader, const xmlChar **attributes)
{
    const char *href = attribute(attributes, "href");
    xmlChar *whole = NULL;

    if (href && *href && *href != '#' && !strstr(href, "://") && reader->base &&
        !strchr("mMtTjJdD", *href))
        whole = xmlBuildURI((const xmlChar *)href, (const xmlChar *)reader->base);
    html_writer_link_start(&reader->writer, whole ? (const char *)whole : href);
    if (whole)
        xmlFree(whole);
}

static void take_base(Reader *reader, const xmlChar **attributes)
{
    const char *href = attribute(attributes, "href");

    if (!reader->base && href && strlen(href) <= BASE_MAX && strstr(href, "://"))
        reader->base = strdup(href);
}

/* Pictures of one pixel are there to report who reads the mail. */
static void show_image(Reader *reader, const xmlChar **attributes)
{
    const char *alt = attribute(attributes, "alt");

    if (alt && number(attributes, "width", 100, 100) > 1 &&
        number(attributes, "height", 100, 100) > 1)
        html_writer_text(&reader->writer, alt, strlen(alt));
}

static void start_table(Reader *reader, const xmlChar **attributes)
{
    const char *role = attribute(attributes, "role");

    html_writer_table_start(&reader->writer,
                            (HtmlTable){ .layout = role && (strcasecmp(role, "presentation") == 0 ||
                                                            strcasecmp(role, "none") == 0) });
}

static void start_cell(Reader *reader, const xmlChar **attributes, bool heading)
{
    const unsigned max = HTML_COLUMNS_MAX;

    html_writer_cell_start(
        &reader->writer,
        (HtmlCell){ .columns = (unsigned short)MAX(number(attributes, "colspan", 1, max), 1U),
                    .rows = (unsigned short)MAX(number(attributes, "rowspan", 1, 1000), 1U),
                    .heading = heading });
}

/* Terms and what is said of them are rows of two cells. */
static void start_definition(Reader *reader, bool name)
{
    if (name)
        html_writer_row(&reader->writer);
    html_writer_cell_start(&reader->writer, (HtmlCell){ .columns = 1, .rows = 1, .heading = name });
}

static void start(Reader *reader, HtmlKind kind, const xmlChar *name, const xmlChar **attributes)
{
    HtmlWriter *writer = &reader->writer;

    switch (kind) {
    case HTML_KIND_BLOCK:
        html_writer_break(writer, 1);
        break;
    case HTML_KIND_PARAGRAPH:
        html_writer_break(writer, 2);
        break;
    case HTML_KIND_PRE:
        html_writer_break(writer, 2);
        reader->elements[reader->depth].lines = true;
        break;
    case HTML_KIND_QUOTE:
        html_writer_quote_start(writer);
        break;
    case HTML_KIND_BREAK:
        html_writer_break(writer, MIN(writer->flow.owed_lines + 1, 2U));
        break;
    case HTML_KIND_RULE:
        html_writer_rule(writer);
        break;
    case HTML_KIND_LIST:
        html_writer_list_start(writer, streq((const char *)name, "ol"));
        break;
    case HTML_KIND_ITEM:
        html_writer_item(writer);
        break;
    case HTML_KIND_TABLE:
        start_table(reader, attributes);
        break;
    case HTML_KIND_PAIRS:
        html_writer_table_start(writer, (HtmlTable){ .pairs = true });
        break;
    case HTML_KIND_ROW:
        html_writer_row(writer);
        break;
    case HTML_KIND_CELL:
    case HTML_KIND_HEADING_CELL:
        start_cell(reader, attributes, kind == HTML_KIND_HEADING_CELL);
        break;
    case HTML_KIND_NAME:
    case HTML_KIND_VALUE:
        start_definition(reader, kind == HTML_KIND_NAME);
        break;
    case HTML_KIND_LINK:
        start_link(reader, attributes);
        break;
    case HTML_KIND_BASE:
        take_base(reader, attributes);
        break;
    case HTML_KIND_IMAGE:
        show_image(reader, attributes);
        break;
    case HTML_KIND_HIDDEN:
    case HTML_KIND_NONE:
        break;
    }
}

static void on_start(void *userdata, const xmlChar *name, const xmlChar **attributes)
{
    Reader *reader = userdata;
    HtmlKind kind = html_kind((const char *)name);
    HtmlStyle style;

    if (++reader->depth > DEPTH_MAX) {
        reader->too_deep = true;
        xmlStopParser(reader->parser);
        return;
    }
    reader->elements[reader->depth] = reader->elements[reader->depth - 1];
    if (reader->hidden_at > 0)
        return;
    style = html_style_read(attribute(attributes, "style"));
    if (kind == HTML_KIND_HIDDEN || style.hidden || attribute(attributes, "hidden") ||
        is_preview(attributes)) {
        reader->hidden_at = reader->depth;
        return;
    }
    if (style.lines)
        reader->elements[reader->depth].lines = true;
    if (style.font != HTML_FONT_INHERITED)
        reader->elements[reader->depth].invisible = style.font == HTML_FONT_INVISIBLE;
    start(reader, kind, name, attributes);
}

static void on_end(void *userdata, const xmlChar *name)
{
    Reader *reader = userdata;
    HtmlWriter *writer = &reader->writer;

    if (reader->depth == 0)
        return;
    if (reader->hidden_at > 0) {
        if (reader->depth-- == reader->hidden_at)
            reader->hidden_at = 0;
        return;
    }
    reader->depth--;

    switch (html_kind((const char *)name)) {
    case HTML_KIND_BLOCK:
    case HTML_KIND_ITEM:
        html_writer_break(writer, 1);
        break;
    case HTML_KIND_PARAGRAPH:
    case HTML_KIND_PRE:
        html_writer_break(writer, 2);
        break;
    case HTML_KIND_QUOTE:
        html_writer_quote_end(writer);
        break;
    case HTML_KIND_LIST:
        html_writer_list_end(writer);
        break;
    case HTML_KIND_TABLE:
    case HTML_KIND_PAIRS:
        html_writer_table_end(writer);
        break;
    case HTML_KIND_ROW:
        html_writer_row(writer);
        break;
    case HTML_KIND_CELL:
    case HTML_KIND_HEADING_CELL:
    case HTML_KIND_NAME:
    case HTML_KIND_VALUE:
        html_writer_cell_end(writer);
        break;
    case HTML_KIND_LINK:
        html_writer_link_end(writer);
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
    html_writer_end(&reader->writer);
    return reader->writer.out.failed ? -ENOMEM : 0;
}

/* Reads clean HTML, all of it or what `left` allows; with `flat` without regard to its tags. */
static int read_text(const char *html, bool flat, size_t *left, Reader *reader, bool *ret_cut)
{
    Buffer stripped = { .max = *left };
    int r = 0;

    html_strip(html, strlen(html), flat, &stripped);
    /* libxml2 calls an empty document an error. */
    if (stripped.failed)
        r = -ENOMEM;
    else if (stripped.size > 0)
        r = parse(reader, stripped.data, stripped.size);
    *ret_cut = stripped.full;
    *left -= MIN(stripped.size, *left);
    buffer_done(&stripped);
    return r;
}

static void reader_done(Reader *reader)
{
    html_writer_done(&reader->writer);
    free(reader->base);
    *reader = (Reader){ .writer.out.max = TEXT_MAX };
}

int html_to_text(const char *html, size_t size, size_t *left, char **ret, bool *ret_cut)
{
    Reader reader = { .writer.out.max = TEXT_MAX };
    _cleanup_free_ char *clean = text_clean_dup(html, size);
    size_t all = *left;
    char *text = NULL;
    bool cut = false;
    int r = -ENOMEM;

    if (clean)
        r = read_text(clean, false, left, &reader, &cut);
    if (r == 0 && reader.too_deep) {
        reader_done(&reader);
        *left = all;
        r = read_text(clean, true, left, &reader, &cut);
    }
    if (r == 0)
        text = text_clean_dup(reader.writer.out.data ? reader.writer.out.data : "",
                              reader.writer.out.size);
    *ret_cut = cut || reader.writer.out.full;
    reader_done(&reader);
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
