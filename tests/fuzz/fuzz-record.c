/* SPDX-License-Identifier: MIT */

/*
 * A datagram from anybody: taken apart into frames, read as records, composed for a room. What
 * was read must be written and read again as the same.
 */

#include "tests/fuzz/fuzz.h"

#include "common/compose.h"
#include "common/record.h"
#include "common/text.h"

/* A block that was begun is ended, by the last line, and by no other. */
static void check_fences(const char *message)
{
    const char *end = message + strlen(message);
    unsigned n = 0;

    for (const char *line = message; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, "```", 3) != 0)
            continue;
        n++;
        REQUIRE(n == 1 ? line[3] == '\n' : n == 2 && line + 3 == end);
    }
    REQUIRE(n != 1);
}

static void compose(const Record *record)
{
    static const size_t sizes[] = { 256, 1000, 8192 };

    for (size_t i = 0; i < ELEMENTSOF(sizes); i++)
        for (int style = COMPOSE_STYLED; style <= COMPOSE_PLAIN; style++) {
            _cleanup_free_ char *message = NULL;

            REQUIRE(compose_message(record, (ComposeStyle)style, 1700000000 * USEC_PER_SEC,
                                    sizes[i], &message) == 0);
            REQUIRE(message[0] != '\0');
            REQUIRE(text_is_clean(message, strlen(message)));
            REQUIRE(text_xml_size(message, strlen(message)) <= sizes[i]);
            if (style == COMPOSE_STYLED)
                check_fences(message);
        }
}

static void write_and_read_again(const Record *record)
{
    _cleanup_free_ char *first = NULL, *second = NULL;
    _cleanup_record_ Record *again = NULL;
    char id[RECORD_ID_MAX + 1], reason[RECORD_REASON_MAX];
    size_t first_size, second_size;
    int r = record_write(record, &first, &first_size);

    /* Escapes may make it longer than it came. */
    if (r == -EMSGSIZE)
        return;
    REQUIRE(r == 0);
    REQUIRE(record_parse(first, first_size, &again, id, reason) == 0);
    REQUIRE(streq(id, record->id ? record->id : ""));
    REQUIRE(record_write(again, &second, &second_size) == 0);
    REQUIRE(streq(first, second));
}

static void read_record(const char *json, size_t size)
{
    char id[RECORD_ID_MAX + 1], reason[RECORD_REASON_MAX] = "";
    _cleanup_record_ Record *record = NULL;
    int r = record_parse(json, size, &record, id, reason);

    REQUIRE(id[0] == '\0' || record_id_is_valid(id));
    if (r < 0) {
        REQUIRE(r == -EBADMSG);
        REQUIRE(reason[0] != '\0' && text_is_clean(reason, strlen(reason)));
        return;
    }
    compose(record);
    write_and_read_again(record);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char reason[RECORD_REASON_MAX] = "";
    size_t offset = 0, json_size;
    const char *json;
    int r;

    while ((r = frame_next(data, size, &offset, &json, &json_size, reason)) > 0) {
        REQUIRE((const uint8_t *)json >= data && json_size <= size);
        REQUIRE((const uint8_t *)json + json_size <= data + size);
        read_record(json, json_size);
    }
    REQUIRE(r == 0 || (r == -EBADMSG && reason[0] != '\0'));

    /* Without the frame too: a fuzzer seldom guesses a length. */
    read_record((const char *)data, size);
    return 0;
}
