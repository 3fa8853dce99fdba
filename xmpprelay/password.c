/* SPDX-License-Identifier: MIT */

/*
 * The bytes go from the file into one buffer, which is all that has to be wiped.
 */

#include "xmpprelay/password.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

char *password_free(char *password)
{
    if (!password)
        return NULL;
    explicit_bzero(password, PASSWORD_MAX + 2);
    free(password);
    return NULL;
}

static int read_all(int fd, char *buffer, size_t size)
{
    size_t used = 0;

    while (used < size) {
        ssize_t n = read(fd, buffer + used, size - used);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        used += (size_t)n;
    }
    return (int)used;
}

static int read_password(const char *path, char **ret)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    _cleanup_(password_freep) char *buffer = NULL;
    struct stat st;
    int n;

    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    buffer = calloc(1, PASSWORD_MAX + 2);
    if (!buffer)
        return -ENOMEM;
    n = read_all(fd, buffer, PASSWORD_MAX + 1);
    if (n < 0)
        return n;
    if (n > PASSWORD_MAX)
        return -EFBIG;
    if (n > 0 && buffer[n - 1] == '\n')
        buffer[--n] = '\0';
    if (n > 0 && buffer[n - 1] == '\r')
        buffer[--n] = '\0';
    if (n == 0)
        return -ENODATA;
    if (strlen(buffer) != (size_t)n)
        return -EINVAL;
    *ret = steal_ptr(buffer);
    return 0;
}

int password_read(const Account *account, char **ret, char *reason, size_t reason_size)
{
    const char *setting = account->credential ? "accounts.credential" : "accounts.password_file";
    const char *directory = getenv("CREDENTIALS_DIRECTORY");
    char path[PATH_MAX];
    const char *what;
    int r, n;

    if (account->credential) {
        if (!directory || !*directory) {
            snprintf(reason, reason_size,
                     "no credentials were passed to the daemon ($CREDENTIALS_DIRECTORY is not "
                     "set); see LoadCredential= in its unit, or accounts.credential");
            return -ENOENT;
        }
        n = snprintf(path, sizeof(path), "%s/%s", directory, account->credential);
        if (strchr(account->credential, '/') || streq(account->credential, "..")) {
            snprintf(reason, reason_size,
                     "\"%.100s\" is no name of a credential; see "
                     "accounts.credential",
                     account->credential);
            return -EINVAL;
        }
    } else
        n = snprintf(path, sizeof(path), "%s",
                     account->password_file ? account->password_file : "");
    if (n < 0 || n >= (int)sizeof(path))
        r = -ENAMETOOLONG;
    else
        r = read_password(path, ret);
    if (r >= 0)
        return 0;

    what = r == -EFBIG     ? "it is longer than a password may be"
           : r == -ENODATA ? "it is empty"
           : r == -EINVAL  ? "it is no plain file with a line of text"
                           : strerror(-r);
    snprintf(reason, reason_size, "can't read the password from %.200s: %s; check %s", path, what,
             setting);
    return r;
}
