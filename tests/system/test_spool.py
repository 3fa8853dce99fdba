# SPDX-License-Identifier: MIT
"""A spool that is damaged, or is none: what the relay says of it, and what is brought back."""

import os
import re
import sqlite3
import time
from pathlib import Path

import pytest

from support.daemons import as_user, command_environment
from support.place import Failure, own, run, wait_until

MANUAL = Path(__file__).parent.parent.parent / "packaging" / "man" / "xmpp-alerts.7"
PAGE = 4096
DAMAGED, UNAVAILABLE = 65, 69


def refused(relay, *words):
    """The relay does not start; gives what it says, which names the file."""
    before = relay.spool.read_bytes() if relay.spool.is_file() else None
    relay.write()
    relay.process.start()
    assert relay.process.wait(30) == DAMAGED, relay.process.log_tail()
    text = relay.process.log_text()
    assert str(relay.spool) in text
    for word in words:
        assert word in text, text
    if before is not None:
        assert relay.spool.read_bytes() == before
    return text


def recover(relay, user=None):
    """As the manual says it."""
    command = re.search(r"^xmpprelay (--recover-spool)$", MANUAL.read_text(), re.M)
    argv = [relay.programs["xmpprelay"], command.group(1), "-c", relay.config]
    return as_user(user, argv) if user else run(argv, env=command_environment())


def fill(relay, total, size=200):
    """Alerts that wait."""
    relay.ctl("pause", "ops")
    for number in range(total):
        assert relay.send("-i", f"n-{number}", "ops", "--",
                          f"alert {number}. {'x' * size}").returncode == 0


def all_said_once(reader, total):
    reader.wait_message("alert ", count=total, timeout=120)
    texts = [message["body"] for message in reader.messages("alert ")]
    for number in range(total):
        assert sum(f"alert {number}." in text for text in texts) == 1, number


def spoil(path, *pages):
    with open(path, "r+b") as spool:
        for page in pages:
            spool.seek(page * PAGE)
            spool.write(b"\xa5" * PAGE)


def page_of(path, text, kind):
    """The number of the page that begins with a byte and holds the text."""
    data = path.read_bytes()
    for at in range(0, len(data), PAGE):
        if data[at + (100 if at == 0 else 0)] == kind and text in data[at:at + PAGE]:
            return at // PAGE
    raise Failure(f"{text} is not in {path}")


@pytest.mark.parametrize("pages", ["the first one", "an index", "the entries"])
def test_damaged_spool_is_refused_and_recovered(bridge, pages):
    bridge.start_reader()
    relay = bridge.relay.start().wait_ready()
    fill(relay, 30)
    relay.stop()
    spoil(relay.spool, {"the first one": lambda: 0,
                        "an index": lambda: page_of(relay.spool, b"ops", 0x0a),
                        "the entries": lambda: page_of(relay.spool, b"ops", 0x0d)}[pages]())
    text = refused(relay, "is no spool or is damaged", "xmpprelay --recover-spool",
                   "xmpp-alerts(7)")
    assert text.count("\n") == 1  # one line that says it all

    done = recover(relay)
    assert done.returncode == 0, done.stderr
    assert "30 waiting, 0 set aside, 0 in the history" in done.stdout
    kept, = relay.folder.glob("spool.db.damaged-*")
    assert f"The old one is {kept} now." in done.stdout
    assert relay.spool.stat().st_uid == kept.stat().st_uid
    assert relay.spool.stat().st_mode & 0o777 == 0o600

    relay.start().wait_ready()
    assert relay.status()["destinations"][0]["paused"]  # as it was
    relay.ctl("resume", "ops")
    all_said_once(bridge.reader, 30)


def test_spool_with_nothing_to_recover_is_left_alone(bridge):
    relay = bridge.relay
    relay.write()
    relay.spool.write_bytes(b"\0" * 3 * PAGE)
    own(relay.spool, relay.user, None, 0o600)
    refused(relay)
    done = recover(relay)
    assert done.returncode == DAMAGED
    assert "nothing of" in done.stderr and "move it aside" in done.stderr
    assert relay.spool.read_bytes() == b"\0" * 3 * PAGE
    assert [p.name for p in relay.folder.glob("spool.db*")] == ["spool.db"]


def test_sound_spool_is_not_recovered_nor_one_in_use(bridge):
    relay = bridge.relay.start()
    done = recover(relay, relay.user)
    assert done.returncode == UNAVAILABLE and "only one relay" in done.stderr
    relay.stop()
    done = recover(relay, relay.user)
    assert done.returncode == 0 and "is sound; nothing was done" in done.stdout


@pytest.mark.parametrize("link", ["spool.db", "spool.db-wal", "spool.db.recovered-wal"])
def test_root_that_recovers_follows_no_link_of_the_relays_user(bridge, place, link):
    relay = bridge.relay.start().wait_ready()
    fill(relay, 3)
    relay.stop()
    spoil(relay.spool, page_of(relay.spool, b"ops", 0x0a))
    target = place.file("of-root", "root's own", mode=0o644)
    path = relay.folder / link
    path.unlink(missing_ok=True)
    path.symlink_to(target)
    recover(relay)
    assert target.read_text() == "root's own"
    assert target.stat().st_uid == os.geteuid()
    assert target.stat().st_mode & 0o777 == 0o644


def test_recovery_on_a_full_disk_leaves_all_as_it_was(bridge, small_disk):
    relay = bridge.relay
    relay.spool = small_disk / "spool.db"
    relay.start().wait_ready()
    fill(relay, 100, size=30000)
    relay.stop()
    spoil(relay.spool, page_of(relay.spool, b"ops", 0x0a))
    before = relay.spool.read_bytes()
    ballast = small_disk / "ballast"
    # Room for what is written first, but not for its copy in the new file.
    free = os.statvfs(small_disk)
    ballast.write_bytes(b"x" * (free.f_bavail * free.f_frsize - len(before) * 3 // 2))
    done = recover(relay)
    assert done.returncode == DAMAGED, done.stdout
    assert "full" in done.stderr
    assert relay.spool.read_bytes() == before
    assert not list(small_disk.glob("spool.db.*"))

    ballast.unlink()
    assert "100 waiting" in recover(relay).stdout
    relay.start().wait_ready()
    assert relay.status()["waiting"] == 100


def database(path, *statements):
    with sqlite3.connect(path) as made:
        for statement in statements:
            made.execute(statement)
    made.close()


FOREIGN = {
    "text": (lambda path: path.write_text("Dear diary, " * 500), ["is no spool or is damaged"]),
    "empty": (lambda path: path.write_bytes(b""), ["it is empty"]),
    "folder": (lambda path: path.mkdir(), ["no regular file"]),
    "other program's": (lambda path: database(path, "CREATE TABLE contacts (name TEXT)"),
                        ["a database of some other program"]),
    "newer": (lambda path: database(path, "PRAGMA application_id = 1481461842",
                                    "PRAGMA user_version = 4711", "CREATE TABLE x (y)"),
              ["was written by a newer xmpprelay", "4711", "install that version again"]),
    "log alone": (lambda path: path.with_name(path.name + "-wal").write_text("x" * 99),
                  ["it is missing, and its log"]),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_no_spool_is_refused_untouched(bridge, kind):
    relay = bridge.relay
    make, words = FOREIGN[kind]
    make(relay.spool)
    if relay.spool.exists():
        own(relay.spool, relay.user, None, 0o700 if relay.spool.is_dir() else 0o600)
    before = sorted(path.name for path in relay.folder.glob("spool.db*"))
    refused(relay, *words)
    assert sorted(path.name for path in relay.folder.glob("spool.db*")) == before


def test_new_spool_is_told(bridge):
    relay = bridge.relay.start()
    relay.process.wait_log(f"{relay.spool} was not there and has been made")
    relay.stop()
    relay.start()
    assert "has been made" not in relay.process.log_text()


def test_spool_damaged_under_the_running_relay_ends_it_and_is_recovered(bridge):
    bridge.start_reader()
    relay = bridge.relay.start().wait_ready()
    # More than is kept in memory, so that it has to be read again.
    fill(relay, 150, size=30000)
    relay.stop()
    relay.start().wait_ready()
    pages = relay.spool.stat().st_size // PAGE
    spoil(relay.spool, *range(pages // 3, pages * 2 // 3))
    relay.ctl("resume", "ops", check=False)
    assert relay.process.wait(60) == UNAVAILABLE
    assert re.search(rf"{relay.spool} turns out to be damaged \(.*\): ending",
                     relay.process.log_text())
    began = time.monotonic()
    refused(relay)
    assert time.monotonic() - began < 30

    done = recover(relay)
    assert done.returncode == 0, done.stderr
    assert " waiting" in done.stdout and "alerts have lost their text" in done.stdout
    relay.start().wait_ready()
    wait_until(lambda: relay.status()["waiting"] == 0, "what was recovered to be said", 120)
    # Two thirds of the file were whole; some alerts have one page there and one here.
    assert len({m["body"].split(".")[0] for m in bridge.reader.messages("alert ")}) > 80


def test_alerts_that_are_lost_with_a_removed_spool_are_told(bridge):
    relay = bridge.relay.start()
    fill(relay, 2)
    for path in relay.folder.glob("spool.db*"):
        path.unlink()
    relay.stop()
    relay.process.wait_log("was removed or replaced, and the 2 alerts that waited in it are lost")
