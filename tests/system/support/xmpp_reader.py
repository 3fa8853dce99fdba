#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
A person in the room, as a program: joins, and tells what it sees.

Independent of the relay's code and of its XMPP library, so it can bear witness. Each event is one
JSON object on a line of standard output, each command one on standard input. A connection that
ends is made again, and what was said meanwhile is taken from the room's archive (XEP-0313), for a
room's history on joining is short.
"""

import argparse
import asyncio
import json
import logging
import sys
import time
import uuid
from datetime import datetime
from xml.etree import ElementTree as ET

import slixmpp
import slixmpp.exceptions
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

CLIENT = "{jabber:client}"
MUC = "http://jabber.org/protocol/muc"
MUC_USER = "{http://jabber.org/protocol/muc#user}"
MUC_OWNER = "http://jabber.org/protocol/muc#owner"
MUC_ADMIN = "http://jabber.org/protocol/muc#admin"
MAM = "urn:xmpp:mam:2"
RSM = "http://jabber.org/protocol/rsm"
DELAY = "{urn:xmpp:delay}delay"
UNSTYLED = "{urn:xmpp:styling:0}unstyled"
STANZA_ID = "{urn:xmpp:sid:0}stanza-id"
DATA = "jabber:x:data"


def tell(event, **fields):
    if tell.human:
        tell_a_person(event, fields)
        return
    print(json.dumps({"event": event, "at": time.time(), **fields}), flush=True)


tell.human = False


def tell_a_person(event, fields):
    if event == "message":
        when = time.strftime("%H:%M:%S")
        if fields["stamp"]:  # said earlier
            said = datetime.fromisoformat(fields["stamp"].replace("Z", "+00:00"))
            when = said.astimezone().strftime("%H:%M:%S")
        body = fields["body"].replace("\n", "\n" + " " * 10)
        print(f"{when}  {fields['nick']}:\n{' ' * 10}{body}", flush=True)
    elif event in ("joined", "offline", "refused"):
        detail = fields.get("reason") or fields.get("error") or ""
        print(f"-- {event} {fields.get('room', '')} {detail}".rstrip(), flush=True)


class Reader(slixmpp.ClientXMPP):
    def __init__(self, options, rooms, newest):
        resource = options.resource or f"reader-{uuid.uuid4().hex[:8]}"
        super().__init__(f"{options.jid}/{resource}", options.password)
        self.options = options
        self.rooms = rooms
        self.newest = newest  # of each room: the archive's id of the last message seen there
        self.ca_certs = options.ca_file
        self.over = asyncio.get_event_loop().create_future()
        self.queries = {}
        self.add_event_handler("session_start", self.on_start)
        self.add_event_handler("disconnected", self.on_end)
        self.add_event_handler("connection_failed", self.on_end)
        self.add_event_handler("failed_all_auth", self.on_end)
        self.register_handler(Callback(
            "archived", MatchXPath(f"{CLIENT}message/{{{MAM}}}result"), self.on_archived))
        self.register_handler(Callback("said", MatchXPath(f"{CLIENT}message"), self.on_message))
        self.register_handler(Callback("seen", MatchXPath(f"{CLIENT}presence"), self.on_presence))

    def on_end(self, reason):
        if not self.over.done():
            self.over.set_result(str(reason))

    async def on_start(self, _):
        tell("online")
        self.send_raw("<presence/>")
        for room in self.rooms:
            self.join(room)

    def join(self, room):
        self.send_raw(f"<presence to='{room}/{self.options.nick}'><x xmlns='{MUC}'>"
                      "<history maxstanzas='20'/></x></presence>")

    def on_presence(self, stanza):
        xml = stanza.xml
        sender = slixmpp.JID(xml.get("from", ""))
        codes = {s.get("code") for s in xml.iter(f"{MUC_USER}status")}
        if sender.bare not in self.rooms:
            return
        if xml.get("type") == "error":
            error = xml.find(f"{CLIENT}error")
            tell("refused", room=sender.bare,
                 error=error[0].tag.split("}")[1] if error is not None and len(error) else "")
        elif "110" in codes and xml.get("type") != "unavailable":
            asyncio.ensure_future(self.on_joined(sender.bare))
        else:
            kind = "left" if xml.get("type") == "unavailable" else "entered"
            item = xml.find(f".//{MUC_USER}item")
            tell(kind, room=sender.bare, nick=sender.resource,
                 jid=None if item is None else item.get("jid"))

    async def on_joined(self, room):
        # A room can't be joined twice at once, so this is the first or a new connection.
        if self.newest.get(room):
            try:
                await self.archive(room, self.newest[room], "missed")
            except slixmpp.exceptions.IqError:  # the archive forgot that message
                await self.archive(room, None, "missed")
        tell("joined", room=room)

    def on_message(self, stanza):
        xml = stanza.xml
        if xml.find(f"{{{MAM}}}result") is not None:
            return
        delay = xml.find(DELAY)
        self.report(xml, "live" if delay is None else "history",
                    None if delay is None else delay.get("stamp"))

    def report(self, xml, how, stamp, archive_id=None):
        body = xml.findtext(f"{CLIENT}body")
        sender = slixmpp.JID(xml.get("from", ""))
        if xml.get("type") == "error" or body is None:
            return
        given = [s.get("id") for s in xml.findall(STANZA_ID) if s.get("by") == sender.bare]
        archive_id = archive_id or (given[0] if given else None)
        if how in ("live", "missed") and archive_id and sender.bare in self.rooms:
            self.newest[sender.bare] = archive_id
        tell("message", room=sender.bare, nick=sender.resource, type=xml.get("type"),
             id=xml.get("id"), archive_id=archive_id, body=body, how=how, stamp=stamp,
             unstyled=xml.find(UNSTYLED) is not None)

    def on_archived(self, stanza):
        result = stanza.xml.find(f"{{{MAM}}}result")
        how = self.queries.get(result.get("queryid"))
        message = result.find(f".//{CLIENT}message")
        delay = result.find(f".//{DELAY}")
        if how and message is not None:
            self.report(message, how, None if delay is None else delay.get("stamp"),
                        result.get("id"))

    async def archive(self, room, after, how):
        """Reports all that the room's archive holds behind the message `after`."""
        count = 0
        while True:
            query_id = uuid.uuid4().hex
            self.queries[query_id] = how
            iq = self.make_iq_set(ito=room)
            query = ET.SubElement(iq.xml, f"{{{MAM}}}query", queryid=query_id)
            page = ET.SubElement(query, f"{{{RSM}}}set")
            ET.SubElement(page, f"{{{RSM}}}max").text = "50"
            if after:
                ET.SubElement(page, f"{{{RSM}}}after").text = after
            answer = await iq.send(timeout=60)
            fin = answer.xml.find(f"{{{MAM}}}fin")
            last = fin.findtext(f".//{{{RSM}}}last") if fin is not None else None
            count += 1
            if fin is None or fin.get("complete") in ("true", "1") or not last or last == after:
                return
            after = last

    async def obey(self, command):
        kind, room = command["do"], command.get("room")
        if kind == "archive":
            await self.archive(room, None, "archive")
        elif kind == "configure":
            iq = self.make_iq_set(ito=room)
            query = ET.SubElement(iq.xml, f"{{{MUC_OWNER}}}query")
            form = ET.SubElement(query, f"{{{DATA}}}x", type="submit")
            fields = {"FORM_TYPE": "http://jabber.org/protocol/muc#roomconfig", **command["fields"]}
            for name, value in fields.items():
                field = ET.SubElement(form, f"{{{DATA}}}field", var=name)
                ET.SubElement(field, f"{{{DATA}}}value").text = value
            await iq.send(timeout=60)
        elif kind in ("affiliation", "kick", "role"):
            iq = self.make_iq_set(ito=room)
            query = ET.SubElement(iq.xml, f"{{{MUC_ADMIN}}}query")
            if kind in ("kick", "role"):
                ET.SubElement(query, f"{{{MUC_ADMIN}}}item", nick=command["nick"],
                              role=command.get("role", "none"))
            else:
                ET.SubElement(query, f"{{{MUC_ADMIN}}}item", jid=command["jid"],
                              affiliation=command["affiliation"])
            await iq.send(timeout=60)
        elif kind == "destroy":
            iq = self.make_iq_set(ito=room)
            query = ET.SubElement(iq.xml, f"{{{MUC_OWNER}}}query")
            ET.SubElement(query, f"{{{MUC_OWNER}}}destroy")
            await iq.send(timeout=60)
        elif kind == "join":
            self.join(room)
        elif kind == "nick":
            self.send_raw(f"<presence to='{room}/{command['nick']}'/>")
        elif kind == "say":
            self.send_raw(f"<message to='{room}' type='groupchat' id='{uuid.uuid4().hex}'>"
                          f"<body>{command['body']}</body></message>")
        tell("done", number=command["number"])


async def follow_commands(current):
    loop = asyncio.get_event_loop()
    lines = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while True:
        line = await lines.readline()
        if not line:
            return
        command = json.loads(line)
        if command["do"] == "quit":
            return
        try:
            await current[0].obey(command)
        except Exception as error:  # the connection ended, or the server said no
            tell("failed", number=command["number"], error=f"{type(error).__name__}: {error}")


async def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jid", required=True)
    parser.add_argument("--password", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ca-file", required=True)
    parser.add_argument("--nick", default="reader")
    parser.add_argument("--resource", help="that of others is taken from them")
    parser.add_argument("--human", action="store_true", help="plain lines; no commands")
    parser.add_argument("--debug", action="store_true")
    parser.add_argument("rooms", nargs="*")
    options = parser.parse_args()
    logging.basicConfig(level=logging.DEBUG if options.debug else logging.CRITICAL)

    tell.human = options.human
    newest, current = {}, [None]
    commands = asyncio.ensure_future(
        asyncio.Event().wait() if options.human else follow_commands(current))
    while not commands.done():
        reader = current[0] = Reader(options, options.rooms, newest)
        server = (options.host, options.port)
        if slixmpp.__version_info__ < (1, 9):
            reader.connect(server)
        else:
            reader.enable_direct_tls = False
            reader.connect(*server)
        await asyncio.wait([reader.over, commands], return_when=asyncio.FIRST_COMPLETED)
        if commands.done():
            reader.disconnect(wait=0.5)
            await asyncio.wait([reader.over], timeout=2)
            break
        tell("offline", reason=reader.over.result())
        reader.cancel_connection_attempt()
        reader.abort()
        await asyncio.sleep(0.25)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
