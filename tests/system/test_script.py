# SPDX-License-Identifier: MIT
"""Lua scripts, as the MTA, its clients and the room see what they do."""

import json
import re
import signal
import smtplib
from pathlib import Path

import pytest

from support import mails, metrics
from support.daemons import as_user
from support.mta import Mta
from support.place import own, run, wait_until


def script(bridge, text, name="it", options=""):
    return bridge.milterd.add_script(text, name, options)


def delivered(bridge, subject):
    return bridge.postfix.wait_delivered(subject.encode())[0]


def test_changes_of_a_script_are_in_the_delivered_mail(bridge):
    script(bridge, """
      function message(m)
        m:change_header("Subject", "[tagged] " .. m.headers.subject)
        m:add_header("X-Seen", "by " .. m.client .. " Grüße")
        m:insert_header(0, "X-First", "first")
        m:delete_header("X-Old")
        m:delete_header("X-Many", 2)
        m:add_rcpt("more@mail.test")
        m:delete_rcpt("ops@mail.test")
        m:change_from("bounce@mail.test")
        m:replace_body("A new body.\\nOf two lines.\\n")
      end""")
    bridge.start()
    mail = ("From: a@client.mail.test\nTo: ops@mail.test\nSubject: Übung\n"
            "X-Old: 1\nX-Many: one\nX-Many: two\nX-Many: three\nX-Old: 2\n\nold body\n")
    assert bridge.send(mail.encode())[0] == 250

    mail = delivered(bridge, "[tagged]")
    assert mail["Subject"] == "[tagged] Übung"
    assert mail["X-Seen"] == "by 127.0.0.1 Grüße"
    assert mail["X-Old"] is None
    assert mail.get_all("X-Many") == ["one", "three"]
    assert mail["Return-Path"] == "<bounce@mail.test>"
    assert mail["Delivered-To"] == "more@mail.test"
    assert mail.get_payload() == "A new body.\nOf two lines.\n"
    assert list(mail.keys()).index("X-First") < list(mail.keys()).index("From")
    assert len(bridge.postfix.delivered(b"[tagged]")) == 1


def test_hostile_text_makes_no_header_of_its_own(bridge):
    script(bridge, """
      function message(m)
        m:add_header("X-Copy", m.text)
        m:add_header("X-Raw", m.body)
      end""")
    bridge.start()
    body = "one\r\nX-Evil: yes\r\n\r\nX-Worse: yes\r\n"
    assert bridge.send(mails.plain("hostile text", body))[0] == 250

    mail = delivered(bridge, "hostile text")
    assert mail["X-Evil"] is None and mail["X-Worse"] is None
    assert "X-Evil: yes" in mail["X-Copy"] and "X-Worse: yes" in mail["X-Raw"]


def test_reply_of_several_lines_reaches_the_client(bridge):
    script(bridge, """
      function rcpt(m, address)
        if address == "no@mail.test" then
          return m:reply("550", "5.1.1", "Nobody here.", "100 % sure.")
        end
      end
      function mail(m, from)
        if from:find("later") then return m:reply("451", "4.7.1", "Later.") end
      end""")
    bridge.start()
    with bridge.postfix.session() as session:
        session.ehlo()
        assert session.mail("root@client.mail.test")[0] == 250
        code, text = session.rcpt("no@mail.test")
        assert code == 550
        assert text.decode().splitlines() == ["5.1.1 Nobody here.", "5.1.1 100 % sure."]
        assert session.rcpt("yes@mail.test")[0] == 250
        assert session.data(mails.plain("for one of two"))[0] == 250
        assert session.mail("later@client.mail.test")[0] == 451

    assert delivered(bridge, "for one of two")["Delivered-To"] == "yes@mail.test"


@pytest.mark.parametrize("event", ["helo", "mail", "data", "header", "headers", "body",
                                   "message"])
def test_mail_is_refused_at(bridge, event):
    script(bridge, f'function {event}(m) return m:reply("554", "5.7.1", "Not at {event}.") end')
    bridge.start()
    code, text = bridge.send(mails.plain(f"refused at {event}"))

    assert code == 554 and f"Not at {event}." in text
    assert not bridge.postfix.delivered(f"refused at {event}".encode())


def test_connection_is_refused(bridge):
    """Postfix says so in words of its own."""
    script(bridge, 'function connect(m) return "reject" end')
    bridge.start()
    with pytest.raises(smtplib.SMTPConnectError) as refused:
        bridge.send(mails.plain("refused at connect"))
    assert refused.value.smtp_code == 554


def test_mail_is_held_and_the_other_discarded(bridge):
    script(bridge, """
      function headers(m)
        if m.headers.subject:find("to lose") then return "discard" end
      end
      function message(m) m:quarantine("looks odd") end""")
    bridge.start()
    assert bridge.send(mails.plain("to lose"))[0] == 250
    assert bridge.send(mails.plain("to keep"))[0] == 250

    held = wait_until(
        lambda: [m for m in bridge.postfix.queued() if m["queue_name"] == "hold"], "a held mail")
    assert len(held) == 1
    bridge.postfix.forget(held[0]["queue_id"])
    assert not bridge.postfix.delivered(b"to lose")


def test_alert_of_a_script_is_said_once_however_often_the_mail_comes(bridge):
    script(bridge, """
      function message(m)
        m:alert{ to = "ops", title = "seen: " .. m.headers.subject, text = "password=hunter22",
                 severity = "critical" }
        return m.headers.subject:find("again") and "tempfail" or nil
      end""")
    bridge.start()
    mail = mails.plain("come again")
    for _ in range(3):
        assert bridge.send(mail)[0] == 451
    assert bridge.send(mails.plain("go on"))[0] == 250

    said = bridge.reader.wait_message("seen: come again")
    bridge.reader.wait_message("seen: go on")
    assert len(bridge.reader.messages()) == 2
    assert "hunter22" not in said["body"]
    delivered(bridge, "go on")


def test_alerts_of_rules_are_not_lost_to_a_script(bridge):
    """It discards early, and accepts in the end: the rule's alert goes out before either."""
    script(bridge, """
      function mail(m, from) if from:find("lose") then return "discard" end end
      function message(m) m:add_header("X-Seen", "yes") return "accept" end""")
    bridge.start()
    assert bridge.send(mails.plain("ALERT to lose"), sender="lose@client.mail.test")[0] == 250
    assert bridge.send(mails.plain("ALERT to keep"))[0] == 250

    bridge.reader.wait_message("ALERT to lose")
    bridge.reader.wait_message("ALERT to keep")
    assert delivered(bridge, "ALERT to keep")["X-Seen"] == "yes"
    assert not bridge.postfix.delivered(b"ALERT to lose")


@pytest.mark.parametrize("event", ["headers", "message"])
def test_mail_is_not_lost_with_its_alert(bridge, event):
    script(bridge, f'''
      function {event}(m)
        m:alert{{ text = "x" }}
        return "discard"
      end''')
    bridge.milterd.relay_extra = 'timeout = "500ms"; on_failure = "accept";'
    bridge.milterd.rules = ""
    bridge.milterd.start()
    subject = f"kept in {event}"
    assert bridge.send(mails.plain(subject))[0] == 250

    assert delivered(bridge, subject)


def test_mail_that_a_script_refuses_is_no_alert_of_a_rule(bridge):
    script(bridge, 'function message(m) if m.text:find("spam") then return "reject" end end')
    bridge.start()
    assert bridge.send(mails.plain("ALERT refused", "spam\n"))[0] == 550
    assert bridge.send(mails.plain("ALERT taken", "ham\n"))[0] == 250

    bridge.reader.wait_message("ALERT taken")
    assert len(bridge.reader.messages()) == 1


def test_without_the_relay_nothing_is_changed_and_the_mail_put_off(bridge):
    script(bridge, """
      function message(m)
        m:alert{ text = "x" }
        m:add_header("X-Seen", "yes")
      end""")
    bridge.milterd.relay_extra = 'timeout = "500ms";'
    bridge.milterd.start()
    assert bridge.send(mails.plain("put off"))[0] == 451
    assert not bridge.postfix.delivered(b"put off")


@pytest.mark.parametrize("on_error, code", [("tempfail", 451), ("accept", 250)])
def test_failure_of_a_script(bridge, on_error, code):
    script(bridge, """
      function message(m)
        m:add_header("X-Half", "done")
        m:alert{ text = "half done" }
        error("oh dear")
      end""", options=f'on_error = "{on_error}";')
    bridge.start()
    subject = f"ALERT on_error {on_error}"
    assert bridge.send(mails.plain(subject))[0] == code

    line = bridge.milterd.process.wait_log(".*oh dear.*").group()
    assert "script=it" in line and "it:5: oh dear" in line and "event=message" in line
    if on_error == "accept":
        bridge.reader.wait_message(subject)
        assert len(bridge.reader.messages()) == 1
        assert delivered(bridge, subject)["X-Half"] is None


def steps(bridge, *steps):
    """The answers of the filter, which must come at once."""
    mta = Mta(bridge.milterd.socket, timeout=10)
    connect = b"client.mail.test\0004\0\x19127.0.0.1\0"
    answers = [mta.step(letter, data)
               for letter, data in (("C", connect), ("H", b"client.mail.test\0"), *steps)]
    mta.close()
    return answers[2:]


def test_failure_for_one_recipient_puts_off_the_mail_of_the_others(bridge):
    """Also at a step that is not answered: the MTA would wait for it in vain."""
    script(bridge, 'function rcpt(m, address) if address:find("bad") then error("oh dear") end end')
    bridge.milterd.rules = ""
    bridge.milterd.start()
    answers = steps(bridge, ("M", b"<root@client.mail.test>\0"), ("R", b"<good@mail.test>\0"),
                    ("R", b"<bad@mail.test>\0"), ("L", b"Subject\0hello\0"), ("N", b""),
                    ("B", b"text\r\n"), ("E", b""))

    assert answers == ["continue", "continue", "replycode", "continue", "continue", "continue",
                       "replycode"]


def test_unknown_command_between_recipients_and_data(bridge):
    script(bridge, """
      function unknown(m, command) m:log("unknown " .. command) end
      function message(m) m:log("subject " .. m.headers.subject) return "accept" end""")
    bridge.milterd.start()
    answers = steps(bridge, ("M", b"<root@client.mail.test>\0"), ("R", b"<ops@mail.test>\0"),
                    ("U", b"NONSENSE\0"), ("T", b""), ("L", b"Subject\0hello\0"), ("N", b""),
                    ("B", b"text\r\n"), ("E", b""))

    assert answers == 7 * ["continue"] + ["accept"]
    bridge.milterd.process.wait_log("script: unknown NONSENSE.*")
    bridge.milterd.process.wait_log("script: subject hello.*")


def test_changes_for_the_next_client_on_the_same_connection(bridge):
    script(bridge, """
      function unknown(m) end
      function message(m) m:add_header("X-Seen", "yes") end""")
    bridge.milterd.rules = ""
    bridge.milterd.start()
    mta = Mta(bridge.milterd.socket)
    assert mta.mail([("Subject", "one")], b"text\r\n") == ("h", "E")
    assert mta.answer() == "accept"
    assert mta.step("U", b"NONSENSE\0") == "continue"
    mta.next_client()
    assert mta.mail([("Subject", "two")], b"text\r\n") == ("h", "E")
    assert mta.answer() == "accept"
    mta.close()


def test_what_scripts_do_is_counted(bridge):
    script(bridge, """
      function mail(m, from) if from:find("no@") then return "reject" end end
      function message(m)
        if m.headers.subject == "bad" then error("oh dear") end
        if m.headers.subject == "held" then m:quarantine("so") end
      end""")
    script(bridge, "function message() end", "other")
    port = bridge.place.port()
    bridge.milterd.extra = f'metrics: {{ listen = "127.0.0.1:{port}"; }};'
    bridge.milterd.start()
    bridge.send(mails.plain("good"))
    bridge.send(mails.plain("good"), sender="no@client.mail.test")
    bridge.send(mails.plain("held"))
    for _ in range(2):
        bridge.send(mails.plain("bad"))

    page = metrics.Page(("127.0.0.1", port))
    assert page("milterd_script_errors_total", script="it") == 2
    assert page("milterd_script_errors_total", script="other") == 0
    for stage, verdict, n in [("message", "accept", 1), ("mail", "reject", 1),
                              ("message", "tempfail", 2), ("message", "quarantine", 1)]:
        assert page("milterd_messages_total", stage=stage, verdict=verdict) == n
    for held in bridge.postfix.queued():
        bridge.postfix.forget(held["queue_id"])


def test_script_that_runs_on_is_stopped_and_the_worker_goes_on(bridge):
    script(bridge, """
      function message(m)
        if m.headers.subject:find("loop") then while true do end end
        if m.headers.subject:find("memory") then local s = "x" while true do s = s .. s end end
        if m.headers.subject:find("pattern") then return (("a"):rep(50000)):find(".-.-.-.-b$") end
      end""", options='time = "200ms"; memory = "1M";')
    bridge.start()
    for subject in ("loop", "memory", "pattern"):
        assert bridge.send(mails.plain(subject))[0] == 451
    assert bridge.send(mails.plain("nothing wrong"))[0] == 250
    delivered(bridge, "nothing wrong")


def test_every_event_is_seen_in_its_order(bridge):
    script(bridge, """
      local function note(m, what)
        m.connection.seen = (m.connection.seen or "") .. " " .. what
      end
      function connect(m) note(m, "connect=" .. m.client) end
      function helo(m, name) note(m, "helo=" .. name) end
      function mail(m, from, args) note(m, "mail=" .. from .. "," .. (args[1] or "")) end
      function rcpt(m, to, args) note(m, "rcpt=" .. to) end
      function data(m) note(m, "data=" .. #m.rcpts) end
      function header(m, name, text, value)
        if name == "Subject" then note(m, "header=" .. text .. "/" .. value) end
      end
      function headers(m) note(m, "headers") end
      function body(m, chunk) note(m, "body=" .. #chunk) end
      function message(m) note(m, "message") m:log("saw" .. m.connection.seen) end
      function unknown(m, command) note(m, "unknown=" .. command) end
      function abort(m) note(m, "abort") end
      function close(m) m:log("end" .. m.connection.seen) end""")
    bridge.milterd.start()
    with bridge.postfix.session() as session:
        session.ehlo()
        session.docmd("NONSENSE")
        session.mail("a@client.mail.test", ["SIZE=1000"])
        session.rset()
        session.mail("b@client.mail.test")
        session.rcpt("ops@mail.test")
        session.rcpt("dev@mail.test")
        session.data(b"Subject: =?utf-8?q?=C3=BC?=\r\n\r\n12345\r\n")

    line = bridge.milterd.process.wait_log("script: saw.*").group()
    assert ("connect=127.0.0.1 helo=client.mail.test unknown=NONSENSE "
            "mail=a@client.mail.test,SIZE=1000 abort mail=b@client.mail.test, rcpt=ops@mail.test "
            "rcpt=dev@mail.test data=2 header=ü/=?utf-8?q?=C3=BC?= headers body=7 message") in line
    assert "message" in bridge.milterd.process.wait_log("script: end connect=.*").group()


def test_macros_that_a_script_names_are_told(bridge):
    script(bridge, """
      macros = { "client_ptr", "{daemon_name}", "i" }
      function message(m)
        m:add_header("X-Macros", m.macros.client_ptr .. " " .. m.macros["{daemon_name}"] .. " "
          .. tostring(m.macros.i == m.queue_id))
      end""")
    bridge.milterd.start()
    assert bridge.send(mails.plain("with macros"))[0] == 250
    assert delivered(bridge, "with macros")["X-Macros"] == "unknown mx.mail.test true"


def test_mail_that_is_submitted_is_known_and_changed(bridge):
    script(bridge, """
      function rcpt(m, address)
        if address == "no@mail.test" and not m.is_local then return "reject" end
      end
      function message(m)
        m:delete_rcpt("no@mail.test")
        m:add_header("X-Local", tostring(m.is_local))
      end""")
    bridge.milterd.start()
    done = bridge.postfix.submit(mails.plain("submitted"), to=("yes@mail.test", "no@mail.test"))
    assert done.returncode == 0
    assert bridge.send(mails.plain("by SMTP"), to=("yes@mail.test",))[0] == 250
    assert bridge.send(mails.plain("refused"), to=("no@mail.test",))[0] == 550

    mail = delivered(bridge, "Subject: submitted")
    assert mail["X-Local"] == "true" and mail["Delivered-To"] == "yes@mail.test"
    assert delivered(bridge, "Subject: by SMTP")["X-Local"] == "false"
    assert len(bridge.postfix.delivered(b"Subject: submitted")) == 1


def test_scripts_are_asked_in_their_order(bridge):
    script(bridge, 'function message(m) m:add_header("X-Order", "one") end', "one")
    script(bridge, 'function message(m) m:add_header("X-Order", "two") return "accept" end', "two")
    script(bridge, 'function message(m) m:add_header("X-Order", "three") end', "three")
    bridge.milterd.start()
    assert bridge.send(mails.plain("in order"))[0] == 250
    assert delivered(bridge, "in order").get_all("X-Order") == ["one", "two"]


def test_state_of_one_connection_is_not_seen_by_another(bridge):
    script(bridge, """
      count = 0
      function message(m)
        count = count + 1
        m.connection.n = (m.connection.n or 0) + 1
        m:add_header("X-Count", count .. " " .. m.connection.n)
      end""")
    bridge.milterd.workers = 1
    bridge.milterd.start()
    for _ in range(2):
        assert bridge.send(mails.plain("each connection anew"))[0] == 250
    delivered_ones = bridge.postfix.wait_delivered(b"each connection anew", 2)
    assert [m["X-Count"] for m in delivered_ones] == ["1 1", "1 1"]


def test_broken_script_keeps_the_configuration_that_is_there(bridge):
    path = script(bridge, 'function message(m) m:add_header("X-Version", "1") end')
    bridge.milterd.start()
    path.write_text("function message(m)\n  m:add_header(\n")
    done = as_user(bridge.milterd.user, [bridge.programs["milterd"], "-n", "-c",
                                         bridge.milterd.config])
    assert done.returncode == 78
    assert f"{path}:3: " in done.stderr

    bridge.milterd.process.send_signal(signal.SIGHUP)
    bridge.milterd.process.wait_log("keeping the old configuration")
    assert bridge.send(mails.plain("version 1"))[0] == 250
    assert delivered(bridge, "version 1")["X-Version"] == "1"

    path.write_text('function message(m) m:add_header("X-Version", "2") end')
    bridge.milterd.process.send_signal(signal.SIGHUP)
    bridge.milterd.process.wait_log("reloaded")
    bridge.milterd.process.wait_log("has drained(?s:.*)has drained")  # which could take it, too
    assert bridge.send(mails.plain("version 2"))[0] == 250
    assert delivered(bridge, "version 2")["X-Version"] == "2"


MILTERTEST = """
local conn = mt.connect("unix:SOCKET")
assert(conn)
local function check(what, error) if not what then
  print("not so: " .. error) os.exit(1) end end
local function answers(reply, name)
  check(mt.getreply(conn) == reply, name .. " is answered otherwise") end
check(not mt.negotiate(conn, nil, nil, nil), "negotiate")
check(not mt.conninfo(conn, "mx.example.org", "192.0.2.1"), "conninfo")
answers(SMFIR_CONTINUE, "connect")
check(not mt.helo(conn, "mx.example.org"), "helo")
answers(SMFIR_CONTINUE, "helo")
check(not mt.unknown(conn, "XYZZY"), "unknown")
answers(SMFIR_CONTINUE, "unknown")
check(not mt.mailfrom(conn, "<a@x>", "SIZE=1"), "mailfrom")
answers(SMFIR_CONTINUE, "mail")
check(not mt.rcptto(conn, "<no@y>"), "rcptto")
answers(SMFIR_REPLYCODE, "rcpt")
check(not mt.rcptto(conn, "<ops@y>"), "rcptto")
answers(SMFIR_CONTINUE, "rcpt")
check(not mt.data(conn), "data")
check(not mt.header(conn, "Subject", "hello"), "header")
check(not mt.header(conn, "Old", "value"), "header")
answers(SMFIR_CONTINUE, "header")
check(not mt.eoh(conn), "eoh")
answers(SMFIR_CONTINUE, "headers")
check(not mt.bodystring(conn, "old body\\r\\n"), "bodystring")
answers(SMFIR_CONTINUE, "body")
check(not mt.eom(conn), "eom")
answers(SMFIR_ACCEPT, "message")
check(mt.eom_check(conn, MT_HDRADD, "X-Seen",
  "connect helo unknown mail rcpt rcpt data header header headers body\\n message"),
  "events are " .. tostring(mt.getheader(conn, "X-Seen", 0)))
check(mt.eom_check(conn, MT_HDRINSERT, "X-First", "first", 0), "insert_header")
check(mt.eom_check(conn, MT_HDRCHANGE, "Subject", "changed"), "change_header")
check(mt.eom_check(conn, MT_HDRDELETE, "Old"), "delete_header")
check(mt.eom_check(conn, MT_RCPTADD, "<more@y>"), "add_rcpt")
check(mt.eom_check(conn, MT_RCPTDELETE, "<ops@y>"), "delete_rcpt")
check(mt.eom_check(conn, MT_BODYCHANGE, "new body\\r\\n"), "replace_body")
check(mt.eom_check(conn, MT_QUARANTINE, "so"), "quarantine")
mt.disconnect(conn)
"""


def test_every_event_and_action_as_miltertest_sees_it(bridge):
    script(bridge, """
      local function note(m) m.connection.seen = (m.connection.seen or "") .. m.event .. " " end
      for _, name in ipairs{ "connect", "helo", "unknown", "mail", "data", "header", "headers",
                             "body" } do
        _G[name] = note
      end
      function rcpt(m, address)
        note(m)
        if address == "no@y" then return m:reply("550", "5.1.1", "no") end
      end
      function message(m)
        m:add_header("X-Seen", m.connection.seen .. m.event)
        m:insert_header(0, "X-First", "first")
        m:change_header("Subject", "changed")
        m:delete_header("Old")
        m:add_rcpt("more@y")
        m:delete_rcpt("ops@y")
        m:replace_body("new body\\n")
        m:quarantine("so")
        m:change_from("new@x")
      end""")
    bridge.milterd.start()
    path = bridge.place.file("test.lua", MILTERTEST.replace("SOCKET", str(bridge.milterd.socket)))
    done = run(["miltertest", "-s", path])
    assert done.returncode == 0, done.stdout + done.stderr


# What the manual and the examples say, run as their reader would run it.

ROOT = Path(__file__).parent.parent.parent
MANUAL = ROOT / "packaging" / "man" / "milterd-lua.5"
EXAMPLES = ROOT / "packaging" / "examples" / "lua"


def examples_of_the_manual():
    blocks = re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", MANUAL.read_text(), re.M | re.S)
    return [block.replace(r"\e", "\\") for block in blocks]


def explained(bridge, script_text, mail, *options):
    """What --explain --json says of the mail."""
    bridge.milterd.rules = ""
    bridge.milterd.scripts = []
    script(bridge, script_text)
    bridge.milterd.write()
    path = bridge.milterd.folder / "mail.eml"
    path.write_bytes(mail)
    own(path, bridge.milterd.user, None, 0o644)
    done = as_user(bridge.milterd.user, [
        bridge.programs["milterd"], "-c", bridge.milterd.config, "--explain", "--json", *options,
        path])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def example(name):
    return (EXAMPLES / f"{name}.lua").read_text()


def test_every_example_of_the_manual_does_what_it_says(bridge):
    first, table, subject, copy, password, numbers = examples_of_the_manual()
    mail = mails.plain("Hello")

    assert explained(bridge, first, mail)["changes"] == ["change_header 1 Subject: [list] Hello"]
    said = explained(bridge, table, mail, "--rcpt=old@example.org")
    assert said["verdict"] == "reject" and said["reply"] == "550 5.1.1 This address is no more."
    said = explained(bridge, table, mail, "--rcpt=old@example.org", "--auth=bob")
    assert said["verdict"] is None

    assert explained(bridge, subject, mail)["verdict"] is None
    said = explained(bridge, subject, b"From: a@x\r\n\r\nx\r\n")
    assert said["event"] == "headers" and said["reply"].startswith("550 5.6.0 A mail needs")
    said = explained(bridge, copy, mail, "--envelope-from=contracts@example.org")
    assert said["changes"] == ["add_rcpt <archive@example.org>"]
    assert explained(bridge, copy, mail, "--envelope-from=a@x")["changes"] == []

    said = explained(bridge, password, mails.plain("Hello", "my Password: s3cret12\n"))
    assert said["changes"] == ["quarantine: a password in a mail"]
    assert said["script_alerts"][0]["record"]["title"] == "Held: Hello"
    assert explained(bridge, password, mail)["changes"] == []
    said = explained(bridge, numbers, mail, "--rcpt=123@example.org")
    assert said["reply"] == "550 5.1.1 Nobody is called by a number."


def test_every_example_that_is_installed_does_what_it_says(bridge):
    mail = mails.plain("Hello", X_Submitted_By="me")

    assert explained(bridge, example("tag-subject"), mail, "--client=192.0.2.1")["changes"] == [
        "change_header 1 Subject: [external] Hello"]
    for options in ([], ["--client=10.1.2.3"], ["--client=192.0.2.1", "--auth=bob"]):
        assert explained(bridge, example("tag-subject"), mail, *options)["changes"] == []

    assert explained(bridge, example("add-header"), mail, "--auth=bob")["changes"] == [
        "delete_header 1 X-Submitted-By", "insert_header 1 X-Submitted-By: bob (no TLS)"]
    assert explained(bridge, example("add-header"), mail)["changes"] == [
        "delete_header 1 X-Submitted-By"]

    said = explained(bridge, example("reject-by-macro"), mail, "--auth=bob",
                     "--envelope-from=al@x")
    assert said["event"] == "mail" and said["reply"].startswith("553 5.7.1 You are")
    for options in (["--auth=bob"], []):
        assert explained(bridge, example("reject-by-macro"), mail, "--envelope-from=bob@x",
                         *options)["verdict"] is None

    said = explained(bridge, example("count-failures"), mails.plain(
        "Report", X_Failed="17", X_Host="db1"))
    record = said["script_alerts"][0]["record"]
    assert record["title"] == "17 failures on db1" and record["severity"] == "warning"
    said = explained(bridge, example("count-failures"), mails.plain(
        "Report", X_Failed="0", X_Host="db1"))
    assert said["script_alerts"][0]["record"]["key"] == record["key"]
    assert said["script_alerts"][0]["record"]["state"] == "recovery"
    assert explained(bridge, example("count-failures"), mail)["script_alerts"] == []

    said = explained(bridge, example("spamtrap"), mail, "--rcpt=trap@example.org", "--rcpt=a@b",
                     "--client=192.0.2.1")
    assert said["event"] == "data" and said["verdict"] == "reject"
    assert "192.0.2.1 has written to trap@example.org" in said["script_alerts"][0]["message"]
    assert len(list(EXAMPLES.iterdir())) == 5


def test_every_member_and_event_is_in_the_manual():
    manual = MANUAL.read_text()
    source = "".join((ROOT / "milterd" / name).read_text()
                     for name in ("vm-mail.c", "vm-action.c", "script-event.c"))
    members = re.findall(r'\[MEMBER_\w+\] = "(\w+)"', source)
    methods = re.findall(r'\{ "(\w+)", \w+ \},', source)
    events = re.findall(r'\[SCRIPT_\w+\] = "(\w+)"', source)

    assert len(members) > 10 and len(methods) > 10 and len(events) == 12
    assert not [name for name in members if f".It Va m.{name}" not in manual]
    assert not [name for name in methods if f"Fn m:{name}" not in manual]
    assert not [name for name in events if f".It Fn {name} m" not in manual]
