/* SPDX-License-Identifier: MIT */

/* A receipt, as a sender reads it. What was read must be written and read again as the same. */

#include "tests/fuzz/fuzz.h"

#include "common/record.h"
#include "common/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char reason[RECORD_REASON_MAX] = "";
    _cleanup_free_ char *json = NULL;
    Receipt receipt, again;
    size_t json_size;
    int r = receipt_parse((const char *)data, size, &receipt, reason);

    if (r < 0) {
        REQUIRE(r == -EBADMSG);
        REQUIRE(reason[0] != '\0' && text_is_clean(reason, strlen(reason)));
        return 0;
    }
    REQUIRE(text_is_clean(receipt.reason, strlen(receipt.reason)));
    REQUIRE(receipt_write(&receipt, &json, &json_size) == 0);
    REQUIRE(receipt_parse(json, json_size, &again, reason) == 0);
    REQUIRE(streq(again.id, receipt.id) && again.status == receipt.status);
    REQUIRE(streq(again.reason, receipt.reason));
    return 0;
}
