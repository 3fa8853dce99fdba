# SPDX-License-Identifier: MIT
"""The programs that xmpprelay-protocol(7) has as examples, run as a reader would copy them."""

import re
import textwrap
from pathlib import Path

import pytest

from support.place import run

PAGE = Path(__file__).parent.parent.parent / "packaging" / "man" / "xmpprelay-protocol.7"
SOCKET = "/run/xmpprelay/relay.sock"


def examples():
    """What stands in blocks of their own, by the sentence above each."""
    text = re.sub(r".\x08", "", run(["mandoc", "-T", "utf8", PAGE], check=True).stdout)
    section = re.search(r"^EXAMPLES\n(.*?)^\S", text, re.M | re.S)[1]
    # Paragraphs are indented by five, blocks by more.
    parts = re.split(r"^ {5}(\S.*(?:\n {5}\S.*)*)\n", section, flags=re.M)[1:]
    return {" ".join(sentence.split()): textwrap.dedent(block).strip("\n") + "\n"
            for sentence, block in zip(parts[::2], parts[1::2])}


def example(word, relay):
    found = [block for sentence, block in examples().items() if re.search(rf"\b{word}\b", sentence)]
    assert len(found) == 1, f"examples in {word}: {len(found)}"
    assert found[0].count(SOCKET) == 1
    return found[0].replace(SOCKET, str(relay.socket))


@pytest.fixture
def running(bridge):
    return bridge.start(milterd=False)


def test_every_example_of_the_protocol_is_run_here():
    assert len(examples()) == 4


def test_example_in_shell_is_said(running, place):
    script = place.file("example.sh", example("shell", running.relay))
    run(["sh", "-e", script], check=True)

    assert "*Backup*" in running.reader.wait_message("tape 3 is full")["body"]


def test_example_in_python_is_said_and_has_its_receipt(running, place):
    script = place.file("example.py", example("Python", running.relay))

    assert run(["/usr/bin/python3", script], check=True).stdout == "accepted \n"
    body = running.reader.wait_message("tape 3 is full")["body"]
    assert "🟡 WARNING *Backup*\nhost: nas1 · job: nightly\n" in body
    # It has an id: sent once more it is not said once more.
    assert run(["/usr/bin/python3", script], check=True).stdout == "duplicate \n"


def test_example_in_perl_is_said_and_has_its_receipt(running, place):
    script = place.file("example.pl", example("Perl", running.relay))

    assert run(["perl", script], check=True).stdout == "accepted \n"
    assert "🟡 WARNING *Backup*" in running.reader.wait_message("tape 4 is full")["body"]


def test_example_in_perl_prints_why_it_is_refused(running, place):
    text = example("Perl", running.relay).replace('"ops"', '"nowhere"')
    script = place.file("example.pl", text)

    assert run(["perl", script], check=True).stdout == \
        'refused unknown destination "nowhere"\n'


def test_example_in_c_is_said_and_has_its_receipt(running, place):
    source = place.file("example.c", example("C", running.relay))
    program = place / "example"
    run(["cc", "-Wall", "-Wextra", "-Werror", "-o", program, source], check=True)

    assert '"status":"accepted"' in run([program], check=True).stdout
    assert "*Backup*" in running.reader.wait_message("tape 5 is full")["body"]
