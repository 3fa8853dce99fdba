# SPDX-License-Identifier: MIT
"""A private Prosody: one host, some accounts, a room service; archives of both, or of neither."""

import os
import shutil
import signal

from .place import can_connect, wait_until

DOMAIN = "xmpp.test"
ROOMS = "rooms.xmpp.test"


class Prosody:
    kind = "prosody"

    def __init__(self, place, authority, accounts, name="prosody", archive=True):
        self.place = place
        self.port = place.port()
        self.direct_tls_port = place.port()
        self.domain = DOMAIN
        self.rooms = ROOMS
        user = "prosody" if os.geteuid() == 0 else None
        home = place.folder(name, user)
        data = place.folder(f"{name}/data", user, mode=0o750)
        key, certificate = authority.issue(DOMAIN, ROOMS)
        for source, target in ((key, "key.pem"), (certificate, "cert.pem")):
            shutil.copy(source, home / target)
            place.file(f"{name}/{target}", (home / target).read_text(), user, mode=0o600)
        place.folder(f"{name}/data/{escape(DOMAIN)}", user, mode=0o750)
        folder = place.folder(f"{name}/data/{escape(DOMAIN)}/accounts", user, mode=0o750)
        for account, password in accounts.items():
            place.file(
                f"{name}/data/{escape(DOMAIN)}/accounts/{folder_name(account)}.dat",
                f'return {{ ["password"] = "{password}" }};\n', user, mode=0o640)
        assert folder.is_dir()
        room_modules, modules = ('"muc_mam"', ', "mam"') if archive else ("", "")
        config = place.file(f"{name}/prosody.cfg.lua", f"""\
daemonize = false
pidfile = "{home}/prosody.pid"
data_path = "{data}"
certificates = "{home}"
log = {{ {{ levels = {{ min = "info" }}, to = "console", timestamps = "%b %d %H:%M:%S" }} }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {self.port} }}
c2s_direct_tls_ports = {{ {self.direct_tls_port} }}
s2s_ports = {{ }}
http_ports = {{ }}
https_ports = {{ }}
modules_enabled = {{ "roster", "saslauth", "tls", "disco", "ping", "private", "smacks"{modules} }}
modules_disabled = {{ "s2s", "offline" }}
c2s_require_encryption = true
authentication = "internal_hashed"
storage = "internal"
archive_expires_after = "never"
ssl = {{ key = "{home}/key.pem", certificate = "{home}/cert.pem" }}

VirtualHost "{DOMAIN}"

Component "{ROOMS}" "muc"
    modules_enabled = {{ {room_modules} }}
    muc_log_all_rooms = true
    muc_log_expires_after = "never"
    muc_room_default_persistent = true
    muc_room_locking = false
""", user)
        self.process = place.process(
            name, ["/usr/bin/prosody", "--config", config, "-F"],
            user="prosody", env={"HOME": str(home)}, cwd=home)

    def start(self):
        self.process.start()
        self.wait_ready()
        return self

    def wait_ready(self):
        wait_until(
            lambda: can_connect(self.port) or not self.process.alive,
            lambda: f"Prosody to listen:\n{self.process.log_tail()}")
        assert self.process.alive, self.process.log_tail()

    def stop(self):
        self.process.stop()

    def kill(self):
        """As power loss would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def ensure_running(self):
        if not self.process.alive:
            self.start()


def folder_name(text):
    return "".join(c if c.isalnum() else f"%{ord(c):02x}" for c in text)


escape = folder_name
