/* SPDX-License-Identifier: MIT */

/*
 * The command line of milterd.
 */

#include <getopt.h>
#include <stdio.h>
#include <sysexits.h>

#include "common/log.h"

#include "milterd/explain.h"
#include "milterd/manager.h"
#include "milterd/mime.h"
#include "milterd/settings.h"

#define CONFIG_PATH_DEFAULT "/etc/milterd/milterd.conf"

typedef enum Mode {
    MODE_RUN,
    MODE_CHECK,
    MODE_DUMP,
    MODE_EXPLAIN,
} Mode;

#define RCPTS_MAX 100

typedef struct Options {
    Mode mode;
    const char *config_path;
    const char *explain_option; /* the first of those that need --explain; NULL: none */
    ExplainView view;
    ExplainFacts facts;
    char *rcpts[RCPTS_MAX];
    char **files; /* of argv */
    size_t n_files;
} Options;

enum {
    OPTION_DUMP = 256,
    OPTION_EXPLAIN,
    OPTION_AUTH,
    OPTION_CLIENT,
    OPTION_CLIENT_NAME,
    OPTION_EACH,
    OPTION_ENVELOPE_FROM,
    OPTION_HELO,
    OPTION_JSON,
    OPTION_MACRO,
    OPTION_RCPT,
};

static const struct option long_options[] = {
    { "config", required_argument, NULL, 'c' },
    { "foreground", no_argument, NULL, 'f' },
    { "check", no_argument, NULL, 'n' },
    { "dump-config", no_argument, NULL, OPTION_DUMP },
    { "explain", no_argument, NULL, OPTION_EXPLAIN },
    { "auth", required_argument, NULL, OPTION_AUTH },
    { "client", required_argument, NULL, OPTION_CLIENT },
    { "client-name", required_argument, NULL, OPTION_CLIENT_NAME },
    { "each", no_argument, NULL, OPTION_EACH },
    { "envelope-from", required_argument, NULL, OPTION_ENVELOPE_FROM },
    { "helo", required_argument, NULL, OPTION_HELO },
    { "json", no_argument, NULL, OPTION_JSON },
    { "macro", required_argument, NULL, OPTION_MACRO },
    { "rcpt", required_argument, NULL, OPTION_RCPT },
    { "verbose", no_argument, NULL, 'v' },
    { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, 'V' },
    {},
};

static void print_help(void)
{
    printf("milterd [-c FILE] [-f] [-v]\n"
           "milterd -n|--dump-config [-c FILE]\n"
           "milterd --explain [-c FILE] [OPTIONS] [MAIL...]\n"
           "\n"
           "Turns mails that pass the MTA into alerts, and hands them to xmpprelay.\n"
           "\n"
           "  -c, --config=FILE         the configuration (%s)\n"
           "  -f, --foreground          stay in the foreground; it always does\n"
           "  -n, --check               check the configuration and exit\n"
           "      --dump-config         print the effective configuration and exit\n"
           "      --explain             say what would become of mails, and why; nothing is sent;\n"
           "                            they are in files, mboxes, Maildirs, folders of .eml\n"
           "                            files, or standard input\n"
           "      --each                  all about each of them, not just a summary\n"
           "      --json                  the same for programs, a line for each\n"
           "      --auth=LOGIN            the login that its client has proved\n"
           "      --client=ADDRESS        the address that it comes from\n"
           "      --client-name=NAME      the name of that address\n"
           "      --envelope-from=ADDRESS its sender in the envelope\n"
           "      --helo=NAME             what its client calls itself\n"
           "      --macro=NAME=VALUE      a macro of the MTA, once for each\n"
           "      --rcpt=ADDRESS          a recipient in the envelope, once for each\n"
           "  -v, --verbose             log more\n"
           "  -h, --help                print this and exit\n"
           "  -V, --version             print the version and exit\n"
           "\n"
           "Signals: HUP reloads, TERM drains and stops, INT stops at once.\n",
           CONFIG_PATH_DEFAULT);
}

static int usage_error(void)
{
    fprintf(stderr, "Try \"milterd --help\".\n");
    return EX_USAGE;
}

static int set_mode(Options *options, Mode mode)
{
    if (options->mode != MODE_RUN && options->mode != mode) {
        fprintf(stderr, "milterd: --check, --dump-config and --explain exclude each other.\n");
        return usage_error();
    }
    options->mode = mode;
    return -1;
}

static int too_often(const char *option, int max)
{
    fprintf(stderr, "milterd: %s may be given at most %d times.\n", option, max);
    return usage_error();
}

static int add_macro(Options *options, const char *option, const char *name, const char *value)
{
    ExplainFacts *facts = &options->facts;
    ExplainMacro *macro = &facts->macros[facts->n_macros];

    if (facts->n_macros >= MAIL_MACROS_MAX)
        return too_often(option, MAIL_MACROS_MAX);
    if (macro_name_read(name, macro->name) < 0) {
        fprintf(stderr,
                "milterd: %s: \"%.100s\" is no name of a macro; it has 1 to %d of A-Z a-z 0-9 _, "
                "with braces or without.\n",
                option, name, MACRO_NAME_MAX);
        return usage_error();
    }
    macro->value = value;
    facts->n_macros++;
    return -1;
}

/* NAME=VALUE; cuts it in two. */
static int add_named_macro(Options *options, const char *option, char *text)
{
    char *value = strchr(text, '=');

    if (!value) {
        fprintf(stderr, "milterd: %s: \"%.100s\" has no value; write NAME=VALUE.\n", option, text);
        return usage_error();
    }
    *value++ = '\0';
    return add_macro(options, option, text, value);
}

static int add_fact(Options *options, int option, char *value)
{
    static const char *const names[] = {
        [OPTION_AUTH - OPTION_AUTH] = "--auth",
        [OPTION_CLIENT - OPTION_AUTH] = "--client",
        [OPTION_CLIENT_NAME - OPTION_AUTH] = "--client-name",
        [OPTION_EACH - OPTION_AUTH] = "--each",
        [OPTION_ENVELOPE_FROM - OPTION_AUTH] = "--envelope-from",
        [OPTION_HELO - OPTION_AUTH] = "--helo",
        [OPTION_JSON - OPTION_AUTH] = "--json",
        [OPTION_MACRO - OPTION_AUTH] = "--macro",
        [OPTION_RCPT - OPTION_AUTH] = "--rcpt",
    };
    const char *name = names[option - OPTION_AUTH];

    if (!options->explain_option)
        options->explain_option = name;

    switch (option) {
    case OPTION_AUTH:
        return add_macro(options, name, MACRO_AUTH, value);
    case OPTION_CLIENT:
        options->facts.client = value;
        return -1;
    case OPTION_CLIENT_NAME:
        options->facts.client_name = value;
        return -1;
    case OPTION_EACH:
        options->view = MAX(options->view, EXPLAIN_EACH);
        return -1;
    case OPTION_ENVELOPE_FROM:
        options->facts.envelope_from = value;
        return -1;
    case OPTION_HELO:
        options->facts.helo = value;
        return -1;
    case OPTION_JSON:
        options->view = EXPLAIN_JSON;
        return -1;
    case OPTION_MACRO:
        return add_named_macro(options, name, value);
    default:
        if (options->facts.n_rcpts >= RCPTS_MAX)
            return too_often(name, RCPTS_MAX);
        options->rcpts[options->facts.n_rcpts++] = value;
        options->facts.rcpts = options->rcpts;
        return -1;
    }
}

/* The exit status to leave with, or -1 to go on. */
static int take_option(Options *options, int option)
{
    switch (option) {
    case 'c':
        options->config_path = optarg;
        return -1;
    case 'f':
        return -1;
    case 'n':
        return set_mode(options, MODE_CHECK);
    case OPTION_DUMP:
        return set_mode(options, MODE_DUMP);
    case OPTION_EXPLAIN:
        return set_mode(options, MODE_EXPLAIN);
    case OPTION_AUTH:
    case OPTION_CLIENT:
    case OPTION_CLIENT_NAME:
    case OPTION_EACH:
    case OPTION_ENVELOPE_FROM:
    case OPTION_HELO:
    case OPTION_JSON:
    case OPTION_MACRO:
    case OPTION_RCPT:
        return add_fact(options, option, optarg);
    case 'v':
        log_set_level(LOG_DEBUG);
        return -1;
    case 'h':
        print_help();
        return EX_OK;
    case 'V':
        puts("milterd " PROJECT_VERSION);
        return EX_OK;
    default:
        return usage_error();
    }
}

/* The same. */
static int parse_options(int argc, char **argv, Options *options)
{
    int option, r;

    while ((option = getopt_long(argc, argv, "c:fnvhV", long_options, NULL)) >= 0) {
        r = take_option(options, option);
        if (r >= 0)
            return r;
    }

    if (options->mode == MODE_EXPLAIN) {
        options->files = argv + optind;
        options->n_files = (size_t)(argc - optind);
        return -1;
    }
    if (options->explain_option) {
        fprintf(stderr, "milterd: %s is for --explain.\n", options->explain_option);
        return usage_error();
    }
    if (optind < argc) {
        fprintf(stderr, "milterd: unexpected argument \"%s\".\n", argv[optind]);
        return usage_error();
    }
    return -1;
}

/* Says on standard error what is wrong with the configuration. */
static int load(const char *path, Settings **ret_settings, ConfigFile **ret_file)
{
    int r = settings_load(path, ret_settings, ret_file);

    if (r == -ENOMEM) {
        fprintf(stderr, "%s: out of memory\n", path);
        return EX_OSERR;
    }
    for (size_t i = 0; i < config_n_warnings(*ret_file); i++)
        fprintf(stderr, "%s (warning)\n", config_warning_at(*ret_file, i));
    for (size_t i = 0; i < config_n_errors(*ret_file); i++)
        fprintf(stderr, "%s\n", config_error_at(*ret_file, i));
    return r < 0 ? EX_CONFIG : EX_OK;
}

static int flush_output(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return EX_OK;
    fprintf(stderr, "milterd: cannot write: %m\n");
    return EX_IOERR;
}

static int explain(const Options *options, const Settings *settings)
{
    ExplainSettings explain_settings = {
        .rules = &settings->rules,
        .guards = &settings->guards,
        .scripts = &settings->scripts,
        .alert = settings->alert,
        .max_message = settings->max_message,
        .view = options->view,
    };
    int r;

    mime_init();
    r = explain_run(&explain_settings, &options->facts, options->files, options->n_files, stdout);
    if (flush_output() != EX_OK)
        return EX_IOERR;
    return r < 0 ? EX_NOINPUT : EX_OK;
}

int main(int argc, char **argv)
{
    Options options = { .config_path = CONFIG_PATH_DEFAULT };
    _cleanup_(config_file_freep) ConfigFile *file = NULL;
    _cleanup_(settings_freep) Settings *settings = NULL;
    int r;

    r = parse_options(argc, argv, &options);
    if (r >= 0)
        return r;

    r = load(options.config_path, &settings, &file);
    if (r != EX_OK)
        return r;

    switch (options.mode) {
    case MODE_CHECK:
        printf("%s: the configuration is good.\n", options.config_path);
        return flush_output();
    case MODE_DUMP:
        config_dump(file, settings_keys, stdout);
        return flush_output();
    case MODE_EXPLAIN:
        return explain(&options, settings);
    case MODE_RUN:
        break;
    }

    log_init("milterd");
    file = config_file_free(file);
    return manager_run(options.config_path, steal_ptr(settings));
}
