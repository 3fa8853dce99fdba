# SPDX-License-Identifier: MIT
"""A relay that hangs or is gone: mail doesn't wait for it again and again, and it is found again."""

import contextlib
import os
import re
import signal
import threading
import time

import pytest

from support import mails
from support.place import children_of, wait_until
from support.postfix import session_send

TIMEOUT = 2  # seconds, of the relay
AT_ONCE = 1  # seconds; well under it, also on a busy machine
OPENED = "the relay has not answered 3 times in a row"
CLOSED = "the relay answers again after"


@contextlib.contextmanager
def stopped(process):
    """The relay hangs: its socket takes what it has room for, and no answer comes."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def timed(function, *arguments):
    began = time.monotonic()
    result = function(*arguments)
    return result, time.monotonic() - began


def send(bridge, n):
    """One alert: the code, and how long its answer took."""
    with bridge.postfix.session() as session:
        (code, _), took = timed(session_send, session, mails.plain(f"ALERT {n}"))
    return code, took


@pytest.fixture
def four_workers(bridge):
    """Whichever a mail meets knows what the others do."""
    bridge.milterd.workers = 4
    bridge.milterd.relay_extra = f'timeout = "{TIMEOUT}s";'
    return bridge


def said(bridge):
    return sorted(int(match.group(1)) for m in bridge.reader.archive()
                  if (match := re.search(r"ALERT (\d+)", m["body"])))


def wait_all_said(bridge, numbers):
    wait_until(lambda: set(said(bridge)) >= set(numbers), lambda: f"{numbers}, not {said(bridge)}")
    assert said(bridge) == sorted(numbers)


def test_relay_that_hangs_costs_three_waits_and_is_found_again(four_workers):
    bridge = four_workers.start()
    with stopped(bridge.relay.process):
        for n in range(3):
            code, took = send(bridge, n)
            assert code == 451 and TIMEOUT <= took < 2 * TIMEOUT
        bridge.milterd.process.wait_log(f"{OPENED}.*mails that are alerts are put off at once")
        for n in range(3, 13):
            code, took = send(bridge, n)
            assert code == 451 and took < AT_ONCE

    # It is found without any mail.
    bridge.milterd.process.wait_log(f"{CLOSED}.*mails_meanwhile=10", timeout=2)
    for n in range(13):
        code, took = send(bridge, n)
        assert code == 250 and took < AT_ONCE
    wait_all_said(bridge, range(13))

    log = bridge.milterd.process.log_text()
    assert log.count(OPENED) == log.count(CLOSED) == 1
    # Each mail that was given up has one line, which says what happens to it.
    assert log.count("gave no receipt in time; the mail is put off") == 3
    assert log.count("does not answer, and was not asked; the mail is put off") == 10
    assert log.count("verdict=tempfail") == 13


def test_mails_wait_for_a_relay_that_hangs_together(four_workers):
    bridge = four_workers.start()
    results = []
    with stopped(bridge.relay.process):
        threads = [threading.Thread(target=lambda n=n: results.append(send(bridge, n)))
                   for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [code for code, _ in results] == [451] * 20
        assert send(bridge, 20)[1] < AT_ONCE

    bridge.milterd.process.wait_log(CLOSED, timeout=2)
    for n in range(21):
        assert send(bridge, n)[0] == 250
    wait_all_said(bridge, range(21))
    assert bridge.milterd.process.log_text().count(OPENED) == 1


def test_mails_go_on_at_once_where_the_relay_hangs_and_on_failure_says_accept(four_workers):
    bridge = four_workers
    bridge.milterd.relay_extra += ' on_failure = "accept";'
    bridge.start()
    with stopped(bridge.relay.process):
        for n in range(3):
            code, took = send(bridge, n)
            assert code == 250 and TIMEOUT <= took < 2 * TIMEOUT
        bridge.milterd.process.wait_log(f"{OPENED}.*mails go on without their alerts")
        for n in range(3, 8):
            code, took = send(bridge, n)
            assert code == 250 and took < AT_ONCE

    bridge.milterd.process.wait_log(CLOSED, timeout=2)
    code, took = send(bridge, 8)
    assert code == 250 and took < AT_ONCE
    for n in range(9):
        bridge.postfix.wait_delivered(f"ALERT {n}\n".encode())
    # Those that lay in the relay's socket are said, those that nobody waited for are not.
    wait_all_said(bridge, [0, 1, 2, 8])


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_relay_that_was_gone_is_found_without_mail(four_workers, end):
    bridge = four_workers.start()
    bridge.relay.process.send_signal(end)
    bridge.relay.process.wait()
    for n in range(3):
        assert send(bridge, n)[0] == 451
    for n in range(3, 6):
        code, took = send(bridge, n)
        assert code == 451 and took < AT_ONCE

    time.sleep(5)  # the probes are rarer by now
    bridge.relay.start()
    bridge.milterd.process.wait_log(f"{CLOSED}.*receipt=accepted", timeout=2)
    # The probe was an alert that had been put off; tried again, it is known.
    bridge.reader.wait_message("ALERT 2")
    for n in range(6):
        assert send(bridge, n)[0] == 250
    wait_all_said(bridge, range(6))


def test_relay_that_opens_it_a_second_time_is_found_a_second_time(four_workers):
    bridge = four_workers.start()
    for times in (1, 2):
        with stopped(bridge.relay.process):
            for n in range(3):
                assert send(bridge, times * 10 + n)[0] == 451
            assert send(bridge, times * 10)[1] < AT_ONCE
        wait_until(lambda: bridge.milterd.process.log_text().count(CLOSED) == times, CLOSED,
                   timeout=2)
    assert bridge.milterd.process.log_text().count(OPENED) == 2


def test_workers_that_take_the_place_of_others_know_that_nobody_waits(four_workers):
    bridge = four_workers.start()
    workers = children_of(bridge.milterd.process.pid)
    with stopped(bridge.relay.process):
        for n in range(3):
            assert send(bridge, n)[0] == 451
        for worker in workers:  # and with them the one that is probing
            os.kill(worker, signal.SIGKILL)
        wait_until(lambda: len(children_of(bridge.milterd.process.pid)) == 4
                   and not set(workers) & set(children_of(bridge.milterd.process.pid)),
                   "new workers")
        for n in range(3, 8):
            code, took = send(bridge, n)
            assert code == 451 and took < AT_ONCE

        bridge.milterd.process.send_signal(signal.SIGHUP)
        bridge.milterd.process.wait_log("reloaded, ready with 4 workers")
        for n in range(8, 13):
            code, took = send(bridge, n)
            assert code == 451 and took < AT_ONCE

    # Its probe may lie in the relay's socket without its worker, the next is soon sent.
    bridge.milterd.process.wait_log(f"{CLOSED}.*mails_meanwhile=10", timeout=12)
    for n in range(13):
        assert send(bridge, n)[0] == 250
    wait_all_said(bridge, range(13))
    log = bridge.milterd.process.log_text()
    assert log.count(OPENED) == log.count(CLOSED) == 1


def test_relay_that_refuses_or_is_busy_does_answer(four_workers):
    bridge = four_workers
    bridge.milterd.rules = """
      { name = "alerts"; match: { subject: { glob = "*ALERT*"; }; }; to = [ "nowhere" ]; },
      { name = "others"; match: { subject: { glob = "*other*"; }; }; to = [ "ops" ]; }"""
    bridge.start()
    for n in range(5):
        assert send(bridge, n)[0] == 451
    assert bridge.send(mails.plain("other"))[0] == 250
    assert OPENED not in bridge.milterd.process.log_text()


def test_mail_in_hand_while_the_relay_is_restarted_is_taken(four_workers):
    bridge = four_workers
    bridge.milterd.relay_extra = 'timeout = "30s";'
    bridge.start()
    bridge.relay.stop()
    results = []
    sender = threading.Thread(target=lambda: results.append(send(bridge, 1)))
    sender.start()
    time.sleep(1)
    bridge.relay.start()
    sender.join()

    (code, took), = results
    assert code == 250 and took < 10
    wait_all_said(bridge, [1])


def test_mail_whose_record_went_with_the_relay_is_taken_by_the_next(four_workers):
    bridge = four_workers
    bridge.milterd.relay_extra = 'timeout = "30s";'
    bridge.start()
    bridge.relay.process.send_signal(signal.SIGSTOP)
    results = []
    sender = threading.Thread(target=lambda: results.append(send(bridge, 1)))
    sender.start()
    time.sleep(1)
    bridge.relay.process.send_signal(signal.SIGKILL)
    bridge.relay.process.wait()
    bridge.relay.start()
    sender.join()

    (code, took), = results
    assert code == 250 and took < 15
    wait_all_said(bridge, [1])
