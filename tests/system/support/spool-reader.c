/* SPDX-License-Identifier: MIT */

/*
 * Opens each spool that is named as the relay would, and prints "spool NAME", then "ID STATE" for
 * each entry, or "refused WHY". Each in a process that ends without closing it.
 */

#include "xmpprelay/spool.h"

#include <stdio.h>
#include <sys/wait.h>

#define ALL 1000000

static int print_entry(const SpoolEntry *entry, void *userdata)
{
    printf("%s %d\n", entry->id, entry->state);
    return 0;
}

static void read_spool(const char *path)
{
    static const SpoolLimits limits = { .max_records = ALL, .max_share = 100 };
    char reason[SPOOL_REASON_MAX];
    Spool *spool = NULL;

    printf("spool %s\n", path);
    if (spool_open(path, &limits, &spool, reason) < 0)
        printf("refused %s\n", reason);
    else if (spool_list(spool, false, "", 0, ALL, print_entry, NULL) < 0 ||
             spool_list(spool, true, "", 0, ALL, print_entry, NULL) < 0 ||
             spool_list_history(spool, 0, 0, ALL, print_entry, NULL) < 0)
        printf("refused, as it is listed: %s\n", spool_message(spool));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        int status;
        pid_t pid = fork();

        if (pid == 0) {
            read_spool(argv[i]);
            _exit(0);
        }
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
            return 1;
    }
    return 0;
}
