/* SPDX-License-Identifier: MIT */

/* An Accept header, as a client of the metrics sends it. */

#include "tests/fuzz/fuzz.h"

#include "common/metrics.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *accept = strndup((const char *)data, size);
    MetricsFormat format;

    REQUIRE(accept);
    format = metrics_negotiate(accept);
    REQUIRE(format == METRICS_TEXT || strcasestr(accept, "application/openmetrics-text"));
    return 0;
}
