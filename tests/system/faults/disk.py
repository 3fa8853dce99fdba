# SPDX-License-Identifier: MIT
"""
What a disk holds after a loss of power: made of what a program did to it, as disk.c has noted it.

Of each file all that was written before the program last waited for it is there. What was written
later may be there or not: all of it, none, the first part of it, any of its sectors in any order.
A name that was given or taken away is sure once the program has waited for the folder; of later
changes of names the first ones may be there, for file systems keep their order.
"""

import json
import struct
from pathlib import Path

from support.place import own, run as command

EVENT = struct.Struct("=QqII8s")
SECTOR = 512


def build(place):
    """The library to preload."""
    library = place / "disk.so"
    if not library.exists():
        command(["cc", "-shared", "-fPIC", "-O1", "-o", library,
                 Path(__file__).with_name("disk.c")], check=True)
        library.chmod(0o755)
    return library


def watch(relay, place, record):
    """Lets a relay write down what it does, from its next start on."""
    sanitizer = relay.process.env.get("ASAN_OPTIONS", "")
    relay.process.env |= {
        "LD_PRELOAD": str(build(place)), "DISK_FILE": str(relay.spool),
        "DISK_RECORD": str(record),
        "ASAN_OPTIONS": f"{sanitizer}:verify_asan_link_order=0".lstrip(":")}


def read_events(path):
    """(what, inode, at, names, data) of each; the last one may be cut off, as its writer was."""
    data, at, events = path.read_bytes(), 0, []
    while at + EVENT.size <= len(data):
        inode, offset, n_names, n_data, what = EVENT.unpack_from(data, at)
        at += EVENT.size
        if at + n_names + n_data > len(data):
            break
        names = [name.decode() for name in data[at:at + n_names].split(b"\0")[:-1]]
        events.append((what.rstrip(b"\0").decode(), inode, offset, names,
                       data[at + n_names:at + n_names + n_data]))
        at += n_names + n_data
    return events


def receipts(datagram):
    """(status, id) of each receipt in a datagram."""
    at = 0
    while at + 4 <= len(datagram):
        size, = struct.unpack_from(">I", datagram, at)
        receipt = json.loads(datagram[at + 4:at + 4 + size])
        yield receipt["status"], receipt.get("id", "")
        at += 4 + size


class File:
    def __init__(self, content=b""):
        self.sure = bytearray(content)
        self.later = []  # (at, data), or (size, None): cut to that size

    def sync(self):
        for change in self.later:
            apply(self.sure, *change)
        self.later = []

    def after_power_loss(self, chance):
        content = bytearray(self.sure)
        how = chance.choice(["none", "all", "first", "sectors", "sectors", "shuffled"])
        if how == "none":
            return content
        changes = sectors(self.later)
        if how == "first":
            changes = changes[:chance.randrange(len(changes) + 1)]
        elif how != "all":
            share = chance.random()
            changes = [change for change in changes if chance.random() < share]
            if how == "shuffled":
                chance.shuffle(changes)
        for change in changes:
            apply(content, *change)
        return content


def apply(content, at, data):
    if data is None:
        del content[at:]
        content.extend(bytes(at - len(content)))
        return
    if len(content) < at:
        content.extend(bytes(at - len(content)))
    content[at:at + len(data)] = data


def sectors(changes):
    """Each write in parts that a disk writes wholly or not at all."""
    parts = []
    for at, data in changes:
        if data is None:
            parts.append((at, None))
            continue
        end = at + len(data)
        while at < end:
            following = min(end, at - at % SECTOR + SECTOR)
            parts.append((at, data[len(data) - (end - at):len(data) - (end - following)]))
            at = following
    return parts


class Disk:
    """Follows a program; at any moment the power may go."""

    def __init__(self, path):
        self.path = Path(path)
        self.files = {}  # inode → File
        self.names = {}  # those that are sure: name → inode
        self.now = {}  # as the program sees them
        self.later = []  # changes of names: (name, inode or None)
        self.accepted = set()  # ids whose receipt has gone out
        for found in self.path.parent.glob(self.path.name + "*"):
            inode = found.stat().st_ino
            self.files[inode] = File(found.read_bytes())
            self.names[str(found)] = self.now[str(found)] = inode

    def rename(self, *changes):
        for name, inode in changes:
            if inode is None:
                self.now.pop(name, None)
            else:
                self.now[name] = inode
        self.later.append(changes)

    def follow(self, event):
        what, inode, at, names, data = event
        if what == "make":
            self.files[inode] = File()
            self.rename((names[0], inode))
        elif what == "write":
            self.files[inode].later.append((at, data))
        elif what == "cut":
            self.files[inode].later.append((at, None))
        elif what == "sync" and inode in self.files:
            self.files[inode].sync()
        elif what == "sync":  # the folder
            self.names = dict(self.now)
            self.later = []
        elif what == "unlink":
            self.rename((names[0], None))
        elif what == "rename":
            self.rename((names[1], self.now[names[0]]), (names[0], None))
        elif what == "send":
            self.accepted |= {i for status, i in receipts(data) if status == "accepted"}

    def after_power_loss(self, chance):
        """Name → content."""
        names = dict(self.names)
        for changes in self.later[:chance.randrange(len(self.later) + 1)]:
            for name, inode in changes:
                if inode is None:
                    names.pop(name, None)
                else:
                    names[name] = inode
        return {name: self.files[inode].after_power_loss(chance) for name, inode in names.items()}

    def put_back(self, chance, user=None):
        """What the program finds when it is started again."""
        content = self.after_power_loss(chance)
        for found in self.path.parent.glob(self.path.name + "*"):
            found.unlink()
        for name, data in content.items():
            Path(name).write_bytes(data)
            own(Path(name), user, user and "nogroup", 0o600)
