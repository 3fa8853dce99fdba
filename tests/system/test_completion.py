# SPDX-License-Identifier: MIT
"""What bash offers when somebody presses the tabulator."""

import re
from pathlib import Path

import pytest

from support.place import run

FOLDER = Path(__file__).parent.parent.parent / "packaging" / "completion"
FILES = {"milterd": "milterd", "milterd-canary": "milterd", "xmpprelay": "xmpprelay", "xmpprelayctl": "xmpprelay",
         "xmpprelay-send": "xmpprelay"}

# As readline does it, but for the reading of lines.
SCRIPT = """
set -u
. "$1"
program=$2
shift 2
COMP_WORDS=("$program" "$@")
COMP_CWORD=$#
name=${program##*/}
function=$(complete -p "$name" | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
"$function" "$name" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def complete(programs, name, *words, env=None):
    """The words that are offered for the last of `words`."""
    path = f"{programs.folder}:/usr/bin:/bin"
    done = run(["bash", "-c", SCRIPT, "bash", FOLDER / FILES[name], programs[name], *words],
               check=True, env={"PATH": path, "LC_ALL": "C.UTF-8",
                                "ASAN_OPTIONS": "detect_leaks=0"} | (env or {}))
    assert not done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("name", FILES)
def test_every_long_option_is_offered_of(name, programs):
    help_text = run([programs[name], "--help"], check=True,
                    env={"ASAN_OPTIONS": "detect_leaks=0", "PATH": "/usr/bin"}).stdout
    offered = complete(programs, name, "--")

    assert {option.rstrip("=") for option in offered} == set(
        re.findall(r"--[a-z][a-z-]+", help_text))
    assert "--version" in complete(programs, name, "--ver")


def test_every_command_of_xmpprelayctl_is_offered(programs):
    help_text = run([programs["xmpprelayctl"], "--help"], check=True,
                    env={"ASAN_OPTIONS": "detect_leaks=0", "PATH": "/usr/bin"}).stdout
    commands = re.findall(r"^  ([a-z]+)", help_text, re.M)

    assert len(commands) > 5
    assert complete(programs, "xmpprelayctl", "--json", "") == commands
    assert complete(programs, "xmpprelayctl", "-T", "5s", "re") == ["retry", "resume"]


@pytest.mark.parametrize("words, offered", [
    (["-s", "w"], ["warning"]), (["--severity", "=", "cr"], ["critical"]),
    (["--wait", "="], ["accepted", "delivered", "none"]), (["-t", ""], []),
    (["ops", "--", "o"], []),
])
def test_values_are_offered_of_xmpprelay_send(words, offered, programs):
    assert complete(programs, "xmpprelay-send", *words) == offered


@pytest.mark.parametrize("name, words", [
    ("milterd", ["-c"]), ("milterd", ["--config", "="]), ("milterd", ["--explain"]),
    ("xmpprelay", ["-c"]), ("xmpprelayctl", ["--socket"]), ("xmpprelay-send", ["--socket", "="]),
    ("milterd-canary", ["-m"]), ("milterd-canary", ["--sendmail", "="]),
])
def test_files_are_offered_of(name, words, programs, place):
    file = place.file("some file.conf", "")
    done = run(["bash", "-c", SCRIPT, "bash", FOLDER / FILES[name], programs[name], *words,
                str(file)[:-6]], check=True)

    assert done.stdout == f"{file}\n"


def test_nothing_is_offered_and_nothing_said_where_no_relay_answers(programs):
    assert complete(programs, "xmpprelayctl", "-s", "/nowhere/control.sock", "test", "") == []


def test_destinations_and_ids_are_offered_of_a_running_relay(bridge):
    bridge.start(milterd=False)
    relay, programs = bridge.relay, bridge.programs
    relay.ctl("pause", "ops")
    assert relay.send("-i", "waits-1", "ops", "--", "text").returncode == 0
    assert relay.send("-i", "drop-1", "ops", "--", "text").returncode == 0
    relay.ctl("drop", "drop-1")
    socket = ["--socket", "=", str(relay.control)]

    assert complete(programs, "xmpprelayctl", *socket, "test", "") == ["ops"]
    assert complete(programs, "xmpprelayctl", *socket, "drop", "") == ["waits-1"]
    assert complete(programs, "xmpprelayctl", *socket, "show", "") == ["waits-1", "drop-1"]
    assert complete(programs, "xmpprelayctl", *socket, "retry", "") == ["all"]
    assert complete(programs, "xmpprelayctl", *socket, "show", "waits-1", "") == []
    relay.ctl("resume", "ops")
    bridge.reader.wait_message("text")
