# SPDX-License-Identifier: MIT
"""Compares what Postfix took with what was said in the rooms."""

import re
import sqlite3
from dataclasses import dataclass, field

from .load import words

SAID = re.compile(r"ALERT (\S+) number (\d+)\.")
TEXT = re.compile(r"This is number (\d+)\.")


@dataclass
class Verdict:
    mails: int = 0
    lost: list = field(default_factory=list)  # (destination, number)
    doubled: list = field(default_factory=list)  # (destination, number, times)
    strange: list = field(default_factory=list)  # what no mail had asked to be said
    out_of_order: int = None  # messages that were said after a later one; None: nobody knows
    gap: float = 0.0  # seconds, the longest between two messages in a room
    recovery: float = None  # seconds from the end of the fault until a message was said
    problems: list = field(default_factory=list)

    def failed(self, doubled_allowed):
        return bool(self.lost or self.strange or self.problems
                    or sum(times - 1 for _, _, times in self.doubled) > doubled_allowed)


def judge(run):
    verdict = Verdict(mails=len(run.load.accepted))
    order = spool_order(run.relay.spool)
    if order is not None:
        verdict.out_of_order = 0
    for name, room in run.rooms.items():
        judge_room(run, verdict, name, room, (order or {}).get(name))
    return verdict


def judge_room(run, verdict, name, room, order):
    counted, first = {}, []
    for message in in_order(run, room):
        found = SAID.search(message["body"])
        text = TEXT.search(message["body"])
        if not found or not text or found.group(2) != text.group(1):
            verdict.strange.append(f"{name}: {message['body'][:80]!r}")
            continue
        number = int(found.group(2))
        if name not in run.load.names(number) or found.group(1) != words(run.load.names(number)):
            verdict.strange.append(f"{name}: {found.group(0)}")
            continue
        counted[number] = counted.get(number, 0) + 1
        if counted[number] == 1:
            first.append((number, message))
    verdict.strange += [f"{name}: number {n}, which was to be set aside"
                        for n in sorted(run.load.poison & counted.keys())]
    verdict.lost += [(name, n) for n in sorted(run.load.accepted.keys() - run.load.poison)
                     if name in run.load.names(n) and n not in counted]
    verdict.doubled += [(name, n, times) for n, times in sorted(counted.items()) if times > 1]

    if order is not None:
        newest = -1
        for number, _ in first:
            place = order.get(number, newest)  # the spool forgets, after a time
            verdict.out_of_order += place < newest
            newest = max(newest, place)

    # What the archive alone has was not seen to come.
    seen = sorted(m["at"] for _, m in first if m["how"] in ("live", "missed"))
    for before, after in zip(seen, seen[1:]):
        verdict.gap = max(verdict.gap, after - before)
    later = [at for at in seen if run.over_at and at > run.over_at]
    if later:
        recovery = later[0] - run.over_at
        verdict.recovery = max(verdict.recovery or 0.0, recovery)


def in_order(run, room):
    """What was said in a room, in the order of its archive.

    A server that was killed may have forgotten what it had archived, and a room that was destroyed
    has no archive any more: what was seen and is not in there has its place by when it was seen.
    What a room's history alone has is only looked at where nothing else is known of a mail.
    """
    archived = {m["archive_id"]: place for place, m in enumerate(run.archives[room])}
    messages, place = [], -1.0
    for message in run.reader.messages("ALERT", room):
        if message["how"] != "archive":
            place = archived.get(message["archive_id"], place)
        if message["how"] == "history" and message["archive_id"] not in archived:
            continue
        messages.append((archived.get(message["archive_id"], place), message))
    known = {m["id"] for _, m in messages}
    messages += [(-1.0, m) for m in run.reader.messages("ALERT", room)
                 if m["how"] == "history" and m["id"] not in known]
    return [m for _, m in sorted(messages, key=lambda pair: pair[0])]


def spool_order(path):
    """By destination: number of a mail → its place in the order of acceptance."""
    order = {}
    try:
        with sqlite3.connect(f"file:{path}?mode=rw", uri=True) as spool:
            for place, destination, title in spool.execute(
                    "SELECT seq, destination, title FROM entry JOIN record ON number = record"
                    " ORDER BY seq"):
                found = SAID.search(title or "")
                if found:
                    order.setdefault(destination, {}).setdefault(int(found.group(2)), place)
    except sqlite3.Error:
        return None
    return order
