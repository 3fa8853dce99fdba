# SPDX-License-Identifier: MIT
"""Rooms that don't want the relay, for a while."""

from support.daemons import Xmpprelay
from support.place import wait_until

from .scenario import scenario

NICK = "alertbot"


def bot(run):
    return f"alertbot@{run.server.domain}"


def a_room(run):
    return run.rooms[run.chance.choice(sorted(run.rooms))]


def state_of(run, room):
    name = next(n for n, jid in run.rooms.items() if jid == room)
    return next(d for d in run.relay.status()["destinations"] if d["name"] == name)


def wait_out(run, room):
    wait_until(lambda: state_of(run, room)["state"] != "ready", f"the relay to be out of {room}")


def nick_in(run, room):
    return state_of(run, room).get("nick") or NICK


@scenario("kicked", "kicked out of a room, three times", short=True, seconds=10)
def kicked(run):
    for part in range(3):
        run.some_are_through(0.1 + part * 0.2, 0.25 + part * 0.2)
        room = a_room(run)
        wait_until(lambda: state_of(run, room)["state"] == "ready", "the relay to be in the room")
        run.begin()
        run.reader.do("kick", room, nick=nick_in(run, room))
        run.over()


@scenario("banned", "banned from a room for 10 s", seconds=12)
def banned(run):
    run.some_are_through()
    room = a_room(run)
    run.begin()
    run.reader.do("affiliation", room, jid=bot(run), affiliation="outcast")
    run.wait(run.lasts(10, 3))
    # ejabberd gives no voice to one whose ban was lifted, unless it is made a member.
    run.reader.do("affiliation", room, jid=bot(run),
                  affiliation="member" if run.kind == "ejabberd" else "none")
    run.over()


def without_tombstones(run):
    run.configure_server(prosody=[("muc_room_locking = false",
                                   "muc_room_locking = false\n    muc_tombstones = false")])


@scenario("destroyed", "a room is destroyed, and made again", prepare=without_tombstones,
          seconds=10)
def destroyed(run):
    run.some_are_through()
    room = a_room(run)
    run.begin()
    mark = run.reader.mark()
    run.reader.do("destroy", room)
    run.wait(run.chance.uniform(0, 3))
    run.reader.do("join", room)
    run.reader.wait_event("joined", start=mark, room=room)
    run.over()


@scenario("nick-taken", "kicked, and somebody else takes the nick", seconds=10)
def nick_taken(run):
    run.some_are_through()
    room = a_room(run)
    run.begin()
    thief = run.add_reader("alice", nick="somebody", rooms=[room])
    run.helpers.append(thief)
    thief.wait_joined(room)
    run.reader.do("configure", room, fields={"muc#roomconfig_membersonly": "0"})
    run.reader.do("kick", room, nick=nick_in(run, room))
    thief.do("nick", room, nick=NICK)
    run.over()


@scenario("password-set", "a room wants a password for 10 s, and the relay was kicked", seconds=12)
def password_set(run):
    run.some_are_through()
    room = a_room(run)
    run.begin()
    run.reader.do("configure", room, fields={
        "muc#roomconfig_passwordprotectedroom": "1", "muc#roomconfig_roomsecret": "sesame"})
    run.reader.do("kick", room, nick=nick_in(run, room))
    wait_out(run, room)
    run.wait(run.lasts(10, 3))
    run.reader.do("configure", room, fields={
        "muc#roomconfig_passwordprotectedroom": "0", "muc#roomconfig_roomsecret": ""})
    run.over()


@scenario("members-only", "a room is for members only for 10 s; then the relay is one", seconds=12)
def members_only(run):
    run.some_are_through()
    room = a_room(run)
    run.begin()
    run.reader.do("configure", room, fields={"muc#roomconfig_membersonly": "1"})
    wait_out(run, room)
    run.wait(run.lasts(10, 3))
    run.reader.do("affiliation", room, jid=bot(run), affiliation="member")
    run.over()


@scenario("voice-taken", "the relay may not speak in a room for 10 s", seconds=12)
def voice_taken(run):
    run.some_are_through()
    room = a_room(run)
    run.begin()
    run.reader.do("configure", room, fields={"muc#roomconfig_moderatedroom": "1"})
    run.reader.do("role", room, nick=nick_in(run, room), role="visitor")
    run.wait(run.lasts(10, 3))
    run.reader.do("role", room, nick=nick_in(run, room), role="participant")
    run.over()


@scenario("voice-by-membership", "a room that lets only members speak makes the relay one",
          seconds=12)
def voice_by_membership(run):
    run.some_are_through()
    room = a_room(run)
    run.begin()
    run.reader.do("configure", room, fields={
        "muc#roomconfig_moderatedroom": "1",
        **({"members_by_default": "0"} if run.kind == "ejabberd" else {})})
    run.reader.do("kick", room, nick=nick_in(run, room))
    run.wait(run.lasts(10, 3))
    run.reader.do("affiliation", room, jid=bot(run), affiliation="member")
    run.over()


@scenario("two-relays", "a second relay uses the same account and the same rooms", seconds=15)
def two_relays(run):
    run.some_are_through(0.1, 0.2)
    second = Xmpprelay(run.place, run.world.programs, run.server, run.world.authority, run.rooms,
                       name="relay2")
    run.begin()
    second.start().wait_ready()
    try:
        for n in range(20):
            done = second.send("-t", f"SECOND {n}", "-w", "delivered", "-T", "30s", "ops",
                               text="from the other relay")
            if done.returncode != 0:
                run.problem(f"the second relay did not deliver: {done.stderr.strip()}")
                break
        for relay in (run.relay, second):
            session, = relay.status()["accounts"]
            if session["reconnects"] > 0:
                run.problem(f"{relay.process.name} was thrown out: {session}")
    finally:
        second.stop()
    run.over()
    run.reader.wait_message("SECOND", count=20)


def address_of(run, known):
    """The full address of the relay's connection, as the owner of a room sees it; None while it is
    one of those that were known before."""
    seen = [e["jid"] for e in run.reader.events
            if e["event"] == "entered" and e["nick"] == NICK
            and (e["jid"] or "").startswith(bot(run) + "/")]
    return seen[-1] if seen and seen[-1] not in known else None


@scenario("moved-out", "another connection of the account takes the relay's own address, three "
          "times", seconds=12, mails=300)
def moved_out(run):
    taken = set()
    for part in range(3):
        run.some_are_through(0.1 + part * 0.2, 0.25 + part * 0.2)
        address = wait_until(lambda: address_of(run, taken), "the relay to be in a room")
        taken.add(address)
        mark = len(run.relay.process.log_text())
        run.begin()
        thief = run.add_reader("alertbot", nick=f"thief{part}", rooms=[run.rooms["ops"]],
                               resource=address.partition("/")[2])
        run.helpers.append(thief)
        thief.wait_event("online")
        # The server says why, but may close the connection so fast that nobody hears it.
        run.relay.process.wait_log("session main ended", start=mark)
        run.over()
