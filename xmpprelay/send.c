/* SPDX-License-Identifier: MIT */

/*
 * xmpprelay-send: for people, cron jobs and scripts.
 *
 * Arguments become a Record, the Record goes out by client_send(), its receipt becomes the exit
 * status. What is said is cleaned and, where it is too long, cut, never refused: a job's output
 * in an odd charset must not keep its alert back. Everything else that is wrong is a usage error.
 */

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/random.h>
#include <sysexits.h>

#include "common/client.h"
#include "common/cut.h"
#include "common/text.h"
#include "common/units.h"

#define PROGRAM "xmpprelay-send"
#define DEFAULT_SOCKET "/run/xmpprelay/relay.sock"
#define DEFAULT_TIMEOUT_USEC (10 * USEC_PER_SEC)

/* With these the JSON fits a frame, were every character of them to be escaped. */
#define TEXT_MAX 24576
#define TITLE_MAX 1024

#define INPUT_KEPT_MAX (TEXT_MAX + 4096)

typedef struct Options {
    const char *socket_path;
    usec_t timeout_usec;
    char **text; /* words behind "--", or NULL: standard input */
    int n_text;
} Options;

static const char help[] =
    "Usage: " PROGRAM " [OPTION]... [DESTINATION]... [-- TEXT...]\n"
    "Has xmpprelay post a message in rooms or to contacts. The text is read from\n"
    "standard input where none is given; without a DESTINATION the relay's default is used.\n"
    "\n"
    "  -s, --severity=SEVERITY  ok, info, warning or critical\n"
    "  -S, --state=STATE        problem, recovery or event\n"
    "  -k, --key=KEY            what a problem and its recovery have in common\n"
    "  -t, --title=TITLE        a line above the text\n"
    "  -i, --id=ID              identity: a second message with it is not posted\n"
    "  -w, --wait=RECEIPT       wait for accepted (the default), delivered or none\n"
    "  -T, --timeout=DURATION   how long to wait, 10s by default\n"
    "      --socket=PATH        of the relay, " DEFAULT_SOCKET " by default\n"
    "  -h, --help               show this\n"
    "  -V, --version            show the version\n"
    "\n"
    "Exit status: 0 done; 64 wrong usage; 65 refused; 75 try again later (no relay, no\n"
    "receipt in time, or the relay is busy).\n";

PRINTF_LIKE(1, 2)
static void say(const char *format, ...)
{
    va_list args;

    fputs(PROGRAM ": ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

PRINTF_LIKE(1, 2)
static int usage_error(const char *format, ...)
{
    va_list args;

    fputs(PROGRAM ": ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputs("\nSee " PROGRAM " --help.\n", stderr);
    return EX_USAGE;
}

static int no_memory(void)
{
    say("out of memory");
    return EX_TEMPFAIL;
}

/* A cleaned line of an argument, cut to `max_bytes`. */
static int set_line(char **member, const char *value, size_t max_bytes)
{
    char *line = text_clean_line_dup(value, strlen(value));

    if (!line)
        return no_memory();
    line[text_cut(line, strlen(line), max_bytes)] = '\0';
    free(*member);
    *member = line;
    return 0;
}

static int add_destination(Record *record, const char *name)
{
    if (name[0] == '\0' || strlen(name) > RECORD_NAME_MAX || !text_is_clean(name, strlen(name)))
        return usage_error("a destination's name must be 1 to %d bytes of UTF-8", RECORD_NAME_MAX);
    if (record_add_to(record, name) < 0)
        return no_memory();
    if (record->n_to > RECORD_TO_MAX)
        return usage_error("at most %d destinations are possible", RECORD_TO_MAX);
    return 0;
}

static int set_key(Record *record, const char *key)
{
    if (strlen(key) > RECORD_KEY_MAX || !text_is_clean(key, strlen(key)))
        return usage_error("the key must be at most %d bytes of UTF-8", RECORD_KEY_MAX);
    return record_set(&record->key, key) < 0 ? no_memory() : 0;
}

static int set_id(Record *record, const char *id)
{
    if (!record_id_is_valid(id))
        return usage_error("the id must be 1 to %d characters of A-Za-z0-9._:-", RECORD_ID_MAX);
    return record_set(&record->id, id) < 0 ? no_memory() : 0;
}

static int set_timeout(Options *options, const char *value)
{
    if (duration_parse(value, &options->timeout_usec) < 0 || options->timeout_usec == 0)
        return usage_error("the timeout must be a duration like 500ms, 10s or 2m, not \"%s\"",
                           value);
    return 0;
}

static int take_option(int option, const char *value, Options *options, Record *record)
{
    switch (option) {
    case 1: /* no option */
        return add_destination(record, value);
    case 's':
        if (severity_from_name(value, &record->severity) < 0)
            return usage_error("the severity must be ok, info, warning or critical, not \"%s\"",
                               value);
        return 0;
    case 'S':
        if (alert_state_from_name(value, &record->state) < 0)
            return usage_error("the state must be problem, recovery or event, not \"%s\"", value);
        return 0;
    case 'k':
        return set_key(record, value);
    case 't':
        return set_line(&record->title, value, TITLE_MAX);
    case 'i':
        return set_id(record, value);
    case 'w':
        if (receipt_wanted_from_name(value, &record->receipt) < 0)
            return usage_error("what to wait for must be accepted, delivered or none, not \"%s\"",
                               value);
        return 0;
    case 'T':
        return set_timeout(options, value);
    case 'P':
        options->socket_path = value;
        return 0;
    case 'h':
        fputs(help, stdout);
        exit(EX_OK);
    case 'V':
        puts(PROGRAM " " PROJECT_VERSION);
        exit(EX_OK);
    default: /* getopt has said what is wrong */
        fputs("See " PROGRAM " --help.\n", stderr);
        return EX_USAGE;
    }
}

static int parse_arguments(int argc, char **argv, Options *options, Record *record)
{
    static const struct option long_options[] = {
        { "severity", required_argument, NULL, 's' },
        { "state", required_argument, NULL, 'S' },
        { "key", required_argument, NULL, 'k' },
        { "title", required_argument, NULL, 't' },
        { "id", required_argument, NULL, 'i' },
        { "wait", required_argument, NULL, 'w' },
        { "timeout", required_argument, NULL, 'T' },
        { "socket", required_argument, NULL, 'P' },
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'V' },
        {},
    };
    int option;

    /* The leading "-" gives us the destinations in turn, so that what is left behind "--" is
     * the text and nothing else. */
    while ((option = getopt_long(argc, argv, "-s:S:k:t:i:w:T:hV", long_options, NULL)) >= 0) {
        int r = take_option(option, optarg, options, record);

        if (r != 0)
            return r;
    }
    if (optind < argc) {
        options->text = argv + optind;
        options->n_text = argc - optind;
    }
    return 0;
}

/* The words with blanks between them, as far as they may count. */
static int join_words(char **words, int n, char **ret, size_t *ret_size)
{
    size_t size = 0;
    char *joined;

    for (int i = 0; i < n; i++)
        size += strlen(words[i]) + 1;
    joined = malloc(size + 1);
    if (!joined)
        return no_memory();

    size = 0;
    for (int i = 0; i < n; i++) {
        if (i > 0)
            joined[size++] = ' ';
        size = (size_t)(stpcpy(joined + size, words[i]) - joined);
    }
    *ret_size = size;
    *ret = joined;
    return 0;
}

/* Keeps INPUT_KEPT_MAX, a little more than TEXT_MAX, so that it is seen to be too long, and reads
 * the rest too: the job that writes must not die of SIGPIPE because it has much to say. */
static int read_standard_input(char **ret, size_t *ret_size)
{
    _cleanup_free_ char *kept = malloc(INPUT_KEPT_MAX);
    size_t size = 0;

    if (!kept)
        return no_memory();
    if (isatty(STDIN_FILENO))
        say("reading the text from the terminal, Ctrl-D ends it");
    for (;;) {
        char rest[4096];
        bool full = size == INPUT_KEPT_MAX;
        ssize_t n = read(STDIN_FILENO, full ? rest : kept + size,
                         full ? sizeof(rest) : INPUT_KEPT_MAX - size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            say("can't read standard input: %s", strerror(errno));
            return EX_DATAERR;
        }
        if (n == 0)
            break;
        if (!full)
            size += (size_t)n;
    }
    *ret_size = size;
    *ret = steal_ptr(kept);
    return 0;
}

static int set_text(const Options *options, Record *record)
{
    _cleanup_free_ char *raw = NULL, *clean = NULL;
    size_t size;
    int r;

    r = options->text ? join_words(options->text, options->n_text, &raw, &size)
                      : read_standard_input(&raw, &size);
    if (r != 0)
        return r;
    clean = text_clean_dup(raw, size);
    if (!clean)
        return no_memory();
    if (clean[strspn(clean, " \t\n")] == '\0') {
        say("there is no text to send");
        return EX_DATAERR;
    }
    if (strlen(clean) <= TEXT_MAX) {
        record->text = steal_ptr(clean);
        return 0;
    }
    if (cut_text(clean, text_cut(clean, strlen(clean), TEXT_MAX - CUT_NOTE_MAX),
                 !options->text && size == INPUT_KEPT_MAX, &record->text) < 0)
        return no_memory();
    say("the text is longer than %d bytes: the rest is left out", TEXT_MAX);
    return 0;
}

/* By the id its receipt is known; and who tries again with it is told a duplicate. */
static int make_id(Record *record)
{
    uint64_t random[2];
    char id[33];

    if (getrandom(random, sizeof(random), 0) != sizeof(random)) {
        say("the kernel gives no random numbers");
        return EX_TEMPFAIL;
    }
    snprintf(id, sizeof(id), "%016lx%016lx", (unsigned long)random[0], (unsigned long)random[1]);
    return record_set(&record->id, id) < 0 ? no_memory() : 0;
}

static int report_receipt(const Receipt *receipt)
{
    const char *reason = receipt->reason[0] != '\0' ? receipt->reason : "it gives no reason";

    switch (receipt->status) {
    case RECEIPT_BUSY:
        say("the relay is busy and kept nothing, try again later: %s", reason);
        return EX_TEMPFAIL;
    case RECEIPT_REFUSED:
        say("the relay refused it: %s", reason);
        return EX_DATAERR;
    default:
        return EX_OK;
    }
}

static int report_failure(int error, const Options *options, const Record *record,
                          const Receipt *receipt)
{
    const char *path = options->socket_path;
    char timeout[UNITS_TEXT_MAX];

    duration_format(options->timeout_usec, timeout);
    switch (error) {
    case -ETIMEDOUT:
        if (receipt->id[0] != '\0')
            say("accepted, but not delivered within %s: the relay goes on trying, see xmpprelayctl "
                "show %s",
                timeout, record->id);
        else
            say("no receipt within %s: try again with -i %s, so that it is not posted twice",
                timeout, record->id);
        return EX_TEMPFAIL;
    case -ENOENT:
        say("there is no relay at %s: start xmpprelay, or name its socket with --socket", path);
        return EX_TEMPFAIL;
    case -ECONNREFUSED:
        say("no relay listens at %s: start xmpprelay again", path);
        return EX_TEMPFAIL;
    case -EACCES:
    case -EPERM:
        say("you may not speak to the relay at %s: it takes membership in the group of that socket",
            path);
        return EX_DATAERR;
    case -ENAMETOOLONG:
        say("the socket's path is too long: %s", path);
        return EX_USAGE;
    case -EINVAL:
    case -EMSGSIZE:
        say("this can't be sent as a record: %s", strerror(-error));
        return EX_DATAERR;
    default:
        say("can't speak to the relay at %s: %s", path, strerror(-error));
        return EX_TEMPFAIL;
    }
}

int main(int argc, char **argv)
{
    Options options = { .socket_path = DEFAULT_SOCKET, .timeout_usec = DEFAULT_TIMEOUT_USEC };
    _cleanup_record_ Record *record = record_new();
    const Record *records[1] = { record };
    Receipt receipt;
    bool received;
    int r;

    if (!record || record_set(&record->source, PROGRAM) < 0)
        return no_memory();
    if ((r = parse_arguments(argc, argv, &options, record)) != 0 ||
        (r = set_text(&options, record)) != 0)
        return r;
    if (!record->id && (r = make_id(record)) != 0)
        return r;
    record->time_usec = now_usec(CLOCK_REALTIME);

    r = client_send(options.socket_path, records, 1,
                    now_usec(CLOCK_MONOTONIC) + options.timeout_usec, &receipt, &received);
    return r < 0 ? report_failure(r, &options, record, &receipt) : report_receipt(&receipt);
}
