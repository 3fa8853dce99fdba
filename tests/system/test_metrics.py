# SPDX-License-Identifier: MIT
"""The relay's metrics, asked for as a monitoring system does, and by clients that behave worse."""

import os
import re
import signal
import socket
import statistics
import stat
import time
from pathlib import Path

import pytest

from support.metrics import OPENMETRICS, Page, check, check_openmetrics, request
from support.place import children_of, wait_until
from test_relay import Sender

MAN = Path(__file__).parent.parent.parent / "packaging" / "man"


def listen(relay, where):
    relay.extra = re.sub(r"metrics: .*\n", "", relay.extra)
    if where:
        relay.extra += f'metrics: {{ listen = "{where}"; }};\n'


@pytest.fixture
def place_of_metrics(bridge):
    """(host, port) of a relay that is not started yet."""
    port = bridge.place.port()
    listen(bridge.relay, f"127.0.0.1:{port}")
    return ("127.0.0.1", port)


@pytest.fixture
def where(bridge, place_of_metrics):
    """(host, port) of a relay that has joined its room."""
    bridge.start_reader()
    bridge.relay.start().wait_ready()
    return place_of_metrics


def wait_page(where, condition):
    def found():
        page = Page(where)
        return page if condition(page) else None
    return wait_until(found, lambda: f"the page to change:\n{Page(where).text}")


def hup(relay, done="the configuration was read again"):
    start = len(relay.process.log_text())
    relay.process.send_signal(signal.SIGHUP)
    relay.process.wait_log(done, start=start)


def test_numbers_are_those_of_what_was_sent(bridge, where):
    relay = bridge.relay
    before = time.time()
    for n in range(7):
        assert relay.send("-w", "delivered", "-i", f"n-{n}", "ops", "--", f"alert {n}").returncode == 0
    assert relay.send("-i", "n-0", "ops", "--", "again").returncode == 0
    assert relay.send("nowhere", "--", "x").returncode == 65
    bridge.reader.wait_message("alert 6")

    page = wait_page(where, lambda p: p("xmpprelay_delivered_total", destination="ops") == 7)
    ops = {"destination": "ops"}
    assert page("xmpprelay_receipts_total", status="accepted") == 7
    assert page("xmpprelay_receipts_total", status="delivered") == 7
    assert page("xmpprelay_receipts_total", status="duplicate") == 1
    assert page("xmpprelay_receipts_total", status="refused") == 1
    assert page("xmpprelay_receipts_total", status="busy") == 0
    assert page("xmpprelay_receipt_seconds_count") == 9
    assert 0 < page("xmpprelay_receipt_seconds_sum") < 20
    assert page("xmpprelay_delivery_seconds_count", **ops) == 7
    assert page("xmpprelay_delivery_seconds_bucket", le="+Inf", **ops) == 7
    assert 0 < page("xmpprelay_delivery_seconds_sum", **ops) < 60
    assert page("xmpprelay_failed_total", **ops) == 0
    assert [page("xmpprelay_entries", state=state, **ops)
            for state in ("waiting", "in_flight", "failed")] == [0, 0, 0]
    assert page("xmpprelay_spool_entries") == 0
    assert page("xmpprelay_spool_entries_limit") == 100000
    assert page("xmpprelay_oldest_waiting_seconds", **ops) == 0
    assert page("xmpprelay_session_up", account="main") == 1
    assert page("xmpprelay_session_starts_total", account="main") == 1
    assert page("xmpprelay_session_connects_total", account="main") == 1
    assert page("xmpprelay_room_joined", **ops) == 1
    assert page("xmpprelay_paused", **ops) == 0
    assert before <= page("xmpprelay_last_echo_timestamp_seconds", **ops) <= time.time()
    assert before - 120 < page("xmpprelay_start_time_seconds") < time.time()
    assert page("xmpprelay_test_success_timestamp_seconds", **ops) == 0


def test_page_is_what_prometheus_reads(bridge, where):
    assert bridge.relay.send("-w", "delivered", "ops", "--", "an alert").returncode == 0

    answer, text = request(where)
    assert answer.getheader("Content-Type") == "text/plain; version=0.0.4; charset=utf-8"
    assert check(text) == ""
    answer, text = request(where, Accept=OPENMETRICS + ",text/plain;q=0.5")
    assert answer.getheader("Content-Type") == OPENMETRICS + "; charset=utf-8"
    assert check_openmetrics(bridge.place, text) == ""
    assert check_openmetrics(bridge.place, text.replace("# EOF\n", "xmpprelay_x{ 1\n# EOF\n"))


def test_manual_has_each_metric_and_no_other(bridge, where):
    manual = (MAN / "xmpprelay.8").read_text()
    section = manual[manual.index(".Sh METRICS"):]
    named = set(re.findall(r"^\.It Li (xmpprelay_[a-z_]+)", section, re.M))

    assert named == Page(where).names()


def test_what_waits_is_seen_and_how_long(bridge, where):
    bridge.relay.ctl("pause", "ops")
    assert bridge.relay.send("ops", "--", "one").returncode == 0
    assert bridge.relay.send("ops", "--", "two").returncode == 0
    time.sleep(1.2)
    page = Page(where)
    assert page("xmpprelay_paused", destination="ops") == 1
    assert page("xmpprelay_entries", destination="ops", state="waiting") == 2
    assert page("xmpprelay_spool_entries") == 2
    assert 1 < page("xmpprelay_oldest_waiting_seconds", destination="ops") < 60

    bridge.relay.ctl("resume", "ops")
    wait_page(where, lambda p: p("xmpprelay_entries", destination="ops", state="waiting") == 0
              and p("xmpprelay_paused", destination="ops") == 0
              and p("xmpprelay_delivered_total", destination="ops") == 2)


def test_lost_session_is_seen(bridge, where):
    session, = children_of(bridge.relay.process.pid)
    os.kill(session, signal.SIGKILL)
    page = wait_page(where, lambda p: p("xmpprelay_session_starts_total", account="main") == 2
                     and p("xmpprelay_session_up", account="main") == 1
                     and p("xmpprelay_room_joined", destination="ops") == 1)
    assert page("xmpprelay_session_connects_total", account="main") == 2


def test_session_that_is_down_is_seen(bridge, place_of_metrics):
    bridge.relay.account["port"] = bridge.place.port()
    bridge.relay.start()
    bridge.relay.process.wait_log("ready; alerts waiting")
    page = wait_page(place_of_metrics,
                     lambda p: p("xmpprelay_session_starts_total", account="main") > 1)
    assert page("xmpprelay_session_up", account="main") == 0
    assert page("xmpprelay_session_connects_total", account="main") == 0
    assert page("xmpprelay_room_joined", destination="ops") == 0


def test_test_of_an_operator_is_seen(bridge, where):
    before = time.time()
    bridge.relay.ctl("test", "ops")
    page = Page(where)
    assert before < page("xmpprelay_test_success_timestamp_seconds", destination="ops") < time.time()
    assert 0 < page("xmpprelay_test_seconds", destination="ops") < 60
    assert page("xmpprelay_delivered_total", destination="ops") == 1
    # it is no answer to a sender
    assert page("xmpprelay_receipts_total", status="accepted") == 0


def test_paths_and_methods(where):
    def status(path, method="GET"):
        answer, text = request(where, path, method)
        return answer.status, text

    assert status("/metrics")[0] == 200
    assert status("/metrics?format=any")[0] == 200
    assert status("/") == (200, "xmpprelay: the metrics are at /metrics\n")
    assert status("/metric")[0] == 404
    assert status("/../../etc/passwd")[0] == 404
    assert status("/metrics", "HEAD") == (200, "")
    assert int(request(where, method="HEAD")[0].getheader("Content-Length")) > 5000
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "NONSENSE"):
        answer, text = request(where, "/metrics", method)
        assert (answer.status, answer.getheader("Allow")) == (405, "GET, HEAD"), method


def test_unix_socket_has_its_mode_and_goes_with_the_relay(bridge):
    path = bridge.relay.folder / "metrics.sock"
    bridge.relay.extra += (f'metrics: {{ listen = "unix:{path}"; mode = "0640"; '
                           f'group = "{bridge.relay.group}"; }};\n')
    bridge.relay.start()
    bridge.relay.process.wait_log("ready; alerts waiting")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert path.group() == bridge.relay.group
    assert Page(str(path))("xmpprelay_start_time_seconds") > 0
    bridge.relay.stop()
    assert not path.exists()


def test_ipv6(bridge):
    port = bridge.place.port()
    listen(bridge.relay, f"[::1]:{port}")
    bridge.relay.start()
    bridge.relay.process.wait_log("ready; alerts waiting")
    assert Page(("::1", port))("xmpprelay_start_time_seconds") > 0


def test_hup_turns_them_on_moves_them_and_turns_them_off(bridge):
    relay = bridge.relay
    first, second = bridge.place.port(), bridge.place.port()
    bridge.start_reader()
    relay.start().wait_ready()
    assert relay.send("-w", "delivered", "ops", "--", "before").returncode == 0

    listen(relay, f"127.0.0.1:{first}")
    relay.write()
    hup(relay)
    page = Page(("127.0.0.1", first))
    # what was counted while nobody could ask is not lost
    assert page("xmpprelay_delivered_total", destination="ops") == 1
    assert page("xmpprelay_reloads_total", result="success") == 1

    listen(relay, f"0.0.0.0:{first}")
    relay.write()
    hup(relay)
    assert Page(("127.0.0.1", first))("xmpprelay_reloads_total", result="success") == 2

    listen(relay, f"127.0.0.1:{second}")
    relay.write()
    hup(relay)
    assert Page(("127.0.0.1", second))("xmpprelay_reloads_total", result="success") == 3
    with pytest.raises(ConnectionRefusedError):
        Page(("127.0.0.1", first))

    listen(relay, "")
    relay.write()
    hup(relay)
    with pytest.raises(ConnectionRefusedError):
        Page(("127.0.0.1", second))


def test_reload_that_fails_is_counted_and_keeps_what_is_there(bridge, where):
    relay = bridge.relay
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen(relay, "127.0.0.1:%d" % taken.getsockname()[1])
        relay.write()
        hup(relay, r"metrics\.listen: can't listen on 127\.0\.0\.1:\d+: another process listens "
                   r"there: stop it, or choose another port; keeping the old configuration")
    page = Page(where)
    assert page("xmpprelay_reloads_total", result="failure") == 1
    assert page("xmpprelay_last_reload_successful") == 0

    listen(relay, "127.0.0.1:%d" % where[1])
    relay.write()
    hup(relay)
    page = Page(where)
    assert page("xmpprelay_reloads_total", result="failure") == 1
    assert page("xmpprelay_reloads_total", result="success") == 1
    assert page("xmpprelay_last_reload_successful") == 1


def test_destination_that_a_reload_takes_away_keeps_its_counters_only(bridge, where):
    relay = bridge.relay
    relay.rooms["night"] = f"{bridge.name}-night@{bridge.server.rooms}"
    relay.write()
    hup(relay)
    relay.wait_ready()
    assert relay.send("-w", "delivered", "night", "--", "said").returncode == 0
    del relay.rooms["night"]
    relay.write()
    hup(relay)
    relay.wait_ready()

    page = Page(where)
    assert page("xmpprelay_delivered_total", destination="night") == 1
    assert page("xmpprelay_room_joined", destination="night") is None
    assert page("xmpprelay_room_joined", destination="ops") == 1
    assert page("xmpprelay_session_starts_total", account="main") == 3


def test_port_that_is_taken_is_told_at_start(bridge, place_of_metrics):
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(place_of_metrics)
        taken.listen()
        bridge.relay.write()
        assert bridge.relay.check().returncode == 0
        bridge.relay.process.start()
        assert bridge.relay.process.wait() == 69
    assert (f"metrics.listen: can't listen on 127.0.0.1:{place_of_metrics[1]}: another process "
            "listens there: stop it, or choose another port" in bridge.relay.process.log_text())


def sockets_of(pid):
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.add(os.readlink(entry))
        except OSError:
            pass
    return {name for name in found if name.startswith("socket:")}


def test_session_processes_have_nothing_of_it(bridge, where):
    with socket.create_connection(where):
        session, = children_of(bridge.relay.process.pid)
        os.kill(session, signal.SIGKILL)
        wait_until(lambda: children_of(bridge.relay.process.pid) not in ([], [session]), "a session")
        bridge.relay.wait_ready()
        session, = children_of(bridge.relay.process.pid)
        assert sockets_of(bridge.relay.process.pid)
        assert not sockets_of(bridge.relay.process.pid) & sockets_of(session)


def asked_in(relay, count=40):
    """How long receipts take, in seconds: the median and the longest."""
    sender = Sender(relay)
    times = []
    for n in range(count):
        began = time.monotonic()
        assert sender.ask({"id": f"t-{time.monotonic_ns()}", "text": f"alert {n}"}) == "accepted"
        times.append(time.monotonic() - began)
    return statistics.median(times), max(times)


def test_clients_that_behave_badly_do_not_hold_up_receipts(bridge, where):
    relay = bridge.relay
    quiet, _ = asked_in(relay)
    clients = []
    try:
        for n in range(50):
            client = socket.create_connection(where, timeout=5)
            clients.append(client)
            if n % 3 == 1:
                client.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: ")
            elif n % 3 == 2:
                client.send(os.urandom(4000))
        busy, longest = asked_in(relay)
        assert busy < max(10 * quiet, 0.2), f"{busy} s, {quiet} s without them"
        assert longest < 2
        cpu = cpu_seconds(relay.process.pid)
        time.sleep(2)
        assert cpu_seconds(relay.process.pid) - cpu < 1
        # They have their time, then whoever waits has his turn, though they stay.
        assert Page(where)("xmpprelay_receipts_total", status="accepted") == 80
    finally:
        for client in clients:
            client.close()


def test_flood_of_requests_does_not_hold_up_receipts(bridge, where):
    child = os.fork()
    if child == 0:
        while True:
            try:
                with socket.create_connection(where, timeout=5) as client:
                    client.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
                    while client.recv(65536):
                        pass
            except OSError:
                pass
    try:
        time.sleep(0.5)
        median, longest = asked_in(bridge.relay)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert median < 0.5 and longest < 3, (median, longest)
    bridge.reader.wait_message("alert 39")


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
