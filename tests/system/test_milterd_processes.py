# SPDX-License-Identifier: MIT
"""
milterd's processes and its side of the milter protocol, without an MTA and without xmpprelay:
the MTA is a small client of the protocol here, the relay a thread with a datagram socket.
"""

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

from support.place import wait_until

EX_CONFIG = 78

# The protocol's commands, answers and flags (mfdef.h).
CONTINUE, ACCEPT, REJECT, DISCARD, TEMPFAIL = b"c", b"a", b"r", b"d", b"t"
SKIP, REPLYCODE, QUARANTINE, NEGOTIATE = b"s", b"y", b"q", b"O"

AT_CONNECT, AT_MAIL, AT_END, AT_HEADERS = 0, 2, 5, 6  # where macros are asked for

NO_HELO, NO_BODY, NO_DATA, CAN_SKIP = 0x2, 0x10, 0x200, 0x400
NO_REPLY = {b"L": 0x80, b"C": 0x1000, b"H": 0x2000, b"M": 0x4000, b"R": 0x8000, b"T": 0x10000, b"N": 0x40000,
            b"B": 0x80000}
ALL_STEPS = 0x1FFFFF
ALL_ACTIONS = 0x1FF
MAY_QUARANTINE = 0x20

ALERT = (("Subject", "ALERT disk full"), ("From", "nms@example.org"), ("Message-ID", "<1@nms>"))
LETTER = (("Subject", "Lunch?"), ("From", "alice@example.org"))

RULES = """
  { name = "it"; match: { subject: { glob = "*ALERT*"; }; }; to = [ "ops" ];
    verdict = "%s"; }"""


class Gone(Exception):
    """The other end has closed the connection."""


class Mta:
    """One connection with the filter, as an MTA has it."""

    def __init__(self, address, steps=ALL_STEPS, actions=ALL_ACTIONS):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(20)
        self.socket.connect(address)
        self.sent = []  # the commands of the last message
        self.write(NEGOTIATE, struct.pack(">III", 6, actions, steps))
        answer, data = self.read()
        assert answer == NEGOTIATE
        _, self.actions, self.steps = struct.unpack(">III", data[:12])
        self.asked = {}  # the macros that the filter wants, by where
        data = data[12:]
        while data:
            where, = struct.unpack(">I", data[:4])
            names, _, data = data[4:].partition(b"\0")
            self.asked[where] = names.decode().split()

    def close(self):
        self.socket.close()

    def quit(self):
        self.write(b"Q")
        assert self.socket.recv(1) == b""
        self.close()

    def write(self, command, data=b""):
        self.socket.sendall(struct.pack(">I", len(data) + 1) + command + data)

    def read_exactly(self, size):
        data = b""
        while len(data) < size:
            try:
                more = self.socket.recv(size - len(data))
            except ConnectionResetError:
                more = b""
            if not more:
                raise Gone
            data += more
        return data

    def read(self):
        size, = struct.unpack(">I", self.read_exactly(4))
        data = self.read_exactly(size)
        return data[:1], data[1:]

    def macros(self, command, macros):
        """What goes before a step."""
        if macros:
            self.write(b"D", command + b"".join(f"{name}\0{value}\0".encode()
                                                for name, value in macros.items()))

    def step(self, command, data=b"", macros=None):
        """Sends a step; gives its answer, CONTINUE where none was negotiated."""
        self.sent.append(command)
        self.macros(command, macros)
        self.write(command, data)
        if self.steps & NO_REPLY.get(command, 0):
            return CONTINUE, b""
        return self.read()

    def connect(self, client="192.0.2.1", name="client.example.org", macros=None):
        family = b"6" if ":" in client else b"4"
        if not client:
            data = b"U"
        elif client.startswith("/"):
            data = b"L" + struct.pack(">H", 0) + client.encode() + b"\0"
        else:
            data = family + struct.pack(">H", 4711) + client.encode() + b"\0"
        return self.step(b"C", name.encode() + b"\0" + data, macros)[0]

    def helo(self, name="client.example.org"):
        assert not self.steps & NO_HELO
        return self.step(b"H", name.encode() + b"\0")[0]

    def begin(self, headers=ALERT, sender="<nms@example.org>", rcpts=("<root@example.org>",),
              macros=None):
        """All up to the end of the headers; gives the first answer that is not CONTINUE."""
        self.sent = []
        # As MTAs do: without any macro the step would leave those of the last mail in effect.
        told = {"{mail_addr}": sender.strip("<>")} if AT_MAIL in self.asked else {}
        answer, data = self.step(b"M", sender.encode() + b"\0", {**told, **(macros or {})})
        if answer != CONTINUE:
            return answer, data
        for rcpt in rcpts:
            answer, data = self.step(b"R", rcpt.encode() + b"\0")
            if answer != CONTINUE:
                return answer, data
        if not self.steps & NO_DATA:
            answer, data = self.step(b"T")
            if answer != CONTINUE:
                return answer, data
        for name, value in headers:
            answer, data = self.step(b"L", name.encode() + b"\0" + value.encode() + b"\0")
            if answer != CONTINUE:
                return answer, data
        return self.step(b"N")

    def end(self, body=b"99 % in use\r\n", queue_id="4711", macros=None):
        """The body and the end of the message; gives the verdict, and what came before it."""
        for at in range(0, len(body), 65535):
            answer, data = self.step(b"B", body[at:at + 65535])
            if answer == SKIP:
                break
            if answer != CONTINUE:
                return answer, data, []
        self.macros(b"E", {**({"i": queue_id} if queue_id else {}), **(macros or {})})
        self.sent.append(b"E")
        self.write(b"E")
        before = []
        while True:
            answer, data = self.read()
            if answer != QUARANTINE:
                return answer, data, before
            before.append((answer, data))

    def message(self, headers=ALERT, body=b"99 % in use\r\n", **envelope):
        """A whole message; gives the verdict, or the answer that ended it before."""
        answer, data = self.begin(headers, **envelope)
        if answer != CONTINUE:
            return answer, data
        return self.end(body)[:2]


class Relay:
    """Receives records and answers as it is told: a status for all or for each rule, or None for
    no receipt."""

    def __init__(self, path):
        self.status = "accepted"
        self.records = []
        self.datagrams = 0
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        os.chmod(path, 0o666)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                data, sender = self.socket.recvfrom(1 << 18)
            except OSError:
                return
            if not data:
                return
            self.datagrams += 1
            while data:
                size, = struct.unpack(">I", data[:4])
                self.take(json.loads(data[4:4 + size]), sender)
                data = data[4 + size:]

    def take(self, record, sender):
        self.records.append(record)
        status = self.status
        if isinstance(status, dict):
            status = status.get(record["fields"]["rule"])
        if status:
            answer = json.dumps({"v": 1, "id": record["id"], "status": status,
                                 "reason": "as the test has it"}).encode()
            self.socket.sendto(struct.pack(">I", len(answer)) + answer, sender)

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class Filter:
    """A milterd of our own, with its log."""

    def __init__(self, program, folder):
        self.program = program
        self.folder = folder
        self.config = folder / "milterd.conf"
        self.socket = str(folder / "milter.sock")
        self.listen = f'"unix:{self.socket}"'
        self.relay_socket = str(folder / "relay.sock")
        self.relay = ""
        self.extra = ""
        self.workers = 2
        self.rules = RULES % "continue"
        self.log_path = folder / "log"
        self.process = None

    def write(self):
        self.config.write_text(f"""
            listen = {self.listen};
            workers = {self.workers};
            relay: {{ socket = "{self.relay_socket}"; {self.relay} }};
            {self.extra}
            rules: ( {self.rules} );
        """)

    def start(self, **options):
        self.write()
        times = self.log.count("ready with")
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [self.program, "-c", self.config, "-v"], stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, **options)
        self.wait_log("ready with", times + 1)
        return self

    @property
    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def wait_log(self, words, times=1):
        wait_until(lambda: self.log.count(words) >= times or self.process.poll() is not None,
                   lambda: f"{words!r} {times} times in the log:\n{self.log}")
        assert self.log.count(words) >= times, self.log

    def workers_now(self):
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def reload(self):
        times = self.log.count("reloaded, ready")
        self.process.send_signal(signal.SIGHUP)
        self.wait_log("reloaded, ready", times + 1)

    def mta(self, **options):
        return Mta(self.socket, **options)

    def session(self, **options):
        mta = self.mta(**options)
        assert mta.connect() == CONTINUE
        return mta

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(20)
        for report in ("AddressSanitizer", "LeakSanitizer", "runtime error:",
                       "claimed not to reply", "private data not NULL"):
            assert not self.process or report not in self.log, self.log


@pytest.fixture
def folder():
    path = Path(tempfile.mkdtemp(prefix="milterd-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def milterd(folder, request):
    program = Path(request.config.getoption("--build")).resolve() / "milterd" / "milterd"
    it = Filter(program, folder)
    yield it
    it.stop()


@pytest.fixture
def relay(milterd):
    it = Relay(milterd.relay_socket)
    yield it
    it.close()


# The MTA is asked for what the rules need, and told as soon as none can match.

def test_mail_that_no_rule_matches_is_accepted_before_its_body(milterd, relay):
    mta = milterd.start().session()

    assert mta.message(LETTER)[0] == ACCEPT
    assert b"B" not in mta.sent and b"E" not in mta.sent
    assert not relay.records
    mta.quit()


def test_connection_that_no_rule_can_match_is_accepted_at_once(milterd, relay):
    milterd.rules = '{ name = "it"; match: { client = "192.0.2.7"; }; to = [ "ops" ]; }'
    milterd.start()

    mta = milterd.mta()
    assert mta.connect("192.0.2.1") == ACCEPT
    mta.quit()
    mta = milterd.mta()
    assert mta.connect("192.0.2.7") == CONTINUE
    assert mta.message(LETTER)[0] == CONTINUE
    assert len(relay.records) == 1


def test_mapped_address_is_its_ipv4_one(milterd, relay):
    milterd.rules = '{ name = "it"; match: { client = "192.0.2.7"; }; to = [ "ops" ]; }'
    mta = milterd.start().mta()
    assert mta.connect("::ffff:192.0.2.7") == CONTINUE
    assert mta.message(LETTER)[0] == CONTINUE
    assert len(relay.records) == 1


@pytest.mark.parametrize("client", ["", "/var/run/some.sock", "2001:db8::1"])
def test_client_of_any_family_is_served(milterd, relay, client):
    mta = milterd.start().mta()
    assert mta.connect(client) == CONTINUE
    assert mta.message()[0] == CONTINUE
    assert len(relay.records) == 1


def test_without_rules_all_is_accepted_at_connect(milterd, relay):
    milterd.rules = ""
    mta = milterd.start().mta()
    assert mta.connect() == ACCEPT


def test_sender_that_no_rule_matches_is_accepted_at_mail(milterd, relay):
    milterd.rules = ('{ name = "it"; match: { envelope_from = "nms@example.org"; };'
                     ' to = [ "ops" ]; }')
    mta = milterd.start().session()
    assert mta.message(sender="<alice@example.org>")[0] == ACCEPT
    assert mta.sent == [b"M"]
    assert mta.message(sender="<nms@example.org>")[0] == CONTINUE
    assert len(relay.records) == 1


def test_recipients_that_no_rule_matches_are_accepted_at_data(milterd, relay):
    milterd.rules = '{ name = "it"; match: { rcpt = "ops@example.org"; }; to = [ "ops" ]; }'
    mta = milterd.start().session()
    assert mta.message(rcpts=["<a@example.org>", "<b@example.org>"])[0] == ACCEPT
    assert mta.sent == [b"M", b"R", b"R", b"T"]
    assert mta.message(rcpts=["<a@example.org>", "<ops@example.org>"])[0] == CONTINUE


def test_name_of_a_client_that_no_rule_matches_is_accepted_at_once(milterd, relay):
    milterd.rules = '{ name = "it"; match: { client_name = "nms.example.org"; }; to = [ "ops" ]; }'
    milterd.start()

    assert milterd.mta().connect(name="unknown") == ACCEPT
    mta = milterd.mta()
    assert mta.connect(name="NMS.example.org") == CONTINUE
    assert mta.message(LETTER)[0] == CONTINUE
    assert len(relay.records) == 1


def test_helo_that_no_rule_matches_is_accepted_at_once(milterd, relay):
    milterd.rules = """
      { name = "it"; match: { helo = "nms.local"; envelope_from = "nms@example.org"; };
        to = [ "ops" ]; }"""
    milterd.start()

    assert milterd.session().helo("other.local") == ACCEPT
    mta = milterd.session()
    assert not mta.steps & (NO_HELO | NO_REPLY[b"H"])
    assert mta.helo("nms.local") == CONTINUE
    assert mta.message(LETTER, sender="<x@example.org>")[0] == ACCEPT
    assert mta.message(LETTER)[0] == CONTINUE
    assert mta.message(LETTER)[0] == CONTINUE
    assert len(relay.records) == 2


def test_last_helo_of_a_client_counts(milterd, relay):
    milterd.rules = """
      { name = "it"; match: { helo: { glob = "*.local"; }; subject: { not = "x"; }; };
        to = [ "ops" ]; },
      { name = "sender"; match: { envelope_from = "alice@example.org"; }; to = [ "ops" ]; }"""
    mta = milterd.start().session()
    assert mta.steps & NO_REPLY[b"H"]

    mta.helo("nms.local")
    mta.helo("nms.example.org")
    assert mta.message()[0] == ACCEPT
    mta.helo("nms.local")
    assert mta.message()[0] == CONTINUE
    assert len(relay.records) == 1


def test_login_is_that_of_each_mail(milterd, relay):
    milterd.rules = '{ name = "it"; match: { auth = "nms"; }; to = [ "ops" ]; }'
    mta = milterd.start().session()
    assert mta.steps & NO_HELO
    assert mta.asked == {AT_MAIL: ["{mail_addr}", "{auth_authen}"], AT_HEADERS: ["i"],
                         AT_END: ["i"]}

    assert mta.message(LETTER, macros={"{auth_authen}": "nms"})[0] == CONTINUE
    assert mta.message(LETTER)[0] == ACCEPT
    assert mta.sent == [b"M"]
    assert mta.message(LETTER, macros={"{auth_authen}": "alice"})[0] == ACCEPT
    assert len(relay.records) == 1


def test_macros_are_asked_for_where_a_rule_looks_at_them(milterd, relay):
    assert milterd.start().mta().asked == {AT_HEADERS: ["i"], AT_END: ["i"]}

    milterd.rules = """
      { name = "it"; match: { macro: (
          { name = "daemon_name"; equal = "a"; }, { name = "{our_own}"; equal = "b"; } ); };
        to = [ "ops" ]; }"""
    milterd.write()
    milterd.reload()
    assert milterd.mta().asked == {AT_CONNECT: ["j", "{daemon_name}", "{our_own}"],
                                   AT_MAIL: ["{mail_addr}", "{our_own}"], AT_HEADERS: ["i"],
                                   AT_END: ["i", "{our_own}"]}


def test_as_many_macros_as_are_allowed_are_asked_for(milterd, relay):
    names = [f"{n:064}" for n in range(32)]
    groups = ",".join(f'{{ name = "{name}"; equal = "x"; }}' for name in names)
    milterd.rules = f'{{ name = "it"; match: {{ macro: ( {groups} ); }}; to = [ "ops" ]; }}'
    mta = milterd.start().session()

    assert mta.asked[AT_END] == ["i"] + [f"{{{name}}}" for name in names]
    assert mta.begin(LETTER)[0] == CONTINUE
    assert mta.end(macros={f"{{{names[31]}}}": "x"})[0] == CONTINUE
    assert mta.begin(LETTER)[0] == CONTINUE
    assert mta.end()[0] == ACCEPT
    assert len(relay.records) == 1


def test_macro_of_the_connection_lets_others_go_at_once(milterd, relay):
    milterd.rules = """
      { name = "it"; match: { macro: { name = "daemon_name"; equal = "nms"; }; };
        to = [ "ops" ]; }"""
    milterd.start()

    assert milterd.mta().connect(macros={"{daemon_name}": "other"}) == ACCEPT
    assert milterd.mta().connect() == ACCEPT
    mta = milterd.mta()
    assert mta.connect(macros={"{daemon_name}": "nms"}) == CONTINUE
    assert mta.message(LETTER)[0] == CONTINUE
    assert mta.message(LETTER)[0] == CONTINUE
    assert len(relay.records) == 2


@pytest.mark.parametrize("where", ["connect", "mail", "end"])
def test_macro_of_any_step_is_known_at_the_end(milterd, relay, where):
    milterd.rules = '{ name = "it"; match: { macro: { name = "own"; equal = "1"; }; }; to = "ops"; }'
    mta = milterd.start().mta()
    macros = {where: {"{own}": "1"}}

    assert mta.connect(macros=macros.get("connect")) == CONTINUE
    assert mta.begin(LETTER, macros=macros.get("mail"))[0] == CONTINUE
    assert mta.end(macros=macros.get("end"))[0] == CONTINUE
    assert len(relay.records) == 1


def test_body_is_matched_as_a_person_reads_it(milterd, relay):
    milterd.rules = '{ name = "it"; match: { body: { glob = "*Störung*"; }; }; to = [ "ops" ]; }'
    mta = milterd.start().session()
    headers = (*LETTER, ("Content-Type", "text/plain; charset=iso-8859-1"))

    assert mta.message(headers, body=b"St\xf6rung\r\n")[0] == CONTINUE
    assert mta.message(headers, body=b"Ordnung\r\n")[0] == ACCEPT
    assert len(relay.records) == 1
    assert relay.records[0]["text"] == "Störung"


def test_unix_socket_is_asked_for_no_replies_where_no_mail_drops_out(milterd, relay):
    mta = milterd.start().mta()
    for command in (b"C", b"M", b"R", b"L"):
        assert mta.steps & NO_REPLY[command]
    for command in (b"N", b"B"):
        assert not mta.steps & NO_REPLY[command]
    assert mta.steps & NO_HELO and mta.steps & NO_DATA and not mta.steps & NO_BODY


def test_tcp_is_answered_at_each_step(milterd, relay):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    milterd.listen = f'[ "unix:{milterd.socket}", "inet:{port}@127.0.0.1" ]'
    milterd.start()
    assert len(milterd.workers_now()) == 4

    mta = Mta(("127.0.0.1", port))
    assert not any(mta.steps & bit for bit in NO_REPLY.values())
    assert mta.connect() == CONTINUE
    assert mta.message(LETTER)[0] == ACCEPT
    assert mta.message()[0] == CONTINUE
    assert milterd.session().message()[0] == CONTINUE


def test_mta_that_knows_none_of_the_extensions_is_served(milterd, relay):
    mta = milterd.start().mta(steps=0x7F, actions=0x1F)
    mta.steps = 0  # libmilter answers where the MTA can't go without
    assert mta.connect() == CONTINUE
    assert mta.message(LETTER)[0] == ACCEPT
    assert mta.message(body=b"x" * 3000000)[0] == CONTINUE
    assert len(relay.records) == 1


def test_rest_of_a_large_body_is_skipped(milterd, relay):
    milterd.extra = 'max_message = "64K";'
    mta = milterd.start().session()
    assert mta.begin()[0] == CONTINUE
    assert mta.end(b"x" * 10000000)[0] == CONTINUE
    assert mta.sent.count(b"B") <= 3
    assert len(relay.records) == 1


# Verdicts.

@pytest.mark.parametrize("verdict, answer", [
    ("continue", CONTINUE), ("accept", ACCEPT), ("discard", DISCARD)])
def test_verdict(milterd, relay, verdict, answer):
    milterd.rules = RULES % verdict
    mta = milterd.start().session()

    assert mta.message()[0] == answer
    record, = relay.records
    assert record["to"] in (["ops"], "ops")
    assert record["fields"]["queue_id"] == "4711"
    milterd.wait_log(f"verdict={verdict}")
    assert "receipt=accepted" in milterd.log


@pytest.mark.parametrize("verdict, reply", [
    ("reject", b"550 5.7.1 "), ("tempfail", b"451 4.7.1 ")])
def test_verdict_with_a_reply(milterd, relay, verdict, reply):
    milterd.rules = RULES % verdict
    mta = milterd.start().session()

    answer, text = mta.message()
    assert answer == REPLYCODE and text.startswith(reply)
    assert len(relay.records) == 1


def test_verdict_quarantine_holds_the_mail(milterd, relay):
    milterd.rules = RULES % "quarantine"
    mta = milterd.start().session()

    assert mta.actions & MAY_QUARANTINE
    assert mta.begin()[0] == CONTINUE
    answer, _, before = mta.end()
    assert answer == CONTINUE
    assert [command for command, _ in before] == [QUARANTINE]


def test_mta_that_cannot_quarantine_is_told_to_put_the_mail_off(milterd, relay):
    milterd.rules = RULES % "quarantine"
    mta = milterd.start().session(actions=0x1F)
    assert mta.message()[0] == TEMPFAIL
    milterd.wait_log("can't quarantine")


def test_duplicate_is_as_good_as_accepted(milterd, relay):
    milterd.rules = RULES % "discard"
    relay.status = "duplicate"
    assert milterd.start().session().message()[0] == DISCARD


# Several rules for one mail.

SEVERAL = """
  { name = "all"; match: { envelope_from: { glob = "*"; }; }; to = [ "log" ]; next = true;
    verdict = "reject"; },
  { name = "other"; match: { subject = "other"; }; to = [ "ops" ]; },
  { name = "disk"; match: { subject: { glob = "*disk*"; }; }; to = [ "storage" ]; next = true; },
  { name = "alert"; match: { subject: { glob = "*ALERT*"; }; }; to = [ "ops" ];
    verdict = "discard"; },
  { name = "behind"; match: { envelope_from: { glob = "*"; }; }; to = [ "ops" ]; }"""


def rules_of(relay):
    return [record["fields"]["rule"] for record in relay.records]


def test_rules_that_say_next_make_an_alert_each(milterd, relay):
    milterd.rules = SEVERAL
    mta = milterd.start().session()

    assert mta.message()[0] == DISCARD
    assert rules_of(relay) == ["all", "disk", "alert"]
    assert relay.datagrams == 1
    assert len({record["id"] for record in relay.records}) == 3
    milterd.wait_log("receipt=accepted verdict=discard", 3)

    assert mta.message()[0] == DISCARD
    assert [r["id"] for r in relay.records[:3]] == [r["id"] for r in relay.records[3:]]


def test_last_rule_that_matched_has_the_verdict_where_all_say_next(milterd, relay):
    milterd.rules = """
      { name = "1"; match: { subject: { glob = "*"; }; }; next = true; verdict = "reject"; },
      { name = "2"; match: { subject: { glob = "*"; }; }; next = true; verdict = "discard"; },
      { name = "3"; match: { subject = "other"; }; verdict = "tempfail"; }"""
    assert milterd.start().session().message()[0] == DISCARD
    assert rules_of(relay) == ["1", "2"]


@pytest.mark.parametrize("status", [None, "busy", "refused"])
@pytest.mark.parametrize("rule", ["all", "disk", "alert"])
def test_all_alerts_of_a_mail_must_be_taken(milterd, relay, rule, status):
    milterd.rules = SEVERAL
    milterd.relay = 'timeout = "300ms";'
    relay.status = {"all": "accepted", "disk": "duplicate", "alert": "accepted", rule: status}
    answer, text = milterd.start().session().message()

    assert answer == REPLYCODE and text.startswith(b"451 4.7.1 ")
    milterd.wait_log("verdict=tempfail", 3)
    for line in milterd.log.splitlines():
        if "verdict=tempfail" in line:
            assert ("; the mail is put off" in line) == (f"rule={rule} " in line)
            assert (", but not all alerts of its mail" in line) == (f"rule={rule} " not in line)


def test_mail_whose_alerts_are_not_all_taken_passes_where_asked_to(milterd, relay):
    milterd.rules = SEVERAL
    milterd.relay = 'timeout = "300ms"; on_failure = "accept";'
    relay.status = {"all": "accepted", "disk": "refused", "alert": "accepted"}
    assert milterd.start().session().message()[0] == CONTINUE
    milterd.wait_log("verdict=continue", 3)


def test_alerts_too_large_for_one_datagram_go_in_several(milterd, relay):
    milterd.rules = ",".join(f"""
      {{ name = "{n}"; match: {{ subject: {{ glob = "*"; }}; }}; next = true;
         max_lines = 1000; max_bytes = "48K"; verdict = "discard"; }}""" for n in range(7))
    mta = milterd.start().session()

    assert mta.message(body=b"x" * 49 + b"\r\n" + b"y\r\n" + b"x" * 48000)[0] == DISCARD
    assert rules_of(relay) == [str(n) for n in range(7)]
    assert 4 <= relay.datagrams < 7


def test_as_many_alerts_as_one_mail_can_make_are_handed_over(milterd, relay):
    milterd.rules = ",".join(f"""
      {{ name = "{n}"; match: {{ subject: {{ glob = "*"; }}; }}; next = {str(n < 63).lower()};
         verdict = "discard"; }}""" for n in range(70))
    assert milterd.start().session().message()[0] == DISCARD
    assert rules_of(relay) == [str(n) for n in range(64)]
    assert relay.datagrams == 1


# What the relay does not take.

@pytest.mark.parametrize("status, words", [
    (None, "no receipt in time"), ("busy", "busy"), ("refused", "refused")])
def test_alert_that_is_not_taken_puts_the_mail_off(milterd, relay, status, words):
    relay.status = status
    milterd.relay = 'timeout = "300ms";'
    milterd.rules = RULES % "discard"

    answer, text = milterd.start().session().message()
    assert answer == REPLYCODE
    assert text.rstrip(b"\0") == b"451 4.7.1 alert relay is not available, try again later"
    milterd.wait_log(words)
    line = next(line for line in milterd.log.splitlines() if words in line)
    assert "rule=it" in line and "verdict=tempfail" in line
    assert status is None or "as the test has it" in line


@pytest.mark.parametrize("status", [None, "busy", "refused"])
def test_alert_that_is_not_taken_lets_the_mail_pass_where_asked_to(milterd, relay, status):
    relay.status = status
    milterd.relay = 'timeout = "300ms"; on_failure = "accept";'
    milterd.rules = RULES % "discard"
    assert milterd.start().session().message()[0] == CONTINUE


def test_absent_relay_is_waited_for_three_times_and_then_no_more(milterd):
    milterd.relay = 'timeout = "1s";'
    mta = milterd.start().session()
    began = time.monotonic()
    for _ in range(3):
        assert mta.message()[0] == REPLYCODE
    assert time.monotonic() - began >= 3
    for _ in range(20):
        assert mta.message()[0] == REPLYCODE
    assert time.monotonic() - began < 5
    assert mta.message(LETTER)[0] == ACCEPT
    assert milterd.log.count("the relay can't be reached; the mail is put off") == 3


# One connection, many messages.

def test_messages_of_one_connection_do_not_mix(milterd, relay):
    mta = milterd.start().session()

    assert mta.message()[0] == CONTINUE
    assert mta.message(LETTER)[0] == ACCEPT
    assert mta.message((("Subject", "ALERT two"),), body=b"second\r\n")[0] == CONTINUE
    assert mta.message((("From", "x@example.org"),))[0] == ACCEPT
    mta.quit()

    first, second = relay.records
    assert "99 %" in first["text"] and "second" not in first["text"]
    assert "second" in second["text"] and "99 %" not in second["text"]


def test_aborted_message_leaves_nothing_behind(milterd, relay):
    mta = milterd.start().session()

    assert mta.begin()[0] == CONTINUE
    mta.step(b"B", b"half of it\r\n")
    mta.write(b"A")
    assert mta.message((("From", "x@example.org"),))[0] == ACCEPT
    assert mta.message(body=b"whole\r\n")[0] == CONTINUE

    record, = relay.records
    assert "half" not in record["text"] and "whole" in record["text"]


def test_another_client_on_the_same_connection_begins_anew(milterd, relay):
    milterd.rules = '{ name = "it"; match: { client = "192.0.2.7"; }; to = [ "ops" ]; }'
    mta = milterd.start().mta()
    assert mta.connect("192.0.2.7") == CONTINUE
    assert mta.message(LETTER)[0] == CONTINUE
    mta.write(b"K")
    assert mta.connect("192.0.2.7") == CONTINUE
    assert mta.message(LETTER)[0] == CONTINUE
    mta.write(b"K")
    assert mta.connect("192.0.2.1") == ACCEPT
    assert len(relay.records) == 2


@pytest.mark.parametrize("how_far", ["negotiated", "connected", "headers", "body"])
def test_mta_that_vanishes_harms_nobody(milterd, relay, how_far):
    milterd.workers = 1
    milterd.start()
    workers = milterd.workers_now()

    mta = milterd.mta()
    if how_far != "negotiated":
        mta.connect()
    if how_far in ("headers", "body"):
        mta.begin()
    if how_far == "body":
        mta.socket.sendall(struct.pack(">I", 1000) + b"B" + b"x" * 100)
    mta.close()

    assert milterd.session().message()[0] == CONTINUE
    assert milterd.workers_now() == workers
    assert len(relay.records) == 1


def test_more_connections_than_the_usual_limit_of_files_are_served(milterd, relay):
    milterd.workers = 1

    def usual_limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 512))

    milterd.start(preexec_fn=usual_limit)
    workers = milterd.workers_now()
    connections = [milterd.session() for _ in range(200)]
    assert connections[-1].message()[0] == CONTINUE
    assert connections[0].message()[0] == CONTINUE
    assert milterd.workers_now() == workers
    for connection in connections:
        connection.close()


def test_bytes_that_are_no_protocol_harm_nobody(milterd, relay):
    milterd.workers = 1
    milterd.start()
    workers = milterd.workers_now()
    packets = [b"\xff" * 64, b"\0\0\0\0" * 8, struct.pack(">I", 5) + b"M",
               struct.pack(">I", 1) + b"E", struct.pack(">I", 9) + b"M<a@b.c>\0",
               struct.pack(">I", 13) + b"O" + b"\0" * 12]
    for packet in packets:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(milterd.socket)
            client.sendall(packet)

    assert milterd.session().message()[0] == CONTINUE
    assert milterd.workers_now() == workers


# The processes.

def test_killed_worker_is_replaced(milterd, relay):
    milterd.start()
    for _ in range(2):
        before = milterd.workers_now()
        os.kill(before[0], signal.SIGKILL)
        wait_until(lambda old=before: old[0] not in milterd.workers_now()
                   and len(milterd.workers_now()) == 2, "a new worker")
    milterd.wait_log("was killed by SIGKILL", 2)

    for _ in range(8):
        assert milterd.session().message()[0] == CONTINUE


def test_worker_that_dies_costs_its_own_sessions_only(milterd, relay):
    milterd.start()
    sessions = [milterd.session() for _ in range(12)]
    for session in sessions:
        assert session.begin()[0] == CONTINUE
    os.kill(milterd.workers_now()[0], signal.SIGKILL)

    served = 0
    for session in sessions:
        with contextlib.suppress(Gone, BrokenPipeError):
            served += session.end()[0] == CONTINUE
    assert served == len(relay.records) < 12


def test_manager_that_dies_takes_its_workers_along(milterd, relay):
    milterd.start()
    workers = milterd.workers_now()
    milterd.process.kill()
    milterd.process.wait(20)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers),
               "the workers to end")

    milterd.start()  # over the socket file that was left behind
    assert milterd.session().message()[0] == CONTINUE


def test_workers_are_in_a_group_of_their_own(milterd, relay):
    milterd.start(start_new_session=True)
    for worker in milterd.workers_now():
        assert os.getpgid(worker) != os.getpgid(milterd.process.pid)
    os.killpg(milterd.process.pid, signal.SIGINT)
    assert milterd.process.wait(20) == 0


def test_worker_ignores_the_signals_that_would_cut_its_sessions(milterd, relay):
    milterd.start()
    workers = milterd.workers_now()
    session = milterd.session()
    for worker in workers:
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            os.kill(worker, number)
    assert session.message()[0] == CONTINUE
    assert milterd.workers_now() == workers


def test_second_daemon_on_the_same_socket_is_refused(milterd, relay):
    milterd.start()
    done = subprocess.run([milterd.program, "-c", milterd.config], capture_output=True, text=True,
                          timeout=20, check=False)
    assert done.returncode != 0
    assert milterd.socket in done.stderr
    assert milterd.session().message()[0] == CONTINUE


def test_workers_that_cannot_live_make_the_daemon_give_up(milterd):
    milterd.workers = 1
    milterd.start()
    began = time.monotonic()
    while milterd.process.poll() is None and time.monotonic() - began < 60:
        for worker in milterd.workers_now():
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                # A sanitizer's helper is a child as well.
                if Path(f"/proc/{worker}/comm").read_text() == "milterd-worker\n":
                    os.kill(worker, signal.SIGKILL)
        time.sleep(0.005)

    assert milterd.process.wait(20) == 70
    assert "no worker stays up" in milterd.log
    # The delays in between grew to seconds.
    assert time.monotonic() - began > 5


# Stopping.

def test_term_lets_an_open_session_end(milterd, relay):
    milterd.start()
    session = milterd.session()
    assert session.begin()[0] == CONTINUE
    milterd.process.send_signal(signal.SIGTERM)
    milterd.wait_log("draining")
    wait_until(lambda: not os.path.exists(milterd.socket), "the socket to go")

    assert session.end()[0] == CONTINUE
    assert session.message()[0] == CONTINUE
    assert milterd.process.poll() is None
    session.quit()
    assert milterd.process.wait(20) == 0
    assert len(relay.records) == 2


def test_term_without_sessions_ends_at_once(milterd):
    milterd.start()
    began = time.monotonic()
    milterd.process.send_signal(signal.SIGTERM)
    assert milterd.process.wait(20) == 0
    assert time.monotonic() - began < 3


def test_session_that_outlasts_the_drain_is_cut(milterd, relay):
    milterd.extra = 'drain_timeout = "500ms";'
    session = milterd.start().session()
    milterd.process.send_signal(signal.SIGTERM)
    with pytest.raises(Gone):
        session.read()
    assert milterd.process.wait(20) == 0
    assert "drain_timeout" in milterd.log


def test_int_stops_at_once(milterd, relay):
    session = milterd.start().session()
    milterd.process.send_signal(signal.SIGINT)
    assert milterd.process.wait(5) == 0
    with pytest.raises(Gone):
        session.read()
    assert not os.path.exists(milterd.socket)


# Reloading.

def test_reload_takes_the_new_rules_and_lets_old_sessions_keep_theirs(milterd, relay):
    old = milterd.start().session()
    before = milterd.workers_now()
    milterd.rules = RULES % "discard"
    milterd.write()
    milterd.reload()

    assert milterd.session().message()[0] == DISCARD
    assert old.message()[0] == CONTINUE
    old.quit()
    wait_until(lambda: not set(before) & set(milterd.workers_now()), "the old workers to end")
    assert len(milterd.workers_now()) == 2


def test_reload_under_load_loses_no_session(milterd, relay):
    milterd.start()
    failed, served, stop = [], [], threading.Event()

    def load():
        while not stop.is_set():
            try:
                mta = milterd.session()
                served.append(mta.message()[0] == CONTINUE and mta.message(LETTER)[0] == ACCEPT)
                mta.quit()
            except Exception as error:  # pylint: disable=broad-except
                failed.append(repr(error))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        milterd.reload()
    stop.set()
    for thread in threads:
        thread.join()

    assert not failed
    assert served and all(served)


def test_hangups_in_a_row_leave_one_generation(milterd, relay):
    milterd.start()
    for _ in range(20):
        milterd.process.send_signal(signal.SIGHUP)
        time.sleep(0.01)
    milterd.wait_log("reloaded, ready")
    wait_until(lambda: len(milterd.workers_now()) == 2, "the others to have drained")
    assert milterd.session().message()[0] == CONTINUE


def test_broken_configuration_keeps_the_old_one(milterd, relay):
    milterd.start()
    before = milterd.workers_now()
    milterd.extra = "wrokers = 2;\nlisten_mode = 5;"
    milterd.write()
    milterd.process.send_signal(signal.SIGHUP)
    milterd.wait_log("keeping the old configuration")

    assert re.search(rf"{milterd.config}:\d+: .*wrokers", milterd.log)
    assert re.search(rf"{milterd.config}:\d+: .*listen_mode", milterd.log)
    assert milterd.workers_now() == before
    assert milterd.session().message()[0] == CONTINUE


def test_listener_that_cannot_be_opened_keeps_the_old_configuration(milterd, relay):
    milterd.start()
    milterd.listen = f'[ "unix:{milterd.folder}/nowhere/milter.sock", "unix:{milterd.socket}" ]'
    milterd.write()
    milterd.process.send_signal(signal.SIGHUP)
    milterd.wait_log("keeping the old configuration")
    assert milterd.session().message()[0] == CONTINUE


def test_reload_moves_to_another_socket(milterd, relay):
    milterd.start()
    session = milterd.session()
    old = milterd.socket
    milterd.socket = str(milterd.folder / "other.sock")
    milterd.listen = f'"unix:{milterd.socket}"'
    milterd.write()
    milterd.reload()

    assert milterd.session().message()[0] == CONTINUE
    assert session.message()[0] == CONTINUE
    assert not os.path.exists(old)


def test_reload_to_another_relay_forgets_that_the_first_was_silent(milterd, relay):
    relay.status = None
    milterd.relay = 'timeout = "300ms";'
    mta = milterd.start().session()
    for n in range(4):
        assert mta.message((*ALERT[:2], ("Message-ID", f"<{n}@nms>")))[0] == REPLYCODE
    assert milterd.log.count("was not asked") == 1
    milterd.reload()
    mta = milterd.session()
    assert mta.message()[0] == REPLYCODE
    assert milterd.log.count("was not asked") == 2

    milterd.relay_socket = str(milterd.folder / "other.sock")
    other = Relay(milterd.relay_socket)
    milterd.write()
    milterd.reload()
    mta = milterd.session()
    for _ in range(3):
        assert mta.message()[0] == CONTINUE
    assert len(other.records) == 3
    other.close()


def test_reload_keeps_a_socket_that_stays_and_sets_its_mode(milterd, relay):
    milterd.start()
    inode = os.stat(milterd.socket).st_ino
    milterd.extra = 'listen_mode = "0600";'
    milterd.write()
    milterd.reload()
    state = os.stat(milterd.socket)
    assert state.st_ino == inode
    assert state.st_mode & 0o777 == 0o600


# The service manager.

class Notified:
    """The service manager's end of sd_notify()."""

    def __init__(self, path):
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(20)
        self.lines = []

    def wait(self, line):
        while line not in self.lines:
            self.lines += self.socket.recv(4096).decode().splitlines()
        del self.lines[:self.lines.index(line) + 1]


def test_service_manager_is_told(milterd, relay):
    manager = Notified(milterd.folder / "notify.sock")
    milterd.start(env={**os.environ, "NOTIFY_SOCKET": manager.path})
    manager.wait("READY=1")
    milterd.process.send_signal(signal.SIGHUP)
    manager.wait("RELOADING=1")
    manager.wait("READY=1")
    milterd.extra = "nonsense = 1;"
    milterd.write()
    milterd.process.send_signal(signal.SIGHUP)
    manager.wait("RELOADING=1")
    manager.wait("READY=1")
    milterd.process.send_signal(signal.SIGTERM)
    manager.wait("STOPPING=1")
    # No less time than draining may take.
    extended, = (line for line in manager.lines if line.startswith("EXTEND_TIMEOUT_USEC="))
    assert int(extended.partition("=")[2]) > 30_000_000


def test_socket_of_the_service_manager_is_served_and_left_alone(milterd, relay):
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(milterd.socket)
    listening.listen()

    def hand_over():
        os.dup2(listening.fileno(), 3)
        os.environb[b"LISTEN_PID"] = b"%d" % os.getpid()

    # The child's own environment must name its process id: a shell knows it, Popen does not.
    milterd.write()
    with open(milterd.log_path, "ab") as log:
        milterd.process = subprocess.Popen(
            ["/bin/sh", "-c", 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" -c "$1" -v',
             milterd.program, milterd.config],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=hand_over,
            close_fds=False)
    milterd.wait_log("ready with")
    assert milterd.session().message()[0] == CONTINUE

    milterd.process.send_signal(signal.SIGTERM)
    assert milterd.process.wait(20) == 0
    assert os.path.exists(milterd.socket)
    listening.close()


# The command line.

def run(milterd, *arguments):
    return subprocess.run([milterd.program, *arguments], capture_output=True, text=True,
                          timeout=20, check=False)


def test_broken_configuration_does_not_start(milterd):
    milterd.listen = '[ "unx:/run/x", "inet:99999@127.0.0.1" ]'
    milterd.write()
    for arguments in ((), ("--check",)):
        done = run(milterd, "-c", milterd.config, *arguments)
        assert done.returncode == EX_CONFIG
        assert "unx:/run/x" in done.stderr and "99999" in done.stderr


def test_wrong_usage_is_told(milterd):
    assert run(milterd, "--no-such-option").returncode == 64
    assert run(milterd, "stray").returncode == 64


def test_mail_is_explained_with_what_the_file_cannot_tell(milterd):
    milterd.rules = """
      { name = "login"; match: { auth = "nms"; helo = "h"; client_name = "n"; }; next = true;
        to = [ "ops" ]; },
      { name = "own"; match: { macro: { name = "{own}"; equal = "a=b"; }; }; to = [ "ops" ];
        verdict = "discard"; }"""
    milterd.write()
    mail = milterd.folder / "mail.eml"
    mail.write_text("Subject: x\n\ny\n")

    done = run(milterd, "-c", milterd.config, "--explain", "--auth=nms", "--helo=h",
               "--client-name=n", "--macro", "own=a=b", mail)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\nrecord:\n") == 2
    assert done.stdout.endswith("verdict: discard\n")


@pytest.mark.parametrize("arguments, words", [
    (["--explain", "--macro=own"], 'milterd: --macro: "own" has no value; write NAME=VALUE.\n'),
    (["--explain", "--macro=a-b=1"],
     'milterd: --macro: "a-b" is no name of a macro; it has 1 to 64 of A-Z a-z 0-9 _, '
     "with braces or without.\n"),
    (["--explain"] + ["--macro=a=1"] * 33, "milterd: --macro may be given at most 32 times.\n"),
    (["--helo=x"], "milterd: --helo is for --explain.\n"),
    (["--auth=x"], "milterd: --auth is for --explain.\n"),
    (["--json"], "milterd: --json is for --explain.\n"),
    (["--each"], "milterd: --each is for --explain.\n"),
])
def test_wrong_use_of_what_explain_takes_is_told(milterd, arguments, words):
    done = run(milterd, *arguments)
    assert done.returncode == 64
    assert done.stderr == words + 'Try "milterd --help".\n'


def test_help_and_version(milterd):
    done = run(milterd, "--help")
    assert done.returncode == 0 and "--dump-config" in done.stdout
    assert run(milterd, "-V").stdout.startswith("milterd ")
