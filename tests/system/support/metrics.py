# SPDX-License-Identifier: MIT
"""Metrics as a monitoring system has them."""

import http.client
import re
import socket
import time

from .place import run

OPENMETRICS = "application/openmetrics-text; version=1.0.0"

SAMPLE = re.compile(r"^([a-z_]+)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


class Connection(http.client.HTTPConnection):
    """To a host and port, or to the path of a socket."""

    def __init__(self, where, timeout=20):
        self.path = where if isinstance(where, str) else None
        host, port = ("localhost", 80) if self.path else where
        super().__init__(host, port, timeout=timeout)

    def connect(self):
        if not self.path:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def request(where, path="/metrics", method="GET", **headers):
    """The answer, and its body as text."""
    connection = Connection(where)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer, answer.read().decode()
    finally:
        connection.close()


def parse(text):
    """{(name, (label, value), …): number}, labels sorted by name."""
    samples = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        name, labels, value = SAMPLE.match(line).groups()
        key = (name, *sorted(LABEL.findall(labels or "")))
        assert key not in samples, f"twice: {line}"
        samples[key] = float(value)
    return samples


class Page:
    """What was there when it was asked for; page("name", label="value") is a number or None."""

    def __init__(self, where):
        time.sleep(0.11)  # as long a page is served as it was
        self.text = request(where)[1]
        self.samples = parse(self.text)

    def __call__(self, name, **labels):
        return self.samples.get((name, *sorted(labels.items())))

    def names(self):
        """Of families."""
        return set(re.findall(r"^# TYPE (\S+) ", self.text, re.M))


def check(text):
    """What promtool has to say against a page in the text format."""
    done = run(["promtool", "check", "metrics"], input=text)
    return done.stdout + done.stderr if done.returncode != 0 else done.stdout.strip()


def check_openmetrics(place, text):
    """Has Prometheus itself read a page: it takes pages with times only, so they get one."""
    assert text.endswith("# EOF\n")
    timed = re.sub(r"^([a-z][^\n]*)$", r"\1 1700000000", text, flags=re.M)
    page = place.file("openmetrics.txt", timed)
    done = run(["promtool", "tsdb", "create-blocks-from", "openmetrics", page,
                place.folder("openmetrics-blocks")])
    return "" if done.returncode == 0 else done.stdout + done.stderr
