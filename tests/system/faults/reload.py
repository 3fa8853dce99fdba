# SPDX-License-Identifier: MIT
"""Reloads under load: no mail may notice."""

import signal

from .scenario import scenario

ROUNDS = 15


@scenario("reloads", "SIGHUP of both daemons every second: no mail is answered with an error",
          mails=600, seconds=ROUNDS, short=True)
def reloads(run):
    run.some_are_through(0.02, 0.05)
    run.begin()
    for _ in range(ROUNDS if not run.quick else 8):
        for daemon in (run.milterd, run.relay):
            daemon.process.send_signal(signal.SIGHUP)
        run.wait(1)
    run.over()
    run.no_errors()


@scenario("reload-storm", "SIGHUP of both daemons, faster than they can follow",
          mails=400, seconds=10, servers=("prosody",))
def reload_storm(run):
    run.some_are_through(0.05, 0.1)
    run.begin()
    for _ in range(60):
        for daemon in (run.milterd, run.relay):
            daemon.process.send_signal(signal.SIGHUP)
        run.wait(run.chance.uniform(0, 0.2))
    run.over()
    run.no_errors()


@scenario("broken-reloads", "reloads of configurations with and without errors, in turn",
          mails=400, seconds=10, servers=("prosody",))
def broken_reloads(run):
    run.some_are_through(0.05, 0.1)
    run.begin()
    for number in range(8):
        for daemon in (run.milterd, run.relay):
            daemon.write(daemon.text() + ("nonsense = 1;\n" if number % 2 == 0 else ""))
            daemon.process.send_signal(signal.SIGHUP)
        run.wait(1)
    run.over()
    run.no_errors()
