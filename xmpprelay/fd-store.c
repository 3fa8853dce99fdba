/* SPDX-License-Identifier: MIT */

/*
 * A thin layer over sd-daemon. The variables of the environment go when they have been read, so
 * that no child takes them for its own.
 */

#include "xmpprelay/fd-store.h"

#include <stdio.h>

#include <systemd/sd-daemon.h>

#include "common/log.h"

#define MESSAGE_MAX 128

int fd_store_take(const char *name)
{
    char **names = NULL;
    int found = -ENOENT, n;

    n = sd_listen_fds_with_names(true, &names);
    if (n < 0)
        return n;
    for (int i = 0; i < n; i++) {
        int fd = SD_LISTEN_FDS_START + i;

        if (found < 0 && streq(names[i], name)) {
            found = fd;
        } else {
            log_warning("the service manager hands over \"%s\", which is of no use here", names[i]);
            close(fd);
        }
        free(names[i]);
    }
    free(names);
    return found;
}

bool fd_store_put(const char *name, int fd)
{
    char message[MESSAGE_MAX];

    /* A datagram socket never hangs up: there is nothing to watch it for. */
    snprintf(message, sizeof(message), "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", name);
    return sd_pid_notify_with_fds(0, false, message, &fd, 1) > 0;
}

void fd_store_drop(const char *name)
{
    sd_notifyf(0, "FDSTOREREMOVE=1\nFDNAME=%s", name);
}
