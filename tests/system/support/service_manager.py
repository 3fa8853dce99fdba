# SPDX-License-Identifier: MIT
"""The part of a service manager that keeps a daemon's descriptors over a restart."""

import os
import socket
import threading

from .place import wait_until


class ServiceManager:
    """The other end of sd_notify(), with a store for one descriptor."""

    def __init__(self, process, folder, name):
        self.process = process
        self.name = name
        self.kept = None
        self._plain = process.argv
        path = folder / "notify.sock"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        path.chmod(0o777)
        process.env |= {"NOTIFY_SOCKET": str(path)}
        # All the time, or the daemon waits for room in the queue.
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self):
        while True:
            text, fds, _, _ = socket.recv_fds(self._socket, 4096, 8)
            lines = text.decode().splitlines()
            if not lines:  # the end, see close()
                return
            if "FDSTORE=1" in lines and f"FDNAME={self.name}" in lines:
                self.kept, = fds
            else:
                for fd in fds:
                    os.close(fd)

    def wait_stored(self):
        wait_until(lambda: self.kept is not None, f"{self.name} to be stored")

    def start_again(self):
        """With what was stored."""
        self.process.argv = ["/bin/bash", "-c",
                             'exec 3<&"$KEPT"; LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" "$@"',
                             *self._plain]
        self.process.env |= {"KEPT": str(self.kept), "LISTEN_FDNAMES": self.name}
        self.process.pass_fds = (self.kept,)
        self.process.start()

    def close(self):
        self._socket.shutdown(socket.SHUT_RD)  # which the thread hears as a message of nothing
        self._thread.join()
        self._socket.close()
        if self.kept is not None:
            os.close(self.kept)
