/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "milterd/redact.h"

static Redaction *redaction; /* the built-in patterns */

static int setup(void **state)
{
    return redaction_new(NULL, &redaction);
}

static int teardown(void **state)
{
    redaction = redaction_free(redaction);
    return 0;
}

/* What becomes of a text; the caller frees it. */
static char *redacted_with(const Redaction *with, const char *text, char **ret_notes)
{
    _cleanup_record_ Record *record = record_new();
    Redactor redactor;
    bool cut = false;
    char *result;

    assert_int_equal(record_set(&record->text, text), 0);
    redactor_begin(&redactor, with);
    assert_int_equal(redact_record(&redactor, record, 49152, &cut), 0);
    assert_false(cut);
    result = steal_ptr(record->text);
    if (ret_notes)
        *ret_notes = steal_ptr(redactor.notes);
    redactor_done(&redactor);
    return result;
}

typedef struct Pair {
    const char *text, *expected;
} Pair;

#define H "[redacted]"
#define GH "ghp_16C7e42F292c6912E7710c838347Ae178B4a"
#define JWT                                                                                        \
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0."                            \
    "SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"

static const Pair secrets[] = {
    /* k=v */
    { "password=hunter2", "password=" H },
    { "connect failed: user=bob password=hunter2 host=db1",
      "connect failed: user=bob password=" H " host=db1" },
    { "DB_PASSWORD=hunter2", "DB_PASSWORD=" H },
    { "PGPASSWORD='two words' psql", "PGPASSWORD='" H "' psql" },
    { "passwd = \"corr\\\"ect horse\" # note", "passwd = \"" H "\" # note" },
    { "export AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
      "export AWS_SECRET_ACCESS_KEY=" H },
    { "MYSQL_PWD=x9 mysqldump", "MYSQL_PWD=" H " mysqldump" },
    { "Server=db;Database=x;Uid=sa;Pwd=S3cr;Timeout=5",
      "Server=db;Database=x;Uid=sa;Pwd=" H ";Timeout=5" },
    { "smtp_pass=abc smtp_user=x", "smtp_pass=" H " smtp_user=x" },
    { "login?user=bob&pass=hunter2&x=1", "login?user=bob&pass=" H "&x=1" },
    { "auth: { user: 'bob', 'pass': 'hunter2' }", "auth: { user: 'bob', 'pass': '" H "' }" },
    { "(api_key=AbC123, retries=3)", "(api_key=" H ", retries=3)" },
    { "SECRET_KEY_BASE=0123456789abcdef", "SECRET_KEY_BASE=" H },
    { "client_secret => 'abc'", "client_secret => '" H "'" },
    { "password=expired99", "password=" H },
    { "password=no+pe", "password=" H },
    { "password=$ecret", "password=" H },
    { "password=[abc token=<", "password=" H " token=<" },
    { "password=***x", "password=" H },
    /* URL queries */
    { "GET /login?user=x&token=8d1f0c&next=/ HTTP/1.1",
      "GET /login?user=x&token=" H "&next=/ HTTP/1.1" },
    { "https://api.example.org/v1?access_token=abc.def&x=1",
      "https://api.example.org/v1?access_token=" H "&x=1" },
    { "https://s3.example/x?X-Amz-Credential=AK/2026&X-Amz-Signature=deadbeef&a=b",
      "https://s3.example/x?X-Amz-Credential=" H "&X-Amz-Signature=" H "&a=b" },
    /* k: v */
    { "Username: bob\nPassword: hunter2\nHost: db1", "Username: bob\nPassword: " H "\nHost: db1" },
    { "  - api key: s3cr3t", "  - api key: " H },
    { "Your new password: Winter", "Your new password: " H },
    { "db.password: correcthorse", "db.password: " H },
    { "passphrase: \"correct horse battery\"", "passphrase: \"" H "\"" },
    { "login with token: 8d1f0c7a (valid one day)", "login with token: " H " (valid one day)" },
    /* JSON */
    { "{\"user\":\"bob\",\"password\":\"a b\\\"c\",\"port\":5432}",
      "{\"user\":\"bob\",\"password\":\"" H "\",\"port\":5432}" },
    { "{'api_key': 'AbC', 'n': 1}", "{'api_key': '" H "', 'n': 1}" },
    { "{\"refresh_token\" : \"abc\"}", "{\"refresh_token\" : \"" H "\"}" },
    { "<db:Password type=\"plain\">two words</db:Password><port>5432</port>",
      "<db:Password type=\"plain\">" H "</db:Password><port>5432</port>" },
    { "X-Api-Key: abcd\nPRIVATE-TOKEN: xyz", "X-Api-Key: " H "\nPRIVATE-TOKEN: " H },
    { "{\"password\":null,\"token\":12345678}", "{\"password\":null,\"token\":" H "}" },
    /* command lines */
    { "/usr/bin/backup --user bob --password hunter2 --all",
      "/usr/bin/backup --user bob --password " H " --all" },
    { "tool --db-password='a b' x", "tool --db-password='" H "' x" },
    { "vault login -token s.abc", "vault login -token " H },
    { "gh auth --api-key AbCdEf", "gh auth --api-key " H },
    { "Cron <root@db1> mysqldump -u root -ph4x! --all-databases",
      "Cron <root@db1> mysqldump -u root -p" H " --all-databases" },
    { "sshpass -p hunter2 ssh root@h", "sshpass -p " H " ssh root@h" },
    { "curl -s -u bob:hunter2 https://x/", "curl -s -u bob:" H " https://x/" },
    /* headers */
    { "Authorization: Bearer abc", "Authorization: Bearer " H },
    { "> authorization: Basic dXNlcjpwYXNz", "> authorization: Basic " H },
    { "{\"Authorization\": \"Bearer abc\", \"x\": 1}",
      "{\"Authorization\": \"Bearer " H "\", \"x\": 1}" },
    { "curl -H 'Authorization: token abc' https://x",
      "curl -H 'Authorization: token " H "' https://x" },
    { "sent bearer 0a1b2c3d4e5f6a7b8c9d", "sent bearer " H },
    { "Cookie: session=abc; theme=dark", "Cookie: " H },
    { "Set-Cookie: sid=38afes7a8; HttpOnly; Path=/", "Set-Cookie: " H },
    /* shapes */
    { "pushed with " GH " by bob", "pushed with " H " by bob" },
    { "glpat-AbCdEfGhIjKlMnOpQrSt expires", H " expires" },
    { "xoxb-123456789012-abcdefGHIJ", H },
    { "key AKIAIOSFODNN7EXAMPLE was used", "key " H " was used" },
    { "jwt " JWT " rejected", "jwt " H " rejected" },
    { "POST https://hooks.slack.com/services/T0001/B0001/XXXXabcd",
      "POST https://hooks.slack.com/services/" H },
    /* URLs */
    { "cloning https://bob:s3cr3t@git.example.org/x.git failed",
      "cloning https://bob:" H "@git.example.org/x.git failed" },
    { "postgres://app:p@ss:word@db:5432/app", "postgres://app:" H "@db:5432/app" },
    { "redis://:pw@cache:6379/0", "redis://:" H "@cache:6379/0" },
    /* cron */
    { "X-Cron-Env: <PATH=/usr/bin:/bin>\nX-Cron-Env: <HOME=/root>",
      "X-Cron-Env: <PATH=" H ">\nX-Cron-Env: <HOME=" H ">" },
    /* keys */
    { "a\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\nowIB\n-----END RSA PRIVATE KEY-----\nb",
      "a\n" H "\nb" },
    { "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXkt\n", H },
    { "x -----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQVYBF-\n=aaaa\n"
      "-----END PGP PRIVATE KEY BLOCK----- y",
      "x " H " y" },
    { "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n"
      "-----BEGIN EC PRIVATE KEY-----\nMHcC",
      H "\n" H },
    { "Private-Lines: 1\nAAAAgQC=\nPrivate-MAC: 00", "Private-Lines: 1\n" H "-MAC: 00" },
};

static void redact_secrets_are_hidden(void **state)
{
    for (size_t i = 0; i < ELEMENTSOF(secrets); i++) {
        _cleanup_free_ char *text = redacted_with(redaction, secrets[i].text, NULL);
        /* Once more finds nothing more. */
        _cleanup_free_ char *again = redacted_with(redaction, text, NULL);

        assert_string_equal(text, secrets[i].expected);
        assert_string_equal(again, secrets[i].expected);
    }
}

static const char *const ordinary[] = {
    "password check failed",
    "token expired",
    "Failed password for root from 1.2.3.4",
    "Failed password for invalid user admin from 192.0.2.7 port 40022 ssh2",
    "Accepted publickey for root from 192.0.2.7 port 40022 ssh2: RSA SHA256:AbC0d3",
    "sshd[812]: Connection closed by authenticating user root 192.0.2.7 port 4 [preauth]",
    "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= user=root",
    "root : 3 incorrect password attempts ; TTY=pts/0 ; PWD=/root ; USER=root ; COMMAND=/bin/sh",
    "PWD=/var/www OLDPWD=/root SHLVL=1",
    "PasswordAuthentication no",
    "password_file=/etc/milterd/password",
    "/etc/passwd: file changed",
    "passwd: files systemd\ngroup: files",
    "Password: must be changed within 3 days",
    "Password: expired",
    "Invalid token: expired",
    "Error decrypting secret: timeout",
    "Unexpected token: } in JSON at position 12",
    "invalid token: 401 Unauthorized",
    "token: 2026-03-14T09:26:53Z has expired",
    "password required = true",
    "password=*** user=root",
    "password=${DB_PASSWORD} token=$TOKEN",
    "password: [redacted]",
    "password=<hidden>",
    "if (token == other)",
    "max_tokens=4096 tokens=17",
    "Use --password to set it, or --token-file FILE",
    "the option --secret is deprecated",
    "Secret kube-system/tls not found",
    "keyboard=us key=value monkey: banana",
    "Authorization failed for user bob",
    "authorization: failed",
    "bearer channel down on E1 circuit",
    "Cookie: missing",
    "cookies: 12 set",
    "see https://grafana.example.org:3000/d/abc?from=now-1h&to=now",
    "http://[2001:db8::1]:8080/status@now",
    "mail to ops@example.org: user unknown (http://x.example/a:b, c@d.example)",
    "ssh://git@git.example.org:22/x.git",
    "mysqld -P3306 and mysql -h db1 are up",
    "curl: (7) Failed to connect to db1 port 5432: Connection refused",
    "curl -fsS https://example.org/health",
    "eyJust a word. ghp_short xoxb glpat-x",
    "disk-0123456789abcdef0123456789 is gone",
    "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----",
    "-----BEGIN PUBLIC KEY-----\nMIIE\n-----END PUBLIC KEY-----",
    "DISK CRITICAL - free space: /srv/pg 812 MB (1% inode=97%);| /srv/pg=214083MB;1;2;0;3",
    "md0 : active raid1 sdb1[1]\n      976630464 blocks super 1.2 [2/1] [_U]",
    "Zertifikat für mail.example.org läuft in 3 Tagen ab",
    "labels: alertname=HighLoad, instance=web1:9100, severity=critical",
    "commit 8d1f0c7a9b8d1f0c7a9b8d1f0c7a9b8d1f0c7a9b",
    "Message-ID: <20260314092653.4WXyZ01@nms.example.org>",
    "keys: 3 added, credential helper: osxkeychain is missing",
    "password-store unlocked; secret-service: running since 09:12",
    "pass=5 fail=0 skip=2",
    "PASS: t0001-init.sh",
    "{\"pass\": 12, \"fail\": 0}",
    "pass=all tests.pass=unit2a",
    "fatal: could not read Password for 'https://bob@git.example.org': No such device",
    "Unable to retrieve secret: access denied by policy",
    "Password last set: Jan 2, password expires: never, user: bob2",
    "New password set for user: bob2",
    "Starting Dispatch Password Requests to Console: done",
    "Token usage: 1234abcd of 99999",
    "<secrets><count>3</count></secrets> <token/>",
    "mount -t nfs4 -o sec=krb5 kube-api-access-x9d2k:/ failed, serviceaccount-token-abc12",
    "warning: unknown[192.0.2.7]: SASL LOGIN authentication failed: UGFzc3dvcmQ6",
};

static void redact_ordinary_text_stays(void **state)
{
    for (size_t i = 0; i < ELEMENTSOF(ordinary); i++) {
        _cleanup_free_ char *text = redacted_with(redaction, ordinary[i], NULL);

        assert_string_equal(text, ordinary[i]);
    }
}

static void redact_every_part_of_a_record_is_looked_at(void **state)
{
    _cleanup_record_ Record *record = record_new();
    Redactor redactor;
    bool cut = false;

    record_set(&record->title, "login with password=hunter2");
    record_set(&record->key, "http://bob:hunter2@web1/");
    record_set(&record->text, "token=abc token=def");
    record_add_field(record, "url", "http://bob:hunter2@web1/");
    record_add_field(record, "host", "web1");
    redactor_begin(&redactor, redaction);
    assert_int_equal(redact_record(&redactor, record, 4096, &cut), 0);
    assert_string_equal(record->title, "login with password=" H);
    assert_string_equal(record->key, "http://bob:" H "@web1/");
    assert_string_equal(record->text, "token=" H " token=" H);
    assert_string_equal(record_field(record, "url"), "http://bob:" H "@web1/");
    assert_string_equal(record_field(record, "host"), "web1");
    assert_int_equal(redactor.n, 5);
    assert_string_equal(redactor.notes, "password: 1 in title\n"
                                        "url-credentials: 1 in key\n"
                                        "url-credentials: 1 in url\n"
                                        "password: 2 in text\n");
    redactor_done(&redactor);
}

static void redact_without_patterns_hides_nothing(void **state)
{
    _cleanup_free_ char *text = redacted_with(NULL, "password=hunter2", NULL);

    assert_string_equal(text, "password=hunter2");
}

static Redaction *redaction_of(char *name, char *regex)
{
    RedactRule rule = { name, regex };
    void *items[] = { &rule };
    Redaction *made;

    assert_int_equal(redaction_new(&(ConfigItems){ items, 1 }, &made), 0);
    return made;
}

static void redact_own_pattern_hides_its_group_or_all(void **state)
{
    char name[] = "badge", whole[] = "(?i)badge [0-9]+", group[] = "badge (?<secret>[0-9]*)";
    _cleanup_(redaction_freep) Redaction *all = redaction_of(name, whole),
                                         *part = redaction_of(name, group);
    _cleanup_free_ char *notes = NULL, *first = redacted_with(all, "ü Badge 12, badge 3", &notes),
                        *second = redacted_with(part, "badge 12 badge badge 7", NULL);

    assert_string_equal(first, "ü " H ", " H);
    assert_string_equal(notes, "badge: 2 in text\n");
    assert_string_equal(second, "badge " H " badge badge " H);
}

static void redact_empty_matches_come_to_an_end(void **state)
{
    char name[] = "odd", nothing[] = "x*", behind[] = "(?=(?<secret>b+))a?";
    _cleanup_(redaction_freep) Redaction *first = redaction_of(name, nothing),
                                         *second = redaction_of(name, behind);
    _cleanup_free_ char *text = redacted_with(first, "aüxb", NULL),
                        *other = redacted_with(second, "abbc", NULL);

    assert_string_equal(text, "aü" H "b");
    assert_string_equal(other, "a" H "c");
}

static void redact_text_that_costs_too_much_is_withheld(void **state)
{
    char name[] = "slow", regex[] = "(a+)+[bc]$";
    _cleanup_(redaction_freep) Redaction *slow = redaction_of(name, regex);
    _cleanup_record_ Record *record = record_new();
    char *text = malloc(40001);
    Redactor redactor;
    bool cut = false;
    clock_t began = clock();

    memset(text, 'a', 40000);
    text[40000] = '\0';
    record_set(&record->title, "web1 is down");
    record_set(&record->text, text);
    redactor_begin(&redactor, slow);
    assert_int_equal(redact_record(&redactor, record, 4096, &cut), 0);
    assert_string_equal(record->title, "web1 is down");
    assert_string_equal(record->text, "(text withheld: a redact pattern reached its limits)");
    assert_true(redactor.withheld);
    redactor_done(&redactor);

    /* A title that can't be looked through takes the rest with it. */
    record_set(&record->title, text);
    record_set(&record->key, "k");
    redactor_begin(&redactor, slow);
    redactor.budget = 100;
    assert_int_equal(redact_record(&redactor, record, 4096, &cut), 0);
    assert_string_equal(record->title, "(title withheld: a redact pattern reached its limits)");
    assert_null(strstr(record->text, "aaaa"));
    redactor_done(&redactor);
    assert_true(clock() - began < 20 * CLOCKS_PER_SEC);
    free(text);
}

/* Of a text of so many bytes before the secret and behind it, with what may be shown. */
static char *long_text(size_t before, const char *secret, size_t behind)
{
    char *text = malloc(before + strlen(secret) + behind + 1), *end = text;

    for (size_t i = 0; i < before; i++)
        *end++ = i % 80 == 79 ? '\n' : 'x';
    end = stpcpy(end, secret);
    for (size_t i = 0; i < behind; i++)
        *end++ = i % 80 == 79 ? '\n' : 'y';
    *end = '\0';
    return text;
}

static void redact_tail_that_is_never_shown_is_left_to_be_counted(void **state)
{
    _cleanup_record_ Record *record = record_new();
    _cleanup_free_ char *text = long_text(100, "\npassword=q\n", 500000);
    Redactor redactor;
    bool cut = false;

    record_set(&record->text, text);
    redactor_begin(&redactor, redaction);
    assert_int_equal(redact_record(&redactor, record, 4096, &cut), 0);
    assert_false(cut);
    assert_int_equal(strlen(record->text), strlen(text) - 1 + strlen(H));
    redactor_done(&redactor);
}

static void redact_secret_that_outlives_the_window_stays_hidden(void **state)
{
    static const char key[] = "\n-----BEGIN RSA PRIVATE KEY-----\n";
    _cleanup_record_ Record *record = record_new();
    _cleanup_free_ char *text = long_text(100, key, 500000);
    Redactor redactor;
    bool cut = false;

    record_set(&record->text, text);
    redactor_begin(&redactor, redaction);
    assert_int_equal(redact_record(&redactor, record, 4096, &cut), 0);
    assert_true(cut);
    assert_null(strstr(record->text, "yyy"));
    assert_non_null(strstr(record->text, H));
    redactor_done(&redactor);
}

static void redact_what_is_shown_behind_much_that_is_hidden_was_looked_at(void **state)
{
    static const char begin[] = "-----BEGIN RSA PRIVATE KEY-----\n",
                      end[] = "\n-----END RSA PRIVATE KEY-----\n";
    _cleanup_free_ char *keys = long_text(0, begin, 20000), *more = long_text(0, end, 0), *text;
    _cleanup_record_ Record *record = record_new();
    Redactor redactor;
    bool cut = false;

    /* The window ends in the token, which is too short then to be known as one. */
    for (size_t blanks = 0; blanks < 80; blanks++) {
        size_t room = 2 * 4096 + 16384 - strlen(keys) - strlen(more);

        assert_true(asprintf(&text, "%s%s%*s" GH " z %*s", keys, more, (int)(room - blanks), "",
                             1000, "") > 0);
        record_set(&record->text, text);
        redactor_begin(&redactor, redaction);
        assert_int_equal(redact_record(&redactor, record, 4096, &cut), 0);
        assert_null(strstr(record->text, "ghp_"));
        redactor_done(&redactor);
        free(text);
    }
    text = NULL;
    assert_true(cut);
}

static void redact_blank_lines_before_the_text_hide_nothing_from_it(void **state)
{
    _cleanup_record_ Record *record = record_new();
    char *text;
    Redactor redactor;
    bool cut = false;

    assert_true(asprintf(&text, "%*s\npassword=hunter2\n", 300000, "") > 0);
    record_set(&record->text, text);
    redactor_begin(&redactor, redaction);
    assert_int_equal(redact_record(&redactor, record, 4096, &cut), 0);
    assert_null(strstr(record->text, "hunter2"));
    redactor_done(&redactor);
    free(text);
}

static void redact_hostile_texts_cost_little(void **state)
{
    static const char *const pieces[] = {
        "password=",
        "password:",
        "passw",
        "-",
        "-----BEGIN ",
        "-----BEGIN PRIVATE KEY-----",
        "://",
        "://a:",
        "a://a:a@",
        "eyJaaaaaaaaa.",
        "eyJ",
        "--password ",
        "Authorization: ",
        "bearer a",
        "cookie: a=",
        "mysql -p ",
        "mysql ",
        "X-Cron-Env: <",
        "\"token\": \"\\",
        "token='\\'",
        "a.",
        "secret \t",
        "token: aaaaaaaaaaaaaaaaaaa",
        "key_key-",
        "Private-Lines: 1\nA",
        "curl -u a:",
        "<password ",
        "<a.secret>b<",
        "pwd=1 ",
    };

    for (size_t i = 0; i < ELEMENTSOF(pieces); i++) {
        size_t size = 100000, length = strlen(pieces[i]);
        _cleanup_free_ char *text = malloc(size + 32), *result = NULL;
        clock_t began = clock();
        size_t at = 0;

        for (; at + length < size; at += length)
            memcpy(text + at, pieces[i], length);
        strcpy(text + at, " password=hunter2");
        result = redacted_with(redaction, text, NULL);
        assert_null(strstr(result, "hunter2"));
        if (clock() - began > 4 * CLOCKS_PER_SEC)
            fail_msg("\"%s\" costs too much: %g s", pieces[i],
                     (double)(clock() - began) / CLOCKS_PER_SEC);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(redact_secrets_are_hidden),
        cmocka_unit_test(redact_ordinary_text_stays),
        cmocka_unit_test(redact_every_part_of_a_record_is_looked_at),
        cmocka_unit_test(redact_without_patterns_hides_nothing),
        cmocka_unit_test(redact_own_pattern_hides_its_group_or_all),
        cmocka_unit_test(redact_empty_matches_come_to_an_end),
        cmocka_unit_test(redact_text_that_costs_too_much_is_withheld),
        cmocka_unit_test(redact_tail_that_is_never_shown_is_left_to_be_counted),
        cmocka_unit_test(redact_secret_that_outlives_the_window_stays_hidden),
        cmocka_unit_test(redact_what_is_shown_behind_much_that_is_hidden_was_looked_at),
        cmocka_unit_test(redact_blank_lines_before_the_text_hide_nothing_from_it),
        cmocka_unit_test(redact_hostile_texts_cost_little),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
