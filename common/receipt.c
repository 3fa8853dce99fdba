/* SPDX-License-Identifier: MIT */

/*
 * Receipts, and the frames that they and records travel in (record.h).
 */

#include "common/record.h"

#include <stdio.h>

#include "common/json.h"
#include "common/text.h"

#define FRAME_LENGTH_BYTES 4

static const char *const status_names[] = {
    [RECEIPT_ACCEPTED] = "accepted",   [RECEIPT_DUPLICATE] = "duplicate",
    [RECEIPT_DELIVERED] = "delivered", [RECEIPT_BUSY] = "busy",
    [RECEIPT_REFUSED] = "refused",
};

const char *receipt_status_name(ReceiptStatus status)
{
    return status_names[status];
}

static int status_from_name(const char *name, ReceiptStatus *ret)
{
    for (size_t i = 0; i < ELEMENTSOF(status_names); i++) {
        if (streq(status_names[i], name)) {
            *ret = (ReceiptStatus)i;
            return 0;
        }
    }
    return -EINVAL;
}

static int refuse(char *reason, const char *because)
{
    snprintf(reason, RECORD_REASON_MAX, "%s", because);
    return -EBADMSG;
}

int receipt_parse(const char *json, size_t size, Receipt *ret,
                  char reason[static RECORD_REASON_MAX])
{
    _cleanup_json_ Json *object = NULL;
    _cleanup_free_ char *said = NULL;
    char json_reason[JSON_REASON_MAX];
    const char *id, *status, *said_raw;
    Receipt receipt = {};
    size_t cut;
    int r;

    if (size > RECORD_FRAME_MAX)
        return refuse(reason, "a receipt must be at most 65536 bytes");
    r = json_parse(json, size, &object, json_reason);
    if (r == -EBADMSG)
        return refuse(reason, json_reason);
    if (r < 0)
        return r;
    if (json_type(object) != JSON_IS_OBJECT)
        return refuse(reason, "a receipt must be a JSON object");
    if (json_as_integer(json_get(object, "v"), -1) != RECORD_VERSION)
        return refuse(reason, "v must be the integer 1");

    id = json_as_string(json_get(object, "id"), NULL);
    if (!id || (id[0] != '\0' && !record_id_is_valid(id)))
        return refuse(reason, "id must be that of a record, or an empty string");
    strcpy(receipt.id, id);

    status = json_as_string(json_get(object, "status"), "");
    if (status_from_name(status, &receipt.status) < 0)
        return refuse(reason, "status must be \"accepted\", \"duplicate\", \"delivered\", "
                              "\"busy\" or \"refused\"");

    said_raw = json_as_string(json_get(object, "reason"), NULL);
    if (!said_raw && json_get(object, "reason"))
        return refuse(reason, "reason must be a string");
    if (said_raw) {
        said = text_clean_line_dup(said_raw, strlen(said_raw));
        if (!said)
            return -ENOMEM;
        cut = text_cut(said, strlen(said), RECORD_REASON_MAX - 1);
        if (cut > 0 && said[cut - 1] == ' ')
            cut--;
        memcpy(receipt.reason, said, cut);
        receipt.reason[cut] = '\0';
    }
    *ret = receipt;
    return 0;
}

int receipt_write(const Receipt *receipt, char **ret_json, size_t *ret_size)
{
    _cleanup_json_ Json *object = json_object_new();
    _cleanup_free_ char *json = NULL, *reason = NULL;
    size_t size;
    int r;

    if (receipt->id[0] != '\0' && !record_id_is_valid(receipt->id))
        return -EINVAL;
    if (receipt->reason[0] != '\0') {
        reason = text_clean_line_dup(receipt->reason, strlen(receipt->reason));
        if (!reason)
            return -ENOMEM;
    }
    if ((r = json_set_integer(object, "v", RECORD_VERSION)) < 0 ||
        (r = json_set_string(object, "id", receipt->id)) < 0 ||
        (r = json_set_string(object, "status", receipt_status_name(receipt->status))) < 0 ||
        (r = json_set_string(object, "reason", reason)) < 0)
        return r;
    json = json_dump_dup(object, false, &size);
    if (!json)
        return -ENOMEM;
    *ret_size = size;
    *ret_json = steal_ptr(json);
    return 0;
}

int frame_next(const uint8_t *datagram, size_t size, size_t *offset, const char **ret_json,
               size_t *ret_size, char reason[static RECORD_REASON_MAX])
{
    const uint8_t *at = datagram + *offset;
    size_t left = size - *offset;
    uint32_t length;

    if (size == 0)
        return refuse(reason, "a datagram must hold at least one frame");
    if (size > RECORD_DATAGRAM_MAX)
        return refuse(reason, "a datagram must be at most 131072 bytes");
    if (left == 0)
        return 0;
    if (left < FRAME_LENGTH_BYTES)
        return refuse(reason, "something is left over behind the last frame");

    length = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
    if (length < 1 || length > RECORD_FRAME_MAX)
        return refuse(reason, "a frame's length must be 1 to 65536, as 4 bytes, big-endian");
    if (length > left - FRAME_LENGTH_BYTES)
        return refuse(reason, "a frame is longer than its datagram");

    *ret_json = (const char *)at + FRAME_LENGTH_BYTES;
    *ret_size = length;
    *offset += FRAME_LENGTH_BYTES + length;
    return 1;
}

void frame_put_length(uint8_t buffer[static 4], size_t size)
{
    buffer[0] = (uint8_t)(size >> 24);
    buffer[1] = (uint8_t)(size >> 16);
    buffer[2] = (uint8_t)(size >> 8);
    buffer[3] = (uint8_t)size;
}
