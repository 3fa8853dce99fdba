#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
How fast an alert gets from Postfix into the room, and what the daemons take for it.

All runs on one machine: Postfix, the XMPP server and the reader, a Python program, share its
processors with the daemons, so these numbers are lower bounds.
"""

import argparse
import json
import os
import re
import socket
import statistics
import struct
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "system"))

from support import mails  # noqa: E402
from support.bridge import ACCOUNTS, Bridge  # noqa: E402
from support.certificates import Authority  # noqa: E402
from support.daemons import Programs  # noqa: E402
from support.ejabberd import Ejabberd  # noqa: E402
from support.place import Place, children_of, resident_kib, run  # noqa: E402
from support.postfix import Postfix, session_send  # noqa: E402
from support.prosody import Prosody  # noqa: E402


def row(what, value):
    print(f"  {what:<54} {value:>16}", flush=True)


def flood(bridge, subject, count, sessions):
    """Many mails at once by smtp-source(1); the seconds that it took."""
    started = time.monotonic()
    run(["/usr/sbin/smtp-source", "-c", "-d", "-s", str(sessions), "-m", str(count),
         "-S", subject, "-l", "600", "-f", "root@client.mail.test", "-t", "ops@mail.test",
         f"127.0.0.1:{bridge.postfix.port}"], timeout=600, check=True)
    return time.monotonic() - started


def throughput(bridge, count, sessions):
    seconds = flood(bridge, "nothing of interest", count, sessions)
    row(f"mails that are no alerts, {sessions} sessions", f"{count / seconds:.0f} /s")

    before = len(bridge.reader.messages("ALERT"))
    started = time.time()
    seconds = flood(bridge, "ALERT in a flood", count, sessions)
    row(f"alerts that Postfix took, {sessions} sessions", f"{count / seconds:.0f} /s")
    bridge.reader.wait_message("ALERT", count=before + count, timeout=600)
    last = max(m["at"] for m in bridge.reader.messages("ALERT"))
    row("alerts said in the room, first mail to last message", f"{count / (last - started):.0f} /s")


def bare_relay(bridge, count):
    """Records straight into the socket by one sender that waits for each receipt."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.bind("")
        sender.connect(str(bridge.relay.socket))
        sender.settimeout(60)
        started = time.time()
        window = 64
        sent = received = 0
        while received < count:
            while sent < count and sent - received < window:
                data = json.dumps({"v": 1, "text": f"record {sent}", "title": "BENCH"}).encode()
                sender.send(struct.pack(">I", len(data)) + data)
                sent += 1
            answer = sender.recv(131072)
            assert b'"accepted"' in answer, answer
            received += 1
        row("records accepted, one sender, 64 unanswered at most",
            f"{count / (time.time() - started):.0f} /s")
    bridge.reader.wait_message("BENCH", count=count, timeout=600)
    last = max(m["at"] for m in bridge.reader.messages("BENCH"))
    row("records said in the room, first to last", f"{count / (last - started):.0f} /s")


def latency(bridge, count):
    began, took = {}, {}
    with bridge.postfix.session() as session:
        for n in range(count):
            began[n] = time.time()
            code, _ = session_send(session, mails.plain(f"ALERT single {n}."))
            took[n] = time.time()
            assert code == 250
            bridge.reader.wait_message(f"ALERT single {n}.")
    after_start, after_end = [], []
    for message in bridge.reader.messages("ALERT single"):
        n = int(re.search(r"ALERT single (\d+)\.", message["body"]).group(1))
        after_start.append((message["at"] - began[n]) * 1000)
        after_end.append((message["at"] - took[n]) * 1000)
    # It may be said before the mail server has answered its client: then the wait is negative.
    for what, waits in (("SMTP's MAIL FROM to the room", after_start),
                        ("SMTP's 250 to the room", after_end)):
        waits.sort()
        row(f"{what}, median", f"{statistics.median(waits):.1f} ms")
        row(f"{what}, 99 of 100 below", f"{waits[int(len(waits) * 0.99) - 1]:.1f} ms")


def memory(bridge):
    row("milterd manager, resident", f"{resident_kib(bridge.milterd.process.pid) / 1024:.1f} MiB")
    for pid in children_of(bridge.milterd.process.pid):
        row("milterd worker, resident", f"{resident_kib(pid) / 1024:.1f} MiB")
    row("xmpprelay relay process, resident",
        f"{resident_kib(bridge.relay.process.pid) / 1024:.1f} MiB")
    for pid in children_of(bridge.relay.process.pid):
        row("xmpprelay session process, resident", f"{resident_kib(pid) / 1024:.1f} MiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", required=True)
    parser.add_argument("--mails", type=int, default=3000)
    parser.add_argument("--sessions", type=int, default=8)
    parser.add_argument("--singles", type=int, default=200)
    parser.add_argument("--server", choices=["prosody", "ejabberd"], default="prosody")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("bench: Postfix starts as root only; run tests/bench/run")

    place = Place("mx-bench-")
    bridge = None
    try:
        programs = Programs(place, options.build)
        authority = Authority(place)
        kind = Prosody if options.server == "prosody" else Ejabberd
        server = kind(place, authority, ACCOUNTS).start()
        postfix = Postfix(place, place / "milter" / "milter.sock").start()
        bridge = Bridge(place, programs, postfix, server, authority, "bench")
        bridge.relay.extra = ""
        for daemon in (bridge.relay, bridge.milterd):
            daemon.process.argv.remove("-v")
        bridge.start()
        print(f"{os.cpu_count()} processors, {options.server}, {options.mails} mails\n")
        memory(bridge)
        print()
        latency(bridge, options.singles)
        print()
        throughput(bridge, options.mails, options.sessions)
        print()
        bare_relay(bridge, options.mails)
        print("\n  after that:")
        memory(bridge)
    finally:
        problems = bridge.close() if bridge else []
        place.close()
    for problem in problems:
        print(f"bench: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
