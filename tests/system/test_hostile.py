# SPDX-License-Identifier: MIT
"""
Mails made to do harm: each becomes an alert with what could be had of it, and costs little.

Memory is held against a bound. Of time only the absurd is refused: how fast the programs are is
for tests/bench/mails to tell.
"""

import json
import os
import re

import pytest

from support import hostile, measure, samples
from support.mta import Mta
from support.place import children_of

PATIENCE_CPU = 60  # seconds; a parser that takes time with the square of a mail takes hours

CONFIG = """
profiles = [ "%s" ];
listen = "unix:/no/such/folder/milter.sock";
relay: { socket = "/no/such/folder/relay.sock"; };
rules: (
  { name = "sender"; match: { from = "nobody@nowhere.example.org"; }; },
  { name = "steps"; match: { subject: { regex = "(a|aa)+$"; }; body: { regex = "(?m)^(.*)*z$"; }; }; },
  { name = "shapes"; match: { body: { glob = "*a*b*c*d*e*f*g*h*z"; }; }; },
  { name = "alerts"; match: { subject: { glob = "ALERT *"; }; }; to = [ "ops" ]; }
);
""" % samples.PROFILES


def is_sanitized(program):
    return b"__asan_init" in program.read_bytes()


@pytest.fixture(scope="module")
def memory_bound(programs):
    """MiB that a process may take; sanitizers take several times as much, and keep what is freed."""
    return 400 if is_sanitized(programs["milterd"]) else 64


@pytest.fixture
def small_quarantine(monkeypatch):
    options = os.environ.get("ASAN_OPTIONS", "")
    monkeypatch.setenv("ASAN_OPTIONS", f"{options}:quarantine_size_mb=8".lstrip(":"))


@pytest.fixture
def folder(place):
    folder = place.folder("hostile")
    place.file("hostile/milterd.conf", CONFIG)
    yield folder
    for path in folder.glob("*.eml"):
        path.unlink()


def explain(programs, folder, path):
    """What it says in JSON, and what it took."""
    with open(folder / "out.json", "wb") as out, open(folder / "errors", "wb") as errors:
        usage = measure.run(
            [programs["milterd"], "--explain", "--json", "-c", folder / "milterd.conf", path],
            stdout=out, stderr=errors, env=dict(os.environ, LC_ALL="C.UTF-8"))
    assert usage.returncode == 0, (folder / "errors").read_text(errors="replace")
    return json.loads((folder / "out.json").read_text()), usage


@pytest.mark.parametrize("name", sorted(hostile.MAILS))
def test_hostile_mail_is_an_alert_and_costs_little(programs, folder, small_quarantine,
                                                   memory_bound, name):
    said, usage = explain(programs, folder, hostile.write(folder, [name])[name])

    alert, = said["alerts"]
    record = alert["record"]
    assert re.match(rf"ALERT {name}\b", record["title"]), record["title"][:200]
    if name not in hostile.NO_TEXT:
        assert hostile.NEWS.decode().strip() in record["text"], record["text"][:1000]
    assert len(json.dumps(record, ensure_ascii=False).encode()) < 65536
    assert usage.memory_kib < memory_bound * 1024
    assert usage.cpu_seconds < PATIENCE_CPU


def headers_and_body(name):
    """A hostile mail as an MTA hands it over."""
    head, _, body = b"".join(hostile.MAILS[name]()).partition(b"\n\n")
    headers = [field.split(":", 1) for field in re.split(r"\n(?![ \t])", head.decode())]
    return ([(field, value.strip()) for field, value in headers],
            body.replace(b"\n", b"\r\n"))


def high_water_mib(pid):
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"VmHWM:\s*(\d+) kB", status.read()).group(1)) // 1024


def test_worker_stays_small_whatever_it_is_sent(small_quarantine, memory_bound, make_bridge,
                                                prosody):
    bridge = make_bridge(prosody)
    bridge.milterd.workers = 1
    bridge.start()
    names = ["plain-50-mb", "base64-50-mb", "line-of-40-mb", "parts-10000", "garbage",
             "header-100000-times", "encoded-words-in-all-headers", "html-nested-tables",
             "html-unclosed-tags", "nested-1000-deep"]
    worker, = children_of(bridge.milterd.process.pid)

    for name in names:
        mta = Mta(bridge.milterd.socket, timeout=120)
        headers, body = headers_and_body(name)
        assert mta.mail(headers, body) == ("continue", "E"), name
        mta.close()
        assert hostile.NEWS.decode().strip() in bridge.reader.wait_message(f"ALERT {name}")["body"]

    assert children_of(bridge.milterd.process.pid) == [worker], "the worker has been replaced"
    assert high_water_mib(worker) < memory_bound


def test_ten_thousand_recipients_do_not_hide_an_alert(running):
    mta = Mta(running.milterd.socket)
    recipients = [f"person{n}@example.org" for n in range(10000)]

    answer = mta.mail([("Subject", "ALERT for everybody"), ("From", "nms@example.org")],
                      b"the disk of web1 is full\r\n", to=recipients)
    mta.close()

    assert answer == ("continue", "E")
    running.reader.wait_message("ALERT for everybody")


def test_hostile_mails_pass_through_postfix(running):
    for name in ("parts-of-html", "nested-messages", "garbage-in-utf-16"):
        code, answer = running.send(b"".join(hostile.MAILS[name]()))
        assert code == 250, answer
        running.reader.wait_message(f"ALERT {name}")
