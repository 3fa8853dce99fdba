# SPDX-License-Identifier: MIT
"""The short form of tests/system/faults: one seed of the quick scenarios, on one server each."""

import os
from types import SimpleNamespace

import pytest

from faults import oracle
from faults.runner import load_scenarios, run_once
from faults.world import World

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
