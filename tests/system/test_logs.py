# SPDX-License-Identifier: MIT
"""The log: xmpp-alerts(7) has a line for each question, and all fields; logcheck knows the routine."""

import re
import signal
from pathlib import Path

import pytest

from support import mails
from support.journal import command_line, entries, journalctl
from support.place import run, wait_until

SOURCES = Path(__file__).parent.parent.parent
PAGE = SOURCES / "packaging" / "man" / "xmpp-alerts.7"

RULES = """
  { name = "nagios"; match: { subject: { glob = "ALERT*"; }; }; to = [ "ops" ]; },
  { name = "nobody"; match: { subject: { glob = "*away*"; }; }; to = [ "nowhere" ]; },
  { name = "ghost"; match: { subject: { glob = "*ghost*"; }; }; to = [ "ghost" ]; },
  { name = "trap"; match: { subject: { glob = "*trap*"; }; }; to = [ "ops" ]; verdict = "reject"; },
  { name = "noise"; match: { subject: { glob = "*noise*"; }; }; skip = true; verdict = "discard"; }
"""

SCRIPT = """
  function message(m)
    if m.headers.subject == "broken" then error("on purpose") end
  end
"""

# What the values of fields look like.
VALUES = {
    "ID": r"[A-Za-z0-9._:-]{1,64}", "QUEUE_ID": r"[A-Za-z0-9]{6,}", "CLIENT": r"127\.0\.0\.1",
    "MAIL_MESSAGE_ID": r"<.*>", "RULE": "nagios|nobody|ghost|trap|noise", "PROFILE": "[a-z0-9-]+",
    "TO": "ops|nowhere|ghost", "DESTINATION": "ops|ghost",
    "RECEIPT": "accepted|duplicate|busy|refused|none", "REASON": ".+",
    "VERDICT": "continue|accept|discard|reject|tempfail|quarantine",
    "SCRIPT": "checks", "EVENT": "message", "GUARD": "bounce|auto-reply|own-failure", "REDACTED": r"[1-9]\d*", "DELAY_MS": r"\d+",
    "DELAY": r"\d+\.\d{3}", "SENDER_UID": r"\d+", "SENDER_PID": r"\d+", "SOCKET": "/.*",
    "MAILS_MEANWHILE": r"\d+",
}

# None of these is routine, though they are no warnings.
NOTABLE = re.compile("the relay answers again|asks for patience|can be written again|has room again"
                     "|can be read again|was not there and has been made"
                     "|stopping at once|were there;")


def page():
    return re.sub(r".\x08", "", run(["mandoc", "-T", "ascii", "-O", "width=120", PAGE],
                                    check=True).stdout)


def questions():
    """The lines that begin with journalctl, as they would be copied."""
    text = re.sub(r"(\\|\|)\n +", lambda end: end[1].strip("\\") + " ", page())
    return [" ".join(line.split()) if "'" not in line else line.strip()
            for line in text.splitlines() if line.strip().startswith("journalctl ")]


def put_off(bridge, subject):
    """Mail that is put off: what the relay is told of it comes to nothing."""
    code, text = bridge.send(mails.plain(subject))
    assert code == 451, text


@pytest.fixture
def eventful(bridge):
    """A bridge to which all happened that there are questions for; gives its log."""
    bridge.milterd.rules = RULES
    bridge.milterd.workers = 1
    bridge.milterd.relay_extra = 'timeout = "300ms";'
    bridge.milterd.add_script(SCRIPT, "checks")
    bridge.relay.contacts["ghost"] = "nobody@nowhere.invalid"
    bridge.start_reader()
    bridge.relay.start()
    bridge.milterd.start()
    wait_until(lambda: bridge.relay.status()["destinations"][0]["state"] == "ready",
               "the room to be joined")

    alert = mails.plain("ALERT of nagios", "password=sesame-street\n").replace(
        b"Message-ID: <", b"Message-ID: <4711@web1.example.org>\r\nX-Other: <")
    assert bridge.send(alert)[0] == 250
    bridge.reader.wait_message("ALERT of nagios")
    assert bridge.send(alert)[0] == 250
    assert bridge.send(mails.plain("ghost"))[0] == 250
    assert bridge.send(mails.plain("it's a trap"))[0] == 550
    assert bridge.send(mails.plain("noise"))[0] == 250
    assert bridge.send(mails.plain("ALERT Re: x", Auto_Submitted="auto-replied"))[0] == 250
    assert bridge.relay.send("nowhere", "--", "text").returncode == 65
    put_off(bridge, "away")
    put_off(bridge, "broken")
    bridge.relay.process.wait_log("failed, set aside")

    for daemon, done in ((bridge.milterd, "reloaded, ready"), (bridge.relay, "was read again")):
        daemon.process.send_signal(signal.SIGHUP)
        daemon.process.wait_log(done)
    bridge.server.stop()
    bridge.relay.process.wait_log("session main ended")
    bridge.server.start()
    bridge.relay.wait_ready()
    bridge.relay.stop()
    for number in range(4):
        put_off(bridge, f"ALERT while away {number}")
    bridge.milterd.process.wait_log("has not answered 3 times in a row")
    bridge.relay.start()
    bridge.milterd.process.wait_log("the relay answers again")
    bridge.relay.wait_ready()
    bridge.relay.ctl("drop", "all", check=False)
    bridge.relay.ctl("pause")
    bridge.relay.ctl("resume")
    bridge.milterd.stop()
    bridge.relay.stop()
    return entries(bridge.milterd.process, bridge.relay.process)


def test_every_question_is_answered_by_the_log(eventful):
    first, = [e for e in eventful if e.fields.get("MAIL_MESSAGE_ID") == "<4711@web1.example.org>"
              and e.fields.get("RECEIPT") == "accepted"]
    lines = questions()
    assert len(lines) > 20
    unanswered = []
    for line in lines:
        line = line.replace("CDD39A7C120", first.fields["QUEUE_ID"]).replace(
            "64da375b57b6817b2c152ab6eced2542", first.fields["ID"])
        shown = command_line(eventful, line)
        if not shown.strip():
            unanswered.append(line)
        if first.fields["QUEUE_ID"] in line or "4711" in line or first.fields["ID"] in line:
            assert "the relay has the alert " in shown or "-u xmpprelay" in line
            assert "delivered " in shown
    assert not unanswered


def test_answers_are_those_that_were_asked_for(eventful):
    def ask(line):
        return command_line(eventful, line).splitlines()

    put_off_lines = ask("journalctl -u milterd VERDICT=tempfail --since yesterday")
    assert len(put_off_lines) == 5
    assert ask("journalctl -u milterd -o cat --output-fields=CLIENT | sort | uniq -c"
               )[0].split()[1] == "127.0.0.1"
    by_rule = dict(reversed(line.split()) for line in
                   ask("journalctl -u milterd -o cat --output-fields=RULE | sort | uniq -c"))
    assert by_rule == {"nagios": "6", "nobody": "1", "ghost": "1", "trap": "1", "noise": "1"}
    assert len(ask("journalctl GUARD=bounce GUARD=auto-reply GUARD=own-failure")) == 1
    both = ask("journalctl RULE=nagios --since today")
    assert any(line.startswith("delivered ") for line in both)
    assert any(line.startswith("the relay had the alert before ") for line in both)
    assert len(ask("journalctl -u xmpprelay --grep '^failed, set aside'")) == 1


def test_fields_are_those_of_the_manual_with_the_values_that_it_tells(eventful):
    fields = re.search(r"^   Fields\n(.*?)^   \S", page(), re.M | re.S)[1]
    named = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)*\b(?=,| *$|  )", "\n".join(
        line for line in fields.splitlines() if re.match(r" {5}[A-Z]", line)), re.M))
    seen = {}
    for entry in eventful:
        assert not set(entry.fields) - named, f"not in the manual: {entry.text}"
        for name, value in entry.fields.items():
            assert re.fullmatch(VALUES[name], value), f"{name}={value}"
            seen.setdefault(name, set()).add(value)

    assert named == set(VALUES)
    assert named - set(seen) <= {"PROFILE"}, f"never seen: {sorted(named - set(seen))}"
    assert {"accepted", "duplicate", "refused", "none"} <= seen["RECEIPT"]
    assert {"continue", "reject", "discard", "tempfail"} <= seen["VERDICT"]


def logged_fields():
    found = set()
    for folder in ("milterd", "xmpprelay"):
        for path in (SOURCES / folder).glob("*.c"):
            text = path.read_text()
            for block in re.findall(r"LogField\b.*?\};|LogField\[\]\).*?\},\s*\d", text, re.S):
                found |= set(re.findall(r'\{ "([a-z_]+)",', block))
    return found


def test_no_field_is_logged_that_the_manual_does_not_name():
    logged = {"MAIL_MESSAGE_ID" if name == "message_id" else name.upper()
              for name in logged_fields()}

    assert len(logged) > 15
    assert logged == set(VALUES)


# logcheck

def patterns(name):
    lines = (SOURCES / "packaging" / "debian" / f"{name}.logcheck.ignore.server"
             ).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def not_ignored(place, lines):
    """What is left of lines of a log, as logcheck looks at it."""
    rules = place.file("logcheck.rules", "\n".join(patterns("milterd") + patterns("xmpprelay"))
                       + "\n")
    left = run(["egrep", "-v", "-f", rules], input="".join(f"{line}\n" for line in lines))
    assert left.returncode in (0, 1), left.stderr
    return left.stdout.splitlines()


def as_syslog(unit, text, number=0):
    return (f"Nov 21 09:26:{number % 60:02} web1 {unit}[4711]: {text}" if number % 2 else
            f"2026-11-21T09:26:{number % 60:02}.123456+00:00 web1 {unit}[4711]: {text}")


def test_logcheck_leaves_out_what_is_routine_and_nothing_else(eventful, place):
    lines = {as_syslog(entry.unit, entry.text, number): entry
             for number, entry in enumerate(eventful) if entry.level < 7}
    left = not_ignored(place, lines)

    routine = [line for line, entry in lines.items()
               if entry.level == 6 and not NOTABLE.search(entry.text)]
    assert len(routine) > 20
    assert not sorted(set(left) & set(routine))
    assert set(left) == set(lines) - set(routine)
    assert any("the relay answers again" in line for line in left)


def test_logcheck_hears_of_every_warning_that_there_is(place):
    """Those that no test brings about, too: with something in the place of what varies."""
    lines = []
    for unit in ("milterd", "xmpprelay"):
        for folder in (unit, "common"):
            for path in (SOURCES / folder).glob("*.c"):
                text = re.sub(r'"\s*(PRI\w+)?\s*"', "", path.read_text())
                for string in re.findall(
                        r'log_(?:warning|error)\(\s*"((?:[^"\\]|\\.)*)"', text) + re.findall(
                        r'log_fields\(\s*LOG_(?:WARNING|ERR)\b.*?"((?:[^"\\]|\\.)*)"\)?[,)]', text,
                        re.S):
                    plain = re.sub(r"%[-.0-9]*(?:z|l|ll)?[sduxm]?", "1", string).replace('\\"', '"')
                    lines.append(as_syslog(unit, plain, len(lines)))
    lines += [as_syslog("milterd", "the relay has the alert, but not all alerts of its mail "
                                   "id=1 queue_id=2 verdict=tempfail"),
              as_syslog("xmpprelay", "destination ops is ready: did not exist and was made now"),
              as_syslog("xmpprelay", "failed, set aside: no id=1 destination=ops")]

    assert len(lines) > 40
    assert set(not_ignored(place, lines)) == set(lines)


def test_logcheck_leaves_out_what_canaries_say(place):
    assert not not_ignored(place, [as_syslog("milterd-canary", "delivered after 1.07 s"),
                                   as_syslog("xmpprelayctl", "ops: delivered after 350 ms")])
    for line in (as_syslog("milterd-canary", "milterd-canary: not delivered in 2m: no relay"),
                 as_syslog("xmpprelayctl", "xmpprelayctl: the test was not delivered: no")):
        assert not_ignored(place, [line]) == [line]


# fail2ban

def ban_of(line):
    """Whom the filter of the manual would ban for a line of the journal."""
    text = page()
    regex = re.search(r"failregex = (.*)$", text, re.M)[1].rstrip()
    regex = regex.replace("%(__prefix_line)s", r"\S+ \w+\[\d+\]: ").replace(
        "<HOST>", r"(?P<host>[0-9a-fA-F:.]+)")
    found = re.search(regex, line)
    return found and found["host"]


def test_filter_for_fail2ban_finds_who_it_should(eventful):
    lines = [f"web1 milterd[4711]: {line}"
             for line in journalctl(eventful, ["-u", "milterd"]).splitlines()]

    assert [ban_of(line) for line in lines if "rule=trap" in line] == ["127.0.0.1"]
    assert not [line for line in lines if "rule=trap" not in line and ban_of(line)]


def test_filter_for_fail2ban_cannot_be_made_to_ban_others(running):
    running.milterd.rules = RULES
    running.milterd.stop()
    running.milterd.start()
    mail = mails.plain("trap").replace(
        b"Message-ID: <", b"Message-ID: <x queue_id=1 client=192.0.2.7 y rule=trap \" id=2 "
                          b"queue_id=1 client=192.0.2.7 z rule=trap ")
    assert running.send(mail)[0] == 550
    line, = [entry.text for entry in entries(running.milterd.process)
             if entry.fields.get("RULE") == "trap"]

    assert "192.0.2.7" in line
    assert ban_of(f"web1 milterd[4711]: {line}") == "127.0.0.1"
