/* SPDX-License-Identifier: MIT */

/*
 * What the tables can't say: references between settings, and what the system knows of the files
 * they name. All of it is checked, also where the tables found errors: what is missing has been
 * told, and is passed over. Errors call items by their index in the file, which is the one in the
 * settings unless a list holds something that is no group; then its items are not checked.
 */

#include "xmpprelay/settings-check.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>
#include <sys/stat.h>

#define NAME_BYTES_MAX 64
#define JID_PART_MAX 1023 /* RFC 7622 section 3.1 */

typedef struct Check {
    Settings *settings;
    ConfigFile *file;
} Check;

/* An error at a key of a list's item, or at the item where the key is absent. */
static void PRINTF_LIKE(5, 6) wrong_item(const Check *check, const char *list, size_t index,
                                         const char *key, const char *format, ...)
{
    char path[128], message[PATH_MAX + 512];
    const ConfigNode *item, *node;
    va_list args;

    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);

    snprintf(path, sizeof(path), "%s.[%zu]", list, index);
    item = config_find(check->file, path);
    node = item && key ? config_node_get(item, key) : NULL;
    if (node)
        config_error(check->file, node, "%s[%zu].%s: %s", list, index, key, message);
    else
        config_error(check->file, item, "%s[%zu]: %s", list, index, message);
}

/* True when item i in the settings is item i in the file. */
static bool is_aligned(const Check *check, const char *list, const ConfigItems *items)
{
    const ConfigNode *node = config_find(check->file, list);

    return node && config_node_kind(node) == CONFIG_NODE_LIST &&
           config_node_length(node) == items->n;
}

/* Names appear on command lines and in logs, as words. */
static bool is_name(const char *name)
{
    size_t size = strlen(name);

    return size > 0 && size <= NAME_BYTES_MAX && name[0] != '-' &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") ==
               size;
}

/* RFC 7622: near enough to find what was mistyped; the server knows the whole of it. */
static bool is_bare_jid(const char *jid)
{
    const char *at = strchr(jid, '@'), *domain = at ? at + 1 : jid;
    size_t local_size = at ? (size_t)(at - jid) : 0, domain_size = strlen(domain);

    for (const char *byte = jid; *byte; byte++)
        if ((unsigned char)*byte <= ' ' || *byte == 0x7F || strchr("\"&'/<>", *byte))
            return false;
    return local_size > 0 && local_size <= JID_PART_MAX && domain_size > 0 &&
           domain_size <= JID_PART_MAX && !strchr(domain, '@') && domain[0] != '.' &&
           !strstr(domain, "..") && !memchr(jid, ':', local_size);
}

static bool is_loopback(const char *host)
{
    struct in6_addr ipv6;
    struct in_addr ipv4;

    if (inet_pton(AF_INET, host, &ipv4) == 1)
        return ntohl(ipv4.s_addr) >> 24 == 127;
    if (inet_pton(AF_INET6, host, &ipv6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&ipv6);
    return strcasecmp(host, "localhost") == 0;
}

/* Whether the group is one of our own. Root is asked on behalf of the daemon, whose groups it
 * does not know: it takes the word of whoever chose the group. */
static bool is_own_group(gid_t group)
{
    return geteuid() == 0 || group_member(group) == 1;
}

/* Says what is wrong with a file that holds a password, or NULL. */
static const char *password_file_fault(const char *path, bool check_mode)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat status;
    char first;
    ssize_t n;

    if (fd < 0 || fstat(fd, &status) < 0)
        return strerror(errno);
    if (!S_ISREG(status.st_mode))
        return "it is no regular file";
    if (check_mode && status.st_mode & S_IRWXO)
        return "others may access it; take that from them: chmod o-rwx";
    if (check_mode && status.st_mode & (S_IWGRP | S_IXGRP))
        return "its group may write it; take that from it: chmod g-wx";
    if (check_mode && status.st_mode & S_IRGRP && !is_own_group(status.st_gid))
        return "a group that is not the daemon's own may read it; chgrp it, or chmod g-r";
    n = read(fd, &first, 1);
    if (n < 0)
        return strerror(errno);
    if (n == 0 || first == '\n' || first == '\r')
        return "it is empty; the password stands in its first line";
    return NULL;
}

static void check_password(const Check *check, size_t index, const Account *account)
{
    const char *directory = getenv("CREDENTIALS_DIRECTORY"), *fault;
    char path[PATH_MAX];

    if (account->password_file && account->credential) {
        wrong_item(check, "accounts", index, "credential",
                   "only one of password_file and credential may be given");
        return;
    }
    if (account->password_file) {
        fault = password_file_fault(account->password_file, true);
        if (fault)
            wrong_item(check, "accounts", index, "password_file", "%s: %s", account->password_file,
                       fault);
        return;
    }
    if (!account->credential) {
        wrong_item(check, "accounts", index, NULL,
                   "\"password_file\" is missing, or \"credential\" in its place");
        return;
    }
    if (!*account->credential || strchr(account->credential, '/') ||
        account->credential[0] == '.') {
        wrong_item(check, "accounts", index, "credential",
                   "must be the name of a credential, as LoadCredential= gives it");
        return;
    }
    if (!directory) {
        config_warning(check->file, NULL,
                       "accounts[%zu].credential: can't be checked outside of the service that "
                       "has LoadCredential=%s",
                       index, account->credential);
        return;
    }
    /* Its mode is the service manager's business. */
    if (snprintf(path, sizeof(path), "%s/%s", directory, account->credential) >= PATH_MAX)
        fault = strerror(ENAMETOOLONG);
    else
        fault = password_file_fault(path, false);
    if (fault)
        wrong_item(check, "accounts", index, "credential", "%s: %s", path, fault);
}

static void check_server(const Check *check, size_t index, const Account *account)
{
    if (account->tls == TLS_INSECURE_NONE && !is_loopback(account->host))
        wrong_item(check, "accounts", index, "tls",
                   "\"insecure-none\" is for a server on this machine alone; set host to "
                   "\"127.0.0.1\", \"::1\" or \"localhost\", or tls to \"starttls\"");
    if (account->port != 0 && !*account->host)
        wrong_item(check, "accounts", index, "port",
                   "counts only together with host; without that, DNS names the port");
    if (*account->ca_file && access(account->ca_file, R_OK) < 0)
        wrong_item(check, "accounts", index, "ca_file", "%s: %s", account->ca_file,
                   strerror(errno));
}

static void check_accounts(const Check *check)
{
    const ConfigItems *items = &check->settings->accounts;

    for (size_t i = 0; i < items->n; i++) {
        const Account *account = items->items[i];

        if (account->name && !is_name(account->name))
            wrong_item(check, "accounts", i, "name",
                       "must be 1 to %d letters, digits and \"._-\", no \"-\" first",
                       NAME_BYTES_MAX);
        for (size_t j = 0; j < i && account->name; j++) {
            const Account *other = items->items[j];

            if (other->name && streq(other->name, account->name)) {
                wrong_item(check, "accounts", i, "name", "\"%s\" is the name of accounts[%zu]",
                           account->name, j);
                break;
            }
        }
        if (account->jid && !is_bare_jid(account->jid))
            wrong_item(check, "accounts", i, "jid",
                       "\"%s\" is no bare JID; write it like \"user@example.org\"", account->jid);
        check_password(check, i, account);
        check_server(check, i, account);
    }
}

static ssize_t find_account(const Settings *settings, const char *name)
{
    for (size_t i = 0; i < settings->accounts.n; i++) {
        const Account *account = settings->accounts.items[i];

        if (account->name && streq(account->name, name))
            return (ssize_t)i;
    }
    return -1;
}

/* Room or contact, and a nick that is there for each room. 0 or -ENOMEM. */
static int check_address(const Check *check, size_t index, Destination *destination,
                         const Account *account)
{
    if (!destination->room && !destination->contact) {
        wrong_item(check, "destinations", index, NULL,
                   "\"room\" is missing, or \"contact\" in its place");
        return 0;
    }
    if (destination->room && destination->contact)
        wrong_item(check, "destinations", index, "contact",
                   "only one of room and contact may be given");
    if (destination->room && !*destination->room)
        wrong_item(check, "destinations", index, "room",
                   "must not be empty; write it like \"ops@conference.example.org\"");
    else if (destination->room && !is_bare_jid(destination->room))
        wrong_item(check, "destinations", index, "room",
                   "\"%s\" is no room; write it like \"ops@conference.example.org\"",
                   destination->room);
    if (destination->contact && !is_bare_jid(destination->contact))
        wrong_item(check, "destinations", index, "contact",
                   "\"%s\" is no bare JID; write it like \"user@example.org\"",
                   destination->contact);
    if (destination->nick && !destination->room)
        wrong_item(check, "destinations", index, "nick", "counts only together with room");
    if (destination->nick && (!*destination->nick || strlen(destination->nick) > JID_PART_MAX))
        wrong_item(check, "destinations", index, "nick", "must be 1 to %d bytes", JID_PART_MAX);

    if (destination->room && !destination->nick && account && account->jid) {
        destination->nick = strndup(account->jid, strcspn(account->jid, "@"));
        if (!destination->nick)
            return -ENOMEM;
    }
    return 0;
}

/* One occupant, one room: a second one of the same account would see the first one's echoes. */
static void check_room_is_new(const Check *check, size_t index, const Destination *destination)
{
    for (size_t j = 0; j < index; j++) {
        const Destination *other = check->settings->destinations.items[j];

        if (destination->room && other->room && destination->account && other->account &&
            strcasecmp(destination->room, other->room) == 0 &&
            streq(destination->account, other->account)) {
            wrong_item(check, "destinations", index, "room",
                       "\"%s\" is the room of destinations[%zu] with the same account",
                       destination->room, j);
            return;
        }
    }
}

static int check_destinations(const Check *check)
{
    const ConfigItems *items = &check->settings->destinations;

    for (size_t i = 0; i < items->n; i++) {
        Destination *destination = items->items[i];
        const Account *account = NULL;
        ssize_t account_index = -1;
        int r;

        if (destination->name && !is_name(destination->name))
            wrong_item(check, "destinations", i, "name",
                       "must be 1 to %d letters, digits and \"._-\", no \"-\" first",
                       NAME_BYTES_MAX);
        if (destination->name) {
            int first = settings_find_destination(check->settings, destination->name);

            if (first >= 0 && (size_t)first < i)
                wrong_item(check, "destinations", i, "name",
                           "\"%s\" is the name of destinations[%d]", destination->name, first);
        }
        if (destination->account) {
            account_index = find_account(check->settings, destination->account);
            if (account_index >= 0) {
                destination->account_index = (size_t)account_index;
                account = check->settings->accounts.items[account_index];
            } else {
                wrong_item(check, "destinations", i, "account", "there is no account named \"%s\"",
                           destination->account);
            }
        }
        r = check_address(check, i, destination, account);
        if (r < 0)
            return r;
        check_room_is_new(check, i, destination);
    }
    return 0;
}

static void check_default(const Check *check)
{
    const ConfigNode *node = config_find(check->file, "default_destination");
    const ConfigStrings *names = &check->settings->default_destination;

    for (size_t i = 0; i < names->n; i++) {
        if (settings_find_destination(check->settings, names->items[i]) < 0)
            config_error(check->file, node,
                         "default_destination: there is no destination named \"%s\"",
                         names->items[i]);
        for (size_t j = 0; j < i; j++)
            if (streq(names->items[j], names->items[i])) {
                config_error(check->file, node, "default_destination: \"%s\" stands there twice",
                             names->items[i]);
                break;
            }
    }
}

static void check_paths(const Check *check)
{
    const struct {
        const char *key, *path;
    } files[] = {
        { "socket.path", check->settings->socket.path },
        { "control.path", check->settings->control.path },
        { "spool.path", check->settings->spool.path },
        { "metrics.listen", metrics_settings_path(&check->settings->metrics) },
    };

    for (size_t i = 1; i < ELEMENTSOF(files); i++)
        for (size_t j = 0; j < i; j++) {
            const ConfigNode *node = config_find(check->file, files[i].key);

            if (files[i].path && streq(files[i].path, files[j].path))
                config_error(check->file, node ? node : config_find(check->file, files[j].key),
                             "%s: \"%s\" is %s already", files[i].key, files[i].path, files[j].key);
        }
}

static void check_backoff(const Check *check)
{
    const SessionSettings *session = &check->settings->session;
    const ConfigNode *node = config_find(check->file, "session.backoff_cap");

    if (session->backoff_usec > session->backoff_cap_usec)
        config_error(check->file, node ? node : config_find(check->file, "session.backoff"),
                     "session.backoff_cap: is shorter than session.backoff");
}

static void warn_of_unused_accounts(const Check *check)
{
    for (size_t i = 0; i < check->settings->accounts.n; i++) {
        bool used = false;
        char path[32];

        for (size_t j = 0; j < check->settings->destinations.n && !used; j++)
            used = settings_destination(check->settings, j)->account_index == i;
        snprintf(path, sizeof(path), "accounts.[%zu]", i);
        if (!used)
            config_warning(check->file, config_find(check->file, path),
                           "accounts[%zu]: no destination uses \"%s\"", i,
                           settings_account(check->settings, i)->name);
    }
}

int settings_check(Settings *settings, ConfigFile *file)
{
    const Check *check = &(Check){ settings, file };
    int r;

    check_paths(check);
    check_backoff(check);
    if (is_aligned(check, "accounts", &check->settings->accounts)) {
        check_accounts(check);
        if (is_aligned(check, "destinations", &check->settings->destinations)) {
            r = check_destinations(check);
            if (r < 0)
                return r;
            check_default(check);
        }
    }
    if (config_n_errors(check->file) > 0)
        return -EINVAL;
    warn_of_unused_accounts(check);
    return 0;
}
