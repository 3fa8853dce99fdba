/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "common/record.h"
#include "common/text.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#define ARGUMENTS_MAX 64

/* A relay that gives each datagram the receipts it was told to, and keeps the last record. */
typedef struct Relay {
    char folder[32];
    struct sockaddr_un address;
    int fd;
    pthread_t thread;
    const ReceiptStatus *statuses;
    size_t n_statuses;
    Record *record;
    char refusal[RECORD_REASON_MAX]; /* why the record was none */
    char said[4096];                 /* by the program, on standard error */
    char shown[4096];                /* on standard output */
} Relay;

static int setup(void **state)
{
    Relay *relay = calloc(1, sizeof(*relay));

    strcpy(relay->folder, "/tmp/test-send.XXXXXX");
    if (!mkdtemp(relay->folder))
        return -1;
    relay->address.sun_family = AF_UNIX;
    snprintf(relay->address.sun_path, sizeof(relay->address.sun_path), "%s/socket", relay->folder);
    relay->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (bind(relay->fd, (struct sockaddr *)&relay->address, sizeof(relay->address)) < 0)
        return -1;
    *state = relay;
    return 0;
}

static int teardown(void **state)
{
    Relay *relay = *state;

    record_free(relay->record);
    close_fd(relay->fd);
    (void)unlink(relay->address.sun_path);
    (void)rmdir(relay->folder);
    free(relay);
    return 0;
}

static void answer(const Relay *relay, const char *id, ReceiptStatus status,
                   const struct sockaddr_un *sender, socklen_t sender_size)
{
    Receipt receipt = { .status = status, .reason = "because" };
    _cleanup_free_ char *json = NULL;
    uint8_t frame[1024];
    size_t size;

    strcpy(receipt.id, id);
    if (receipt_write(&receipt, &json, &size) < 0)
        return;
    frame_put_length(frame, size);
    memcpy(frame + 4, json, size);
    (void)sendto(relay->fd, frame, size + 4, 0, (const struct sockaddr *)sender, sender_size);
}

static void *serve(void *userdata)
{
    static uint8_t datagram[RECORD_DATAGRAM_MAX];
    Relay *relay = userdata;
    struct sockaddr_un sender = {};
    socklen_t sender_size = sizeof(sender);
    char id[RECORD_ID_MAX + 1], reason[RECORD_REASON_MAX];
    size_t offset = 0, json_size;
    const char *json;
    ssize_t size;

    size = recvfrom(relay->fd, datagram, sizeof(datagram), 0, (struct sockaddr *)&sender,
                    &sender_size);
    if (size <= 0)
        return NULL;
    if (frame_next(datagram, (size_t)size, &offset, &json, &json_size, reason) != 1 ||
        record_parse(json, json_size, &relay->record, id, reason) < 0) {
        strcpy(relay->refusal, reason);
        return NULL;
    }
    for (size_t i = 0; i < relay->n_statuses; i++)
        answer(relay, id, relay->statuses[i], &sender, sender_size);
    return NULL;
}

static void read_all(int fd, char *text, size_t size)
{
    size_t length = 0;
    ssize_t n;

    while (length < size - 1 && (n = read(fd, text + length, size - 1 - length)) > 0)
        length += (size_t)n;
    text[length] = '\0';
}

/* Runs the program with `arguments`, NULL at the end, and returns its exit status. */
static int run(Relay *relay, const char *const *arguments, const void *input, size_t input_size)
{
    const char *argv[ARGUMENTS_MAX] = { SEND_PROGRAM, "--socket", relay->address.sun_path };
    int in[2], out[2], err[2], status;
    size_t n = 3;
    pid_t pid;

    while (*arguments)
        argv[n++] = *arguments++;
    assert_true(n < ARGUMENTS_MAX);
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    assert_int_equal(pipe2(err, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0) {
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        dup2(err[1], STDERR_FILENO);
        execv(SEND_PROGRAM, (char **)argv);
        _exit(127);
    }
    close_fd(in[0]);
    close_fd(out[1]);
    close_fd(err[1]);
    for (const char *at = input; input_size > 0;) {
        ssize_t written = write(in[1], at, input_size);

        /* A broken pipe means that it did not read to the end. */
        assert_true(written > 0);
        at += written;
        input_size -= (size_t)written;
    }
    close_fd(in[1]);
    read_all(out[0], relay->shown, sizeof(relay->shown));
    read_all(err[0], relay->said, sizeof(relay->said));
    close_fd(out[0]);
    close_fd(err[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

#define ARGUMENTS(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define STATUSES(...) ((const ReceiptStatus[]){ __VA_ARGS__ })

/* Runs it against the relay, which gives the receipts. */
static int run_served(Relay *relay, const ReceiptStatus *statuses, size_t n_statuses,
                      const char *const *arguments, const void *input, size_t input_size)
{
    int status;

    relay->statuses = statuses;
    relay->n_statuses = n_statuses;
    assert_int_equal(pthread_create(&relay->thread, NULL, serve, relay), 0);
    status = run(relay, arguments, input, input_size);
    shutdown(relay->fd, SHUT_RDWR); /* in case that nothing came */
    pthread_join(relay->thread, NULL);
    if (relay->refusal[0] != '\0')
        fail_msg("no record: %s", relay->refusal);
    return status;
}

static void send_options_become_a_record(void **state)
{
    Relay *relay = *state;
    const char *const *arguments =
        ARGUMENTS("-s", "critical", "ops", "-S", "problem", "-k", "web/ping", "-t", "T\n 2", "-i",
                  "x1", "night", "ops", "--", "ping", "is", "-s", "down");
    const Record *record;

    assert_int_equal(run_served(relay, STATUSES(RECEIPT_ACCEPTED), 1, arguments, NULL, 0), 0);
    assert_string_equal(relay->said, "");
    assert_string_equal(relay->shown, "");
    record = relay->record;
    assert_string_equal(record->text, "ping is -s down");
    assert_string_equal(record->title, "T 2");
    assert_string_equal(record->id, "x1");
    assert_string_equal(record->key, "web/ping");
    assert_int_equal(record->severity, SEVERITY_CRITICAL);
    assert_int_equal(record->state, STATE_PROBLEM);
    assert_int_equal(record->n_to, 2);
    assert_string_equal(record->to[0], "ops");
    assert_string_equal(record->to[1], "night");
    assert_string_equal(record->source, "xmpprelay-send");
    assert_true(record->time_usec > 0);
    assert_int_equal(record->receipt, RECEIPT_WANTED_ACCEPTED);
}

static void send_long_options_do_the_same(void **state)
{
    Relay *relay = *state;
    const char *const *arguments =
        ARGUMENTS("--severity=ok", "--state=recovery", "--key=k", "--title=T", "--id=x1",
                  "--wait=delivered", "--timeout=20s", "--", "x");

    assert_int_equal(
        run_served(relay, STATUSES(RECEIPT_ACCEPTED, RECEIPT_DELIVERED), 2, arguments, NULL, 0), 0);
    assert_int_equal(relay->record->severity, SEVERITY_OK);
    assert_int_equal(relay->record->state, STATE_RECOVERY);
    assert_string_equal(relay->record->id, "x1");
    assert_int_equal(relay->record->n_to, 0);
    assert_int_equal(relay->record->receipt, RECEIPT_WANTED_DELIVERED);
}

static void send_text_comes_from_standard_input(void **state)
{
    Relay *relay = *state;

    assert_int_equal(run_served(relay, STATUSES(RECEIPT_DUPLICATE), 1, ARGUMENTS("ops"),
                                "caf\xE9\0\x1B[1m\r\nopen\n", 16),
                     0);
    assert_string_equal(relay->record->text, "caf\xEF\xBF\xBD[1m\nopen\n");
    assert_int_equal(strlen(relay->record->id), 32);
}

static void send_endless_text_is_cut_but_read_to_its_end(void **state)
{
    const size_t size = 3 * 1000 * 1000;
    _cleanup_free_ char *input = malloc(size);
    Relay *relay = *state;

    /* The worst there is: each byte of it takes two in JSON. */
    memset(input, '"', size);
    assert_int_equal(
        run_served(relay, STATUSES(RECEIPT_ACCEPTED), 1, ARGUMENTS("ops"), input, size), 0);
    assert_true(strlen(relay->record->text) <= 24576);
    assert_non_null(strstr(relay->record->text, "\"\"\" …\n… and more"));
    assert_non_null(strstr(relay->said, "24576"));
}

static void send_text_of_too_many_lines_says_how_many_are_missing(void **state)
{
    static char input[10 * 2600 + 1];
    unsigned missing, kept = 0;
    Relay *relay = *state;

    for (int i = 0; i < 2600; i++)
        memcpy(input + 10 * i, "123456789\n", 11);
    assert_int_equal(run_served(relay, STATUSES(RECEIPT_ACCEPTED), 1, ARGUMENTS("ops"), input,
                                strlen(input) - 1),
                     0);
    for (const char *at = relay->record->text; (at = strstr(at, "123456789\n")); at++)
        kept++;
    assert_int_equal(sscanf(strstr(relay->record->text, "…"), "… %u more lines", &missing), 1);
    assert_int_equal(kept + missing, 2600);
}

static void send_largest_of_everything_fits(void **state)
{
    static char names[32][129], key[257], title[2000], text[30000];
    const char *arguments[ARGUMENTS_MAX] = { "-k", key, "-t", title };
    Relay *relay = *state;
    size_t n = 4;

    memset(key, '"', sizeof(key) - 1);
    memset(title, '"', sizeof(title) - 1);
    memset(text, '\\', sizeof(text) - 1);
    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        memset(names[i], '"', 128);
        names[i][0] = (char)('A' + i);
        arguments[n++] = names[i];
    }
    arguments[n++] = "--";
    arguments[n++] = text;
    assert_int_equal(run_served(relay, STATUSES(RECEIPT_ACCEPTED), 1, arguments, NULL, 0), 0);
    assert_int_equal(relay->record->n_to, 32);
}

static void send_busy_relay_ends_with_75(void **state)
{
    Relay *relay = *state;

    assert_int_equal(
        run_served(relay, STATUSES(RECEIPT_BUSY), 1, ARGUMENTS("ops", "--", "x"), NULL, 0), 75);
    assert_non_null(strstr(relay->said, "because"));
}

static void send_refusal_ends_with_65_and_its_reason(void **state)
{
    Relay *relay = *state;

    assert_int_equal(
        run_served(relay, STATUSES(RECEIPT_REFUSED), 1, ARGUMENTS("ops", "--", "x"), NULL, 0), 65);
    assert_non_null(strstr(relay->said, "because"));
}

static void send_without_receipt_ends_with_75_and_tells_the_id(void **state)
{
    Relay *relay = *state;

    assert_int_equal(run(relay, ARGUMENTS("-i", "x1", "-T", "50ms", "--", "x"), NULL, 0), 75);
    assert_non_null(strstr(relay->said, "-i x1"));
    assert_non_null(strstr(relay->said, "50ms"));
}

static void send_accepted_but_not_delivered_says_so(void **state)
{
    Relay *relay = *state;
    const char *const *arguments = ARGUMENTS("-w", "delivered", "-T", "1s", "-i", "x1", "--", "x");

    assert_int_equal(run_served(relay, STATUSES(RECEIPT_ACCEPTED), 1, arguments, NULL, 0), 75);
    assert_non_null(strstr(relay->said, "accepted, but not delivered"));
}

static void send_waiting_for_nothing_ends_with_0(void **state)
{
    Relay *relay = *state;

    assert_int_equal(run(relay, ARGUMENTS("-w", "none", "--", "x"), NULL, 0), 0);
}

static void send_without_relay_ends_with_75(void **state)
{
    Relay *relay = *state;

    relay->fd = close_fd(relay->fd);
    assert_int_equal(run(relay, ARGUMENTS("-T", "300ms", "--", "x"), NULL, 0), 75);
    assert_non_null(strstr(relay->said, relay->address.sun_path));
    assert_int_equal(unlink(relay->address.sun_path), 0);
    assert_int_equal(run(relay, ARGUMENTS("-T", "300ms", "--", "x"), NULL, 0), 75);
    assert_non_null(strstr(relay->said, "there is no relay"));
}

static void send_without_text_ends_with_65(void **state)
{
    Relay *relay = *state;

    assert_int_equal(run(relay, ARGUMENTS("ops"), NULL, 0), 65);
    assert_int_equal(run(relay, ARGUMENTS("ops"), " \n\t\0\x01\n", 6), 65);
    assert_non_null(strstr(relay->said, "no text"));
}

static void send_wrong_usage_ends_with_64(void **state)
{
    Relay *relay = *state;
    char long_key[258] = "", long_name[130] = "";
    const char *wrong[][3] = {
        { "-s", "terrible" },
        { "-s", "" },
        { "-S", "odd" },
        { "-w", "never" },
        { "-T", "soon" },
        { "-T", "0" },
        { "-T", "-1s" },
        { "-i", "a b" },
        { "-i", "" },
        { "-k", long_key },
        { "-k", "\xFF" },
        { long_name, "x" },
        { "", "x" },
        { "--nonsense" },
        { "--severity=no" },
        { "-x" },
        { "-s" },
    };

    memset(long_key, 'k', sizeof(long_key) - 1);
    memset(long_name, 'n', sizeof(long_name) - 1);
    for (size_t i = 0; i < ELEMENTSOF(wrong); i++) {
        if (run(relay, wrong[i], NULL, 0) != 64)
            fail_msg("not 64: %s %s", wrong[i][0], wrong[i][1] ? wrong[i][1] : "");
        assert_non_null(strstr(relay->said, "--help"));
    }
}

static void send_help_and_version_are_shown(void **state)
{
    Relay *relay = *state;

    assert_int_equal(run(relay, ARGUMENTS("--help"), NULL, 0), 0);
    assert_non_null(strstr(relay->shown, "Usage: xmpprelay-send"));
    assert_string_equal(relay->said, "");
    assert_int_equal(run(relay, ARGUMENTS("-V"), NULL, 0), 0);
    assert_string_equal(relay->shown, "xmpprelay-send " PROJECT_VERSION "\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(send_options_become_a_record),
        TEST(send_long_options_do_the_same),
        TEST(send_text_comes_from_standard_input),
        TEST(send_endless_text_is_cut_but_read_to_its_end),
        TEST(send_text_of_too_many_lines_says_how_many_are_missing),
        TEST(send_largest_of_everything_fits),
        TEST(send_busy_relay_ends_with_75),
        TEST(send_refusal_ends_with_65_and_its_reason),
        TEST(send_without_receipt_ends_with_75_and_tells_the_id),
        TEST(send_accepted_but_not_delivered_says_so),
        TEST(send_waiting_for_nothing_ends_with_0),
        TEST(send_without_relay_ends_with_75),
        TEST(send_without_text_ends_with_65),
        TEST(send_wrong_usage_ends_with_64),
        TEST(send_help_and_version_are_shown),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
