# SPDX-License-Identifier: MIT
"""How much memory processes have while work goes on, and whether that grows with the work."""

import statistics
import threading
from dataclasses import dataclass, field
from pathlib import Path

KINDS = {"Rss": "resident", "Pss": "proportional", "Anonymous": "anonymous"}
WARM = 0.2  # of the work; until then pools, caches and arenas fill


def memory_of(pid):
    """Bytes by kind, or None where the process has ended."""
    found = {}
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    for line in lines[1:]:
        name, _, rest = line.partition(":")
        if name in KINDS:
            found[name] = int(rest.split()[0]) * 1024
    return found if len(found) == len(KINDS) else None


@dataclass
class Growth:
    """What the samples of one process say."""
    name: str
    points: list = field(default_factory=list)  # (work done, bytes by kind)
    ended: bool = False

    def between(self, least, most, kind):
        """The samples taken in a part of the work."""
        total = self.points[-1][0]
        return [sample[kind] for done, sample in self.points
                if least * total <= done <= most * total]

    def slope(self, kind):
        """Bytes for each piece of work, by a line through all samples after the warm-up."""
        total = self.points[-1][0]
        points = [(done, sample[kind]) for done, sample in self.points if done >= WARM * total]
        if len({done for done, _ in points}) < 2:
            return 0.0
        return statistics.linear_regression(*zip(*points)).slope

    def most(self, kind):
        return max(sample[kind] for _, sample in self.points)

    def late(self):
        """Bytes of its own memory that came with the second half of the work.

        Medians of what it had around the middle, and in the end: a large mail that is there when a
        sample is taken says nothing.
        """
        middle, end = self.between(0.4, 0.6, "Anonymous"), self.between(0.8, 1, "Anonymous")
        return statistics.median(end) - statistics.median(middle) if middle and end else 0.0


class Watch:
    """Looks at processes again and again, beside the work."""

    def __init__(self, processes, work_done, interval):
        """`processes`: ids by name; `work_done()`: how many pieces of work are done."""
        self.processes = processes
        self.work_done = work_done
        self.interval = interval
        self.growths = {name: Growth(name) for name in processes}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
        self._sample()

    def _look(self):
        while not self._over.wait(self.interval):
            self._sample()

    def _sample(self):
        for name, pid in self.processes.items():
            memory = memory_of(pid)
            if memory is None:
                self.growths[name].ended = True
            else:
                self.growths[name].points.append((self.work_done(), memory))


def problems(growths, bound):
    """What is wrong with them: more than `bound` bytes came with the second half of the work."""
    found = []
    for growth in growths:
        if growth.ended:
            found.append(f"{growth.name} ended meanwhile")
        elif growth.late() > bound:
            found.append(f"{growth.name} grew by {growth.late() / 1024:.0f} KiB in the second half; "
                         f"{bound / 1024:.0f} may be")
    return found


def table(growths, unit):
    """One line for each process."""
    def mib(size):
        return f"{size / (1 << 20):.1f}"

    lines = [["process", "RSS max", "RSS end", "PSS end", "own end MiB", f"RSS B/{unit}",
              f"PSS B/{unit}", f"own B/{unit}", "own, second half KiB"]]
    for growth in growths:
        if not growth.points:
            continue
        last = growth.points[-1][1]
        lines.append([growth.name, mib(growth.most("Rss")), mib(last["Rss"]), mib(last["Pss"]),
                      mib(last["Anonymous"]), *(f"{growth.slope(kind):+.2f}" for kind in KINDS),
                      f"{growth.late() / 1024:+.0f}"])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(text.ljust(width) if i == 0 else text.rjust(width)
                               for i, (text, width) in enumerate(zip(line, widths)))
                     for line in lines)
