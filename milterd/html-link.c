/* SPDX-License-Identifier: MIT */

#include "milterd/html-link.h"

#include <strings.h>

static bool begins(const char *href, const char *word)
{
    return strncasecmp(href, word, strlen(word)) == 0;
}

static bool is_same(const char *address, size_t length, const char *text, size_t size)
{
    while (length > 0 && address[length - 1] == '/')
        length--;
    return length == size && strncasecmp(address, text, size) == 0;
}

/* A person or a telephone: the text mostly says which, and what else is in there is for programs.
 */
static int contact_address(const char *contact, const char *text, size_t size, char **ret_address)
{
    size_t length = strcspn(contact, "?");
    _cleanup_free_ char *address = strndup(contact, length);

    if (!address)
        return -ENOMEM;
    *ret_address = length > 0 && !memmem(text, size, address, length) ? steal_ptr(address) : NULL;
    return 0;
}

int html_link_address(const char *href, const char *text, size_t size, char **ret_address)
{
    static const char *const schemes[] = { "https://www.", "http://www.", "https://", "http://" };
    bool says_same, no_host;
    char *address;

    while (size > 0 && strchr(" \n/", text[size - 1]))
        size--;
    while (size > 0 && strchr(" \n", *text)) {
        text++;
        size--;
    }
    if (begins(href, "mailto:"))
        return contact_address(href + strlen("mailto:"), text, size, ret_address);
    if (begins(href, "tel:"))
        return contact_address(href + strlen("tel:"), text, size, ret_address);

    says_same = size == 0 || is_same(href, strlen(href), text, size);
    for (size_t i = 0; i < ELEMENTSOF(schemes); i++)
        if (begins(href, schemes[i]))
            says_same = says_same || is_same(href + strlen(schemes[i]),
                                             strlen(href) - strlen(schemes[i]), text, size);
    no_host = !strstr(href, "://") && !begins(href, "www.");
    if (says_same || no_host || begins(href, "javascript:") || begins(href, "data:")) {
        *ret_address = NULL;
        return 0;
    }
    address = strdup(href);
    if (!address)
        return -ENOMEM;
    *ret_address = address;
    return 0;
}
