/* SPDX-License-Identifier: MIT */

/* A pattern, a line end, and a value that is compared with it in every way. */

#include "tests/fuzz/fuzz.h"

#include "milterd/pattern.h"

static void compare(Pattern *pattern, int r, const char *value)
{
    _cleanup_free_ char *described = NULL;
    bool gave_up = false;

    REQUIRE(r == 0 || r == -EINVAL);
    if (r < 0)
        return;
    pattern_match(pattern, &value, 1, &gave_up);
    REQUIRE(!pattern_match(pattern, NULL, 0, &gave_up));
    described = pattern_describe(pattern);
    REQUIRE(described);
    pattern_free(pattern);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *text = strndup((const char *)data, size);
    char reason[PATTERN_REASON_MAX];
    Pattern *pattern = NULL;
    char *value;
    int r;

    REQUIRE(text);
    value = strchr(text, '\n');
    if (!value)
        return 0;
    *value++ = '\0';

    r = pattern_new_equal(text, size % 2, &pattern, reason);
    compare(pattern, r, value);
    r = pattern_new_glob(text, size % 2, &pattern, reason);
    compare(pattern, r, value);
    r = pattern_new_regex(text, &pattern, reason);
    compare(pattern, r, value);
    r = pattern_new_cidr(text, &pattern, reason);
    compare(pattern, r, value);
    return 0;
}
