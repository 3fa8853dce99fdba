/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>

#include "milterd/explain-source.h"

static char folder[64];

static const char *path_of(const char *name)
{
    static char paths[4][128];
    static size_t next;
    char *path = paths[next++ % ELEMENTSOF(paths)];

    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

static void put(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "we");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int make_folder(void **state)
{
    strcpy(folder, "/tmp/test-source-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    return remove(path);
}

static int remove_folder(void **state)
{
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* "NAME:NUMBER=SUBJECT" of all that comes, or "NAME!ERRNO", with blanks between. */
static char *all_of(const char *const *names, size_t n)
{
    char *paths[4], *found = NULL;
    _cleanup_(source_freep) Source *source = NULL;
    size_t size, skip = strlen(folder) + 1;
    FILE *stream = open_memstream(&found, &size);
    bool more = true;

    for (size_t i = 0; i < n; i++)
        paths[i] = strdup(path_of(names[i]));
    assert_return_code(source_new(paths, n, 1 << 20, &source), 0);
    for (;;) {
        _cleanup_(mail_done) Mail mail = {};
        SourcePlace place;
        int r = source_next(source, &mail, &place);

        if (r == 0)
            break;
        assert_true(more);
        more = source_has_more(source);
        fprintf(stream, "%s%s", ftell(stream) > 0 ? " " : "", place.path + skip);
        if (r < 0)
            fprintf(stream, "!%s", strerrorname_np(-r));
        else if (place.number > 0)
            fprintf(stream, ":%zu=%s", place.number, mail_header(&mail, "Subject"));
        else
            fprintf(stream, "=%s", mail_header(&mail, "Subject"));
    }
    assert_false(source_has_more(source));
    fclose(stream);
    for (size_t i = 0; i < n; i++)
        free(paths[i]);
    return found;
}

static void assert_all(const char *expected, const char *const *names, size_t n)
{
    _cleanup_free_ char *found = all_of(names, n);

    assert_string_equal(found, expected);
}

#define ASSERT_ALL(expected, ...)                                                                  \
    do {                                                                                           \
        static const char *const names_[] = { __VA_ARGS__ };                                       \
        assert_all(expected, names_, ELEMENTSOF(names_));                                          \
    } while (0)

static void source_files_and_mboxes_come_in_their_order(void **state)
{
    put("mail", "Subject: a\n\n");
    put("mbox", "From x Sat Nov 21 06:25:01 2026\nSubject: b\n\n"
                "From x Sat Nov 21 06:25:01 2026\nSubject: c\n\n");
    put("single", "From x Sat Nov 21 06:25:01 2026\nSubject: d\n\n");
    ASSERT_ALL("mbox:1=b mbox:2=c mail=a single=d", "mbox", "mail", "single");
}

static void source_maildir_gives_all_of_cur_and_new(void **state)
{
    mkdir(path_of("maildir"), 0700);
    mkdir(path_of("maildir/cur"), 0700);
    mkdir(path_of("maildir/new"), 0700);
    mkdir(path_of("maildir/tmp"), 0700);
    put("maildir/cur/2.x:2,S", "Subject: b\n\n");
    put("maildir/cur/1.x:2,", "Subject: a\n\n");
    put("maildir/cur/.hidden", "Subject: no\n\n");
    put("maildir/new/3.x", "Subject: c\n\n");
    put("maildir/tmp/4.x", "Subject: no\n\n");
    put("maildir/5.eml", "Subject: no\n\n");
    ASSERT_ALL("maildir/cur/1.x:2,=a maildir/cur/2.x:2,S=b maildir/new/3.x=c", "maildir");
    ASSERT_ALL("maildir/cur/1.x:2,=a maildir/cur/2.x:2,S=b maildir/new/3.x=c", "maildir/");
}

static void source_folder_gives_its_eml_files(void **state)
{
    mkdir(path_of("plain"), 0700);
    put("plain/b.eml", "Subject: b\n\n");
    put("plain/a.eml", "Subject: a\n\n");
    put("plain/.eml", "Subject: no\n\n");
    put("plain/a.json", "{}");
    ASSERT_ALL("plain/a.eml=a plain/b.eml=b", "plain");
}

static void source_what_cannot_be_read_stops_nothing(void **state)
{
    mkdir(path_of("none"), 0700);
    mkdir(path_of("odd"), 0700);
    mkdir(path_of("odd/x.eml"), 0700);
    assert_return_code(mkfifo(path_of("odd/y.eml"), 0600), 0);
    put("empty", "");
    put("mail", "Subject: a\n\n");
    ASSERT_ALL("no-such!ENOENT none!ENODATA empty!ENODATA mail=a", "no-such", "none", "empty",
               "mail");
    ASSERT_ALL("odd/x.eml!EISDIR odd/y.eml!ENXIO mail=a", "odd", "mail");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(source_files_and_mboxes_come_in_their_order, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(source_maildir_gives_all_of_cur_and_new, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(source_folder_gives_its_eml_files, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(source_what_cannot_be_read_stops_nothing, make_folder,
                                        remove_folder),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
