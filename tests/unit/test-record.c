/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include "common/record.h"

#include <stdio.h>

static int parse(const char *json, Record **ret, char *id, char *reason)
{
    return record_parse(json, strlen(json), ret, id, reason);
}

/* Parses a record of the required keys and `more`. */
static Record *taken(const char *more)
{
    char json[40000], id[RECORD_ID_MAX + 1], reason[RECORD_REASON_MAX] = "";
    Record *record = NULL;

    snprintf(json, sizeof(json), "{\"v\":1,\"text\":\"t\"%s}", more);
    if (parse(json, &record, id, reason) != 0)
        fail_msg("refused: %s: %s", json, reason);
    return record;
}

static void assert_refused(const char *json, const char *because)
{
    char id[RECORD_ID_MAX + 1], reason[RECORD_REASON_MAX] = "";
    Record *record = NULL;

    if (parse(json, &record, id, reason) != -EBADMSG)
        fail_msg("taken: %s", json);
    assert_null(record);
    if (!strstr(reason, because))
        fail_msg("%s: \"%s\" does not say \"%s\"", json, reason, because);
}

static void record_with_all_keys_is_read(void **state)
{
    _cleanup_record_ Record *record =
        taken(",\"title\":\"T\",\"id\":\"a.B:9_-\",\"to\":[\"ops\",\"night\"],\"severity\":"
              "\"critical\",\"state\":\"problem\",\"key\":\"web/ping\",\"time\":1700000000.25,"
              "\"source\":\"cron\",\"fields\":{\"z\":\"1\",\"host\":\"web\"},\"facts\":"
              "[\"host\",\"absent\"],\"receipt\":\"delivered\"");

    assert_string_equal(record->text, "t");
    assert_string_equal(record->title, "T");
    assert_string_equal(record->id, "a.B:9_-");
    assert_int_equal(record->n_to, 2);
    assert_string_equal(record->to[0], "ops");
    assert_string_equal(record->to[1], "night");
    assert_int_equal(record->severity, SEVERITY_CRITICAL);
    assert_int_equal(record->state, STATE_PROBLEM);
    assert_string_equal(record->key, "web/ping");
    assert_true(record->time_usec == 1700000000250000);
    assert_string_equal(record->source, "cron");
    assert_int_equal(record->n_fields, 2);
    assert_string_equal(record->fields[0].name, "z");
    assert_string_equal(record_field(record, "host"), "web");
    assert_null(record_field(record, "absent"));
    assert_int_equal(record->n_facts, 2);
    assert_string_equal(record->facts[0], "host");
    assert_string_equal(record->facts[1], "absent");
    assert_int_equal(record->receipt, RECEIPT_WANTED_DELIVERED);
}

static void record_with_required_keys_only_has_nothing_else(void **state)
{
    _cleanup_record_ Record *record = taken("");

    assert_null(record->id);
    assert_null(record->title);
    assert_null(record->key);
    assert_null(record->source);
    assert_int_equal(record->n_to, 0);
    assert_int_equal(record->n_fields, 0);
    assert_int_equal(record->n_facts, 0);
    assert_true(record->time_usec == 0);
    assert_int_equal(record->severity, SEVERITY_NONE);
    assert_int_equal(record->state, STATE_NONE);
    assert_int_equal(record->receipt, RECEIPT_WANTED_ACCEPTED);
}

static void record_unknown_keys_are_ignored(void **state)
{
    _cleanup_record_ Record *record = taken(",\"colour\":{\"deep\":[null,1]},\"To\":3,\"\":0");

    assert_int_equal(record->n_to, 0);
}

static void record_to_may_be_one_string(void **state)
{
    _cleanup_record_ Record *record = taken(",\"to\":\"ops\"");

    assert_int_equal(record->n_to, 1);
    assert_string_equal(record->to[0], "ops");
}

static void record_required_keys_missing_is_refused(void **state)
{
    assert_refused("{}", "v is missing");
    assert_refused("{\"text\":\"t\"}", "v is missing");
    assert_refused("{\"v\":1}", "text is missing");
    assert_refused("[]", "object");
    assert_refused("\"text\"", "object");
    assert_refused("null", "object");
    assert_refused("", "too early");
    assert_refused("{\"v\":2,\"text\":\"t\"}", "v must be the integer 1");
    assert_refused("{\"v\":1,\"text\":\"\"}", "text must be");
}

static void record_known_key_of_a_wrong_type_is_refused(void **state)
{
    static const char *const wrong[][16] = {
        { "v", "1.0", "\"1\"", "true", "null", "[1]", "{}", "-1" },
        { "text", "1", "true", "null", "[\"t\"]", "{}" },
        { "title", "1", "true", "null", "[\"t\"]", "{}" },
        { "id", "1", "true", "null", "[\"t\"]", "{}", "\"\"", "\"a b\"", "\"\\u00e4\"", "\"a/b\"" },
        { "to", "1", "true", "null", "{}", "[]", "\"\"", "[\"\"]", "[1]", "[\"a\",null]",
          "[[\"a\"]]", "[\"a\",\"b\",\"a\"]" },
        { "severity", "1", "null", "\"\"", "\"CRITICAL\"", "\"error\"", "[\"ok\"]" },
        { "state", "1", "null", "\"\"", "\"PROBLEM\"", "\"down\"", "[\"event\"]" },
        { "key", "1", "true", "null", "[\"t\"]", "{}" },
        { "time", "\"1\"", "true", "null", "[1]", "{}", "-1", "-0.5", "100000000000", "1e11",
          "9223372036854775807", "1e300" },
        { "source", "1", "true", "null", "[\"t\"]", "{}" },
        { "fields", "1", "\"a\"", "null", "[]", "{\"a\":1}", "{\"a\":null}", "{\"a\":[\"b\"]}",
          "{\"a\":{}}", "{\"\":\"x\"}" },
        { "facts", "1", "\"host\"", "null", "{}", "[1]", "[null]", "[\"\"]", "[[\"host\"]]",
          "[\"a\",\"b\",\"a\"]" },
        { "receipt", "1", "true", "null", "\"\"", "\"busy\"", "[\"none\"]" },
    };

    for (size_t i = 0; i < ELEMENTSOF(wrong); i++) {
        const char *key = wrong[i][0];

        for (size_t j = 1; wrong[i][j]; j++) {
            char json[500];

            snprintf(json, sizeof(json), "{%s%s\"%s\":%s}", streq(key, "v") ? "" : "\"v\":1,",
                     streq(key, "text") ? "" : "\"text\":\"t\",", key, wrong[i][j]);
            assert_refused(json, key);
        }
    }
}

static void record_duplicate_keys_are_refused(void **state)
{
    assert_refused("{\"v\":1,\"v\":1,\"text\":\"t\"}", "twice");
    assert_refused("{\"v\":1,\"text\":\"t\",\"text\":\"u\"}", "twice");
    assert_refused("{\"v\":1,\"text\":\"t\",\"x\":1,\"x\":1}", "twice");
    assert_refused("{\"v\":1,\"text\":\"t\",\"fields\":{\"a\":\"1\",\"a\":\"1\"}}", "twice");
}

static void record_text_that_is_no_text_is_refused(void **state)
{
    assert_refused("{\"v\":1,\"text\":\"a\\u0000b\"}", "NUL");
    assert_refused("{\"v\":1,\"text\":\"t\",\"title\":\"a\\u0000\"}", "NUL");
    assert_refused("{\"v\":1,\"text\":\"\xFF\"}", "UTF-8");
    assert_refused("{\"v\":1,\"text\":\"\xED\xA0\x80\"}", "UTF-8");
    assert_refused("{\"v\":1,\"text\":\"\\ud83d\"}", "syntax");
    assert_refused("{\"v\":1,\"text\":\"\\ud83dx\"}", "syntax");
}

static void record_deep_nesting_is_refused(void **state)
{
    char json[RECORD_FRAME_MAX + 1] = "{\"v\":1,\"text\":\"t\",\"x\":";

    memset(json + strlen(json), '[', RECORD_FRAME_MAX - strlen(json));
    assert_refused(json, "nested");
}

static void record_limits_hold_at_their_edges(void **state)
{
    char long_id[66], more[20000];
    size_t n;

    memset(long_id, 'x', 65);
    long_id[65] = '\0';
    snprintf(more, sizeof(more), ",\"id\":\"%.64s\"", long_id);
    record_free(taken(more));
    snprintf(more, sizeof(more), "{\"v\":1,\"text\":\"t\",\"id\":\"%s\"}", long_id);
    assert_refused(more, "id must be");

    snprintf(more, sizeof(more), ",\"key\":\"%0256d\",\"source\":\"%064d\",\"to\":\"%0128d\"", 0, 0,
             0);
    record_free(taken(more));
    snprintf(more, sizeof(more), "{\"v\":1,\"text\":\"t\",\"key\":\"%0257d\"}", 0);
    assert_refused(more, "256 bytes");
    snprintf(more, sizeof(more), "{\"v\":1,\"text\":\"t\",\"source\":\"%065d\"}", 0);
    assert_refused(more, "64 bytes");
    snprintf(more, sizeof(more), "{\"v\":1,\"text\":\"t\",\"to\":\"%0129d\"}", 0);
    assert_refused(more, "128 bytes");

    for (int count = 32; count <= 33; count++) {
        n = (size_t)snprintf(more, sizeof(more), "{\"v\":1,\"text\":\"t\",\"to\":[");
        for (int i = 0; i < count; i++)
            n += (size_t)snprintf(more + n, sizeof(more) - n, "%s\"d%d\"", i > 0 ? "," : "", i);
        snprintf(more + n, sizeof(more) - n, "]}");
        if (count == 33) {
            assert_refused(more, "32 destinations");
        } else {
            char id[RECORD_ID_MAX + 1], reason[RECORD_REASON_MAX];
            _cleanup_record_ Record *record = NULL;

            assert_int_equal(parse(more, &record, id, reason), 0);
            assert_int_equal(record->n_to, 32);
        }
    }

    n = (size_t)snprintf(more, sizeof(more), "{\"v\":1,\"text\":\"t\",\"fields\":{\"f\":\"\"");
    for (int i = 0; i < 64; i++)
        n += (size_t)snprintf(more + n, sizeof(more) - n, ",\"f%d\":\"\"", i);
    snprintf(more + n, sizeof(more) - n, "}}");
    assert_refused(more, "64 strings");
}

static void record_facts_have_limits(void **state)
{
    char json[20000];

    for (int count = 0; count <= 17; count++) {
        size_t n = (size_t)snprintf(json, sizeof(json), "{\"v\":1,\"text\":\"t\",\"facts\":[");

        for (int i = 0; i < count; i++)
            n += (size_t)snprintf(json + n, sizeof(json) - n, "%s\"%0128d\"", i > 0 ? "," : "", i);
        snprintf(json + n, sizeof(json) - n, "]}");
        if (count == 17) {
            assert_refused(json, "at most 16 names");
        } else {
            char id[RECORD_ID_MAX + 1], reason[RECORD_REASON_MAX];
            _cleanup_record_ Record *record = NULL;

            assert_int_equal(parse(json, &record, id, reason), 0);
            assert_int_equal(record->n_facts, count);
        }
    }
    snprintf(json, sizeof(json), "{\"v\":1,\"text\":\"t\",\"facts\":[\"%0129d\"]}", 0);
    assert_refused(json, "128 bytes");
    assert_refused("{\"v\":1,\"text\":\"t\",\"facts\":[\"a\",\"a\"]}", "twice");
}

static void record_time_is_exact_to_the_microsecond(void **state)
{
    static const struct {
        const char *more;
        usec_t expected;
    } cases[] = {
        { ",\"time\":0", 0 },
        { ",\"time\":-0.0", 0 },
        { ",\"time\":0.000001", 1 },
        { ",\"time\":1700000000", 1700000000000000 },
        { ",\"time\":1700000000.123457", 1700000000123457 },
        { ",\"time\":1.7e9", 1700000000000000 },
        { ",\"time\":99999999999", 99999999999000000 },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_record_ Record *record = taken(cases[i].more);

        assert_true(record->time_usec == cases[i].expected);
    }
}

static void record_refused_still_tells_its_id(void **state)
{
    char id[RECORD_ID_MAX + 1] = "before", reason[RECORD_REASON_MAX];
    Record *record = NULL;

    assert_int_equal(parse("{\"v\":7,\"id\":\"x1\"}", &record, id, reason), -EBADMSG);
    assert_string_equal(id, "x1");
    assert_int_equal(parse("{\"v\":1,\"id\":\"no good\"}", &record, id, reason), -EBADMSG);
    assert_string_equal(id, "");
    strcpy(id, "before");
    assert_int_equal(parse("{\"id\":\"x1\"", &record, id, reason), -EBADMSG);
    assert_string_equal(id, "");
}

static void record_written_is_read_back(void **state)
{
    _cleanup_record_ Record *record = record_new(), *read = NULL;
    char id[RECORD_ID_MAX + 1], reason[RECORD_REASON_MAX];
    _cleanup_free_ char *json = NULL, *again = NULL;
    size_t size, size_again;

    assert_int_equal(record_set(&record->id, "x1"), 0);
    assert_int_equal(record_set(&record->text, "\"quoted\"\n\tä🔥\x01"), 0);
    assert_int_equal(record_set(&record->title, "T"), 0);
    assert_int_equal(record_set(&record->key, "k"), 0);
    assert_int_equal(record_set(&record->source, "s"), 0);
    assert_int_equal(record_add_to(record, "ops"), 0);
    assert_int_equal(record_add_to(record, "night"), 0);
    assert_int_equal(record_add_to(record, "ops"), 0);
    assert_int_equal(record_add_field(record, "host", "a"), 0);
    assert_int_equal(record_add_field(record, "host", "b"), 0);
    assert_int_equal(record_add_fact(record, "host"), 0);
    assert_int_equal(record_add_fact(record, "address"), 0);
    assert_int_equal(record_add_fact(record, "host"), 0);
    record->severity = SEVERITY_WARNING;
    record->state = STATE_EVENT;
    record->time_usec = 1700000000123457;
    record->receipt = RECEIPT_WANTED_NONE;

    assert_int_equal(record_write(record, &json, &size), 0);
    assert_int_equal(size, strlen(json));
    assert_int_equal(record_parse(json, size, &read, id, reason), 0);
    assert_string_equal(read->text, record->text);
    assert_int_equal(read->n_to, 2);
    assert_string_equal(record_field(read, "host"), "b");
    assert_int_equal(read->n_facts, 2);
    assert_string_equal(read->facts[0], "host");
    assert_string_equal(read->facts[1], "address");
    assert_true(read->time_usec == record->time_usec);
    assert_int_equal(record_write(read, &again, &size_again), 0);
    assert_string_equal(again, json);
}

static void record_that_would_be_refused_is_not_written(void **state)
{
    _cleanup_record_ Record *record = record_new();
    char *json = NULL, large[RECORD_FRAME_MAX + 1];
    size_t size;

    assert_int_equal(record_write(record, &json, &size), -EINVAL);
    assert_int_equal(record_set(&record->text, ""), 0);
    assert_int_equal(record_write(record, &json, &size), -EINVAL);
    assert_int_equal(record_set(&record->text, "\xFF"), 0);
    assert_int_equal(record_write(record, &json, &size), -EINVAL);
    assert_int_equal(record_set(&record->text, "t"), 0);
    assert_int_equal(record_set(&record->id, "a b"), 0);
    assert_int_equal(record_write(record, &json, &size), -EINVAL);
    assert_int_equal(record_set(&record->id, NULL), 0);
    record->time_usec = USEC_INFINITY;
    assert_int_equal(record_write(record, &json, &size), -EINVAL);
    record->time_usec = 0;
    assert_int_equal(record_add_fact(record, ""), 0);
    assert_int_equal(record_write(record, &json, &size), -EINVAL);
    assert_int_equal(record_set(&record->facts[0], "f0"), 0);
    for (char name[] = "f1"; record->n_facts <= 16; name[1]++)
        assert_int_equal(record_add_fact(record, name), 0);
    assert_int_equal(record_write(record, &json, &size), -EINVAL);
    free(record->facts[--record->n_facts]);
    assert_int_equal(record_write(record, &json, &size), 0);
    free(steal_ptr(json));
    while (record->n_facts > 0)
        free(record->facts[--record->n_facts]);

    memset(large, 'x', RECORD_FRAME_MAX);
    large[RECORD_FRAME_MAX] = '\0';
    assert_int_equal(record_set(&record->text, large), 0);
    assert_int_equal(record_write(record, &json, &size), -EMSGSIZE);
    assert_null(json);

    large[RECORD_FRAME_MAX - strlen("{\"v\":1,\"text\":\"\"}")] = '\0';
    assert_int_equal(record_set(&record->text, large), 0);
    assert_int_equal(record_write(record, &json, &size), 0);
    assert_int_equal(size, RECORD_FRAME_MAX);
    free(json);
}

static void record_names_are_those_of_the_wire(void **state)
{
    Severity severity;
    AlertState alert_state;
    ReceiptWanted wanted;

    for (int i = SEVERITY_OK; i <= SEVERITY_CRITICAL; i++) {
        assert_int_equal(severity_from_name(severity_name((Severity)i), &severity), 0);
        assert_int_equal(severity, i);
    }
    for (int i = STATE_PROBLEM; i <= STATE_EVENT; i++) {
        assert_int_equal(alert_state_from_name(alert_state_name((AlertState)i), &alert_state), 0);
        assert_int_equal(alert_state, i);
    }
    for (int i = RECEIPT_WANTED_ACCEPTED; i <= RECEIPT_WANTED_NONE; i++) {
        assert_int_equal(receipt_wanted_from_name(receipt_wanted_name((ReceiptWanted)i), &wanted),
                         0);
        assert_int_equal(wanted, i);
    }
    assert_null(severity_name(SEVERITY_NONE));
    assert_null(alert_state_name(STATE_NONE));
    assert_int_equal(severity_from_name("", &severity), -EINVAL);
    assert_int_equal(alert_state_from_name("Problem", &alert_state), -EINVAL);
    assert_int_equal(receipt_wanted_from_name("busy", &wanted), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(record_with_all_keys_is_read),
        cmocka_unit_test(record_with_required_keys_only_has_nothing_else),
        cmocka_unit_test(record_unknown_keys_are_ignored),
        cmocka_unit_test(record_to_may_be_one_string),
        cmocka_unit_test(record_required_keys_missing_is_refused),
        cmocka_unit_test(record_known_key_of_a_wrong_type_is_refused),
        cmocka_unit_test(record_duplicate_keys_are_refused),
        cmocka_unit_test(record_text_that_is_no_text_is_refused),
        cmocka_unit_test(record_deep_nesting_is_refused),
        cmocka_unit_test(record_limits_hold_at_their_edges),
        cmocka_unit_test(record_facts_have_limits),
        cmocka_unit_test(record_time_is_exact_to_the_microsecond),
        cmocka_unit_test(record_refused_still_tells_its_id),
        cmocka_unit_test(record_written_is_read_back),
        cmocka_unit_test(record_that_would_be_refused_is_not_written),
        cmocka_unit_test(record_names_are_those_of_the_wire),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
