# SPDX-License-Identifier: MIT
"""The whole way of an alert: Postfix → milterd → xmpprelay → a server's room → a reader."""

from .daemons import Milterd, Xmpprelay
from .reader import Reader

ACCOUNTS = {"alertbot": "alertbot-secret", "reader": "reader-secret", "alice": "alice-secret"}


class Bridge:
    """Made with nothing running; start() starts all of it, and each part can be had alone."""

    def __init__(self, place, programs, postfix, server, authority, name):
        self.place = place
        self.programs = programs
        self.postfix = postfix
        self.server = server
        self.authority = authority
        self.name = name
        self.room = f"{name}@{server.rooms}"
        self.relay = Xmpprelay(place, programs, server, authority, {"ops": self.room})
        self.milterd = Milterd(place, programs, self.relay.socket)
        self.readers = []

    def add_reader(self, account="reader", nick=None, rooms=None):
        reader = Reader(
            self.server, self.authority, f"{account}@{self.server.domain}", ACCOUNTS[account],
            rooms if rooms is not None else [self.room], nick or account,
            log=self.place / "log" / "reader.log")
        self.readers.append(reader)
        return reader

    def start_reader(self):
        """The reader is first in the room, so it owns it."""
        self.server.ensure_running()
        self.reader = self.add_reader().wait_joined()
        return self.reader

    def start(self, ready=True, milterd=True):
        self.start_reader()
        self.relay.start()
        if milterd:
            self.milterd.start()
        if ready:
            self.relay.wait_ready()
        return self

    def send(self, mail, **options):
        return self.postfix.send(mail, **options)

    def close(self):
        """Stops all, and says what went wrong in it, sanitizers' reports above all."""
        problems = []
        for reader in self.readers:
            reader.close()
        for daemon in (self.milterd, self.relay):
            if daemon.process.child is None:
                continue
            if daemon.process.alive:
                try:
                    status = daemon.process.stop(timeout=45)
                    if status != 0:
                        problems.append(f"{daemon.process.name} ended with status {status}")
                except AssertionError as error:
                    problems.append(str(error))
            elif not daemon.process.end_expected:
                problems.append(f"{daemon.process.name} ended by itself with status "
                                f"{daemon.process.status}:\n{daemon.process.log_tail()}")
            daemon.process.kill()
            try:
                daemon.process.check_sanitizers()
            except AssertionError as error:
                problems.append(str(error))
        return problems
