/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A profile: how the mails of one kind of sender are recognised and read, as
 * milterd-profile(5) describes its file.
 */

#include "milterd/match.h"
#include "milterd/reading.h"
#include "milterd/set.h"

#define PROFILE_NAME_MAX 64
#define PROFILE_FORMS_MAX 64
#define PROFILE_MATCHES_MAX 32 /* of a form */
#define PROFILE_OMIT_MAX 64

typedef struct Matches {
    Match **items;
    size_t n;
} Matches;

/* One of the forms that the mails have. */
typedef struct Form {
    char *name;
    Matches matches; /* any of them */
    Readings read;
    Set set;
    Pattern *omit; /* lines of the text that it matches; NULL: none */
    atomic_bool gave_up_said;

    /* With what the profile has for all; nothing in here is the form's own to free. */
    const Readings *whole_read;
    Set whole_set;
    const Pattern *whole_omit;
} Form;

typedef struct Profile {
    char *name;
    char *about;
    char *recognised;
    int64_t order;
    Readings read;
    Set set;
    Pattern *omit;
    ConfigItems forms; /* of Form */
} Profile;

/* Reads and checks a file: 0; -EINVAL when it has errors, which are in *ret_file, and there is no
 * profile; -ENOMEM. *ret_file is set but for -ENOMEM. */
int profile_load(const char *path, Profile **ret, ConfigFile **ret_file);
Profile *profile_free(Profile *profile);
DEFINE_CLEANUP(Profile *, profile_free)

/* All fields that it sets; all that its templates and readings name; and of its matches. */
int profile_add_fields(const Profile *profile, Names *fields);
int profile_add_uses(const Profile *profile, Names *uses);
int profile_add_macros(const Profile *profile, Names *macros); /* as in the protocol */
bool profile_matches_at(const Profile *profile, MailStage stage);

typedef struct ProfileChoice {
    const Profile *profile;
    const Form *form;
    const Match *match; /* that holds */
} ProfileChoice;

/* The first form that knows the mail. 1, 0: none does, -ENOMEM. */
int profile_choose(const Profile *profile, MatchInput *input, ProfileChoice *ret);

/* Reads the mail into title, severity, state, key, fields, facts and text, as far as the form sets
 * them; of what is missing the text alone is filled in. -ENOMEM. */
int profile_apply(const ProfileChoice *choice, MatchInput *input, Record *record);

/* Takes the lines out of the text that the form omits. */
void profile_omit(const ProfileChoice *choice, MatchInput *input, Record *record);
