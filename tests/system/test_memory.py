# SPDX-License-Identifier: MIT
"""
The short form of tests/system/faults/memory: memory doesn't grow with the work.

Programs built with sanitizers keep for a while what is free, and take more for everything, so the
bound is wide here; what leaks in earnest they tell at their end.
"""

import os

import pytest

from faults.growth import Growth, problems
from faults.memory import Soak

MIB = 1 << 20
BOUND = 8 * MIB


@pytest.fixture
def soak(request, place, monkeypatch):
    # `place` has set what the sanitizers need.
    assert place
    monkeypatch.setenv("ASAN_OPTIONS", os.environ.get("ASAN_OPTIONS", "")
                       + ":quarantine_size_mb=1:thread_local_quarantine_size_kb=64")
    made = Soak(request.config.getoption("--build"), sessions=4, interval=0.1).start()
    yield made
    made.close()
    assert not made.problems, "\n".join(made.problems)


def test_memory_does_not_grow_with_the_work(soak):
    for work, count in ((soak.mails, 3000), (soak.records, 600), (soak.reloads, 6)):
        growths, answers = work(count, patience=120)
        assert not problems(growths, BOUND), answers


# The judge itself.

def grown(*sizes):
    return Growth("it", [(done, {"Rss": size, "Pss": size, "Anonymous": size})
                         for done, size in enumerate(sizes)])


def test_judge_takes_what_came_at_the_beginning_for_no_growth():
    growth = grown(*(min(n, 100) * MIB for n in range(1000)))
    assert abs(growth.slope("Anonymous")) < 1 and not problems([growth], MIB)


def test_judge_passes_over_peaks():
    growth = grown(*((300 if n % 10 == 0 else 20) * MIB for n in range(1000)))
    assert not problems([growth], MIB)


def test_judge_sees_what_grows_and_what_has_ended():
    growth = grown(*(n * 1024 for n in range(5000)))
    assert growth.slope("Rss") == pytest.approx(1024)
    assert "grew" in problems([growth], MIB)[0]
    growth = grown(*[MIB] * 10)
    growth.ended = True
    assert "ended" in problems([growth], MIB)[0]
