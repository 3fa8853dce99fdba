# SPDX-License-Identifier: MIT
"""
The servers, one Postfix, and for each run fresh daemons, rooms and a reader.

Servers and Postfix are kept from run to run. The daemons have the limits that they are delivered
with, unless the run is a quick one: then waits are short.
"""

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

from support.bridge import ACCOUNTS
from support.certificates import Authority
from support.daemons import Milterd, Programs, Xmpprelay
from support.ejabberd import Ejabberd
from support.place import Failure, Place, children_of, wait_until
from support.postfix import Postfix
from support.prosody import Prosody
from support.reader import Reader

from . import oracle
from .load import Load, words

# Of each server: its configuration.
CONFIGURATIONS = {"prosody": "prosody/prosody.cfg.lua", "ejabberd": "ejabberd/ejabberd.yml"}
KINDS = {"prosody": Prosody, "ejabberd": Ejabberd}
DESTINATIONS = (["ops"], ["night"], ["ops", "night"])
QUICK_SESSION = ('session: { silence = "4s"; ping = "2s"; self_ping = "2s"; backoff = "200ms"; '
                 'backoff_cap = "2s"; };\n')
LOGS = ("log/*.log", "relay/*.conf", "relay/spool.db*", "milter/*.conf", "postfix/mail.log")


class World:
    def __init__(self, build, quick=False, sanitizers=False):
        self.quick = quick
        self.sanitizers = sanitizers
        self.place = Place("mx-faults-")
        if sanitizers:
            known = self.place.file("lsan.supp", (
                Path(__file__).parent.parent.parent / "lsan.supp").read_text())
            os.environ["LSAN_OPTIONS"] = f"suppressions={known}:print_suppressions=0"
            os.environ.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1")
        self.programs = Programs(self.place, build)
        self.authority = Authority(self.place)
        self.postfix = Postfix(self.place, self.place / "milter" / "milter.sock")
        self.servers = {}
        self.runs = 0

    def server(self, kind):
        """Running, and alone: the other one rests meanwhile."""
        for other, server in self.servers.items():
            if other != kind:
                server.stop()
        if kind not in self.servers:
            self.servers[kind] = KINDS[kind](self.place, self.authority, ACCOUNTS)
        self.servers[kind].ensure_running()
        return self.servers[kind]

    def close(self):
        self.place.close()


class ChangedServer:
    """Puts back a server's configuration."""

    def __init__(self, server, path, before):
        self.server, self.path, self.before = server, path, before

    def close(self):
        self.server.stop()
        self.path.write_text(self.before)
        self.server.start()


class Run:
    """One seed of one scenario; what its function gets."""

    def __init__(self, world, scenario, kind, seed):
        self.world = world
        self.scenario = scenario
        self.kind = kind
        self.seed = seed
        self.quick = world.quick
        self.chance = random.Random(f"{scenario.name}/{kind}/{seed}")
        self.place = world.place
        self.postfix = world.postfix
        self.problems = []
        self.began_at = self.over_at = None
        self.archives = {}
        self.reader = self.load = None
        self.helpers = []  # what a scenario started beside: has close()
        self.end_expected = set()  # names of daemons that may have any exit status
        world.runs += 1
        for folder in ("relay", "milter"):
            shutil.rmtree(self.place / folder, ignore_errors=True)
        for log in ("relay.log", "milterd.log", "reader.log"):
            (self.place / "log" / log).unlink(missing_ok=True)

    # Beginning.

    def start(self):
        self.server = self.world.server(self.kind)
        if not self.postfix.process.alive:
            self.postfix.start()
        self.postfix.maillog.write_text("")
        shutil.rmtree(self.postfix.maildir / "inbox", ignore_errors=True)
        room = f"{self.scenario.name}-{self.seed}-{self.world.runs}"
        self.rooms = {name: f"{room}-{name}@{self.server.rooms}" for name in ("ops", "night")}
        self.relay = Xmpprelay(self.place, self.world.programs, self.server, self.world.authority,
                               self.rooms)
        self.relay.extra = QUICK_SESSION if self.quick else ""
        self.milterd = Milterd(self.place, self.world.programs, self.relay.socket)
        self.milterd.rules = ",\n".join(
            f'{{ name = "{"-".join(names)}";\n'
            f'    match: {{ subject: {{ glob = "ALERT {words(names)} number *"; }}; }};\n'
            f'    to = [ {", ".join(f"{chr(34)}{name}{chr(34)}" for name in names)} ]; }}'
            for names in DESTINATIONS)
        self.load = Load(self.postfix, DESTINATIONS, self.scenario.mails, self.scenario.seconds,
                         f"{self.scenario.name}.{self.kind}.{self.seed}.{self.world.runs}")
        if self.scenario.prepare:
            self.scenario.prepare(self)
        self.reader = self.add_reader()
        for jid in self.rooms.values():
            self.reader.wait_joined(jid)
        self.relay.start()
        self.milterd.start()
        self.relay.wait_ready()

    def add_reader(self, account="reader", nick=None, rooms=None, resource=None):
        return Reader(
            self.server, self.world.authority, f"{account}@{self.server.domain}",
            ACCOUNTS[account], rooms or list(self.rooms.values()), nick or account,
            log=self.place / "log" / "reader.log", resource=resource)

    # For scenarios.

    def configure_server(self, **changes):
        """By server: (old, new) of its configuration, for this run."""
        path = self.place / CONFIGURATIONS[self.kind]
        before = text = path.read_text()
        for old, new in changes.get(self.kind, ()):
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        self.helpers.append(ChangedServer(self.server, path, before))
        self.server.stop()
        path.write_text(text)
        self.server.start()

    def some_are_through(self, least=0.2, most=0.6):
        """Waits until a part of the mails, drawn from the seed, was taken."""
        self.load.wait_accepted(int(self.scenario.mails * self.chance.uniform(least, most)))

    def wait(self, seconds):
        """The time that a fault lasts."""
        time.sleep(seconds)

    def begin(self):
        self.began_at = time.time()

    def over(self):
        self.over_at = time.time()

    def problem(self, text):
        self.problems.append(text)

    def lasts(self, seconds, quick):
        return quick if self.quick else seconds

    def no_errors(self):
        """Each mail must be taken at the first try."""
        self.load.finish()
        if self.load.errors:
            self.problem(f"mails were answered with errors: {dict(self.load.errors)}")

    @property
    def workers(self):
        return children_of(self.milterd.process.pid)

    @property
    def session(self):
        """The session process; there may be none at the moment."""
        return wait_until(lambda: children_of(self.relay.process.pid), "a session process")[0]

    def kill(self, daemon):
        """SIGKILL; its children end with it."""
        children = children_of(daemon.process.pid)
        daemon.process.send_signal(signal.SIGKILL)
        daemon.process.wait()
        wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in children),
                   f"the children of {daemon.process.name} to end with it")

    def drop_connection(self):
        """The session ends, and a new one has to come."""
        os.kill(self.session, signal.SIGKILL)

    def restart(self, *daemons):
        """As the service manager does it, some time later."""
        self.wait(self.chance.uniform(0, 1.5))
        for daemon in daemons:
            daemon.start()

    # The end.

    def calm_down(self):
        """Until all is said, or the limit is over."""
        deadline = time.monotonic() + self.scenario.limit
        state = {}

        def calm():
            if self.load.failure:
                return True
            state["queued"] = len(self.postfix.queued())
            if state["queued"]:
                self.postfix.flush()
            state["load"] = self.load.done
            if not state["load"] or state["queued"]:
                return False
            done = self.relay.ctl("status", "--json", check=False)
            state["relay"] = done.stdout[:2000] or done.stderr[:200]
            return done.returncode == 0 and not any(
                d["waiting"] for d in json.loads(done.stdout)["destinations"]
                if d["name"] in self.rooms)
        try:
            wait_until(calm, "", max(1.0, deadline - time.monotonic()), interval=0.5)
        except Failure:
            self.problem(f"not calm after {self.scenario.limit:.0f} s: {state}")
        self.load.give_up()
        if self.load.failure:
            self.problem(f"the load broke: {self.load.failure}")
        missing = self.load.total - len(self.load.accepted)
        if missing:
            self.problem(f"{missing} mails were never taken: {dict(self.load.errors)}")

    def finish(self):
        """What became of it."""
        self.calm_down()
        for jid in self.rooms.values():
            self.archives[jid] = self.reader.archive(jid)
        self.stop_daemons()
        verdict = oracle.judge(self)
        verdict.problems += self.problems
        return verdict

    def stop_daemons(self):
        for daemon in (self.milterd, self.relay):
            process = daemon.process
            if process.child is None:
                continue
            if process.alive:
                status = process.stop(timeout=45)
                if status != 0 and process.name not in self.end_expected:
                    self.problem(f"{process.name} ended with status {status}")
            elif not process.end_expected and process.name not in self.end_expected:
                self.problem(f"{process.name} ended by itself with status {process.status}: "
                             f"{process.log_tail(3)}")

    def close(self):
        """Ends all that is the run's own, whatever became of it."""
        if self.load:
            self.load.giving_up.set()
        for helper in reversed(self.helpers):
            helper.close()
        if self.reader:
            self.reader.close()
        for daemon in (getattr(self, "milterd", None), getattr(self, "relay", None)):
            if daemon:
                daemon.process.kill()
                try:
                    daemon.process.check_sanitizers()
                except Failure as error:
                    self.problem(str(error))
        if not self.postfix.process.alive:
            self.problem(f"Postfix ended by itself with status {self.postfix.process.status}")
        # What nobody takes any more must not come up in the next run.
        self.postfix.forget("ALL")

    def keep_logs(self, folder):
        target = Path(folder) / f"{self.scenario.name}-{self.kind}-{self.seed}"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for pattern in LOGS:
            for path in self.place.path.glob(pattern):
                shutil.copy(path, target)
        if self.reader:
            (target / "reader-events.txt").write_text(
                "".join(f"{event}\n" for event in self.reader.events))
        return target
