/* SPDX-License-Identifier: MIT */
#pragma once

/* Rules out of a configuration in a string, for tests. */

#include "tests/unit/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

#include "milterd/rules.h"

typedef struct RulesSettings {
    RuleSet rules;
} RulesSettings;

static const ConfigKey rules_settings_keys[] = {
    { "rules", CONFIG_LIST, offsetof(RulesSettings, rules), .keys = rule_keys,
      .item_size = sizeof(Rule), .item_free = rule_free, .parse = rules_check },
    {},
};

/* Reads them into `settings`; the result is the errors and then the warnings, each with its line
 * and a line end behind it, and the caller's. */
static inline char *rules_load(const char *text, RulesSettings *settings)
{
    char path[] = "/tmp/test-rules-XXXXXX", *said = NULL;
    int fd = mkstemp(path);
    ConfigFile *file = NULL;
    size_t size;
    FILE *stream;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    *settings = (RulesSettings){};
    config_load(path, rules_settings_keys, settings, &file);
    unlink(path);
    assert_non_null(file);

    stream = open_memstream(&said, &size);
    for (size_t i = 0; i < config_n_errors(file) + config_n_warnings(file); i++) {
        const char *message = i < config_n_errors(file)
                                  ? config_error_at(file, i)
                                  : config_warning_at(file, i - config_n_errors(file));

        /* The name of the file is of no interest. */
        fprintf(stream, "%s\n",
                strncmp(message, path, strlen(path)) == 0 ? message + strlen(path) + 1 : message);
    }
    fclose(stream);
    config_file_free(file);
    return said;
}

static inline void rules_done(RulesSettings *settings)
{
    config_target_done(rules_settings_keys, settings);
}
