/* SPDX-License-Identifier: MIT */

/*
 * The prober invents nothing to ask the relay with: it sends an alert again that had no receipt.
 * Its id makes that safe. If the relay has it already, or gets it from its mail later on, the room
 * sees it once; and where on_failure let the mail go on, its alert at least comes late.
 *
 * A relay that hangs has the probe in its queue and answers it as soon as it goes on; one that is
 * not there is looked for by client_send() all the time. So it is found at once, however long a
 * probe waits; the waits grow so that a hanging relay's queue is not filled with probes.
 */

#include "milterd/watch.h"

#include <stdio.h>

#include "common/client.h"
#include "common/log.h"
#include "common/units.h"

int watch_init(Watch *watch, const RelaySettings *relay)
{
    int r;

    *watch = (Watch){ .relay = relay };
    r = pthread_mutex_init(&watch->mutex, NULL);
    if (r == 0)
        r = pthread_cond_init(&watch->opened, NULL);
    return -r;
}

bool watch_allows(Watch *watch)
{
    bool allows;

    pthread_mutex_lock(&watch->mutex);
    allows = breaker_allows(&watch->breaker);
    pthread_mutex_unlock(&watch->mutex);
    return allows;
}

/* `probe` and `receipt` are NULL where a mail got the answer. */
static void answered(Watch *watch, const Record *probe, const Receipt *receipt)
{
    usec_t now = now_usec(CLOCK_MONOTONIC), silent_usec;
    char silent[UNITS_TEXT_MAX], spared[24];
    unsigned long n_spared;
    bool closed;

    pthread_mutex_lock(&watch->mutex);
    closed = breaker_answered(&watch->breaker, now);
    silent_usec = now - watch->breaker.opened_usec;
    n_spared = watch->breaker.n_spared;
    pthread_mutex_unlock(&watch->mutex);
    if (!closed)
        return;

    snprintf(spared, sizeof(spared), "%lu", n_spared);
    const LogField fields[] = {
        { "id", probe ? probe->id : NULL },
        { "receipt", receipt ? receipt_status_name(receipt->status) : NULL },
        { "mails_meanwhile", spared },
    };

    log_fields(LOG_NOTICE, fields, ELEMENTSOF(fields),
               "the relay answers again after %s, alerts are sent to it again",
               duration_human(silent_usec, silent));
}

void watch_answered(Watch *watch)
{
    answered(watch, NULL, NULL);
}

void watch_failed(Watch *watch, usec_t began, int error, Record **record)
{
    const LogField fields[] = {
        { "socket", watch->relay->socket },
        { "reason", strerrordesc_np(-error) },
    };
    bool opened;

    pthread_mutex_lock(&watch->mutex);
    opened = breaker_failed(&watch->breaker, began, now_usec(CLOCK_MONOTONIC));
    if (opened) {
        record_free(watch->record);
        watch->record = steal_ptr(*record);
        pthread_cond_signal(&watch->opened);
    }
    pthread_mutex_unlock(&watch->mutex);
    if (opened)
        log_fields(LOG_ERR, fields, ELEMENTSOF(fields),
                   "the relay has not answered %d times in a row; until it does, %s",
                   BREAKER_FAILURES,
                   watch->relay->on_failure == ON_FAILURE_ACCEPT
                       ? "mails go on without their alerts, as on_failure is accept"
                       : "mails that are alerts are put off at once");
}

static void sleep_until(usec_t when_usec)
{
    const struct timespec when = { .tv_sec = (time_t)(when_usec / USEC_PER_SEC),
                                   .tv_nsec = (long)(when_usec % USEC_PER_SEC) * 1000 };

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL) == EINTR)
        ;
}

_Noreturn void watch_probe(Watch *watch)
{
    Record *record = NULL;

    for (;;) {
        const Record *records[1];
        usec_t now, deadline;
        Receipt receipt;
        bool received;

        pthread_mutex_lock(&watch->mutex);
        while (!watch->breaker.open)
            pthread_cond_wait(&watch->opened, &watch->mutex);
        if (watch->record) {
            record_free(record);
            record = steal_ptr(watch->record);
        }
        now = now_usec(CLOCK_MONOTONIC);
        deadline = now + breaker_probe_usec(&watch->breaker, now);
        pthread_mutex_unlock(&watch->mutex);

        records[0] = record;
        (void)client_send(watch->relay->socket, records, 1, deadline, &receipt, &received);
        if (received)
            answered(watch, record, &receipt);
        else
            sleep_until(deadline); /* It may have come back early, for another reason. */
    }
}
