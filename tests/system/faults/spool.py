# SPDX-License-Identifier: MIT
"""A spool that is full, or on a disk that is full, or gone, or damaged."""

import os
import shutil

from support.place import Failure, own, run as command, wait_until

from .network import with_proxy
from .scenario import scenario

MB = 1 << 20
PAGE = 4096
DAMAGED = 65  # the exit status


class Disk:
    """A small file system of its own for the spool."""

    def __init__(self, run, size):
        self.path = run.place.folder("disk", run.relay.user)
        command(["mount", "-t", "tmpfs", "-o", f"size={size}", "faults", self.path], check=True)
        own(self.path, run.relay.user, None, 0o755)
        self.filler = self.path / "filler"
        run.relay.spool = self.path / "spool.db"
        run.helpers.append(self)

    def fill(self):
        with open(self.filler, "wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(b"x" * 4096)
            except OSError:
                pass

    def empty(self):
        self.filler.unlink(missing_ok=True)

    def remount(self, options):
        command(["mount", "-o", f"remount,{options}", self.path], check=True)

    def close(self):
        # What is still in there is the spool of this run, which nobody needs any more.
        command(["umount", "-l", self.path])


def away(run):
    """Nothing can be delivered, so all that is taken stays in the spool."""
    run.proxy.become("refuse")


def few_records(run):
    with_proxy(run)
    run.relay.spool_extra = "max_records = 40; max_share = 100;"


@scenario("spool-full", "spool.max_records is reached while the server is away",
          prepare=few_records, mails=150, seconds=5, short=True)
def spool_full(run):
    run.some_are_through(0.1, 0.2)
    run.begin()
    away(run)
    wait_until(lambda: run.relay.status()["busy"] > 5, "the relay to be busy")
    run.wait(run.lasts(5, 1))
    run.proxy.become("pass")
    run.over()


def small_disk(run):
    with_proxy(run)
    run.disk = Disk(run, 16 * MB)


@scenario("disk-full", "the spool's disk is full for some seconds", prepare=small_disk,
          mails=200, seconds=8)
def disk_full(run):
    run.some_are_through(0.2, 0.4)
    run.begin()
    run.disk.fill()
    run.relay.process.wait_log("the spool can't be written")
    run.wait(run.lasts(6, 2))
    run.disk.empty()
    run.over()


def nearly_full_disk(run):
    with_proxy(run)
    run.disk = Disk(run, 16 * MB)
    with open(run.disk.filler, "wb") as filler:
        filler.truncate(0)
        filler.write(b"x" * (7 * MB))


@scenario("disk-fills-up", "alerts that wait fill the spool's disk; they are delivered all the "
          "same, and the rest when there is room again", prepare=nearly_full_disk, mails=900,
          seconds=5)
def disk_fills_up(run):
    run.some_are_through(0.1, 0.2)
    run.begin()
    away(run)
    run.relay.process.wait_log("is nearly full")
    run.proxy.become("pass")
    wait_until(lambda: run.relay.status()["waiting"] == 0, "what waits to be delivered",
               timeout=120)
    run.disk.empty()
    run.over()


@scenario("read-only", "the spool's disk is read-only when the relay starts again",
          prepare=small_disk, mails=200, seconds=8, servers=("prosody",))
def read_only(run):
    run.some_are_through()
    run.begin()
    run.relay.stop()
    run.disk.remount("ro")
    try:
        run.relay.process.start()
        status = run.relay.process.wait(20)
        if status == 0:
            run.problem("the relay ended as if nothing was wrong with a read-only disk")
    except Failure:
        run.problem("the relay runs on a disk that it can't write")
        run.relay.process.kill()
    run.disk.remount("rw")
    run.relay.start()
    run.over()


@scenario("spool-damaged", "the spool is damaged while the relay is stopped, and a copy is put "
          "back", prepare=with_proxy, mails=200, seconds=8, servers=("prosody",))
def spool_damaged(run):
    run.some_are_through()
    run.begin()
    away(run)
    wait_until(lambda: run.relay.status()["waiting"] > 10 or run.load.done, "some to wait")
    run.relay.stop()
    copy = run.relay.spool.with_suffix(".copy")
    shutil.copy(run.relay.spool, copy)
    size = run.relay.spool.stat().st_size
    with open(run.relay.spool, "r+b") as spool:
        for _ in range(8):
            # Past the first page, or it would be no database at all.
            spool.seek(run.chance.randrange(4096, size - 64))
            spool.write(run.chance.randbytes(64))
    run.relay.process.start()
    try:
        status = run.relay.process.wait(10)
        if status != DAMAGED or str(run.relay.spool) not in run.relay.process.log_text():
            run.problem(f"the relay ended with {status} and does not name the damaged spool: "
                        + run.relay.process.log_tail(2))
    except Failure:
        # Not every damage is one: what was free is not looked at.
        run.relay.stop()
    os.replace(copy, run.relay.spool)
    own(run.relay.spool, run.relay.user, run.relay.user and "nogroup", 0o600)
    run.relay.start()
    run.proxy.become("pass")
    run.over()


@scenario("spool-recovered", "the spool's first page and indexes are damaged while the relay is "
          "stopped; it is recovered as the manual says", prepare=with_proxy, mails=200, seconds=8,
          servers=("prosody",))
def spool_recovered(run):
    run.some_are_through()
    run.begin()
    away(run)
    wait_until(lambda: run.relay.status()["waiting"] > 10 or run.load.done, "some to wait")
    run.relay.stop()
    pages = run.relay.spool.read_bytes()
    # Nothing that only they know is lost with these: texts and fates are elsewhere.
    hit = [0] + [at for at in range(PAGE, len(pages), PAGE)
                 if pages[at] in (2, 10) and run.chance.random() < 0.7]
    with open(run.relay.spool, "r+b") as spool:
        for at in hit:
            spool.seek(at)
            spool.write(run.chance.randbytes(PAGE))
    run.relay.process.start()
    if run.relay.process.wait(20) != DAMAGED:
        run.problem("a damaged spool is not refused: " + run.relay.process.log_tail(2))
    done = command([run.relay.programs["xmpprelay"], "--recover-spool", "-c", run.relay.config])
    if done.returncode != 0 or "lost" in done.stdout:
        run.problem(f"--recover-spool: {done.stdout}{done.stderr}")
    run.relay.start()
    run.proxy.become("pass")
    run.over()


@scenario("spool-removed", "the spool is removed under the running relay while alerts wait",
          prepare=with_proxy, mails=200, seconds=8, servers=("prosody",))
def spool_removed(run):
    run.some_are_through()
    run.begin()
    away(run)
    wait_until(lambda: run.relay.status()["waiting"] > 10 or run.load.done, "some to wait")
    for path in run.relay.folder.glob("spool.db*"):
        path.unlink()
    run.wait(run.lasts(3, 1))
    run.proxy.become("pass")
    # Nothing new was taken into it: so once nothing waits, nothing is lost with it.
    wait_until(lambda: run.relay.status()["waiting"] == 0, "what waits to be delivered",
               timeout=120)
    run.relay.stop()
    run.relay.start()
    run.over()
