# SPDX-License-Identifier: MIT
"""One session process, spoken to over its link as the relay process does."""

import json
import os
import select
import socket
import subprocess
import time

from .daemons import sanitizer_environment
from .place import PATIENCE, SANITIZER_REPORT, Failure, wait_until

OUT, JOINING, READY = range(3)
CONNECTING, ONLINE = range(2)
WAIT, REJOIN, FINAL = range(3)
NETWORK, TLS, AUTH, CONFIG, CONFLICT, SERVER_BUSY, POISON, QUIT = range(8)
STARTTLS, DIRECT, INSECURE_NONE = range(3)

SECOND = 1_000_000


def account(server, password_file, ca_file="", **changes):
    return {"name": "main", "jid": f"alertbot@{server.domain}",
            "password_file": str(password_file), "host": "127.0.0.1", "port": server.port,
            "tls": STARTTLS, "ca_file": str(ca_file), **changes}


def room(index, jid, nick="alertbot", pending=(), since=None):
    return {"index": index, "name": f"room-{index}", "room": jid, "nick": nick,
            "since": int((since or 0) * SECOND), "pending": list(pending)}


def contact(index, jid):
    return {"index": index, "name": f"contact-{index}", "contact": jid, "since": 0, "pending": []}


class Session:
    def __init__(self, program, log, env=None):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.link = ours
        self.link.setblocking(False)
        self.heard = []
        self.log = log
        # The link must be descriptor 3 in the child, whatever it is here.
        with open(log, "wb") as output:
            self.child = subprocess.Popen(
                ["/bin/bash", "-c", f'exec "$0" --session 3<&{theirs.fileno()}', str(program)],
                pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, start_new_session=True,
                env={"PATH": os.environ["PATH"], **sanitizer_environment(), **(env or {})})
        theirs.close()

    def send(self, message):
        packet = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.link.setblocking(True)
        try:
            self.link.send(packet)
        finally:
            self.link.setblocking(False)

    def start(self, account, *destinations, ping=20, self_ping=300):
        self.send({"type": "start", "account": account, "ping": int(ping * SECOND),
                   "self_ping": int(self_ping * SECOND), "confirm": 60 * SECOND,
                   "destinations": list(destinations)})
        return self

    def post(self, index, stanza_id, body, delay=0, unstyled=False):
        self.send({"type": "post", "destination": index, "id": stanza_id, "body": body,
                   "unstyled": unstyled, "delay": int(delay * SECOND)})

    def read(self):
        while True:
            try:
                packet = self.link.recv(1 << 18)
            except BlockingIOError:
                return
            except ConnectionResetError:
                return
            if not packet:
                return
            self.heard.append({**json.loads(packet), "at": time.monotonic()})

    def mark(self):
        self.read()
        return len(self.heard)

    def wait(self, kind, timeout=PATIENCE, start=0, **fields):
        """The first message of a type that has the fields."""
        deadline = time.monotonic() + timeout
        while True:
            self.read()
            for message in self.heard[start:]:
                if message["type"] == kind and all(
                        message.get(name) == value for name, value in fields.items()):
                    return message
            left = deadline - time.monotonic()
            if left < 0 or (self.child.poll() is not None and not self.pending()):
                self.read()
                raise Failure(f"waited for {kind} {fields}; heard:\n" + "\n".join(
                    str(m) for m in self.heard if m["type"] != "beat") + "\n" + self.log_text())
            select.select([self.link], [], [], min(left, 0.2))

    def pending(self):
        return bool(select.select([self.link], [], [], 0)[0]) and self.child.poll() is None

    def count(self, kind, **fields):
        self.read()
        return sum(1 for m in self.heard if m["type"] == kind and all(
            m.get(name) == value for name, value in fields.items()))

    def wait_ready(self, index=0, start=0, timeout=PATIENCE):
        return self.wait("room", timeout, start, destination=index, state=READY)

    def wait_end(self, timeout=PATIENCE):
        end = self.wait("end", timeout)
        wait_until(lambda: self.child.poll() is not None, "the session process to exit")
        return end

    def log_text(self):
        return open(self.log, errors="replace").read()

    def close(self):
        self.link.close()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        found = SANITIZER_REPORT.search(self.log_text())
        return [self.log_text()] if found else []
