/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What the elements of HTML mean for text.
 */

typedef enum HtmlKind {
    HTML_KIND_NONE,      /* nothing */
    HTML_KIND_BLOCK,     /* on lines of its own */
    HTML_KIND_PARAGRAPH, /* with empty lines around */
    HTML_KIND_PRE,
    HTML_KIND_QUOTE,
    HTML_KIND_BREAK,
    HTML_KIND_RULE,
    HTML_KIND_LIST,
    HTML_KIND_ITEM,
    HTML_KIND_TABLE,
    HTML_KIND_ROW,
    HTML_KIND_CELL,
    HTML_KIND_HEADING_CELL,
    HTML_KIND_PAIRS,
    HTML_KIND_NAME,
    HTML_KIND_VALUE,
    HTML_KIND_LINK,
    HTML_KIND_BASE,
    HTML_KIND_IMAGE,
    HTML_KIND_HIDDEN,
} HtmlKind;

HtmlKind html_kind(const char *name); /* in lower case */
