# SPDX-License-Identifier: MIT
"""Configurations with mistakes in them: all are told, each with its place, and nothing starts."""

import re
import signal
from pathlib import Path

import pytest

from support import mails
from support.daemons import as_user
from support.place import run, wait_until

EX_CONFIG = 78


def break_it(daemon, old, new):
    """Writes the configuration with one mistake; gives the line it is on."""
    text = daemon.text()
    assert old in text, f"{old!r} is not in the configuration:\n{text}"
    text = text.replace(old, new, 1)
    daemon.write(text)
    return text[:text.index(new)].count("\n") + 1


def assert_told(daemon, line, *words):
    done = daemon.check()
    assert done.returncode == EX_CONFIG, done.stderr
    lines = [found for found in done.stderr.splitlines()
             if re.search(rf"{re.escape(str(daemon.config))}:{line}: ", found)]
    assert lines, f"nothing about line {line}:\n{done.stderr}"
    for word in words:
        assert any(word in found for found in lines), f"no {word!r} in:\n{done.stderr}"


def test_good_configurations_pass(bridge):
    for daemon in (bridge.milterd, bridge.relay):
        daemon.write()
        done = daemon.check()
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith(": the configuration is good.\n")


@pytest.mark.parametrize("old, new, words", [
    ("workers = 2", 'wrokers = 2', ["wrokers", "workers"]),
    ("workers = 2", 'workers = "two"', ["workers"]),
    ("workers = 2", "workers = -1", ["workers"]),
    ('listen_mode = "0660"', 'listen_mode = "0999"', ["listen_mode", "0999"]),
    ('glob = "*ALERT*"', 'golb = "*ALERT*"', ["golb", "glob"]),
    ('glob = "*ALERT*"', 'regex = "ALERT("', ["regex"]),
    ("subject:", "subjcet:", ["subjcet", "subject"]),
    ('to = [ "ops" ];', 'to = [ "ops" ]; verdict = "bounce";', ["bounce", "tempfail"]),
    ('to = [ "ops" ];', 'to = [ "ops" ]; max_bytes = "4 parsecs";', ["max_bytes", "4 parsecs"]),
    ('{ subject: { glob = "*ALERT*"; }; }', '{ client: { cidr = "10.0.0.0/33"; }; }', ["10.0.0.0/33"]),
    ('name = "alerts";', "", ["name"]),
])
def test_mistake_in_milterd_conf_is_told_with_its_line(bridge, old, new, words):
    if not new:
        text = bridge.milterd.text()
        bridge.milterd.write(text.replace(old, "", 1))
        line = text[:text.index(old)].count("\n") + 1
    else:
        line = break_it(bridge.milterd, old, new)
    assert_told(bridge.milterd, line, *words)


def test_wrong_listen_address_is_told(bridge):
    line = break_it(bridge.milterd, 'listen = "unix:', 'listen = "unx:')
    assert_told(bridge.milterd, line, "unx:")


@pytest.mark.parametrize("old, new, words", [
    ('account = "main"; room', 'account = "mian"; room', ["mian"]),
    ('tls = "starttls"', 'tls = "none"', ["tls", "none", "starttls"]),
    ('mode = "0660"', 'mod = "0660"', ["mod", "mode"]),
    ("port = ", "port = 9", ["port"]),
    ('default_destination = "ops"', 'default_destination = "opps"', ["opps"]),
    ('backoff = "200ms"', 'backoff = "200"', ["backoff", "200"]),
])
def test_mistake_in_xmpprelay_conf_is_told_with_its_line(bridge, old, new, words):
    line = break_it(bridge.relay, old, new)
    assert_told(bridge.relay, line, *words)


def test_room_that_is_no_address_is_told(bridge):
    line = break_it(bridge.relay, f'room = "{bridge.room}"', 'room = "ops room@"')
    assert_told(bridge.relay, line, "room")


def test_password_file_that_others_may_read_is_refused(bridge):
    bridge.relay.set_password("alertbot-secret", mode=0o444)
    bridge.relay.write()
    done = bridge.relay.check()

    assert done.returncode == EX_CONFIG
    assert str(bridge.relay.password_file) in done.stderr
    assert "alertbot-secret" not in done.stderr


def test_syntax_error_is_told_with_its_line(bridge):
    for daemon in (bridge.milterd, bridge.relay):
        daemon.write(daemon.text() + "\nthis is = = not libconfig\n")
        done = daemon.check()
        assert done.returncode == EX_CONFIG
        assert re.search(rf"{re.escape(str(daemon.config))}:\d+: ", done.stderr), done.stderr


def test_several_mistakes_are_told_at_once(bridge):
    text = (bridge.milterd.text().replace("workers", "wrokers").replace("glob", "golb")
            .replace('listen_mode = "0660"', 'listen_mode = "worldwide"'))
    bridge.milterd.write(text)
    done = bridge.milterd.check()

    assert done.returncode == EX_CONFIG
    for word in ("wrokers", "golb", "worldwide"):
        assert word in done.stderr


def test_daemon_with_a_mistake_does_not_start(bridge):
    bridge.milterd.write(bridge.milterd.text().replace("workers", "wrokers"))
    bridge.milterd.process.start()
    assert bridge.milterd.process.wait() == EX_CONFIG
    bridge.relay.write(bridge.relay.text().replace("starttls", "startls"))
    bridge.relay.process.start()
    assert bridge.relay.process.wait() == EX_CONFIG


def test_missing_file_is_told_by_its_name(bridge):
    bridge.milterd.config.unlink(missing_ok=True)
    done = bridge.milterd.check()

    assert done.returncode == EX_CONFIG
    assert str(bridge.milterd.config) in done.stderr


def test_reload_with_a_mistake_keeps_the_old_configuration(running):
    running.milterd.write(running.milterd.text().replace("glob", "golb"))
    running.milterd.process.send_signal(signal.SIGHUP)
    running.milterd.process.wait_log("keep")

    assert running.send(mails.plain("ALERT as before"))[0] == 250
    running.reader.wait_message("ALERT as before")


def test_reload_takes_a_new_rule(running):
    running.milterd.rules = running.milterd.rules.replace("*ALERT*", "*NOTICE*")
    running.milterd.write()
    running.milterd.process.send_signal(signal.SIGHUP)

    def new_rule():
        running.send(mails.plain("NOTICE of a new rule"))
        return running.reader.messages("NOTICE of a new rule")
    wait_until(new_rule, "the new rule to hold", interval=0.5)


@pytest.mark.parametrize("name", ["milterd", "xmpprelay"])
def test_effective_configuration_is_a_configuration(bridge, name):
    daemon = bridge.milterd if name == "milterd" else bridge.relay
    daemon.write()
    done = as_user(daemon.user, [bridge.programs[name], "-c", daemon.config, "--dump-config"],
                   groups=["postfix", "daemon"])
    assert done.returncode == 0, done.stderr

    daemon.write(done.stdout)
    again = daemon.check()
    assert again.returncode == 0, again.stderr


def test_example_of_xmpprelay_conf_says_what_to_fill_in(bridge):
    example = Path(__file__).parents[2] / "packaging" / "xmpprelay.conf"
    done = run([bridge.relay.programs["xmpprelay"], "-c", example])
    assert done.returncode == EX_CONFIG
    told = done.stderr.splitlines()

    for line, word in zip(told, ("jid", "password", "room")):
        number = int(re.match(rf"{example}:(\d+): ", line).group(1))
        assert word in line
        assert word in example.read_text().splitlines()[number - 1]
    assert len(told) == 4 and "not starting" in told[3] and str(example) in told[3]
