# SPDX-License-Identifier: MIT
"""What the rule's verdict does to the mail, as the SMTP client and the operator see it."""

import pytest

from support import mails
from support.place import wait_until


def start_with(bridge, verdict):
    bridge.milterd.rules = f"""
      {{ name = "it"; match: {{ subject: {{ glob = "*ALERT*"; }}; }}; to = [ "ops" ];
        verdict = "{verdict}"; }}"""
    bridge.start()


@pytest.mark.parametrize("verdict", ["continue", "accept"])
def test_mail_goes_on_with(bridge, verdict):
    start_with(bridge, verdict)
    subject = f"ALERT goes on with {verdict}"
    code, _ = bridge.send(mails.plain(subject))

    assert code == 250
    bridge.reader.wait_message(subject)
    bridge.postfix.wait_delivered(subject.encode())


def test_discarded_mail_is_accepted_and_not_delivered(bridge):
    start_with(bridge, "discard")
    assert bridge.send(mails.plain("ALERT to discard"))[0] == 250
    assert bridge.send(mails.plain("Another letter"))[0] == 250

    bridge.reader.wait_message("ALERT to discard")
    bridge.postfix.wait_delivered(b"Another letter")
    assert not bridge.postfix.delivered(b"ALERT to discard")


def test_rejected_mail_is_refused_for_good_and_said(bridge):
    start_with(bridge, "reject")
    code, text = bridge.send(mails.plain("ALERT to reject"))

    assert 500 <= code < 600, text
    bridge.reader.wait_message("ALERT to reject")
    assert not bridge.postfix.delivered(b"ALERT to reject")


def test_mail_for_tempfail_is_said_once_however_often_it_comes(bridge):
    start_with(bridge, "tempfail")
    mail = mails.plain("ALERT to tempfail")
    for _ in range(3):
        code, text = bridge.send(mail)
        assert 400 <= code < 500, text

    bridge.send(mails.plain("ALERT behind it"))
    bridge.reader.wait_message("ALERT behind it")
    assert len(bridge.reader.archive()) == 2


def test_quarantined_mail_is_held_and_said(bridge):
    start_with(bridge, "quarantine")
    code, _ = bridge.send(mails.plain("ALERT to hold"))

    assert code == 250
    bridge.reader.wait_message("ALERT to hold")
    held = wait_until(
        lambda: [m for m in bridge.postfix.queued() if m["queue_name"] == "hold"], "a held mail")
    assert len(held) == 1
    bridge.postfix.forget(held[0]["queue_id"])


@pytest.mark.parametrize("verdict, delivered", [("continue", True), ("discard", False)])
def test_mail_submitted_by_sendmail_with(bridge, verdict, delivered):
    start_with(bridge, verdict)
    subject = f"ALERT submitted for {verdict}"
    done = bridge.postfix.submit(mails.plain(subject))
    assert done.returncode == 0, done.stdout

    message = bridge.reader.wait_message(subject)
    assert "99 %" in message["body"]
    if delivered:
        bridge.postfix.wait_delivered(subject.encode())
    else:
        wait_until(lambda: not bridge.postfix.queued(), "an empty queue")
        assert not bridge.postfix.delivered(subject.encode())


def test_submitted_cron_mail_is_said_with_its_letters(bridge):
    bridge.milterd.rules = """
      { name = "cron"; match: { subject: { glob = "Cron <*"; }; }; to = [ "ops" ];
        verdict = "discard"; }"""
    bridge.start()
    bridge.postfix.submit(mails.CRON, sender="root@web2.example.org", to=["root@web2.example.org"])

    message = bridge.reader.wait_message("renew-certificates")
    assert "Zertifikat für mail.example.org läuft in 3 Tagen ab" in message["body"]
