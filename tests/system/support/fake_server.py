# SPDX-License-Identifier: MIT
"""A server of XMPP that lets anybody in, offers no STARTTLS, and does as the test says."""

import re
import socket
import ssl
import threading

HEADER = (b"<?xml version='1.0'?><stream:stream from='fake.test' id='1' version='1.0' "
          b"xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>")
FEATURES = (b"<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"
            b"<mechanism>PLAIN</mechanism></mechanisms></stream:features>")
BIND = (b"<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>")


class FakeServer:
    """`then` is called with the connection once the client is online, `instead` at once; in a
    thread. With a key and certificate it speaks TLS from the start."""

    domain = "fake.test"

    def __init__(self, then=None, instead=None, certificate=None, buffer=None):
        self.then = then
        self.instead = instead
        self.context = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate[1], certificate[0])
        self.listener = socket.create_server(("127.0.0.1", 0))
        if buffer:  # of the kernel, for what has come and is not read
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.port = self.listener.getsockname()[1]
        self.received = b""
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        try:
            connection, _ = self.listener.accept()
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            if self.instead:
                self.instead(connection)
                return
            self._greet(connection)
            self.then(connection)
        except OSError:
            pass

    def expect(self, connection, pattern):
        while not re.search(pattern, self.received):
            data = connection.recv(65536)
            if not data:
                raise ConnectionError
            self.received += data
        found = re.search(pattern, self.received)
        self.received = self.received[found.end():]
        return found

    def _greet(self, connection):
        self.expect(connection, rb"<stream:stream[^>]*>")
        connection.sendall(HEADER + FEATURES)
        self.expect(connection, rb"</auth>")
        connection.sendall(b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
        self.expect(connection, rb"<stream:stream[^>]*>")
        connection.sendall(HEADER + BIND)
        self.expect(connection, rb"</iq>")
        connection.sendall(b"<iq type='result' id='_xmpp_bind1'><bind xmlns='urn:ietf:params:xml:"
                           b"ns:xmpp-bind'><jid>alertbot@fake.test/x</jid></bind></iq>")

    def close(self):
        self.listener.close()
