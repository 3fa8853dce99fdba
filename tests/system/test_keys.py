# SPDX-License-Identifier: MIT
"""A problem and its recovery, on the whole way of a mail, are known to belong together."""

import json
import re
import shutil

from support import samples
from support.postfix import session_send

RULE = """
  { name = "alerts"; match: { body: { glob = "*"; }; }; to = [ "ops" ]; }"""


def queue_id_of(text):
    """Postfix says: "2.0.0 Ok: queued as 4dF1Q40q7Zz2"."""
    return re.search(r"queued as (\w+)", text).group(1)


def accepted_records(relay):
    """Those that no room has seen yet: later the relay forgets what was in them."""
    for entry in json.loads(relay.ctl("queue", "--json").stdout):
        yield json.loads(relay.ctl("show", entry["id"], "--json").stdout)["record"]


def test_problem_and_recovery_of_each_tool_arrive_with_one_key(bridge):
    pairs = samples.pairs()
    assert pairs
    # The daemon's user may not be able to read our tree.
    profiles = shutil.copytree(samples.PROFILES, bridge.place / "profiles", dirs_exist_ok=True)
    bridge.milterd.extra = f'profiles = [ "{profiles}" ];'
    bridge.milterd.rules = RULE
    bridge.start()
    bridge.relay.ctl("pause", "ops")

    sent = {}  # queue id → sample
    with bridge.postfix.session() as session:
        for name in sorted(pairs.keys() | pairs.values()):
            code, text = session_send(session, samples.samples()[name].read_bytes())
            assert code == 250, f"{name}: {text}"
            sent[queue_id_of(text)] = name
    keys = {sent[record["fields"]["queue_id"]]: record.get("key")
            for record in accepted_records(bridge.relay)}
    assert keys.keys() == set(sent.values())
    apart = {name: (keys[problem], keys[name]) for name, problem in pairs.items()
             if not keys[problem] or keys[problem] != keys[name]}
    assert not apart, "\n".join(f"{name}: {a} is not {b}" for name, (a, b) in apart.items())

    bridge.relay.ctl("resume", "ops")
    bridge.reader.wait_message(count=len(sent), timeout=180)
