/* SPDX-License-Identifier: MIT */

/*
 * A mail is compared with form after form; what the one that holds takes out of it goes into the
 * record by the form's templates.
 */

#include "milterd/profile.h"

#include "common/log.h"

/* The conditions that need no body come first: they are cheap, and most often enough. */
static int holds(const Match *match, MatchInput *input, const char *name)
{
    int r = match_look(match, input, MAIL_STAGE_CONNECT, MAIL_STAGE_HEADERS, name);

    if (r != MATCH_OPEN)
        return r;
    return match_look(match, input, MAIL_STAGE_MESSAGE, MAIL_STAGE_MESSAGE, name);
}

int profile_choose(const Profile *profile, MatchInput *input, ProfileChoice *ret)
{
    for (size_t i = 0; i < profile->forms.n; i++) {
        const Form *form = profile->forms.items[i];

        for (size_t j = 0; j < form->matches.n; j++) {
            int r = holds(form->matches.items[j], input, profile->name);

            if (r < 0)
                return r;
            if (r == MATCH_OPEN) {
                *ret = (ProfileChoice){ profile, form, form->matches.items[j] };
                return 1;
            }
        }
    }
    return 0;
}

static bool is_blank(const char *line)
{
    return line[strspn(line, " \t")] == '\0';
}

/* Takes lines out of a text, in place; where that brings two blank ones together, one stays.
 * Returns whether a regex reached its limits. */
static bool omit_lines(const Pattern *omit, size_t *budget, char *text)
{
    PatternSearch search = { .budget = budget };
    bool omitted = false, blank = true;
    char *to = text, *line = text;

    while (line && line - text < PATTERN_LONG_MAX) {
        char *end = strchr(line, '\n');
        const char *value = line;
        size_t size;

        if (end)
            *end = '\0';
        size = strlen(line);
        if (pattern_search(omit, &value, 1, &search) || (omitted && blank && is_blank(line))) {
            omitted = true;
        } else {
            omitted = false;
            blank = is_blank(line);
            memmove(to, line, size);
            to += size;
            if (end)
                *to++ = '\n';
        }
        line = end ? end + 1 : NULL;
    }
    if (line)
        memmove(to, line, strlen(line) + 1);
    else
        *to = '\0';
    return search.gave_up;
}

/* The flag alone is written to, and it is atomic. */
static void say_gave_up(const ProfileChoice *choice, const char *what)
{
    if (!atomic_exchange(&((Form *)choice->form)->gave_up_said, true))
        log_warning("profile \"%s\": a regex of form \"%s\" %s reached its limits with a mail, and "
                    "counts as not matching; make it simpler",
                    choice->profile->name, choice->form->name, what);
}

static int default_text(Mail *mail, Record *record)
{
    const char *text;
    bool cut;
    int r = mail_text(mail, &text, &cut);

    return r < 0 ? r : record_set(&record->text, text);
}

int profile_apply(const ProfileChoice *choice, MatchInput *input, Record *record)
{
    _cleanup_(variables_done) Variables variables = {
        .mail = input->mail, .groups_taken = true, /* nothing can name them here */
    };
    const Form *form = choice->form;
    int r;

    r = match_take(choice->match, input, &variables);
    if (r == 0)
        r = readings_apply(form->whole_read, &variables, input->budget, "profile",
                           choice->profile->name);
    if (r == 0)
        r = set_apply(&form->whole_set, &variables, input->budget, record);
    if (r == 0 && !record->text && !form->whole_set.text)
        r = default_text(input->mail, record);
    if (variables.gave_up)
        say_gave_up(choice, "in match or set");
    return r;
}

void profile_omit(const ProfileChoice *choice, MatchInput *input, Record *record)
{
    if (record->text && choice->form->whole_omit &&
        omit_lines(choice->form->whole_omit, input->budget, record->text))
        say_gave_up(choice, "in omit");
}
