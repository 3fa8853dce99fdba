/* SPDX-License-Identifier: MIT */

#include "milterd/html-kind.h"

#include "common/util.h"

/* By name, as bsearch() wants them. */
static const struct Known {
    const char *name;
    HtmlKind kind;
} known[] = {
    { "a", HTML_KIND_LINK },          { "address", HTML_KIND_BLOCK },
    { "article", HTML_KIND_BLOCK },   { "audio", HTML_KIND_HIDDEN },
    { "base", HTML_KIND_BASE },       { "blockquote", HTML_KIND_QUOTE },
    { "br", HTML_KIND_BREAK },        { "caption", HTML_KIND_ROW },
    { "center", HTML_KIND_BLOCK },    { "dd", HTML_KIND_VALUE },
    { "div", HTML_KIND_BLOCK },       { "dl", HTML_KIND_PAIRS },
    { "dt", HTML_KIND_NAME },         { "fieldset", HTML_KIND_BLOCK },
    { "footer", HTML_KIND_BLOCK },    { "form", HTML_KIND_BLOCK },
    { "h1", HTML_KIND_PARAGRAPH },    { "h2", HTML_KIND_PARAGRAPH },
    { "h3", HTML_KIND_PARAGRAPH },    { "h4", HTML_KIND_PARAGRAPH },
    { "h5", HTML_KIND_PARAGRAPH },    { "h6", HTML_KIND_PARAGRAPH },
    { "header", HTML_KIND_BLOCK },    { "hr", HTML_KIND_RULE },
    { "img", HTML_KIND_IMAGE },       { "li", HTML_KIND_ITEM },
    { "main", HTML_KIND_BLOCK },      { "map", HTML_KIND_HIDDEN },
    { "nav", HTML_KIND_BLOCK },       { "ol", HTML_KIND_LIST },
    { "p", HTML_KIND_PARAGRAPH },     { "pre", HTML_KIND_PRE },
    { "script", HTML_KIND_HIDDEN },   { "section", HTML_KIND_BLOCK },
    { "select", HTML_KIND_HIDDEN },   { "style", HTML_KIND_HIDDEN },
    { "svg", HTML_KIND_HIDDEN },      { "table", HTML_KIND_TABLE },
    { "tbody", HTML_KIND_ROW },       { "td", HTML_KIND_CELL },
    { "template", HTML_KIND_HIDDEN }, { "tfoot", HTML_KIND_ROW },
    { "th", HTML_KIND_HEADING_CELL }, { "thead", HTML_KIND_ROW },
    { "title", HTML_KIND_HIDDEN },    { "tr", HTML_KIND_ROW },
    { "ul", HTML_KIND_LIST },         { "video", HTML_KIND_HIDDEN },
};

static int compare_name(const void *name, const void *element)
{
    return strcmp(name, ((const struct Known *)element)->name);
}

HtmlKind html_kind(const char *name)
{
    const struct Known *found =
        bsearch(name, known, ELEMENTSOF(known), sizeof(known[0]), compare_name);

    return found ? found->kind : 0;
}
