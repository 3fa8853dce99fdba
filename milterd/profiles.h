/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * All profiles: loaded once with the configuration, and only read after that, by all threads.
 */

#include "milterd/profile.h"

#define PROFILES_MAX 512

/* The folders of the default; PROFILES_DIR is where profiles are installed. */
#define PROFILES_LOCAL_DIR "/etc/milterd/profiles"
#define PROFILES_DEFAULT "[ \"" PROFILES_DIR "\", \"" PROFILES_LOCAL_DIR "\" ]"

typedef struct Profiles {
    Profile **items; /* in the order in which they are asked */
    size_t n;

    Names fields; /* that any of them sets */
    Names macros; /* that any of them looks at, as in the protocol */
    bool needs_helo;
} Profiles;

/* Reads all *.conf in the folders of `folders`, the value of the key "profiles" of the
 * configuration `file`, which is read from `path`; where a folder is not absolute it is below the
 * folder of that. One of the same name in a later folder replaces the former. What is wrong is
 * reported as errors of `file`, and so are folders that are missing but those of the default. 0 or
 * -ENOMEM; there is a result even with errors. */
int profiles_load(const ConfigStrings *folders, const char *path, ConfigFile *file, Profiles **ret);
Profiles *profiles_free(Profiles *profiles);
DEFINE_CLEANUP(Profiles *, profiles_free)

const Profile *profiles_find(const Profiles *profiles, const char *name);

/* The first of all that knows the mail. 1, 0: none does, -ENOMEM. */
int profiles_choose(const Profiles *profiles, MatchInput *input, ProfileChoice *ret);
