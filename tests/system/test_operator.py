# SPDX-License-Identifier: MIT
"""What an operator is told when something is wrong, and what xmpprelayctl does."""

import json
import os
import re
import socket
import struct

from support import mails
from support.bridge import ACCOUNTS
from support.certificates import Authority
from support.ejabberd import Ejabberd
from support.place import wait_until


def wait_trouble(bridge, *words):
    """The log and the status both name the cause, in words that lead to the setting."""
    for word in words:
        bridge.relay.process.wait_log(word)

    def shown():
        text = bridge.relay.ctl("status").stdout
        return all(word in text for word in words)
    wait_until(shown, lambda: f"{words} in the status:\n{bridge.relay.ctl('status').stdout}")


def test_wrong_password_is_told_and_cured(bridge):
    bridge.start_reader()
    bridge.relay.set_password("not-the-password")
    bridge.relay.start()
    wait_trouble(bridge, "password")
    assert "not-the-password" not in bridge.relay.process.log_text()
    assert bridge.relay.send("ops", "--", "waits for a password").returncode == 0

    bridge.relay.set_password("alertbot-secret")
    bridge.reader.wait_message("waits for a password", timeout=120)


def test_unknown_host_is_told(bridge):
    bridge.start_reader()
    bridge.relay.account["host"] = "no-such-host.invalid"
    bridge.relay.start()
    wait_trouble(bridge, "no-such-host.invalid", "host")


def test_port_where_nobody_listens_is_told(bridge):
    bridge.start_reader()
    bridge.relay.account["port"] = bridge.place.port()
    bridge.relay.start()
    wait_trouble(bridge, "port")


def test_certificate_of_a_stranger_is_told_and_not_trusted(bridge):
    bridge.start_reader()
    other = Authority(bridge.place, "other-ca")
    bridge.relay.account["ca_file"] = str(other.certificate)
    bridge.relay.start()
    wait_trouble(bridge, "certificate", "ca_file")
    assert bridge.relay.send("ops", "--", "must not be said").returncode == 0
    assert not bridge.reader.archive()


def test_room_that_is_forbidden_is_told_and_joined_when_it_opens(bridge):
    bridge.start_reader()
    jid = f"alertbot@{bridge.server.domain}"
    bridge.reader.do("affiliation", jid=jid, affiliation="outcast")
    bridge.relay.start()
    wait_trouble(bridge, bridge.room, "ban")
    assert bridge.relay.send("ops", "--", "waits outside").returncode == 0

    bridge.reader.do("affiliation", jid=jid, affiliation="none")
    bridge.reader.wait_message("waits outside", timeout=180)


def test_server_that_asks_for_patience_is_told(make_bridge, place, authority):
    server = Ejabberd(place, authority, ACCOUNTS, name="ejabberd-slow", archive=None)
    config = server.home / "ejabberd.yml"
    config.write_text(config.read_text().replace(
        "history_size: 20\n", "history_size: 20\n    min_message_interval: 0.5\n"))
    server.start()
    try:
        bridge = make_bridge(server).start(milterd=False)
        for number in range(4):
            assert bridge.relay.send("ops", "--", f"hurried {number}").returncode == 0
        bridge.reader.wait_message("hurried", count=4)
        bridge.relay.process.wait_log("destination ops has to wait, as its server asks for patience")
        assert bridge.relay.process.log_text().count("asks for patience") == 1
    finally:
        server.kill()


def test_status_shows_account_and_destination(running):
    status = running.relay.status()
    account, = status["accounts"]
    destination, = status["destinations"]
    assert account["name"] == "main" and account["state"] == "online"
    assert destination["name"] == "ops" and destination["state"] == "ready"
    text = running.relay.ctl("status").stdout
    assert "main" in text and "ops" in text and running.room in text


def test_paused_destination_keeps_what_comes_until_resumed(running):
    running.relay.ctl("pause", "ops")
    assert running.relay.send("ops", "--", "said later").returncode == 0
    queue = json.loads(running.relay.ctl("queue", "--json").stdout)
    assert "said later" in json.dumps(queue) or len(queue) >= 1
    assert not running.reader.messages("said later")

    running.relay.ctl("resume", "ops")
    running.reader.wait_message("said later")


def test_dropped_record_is_never_said(running):
    running.relay.ctl("pause", "ops")
    assert running.relay.send("-i", "drop-me", "ops", "--", "never said").returncode == 0
    assert running.relay.send("-i", "keep-me", "ops", "--", "said though").returncode == 0
    running.relay.ctl("drop", "drop-me")
    running.relay.ctl("resume", "ops")

    running.reader.wait_message("said though")
    assert not [m for m in running.reader.archive() if "never said" in m["body"]]


def test_nothing_that_a_sender_wrote_commands_the_terminal(running):
    evil = "\x1b]0;owned\x07 \x1b[2J \u009b31m \u0090q\u009c"
    record = json.dumps({"v": 1, "id": "evil", "text": evil, "title": evil, "key": evil,
                         "source": evil, "fields": {evil: evil}}).encode()
    running.relay.ctl("pause", "ops")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(struct.pack(">I", len(record)) + record, str(running.relay.socket))
    wait_until(lambda: running.relay.status()["waiting"], "the record to be taken")

    shown = [running.relay.ctl(*command).stdout
             for command in (["show", "evil"], ["show", "evil", "--json"], ["queue"],
                             ["queue", "--json"])]
    running.relay.ctl("resume", "ops")
    running.reader.wait_message("owned")
    assert all("owned" in text for text in shown)
    for text in [*shown, running.relay.process.log_text()]:
        assert not re.search("[\x00-\x08\x0b-\x1f\x80-\x9f]", text), ascii(text)


def test_show_and_history_know_what_was_said(running):
    assert running.relay.send("-i", "known-1", "-w", "delivered", "ops", "--", "it").returncode == 0

    assert "known-1" in running.relay.ctl("show", "known-1").stdout
    assert "known-1" in running.relay.ctl("history").stdout


def test_test_posts_and_waits_for_the_echo(running):
    done = running.relay.ctl("test", "ops")

    assert done.returncode == 0
    assert len(running.reader.archive()) == 1


def test_test_that_is_not_delivered_can_be_given_up(running):
    running.relay.ctl("pause", "ops")
    kept = running.relay.ctl("-T", "1s", "test", "ops", check=False)
    assert kept.returncode == 75 and "stays in the spool" in kept.stderr
    dropped = running.relay.ctl("-T", "1s", "--drop", "test", "ops", check=False)
    assert dropped.returncode == 75 and "was dropped" in dropped.stderr

    first, = json.loads(running.relay.ctl("--json", "queue").stdout)
    last, = json.loads(running.relay.ctl("--json", "history").stdout)
    assert first["id"] in kept.stderr and first["state"] == "queued"
    assert last["id"] in dropped.stderr and last["state"] == "dropped"
    running.relay.ctl("resume", "ops")
    running.reader.wait_message("no action is needed")
    assert running.relay.ctl("--drop", "test", "ops").returncode == 0
    assert len(running.reader.archive()) == 2


def test_unknown_destination_for_test_fails(running):
    done = running.relay.ctl("test", "nowhere", check=False)

    assert done.returncode != 0
    assert "nowhere" in done.stderr


def test_log_has_one_line_with_the_ids_of_an_alert_and_no_text(running):
    running.send(mails.plain("ALERT in the log", "the secret body\n", X_Test="1"))
    running.reader.wait_message("ALERT in the log")

    running.milterd.process.wait_log(r"@client\.mail\.test")
    for process in (running.milterd.process, running.relay.process):
        assert "the secret body" not in process.log_text()
        assert "alertbot-secret" not in process.log_text()


def test_every_command_answers_in_json(running):
    def ask(*command):
        return json.loads(running.relay.ctl(*command, "--json").stdout)

    assert ask("pause", "ops") == {"paused": True}
    assert running.relay.send("-i", "here-1", "-t", "Title", "ops", "--", "text").returncode == 0
    entry, = ask("queue")
    assert (entry["id"], entry["state"], entry["title"]) == ("here-1", "queued", "Title")
    assert ask("queue", "--failed") == []
    assert ask("show", "here-1")["record"]["text"] == "text"
    assert ask("retry", "all") == {"retried": 0}
    assert ask("drop", "here-1") == {"dropped": 1, "failed": 0}
    assert ask("resume") == {"paused": False}
    assert ask("test", "ops")["delivered"] is True
    assert [entry["state"] for entry in ask("history")] == ["delivered", "dropped"]
    assert ask("status")["waiting"] == 0


def test_lists_end_where_they_are_told_to(running):
    for number in (1, 2, 3):
        assert running.relay.send("-i", f"done-{number}", "-w", "delivered", "ops", "--",
                                  "text").returncode == 0
    running.relay.ctl("pause", "ops")
    for number in (1, 2, 3):
        assert running.relay.send("-i", f"waits-{number}", "ops", "--", "text").returncode == 0

    def ids(*command):
        return [entry["id"] for entry in json.loads(running.relay.ctl("--json", *command).stdout)]

    assert ids("-n", "2", "history") == ["done-3", "done-2"]
    assert ids("--limit", "1", "queue") == ["waits-1"]
    assert ids("-n", "9", "queue") == ["waits-1", "waits-2", "waits-3"]
    lines = running.relay.ctl("-n", "1", "history").stdout.splitlines()
    assert len(lines) == 2 and "done-3" in lines[1]
    running.relay.ctl("resume", "ops")
    running.reader.wait_message("text", count=6)


def test_what_is_shown_fits_a_terminal(running):
    title = "web1: " + "a title that is as long as titles come " * 2
    running.relay.ctl("test", "ops")
    running.relay.ctl("pause", "ops")
    assert running.relay.send("-t", title, "ops", "--", "text").returncode == 0

    for command in ("history", "queue", "status"):
        lines = running.relay.ctl(command).stdout.splitlines()
        assert lines
        # Below what it is about stands whatever may be of any length; a room's address may, too.
        assert all(len(line) <= 80 for line in lines
                   if not line.startswith("    ") and running.room not in line), lines
    assert f"\n    {title.strip()}\n" in running.relay.ctl("queue").stdout
    assert "xmpprelayctl resume ops" in running.relay.ctl("status").stdout
    running.relay.ctl("resume", "ops")
    running.reader.wait_message("web1")


def test_exit_statuses_of_xmpprelayctl(running):
    def status(*arguments):
        done = running.relay.ctl(*arguments, check=False)
        assert done.returncode == 0 or done.stderr.strip()
        return done.returncode

    assert status("resume") == 0
    for wrong in ([], ["sleep"], ["show"], ["status", "now"], ["--frob", "status"],
                  ["-T", "soon", "status"], ["--failed", "history"],
                  ["-n", "0", "queue"], ["-n", "many", "queue"], ["-n", "1", "status"],
                  ["--drop", "queue"]):
        assert status(*wrong) == 64, wrong
    for refused in (["show", "unknown"], ["drop", "unknown"], ["retry", "unknown"],
                    ["pause", "nowhere"], ["test", "nowhere"]):
        assert status(*refused) == 65, refused
    running.relay.ctl("pause", "ops")
    assert status("-T", "1s", "test", "ops") == 75
    running.relay.ctl("resume", "ops")
    running.relay.stop()
    assert status("status") == 69


def test_sockets_are_gone_after_a_stop(running):
    assert running.milterd.stop() == 0
    assert running.relay.stop() == 0
    for path in (running.milterd.socket, running.relay.socket, running.relay.control):
        assert not os.path.exists(path)
