/* SPDX-License-Identifier: MIT */

/*
 * Which format a client asks for: RFC 9110, section 12.5.1, as far as two formats need it.
 */

#include "common/metrics.h"

#include <strings.h>

#define OPENMETRICS_TYPE "application/openmetrics-text"
#define OPENMETRICS_VERSION "1.0.0"

typedef struct Span {
    const char *at;
    size_t length;
} Span;

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* The next piece of `*text` up to `separator`, without the blanks around it; what is in quotes is
 * none of ours, so quotes are not looked at. */
static bool next_piece(Span *text, char separator, Span *ret)
{
    const char *end;
    Span piece = *text;

    if (!text->at)
        return false;
    end = memchr(text->at, separator, text->length);
    if (end) {
        piece.length = (size_t)(end - text->at);
        text->length -= piece.length + 1;
        text->at = end + 1;
    } else {
        text->at = NULL;
    }
    while (piece.length > 0 && is_blank(piece.at[0])) {
        piece.at++;
        piece.length--;
    }
    while (piece.length > 0 && is_blank(piece.at[piece.length - 1]))
        piece.length--;
    *ret = piece;
    return true;
}

static bool span_is(Span span, const char *text)
{
    return span.length == strlen(text) && strncasecmp(span.at, text, span.length) == 0;
}

static bool span_takes(Span *span, const char *prefix)
{
    size_t length = strlen(prefix);

    if (span->length < length || strncasecmp(span->at, prefix, length) != 0)
        return false;
    span->at += length;
    span->length -= length;
    return true;
}

/* In thousandths, which is all that a weight may have. */
static unsigned parse_weight(Span span)
{
    unsigned weight = 0, scale = 1000;

    for (size_t i = 0; i < span.length && scale > 0; i++) {
        if (i == 1 && span.at[i] == '.')
            continue;
        if (span.at[i] < '0' || span.at[i] > '9')
            return 0;
        weight += (unsigned)(span.at[i] - '0') * scale;
        scale /= 10;
    }
    return MIN(weight, 1000U);
}

MetricsFormat metrics_negotiate(const char *accept)
{
    Span rest = { accept, accept ? strlen(accept) : 0 }, range;
    unsigned open = 0, text = 0;

    while (next_piece(&rest, ',', &range)) {
        unsigned weight = 1000;
        bool version_fits = true;
        Span type = {}, parameter;

        next_piece(&range, ';', &type);
        while (next_piece(&range, ';', &parameter)) {
            if (span_takes(&parameter, "q="))
                weight = parse_weight(parameter);
            else if (span_takes(&parameter, "version="))
                version_fits = span_is(parameter, OPENMETRICS_VERSION) ||
                               span_is(parameter, "\"" OPENMETRICS_VERSION "\"");
        }
        if (span_is(type, OPENMETRICS_TYPE) && version_fits)
            open = MAX(open, weight);
        else if (span_is(type, "text/plain"))
            text = MAX(text, weight);
    }
    return open > 0 && open >= text ? METRICS_OPENMETRICS : METRICS_TEXT;
}

const char *metrics_content_type(MetricsFormat format)
{
    return format == METRICS_OPENMETRICS ? OPENMETRICS_TYPE "; version=" OPENMETRICS_VERSION
                                                            "; charset=utf-8"
                                         : "text/plain; version=0.0.4; charset=utf-8";
}
