/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "xmpprelay/stanza.h"

static void check(char *text, size_t size, const char *expected)
{
    assert_non_null(text);
    assert_int_equal(size, strlen(text));
    assert_string_equal(text, expected);
    free(text);
}

static void stanza_post_escapes_everything(void **state)
{
    size_t size;
    char *text = stanza_post("b@x", "r@x/'%\"", true, "i%d", "<a> & %s\n\"'", false, 0, &size);

    check(text, size,
          "<message to='r@x/&apos;%&quot;' type='groupchat' id='i%d'>"
          "<body>&lt;a&gt; &amp; %s\n&quot;&apos;</body>"
          "<origin-id xmlns='urn:xmpp:sid:0' id='i%d'/></message>");
}

static void stanza_post_with_delay_bears_its_stamp(void **state)
{
    size_t size;
    char *text =
        stanza_post("b@x", "a@x", false, "i", "t", false, 1700000000 * USEC_PER_SEC, &size);

    check(text, size,
          "<message to='a@x' type='chat' id='i'><body>t</body>"
          "<origin-id xmlns='urn:xmpp:sid:0' id='i'/><delay xmlns='urn:xmpp:delay' from='b@x' "
          "stamp='2023-11-14T22:13:20Z'/></message>");
}

static void stanza_post_without_style_says_so(void **state)
{
    size_t size;
    char *text = stanza_post("b@x", "r@x", true, "i", "*t*", true, 0, &size);

    check(text, size,
          "<message to='r@x' type='groupchat' id='i'><body>*t*</body>"
          "<origin-id xmlns='urn:xmpp:sid:0' id='i'/><unstyled xmlns='urn:xmpp:styling:0'/>"
          "</message>");
    text = stanza_post("b@x", "r@x", true, "i", "*t*", true, 1700000000 * USEC_PER_SEC, &size);
    check(text, size,
          "<message to='r@x' type='groupchat' id='i'><body>*t*</body>"
          "<origin-id xmlns='urn:xmpp:sid:0' id='i'/><unstyled xmlns='urn:xmpp:styling:0'/>"
          "<delay xmlns='urn:xmpp:delay' from='b@x' stamp='2023-11-14T22:13:20Z'/></message>");
}

static void stanza_join_asks_for_history_or_for_none(void **state)
{
    size_t size;
    char *text = stanza_join("r@x/n", USEC_INFINITY, &size);

    check(text, size,
          "<presence to='r@x/n'><x xmlns='http://jabber.org/protocol/muc'>"
          "<history maxstanzas='0'/></x></presence>");
    text = stanza_join("r@x/n", 300 * USEC_PER_SEC + 1, &size);
    check(text, size,
          "<presence to='r@x/n'><x xmlns='http://jabber.org/protocol/muc'>"
          "<history seconds='301'/></x></presence>");
}

#define FORM                                                                                       \
    "<x xmlns='jabber:x:data' type='submit'>"                                                      \
    "<field var='FORM_TYPE' type='hidden'><value>urn:xmpp:mam:2</value></field>"                   \
    "<field var='start'><value>2023-11-14T22:13:20Z</value></field>"
#define PAGE "</x><set xmlns='http://jabber.org/protocol/rsm'><max>50</max>"

static void stanza_archive_query_asks_for_one_page(void **state)
{
    const usec_t start = 1700000000 * USEC_PER_SEC;
    size_t size;
    char *text = stanza_archive_query("r@x", "i&", start, NULL, 50, "", &size);

    check(text, size,
          "<iq to='r@x' type='set' id='i&amp;'><query xmlns='urn:xmpp:mam:2' queryid='i&amp;'>" FORM
              PAGE "</set></query></iq>");
    text = stanza_archive_query("r@x", "i", start, NULL, 50, "<1>%", &size);
    check(text, size,
          "<iq to='r@x' type='set' id='i'><query xmlns='urn:xmpp:mam:2' queryid='i'>" FORM PAGE
          "<after>&lt;1&gt;%</after></set></query></iq>");
}

static void stanza_archive_query_may_be_for_one_contact(void **state)
{
    const usec_t start = 1700000000 * USEC_PER_SEC;
    size_t size;
    char *text = stanza_archive_query("b@x", "i", start, "a@x", 50, "", &size);

    check(text, size,
          "<iq to='b@x' type='set' id='i'><query xmlns='urn:xmpp:mam:2' queryid='i'>" FORM
          "<field var='with'><value>a@x</value></field>" PAGE "</set></query></iq>");
    text = stanza_archive_query("b@x", "i", start, "a@x", 50, "7", &size);
    check(text, size,
          "<iq to='b@x' type='set' id='i'><query xmlns='urn:xmpp:mam:2' queryid='i'>" FORM
          "<field var='with'><value>a@x</value></field>" PAGE
          "<after>7</after></set></query></iq>");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stanza_post_escapes_everything),
        cmocka_unit_test(stanza_post_with_delay_bears_its_stamp),
        cmocka_unit_test(stanza_post_without_style_says_so),
        cmocka_unit_test(stanza_join_asks_for_history_or_for_none),
        cmocka_unit_test(stanza_archive_query_asks_for_one_page),
        cmocka_unit_test(stanza_archive_query_may_be_for_one_contact),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
