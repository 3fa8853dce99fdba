# SPDX-License-Identifier: MIT
"""The short form of tests/system/faults: one seed of the quick scenarios, on one server each."""

import os
import random
from types import SimpleNamespace

import pytest

from faults import oracle, runner
from faults.runner import load_scenarios, run_once
from faults.world import World
from support.place import Failure, Place

SHORT = sorted((s for s in load_scenarios().values() if s.short), key=lambda s: s.name)


@pytest.fixture(scope="module")
def world(request, place):
    # `place` has set what the sanitizers need; the servers of faults are their own.
    assert place
    made = World(request.config.getoption("--build"), quick=True)
    yield made
    made.close()


@pytest.mark.parametrize("scenario", SHORT, ids=lambda s: s.name)
def test_no_alert_is_lost_or_doubled(scenario, world, request):
    # Prosody in the short form: it starts in a second.
    kind = scenario.servers[0]
    logs = os.path.join(request.config.getoption("--logs") or world.place.path, "faults")
    verdict, _ = run_once(world, scenario, kind, 1, logs)
    allowed = scenario.doubled.get(kind, (0, ""))[0]
    assert not verdict.failed(allowed), verdict


# The judge itself, for one that sees nothing is no proof.

def message(place, names, number, text=None):
    return {"archive_id": f"a{place}", "id": f"i{place}", "how": "live", "at": 100.0 + place,
            "body": f"*ALERT {names} number {number}.*\nThis is number {text or number}."}


def judged(*messages, accepted=(0, 1, 2), poison=()):
    load = SimpleNamespace(accepted=dict.fromkeys(accepted, 0), poison=set(poison),
                           names=lambda number: ["ops"])
    reader = SimpleNamespace(messages=lambda text, room: list(messages))
    run = SimpleNamespace(
        load=load, reader=reader, rooms={"ops": "r"}, over_at=None,
        archives={"r": list(messages)}, relay=SimpleNamespace(spool="/nonexistent/spool.db"))
    return oracle.judge(run)


def test_judge_is_content_when_each_was_said_once():
    verdict = judged(*(message(n, "ops", n) for n in range(3)))
    assert not verdict.failed(0)


def test_judge_sees_what_is_lost_and_what_is_doubled():
    verdict = judged(message(0, "ops", 0), message(1, "ops", 0), message(2, "ops", 2))
    assert verdict.lost == [("ops", 1)]
    assert verdict.doubled == [("ops", 0, 2)]
    assert verdict.failed(1)


def test_judge_sees_what_nobody_sent():
    assert judged(message(0, "night", 0)).strange
    assert judged(message(0, "ops", 0, text=2)).strange
    assert judged(*(message(n, "ops", n) for n in range(3)), poison=[1]).strange


def test_judge_sees_what_is_out_of_order():
    load = SimpleNamespace(accepted={0: 0, 1: 0}, poison=set(), names=lambda number: ["ops"])
    said = [message(0, "ops", 1), message(1, "ops", 0)]
    run = SimpleNamespace(load=load, over_at=None, archives={"r": said},
                          reader=SimpleNamespace(messages=lambda text, room: said))
    verdict = oracle.Verdict(out_of_order=0)
    oracle.judge_room(run, verdict, "ops", "r", {0: 7, 1: 8})
    assert verdict.out_of_order == 1


# Several at a time.

class Nowhere:
    """A world of which only a file is seen."""

    def __init__(self, folder):
        self.file = folder / f"world-{os.getpid()}"
        self.file.touch()

    def close(self):
        self.file.unlink()


def jobs(count):
    some = sorted(load_scenarios().values(), key=lambda s: s.name)[:2]
    return [(scenario, "prosody", seed) for scenario in some for seed in range(count)]


def test_runs_at_a_time_are_each_in_one_table(monkeypatch, tmp_path):
    def run(world, job, logs, keep):
        (tmp_path / f"ran-{job[0].name}-{job[2]}").write_text(world.file.name)
        return oracle.Verdict(mails=job[2], lost=[1] if job[2] == 3 else [])

    monkeypatch.setattr(runner, "run_and_tell", run)
    rows = runner.run_in_parallel(lambda: Nowhere(tmp_path), 3, jobs(4), None)
    assert [(row.seeds, row.failed, sum(v.mails for v in row.verdicts)) for row in rows] \
        == [(4, 1, 6)] * 2
    assert len(list(tmp_path.glob("ran-*"))) == 8
    assert not list(tmp_path.glob("world-*"))


def test_process_that_dies_ends_all(monkeypatch, tmp_path):
    monkeypatch.setattr(runner, "run_and_tell", lambda *_: os._exit(1))
    with pytest.raises(Failure):
        runner.run_in_parallel(lambda: Nowhere(tmp_path), 2, jobs(4), None)


def test_places_do_not_take_the_same_port():
    places, ports = [], []
    for _ in range(3):
        random.seed("the same numbers")
        places.append(Place())
        ports.append(places[-1].port())
    random.seed()
    for place in places:
        place.close()
    assert len(set(ports)) == 3
