/* SPDX-License-Identifier: MIT */

/*
 * xmpprelayctl: an operator's command becomes one or more requests on the control socket
 * (control.h), and the answers are shown as text or as JSON.
 */

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <sys/random.h>
#include <sysexits.h>

#include "common/record.h"
#include "common/text.h"
#include "common/units.h"
#include "xmpprelay/ctl-ask.h"
#include "xmpprelay/ctl-print.h"

#define CONTROL_PATH "/run/xmpprelay/control.sock"

static const char usage_text[] =
    "Usage: xmpprelayctl [OPTION…] COMMAND\n"
    "\n"
    "Looks at a running xmpprelay and tells it what to do.\n"
    "\n"
    "  status                   sessions, rooms, counts, the oldest undelivered\n"
    "  queue                    what waits, and what has failed and was set aside\n"
    "  history                  what was delivered or dropped, the latest first\n"
    "  show ID                  a record and what became of it\n"
    "  retry ID|all             post what has failed once more\n"
    "  drop ID                  give up what waits or has failed\n"
    "  pause [DESTINATION]      keep alerts in the spool\n"
    "  resume [DESTINATION]     post them again\n"
    "  test DESTINATION         post a message and wait for the room's echo\n"
    "\n"
    "  -d, --drop               test: give up a message that is not delivered in time\n"
    "  -f, --failed             queue: only what has failed\n"
    "  -j, --json               answers as JSON\n"
    "  -n, --limit NUMBER       queue, history: only the first so many\n"
    "  -T, --timeout DURATION   how long to wait for an answer (30s)\n"
    "  -s, --socket PATH        the relay's control socket (" CONTROL_PATH ")\n"
    "  -h, --help               this text\n"
    "  -V, --version            the version\n"
    "\n"
    "Exit status: 0 done; 64 usage; 65 refused; 69 no relay answers; 75 the test was not\n"
    "delivered, or no answer came in time.\n";

static int print_json(const Json *json)
{
    _cleanup_free_ char *text = json_dump_dup(json, true, NULL);

    if (!text)
        return fail(EX_OSERR, "out of memory");
    puts(text);
    return 0;
}

static double now_seconds(void)
{
    return (double)now_usec(CLOCK_REALTIME) / (double)USEC_PER_SEC;
}

/* Shows the pages of a list; *n_shown is how many entries were shown so far. */
static int show_pages(const Ctl *ctl, const char *command, bool failed, size_t *n_shown)
{
    _cleanup_free_ char *after = NULL;

    while (ctl->limit == 0 || *n_shown < ctl->limit) {
        _cleanup_json_ Json *request = request_new(command, after ? "after" : NULL, after);
        _cleanup_json_ Json *answer = NULL;
        const Json *entries;
        const char *next;
        size_t n;
        int r;

        if (!request || json_set_bool(request, "failed", failed) < 0)
            return fail(EX_OSERR, "out of memory");
        r = ask(ctl, request, &answer);
        if (r != 0)
            return r;
        entries = json_get(answer, "entries");
        n = json_length(entries);
        if (ctl->limit > 0)
            n = MIN(n, ctl->limit - *n_shown);
        if (ctl->as_json) {
            for (size_t i = 0; i < n; i++) {
                _cleanup_free_ char *text = json_dump_dup(json_at(entries, i), false, NULL);

                printf("%s\n %s", *n_shown + i == 0 ? "" : ",", text ? text : "null");
            }
        } else {
            print_entries(stdout, entries, n, now_seconds(), *n_shown == 0);
        }
        *n_shown += n;
        next = json_as_string(json_get(answer, "next"), NULL);
        if (!next)
            return 0;
        free(after);
        after = strdup(next);
        if (!after)
            return fail(EX_OSERR, "out of memory");
    }
    return 0;
}

static int do_list(const Ctl *ctl, const char *command, bool waiting, bool failed)
{
    size_t n_shown = 0;
    int r = 0;

    if (ctl->as_json)
        putchar('[');
    if (waiting)
        r = show_pages(ctl, command, false, &n_shown);
    if (r == 0 && failed)
        r = show_pages(ctl, command, true, &n_shown);
    if (ctl->as_json)
        puts(n_shown == 0 ? "]" : "\n]");
    return r;
}

static int do_queue(const Ctl *ctl, const char *argument)
{
    return do_list(ctl, "queue", !ctl->failed, true);
}

static int do_history(const Ctl *ctl, const char *argument)
{
    return do_list(ctl, "history", true, false);
}

static int do_status(const Ctl *ctl, const char *argument)
{
    _cleanup_json_ Json *answer = NULL;
    int r = ask_once(ctl, "status", NULL, NULL, &answer);

    if (r != 0)
        return r;
    if (ctl->as_json)
        return print_json(answer);
    print_status(stdout, answer);
    return 0;
}

static int do_show(const Ctl *ctl, const char *argument)
{
    _cleanup_json_ Json *answer = NULL;
    int r = ask_once(ctl, "show", "id", argument, &answer);

    if (r != 0)
        return r;
    if (ctl->as_json)
        return print_json(answer);
    print_record(stdout, answer, now_seconds());
    return 0;
}

static int do_retry(const Ctl *ctl, const char *argument)
{
    bool all = streq(argument, "all");
    int64_t retried = 0, now;

    do {
        _cleanup_json_ Json *answer = NULL, *request = NULL;
        int r;

        request = request_new("retry", all ? NULL : "id", argument);
        if (!request || json_set_bool(request, "all", all) < 0)
            return fail(EX_OSERR, "out of memory");
        r = ask(ctl, request, &answer);
        if (r != 0)
            return r;
        now = json_as_integer(json_get(answer, "retried"), 0);
        retried += now;
    } while (all && now > 0);

    if (ctl->as_json)
        printf("{\"retried\":%lld}\n", (long long)retried);
    else
        printf("%lld queued again\n", (long long)retried);
    return 0;
}

static int do_drop(const Ctl *ctl, const char *argument)
{
    _cleanup_json_ Json *answer = NULL;
    int r = ask_once(ctl, "drop", "id", argument, &answer);

    if (r != 0)
        return r;
    if (ctl->as_json)
        return print_json(answer);
    printf("%lld dropped\n", (long long)json_as_integer(json_get(answer, "dropped"), 0));
    return 0;
}

static int do_pause_resume(const Ctl *ctl, const char *command, const char *argument)
{
    _cleanup_json_ Json *answer = NULL;
    int r = ask_once(ctl, command, argument ? "destination" : NULL, argument, &answer);

    if (r != 0)
        return r;
    if (ctl->as_json)
        return print_json(answer);
    printf("%s: %sd\n", argument ? argument : "all destinations", command);
    return 0;
}

static int do_pause(const Ctl *ctl, const char *argument)
{
    return do_pause_resume(ctl, "pause", argument);
}

static int do_resume(const Ctl *ctl, const char *argument)
{
    return do_pause_resume(ctl, "resume", argument);
}

/* Under an id that nobody else has, by which it can be given up. */
static Json *test_request_new(const char *destination, char ret_id[static RECORD_ID_MAX + 1])
{
    Json *request = request_new("test", "destination", destination);
    uint64_t random[2];

    if (!request || getrandom(random, sizeof(random), 0) != sizeof(random))
        return json_free(request);
    snprintf(ret_id, RECORD_ID_MAX + 1, "test-%016llx%016llx", (unsigned long long)random[0],
             (unsigned long long)random[1]);
    return json_set_string(request, "id", ret_id) < 0 ? json_free(request) : request;
}

/* Over a connection of its own: on this one the answer about the test may come still. */
static void give_up_test(const Ctl *ctl, const char *id)
{
    _cleanup_json_ Json *answer = NULL;
    Ctl other = *ctl;

    if (ctl_connect(&other) != 0)
        return;
    if (ask_once(&other, "drop", "id", id, &answer) == 0)
        fprintf(stderr, "xmpprelayctl: %s was dropped\n", id);
    close(other.fd);
}

static int test_failed(const Ctl *ctl, const char *id)
{
    if (ctl->drop)
        give_up_test(ctl, id);
    else
        fprintf(stderr,
                "xmpprelayctl: %s stays in the spool; xmpprelayctl status says what is wrong\n",
                id);
    return EX_TEMPFAIL;
}

static int do_test(const Ctl *ctl, const char *argument)
{
    _cleanup_free_ char *clean = NULL;
    _cleanup_json_ Json *answer = NULL, *request = NULL;
    char buffer[UNITS_TEXT_MAX], id[RECORD_ID_MAX + 1];
    const char *reason;
    double delay;
    bool delivered;
    int r;

    request = test_request_new(argument, id);
    if (!request)
        return fail(EX_OSERR, "out of memory");
    r = ask(ctl, request, &answer);
    if (r != 0)
        return r == EX_TEMPFAIL ? test_failed(ctl, id) : r;
    reason = json_as_string(json_get(answer, "reason"), "no reason was given");
    clean = text_clean_line_dup(reason, strlen(reason));
    delivered = json_as_bool(json_get(answer, "delivered"), false);
    delay = json_as_number(json_get(answer, "delay"), 0);
    if (ctl->as_json) {
        r = print_json(answer);
        return r != 0 || delivered ? r : test_failed(ctl, id);
    }
    if (!delivered) {
        (void)fail(EX_TEMPFAIL, "the test was not delivered: %s", clean ? clean : "");
        return test_failed(ctl, id);
    }
    printf("%s: delivered after %s\n", argument,
           duration_human((usec_t)(delay * (double)USEC_PER_SEC), buffer));
    return 0;
}

typedef enum Argument {
    ARGUMENT_NONE,
    ARGUMENT_OPTIONAL,
    ARGUMENT_REQUIRED,
} Argument;

static const struct Command {
    const char *name;
    Argument argument;
    int (*run)(const Ctl *ctl, const char *argument);
} commands[] = {
    { "status", ARGUMENT_NONE, do_status },   { "queue", ARGUMENT_NONE, do_queue },
    { "history", ARGUMENT_NONE, do_history }, { "show", ARGUMENT_REQUIRED, do_show },
    { "retry", ARGUMENT_REQUIRED, do_retry }, { "drop", ARGUMENT_REQUIRED, do_drop },
    { "pause", ARGUMENT_OPTIONAL, do_pause }, { "resume", ARGUMENT_OPTIONAL, do_resume },
    { "test", ARGUMENT_REQUIRED, do_test },
};

static int run(Ctl *ctl, const char *name, char **arguments, int n)
{
    int r;

    for (size_t i = 0; i < ELEMENTSOF(commands); i++) {
        const struct Command *command = &commands[i];

        if (!streq(command->name, name))
            continue;
        if (n < (command->argument == ARGUMENT_REQUIRED) ||
            n > (command->argument != ARGUMENT_NONE))
            return fail(EX_USAGE, "%s takes %s; see xmpprelayctl --help", name,
                        command->argument == ARGUMENT_NONE       ? "no argument"
                        : command->argument == ARGUMENT_OPTIONAL ? "at most one argument"
                                                                 : "exactly one argument");
        if (ctl->failed && command->run != do_queue)
            return fail(EX_USAGE, "--failed goes with queue alone; see xmpprelayctl --help");
        if (ctl->drop && command->run != do_test)
            return fail(EX_USAGE, "--drop goes with test alone; see xmpprelayctl --help");
        if (ctl->limit > 0 && command->run != do_queue && command->run != do_history)
            return fail(EX_USAGE, "--limit goes with queue and history; see xmpprelayctl --help");
        r = ctl_connect(ctl);
        return r != 0 ? r : command->run(ctl, n > 0 ? arguments[0] : NULL);
    }
    return fail(EX_USAGE, "there is no command \"%s\"; see xmpprelayctl --help", name);
}

static int parse_limit(const char *text, size_t *ret)
{
    unsigned long value;
    char *end;

    errno = 0;
    value = strtoul(text, &end, 10);
    if (errno != 0 || *text < '0' || *text > '9' || *end || value == 0)
        return -EINVAL;
    *ret = value;
    return 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "drop", no_argument, NULL, 'd' },
        { "failed", no_argument, NULL, 'f' },
        { "json", no_argument, NULL, 'j' },
        { "limit", required_argument, NULL, 'n' },
        { "timeout", required_argument, NULL, 'T' },
        { "socket", required_argument, NULL, 's' },
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'V' },
        {},
    };
    Ctl ctl = { .path = CONTROL_PATH, .timeout_usec = 30 * USEC_PER_SEC, .fd = -1 };
    int option, status;

    while ((option = getopt_long(argc, argv, "dfjn:T:s:hV", options, NULL)) >= 0)
        switch (option) {
        case 'd':
            ctl.drop = true;
            break;
        case 'f':
            ctl.failed = true;
            break;
        case 'j':
            ctl.as_json = true;
            break;
        case 'n':
            if (parse_limit(optarg, &ctl.limit) < 0)
                return fail(EX_USAGE, "\"%s\" is no number of entries; write 1 or more", optarg);
            break;
        case 'T':
            if (duration_parse(optarg, &ctl.timeout_usec) < 0 || ctl.timeout_usec == 0)
                return fail(EX_USAGE,
                            "\"%s\" is no duration; write a whole number and a unit (ms s m h d), "
                            "such as \"30s\"",
                            optarg);
            break;
        case 's':
            ctl.path = optarg;
            break;
        case 'h':
            fputs(usage_text, stdout);
            return 0;
        case 'V':
            puts("xmpprelayctl " PROJECT_VERSION);
            return 0;
        default:
            fputs("Try: xmpprelayctl --help\n", stderr);
            return EX_USAGE;
        }
    if (optind == argc) {
        fputs(usage_text, stderr);
        return EX_USAGE;
    }
    status = run(&ctl, argv[optind], argv + optind + 1, argc - optind - 1);
    close_fd(ctl.fd);
    if (fflush(stdout) != 0 && status == 0)
        status = fail(EX_IOERR, "can't write: %s", strerror(errno));
    return status;
}
