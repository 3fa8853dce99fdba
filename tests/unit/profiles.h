/* SPDX-License-Identifier: MIT */
#pragma once

/* A folder with a configuration and profiles, out of strings, for tests. */

#include "tests/unit/test.h"

#include <stdio.h>
#include <sys/stat.h>

#include "milterd/settings.h"

typedef struct Folder {
    char path[32];
    Settings *settings;
    char *said; /* errors and warnings, a line each, without the folder's path */
} Folder;

static inline int folder_set_up(void **state)
{
    Folder *folder = calloc(1, sizeof(*folder));
    char path[64];

    strcpy(folder->path, "/tmp/profilesXXXXXX");
    assert_non_null(mkdtemp(folder->path));
    snprintf(path, sizeof(path), "%s/p", folder->path);
    assert_int_equal(mkdir(path, 0755), 0);
    *state = folder;
    return 0;
}

static inline int folder_tear_down(void **state)
{
    Folder *folder = *state;
    char command[64];

    settings_free(folder->settings);
    free(folder->said);
    snprintf(command, sizeof(command), "rm -r %s", folder->path);
    assert_int_equal(system(command), 0);
    free(folder);
    return 0;
}

static inline void folder_write(Folder *folder, const char *name, const char *text)
{
    char path[128];
    FILE *stream;

    snprintf(path, sizeof(path), "%s/%s", folder->path, name);
    stream = fopen(path, "we");
    assert_non_null(stream);
    fputs(text, stream);
    fclose(stream);
}

/* Reads the text as the configuration of the folder. */
static inline int folder_load(Folder *folder, const char *text)
{
    char path[128];
    ConfigFile *file = NULL;
    size_t size;
    FILE *stream;
    int r;

    folder_write(folder, "milterd.conf", text);
    folder->settings = settings_free(folder->settings);
    free(folder->said);
    snprintf(path, sizeof(path), "%s/milterd.conf", folder->path);
    r = settings_load(path, &folder->settings, &file);
    stream = open_memstream(&folder->said, &size);
    for (size_t i = 0; i < config_n_errors(file) + config_n_warnings(file); i++) {
        const char *message = i < config_n_errors(file)
                                  ? config_error_at(file, i)
                                  : config_warning_at(file, i - config_n_errors(file));

        assert_memory_equal(message, folder->path, strlen(folder->path));
        fprintf(stream, "%s\n", message + strlen(folder->path) + 1);
    }
    fclose(stream);
    config_file_free(file);
    return r;
}

#define FOLDER_PROFILES "profiles = \"p\";\n"

/* What the rules of the configuration make of a mail: of the first that matches. */
static inline Record *folder_alert(const Folder *folder, Mail *mail, AlertNotes *notes)
{
    const Rule *matched[RULES_MATCHED_MAX];
    Record *record = NULL;
    RuleState state;

    rules_begin(&state, &folder->settings->rules);
    assert_int_equal(rules_look(&state, mail, MAIL_STAGE_MESSAGE), 1);
    assert_true(rules_result(&state, matched) > 0);
    assert_int_equal(alert_from_mail(&folder->settings->alert, mail, matched[0],
                                     now_usec(CLOCK_REALTIME), notes, &record),
                     0);
    return record;
}
