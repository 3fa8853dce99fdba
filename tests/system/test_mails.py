# SPDX-License-Identifier: MIT
"""What becomes of the samples in tests/mails. After a change that is meant: tests/mails/update."""

import json

import pytest

from support import samples
from support.daemons import command_environment

SAMPLES = samples.samples()
EXPECTATIONS = samples.expectations()
PAIRS = samples.pairs()


@pytest.fixture(scope="module")
def explained(programs):
    return samples.explain(programs["milterd"], list(SAMPLES.values()), command_environment())


@pytest.mark.parametrize("name", sorted(SAMPLES.keys() | EXPECTATIONS.keys()))
def test_sample_becomes_what_stands_beside_it(name, explained):
    assert name in SAMPLES, f"{EXPECTATIONS[name]} has no mail beside it"
    assert name in EXPECTATIONS, f"{SAMPLES[name]} has nothing beside it; tests/mails/update"
    expected = json.loads(EXPECTATIONS[name].read_text())
    differs = samples.difference(expected, samples.essence(explained[name]))
    if differs:
        pytest.fail(f"{name} is read in another way:\n{differs}", pytrace=False)


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_recovery_has_the_key_of_its_problem(name, explained):
    assert PAIRS[name] in SAMPLES, f"{name} is the end of {PAIRS[name]}, which is not there"
    recovery, problem = (samples.alert_of(explained[n])["record"] for n in (name, PAIRS[name]))
    assert problem.get("key")
    assert recovery.get("key") == problem["key"]
    assert (problem.get("state"), recovery.get("state")) == ("problem", "recovery")
