/* SPDX-License-Identifier: MIT */

/*
 * The text of a profile, a zero byte, and a mail that is read by it if it is one. What comes of it
 * must be a record that the relay takes.
 */

#include "tests/fuzz/fuzz.h"

#include <sys/mman.h>

#include "common/text.h"
#include "milterd/alert-limits.h"
#include "milterd/explain.h"
#include "milterd/mime.h"

#define BUDGET ((size_t)1000000) /* of steps; the fuzzer wants to go on */

/* libconfig forgets a string or two when it gives up on a file. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libconfig\n";
}

static Profile *load(const void *text, size_t size)
{
    _cleanup_close_ int fd = memfd_create("fuzz", MFD_CLOEXEC);
    _cleanup_(config_file_freep) ConfigFile *file = NULL;
    Profile *profile = NULL;
    char path[64];
    int r;

    REQUIRE(fd >= 0 && write(fd, text, size) == (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    r = profile_load(path, &profile, &file);
    REQUIRE((r == 0 && profile) || (r == -EINVAL && config_n_errors(file) > 0));
    return profile;
}

static void read_mail(const Profile *profile, Mail *mail)
{
    static const Rule rule = { .max_lines = 1000, .max_bytes = 49152 };
    size_t budget = BUDGET, size;
    _cleanup_(match_input_done) MatchInput input = { .mail = mail, .budget = &budget };
    _cleanup_record_ Record *record = record_new();
    _cleanup_free_ char *json = NULL;
    ProfileChoice choice;

    if (profile_choose(profile, &input, &choice) != 1)
        return;
    REQUIRE(profile_apply(&choice, &input, record) == 0);
    profile_omit(&choice, &input, record);
    REQUIRE(limits_apply(record, &rule, false) == 0);
    REQUIRE(text_is_clean(record->text, strlen(record->text)));
    REQUIRE(!record->title || text_is_clean(record->title, strlen(record->title)));
    REQUIRE(record_write(record, &json, &size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    const uint8_t *end = memchr(data, 0, size);
    _cleanup_(profile_freep) Profile *profile = NULL;
    _cleanup_(mail_done) Mail mail = {};

    if (!ready)
        mime_init();
    ready = true;

    profile = end ? load(data, (size_t)(end - data)) : NULL;
    if (!profile)
        return 0;
    REQUIRE(explain_read_mail(&mail, (const char *)end + 1, size - (size_t)(end - data) - 1,
                              1 << 20) == 0);
    read_mail(profile, &mail);
    return 0;
}
