# SPDX-License-Identifier: MIT
"""Secrets in alert mails, which no room may see."""

from support import mails

KEY = """\
-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ
-----END OPENSSH PRIVATE KEY-----
"""


def test_secrets_of_a_mail_are_hidden_in_the_room_and_delivered(running):
    running.send(mails.plain(
        "ALERT backup to https://bob:hunter2@db1.example.org/ failed",
        "env: PGPASSWORD=correct-horse\n" + KEY + "Failed password for root from 192.0.2.7\n"))

    body = running.reader.wait_message("ALERT backup to")["body"]
    assert "https://bob:[redacted]@db1.example.org/" in body
    assert "PGPASSWORD=[redacted]" in body
    assert "Failed password for root from 192.0.2.7" in body
    for secret in ("hunter2", "correct-horse", "b3BlbnNz"):
        assert secret not in body
        assert secret not in running.milterd.process.log_text()
    assert "correct-horse" in running.postfix.wait_delivered(b"ALERT backup to")[0].get_content()
    running.milterd.process.wait_log(r"the relay has the alert.*redacted=3")


def test_own_pattern_hides_what_it_names(bridge):
    bridge.milterd.extra = """
redact: ( { name = "badge"; regex = "badge (?<secret>[0-9]+)"; } );"""
    bridge.start()
    bridge.send(mails.plain("ALERT at the door", "opened with badge 4711 by password=x1\n"))

    body = bridge.reader.wait_message("ALERT at the door")["body"]
    assert "opened with badge [redacted] by password=[redacted]" in body


def test_text_that_a_pattern_cannot_look_through_is_withheld(bridge):
    bridge.milterd.extra = """
redact: ( { name = "slow"; regex = "(a+)+[bc]$"; } );"""
    bridge.start()
    for n in range(2):
        bridge.send(mails.plain(f"ALERT number {n}", "a" * 5000 + "!\n"))
        body = bridge.reader.wait_message(f"ALERT number {n}")["body"]
        assert "(text withheld: a redact pattern reached its limits)" in body
        assert "aaaa" not in body

    # Each worker says so once.
    log = bridge.milterd.process.log_text()
    assert 1 <= log.count('the redact pattern "slow" reached its limits') <= bridge.milterd.workers
