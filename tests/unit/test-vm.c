/* SPDX-License-Identifier: MIT */

/* What scripts see of a mail, and what they can say. */

#include "tests/unit/scripts.h"

#define HOSTILE                                                                                    \
    "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n"                                                       \
    "Received: one\nReceived: two\n  folded\n"                                                     \
    "From: a@x\nMessage-ID: <1@x>\n\nHello\nthere\n"

static void give_mail(Bench *bench)
{
    mail_done(&bench->mail);
    bench->mail = mail_of_text(HOSTILE);
    mail_set_client(&bench->mail, "192.0.2.1", "mx.example.org");
    mail_set_helo(&bench->mail, "helo.example.org");
    mail_set_envelope_from(&bench->mail, "<root@x>");
    mail_add_rcpt(&bench->mail, "<ops@y>");
    mail_add_rcpt(&bench->mail, "dev@y");
    mail_add_macro(&bench->mail, MAIL_STAGE_MAIL, "{auth_authen}", "bob");
    mail_set_queue_id(&bench->mail, "4QUEUE");
}

static void mail_members_are_what_the_mta_has_told(void **state)
{
    Bench *bench = *state;

    give_mail(bench);
    bench_run(bench,
              "assert(m.client == '192.0.2.1' and m.client_name == 'mx.example.org')\n"
              "assert(m.helo == 'helo.example.org' and m.envelope_from == 'root@x')\n"
              "assert(#m.rcpts == 2 and m.rcpts[1] == 'ops@y' and m.rcpts[2] == 'dev@y')\n"
              "assert(m.queue_id == '4QUEUE' and m.event == 'message')\n"
              "assert(m.body:find('Hello\\r\\nthere', 1, true) and m.body_size == #m.body)\n"
              "assert(m.text:match('^Hello\\nthere'), m.text)\n"
              "assert(not m.truncated and not m.is_local)\n"
              "assert(m.time > 1e9 and type(m.data) == 'table' and type(m.connection) == 'table')\n"
              "assert(#m.mail_args == 0)\n");
}

static void mail_members_that_are_not_known_are_nil(void **state)
{
    bench_run(*state, "assert(m.client == nil and m.client_name == nil and m.helo == nil)\n"
                      "assert(m.envelope_from == nil and m.queue_id == nil and #m.rcpts == 0)\n"
                      "assert(m.body == '' and m.text == '' and #m.headers == 0)\n"
                      "assert(m.headers.subject == nil and m.headers[1] == nil)\n"
                      "assert(m:header('Subject') == nil)\n");
}

static void mail_headers_are_read_by_name_and_number(void **state)
{
    Bench *bench = *state;

    give_mail(bench);
    bench_run(bench,
              "assert(m.headers.subject == 'Grüße' and m.headers['SUBJECT'] == 'Grüße')\n"
              "local text, value = m:header('Subject')\n"
              "assert(text == 'Grüße' and value == '=?utf-8?q?Gr=C3=BC=C3=9Fe?=')\n"
              "text, value = m:header('received', 2)\n"
              "assert(text == 'two folded' and value == 'two\\n  folded')\n"
              "assert(m:header('received', 3) == nil)\n"
              "local names = {}\n"
              "for i, h in ipairs(m.headers) do names[i] = h.name .. '=' .. h.text end\n"
              "assert(table.concat(names, ' ') == 'Subject=Grüße Received=one Received=two folded "
              "From=a@x Message-ID=<1@x>')\n"
              "assert(#m.headers == 5 and m.headers[6] == nil and m.headers[0] == nil)\n");
}

static const char *macro_of_mta(void *userdata, const char *name)
{
    return streq(name, "{tls_version}") ? "TLSv1.3" : NULL;
}

static void macros_are_found_with_or_without_braces(void **state)
{
    Bench *bench = *state;

    give_mail(bench);
    bench->view.macro = macro_of_mta;
    bench_run(bench,
              "assert(m.macros['{auth_authen}'] == 'bob' and m.macros.auth_authen == 'bob')\n"
              "assert(m.macros.tls_version == 'TLSv1.3' and m.macros.none == nil)\n"
              "assert(not pcall(function() return m.macros['no macro'] end))\n");
}

static void arguments_of_esmtp_are_lists(void **state)
{
    char *of_mail[] = { (char *)"SIZE=100", (char *)"BODY=8BITMIME", NULL }, *of_rcpt[] = { NULL };
    Bench *bench = *state;

    bench_compile(bench, "function mail(m, from, args) assert(from == 'a@x' and #args == 2 and "
                         "args[2] == 'BODY=8BITMIME') end\n"
                         "function rcpt(m, to, args) assert(to == 'b@x' and #args == 0 and "
                         "m.mail_args[1] == 'SIZE=100') end");
    bench->view.values[0] = (ScriptValue){ "a@x", 3 };
    bench->view.n_values = 1;
    bench->view.arguments = of_mail;
    if (bench_call(bench, SCRIPT_MAIL) < 0)
        fail_msg("%s", bench->reason);
    bench->view.values[0] = (ScriptValue){ "b@x", 3 };
    bench->view.arguments = of_rcpt;
    bench->view.mail_arguments = of_mail;
    if (bench_call(bench, SCRIPT_RCPT) < 0)
        fail_msg("%s", bench->reason);
}

static void slips_are_errors(void **state)
{
    Bench *bench = *state;

    bench_fails(bench, "return m.subject", "there is no m.subject");
    bench_fails(bench, "m.client = 'x'", "this can't be set");
    bench_fails(bench, "m.headers.subject = 'x'", "this can't be set");
    bench_fails(bench, "return 'acept'", "message() has returned \"acept\", which is no verdict");
    bench_fails(bench, "return 7", "message() has returned a number");
    bench_fails(bench, "return true", "message() has returned a boolean");
    bench_fails(bench, "\n\nerror('so')", "test:3: so");
    bench_fails(bench, "error({})", "an error that is no text");
}

static void verdicts_are_words(void **state)
{
    static const Verdict verdicts[] = { VERDICT_CONTINUE, VERDICT_ACCEPT, VERDICT_DISCARD,
                                        VERDICT_REJECT, VERDICT_TEMPFAIL };
    Bench *bench = *state;

    bench_run(bench, "");
    assert_int_equal(bench->result.verdict, VERDICT_CONTINUE);
    for (size_t i = 0; i < ELEMENTSOF(verdicts); i++) {
        char text[64];

        snprintf(text, sizeof(text), "return '%s'", verdict_names[verdicts[i]]);
        bench_run(bench, text);
        assert_int_equal(bench->result.verdict, verdicts[i]);
        assert_null(bench->result.reply);
    }
    bench_fails(bench, "return 'quarantine'", "no verdict at this event");
    bench_fails(bench, "return 'skip'", "no verdict at this event");
}

static void verdicts_fit_their_event(void **state)
{
    Bench *bench = *state;

    bench_compile(bench, "function connect() return 'discard' end\n"
                         "function unknown() return 'accept' end\n"
                         "function body() return 'skip' end\n"
                         "function close() return 'nonsense' end");
    assert_int_equal(bench_call(bench, SCRIPT_CONNECT), -EINVAL);
    assert_int_equal(bench_call(bench, SCRIPT_UNKNOWN), -EINVAL);
    assert_int_equal(bench_call(bench, SCRIPT_BODY), 0);
    assert_true(bench->result.skip);
    assert_int_equal(bench_call(bench, SCRIPT_CLOSE), 0);
}

static void reply_has_code_status_and_lines(void **state)
{
    Bench *bench = *state;

    bench_run(bench, "return m:reply('550', '5.7.1', 'No.', 'Not even 5 % of it.')");
    assert_int_equal(bench->result.verdict, VERDICT_REJECT);
    assert_string_equal(bench->result.reply->code, "550");
    assert_string_equal(bench->result.reply->status, "5.7.1");
    assert_int_equal(bench->result.reply->n_lines, 2);
    assert_string_equal(bench->result.reply->lines[1], "Not even 5 % of it.");
    bench_run(bench, "return m:reply(451, nil, 'Later')");
    assert_int_equal(bench->result.verdict, VERDICT_TEMPFAIL);
    assert_string_equal(bench->result.reply->status, "");

    bench_run(bench, "return m:reply('550', nil, 'a\\r\\n250 OK\\0ü')");
    assert_string_equal(bench->result.reply->lines[0], "a 250 OK?");
    bench_run(bench, "m:reply('550', nil, 'not returned')");
    assert_int_equal(bench->result.verdict, VERDICT_CONTINUE);

    bench_fails(bench, "return m:reply('250', nil, 'x')", "is no code of a reply that refuses");
    bench_fails(bench, "return m:reply('550', '4.7.1', 'x')", "no status that goes with 550");
    bench_fails(bench, "return m:reply('550', '5.7', 'x')", "no status that goes with 550");
    bench_fails(bench, "return m:reply('550', '5.7.1')", "there is no text");
    bench_fails(bench,
                "return m:reply('550', '5.7.1', table.unpack((function() local t = {} "
                "for i = 1, 33 do t[i] = 'x' end return t end)()))",
                "at most 32 lines");
}

static void wish_is(const Bench *bench, size_t index, const char *expected)
{
    _cleanup_free_ char *said = NULL;

    assert_true(index < bench->wishes.actions.n);
    said = action_describe_dup(&bench->wishes.actions.items[index]);
    assert_string_equal(said, expected);
}

static void actions_are_wished_for_in_message(void **state)
{
    Bench *bench = *state;

    give_mail(bench);
    bench_run(bench, "m:add_header('X-A', 'a')\n"
                     "m:insert_header(0, 'X-B', 'b')\n"
                     "m:change_header('Subject', '[x] ' .. m.headers.subject)\n"
                     "m:change_header('Received', 'three', 2)\n"
                     "m:delete_header('Received')\n"
                     "m:delete_header('From', 1)\n"
                     "m:change_from('new@x', 'SIZE=1')\n"
                     "m:add_rcpt('more@y')\n"
                     "m:delete_rcpt('ops@y')\n"
                     "m:replace_body('one\\ntwo\\r\\n')\n"
                     "m:quarantine('so\\nit is')\n");
    assert_int_equal(bench->wishes.actions.n, 12);
    wish_is(bench, 0, "add_header X-A: a");
    wish_is(bench, 1, "insert_header 0 X-B: b");
    wish_is(bench, 2, "change_header 1 Subject: [x] =?UTF-8?B?R3LDvMOfZQ==?=");
    wish_is(bench, 3, "change_header 2 Received: three");
    wish_is(bench, 4, "delete_header 1 Received");
    wish_is(bench, 5, "delete_header 2 Received");
    wish_is(bench, 6, "delete_header 1 From");
    wish_is(bench, 7, "change_from <new@x> SIZE=1");
    wish_is(bench, 8, "add_rcpt <more@y>");
    wish_is(bench, 9, "delete_rcpt <ops@y>");
    wish_is(bench, 10, "replace_body with 10 bytes");
    wish_is(bench, 11, "quarantine: so it is");
    assert_memory_equal(bench->wishes.actions.items[10].value, "one\r\ntwo\r\n", 10);
}

static void actions_are_refused_before_the_end(void **state)
{
    Bench *bench = *state;

    bench_compile(bench, "function headers(m) m:add_header('X', 'y') end");
    assert_int_equal(bench_call(bench, SCRIPT_HEADERS), -EINVAL);
    assert_string_equal(bench->reason, "test:1: m:add_header() is possible in message() only, not "
                                       "in headers()");
}

static void actions_that_the_mta_does_not_offer_are_refused(void **state)
{
    Bench *bench = *state;

    bench->view.offered = ALL_OFFERED & ~(1U << ACTION_CHANGE_FROM);
    bench_fails(bench, "m:change_from('a@x')", "m:change_from() is nothing that the MTA offers");
    bench_run(bench, "m:add_rcpt('a@x')");
}

static void names_and_addresses_that_are_none_are_refused(void **state)
{
    Bench *bench = *state;

    bench_fails(bench, "m:add_header('X Y', 'z')", "is no name of a header");
    bench_fails(bench, "m:add_header('X:', 'z')", "is no name of a header");
    bench_fails(bench, "m:add_header('X\\nY', 'z')", "is no name of a header");
    bench_fails(bench, "m:add_header('', 'z')", "is no name of a header");
    bench_fails(bench, "m:add_header('X\\0Y', 'z')", "there is a NUL in it");
    bench_fails(bench, "m:add_header('X')", "bad argument #2 to 'add_header'");
    bench_fails(bench, "m:add_rcpt('a@x>\\r\\nDATA')", "is no address of an envelope");
    bench_fails(bench, "m:add_rcpt('a@x> <b@x')", "is no address of an envelope");
    bench_fails(bench, "m:add_rcpt('')", "is no address of an envelope");
    bench_fails(bench, "m:add_rcpt('a@x', 'X\\nY')", "is no argument of ESMTP");
    bench_run(bench, "m:change_from('')");
    bench_fails(bench, "m:change_header('X', 'y', 0)", "a header's number must be from 1");
    bench_fails(bench, "m:insert_header(-1, 'X', 'y')", "out of bounds");
    bench_fails(bench, "for i = 1, 1001 do m:add_header('X', 'y') end", "at most 1000 changes");
}

/* The relay takes far less, and secrets are looked for in all of it. */
static void alert_of_long_texts_is_cut(void **state)
{
    Bench *bench = *state;
    const Record *record;

    bench_run(bench, "local s = ('x'):rep(1000000)\n"
                     "m:alert{ title = s, text = s, key = s, fields = { a = s } }");
    record = bench->wishes.alerts.items[0].record;
    assert_int_equal(strlen(record->title), 16384);
    assert_int_equal(strlen(record->text), 262144);
    assert_int_equal(strlen(record->key), 16384);
    assert_int_equal(strlen(record->fields[0].value), 16384);
}

static void alert_says_what_the_script_says(void **state)
{
    Bench *bench = *state;
    const Record *record;

    bench_run(bench, "m:alert{ to = { 'ops', 'night' }, title = 'T', text = 'x', severity = "
                     "'critical', state = 'problem', key = 'k', fields = { host = 'h', n = 3 } }\n"
                     "m:alert{ text = 'alone', to = 'ops' }\n"
                     "m:alert{ title = 'only' }");
    assert_int_equal(bench->wishes.alerts.n, 3);
    record = bench->wishes.alerts.items[0].record;
    assert_string_equal(bench->wishes.alerts.items[0].script, "test");
    assert_string_equal(record->title, "T");
    assert_string_equal(record->text, "x");
    assert_string_equal(record->key, "k");
    assert_int_equal(record->severity, SEVERITY_CRITICAL);
    assert_int_equal(record->state, STATE_PROBLEM);
    assert_int_equal(record->n_to, 2);
    assert_string_equal(record_field(record, "host"), "h");
    assert_string_equal(record_field(record, "n"), "3");
    assert_int_equal(bench->wishes.alerts.items[1].record->n_to, 1);

    bench_fails(bench, "m:alert{ titel = 'x' }", "there is no \"titel\"");
    bench_fails(bench, "m:alert{ severity = 'bad', text = 'x' }", "\"severity\" must be");
    bench_fails(bench, "m:alert{}", "neither \"title\" nor \"text\"");
    bench_fails(bench, "m:alert{ text = {} }", "\"text\" must be a string");
    bench_fails(bench, "m:alert{ text = 'x', fields = { ['A b'] = 'x' } }", "\"fields\" has names");
    bench_fails(bench, "m:alert{ text = 'x', to = { 1 } }", "\"to\" must be the name");
    bench_fails(bench, "m:alert('x')", "table expected");
    bench_fails(bench,
                "m:alert(setmetatable({}, { __index = function(t, key) m:alert{ text = 'x' } "
                "return 'y' end }))",
                "a table without a metatable is wanted");
    bench_run(bench, "for i = 1, 20 do assert(not pcall(m.alert, m, { text = 'x', to = 1 })) end\n"
                     "m:alert{ text = 'x' }");
    assert_int_equal(bench->wishes.alerts.n, 1);
    bench_fails(bench, "for i = 1, 17 do m:alert{ text = 'x' } end", "at most 16 alerts");
}

static void state_is_kept_for_message_and_connection(void **state)
{
    Bench *bench = *state;

    bench_compile(bench, "function message(m)\n"
                         "  m.connection.n = (m.connection.n or 0) + 1\n"
                         "  m.data.n = (m.data.n or 0) + 1\n"
                         "  return m:reply('550', nil, m.connection.n .. ' ' .. m.data.n)\n"
                         "end");
    bench_call(bench, SCRIPT_MESSAGE);
    assert_string_equal(bench->result.reply->lines[0], "1 1");
    bench_call(bench, SCRIPT_MESSAGE);
    assert_string_equal(bench->result.reply->lines[0], "2 2");
    vm_begin_message(bench->vm);
    bench_call(bench, SCRIPT_MESSAGE);
    assert_string_equal(bench->result.reply->lines[0], "3 1");
}

static void handlers_are_functions_or_a_table_of_them(void **state)
{
    Bench *bench = *state;

    assert_int_equal(bench_compile(bench, "return { mail = function() end, macros = { 'i', "
                                          "'auth_authen' }, message = function() end }"),
                     0);
    assert_int_equal(bench->outline.events, 1U << SCRIPT_MAIL | 1U << SCRIPT_MESSAGE);
    assert_true(names_have(&bench->outline.macros, "{auth_authen}"));

    assert_int_equal(bench_compile(bench, "return { mesage = function() end }"), -EINVAL);
    assert_string_equal(bench->reason, "there is no event \"mesage\"; did you mean \"message\"?");
    assert_int_equal(bench_compile(bench, "x = 1"), -EINVAL);
    assert_non_null(strstr(bench->reason, "it has no handler"));
    assert_int_equal(bench_compile(bench, "body = 'x'"), -EINVAL);
    assert_non_null(strstr(bench->reason, "\"body\" is the name of an event"));
    assert_int_equal(bench_compile(bench, "return 7"), -EINVAL);
    assert_int_equal(bench_compile(bench, "macros = { 'a b' } function message() end"), -EINVAL);
    assert_int_equal(bench_compile(bench, "\nfunction message(m"), -EINVAL);
    assert_non_null(strstr(bench->reason, "test:2: "));
    assert_int_equal(bench_compile(bench, "\n\nlocal x = nil + 1"), -EINVAL);
    assert_non_null(strstr(bench->reason, "test:3: "));
    assert_int_equal(bench_compile(bench, "\x1bLua"), -EINVAL);
}

static void regex_finds_and_takes_groups(void **state)
{
    Bench *bench = *state;

    bench_run(bench, "local re = regex('(\\\\w+)@(\\\\w+)(x)?')\n"
                     "local a, b, c = re:match('to bob@home now')\n"
                     "assert(a == 'bob' and b == 'home' and c == nil)\n"
                     "local from, to, name = re:find('to bob@home now')\n"
                     "assert(from == 4 and to == 11 and name == 'bob')\n"
                     "assert(re:match('none') == nil and re:find('a@b', 2) == nil)\n"
                     "assert(regex('(?i)HELLO'):match('say hello') == 'hello')\n"
                     "assert(not pcall(regex, '('))\n");
    bench_fails(bench, "return regex('('):match('x')", "regex: missing closing parenthesis");
    bench_fails(bench, "for i = 1, 300 do m.data[i] = regex('x') end", "at most 256 regexes");
    bench_fails(bench, "regex('(x+x+)+[^x]'):match(('x'):rep(5000))",
                "the regex has reached its limits");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, bench_set_up, bench_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(mail_members_are_what_the_mta_has_told),
        TEST(mail_members_that_are_not_known_are_nil),
        TEST(mail_headers_are_read_by_name_and_number),
        TEST(macros_are_found_with_or_without_braces),
        TEST(arguments_of_esmtp_are_lists),
        TEST(slips_are_errors),
        TEST(verdicts_are_words),
        TEST(verdicts_fit_their_event),
        TEST(reply_has_code_status_and_lines),
        TEST(actions_are_wished_for_in_message),
        TEST(actions_are_refused_before_the_end),
        TEST(actions_that_the_mta_does_not_offer_are_refused),
        TEST(names_and_addresses_that_are_none_are_refused),
        TEST(alert_of_long_texts_is_cut),
        TEST(alert_says_what_the_script_says),
        TEST(state_is_kept_for_message_and_connection),
        TEST(handlers_are_functions_or_a_table_of_them),
        TEST(regex_finds_and_takes_groups),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
