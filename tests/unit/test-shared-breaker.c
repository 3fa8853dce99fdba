/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "milterd/shared-breaker.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#define SEC USEC_PER_SEC

static int setup(void **state)
{
    SharedBreaker *shared = NULL;
    int r = shared_breaker_new(&shared);

    *state = shared;
    return r;
}

static int teardown(void **state)
{
    shared_breaker_free(*state);
    return 0;
}

static usec_t now_here(void)
{
    return now_usec(CLOCK_MONOTONIC);
}

static bool fail_with(SharedBreaker *shared, const char *json)
{
    return shared_breaker_failed(shared, now_here(), now_here(), json, strlen(json));
}

/* Runs in a process of its own, which then ends; its result. */
static bool in_child(bool (*work)(SharedBreaker *shared), SharedBreaker *shared)
{
    pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0)
        _exit(work(shared) ? 0 : 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool fail_once(SharedBreaker *shared)
{
    return fail_with(shared, "{\"from\":\"child\"}");
}

static bool answer(SharedBreaker *shared)
{
    Breaker breaker;

    return shared_breaker_answered(shared, now_here(), &breaker) && breaker.n_spared == 2;
}

static void shared_breaker_counts_the_failures_of_all_processes(void **state)
{
    SharedBreaker *shared = *state;

    assert_true(shared_breaker_allows(shared));
    assert_false(fail_with(shared, "{}"));
    assert_false(in_child(fail_once, shared));
    assert_false(shared_breaker_is_open(shared));
    /* One of them learns that it has opened, and all see it. */
    assert_true(in_child(fail_once, shared));
    assert_true(shared_breaker_is_open(shared));
    assert_false(shared_breaker_allows(shared));
    assert_false(in_child(shared_breaker_allows, shared));
    assert_false(in_child(fail_once, shared));

    assert_true(in_child(answer, shared));
    assert_false(shared_breaker_is_open(shared));
    assert_true(shared_breaker_allows(shared));
    assert_false(in_child(answer, shared));
}

static void *wait_turn(void *userdata)
{
    static char json[RECORD_FRAME_MAX];
    size_t size;

    shared_breaker_wait_turn(userdata, json, &size);
    return strndup(json, size);
}

static void open_from_child(SharedBreaker *shared)
{
    fail_with(shared, "{\"n\":1}");
    fail_with(shared, "{\"n\":2}");
    assert_true(in_child(fail_once, shared));
}

static void shared_breaker_wakes_a_prober_with_the_record_of_another_process(void **state)
{
    SharedBreaker *shared = *state;
    pthread_t thread;
    void *json;

    assert_int_equal(pthread_create(&thread, NULL, wait_turn, shared), 0);
    nanosleep(&(struct timespec){ .tv_nsec = 100 * 1000 * 1000 }, NULL);
    open_from_child(shared);
    assert_int_equal(pthread_join(thread, &json), 0);
    assert_string_equal(json, "{\"from\":\"child\"}");
    free(json);
}

static bool take_turn_and_die(SharedBreaker *shared)
{
    char json[RECORD_FRAME_MAX];
    size_t size;

    shared_breaker_wait_turn(shared, json, &size);
    raise(SIGKILL);
    return true;
}

static void shared_breaker_replaces_a_prober_that_died(void **state)
{
    SharedBreaker *shared = *state;
    usec_t began = now_here();

    open_from_child(shared);
    assert_false(in_child(take_turn_and_die, shared));
    /* Its turn is over after a second. */
    _cleanup_free_ char *json = wait_turn(shared);
    assert_true(now_here() - began >= BREAKER_PROBE_MIN_USEC);
    assert_string_equal(json, "{\"from\":\"child\"}");
}

/* As workers do, and more often. */
_Noreturn static void work_until_killed(SharedBreaker *shared, unsigned n)
{
    char json[256];

    /* Whole only if all of its bytes are of one kind. */
    memset(json, 'a' + (int)(n % 26), sizeof(json));
    for (;;) {
        Breaker breaker;

        for (int i = 0; i < BREAKER_FAILURES; i++) {
            shared_breaker_allows(shared);
            shared_breaker_failed(shared, now_here(), now_here(), json, sizeof(json));
        }
        shared_breaker_answered(shared, now_here(), &breaker);
    }
}

static void check_record(SharedBreaker *shared)
{
    static char json[RECORD_FRAME_MAX];
    size_t size;

    for (int i = 0; i < BREAKER_FAILURES; i++)
        fail_with(shared, "zzzz");
    assert_false(shared_breaker_allows(shared));
    shared_breaker_wait_turn(shared, json, &size);
    assert_true(size == 4 || size == 256);
    for (size_t i = 1; i < size; i++)
        assert_int_equal(json[i], json[0]);
}

static void shared_breaker_is_whole_whenever_its_users_are_killed(void **state)
{
    SharedBreaker *shared = *state;

    for (unsigned n = 0; n < 100; n++) {
        pid_t pids[3];
        Breaker breaker;

        for (size_t i = 0; i < ELEMENTSOF(pids); i++) {
            pids[i] = fork();
            assert_true(pids[i] >= 0);
            if (pids[i] == 0)
                work_until_killed(shared, n * ELEMENTSOF(pids) + (unsigned)i);
        }
        nanosleep(&(struct timespec){ .tv_nsec = 1000L * (1 + n * 37 % 3000) }, NULL);
        for (size_t i = 0; i < ELEMENTSOF(pids); i++) {
            kill(pids[i], SIGKILL);
            assert_int_equal(waitpid(pids[i], NULL, 0), pids[i]);
        }
        check_record(shared);
        assert_true(shared_breaker_answered(shared, now_here(), &breaker));
        assert_true(shared_breaker_allows(shared));
        assert_false(shared_breaker_is_open(shared));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(shared_breaker_counts_the_failures_of_all_processes),
        TEST(shared_breaker_wakes_a_prober_with_the_record_of_another_process),
        TEST(shared_breaker_replaces_a_prober_that_died),
        TEST(shared_breaker_is_whole_whenever_its_users_are_killed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
