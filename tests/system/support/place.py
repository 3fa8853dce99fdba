# SPDX-License-Identifier: MIT
"""One temporary folder, free ports, and processes that are started and stopped in it."""

import grp
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

PATIENCE = 60  # seconds; for whatever should take a moment, on a busy machine

SANITIZER_REPORT = re.compile(
    r"^.*(ERROR: \w+Sanitizer|WARNING: \w+Sanitizer|runtime error:|Assertion .* failed).*$", re.M
)


class Failure(AssertionError):
    """What was waited for did not happen."""


def wait_until(condition, what, timeout=PATIENCE, interval=0.05):
    """Waits until condition() is true and returns what it gave."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure(f"waited {timeout} s for {what() if callable(what) else what}")
        time.sleep(interval)


def user_exists(name):
    try:
        pwd.getpwnam(name)
        return True
    except KeyError:
        return False


class Place:
    """The folder of one test session. Short, because socket paths are limited to 107 bytes."""

    def __init__(self, prefix="mx-"):
        self.path = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
        self.path.chmod(0o755)
        self._ports = {}  # number → what others see that it is taken by
        self.processes = []

    def __truediv__(self, name):
        return self.path / name

    def folder(self, name, user=None, group=None, mode=0o755):
        path = self.path / name
        path.mkdir(parents=True, exist_ok=True)
        own(path, user, group, mode)
        return path

    def file(self, name, text, user=None, group=None, mode=0o644):
        path = self.path / name
        path.write_text(text)
        own(path, user, group, mode)
        return path

    def port(self):
        """A loopback port that nobody uses, below those that the kernel gives to clients.

        An abstract socket of its name keeps other test sessions from it, also while no server
        listens there.
        """
        while True:
            port = random.randrange(15000, 32000)
            if port in self._ports:
                continue
            taken = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                taken.bind(f"\0milter-xmpp-tests-{port}")
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", port))
            except OSError:
                taken.close()
                continue
            self._ports[port] = taken
            return port

    def process(self, name, argv, **options):
        process = Process(name, argv, self.path / "log" / f"{name}.log", **options)
        self.processes.append(process)
        return process

    def close(self, keep=False):
        for process in reversed(self.processes):
            process.kill()
        for taken in self._ports.values():
            taken.close()
        if not keep:
            shutil.rmtree(self.path, ignore_errors=True)


def own(path, user, group, mode):
    if os.geteuid() == 0 and (user or group):
        shutil.chown(path, user, group)
    path.chmod(mode)


class Process:
    """A server in the foreground, its output appended to a log file."""

    def __init__(self, name, argv, log, user=None, groups=(), env=None, cwd="/"):
        self.name = name
        self.argv = [str(a) for a in argv]
        self.log = Path(log)
        self.user = user
        self.groups = groups
        self.env = env or {}
        self.cwd = cwd
        self.pass_fds = ()
        self.child = None
        self.log_start = 0
        self.end_expected = False

    def start(self):
        assert not self.alive, f"{self.name} runs already"
        self.end_expected = False
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log_start = self.log.stat().st_size if self.log.exists() else 0
        identity = {}
        if self.user and os.geteuid() == 0:
            entry = pwd.getpwnam(self.user)
            identity = {
                "user": entry.pw_uid,
                "group": entry.pw_gid,
                "extra_groups": [grp.getgrnam(g).gr_gid for g in self.groups],
            }
        env = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C.UTF-8",
            **self.env,
        }
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.cwd,
                env=env,
                start_new_session=True,
                pass_fds=self.pass_fds,
                **identity,
            )
        return self

    @property
    def alive(self):
        return self.child is not None and self.child.poll() is None

    @property
    def pid(self):
        assert self.alive, f"{self.name} does not run; its log ends with:\n{self.log_tail()}"
        return self.child.pid

    @property
    def status(self):
        return None if self.child is None else self.child.poll()

    def send_signal(self, number):
        os.kill(self.pid, number)

    def wait(self, timeout=PATIENCE):
        """The exit status, as soon as it is over."""
        self.end_expected = True
        try:
            return self.child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} did not end within {timeout} s:\n{self.log_tail()}")

    def stop(self, number=signal.SIGTERM, timeout=PATIENCE):
        if self.alive:
            self.send_signal(number)
        if self.child is None:
            return None
        return self.wait(timeout)

    def kill(self):
        """Ends it and all of its process group, whatever it does. One that was seen to end is left
        alone: its id may be another's by now."""
        if not self.alive:
            return
        os.kill(self.child.pid, signal.SIGTERM)
        try:
            wait_until(self._has_ended, "", timeout=10)
        except Failure:
            pass
        # Nobody has waited for the child since it was alive, so its id, which the group bears, is
        # still ours.
        os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()

    def _has_ended(self):
        return os.waitid(os.P_PID, self.child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)

    def log_text(self, all_runs=False):
        if not self.log.exists():
            return ""
        with open(self.log, "rb") as log:
            log.seek(0 if all_runs else self.log_start)
            return log.read().decode(errors="replace")

    def log_tail(self, lines=15):
        return "\n".join(self.log_text().splitlines()[-lines:])

    def wait_log(self, pattern, timeout=PATIENCE, start=0):
        """Waits until the log of this run has a line with the pattern; returns the match."""
        regex = re.compile(pattern, re.M)
        return wait_until(
            lambda: regex.search(self.log_text()[start:]),
            lambda: f"{pattern!r} in the log of {self.name}, which ends with:\n{self.log_tail()}",
            timeout,
        )

    def check_sanitizers(self):
        found = SANITIZER_REPORT.search(self.log_text(all_runs=True))
        if found:
            text = self.log_text(all_runs=True)
            start = max(0, text.index(found.group(0)) - 200)
            raise Failure(f"{self.name}: {found.group(0)}\n{text[start:start + 6000]}")


def children_of(pid):
    """Process ids of the children of a process."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            if int(stat.rsplit(")", 1)[1].split()[1]) == pid:
                found.append(int(entry.name))
    return sorted(found)


def resident_kib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def can_connect(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def run(argv, timeout=PATIENCE, check=False, **options):
    """A command, to its end; its output as text."""
    done = subprocess.run(
        [str(a) for a in argv],
        stdin=options.pop("stdin", subprocess.DEVNULL) if "input" not in options else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=timeout,
        text=True,
        errors="replace",
        **options,
    )
    if check and done.returncode != 0:
        raise Failure(f"{argv}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done
