/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What a style attribute says about whether text is seen, and how.
 */

#include "common/util.h"

typedef enum HtmlFont {
    HTML_FONT_INHERITED,
    HTML_FONT_READABLE,
    HTML_FONT_INVISIBLE, /* too small for anybody's eyes */
} HtmlFont;

typedef struct HtmlStyle {
    bool hidden; /* with all that is in it */
    bool lines;  /* white space and line ends are kept */
    HtmlFont font;
} HtmlStyle;

HtmlStyle html_style_read(const char *style); /* NULL: says nothing */
