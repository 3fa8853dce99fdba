# SPDX-License-Identifier: MIT
"""Clocks that are wrong, and clocks that jump; in the daemons alone, by clock.c."""

import struct
import time
from pathlib import Path

from support.place import run as command

from .network import cut_before_the_echo, with_proxy
from .scenario import scenario

HOUR = 3600


def faked(run):
    """Both daemons read the time plus what stands in a file; the session processes, which get
    none of their environment, the true time, as the server does."""
    with_proxy(run)
    library = run.place / "clock.so"
    command(["cc", "-shared", "-fPIC", "-O1", "-o", library, Path(__file__).with_name("clock.c")],
            check=True)
    run.clock = run.place.file("clock", "", mode=0o644)
    run.clock.write_bytes(struct.pack("q", 0))
    for daemon in (run.milterd, run.relay):
        daemon.process.env |= {"LD_PRELOAD": str(library), "CLOCK_OFFSET": str(run.clock)}
        if run.world.sanitizers:  # whose library wants to be the first
            options = daemon.process.env.get("ASAN_OPTIONS", "")
            daemon.process.env["ASAN_OPTIONS"] = f"{options}:verify_asan_link_order=0"


def set_clock(run, seconds):
    """At one stroke, for both."""
    with open(run.clock, "r+b", buffering=0) as clock:
        clock.write(struct.pack("q", seconds))


def jump_and_cut(run, *jumps):
    """After each jump the connection is cut while messages are there that nobody confirmed."""
    for part, jump in enumerate(jumps):
        run.some_are_through(0.1 + part * 0.25, 0.2 + part * 0.25)
        run.begin()
        set_clock(run, jump)
        cut_before_the_echo(run)
        run.over()


@scenario("clock-ahead", "the daemons' clock is an hour ahead of the server's", prepare=faked,
          mails=300, seconds=10)
def clock_ahead(run):
    jump_and_cut(run, HOUR, HOUR, HOUR)


@scenario("clock-behind", "the daemons' clock is an hour behind the server's", prepare=faked,
          mails=300, seconds=10)
def clock_behind(run):
    jump_and_cut(run, -HOUR, -HOUR, -HOUR)


@scenario("clock-jumps", "the daemons' clock jumps to and fro, by hours", prepare=faked,
          mails=300, seconds=10)
def clock_jumps(run):
    jump_and_cut(run, 3 * HOUR, -5 * HOUR, 0)


@scenario("clock-in-1970", "the daemons' clock falls back to 1970, as without a battery",
          prepare=faked, mails=300, seconds=10)
def clock_in_1970(run):
    jump_and_cut(run, -int(time.time()) + HOUR, 0)
