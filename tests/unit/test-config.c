/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "common/config.h"

#include <fcntl.h>
#include <sys/stat.h>

/* libconfig forgets a string or two when it gives up on a file. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libconfig\n";
}

/* A configuration with a key of each type. */

typedef struct MatchPart {
    char *from;
    bool any;
} MatchPart;

typedef struct RulePart {
    char *name;
    MatchPart match;
    int64_t max_lines;
    char *custom;
} RulePart;

typedef struct All {
    char *listen;
    char *socket;
    char *ca_file;
    mode_t mode;
    int64_t workers;
    int64_t big;
    usec_t timeout_usec;
    usec_t unbounded_usec;
    uint64_t size_bytes;
    int on_failure;
    bool next;
    ConfigStrings to;
    ConfigItems rules;
} All;

static int parse_custom(ConfigFile *file, const ConfigNode *node, void *target)
{
    const char *value = config_node_string(node);
    char path[CONFIG_NODE_PATH_MAX];

    if (!value) {
        config_error(file, node, "%s: no string at line %u", config_node_path(node, path),
                     config_node_line(node));
        return 0;
    }
    *(char **)target = strdup(value);
    return *(char **)target ? 0 : -ENOMEM;
}

static int check_listen(ConfigFile *file, const ConfigNode *node, void *target)
{
    if (!strchr(*(char **)target, ':'))
        config_error(file, node, "listen: no colon in \"%s\"", *(char **)target);
    return 0;
}

static const char *const on_failure_names[] = { "tempfail", "accept", "drop", NULL };

static const ConfigKey match_keys[] = {
    { "from", CONFIG_STRING, offsetof(MatchPart, from), .fallback = NULL },
    { "any", CONFIG_BOOL, offsetof(MatchPart, any), .fallback = "true" },
    {},
};

static const ConfigKey rule_keys[] = {
    { "name", CONFIG_STRING, offsetof(RulePart, name), .required = true },
    { "match", CONFIG_GROUP, offsetof(RulePart, match), .keys = match_keys },
    { "max_lines", CONFIG_INT, offsetof(RulePart, max_lines), .fallback = "20", .min = 1,
      .max = 1000 },
    { "custom", CONFIG_CUSTOM, offsetof(RulePart, custom), .parse = parse_custom },
    {},
};

static void rule_free(void *item)
{
    RulePart *rule = item;

    free(rule->custom);
    config_target_done(rule_keys, rule);
    free(rule);
}

static const ConfigKey relay_keys[] = {
    { "socket", CONFIG_PATH, offsetof(All, socket), .fallback = "\"/run/x/relay.sock\"" },
    { "timeout", CONFIG_DURATION, offsetof(All, timeout_usec), .fallback = "\"5s\"", .min = 1,
      .max = 3600 * USEC_PER_SEC },
    { "grace", CONFIG_DURATION, offsetof(All, unbounded_usec), .fallback = "\"0\"" },
    { "on_failure", CONFIG_CHOICE, offsetof(All, on_failure), .fallback = "\"accept\"",
      .choices = on_failure_names },
    {},
};

static const ConfigKey all_keys[] = {
    { "listen", CONFIG_STRING, offsetof(All, listen), .fallback = "\"unix:/run/x\"",
      .parse = check_listen },
    { "listen_mode", CONFIG_MODE, offsetof(All, mode), .fallback = "\"0660\"" },
    { "ca_file", CONFIG_PATH, offsetof(All, ca_file), .fallback = "\"\"" },
    { "workers", CONFIG_INT, offsetof(All, workers), .fallback = "0", .max = 256 },
    { "big", CONFIG_INT, offsetof(All, big), .fallback = "-5" },
    { "max_size", CONFIG_SIZE, offsetof(All, size_bytes), .fallback = "\"8K\"", .min = 256,
      .max = 61440 },
    { "next", CONFIG_BOOL, offsetof(All, next), .fallback = "true" },
    { "to", CONFIG_STRINGS, offsetof(All, to), .fallback = "[ \"ops\" ]", .min = 1, .max = 3 },
    { "relay", CONFIG_GROUP, 0, .keys = relay_keys },
    { "rules", CONFIG_LIST, offsetof(All, rules), .keys = rule_keys, .item_size = sizeof(RulePart),
      .item_free = rule_free },
    {},
};

/* A folder to write files to, and what was loaded last. */

typedef struct Fixture {
    char folder[40];
    char path[64];
    All all;
    ConfigFile *file;
    char text[131072]; /* the errors, without the folder */
} Fixture;

static int fixture_setup(void **state)
{
    static Fixture fixture;

    fixture = (Fixture){ .folder = "/tmp/test-config-XXXXXX" };
    assert_non_null(mkdtemp(fixture.folder));
    snprintf(fixture.path, sizeof(fixture.path), "%s/x.conf", fixture.folder);
    *state = &fixture;
    return 0;
}

static void unload(Fixture *fixture)
{
    config_target_done(all_keys, &fixture->all);
    fixture->all = (All){};
    fixture->file = config_file_free(fixture->file);
}

static int fixture_teardown(void **state)
{
    Fixture *fixture = *state;
    char command[64];

    unload(fixture);
    snprintf(command, sizeof(command), "rm -rf %s", fixture->folder);
    assert_int_equal(system(command), 0);
    return 0;
}

static void write_bytes(Fixture *fixture, const char *name, const char *text, size_t size)
{
    char path[512];
    FILE *stream;

    snprintf(path, sizeof(path), "%s/%s", fixture->folder, name);
    stream = fopen(path, "we");
    assert_non_null(stream);
    assert_int_equal(fwrite(text, 1, size, stream), size);
    assert_int_equal(fclose(stream), 0);
}

static void write_file(Fixture *fixture, const char *name, const char *text)
{
    write_bytes(fixture, name, text, strlen(text));
}

static void add_without_folder(Fixture *fixture, const char *text)
{
    size_t used = strlen(fixture->text), folder_size = strlen(fixture->folder);

    for (; *text; text++) {
        if (strncmp(text, fixture->folder, folder_size) == 0) {
            text += folder_size;
            assert_int_equal(*text, '/');
            continue;
        }
        assert_true(used + 2 < sizeof(fixture->text));
        fixture->text[used++] = *text;
    }
    fixture->text[used++] = '\n';
    fixture->text[used] = '\0';
}

/* Loads x.conf and returns its errors, one a line. */
static const char *load_path(Fixture *fixture, const char *path)
{
    int r;

    unload(fixture);
    fixture->text[0] = '\0';
    r = config_load(path, all_keys, &fixture->all, &fixture->file);
    assert_non_null(fixture->file);
    assert_int_equal(r, config_n_errors(fixture->file) > 0 ? -EINVAL : 0);
    for (size_t i = 0; i < config_n_errors(fixture->file); i++)
        add_without_folder(fixture, config_error_at(fixture->file, i));
    return fixture->text;
}

static const char *load(Fixture *fixture, const char *text)
{
    write_file(fixture, "x.conf", text);
    return load_path(fixture, fixture->path);
}

static const RulePart *rule(const Fixture *fixture, size_t index)
{
    assert_true(index < fixture->all.rules.n);
    return fixture->all.rules.items[index];
}

static void config_empty_file_gives_all_defaults(void **state)
{
    Fixture *fixture = *state;
    const All *all = &fixture->all;

    assert_string_equal(load(fixture, ""), "");
    assert_string_equal(all->listen, "unix:/run/x");
    assert_string_equal(all->socket, "/run/x/relay.sock");
    assert_string_equal(all->ca_file, "");
    assert_int_equal(all->mode, 0660);
    assert_int_equal(all->workers, 0);
    assert_int_equal(all->big, -5);
    assert_int_equal(all->timeout_usec, 5 * USEC_PER_SEC);
    assert_int_equal(all->size_bytes, 8192);
    assert_int_equal(all->on_failure, 1);
    assert_true(all->next);
    assert_int_equal(all->to.n, 1);
    assert_string_equal(all->to.items[0], "ops");
    assert_null(all->to.items[1]);
    assert_int_equal(all->rules.n, 0);
}

static void config_values_of_each_type_are_read(void **state)
{
    Fixture *fixture = *state;
    const All *all = &fixture->all;

    assert_string_equal(load(fixture, "# a comment with \"quotes and { brackets\n"
                                      "listen = \"inet:\" // or not\n \"8891@x\";\n"
                                      "/* { \n @include \"nowhere\" */ workers = 0x10;\n"
                                      "big = 9223372036854775807; ca_file = \"/ca\";\n"
                                      "listen_mode = \"600\"; max_size = \"60K\"; next = FALSE;\n"
                                      "to = ( \"a\", \"b\\\"\\\\\" );\n"
                                      "relay = { timeout: \"500ms\"; on_failure = \"drop\";\n"
                                      "  grace = \"9d\"; socket = \"/s\" };\n"
                                      "rules = ( { name = \"one\"; custom = \"c\";\n"
                                      "    match: { from = \"ä@x\"; any = false } },\n"
                                      "  { name = \"two\" } );\n"),
                        "");
    assert_string_equal(all->listen, "inet:8891@x");
    assert_int_equal(all->workers, 16);
    assert_int_equal(all->big, INT64_MAX);
    assert_string_equal(all->ca_file, "/ca");
    assert_int_equal(all->mode, 0600);
    assert_int_equal(all->size_bytes, 61440);
    assert_false(all->next);
    assert_int_equal(all->to.n, 2);
    assert_string_equal(all->to.items[1], "b\"\\");
    assert_int_equal(all->timeout_usec, 500 * USEC_PER_MSEC);
    assert_int_equal(all->unbounded_usec, 9 * 86400 * USEC_PER_SEC);
    assert_int_equal(all->on_failure, 2);
    assert_int_equal(all->rules.n, 2);
    assert_string_equal(rule(fixture, 0)->match.from, "ä@x");
    assert_string_equal(rule(fixture, 0)->custom, "c");
    assert_false(rule(fixture, 0)->match.any);
    assert_null(rule(fixture, 1)->match.from);
    assert_true(rule(fixture, 1)->match.any);
    assert_int_equal(rule(fixture, 1)->max_lines, 20);
}

static void config_wrong_types_say_what_is_allowed(void **state)
{
    assert_string_equal(
        load(*state,
             "listen = 5;\nlisten_mode = 0660;\nca_file = 1;\nworkers = \"1\";\nbig = 1.0;\n"
             "max_size = 64;\nnext = 1;\nto = 5;\nrelay = \"x\";\nrules = { };\n"),
        "x.conf:1: listen: must be a string in quotes\n"
        "x.conf:2: listen_mode: modes are strings, such as \"0660\"\n"
        "x.conf:3: ca_file: must be a path in quotes\n"
        "x.conf:4: workers: must be a whole number, without quotes; allowed are 0 to 256\n"
        "x.conf:5: big: must be a whole number, without quotes\n"
        "x.conf:6: max_size: sizes are strings, in bytes or with a unit (K M G), such as \"64K\"\n"
        "x.conf:7: next: must be true or false, without quotes\n"
        "x.conf:8: to: must be a string or a list of strings, such as [ \"a\", \"b\" ]\n"
        "x.conf:9: relay: must be a group of settings: relay: { … };\n"
        "x.conf:10: rules: must be a list of groups: rules = ( { … }, { … } );\n");
    assert_string_equal(
        load(*state, "relay: { socket = true; timeout = 5;\n on_failure = 1; };\n"
                     "rules = ( 5,\n { name = \"\"; match = ( );\n custom = 3; } );\n"
                     "to = [ 1 ];"),
        "x.conf:1: relay.socket: must be a path in quotes\n"
        "x.conf:1: relay.timeout: durations are strings with a unit (ms s m h d), such as \"5s\"\n"
        "x.conf:2: relay.on_failure: must be a string in quotes; allowed are \"tempfail\", "
        "\"accept\" and \"drop\"\n"
        "x.conf:3: rules[0]: must be a group of settings: { … }\n"
        "x.conf:4: rules[1].name: must not be empty\n"
        "x.conf:4: rules[1].match: must be a group of settings: match: { … };\n"
        "x.conf:5: rules[1].custom: no string at line 5\n"
        "x.conf:6: to: must be a string or a list of strings, such as [ \"a\", \"b\" ]\n");
}

static void config_values_out_of_bounds_say_the_bounds(void **state)
{
    assert_string_equal(
        load(*state, "workers = -1;\nbig = 1;\nmax_size = \"255\";\nto = [ ];\nrelay: {\n"
                     "  timeout = \"61m\"; };\nca_file = \"ca\";\nlisten_mode = \"0888\";\n"
                     "listen = \"none\";\n"),
        "x.conf:1: workers: -1 is out of range; allowed are 0 to 256\n"
        "x.conf:3: max_size: \"255\" is out of range; allowed are 256 to 60K\n"
        "x.conf:4: to: has 0 entries; at least 1 must be there\n"
        "x.conf:6: relay.timeout: \"61m\" is out of range; allowed are 1ms to 1h\n"
        "x.conf:7: ca_file: \"ca\" is no absolute path; it must begin with \"/\"\n"
        "x.conf:8: listen_mode: \"0888\" is no mode; write it in octal, such as \"0660\"\n"
        "x.conf:9: listen: no colon in \"none\"\n");
    assert_string_equal(
        load(*state, "workers = 99999999999;\nmax_size = \"64KB\";\n"
                     "to = [ \"a\", \"b\", \"c\", \"d\" ];\nrelay: {\n"
                     "timeout = \"5 s\"; on_failure = \"accpt\"; socket = \"\";\n"
                     "grace = \"999999999d\"; };\nlisten_mode = \"4755\";\n"),
        "x.conf:1: workers: 99999999999 is out of range; allowed are 0 to 256\n"
        "x.conf:2: max_size: \"64KB\" is no size; write a whole number of bytes, or one and a unit "
        "(K M G), such as \"64K\"\n"
        "x.conf:3: to: has 4 entries; at most 3 are allowed\n"
        "x.conf:5: relay.socket: must not be empty\n"
        "x.conf:5: relay.timeout: \"5 s\" is no duration; write a whole number and a unit "
        "(ms s m h d), such as \"5s\"\n"
        "x.conf:5: relay.on_failure: \"accpt\" is not allowed; allowed are \"tempfail\", \"accept\" "
        "and \"drop\"\n"
        "x.conf:6: relay.grace: \"999999999d\" is too long\n"
        "x.conf:7: listen_mode: \"4755\" is no mode; write it in octal, such as \"0660\"\n");
}

static void config_wrong_value_leaves_the_default(void **state)
{
    Fixture *fixture = *state;

    load(fixture, "workers = 1000; to = 5; relay = 5; rules = ( 5, { name = \"x\" } );");
    assert_int_equal(fixture->all.workers, 0);
    assert_int_equal(fixture->all.to.n, 1);
    assert_int_equal(fixture->all.timeout_usec, 5 * USEC_PER_SEC);
    assert_int_equal(fixture->all.rules.n, 1);
}

static void config_numbers_past_32_bits_are_not_cut(void **state)
{
    Fixture *fixture = *state;
    static const struct {
        const char *text;
        int64_t value;
    } cases[] = {
        { "big = 2147483647;", INT32_MAX },      { "big = 2147483648;", (int64_t)INT32_MAX + 1 },
        { "big = -2147483648;", INT32_MIN },     { "big = -2147483649;", (int64_t)INT32_MIN - 1 },
        { "big = +99999999999;", 99999999999 },  { "big = 99999999999L;", 99999999999 },
        { "big = 99999999999LL;", 99999999999 }, { "big = 0xFFFFFFFF;", 0xFFFFFFFF },
        { "big = 0x80000000;", 0x80000000 },     { "big = -9223372036854775808;", INT64_MIN },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        assert_string_equal(load(fixture, cases[i].text), "");
        assert_int_equal(fixture->all.big, cases[i].value);
    }
    assert_string_equal(load(fixture, "\nbig = 9223372036854775808;"),
                        "x.conf:2: the number 9223372036854775808 is too large\n");
    assert_string_equal(load(fixture, "big = -99999999999999999999999999999999999999999999999;"),
                        "x.conf:1: the number -999999999999999999999999999999999999999… is too "
                        "large\n");
    assert_string_equal(load(fixture, "big = 0xFFFFFFFFFFFFFFFF;"),
                        "x.conf:1: the number 0xFFFFFFFFFFFFFFFF is too large\n");
    /* Digits that are part of something else stay as they are. */
    assert_string_equal(load(fixture, "relay: { on_failure = \"99999999999\"; };\n"
                                      "big = 1.99999999999; a99999999999-99999999999 = 1;"),
                        "x.conf:1: relay.on_failure: \"99999999999\" is not allowed; allowed are "
                        "\"tempfail\", \"accept\" and \"drop\"\n"
                        "x.conf:2: big: must be a whole number, without quotes\n"
                        "x.conf:2: unknown key \"a99999999999-99999999999\"; known are \"listen\", "
                        "\"listen_mode\", \"ca_file\", \"workers\", \"big\", \"max_size\", "
                        "\"next\", \"to\", \"relay\" and \"rules\"\n");
}

static void config_unknown_keys_name_the_nearest_at_each_level(void **state)
{
    assert_string_equal(
        load(*state, "wrkers = 1;\nListen = \"a:\";\nrelay: { timeot = 1; };\n"
                     "rules = ( { name = \"x\"; match: {\n frmo = \"x\"; };\n max-lines = 1;\n"
                     " zzz = ( { } ); } );\n"),
        "x.conf:1: unknown key \"wrkers\"; did you mean \"workers\"?\n"
        "x.conf:2: unknown key \"Listen\"; did you mean \"listen\"?\n"
        "x.conf:3: unknown key \"timeot\" in relay; did you mean \"timeout\"?\n"
        "x.conf:5: unknown key \"frmo\" in rules[0].match; did you mean \"from\"?\n"
        "x.conf:6: unknown key \"max-lines\" in rules[0]; did you mean \"max_lines\"?\n"
        "x.conf:7: unknown key \"zzz\" in rules[0]; known are \"name\", \"match\", \"max_lines\" "
        "and \"custom\"\n");
}

static void config_missing_keys_are_told_at_their_group(void **state)
{
    assert_string_equal(load(*state, "rules = (\n { name = \"x\"; },\n { max_lines = 0; }\n);"),
                        "x.conf:3: rules[1]: \"name\" is missing\n"
                        "x.conf:3: rules[1].max_lines: 0 is out of range; allowed are 1 to 1000\n");
}

static void config_syntax_errors_have_file_and_line(void **state)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        { "workers = 1;\nnext = ;\n", "x.conf:2: syntax error here or just before\n" },
        { "workers = 1;\nworkers = 2;\n",
          "x.conf:2: this setting stands in its group a second time\n" },
        { "to = [ \"a\",\n 1 ];", "x.conf:2: the elements of an array must be of one type\n" },
        { "\n\nlisten = \"abc\n", "x.conf:3: the string that begins here never ends\n" },
        { "\nlisten = \"abc\\", "x.conf:2: the string that begins here never ends\n" },
        { "\n/* abc *", "x.conf:2: the comment that begins here never ends\n" },
        { "/*/", "x.conf:1: the comment that begins here never ends\n" },
        { "listen = \"a\\x00b\";", "x.conf:1: a string can't hold \\x00\n" },
        { "relay: {\n", "x.conf:2: syntax error here or just before\n" },
        { "}", "x.conf:1: syntax error here or just before\n" },
        { "\x7F", "x.conf:1: syntax error here or just before\n" },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++)
        assert_string_equal(load(*state, cases[i].text), cases[i].error);
}

static void config_unreadable_files_say_why(void **state)
{
    Fixture *fixture = *state;
    char path[128];

    assert_string_equal(load_path(fixture, fixture->path),
                        "x.conf: can't be read: No such file or directory\n");
    assert_int_equal(mkfifo(fixture->path, 0600), 0);
    assert_string_equal(load_path(fixture, fixture->path),
                        "x.conf: can't be read: it is no regular file\n");
    snprintf(path, sizeof(path), "%s/.", fixture->folder);
    assert_string_equal(load_path(fixture, path), ".: can't be read: it is a directory\n");
    /* No default is filled in where there is no configuration at all. */
    assert_null(fixture->all.listen);
    assert_null(config_find(fixture->file, "listen"));
}

static void config_binary_junk_is_refused(void **state)
{
    Fixture *fixture = *state;
    char junk[4096];

    for (size_t i = 0; i < sizeof(junk); i++)
        junk[i] = (char)(i * 7919 >> 3);
    write_bytes(fixture, "x.conf", junk, sizeof(junk));
    assert_string_equal(load_path(fixture, fixture->path),
                        "x.conf:1: this is no text file: byte 0x00 at offset 0\n");
    write_bytes(fixture, "x.conf", "next = true;\n\0", 14);
    assert_string_equal(load_path(fixture, fixture->path),
                        "x.conf:1: this is no text file: byte 0x00 at offset 13\n");
    write_file(fixture, "x.conf", "\xEF\xBB\xBFnext = false;");
    assert_string_equal(load_path(fixture, fixture->path), "");
    assert_false(fixture->all.next);
}

static void config_strings_that_are_no_utf8_are_refused(void **state)
{
    assert_string_equal(load(*state, "rules = ( { name = \"x\xE4\"; } );\nto = [ \"\\xFF\" ];"),
                        "x.conf:1: rules[0].name: is no valid UTF-8\n"
                        "x.conf:2: to[0]: is no valid UTF-8\n");
}

static void config_deep_nesting_is_refused(void **state)
{
    Fixture *fixture = *state;
    char text[200000] = "rules = ";

    memset(text + 8, '(', sizeof(text) - 9);
    assert_string_equal(load(fixture, text),
                        "x.conf:1: groups and lists are nested deeper than 32 levels\n");
    /* What is just allowed is read, and no more than a wrong value. */
    strcpy(text, "zzz = ");
    memset(text + 6, '(', 32);
    memset(text + 38, ')', 32);
    text[70] = '\0';
    assert_non_null(strstr(load(fixture, text), "unknown key \"zzz\""));
    strcpy(text, "relay = ");
    for (int i = 0; i < 31; i++)
        strcat(text, "{a=");
    strcat(text, "1");
    for (int i = 0; i < 31; i++)
        strcat(text, "}");
    assert_non_null(strstr(load(fixture, text), "unknown key \"a\" in relay"));
}

static void config_huge_files_are_refused(void **state)
{
    Fixture *fixture = *state;

    write_file(fixture, "x.conf", "");
    assert_int_equal(truncate(fixture->path, 1048577), 0);
    assert_string_equal(load_path(fixture, fixture->path),
                        "x.conf: can't be read: it is larger than 1048576 bytes\n");
}

static void config_include_errors_name_file_and_line(void **state)
{
    Fixture *fixture = *state;
    char text[512], path[64];

    snprintf(path, sizeof(path), "%s/sub", fixture->folder);
    assert_int_equal(mkdir(path, 0700), 0);
    write_file(fixture, "sub/rules.conf",
               "rules = (\n { name = \"a\"; frm = 1; },\n @include \"more.conf\"\n);\nbog = 1;");
    write_file(fixture, "sub/more.conf", "{ name = \"b\";\n max_lines = 0; }");
    write_file(fixture, "other.conf", "\nlisten = 1;");
    snprintf(text, sizeof(text),
             "workers = 1;\n  @include \"sub/rules.conf\"  max_size = \"1\";\nnxt = true;\n"
             "@include \"%s/other.conf\"\n next = 5;",
             fixture->folder);
    assert_string_equal(
        load(fixture, text),
        "sub/rules.conf:2: unknown key \"frm\" in rules[0]; known are \"name\", \"match\", "
        "\"max_lines\" and \"custom\"\n"
        "sub/more.conf:2: rules[1].max_lines: 0 is out of range; allowed are 1 to 1000\n"
        "sub/rules.conf:5: unknown key \"bog\"; did you mean \"big\"?\n"
        "x.conf:2: max_size: \"1\" is out of range; allowed are 256 to 60K\n"
        "x.conf:3: unknown key \"nxt\"; did you mean \"next\"?\n"
        "other.conf:2: listen: must be a string in quotes\n"
        "x.conf:5: next: must be true or false, without quotes\n");
    assert_int_equal(config_node_line(config_find(fixture->file, "bog")), 5);

    write_file(fixture, "other.conf", "\n\n= x");
    assert_string_equal(load(fixture, "@include \"other.conf\""),
                        "other.conf:3: syntax error here or just before\n");
    assert_string_equal(load(fixture, "\n@include \"none.conf\""),
                        "x.conf:2: can't read none.conf: No such file or directory\n");
    assert_string_equal(load(fixture, "\n@include \"/dev/zero\""),
                        "x.conf:2: can't read /dev/zero: it is no regular file\n");
    assert_string_equal(load(fixture, "\n@include none"),
                        "x.conf:2: @include needs the name of a file in quotes\n");
    assert_string_equal(load(fixture, "\n@include \"none\n\""),
                        "x.conf:2: @include needs the name of a file in quotes\n");
    write_bytes(fixture, "other.conf", "a\n\0", 3);
    assert_string_equal(load(fixture, "\n@include \"other.conf\""),
                        "other.conf:1: other.conf is no text file: byte 0x00 at offset 2\n");
}

static void config_include_loops_end(void **state)
{
    Fixture *fixture = *state;
    char text[8192] = "";

    assert_string_equal(load(fixture, "\n@include \"x.conf\"\n"),
                        "x.conf:2: files include files more than 10 levels deep; does one include "
                        "itself?\n");
    for (int i = 0; i < 100; i++)
        strcat(text, "@include \"empty.conf\"\n");
    write_file(fixture, "empty.conf", "");
    assert_string_equal(load(fixture, text), "x.conf:100: more than 99 files are included\n");
}

static void config_two_hundred_errors_are_cut_to_the_first_hundred(void **state)
{
    Fixture *fixture = *state;
    char text[16384] = "", line[64];

    for (int i = 0; i < 200; i++) {
        snprintf(line, sizeof(line), "key%d = 1;\n", i);
        strcat(text, line);
    }
    load(fixture, text);
    assert_int_equal(config_n_errors(fixture->file), 101);
    assert_non_null(strstr(config_error_at(fixture->file, 0), "x.conf:1: unknown key \"key0\""));
    assert_non_null(strstr(config_error_at(fixture->file, 99), "x.conf:100: unknown key"));
    assert_string_equal(config_error_at(fixture->file, 100), "and more: 100 are not shown");

    /* A later check may still report what stands further up. */
    config_error(fixture->file, config_find(fixture->file, "key5"), "late");
    assert_int_equal(config_n_errors(fixture->file), 101);
    assert_non_null(strstr(config_error_at(fixture->file, 6), "x.conf:6: late"));
    assert_string_equal(config_error_at(fixture->file, 100), "and more: 101 are not shown");
}

static void config_errors_and_warnings_are_sorted_by_line(void **state)
{
    Fixture *fixture = *state;

    assert_string_equal(load(fixture, "workers = 1;\nnext = true;\nbig = 3;"), "");
    config_error(fixture->file, config_find(fixture->file, "big"), "third");
    config_error(fixture->file, config_find(fixture->file, "workers"), "first\x1b[2J\nx");
    config_error(fixture->file, NULL, "all of it");
    config_error(fixture->file, config_find(fixture->file, "big"), "fourth");
    config_warning(fixture->file, config_find(fixture->file, "next"), "second");
    for (size_t i = 0; i < config_n_errors(fixture->file); i++)
        add_without_folder(fixture, config_error_at(fixture->file, i));
    add_without_folder(fixture, config_warning_at(fixture->file, 0));
    assert_int_equal(config_n_warnings(fixture->file), 1);
    assert_string_equal(fixture->text, "x.conf: all of it\nx.conf:1: first [2J x\nx.conf:3: third\n"
                                       "x.conf:3: fourth\nx.conf:2: second\n");
}

static void config_long_values_are_shortened_in_errors(void **state)
{
    Fixture *fixture = *state;
    char text[4096] = "relay: { timeout = \"";
    const char *errors;

    for (int i = 0; i < 1000; i++)
        strcat(text, "€");
    strcat(text, "\"; };");
    errors = load(fixture, text);
    assert_true(strlen(errors) < 300);
    assert_non_null(strstr(errors, "€…\" is no duration"));
}

static void config_nodes_can_be_walked(void **state)
{
    Fixture *fixture = *state;
    char path[CONFIG_NODE_PATH_MAX];
    const ConfigNode *node;

    load(fixture, "rules = ( { name = \"x\" }, { match: {\n from = ( \"a\", [ 1 ] ); }; } );");
    node = config_find(fixture->file, "rules.[1].match.from");
    assert_non_null(node);
    assert_int_equal(config_node_kind(node), CONFIG_NODE_LIST);
    assert_string_equal(config_node_path(node, path), "rules[1].match.from");
    assert_string_equal(config_node_name(node), "from");
    assert_int_equal(config_node_line(node), 2);
    assert_int_equal(config_node_length(node), 2);
    assert_null(config_node_string(node));
    assert_string_equal(config_node_string(config_node_at(node, 0)), "a");
    assert_null(config_node_name(config_node_at(node, 0)));
    assert_null(config_node_at(node, 2));
    node = config_node_at(config_node_at(node, 1), 0);
    assert_int_equal(config_node_kind(node), CONFIG_NODE_SCALAR);
    assert_string_equal(config_node_path(node, path), "rules[1].match.from[1][0]");
    node = config_find(fixture->file, "rules.[1].match");
    assert_int_equal(config_node_kind(node), CONFIG_NODE_GROUP);
    assert_non_null(config_node_get(node, "from"));
    assert_null(config_node_get(node, "to"));
    assert_null(config_find(fixture->file, "rules.[2]"));
}

static void config_unknown_finds_its_place_by_itself(void **state)
{
    static const char *const known[] = { "from", "subject", NULL };
    Fixture *fixture = *state;

    load(fixture, "rules = ( { name = \"a\"; custom = \"\"; match: { form = 1; }; } );\ntop = 1;");
    fixture->text[0] = '\0';
    config_unknown(fixture->file, config_find(fixture->file, "rules.[0].match.form"), NULL, known);
    config_unknown(fixture->file, config_find(fixture->file, "top"), NULL, known);
    config_unknown(fixture->file, config_find(fixture->file, "top"), "there", known);
    for (size_t i = 0; i < config_n_errors(fixture->file); i++)
        add_without_folder(fixture, config_error_at(fixture->file, i));
    assert_non_null(
        strstr(fixture->text,
               "x.conf:1: unknown key \"form\" in rules[0].match; did you mean \"from\"?\n"));
    assert_non_null(strstr(fixture->text,
                           "x.conf:2: unknown key \"top\"; known are \"from\" and \"subject\"\n"));
    assert_non_null(strstr(fixture->text, "x.conf:2: unknown key \"top\" in there; known are"));
}

/* Dumps what is loaded to x.conf, and returns the text. */
static char *dump(Fixture *fixture)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);

    assert_non_null(stream);
    config_dump(fixture->file, all_keys, stream);
    assert_int_equal(fclose(stream), 0);
    return text;
}

static void config_dump_reads_back_to_the_same(void **state)
{
    Fixture *fixture = *state;
    _cleanup_free_ char *first = NULL, *second = NULL;

    assert_string_equal(
        load(fixture, "listen = \"a:\\\"b\\\\c\\n\\t\\x01\\x7fä\";\nbig = -99999999999;\n"
                      "to = \"one\";\nrelay: { timeout = \"0900s\"; };\n"
                      "rules = ( { name = \"x\"; custom = \"c\"; match: { any = FALSE; }; },\n"
                      "  { name = \"y\"; max_lines = 0x7; } );"),
        "");
    first = dump(fixture);
    assert_string_equal(first, "listen = \"a:\\\"b\\\\c\\n\\t\\x01\\x7Fä\";\n"
                               "listen_mode = \"0660\";\n"
                               "ca_file = \"\";\n"
                               "workers = 0;\n"
                               "big = -99999999999L;\n"
                               "max_size = \"8K\";\n"
                               "next = true;\n"
                               "to = \"one\";\n"
                               "relay = {\n"
                               "  socket = \"/run/x/relay.sock\";\n"
                               "  timeout = \"0900s\";\n"
                               "  grace = \"0\";\n"
                               "  on_failure = \"accept\";\n"
                               "};\n"
                               "rules = (\n"
                               "  {\n"
                               "    name = \"x\";\n"
                               "    match = {\n"
                               "      # from: not set\n"
                               "      any = false;\n"
                               "    };\n"
                               "    max_lines = 20;\n"
                               "    custom = \"c\";\n"
                               "  },\n"
                               "  {\n"
                               "    name = \"y\";\n"
                               "    match = {\n"
                               "      # from: not set\n"
                               "      any = true;\n"
                               "    };\n"
                               "    max_lines = 7;\n"
                               "    # custom: not set\n"
                               "  }\n"
                               ");\n");
    assert_string_equal(load(fixture, first), "");
    second = dump(fixture);
    assert_string_equal(second, first);
    assert_string_equal(fixture->all.listen, "a:\"b\\c\n\t\x01\x7fä");
    assert_int_equal(fixture->all.big, -99999999999);
    assert_int_equal(fixture->all.timeout_usec, 900 * USEC_PER_SEC);
    assert_string_equal(fixture->all.to.items[0], "one");
    assert_string_equal(rule(fixture, 0)->custom, "c");
    assert_false(rule(fixture, 0)->match.any);
    assert_int_equal(rule(fixture, 1)->max_lines, 7);
}

static void config_dump_of_nothing_is_all_defaults(void **state)
{
    Fixture *fixture = *state;
    _cleanup_free_ char *text = NULL;

    load_path(fixture, "/nowhere/at/all");
    text = dump(fixture);
    assert_string_equal(load(fixture, text), "");
    assert_int_equal(fixture->all.size_bytes, 8192);
    assert_int_equal(fixture->all.on_failure, 1);
}

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        test(config_empty_file_gives_all_defaults),
        test(config_values_of_each_type_are_read),
        test(config_wrong_types_say_what_is_allowed),
        test(config_values_out_of_bounds_say_the_bounds),
        test(config_wrong_value_leaves_the_default),
        test(config_numbers_past_32_bits_are_not_cut),
        test(config_unknown_keys_name_the_nearest_at_each_level),
        test(config_missing_keys_are_told_at_their_group),
        test(config_syntax_errors_have_file_and_line),
        test(config_unreadable_files_say_why),
        test(config_binary_junk_is_refused),
        test(config_strings_that_are_no_utf8_are_refused),
        test(config_deep_nesting_is_refused),
        test(config_huge_files_are_refused),
        test(config_include_errors_name_file_and_line),
        test(config_include_loops_end),
        test(config_two_hundred_errors_are_cut_to_the_first_hundred),
        test(config_errors_and_warnings_are_sorted_by_line),
        test(config_long_values_are_shortened_in_errors),
        test(config_nodes_can_be_walked),
        test(config_unknown_finds_its_place_by_itself),
        test(config_dump_reads_back_to_the_same),
        test(config_dump_of_nothing_is_all_defaults),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
