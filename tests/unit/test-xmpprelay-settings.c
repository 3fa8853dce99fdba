/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include <stdio.h>
#include <sys/stat.h>

#include "common/compose.h"
#include "xmpprelay/settings.h"

/* A folder with a password file, and what was loaded last. In configurations and in what
 * load() returns, $DIR stands for the folder. */
typedef struct Fixture {
    char folder[40];
    Settings *settings;
    ConfigFile *file;
    char text[16384];
} Fixture;

static void write_file(const Fixture *fixture, const char *name, const char *text, mode_t mode)
{
    char path[128];
    FILE *stream;

    snprintf(path, sizeof(path), "%s/%s", fixture->folder, name);
    stream = fopen(path, "we");
    assert_non_null(stream);
    for (; *text; text++)
        if (strncmp(text, "$DIR", 4) == 0) {
            fputs(fixture->folder, stream);
            text += 3;
        } else {
            fputc(*text, stream);
        }
    assert_int_equal(fclose(stream), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static int fixture_setup(void **state)
{
    static Fixture fixture;

    fixture = (Fixture){ .folder = "/tmp/test-settings-XXXXXX" };
    assert_non_null(mkdtemp(fixture.folder));
    write_file(&fixture, "password", "secret\n", 0600);
    unsetenv("CREDENTIALS_DIRECTORY");
    *state = &fixture;
    return 0;
}

static int fixture_teardown(void **state)
{
    Fixture *fixture = *state;
    char command[64];

    settings_free(fixture->settings);
    config_file_free(fixture->file);
    snprintf(command, sizeof(command), "rm -rf %s", fixture->folder);
    assert_int_equal(system(command), 0);
    return 0;
}

static void add_line(Fixture *fixture, const char *prefix, const char *line)
{
    size_t folder_size = strlen(fixture->folder);
    char *to = fixture->text + strlen(fixture->text);

    to = stpcpy(to, prefix);
    while (*line) {
        if (strncmp(line, fixture->folder, folder_size) == 0) {
            /* The file itself goes by its name alone. */
            line += folder_size;
            if (strncmp(line, "/x.conf", 7) == 0)
                line++;
            else
                to = stpcpy(to, "$DIR");
        } else {
            *to++ = *line++;
        }
    }
    strcpy(to, "\n");
}

/* Loads `text` and returns errors and warnings, one a line. */
static const char *load(Fixture *fixture, const char *text)
{
    char path[64];
    int r;

    fixture->settings = settings_free(fixture->settings);
    fixture->file = config_file_free(fixture->file);
    fixture->text[0] = '\0';
    write_file(fixture, "x.conf", text, 0600);
    snprintf(path, sizeof(path), "%s/x.conf", fixture->folder);
    r = settings_load(path, &fixture->settings, &fixture->file);
    assert_non_null(fixture->file);
    assert_int_equal(r, config_n_errors(fixture->file) > 0 ? -EINVAL : 0);
    assert_true((r == 0) == (fixture->settings != NULL));
    for (size_t i = 0; i < config_n_errors(fixture->file); i++)
        add_line(fixture, "", config_error_at(fixture->file, i));
    for (size_t i = 0; i < config_n_warnings(fixture->file); i++)
        add_line(fixture, "warning: ", config_warning_at(fixture->file, i));
    return fixture->text;
}

#define MAIN "{ name = \"main\"; jid = \"bot@example.org\"; password_file = \"$DIR/password\"; }"
#define ACCOUNTS "accounts = ( " MAIN " );\n"
#define OPS "{ name = \"ops\"; account = \"main\"; room = \"ops@conf.example.org\"; }"
#define DESTINATIONS "destinations = ( " OPS " );\n"

static void settings_least_configuration_has_all_defaults(void **state)
{
    Fixture *fixture = *state;
    const Settings *settings;

    assert_string_equal(load(fixture, ACCOUNTS DESTINATIONS), "");
    settings = fixture->settings;
    assert_string_equal(settings->socket.path, "/run/xmpprelay/relay.sock");
    assert_int_equal(settings->socket.mode, 0660);
    assert_string_equal(settings->socket.group, "");
    assert_string_equal(settings->control.path, "/run/xmpprelay/control.sock");
    assert_string_equal(settings->spool.path, "/var/lib/xmpprelay/spool.db");
    assert_string_equal(settings->metrics.listen, "");
    assert_int_equal(settings->metrics.mode, 0660);
    assert_int_equal(settings->spool.max_records, 100000);
    assert_int_equal(settings->spool.max_share, 80);
    assert_int_equal(settings->spool.keep_usec, 7 * 86400 * USEC_PER_SEC);
    assert_int_equal(settings->delivery.window, 16);
    assert_int_equal(settings->delivery.confirm_usec, 60 * USEC_PER_SEC);
    assert_int_equal(settings->delivery.max_size_bytes, 8192);
    assert_int_equal(settings->session.silence_usec, 30 * USEC_PER_SEC);
    assert_int_equal(settings->session.ping_usec, 20 * USEC_PER_SEC);
    assert_int_equal(settings->session.self_ping_usec, 60 * USEC_PER_SEC);
    assert_int_equal(settings->session.backoff_usec, USEC_PER_SEC);
    assert_int_equal(settings->session.backoff_cap_usec, 60 * USEC_PER_SEC);
    assert_int_equal(settings_account(settings, 0)->tls, TLS_STARTTLS);
    assert_string_equal(settings_account(settings, 0)->host, "");
    assert_string_equal(settings_account(settings, 0)->ca_file, "");
    assert_null(settings_account(settings, 0)->credential);
    assert_string_equal(settings_destination(settings, 0)->nick, "bot");
    assert_null(settings_destination(settings, 0)->contact);
    assert_int_equal(settings_destination(settings, 0)->style, COMPOSE_STYLED);
    assert_int_equal(settings->default_destination.n, 0);
}

static void settings_of_metrics_are_checked(void **state)
{
    Fixture *fixture = *state;

    assert_string_equal(
        load(fixture, ACCOUNTS DESTINATIONS "metrics = { listen = \"[::1]:9797\"; };"), "");
    assert_string_equal(fixture->settings->metrics.listen, "[::1]:9797");
    assert_string_equal(
        load(fixture,
             ACCOUNTS DESTINATIONS "metrics = {\n listen = \"localhost:9797\";\n mode = \"9\"; };"),
        "x.conf:4: metrics.listen: \"localhost:9797\" has no numeric address before "
        "its port; write it like \"127.0.0.1:9797\", \"[::1]:9797\" or "
        "\"unix:/PATH\"\n"
        "x.conf:5: metrics.mode: \"9\" is no mode; write it in octal, such as "
        "\"0660\"\n");
    assert_string_equal(load(fixture,
                             ACCOUNTS DESTINATIONS "metrics = { listen = \"unix:/run/x\"; };\n"
                                                   "control = { path = \"/run/x\"; };"),
                        "x.conf:3: metrics.listen: \"/run/x\" is control.path already\n");
    assert_string_equal(load(fixture, ACCOUNTS DESTINATIONS "metrics = { port = 9797; };"),
                        "x.conf:3: unknown key \"port\" in metrics; known are "
                        "\"listen\", \"mode\" and \"group\"\n");
}

static void settings_references_are_resolved(void **state)
{
    Fixture *fixture = *state;
    const Settings *settings;

    assert_string_equal(
        load(
            fixture,
            "accounts = ( " MAIN ", { name = \"two\"; jid = \"b@x.org\"; "
            "password_file = \"$DIR/password\"; host = \"::1\"; port = 5222; "
            "tls = \"insecure-none\"; } );\n"
            "destinations = ( " OPS ", { name = \"alice\"; account = \"two\"; "
            "contact = \"alice@x.org\"; style = \"plain\"; }, { name = \"o2\"; account = \"two\"; nick = \"N n\"; "
            "room = \"ops@conf.example.org\"; } );\n"
            "default_destination = [ \"alice\", \"ops\" ];"),
        "");
    settings = fixture->settings;
    assert_int_equal(settings_destination(settings, 0)->account_index, 0);
    assert_int_equal(settings_destination(settings, 1)->account_index, 1);
    assert_null(settings_destination(settings, 1)->nick);
    assert_int_equal(settings_destination(settings, 1)->style, COMPOSE_PLAIN);
    assert_int_equal(settings_destination(settings, 2)->style, COMPOSE_STYLED);
    assert_string_equal(settings_destination(settings, 2)->nick, "N n");
    assert_int_equal(settings_find_destination(settings, "alice"), 1);
    assert_int_equal(settings_find_destination(settings, "nobody"), -ENOENT);
    assert_int_equal(settings->default_destination.n, 2);
}

static void settings_nothing_configured_says_what_is_missing(void **state)
{
    assert_string_equal(load(*state, ""), "x.conf: \"accounts\" is missing\n"
                                          "x.conf: \"destinations\" is missing\n");
    assert_string_equal(load(*state, "accounts = ( );\ndestinations = ( );"),
                        "x.conf:1: accounts: has 0 entries; at least 1 must be there\n"
                        "x.conf:2: destinations: has 0 entries; at least 1 must be there\n");
    assert_string_equal(load(*state, "accounts = (\n{ } );\ndestinations = (\n{ },\n"
                                     "{ name = \"x\"; account = \"main\"; } );"),
                        "x.conf:2: accounts[0]: \"name\" is missing\n"
                        "x.conf:2: accounts[0]: \"jid\" is missing\n"
                        "x.conf:2: accounts[0]: \"password_file\" is missing, or \"credential\" in "
                        "its place\n"
                        "x.conf:4: destinations[0]: \"name\" is missing\n"
                        "x.conf:4: destinations[0]: \"account\" is missing\n"
                        "x.conf:4: destinations[0]: \"room\" is missing, or \"contact\" in its "
                        "place\n"
                        "x.conf:5: destinations[1].account: there is no account named \"main\"\n"
                        "x.conf:5: destinations[1]: \"room\" is missing, or \"contact\" in its "
                        "place\n");
}

static void settings_accounts_are_checked(void **state)
{
    assert_string_equal(
        load(*state, "accounts = (\n" MAIN ",\n" MAIN ",\n"
                     "{ name = \"a b\"; jid = \"bot@example.org/res\"; credential = \"x\";\n"
                     "  password_file = \"$DIR/password\"; port = 5222; },\n"
                     "{ name = \"-x\"; jid = \"example.org\"; password_file = \"$DIR/password\";\n"
                     "  tls = \"insecure-none\"; ca_file = \"$DIR/none.pem\"; },\n"
                     "{ name = \"z\"; jid = \"a@b\"; credential = \"../z\"; host = \"10.0.0.1\";\n"
                     "  tls = \"insecure-none\"; }\n"
                     ");\n" DESTINATIONS),
        "x.conf:3: accounts[1].name: \"main\" is the name of accounts[0]\n"
        "x.conf:4: accounts[2].name: must be 1 to 64 letters, digits and \"._-\", no \"-\" first\n"
        "x.conf:4: accounts[2].jid: \"bot@example.org/res\" is no bare JID; write it like "
        "\"user@example.org\"\n"
        "x.conf:4: accounts[2].credential: only one of password_file and credential may be given\n"
        "x.conf:5: accounts[2].port: counts only together with host; without that, DNS names the "
        "port\n"
        "x.conf:6: accounts[3].name: must be 1 to 64 letters, digits and \"._-\", no \"-\" first\n"
        "x.conf:6: accounts[3].jid: \"example.org\" is no bare JID; write it like "
        "\"user@example.org\"\n"
        "x.conf:7: accounts[3].tls: \"insecure-none\" is for a server on this machine alone; set "
        "host to \"127.0.0.1\", \"::1\" or \"localhost\", or tls to \"starttls\"\n"
        "x.conf:7: accounts[3].ca_file: $DIR/none.pem: No such file or directory\n"
        "x.conf:8: accounts[4].credential: must be the name of a credential, as LoadCredential= "
        "gives it\n"
        "x.conf:9: accounts[4].tls: \"insecure-none\" is for a server on this machine alone; set "
        "host to \"127.0.0.1\", \"::1\" or \"localhost\", or tls to \"starttls\"\n");
}

static void settings_destinations_are_checked(void **state)
{
    assert_string_equal(
        load(*state, ACCOUNTS
             "destinations = (\n" OPS ",\n" OPS ",\n"
             "{ name = \"b\"; account = \"main\"; room = \"OPS@conf.example.org\"; },\n"
             "{ name = \"c\"; account = \"mian\"; room = \"ops@conf.example.org\";\n"
             "  contact = \"a@b\"; },\n"
             "{ name = \"d\"; account = \"main\"; room = \"conf.example.org\"; nick = \"\"; "
             "},\n"
             "{ name = \"e\"; account = \"main\"; contact = \"a b@c\"; nick = \"n\"; }\n"
             ");\ndefault_destination = ( \"ops\", \"nobody\", \"ops\" );"),
        "x.conf:4: destinations[1].name: \"ops\" is the name of destinations[0]\n"
        "x.conf:4: destinations[1].room: \"ops@conf.example.org\" is the room of destinations[0] "
        "with the same account\n"
        "x.conf:5: destinations[2].room: \"OPS@conf.example.org\" is the room of destinations[0] "
        "with the same account\n"
        "x.conf:6: destinations[3].account: there is no account named \"mian\"\n"
        "x.conf:7: destinations[3].contact: only one of room and contact may be given\n"
        "x.conf:8: destinations[4].room: \"conf.example.org\" is no room; write it like "
        "\"ops@conference.example.org\"\n"
        "x.conf:8: destinations[4].nick: must be 1 to 1023 bytes\n"
        "x.conf:9: destinations[5].contact: \"a b@c\" is no bare JID; write it like "
        "\"user@example.org\"\n"
        "x.conf:9: destinations[5].nick: counts only together with room\n"
        "x.conf:11: default_destination: there is no destination named \"nobody\"\n"
        "x.conf:11: default_destination: \"ops\" stands there twice\n");
}

static void settings_jids_are_told_from_what_is_none(void **state)
{
    static const char *const good[] = { "a@b", "ä.b-c@xn--x.example", "a+b@127.0.0.1", "a@[::1]" };
    static const char *const bad[] = { "",         "@b",    "a@",     "a@b@c",
                                       "a@b/c",    "a b@c", "a@.b",   "a@b..c",
                                       "xmpp:a@b", "<a@b>", "a\\n@b", "\\\"a\\\"@b" };
    char text[512];

    for (size_t i = 0; i < ELEMENTSOF(good) + ELEMENTSOF(bad); i++) {
        bool is_good = i < ELEMENTSOF(good);

        snprintf(text, sizeof(text),
                 ACCOUNTS "destinations = ( { name = \"x\"; account = \"main\"; contact = \"%s\"; "
                          "} );",
                 is_good ? good[i] : bad[i - ELEMENTSOF(good)]);
        if (is_good)
            assert_string_equal(load(*state, text), "");
        else
            assert_non_null(strstr(load(*state, text), "is no bare JID"));
    }
}

static void settings_password_file_must_be_ours_alone(void **state)
{
    static const struct {
        const char *text;
        mode_t mode;
        const char *error;
    } cases[] = {
        { "secret", 0400, NULL },
        { "secret", 0640, NULL },
        { "secret", 0644, "others may access it; take that from them: chmod o-rwx" },
        { "secret", 0601, "others may access it; take that from them: chmod o-rwx" },
        { "secret", 0620, "its group may write it; take that from it: chmod g-wx" },
        { "", 0600, "it is empty; the password stands in its first line" },
        { "\nsecret", 0600, "it is empty; the password stands in its first line" },
    };
    Fixture *fixture = *state;
    char expected[512], path[64];

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        expected[0] = '\0';
        if (cases[i].error)
            snprintf(expected, sizeof(expected),
                     "x.conf:1: accounts[0].password_file: $DIR/password: %s\n", cases[i].error);
        snprintf(path, sizeof(path), "%s/password", fixture->folder);
        unlink(path);
        write_file(fixture, "password", cases[i].text, cases[i].mode);
        assert_string_equal(load(fixture, ACCOUNTS DESTINATIONS), expected);
    }

    unlink(path);
    assert_string_equal(load(fixture, ACCOUNTS DESTINATIONS),
                        "x.conf:1: accounts[0].password_file: $DIR/password: No such file or "
                        "directory\n");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_string_equal(load(fixture, ACCOUNTS DESTINATIONS),
                        "x.conf:1: accounts[0].password_file: $DIR/password: it is no regular "
                        "file\n");
}

static void settings_password_file_of_a_foreign_group_is_refused(void **state)
{
    Fixture *fixture = *state;
    char path[64];

    /* Only root can give a file to a group that it is not in, and only others mind. */
    if (geteuid() != 0)
        skip();
    snprintf(path, sizeof(path), "%s/password", fixture->folder);
    assert_int_equal(chown(path, 65534, 4242), 0);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(chmod(fixture->folder, 0777), 0);
    assert_string_equal(load(fixture, ACCOUNTS DESTINATIONS), "");
    assert_int_equal(seteuid(65534), 0);
    /* x.conf was made by root: a new one, as who we are. */
    snprintf(path, sizeof(path), "%s/x.conf", fixture->folder);
    assert_int_equal(unlink(path), 0);
    load(fixture, ACCOUNTS DESTINATIONS);
    assert_int_equal(seteuid(0), 0);
    assert_string_equal(fixture->text,
                        "x.conf:1: accounts[0].password_file: $DIR/password: a group that is not "
                        "the daemon's own may read it; chgrp it, or chmod g-r\n");
}

static void settings_credential_is_checked_where_it_can_be(void **state)
{
    static const char text[] = "accounts = ( { name = \"main\"; jid = \"a@b\"; credential = "
                               "\"password\"; } );\n" DESTINATIONS;
    Fixture *fixture = *state;
    char path[64];

    assert_string_equal(load(fixture, text),
                        "warning: x.conf: accounts[0].credential: can't be checked outside of the "
                        "service that has LoadCredential=password\n");
    setenv("CREDENTIALS_DIRECTORY", fixture->folder, 1);
    assert_string_equal(load(fixture, text), "");
    snprintf(path, sizeof(path), "%s/password", fixture->folder);
    unlink(path);
    assert_string_equal(load(fixture, text),
                        "x.conf:1: accounts[0].credential: $DIR/password: No such file or "
                        "directory\n");
}

static void settings_bounds_and_paths_are_checked(void **state)
{
    assert_string_equal(
        load(*state, ACCOUNTS DESTINATIONS
             "socket: { path = \"/run/a\"; mode = \"rw\"; };\ncontrol: { path = \"/run/a\"; };\n"
             "spool: { path = \"spool.db\"; max_records = 0; max_share = 101; keep = \"0\"; };\n"
             "delivery: { window = 0; confirm = \"60\"; max_size = \"64K\"; };\n"
             "session: { backoff = \"5m\"; silence = \"1s\"; self_pin = \"60s\"; };\n"),
        "x.conf:3: socket.mode: \"rw\" is no mode; write it in octal, such as \"0660\"\n"
        "x.conf:4: control.path: \"/run/a\" is socket.path already\n"
        "x.conf:5: spool.path: \"spool.db\" is no absolute path; it must begin with \"/\"\n"
        "x.conf:5: spool.max_records: 0 is out of range; allowed are 1 to 10000000\n"
        "x.conf:5: spool.max_share: 101 is out of range; allowed are 1 to 100\n"
        "x.conf:5: spool.keep: \"0\" is out of range; allowed are 1s to 3650d\n"
        "x.conf:6: delivery.window: 0 is out of range; allowed are 1 to 1000\n"
        "x.conf:6: delivery.confirm: \"60\" is no duration; write a whole number and a unit "
        "(ms s m h d), such as \"5s\"\n"
        "x.conf:6: delivery.max_size: \"64K\" is out of range; allowed are 256 to 60K\n"
        "x.conf:7: session.silence: \"1s\" is out of range; allowed are 3s to 1h\n"
        "x.conf:7: unknown key \"self_pin\" in session; did you mean \"self_ping\"?\n"
        "x.conf:7: session.backoff_cap: is shorter than session.backoff\n");
}

static void settings_unused_account_is_a_warning(void **state)
{
    assert_string_equal(load(*state, "accounts = ( " MAIN ",\n { name = \"spare\"; jid = \"a@b\"; "
                                     "password_file = \"$DIR/password\"; } );\n" DESTINATIONS),
                        "warning: x.conf:2: accounts[1]: no destination uses \"spare\"\n");
}

static void replace(char *text, size_t size, const char *what, const char *with)
{
    char *at = strstr(text, what), rest[8192];

    assert_non_null(at);
    snprintf(rest, sizeof(rest), "%s", at + strlen(what));
    snprintf(at, size - (size_t)(at - text), "%s%s", with, rest);
}

static void settings_installed_example_asks_for_three_things(void **state)
{
    char text[8192] = "";
    FILE *stream = fopen(SOURCE_ROOT "/packaging/xmpprelay.conf", "re");

    assert_non_null(stream);
    assert_true(fread(text, 1, sizeof(text) - 512, stream) > 0);
    fclose(stream);
    replace(text, sizeof(text), "password_file = \"/etc/xmpprelay", "password_file = \"$DIR/none");
    assert_string_equal(load(*state, text),
                        "x.conf:17: accounts[0].jid: must not be empty\n"
                        "x.conf:25: accounts[0].password_file: $DIR/none/password: No such file or "
                        "directory\n"
                        "x.conf:45: destinations[0].room: must not be empty; write it like "
                        "\"ops@conference.example.org\"\n");

    replace(text, sizeof(text), "jid = \"\"", "jid = \"alertbot@example.org\"");
    replace(text, sizeof(text), "$DIR/none", "$DIR");
    replace(text, sizeof(text), "room = \"\"", "room = \"ops@conference.example.org\"");
    assert_string_equal(load(*state, text), "");

    /* What else it shows may be taken as it stands. */
    replace(text, sizeof(text), "#   host =", "host =");
    replace(text, sizeof(text), "#   port =", "port =");
    replace(text, sizeof(text), "#   tls =", "tls =");
    replace(text, sizeof(text), "#   nick =", "nick =");
    replace(text, sizeof(text), "#   style =", "style =");
    replace(text, sizeof(text), "# , {", ", {");
    replace(text, sizeof(text), "#socket:", "socket:");
    replace(text, sizeof(text), "#control:", "control:");
    replace(text, sizeof(text), "#spool:", "spool:");
    assert_string_equal(load(*state, text), "");
}

static void settings_file_that_is_none_is_told(void **state)
{
    Fixture *fixture = *state;
    Settings *settings = NULL;
    ConfigFile *file = NULL;

    assert_int_equal(settings_load("/nowhere/x.conf", &settings, &file), -EINVAL);
    assert_null(settings);
    assert_int_equal(config_n_errors(file), 1);
    assert_string_equal(config_error_at(file, 0),
                        "/nowhere/x.conf: can't be read: No such file or directory");
    config_file_free(file);
    assert_string_equal(load(fixture, "accounts = ( 5 ); destinations = 5;"),
                        "x.conf:1: accounts[0]: must be a group of settings: { … }\n"
                        "x.conf:1: destinations: must be a list of groups: destinations = ( { … }, "
                        "{ … } );\n");
}

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        test(settings_least_configuration_has_all_defaults),
        test(settings_references_are_resolved),
        test(settings_of_metrics_are_checked),
        test(settings_nothing_configured_says_what_is_missing),
        test(settings_accounts_are_checked),
        test(settings_destinations_are_checked),
        test(settings_jids_are_told_from_what_is_none),
        test(settings_password_file_must_be_ours_alone),
        test(settings_password_file_of_a_foreign_group_is_refused),
        test(settings_credential_is_checked_where_it_can_be),
        test(settings_bounds_and_paths_are_checked),
        test(settings_unused_account_is_a_warning),
        test(settings_installed_example_asks_for_three_things),
        test(settings_file_that_is_none_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
