/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "xmpprelay/dispatch.h"

#include <stdio.h>

#define SECOND USEC_PER_SEC
#define WINDOW 4
#define N_DESTINATIONS 3
#define STORE_MAX 64

/* Destinations 0 and 1 share account 0, destination 2 has account 1. */
static const size_t accounts[N_DESTINATIONS] = { 0, 0, 1 };

static const DispatchLimits limits = {
    .window = WINDOW,
    .confirm_usec = 30 * SECOND,
    .backoff_usec = SECOND,
    .backoff_cap_usec = 8 * SECOND,
};

/* The spool and the sessions, as a dispatch sees them. */
typedef struct World {
    Dispatch *dispatch;
    usec_t now;
    struct {
        size_t destination;
        EntryState state;
        unsigned suspicion;
        usec_t sent_usec;
    } store[STORE_MAX]; /* by seq; 0 is none */
    int64_t last_seq;
    int post_result[N_DESTINATIONS];
    char posted[512]; /* "d:seq " for each post */
} World;

static int world_setup(void **state)
{
    World *world = calloc(1, sizeof(*world));

    assert_non_null(world);
    world->now = 1000 * SECOND;
    assert_int_equal(dispatch_new(&limits, accounts, N_DESTINATIONS, &world->dispatch), 0);
    *state = world;
    return 0;
}

static int world_teardown(void **state)
{
    World *world = *state;

    dispatch_free(world->dispatch);
    free(world);
    return 0;
}

static const char *stanza_of(int64_t seq)
{
    static char id[SPOOL_STANZA_ID_SIZE];

    snprintf(id, sizeof(id), "stanza-%d", (int)seq);
    return id;
}

static void accept(World *world, size_t destination, unsigned n)
{
    while (n-- > 0) {
        assert_true(++world->last_seq < STORE_MAX);
        world->store[world->last_seq].destination = destination;
    }
    dispatch_grown(world->dispatch, destination);
}

static int write_down(size_t destination, const DispatchEntry *entry, void *userdata)
{
    World *world = userdata;

    if (entry->suspicion_changed)
        world->store[entry->seq].suspicion = entry->suspicion;
    if (entry->state == DISPATCH_SETTLED)
        world->store[entry->seq].state = entry->delivered ? ENTRY_DELIVERED : ENTRY_FAILED;
    return 0;
}

static void fill(World *world, size_t destination)
{
    int64_t after;
    size_t max;

    while (dispatch_wants(world->dispatch, destination, &after, &max)) {
        size_t n = 0;

        for (int64_t seq = after + 1; seq <= world->last_seq && n < max; seq++) {
            SpoolEntry entry = {
                .seq = seq,
                .stanza_id = stanza_of(seq),
                .state = world->store[seq].state,
                .suspicion = world->store[seq].suspicion,
                .sent_usec = world->store[seq].sent_usec,
            };

            if (world->store[seq].destination != destination || entry.state > ENTRY_SENT)
                continue;
            n++;
            if (dispatch_add(world->dispatch, destination, &entry) != 0)
                break;
        }
        dispatch_filled(world->dispatch, destination, n, max);
    }
}

typedef struct Chosen {
    size_t n;
    size_t destination[32];
    int64_t seq[32];
} Chosen;

static int collect_chosen(size_t destination, const DispatchEntry *entry, void *userdata)
{
    Chosen *chosen = userdata;

    if (entry->state == DISPATCH_CHOSEN) {
        assert_true(chosen->n < ELEMENTSOF(chosen->seq));
        chosen->destination[chosen->n] = destination;
        chosen->seq[chosen->n++] = entry->seq;
    }
    return 0;
}

/* One turn; what was posted is in `posted` then. */
static const char *turn(World *world)
{
    Chosen chosen = {};

    world->posted[0] = '\0';
    dispatch_each(world->dispatch, write_down, world);
    for (size_t i = 0; i < N_DESTINATIONS; i++)
        fill(world, i);
    dispatch_choose(world->dispatch, world->now, world->now);
    dispatch_each(world->dispatch, collect_chosen, &chosen);
    for (size_t i = 0; i < chosen.n; i++) {
        world->store[chosen.seq[i]].state = ENTRY_SENT;
        if (world->store[chosen.seq[i]].sent_usec == 0)
            world->store[chosen.seq[i]].sent_usec = world->now;
    }
    dispatch_committed(world->dispatch);
    for (size_t i = 0; i < chosen.n; i++) {
        size_t used = strlen(world->posted);
        int r = world->post_result[chosen.destination[i]];

        dispatch_posted(world->dispatch, chosen.destination[i], chosen.seq[i], r, NULL, world->now);
        if (r == 0)
            snprintf(world->posted + used, sizeof(world->posted) - used, "%zu:%d ",
                     chosen.destination[i], (int)chosen.seq[i]);
    }
    return world->posted;
}

static void done(World *world, size_t destination, int64_t seq)
{
    assert_true(dispatch_done(world->dispatch, destination, stanza_of(seq)));
}

static void failed(World *world, size_t destination, int64_t seq, FailedKind kind)
{
    assert_true(dispatch_failed(world->dispatch, destination, stanza_of(seq), kind, "because",
                                world->now, 0));
}

static size_t n_pending(const World *world, size_t destination)
{
    char ids[WINDOW][SPOOL_STANZA_ID_SIZE];
    usec_t since_usec;

    return dispatch_pending(world->dispatch, destination, ids, WINDOW, &since_usec);
}

static void dispatch_not_ready_posts_nothing(void **state)
{
    World *world = *state;

    accept(world, 0, 2);
    assert_string_equal(turn(world), "");
    assert_int_equal(n_pending(world, 0), 0);
    dispatch_ready(world->dispatch, 0);
    assert_string_equal(turn(world), "0:1 0:2 ");
    assert_string_equal(turn(world), "");
}

static void dispatch_window_holds_the_lowest_undelivered(void **state)
{
    World *world = *state;

    accept(world, 0, 7);
    dispatch_ready(world->dispatch, 0);
    assert_string_equal(turn(world), "0:1 0:2 0:3 0:4 ");
    done(world, 0, 2);
    assert_string_equal(turn(world), "0:5 ");
    done(world, 0, 1);
    done(world, 0, 3);
    assert_string_equal(turn(world), "0:6 0:7 ");
    accept(world, 0, 1);
    assert_string_equal(turn(world), "");
    assert_int_equal(dispatch_n_in_flight(world->dispatch, 0), WINDOW);
    assert_int_equal(world->store[3].state, ENTRY_DELIVERED);
}

static void dispatch_destinations_do_not_wait_for_each_other(void **state)
{
    World *world = *state;

    accept(world, 0, 5);
    accept(world, 1, 1);
    accept(world, 2, 1);
    dispatch_ready(world->dispatch, 1);
    dispatch_ready(world->dispatch, 2);
    assert_string_equal(turn(world), "1:6 2:7 ");
}

static void dispatch_unknown_id_is_no_proof(void **state)
{
    World *world = *state;

    accept(world, 0, 1);
    dispatch_ready(world->dispatch, 0);
    turn(world);
    assert_false(dispatch_done(world->dispatch, 0, "stanza-9"));
    assert_false(dispatch_done(world->dispatch, 1, stanza_of(1)));
    done(world, 0, 1);
    assert_false(dispatch_done(world->dispatch, 0, stanza_of(1)));
    assert_false(
        dispatch_failed(world->dispatch, 0, stanza_of(1), FAILED_FINAL, "late", world->now, 0));
    turn(world);
    assert_int_equal(world->store[1].state, ENTRY_DELIVERED);
}

/* Three are in flight, the session is lost; the history has the second. */
static void dispatch_lost_session_asks_then_posts_the_rest_first(void **state)
{
    World *world = *state;
    char ids[WINDOW][SPOOL_STANZA_ID_SIZE];
    usec_t since_usec = 0;

    accept(world, 0, 3);
    dispatch_ready(world->dispatch, 0);
    turn(world);
    world->now += SECOND;
    dispatch_lost(world->dispatch, 0, END_NETWORK, world->now);
    accept(world, 0, 1);
    assert_string_equal(turn(world), "");

    assert_int_equal(dispatch_pending(world->dispatch, 0, ids, WINDOW, &since_usec), 3);
    assert_string_equal(ids[0], "stanza-1");
    assert_string_equal(ids[2], "stanza-3");
    assert_int_equal(since_usec, 1000 * SECOND);
    done(world, 0, 2);
    assert_string_equal(turn(world), "");
    dispatch_ready(world->dispatch, 0);
    assert_string_equal(turn(world), "0:1 0:3 0:4 ");
    assert_int_equal(world->store[1].suspicion, 0);
}

/* A new daemon finds what the last one had in flight. */
static void dispatch_sent_in_the_spool_is_of_unknown_fate(void **state)
{
    World *world = *state;

    accept(world, 0, 3);
    world->store[1].state = world->store[2].state = ENTRY_SENT;
    world->store[1].sent_usec = 7;
    assert_string_equal(turn(world), "");
    assert_int_equal(n_pending(world, 0), 2);
    done(world, 0, 1);
    dispatch_ready(world->dispatch, 0);
    assert_string_equal(turn(world), "0:2 0:3 ");
}

static void dispatch_failed_wait_backs_off_and_goes_on_with_the_same(void **state)
{
    World *world = *state;

    accept(world, 0, 4);
    accept(world, 1, 1);
    dispatch_ready(world->dispatch, 0);
    assert_string_equal(turn(world), "0:1 0:2 0:3 0:4 ");
    done(world, 0, 1);
    for (int64_t seq = 2; seq <= 4; seq++)
        failed(world, 0, seq, FAILED_WAIT);
    assert_string_equal(turn(world), "");
    assert_int_equal(dispatch_wake_usec(world->dispatch), world->now + SECOND);

    /* the neighbour is not held up */
    dispatch_ready(world->dispatch, 1);
    assert_string_equal(turn(world), "1:5 ");

    world->now += SECOND;
    assert_string_equal(turn(world), "0:2 0:3 ");
    failed(world, 0, 2, FAILED_WAIT);
    failed(world, 0, 3, FAILED_WAIT);
    world->now += SECOND;
    assert_string_equal(turn(world), ""); /* two seconds now */
    world->now += SECOND;
    assert_string_equal(turn(world), "0:2 ");
    done(world, 0, 2);
    assert_string_equal(turn(world), "0:3 0:4 "); /* patience is over by and by */
}

/* A wait that is over must not ask for turn after turn while there is no room to post. */
static void dispatch_failed_wait_that_is_over_wakes_no_more(void **state)
{
    World *world = *state;

    accept(world, 0, 4);
    dispatch_ready(world->dispatch, 0);
    assert_string_equal(turn(world), "0:1 0:2 0:3 0:4 ");
    failed(world, 0, 4, FAILED_WAIT);
    world->now += 2 * SECOND;
    assert_string_equal(turn(world), ""); /* three in flight, two may be */
    assert_int_equal(dispatch_wake_usec(world->dispatch), world->now + 28 * SECOND);

    done(world, 0, 1);
    done(world, 0, 2);
    assert_string_equal(turn(world), "0:4 ");
    failed(world, 0, 4, FAILED_WAIT);
    assert_int_equal(dispatch_wake_usec(world->dispatch), world->now + SECOND);
}

static void dispatch_failed_final_is_set_aside_and_blocks_nothing(void **state)
{
    World *world = *state;

    accept(world, 0, 5);
    dispatch_ready(world->dispatch, 0);
    turn(world);
    failed(world, 0, 1, FAILED_FINAL);
    assert_true(dispatch_is_dirty(world->dispatch));
    assert_string_equal(turn(world), "0:5 ");
    assert_false(dispatch_is_dirty(world->dispatch));
    assert_int_equal(world->store[1].state, ENTRY_FAILED);
}

static void dispatch_failed_rejoin_waits_for_the_room(void **state)
{
    World *world = *state;

    accept(world, 0, 2);
    dispatch_ready(world->dispatch, 0);
    turn(world);
    failed(world, 0, 1, FAILED_REJOIN);
    accept(world, 0, 1);
    assert_string_equal(turn(world), "");
    dispatch_lost(world->dispatch, 0, END_NETWORK, world->now);
    assert_int_equal(n_pending(world, 0), 2);
    dispatch_ready(world->dispatch, 0);
    assert_string_equal(turn(world), "0:1 0:2 0:3 ");
}

/* The second of three ends the stream each time it is posted. */
static void dispatch_poison_is_found_and_set_aside(void **state)
{
    World *world = *state;
    unsigned ends = 1;

    accept(world, 0, 3);
    dispatch_ready(world->dispatch, 0);
    assert_string_equal(turn(world), "0:1 0:2 0:3 ");
    dispatch_lost(world->dispatch, 0, END_POISON, world->now);
    turn(world);
    assert_int_equal(world->store[1].suspicion, 1);
    assert_int_equal(world->store[3].suspicion, 1);

    dispatch_ready(world->dispatch, 0);
    assert_string_equal(turn(world), "0:1 ");
    assert_string_equal(turn(world), "");
    done(world, 0, 1);
    for (; ends < 5 && world->store[2].state <= ENTRY_SENT; ends++) {
        assert_string_equal(turn(world), "0:2 ");
        dispatch_lost(world->dispatch, 0, END_POISON, world->now);
        turn(world);
        dispatch_ready(world->dispatch, 0);
    }
    assert_int_equal(ends, 3);
    assert_int_equal(world->store[2].state, ENTRY_FAILED);
    assert_string_equal(turn(world), "0:3 ");
    done(world, 0, 3);
    accept(world, 0, 2);
    assert_string_equal(turn(world), "0:4 0:5 "); /* together again */
}

/* The stream belongs to the account: its other destinations keep still while a suspect is out. */
static void dispatch_suspect_is_alone_in_its_account(void **state)
{
    World *world = *state;

    accept(world, 0, 1);
    accept(world, 1, 2);
    accept(world, 2, 1);
    for (size_t i = 0; i < N_DESTINATIONS; i++)
        dispatch_ready(world->dispatch, i);
    turn(world);
    dispatch_lost(world->dispatch, 0, END_POISON, world->now);
    dispatch_lost(world->dispatch, 1, END_POISON, world->now);
    accept(world, 2, 1);
    dispatch_ready(world->dispatch, 1);
    assert_string_equal(turn(world), "1:2 2:5 ");
    dispatch_ready(world->dispatch, 0);
    assert_string_equal(turn(world), "");
    done(world, 1, 2);
    assert_string_equal(turn(world), "0:1 ");
    done(world, 0, 1);
    assert_string_equal(turn(world), "1:3 ");
    assert_int_equal(world->store[4].suspicion, 0);
}

static void dispatch_innocent_suspect_is_delivered(void **state)
{
    World *world = *state;

    accept(world, 0, 2);
    dispatch_ready(world->dispatch, 0);
    turn(world);
    dispatch_lost(world->dispatch, 0, END_POISON, world->now);
    done(world, 0, 1); /* by the history */
    turn(world);
    assert_int_equal(world->store[1].state, ENTRY_DELIVERED);
    for (int i = 0; i < 10; i++) { /* a bad line is no guilt */
        dispatch_ready(world->dispatch, 0);
        assert_string_equal(turn(world), "0:2 ");
        dispatch_lost(world->dispatch, 0, END_NETWORK, world->now);
        assert_string_equal(turn(world), "");
    }
    assert_int_equal(world->store[2].suspicion, 1);
}

/* A server that takes messages in the order in which they were posted, and cuts the connection
 * upon those of `poison`, which ends with 0; or upon all. Sessions follow one another until nothing
 * is posted any more, at most `max` of them; returns how many there were. */
typedef struct CuttingServer {
    const int64_t *poison;
    bool cuts_all;
    char arrived[256]; /* "seq " for each message, in order */
} CuttingServer;

static bool is_poison(const CuttingServer *server, int64_t seq)
{
    for (const int64_t *poison = server->poison; poison && *poison; poison++)
        if (*poison == seq)
            return true;
    return server->cuts_all;
}

/* False: the connection was cut. */
static bool serve(World *world, CuttingServer *server, const char *posted)
{
    size_t destination;
    int seq, n;

    for (; sscanf(posted, "%zu:%d %n", &destination, &seq, &n) == 2; posted += n) {
        if (is_poison(server, seq))
            return false;
        done(world, destination, seq);
        snprintf(server->arrived + strlen(server->arrived),
                 sizeof(server->arrived) - strlen(server->arrived), "%d ", seq);
    }
    return true;
}

static unsigned run_sessions(World *world, CuttingServer *server, unsigned max)
{
    char posted[sizeof(world->posted)];
    unsigned n = 0;

    while (n < max) {
        bool alive = true;

        n++;
        for (size_t i = 0; i < N_DESTINATIONS; i++)
            dispatch_ready(world->dispatch, i);
        while (alive && *turn(world)) {
            strcpy(posted, world->posted);
            alive = serve(world, server, posted);
        }
        if (alive)
            break;
        world->now += SECOND;
        for (size_t i = 0; i < N_DESTINATIONS; i++)
            dispatch_lost(world->dispatch, i, END_NETWORK, world->now);
        world->now += 60 * SECOND;
    }
    return n;
}

static void dispatch_message_that_cuts_is_set_aside_once_others_arrive(void **state)
{
    World *world = *state;
    CuttingServer server = { .poison = (int64_t[]){ 2, 0 } };

    accept(world, 0, 6);
    assert_in_range(run_sessions(world, &server, 100), 5, 7);
    assert_int_equal(world->store[2].state, ENTRY_FAILED);
    assert_string_equal(server.arrived, "1 3 4 5 6 ");
    accept(world, 0, 2);
    dispatch_ready(world->dispatch, 0);
    assert_string_equal(turn(world), "0:7 0:8 "); /* together again */
}

static void dispatch_two_messages_that_cut_are_set_aside(void **state)
{
    World *world = *state;
    CuttingServer server = { .poison = (int64_t[]){ 1, 5, 0 } };

    accept(world, 0, 4);
    accept(world, 1, 4);
    assert_in_range(run_sessions(world, &server, 100), 6, 12);
    assert_int_equal(world->store[1].state, ENTRY_FAILED);
    assert_int_equal(world->store[5].state, ENTRY_FAILED);
    assert_int_equal(strlen(server.arrived), strlen("2 3 4 6 7 8 "));
}

static void dispatch_message_that_cuts_and_is_alone_holds_up_nothing(void **state)
{
    World *world = *state;
    CuttingServer server = { .poison = (int64_t[]){ 1, 0 } };

    accept(world, 0, 1);
    assert_int_equal(run_sessions(world, &server, 20), 20);
    assert_int_equal(world->store[1].state, ENTRY_SENT);
    accept(world, 0, 1);
    assert_int_equal(run_sessions(world, &server, 1), 1);
    assert_string_equal(server.arrived, "2 ");
    accept(world, 0, 1);
    assert_int_equal(run_sessions(world, &server, 20), 2);
    assert_string_equal(server.arrived, "2 3 ");
    assert_int_equal(world->store[1].state, ENTRY_FAILED);
}

/* One message upon which the connection was cut often enough, alone, that it stands back. */
static void make_stand_back(World *world, CuttingServer *server)
{
    accept(world, 0, 1);
    assert_int_equal(run_sessions(world, server, 5), 5);
    assert_int_equal(world->store[1].suspicion, 0);
}

static void dispatch_message_that_cuts_waits_for_slower_rooms(void **state)
{
    World *world = *state;
    CuttingServer server = { .poison = (int64_t[]){ 1, 0 } };

    make_stand_back(world, &server);
    accept(world, 1, 1);
    dispatch_ready(world->dispatch, 0);
    assert_string_equal(turn(world), "");
    world->now += 10 * SECOND;
    assert_string_equal(turn(world), "");
    dispatch_ready(world->dispatch, 1);
    assert_string_equal(turn(world), "1:2 ");
    done(world, 1, 2);
    assert_string_equal(turn(world), "0:1 ");
}

static void dispatch_message_that_cuts_does_not_wait_long_for_a_room(void **state)
{
    World *world = *state;
    CuttingServer server = { .poison = (int64_t[]){ 1, 0 } };

    make_stand_back(world, &server);
    accept(world, 1, 1);
    dispatch_ready(world->dispatch, 0);
    assert_string_equal(turn(world), "");
    assert_int_equal(dispatch_wake_usec(world->dispatch), world->now + 30 * SECOND);
    world->now += 30 * SECOND;
    assert_string_equal(turn(world), "0:1 ");
    done(world, 0, 1);
    turn(world);
    assert_int_equal(dispatch_wake_usec(world->dispatch), USEC_INFINITY);
    assert_int_equal(world->store[1].state, ENTRY_DELIVERED);
}

/* The room is left first, then its session ends, which nobody is told of. */
static void dispatch_arrival_of_an_earlier_session_proves_nothing(void **state)
{
    World *world = *state;
    CuttingServer server = { .poison = (int64_t[]){ 1, 0 } };

    make_stand_back(world, &server);
    accept(world, 0, 1);
    dispatch_ready(world->dispatch, 0);
    assert_string_equal(turn(world), "0:2 ");
    done(world, 0, 2);
    dispatch_lost(world->dispatch, 0, END_QUIT, world->now);
    turn(world);

    dispatch_ready(world->dispatch, 0);
    assert_string_equal(turn(world), "0:1 ");
    dispatch_lost(world->dispatch, 0, END_NETWORK, world->now);
    dispatch_ready(world->dispatch, 0);
    turn(world);
    assert_int_equal(world->store[1].suspicion, 0);
}

static void dispatch_line_that_cuts_all_sets_nothing_aside(void **state)
{
    World *world = *state;
    CuttingServer server = { .cuts_all = true };

    accept(world, 0, 3);
    accept(world, 1, 3);
    assert_int_equal(run_sessions(world, &server, 200), 200);
    server.cuts_all = false;
    assert_int_equal(run_sessions(world, &server, 2), 1);
    for (int64_t seq = 1; seq <= 6; seq++) {
        assert_int_equal(world->store[seq].state, ENTRY_DELIVERED);
        assert_int_equal(world->store[seq].suspicion, 0);
    }
}

/* Up to two are cut in a row, whichever they are; all arrive, each destination's in order. */
static void dispatch_line_that_cuts_now_and_then_keeps_the_order(void **state)
{
    World *world = *state;
    CuttingServer server = {};

    accept(world, 0, 12);
    for (int64_t seq = 1; seq <= 12; seq += 3) {
        server.poison = (int64_t[]){ seq, 0 };
        run_sessions(world, &server, 3);
        server.poison = NULL;
        run_sessions(world, &server, 1);
    }
    assert_string_equal(server.arrived, "1 2 3 4 5 6 7 8 9 10 11 12 ");
}

static void dispatch_cut_that_comes_late_is_no_suspicion(void **state)
{
    World *world = *state;

    accept(world, 0, 2);
    for (int i = 0; i < 20; i++) {
        dispatch_ready(world->dispatch, 0);
        assert_string_equal(turn(world), "0:1 0:2 ");
        world->now += DISPATCH_SOON_USEC + SECOND;
        dispatch_lost(world->dispatch, 0, END_NETWORK, world->now);
    }
    /* nor one that the room was left in */
    for (int i = 0; i < 20; i++) {
        dispatch_ready(world->dispatch, 0);
        assert_string_equal(turn(world), "0:1 0:2 ");
        dispatch_lost(world->dispatch, 0, END_QUIT, world->now);
    }
}

static void dispatch_missing_echo_gives_the_session_up(void **state)
{
    World *world = *state;
    size_t destination = 99;

    accept(world, 0, 2);
    dispatch_ready(world->dispatch, 0);
    turn(world);
    world->now += 29 * SECOND;
    assert_false(dispatch_overdue(world->dispatch, world->now, &destination));
    assert_int_equal(dispatch_wake_usec(world->dispatch), world->now + SECOND);
    world->now += SECOND;
    assert_true(dispatch_overdue(world->dispatch, world->now, &destination));
    assert_int_equal(destination, 0);
    assert_false(dispatch_overdue(world->dispatch, world->now, &destination));
    dispatch_lost(world->dispatch, 0, END_NETWORK, world->now);
    assert_int_equal(n_pending(world, 0), 2);
    assert_int_equal(dispatch_wake_usec(world->dispatch), USEC_INFINITY);
}

/* A room that swallows one message for ever must not hold up the others for ever. */
static void dispatch_swallowed_message_is_set_aside_at_last(void **state)
{
    World *world = *state;
    size_t destination;
    unsigned rounds = 0;

    accept(world, 0, 2);
    dispatch_ready(world->dispatch, 0);
    turn(world);
    done(world, 0, 2);
    turn(world);
    for (; rounds < 20 && world->store[1].state <= ENTRY_SENT; rounds++) {
        world->now += 30 * SECOND;
        assert_true(dispatch_overdue(world->dispatch, world->now, &destination));
        dispatch_lost(world->dispatch, 0, END_NETWORK, world->now);
        turn(world);
        dispatch_ready(world->dispatch, 0);
        turn(world);
    }
    assert_int_equal(world->store[1].state, ENTRY_FAILED);
    assert_in_range(rounds, 3, 6);
}

static void dispatch_paused_posts_nothing_but_hears(void **state)
{
    World *world = *state;

    accept(world, 0, 1);
    dispatch_ready(world->dispatch, 0);
    turn(world);
    dispatch_set_paused(world->dispatch, 0, true);
    accept(world, 0, 1);
    done(world, 0, 1);
    assert_string_equal(turn(world), "");
    assert_int_equal(world->store[1].state, ENTRY_DELIVERED);
    dispatch_set_paused(world->dispatch, 0, false);
    assert_string_equal(turn(world), "0:2 ");
}

static void dispatch_slow_session_stops_its_account_only(void **state)
{
    World *world = *state;

    accept(world, 0, 1);
    accept(world, 2, 1);
    dispatch_ready(world->dispatch, 0);
    dispatch_ready(world->dispatch, 2);
    world->post_result[0] = -EAGAIN;
    assert_string_equal(turn(world), "2:2 ");
    world->post_result[0] = 0;
    assert_string_equal(turn(world), "");
    dispatch_writable(world->dispatch, 0);
    assert_string_equal(turn(world), "0:1 ");
}

static void dispatch_post_that_can_not_be_made_fails(void **state)
{
    World *world = *state;

    accept(world, 0, 2);
    dispatch_ready(world->dispatch, 0);
    world->post_result[0] = -EMSGSIZE;
    turn(world);
    world->post_result[0] = 0;
    turn(world);
    assert_int_equal(world->store[1].state, ENTRY_FAILED);
}

static void dispatch_post_without_memory_is_tried_again(void **state)
{
    World *world = *state;

    accept(world, 0, 1);
    dispatch_ready(world->dispatch, 0);
    world->post_result[0] = -ENOMEM;
    assert_string_equal(turn(world), "");
    world->post_result[0] = 0;
    assert_string_equal(turn(world), "");
    assert_int_equal(dispatch_wake_usec(world->dispatch), world->now + SECOND);
    world->now += SECOND;
    assert_string_equal(turn(world), "0:1 ");
}

static void dispatch_not_connected_waits_for_ready(void **state)
{
    World *world = *state;

    accept(world, 0, 1);
    dispatch_ready(world->dispatch, 0);
    world->post_result[0] = -ENOTCONN;
    assert_string_equal(turn(world), "");
    world->post_result[0] = 0;
    assert_string_equal(turn(world), "");
    dispatch_lost(world->dispatch, 0, END_NETWORK, world->now);
    dispatch_ready(world->dispatch, 0);
    assert_string_equal(turn(world), "0:1 ");
}

static void dispatch_rollback_forgets_what_was_never_on_disk(void **state)
{
    World *world = *state;

    accept(world, 0, 2);
    dispatch_ready(world->dispatch, 0);
    turn(world);
    done(world, 0, 1);

    /* a turn that fails: two records came with it and are gone again */
    accept(world, 0, 2);
    dispatch_each(world->dispatch, write_down, world);
    fill(world, 0);
    dispatch_choose(world->dispatch, world->now, world->now);
    dispatch_rolled_back(world->dispatch);
    world->store[1].state = ENTRY_SENT;
    world->last_seq = 2;

    assert_true(dispatch_is_dirty(world->dispatch));
    assert_string_equal(turn(world), "");
    assert_int_equal(world->store[1].state, ENTRY_DELIVERED);
    accept(world, 0, 1);
    assert_string_equal(turn(world), "0:3 ");
}

static void dispatch_retried_goes_before_what_waits(void **state)
{
    World *world = *state;

    accept(world, 0, 9);
    dispatch_ready(world->dispatch, 0);
    turn(world);
    failed(world, 0, 1, FAILED_FINAL);
    failed(world, 0, 2, FAILED_FINAL);
    assert_string_equal(turn(world), "0:5 0:6 ");
    world->store[1].state = world->store[2].state = ENTRY_QUEUED;
    dispatch_rewind(world->dispatch, 0);
    assert_string_equal(turn(world), "");
    done(world, 0, 4);
    assert_string_equal(turn(world), "0:1 ");
    done(world, 0, 1);
    done(world, 0, 3);
    done(world, 0, 5);
    assert_string_equal(turn(world), "0:2 0:7 0:8 ");
    done(world, 0, 2);
    assert_string_equal(turn(world), "0:9 ");
}

static void dispatch_dropped_is_forgotten(void **state)
{
    World *world = *state;

    accept(world, 0, 5);
    dispatch_ready(world->dispatch, 0);
    turn(world);
    world->store[2].state = ENTRY_DROPPED;
    dispatch_forget(world->dispatch, 0, 2);
    dispatch_rewind(world->dispatch, 0);
    assert_false(dispatch_done(world->dispatch, 0, stanza_of(2)));
    assert_string_equal(turn(world), "0:5 ");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(dispatch_not_ready_posts_nothing),
        TEST(dispatch_window_holds_the_lowest_undelivered),
        TEST(dispatch_destinations_do_not_wait_for_each_other),
        TEST(dispatch_unknown_id_is_no_proof),
        TEST(dispatch_lost_session_asks_then_posts_the_rest_first),
        TEST(dispatch_sent_in_the_spool_is_of_unknown_fate),
        TEST(dispatch_failed_wait_backs_off_and_goes_on_with_the_same),
        TEST(dispatch_failed_wait_that_is_over_wakes_no_more),
        TEST(dispatch_failed_final_is_set_aside_and_blocks_nothing),
        TEST(dispatch_failed_rejoin_waits_for_the_room),
        TEST(dispatch_poison_is_found_and_set_aside),
        TEST(dispatch_suspect_is_alone_in_its_account),
        TEST(dispatch_innocent_suspect_is_delivered),
        TEST(dispatch_message_that_cuts_is_set_aside_once_others_arrive),
        TEST(dispatch_two_messages_that_cut_are_set_aside),
        TEST(dispatch_message_that_cuts_and_is_alone_holds_up_nothing),
        TEST(dispatch_message_that_cuts_waits_for_slower_rooms),
        TEST(dispatch_message_that_cuts_does_not_wait_long_for_a_room),
        TEST(dispatch_arrival_of_an_earlier_session_proves_nothing),
        TEST(dispatch_line_that_cuts_all_sets_nothing_aside),
        TEST(dispatch_line_that_cuts_now_and_then_keeps_the_order),
        TEST(dispatch_cut_that_comes_late_is_no_suspicion),
        TEST(dispatch_missing_echo_gives_the_session_up),
        TEST(dispatch_swallowed_message_is_set_aside_at_last),
        TEST(dispatch_paused_posts_nothing_but_hears),
        TEST(dispatch_slow_session_stops_its_account_only),
        TEST(dispatch_post_that_can_not_be_made_fails),
        TEST(dispatch_post_without_memory_is_tried_again),
        TEST(dispatch_not_connected_waits_for_ready),
        TEST(dispatch_rollback_forgets_what_was_never_on_disk),
        TEST(dispatch_retried_goes_before_what_waits),
        TEST(dispatch_dropped_is_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
