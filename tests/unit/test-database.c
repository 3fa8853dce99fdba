/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "xmpprelay/database.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define MARK 0x54455354

static const char *const steps[] = {
    "CREATE TABLE alert (id TEXT PRIMARY KEY) STRICT;",
    "ALTER TABLE alert ADD COLUMN room TEXT NOT NULL DEFAULT 'ops';"
    "CREATE INDEX by_room ON alert (room);",
    "CREATE TABLE other (x INTEGER) STRICT;",
};

static const DatabaseFormat format_1 = { .application_id = MARK, .n_steps = 1, .steps = steps };
static const DatabaseFormat format_3 = { .application_id = MARK, .n_steps = 3, .steps = steps };

typedef struct Folder {
    char path[64];
    char file[80];
} Folder;

static int folder_setup(void **state)
{
    Folder *folder = calloc(1, sizeof(*folder));

    assert_non_null(folder);
    snprintf(folder->path, sizeof(folder->path), "/tmp/test-database-XXXXXX");
    assert_non_null(mkdtemp(folder->path));
    snprintf(folder->file, sizeof(folder->file), "%s/x.db", folder->path);
    *state = folder;
    return 0;
}

/* Returns how many there were. */
static size_t remove_files(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    size_t n = 0;

    assert_non_null(dir);
    while ((entry = readdir(dir)))
        if (entry->d_name[0] != '.') {
            assert_int_equal(unlinkat(dirfd(dir), entry->d_name, 0), 0);
            n++;
        }
    closedir(dir);
    return n;
}

static int folder_teardown(void **state)
{
    Folder *folder = *state;

    remove_files(folder->path);
    rmdir(folder->path);
    free(folder);
    return 0;
}

static int try_open(const Folder *folder, const DatabaseFormat *format, Database **ret,
                    char reason[static DATABASE_REASON_MAX])
{
    bool made;

    reason[0] = '\0';
    return database_open(folder->file, format, 0, ret, &made, reason);
}

static Database *must_open(const Folder *folder, const DatabaseFormat *format)
{
    char reason[DATABASE_REASON_MAX];
    Database *database = NULL;

    if (try_open(folder, format, &database, reason) < 0)
        fail_msg("%s", reason);
    return database;
}

static int64_t number(Database *database, const char *sql)
{
    int64_t found = -1;

    assert_int_equal(database_query(database, sql, &found), 0);
    return found;
}

static void database_of_older_version_takes_all_steps_and_keeps_its_rows(void **state)
{
    const Folder *folder = *state;
    Database *database = must_open(folder, &format_1);

    assert_int_equal(number(database, "PRAGMA user_version"), 1);
    assert_int_equal(database_exec(database, "INSERT INTO alert VALUES ('a'), ('b')"), 0);
    database_free(database);

    database = must_open(folder, &format_3);
    assert_int_equal(number(database, "PRAGMA user_version"), 3);
    assert_int_equal(number(database, "SELECT COUNT(*) FROM alert WHERE room = 'ops'"), 2);
    assert_int_equal(number(database, "SELECT COUNT(*) FROM other"), 0);
    database_free(database);
    database = must_open(folder, &format_3); /* and not once more */
    assert_int_equal(number(database, "SELECT COUNT(*) FROM alert"), 2);
    database_free(database);
}

static void database_whose_step_fails_stays_as_it_was(void **state)
{
    const Folder *folder = *state;
    static const char *const broken[] = {
        "CREATE TABLE alert (id TEXT PRIMARY KEY) STRICT;",
        "DELETE FROM alert; CREATE TABLE half (x INTEGER);",
        "CREATE TABLE alert (x INTEGER);",
    };
    const DatabaseFormat format = { .application_id = MARK, .n_steps = 3, .steps = broken };
    Database *database = must_open(folder, &format_1);
    char reason[DATABASE_REASON_MAX];

    assert_int_equal(database_exec(database, "INSERT INTO alert VALUES ('a')"), 0);
    database_free(database);
    database = NULL;
    assert_int_not_equal(try_open(folder, &format, &database, reason), 0);
    assert_null(database);
    assert_non_null(strstr(reason, "already exists"));

    database = must_open(folder, &format_1);
    assert_int_equal(number(database, "SELECT COUNT(*) FROM alert"), 1);
    assert_int_equal(number(database, "SELECT COUNT(*) FROM sqlite_schema WHERE name = 'half'"), 0);
    database_free(database);
}

static void database_of_newer_version_is_refused_and_kept(void **state)
{
    const Folder *folder = *state;
    char reason[DATABASE_REASON_MAX];
    Database *database = NULL;

    database_free(must_open(folder, &format_3));
    assert_int_equal(try_open(folder, &format_1, &database, reason), -EPROTONOSUPPORT);
    assert_non_null(strstr(reason, "newer"));
    assert_non_null(strstr(reason, folder->file));
    database = must_open(folder, &format_3);
    assert_int_equal(number(database, "PRAGMA user_version"), 3);
    database_free(database);
}

static void database_of_another_program_is_refused_and_kept(void **state)
{
    const Folder *folder = *state;
    static const DatabaseFormat other = { .application_id = 1, .n_steps = 1, .steps = steps };
    char reason[DATABASE_REASON_MAX];
    Database *database = NULL;
    struct stat before, after;

    database_free(must_open(folder, &other));
    assert_int_equal(stat(folder->file, &before), 0);
    assert_int_equal(try_open(folder, &format_1, &database, reason), -ENOEXEC);
    assert_non_null(strstr(reason, "other program"));
    assert_int_equal(stat(folder->file, &after), 0);
    assert_int_equal(before.st_size, after.st_size);
    assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
}

static void database_that_is_made_leaves_no_other_file(void **state)
{
    const Folder *folder = *state;

    Database *database = must_open(folder, &format_1);

    database_trust(database);
    database_free(database);
    assert_int_equal(remove_files(folder->path), 1);
}

static void database_that_cant_be_made_leaves_nothing(void **state)
{
    const Folder *folder = *state;
    static const char *const broken[] = { "CREATE TABLE" };
    const DatabaseFormat format = { .application_id = MARK, .n_steps = 1, .steps = broken };
    char reason[DATABASE_REASON_MAX];
    Database *database = NULL;

    assert_int_not_equal(try_open(folder, &format, &database, reason), 0);
    assert_non_null(strstr(reason, "can't be written"));
    assert_int_equal(remove_files(folder->path), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_setup, folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(database_of_older_version_takes_all_steps_and_keeps_its_rows),
        TEST(database_whose_step_fails_stays_as_it_was),
        TEST(database_of_newer_version_is_refused_and_kept),
        TEST(database_of_another_program_is_refused_and_kept),
        TEST(database_that_is_made_leaves_no_other_file),
        TEST(database_that_cant_be_made_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
