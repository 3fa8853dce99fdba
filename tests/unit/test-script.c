/* SPDX-License-Identifier: MIT */

/* Scripts of a configuration, as a connection asks them. */

#include "tests/unit/profiles.h"

#include "common/log.h"
#include "tests/unit/mails.h"

/* The folder's configuration, with these scripts; each file is its name and ".lua". */
static int load(Folder *folder, const char *options, const char *one, const char *two)
{
    char text[2048];

    folder_write(folder, "one.lua", one);
    folder_write(folder, "two.lua", two ? two : "function message() end");
    snprintf(text, sizeof(text),
             FOLDER_PROFILES "scripts: ( { name = \"one\"; file = \"%s/one.lua\"; %s },\n"
                             "{ name = \"two\"; file = \"%s/two.lua\"; } );",
             folder->path, options, folder->path);
    return folder_load(folder, text);
}

static void load_good(Folder *folder, const char *options, const char *one, const char *two)
{
    if (load(folder, options, one, two) < 0)
        fail_msg("%s", folder->said);
}

static ScriptAnswer ask(ScriptRun *run, Mail *mail, ScriptEvent event)
{
    const ScriptView view = {
        .event = event,
        .mail = mail,
        .offered = (1U << _ACTION_MAX) - 1,
    };
    ScriptAnswer answer;

    script_run_call(run, &view, &answer);
    return answer;
}

static void errors_of_scripts_are_errors_of_the_configuration(void **state)
{
    Folder *folder = *state;

    assert_int_equal(
        load(folder, "", "function message(m)\n  local x = = 1\nend", "function mesage() end"),
        -EINVAL);
    assert_non_null(strstr(folder->said, "one.lua:2: unexpected symbol near '='\n"));
    assert_non_null(strstr(folder->said, "two.lua: it has no handler"));
    assert_int_equal(load(folder, "", "while true do end", NULL), -EINVAL);
    assert_non_null(strstr(folder->said, "one.lua:1: took more than 500 ms\n"));
    assert_int_equal(
        load(folder, "memory = \"256K\";", "x = {} for i = 1, 1e9 do x[i] = i end", NULL), -EINVAL);
    assert_non_null(strstr(folder->said, "one.lua: needs more than the 256 KB of memory"));
}

static void settings_of_scripts_are_checked(void **state)
{
    Folder *folder = *state;
    char text[512];

    assert_int_equal(load(folder, "time = \"1m\"; on_error = \"reject\"; memory = \"1K\";",
                          "function message() end", NULL),
                     -EINVAL);
    assert_non_null(strstr(folder->said, "scripts[0].time"));
    assert_non_null(strstr(folder->said, "scripts[0].on_error"));
    assert_non_null(strstr(folder->said, "scripts[0].memory"));
    snprintf(text, sizeof(text),
             FOLDER_PROFILES "scripts: ( { name = \"a b\"; file = \"%s/one.lua\"; },\n"
                             "{ name = \"x\"; file = \"%s/none.lua\"; },\n"
                             "{ name = \"x\"; file = \"%s\"; } );",
             folder->path, folder->path, folder->path);
    assert_int_equal(folder_load(folder, text), -EINVAL);
    assert_non_null(strstr(folder->said, "\"a b\" is no name"));
    assert_non_null(strstr(folder->said, "No such file or directory; it must be a file"));
    assert_non_null(strstr(folder->said, "no file; it must be a file"));
    assert_non_null(strstr(folder->said, "\"x\" is the name of scripts[1] already"));
}

static void first_verdict_ends_the_search(void **state)
{
    _cleanup_(script_run_freep) ScriptRun *run = NULL;
    _cleanup_mail_ Mail mail = {};
    Folder *folder = *state;
    ScriptAnswer answer;

    load_good(folder, "",
              "function mail(m) m.data.seen = true end\n"
              "function message(m) m:add_header('X', 'one') "
              "if m.data.seen then return 'accept' end end",
              "function message(m) m:add_header('X', 'two') return 'reject' end");
    assert_int_equal(script_run_new(&folder->settings->scripts, NULL, &run), 0);
    answer = ask(run, &mail, SCRIPT_MESSAGE);
    assert_int_equal(answer.verdict, VERDICT_REJECT);
    assert_string_equal(answer.script->name, "two");
    assert_int_equal(script_run_wishes(run)->actions.n, 2);

    script_run_begin_message(run);
    assert_int_equal(script_run_wishes(run)->actions.n, 0);
    assert_int_equal(ask(run, &mail, SCRIPT_MAIL).verdict, VERDICT_CONTINUE);
    answer = ask(run, &mail, SCRIPT_MESSAGE);
    assert_int_equal(answer.verdict, VERDICT_ACCEPT);
    assert_string_equal(answer.script->name, "one");
    assert_int_equal(script_run_wishes(run)->actions.n, 1);
}

static void run_knows_who_waits_for_what(void **state)
{
    _cleanup_(script_run_freep) ScriptRun *run = NULL;
    _cleanup_mail_ Mail mail = {};
    Folder *folder = *state;

    load_good(folder, "", "function body() return 'skip' end", "function headers() end");
    assert_true(scripts_have(&folder->settings->scripts, SCRIPT_BODY));
    assert_false(scripts_have(&folder->settings->scripts, SCRIPT_MESSAGE));
    assert_int_equal(script_run_new(&folder->settings->scripts, NULL, &run), 0);
    assert_true(script_run_waits(run, SCRIPT_CONNECT));
    assert_true(script_run_waits(run, SCRIPT_BODY));
    assert_false(script_run_waits(run, SCRIPT_MESSAGE));
    assert_true(script_run_wants_body(run));
    ask(run, &mail, SCRIPT_BODY);
    assert_false(script_run_waits(run, SCRIPT_BODY));
    assert_false(script_run_wants_body(run));
    script_run_begin_message(run);
    assert_true(script_run_wants_body(run));
}

/* Half done is not done, and the next message is seen again, by a state that knows nothing. */
static void failure_takes_all_back(void **state)
{
    _cleanup_(script_run_freep) ScriptRun *run = NULL;
    _cleanup_mail_ Mail mail = {};
    Folder *folder = *state;
    ScriptAnswer answer;

    load_good(folder, "on_error = \"accept\";",
              "function mail(m) m:alert{ text = 'early' } end\n"
              "function message(m) m:add_header('X', 'one') m:alert{ text = 'x' }\n"
              "if not m.connection.bad then m.connection.bad = true end error('no') end",
              "function mail(m) m:alert{ text = 'stays' } end\n"
              "function message(m) m:add_header('X', 'two') end");
    log_set_level(LOG_CRIT);
    assert_int_equal(script_run_new(&folder->settings->scripts, NULL, &run), 0);
    for (int i = 0; i < 3; i++) {
        ask(run, &mail, SCRIPT_MAIL);
        assert_int_equal(script_run_wishes(run)->alerts.n, 2);
        answer = ask(run, &mail, SCRIPT_MESSAGE);
        assert_int_equal(answer.verdict, VERDICT_CONTINUE);
        assert_int_equal(script_run_wishes(run)->actions.n, 1);
        assert_string_equal(script_run_wishes(run)->actions.items[0].value, "two");
        assert_int_equal(script_run_wishes(run)->alerts.n, 1);
        assert_string_equal(script_run_wishes(run)->alerts.items[0].record->text, "stays");
        script_run_begin_message(run);
    }
    log_set_level(LOG_INFO);
}

static void failure_puts_the_whole_message_off(void **state)
{
    _cleanup_(script_run_freep) ScriptRun *run = NULL;
    _cleanup_mail_ Mail mail = {};
    Folder *folder = *state;
    ScriptAnswer answer;

    load_good(folder, "", "function rcpt() error('no') end", "function connect() end");
    log_set_level(LOG_CRIT);
    assert_int_equal(script_run_new(&folder->settings->scripts, NULL, &run), 0);
    answer = ask(run, &mail, SCRIPT_RCPT);
    assert_int_equal(answer.verdict, VERDICT_TEMPFAIL);
    assert_true(answer.failed);
    assert_string_equal(answer.reply->code, "451");
    assert_true(script_run_waits(run, SCRIPT_MESSAGE));
    assert_int_equal(ask(run, &mail, SCRIPT_MESSAGE).verdict, VERDICT_TEMPFAIL);
    script_run_begin_message(run);
    assert_false(script_run_waits(run, SCRIPT_MESSAGE));
    assert_int_equal(ask(run, &mail, SCRIPT_MESSAGE).verdict, VERDICT_CONTINUE);
    log_set_level(LOG_INFO);
}

static void macros_of_scripts_are_those_of_the_settings(void **state)
{
    const char *names[MAIL_MACROS_MAX];
    Folder *folder = *state;

    load_good(folder, "", "macros = { 'client_ptr', '{auth_authen}' } function message() end",
              "macros = { 'client_ptr' } function message() end");
    assert_int_equal(settings_macros(folder->settings, names), 3);
    assert_true(settings_need_helo(folder->settings));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_set_up, folder_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(errors_of_scripts_are_errors_of_the_configuration),
        TEST(settings_of_scripts_are_checked),
        TEST(first_verdict_ends_the_search),
        TEST(run_knows_who_waits_for_what),
        TEST(failure_takes_all_back),
        TEST(failure_puts_the_whole_message_off),
        TEST(macros_of_scripts_are_those_of_the_settings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
