# SPDX-License-Identifier: MIT
"""Rules that trust only some: what Postfix vouches for, whatever a mail says of itself."""

import pytest

from support import mails
from support.postfix import session_send


def start_with(bridge, trust):
    bridge.milterd.rules = f"""
      {{ name = "it"; match: {{ subject: {{ glob = "*ALERT*"; }}; }}; to = [ "ops" ];
        trust = {trust}; verdict = "discard"; }}"""
    bridge.start()


def send_as(bridge, mail, *claims):
    """By SMTP, with what a proxy in front of Postfix would say of the client."""
    with bridge.postfix.session() as session:
        session.ehlo()
        code, text = session.docmd("XCLIENT", " ".join(claims))
        assert code == 220, text
        assert session_send(session, mail)[0] == 250


def test_submitted_mail_is_local_and_smtp_from_the_same_host_is_not(bridge):
    start_with(bridge, '[ "local" ]')
    assert bridge.send(mails.plain("ALERT by SMTP"))[0] == 250
    send_as(bridge, mails.plain("ALERT by a proxy"), "ADDR=127.0.0.1", "NAME=localhost", "PORT=0")
    assert bridge.postfix.submit(mails.plain("ALERT by sendmail(1)")).returncode == 0

    bridge.reader.wait_message("ALERT by sendmail(1)")
    bridge.postfix.wait_delivered(b"ALERT by SMTP")
    bridge.postfix.wait_delivered(b"ALERT by a proxy")
    assert len(bridge.reader.messages()) == 1
    assert not bridge.postfix.delivered(b"ALERT by sendmail(1)")


def test_login_is_trusted(bridge):
    start_with(bridge, '[ "local", "auth" ]')
    send_as(bridge, mails.plain("ALERT of nobody"), "ADDR=198.51.100.7")
    send_as(bridge, mails.plain("ALERT of nms"), "ADDR=198.51.100.7", "LOGIN=nms")

    bridge.reader.wait_message("ALERT of nms")
    bridge.postfix.wait_delivered(b"ALERT of nobody")
    assert len(bridge.reader.messages()) == 1


@pytest.mark.parametrize("trust, believed", [
    ('[ "local", "192.0.2.0/28", "2001:db8::/32" ]', True),
    ('[ "local", "192.0.2.0/29", "auth" ]', False),
])
def test_network_is_trusted(bridge, trust, believed):
    bridge.name = "trust"
    start_with(bridge, trust)
    subject = f"ALERT from the network {'of' if believed else 'not of'} ours"
    send_as(bridge, mails.plain(subject), "ADDR=192.0.2.9")

    if believed:
        bridge.reader.wait_message(subject)
        assert not bridge.postfix.delivered(subject.encode())
    else:
        bridge.postfix.wait_delivered(subject.encode())
        assert not bridge.reader.messages(subject)


def test_rule_that_throws_away_what_anybody_writes_is_warned_of(bridge):
    bridge.milterd.rules = """
      { name = "open"; match: { from = "nms@example.org"; }; verdict = "discard"; },
      { name = "safe"; match: { from = "nms@example.org"; }; verdict = "discard";
        trust = [ "auth" ]; }"""
    bridge.milterd.write()
    done = bridge.milterd.check()

    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert "warning" in said and 'rules[0].verdict: "discard"' in said and "trust" in said
    assert "rules[1]" not in said
