/* SPDX-License-Identifier: MIT */

/*
 * A whole mail: decoded, made an alert, as it is and by all our profiles. The record must be one
 * that the relay takes, the same each time but for a mail that has neither Message-ID nor Date.
 */

#include "tests/fuzz/fuzz.h"

#include <sys/mman.h>

#include "common/text.h"
#include "milterd/explain.h"
#include "milterd/header.h"
#include "milterd/mime.h"
#include "milterd/settings.h"

#define NOW (1795241563 * USEC_PER_SEC)

static char name[] = "fuzz", plain[] = "plain";

static Settings *settings;

static void load_settings(void)
{
    static const char text[] = "profiles = \"" SOURCE_ROOT "/milterd/profiles\";";
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    ConfigFile *file = NULL;
    char path[64];

    REQUIRE(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    REQUIRE(settings_load(path, &settings, &file) == 0);
    REQUIRE(settings->profiles->n > 0);
    config_file_free(file);
    close(fd);
}

static Record *alert(const uint8_t *data, size_t size, const Rule *rule)
{
    _cleanup_(mail_done) Mail mail = {};
    Record *record = NULL;

    REQUIRE(explain_read_mail(&mail, (const char *)data, size, 1 << 20) == 0);
    for (size_t i = 0; i < mail.n_headers; i++) {
        const char *text = mail_header_text(&mail.headers[i]);
        size_t offset = 0;
        char *address;

        REQUIRE(text && text_is_clean(text, strlen(text)) && !strchr(text, '\n'));
        while (header_next_address(mail.headers[i].value, &offset, &address) > 0)
            free(address);
    }
    REQUIRE(alert_from_mail(&settings->alert, &mail, rule, NOW, NULL, &record) == 0);
    return record;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    const Rule rules[] = {
        { .name = name, .max_lines = 1, .max_bytes = 256 },
        { .name = name, .max_lines = 1000, .max_bytes = 49152 },
        { .name = name, .max_lines = 1000, .max_bytes = 49152, .profile = plain },
    };

    if (!ready) {
        mime_init();
        load_settings();
    }
    ready = true;

    for (size_t i = 0; i < ELEMENTSOF(rules); i++) {
        _cleanup_record_ Record *record = alert(data, size, &rules[i]);
        _cleanup_record_ Record *again = NULL, *same = alert(data, size, &rules[i]);
        char id[RECORD_ID_MAX + 1], reason[RECORD_REASON_MAX];
        _cleanup_free_ char *json = NULL;
        size_t json_size;

        REQUIRE(text_is_clean(record->text, strlen(record->text)));
        REQUIRE(!record->title || text_is_clean(record->title, strlen(record->title)));
        REQUIRE(record->text[0] != '\0' && strlen(record->text) <= rules[i].max_bytes);
        REQUIRE(!record->title == (rules[i].profile != NULL));
        REQUIRE(streq(record->id, same->id) && streq(record->text, same->text));
        REQUIRE(record_write(record, &json, &json_size) == 0);
        REQUIRE(record_parse(json, json_size, &again, id, reason) == 0);
    }
    return 0;
}
