/* SPDX-License-Identifier: MIT */

/*
 * A mail is local when a process on the MTA's own host has handed it over by sendmail(1). There is
 * no client then: Sendmail tells no address, Postfix makes one up, on loopback and without a port.
 * Behind a proxy or on a UNIX socket an SMTP client may look the same; but an SMTP server looks up
 * its client's name, and tells what came of that to all who ask. No sender can help either.
 */

#include "milterd/origin.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "milterd/macro.h"

static bool is_made_up(const struct sockaddr *address)
{
    if (!address)
        return true;
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;

        return in->sin_port == 0 && in->sin_addr.s_addr == htonl(INADDR_LOOPBACK);
    }
    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)address;

        return in6->sin6_port == 0 && IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
    }
    return false;
}

static int set_client(Mail *mail, const char *name, const struct sockaddr *address)
{
    char text[INET6_ADDRSTRLEN] = "";

    if (address && address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;

        inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
    } else if (address && address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)address;

        if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
            inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], text, sizeof(text));
        else
            inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
    }
    return mail_set_client(mail, text[0] != '\0' ? text : NULL, name);
}

int origin_set(Mail *mail, const char *name, const struct sockaddr *address, bool asked)
{
    mail->submitted = streq(name, "localhost") && is_made_up(address);
    mail->local = asked && mail->submitted && !mail_macro(mail, MACRO_RESOLVED);
    return set_client(mail, name, address);
}
