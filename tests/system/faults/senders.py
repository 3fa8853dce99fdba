# SPDX-License-Identifier: MIT
"""Who else writes to the relay's socket, and how; and a relay that is restarted under load."""

import collections
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time

from support.place import wait_until
from support.service_manager import ServiceManager

from .scenario import scenario
from .traffic import CONTINUE, SKIP, Session, header, split

FLOODER = "games"  # a user that is neither ours nor the MTA's
PROGRAMS = {
    # Garbage of all sizes, as fast as it goes.
    "garbage": """
        import os, random, socket, struct, sys
        chance = random.Random(sys.argv[2])
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sender.connect(sys.argv[1])
        kinds = [lambda: os.urandom(chance.randrange(0, 60000)),
                 lambda: struct.pack(">I", chance.randrange(1 << 32)) + b"{}" * 50,
                 lambda: b"".join(struct.pack(">I", 2) + b"{}" for _ in range(1000)),
                 lambda: (lambda j: struct.pack(">I", len(j)) + j)(b'{"v":1,"text":"' + b"x" * 60000),
                 lambda: b""]
        print("begun", flush=True)
        while True:
            sender.send(chance.choice(kinds)())
        """,
    # So many good records, and how they were answered.
    "records": """
        import collections, json, socket, struct, sys
        count, to = int(sys.argv[2]), sys.argv[3]
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sender.bind("")
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sender.connect(sys.argv[1])
        answers = collections.Counter()
        print("begun", flush=True)
        def take():
            datagram = sender.recv(131072)
            while datagram:
                size, = struct.unpack(">I", datagram[:4])
                answers[json.loads(datagram[4:4 + size])["status"]] += 1
                datagram = datagram[4 + size:]
        for n in range(count):
            data = json.dumps({"v": 1, "text": f"flood {n}", "to": to, "id": f"flood-{n}"}).encode()
            sender.send(struct.pack(">I", len(data)) + data)
            while n - sum(answers.values()) > 64:
                take()
        while sum(answers.values()) < count:
            take()
        print(json.dumps(answers), flush=True)
        """,
    # Senders that want receipts and never read them.
    "deaf": """
        import json, random, socket, struct, sys, time
        senders = []
        for _ in range(200):
            sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            sender.bind("")
            sender.connect(sys.argv[1])
            senders.append(sender)
        print("begun", flush=True)
        n = 0
        while True:
            data = json.dumps({"v": 1, "text": f"deaf {n}", "to": "nobody"}).encode()
            random.choice(senders).send(struct.pack(">I", len(data)) + data)
            n += 1
            time.sleep(0.0005)
        """,
}


class Neighbour:
    """A program of another user at the socket."""

    def __init__(self, run, name, *arguments):
        run.helpers.append(self)
        self.child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(PROGRAMS[name]), str(run.relay.socket),
             *map(str, arguments)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, user=FLOODER,
            group=FLOODER, extra_groups=[run.relay.group], start_new_session=True)
        assert self.child.stdout.readline() == "begun\n"

    def close(self):
        self.child.kill()
        self.child.stdout.close()
        self.child.wait()


@scenario("garbage", "another user floods the socket with garbage for 10 s", seconds=12,
          short=True)
def garbage(run):
    run.some_are_through(0.1, 0.3)
    run.begin()
    flood = Neighbour(run, "garbage", run.seed)
    run.wait(run.lasts(10, 3))
    if flood.child.poll() is not None:
        run.problem("the flood ended by itself")
    flood.close()
    run.over()


def flooded_person(run):
    """A destination of its own, which is not waited for: servers take minutes for so many."""
    run.relay.contacts["flood"] = f"alice@{run.server.domain}"


@scenario("many-records", "another user sends 100,000 good records at once", prepare=flooded_person,
          seconds=20)
def many_records(run):
    run.some_are_through(0.05, 0.1)
    alice = run.add_reader("alice", rooms=[run.rooms["ops"]])
    run.helpers.append(alice)
    alice.wait_joined()
    run.begin()
    count = run.lasts(100_000, 3000)
    flood = Neighbour(run, "records", count, "flood")
    answers = flood.child.stdout.readline()
    if not answers or '"refused"' in answers:
        run.problem(f"the records were answered {answers.strip()!r}")
    run.over()


@scenario("deaf-senders", "200 senders never read their receipts, for 10 s: no mail is put off",
          seconds=12)
def deaf_senders(run):
    run.some_are_through(0.1, 0.3)
    run.begin()
    senders = Neighbour(run, "deaf")
    run.wait(run.lasts(10, 3))
    if senders.child.poll() is not None:
        run.problem("the senders ended by themselves")
    senders.close()
    run.over()
    run.no_errors()


@scenario("queue-full", "the relay stands still while 300 senders fill its socket", seconds=10,
          servers=("prosody",))
def queue_full(run):
    run.some_are_through(0.1, 0.3)
    run.begin()
    run.relay.process.send_signal(signal.SIGSTOP)
    senders = [subprocess.Popen(
        [run.world.programs["xmpprelay-send"], "--socket", run.relay.socket, "-T", "30s", "-t",
         f"QUEUE {n}", "ops", "--", "waiting"], stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for n in range(300)]
    run.wait(run.lasts(6, 2))
    run.relay.process.send_signal(signal.SIGCONT)
    run.over()
    failed = [(s.wait(60), s.stderr.read().strip()) for s in senders]
    failed = [f for f in failed if f[0] != 0]
    for sender in senders:
        sender.stderr.close()
    if failed:
        run.problem(f"{len(failed)} of 300 senders failed, such as {failed[0]}")
    else:
        run.reader.wait_message("QUEUE", count=300)


@scenario("relay-restarted", "the relay is restarted properly, five times", mails=300, seconds=12,
          short=True)
def relay_restarted(run):
    for part in range(5):
        run.some_are_through(0.1 + part * 0.15, 0.2 + part * 0.15)
        run.begin()
        run.relay.stop()
        run.restart(run.relay)
        run.over()


@scenario("milterd-restarted", "milterd is restarted properly, five times", mails=300, seconds=12,
          servers=("prosody",))
def milterd_restarted(run):
    for part in range(5):
        run.some_are_through(0.1 + part * 0.15, 0.2 + part * 0.15)
        run.begin()
        run.milterd.stop()
        run.restart(run.milterd)
        run.over()


# Many mails in the hands of the workers, and no relay

WAITING = 200
CROWD_THREADS = 20


class Crowd:
    """Mails that are shown to the filter up to their ends, all at once, each in a session of its
    own; they are of the load like all others."""

    def __init__(self, run, count):
        self.load = run.load
        self.path = run.milterd.socket
        numbers = range(run.load.total, run.load.total + count)
        self.sessions = {n: Session(self.path) for n in numbers}
        self.answers = collections.Counter()  # the first one of each
        self.asked = []
        run.load.total += count
        run.helpers.append(self)
        self.threads = [threading.Thread(target=self._work, args=(numbers[part::CROWD_THREADS],))
                        for part in range(CROWD_THREADS)]
        for thread in self.threads:
            thread.start()

    def _work(self, numbers):
        for number in numbers:
            self.sessions[number].open().client()
            self._ask(number)
            self.asked.append(number)
        for number in numbers:
            first = answer = self.sessions[number].read()[0]
            # What is put off comes again, as any MTA would have it.
            while answer != CONTINUE:
                time.sleep(1)
                self._ask(number)
                answer = self.sessions[number].read()[0]
            self.load.accepted[number] = time.time()
            self.answers[first.decode()] += 1

    def _ask(self, number):
        session = self.sessions[number]
        headers, body = split(self.load.mail(number))
        answers = session.headers([header(*pair) for pair in headers]), session.body(body)
        assert set(answers) <= {CONTINUE, SKIP}, answers
        session.end(b"%d" % number)

    def wait_asked(self):
        """Until all wait for the relay."""
        def all_asked():
            # libmilter's pool may miss that a session has something to say, and look for it when
            # another one ends; where there is much mail, one always does.
            for _ in range(4):
                with socket.socket(socket.AF_UNIX) as another:
                    another.connect(str(self.path))
            return len(self.asked) == len(self.sessions)
        wait_until(all_asked, lambda: f"the mails to come; {len(self.asked)} are there")

    def take_answers(self):
        """Gives how often what was answered at first."""
        for thread in self.threads:
            thread.join(60)
        return self.answers

    def close(self):
        for session in self.sessions.values():
            session.close()


def patient(run):
    run.milterd.relay_extra = 'timeout = "25s";'  # Postfix waits for 30 s here


def kept_socket(run):
    patient(run)
    run.manager = ServiceManager(run.relay.process, run.relay.folder, "records")
    run.helpers.append(run.manager)


def restart_while_many_wait(run, end, start):
    """The relay hangs while so many mails come, and ends, and starts again."""
    run.some_are_through(0.1, 0.5)
    run.begin()
    run.relay.process.send_signal(signal.SIGSTOP)
    crowd = Crowd(run, WAITING)
    crowd.wait_asked()
    run.wait(run.chance.uniform(1, 3))
    run.relay.process.send_signal(end)
    if end != signal.SIGKILL:  # which needs none, and may be over already
        run.relay.process.send_signal(signal.SIGCONT)
    run.relay.process.wait()
    run.wait(run.chance.uniform(0, 1.5))
    start()
    run.over()
    answers = crowd.take_answers()
    # Of what one that is killed had read and not answered nobody tells those who wait for it,
    # where the socket goes on.
    if answers[CONTINUE.decode()] < WAITING - (WAITING // 10 if end == signal.SIGKILL else 0):
        run.problem(f"the mails that waited were answered {dict(answers)}")


@scenario("restarted-while-200-wait", "the relay ends while 200 mails wait for it; they are taken "
          "by the next one", prepare=patient)
def restarted_while_200_wait(run):
    end = run.chance.choice([signal.SIGTERM, signal.SIGKILL])
    restart_while_many_wait(run, end, run.relay.start)


@scenario("socket-kept-while-200-wait", "the same, and the service manager keeps the socket",
          prepare=kept_socket)
def socket_kept_while_200_wait(run):
    run.manager.wait_stored()
    before = os.stat(run.relay.socket).st_ino
    end = run.chance.choice([signal.SIGTERM, signal.SIGKILL])
    restart_while_many_wait(run, end, run.manager.start_again)
    if os.stat(run.relay.socket).st_ino != before:
        run.problem("the relay made its socket anew, though it was kept")
