# SPDX-License-Identifier: MIT
"""Mails of the mail system's own making, that no rule may make alerts of."""

import pytest

from support import mails
from support.mta import Mta
from support.postfix import Postfix

RULES = """
  { name = "all"; match: { subject: { glob = "*"; }; }; to = [ "ops" ]; verdict = "discard"; }"""

VACATION = mails.plain(
    "Re: ALERT disk full", "I am away until Monday.\n", sender="erika@client.mail.test",
    Auto_Submitted="auto-replied (vacation)", In_Reply_To="<1@nms.mail.test>", Precedence="bulk")


@pytest.fixture(scope="module")
def elsewhere(place, postfix):
    """The Postfix of another host, which sends its mail through ours."""
    server = Postfix(place, None, name="elsewhere", next_port=postfix.port).start()
    yield server
    server.process.kill()


@pytest.fixture
def guarded(bridge):
    bridge.milterd.rules = RULES
    return bridge.start()


def guard_lines(bridge):
    return [line for line in bridge.milterd.process.log_text().splitlines() if "guard=" in line]


def test_bounce_is_delivered_and_not_said(guarded, elsewhere):
    elsewhere.submit(mails.plain("ALERT to nobody"), sender="nms@mail.test", to=["x@nowhere.test"])
    returned, = guarded.postfix.wait_delivered(b"Undelivered Mail Returned to Sender")
    guarded.send(mails.plain("ALERT behind the bounce"))

    guarded.reader.wait_message("ALERT behind the bounce")
    assert "there is nobody" in returned.as_string()
    assert len(guarded.reader.messages()) == 1
    line, = guard_lines(guarded)
    assert "guard=bounce" in line and "queue_id=" in line and "message_id=" in line
    assert "nobody" not in line


def test_vacation_reply_is_delivered_and_not_said(guarded):
    assert guarded.send(VACATION)[0] == 250
    guarded.postfix.wait_delivered(b"I am away until Monday")
    guarded.send(mails.plain("ALERT behind the reply"))

    guarded.reader.wait_message("ALERT behind the reply")
    assert len(guarded.reader.messages()) == 1
    assert "guard=auto-reply" in guard_lines(guarded)[0]


@pytest.mark.parametrize("guards, name", [
    ('[ "bounce", "auto-reply", "own-failure" ]', "bounce"), ('[ "own-failure" ]', "own-failure")])
def test_delay_that_we_caused_makes_no_more_alerts(bridge, elsewhere, guards, name):
    bridge.name = f"delay-{name}"
    bridge.milterd.rules = RULES
    bridge.milterd.extra = f"guards = {guards};"
    bridge.start(ready=False)
    bridge.relay.stop()
    subject = f"ALERT that waits, {name}"
    elsewhere.send(mails.plain(subject), sender="nms@mail.test")

    # It comes while there is no relay: it is let go, and does not wait as well.
    warning, = bridge.postfix.wait_delivered(subject.encode())
    assert "Delayed Mail" in warning["Subject"]
    assert "alert relay is not available" in " ".join(warning.as_string().split())
    assert f"guard={name}" in guard_lines(bridge)[-1]
    bridge.relay.start()
    bridge.reader.wait_message(subject)
    assert len(bridge.reader.messages()) == 1


def test_guard_that_is_off_lets_the_rules_have_it(bridge):
    bridge.milterd.rules = RULES
    bridge.milterd.extra = "guards = [];"
    bridge.start()
    assert bridge.send(VACATION)[0] == 250

    assert "I am away" in bridge.reader.wait_message("Re: ALERT disk full")["body"]
    assert not guard_lines(bridge)


def test_body_of_a_mail_that_is_held_back_is_not_asked_for(guarded):
    mta = Mta(guarded.milterd.socket)
    answer = mta.mail([("From", "erika@mail.test"), ("Subject", "Re: ALERT"),
                       ("Auto-Submitted", "auto-replied")], b"x" * 200000)
    mta.close()

    assert answer == ("accept", "N")
    assert "queue_id=4TESTQUEUEID" in guard_lines(guarded)[0]
