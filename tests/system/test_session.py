# SPDX-License-Identifier: MIT
"""The session process alone: what it makes of a server, good or bad."""

import re
import resource
import signal
import threading
import time
import uuid

import pytest

from support import session as link
from support.certificates import Authority
from support.fake_server import HEADER, FakeServer
from support.place import wait_until
from support.reader import Reader
from support.session import Session, account, contact, room

BOT = "alertbot-secret"


def new_id():
    return uuid.uuid4().hex


@pytest.fixture
def password(place):
    return place.file("session-password", BOT + "\n", mode=0o600)


@pytest.fixture
def make_session(place, programs):
    sessions = []

    def make(**options):
        (place.path / "log").mkdir(exist_ok=True)
        log = place.path / "log" / f"session-{len(sessions)}.log"
        made = Session(programs["xmpprelay"], log, **options)
        sessions.append(made)
        return made

    yield make
    problems = [problem for made in sessions for problem in made.close()]
    assert not problems, "\n".join(problems)


@pytest.fixture
def make_fake():
    fakes = []

    def make(**options):
        fakes.append(FakeServer(**options))
        return fakes[-1]

    yield make
    for fake in fakes:
        fake.close()


@pytest.fixture
def server(prosody):
    prosody.ensure_running()
    return prosody


@pytest.fixture
def make_reader(place, authority):
    readers = []

    def make(server, jid):
        reader = Reader(server, authority, f"reader@{server.domain}", "reader-secret", [jid],
                        log=place.path / "log" / "reader.log")
        readers.append(reader)
        return reader.wait_joined()

    yield make
    for reader in readers:
        reader.close()


def new_room(server):
    return f"r{uuid.uuid4().hex[:12]}@{server.rooms}"


@pytest.fixture(params=["prosody", "ejabberd"])
def either(request):
    server = request.getfixturevalue(request.param)
    server.ensure_running()
    return server


# Posting and its proof.

def test_a_post_is_proved_by_its_echo(either, make_session, make_reader, authority, password):
    jid, stanza_id = new_room(either), new_id()
    reader = make_reader(either, jid)
    session = make_session().start(
        account(either, password, authority.certificate), room(3, jid))
    session.wait_ready(3)
    session.post(3, stanza_id, "Disk <full> & \"hot\" on räk1\nsecond line")
    done = session.wait("done", destination=3)
    assert done["id"] == stanza_id
    seen = reader.wait_message("Disk <full> & \"hot\" on räk1\nsecond line")
    assert seen["id"] == stanza_id


def test_a_post_keeps_its_own_delay_stamp_and_origin_id(server, make_session, make_reader,
                                                         authority, password):
    jid, stanza_id = new_room(server), new_id()
    reader = make_reader(server, jid)
    session = make_session().start(account(server, password, authority.certificate), room(0, jid))
    session.wait_ready()
    session.post(0, stanza_id, "yesterday", delay=1_700_000_000)
    session.wait("done", id=stanza_id)
    reader.wait_message("yesterday")


def test_a_thousand_posts_arrive_in_order(server, make_session, make_reader, authority, password):
    jid, ids = new_room(server), [new_id() for _ in range(1000)]
    reader = make_reader(server, jid)
    session = make_session().start(account(server, password, authority.certificate), room(0, jid))
    session.wait_ready()
    for first in range(0, 1000, 100):
        for number in range(first, first + 100):
            session.post(0, ids[number], f"message {number}")
        session.wait("done", id=ids[first + 99])
    assert [m["id"] for m in session.heard if m["type"] == "done"] == ids
    reader.wait_message("message 999")
    assert [m["id"] for m in reader.messages("message")] == ids


def test_history_proves_what_was_of_unknown_fate(either, make_session, make_reader, authority,
                                                 password):
    jid, arrived, lost = new_room(either), new_id(), new_id()
    make_reader(either, jid)
    first = make_session().start(account(either, password, authority.certificate), room(0, jid))
    first.wait_ready()
    began = time.time()
    first.post(0, arrived, "was it seen?")
    first.wait("done", id=arrived)
    first.child.kill()

    second = make_session().start(
        account(either, password, authority.certificate),
        room(0, jid, pending=[arrived, lost], since=began))
    ready = second.wait_ready()
    done = second.wait("done", id=arrived)
    assert second.heard.index(done) < second.heard.index(ready)
    assert second.count("done", id=lost) == 0


def test_a_contact_is_confirmed_by_the_server_behind_the_message(either, make_session, make_reader,
                                                                 authority, password):
    stanza_id = new_id()
    make_reader(either, new_room(either))  # so that reader@ is there to take it
    session = make_session().start(
        account(either, password, authority.certificate), contact(1, f"reader@{either.domain}"))
    session.wait_ready(1)
    session.post(1, stanza_id, "hello")
    session.wait("done", destination=1, id=stanza_id)


def test_a_contact_that_does_not_exist_fails(server, make_session, authority, password):
    stanza_id = new_id()
    session = make_session().start(
        account(server, password, authority.certificate), contact(1, f"nobody@{server.domain}"))
    session.wait_ready(1)
    session.post(1, stanza_id, "hello")
    failed = session.wait("failed", id=stanza_id)
    assert failed["kind"] == link.FINAL and "service-unavailable" in failed["reason"]


def test_text_that_xml_forbids_fails_alone(server, make_session, authority, password):
    jid, bad, good = new_room(server), new_id(), new_id()
    session = make_session().start(account(server, password, authority.certificate), room(0, jid))
    session.wait_ready()
    session.post(0, bad, "bell \u0007 and \ufffe")
    session.post(0, good, "fine")
    assert session.wait("failed", id=bad)["kind"] == link.FINAL
    session.wait("done", id=good)


def test_a_post_sent_twice_is_posted_once(server, make_session, make_reader, authority, password):
    jid, stanza_id = new_room(server), new_id()
    reader = make_reader(server, jid)
    session = make_session().start(account(server, password, authority.certificate), room(0, jid))
    session.wait_ready()
    session.post(0, stanza_id, "once")
    session.post(0, stanza_id, "once")
    session.wait("done", id=stanza_id)
    session.post(0, stanza_id, "once")
    wait_until(lambda: session.count("done", id=stanza_id) >= 2, "the second confirmation")
    assert len(reader.archive()) == 1


# Rooms.

def test_a_room_that_did_not_exist_is_made_and_said(either, make_session, authority, password):
    session = make_session().start(
        account(either, password, authority.certificate), room(0, new_room(either)))
    assert "did not exist" in session.wait_ready()["reason"]


def test_a_taken_nick_is_varied(server, make_session, make_reader, authority, password):
    jid = new_room(server)
    make_reader(server, jid)
    session = make_session().start(
        account(server, password, authority.certificate), room(0, jid, nick="reader"))
    ready = session.wait_ready()
    assert ready["nick"] == "reader-2" and "destinations.nick" in ready["reason"]


def test_kicked_it_joins_again(either, make_session, make_reader, authority, password):
    jid, stanza_id = new_room(either), new_id()
    reader = make_reader(either, jid)
    session = make_session().start(account(either, password, authority.certificate), room(0, jid))
    session.wait_ready()
    mark = session.mark()
    reader.do("kick", nick="alertbot")
    out = session.wait("room", start=mark, state=link.OUT)
    assert "kicked" in out["reason"]
    session.wait_ready(start=mark)
    session.post(0, stanza_id, "back")
    session.wait("done", id=stanza_id)


def test_banned_it_says_so_and_comes_back_when_the_ban_is_lifted(either, make_session,
                                                                 make_reader, authority, password):
    jid = new_room(either)
    reader = make_reader(either, jid)
    bot = f"alertbot@{either.domain}"
    session = make_session().start(account(either, password, authority.certificate), room(0, jid))
    session.wait_ready()
    mark = session.mark()
    reader.do("affiliation", jid=bot, affiliation="outcast")
    assert "banned" in session.wait("room", start=mark, state=link.OUT)["reason"]
    mark = session.mark()
    out = session.wait("room", start=mark, state=link.OUT)
    assert "the account is banned from room" in out["reason"]
    reader.do("affiliation", jid=bot, affiliation="none")
    session.wait_ready(start=mark)


def test_members_only_room_says_what_to_do(server, make_session, make_reader, authority, password):
    jid = new_room(server)
    make_reader(server, jid).do("configure", fields={"muc#roomconfig_membersonly": "1"})
    session = make_session().start(account(server, password, authority.certificate), room(0, jid))
    assert "make the account a member" in session.wait("room", state=link.OUT)["reason"]


def test_room_on_no_server_says_so(server, make_session, authority, password):
    session = make_session().start(
        account(server, password, authority.certificate), room(0, f"x@nowhere.{server.domain}"))
    assert "destinations.room" in session.wait("room", state=link.OUT)["reason"]


def test_self_ping_keeps_it_in(either, make_session, authority, password):
    session = make_session().start(
        account(either, password, authority.certificate), room(0, new_room(either)), self_ping=0.3)
    session.wait_ready()
    mark = session.mark()
    time.sleep(2)  # several self-pings
    session.read()
    assert not [m for m in session.heard[mark:] if m["type"] == "room"]


# Connections that do not come about.

def test_wrong_password_names_the_setting(either, make_session, authority, place):
    wrong = place.file("session-wrong", "not-it", mode=0o600)
    end = make_session().start(account(either, wrong, authority.certificate)).wait_end()
    assert end["cause"] == link.AUTH
    assert "refused the password" in end["reason"] and "accounts.password_file" in end["reason"]


def test_password_that_can_not_be_read(server, make_session, authority, place):
    end = make_session().start(
        account(server, place / "no-such-file", authority.certificate)).wait_end()
    assert end["cause"] == link.CONFIG and "accounts.password_file" in end["reason"]


def test_password_from_credentials(server, make_session, authority, place):
    folder = place.folder("session-credentials")
    place.file("session-credentials/xmpp", BOT, mode=0o400)
    session = make_session(env={"CREDENTIALS_DIRECTORY": str(folder)})
    settings = account(server, "", authority.certificate, credential="xmpp")
    del settings["password_file"]
    session.start(settings).wait("stream", state=link.ONLINE)


def test_certificate_of_an_unknown_authority_is_refused(server, make_session, password, place):
    other = Authority(place, "other-ca")
    end = make_session().start(account(server, password, other.certificate)).wait_end()
    assert end["cause"] == link.TLS and "accounts.ca_file" in end["reason"]


def test_certificate_without_a_ca_file_is_refused(server, make_session, password):
    end = make_session().start(account(server, password)).wait_end()
    assert end["cause"] == link.TLS and "accounts.ca_file" in end["reason"]


def test_certificate_for_another_name_is_refused(server, make_session, make_fake, authority,
                                                 password):
    settings = account(server, password, authority.certificate, jid="alertbot@other.test")
    end = make_session().start(settings).wait_end()
    assert end["cause"] in (link.TLS, link.CONFIG), end

    fake = make_fake(then=lambda c: None, certificate=authority.issue("elsewhere.test"))
    settings = account(fake, password, authority.certificate, tls=link.DIRECT)
    end = make_session().start(settings).wait_end()
    assert end["cause"] == link.TLS and "hostname mismatch" in end["reason"], end
    assert "elsewhere.test" in end["reason"]
    assert fake.received == b""


def test_direct_tls(server, make_session, authority, password):
    settings = account(server, password, authority.certificate, port=server.direct_tls_port,
                       tls=link.DIRECT)
    make_session().start(settings).wait("stream", state=link.ONLINE)


def test_direct_tls_on_a_starttls_port_says_what_to_check(server, make_session, authority,
                                                          password):
    settings = account(server, password, authority.certificate, tls=link.DIRECT)
    end = make_session().start(settings).wait_end()
    assert end["cause"] == link.TLS and "accounts.tls" in end["reason"]


def test_server_without_starttls_gets_no_password(make_session, make_fake, password):
    fake = make_fake(then=lambda c: None)
    end = make_session().start(account(fake, password)).wait_end()
    assert end["cause"] == link.TLS and "offers no STARTTLS" in end["reason"]
    assert b"<auth" not in fake.received


def test_without_tls_only_loopback(make_session, password, make_fake):
    fake = make_fake(then=lambda c: None)
    settings = account(fake, password, host="192.0.2.1", tls=link.INSECURE_NONE)
    end = make_session().start(settings).wait_end()
    assert end["cause"] == link.CONFIG and "accounts.tls" in end["reason"]


def test_nobody_listens(make_session, password, place):
    class Nobody:
        domain, port = "nobody.test", place.port()
    end = make_session().start(account(Nobody, password)).wait_end()
    assert end["cause"] == link.NETWORK and "Connection refused" in end["reason"]


def test_name_that_does_not_resolve(server, make_session, password):
    settings = account(server, password, host="no-such-host.invalid")
    end = make_session().start(settings).wait_end()
    assert end["cause"] == link.NETWORK and "accounts.host" in end["reason"]


def test_server_that_accepts_and_says_nothing_is_given_up(make_session, make_fake, password):
    fake = make_fake(instead=lambda c: time.sleep(60))
    settings = account(fake, password, tls=link.INSECURE_NONE)
    end = make_session().start(settings).wait_end()
    assert end["cause"] == link.NETWORK and "30 s" in end["reason"]


# Connections that go away.

def test_stopped_server(server, make_session, authority, password):
    session = make_session().start(
        account(server, password, authority.certificate), room(0, new_room(server)))
    session.wait_ready()
    server.stop()
    try:
        end = session.wait_end()
        assert end["cause"] in (link.NETWORK, link.SERVER_BUSY), end
    finally:
        server.ensure_running()


def test_frozen_server_is_given_up(server, make_session, authority, password):
    session = make_session().start(
        account(server, password, authority.certificate), room(0, new_room(server)), ping=1)
    session.wait_ready()
    server.process.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        end = session.wait_end(timeout=30)
        assert end["cause"] == link.NETWORK and "silent" in end["reason"]
        assert time.monotonic() - began < 20
    finally:
        server.process.send_signal(signal.SIGCONT)


def test_quit_leaves(either, make_session, authority, password):
    session = make_session().start(
        account(either, password, authority.certificate), room(0, new_room(either)))
    session.wait_ready()
    session.send({"type": "quit"})
    assert session.wait_end(timeout=10)["cause"] == link.QUIT
    assert session.child.returncode == 0


def test_relay_process_gone_ends_it(server, make_session, authority, password):
    session = make_session().start(account(server, password, authority.certificate))
    session.wait("stream", state=link.ONLINE)
    session.link.close()
    assert session.child.wait(10) is not None


def test_beats_come_every_second(server, make_session, authority, password):
    session = make_session().start(account(server, password, authority.certificate))
    session.wait("stream", state=link.ONLINE)
    mark = session.mark()
    time.sleep(4.5)
    session.read()
    assert 4 <= sum(m["type"] == "beat" for m in session.heard[mark:]) <= 6


# Hostile servers.

def send_all(connection, chunks):
    try:
        for chunk in chunks:
            connection.sendall(chunk)
        time.sleep(30)
    except OSError:
        pass


def joined(jid):
    return (b"<presence from='%(j)s/alertbot'><x xmlns='http://jabber.org/protocol/muc#user'>"
            b"<status code='110'/></x></presence><message from='%(j)s' type='groupchat'>"
            b"<subject/></message>" % {b"j": jid.encode()})


HOSTILE = {
    "endless text": lambda: [b"<message><body>", *[b"A" * 65536] * 1000],
    "endless lines": lambda: [b"<message><body>", *[b"A\n" * 2048] * 6000],
    "endless attribute": lambda: [b"<message x='", *[b"A" * 65536] * 1000],
    "endless name": lambda: [b"<", *[b"A" * 65536] * 1000],
    "deep nesting": lambda: [b"<message>", *[b"<a>" * 20000] * 200],
    "many children": lambda: [b"<message>", *[b"<a/>" * 16384] * 200],
    "many attributes": lambda: [b"<message ", *[b" ".join(
        b"a%d='1'" % (n * 1000 + i) for i in range(1000)) + b" " for n in range(2000)]],
    "deep nesting that ends": lambda: [
        b"<message>" + b"<a>" * 30000 + b"</a>" * 30000 + b"</message>"] * 4,
    "nesting that ends": lambda: [b"<message>" + b"<a>" * 9000 + b"</a>" * 9000 + b"</message>"] * 4,
}


def test_hostile_stanzas_are_bounded(make_session, make_fake, password):
    sessions = {}
    for kind, chunks in HOSTILE.items():
        fake = make_fake(then=lambda c, chunks=chunks: send_all(c, chunks()))
        settings = account(fake, password, tls=link.INSECURE_NONE)
        sessions[kind] = make_session().start(settings, ping=2)
    for kind, session in sessions.items():
        session.wait("stream", state=link.ONLINE)
        end = session.wait_end(timeout=120)
        assert end["cause"] == link.NETWORK, kind
        assert "larger than any should be" in end["reason"] or "silent" in end["reason"], kind


PRESENCE = b"<presence from='x@fake.test/y'/>"
GARBAGE = {
    "no XML": b"\x00\xff\xfe HTTP/1.1 400 Bad Request\r\n\r\n",
    "unbalanced": b"<message></presence>",
    "not UTF-8": b"<message><body>\xff\xfe\x80</body></message>",
    "entity bomb": (b"<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'>"
                    b"]><message><body>&a;</body></message>"),
    "unknown entity": b"<message><body>&nbsp;</body></message>",
    "undeclared prefix": b"<x:message/>",
}


def parts_of_garbage():
    for kind, data in GARBAGE.items():
        yield kind, [data]
        yield f"{kind}, behind a stanza", [PRESENCE + data]
        yield f"{kind}, in small pieces", [data[i:i + 7] for i in range(0, len(data), 7)]


def test_garbage_ends_the_session_at_once(make_session, make_fake, password):
    sessions = {}
    for kind, parts in parts_of_garbage():
        fake = make_fake(then=lambda c, parts=parts: send_all(c, parts))
        settings = account(fake, password, tls=link.INSECURE_NONE)
        sessions[kind] = make_session().start(settings, ping=60)
    for kind, session in sessions.items():
        online = session.wait("stream", state=link.ONLINE)
        end = session.wait_end()
        assert end["cause"] == link.NETWORK, kind
        assert "no XML, in the midst of the stream" in end["reason"], kind
        assert end["at"] - online["at"] < 5, kind


def test_garbage_under_tls_ends_the_session_at_once(make_session, make_fake, authority, password):
    for data in (GARBAGE["no XML"], PRESENCE + GARBAGE["unbalanced"]):
        fake = make_fake(then=lambda c, data=data: send_all(c, [data]),
                         certificate=authority.issue("fake.test"))
        settings = account(fake, password, tls=link.DIRECT, ca_file=authority.certificate)
        session = make_session().start(settings, ping=60)
        online = session.wait("stream", state=link.ONLINE)
        end = session.wait_end()
        assert "no XML, in the midst of the stream" in end["reason"]
        assert end["at"] - online["at"] < 5


def test_garbage_in_the_prologue_is_no_xml(make_session, make_fake, password):
    for data in (b"HTTP/1.1 400 Bad Request\r\n\r\n", HEADER + GARBAGE["unbalanced"]):
        fake = make_fake(instead=lambda c, data=data: send_all(c, [data]))
        settings = account(fake, password, tls=link.INSECURE_NONE)
        end = make_session().start(settings).wait_end()
        assert "no XML; check accounts.host, accounts.port" in end["reason"]


def test_entity_bomb_in_the_prologue_is_bounded(make_session, make_fake, password):
    entities = b"<!ENTITY a0 'aaaaaaaaaa'>" + b"".join(
        b"<!ENTITY a%d '%s'>" % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 12))
    bomb = (b"<?xml version='1.0'?><!DOCTYPE x [" + entities + b"]><stream:stream version='1.0' "
            b"xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
            b"<message><body>&a11;</body></message>")
    fake = make_fake(instead=lambda c: send_all(c, [bomb]))
    settings = account(fake, password, tls=link.INSECURE_NONE)
    session = make_session().start(settings)
    session.wait("stream", state=link.CONNECTING)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    wait_until(lambda: session.child.poll() is not None, "the session process to end", 60)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 6
    assert "kept us busy" in session.log_text() or "no XML" in session.wait("end")["reason"]


def test_flood_of_requests_does_not_grow_the_queue(make_session, make_fake, password):
    flood = b"".join(b"<iq type='get' id='i%d' from='x@fake.test'><query xmlns='jabber:iq:version'"
                     b"/></iq>" % n for n in range(1000))

    def then(connection):
        # Never reads the answers.
        send_all(connection, [flood] * 200)

    fake = make_fake(then=then)
    settings = account(fake, password, tls=link.INSECURE_NONE)
    session = make_session().start(settings, ping=1)
    session.wait("stream", state=link.ONLINE)
    time.sleep(3)
    assert session.child.poll() is None or session.wait_end()
    assert session.count("beat") >= 2


def test_forged_answers_and_echoes_confirm_nothing(make_session, make_fake, password):
    jid, stanza_id = "ops@rooms.fake.test", new_id()

    def then(connection):
        connection.sendall(joined(jid))
        data = b""
        while stanza_id.encode() not in data:
            data += connection.recv(65536)
        fields = {b"j": jid.encode(), b"i": stanza_id.encode()}
        # From elsewhere, by another type, with another id: none of it is the room's echo.
        connection.sendall(
            b"<message from='other@rooms.fake.test/x' type='groupchat' id='%(i)s'><body/></message>"
            b"<message from='%(j)s/x' type='chat' id='%(i)s'><body/></message>"
            b"<message from='%(j)sx/x' type='groupchat' id='%(i)s'><body/></message>"
            b"<message from='other@fake.test' type='error' id='%(i)s'><error type='cancel'>"
            b"<forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
            b"<iq type='result' id='0000000000000000-c-0-1'/>" % fields)
        time.sleep(0.5)
        connection.sendall(
            b"<message from='%(j)s/x' type='groupchat' id='mine'><body/><origin-id "
            b"xmlns='urn:xmpp:sid:0' id='%(i)s'/></message>" % fields)
        time.sleep(30)

    fake = make_fake(then=then)
    session = make_session().start(
        account(fake, password, tls=link.INSECURE_NONE), room(0, jid))
    session.wait_ready()
    posted = time.monotonic()
    session.post(0, stanza_id, "really?")
    done = session.wait("done", id=stanza_id)
    assert done["at"] - posted > 0.4
    assert session.count("failed") == 0


def test_answers_of_strangers_confirm_nothing(make_session, make_fake, password):
    """The id of a request may be known: self-pings pass through rooms, and reach whoever has
    taken our nick there."""
    jid, mate, stanza_id = "ops@rooms.fake.test", "alice@fake.test", new_id()

    def then(connection):
        connection.sendall(joined(jid))
        data = b""
        while not (ping := re.search(rb"id='([0-9a-f]{16})-c-0-(\d+)'", data)):
            data += connection.recv(65536)
        for stranger in (mate, f"{jid}/mallory", "rooms.fake.test", "fake.test/x", "evil.test"):
            for number in (ping[2], b"99999999"):
                connection.sendall(b"<iq type='result' from='%s' id='%s-c-0-%s'/>"
                                   % (stranger.encode(), ping[1], number))
        time.sleep(0.5)
        connection.sendall(b"<iq type='result' from='fake.test' id='%s-c-0-%s'/>"
                           % (ping[1], ping[2]))
        time.sleep(30)

    fake = make_fake(then=then)
    session = make_session().start(
        account(fake, password, tls=link.INSECURE_NONE), room(0, jid), contact(1, mate))
    session.wait_ready(0)
    posted = time.monotonic()
    session.post(1, stanza_id, "for your eyes only")
    done = session.wait("done", id=stanza_id)
    assert done["at"] - posted > 0.4


ERRORS = {
    "wait": (b"wait", b"resource-constraint", link.WAIT, False),
    "not in": (b"modify", b"not-acceptable", link.REJOIN, True),
    "final": (b"auth", b"forbidden", link.FINAL, False),
    "gone": (b"cancel", b"remote-server-not-found", link.REJOIN, True),
}


@pytest.mark.parametrize("kind", ERRORS)
def test_errors_of_a_room_are_told_apart(kind, make_session, make_fake, password):
    jid, stanza_id = "ops@rooms.fake.test", new_id()
    error_type, condition, expected, leaves = ERRORS[kind]

    def then(connection):
        connection.sendall(joined(jid))
        data = b""
        while stanza_id.encode() not in data:
            data += connection.recv(65536)
        connection.sendall(
            b"<message from='%s' type='error' id='%s'><error type='%s'><%s xmlns="
            b"'urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
            % (jid.encode(), stanza_id.encode(), error_type, condition))
        time.sleep(30)

    fake = make_fake(then=then)
    session = make_session().start(
        account(fake, password, tls=link.INSECURE_NONE), room(0, jid))
    session.wait_ready()
    session.post(0, stanza_id, "may I?")
    failed = session.wait("failed", id=stanza_id)
    assert failed["kind"] == expected and condition.decode() in failed["reason"]
    if leaves:
        session.wait("room", state=link.OUT)
    else:
        time.sleep(0.3)
        assert session.count("room", state=link.OUT) == 0


@pytest.mark.parametrize("condition", ["not-acceptable", "service-unavailable"])
def test_message_refused_as_if_from_outside_is_final_the_second_time(condition, make_session,
                                                                     make_fake, password):
    jid, stanza_id = "ops@rooms.fake.test", new_id()
    answers = {
        b"muc'": joined(jid),
        b"</body>": b"<message from='%s' type='error' id='%s'><error type='modify'><%s xmlns="
                    b"'urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
                    % (jid.encode(), stanza_id.encode(), condition.encode()),
    }

    def then(connection):
        while data := connection.recv(65536):
            for sign, answer in answers.items():
                if sign in data:
                    connection.sendall(answer)

    fake = make_fake(then=then)
    session = make_session().start(
        account(fake, password, tls=link.INSECURE_NONE), room(0, jid))
    session.wait_ready()
    session.post(0, stanza_id, "may I?")
    assert session.wait("failed", id=stanza_id)["kind"] == link.REJOIN
    session.wait("room", state=link.OUT)
    mark = session.mark()
    session.wait_ready(start=mark)
    session.post(0, stanza_id, "may I?")
    assert session.wait("failed", id=stanza_id, start=mark)["kind"] == link.FINAL


STREAM_ERRORS = {
    "policy-violation": link.POISON, "invalid-xml": link.POISON, "conflict": link.CONFLICT,
    "system-shutdown": link.SERVER_BUSY, "connection-timeout": link.NETWORK,
    "no-such-condition": link.SERVER_BUSY,
}


@pytest.mark.parametrize("condition", STREAM_ERRORS)
def test_stream_errors_have_their_cause(condition, make_session, make_fake, password):
    def then(connection):
        connection.sendall(
            b"<stream:error><%s xmlns='urn:ietf:params:xml:ns:xmpp-streams'/><text xmlns='urn:"
            b"ietf:params:xml:ns:xmpp-streams'>because\nof \x7fthat</text></stream:error>"
            b"</stream:stream>" % condition.encode())
        time.sleep(1)
        connection.close()

    fake = make_fake(then=then)
    end = make_session().start(account(fake, password, tls=link.INSECURE_NONE)).wait_end()
    assert end["cause"] == STREAM_ERRORS[condition], end
    assert condition in end["reason"] and "because of that" in end["reason"]


# TLS that stalls, and what it may hold back.

def test_tls_records_of_the_largest_size_are_read_to_their_end(make_session, make_fake, authority,
                                                               password):
    """A stanza in one TLS record of 16 KB, nothing behind it: no byte may wait for the next."""
    jid, ids = "ops@rooms.fake.test", [new_id() for _ in range(20)]
    sent = []

    def then(connection):
        fake.expect(connection, rb"</presence>")
        connection.sendall(joined(jid))
        for stanza_id in ids:
            fake.expect(connection, stanza_id.encode() + rb"'/></message>")
            echo = (b"<message from='%s/x' type='groupchat' id='%s'><body>%%s</body></message>"
                    % (jid.encode(), stanza_id.encode()))
            echo = echo % (b"x" * (16384 - len(echo) + 2))
            assert len(echo) == 16384
            sent.append(time.monotonic())
            connection.sendall(echo)
        time.sleep(30)

    fake = make_fake(then=then, certificate=authority.issue("fake.test"))
    settings = account(fake, password, authority.certificate, tls=link.DIRECT)
    session = make_session().start(settings, room(0, jid))
    session.wait_ready()
    for number, stanza_id in enumerate(ids):
        session.post(0, stanza_id, f"message {number}")
        done = session.wait("done", id=stanza_id)
        assert done["at"] - sent[number] < 0.4, f"{done['at'] - sent[number]} s"


def test_stalled_handshake_sends_no_beats(make_session, make_fake, password):
    """The supervisor's sign that it hangs."""
    fake = make_fake(instead=lambda c: time.sleep(60))
    session = make_session().start(account(fake, password, tls=link.DIRECT))
    session.wait("stream", state=link.CONNECTING)
    time.sleep(1.5)
    mark = session.mark()
    time.sleep(3)
    session.read()
    assert len(session.heard) == mark
    session.child.kill()


# The link.

LINK_GARBAGE = {
    "end": b"", "empty": b"{}", "null": b"null", "list": b"[]", "no account": b'{"type":"start"}',
    "not a start": b'{"type":"quit"}', "bytes": b"\xff\xff", "unknown key": b'{"type":"quit","x":1}',
    "nesting": b"{" * 100000, "post first": b'{"type":"post"}',
}


@pytest.mark.parametrize("kind", LINK_GARBAGE)
def test_garbage_on_the_link_ends_it(kind, make_session):
    session = make_session()
    session.send(LINK_GARBAGE[kind])
    assert session.child.wait(20) == 1
