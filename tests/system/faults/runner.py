# SPDX-License-Identifier: MIT
"""Runs scenarios, prints what became of each, and the table."""

import contextlib
import importlib
import multiprocessing
import queue
import statistics
import time
import traceback
from dataclasses import dataclass, field

from support.place import Failure

from .oracle import Verdict
from .scenario import SCENARIOS
from .world import Run

GROUPS = ("processes", "network", "rooms", "refusals", "spool", "senders", "clocks",
          "resources", "reload")


def load_scenarios():
    for group in GROUPS:
        importlib.import_module(f"faults.{group}")
    return SCENARIOS


def run_once(world, scenario, kind, seed, logs, keep=False):
    """One run; its verdict, and the folder of its logs where it failed, or where to keep them."""
    run = Run(world, scenario, kind, seed)
    try:
        run.start()
        run.load.start()
        scenario.function(run)
        if run.over_at is None:
            run.over()
        verdict = run.finish()
    except (Failure, AssertionError, OSError) as error:
        lines = traceback.format_exc().splitlines()
        verdict = Verdict(problems=[f"{error}", *lines[-6:-1]])
        verdict.problems += run.problems
    finally:
        known = len(run.problems)
        run.close()
    verdict.problems += run.problems[known:]
    allowed = scenario.doubled.get(kind, (0, ""))[0]
    folder = run.keep_logs(logs) if keep or verdict.failed(allowed) else None
    return verdict, folder


@dataclass
class Row:
    """What became of one scenario with one server."""
    scenario: object
    kind: str
    seeds: int = 0
    failed: int = 0
    verdicts: list = field(default_factory=list)

    def add(self, verdict):
        allowed = self.scenario.doubled.get(self.kind, (0, ""))[0]
        self.seeds += 1
        self.failed += verdict.failed(allowed)
        self.verdicts.append(verdict)

    def cells(self):
        v = self.verdicts
        orders = [x.out_of_order for x in v if x.out_of_order is not None]
        recoveries = [x.recovery for x in v if x.recovery is not None]
        allowed = self.scenario.doubled.get(self.kind, (0, ""))[0]
        doubled = sum(times - 1 for x in v for _, _, times in x.doubled)
        return [
            self.scenario.name, self.kind, str(self.seeds), str(sum(x.mails for x in v)),
            str(sum(len(x.lost) for x in v)),
            f"{doubled}" + (f" (≤{allowed} each)" if allowed else ""),
            str(sum(orders)) if orders else "-",
            f"{max((x.gap for x in v), default=0):.1f}",
            f"{statistics.median(recoveries):.1f}/{max(recoveries):.1f}" if recoveries else "-",
            "ok" if not self.failed else f"{self.failed} failed"]


HEADINGS = ["scenario", "server", "seeds", "mails", "lost", "doubled", "out of order",
            "longest gap s", "recovery s med/max", "result"]


def table(rows):
    cells = [HEADINGS] + [row.cells() for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(text.ljust(width) if i < 2 or i == len(widths) - 1 else text.rjust(width)
                  for i, (text, width) in enumerate(zip(line, widths))).rstrip()
        for line in cells)


def tell(scenario, kind, seed, verdict, folder, took, say=print):
    """All at once, since several may tell at a time."""
    doubled = sum(times - 1 for _, _, times in verdict.doubled)
    recovery = "-" if verdict.recovery is None else f"{verdict.recovery:.1f} s"
    lines = [f"{scenario.name} {kind} seed {seed}: {verdict.mails} mails, {len(verdict.lost)} lost, "
             f"{doubled} doubled, {verdict.out_of_order} out of order, gap {verdict.gap:.1f} s, "
             f"recovery {recovery} ({took:.0f} s)"]
    if verdict.lost:
        lines.append(f"    lost: {verdict.lost[:10]}")
    if verdict.doubled:
        lines.append(f"    doubled: {verdict.doubled[:10]}")
    lines += [f"    never sent: {line}" for line in verdict.strange[:3]]
    lines += [f"    {line}" for line in verdict.problems]
    if folder:
        lines.append(f"    logs: {folder}")
    say("\n".join(lines), flush=True)


class Jobs:
    """(scenario, server, seed), in order, until the time is over."""

    def __init__(self, jobs, until=None):
        self._jobs = iter(jobs)
        self._until = until

    def __iter__(self):
        for job in self._jobs:
            if self._until and time.monotonic() > self._until:
                return
            yield job


class Rows:
    """The rows of the table, in the order of their first runs."""

    def __init__(self):
        self._rows = {}

    def add(self, scenario, kind, verdict):
        self._rows.setdefault((scenario.name, kind), Row(scenario, kind)).add(verdict)

    @property
    def all(self):
        return list(self._rows.values())


def run_and_tell(world, job, logs, keep):
    scenario, kind, seed = job
    began = time.monotonic()
    verdict, folder = run_once(world, scenario, kind, seed, logs, keep)
    tell(scenario, kind, seed, verdict, folder, time.monotonic() - began)
    return verdict


def run_all(world, jobs, logs, keep=False):
    """One after the other in one world; gives the rows of the table."""
    rows = Rows()
    for job in jobs:
        rows.add(job[0], job[1], run_and_tell(world, job, logs, keep))
    return rows.all


def work(make_world, todo, done, logs, keep):
    """A process of its own: takes what is to do, one after the other, until there is None."""
    world = None
    try:
        world = make_world()
        while job := todo.get():
            name, kind, seed = job
            done.put((name, kind, run_and_tell(world, (SCENARIOS[name], kind, seed), logs, keep)))
    except KeyboardInterrupt:
        pass  # all of it ends, see run_in_parallel()
    finally:
        if world:
            world.close()


def run_in_parallel(make_world, count, jobs, logs, keep=False):
    """As many at a time as `count`, each in a world of its own."""
    todo, done = multiprocessing.Queue(), multiprocessing.Queue()
    workers = [multiprocessing.Process(target=work, args=(make_world, todo, done, logs, keep))
               for _ in range(count)]
    rows, running = Rows(), 0

    def take():
        while True:
            with contextlib.suppress(queue.Empty):
                name, kind, verdict = done.get(timeout=1)
                return rows.add(SCENARIOS[name], kind, verdict)
            if not all(worker.is_alive() for worker in workers):
                raise Failure("a process with a world of its own has ended")

    for worker in workers:
        worker.start()
    try:
        for scenario, kind, seed in jobs:
            if running == count:
                take()
                running -= 1
            todo.put((scenario.name, kind, seed))
            running += 1
        for _ in range(running):
            take()
    except BaseException:
        for worker in workers:
            worker.terminate()
        raise
    finally:
        for _ in workers:
            todo.put(None)
        for worker in workers:
            worker.join()
    return rows.all
