/* SPDX-License-Identifier: MIT */

/*
 * Declarations from ";" to ";". The previews of newsletters are hidden in as many ways as there
 * are programs that show mail: display, visibility, opacity, no height, letters of no size.
 * Templates set the size of letters to nothing for layout, too, and set it again further in.
 */

#include "milterd/html-style.h"

#include <stdlib.h>
#include <strings.h>

/* Whether a declaration is of this property; its value then. */
static const char *value_of(const char *declaration, const char *property)
{
    size_t length = strlen(property);

    if (strncasecmp(declaration, property, length) != 0)
        return NULL;
    declaration += length;
    declaration += strspn(declaration, " \t\r\n");
    if (*declaration != ':')
        return NULL;
    return declaration + 1 + strspn(declaration + 1, " \t\r\n");
}

static bool begins(const char *value, const char *word)
{
    return strncasecmp(value, word, strlen(word)) == 0;
}

/* The number at the front of a value; -1: there is none. */
static double number(const char *value)
{
    char digits[16] = "";
    size_t n = strspn(value, "0123456789.");

    if (n == 0 || n >= sizeof(digits))
        return -1;
    memcpy(digits, value, n);
    return strtod(digits, NULL);
}

static HtmlFont font(const char *value)
{
    double size = number(value);
    const char *unit = value + strspn(value, "0123456789.");

    if (size < 0)
        return HTML_FONT_READABLE;
    if (size == 0 || (size <= 1 && (begins(unit, "px") || begins(unit, "pt"))))
        return HTML_FONT_INVISIBLE;
    /* Relative to what may be nothing. */
    if (begins(unit, "em") || begins(unit, "%"))
        return HTML_FONT_INHERITED;
    return HTML_FONT_READABLE;
}

HtmlStyle html_style_read(const char *style)
{
    bool no_room = false, overflow_hidden = false, ellipsis = false;
    HtmlStyle result = {};

    while (style && *style) {
        const char *value;

        style += strspn(style, " \t\r\n;");
        if ((value = value_of(style, "display")))
            result.hidden = result.hidden || begins(value, "none");
        else if ((value = value_of(style, "visibility")))
            result.hidden = result.hidden || begins(value, "hidden");
        else if ((value = value_of(style, "opacity")))
            result.hidden = result.hidden || number(value) == 0;
        else if ((value = value_of(style, "max-height")))
            result.hidden = result.hidden || number(value) == 0;
        else if ((value = value_of(style, "height")) || (value = value_of(style, "width")) ||
                 (value = value_of(style, "max-width")))
            no_room = no_room || number(value) == 0;
        else if ((value = value_of(style, "overflow")))
            overflow_hidden = begins(value, "hidden");
        else if ((value = value_of(style, "text-overflow")))
            ellipsis = begins(value, "ellipsis");
        else if ((value = value_of(style, "font-size")))
            result.font = font(value);
        else if ((value = value_of(style, "white-space")))
            result.lines = begins(value, "pre");
        style += strcspn(style, ";");
    }
    /* A cell "of no width" with an ellipsis takes what the others leave. */
    result.hidden = result.hidden || (no_room && overflow_hidden && !ellipsis);
    return result;
}
