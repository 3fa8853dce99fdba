/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* The module itself, with a journal that we can read: a relative path, in our own folder. */
#define LOG_JOURNAL_PATH "journal.sock"
#include "common/log.c"

/* Standard error and the journal's socket, both ours for the time of a test. */
typedef struct Outputs {
    char folder[32];
    int old_stderr;
    int read_fd;
    int journal_fd;
    char text[65536];
} Outputs;

static int outputs_setup(void **state)
{
    static Outputs outputs;
    struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = LOG_JOURNAL_PATH };
    int fds[2];

    strcpy(outputs.folder, "/tmp/test-log-XXXXXX");
    assert_non_null(mkdtemp(outputs.folder));
    assert_int_equal(chdir(outputs.folder), 0);

    outputs.journal_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(outputs.journal_fd, (struct sockaddr *)&address, sizeof(address)), 0);

    assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    outputs.old_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    dup2(fds[1], STDERR_FILENO);
    close(fds[1]);
    outputs.read_fd = fds[0];

    unsetenv("JOURNAL_STREAM");
    log_set_level(LOG_INFO);
    log_init("test");
    *state = &outputs;
    return 0;
}

static int outputs_teardown(void **state)
{
    Outputs *outputs = *state;

    dup2(outputs->old_stderr, STDERR_FILENO);
    close(outputs->old_stderr);
    close(outputs->read_fd);
    close(outputs->journal_fd);
    unlink(LOG_JOURNAL_PATH);
    assert_int_equal(chdir("/"), 0);
    rmdir(outputs->folder);
    return 0;
}

static const char *read_fd_text(Outputs *outputs, int fd)
{
    ssize_t size = read(fd, outputs->text, sizeof(outputs->text) - 1);

    outputs->text[size < 0 ? 0 : size] = '\0';
    return outputs->text;
}

static const char *stderr_text(Outputs *outputs)
{
    return read_fd_text(outputs, outputs->read_fd);
}

static const char *journal_text(Outputs *outputs)
{
    return read_fd_text(outputs, outputs->journal_fd);
}

static void connect_journal(void)
{
    struct stat status;
    char stream[64];

    assert_int_equal(fstat(STDERR_FILENO, &status), 0);
    snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)status.st_dev,
             (unsigned long long)status.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    log_init("test");
}

static void log_plain_line_shows_name_level_message_and_fields(void **state)
{
    const LogField fields[] = { { "id", "abc" },
                                { "none", NULL },
                                { "empty", "" },
                                { "reason", "no \"such\\ room" },
                                { "rule", "cron" } };

    log_info("listening on %s", "x");
    assert_string_equal(stderr_text(*state), "test: listening on x\n");
    log_error("no");
    assert_string_equal(stderr_text(*state), "test: error: no\n");
    log_warning("hm");
    assert_string_equal(stderr_text(*state), "test: warning: hm\n");
    log_fields(LOG_NOTICE, fields, ELEMENTSOF(fields), "alert delivered");
    assert_string_equal(stderr_text(*state),
                        "test: alert delivered id=abc reason=\"no \\\"such\\\\ room\" rule=cron\n");
}

static void log_level_drops_what_is_less_urgent(void **state)
{
    log_debug("unseen");
    assert_string_equal(stderr_text(*state), "");
    log_set_level(LOG_DEBUG);
    assert_int_equal(log_level(), LOG_DEBUG);
    log_debug("seen");
    assert_string_equal(stderr_text(*state), "test: debug: seen\n");
}

static void log_hostile_value_cannot_forge_a_line(void **state)
{
    const LogField fields[] = { { "subject", "a\ntest: forged\r\x1b[2Jz\x7f" },
                                { "x", "\xC2\x85\xE2\x80\xAE!" } };

    log_fields(LOG_INFO, fields, ELEMENTSOF(fields), "one\ntwo \xFF\xC0\xAF \xED\xA0\x80 ä€𝄞");
    assert_string_equal(stderr_text(*state), "test: one two ��� ��� ä€𝄞 "
                                             "subject=\"a test: forged �[2Jz�\" x=��!\n");
}

static void log_huge_line_is_cut_and_stays_one_line(void **state)
{
    char huge[20000];
    LogField fields[20];
    const char *text;

    memset(huge, 'h', sizeof(huge) - 1);
    huge[sizeof(huge) - 1] = '\0';
    for (size_t i = 0; i < ELEMENTSOF(fields); i++)
        fields[i] = (LogField){ "field", huge };
    log_fields(LOG_INFO, fields, ELEMENTSOF(fields), "%s", huge);
    text = stderr_text(*state);
    assert_true(strlen(text) < 8400);
    assert_true(strlen(text) > 4096 + 1024);
    assert_non_null(strstr(text, "h… field=hhh"));
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

static void log_value_cut_inside_a_character_stays_valid(void **state)
{
    char value[2048] = "";
    const LogField field = { "f", value };
    const char *text;

    value[0] = 'a';
    for (size_t i = 1; i + 3 < sizeof(value); i += 3)
        memcpy(value + i, "€", 3);
    log_fields(LOG_INFO, &field, 1, "m");
    text = stderr_text(*state);
    assert_null(strstr(text, replacement));
    assert_non_null(strstr(text, "€…\n"));
}

static void log_journal_gets_fields_and_the_same_text(void **state)
{
    const LogField fields[] = { { "queue_id", "4F \"x\"" },
                                { "message_id", "<a@b>" },
                                { "priority", "0\nPRIORITY=0" } };

    connect_journal();
    log_fields(LOG_WARNING, fields, ELEMENTSOF(fields), "held\nback");
    assert_string_equal(journal_text(*state),
                        "PRIORITY=4\nSYSLOG_IDENTIFIER=test\n"
                        "MESSAGE=held back queue_id=\"4F \\\"x\\\"\" message_id=<a@b> "
                        "priority=\"0 PRIORITY=0\"\n"
                        "QUEUE_ID=4F \"x\"\nMAIL_MESSAGE_ID=<a@b>\nMAIL_PRIORITY=0 PRIORITY=0\n");
    assert_string_equal(stderr_text(*state), "");
}

static void log_journal_stream_of_another_file_is_ignored(void **state)
{
    static const char *const streams[] = { "1:1", "", "x", "1", ":", "99999999999999999999:1" };

    for (size_t i = 0; i < ELEMENTSOF(streams); i++) {
        setenv("JOURNAL_STREAM", streams[i], 1);
        log_init("test");
        log_info("plain");
        assert_string_equal(stderr_text(*state), "test: plain\n");
        assert_string_equal(journal_text(*state), "");
    }
}

static void log_journal_gone_goes_to_stderr(void **state)
{
    connect_journal();
    unlink(LOG_JOURNAL_PATH);
    log_info("still heard");
    assert_string_equal(stderr_text(*state), "test: still heard\n");
}

static void log_keeps_errno(void **state)
{
    connect_journal();
    unlink(LOG_JOURNAL_PATH);
    errno = ENOTTY;
    log_info("x");
    assert_int_equal(errno, ENOTTY);
}

static void log_limit_lets_a_burst_pass_and_counts_the_rest(void **state)
{
    LogLimit limit = { .interval_usec = 10 * USEC_PER_SEC, .burst = 2 };
    usec_t now = 1000 * USEC_PER_SEC;
    unsigned suppressed = 99;

    assert_true(log_limit_pass(&limit, now, &suppressed));
    assert_int_equal(suppressed, 0);
    assert_true(log_limit_pass(&limit, now + 1, &suppressed));
    suppressed = 99;
    for (int i = 0; i < 5; i++)
        assert_false(log_limit_pass(&limit, now + 9 * USEC_PER_SEC, &suppressed));
    assert_int_equal(suppressed, 99);
    assert_true(log_limit_pass(&limit, now + 10 * USEC_PER_SEC, &suppressed));
    assert_int_equal(suppressed, 5);
    assert_true(log_limit_pass(&limit, now + 11 * USEC_PER_SEC, &suppressed));
    assert_int_equal(suppressed, 0);
    assert_false(log_limit_pass(&limit, now + 12 * USEC_PER_SEC, &suppressed));
}

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, outputs_setup, outputs_teardown)
    const struct CMUnitTest tests[] = {
        test(log_plain_line_shows_name_level_message_and_fields),
        test(log_level_drops_what_is_less_urgent),
        test(log_hostile_value_cannot_forge_a_line),
        test(log_huge_line_is_cut_and_stays_one_line),
        test(log_value_cut_inside_a_character_stays_valid),
        test(log_journal_gets_fields_and_the_same_text),
        test(log_journal_stream_of_another_file_is_ignored),
        test(log_journal_gone_goes_to_stderr),
        test(log_keeps_errno),
        cmocka_unit_test(log_limit_lets_a_burst_pass_and_counts_the_rest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
