# SPDX-License-Identifier: MIT
"""Too few descriptors, too little memory."""

from pathlib import Path

from support.daemons import group_of
from support.place import children_of, run as command

from .scenario import scenario


# Sanitizers want some terabytes: the scenarios with sanitizers=False are not for them.
MILTERD_SPACE = 160 << 20
RELAY_SPACE = 40 << 20
LIFTED = {"nofile": "1024", "as": "unlimited"}


def ours(run):
    for daemon in (run.milterd, run.relay):
        for pid in (daemon.process.pid, *children_of(daemon.process.pid)):
            yield pid, daemon.user


def few_descriptors(run):
    for daemon in (run.milterd, run.relay):
        daemon.process.argv = ["prlimit", "--nofile=64", *daemon.process.argv]
    run.load.smtp_sessions(40)


@scenario("few-descriptors", "both daemons may have 64 descriptors, with 40 SMTP sessions",
          prepare=few_descriptors, mails=400, seconds=6)
def few_descriptors_run(run):
    run.some_are_through()
    run.begin()
    run.over()


def little_memory(run):
    run.load.smtp_sessions(40)
    run.load.larger = {n: run.chance.randrange(100_000, 2_000_000)
                       for n in range(0, run.scenario.mails, 3)}
    for daemon, limit in ((run.milterd, MILTERD_SPACE), (run.relay, RELAY_SPACE)):
        daemon.process.argv = ["prlimit", f"--as={limit}", *daemon.process.argv]


@scenario("little-memory", "both daemons have little address space from the start, with 40 SMTP "
          "sessions and large mails", prepare=little_memory, mails=300, seconds=8, sanitizers=False)
def little_memory_run(run):
    run.some_are_through()
    run.begin()
    run.over()


@scenario("no-descriptors", "for 5 s no process of ours can open a descriptor", mails=300,
          seconds=12)
def no_descriptors(run):
    squeeze(run, "nofile", lambda pid: 1 + max(
        int(fd.name) for fd in Path(f"/proc/{pid}/fd").iterdir()))


@scenario("no-memory", "for 5 s no process of ours can have more memory than it has", mails=300,
          seconds=12, sanitizers=False)
def no_memory(run):
    squeeze(run, "as", lambda pid: 1024 * next(
        int(line.split()[1]) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmSize:")))


def prlimit(pid, user, option):
    """Sets a soft limit, as the process's own user; it may have ended meanwhile."""
    command(["prlimit", f"--pid={pid}", option], user=user, group=group_of(user), extra_groups=[])


def squeeze(run, what, limit_of):
    """Lowers a limit of all our processes to what they use, and lifts it again."""
    run.some_are_through(0.1, 0.3)
    run.begin()
    squeezed = list(ours(run))
    for pid, user in squeezed:
        try:
            prlimit(pid, user, f"--{what}={limit_of(pid)}:")
        except (OSError, StopIteration):  # it has just ended
            pass
    run.wait(run.lasts(5, 2))
    for daemon in (run.milterd, run.relay):
        # As the service manager does it.
        if not daemon.process.alive:
            run.end_expected.add(daemon.process.name)
            run.restart(daemon)
    for pid, user in squeezed:
        prlimit(pid, user, f"--{what}={LIFTED[what]}:")
    run.over()
