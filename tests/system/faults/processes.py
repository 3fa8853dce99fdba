# SPDX-License-Identifier: MIT
"""Processes that are killed, or that stand still for a while and go on."""

import contextlib
import os
import signal
import threading
import time

from support import mails
from support.place import can_connect, wait_until

from . import disk
from .scenario import scenario

LETTER_MAX = 10  # seconds; a busy machine
FORGETFUL = {"ejabberd": (32, "killed, Mnesia forgets the end of the archive as well as the rooms' "
                              "history, so nothing tells what of the two windows of unconfirmed "
                              "messages had arrived")}


@scenario("manager-killed", "SIGKILL of milterd's manager; started again", short=True)
def manager_killed(run):
    run.some_are_through()
    run.begin()
    run.kill(run.milterd)
    run.restart(run.milterd)
    run.over()


@scenario("worker-killed", "SIGKILL of a worker of milterd, several times")
def worker_killed(run):
    for part in (0.15, 0.3, 0.45):
        run.some_are_through(part, part + 0.15)
        run.begin()
        with contextlib.suppress(ProcessLookupError):  # ended between the look and the kill
            os.kill(run.chance.choice(run.workers), signal.SIGKILL)
        run.over()


@scenario("relay-killed", "SIGKILL of the relay process; started again", short=True)
def relay_killed(run):
    run.some_are_through()
    run.begin()
    run.kill(run.relay)
    run.restart(run.relay)
    run.over()


@scenario("relay-killed-often", "SIGKILL of the relay process, five times", mails=400, seconds=12)
def relay_killed_often(run):
    for part in range(5):
        run.some_are_through(0.1 + part * 0.15, 0.2 + part * 0.15)
        run.begin()
        run.kill(run.relay)
        run.restart(run.relay)
        run.over()


@scenario("session-killed", "SIGKILL of the session process, several times")
def session_killed(run):
    for part in (0.15, 0.3, 0.45):
        run.some_are_through(part, part + 0.15)
        run.begin()
        with contextlib.suppress(ProcessLookupError):
            os.kill(run.session, signal.SIGKILL)
        run.over()


@scenario("server-killed", "SIGKILL of the XMPP server; started again", doubled=FORGETFUL)
def server_killed(run):
    run.some_are_through()
    run.begin()
    run.server.kill()
    run.wait(run.chance.uniform(0, 3))
    run.server.start()
    run.over()


@scenario("server-stopped", "the XMPP server is stopped properly, and started again")
def server_stopped(run):
    run.some_are_through()
    run.begin()
    run.server.stop()
    run.wait(run.chance.uniform(0, 3))
    run.server.start()
    run.over()


@scenario("postfix-killed", "SIGKILL of Postfix's master; started again", servers=("prosody",))
def postfix_killed(run):
    run.some_are_through()
    run.begin()
    kill_postfix(run)
    run.wait(run.chance.uniform(0, 1.5))
    run.postfix.start()
    run.over()


def kill_postfix(run):
    run.postfix.process.send_signal(signal.SIGKILL)
    run.postfix.process.wait()
    # Its services end as soon as they see that the master has.
    wait_until(lambda: not can_connect(run.postfix.port), "Postfix's services to end")


@scenario("ours-killed", "SIGKILL of all processes of both daemons at once; started again",
          short=True)
def ours_killed(run):
    run.some_are_through()
    run.begin()
    pids = [run.milterd.process.pid, run.relay.process.pid, *run.workers, run.session]
    for pid in run.chance.sample(pids, len(pids)):
        with contextlib.suppress(ProcessLookupError):  # with its parent
            os.kill(pid, signal.SIGKILL)
    for daemon in (run.milterd, run.relay):
        daemon.process.wait()
    run.restart(*run.chance.sample([run.milterd, run.relay], 2))
    run.over()


@scenario("all-killed", "SIGKILL of everything, server and Postfix too, as by loss of power",
          doubled=FORGETFUL)
def all_killed(run):
    run.some_are_through()
    run.begin()
    pids = [run.milterd.process.pid, run.relay.process.pid, *run.workers, run.session]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    kill_postfix(run)
    run.server.kill()
    for daemon in (run.milterd, run.relay):
        daemon.process.wait()
    run.postfix.start()
    run.restart(run.milterd, run.relay)
    run.server.start()
    run.over()


def noted(run):
    run.record = run.place.folder("record", run.relay.user) / "disk"
    run.record.unlink(missing_ok=True)
    run.disk = disk.Disk(run.relay.spool)
    disk.watch(run.relay, run.place, run.record)


@scenario("power-cut", "loss of power: the last writes to the disk are cut off; three times",
          prepare=noted, mails=300, seconds=10)
def power_cut(run):
    for part in range(3):
        run.some_are_through(0.1 + part * 0.25, 0.25 + part * 0.25)
        run.begin()
        run.kill(run.relay)
        run.kill(run.milterd)
        for event in disk.read_events(run.record):
            run.disk.follow(event)
        run.disk.put_back(run.chance, run.relay.user)
        run.record.unlink()
        run.disk = disk.Disk(run.relay.spool)
        run.restart(run.relay, run.milterd)
        run.over()


# Standing still

def server_pid(run):
    return run.server.machine_pid() if run.kind == "ejabberd" else run.server.process.pid


def stand_still(run, pid, seconds):
    run.begin()
    os.kill(pid, signal.SIGSTOP)
    try:
        run.wait(seconds)
    finally:
        with contextlib.suppress(ProcessLookupError):  # killed and replaced meanwhile
            os.kill(pid, signal.SIGCONT)
    run.over()


@scenario("server-hangs", "SIGSTOP of the XMPP server for 45 s", mails=400, seconds=50)
def server_hangs(run):
    run.some_are_through(0.05, 0.2)
    stand_still(run, server_pid(run), run.lasts(45, 8))


@scenario("server-hangs-shortly", "SIGSTOP of the XMPP server for less than any limit",
          mails=300, seconds=10)
def server_hangs_shortly(run):
    run.some_are_through(0.1, 0.4)
    stand_still(run, server_pid(run), run.chance.uniform(1, 3))


@scenario("session-hangs", "SIGSTOP of the session process for 45 s", mails=400, seconds=50,
          servers=("prosody",))
def session_hangs(run):
    run.some_are_through(0.05, 0.2)
    pid = run.session
    run.begin()
    os.kill(pid, signal.SIGSTOP)
    limit = run.lasts(45, 8)
    try:
        wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "", timeout=limit)
    except AssertionError:
        run.problem(f"a session process that hung for {limit} s was not replaced")
        os.kill(pid, signal.SIGCONT)
    run.over()


@scenario("relay-hangs", "SIGSTOP of the relay process for 45 s; letters don't wait for it",
          mails=300, seconds=50, servers=("prosody",))
def relay_hangs(run):
    run.some_are_through(0.05, 0.2)
    over = threading.Event()
    letters = threading.Thread(target=write_letters, args=(run, over))
    letters.start()
    try:
        stand_still(run, run.relay.process.pid, run.lasts(45, 8))
    finally:
        over.set()
        letters.join()


def write_letters(run, over):
    """Mails that are no alerts, one after the other."""
    sent = 0
    while not over.wait(1):
        sent += 1
        began = time.monotonic()
        code, text = run.postfix.send(mails.plain(f"Letter {sent}"))
        took = time.monotonic() - began
        if code != 250 or took > LETTER_MAX:
            run.problem(f"a letter was answered with {code} {text} after {took:.1f} s")
    if not sent:
        run.problem("no letter was sent")


@scenario("worker-hangs", "SIGSTOP of a worker of milterd for 45 s", mails=300, seconds=50,
          servers=("prosody",))
def worker_hangs(run):
    run.some_are_through(0.05, 0.2)
    stand_still(run, run.chance.choice(run.workers), run.lasts(45, 8))
