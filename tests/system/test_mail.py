# SPDX-License-Identifier: MIT
"""Mails that come through Postfix, and what a person in the room sees of them."""

import pytest

from support import mails
from support.mta import Mta
from support.postfix import session_send


def test_plain_mail_is_said_in_the_room_and_delivered(running):
    code, _ = running.send(mails.plain("ALERT disk full on db1", "/var is at 99 %\n"))

    assert code == 250
    message = running.reader.wait_message("disk full on db1")
    assert message["nick"] == "alertbot"
    assert message["type"] == "groupchat"
    assert "/var is at 99 %" in message["body"]
    running.postfix.wait_delivered(b"ALERT disk full on db1")


def test_utf8_mail_arrives_with_its_letters(running):
    running.send(mails.utf8("ALERT Überlauf – Größe 数据", "Füllstand über 90 % → räumen\n日本語\n"))

    message = running.reader.wait_message("Überlauf – Größe 数据")
    assert "Füllstand über 90 % → räumen" in message["body"]
    assert "日本語" in message["body"]


def test_html_mail_in_base64_is_said_as_text(running):
    running.send(mails.html(
        "ALERT from Grafana",
        "<html><head><style>p { color: red }</style></head><body><h1>5xx &gt; 1&nbsp;%</h1>"
        "<p>Service <b>shop</b> fails</p><script>alert(1)</script></body></html>"))

    body = running.reader.wait_message("ALERT from Grafana")["body"]
    assert "Service shop fails" in body
    assert "5xx > 1" in body
    assert "<b>" not in body and "color: red" not in body and "alert(1)" not in body


def test_text_that_looks_like_xml_arrives_as_written(running):
    running.send(mails.plain("ALERT <b>&amp; \"x\"", "</body></message><presence/>&#0;]]>\n"))

    body = running.reader.wait_message('ALERT <b>&amp; "x"')["body"]
    assert "</body></message><presence/>&#0;]]>" in body


def test_control_characters_and_broken_utf8_do_not_end_the_stream(running):
    mail = mails.plain("ALERT odd bytes").replace(
        b"/var is at 99 %", b"bell \x07 escape \x1b[31m nul-free \x0c \xff\xfe \xed\xa0\x80 end")
    assert running.send(mail)[0] == 250
    running.send(mails.plain("ALERT the next one"))

    body = running.reader.wait_message("odd bytes")["body"]
    assert "bell" in body and "end" in body and "\x07" not in body and "\x1b" not in body
    running.reader.wait_message("the next one")


def test_two_mails_in_one_smtp_session_are_two_messages(running):
    with running.postfix.session() as session:
        assert session_send(session, mails.plain("ALERT first", "one\n"))[0] == 250
        assert session_send(session, mails.plain("ALERT second", "two\n"))[0] == 250

    first = running.reader.wait_message("ALERT first")
    second = running.reader.wait_message("ALERT second")
    assert "two" not in first["body"] and "one" not in second["body"]
    assert len(running.reader.messages("ALERT")) == 2


def test_alert_between_other_mails_of_a_session_is_the_only_message(running):
    with running.postfix.session() as session:
        for subject in ("nothing of interest", "ALERT in between", "nothing either"):
            assert session_send(session, mails.plain(subject))[0] == 250

    running.reader.wait_message("ALERT in between")
    running.postfix.wait_delivered(b"nothing either")
    assert len(running.reader.messages("")) == 1


def test_mail_that_no_rule_matches_is_delivered_and_not_said(running):
    code, _ = running.send(mails.plain("Lunch on Thursday?"))
    running.send(mails.plain("ALERT behind it"))

    assert code == 250
    running.postfix.wait_delivered(b"Lunch on Thursday?")
    running.reader.wait_message("ALERT behind it")
    assert not running.reader.messages("Lunch")


def test_body_of_a_mail_that_no_rule_matches_is_not_asked_for(running):
    mta = Mta(running.milterd.socket)
    answer, step = mta.mail(
        [("From", "erika@example.org"), ("Subject", "Lunch on Thursday?")], b"x" * 200000)
    mta.close()

    assert answer == "accept"
    assert step in "TLN", f"the filter let go only at step {step}"
    assert "B" not in mta.sent and "E" not in mta.sent


def test_rule_on_the_client_lets_strangers_go_at_once(bridge):
    bridge.milterd.rules = """
      { name = "lan"; match: { client: { cidr = "10.0.0.0/8"; }; }; to = [ "ops" ]; }"""
    bridge.start()
    mta = Mta(bridge.milterd.socket)
    answer, step = mta.mail([("Subject", "hello")], b"text\r\n", client="192.0.2.7")
    mta.close()

    assert (answer, step) == ("accept", "C")


def test_mail_of_two_megabytes_is_cut_for_the_room_and_delivered_whole(running):
    body = "".join(f"line {n} of a long report\n" for n in range(60000))
    assert running.send(mails.plain("ALERT long report", body))[0] == 250

    message = running.reader.wait_message("ALERT long report")
    assert "line 0 of" in message["body"]
    assert len(message["body"].encode()) < 10000
    delivered, = running.postfix.wait_delivered(b"ALERT long report")
    assert "line 59999 of" in delivered.get_content()


def test_mail_without_subject_and_message_id_is_said(bridge):
    bridge.milterd.rules = """
      { name = "all"; match: { envelope_from = "mdadm@client.mail.test"; }; to = [ "ops" ]; }"""
    bridge.start()
    assert bridge.send(b"\r\nonly a body\r\n", sender="mdadm@client.mail.test")[0] == 250

    bridge.reader.wait_message("only a body")


def test_mail_for_two_destinations_is_said_in_both(bridge):
    night = f"night@{bridge.server.rooms}"
    bridge.relay.rooms["night-shift"] = night
    bridge.milterd.rules = """
      { name = "both"; match: { subject: { glob = "*ALERT*"; }; };
        to = [ "ops", "night-shift" ]; }"""
    bridge.server.ensure_running()
    other = bridge.add_reader("alice", rooms=[night]).wait_joined()
    bridge.start()
    bridge.send(mails.plain("ALERT for all"))

    bridge.reader.wait_message("ALERT for all")
    other.wait_message("ALERT for all")


def test_mail_for_a_contact_is_said_to_that_person(bridge):
    bridge.relay.contacts["alice"] = f"alice@{bridge.server.domain}"
    bridge.milterd.rules = """
      { name = "alice"; match: { subject: { glob = "*ALERT*"; }; }; to = [ "alice" ]; }"""
    bridge.server.ensure_running()
    alice = bridge.add_reader("alice", rooms=[])
    alice.wait_event("online")
    bridge.start()
    bridge.send(mails.plain("ALERT for you alone"))

    message = alice.wait_message("ALERT for you alone")
    assert message["type"] == "chat"
    assert not bridge.reader.messages("for you alone")


def test_first_rule_that_matches_is_the_one(bridge):
    bridge.milterd.rules = """
      { name = "quiet"; match: { from = "chatty@client.mail.test"; };
        verdict = "discard"; to = [ "ops" ]; },
      { name = "alerts"; match: { subject: { glob = "*ALERT*"; }; }; to = [ "ops" ]; }"""
    bridge.start()
    bridge.send(mails.plain("ALERT from chatty", sender="chatty@client.mail.test"))
    bridge.send(mails.plain("ALERT from another"))

    bridge.postfix.wait_delivered(b"ALERT from another")
    bridge.reader.wait_message("ALERT from another")
    assert len(bridge.reader.messages("ALERT from chatty")) == 1
    assert not bridge.postfix.delivered(b"ALERT from chatty")


def test_rule_that_says_next_lets_another_one_have_the_mail_as_well(bridge):
    security = f"security@{bridge.server.rooms}"
    bridge.relay.rooms["security"] = security
    bridge.milterd.rules = """
      { name = "logins"; match: { body: { glob = "*authentication failure*"; }; };
        to = [ "security" ]; next = true; },
      { name = "alerts"; match: { helo = "client.mail.test"; subject: { glob = "*ALERT*"; }; };
        to = [ "ops" ]; verdict = "discard"; }"""
    bridge.server.ensure_running()
    other = bridge.add_reader("alice", rooms=[security]).wait_joined()
    bridge.start()
    bridge.send(mails.plain("ALERT next: sshd", "authentication failure; user=root\n"))
    bridge.send(mails.plain("ALERT next: cron", "all is well\n"))
    bridge.send(mails.plain("sshd again", "authentication failure; user=toor\n"))

    other.wait_message("ALERT next: sshd")
    bridge.reader.wait_message("ALERT next: sshd")
    other.wait_message("sshd again")
    bridge.reader.wait_message("ALERT next: cron")
    bridge.postfix.wait_delivered(b"sshd again")
    assert not bridge.postfix.delivered(b"ALERT next:")
    assert not other.messages("ALERT next: cron")
    assert not bridge.reader.messages("sshd again")


@pytest.mark.parametrize("pattern, matches", [
    ('{ from = "NMS <nms@client.mail.test>"; }', True),
    ('{ from = "nms@client.mail.test"; }', True),
    ('{ from = "other@client.mail.test"; }', False),
    ('{ subject: { regex = "^ALERT [a-z]+ on (db|web)[0-9]"; }; }', True),
    ('{ subject: { not: { glob = "*ALERT*"; }; }; }', False),
    ('{ header: { name = "X-Monitor"; equal = "yes"; }; }', True),
    ('{ header: { name = "X-Monitor"; equal = "no"; }; }', False),
    ('{ rcpt = ( "a@mail.test", "ops@mail.test" ); }', True),
    ('{ client: { cidr = "127.0.0.0/8"; }; envelope_from: { glob = "*@client.mail.test"; }; }', True),
    ('{ client: { cidr = "10.0.0.0/8"; }; }', False),
    # This Postfix looks up no names of clients.
    ('{ client_name = "[127.0.0.1]"; helo = "CLIENT.mail.test"; }', True),
    ('{ helo = "other.mail.test"; }', False),
    ('{ client_name: { glob = "*.mail.test"; }; }', False),
    ('{ auth: { glob = "*"; }; }', False),
    ('{ macro: ( { name = "j"; equal = "mx.mail.test"; } ); auth: { not: { glob = "*"; }; }; }', True),
    ('{ macro: { name = "mail_addr"; equal = "root@client.mail.test"; }; }', True),
    ('{ macro: { name = "{client_addr}"; equal = "127.0.0.2"; }; }', False),
    ('{ macro: { name = "i"; regex = "^[A-Za-z0-9]+$"; }; body: { glob = "*/var is at 99*"; }; }', True),
    ('{ body: { glob = "*/var is at 98*"; }; }', False),
])
def test_match(bridge, pattern, matches):
    bridge.name = "match"
    bridge.milterd.rules = f"""
      {{ name = "it"; match: {pattern}; to = [ "ops" ]; verdict = "discard"; }}"""
    bridge.milterd.extra = ""
    bridge.start_reader()
    bridge.relay.start()
    bridge.milterd.start()
    subject = f"ALERT disk on db1 {abs(hash(pattern))}"
    code, _ = bridge.send(mails.plain(subject, sender="NMS <nms@client.mail.test>", X_Monitor="yes"))
    assert code == 250

    if matches:
        bridge.reader.wait_message(subject)
        assert not bridge.postfix.delivered(subject.encode())
    else:
        bridge.postfix.wait_delivered(subject.encode())
        assert not bridge.reader.messages(subject)
