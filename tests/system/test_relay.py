# SPDX-License-Identifier: MIT
"""The relay alone, spoken to as any program may: what it keeps through kills, reloads, full disks."""

import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from support.place import children_of, run, wait_until
from support.service_manager import ServiceManager


@pytest.fixture
def relayed(bridge):
    bridge.start_reader()
    bridge.relay.start().wait_ready()
    return bridge


class Sender:
    """A bound socket; sends a record until a receipt says that it is kept, as milterd would."""

    def __init__(self, relay):
        self.path = str(relay.socket)

    def ask(self, record, timeout=5):
        """The receipt's status, or None."""
        frame = json.dumps({"v": 1, **record}).encode()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind("")
            sock.settimeout(timeout)
            try:
                sock.connect(self.path)
                sock.send(struct.pack(">I", len(frame)) + frame)
                answer = sock.recv(131072)
            except OSError:
                return None
        return json.loads(answer[4:])["status"]

    def keep(self, record):
        def kept():
            return self.ask(record) in ("accepted", "duplicate")
        wait_until(kept, f"{record['id']} to be kept", 120, interval=0.2)


def send_all(relay, total, threads=8):
    sender = Sender(relay)

    def work(first):
        for n in range(first, total, threads):
            sender.keep({"id": f"n-{n}", "text": f"alert {n}."})

    workers = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
    for worker in workers:
        worker.start()
    return workers


def assert_each_once(reader, total):
    texts = [message["body"] for message in reader.messages("alert ")]
    for n in range(total):
        assert sum(f"alert {n}." in text for text in texts) == 1, n


def wait_drained(bridge, total):
    bridge.reader.wait_message("alert ", count=total, timeout=240)
    wait_until(lambda: bridge.relay.status()["waiting"] == 0, "the spool to be empty", 60)


def test_relay_killed_again_and_again_says_each_once(relayed):
    total = 400
    workers = send_all(relayed.relay, total)
    for _ in range(6):
        threading.Event().wait(random.uniform(0.2, 0.9))
        sessions = children_of(relayed.relay.process.pid)
        relayed.relay.process.send_signal(signal.SIGKILL)
        relayed.relay.process.wait()
        wait_until(lambda: not any(os.path.exists(f"/proc/{p}") for p in sessions),
                   "the sessions to end with the relay")
        relayed.relay.start()
    for worker in workers:
        worker.join()
    wait_drained(relayed, total)
    assert_each_once(relayed.reader, total)


def test_sessions_killed_again_and_again_say_each_once(relayed):
    total = 400
    workers = send_all(relayed.relay, total)
    for _ in range(6):
        threading.Event().wait(random.uniform(0.2, 0.9))
        for pid in children_of(relayed.relay.process.pid):
            os.kill(pid, signal.SIGKILL)
    for worker in workers:
        worker.join()
    wait_drained(relayed, total)
    assert_each_once(relayed.reader, total)


def test_reload_that_changes_sessions_loses_nothing(relayed):
    total = 300
    workers = send_all(relayed.relay, total)
    for n in range(4):
        relayed.reader.wait_message("alert ", count=20 * (n + 1))
        relayed.relay.extra = (f'session: {{ backoff = "{200 + n}ms"; backoff_cap = "2s"; }};\n')
        relayed.relay.write()
        relayed.relay.process.send_signal(signal.SIGHUP)
        wait_until(lambda n=n: relayed.relay.process.log_text().count("was read again") == n + 1,
                   "the reload")
        relayed.relay.wait_ready()
    for worker in workers:
        worker.join()
    wait_drained(relayed, total)
    assert_each_once(relayed.reader, total)


def test_reload_takes_a_new_destination_and_keeps_what_waits_for_an_old_one(relayed):
    relay = relayed.relay
    relay.ctl("pause", "ops")
    assert relay.send("-i", "kept", "ops", "--", "alert 0.").returncode == 0
    room = relay.rooms.pop("ops")
    relay.rooms["other"] = room
    relay.default_destination = "other"
    relay.write()
    relay.process.send_signal(signal.SIGHUP)
    relay.process.wait_log("was read again")
    relay.wait_ready()
    assert relay.send("ops", "--", "x").returncode == 65
    assert relay.send("--", "alert 1.").returncode == 0
    relayed.reader.wait_message("alert 1.")
    assert relay.status()["waiting"] == 1

    relay.rooms["ops"] = relay.rooms.pop("other")
    relay.default_destination = "ops"
    relay.write()
    relay.process.send_signal(signal.SIGHUP)
    wait_until(lambda: relay.ctl("resume", "ops", check=False).returncode == 0, "ops to be known")
    relayed.reader.wait_message("alert 0.")


def test_message_is_in_the_style_of_its_destination(relayed):
    relay, reader = relayed.relay, relayed.reader
    assert relay.send("-s", "critical", "-t", "web1", "--", "alert 0.\n```\n").returncode == 0
    styled = reader.wait_message("alert 0.")
    assert styled["body"] == "🔴 CRITICAL *web1*\n```\nalert 0.\n``\u2060`\n```"
    assert not styled["unstyled"]

    sessions = children_of(relay.process.pid)
    relay.styles["ops"] = "plain"
    relay.write()
    relay.process.send_signal(signal.SIGHUP)
    relay.process.wait_log("was read again")
    assert relay.send("-s", "critical", "-t", "web1", "--", "alert 1.\n```\n").returncode == 0
    plain = reader.wait_message("alert 1.")
    assert plain["body"] == "[CRITICAL] web1\nalert 1.\n```"
    assert plain["unstyled"]
    assert children_of(relay.process.pid) == sessions


def test_reload_that_is_broken_keeps_the_old(relayed):
    relayed.relay.write("this is no configuration")
    relayed.relay.process.send_signal(signal.SIGHUP)
    relayed.relay.process.wait_log("keeping the old configuration")
    assert relayed.relay.send("--", "alert 0.").returncode == 0
    relayed.reader.wait_message("alert 0.")


def test_flood_of_records_holds_up_nothing_else(relayed):
    relay = relayed.relay
    frame = b'{"v":1,"text":"flood","id":"flood"}'
    datagram = (struct.pack(">I", len(frame)) + frame) * 1500
    over = threading.Event()

    def flood():
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.connect(str(relay.socket))
            sock.settimeout(1)
            while not over.is_set():
                try:
                    sock.send(datagram)
                except OSError:
                    pass

    flooder = threading.Thread(target=flood)
    flooder.start()
    try:
        threading.Event().wait(1)
        assert relay.status()["destinations"]
        Sender(relay).keep({"id": "n-0", "text": "alert 0."})
        relayed.reader.wait_message("alert 0.")
        relay.process.send_signal(signal.SIGTERM)
        assert relay.process.wait(20) == 0
    finally:
        over.set()
        flooder.join()


# One that never reads; then as many that each leave a few receipts unread.
DEAF = """
    import socket, struct, sys
    def sender():
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        s.bind("")
        s.connect(sys.argv[1])
        return s
    frame = b'{"v":1,"text":"deaf","to":"nowhere"}'
    senders = [sender() for _ in range(100)]
    for n in range(3000):
        (senders[0] if n < 2000 else senders[n % 100]).send(struct.pack(">I", len(frame)) + frame)
    print("sent", flush=True)
    sys.stdin.read()
"""


def test_senders_that_never_read_leave_the_others_their_receipts(relayed):
    relay = relayed.relay
    deaf = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(DEAF), str(relay.socket)], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True, user="games", group="games",
        extra_groups=[relay.group])
    try:
        assert deaf.stdout.readline() == "sent\n"
        for n in range(50):
            assert Sender(relay).ask({"id": f"n-{n}", "text": f"alert {n}."}) == "accepted", n
        assert relay.process.log_text().count("do not read their receipts") == 1
    finally:
        deaf.communicate()
    wait_drained(relayed, 50)


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_socket_that_can_not_be_read_is_left_in_peace_for_a_while(relayed, place):
    relay = relayed.relay
    library, fails = place / "recvmmsg.so", relay.folder / "recvmmsg-fails"
    source = Path(__file__).parent / "support" / "recvmmsg.c"
    run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
    relay.stop()
    options = os.environ.get("ASAN_OPTIONS", "")
    before = dict(relay.process.env)
    relay.process.env |= {"LD_PRELOAD": str(library), "RECVMMSG_FAILS": str(fails),
                          "ASAN_OPTIONS": f"{options}:verify_asan_link_order=0".lstrip(":")}
    relay.start().wait_ready()
    relay.process.env = before

    fails.touch()
    fails.chmod(0o666)
    assert Sender(relay).ask({"id": "n-0", "text": "alert 0."}, timeout=0.5) is None
    began, used = fails.stat().st_size, cpu_seconds(relay.process.pid)
    time.sleep(3)
    assert fails.stat().st_size - began < 30
    assert cpu_seconds(relay.process.pid) - used < 1
    assert relay.status()["destinations"]
    fails.unlink()
    Sender(relay).keep({"id": "n-0", "text": "alert 0."})
    relayed.reader.wait_message("alert 0.")
    assert relay.process.log_text().count("relay.sock can't be read") == 1
    assert relay.process.log_text().count("relay.sock can be read again") == 1


def test_full_disk_is_busy_and_recovers(bridge, small_disk):
    bridge.start_reader()
    bridge.relay.spool = small_disk / "spool.db"
    bridge.relay.start().wait_ready()
    sender = Sender(bridge.relay)
    assert sender.ask({"id": "n-0", "text": "alert 0."}) == "accepted"
    bridge.reader.wait_message("alert 0.")

    with open(small_disk / "ballast", "wb", buffering=0) as ballast:
        try:
            while ballast.write(b"x" * 4096) == 4096:
                pass
        except OSError:
            pass
    answers = [sender.ask({"id": "n-1", "text": "alert 1." + "x" * 20000}) for _ in range(20)]
    assert "busy" in answers, answers
    assert bridge.relay.process.alive
    bridge.relay.process.wait_log("is nearly full")
    assert bridge.relay.status()["busy_because"] == "the spool's disk is nearly full"
    assert "senders are told busy: the spool's disk" in bridge.relay.ctl("status").stdout

    (small_disk / "ballast").unlink()
    sender.keep({"id": "n-2", "text": "alert 2."})
    bridge.reader.wait_message("alert 2.")
    bridge.relay.process.wait_log("has room again")
    assert "busy_because" not in bridge.relay.status()
    wait_until(lambda: bridge.relay.status()["waiting"] == 0, "the spool to be empty", 60)


def test_second_relay_on_the_same_spool_is_refused(relayed):
    relay = relayed.relay
    other = relay.folder / "other.conf"
    other.write_text(relay.text().replace("relay.sock", "relay2.sock")
                     .replace("control.sock", "control2.sock"))
    done = run([relay.programs["xmpprelay"], "-c", other])
    assert done.returncode != 0
    assert "only one relay" in done.stderr


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_datagrams_wait_for_the_next_process_in_the_service_managers_hands(bridge, end):
    relay = bridge.relay
    bridge.start_reader()
    manager = ServiceManager(relay.process, relay.folder, "records")
    relay.start().wait_ready()
    manager.wait_stored()
    path = os.stat(relay.socket)

    relay.process.send_signal(end)
    relay.process.wait()
    answers = []
    asking = threading.Thread(target=lambda: answers.append(
        Sender(relay).ask({"id": "meanwhile", "text": "alert 0."}, timeout=60)))
    asking.start()
    threading.Event().wait(0.5)
    assert not answers  # sent, and nobody there to answer

    manager.start_again()
    asking.join()
    assert answers == ["accepted"]
    bridge.reader.wait_message("alert 0.")
    assert os.stat(relay.socket).st_ino == path.st_ino
    assert Sender(relay).ask({"id": "later", "text": "alert 1."}) == "accepted"
    manager.close()
