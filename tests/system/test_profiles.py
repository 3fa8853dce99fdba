# SPDX-License-Identifier: MIT
"""Profiles, and what rules make of what they have read."""

import signal

import pytest

from support import mails
from support.place import own
from support.postfix import session_send

PROFILE = """
name = "ups"; about = "our UPS"; recognised = "the Subject";
forms: ( {
  name = "power";
  match: { subject: { regex = "^ALERT (?<unit>\\\\S+) on (?<source>battery|mains)$"; }; };
  read: ( { in = "body"; regex = "(?m)^Charge: (?<charge>.+)$"; } );
  set: {
    title = "${unit} runs on ${source}, says ${helo} by ${macro:daemon_name:-?}";
    text = "${charge:+${charge} left}";
    severity: { of = "${source}"; critical = "battery"; ok = "mains"; };
    state: { of = "${source}"; problem = "battery"; recovery = "mains"; };
    key = "ups/${unit}";
    fields: { unit = "${unit}"; };
  };
} );
"""


@pytest.fixture
def profiled(bridge):
    """A bridge whose milterd has one profile; not started."""
    write_profile(bridge, PROFILE)
    bridge.milterd.extra = 'profiles = "profiles";'
    return bridge


def write_profile(bridge, text):
    folder = bridge.milterd.folder / "profiles"
    folder.mkdir(exist_ok=True)
    path = folder / "ups.conf"
    path.write_text(text)
    for made, mode in ((folder, 0o755), (path, 0o644)):
        own(made, bridge.milterd.user, None, mode)


def test_mail_is_said_as_its_profile_reads_it(profiled):
    profiled.start()
    with profiled.postfix.session() as session:
        session.ehlo("ups.test")
        session_send(session, mails.plain("ALERT ups1 on battery", "Load: 12 %\nCharge: 80 %\n"))

    body = profiled.reader.wait_message("ups1 runs")["body"]
    assert body == ("🔴 CRITICAL *ups1 runs on battery, says ups.test by mx.mail.test*\n"
                    "```\n80 % left\n```")


def test_recovery_is_one(profiled):
    profiled.start()
    profiled.send(mails.plain("ALERT ups1 on mains", "\n"))

    body = profiled.reader.wait_message("ups1 runs")["body"]
    assert body.startswith("🟢 RECOVERY *ups1 runs on mains")
    assert "\n" not in body


def test_mail_that_no_profile_knows_is_said_all_the_same(profiled):
    profiled.start()
    profiled.send(mails.plain("ALERT ups1 on fire", "Run!\n"))

    body = profiled.reader.wait_message("on fire")["body"]
    assert body == "*ALERT ups1 on fire*\n```\nRun!\n```"


def test_rule_says_it_in_its_own_words(profiled):
    profiled.milterd.rules = """
      { name = "it"; match: { subject: { regex = "^ALERT (.)"; }; }; to = [ "ops" ];
        set: { severity = "warning"; };
        message = "Line ${1}: ${unit:-?} of ${profile} (${key})"; }"""
    profiled.start()
    profiled.send(mails.plain("ALERT ups1 on battery", "Charge: 80 %\n"))

    body = profiled.reader.wait_message("Line")["body"]
    assert body == "🟡 WARNING Line u: ups1 of ups (ups/ups1)"


def test_mail_that_a_rule_skips_is_not_said_and_has_its_verdict(profiled):
    profiled.milterd.rules = """
      { name = "gone"; match: { subject: { glob = "*ALERT test*"; }; }; skip = true;
        verdict = "discard"; },
      { name = "it"; match: { subject: { glob = "*ALERT*"; }; }; to = [ "ops" ]; }"""
    profiled.start()
    assert profiled.send(mails.plain("ALERT test of alerts"))[0] == 250
    assert profiled.send(mails.plain("ALERT in earnest"))[0] == 250

    profiled.reader.wait_message("ALERT in earnest")
    profiled.postfix.wait_delivered(b"ALERT in earnest")
    assert not profiled.postfix.delivered(b"ALERT test of alerts")
    assert not profiled.reader.messages("ALERT test")


def test_reload_with_a_mistake_in_a_profile_keeps_the_old_ones(profiled):
    profiled.start()
    write_profile(profiled, PROFILE.replace("${unit} runs", "${nuit} runs"))
    profiled.milterd.process.send_signal(signal.SIGHUP)
    profiled.milterd.process.wait_log("keeping the old configuration")
    assert 'ups.conf:8: forms[0].set.title: "nuit" is no variable' in \
        profiled.milterd.process.log_tail(30)

    profiled.send(mails.plain("ALERT ups1 on battery", "Charge: 80 %\n"))
    profiled.reader.wait_message("ups1 runs on battery")


def test_mistake_in_a_profile_is_told_by_check(profiled):
    write_profile(profiled, PROFILE.replace("severity", "severtiy"))
    profiled.milterd.write()
    done = profiled.milterd.check()

    assert done.returncode == 78
    assert "profiles/ups.conf:10: " in done.stderr
    assert '"severtiy"' in done.stderr and '"severity"' in done.stderr
