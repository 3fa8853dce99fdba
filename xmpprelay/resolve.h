/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Where the server of an account can be reached: SRV (RFC 6120 section 3.2, XEP-0368 for direct
 * TLS), then addresses. libstrophe tries the first address only, and never another target when
 * the first does not answer; so it is given one address after the other from here.
 */

#include "xmpprelay/link.h"

#include <netdb.h>

#define RESOLVE_ADDRESSES_MAX 8

typedef struct ResolvedAddress {
    char host[NI_MAXHOST]; /* numeric */
    uint16_t port;
} ResolvedAddress;

/* Blocks on DNS. Fills at most RESOLVE_ADDRESSES_MAX addresses, in the order to be tried, and
 * returns how many (never 0); or -EHOSTUNREACH with *ret_cause (END_NETWORK or END_CONFIG) and
 * the `reason`. For TLS_INSECURE_NONE only loopback addresses will do. */
int resolve_account(const Account *account, const char *domain,
                    ResolvedAddress ret_addresses[static RESOLVE_ADDRESSES_MAX],
                    EndCause *ret_cause, char reason[static LINK_REASON_MAX]);

/* One target of an SRV answer. */
typedef struct ResolveTarget {
    char host[NI_MAXHOST];
    uint16_t port, priority, weight;
} ResolveTarget;

/* Reads the targets out of a DNS answer, at most `max`, ordered as RFC 2782 says by priority
 * and, with `random` for chance, weight. Returns how many, 0 for an answer without any,
 * -ENODATA when the domain says that it has none (a single target "."), -EBADMSG. */
int resolve_parse_srv(const uint8_t *answer, size_t size, uint32_t random, ResolveTarget *targets,
                      size_t max);
