# SPDX-License-Identifier: MIT
"""The mail that is sent to see whether mails arrive: it does, or it is told where it is stuck."""

import re
import time

import pytest

from support import mails
from support.daemons import RULES, command_environment
from support.place import run, wait_until

RULE = """
  { name = "canary";
    match: { subject: { glob = "milterd-canary *"; }; };
    trust = [ "local" ];
    to = [ "ops" ];
    verdict = "discard";
  },
"""


class Canary:
    """milterd-canary with the private Postfix and relay."""

    def __init__(self, bridge):
        self.bridge = bridge
        self.metrics = bridge.place / "canary.prom"
        self.metrics.unlink(missing_ok=True)
        self.sendmail = bridge.place.file(
            "sendmail.sh", f'#!/bin/sh\nexec /usr/sbin/sendmail -C {bridge.postfix.config} "$@"\n',
            mode=0o755)

    def run(self, *arguments):
        environment = command_environment()
        environment["PATH"] = f"{self.bridge.programs.folder}:{environment['PATH']}"
        return run([self.bridge.programs["milterd-canary"], "--metrics", self.metrics,
                    "--socket", self.bridge.relay.control, "--sendmail", self.sendmail,
                    *arguments], env=environment, timeout=120)

    def metric(self, name):
        return float(re.search(rf"^milterd_canary_{name} (\S+)$", self.metrics.read_text(),
                               re.M)[1])

    def stuck(self, seconds, *words):
        """A run that has to fail in time, saying these words."""
        began = time.monotonic()
        done = self.run("--timeout", f"{seconds}s")
        assert done.returncode == 75, done.stdout + done.stderr
        assert time.monotonic() - began < seconds + 30  # the machine is slow, not the canary
        assert f"not delivered in {seconds}s: " in done.stderr
        for word in words:
            assert word in done.stderr, done.stderr
        assert self.metric("status") == 75
        return done.stderr

    def queued(self):
        return [mail for mail in self.bridge.postfix.queued()
                if mail["sender"].startswith("milterd-canary+")]


@pytest.fixture
def canary(bridge):
    bridge.milterd.rules = RULE + RULES
    return Canary(bridge)


def test_canary_arrives_and_leaves_nothing_behind(canary, running):
    done = canary.run()

    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"delivered after \d+\.\d\d s\n", done.stdout) and not done.stderr
    message = running.reader.wait_message("no action is needed")
    assert "milterd-canary " in message["body"]
    assert not running.postfix.queued()
    assert not running.postfix.delivered(b"milterd-canary")
    assert canary.metric("status") == 0
    assert abs(canary.metric("success_timestamp_seconds") - time.time()) < 120
    assert 0 < canary.metric("seconds") < 120
    checked = run(["promtool", "check", "metrics"], input=canary.metrics.read_text())
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_canary_finds_its_alert_among_others(canary, running):
    running.relay.ctl("pause", "ops")
    for number in range(3):
        assert running.relay.send("ops", "--", f"another {number}").returncode == 0
    running.relay.ctl("resume", "ops")

    assert canary.run().returncode == 0


def test_canary_says_that_no_relay_answers(canary, running):
    assert canary.run().returncode == 0
    success = canary.metric("success_timestamp_seconds")
    running.relay.stop()

    said = canary.stuck(2, "no relay answers", "no mail was submitted")
    assert str(running.relay.control) in said
    assert not canary.queued()
    assert canary.metric("success_timestamp_seconds") == success


def test_canary_waits_for_a_relay_that_is_started_meanwhile(canary, bridge):
    bridge.start_reader()
    bridge.milterd.start()
    bridge.relay.write()
    bridge.relay.process.start()

    assert canary.run("--timeout=1m").returncode == 0


def test_canary_says_that_the_mta_has_the_mail_and_sends_no_second(canary, running):
    running.milterd.stop()

    canary.stuck(2, "the MTA has the mail still: milterd is away, or puts it off")
    assert len(canary.queued()) == 1
    canary.stuck(2, "the MTA has the mail of an earlier run still", "no mail was submitted")
    assert len(canary.queued()) == 1

    running.milterd.start()
    running.postfix.flush()
    assert canary.run("--timeout=90s").returncode == 0
    assert not canary.queued()


def test_canary_says_that_the_relay_is_busy(canary, running):
    running.relay.ctl("pause", "ops")
    running.relay.spool_extra = "max_records = 1;"
    running.relay.stop()
    running.relay.start().wait_ready()
    assert running.relay.send("-i", "fills-it", "ops", "--", "text").returncode == 0

    canary.stuck(3, "milterd puts the mail off, as the relay is busy: the spool is full")
    running.relay.ctl("resume", "ops")
    running.postfix.flush()
    wait_until(lambda: not canary.queued(), "the MTA to hand it over")


def test_canary_says_that_milterd_makes_no_alert_of_it(canary, running):
    running.milterd.rules = RULES
    running.milterd.stop()
    running.milterd.start()

    canary.stuck(2, "milterd made no alert of it")
    running.postfix.wait_delivered(b"milterd-canary")


def test_canary_says_that_the_room_has_it_not_and_gives_it_up(canary, running):
    running.relay.ctl("pause", "ops")

    said = canary.stuck(2, "the room has not", "xmpprelayctl resume ops", "queued")
    alert = re.search(r"the relay has the alert (\S+),", said)[1]
    assert "dropped" in running.relay.ctl("show", alert).stdout
    running.relay.ctl("resume", "ops")
    assert canary.run().returncode == 0
    assert len(running.reader.archive()) == 1


def test_canary_says_that_the_server_is_away(canary, running):
    running.server.stop()
    try:
        canary.stuck(3, "the room has not", "main")
        assert running.relay.status()["waiting"] == 0
    finally:
        running.server.start()


def test_canary_waits_for_all_rooms_of_its_rule(canary, bridge):
    other = f"canary-other@{bridge.server.rooms}"
    bridge.relay.rooms["other"] = other
    bridge.milterd.rules = bridge.milterd.rules.replace('"ops"', '"ops", "other"', 1)
    bridge.start()
    bridge.relay.ctl("pause", "other")

    said = canary.stuck(3, "the room has not")
    assert re.search(r"ops +delivered", said) and re.search(r"other +queued", said)
    bridge.relay.ctl("resume", "other")


def test_canary_that_cannot_submit_says_why(canary, running):
    canary.sendmail = running.place.file("sendmail-refuses",
                                         "#!/bin/sh\necho no room; exit 75\n", mode=0o755)
    done = canary.run()
    assert done.returncode == 69 and "did not take the mail: no room" in done.stderr
    assert canary.metric("status") == 69

    canary.sendmail = running.place / "no-such-sendmail"
    done = canary.run()
    assert done.returncode == 69 and f"there is no {canary.sendmail}" in done.stderr


def test_canary_with_a_sendmail_that_hangs_is_over_in_time(canary, running):
    canary.sendmail = running.place.file("sendmail-hangs", "#!/bin/sh\nexec sleep 300\n",
                                         mode=0o755)
    began = time.monotonic()
    done = canary.run("--timeout=2s")

    assert done.returncode == 69
    assert time.monotonic() - began < 90


@pytest.mark.parametrize("wrong", [
    ["--frob"], ["ops"], ["--timeout"], ["--timeout=soon"], ["-T", "0s"], ["-T5"],
    ["--recipient="], ["-r", "-f"], ["-r", "a b"],
])
def test_wrong_usage_of_canary(wrong, canary):
    done = canary.run(*wrong)

    assert done.returncode == 64
    assert done.stderr.startswith("milterd-canary: ") and "--help" in done.stderr


def test_other_mail_takes_no_notice_of_the_canary(canary, running):
    """Nobody can have the mail of a stranger thrown away by its Subject."""
    assert running.postfix.send(mails.plain("milterd-canary 0123"))[0] == 250
    running.postfix.wait_delivered(b"milterd-canary 0123")
    assert not running.reader.archive()
