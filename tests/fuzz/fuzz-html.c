/* SPDX-License-Identifier: MIT */

/* HTML from anybody: what comes out is clean, and not longer than it may be. */

#include "tests/fuzz/fuzz.h"

#include "common/text.h"
#include "milterd/html.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *text = NULL;
    char charset[HTML_CHARSET_MAX + 1];
    size_t left = HTML_SIZE_MAX;
    static bool ready;
    bool cut;

    if (!ready)
        html_init();
    ready = true;

    html_charset((const char *)data, size, charset);
    REQUIRE(html_to_text((const char *)data, size, &left, &text, &cut) == 0);
    REQUIRE(left <= HTML_SIZE_MAX);
    REQUIRE(text_is_clean(text, strlen(text)));
    REQUIRE(strlen(text) <= 2 * HTML_SIZE_MAX + 16);
    return 0;
}
