# SPDX-License-Identifier: MIT
"""
A private Postfix: own configuration and queue, one SMTP port on loopback, one maildir for all.

All mail to anybody ends in that maildir, so a test sees what was delivered. The milter is asked
for SMTP and for what sendmail(1) submits, and a milter that isn't there makes the mail wait.
"""

import email
import email.policy
import json
import os
import pwd
import smtplib
import subprocess

from .place import can_connect, run, wait_until

PROGRAMS = "/usr/lib/postfix/sbin"
SINK_USER = "mail"  # owns the maildir


class Postfix:
    def __init__(self, place, milter, name="postfix", timeouts="10s", inet=False, next_port=None):
        """With `next_port` it has no milter, and hands all mail to the MTA at that port, but for
        mail to nowhere.test, which it returns; it complains soon of what it can't hand over."""
        self.place = place
        self.port = place.port()
        self.config = place.folder(name)
        self.queue = place.folder(f"{name}/queue")
        self.maildir = place.folder(f"{name}/mail", SINK_USER, mode=0o750)
        self.maillog = place.file(f"{name}/mail.log", "")
        data = place.folder(f"{name}/data", "postfix", mode=0o700)
        for folder in ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold",
                       "incoming", "private", "saved", "trace"):
            place.folder(f"{name}/queue/{folder}", "postfix", mode=0o700)
        place.folder(f"{name}/queue/maildrop", "postfix", "postdrop", 0o730)
        place.folder(f"{name}/queue/public", "postfix", "postdrop", 0o710)
        place.folder(f"{name}/queue/pid", mode=0o755)
        sink = pwd.getpwnam(SINK_USER)
        self.milter = "" if next_port else milter if inet else f"unix:{milter}"
        transport = f"smtp:[127.0.0.1]:{next_port}" if next_port else "virtual"
        place.file(f"{name}/main.cf", f"""\
compatibility_level = 3.6
queue_directory = {self.queue}
data_directory = {data}
command_directory = /usr/sbin
daemon_directory = {PROGRAMS}
mail_owner = postfix
setgid_group = postdrop
maillog_file = {self.maillog}
maillog_file_prefixes = /tmp
myhostname = mx.mail.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_peername_lookup = no
smtpd_authorized_xclient_hosts = 127.0.0.0/8
alias_maps =
alias_database =
biff = no
default_transport = {transport}
relay_transport = {transport}
virtual_transport = {transport}
transport_maps = inline:{{{{nowhere.test = error:5.1.1 there is nobody}}}}
delay_warning_time = {"1s" if next_port else "0"}
disable_dns_lookups = yes
virtual_mailbox_base = {self.maildir}
virtual_mailbox_maps = static:inbox/
virtual_mailbox_limit = 0
virtual_minimum_uid = 1
virtual_uid_maps = static:{sink.pw_uid}
virtual_gid_maps = static:{sink.pw_gid}
smtpd_milters = {self.milter}
non_smtpd_milters = {self.milter}
milter_default_action = tempfail
milter_protocol = 6
milter_connect_timeout = {timeouts}
milter_command_timeout = {timeouts}
milter_content_timeout = 30s
smtpd_client_connection_count_limit = 0
in_flow_delay = 0
minimal_backoff_time = 2s
maximal_backoff_time = 4s
queue_run_delay = 2s
""")
        place.file(f"{name}/master.cf", f"""\
127.0.0.1:{self.port} inet n - n - 100 smtpd
pickup     unix  n  -  n  2     1  pickup
cleanup    unix  n  -  n  -     0  cleanup
qmgr       unix  n  -  n  2     1  qmgr
rewrite    unix  -  -  n  -     -  trivial-rewrite
bounce     unix  -  -  n  -     0  bounce
defer      unix  -  -  n  -     0  bounce
trace      unix  -  -  n  -     0  bounce
verify     unix  -  -  n  -     1  verify
flush      unix  n  -  n  1000? 0  flush
proxymap   unix  -  -  n  -     -  proxymap
showq      unix  n  -  n  -     -  showq
error      unix  -  -  n  -     -  error
retry      unix  -  -  n  -     -  error
discard    unix  -  -  n  -     -  discard
virtual    unix  -  n  n  -     -  virtual
smtp       unix  -  -  n  -     -  smtp
anvil      unix  -  -  n  -     1  anvil
postlog    unix-dgram n - n -   1  postlogd
""")
        self.process = place.process(name, [f"{PROGRAMS}/master", "-d", "-c", self.config])

    def start(self):
        assert os.geteuid() == 0, "Postfix starts as root only"
        self.process.start()
        wait_until(
            lambda: can_connect(self.port) or not self.process.alive,
            lambda: f"Postfix to listen:\n{self.process.log_tail()}{self.log_text()}")
        assert self.process.alive, self.process.log_tail()
        return self

    def stop(self):
        self.process.stop()

    def log_text(self):
        return self.maillog.read_text(errors="replace")

    def session(self):
        """An SMTP session; use it with `with`."""
        return smtplib.SMTP("127.0.0.1", self.port, local_hostname="client.mail.test", timeout=60)

    def send(self, mail, sender="root@client.mail.test", to=("ops@mail.test",)):
        """One mail in a session of its own: (code, text) of the answer that decided."""
        with self.session() as session:
            return session_send(session, mail, sender, to)

    def submit(self, mail, sender="root@client.mail.test", to=("ops@mail.test",), user=None):
        """By sendmail(1), as cron does it; gives what the command gave."""
        return subprocess.run(
            ["/usr/sbin/sendmail", "-C", str(self.config), "-f", sender, "-oi", *to],
            input=to_bytes(mail).replace(b"\r\n", b"\n"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
            user=user, check=False)

    def delivered(self, containing=b""):
        """The mails in the maildir that contain the bytes."""
        found = []
        for path in sorted((self.maildir / "inbox" / "new").glob("*")):
            text = path.read_bytes()
            if containing in text:
                found.append(email.message_from_bytes(text, policy=email.policy.default))
        return found

    def wait_delivered(self, containing, count=1, timeout=60):
        return wait_until(
            lambda: (lambda m: m if len(m) >= count else None)(self.delivered(containing)),
            lambda: f"a mail with {containing!r} to be delivered; log:\n"
                    + "\n".join(self.log_text().splitlines()[-15:]), timeout)

    def queued(self):
        """The queue, as postqueue -j tells it."""
        done = run(["/usr/sbin/postqueue", "-c", self.config, "-j"])
        return [json.loads(line) for line in done.stdout.splitlines() if line]

    def flush(self):
        run(["/usr/sbin/postqueue", "-c", self.config, "-f"])

    def forget(self, queue_id):
        for queues in ([], ["maildrop"]):
            run(["/usr/sbin/postsuper", "-c", self.config, "-d", queue_id, *queues])


def to_bytes(mail):
    if isinstance(mail, bytes):
        return mail
    if isinstance(mail, str):
        return mail.encode()
    return mail.as_bytes()


def session_send(session, mail, sender="root@client.mail.test", to=("ops@mail.test",)):
    """One mail within a session: (code, text) of the first refusal, or of the end."""
    session.ehlo_or_helo_if_needed()
    code, text = session.mail(sender)
    if code != 250:
        session.rset()
        return code, text.decode()
    for address in to:
        code, text = session.rcpt(address)
        if code not in (250, 251):
            session.rset()
            return code, text.decode()
    try:
        wire = to_bytes(mail).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        code, text = session.data(wire)
    except smtplib.SMTPDataError as refused:
        code, text = refused.smtp_code, refused.smtp_error
        session.rset()
    return code, text.decode()
