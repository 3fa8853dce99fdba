# SPDX-License-Identifier: MIT
"""The other mail server: Sendmail speaks the milter protocol in its own manner."""

import signal
from pathlib import Path

import pytest

from support import mails
from support.place import wait_until
from support.postfix import session_send
from support.sendmail import Sendmail, Unavailable, unpack


@pytest.fixture(scope="module")
def sendmail(place, request):
    build = Path(request.config.getoption("--build"))
    try:
        server = Sendmail(place, unpack(build / "sendmail"), place / "milter" / "milter.sock")
        server.start()
    except Unavailable as reason:
        pytest.skip(f"no Sendmail to be had: {reason}")
    yield server
    server.process.kill()


def test_alert_through_sendmail_is_said_and_delivered(running, sendmail):
    code, text = sendmail.send(mails.plain("ALERT through Sendmail"))

    assert code == 250, text
    assert "99 %" in running.reader.wait_message("ALERT through Sendmail")["body"]
    sendmail.wait_delivered(b"ALERT through Sendmail")


def test_two_mails_in_one_session_of_sendmail(running, sendmail):
    with sendmail.session() as session:
        for subject in ("ALERT one by Sendmail", "no matter", "ALERT two by Sendmail"):
            assert session_send(session, mails.plain(subject))[0] == 250

    running.reader.wait_message("ALERT one by Sendmail")
    running.reader.wait_message("ALERT two by Sendmail")
    sendmail.wait_delivered(b"no matter")
    assert len(running.reader.messages()) == 2


def test_what_sendmail_tells_of_the_client_is_matched(bridge, sendmail):
    bridge.milterd.rules = """
      { name = "it"; to = [ "ops" ];
        match: { client_name = "localhost"; helo = "client.mail.test";
                 auth: { not: { glob = "*"; }; };
                 macro: { name = "mail_addr"; glob = "*root@client.mail.test*"; }; }; }"""
    bridge.start()
    with sendmail.session() as session:
        for sender in ("root@client.mail.test", "other@client.mail.test"):
            mail = mails.plain(f"told of {sender}")
            assert session_send(session, mail, sender=sender)[0] == 250

    bridge.reader.wait_message("told of root@")
    sendmail.wait_delivered(b"told of other@")
    assert len(bridge.reader.messages()) == 1


def test_only_what_is_submitted_without_smtp_is_local_to_sendmail(bridge, sendmail):
    bridge.milterd.rules = """
      { name = "it"; match: { subject: { glob = "*ALERT*"; }; }; to = [ "ops" ];
        trust = [ "local" ]; verdict = "discard"; }"""
    bridge.start()
    assert sendmail.send(mails.plain("ALERT by SMTP"))[0] == 250
    assert sendmail.submit(mails.plain("ALERT by sendmail -bs")) == 250

    bridge.reader.wait_message("ALERT by sendmail -bs")
    sendmail.wait_delivered(b"ALERT by SMTP")
    assert len(bridge.reader.messages()) == 1


@pytest.mark.parametrize("verdict, expected, delivered", [
    ("accept", 250, True), ("discard", 250, False), ("reject", 5, False), ("tempfail", 4, False),
    ("quarantine", 250, False)])
def test_verdict_in_sendmail(bridge, sendmail, verdict, expected, delivered):
    bridge.milterd.rules = f"""
      {{ name = "it"; match: {{ subject: {{ glob = "*ALERT*"; }}; }}; to = [ "ops" ];
        verdict = "{verdict}"; }}"""
    bridge.start()
    subject = f"ALERT for Sendmail to {verdict}"
    code, text = sendmail.send(mails.plain(subject))

    assert code == expected or code // 100 == expected, (code, text)
    bridge.reader.wait_message(subject)
    if delivered:
        sendmail.wait_delivered(subject.encode())
    else:
        sendmail.send(mails.plain(f"letter behind {verdict}"))
        sendmail.wait_delivered(f"letter behind {verdict}".encode())
        assert not sendmail.delivered(subject.encode())


def test_mail_waits_with_its_sender_while_the_relay_is_stopped_by_sendmail(running, sendmail):
    running.relay.stop()
    mail = mails.plain("ALERT Sendmail's client keeps")
    code, text = sendmail.send(mail)
    assert code // 100 == 4, text

    running.relay.start()
    assert sendmail.send(mail)[0] == 250
    running.reader.wait_message("Sendmail's client keeps")
    assert len(running.reader.archive()) == 1


@pytest.mark.parametrize("hangs", [False, True], ids=["gone", "hangs"])
def test_mail_of_cron_stays_in_the_client_queue_of_sendmail(bridge, sendmail, hangs):
    bridge.milterd.relay_extra = 'timeout = "1s";'
    bridge.start()
    if hangs:
        bridge.relay.process.send_signal(signal.SIGSTOP)
    else:
        bridge.relay.stop()
    subject = f"ALERT of cron by Sendmail, relay {'hangs' if hangs else 'gone'}"
    mail = f"From: root (Cron Daemon)\nTo: root\nSubject: {subject}\n\nno space left\n"
    done = sendmail.sendmail("-oi", "-f", "root@sm.mail.test", "ops@mail.test", input=mail)
    assert done.returncode == 0
    for _ in range(2):
        assert sendmail.client_queued() == 1
        assert "Deferred: 451" in sendmail.sendmail("-q", "-v").stdout
    assert not sendmail.delivered(subject.encode())

    if hangs:
        bridge.relay.process.send_signal(signal.SIGCONT)
        bridge.reader.wait_message(subject)
    else:
        bridge.relay.start().wait_ready()
    wait_until(lambda: sendmail.sendmail("-q") and not sendmail.client_queued(),
               "the queue to be empty", interval=0.5)
    sendmail.wait_delivered(subject.encode())
    bridge.send(mails.plain("ALERT behind it"))
    bridge.reader.wait_message("ALERT behind it")
    assert len(bridge.reader.archive()) == 2


def test_script_changes_mail_and_refuses_it_in_sendmail(bridge, sendmail):
    bridge.milterd.add_script("""
      macros = { "{mail_addr}" }
      function rcpt(m, address)
        if address == "no@mail.test" then
          return m:reply("550", "5.1.1", "Nobody here.", "100 % sure.")
        end
      end
      function message(m)
        m:change_header("Subject", "[tagged] " .. m.headers.subject)
        m:delete_header("X-Old")
        m:add_header("X-Seen", m.macros["{mail_addr}"])
        m:replace_body("A new body.\\n")
      end""")
    bridge.milterd.start()
    mail = mails.plain("by Sendmail", X_Old="1")
    code, text = sendmail.send(mail, to=("no@mail.test",))
    assert code == 550 and "Nobody here.\n5.1.1 100 % sure." in text
    assert sendmail.send(mail)[0] == 250

    sendmail.wait_delivered(b"Subject: [tagged] by Sendmail")
    said = sendmail.inbox.read_bytes().partition(b"Subject: [tagged] by Sendmail")[2]
    assert b"X-Seen: root@client.mail.test" in said and b"X-Old" not in said
    assert b"\n\nA new body." in said and b"99 %" not in said
