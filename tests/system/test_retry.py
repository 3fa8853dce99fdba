# SPDX-License-Identifier: MIT
"""Mail that comes more than once, and mail that Postfix keeps because we asked it to."""

import os
import signal
import subprocess
import time

import pytest

from support import mails
from support.place import wait_until

TRIES = "alert relay is not available, try again later"  # as the log of Postfix has it

# As cron has it: neither Message-ID nor Date.
CRON = """\
From: root (Cron Daemon)
To: root
Subject: ALERT of cron
X-Cron-Env: <LOGNAME=root>

backup: no space left on device
"""


def count_said(bridge, words):
    return sum(words in m["body"] for m in bridge.reader.archive())


def say_behind(bridge, words="ALERT behind all"):
    """What is in the room when this has come was said before."""
    assert bridge.send(mails.plain(words))[0] == 250
    bridge.reader.wait_message(words)


@pytest.fixture
def outage(bridge):
    bridge.milterd.workers = 1
    bridge.milterd.relay_extra = 'timeout = "1s";'
    tried_before = bridge.postfix.log_text().count(TRIES)
    bridge.tried = lambda: bridge.postfix.log_text().count(TRIES) - tried_before
    return bridge.start()


# What programs on the host submit.

@pytest.mark.parametrize("hangs", [False, True], ids=["gone", "hangs"])
def test_mail_of_cron_stays_in_the_maildrop_and_is_said_once(outage, hangs):
    delivered_before = len(outage.postfix.delivered(b"Subject: ALERT of cron"))
    bounced_before = len(outage.postfix.delivered(b"Undelivered Mail"))
    if hangs:
        outage.relay.process.send_signal(signal.SIGSTOP)
    else:
        outage.relay.stop()
    done = outage.postfix.submit(CRON, sender="root@mail.test", to=["root@mail.test"])
    assert done.returncode == 0 and not done.stdout
    # Three times it waits for the relay, then no more; Postfix tries on and on.
    wait_until(lambda: outage.tried() >= 5, "Postfix to try five times")
    waiting, = outage.postfix.queued()
    assert waiting["queue_name"] == "maildrop"
    assert waiting["sender"] == "root@mail.test"
    # Longer than mail stays in any other queue, as far as Postfix knows.
    file = outage.postfix.queue / "maildrop" / waiting["queue_id"]
    os.utime(file, (file.stat().st_atime, time.time() - 8 * 86400))
    tried = outage.tried()
    wait_until(lambda: outage.tried() >= tried + 2, "Postfix to try twice more")
    assert "has been queued for 8 days" in outage.postfix.log_text()

    if hangs:
        outage.relay.process.send_signal(signal.SIGCONT)
    else:
        outage.relay.start().wait_ready()
    outage.postfix.wait_delivered(b"Subject: ALERT of cron", count=delivered_before + 1)
    assert not outage.postfix.queued()
    say_behind(outage)
    assert count_said(outage, "ALERT of cron") == 1
    assert len(outage.postfix.delivered(b"Undelivered Mail")) == bounced_before
    assert "was not asked; the mail is put off" in outage.milterd.process.log_text()


def test_submitted_mail_is_not_held_up_by_alerts_that_wait(outage):
    outage.relay.process.send_signal(signal.SIGSTOP)
    for n in range(20):
        outage.postfix.submit(mails.plain(f"ALERT submitted {n}"))
    wait_until(lambda: outage.tried() >= 3, "the first tries")
    began = time.monotonic()
    outage.postfix.submit(mails.plain("a letter behind the alerts"))
    outage.postfix.wait_delivered(b"a letter behind the alerts", timeout=10)
    # One pass over the maildrop, which would cost twenty waits.
    assert time.monotonic() - began < 10

    outage.relay.process.send_signal(signal.SIGCONT)
    for n in range(20):
        outage.postfix.wait_delivered(f"ALERT submitted {n}\n".encode())
    outage.reader.wait_message("ALERT submitted", count=20)
    assert len(outage.reader.archive()) == 20


def test_submitted_mail_goes_on_where_on_failure_says_accept(outage):
    outage.milterd.stop()
    outage.milterd.relay_extra += ' on_failure = "accept";'
    outage.milterd.start()
    outage.relay.stop()
    outage.postfix.submit(mails.plain("ALERT submitted unheard"))
    outage.postfix.wait_delivered(b"ALERT submitted unheard")
    assert outage.tried() == 0


def test_mail_submitted_by_sendmail_bs_is_kept_like_any_other(outage):
    outage.relay.stop()
    mail = mails.plain("ALERT by sendmail -bs").decode()
    done = subprocess.run(
        ["/usr/sbin/sendmail", "-C", str(outage.postfix.config), "-bs"],
        input=(f"EHLO x\r\nMAIL FROM:<root@mail.test>\r\nRCPT TO:<ops@mail.test>\r\nDATA\r\n{mail}\r\n.\r\n"
               "QUIT\r\n"), stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    assert "250 2.0.0 Ok: queued" in done.stdout
    wait_until(lambda: outage.tried() >= 2, "Postfix to try twice")

    outage.relay.start()
    outage.postfix.wait_delivered(b"ALERT by sendmail -bs")
    say_behind(outage)
    assert count_said(outage, "ALERT by sendmail -bs") == 1


# The same mail, and mail that only looks the same.

def test_mail_tried_again_after_451_is_said_once(outage):
    mail = mails.plain("ALERT tried again")
    outage.relay.process.send_signal(signal.SIGSTOP)
    assert outage.send(mail)[0] == 451
    outage.relay.process.send_signal(signal.SIGCONT)
    outage.reader.wait_message("ALERT tried again")

    assert outage.send(mail)[0] == 250
    outage.milterd.process.wait_log("receipt=duplicate verdict=continue")
    say_behind(outage)
    assert count_said(outage, "ALERT tried again") == 1


def without(mail, *names):
    """Without these headers."""
    head, _, body = mail.decode().partition("\r\n\r\n")
    lines = [line for line in head.split("\r\n") if line.partition(":")[0] not in names]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def with_id(mail, text):
    return without(mail, "Message-ID").replace(b"\r\n\r\n", f"\r\nMessage-ID: <{text}>\r\n\r\n".encode(), 1)


@pytest.mark.parametrize("kind, times", [
    ("same", 1), ("other-id", 2), ("date-only", 1), ("other-date", 2), ("neither", 2)])
def test_which_mails_are_the_same(running, kind, times):
    mail = mails.plain("ALERT twice")
    pair = {
        "same": [mail, mail],
        "other-id": [with_id(mail, "1@mail.test"), with_id(mail, "2@mail.test")],
        # Postfix gives these a Message-ID, and each time another.
        "date-only": [without(mail, "Message-ID")] * 2,
        "other-date": [without(mail, "Message-ID", "Date").replace(
            b"\r\n\r\n", f"\r\nDate: Sat, 21 Nov 2026 06:12:4{n} +0000\r\n\r\n".encode(), 1)
            for n in range(2)],
        "neither": [without(mail, "Message-ID", "Date")] * 2,
    }[kind]
    for each in pair:
        assert running.send(each)[0] == 250
    say_behind(running)
    assert count_said(running, "ALERT twice") == times
