# SPDX-License-Identifier: MIT
"""
A private Sendmail, though Postfix is what is installed.

The two packages exclude each other, so its files are fetched by apt and unpacked beside the
build, and are not installed. All mail that it takes ends in one file.
"""

import pwd
import smtplib
import subprocess

from .place import can_connect, run, wait_until
from .postfix import session_send

# What has to be unpacked; of the libraries only those that the system lacks.
PACKAGES = ["sendmail-bin", "sendmail-base", "sendmail-cf", "m4"]
LIBRARIES = ["libsigsegv2", "libwrap0", "libnsl2", "libtirpc3", "libldap-2.5-0", "libsasl2-2",
             "libdb5.3", "liblockfile1"]
USER = "mail"


class Unavailable(Exception):
    pass


def unpack(folder):
    """Fetches and unpacks it into the folder, once; raises Unavailable where that can't be."""
    files = folder / "files"
    if (files / "complete").exists():
        return files
    folder.mkdir(parents=True, exist_ok=True)
    wanted = list(PACKAGES)
    for library in LIBRARIES:
        done = run(["dpkg-query", "-W", "-f", "${db:Status-Status}", library])
        if done.stdout != "installed":
            wanted.append(library)
    try:
        done = run(["apt-get", "-q", "download", *wanted], cwd=folder, timeout=300)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(str(error))
    if done.returncode != 0:
        raise Unavailable(done.stderr.strip()[-300:])
    for package in folder.glob("*.deb"):
        run(["dpkg", "-x", package, files], check=True)
    # With a group of its own it would not look for libraries where we say.
    (files / "usr/libexec/sendmail/sendmail").chmod(0o755)
    (files / "complete").write_text("")
    return files


class Sendmail:
    def __init__(self, place, files, milter, name="sendmail"):
        self.place = place
        self.port = place.port()
        home = place.folder(name)
        self.queue = place.folder(f"{name}/queue", mode=0o700)
        self.inbox = place.file(f"{name}/inbox", "", USER)
        place.file(f"{name}/hosts", "127.0.0.1 localhost sm.mail.test sm\n")
        place.file(f"{name}/switch", "hosts files\naliases files\n")
        place.file(f"{name}/deliver", f"#!/bin/sh\ncat >>{self.inbox}\n", mode=0o755)
        place.file(f"{name}/submit.cf", "")
        user = pwd.getpwnam(USER)
        source = place.file(f"{name}/sendmail.mc", f"""\
divert(0)dnl
include(`{files}/usr/share/sendmail/cf/m4/cf.m4')dnl
VERSIONID(`private')dnl
OSTYPE(`linux')dnl
undefine(`ALIAS_FILE')dnl
define(`QUEUE_DIR', `{self.queue}')dnl
define(`STATUS_FILE', `{home}/statistics')dnl
define(`HELP_FILE', `')dnl
define(`confPID_FILE', `{home}/sendmail.pid')dnl
define(`confHOSTS_FILE', `{home}/hosts')dnl
define(`confSERVICE_SWITCH_FILE', `{home}/switch')dnl
define(`confDOMAIN_NAME', `sm.mail.test')dnl
define(`confDONT_PROBE_INTERFACES', `true')dnl
define(`confDEF_USER_ID', `{user.pw_uid}:{user.pw_gid}')dnl
define(`confTRUSTED_USER', `root')dnl
define(`confDONT_BLAME_SENDMAIL', `TrustStickyBit,GroupWritableDirPathSafe')dnl
define(`confTO_IDENT', `0')dnl
define(`confLOG_LEVEL', `9')dnl
FEATURE(`nouucp', `reject')dnl
FEATURE(`promiscuous_relay')dnl
FEATURE(`accept_unresolvable_domains')dnl
FEATURE(`no_default_msa')dnl
DAEMON_OPTIONS(`Name=MTA, Family=inet, Addr=127.0.0.1, Port={self.port}')dnl
INPUT_MAIL_FILTER(`milterd', `S=unix:{milter}, F=T, T=S:30s;R:30s;E:5m')dnl
LOCAL_RULE_0
R$*<@$*>$*\t$#sink $@ $2 $: $1@$2
R$+\t$#sink $@ local $: $1
MAILER_DEFINITIONS
Msink,\tP={home}/deliver, F=lsDFMn, S=0, R=0, T=DNS/RFC822/X-Unix, A=deliver $u
""")
        done = run([files / "usr/bin/m4", f"-D_CF_DIR_={files}/usr/share/sendmail/cf/", source],
                   check=True, env=self.environment(files))
        place.file(f"{name}/sendmail.cf", done.stdout)
        # When it starts it looks up the host's name, and if that has no domain and is not known it
        # sleeps a minute; so it gets a host name of its own.
        starter = place.file(f"{name}/start", f"""\
#!/bin/sh
echo sm.mail.test >/proc/sys/kernel/hostname || exit
exec {files}/usr/libexec/sendmail/sendmail -bD -q1h -C{home}/sendmail.cf -X {home}/traffic
""", mode=0o755)
        submitter = place.file(f"{name}/submit", f"""\
#!/bin/sh
echo sm.mail.test >/proc/sys/kernel/hostname || exit
exec {files}/usr/libexec/sendmail/sendmail -Am -bs -C{home}/sendmail.cf
""", mode=0o755)
        self.submit_command = ["unshare", "--uts", submitter]
        self.prepare_submission(name, files)
        self.process = place.process(
            name, ["unshare", "--uts", starter], env=self.environment(files), cwd=home)

    def prepare_submission(self, name, files):
        """The sendmail(1) of Sendmail is a client of its MTA, with a queue of its own."""
        home = self.place / name
        self.client_queue = self.place.folder(f"{name}/client", USER, USER, 0o770)
        source = self.place.file(f"{name}/msp.mc", f"""\
divert(0)dnl
include(`{files}/usr/share/sendmail/cf/m4/cf.m4')dnl
VERSIONID(`private')dnl
OSTYPE(`linux')dnl
define(`confCF_VERSION', `Submit')dnl
define(`MSP_QUEUE_DIR', `{self.client_queue}')dnl
define(`STATUS_FILE', `{home}/client-statistics')dnl
define(`confPID_FILE', `{home}/client.pid')dnl
define(`confHOSTS_FILE', `{home}/hosts')dnl
define(`confSERVICE_SWITCH_FILE', `{home}/switch')dnl
define(`confDOMAIN_NAME', `sm.mail.test')dnl
define(`confDONT_PROBE_INTERFACES', `true')dnl
define(`confRUN_AS_USER', `{USER}')dnl
define(`confTRUSTED_USER', `{USER}')dnl
define(`confDONT_BLAME_SENDMAIL', `TrustStickyBit,GroupWritableDirPathSafe')dnl
define(`RELAY_MAILER_ARGS', `TCP $h {self.port}')dnl
FEATURE(`msp', `[127.0.0.1]')dnl
""")
        done = run([files / "usr/bin/m4", f"-D_CF_DIR_={files}/usr/share/sendmail/cf/", source],
                   check=True, env=self.environment(files))
        self.place.file(f"{name}/msp.cf", done.stdout)
        program = self.place.file(f"{name}/msp", f"""\
#!/bin/sh
echo sm.mail.test >/proc/sys/kernel/hostname || exit
exec {files}/usr/libexec/sendmail/sendmail -Ac -C{home}/msp.cf "$@"
""", mode=0o755)
        self.sendmail_command = ["unshare", "--uts", program]

    @staticmethod
    def environment(files):
        folders = [str(p) for p in (files / "usr/lib").glob("*-linux-gnu")]
        folders += [str(p) for p in (files / "lib").glob("*-linux-gnu")]
        return {"LD_LIBRARY_PATH": ":".join(folders), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}

    def start(self):
        if run(["unshare", "--uts", "true"]).returncode != 0:
            raise Unavailable("this machine does not let root have namespaces")
        self.process.start()
        wait_until(
            lambda: can_connect(self.port) or not self.process.alive,
            lambda: f"Sendmail to listen:\n{self.process.log_tail()}")
        assert self.process.alive, self.process.log_tail()
        return self

    def session(self):
        return smtplib.SMTP("127.0.0.1", self.port, local_hostname="client.mail.test", timeout=120)

    def send(self, mail, sender="root@client.mail.test", to=("ops@mail.test",)):
        with self.session() as session:
            return session_send(session, mail, sender, to)

    def submit(self, mail, sender="root@sm.mail.test", to="ops@mail.test"):
        """By sendmail -bs, as mail programs on the same host do it."""
        with subprocess.Popen(self.submit_command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              env=self.process.env, cwd=self.process.cwd) as program:
            def answer():
                while True:
                    line = program.stdout.readline()
                    if line[3:4] != b"-":
                        return line
            answer()
            for line in ("EHLO localhost", f"MAIL FROM:<{sender}>", f"RCPT TO:<{to}>", "DATA"):
                program.stdin.write(line.encode() + b"\r\n")
                program.stdin.flush()
                said = answer()
                assert said[:1] in b"23", (line, said)
            program.stdin.write(mail + b"\r\n.\r\n")
            program.stdin.flush()
            said = answer()
            program.stdin.write(b"QUIT\r\n")
        return int(said[:3])

    def sendmail(self, *arguments, **options):
        """sendmail(1), as cron runs it."""
        return run([*self.sendmail_command, *arguments], env=self.process.env,
                   cwd=self.process.cwd, **options)

    def client_queued(self):
        """How many mails wait on this side of the MTA."""
        return len(list(self.client_queue.glob("qf*")))

    def wait_delivered(self, containing, timeout=60):
        wait_until(lambda: containing in self.inbox.read_bytes(),
                   lambda: f"{containing!r} in the inbox:\n{self.inbox.read_text()[-2000:]}", timeout)

    def delivered(self, containing):
        return containing in self.inbox.read_bytes()
