# SPDX-License-Identifier: MIT
"""What milterd tells of itself in numbers: they agree with what was sent, whatever became of the
processes that counted."""

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from support import mails, metrics
from support.place import children_of, wait_until
from support.postfix import session_send
from test_milterd_processes import (  # noqa: F401
    ACCEPT, ALERT, CONTINUE, DISCARD, LETTER, REPLYCODE, Gone, folder, milterd, relay)

MANUAL = Path(__file__).parent.parent.parent / "packaging" / "man" / "milterd.8"

RULES = """
  { name = "alerts"; match: { subject: { glob = "*ALERT*"; }; }; to = [ "ops", "night-shift" ]; },
  { name = "noise"; match: { subject: { glob = "*NOISE*"; }; }; verdict = "discard"; },
  { name = "spam"; match: { subject: { glob = "*SPAM*"; }; }; skip = true; verdict = "reject"; }"""


def noise(n):
    return (("Subject", "NOISE"), ("Message-ID", f"<noise-{n}@nms>"))


class Page:
    """Where a daemon has its metrics."""

    def __init__(self, port):
        self.port = port

    @property
    def setting(self):
        return f'metrics: {{ listen = "127.0.0.1:{self.port}"; }};'

    def text(self, accept="text/plain"):
        return metrics.request(("127.0.0.1", self.port), Accept=accept)[1]

    def read(self):
        """The values of all series, by their names with labels."""
        # The same page is given again for a moment.
        time.sleep(0.12)
        return {name: float(value) for name, value in
                re.findall(r"^([a-z_]+(?:\{.*\})?) (\S+)$", self.text(), re.M)}

    def wait(self, **expected):
        """Until these series of milterd have these values."""
        def good():
            values = self.read()
            return all(values.get(f"milterd_{name}") == value for name, value in expected.items())
        wait_until(good, lambda: f"{expected} in\n{self.text()}")

    def messages(self):
        """How many messages, by stage and verdict."""
        return Counter({tuple(re.findall(r'"(.*?)"', name)): int(value)
                        for name, value in self.read().items()
                        if name.startswith("milterd_messages_total") and value > 0})


@pytest.fixture
def page(place):
    return Page(place.port())


@pytest.fixture
def counting(milterd, page, relay):  # noqa: F811
    """A milterd without an MTA and without xmpprelay, and its metrics."""
    milterd.rules = RULES
    milterd.extra = page.setting
    milterd.page = page
    return milterd.start()


def use_script(filter_, text):
    path = filter_.folder / "it.lua"
    path.write_text(text)
    filter_.extra += f' scripts: ( {{ name = "it"; file = "{path}"; }} );'
    filter_.write()
    filter_.reload()


# With an MTA.

def test_counts_agree_with_what_postfix_sent(bridge, page):
    bridge.milterd.rules = RULES.replace('"ops", "night-shift"', '"ops"').replace(
        'match: { subject: { glob = "*NOISE*"; }; };',
        'match: { subject: { glob = "*NOISE*"; }; }; to = [ "ops" ];')
    bridge.milterd.extra = page.setting
    bridge.start()
    expected = Counter()

    def send_round(n):
        """Seven mails in two sessions."""
        with bridge.postfix.session() as session:
            for i in range(3):
                assert session_send(session, mails.plain(f"ALERT {n}-{i}"))[0] == 250
            for i in range(2):
                assert session_send(session, mails.plain(f"lunch {n}-{i}"))[0] == 250
        with bridge.postfix.session() as session:
            assert session_send(session, mails.plain(f"NOISE {n}"))[0] == 250
            assert session_send(session, mails.plain(f"SPAM {n}"))[0] == 550
        expected.update(continue_=3, accept=2, discard=1, reject=1)

    def check(rounds):
        page.wait(**{"connections": 0, "connections_total": 2 * rounds})
        values = page.read()
        by_verdict = Counter()
        for (_, verdict), n in page.messages().items():
            by_verdict[verdict] += n
        assert by_verdict == {"continue": 3 * rounds, "accept": 2 * rounds, "discard": rounds,
                              "reject": rounds}
        assert values['milterd_alerts_total{rule="alerts",destination="ops"}'] == 3 * rounds
        assert values['milterd_alerts_total{rule="noise",destination="ops"}'] == rounds
        assert 'milterd_alerts_total{rule="spam",destination="default"}' not in values
        assert values['milterd_receipts_total{status="accepted"}'] == 4 * rounds
        assert values["milterd_receipt_seconds_count"] == 4 * rounds
        assert 0 < values["milterd_receipt_seconds_sum"] < 60 * rounds
        assert values["milterd_aborted_total"] == 0
        return values

    send_round(1)
    check(1)

    bridge.milterd.process.send_signal(signal.SIGHUP)
    bridge.milterd.process.wait_log("reloaded, ready with 2 workers")
    send_round(2)
    values = check(2)
    assert values['milterd_reloads_total{result="success"}'] == 1

    victims = children_of(bridge.milterd.process.pid)
    for worker in victims:
        os.kill(worker, signal.SIGKILL)
    page.wait(worker_restarts_total=len(victims), workers=2)
    send_round(3)
    check(3)


# The MTA's side by hand: each message once, at its step.

def test_message_is_counted_at_the_step_that_decided(counting):
    page = counting.page
    mta = counting.session()
    assert mta.message()[0] == CONTINUE
    assert mta.message(noise(1))[0] == DISCARD
    assert mta.message((("Subject", "SPAM"),))[0] == REPLYCODE
    assert mta.message(LETTER)[0] == ACCEPT
    assert page.messages() == {("message", "continue"): 1, ("message", "discard"): 1,
                               ("message", "reject"): 1, ("headers", "accept"): 1}
    mta.quit()


def test_mail_that_drops_out_early_is_counted_there(counting):
    counting.rules = """
      { name = "it"; match: { client = "192.0.2.7"; envelope_from = "nms@example.org"; rcpt = "r@x";
                              subject = "ALERT"; }; }"""
    counting.write()
    counting.reload()
    assert counting.mta().connect() == ACCEPT
    mta = counting.mta()
    assert mta.connect("192.0.2.7") == CONTINUE
    assert mta.message(sender="<alice@example.org>")[0] == ACCEPT
    assert mta.message()[0] == ACCEPT
    assert mta.message(rcpts=["<r@x>"])[0] == ACCEPT
    assert counting.page.messages() == {("connect", "accept"): 1, ("mail", "accept"): 1,
                                        ("data", "accept"): 1, ("headers", "accept"): 1}


def test_message_that_the_mta_gives_up_is_counted_as_such(counting):
    mta = counting.session()
    assert mta.begin()[0] == CONTINUE
    mta.write(b"A")
    assert mta.message()[0] == CONTINUE
    mta.write(b"A")  # between messages there is nothing to give up
    assert mta.begin()[0] == CONTINUE
    mta.close()
    counting.page.wait(aborted_total=2, connections=0)
    assert counting.page.messages() == {("message", "continue"): 1}


def test_tempfail_on_failure_is_counted_and_the_relay_told_unavailable(counting, relay):  # noqa: F811
    page = counting.page
    counting.relay = 'timeout = "1s";'
    counting.write()
    counting.reload()
    relay.status = None
    page.wait(relay_available=1)
    mta = counting.session()
    for n in range(5):
        assert mta.message(noise(n))[0] == REPLYCODE
    page.wait(relay_available=0)
    values = page.read()
    assert page.messages() == {("message", "tempfail"): 5}
    assert values['milterd_receipts_total{status="none"}'] == 5
    assert values["milterd_receipt_seconds_count"] == 3  # the others did not wait
    assert values['milterd_receipt_seconds_bucket{le="0.25"}'] == 0

    relay.status = "accepted"
    page.wait(relay_available=1)


@pytest.mark.parametrize("status, taken", [("accepted", True), ("duplicate", True),
                                           ("delivered", True), ("busy", False),
                                           ("refused", False)])
def test_receipt_is_counted_by_its_status(counting, relay, status, taken):  # noqa: F811
    relay.status = status
    assert counting.session().message()[0] == (CONTINUE if taken else REPLYCODE)
    receipts = {name: value for name, value in counting.page.read().items()
                if name.startswith("milterd_receipts_total") and value > 0}
    assert receipts == {f'milterd_receipts_total{{status="{status}"}}': 1}
    assert counting.page.messages() == {("message", "continue" if taken else "tempfail"): 1}


def test_mail_that_a_guard_holds_back_is_counted_by_its_name(counting):
    vacation = (*ALERT, ("Auto-Submitted", "auto-replied"))
    assert counting.session().message(vacation)[0] == ACCEPT
    values = counting.page.read()
    assert values['milterd_guarded_total{guard="auto-reply"}'] == 1
    assert values['milterd_guarded_total{guard="bounce"}'] == 0
    assert counting.page.messages() == {("headers", "accept"): 1}


def test_rule_without_destination_counts_for_the_default(counting):
    assert counting.session().message(noise(1))[0] == DISCARD
    values = counting.page.read()
    assert values['milterd_alerts_total{rule="noise",destination="default"}'] == 1
    for destination in ("ops", "night-shift"):
        assert values[f'milterd_alerts_total{{rule="alerts",destination="{destination}"}}'] == 0
    assert counting.session().message()[0] == CONTINUE
    values = counting.page.read()
    for destination in ("ops", "night-shift"):
        assert values[f'milterd_alerts_total{{rule="alerts",destination="{destination}"}}'] == 1


def test_verdicts_and_failures_of_scripts_are_counted(counting):
    use_script(counting, """
      function mail(m, address)
        if address == "no@example.org" then return "reject" end
      end
      function rcpt(m, address)
        if address == "gone@example.org" then return "reject" end
      end
      function message(m)
        if m.headers.subject == "BOOM" then error("boom") end
        if m.headers.subject == "DROP" then return "discard" end
        if m.headers.subject == "HOLD" then m:quarantine("it") end
      end""")
    mta = counting.session()
    assert mta.message(sender="<no@example.org>")[0] == REPLYCODE
    assert mta.message((("Subject", "BOOM"),))[0] == REPLYCODE
    assert mta.message((("Subject", "DROP"),))[0] == DISCARD
    assert mta.message((("Subject", "HOLD"),))[0] in (ACCEPT, CONTINUE)
    assert mta.message(LETTER)[0] == ACCEPT
    # A recipient that is refused is no message.
    assert mta.message(LETTER, rcpts=["<gone@example.org>"])[0] == REPLYCODE
    mta.write(b"A")
    assert mta.message()[0] == CONTINUE

    counting.page.wait(aborted_total=1)
    assert counting.page.messages() == {
        ("mail", "reject"): 1, ("message", "tempfail"): 1, ("message", "discard"): 1,
        ("message", "quarantine"): 1, ("message", "accept"): 1, ("message", "continue"): 1}
    assert counting.page.read()['milterd_script_errors_total{script="it"}'] == 1


# Processes that come and go.

def test_connections_of_workers_that_are_killed_are_no_longer_open(counting):
    page = counting.page
    sessions = [counting.session() for _ in range(5)]
    page.wait(connections=5, connections_total=5)
    sessions.pop().quit()
    page.wait(connections=4, connections_total=5)
    assert sessions[0].message()[0] == CONTINUE
    assert sessions[1].begin()[0] == CONTINUE

    workers = counting.workers_now()
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    page.wait(connections=0, connections_total=5, worker_restarts_total=len(workers), workers=2)
    assert page.messages() == {("message", "continue"): 1}
    assert counting.session().message()[0] == CONTINUE
    assert page.messages() == {("message", "continue"): 2}


def test_workers_that_a_reload_lets_go_count_on_and_are_no_restarts(counting):
    page = counting.page
    old = counting.session()
    counting.rules = RULES.replace('"noise"', '"racket"')
    counting.write()
    counting.reload()
    new = counting.session()
    assert old.message(noise(1))[0] == DISCARD
    assert new.message(noise(2))[0] == DISCARD
    page.wait(connections=2)
    values = page.read()
    for rule in ("noise", "racket"):
        assert values[f'milterd_alerts_total{{rule="{rule}",destination="default"}}'] == 1
    old.quit()
    wait_until(lambda: len(counting.workers_now()) == 2, "the old workers to end")
    page.wait(connections=1, workers=2, worker_restarts_total=0)
    assert page.messages() == {("message", "discard"): 2}


def test_counts_of_workers_that_are_killed_under_load_are_whole(counting):
    """What the MTA was told is counted, each time."""
    told = unheard = 0
    kill_at = time.monotonic() + 0.5
    while unheard < 3:
        try:
            with contextlib.closing(counting.session()) as mta:
                for _ in range(20):
                    assert mta.message(LETTER)[0] == ACCEPT
                    told += 1
                    if time.monotonic() >= kill_at:
                        os.kill(random.choice(counting.workers_now()), signal.SIGKILL)
                        kill_at += 0.5
        except (OSError, Gone):
            unheard += 1
    counted = counting.page.messages()[("headers", "accept")]
    assert told > 20
    assert told <= counted <= told + unheard


# Where they are.

def test_reload_moves_them_and_turns_them_off(counting, place):
    other = Page(place.port())
    counting.extra = other.setting
    counting.write()
    counting.reload()
    assert other.read()['milterd_reloads_total{result="success"}'] == 1
    with pytest.raises(ConnectionRefusedError):
        counting.page.text()

    counting.extra = ""
    counting.write()
    counting.reload()
    with pytest.raises(ConnectionRefusedError):
        other.text()

    counting.extra = counting.page.setting
    counting.write()
    counting.reload()
    assert counting.page.read()['milterd_reloads_total{result="success"}'] == 3


def test_reload_that_fails_is_counted_and_leaves_them_where_they_are(counting, place):
    page = counting.page
    page.wait(last_reload_successful=1)

    def fail(words, times):
        counting.write()
        counting.process.send_signal(signal.SIGHUP)
        counting.wait_log(words, times)
        page.wait(last_reload_successful=0)
        assert page.read()['milterd_reloads_total{result="failure"}'] == times
        assert counting.session().message()[0] == CONTINUE

    with socket.create_server(("127.0.0.1", place.port())) as taken:
        counting.extra = Page(taken.getsockname()[1]).setting
        fail("keeping the old configuration", 1)
    assert "another process listens there" in counting.log
    counting.extra = 'metrics: { listen = "localhost:9798"; };'
    fail("keeping the old configuration", 2)

    # One that could move them, but not what MTAs connect to.
    other = Page(place.port())
    counting.extra = other.setting
    counting.listen = f'[ "unix:{counting.folder}/nowhere/milter.sock", "unix:{counting.socket}" ]'
    fail("keeping the old configuration", 3)
    with pytest.raises(ConnectionRefusedError):
        other.text()

    counting.listen = f'"unix:{counting.socket}"'
    counting.extra = page.setting
    counting.write()
    counting.reload()
    page.wait(last_reload_successful=1)


def test_socket_has_its_mode_and_goes_with_the_daemon(counting):
    path = counting.folder / "metrics.sock"
    counting.extra = f'metrics: {{ listen = "unix:{path}"; mode = "0600"; }};'
    counting.write()
    counting.reload()
    assert "\nmilterd_last_reload_successful 1\n" in metrics.request(str(path))[1]
    assert path.stat().st_mode & 0o777 == 0o600
    counting.process.send_signal(signal.SIGTERM)
    assert counting.process.wait(20) == 0
    assert not path.exists()


def test_address_that_is_taken_keeps_the_daemon_from_starting(milterd, page):  # noqa: F811
    with socket.create_server(("127.0.0.1", page.port)):
        milterd.extra = page.setting
        milterd.write()
        done = subprocess.run([milterd.program, "-c", milterd.config], capture_output=True,
                              text=True, timeout=20, check=False)
    assert done.returncode == 69
    assert "another process listens there" in done.stderr


def test_wrong_address_is_an_error_of_the_configuration(milterd):  # noqa: F811
    milterd.extra = 'metrics: { listen = "127.0.0.1"; prot = 9798; };'
    milterd.write()
    done = subprocess.run([milterd.program, "-c", milterd.config, "--check"], capture_output=True,
                          text=True, timeout=20, check=False)
    assert done.returncode == 78
    assert "metrics.listen" in done.stderr and "prot" in done.stderr


def inodes(pid):
    return {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}


def test_workers_have_no_part_in_serving_them(counting):
    """A worker takes each stream socket that it has for an MTA's, and would wait for its end."""
    with socket.create_connection(("127.0.0.1", counting.page.port)) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\n")
        counting.reload()
        assert counting.session().message()[0] == CONTINUE
        wait_until(lambda: len(counting.workers_now()) == 2, "the old workers to end")
        sockets = [name for name in inodes(counting.process.pid) if name.startswith("socket:")]
        workers = counting.workers_now()
        shared = [set(sockets) & inodes(worker) for worker in workers]
        # The listening one that MTAs connect to.
        assert [len(names) for names in shared] == [1] * len(workers)
        assert len(sockets) > 2

        began = time.monotonic()
        counting.process.send_signal(signal.SIGTERM)
        assert counting.process.wait(20) == 0
        assert time.monotonic() - began < 5


# What they look like.

def test_page_is_clean(counting, place):
    assert counting.session().message()[0] == CONTINUE
    assert metrics.check(counting.page.text()) == ""
    assert metrics.check_openmetrics(place, counting.page.text(metrics.OPENMETRICS)) == ""


def test_daemon_tells_what_it_is(counting):
    version = subprocess.run([counting.program, "--version"], capture_output=True, text=True,
                             check=True, timeout=20).stdout.split()[1]
    values = counting.page.read()
    assert values[f'milterd_build_info{{version="{version}"}}'] == 1
    assert abs(values["milterd_start_time_seconds"] - time.time()) < 60


def test_manual_has_all_of_them_and_no_other(counting):
    """With their labels and types."""
    use_script(counting, "function message(m) end")
    text = counting.page.text()
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    labels = {name: tuple(re.findall(r'(\w+)="', next(
        line for line in text.splitlines() if re.match(rf"{name}(_bucket)?[ {{]", line))))
        for name in types}
    labels = {name: tuple(label for label in found if label != "le")
              for name, found in labels.items()}

    section = MANUAL.read_text().split(".Sh METRICS\n")[1].split("\n.Sh ")[0]
    items = re.findall(r"^\.It Cm (milterd_\w+)(?: Ns Brq Ar ([a-z ,]+))?\n\.Pq (\w+)", section,
                       re.M)
    assert len(items) == section.count(".It Cm milterd_")
    assert {name: kind for name, _, kind in items} == types
    assert {name: tuple(listed.replace(",", " ").split()) for name, listed, _ in items} == labels


def test_every_value_of_a_label_is_in_the_manual(counting):
    section = MANUAL.read_text().split(".Sh METRICS\n")[1].split("\n.Sh ")[0]
    words = set(re.findall(r"[a-z-]+", section))
    named = {value for label, value in re.findall(
        r'(stage|verdict|guard|status|result)="([^"]+)"', counting.page.text())}
    assert "headers" in named and "auto-reply" in named
    assert named <= words
