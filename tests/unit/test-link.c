/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include <sys/socket.h>

#include "xmpprelay/link.h"
#include "xmpprelay/outbox.h"

typedef struct Pair {
    int ours, theirs;
} Pair;

static int set_up(void **state)
{
    static Pair pair;
    int fds[2], size = 4 * LINK_PACKET_MAX;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
        return -1;
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    pair = (Pair){ fds[0], fds[1] };
    *state = &pair;
    return 0;
}

static int tear_down(void **state)
{
    Pair *pair = *state;

    close_fd(pair->ours);
    close_fd(pair->theirs);
    return 0;
}

/* Sends it through the link and hands out what comes. */
static LinkStorage *round_trip(const Pair *pair, const LinkMessage *message, LinkMessage *ret)
{
    LinkStorage *storage = NULL;

    assert_int_equal(link_send(pair->ours, message), 0);
    assert_int_equal(link_receive(pair->theirs, ret, &storage), 0);
    assert_int_equal(ret->type, message->type);
    return storage;
}

static void link_start_round_trip(void **state)
{
    static const char *pending[] = { "0123456789abcdef", "id-2" };
    static const Account account = {
        .name = (char *)"main",
        .jid = (char *)"bot@example.org",
        .password_file = (char *)"/etc/password",
        .host = (char *)"",
        .ca_file = (char *)"/etc/ca.pem",
        .port = 5222,
        .tls = TLS_DIRECT,
    };
    const LinkDestination destinations[] = {
        { .index = 4,
          .name = "ops",
          .room = "ops@rooms.example.org",
          .nick = "bot \"the\" bot",
          .since_usec = 1700000000 * USEC_PER_SEC,
          .pending = pending,
          .n_pending = 2 },
        { .index = 7, .name = "alice", .contact = "alice@example.org" },
    };
    LinkMessage got;
    LinkStorage *storage = round_trip(*state,
                                      &(LinkMessage){ .type = LINK_START,
                                                      .account = &account,
                                                      .ping_usec = 1,
                                                      .self_ping_usec = 2,
                                                      .confirm_usec = 3,
                                                      .destinations = destinations,
                                                      .n_destinations = 2 },
                                      &got);

    assert_string_equal(got.account->jid, "bot@example.org");
    assert_string_equal(got.account->password_file, "/etc/password");
    assert_null(got.account->credential);
    assert_string_equal(got.account->host, "");
    assert_int_equal(got.account->port, 5222);
    assert_int_equal(got.account->tls, TLS_DIRECT);
    assert_int_equal(got.ping_usec, 1);
    assert_int_equal(got.self_ping_usec, 2);
    assert_int_equal(got.n_destinations, 2);
    assert_int_equal(got.destinations[0].index, 4);
    assert_string_equal(got.destinations[0].nick, "bot \"the\" bot");
    assert_int_equal(got.destinations[0].since_usec, 1700000000 * USEC_PER_SEC);
    assert_int_equal(got.destinations[0].n_pending, 2);
    assert_string_equal(got.destinations[0].pending[1], "id-2");
    assert_null(got.destinations[0].contact);
    assert_null(got.destinations[1].room);
    assert_string_equal(got.destinations[1].contact, "alice@example.org");
    link_storage_free(storage);
}

static void link_others_round_trip(void **state)
{
    LinkMessage got;
    LinkStorage *storage;

    storage = round_trip(*state,
                         &(LinkMessage){ .type = LINK_POST,
                                         .destination = 3,
                                         .stanza_id = "abc",
                                         .body = "line\nline \xc3\xa4 \"<&",
                                         .unstyled = true,
                                         .delay_usec = 5 },
                         &got);
    assert_int_equal(got.destination, 3);
    assert_string_equal(got.stanza_id, "abc");
    assert_string_equal(got.body, "line\nline \xc3\xa4 \"<&");
    assert_true(got.unstyled);
    assert_int_equal(got.delay_usec, 5);
    link_storage_free(storage);

    storage = round_trip(*state,
                         &(LinkMessage){ .type = LINK_FAILED,
                                         .destination = 3,
                                         .stanza_id = "abc",
                                         .failed_kind = FAILED_FINAL,
                                         .reason = "forbidden" },
                         &got);
    assert_int_equal(got.failed_kind, FAILED_FINAL);
    assert_string_equal(got.reason, "forbidden");
    link_storage_free(storage);

    storage = round_trip(
        *state,
        &(LinkMessage){
            .type = LINK_ROOM, .destination = 1, .room_state = ROOM_READY, .nick = "bot-2" },
        &got);
    assert_int_equal(got.room_state, ROOM_READY);
    assert_string_equal(got.nick, "bot-2");
    assert_null(got.reason);
    link_storage_free(storage);

    storage = round_trip(
        *state, &(LinkMessage){ .type = LINK_STREAM, .stream_state = STREAM_ONLINE }, &got);
    assert_int_equal(got.stream_state, STREAM_ONLINE);
    link_storage_free(storage);
    storage = round_trip(
        *state, &(LinkMessage){ .type = LINK_END, .end_cause = END_AUTH, .reason = "no" }, &got);
    assert_int_equal(got.end_cause, END_AUTH);
    link_storage_free(storage);
    storage = round_trip(
        *state, &(LinkMessage){ .type = LINK_DONE, .destination = 65535, .stanza_id = "x" }, &got);
    assert_int_equal(got.destination, 65535);
    link_storage_free(storage);
    link_storage_free(round_trip(*state, &(LinkMessage){ .type = LINK_BEAT }, &got));
    link_storage_free(round_trip(*state, &(LinkMessage){ .type = LINK_QUIT }, &got));
}

/* As snprintf() leaves it, and with what a terminal would obey. */
static void link_reason_is_made_clean(void **state)
{
    _cleanup_(link_storage_freep) LinkStorage *storage = NULL;
    LinkMessage got;

    storage = round_trip(
        *state, &(LinkMessage){ .type = LINK_END, .reason = "no:\n\x1b[2J \xe2\x82\xac\xe2\x82" },
        &got);
    assert_string_equal(got.reason, "no: [2J \xe2\x82\xac\xef\xbf\xbd");
}

static void link_long_reason_is_cut_between_characters(void **state)
{
    char reason[2 * LINK_REASON_MAX];
    LinkMessage got;
    LinkStorage *storage;

    for (size_t i = 0; i + 1 < sizeof(reason); i += 3)
        memcpy(reason + i, "\xe2\x82\xac", 3);
    reason[sizeof(reason) - 1] = '\0';
    storage = round_trip(*state, &(LinkMessage){ .type = LINK_END, .reason = reason }, &got);
    assert_int_equal(strlen(got.reason), LINK_REASON_MAX / 3 * 3);
    link_storage_free(storage);
}

static void link_too_large_is_refused(void **state)
{
    const Pair *pair = *state;
    char *body = malloc(LINK_PACKET_MAX + 1);

    assert_non_null(body);
    memset(body, 'x', LINK_PACKET_MAX);
    body[LINK_PACKET_MAX] = '\0';
    assert_int_equal(
        link_send(pair->ours, &(LinkMessage){ .type = LINK_POST, .stanza_id = "x", .body = body }),
        -EMSGSIZE);
    body[LINK_PACKET_MAX - 200] = '\0';
    assert_int_equal(
        link_send(pair->ours, &(LinkMessage){ .type = LINK_POST, .stanza_id = "x", .body = body }),
        0);
    free(body);
}

static void link_nothing_there_and_the_end_are_told_apart(void **state)
{
    Pair *pair = *state;
    LinkStorage *storage = NULL;
    LinkMessage got;

    assert_int_equal(link_receive(pair->theirs, &got, &storage), -EAGAIN);
    assert_int_equal(link_send(pair->ours, &(LinkMessage){ .type = LINK_BEAT }), 0);
    pair->ours = close_fd(pair->ours);
    assert_int_equal(link_receive(pair->theirs, &got, &storage), 0);
    link_storage_free(storage);
    assert_int_equal(link_receive(pair->theirs, &got, &storage), -EPIPE);
    assert_int_equal(link_send(pair->theirs, &(LinkMessage){ .type = LINK_BEAT }), -EPIPE);
}

static void link_garbage_is_refused(void **state)
{
    static const char *const packets[] = {
        "x",
        "{}",
        "null",
        "[]",
        "{\"type\":1}",
        "{\"type\":\"bea\"}",
        "{\"type\":\"beat\",\"more\":1}",
        "{\"type\":\"beat\"}x",
        "{\"type\":\"beat\",\"type\":\"beat\"}",
        "{\"type\":\"end\"}",
        "{\"type\":\"end\",\"cause\":-1}",
        "{\"type\":\"end\",\"cause\":8}",
        "{\"type\":\"end\",\"cause\":1.0}",
        "{\"type\":\"end\",\"cause\":\"1\"}",
        "{\"type\":\"end\",\"cause\":18446744073709551617}",
        "{\"type\":\"end\",\"cause\":1,\"reason\":1}",
        "{\"type\":\"stream\",\"state\":2}",
        "{\"type\":\"room\",\"state\":3,\"destination\":0}",
        "{\"type\":\"room\",\"state\":1,\"destination\":65536}",
        "{\"type\":\"room\",\"state\":1,\"destination\":-1}",
        "{\"type\":\"done\",\"destination\":0}",
        "{\"type\":\"done\",\"destination\":0,\"id\":\"\"}",
        "{\"type\":\"done\",\"destination\":0,\"id\":\"a b\"}",
        "{\"type\":\"done\",\"destination\":0,\"id\":\"\\u00e4\"}",
        "{\"type\":\"done\",\"destination\":0,\"id\":"
        "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}",
        "{\"type\":\"done\",\"destination\":0,\"id\":\"a\\u0000b\"}",
        "{\"type\":\"done\",\"destination\":0,\"id\":\"a\",\"body\":\"b\"}",
        "{\"type\":\"failed\",\"destination\":0,\"id\":\"a\",\"kind\":3}",
        "{\"type\":\"post\",\"destination\":0,\"id\":\"a\",\"body\":\"b\"}",
        "{\"type\":\"post\",\"destination\":0,\"id\":\"a\",\"body\":\"b\",\"unstyled\":true,"
        "\"delay\":-1}",
        "{\"type\":\"post\",\"destination\":0,\"id\":\"a\",\"body\":\"b\",\"unstyled\":1,\"delay\":0}",
        "{\"type\":\"post\",\"destination\":0,\"id\":\"a\",\"body\":null,\"unstyled\":true,"
        "\"delay\":0}",
        "{\"type\":\"start\"}",
        "{\"type\":\"start\",\"ping\":1,\"self_ping\":1,\"confirm\":1,\"account\":{},"
        "\"destinations\":[]}",
    };
    const Pair *pair = *state;

    for (size_t i = 0; i < ELEMENTSOF(packets); i++) {
        LinkStorage *storage = NULL;
        LinkMessage got;

        assert_int_equal(send(pair->ours, packets[i], strlen(packets[i]), 0), strlen(packets[i]));
        if (link_receive(pair->theirs, &got, &storage) != -EBADMSG)
            fail_msg("accepted: %s", packets[i]);
    }
}

static void send_start(const Pair *pair, const char *destination)
{
    char text[4096];
    int n = snprintf(text, sizeof(text),
                     "{\"type\":\"start\",\"ping\":1,\"self_ping\":1,\"confirm\":1,\"account\":"
                     "{\"name\":\"a\",\"jid\":\"a@b\",\"password_file\":\"/p\",\"host\":\"\","
                     "\"port\":0,\"tls\":0,\"ca_file\":\"\"},\"destinations\":[%s]}",
                     destination);

    assert_int_equal(send(pair->ours, text, (size_t)n, 0), n);
}

static void link_start_with_odd_destinations_is_refused(void **state)
{
    static const char *const destinations[] = {
        "1",
        "{}",
        "{\"index\":0,\"name\":\"x\",\"since\":0,\"pending\":[]}",
        "{\"index\":0,\"name\":\"x\",\"since\":0,\"pending\":[],\"room\":\"r\"}",
        "{\"index\":0,\"name\":\"x\",\"since\":0,\"pending\":[],\"room\":\"r\",\"nick\":\"n\","
        "\"contact\":\"c\"}",
        "{\"index\":0,\"name\":\"x\",\"since\":0,\"pending\":[1],\"contact\":\"c\"}",
        "{\"index\":0,\"name\":\"x\",\"since\":0,\"pending\":[\"a\",\"a b\"],\"contact\":\"c\"}",
        "{\"index\":0,\"name\":\"x\",\"since\":0,\"pending\":{},\"contact\":\"c\"}",
        "{\"index\":0,\"name\":\"x\",\"since\":0,\"pending\":[],\"contact\":\"c\",\"y\":0}",
    };
    const Pair *pair = *state;
    LinkStorage *storage = NULL;
    LinkMessage got;

    send_start(pair,
               "{\"index\":0,\"name\":\"x\",\"since\":0,\"pending\":[\"a\"],\"contact\":\"c\"}");
    assert_int_equal(link_receive(pair->theirs, &got, &storage), 0);
    link_storage_free(storage);
    for (size_t i = 0; i < ELEMENTSOF(destinations); i++) {
        send_start(pair, destinations[i]);
        if (link_receive(pair->theirs, &got, &storage) != -EBADMSG)
            fail_msg("accepted: %s", destinations[i]);
    }
}

static void outbox_keeps_order_when_the_link_is_full(void **state)
{
    const Pair *pair = *state;
    Outbox outbox = {};
    unsigned sent = 0, received = 0;
    char id[16];

    for (; sent < 5000; sent++) {
        snprintf(id, sizeof(id), "id-%u", sent);
        assert_int_equal(
            outbox_send(&outbox, pair->ours, &(LinkMessage){ .type = LINK_DONE, .stanza_id = id }),
            0);
    }
    assert_non_null(outbox.head);
    for (;;) {
        LinkStorage *storage = NULL;
        LinkMessage got;
        int r = link_receive(pair->theirs, &got, &storage);

        if (r == -EAGAIN) {
            if (!outbox.head)
                break;
            r = outbox_flush(&outbox, pair->ours);
            assert_true(r == 0 || r == -EAGAIN);
            continue;
        }
        assert_int_equal(r, 0);
        snprintf(id, sizeof(id), "id-%u", received++);
        assert_string_equal(got.stanza_id, id);
        link_storage_free(storage);
    }
    assert_int_equal(received, sent);
    outbox_free_entries(&outbox);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(link_start_round_trip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(link_others_round_trip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(link_reason_is_made_clean, set_up, tear_down),
        cmocka_unit_test_setup_teardown(link_long_reason_is_cut_between_characters, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(link_too_large_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(link_nothing_there_and_the_end_are_told_apart, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(link_garbage_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(link_start_with_odd_destinations_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(outbox_keeps_order_when_the_link_is_full, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
