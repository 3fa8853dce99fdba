# SPDX-License-Identifier: MIT
"""
Mail as an MTA shows it to a filter, and records as a program sends them, as fast as it goes.

Of the milter protocol only as much as an MTA needs. What a step of a mail sends is made once, so
that this side takes less of the processors than the daemons.
"""

import json
import random
import socket
import struct
import threading

from support import samples

# The protocol's commands, answers and flags (mfdef.h).
CONTINUE, SKIP, NEGOTIATE = b"c", b"s", b"O"
NO_REPLY = {b"L": 0x80, b"C": 0x1000, b"H": 0x2000, b"M": 0x4000, b"R": 0x8000, b"T": 0x10000,
            b"N": 0x40000, b"B": 0x80000}
NOT_WANTED = {b"C": 0x1, b"H": 0x2, b"M": 0x4, b"R": 0x8, b"B": 0x10, b"L": 0x20, b"N": 0x40,
              b"T": 0x200}
ALL_STEPS = 0x1FFFFF
ALL_ACTIONS = 0x1FF
CHUNK = 65535

# How many of a thousand mails are of which kind.
MIX = {"letter": 693, "html": 60, "read": 100, "read-html": 50, "aborted": 50, "dropped": 5,
       "sample": 30, "again": 3, "large": 8, "huge": 1}
ALERTS = {"sample", "again"}  # a record is made of them
LARGE, HUGE = 200_000, 4_000_000


def packet(command, data=b""):
    return struct.pack(">I", len(data) + 1) + command + data


def header(name, value):
    return b"L", name + b"\0" + value + b"\0"


def letter(subject=b"Lunch?", extra=()):
    return [header(b"Subject", subject), header(b"From", b"alice@example.org"),
            header(b"To", b"bob@example.org"), header(b"Message-ID", b"<letter@example.org>"),
            *extra]


def html_body(rows):
    return (b"<html><head><style>td { color: red }</style></head><body><p>News</p><table>"
            + b"<tr><td>web1</td><td>&auml;&#8364; 99&nbsp;% in use</td></tr>" * rows
            + b"</table></body></html>")


def split(mail):
    """Headers and body of a sample."""
    head, _, body = mail.replace(b"\r\n", b"\n").partition(b"\n\n")
    headers = []
    for line in head.split(b"\n"):
        if line[:1] in (b" ", b"\t") and headers:
            headers[-1] = (headers[-1][0], headers[-1][1] + b"\n" + line)
        elif b":" in line:
            name, _, value = line.partition(b":")
            headers.append((name, value.lstrip()))
    return headers, body.replace(b"\n", b"\r\n")


class Mails:
    """The mails of one session, drawn from a seed, as steps of the protocol."""

    def __init__(self, seed, word=b"READ"):
        self.chance = random.Random(f"mails/{seed}")
        self.seed = seed
        self.number = 0
        self.kinds, self.weights = list(MIX), list(MIX.values())
        html = header(b"Content-Type", b"text/html; charset=utf-8")
        # A rule that looks at bodies wants to see those with this word in the subject.
        self.made = {
            "letter": (letter(), b"Shall we?\r\n"),
            "html": (letter(extra=[html]), html_body(20)),
            "read": (letter(word + b" a letter"), b"The text of a letter.\r\n" * 20),
            "read-html": (letter(word + b" a page", [html]), html_body(60)),
            "large": (letter(word + b" a list"), b"one of many lines\r\n" * (LARGE // 19)),
            "huge": (letter(word + b" a book"), b"one of many, many lines\r\n" * (HUGE // 25)),
        }
        self.samples = [split(path.read_bytes()) for path in samples.samples().values()]

    def next(self):
        """Its kind, the steps up to the end of its headers, and its body."""
        kind = self.chance.choices(self.kinds, self.weights)[0]
        if kind in self.made:
            return (kind, *self.made[kind])
        if kind in ("aborted", "dropped"):
            return (kind, *self.made[self.chance.choice(["letter", "read", "large"])])
        if kind == "sample":
            self.number += 1
        headers, body = self.chance.choice(self.samples)
        own = b"<%d.%s@load.example.org>" % (self.number, str(self.seed).encode())
        headers = [header(name, value) for name, value in headers if name.lower() != b"message-id"]
        return kind, [*headers, header(b"X-Alert", b"yes"), header(b"Message-ID", own)], body


class Session:
    """One connection with the filter."""

    def __init__(self, path):
        self.path = str(path)
        self.socket = None
        self.steps = 0

    def open(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(120)
        self.socket.connect(self.path)
        self.socket.sendall(packet(NEGOTIATE, struct.pack(">III", 6, ALL_ACTIONS, ALL_STEPS)))
        answer, data = self.read()
        assert answer == NEGOTIATE, answer
        _, _, self.steps = struct.unpack(">III", data[:12])
        return self

    def client(self):
        """Tells of one."""
        return self.send([
            (b"C", b"client.example.org\0004" + struct.pack(">H", 4711) + b"192.0.2.1\0"),
            (b"H", b"client.example.org\0")])

    def headers(self, headers, most=None):
        """A mail up to the end of its headers, or to its first so many steps."""
        steps = [(b"M", b"<alice@example.org>\0"), (b"R", b"<bob@example.org>\0"), (b"T", b""),
                 *headers, (b"N", b"")]
        return self.send(steps[:most])

    def body(self, body):
        return self.send([(b"B", body[at:at + CHUNK]) for at in range(0, len(body), CHUNK)])

    def end(self, queue_id):
        """The end of a mail; the next answer is the verdict."""
        self.socket.sendall(packet(b"D", b"Ei\0" + queue_id + b"\0") + packet(b"E"))

    def close(self, command=None):
        if self.socket:
            if command:
                self.socket.sendall(packet(command))
            self.socket.close()
            self.socket = None

    def send(self, steps):
        """Steps up to the first answer that is not to go on; gives that, or CONTINUE."""
        pending = []
        for command, data in steps:
            if self.steps & NOT_WANTED.get(command, 0):
                continue
            pending.append(packet(command, data))
            if not self.steps & NO_REPLY.get(command, 0):
                self.socket.sendall(b"".join(pending))
                pending = []
                answer, _ = self.read()
                if answer != CONTINUE:
                    return answer
        if pending:
            self.socket.sendall(b"".join(pending))
        return CONTINUE

    def read(self):
        size, = struct.unpack(">I", self._exactly(4))
        data = self._exactly(size)
        return data[:1], data[1:]

    def _exactly(self, size):
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            assert more, "the filter has closed the connection"
            data += more
        return data


class Mta:
    """One session after another, until all messages are through."""

    def __init__(self, path, messages, seed):
        self.messages = messages
        self.done = 0
        self.failure = None
        self.verdicts = {}
        self.mails = Mails(seed)
        self.chance = random.Random(f"mta/{seed}")
        self.session = Session(path)
        self.left = 0  # mails of this client
        self.thread = threading.Thread(target=self.guard, daemon=True)

    def guard(self):
        try:
            while self.done < self.messages:
                if not self.session.socket:
                    self.session.open()
                    self.begin()
                self.message()
                self.done += 1
                self.left -= 1
                if self.session.socket and self.left <= 0:
                    self.end()
            self.session.close()
        except Exception as error:  # pylint: disable=broad-except
            self.failure = f"{type(error).__name__}: {error}"
            raise

    def begin(self):
        self.left = int(self.chance.paretovariate(0.8))  # most have few mails
        self.session.client()

    def end(self):
        how = self.chance.random()
        if how < 0.2:
            self.session.socket.sendall(packet(b"K"))  # the MTA keeps it for its next client
            self.begin()
        elif how < 0.95:
            self.session.close(b"Q")
        else:
            self.session.close()

    def message(self):
        kind, headers, body = self.mails.next()
        most = self.chance.randrange(1, len(headers) + 4) if kind == "aborted" else None
        answer = self.session.headers(headers, most)
        if answer != CONTINUE:
            self.note(kind, answer)
        elif kind == "aborted":
            self.session.socket.sendall(packet(b"A"))
        elif kind == "dropped":
            self.session.body(body[:CHUNK])
            self.session.close()
        else:
            answer = self.session.body(body)
            if answer in (CONTINUE, SKIP):
                self.session.end(b"%d" % self.done)
                answer, _ = self.session.read()
            self.note(kind, answer)

    def note(self, kind, answer):
        key = ("alert" if kind in ALERTS else "mail", answer.decode())
        self.verdicts[key] = self.verdicts.get(key, 0) + 1


class Records:
    """One program with many records, some of which nobody has answered yet."""

    UNANSWERED = 64

    def __init__(self, path, records, seed, destinations, refused):
        """`refused`: the shares of destinations that refuse what they get."""
        self.records = records
        self.destinations = [*destinations, *refused]
        left = (1 - sum(refused.values())) / len(destinations)
        self.weights = [left] * len(destinations) + list(refused.values())
        self.chance = random.Random(f"records/{seed}")
        self.seed = seed
        self.sent = 0
        self.waiting = {}  # id → the receipt that ends the wait
        self.answers = {}
        self.failure = None
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("")
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.settimeout(120)
        self.socket.connect(str(path))
        self.thread = threading.Thread(target=self.guard, daemon=True)

    @property
    def done(self):
        return self.sent - len(self.waiting)

    def guard(self):
        try:
            while self.sent < self.records:
                self.send()
                while len(self.waiting) >= self.UNANSWERED:
                    self.take()
            while self.waiting:
                self.take()
        except Exception as error:  # pylint: disable=broad-except
            self.failure = f"{type(error).__name__}: {error}; {len(self.waiting)} unanswered"
            raise
        finally:
            self.socket.close()

    def send(self):
        name = f"{self.seed}-{self.sent}"
        if self.sent and self.chance.random() < 0.01:
            name = f"{self.seed}-{self.chance.randrange(self.sent)}"  # known already
        self.sent += 1
        if name in self.waiting:
            return
        record = {"v": 1, "id": name, "title": f"record {self.sent}", "key": f"key-{self.sent % 500}",
                  "text": "the disk of web1 is full\n" * min(500, int(self.chance.paretovariate(1))),
                  "severity": self.chance.choice(["ok", "info", "warning", "critical"]),
                  "state": self.chance.choice(["problem", "recovery", "event"]),
                  "to": self.chance.choices(self.destinations, self.weights)[0],
                  "source": "soak",
                  "fields": {"host": f"web{self.sent % 9}", "service": "disk"},
                  "receipt": self.chance.choice(["accepted", "delivered"])}
        data = json.dumps(record).encode()
        self.waiting[name] = record["receipt"]
        self.socket.send(struct.pack(">I", len(data)) + data)

    def take(self):
        datagram = self.socket.recv(131072)
        while datagram:
            size, = struct.unpack(">I", datagram[:4])
            answer = json.loads(datagram[4:4 + size])
            datagram = datagram[4 + size:]
            status = answer["status"]
            self.answers[status] = self.answers.get(status, 0) + 1
            if status != "accepted" or self.waiting.get(answer["id"]) == "accepted":
                self.waiting.pop(answer["id"], None)
