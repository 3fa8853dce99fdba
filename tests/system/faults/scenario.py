# SPDX-License-Identifier: MIT
"""The list of scenarios: each module of a group adds its own when it is imported."""

from dataclasses import dataclass, field
from typing import Callable

SERVERS = ("prosody", "ejabberd")
SCENARIOS = {}


@dataclass
class Scenario:
    name: str
    group: str
    about: str
    function: Callable  # of a Run; breaks something and mends it again
    prepare: Callable = None  # of a Run; before the daemons start
    mails: int = 200
    seconds: float = 5.0  # that the mails are spread over
    servers: tuple = SERVERS
    short: bool = False  # whether the short form has it
    sanitizers: bool = True  # whether programs built with them can pass it
    # By server: how many messages may be said twice in a run, and why.
    doubled: dict = field(default_factory=dict)
    limit: float = 240.0  # seconds from the end of the fault until all must be said


def scenario(name, about, **options):
    """Makes a scenario of a function; its group is the module's name."""
    def add(function):
        group = function.__module__.rsplit(".", 1)[-1]
        assert name not in SCENARIOS, name
        SCENARIOS[name] = Scenario(name, group, about, function, **options)
        return function
    return add
