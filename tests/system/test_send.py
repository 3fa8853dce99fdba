# SPDX-License-Identifier: MIT
"""xmpprelay-send, and what any other program may put into the datagram socket."""

import json
import os
import signal
import socket
import struct

import pytest


@pytest.fixture
def running(bridge):
    """All but the mail filter."""
    return bridge.start(milterd=False)


def test_text_on_the_command_line_is_said(running):
    done = running.relay.send("-s", "critical", "-t", "Backup", "ops", "--", "tape", "is", "full")

    assert done.returncode == 0, done.stderr
    body = running.reader.wait_message("Backup")["body"]
    assert "tape is full" in body


def test_text_on_standard_input_is_said(running):
    done = running.relay.send("-t", "From a pipe", text="line one\nline two\n")

    assert done.returncode == 0, done.stderr
    assert "line one\nline two" in running.reader.wait_message("From a pipe")["body"]


def test_waiting_for_delivery_ends_when_the_room_has_it(running):
    done = running.relay.send("-w", "delivered", "-T", "30s", "ops", "--", "said by now")

    assert done.returncode == 0, done.stderr
    assert running.reader.archive()[-1]["body"].endswith("said by now")


def test_same_id_twice_is_said_once(running):
    for _ in range(2):
        done = running.relay.send("-i", "backup-2026-03-14", "ops", "--", "once only")
        assert done.returncode == 0, done.stderr
    running.relay.send("-w", "delivered", "ops", "--", "behind it")

    assert len([m for m in running.reader.archive() if "once only" in m["body"]]) == 1


def test_unknown_destination_is_refused_with_its_name(running):
    done = running.relay.send("nowhere", "--", "hello")

    assert done.returncode == 65
    assert "nowhere" in done.stderr


@pytest.mark.parametrize("arguments", [
    ["-s", "terrible", "ops", "--", "x"], ["-S", "odd", "ops", "--", "x"],
    ["-w", "never", "ops", "--", "x"], ["--no-such-option"], ["-T", "soon", "ops", "--", "x"],
])
def test_usage_errors_end_with_64(running, arguments):
    done = running.relay.send(*arguments)

    assert done.returncode == 64
    assert done.stderr.strip()


def test_no_relay_ends_with_75(running):
    running.relay.stop()
    done = running.relay.send("-T", "1s", "ops", "--", "hello")

    assert done.returncode == 75
    assert done.stderr.strip()


def test_silent_relay_ends_with_75(running):
    running.relay.process.send_signal(signal.SIGSTOP)
    try:
        done = running.relay.send("-T", "1s", "ops", "--", "hello")
    finally:
        running.relay.process.send_signal(signal.SIGCONT)

    assert done.returncode == 75


def test_full_spool_is_busy_and_recovers(bridge, prosody):
    bridge.relay.spool_extra = "max_records = 5; max_share = 100;"
    bridge.start_reader()
    prosody.stop()
    mark = bridge.reader.mark()
    bridge.relay.start()
    statuses = [bridge.relay.send("-T", "2s", "ops", "--", f"number {n}").returncode
                for n in range(7)]
    assert statuses == [0] * 5 + [75] * 2

    prosody.start()
    bridge.reader.wait_online_again(mark)
    bridge.reader.wait_message("number", count=5)
    assert bridge.relay.send("-w", "delivered", "ops", "--", "number 7").returncode == 0


def exchange(relay, datagram, bind=True, timeout=20):
    """Sends one datagram; the receipts that come back until there are no more frames."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(timeout)
        if bind:
            sender.bind("")
        sender.sendto(datagram, str(relay.socket))
        if not bind:
            return []
        answer = sender.recv(131072)
    receipts = []
    while answer:
        size, = struct.unpack(">I", answer[:4])
        receipts.append(json.loads(answer[4:4 + size]))
        answer = answer[4 + size:]
    return receipts


def frame(record):
    data = record if isinstance(record, bytes) else json.dumps(record).encode()
    return struct.pack(">I", len(data)) + data




def test_record_of_ten_lines_of_python_is_said(running):
    receipt, = exchange(running.relay, frame({
        "v": 1, "id": "py-1", "text": "from a script", "title": "Script", "severity": "warning",
        "to": ["ops"], "unheard-of": [1, 2]}))

    assert receipt == {"v": 1, "id": "py-1", "status": "accepted"} | {
        k: v for k, v in receipt.items() if k == "reason"}
    running.reader.wait_message("from a script")


def test_old_alert_is_said_with_its_own_time(running):
    exchange(running.relay, frame({"v": 1, "text": "it burned", "time": 1_700_000_000}))

    message = running.reader.wait_message("it burned")
    assert "(from 2023-11-14 22:13:20 UTC)" in message["body"]
    assert message["stamp"] == "2023-11-14T22:13:20Z"


def test_sender_that_does_not_bind_is_served_unheard(running):
    exchange(running.relay, frame({"v": 1, "text": "no address of mine"}), bind=False)

    running.reader.wait_message("no address of mine")


def test_two_records_in_one_datagram_are_both_said(running):
    first = frame({"v": 1, "id": "two-1", "text": "first of two"})
    second = frame({"v": 1, "id": "two-2", "text": "second of two"})
    receipts = exchange(running.relay, first + second)

    assert receipts and all(r["status"] == "accepted" for r in receipts)
    running.reader.wait_message("first of two")
    running.reader.wait_message("second of two")


def test_malformed_datagrams_are_refused_with_a_reason(running):
    good = {"v": 1, "id": "bad-1", "text": "hello"}
    for what, datagram in {
        "no frame at all": b"hello",
        "length too large": struct.pack(">I", 500) + b"{}",
        "something left over": frame(good) + b"x",
        "no JSON": frame(b"this is not JSON"),
        "no object": frame(b"[1, 2]"),
        "duplicate keys": frame(b'{"v":1,"text":"a","text":"b"}'),
        "broken UTF-8": frame(b'{"v":1,"text":"\xff\xfe"}'),
        "no version": frame({"text": "hello"}),
        "another version": frame({**good, "v": 2}),
        "no text": frame({"v": 1}),
        "empty text": frame({"v": 1, "text": ""}),
        "text of the wrong type": frame({"v": 1, "text": 5}),
        "bad id": frame({**good, "id": "a b"}),
        "long id": frame({**good, "id": "a" * 65}),
        "bad severity": frame({**good, "severity": "terrible"}),
        "bad state": frame({**good, "state": "odd"}),
        "fields of the wrong type": frame({**good, "fields": {"a": 1}}),
        "unknown destination": frame({**good, "to": "nowhere"}),
        "deep nesting": frame(b'{"v":1,"text":"x","y":' + b"[" * 5000 + b"]" * 5000 + b"}"),
        "frame too large": frame({"v": 1, "text": "x" * 70000}),
    }.items():
        receipt = exchange(running.relay, datagram)[0]
        assert receipt["status"] == "refused", (what, receipt)
        assert receipt["reason"], what

    # …and it serves on.
    assert exchange(running.relay, frame(good))[0]["status"] == "accepted"
    running.reader.wait_message("hello")
    assert len(running.reader.archive()) == 1


def test_empty_datagram_harms_nobody(running):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"", str(running.relay.socket))
    assert running.relay.send("-w", "delivered", "ops", "--", "still here").returncode == 0


def test_socket_admits_its_group_only(running):
    mode = os.stat(running.relay.socket).st_mode & 0o777
    assert mode == 0o660
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(2)  # bin: neither the owner nor of the group
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.sendto(frame({"v": 1, "text": "let me in"}), str(running.relay.socket))
            os._exit(0)
        except PermissionError:
            os._exit(13)
        except BaseException:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 13
