# SPDX-License-Identifier: MIT
"""The session process and archives: what of unknown fate is found there is not said again."""

import re
import time

import pytest

from support import session as link
from support.bridge import ACCOUNTS
from support.ejabberd import Ejabberd
from support.place import wait_until
from support.prosody import Prosody
from support.session import account, contact, room
from test_session import (  # noqa: F401
    joined, make_fake, make_reader, make_session, new_id, new_room, password, send_all)

STORED = b"<delay xmlns='urn:xmpp:delay' stamp='2026-11-21T12:00:00Z'/>"


@pytest.fixture(scope="module", params=["prosody", "ejabberd"])
def without_archive(request, place, authority):
    if request.param == "prosody":
        server = Prosody(place, authority, ACCOUNTS, name="prosody-plain", archive=False)
    else:
        server = Ejabberd(place, authority, ACCOUNTS, name="ejabberd-plain", archive=None)
    yield server.start()
    server.process.kill()


@pytest.fixture
def any_server(request):
    server = request.getfixturevalue(request.param)
    server.ensure_running()
    return server


def said_and_killed(session, server, settings, destination, stanza_id):
    """Posts a message, and is gone; tells when it began."""
    session.start(settings, destination)
    index = destination["index"]
    session.wait_ready(index)
    began = time.time()
    session.post(index, stanza_id, "was it seen?")
    session.wait("done", destination=index, id=stanza_id)
    session.child.kill()
    return began


def before_ready(session, index, stanza_id):
    ready = session.wait_ready(index)
    done = session.wait("done", destination=index, id=stanza_id)
    return session.heard.index(done) < session.heard.index(ready)


ENDS = [("prosody", "kill"), ("ejabberd", "stop"), ("ejabberd_sql", "kill")]


@pytest.mark.parametrize("any_server, end", ENDS, indirect=["any_server"])
def test_archive_proves_what_the_room_forgot_at_a_restart(any_server, end, make_session,
                                                          authority, password):
    server, jid, arrived, lost = any_server, new_room(any_server), new_id(), new_id()
    settings = account(server, password, authority.certificate)
    began = said_and_killed(make_session(), server, settings, room(0, jid), arrived)
    getattr(server, end)()
    server.start()

    session = make_session().start(
        settings, room(0, jid, pending=[arrived, lost], since=began))
    assert before_ready(session, 0, arrived)
    assert session.count("done", id=lost) == 0
    # Prosody has the history of its rooms from the archive; then only the other is looked up.
    assert re.search("looked up in the archive: (1 of 2|0 of 1) were there$",
                     session.log_text(), re.M)
    session.post(0, lost, "said again")
    session.wait("done", id=lost)


@pytest.mark.parametrize("any_server", ["prosody", "ejabberd_sql"], indirect=True)
def test_archive_proves_what_others_pushed_out_of_the_history(any_server, make_session,
                                                              make_reader, authority, password):
    server, jid, arrived, lost = any_server, new_room(any_server), new_id(), new_id()
    settings = account(server, password, authority.certificate)
    reader = make_reader(server, jid)
    for n in range(120):  # of several pages
        reader.do("say", body=f"talk {n}")
    reader.wait_message("talk 119")
    began = said_and_killed(make_session(), server, settings, room(0, jid), arrived)
    for n in range(60):
        reader.do("say", body=f"more talk {n}")
    reader.wait_message("more talk 59")

    session = make_session().start(
        settings, room(0, jid, pending=[arrived, lost], since=began))
    assert before_ready(session, 0, arrived)
    assert session.count("done", id=lost) == 0
    assert "looked up in the archive: 1 of 2 were there\n" in session.log_text()


@pytest.mark.parametrize("any_server", ["prosody", "ejabberd_sql"], indirect=True)
def test_archive_of_the_account_proves_what_was_for_a_contact(any_server, make_session,
                                                              make_reader, authority, password):
    server, arrived, lost = any_server, new_id(), new_id()
    settings = account(server, password, authority.certificate)
    make_reader(server, new_room(server))  # so that reader@ is there to take it
    mate = contact(1, f"reader@{server.domain}")
    began = said_and_killed(make_session(), server, settings, mate, arrived)

    mate |= {"pending": [arrived, lost], "since": int(began * link.SECOND)}
    session = make_session().start(settings, mate)
    assert before_ready(session, 1, arrived)
    assert session.count("done", id=lost) == 0
    assert "looked up in the archive: 1 of 2 were there\n" in session.log_text()
    session.post(1, lost, "said again")
    session.wait("done", id=lost)


def test_server_without_archive_is_asked_and_makes_it_no_worse(without_archive, make_session,
                                                               make_reader, authority, password):
    server, arrived, lost = without_archive, new_id(), new_id()
    jid = new_room(server)
    settings = account(server, password, authority.certificate)
    make_reader(server, jid)
    began = said_and_killed(make_session(), server, settings, room(0, jid), arrived)

    session = make_session().start(
        settings, room(0, jid, pending=[arrived, lost], since=began),
        contact(1, f"reader@{server.domain}") | {"pending": [lost], "since": 1})
    assert before_ready(session, 0, arrived)  # by the history
    session.wait_ready(1)
    assert session.count("done", id=lost) == 0
    assert len(re.findall(r"0 of 1 were there; it can't be asked \([a-z-]+\)$",
                          session.log_text(), re.M)) == 2


def test_nothing_of_unknown_fate_asks_no_archive(make_session, make_fake, password):
    jid = "ops@rooms.fake.test"
    asked = []

    def then(connection):
        connection.sendall(joined(jid))
        while data := connection.recv(65536):
            asked.append(data)

    fake = make_fake(then=then)
    session = make_session().start(
        account(fake, password, tls=link.INSECURE_NONE), room(0, jid),
        contact(1, "alice@fake.test"))
    session.wait_ready(0)
    session.wait_ready(1)
    time.sleep(0.3)
    assert not [data for data in asked if b"urn:xmpp:mam" in data]


def test_lost_connection_delivers_nothing_later(make_session, make_fake, password):
    """By then the archive has been asked, and what was missing there has been said again."""
    jid, ids, received, over = "ops@rooms.fake.test", [new_id() for _ in range(64)], [], []

    def then(connection):
        connection.sendall(joined(jid))
        while not over:
            time.sleep(0.1)
        try:
            while data := connection.recv(65536):
                received.append(data)
            over.append("closed")
        except ConnectionResetError:
            over.append("reset")

    fake = make_fake(then=then, buffer=65536)
    session = make_session().start(
        account(fake, password, tls=link.INSECURE_NONE), room(0, jid), ping=1)
    session.wait_ready()
    for stanza_id in ids:
        session.post(0, stanza_id, "x" * 30_000)
    assert "silent" in session.wait_end(timeout=30)["reason"]
    time.sleep(1)
    over.append("the network is back")
    wait_until(lambda: len(over) == 2, "the server to see the end")
    assert over[1] == "reset"
    assert len(b"".join(received)) < 10 * 30_000


# Archives that are not what they should be.

JID = "ops@rooms.fake.test"
MATE = "alice@fake.test"


def result(query_id, stanza_id, by=JID, sender=f"{JID}/alertbot", origin=False, wrap=b"%s"):
    names = (b"id='x'><origin-id xmlns='urn:xmpp:sid:0' id='%s'/>" if origin else b"id='%s'>")
    inner = wrap % (b"<message xmlns='jabber:client' type='groupchat' from='%s' " % sender.encode()
                    + names % stanza_id.encode() + b"<body>it</body></message>")
    return (b"<message%s><result xmlns='urn:xmpp:mam:2' queryid='%s' id='1'><forwarded "
            b"xmlns='urn:xmpp:forward:0'>%s%s</forwarded></result></message>"
            % (b" from='%s'" % by.encode() if by else b"", query_id, STORED, inner))


def fin(query_id, last=b"1", complete=False, by=JID):
    return (b"<iq type='result' id='%s'%s><fin xmlns='urn:xmpp:mam:2'%s><set "
            b"xmlns='http://jabber.org/protocol/rsm'><last>%s</last></set></fin></iq>"
            % (query_id, b" from='%s'" % by.encode() if by else b"",
               b" complete='true'" if complete else b"", last))


def asked(fake, connection):
    return fake.expect(connection, rb"queryid='([0-9a-z-]+)'[^\0]*?</iq>")[1]


@pytest.fixture
def archive_of(make_fake, make_session, password):
    """A session whose room's archive is what answer(fake, connection) makes of it."""
    def make(answer, *pending):
        def then(connection):
            connection.sendall(joined(JID))
            answer(fake, connection)
            time.sleep(60)

        fake = make_fake(then=then)
        return make_session().start(
            account(fake, password, tls=link.INSECURE_NONE),
            room(0, JID, pending=pending, since=time.time()))
    return make


def test_found_by_stanza_id_or_origin_id_and_no_page_more_than_needed(archive_of):
    ids, pages = [new_id() for _ in range(2)], []

    def answer(fake, connection):
        pages.append(asked(fake, connection))
        connection.sendall(result(pages[0], ids[0]) + fin(pages[0], b"a&lt;1"))
        found = fake.expect(connection, rb"queryid='([0-9a-z-]+)'[^\0]*<after>a&lt;1</after>")
        pages.append(found[1])
        # All are found, so the end of this page is not waited for.
        connection.sendall(result(pages[1], ids[1], origin=True))

    session = archive_of(answer, *ids)
    session.wait_ready()
    assert session.count("done") == 2
    assert len(set(pages)) == 2
    assert "looked up in the archive: 2 of 2 were there\n" in session.log_text()


def test_results_count_only_from_the_archive_that_was_asked(archive_of):
    ids = [new_id() for _ in range(9)]

    def answer(fake, connection):
        query = asked(fake, connection)
        connection.sendall(
            result(query, ids[0], by=f"{JID}/mallory") + result(query, ids[1], by="fake.test")
            + result(query, ids[2], by=None) + result(query, ids[3], by="alertbot@fake.test")
            + result(query, ids[4], sender="other@rooms.fake.test/alertbot")
            + result(query[:-1] + b"9", ids[5])
            + result(query, ids[6], wrap=b"<message>%s</message>")
            + result(b"", ids[7])
            # An end that somebody else says is none.
            + fin(query, complete=True, by=f"{JID}/mallory") + fin(query, complete=True, by=None))
        time.sleep(0.5)
        connection.sendall(result(query, ids[8]) + fin(query, complete=True))

    session = archive_of(answer, *ids)
    session.wait_ready()
    assert [m["id"] for m in session.heard if m["type"] == "done"] == [ids[8]]
    assert "looked up in the archive: 1 of 9 were there\n" in session.log_text()


def test_results_count_only_from_the_own_account_for_a_contact(make_fake, make_session, password):
    ids, me = [new_id() for _ in range(4)], "alertbot@fake.test"

    def then(connection):
        query = asked(fake, connection)
        connection.sendall(
            result(query, ids[0], by=MATE, sender=f"{me}/x")
            + result(query, ids[1], by=me, sender=f"{MATE}/x")
            + result(query, ids[2], by=f"{me}/y", sender=f"{me}/x")
            + fin(query, complete=True, by=MATE) + result(query, ids[3], by=None, sender=f"{me}/x")
            + fin(query, complete=True, by=None))
        time.sleep(30)

    fake = make_fake(then=then)
    session = make_session().start(
        account(fake, password, tls=link.INSECURE_NONE),
        contact(0, MATE) | {"pending": ids, "since": int(time.time() * link.SECOND)})
    session.wait_ready(0)
    assert [m["id"] for m in session.heard if m["type"] == "done"] == [ids[3]]


REFUSALS = ["feature-not-implemented", "service-unavailable", "item-not-found", "forbidden"]


def test_refusal_means_that_there_is_no_archive(archive_of):
    for condition in REFUSALS:
        def answer(fake, connection, condition=condition.encode()):
            query = asked(fake, connection)
            connection.sendall(
                b"<iq type='error' id='%s' from='%s'><error type='cancel'><%s xmlns='urn:ietf:"
                b"params:xml:ns:xmpp-stanzas'/></error></iq>" % (query, JID.encode(), condition))

        session = archive_of(answer, new_id())
        session.wait_ready(timeout=10)
        assert f"0 of 1 were there; it can't be asked ({condition})\n" in session.log_text()


def endless_pages(fake, connection):
    for n in range(1_000_000):
        query = asked(fake, connection)
        connection.sendall(result(query, new_id()) * 20 + fin(query, b"%d" % n))


def same_page_again(fake, connection):
    while True:
        connection.sendall(fin(asked(fake, connection), b"here"))


def no_way_on(fake, connection):
    connection.sendall(b"<iq type='result' id='%s' from='%s'/>"
                       % (asked(fake, connection), JID.encode()))


def long_way_on(fake, connection):
    connection.sendall(fin(asked(fake, connection), b"x" * 100_000))


UNFINISHED = [endless_pages, same_page_again, no_way_on, long_way_on]


def test_archives_without_end_are_left(archive_of):
    lost = new_id()
    for session in [archive_of(answer, lost) for answer in UNFINISHED]:
        session.wait_ready(timeout=25)
        assert session.count("done") == 0
        assert "0 of 1 were there; it holds more than is looked at\n" in session.log_text()


def silent(fake, connection):
    asked(fake, connection)


def endless_page(fake, connection):
    query = asked(fake, connection)
    many = b"".join(result(query, new_id()) for _ in range(500))
    while True:
        connection.sendall(many)


def silent_on_a_later_page(fake, connection):
    query = asked(fake, connection)
    connection.sendall(fin(query))


def test_archives_that_take_for_ever_are_waited_for_half_a_minute(archive_of):
    lost = new_id()
    answers = [silent, endless_page, silent_on_a_later_page]
    sessions = [archive_of(answer, lost) for answer in answers]
    for session in sessions:
        session.wait("stream", state=link.ONLINE)
    began = time.monotonic()
    for session in sessions:
        ready = session.wait_ready(timeout=60)
        assert 20 < ready["at"] - began < 45
        assert session.count("done") == 0
        assert "0 of 1 were there; it took longer than 30 s\n" in session.log_text()
        assert session.count("beat") > 10


def test_huge_result_ends_the_session(archive_of):
    def answer(fake, connection):
        query = asked(fake, connection)
        begun = result(query, new_id()).split(b"</body>")[0]
        send_all(connection, [begun, *[b"A" * 65536] * 1000])

    end = archive_of(answer, new_id()).wait_end(timeout=60)
    assert end["cause"] == link.NETWORK and "larger than any should be" in end["reason"]


def test_kicked_while_the_archive_is_asked_it_joins_and_asks_again(archive_of):
    arrived, queries = new_id(), []

    def answer(fake, connection):
        queries.append(asked(fake, connection))
        connection.sendall(
            b"<presence type='unavailable' from='%s/alertbot'><x xmlns='http://jabber.org/protocol"
            b"/muc#user'><status code='110'/><status code='307'/></x></presence>" % JID.encode())
        fake.expect(connection, rb"<presence[^>]*><x xmlns='http://jabber.org/protocol/muc'>")
        connection.sendall(joined(JID))
        queries.append(asked(fake, connection))
        connection.sendall(result(queries[0], arrived) + fin(queries[0], complete=True))
        time.sleep(0.5)
        connection.sendall(result(queries[1], arrived) + fin(queries[1], complete=True))

    session = archive_of(answer, arrived)
    session.wait("room", state=link.OUT)
    assert session.count("done") == 0
    assert before_ready(session, 0, arrived)
    wait_until(lambda: len(set(queries)) == 2, "two queries")
