# SPDX-License-Identifier: MIT
"""The servers and the witness themselves: what the other tests take for granted."""

import pytest

from support.bridge import ACCOUNTS
from support.reader import Reader


@pytest.mark.parametrize("kind", ["prosody", "ejabberd"])
def test_reader_sees_what_is_said_over_a_restart_of(kind, request, authority):
    server = request.getfixturevalue(kind)
    room = f"servers-{kind}@{server.rooms}"
    readers = [
        Reader(server, authority, f"{name}@{server.domain}", ACCOUNTS[name], [room], nick=name)
        for name in ("reader", "alice")
    ]
    try:
        reader, alice = readers
        reader.wait_joined()
        alice.wait_joined()
        for number in range(30):
            alice.do("say", body=f"before {number}")
        reader.wait_message("before", count=30)

        marks = reader.mark(), alice.mark()
        server.stop()
        reader.wait_event("offline", start=marks[0])
        server.start()
        alice.wait_online_again(marks[1])
        for number in range(30):
            alice.do("say", body=f"after {number}")

        reader.wait_message("after", count=30)
        assert len(reader.messages()) == 60
        assert len(reader.archive()) == 60
    finally:
        for reader in readers:
            reader.close()
