/* SPDX-License-Identifier: MIT */

/*
 * xmpprelay: the command line. The same program, started by itself with --session, is a session
 * process.
 */

#include <getopt.h>
#include <grp.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sysexits.h>

#include <systemd/sd-daemon.h>

#include "common/log.h"
#include "xmpprelay/relay.h"
#include "xmpprelay/session.h"
#include "xmpprelay/spool-recover.h"

#define CONFIG_PATH "/etc/xmpprelay/xmpprelay.conf"

typedef struct Options {
    const char *config_path;
    bool check;
    bool dump;
    bool recover;
    bool verbose;
} Options;

static void print_help(FILE *stream)
{
    fputs("Usage: xmpprelay [-fnv] [-c FILE]\n"
          "Relays the records of local programs to XMPP rooms and contacts.\n"
          "\n"
          "  -c, --config=FILE   read this configuration (default " CONFIG_PATH ")\n"
          "  -f, --foreground    stay in the foreground, as always\n"
          "  -n, --check         check the configuration and exit\n"
          "      --dump-config   print the effective configuration and exit\n"
          "      --recover-spool make a new spool of what can be read of a damaged one\n"
          "  -v, --verbose       log more\n"
          "  -h, --help          print this help\n"
          "  -V, --version       print the version\n",
          stream);
}

/* -1: go on; else what to exit with. */
static int parse_options(int argc, char **argv, Options *ret)
{
    enum {
        OPTION_DUMP = 256,
        OPTION_RECOVER,
    };
    static const struct option options[] = {
        { "config", required_argument, NULL, 'c' },
        { "foreground", no_argument, NULL, 'f' },
        { "check", no_argument, NULL, 'n' },
        { "dump-config", no_argument, NULL, OPTION_DUMP },
        { "recover-spool", no_argument, NULL, OPTION_RECOVER },
        { "verbose", no_argument, NULL, 'v' },
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'V' },
        {},
    };
    Options parsed = { .config_path = CONFIG_PATH };
    int c;

    while ((c = getopt_long(argc, argv, "c:fnvhV", options, NULL)) >= 0)
        switch (c) {
        case 'c':
            parsed.config_path = optarg;
            break;
        case 'f':
            break;
        case 'n':
            parsed.check = true;
            break;
        case OPTION_DUMP:
            parsed.dump = true;
            break;
        case OPTION_RECOVER:
            parsed.recover = true;
            break;
        case 'v':
            parsed.verbose = true;
            break;
        case 'h':
            print_help(stdout);
            return EX_OK;
        case 'V':
            puts("xmpprelay " PROJECT_VERSION);
            return EX_OK;
        default:
            print_help(stderr);
            return EX_USAGE;
        }
    if (optind < argc) {
        fprintf(stderr, "xmpprelay: unexpected argument \"%s\"\n", argv[optind]);
        print_help(stderr);
        return EX_USAGE;
    }
    *ret = parsed;
    return -1;
}

static void print_findings(const ConfigFile *file)
{
    for (size_t i = 0; i < config_n_warnings(file); i++)
        fprintf(stderr, "%s (warning)\n", config_warning_at(file, i));
    for (size_t i = 0; i < config_n_errors(file); i++)
        fprintf(stderr, "%s\n", config_error_at(file, i));
}

/* The last line in the journal, and what the service manager shows. */
static void print_not_starting(const ConfigFile *file, const char *path)
{
    size_t n = config_n_errors(file);

    fprintf(stderr,
            "xmpprelay: not starting before %s above %s set right in %s; \"xmpprelay --check\" "
            "looks again\n",
            n == 1 ? "the line" : "the lines", n == 1 ? "is" : "are", path);
    sd_notifyf(0, "STATUS=Not started: %zu %s in %s, see the log", n, n == 1 ? "error" : "errors",
               path);
}

/* Root must not follow what the relay's user may have laid in its folder (a link in the place of
 * the log, say), and the relay has to be able to open what is made. So root becomes that user. */
static int become_owner_of_spool(const char *path)
{
    _cleanup_free_ char *copy = strdup(path);
    char log[PATH_MAX];
    struct passwd *user;
    struct stat st;

    if (geteuid() != 0)
        return 0;
    if (!copy)
        return -ENOMEM;
    if (stat(dirname(copy), &st) < 0)
        return -errno;
    snprintf(log, sizeof(log), "%s-wal", path);
    if (st.st_uid == 0 && lstat(path, &st) < 0 && lstat(log, &st) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (st.st_uid == 0)
        return 0;
    user = getpwuid(st.st_uid);
    if ((user ? initgroups(user->pw_name, user->pw_gid) : setgroups(0, NULL)) < 0 ||
        setresgid(user ? user->pw_gid : st.st_gid, user ? user->pw_gid : st.st_gid,
                  user ? user->pw_gid : st.st_gid) < 0 ||
        setresuid(st.st_uid, st.st_uid, st.st_uid) < 0)
        return -errno;
    return 0;
}

static int recover_spool(const Settings *settings)
{
    const char *path = settings->spool.path;
    char reason[SPOOL_REASON_MAX];
    SpoolRecovered found;
    int r;

    r = become_owner_of_spool(path);
    if (r < 0) {
        fprintf(stderr, "xmpprelay: can't become the owner of %s: %s\n", path, strerror(-r));
        return EX_DATAERR;
    }
    r = spool_recover(path, (const char *const *)settings->default_destination.items,
                      settings->default_destination.n, &found, reason);
    if (r < 0) {
        fprintf(stderr, "xmpprelay: %s\n", reason);
        return r == -EBUSY ? EX_UNAVAILABLE : EX_DATAERR;
    }
    if (r == 0) {
        printf("%s is sound; nothing was done.\n", path);
        return EX_OK;
    }
    printf("%s is new, and has what could be read of the old one:\n"
           "%" PRIu64 " waiting, %" PRIu64 " set aside, %" PRIu64 " in the history\n",
           path, found.waiting, found.failed, found.done);
    if (found.again > 0)
        printf("%" PRIu64 " of those that wait may have been said before\n", found.again);
    if (found.lost > 0)
        printf("%" PRIu64 " alerts have lost their text and are gone\n", found.lost);
    if (found.broken > 0)
        printf("%zu rows could not be read\n", found.broken);
    printf("The old one is %s now.\n", found.kept);
    return EX_OK;
}

int main(int argc, char **argv)
{
    _cleanup_(config_file_freep) ConfigFile *file = NULL;
    _cleanup_(settings_freep) Settings *settings = NULL;
    Options options = {};
    int r;

    if (argc == 2 && streq(argv[1], "--session")) {
        log_init("xmpprelay");
        return session_main(SESSION_LINK_FD);
    }
    r = parse_options(argc, argv, &options);
    if (r >= 0)
        return r;

    r = settings_load(options.config_path, &settings, &file);
    if (file)
        print_findings(file);
    if (r == -ENOMEM)
        fputs("xmpprelay: out of memory\n", stderr);
    else if (r < 0 && file && !options.check && !options.dump && !options.recover)
        print_not_starting(file, options.config_path);
    if (r < 0)
        return r == -ENOMEM ? EX_OSERR : EX_CONFIG;
    if (options.dump)
        config_dump(file, settings_keys, stdout);
    else if (options.check)
        printf("%s: the configuration is good.\n", options.config_path);
    if (options.dump || options.check)
        return fflush(stdout) == 0 && !ferror(stdout) ? EX_OK : EX_IOERR;

    if (options.recover)
        return recover_spool(settings);

    log_init("xmpprelay");
    if (options.verbose)
        log_set_level(LOG_DEBUG);
    return relay_run(options.config_path, steal_ptr(settings));
}
