# SPDX-License-Identifier: MIT
"""A server that says no: to so much, to a message, to the account."""

import re
import time

from support.prosody import DOMAIN, folder_name
from support.place import own, wait_until

from .scenario import scenario

SMALL_STANZA = 12000  # Prosody allows no less than 10000


def narrow(run):
    """8 kB/s for each connection."""
    run.configure_server(
        prosody=[('"ping", "private", "smacks"', '"ping", "private", "smacks", "limits"'),
                 ('storage = "internal"',
                  'storage = "internal"\nlimits = { c2s = { rate = "8kb/s", burst = "1s" } }')],
        ejabberd=[("    module: ejabberd_c2s\n", "    module: ejabberd_c2s\n    shaper: narrow\n"),
                  ("auth_method: internal\n",
                   "auth_method: internal\nshaper:\n  narrow: 8000\n")])


@scenario("rate-of-bytes", "the server takes 8 kB/s from a connection", prepare=narrow,
          mails=300, seconds=8)
def rate_of_bytes(run):
    run.some_are_through()
    run.begin()
    run.over()


def slow_room(run):
    run.configure_server(ejabberd=[("    history_size: 20\n",
                                    "    history_size: 20\n    min_message_interval: 0.3\n")])


@scenario("rate-of-messages", "the room takes a message each 0.3 s and refuses the others",
          prepare=slow_room, servers=("ejabberd",), mails=90, seconds=8)
def rate_of_messages(run):
    run.some_are_through()
    run.begin()
    run.over()


def small_stanzas(run):
    run.relay.extra += 'delivery: { max_size = "32K"; };\n'
    run.milterd.rules = run.milterd.rules.replace(
        "to = ", 'max_lines = 1000; max_bytes = "32K"; to = ')
    run.load.poison = {run.chance.randrange(20, run.scenario.mails - 20)}
    run.configure_server(
        prosody=[('storage = "internal"',
                  f'storage = "internal"\nc2s_stanza_size_limit = {SMALL_STANZA}')],
        ejabberd=[("max_stanza_size: 262144", f"max_stanza_size: {SMALL_STANZA}")])


@scenario("stanza-too-large", "the server ends the stream over one message that is too large for "
          "it: it is set aside after two tries, and all others arrive", prepare=small_stanzas)
def stanza_too_large(run):
    number, = run.load.poison
    wait_until(lambda: number in run.load.accepted, "the large mail to be taken")
    run.begin()
    names = run.load.names(number)
    wait_until(lambda: run.relay.status()["failed"] == len(names),
               "the large message to be set aside", timeout=120)
    run.over()
    told = len(re.findall(r"failed, set aside: ", run.relay.process.log_text()))
    if told != len(names):
        run.problem(f"the log tells {told} times, not {len(names)} times, that it is set aside")
    # Prosody may reset the connection so fast that nobody hears why: such an end proves nothing.
    ended = len(re.findall(r"violated its policy", run.relay.process.log_text()))
    # With others in flight, then alone twice at most, for each destination.
    if ended > 3 * len(names):
        run.problem(f"the stream was ended {ended} times for it")


def set_password(run, password):
    if run.kind == "ejabberd":
        run.server.ctl("change_password", "alertbot", DOMAIN, password)
        return
    path = run.place / f"prosody/data/{folder_name(DOMAIN)}/accounts/alertbot.dat"
    path.write_text(f'return {{ ["password"] = "{password}" }};\n')
    own(path, "prosody", None, 0o640)


@scenario("not-authorized", "the account's password is another one for 40 s", mails=300,
          seconds=40)
def not_authorized(run):
    run.some_are_through(0.05, 0.1)
    run.begin()
    set_password(run, "another-secret")
    run.helpers.append(Restore(run))
    run.drop_connection()
    began = time.monotonic()
    run.relay.process.wait_log("refused the password")
    run.wait(run.lasts(40, 10))
    tries = len(re.findall("refused the password", run.relay.process.log_text()))
    # Waits of 1 s and more, each twice the former, less a quarter at most; --quick has 0.2 to 2 s.
    most = 12 if run.quick else 8
    if tries > most:
        run.problem(f"{tries} tries with a wrong password in {time.monotonic() - began:.0f} s")
    account, = run.relay.status()["accounts"]
    if "password" not in account.get("reason", ""):
        run.problem(f"the status does not tell why there is no connection: {account}")
    set_password(run, "alertbot-secret")
    run.over()


class Restore:
    """Puts back the account's password."""

    def __init__(self, run):
        self.run = run

    def close(self):
        set_password(self.run, "alertbot-secret")
