#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
The stage of packaging/quickstart: servers, daemons, mails, and the view from the room.

It is built of the same parts as the system tests. Run packaging/quickstart, which prepares it.
"""

import argparse
import os
import re
import signal
import sys
import time
from pathlib import Path

SUPPORT = Path(__file__).resolve().parent.parent / "tests" / "system"
sys.path.insert(0, str(SUPPORT))

from support import mails, samples  # noqa: E402
from support.bridge import ACCOUNTS, Bridge  # noqa: E402
from support.certificates import Authority  # noqa: E402
from support.daemons import Programs  # noqa: E402
from support.place import Failure, Place, run  # noqa: E402
from support.postfix import Postfix  # noqa: E402
from support.prosody import Prosody  # noqa: E402

RULES = """
  { name = "nagios";
    match: { from = "NMS <nms@nms.example.org>"; };
    to = [ "ops" ];
  },
  { name = "cron";
    match: { subject: { glob = "Cron <*"; }; };
    trust = [ "local" ];                      # anybody can write such a Subject
    to = [ "ops" ];
    verdict = "discard";                      # said in the room, and no mail beside it
  },
  { name = "grafana";
    match: { from = "grafana@example.org"; subject: { regex = "^\\\\[(FIRING|RESOLVED)"; }; };
    to = [ "ops" ];
  },
  { name = "mdadm";
    match: { from: { glob = "mdadm monitoring <*"; }; };
    to = [ "ops" ];
  }
"""

# As Grafana sends it, but now.
GRAFANA = re.sub(r"^Date: .*\n", "", (samples.MAILS / "grafana" / "problem-cpu.eml").read_text(),
                 count=1, flags=re.M)

# Sender, recipient, the mail, and a word that its message holds (None: no alert).
MAILS = [
    ("nms@nms.example.org", "ops@example.org", mails.NAGIOS_PROBLEM, "CRITICAL"),
    ("root@web2.example.org", "root@web2.example.org", mails.CRON, "Zertifikat"),
    ("erika@example.org", "ops@example.org", mails.LETTER, None),
    ("grafana@example.org", "ops@example.org", GRAFANA, "web1:9100"),
    ("root@backup1.example.org", "root@backup1.example.org", mails.MDADM, "/dev/md0"),
    ("nms@nms.example.org", "ops@example.org", mails.NAGIOS_RECOVERY, "214083 MB"),
]


def step(name, text):
    print(f"{name:<10} {text}", flush=True)


def version(package):
    done = run(["dpkg-query", "-W", "-f", "${Version}", package])
    return done.stdout.split("-")[0]


def subject(mail):
    return re.search(r"^Subject: (.*)$", mail, re.M).group(1)


def stage(place, build):
    """Starts all of it; gives the bridge."""
    programs = Programs(place, build)
    authority = Authority(place)
    prosody = Prosody(place, authority, ACCOUNTS).start()
    postfix = Postfix(place, place / "milter" / "milter.sock").start()
    step("servers", f"Postfix {version('postfix')} on port {postfix.port}, "
                    f"Prosody {version('prosody')} on port {prosody.port}, in {place.path}")
    bridge = Bridge(place, programs, postfix, prosody, authority, "ops")
    bridge.milterd.rules = RULES
    bridge.milterd.take_profiles()
    bridge.start()
    step("daemons", f"milterd filters Postfix's mail, xmpprelay is in {bridge.room} as alertbot")
    return bridge


def play(bridge):
    """Sends the mails and prints what is said. True when all went as it should."""
    print("\nMails sent with Postfix's sendmail(1):", flush=True)
    started = time.monotonic()
    for sender, recipient, mail, word in MAILS:
        print(f"  from {sender:<25} {subject(mail)}", flush=True)
        done = bridge.postfix.submit(mail, sender=sender, to=[recipient])
        if done.returncode != 0:
            raise Failure(f"sendmail: {done.stdout.decode(errors='replace')}")
        if word:
            # One after the other, so that the room shows them as time would.
            bridge.reader.wait_message(word)
    seconds = time.monotonic() - started

    print(f"\nWhat a person in the room {bridge.room} sees:\n")
    messages = bridge.reader.messages()
    for message in messages:
        when = time.strftime("%H:%M:%S", time.localtime(message["at"]))
        print(f"  {when} {message['nick']}:")
        for line in message["body"].splitlines():
            print(f"    {line}".rstrip())
        print()

    bridge.postfix.wait_delivered(b"Lunch on Thursday?")
    alerts = sum(1 for _, _, _, word in MAILS if word)
    print(f"{len(messages)} of {len(MAILS)} mails were alerts ({seconds:.1f} s for all). "
          "The letter from Erika is none:\nit went to its mailbox, and its body was never shown to "
          "the filter.", flush=True)
    return len(messages) == alerts


STOP = """\
#!/bin/bash
# Ends what packaging/quickstart --keep left running, and removes its folder.
pids=({pids})
for entry in "${{pids[@]}}"; do
    pid=${{entry%:*}} start=${{entry#*:}}
    # The same process still, and not a later one with its number?
    [[ $(awk '{{print $22}}' "/proc/$pid/stat" 2>/dev/null) == "$start" ]] && kill "$pid"
done
for _ in {{1..100}}; do
    left=
    for entry in "${{pids[@]}}"; do
        pid=${{entry%:*}} start=${{entry#*:}}
        [[ $(awk '{{print $22}}' "/proc/$pid/stat" 2>/dev/null) == "$start" ]] && left=1
    done
    [[ $left ]] || break
    sleep 0.1
done
rm -rf '{folder}'
"""


def start_time(pid):
    # The name in the second field may hold blanks; none of our servers' does.
    return Path(f"/proc/{pid}/stat").read_text().split()[21]


def keep(bridge):
    """Writes helpers for playing, and says how."""
    place, relay, postfix = bridge.place, bridge.relay, bridge.postfix
    server = bridge.server
    bridge.reader.close()
    pids = [p.pid for p in reversed(place.processes) if p.alive]
    entries = " ".join(f"{pid}:{start_time(pid)}" for pid in pids)
    place.file("stop", STOP.format(pids=entries, folder=place.path), mode=0o755)
    place.file("watch", f"""\
#!/bin/sh
# Sits in the room and prints what is said. Ctrl-C leaves.
exec /usr/bin/python3 -B {SUPPORT}/support/xmpp_reader.py --human --nick "watcher-$$" \\
    --jid reader@{server.domain} --password {ACCOUNTS['reader']} --port {server.port} \\
    --ca-file {bridge.authority.certificate} {bridge.room} 2>/dev/null
""", mode=0o755)
    sudo = "sudo " if os.environ.get("SUDO_USER") else ""
    print(f"""
It goes on running.

Watch the room        {place.path}/watch
Send a mail into it   printf 'From: NMS <nms@nms.example.org>\\nSubject: router is DOWN\\n\\nping: 100%% loss\\n' |
                          {sudo}/usr/sbin/sendmail -C {postfix.config} -f nms@nms.example.org ops@example.org
                      (or by SMTP to 127.0.0.1 port {postfix.port})
Say something         {sudo}{place.path}/bin/xmpprelay-send --socket {relay.socket} -s warning ops -- hello
See how it is         {sudo}{place.path}/bin/xmpprelayctl --socket {relay.control} status
Why did a rule match  {place.path}/bin/milterd -c {bridge.milterd.config} --explain FILE.eml
Configurations        {bridge.milterd.config}
                      {relay.config}
                      {postfix.config}/main.cf
Your own XMPP client  alice@{server.domain}, password {ACCOUNTS['alice']}, server 127.0.0.1 port {server.port},
                      CA {bridge.authority.certificate}, room {bridge.room}
Logs                  {place.path}/log
Stop it               {sudo}{place.path}/stop
""", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", required=True)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("quickstart: Postfix starts as root only; run packaging/quickstart")

    def leave(number, _):
        sys.exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)

    place = Place("mx-quickstart-")
    bridge = None
    leaves_it_running = False
    try:
        bridge = stage(place, options.build)
        good = play(bridge)
        if options.keep:
            keep(bridge)
            leaves_it_running = True
        elif good:
            print("""
How to go on: packaging/quickstart --keep leaves all this running to play with; README.md says how
to set it up with your own mail server and XMPP account.""")
        return 0 if good else 1
    except Failure as failure:
        print(f"\nquickstart: {failure}", file=sys.stderr)
        return 1
    finally:
        if not leaves_it_running:
            # What comes now is short, and a second Ctrl-C would leave servers behind.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            if bridge:
                for problem in bridge.close():
                    print(f"quickstart: {problem}", file=sys.stderr)
            place.close()


if __name__ == "__main__":
    sys.exit(main())
