# SPDX-License-Identifier: MIT
"""A private ejabberd: own database, no epmd, everything on loopback."""

import os
import signal
import sqlite3
from pathlib import Path

from .place import can_connect, own, run, wait_until

DOMAIN = "xmpp.test"
ROOMS = "rooms.xmpp.test"
SCHEMA = Path("/usr/share/ejabberd/sql/lite.sql")


class Ejabberd:
    kind = "ejabberd"

    def __init__(self, place, authority, accounts, name="ejabberd", archive="mnesia"):
        """archive: where mod_mam keeps messages, "mnesia", "sql" (an SQLite, which has each on
        disk before the room says it), or None for no archive at all."""
        self.place = place
        self.accounts = accounts
        self.port = place.port()
        self.domain = DOMAIN
        self.rooms = ROOMS
        self.registered = False
        user = self.user = "ejabberd" if os.geteuid() == 0 else None
        self.home = place.folder(name, user, mode=0o750)
        for folder in ("db", "logs"):
            place.folder(f"{name}/{folder}", user, mode=0o750)
        key, certificate = authority.issue(DOMAIN, ROOMS)
        place.file(f"{name}/server.pem", certificate.read_text() + key.read_text(), user,
                   mode=0o600)
        mod_mam = ""
        if archive:
            mod_mam = f"mod_mam: {{ db_type: {archive}, default: always }}"
        if archive == "sql":
            with sqlite3.connect(self.home / "archive.sqlite") as database:
                database.executescript(SCHEMA.read_text())
            own(self.home / "archive.sqlite", user, user, 0o640)
        place.file(f"{name}/inetrc", "{lookup, [file, native]}.\n", user)
        place.file(f"{name}/ejabberd.yml", f"""\
loglevel: info
log_rotate_count: 0
hosts:
  - {DOMAIN}
certfiles:
  - {self.home}/server.pem
listen:
  -
    port: {self.port}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    starttls_required: true
    max_stanza_size: 262144
auth_method: internal
auth_password_format: scram
sql_type: sqlite
sql_database: {self.home}/archive.sqlite
acl:
  local:
    user_regexp: ""
access_rules:
  local:
    allow: local
  c2s:
    allow: all
api_permissions:
  "console commands":
    from:
      - ejabberd_ctl
    who: all
    what: "*"
modules:
  mod_admin_extra: {{}}
  mod_disco: {{}}
  {mod_mam}
  mod_muc:
    host: {ROOMS}
    access: all
    access_create: all
    access_persistent: all
    access_mam: all
    history_size: 20
    default_room_options:
      persistent: true
      mam: true
      public: true
  mod_ping: {{}}
  mod_roster: {{}}
  mod_stream_mgmt: {{}}
""", user, mode=0o640)
        place.file(f"{name}/ejabberdctl.cfg", f"""\
EJABBERD_PID_PATH={self.home}/ejabberd.pid
EJABBERD_CONFIG_PATH={self.home}/ejabberd.yml
INET_DIST_INTERFACE=127.0.0.1
ERL_DIST_PORT={place.port()}
ERLANG_NODE=ejabberd@localhost
ERL_OPTIONS="-env ERL_CRASH_DUMP_BYTES 0"
""", user)
        self.control = [
            "/usr/sbin/ejabberdctl", "-d", self.home, "-c", f"{self.home}/ejabberdctl.cfg",
            "-f", f"{self.home}/ejabberd.yml", "-l", f"{self.home}/logs", "-s", f"{self.home}/db"]
        self.env = {"HOME": str(self.home)}
        self.process = place.process(
            name, [*self.control, "foreground"], user="ejabberd", env=self.env, cwd=self.home)

    def ctl(self, *arguments, check=True):
        # The script goes back to its own user by su(1) when root runs it; we are there already.
        argv = [*self.control, *arguments]
        if self.user:
            argv = ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups",
                    "--", *argv]
        return run(argv, check=check, cwd=self.home, timeout=120, env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", **self.env})

    def start(self):
        self.process.start()
        wait_until(
            lambda: can_connect(self.port) or not self.process.alive,
            lambda: f"ejabberd to listen:\n{self.process.log_tail(30)}", timeout=120)
        assert self.process.alive, self.process.log_tail(30)
        if not self.registered:
            for account, password in self.accounts.items():
                self.ctl("register", account, DOMAIN, password)
            self.registered = True
        return self

    def machine_pid(self):
        return int((self.home / "ejabberd.pid").read_text())

    def stop(self):
        if self.process.alive:
            os.kill(self.machine_pid(), signal.SIGTERM)
            self.process.wait()

    def kill(self):
        os.kill(self.machine_pid(), signal.SIGKILL)
        self.process.wait()

    def ensure_running(self):
        if not self.process.alive:
            self.start()
