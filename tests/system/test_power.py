# SPDX-License-Identifier: MIT
"""Loss of power, with the last writes to the disk lost: what was accepted is there."""

import random
import shutil
import threading
from pathlib import Path

import pytest

from faults import disk
from support.daemons import sanitizer_environment
from support.place import run

from test_relay import Sender

CUTS = 300
BATCH = 25
TOTAL = 260


@pytest.fixture(scope="module")
def reader_program(request):
    return Path(request.config.getoption("--build")) / "tests" / "system" / "spool-reader"


def send_all(relay):
    sender = Sender(relay)

    def work(first):
        for number in range(first, TOTAL, 8):
            filler = "x" * (number * 37 % 9000)
            sender.keep({"id": f"n-{number}", "text": f"alert {number}. {filler}"})

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def read_spools(program, folders):
    """By folder: the ids of all entries; what is wrong is raised."""
    done = run([program, *(folder / "spool.db" for folder in folders)], check=True,
               env=sanitizer_environment())
    found, ids = {}, None
    for line in done.stdout.splitlines():
        first, rest = line.split(" ", 1)
        if first == "spool":
            ids = found[Path(rest).parent] = set()
        else:
            assert not first.startswith("refused"), line
            ids.add(first)
    return found


def cut_points(events, chance):
    """Right after a receipt, where most is promised, and anywhere."""
    sent = [place + 1 for place, event in enumerate(events) if event[0] == "send"]
    points = chance.choices(sent, k=CUTS // 2) + chance.choices(range(len(events) + 1), k=CUTS // 2)
    return sorted(points)


def test_whatever_was_accepted_is_there_after_a_loss_of_power(bridge, place, reader_program):
    bridge.start_reader()
    record = place.folder("power", bridge.relay.user) / "record"
    record.unlink(missing_ok=True)
    follower = disk.Disk(bridge.relay.spool)
    disk.watch(bridge.relay, place, record)
    bridge.relay.start().wait_ready()
    send_all(bridge.relay)
    bridge.reader.wait_message("alert ", count=TOTAL, timeout=240)
    bridge.relay.stop()

    events = disk.read_events(record)
    kinds = [event[0] for event in events]
    # All that the proof rests on was noted, and the log was brought home and begun anew.
    assert {"make", "rename", "folder", "write", "sync", "unlink", "send"} <= set(kinds)
    assert sum(event[0] == "write" and event[2] == 0 and event[4][:2] == b"\x37\x7f"
               for event in events) > 1, "the log was never begun anew"

    chance = random.Random(1)
    points = cut_points(events, chance)
    checked, waiting, at = 0, [], 0
    for point in points:
        for event in events[at:point]:
            follower.follow(event)
        at = point
        folder = place.folder(f"power/{len(waiting)}-{checked}")
        for name, content in follower.after_power_loss(chance).items():
            (folder / Path(name).name).write_bytes(content)
        waiting.append((folder, set(follower.accepted)))
        if len(waiting) == BATCH or point == points[-1] and checked + len(waiting) == len(points):
            found = read_spools(reader_program, [folder for folder, _ in waiting])
            for folder, accepted in waiting:
                assert accepted <= found[folder], sorted(accepted - found[folder])[:5]
                shutil.rmtree(folder)
            checked += len(waiting)
            waiting = []
    assert checked == len(points) >= 200
    assert len(follower.accepted) > TOTAL * 0.9
