# SPDX-License-Identifier: MIT
"""
The programs under test, with generated configurations and under users that may do nothing.

Each daemon has a user of its own, as on a real machine: what lets them talk is the group of each
socket. The programs are copied, since a user's home is often closed to them.
"""

import errno
import json
import os
import pwd
import shutil
import socket
import subprocess
from pathlib import Path

from .place import Failure, own, run, wait_until

MILTERD_USER = "daemon"
RELAY_USER = "nobody"
MTA_GROUP = "postfix"

PROGRAMS = {
    "milterd": "milterd/milterd",
    "milterd-canary": "milterd/milterd-canary",
    "xmpprelay": "xmpprelay/xmpprelay",
    "xmpprelay-send": "xmpprelay/xmpprelay-send",
    "xmpprelayctl": "xmpprelay/xmpprelayctl",
}

PROFILES = Path(__file__).resolve().parents[3] / "milterd" / "profiles"

# What the tests of single features add to or replace; all mail that says ALERT is one.
RULES = """
  { name = "alerts";
    match: { subject: { glob = "*ALERT*"; }; };
    to = [ "ops" ];
  }
"""


class Programs:
    """Copies of the built programs that every user can run."""

    def __init__(self, place, build):
        self.folder = place.folder("bin")
        self.build = build
        for name, path in PROGRAMS.items():
            source = os.path.join(build, path)
            if os.path.exists(source):
                shutil.copy(source, self.folder / name)

    def __getitem__(self, name):
        path = self.folder / name
        if not path.exists():
            raise Failure(f"{name} is not in {self.build}: build it first")
        return path


def sanitizer_environment():
    return {name: os.environ[name] for name in ("ASAN_OPTIONS", "LSAN_OPTIONS", "UBSAN_OPTIONS")
            if name in os.environ}


class Xmpprelay:
    """The relay, one account, and rooms by destination name."""

    def __init__(self, place, programs, server, authority, rooms, name="relay",
                 password="alertbot-secret"):
        self.place = place
        self.programs = programs
        self.server = server
        self.authority = authority
        self.rooms = dict(rooms)  # destination name → room
        self.contacts = {}
        self.styles = {}  # of destinations, where it isn't the default
        self.user = RELAY_USER if os.geteuid() == 0 else None
        self.group = "daemon" if os.geteuid() == 0 else None
        self.folder = place.folder(name, self.user)
        self.socket = self.folder / "relay.sock"
        self.control = self.folder / "control.sock"
        self.spool = self.folder / "spool.db"
        self.password_file = self.folder / "password"
        self.set_password(password)
        self.config = self.folder / "xmpprelay.conf"
        self.account = {
            "jid": f"alertbot@{server.domain}", "host": "127.0.0.1", "port": server.port,
            "tls": "starttls", "ca_file": str(authority.certificate)}
        self.extra = ('session: { backoff = "200ms"; backoff_cap = "2s"; };\n')
        self.socket_extra = ""
        self.spool_extra = ""
        self.default_destination = next(iter(self.rooms))
        self.process = place.process(
            name, [programs.folder / "xmpprelay", "-c", self.config, "-v"], user=RELAY_USER,
            groups=["daemon"], env=sanitizer_environment(), cwd=self.folder)

    def set_password(self, password, mode=0o400):
        if self.password_file.exists():
            self.password_file.unlink()
        self.password_file.write_text(password + "\n")
        own(self.password_file, self.user, None, mode)

    def text(self):
        """The configuration."""
        group = f' group = "{self.group}";' if self.group else ""
        account = "".join(
            f"    {key} = {value};\n" if isinstance(value, int) else f'    {key} = "{value}";\n'
            for key, value in self.account.items())
        addresses = {name: f'room = "{room}"; nick = "alertbot";'
                     for name, room in self.rooms.items()}
        addresses |= {name: f'contact = "{contact}";' for name, contact in self.contacts.items()}
        destinations = [
            f'  {{ name = "{name}"; account = "main"; {address}'
            + (f' style = "{self.styles[name]}";' if name in self.styles else "") + " }"
            for name, address in addresses.items()
        ]
        return f"""\
socket: {{ path = "{self.socket}"; mode = "0660";{group} {self.socket_extra} }};
control: {{ path = "{self.control}"; mode = "0660";{group} }};
spool: {{ path = "{self.spool}"; {self.spool_extra} }};
accounts: (
  {{ name = "main";
    password_file = "{self.password_file}";
{account}  }}
);
destinations: (
""" + ",\n".join(destinations) + f"""
);
default_destination = "{self.default_destination}";
{self.extra}"""

    def write(self, text=None):
        self.config.write_text(self.text() if text is None else text)
        own(self.config, self.user, None, 0o644)

    def start(self, write=True):
        if write:
            self.write()
        self.process.start()
        wait_until(lambda: self.listening() or not self.process.alive,
                   lambda: f"xmpprelay to listen:\n{self.process.log_tail(30)}")
        assert self.process.alive, self.process.log_tail(30)
        return self

    def listening(self):
        return is_bound(self.socket) and is_bound(self.control)

    def check(self):
        """xmpprelay -n on the present configuration."""
        return as_user(self.user, [self.programs["xmpprelay"], "-n", "-c", self.config],
                       groups=["daemon"])

    def ctl(self, *arguments, check=True):
        return run([self.programs["xmpprelayctl"], "--socket", self.control, *arguments],
                   check=check, env=command_environment())

    def status(self):
        return json.loads(self.ctl("status", "--json").stdout)

    def send(self, *arguments, text=None, check=False):
        """xmpprelay-send."""
        options = {"input": text} if text is not None else {}
        return run([self.programs["xmpprelay-send"], "--socket", self.socket, *arguments],
                   check=check, env=command_environment(), **options)

    def wait_ready(self, timeout=60):
        """Until the rooms are joined."""
        def ready():
            done = self.ctl("status", "--json", check=False)
            if done.returncode != 0:
                return False
            destinations = json.loads(done.stdout).get("destinations", [])
            return destinations and all(d.get("state") == "ready" for d in destinations)
        wait_until(ready, lambda: f"the rooms to be joined:\n{self.process.log_tail(30)}\n"
                                  f"{self.ctl('status', check=False).stdout}", timeout)
        return self

    def stop(self):
        return self.process.stop()


class Milterd:
    """The mail filter: rules, a socket for the MTA, the relay's socket."""

    def __init__(self, place, programs, relay_socket, name="milter"):
        self.place = place
        self.programs = programs
        self.relay_socket = relay_socket
        self.user = MILTERD_USER if os.geteuid() == 0 else None
        self.folder = place.folder(name, self.user)
        self.socket = self.folder / "milter.sock"
        self.listen = f"unix:{self.socket}"
        self.config = self.folder / "milterd.conf"
        self.rules = RULES
        self.scripts = []
        self.extra = ""
        self.relay_extra = ""
        self.workers = 2
        self.process = place.process(
            "milterd" if name == "milter" else name,
            [programs.folder / "milterd", "-c", self.config, "-v"], user=MILTERD_USER,
            groups=[MTA_GROUP], env=sanitizer_environment(), cwd=self.folder)

    def text(self):
        group = f'listen_group = "{MTA_GROUP}";\n' if os.geteuid() == 0 else ""
        return f"""\
listen = "{self.listen}";
listen_mode = "0660";
{group}workers = {self.workers};
relay: {{ socket = "{self.relay_socket}"; {self.relay_extra} }};
{self.extra}
scripts: ( {", ".join(self.scripts)} );
rules: (
{self.rules}
);
"""

    def add_script(self, text, name="it", options=""):
        """A script in Lua, asked behind those that are there; gives its path."""
        path = self.folder / f"{name}.lua"
        path.write_text(text)
        own(path, self.user, None, 0o644)
        self.scripts.append(f'{{ name = "{name}"; file = "{path}"; {options} }}')
        return path

    def take_profiles(self):
        """The project's own, in a copy that its user can read."""
        folder = self.place.folder(self.folder / "profiles", self.user)
        for path in PROFILES.glob("*.conf"):
            copy = folder / path.name
            shutil.copy(path, copy)
            own(copy, self.user, None, 0o644)
        self.extra += f'profiles = "{folder}";\n'

    def write(self, text=None):
        self.config.write_text(self.text() if text is None else text)
        own(self.config, self.user, None, 0o644)

    def start(self, write=True):
        if write:
            self.write()
        self.process.start()
        wait_until(lambda: self.listening() or not self.process.alive,
                   lambda: f"milterd to listen:\n{self.process.log_tail(30)}")
        assert self.process.alive, self.process.log_tail(30)
        return self

    def listening(self):
        if self.listen.startswith("unix:"):
            return is_bound(self.socket)
        return True

    def check(self):
        """milterd -n on the present configuration."""
        return as_user(self.user, [self.programs["milterd"], "-n", "-c", self.config],
                       groups=[MTA_GROUP])

    def stop(self):
        return self.process.stop()


def command_environment():
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8",
            **sanitizer_environment()}


def as_user(user, argv, groups=()):
    options = {}
    if user:
        options = {"user": user, "group": group_of(user), "extra_groups": list(groups)}
    return subprocess.run(
        [str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, timeout=60, env=command_environment(), check=False,
        **options)


def group_of(user):
    return pwd.getpwnam(user).pw_gid


def is_bound(path):
    """Whether a process has a socket at the path: a file alone proves nothing."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        # A socket of the other type tells so, and does not notice.
        return probe.connect_ex(str(path)) in (0, errno.EPROTOTYPE)
