/* SPDX-License-Identifier: MIT */

/*
 * Targets (host and port) come from the configuration or from SRV, addresses from
 * getaddrinfo(). All of it blocks; the session process sends no heartbeats meanwhile, so its
 * supervisor is the deadline.
 */

#include "xmpprelay/resolve.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/socket.h>

#define PORT_STARTTLS 5222
#define PORT_DIRECT 5223

static int compare_targets(const void *a, const void *b)
{
    const ResolveTarget *left = a, *right = b;

    return (left->priority > right->priority) - (left->priority < right->priority);
}

/* RFC 2782: within one priority, draw by weight. */
static void order_targets(ResolveTarget *targets, size_t n, uint32_t random)
{
    qsort(targets, n, sizeof(*targets), compare_targets);
    for (size_t first = 0; first < n; first++) {
        uint64_t total = 0, drawn;
        size_t last = first, chosen;
        ResolveTarget swap;

        for (; last < n && targets[last].priority == targets[first].priority; last++)
            total += targets[last].weight + 1U;
        random = random * 1664525U + 1013904223U;
        drawn = ((uint64_t)random * total) >> 32;
        for (chosen = first; chosen + 1 < last && drawn > targets[chosen].weight; chosen++)
            drawn -= targets[chosen].weight + 1U;
        swap = targets[first];
        targets[first] = targets[chosen];
        targets[chosen] = swap;
    }
}

int resolve_parse_srv(const uint8_t *answer, size_t size, uint32_t random, ResolveTarget *targets,
                      size_t max)
{
    ns_msg message;
    size_t n = 0;

    if (size > NS_MAXMSG || ns_initparse(answer, (int)size, &message) < 0)
        return -EBADMSG;
    for (int i = 0; i < ns_msg_count(message, ns_s_an) && n < max; i++) {
        const uint8_t *data;
        ResolveTarget *target = &targets[n];
        ns_rr record;

        if (ns_parserr(&message, ns_s_an, i, &record) < 0)
            return -EBADMSG;
        if (ns_rr_type(record) != ns_t_srv)
            continue;
        data = ns_rr_rdata(record);
        if (ns_rr_rdlen(record) < 7)
            return -EBADMSG;
        target->priority = (uint16_t)ns_get16(data);
        target->weight = (uint16_t)ns_get16(data + 2);
        target->port = (uint16_t)ns_get16(data + 4);
        if (dn_expand(ns_msg_base(message), ns_msg_end(message), data + 6, target->host,
                      sizeof(target->host)) < 0)
            return -EBADMSG;
        if (target->host[0] == '\0' || streq(target->host, ".")) {
            if (ns_msg_count(message, ns_s_an) == 1)
                return -ENODATA;
            continue;
        }
        if (target->port != 0)
            n++;
    }
    order_targets(targets, n, random);
    return (int)n;
}

static int query_srv(const char *service, const char *domain, ResolveTarget *targets, size_t max)
{
    struct __res_state state = {};
    uint8_t answer[8192];
    char name[NS_MAXDNAME];
    uint32_t random = 0;
    int size;

    if (snprintf(name, sizeof(name), "%s._tcp.%s", service, domain) >= (int)sizeof(name) ||
        res_ninit(&state) < 0)
        return 0;
    state.retrans = 3;
    state.retry = 2;
    size = res_nquery(&state, name, ns_c_in, ns_t_srv, answer, sizeof(answer));
    res_nclose(&state);
    if (size < 0 || size > (int)sizeof(answer))
        return 0;
    (void)!getrandom(&random, sizeof(random), GRND_NONBLOCK);
    return resolve_parse_srv(answer, (size_t)size, random, targets, max);
}

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;

        memcpy(&in, address, sizeof(in));
        return ntohl(in.sin_addr.s_addr) >> 24 == 127;
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;

        memcpy(&in6, address, sizeof(in6));
        return IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr);
    }
    return false;
}

typedef struct Found {
    ResolvedAddress *addresses;
    int n;
    bool foreign;         /* one was left out because it isn't loopback */
    int gai_error;        /* of the last lookup that failed */
    const char *gai_host; /* its target */
} Found;

static void add_addresses(Found *found, const ResolveTarget *target, bool loopback_only)
{
    const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    struct addrinfo *list = NULL;
    int r = getaddrinfo(target->host, NULL, &hints, &list);

    if (r != 0) {
        found->gai_error = r;
        found->gai_host = target->host;
        return;
    }
    for (const struct addrinfo *info = list; info && found->n < RESOLVE_ADDRESSES_MAX;
         info = info->ai_next) {
        ResolvedAddress *address = &found->addresses[found->n];

        if (loopback_only && !is_loopback(info->ai_addr)) {
            found->foreign = true;
            continue;
        }
        if (getnameinfo(info->ai_addr, info->ai_addrlen, address->host, sizeof(address->host), NULL,
                        0, NI_NUMERICHOST) != 0)
            continue;
        address->port = target->port;
        found->n++;
    }
    freeaddrinfo(list);
}

static int fail(EndCause *ret_cause, EndCause cause)
{
    *ret_cause = cause;
    return -EHOSTUNREACH;
}

int resolve_account(const Account *account, const char *domain,
                    ResolvedAddress ret_addresses[static RESOLVE_ADDRESSES_MAX],
                    EndCause *ret_cause, char reason[static LINK_REASON_MAX])
{
    const bool direct = account->tls == TLS_DIRECT;
    const char *service = direct ? "_xmpps-client" : "_xmpp-client";
    const char *host = *account->host ? account->host : domain;
    ResolveTarget targets[RESOLVE_ADDRESSES_MAX];
    Found found = { .addresses = ret_addresses };
    int n = 0;

    if (!*account->host && account->port == 0)
        n = query_srv(service, domain, targets, ELEMENTSOF(targets));
    if (n == -ENODATA) {
        snprintf(reason, LINK_REASON_MAX,
                 "%s says by its SRV record %s that it has no such service; check accounts.jid "
                 "and accounts.tls, or set accounts.host",
                 domain, service);
        return fail(ret_cause, END_CONFIG);
    }
    if (n <= 0) {
        targets[0] = (ResolveTarget){
            .port = account->port ? (uint16_t)account->port
                    : direct      ? PORT_DIRECT
                                  : PORT_STARTTLS,
        };
        snprintf(targets[0].host, sizeof(targets[0].host), "%.*s", NI_MAXHOST - 1, host);
        n = 1;
    }
    for (int i = 0; i < n; i++)
        add_addresses(&found, &targets[i], account->tls == TLS_INSECURE_NONE);
    if (found.n > 0)
        return found.n;

    if (found.foreign) {
        snprintf(reason, LINK_REASON_MAX,
                 "%s is not on this machine, and without TLS no other may be spoken to; set "
                 "accounts.tls to \"starttls\"",
                 host);
        return fail(ret_cause, END_CONFIG);
    }
    snprintf(
        reason, LINK_REASON_MAX,
        "the name %.255s was not resolved: %s; check accounts.host, or accounts.jid and the DNS",
        found.gai_host ? found.gai_host : host, gai_strerror(found.gai_error));
    return fail(ret_cause, END_NETWORK);
}
