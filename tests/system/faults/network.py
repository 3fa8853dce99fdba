# SPDX-License-Identifier: MIT
"""A bad network between the relay and the server."""

import re
import time

from support.place import Failure, wait_until

from .proxy import Proxy
from .scenario import scenario

GIVEN_UP = 30  # seconds; the relay's limit for a silent server
SLACK = 3  # a machine that is busy


def with_proxy(run):
    run.proxy = Proxy(run.place.port(), run.server.port, run.seed)
    run.helpers.append(run.proxy)
    run.relay.account["port"] = run.proxy.port


def bad_for(run, mode, seconds, delay=0.0):
    run.some_are_through(0.1, 0.3)
    run.begin()
    run.proxy.become(mode, delay)
    run.wait(seconds)
    run.proxy.become("pass")
    run.over()


def ends(run):
    """How often a session has ended, says the relay's log."""
    return len(re.findall(r"session main ended", run.relay.process.log_text()))


def must_be_given_up(run, before, since):
    """The session of a silent server is to end in time."""
    try:
        wait_until(lambda: ends(run) > before, "", GIVEN_UP + 15, interval=0.1)
    except Failure:
        run.problem(f"a silent server was not given up within {GIVEN_UP + 15} s")
        return
    took = time.monotonic() - since
    if took > GIVEN_UP + SLACK:
        run.problem(f"a silent server was given up after {took:.1f} s only")
    # Once for each time, with what happens next.
    told = re.findall(r"session main ended: .+; next try in \S+", run.relay.process.log_text())
    if len(told) != ends(run) or len(told) != before + 1:
        run.problem(f"the log tells of {ends(run)} ends, not of {before + 1}: {told[-3:]}")


@scenario("port-closed", "nobody listens at the server's port for 15 s", prepare=with_proxy,
          mails=300, seconds=15, short=True)
def port_closed(run):
    bad_for(run, "refuse", run.lasts(15, 3))


@scenario("silent-from-the-start", "the server's port takes connections and says nothing",
          prepare=with_proxy, mails=300, seconds=40)
def silent_from_the_start(run):
    run.some_are_through(0.05, 0.2)
    run.begin()
    run.proxy.become("refuse")
    attempts = run.proxy.attempts
    run.proxy.become("silent")
    wait_until(lambda: run.proxy.attempts > attempts, "the relay to connect")
    since = time.monotonic()
    must_be_given_up(run, ends(run), since)
    run.proxy.become("pass")
    run.over()


@scenario("silent-in-the-handshake", "the server goes silent in the middle of the TLS handshake",
          prepare=with_proxy, mails=300, seconds=40)
def silent_in_the_handshake(run):
    run.some_are_through(0.05, 0.2)
    run.begin()
    attempts = run.proxy.attempts
    run.proxy.become("handshake")
    run.proxy.reset()
    wait_until(lambda: run.proxy.attempts > attempts, "the relay to connect")
    since = time.monotonic()
    must_be_given_up(run, ends(run), since)
    run.proxy.become("pass")
    run.over()


@scenario("silent-in-the-stream", "nothing arrives any more, without an end of the connection",
          prepare=with_proxy, mails=300, seconds=40)
def silent_in_the_stream(run):
    run.some_are_through(0.05, 0.2)
    run.begin()
    before, since = ends(run), time.monotonic()
    run.proxy.become("silent")
    must_be_given_up(run, before, since)
    run.proxy.become("pass")
    run.over()


@scenario("silent-shortly", "nothing arrives for less than any limit, and then all of it",
          prepare=with_proxy, mails=300, seconds=10)
def silent_shortly(run):
    bad_for(run, "silent", run.chance.uniform(1, 5))


@scenario("reset-in-mid-stanza", "the connection is reset in the middle of a stanza, four times",
          prepare=with_proxy, mails=400, seconds=12, short=True)
def reset_in_mid_stanza(run):
    for part in range(4):
        run.some_are_through(0.1 + part * 0.2, 0.2 + part * 0.2)
        run.begin()
        before = ends(run)
        run.proxy.reset_in_mid_stanza(run.chance.choice(["in", "out"]))
        wait_until(lambda: ends(run) > before or run.load.done, "the session to end")
        run.over()


def cut_before_the_echo(run):
    """Messages reach the room, and the connection ends before their echoes come back."""
    run.proxy.become("no-answer")
    wait_until(lambda: run.relay.status()["in_flight"] >= 8 or run.load.done,
               "messages to be in flight", interval=0.02)
    run.wait(run.chance.uniform(0.1, 0.6))  # until the server has them
    run.proxy.reset()
    run.proxy.become("pass")


@scenario("cut-before-the-echo", "the connection ends when the room has messages whose echoes did "
          "not arrive, four times", prepare=with_proxy, mails=400, seconds=12)
def cut_before_the_echoes(run):
    for part in range(4):
        run.some_are_through(0.1 + part * 0.2, 0.2 + part * 0.2)
        run.begin()
        cut_before_the_echo(run)
        run.over()


def in_the_clear(run):
    with_proxy(run)
    run.relay.account["tls"] = "insecure-none"
    # Others come behind it for as long as it takes: alone it would only be tried again.
    number = run.chance.randrange(20, run.scenario.mails // 2)
    run.load.poison = {number}
    run.proxy.forbidden = f"number {number}.".encode()
    run.configure_server(
        prosody=[("c2s_require_encryption = true", "c2s_require_encryption = false")],
        ejabberd=[("starttls_required: true", "starttls_required: false")])


@scenario("cut-upon-a-message", "the connection is reset each time that one message is on its way: "
          "while others come it is set aside, and they arrive", prepare=in_the_clear, seconds=40,
          short=True)
def cut_upon_a_message(run):
    number, = run.load.poison
    wait_until(lambda: number in run.load.accepted, "the mail to be taken")
    run.begin()
    names = run.load.names(number)
    wait_until(lambda: run.relay.status()["failed"] == len(names),
               "the message to be set aside", timeout=90)
    run.over()


@scenario("latency", "all takes 3 s each way, for 30 s", prepare=with_proxy, mails=200, seconds=20)
def latency(run):
    bad_for(run, "latency", run.lasts(30, 8), delay=run.lasts(3.0, 0.8))


@scenario("loss", "one in five packets is lost, for 30 s", prepare=with_proxy, mails=300,
          seconds=20)
def loss(run):
    bad_for(run, "loss", run.lasts(30, 8))


@scenario("flapping", "the network is there and away in turns of seconds", prepare=with_proxy,
          mails=400, seconds=20)
def flapping(run):
    run.some_are_through(0.05, 0.1)
    run.begin()
    for _ in range(6):
        run.proxy.become(run.chance.choice(["refuse", "silent"]))
        run.wait(run.chance.uniform(0.2, 2.5))
        run.proxy.become("pass")
        run.wait(run.chance.uniform(0.2, 2.5))
    run.over()
