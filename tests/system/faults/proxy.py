# SPDX-License-Identifier: MIT
"""
A TCP proxy before a server, that can be a bad network.

    pass        as if it was not there
    refuse      nobody listens at the port, and what was connected is cut
    silent      nothing goes through; new connections are taken, and hear nothing
    no-answer   what goes to the server arrives, and nothing comes back
    handshake   new connections go silent in the middle of the TLS handshake
    latency     all arrives `delay` seconds later
    loss        of each piece one in five is lost, once or several times, and comes later, as TCP
                would send it again; what is behind it waits for it

Besides, it cuts a connection upon bytes that are forbidden; for that it must not be encrypted.

What was held while it was silent goes on as soon as it is no longer.
"""

import collections
import contextlib
import random
import socket
import struct
import threading
import time

RETRANSMISSION = 0.2  # seconds; doubled each time
PIECE = 1400


class Proxy:
    def __init__(self, port, target, seed):
        self.port = port
        self.target = target
        self.mode = "pass"
        self.delay = 0.0
        self.chance = random.Random(f"proxy/{seed}")
        self.changed = threading.Condition()
        self.connections = []
        self.attempts = 0  # connections that came
        self.forbidden = None  # bytes that cut the connection, on their way to the server
        self.listener = None
        self.closing = False
        self._listen()

    def _listen(self):
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def _unlisten(self):
        if self.listener:
            # close() alone doesn't wake the thread that waits in accept().
            with contextlib.suppress(OSError):
                self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None

    def become(self, mode, delay=0.0):
        with self.changed:
            self.mode, self.delay = mode, delay
            self.changed.notify_all()
        if mode == "refuse":
            self._unlisten()
            self.reset()
        elif not self.listener:
            self._listen()

    def reset(self):
        """Cuts what is connected, with an RST each way."""
        for connection in list(self.connections):
            connection.cut()

    def reset_in_mid_stanza(self, direction):
        """Cuts the next piece of a direction ("out": to the server) in two; the rest is lost."""
        for connection in list(self.connections):
            connection.cut_next = direction

    def close(self):
        self.closing = True
        with self.changed:
            self.changed.notify_all()
        self._unlisten()
        self.reset()

    def _accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.attempts += 1
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()
                continue
            connection = Connection(self, client, server)
            self.connections.append(connection)
            connection.start()


class Connection:
    def __init__(self, proxy, client, server):
        self.proxy = proxy
        self.client, self.server = client, server
        self.cut_next = None
        self.proceeded = False
        self.handshake = 0  # pieces from the server since it said <proceed/>
        self.over = False
        self.tail = b""  # the last that went to the server
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self):
        for direction, source, target in (("out", self.client, self.server),
                                          ("in", self.server, self.client)):
            queue = collections.deque()
            arrived = threading.Semaphore(0)
            threading.Thread(target=self._read, args=(direction, source, queue, arrived),
                             daemon=True).start()
            threading.Thread(target=self._write, args=(direction, target, queue, arrived),
                             daemon=True).start()

    def cut(self):
        self.over = True
        with self.proxy.changed:
            self.proxy.changed.notify_all()
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RD)
                end.close()
        if self in self.proxy.connections:
            self.proxy.connections.remove(self)

    def _read(self, direction, source, queue, arrived):
        while not self.over:
            try:
                data = source.recv(PIECE if self.proxy.mode == "loss" else 65536)
            except OSError:
                data = b""
            queue.append((time.monotonic() + self._lateness(), data))
            arrived.release()
            if not data:
                return

    def _lateness(self):
        proxy = self.proxy
        if proxy.mode == "latency":
            return proxy.delay
        lateness, timeout = 0.0, RETRANSMISSION
        while proxy.mode == "loss" and proxy.chance.random() < 0.2:
            lateness += timeout
            timeout *= 2
        return lateness

    def _is_forbidden(self, data):
        forbidden = self.proxy.forbidden
        if not forbidden:
            return False
        seen = self.tail + data
        self.tail = seen[-len(forbidden):]
        return forbidden in seen

    def _held(self, direction):
        mode = self.proxy.mode
        return (mode == "silent" or (mode == "no-answer" and direction == "in")
                or (mode == "handshake" and self.handshake > 1))

    def _write(self, direction, target, queue, arrived):
        while True:
            arrived.acquire()
            at, data = queue.popleft()
            time.sleep(max(0.0, at - time.monotonic()))
            if direction == "in":
                if self.proceeded:
                    self.handshake += 1
                self.proceeded = self.proceeded or b"<proceed" in data
            with self.proxy.changed:
                self.proxy.changed.wait_for(
                    lambda: not self._held(direction) or self.over or self.proxy.closing)
            if self.over or self.proxy.closing:
                return
            if direction == "out" and self._is_forbidden(data):
                self.cut()
                return
            cut = self.cut_next == direction and len(data) > 1
            try:
                if data:
                    target.sendall(data[:len(data) // 2] if cut else data)
                else:
                    target.shutdown(socket.SHUT_WR)
                    if direction == "in" and self in self.proxy.connections:
                        self.proxy.connections.remove(self)
            except OSError:
                self.cut()
                return
            if cut:
                self.cut()
            if cut or not data:
                return
