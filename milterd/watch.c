/* SPDX-License-Identifier: MIT */

/*
 * The prober invents nothing to ask the relay with: it sends an alert again that had no receipt.
 * Its id makes that safe. If the relay has it already, or gets it from its mail later on, the room
 * sees it once; and where on_failure let the mail go on, its alert at least comes late.
 *
 * A relay that hangs has the probe in its queue and answers it as soon as it goes on; one that is
 * not there is looked for by client_send() all the time. So it is found at once, however long a
 * probe waits; the waits grow so that a hanging relay's queue is not filled with probes. Each
 * worker has a prober, and the breaker gives one of them the turn.
 */

#include "milterd/watch.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/client.h"
#include "common/log.h"
#include "common/units.h"

bool watch_allows(const Watch *watch)
{
    return shared_breaker_allows(watch->breaker);
}

/* `probe` and `receipt` are NULL where a mail got the answer. */
static void answered(const Watch *watch, const Record *probe, const Receipt *receipt)
{
    usec_t now = now_usec(CLOCK_MONOTONIC);
    char silent[UNITS_TEXT_MAX], spared[24];
    Breaker breaker;

    if (!shared_breaker_answered(watch->breaker, now, &breaker))
        return;

    snprintf(spared, sizeof(spared), "%" PRIu64, breaker.n_spared);
    const LogField fields[] = {
        { "id", probe ? probe->id : NULL },
        { "receipt", receipt ? receipt_status_name(receipt->status) : NULL },
        { "mails_meanwhile", spared },
    };

    log_fields(LOG_NOTICE, fields, ELEMENTSOF(fields),
               "the relay answers again after %s, alerts are sent to it again",
               duration_human(now - breaker.opened_usec, silent));
}

void watch_answered(const Watch *watch)
{
    answered(watch, NULL, NULL);
}

void watch_failed(const Watch *watch, usec_t began, int error, const Record *record)
{
    const LogField fields[] = {
        { "socket", watch->relay->socket },
        { "reason", strerrordesc_np(-error) },
    };
    _cleanup_free_ char *json = NULL;
    size_t size;

    /* Without something to probe with it must not open. */
    if (record_write(record, &json, &size) < 0)
        return;
    if (shared_breaker_failed(watch->breaker, began, now_usec(CLOCK_MONOTONIC), json, size))
        log_fields(LOG_ERR, fields, ELEMENTSOF(fields),
                   "the relay has not answered %d times in a row; until it does, %s",
                   BREAKER_FAILURES,
                   watch->relay->on_failure == ON_FAILURE_ACCEPT
                       ? "mails go on without their alerts, as on_failure is accept"
                       : "mails that are alerts are put off at once");
}

static void probe_once(const Watch *watch, const char *json, size_t size, usec_t deadline)
{
    _cleanup_record_ Record *record = NULL;
    char id[RECORD_ID_MAX + 1], reason[RECORD_REASON_MAX];
    Receipt receipt;
    bool received;

    if (record_parse(json, size, &record, id, reason) < 0)
        return;
    (void)client_send(watch->relay->socket, &(const Record *){ record }, 1, deadline, &receipt,
                      &received);
    if (received)
        answered(watch, record, &receipt);
}

_Noreturn void watch_probe(const Watch *watch)
{
    char json[RECORD_FRAME_MAX];

    for (;;) {
        size_t size;
        usec_t deadline = shared_breaker_wait_turn(watch->breaker, json, &size);

        probe_once(watch, json, size, deadline);
    }
}
