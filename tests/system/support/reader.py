# SPDX-License-Identifier: MIT
"""The test's end of xmpp_reader.py: what was seen in the rooms, each message once."""

import json
import subprocess
import sys
import threading
from pathlib import Path

from .place import PATIENCE, Failure, wait_until

PROGRAM = Path(__file__).with_name("xmpp_reader.py")


class Reader:
    """Joins the rooms on start() and collects until close()."""

    def __init__(self, server, authority, jid, password, rooms, nick="reader", log=None,
                 resource=None):
        self.rooms = rooms
        self.events = []
        self.seen = {}  # (room, the archive's id or else the stanza's) → message, in order
        self._changed = threading.Condition()
        self._number = 0
        self._closing = False
        self.child = subprocess.Popen(
            [sys.executable, "-u", str(PROGRAM), "--jid", jid, "--password", password,
             "--port", str(server.port), "--ca-file", str(authority.certificate),
             "--nick", nick, *(["--resource", resource] if resource else []), *rooms],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=open(log, "ab") if log else subprocess.DEVNULL,
            text=True, start_new_session=True)
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def _collect(self):
        for line in self.child.stdout:
            event = json.loads(line)
            with self._changed:
                self.events.append(event)
                if event["event"] == "message":
                    key = (event["room"], event["archive_id"] or (event["id"], event["body"]))
                    if key not in self.seen:
                        self.seen[key] = event
                self._changed.notify_all()

    def _wait(self, condition, what, timeout=PATIENCE):
        with self._changed:
            if not self._changed.wait_for(lambda: condition() or self.child.poll() is not None,
                                          timeout) or not condition():
                raise Failure(f"waited {timeout} s for {what}; the reader has seen:\n"
                              + "\n".join(repr(e) for e in self.events[-8:]))
            return condition()

    def wait_joined(self, room=None, timeout=PATIENCE):
        room = room or self.rooms[0]
        self._wait(lambda: any(e["event"] == "joined" and e["room"] == room for e in self.events),
                   f"the reader to be in {room}", timeout)
        return self

    def wait_event(self, event, start=0, timeout=PATIENCE, **fields):
        def find():
            for e in self.events[start:]:
                if e["event"] == event and all(e.get(k) == v for k, v in fields.items()):
                    return e
            return None
        return self._wait(find, f"the event {event} {fields or ''}", timeout)

    def messages(self, containing="", room=None):
        """What was said, in the order seen."""
        return [m for m in list(self.seen.values())
                if containing in m["body"] and (room is None or m["room"] == room)]

    def wait_message(self, containing="", room=None, count=1, timeout=PATIENCE):
        """The first message with the text, once there are at least `count` of them."""
        found = self._wait(
            lambda: (lambda m: m if len(m) >= count else None)(self.messages(containing, room)),
            f"{count} message(s) with {containing!r}", timeout)
        return found[0]

    def do(self, command, room=None, timeout=PATIENCE, **fields):
        """Has the reader do something, and waits until the server has answered."""
        self._number += 1
        number = self._number
        self.child.stdin.write(json.dumps(
            {"do": command, "room": room or self.rooms[0], "number": number, **fields}) + "\n")
        self.child.stdin.flush()
        answer = self._wait(
            lambda: next((e for e in self.events
                          if e["event"] in ("done", "failed") and e["number"] == number), None),
            f"the reader to do {command}", timeout)
        if answer["event"] == "failed":
            raise Failure(f"{command}: {answer['error']}")

    def archive(self, room=None):
        """All that the room's archive holds: what was said there, whoever saw it."""
        room = room or self.rooms[0]
        start = len(self.events)
        self.do("archive", room, timeout=120)
        return [e for e in self.events[start:]
                if e["event"] == "message" and e["how"] == "archive" and e["room"] == room]

    def close(self):
        if self.child.poll() is None:
            try:
                self.child.stdin.close()
                self.child.wait(5)
            except (OSError, subprocess.TimeoutExpired):
                pass
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()

    def wait_online_again(self, start, timeout=PATIENCE):
        return self.wait_event("joined", start=start, timeout=timeout)

    def mark(self):
        """The place in the events from which on a wait_event() looks."""
        return len(self.events)
