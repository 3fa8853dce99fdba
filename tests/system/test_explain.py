# SPDX-License-Identifier: MIT
"""milterd --explain, as an operator uses it: no daemon, no MTA, no relay."""

import json
import os
import subprocess

import pytest

from support import mails, measure, samples
from support.daemons import as_user, command_environment

FROM_LINE = b"From root@client.mail.test Sat Nov 21 06:25:01 2026\n"

CONFIG = """
listen = "unix:/no/such/folder/milter.sock";
listen_group = "no-such-group";
relay: { socket = "/no/such/folder/relay.sock"; };
rules: (
  { name = "cron"; match: { subject: { glob = "Cron <*"; }; }; to = [ "ops" ];
    trust = [ "local" ]; verdict = "discard"; },
  { name = "nms"; match: { from = "nms@nms.example.org"; }; to = [ "ops" ]; }
);
"""

MAILS = (mails.CRON, mails.NAGIOS_PROBLEM, mails.NAGIOS_RECOVERY, mails.LETTER)


@pytest.fixture
def folder(place):
    folder = place.folder("explain", "daemon")
    place.file("explain/milterd.conf", CONFIG)
    (folder / "mbox").write_bytes(b"".join(FROM_LINE + m.encode() + b"\n" for m in MAILS))
    return folder


@pytest.fixture
def explain(folder, programs):
    """Runs it; gives what it says and its exit status."""
    def run(*arguments, stdin=None):
        return subprocess.run(
            [programs["milterd"], "--explain", "-c", folder / "milterd.conf", *arguments],
            input=stdin, capture_output=True, env=command_environment(), timeout=120, check=False)
    return run


def lines_of(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_any_user_may_ask_and_nothing_needs_to_run(folder, programs):
    done = as_user("nobody", [programs["milterd"], "--explain", "-c", folder / "milterd.conf",
                              folder / "mbox"])

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "4  mails\n" in done.stdout


def test_mbox_on_standard_input_is_summed_up(explain, folder):
    done = explain(stdin=(folder / "mbox").read_bytes())

    assert done.returncode == 0
    rows = [line.split() for line in done.stdout.decode().splitlines()]
    assert ["1", "cron"] in [row[:2] for row in rows]
    assert ["2", "nms"] in [row[:2] for row in rows]
    assert "1 that no rule took".split() in rows
    assert b"free space" not in done.stdout


def test_each_mail_of_an_mbox_is_shown_on_demand(explain, folder):
    said = explain("--each", folder / "mbox").stdout.decode()

    assert said.count("==> ") == 4
    assert "==> {}, mail 2 <==\n".format(folder / "mbox") in said
    assert "verdict: discard\n" in said and "free space" in said


def test_one_mail_is_shown_whole(explain, folder):
    (folder / "one.eml").write_text(mails.CRON)
    said = explain(folder / "one.eml").stdout.decode()

    assert "==>" not in said
    assert "Zertifikat für mail.example.org" in said and "verdict: discard\n" in said


def test_how_an_alert_came_to_be_is_told(explain, folder):
    with open(folder / "milterd.conf", "a") as config:
        config.write(f'profiles = [ "{samples.PROFILES}" ];\n'
                     'redact: ( { name = "volume"; regex = "/srv/[a-z]+"; } );\n')
    (folder / "one.eml").write_text(mails.NAGIOS_PROBLEM)
    text = explain(folder / "one.eml").stdout.decode()
    alert, = lines_of(explain("--json", folder / "one.eml"))[0]["alerts"]

    for line in ("profile: nagios", "form: service", "key: nagios/db1/Disk Space", "redacted:"):
        assert f"\n{line}\n" in text
    assert (alert["profile"], alert["form"]) == ("nagios", "service")
    assert any("matches regex" in why for why in alert["why"])
    assert alert["record"]["key"] == "nagios/db1/Disk Space"
    assert any("volume" in name for name in alert["redacted"])
    assert "/srv/pg" not in alert["message"] and "812 MB" in alert["message"]


def test_programs_get_a_line_for_each_mail(explain, folder):
    said = lines_of(explain("--json", folder / "mbox"))

    assert [mail["number"] for mail in said] == [1, 2, 3, 4]
    assert [[alert["rule"] for alert in mail["alerts"]] for mail in said] == [
        ["cron"], ["nms"], ["nms"], []]
    assert [mail["verdict"] for mail in said] == ["discard", "continue", "continue", None]
    assert said[3]["subject"] == "Lunch on Thursday?"
    assert "812 MB" in said[1]["alerts"][0]["message"]
    assert said[1]["alerts"][0]["record"]["v"] == 1


def test_mail_that_cannot_be_read_fails_and_the_others_are_explained(explain, folder):
    done = explain("--json", folder / "not-there", folder / "mbox")
    said = lines_of(done)

    assert done.returncode == 66
    assert said[0]["file"].endswith("not-there") and "No such file" in said[0]["error"]
    assert len(said) == 5
    assert b"not-there" in done.stderr


def test_nothing_at_all_is_told(explain):
    done = explain(stdin=b"")

    assert done.returncode == 66
    assert done.stderr == b"milterd: standard input: there is no mail in it\n"


def test_large_mbox_needs_little_memory(folder, programs):
    mbox = folder / "large"
    with open(mbox, "wb") as file:
        for line in (b"x" * 65536, b"y" * 71 + b"\n"):
            file.write(FROM_LINE + mails.CRON.encode())
            for _ in range((64 << 20) // len(line)):
                file.write(line)
            file.write(b"\n\n")
        for _ in range(1000):
            file.write(FROM_LINE + mails.NAGIOS_PROBLEM.encode() + b"\n")
    environment = command_environment()
    # What is freed is kept back by the sanitizer for a while.
    environment["ASAN_OPTIONS"] = environment.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"
    with open(folder / "out", "wb") as out:
        usage = measure.run(
            [programs["milterd"], "--explain", "--json", "-c", folder / "milterd.conf", mbox],
            stdout=out, env=environment)

    assert usage.returncode == 0
    assert (folder / "out").read_bytes().count(b"\n") == 1002
    assert usage.memory_kib < 96 << 10
    mbox.unlink()
