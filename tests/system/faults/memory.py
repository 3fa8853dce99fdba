# SPDX-License-Identifier: MIT
"""
The daemons under much work, and what memory they take for it.

First mail through milterd, by the milter protocol itself, some of it alerts; then records to
xmpprelay, into two rooms of a real Prosody; then reloads. The limits are those of production.
"""

import os
import signal
import threading
import time

from support.bridge import ACCOUNTS
from support.certificates import Authority
from support.daemons import Milterd, Programs, Xmpprelay
from support.place import Failure, Place, children_of, wait_until
from support.prosody import Prosody

from .growth import Watch
from .traffic import Mta, Records

RELOADED = {"milterd": b"reloaded, ready", "relay": b"the configuration was read again"}
ROOMS = ["ops", "night"]
RULES = """
  { name = "marked"; match: { header: { name = "X-Alert"; equal = "yes"; }; }; to = [ "ops" ]; },
  { name = "read"; to = [ "ops" ];
    match: { subject: { glob = "READ *"; }; body: { regex = "never to be (found|seen)$"; }; }; }
"""


class Reloads:
    """One after the other of both daemons, each when the one before is through."""

    def __init__(self, daemons, count):
        self.daemons = daemons
        self.count = count
        self.done = 0
        self.failure = None
        self.thread = threading.Thread(target=self._work, daemon=True)

    def _work(self):
        try:
            while self.done < self.count:
                for daemon in self.daemons:
                    end = daemon.process.log.stat().st_size
                    daemon.process.send_signal(signal.SIGHUP)
                    wait_until(lambda d=daemon, e=end: RELOADED[d.process.name] in
                               written_behind(d.process.log, e),
                               f"{daemon.process.name} to reload", interval=0.01)
                self.done += 1
        except Exception as error:  # pylint: disable=broad-except
            self.failure = f"{type(error).__name__}: {error}"
            raise


def written_behind(path, place):
    with open(path, "rb") as file:
        file.seek(place)
        return file.read()


class Soak:
    def __init__(self, build, sessions=8, seed=1, interval=1.0, mark=lambda text: None):
        self.sessions = sessions
        self.seed = seed
        self.interval = interval
        self.mark = mark  # tells how far it is
        self.place = Place("mx-memory-")
        self.problems = []
        programs = Programs(self.place, build)
        authority = Authority(self.place)
        # A server that archives all of it would be what is measured, for the time it takes.
        server = Prosody(self.place, authority, ACCOUNTS, archive=False)
        server.start()
        self.relay = Xmpprelay(self.place, programs, server, authority,
                               {name: f"{name}@{server.rooms}" for name in ROOMS})
        # Who is never there: what is sent to her fails.
        self.relay.contacts["alice"] = f"alice@{server.domain}"
        self.relay.extra = ""
        self.relay.spool_extra = "max_share = 100;"
        self.milterd = Milterd(self.place, programs, self.relay.socket)
        self.milterd.rules = RULES
        self.milterd.take_profiles()
        for daemon in (self.relay, self.milterd):
            daemon.process.argv.remove("-v")

    def start(self):
        self.relay.start()
        self.milterd.start()
        self.relay.wait_ready()
        wait_until(lambda: len(children_of(self.milterd.process.pid)) == self.milterd.workers,
                   "milterd's workers")
        return self

    def close(self):
        """Ends all; what went wrong in it is added to the problems."""
        for daemon in (self.milterd, self.relay):
            process = daemon.process
            if process.child is None:
                continue
            status = process.stop(timeout=60)
            if status != 0:
                self.problems.append(f"{process.name} ended with status {status}")
            try:
                process.check_sanitizers()
            except Failure as error:
                self.problems.append(str(error))
        self.place.close()

    def processes(self):
        found = {"milterd, manager": self.milterd.process.pid,
                 "xmpprelay, relay process": self.relay.process.pid}
        for n, pid in enumerate(children_of(self.milterd.process.pid)):
            found[f"milterd, worker {n + 1}"] = pid
        for pid in children_of(self.relay.process.pid):
            found["xmpprelay, session process"] = pid
        return dict(sorted(found.items()))

    def watched(self, workers, total, patience, without=()):
        """Starts threads of work and looks at the daemons until they are through."""
        began, told = time.monotonic(), 0
        processes = {name: pid for name, pid in self.processes().items()
                     if not name.startswith(without)}

        def done():
            return sum(worker.done for worker in workers)

        with Watch(processes, done, self.interval) as watch:
            for worker in workers:
                worker.thread.start()
            while any(worker.thread.is_alive() for worker in workers):
                time.sleep(0.1)
                took = time.monotonic() - began
                broken = [worker.failure for worker in workers if worker.failure]
                if broken:
                    raise Failure(broken[0])
                if took > patience:
                    raise Failure(f"{done()} of {total} after {took:.0f} s")
                if took - told >= 30:
                    told = took
                    self.mark(f"{done()} of {total}, {done() / took:.0f} /s")
        self.seconds = time.monotonic() - began
        return list(watch.growths.values())

    def mails(self, count, patience=3600):
        """Shows the filter so many; gives how the processes grew, and what was answered."""
        shares = [count // self.sessions + (n < count % self.sessions)
                  for n in range(self.sessions)]
        mtas = [Mta(self.milterd.socket, share, f"{self.seed}.{n}")
                for n, share in enumerate(shares)]
        growths = self.watched(mtas, count, patience)
        verdicts = {}
        for mta in mtas:
            for key, times in mta.verdicts.items():
                verdicts[" ".join(key)] = verdicts.get(" ".join(key), 0) + times
        if verdicts.keys() - {"mail a", "mail c", "alert c"}:
            self.problems.append(f"mails were answered {verdicts}")
        self.all_said()
        return growths, verdicts

    def records(self, count, patience=3600):
        """Sends the relay so many; gives how the processes grew, and what was answered."""
        sender = Records(self.relay.socket, count, f"{self.seed}.{os.getpid()}", ROOMS,
                         {"alice": 0.01, "nowhere": 0.01})
        growths = self.watched([sender], count, patience)
        if sender.answers.keys() - {"accepted", "delivered", "duplicate", "refused"}:
            self.problems.append(f"records were answered {sender.answers}")
        self.all_said()
        return growths, sender.answers

    def reloads(self, count, patience=3600):
        """Reloads both so often; gives how those grew that stay. Workers don't."""
        reloads = Reloads([self.milterd, self.relay], count)
        growths = self.watched([reloads], count, patience, without=("milterd, worker",))
        return growths, {}

    def all_said(self):
        wait_until(lambda: self.relay.status()["waiting"] == 0, "all to be delivered", timeout=600,
                   interval=1)
