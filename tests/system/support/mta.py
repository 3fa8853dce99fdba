# SPDX-License-Identifier: MIT
"""
The MTA's side of the milter protocol, by hand: to see what the filter asks for and answers.

Postfix hides that. Protocol version 6, as sendmail's libmilter and Postfix speak it.
"""

import socket
import struct

# Steps that the filter may do without (SMFIP_NO…), and those it will not answer (SMFIP_NR_…).
NO_STEP = {"C": 0x01, "H": 0x02, "M": 0x04, "R": 0x08, "B": 0x10, "L": 0x20, "N": 0x40,
           "U": 0x100, "T": 0x200}
NO_REPLY = {"L": 0x80, "C": 0x1000, "H": 0x2000, "M": 0x4000, "R": 0x8000, "T": 0x10000,
            "U": 0x20000, "N": 0x40000, "B": 0x80000}
ALL_STEPS = 0x1FFFFF
ALL_ACTIONS = 0x1FF

ANSWERS = {"c": "continue", "a": "accept", "d": "discard", "r": "reject", "t": "tempfail",
           "y": "replycode", "s": "skip", "q": "quarantine", "p": "progress"}


class Refused(Exception):
    """The filter gave a final answer; args[0] is its name, args[1] the step's letter."""


class Mta:
    def __init__(self, path, steps=ALL_STEPS, timeout=30):
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.settimeout(timeout)
        self.connection.connect(str(path))
        self._send("O", struct.pack(">III", 6, ALL_ACTIONS, steps))
        letter, data = self._receive()
        assert letter == "O", letter
        self.version, self.actions, self.steps = struct.unpack(">III", data[:12])
        self.sent = []  # letters of what was sent to the filter

    def _send(self, letter, data=b""):
        self.connection.sendall(struct.pack(">I", len(data) + 1) + letter.encode() + data)

    def _receive(self):
        def exactly(n):
            data = b""
            while len(data) < n:
                more = self.connection.recv(n - len(data))
                if not more:
                    raise ConnectionError("the filter closed the connection")
                data += more
            return data
        size, = struct.unpack(">I", exactly(4))
        data = exactly(size)
        return chr(data[0]), data[1:]

    def step(self, letter, data=b"", macros=()):
        """One step, if the filter wants it; its answer, or "continue" where it gives none."""
        if self.steps & NO_STEP.get(letter, 0):
            return "continue"
        if macros:
            self._send("D", letter.encode() + b"".join(
                k.encode() + b"\0" + v.encode() + b"\0" for k, v in macros))
        self._send(letter, data)
        self.sent.append(letter)
        if self.steps & NO_REPLY.get(letter, 0):
            return "continue"
        return self.answer()

    def answer(self):
        while True:
            letter, _ = self._receive()
            name = ANSWERS.get(letter, letter)
            if name != "progress":
                return name

    def mail(self, headers, body, sender="root@client.mail.test", to=("ops@mail.test",),
             client="127.0.0.1", queue_id="4TESTQUEUEID"):
        """A whole mail; gives (the last answer, the letter of the step that it was given to)."""
        def strings(*values):
            return b"".join(v.encode() + b"\0" for v in values)
        steps = [
            ("C", strings("client.mail.test")[:-1] + b"\0" + b"4" + struct.pack(">H", 25)
             + strings(client), ()),
            ("H", strings("client.mail.test"), ()),
            ("M", strings(f"<{sender}>"), ()),
            *(("R", strings(f"<{address}>"), (("i", queue_id),)) for address in to),
            ("T", b"", (("i", queue_id),)),
            *(("L", strings(name, value), ()) for name, value in headers),
            ("N", b"", ()),
            *(("B", body[n:n + 65535], ()) for n in range(0, len(body), 65535)),
        ]
        for letter, data, macros in steps:
            answer = self.step(letter, data, macros)
            if answer == "skip":
                continue
            if answer != "continue":
                return answer, letter
        self._send("E")
        self.sent.append("E")
        answer = self.answer()
        while answer == "quarantine":
            answer = self.answer()
        return answer, "E"

    def next_client(self):
        self._send("K")

    def close(self):
        try:
            self._send("Q")
        except OSError:
            pass
        self.connection.close()
