# SPDX-License-Identifier: MIT
"""
Numbered alert mails through Postfix, by parallel SMTP sessions and by sendmail(1).

A mail that is not taken is tried again, as any mail server would, until it is or the load is told
to give up. `accepted` holds the numbers that were answered with 250, or that sendmail(1) took.
"""

import collections
import contextlib
import random
import smtplib
import subprocess
import threading
import time
from email.utils import formatdate

from support.place import wait_until
from support.postfix import session_send

SMTP_SESSIONS = 5
MAILS_IN_A_SESSION = 8
RETRY = 0.4  # seconds until a mail that was not taken is tried again
SUBMITTED = 6  # every which mail comes by sendmail(1)


def words(names):
    return "+".join(names)


class Load:
    def __init__(self, postfix, destinations, total, seconds, seed):
        """`destinations`: lists of names, taken in turn."""
        self.postfix = postfix
        self.destinations = destinations
        self.total = total
        self.accepted = {}  # number → when
        self.errors = collections.Counter()  # what was answered instead of 250
        self.poison = set()  # numbers of mails that are large, and that no room shall have
        self.larger = {}  # number → bytes that the mail has behind what a room shows of it
        self.asking = 0  # SMTP sessions that wait for the answer to a mail
        self.giving_up = threading.Event()
        self._lock = threading.Lock()
        self._seconds = seconds
        self._seed = seed
        self._sessions = SMTP_SESSIONS
        self._threads = []
        self.failure = None

    def smtp_sessions(self, count):
        """At a time; before start()."""
        self._sessions = count

    def start(self):
        self._pause = self._seconds * self._sessions / max(1, self.total)
        submitted = [n for n in range(self.total) if n % SUBMITTED == SUBMITTED - 1]
        by_smtp = [n for n in range(self.total) if n % SUBMITTED != SUBMITTED - 1]
        self._threads = [
            threading.Thread(target=self._guard, args=(self._smtp, by_smtp[i::self._sessions], i))
            for i in range(self._sessions)]
        self._threads.append(
            threading.Thread(target=self._guard, args=(self._submit, submitted, self._sessions)))
        for thread in self._threads:
            thread.start()
        return self

    def names(self, number):
        return self.destinations[number % len(self.destinations)]

    def mail(self, number):
        return (f"From: monitor@client.mail.test\r\nTo: ops@mail.test\r\n"
                f"Subject: ALERT {words(self.names(number))} number {number}.\r\n"
                f"Date: {formatdate(localtime=True)}\r\n"
                f"Message-ID: <{number}.{self._seed}@load.mail.test>\r\n\r\n"
                f"This is number {number}.\r\nThe disk of web{number % 9} is full.\r\n"
                + ("more and more of it\r\n" * 900 if number in self.poison else "")
                + "more and more of it\r\n" * (self.larger.get(number, 0) // 21)).encode()

    def wait_accepted(self, count, timeout=120):
        wait_until(lambda: len(self.accepted) >= count or self.failure,
                   lambda: f"{count} mails to be taken; there are {len(self.accepted)}, and "
                           f"{dict(self.errors)}", timeout, interval=0.005)

    @property
    def done(self):
        return not any(thread.is_alive() for thread in self._threads)

    def finish(self, timeout=180):
        """Waits until all are taken."""
        wait_until(lambda: self.done or self.failure, lambda: f"all mails to be taken; there are "
                   f"{len(self.accepted)}, and {dict(self.errors)}", timeout)

    def give_up(self):
        """What was not taken by now is not tried again."""
        self.giving_up.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _guard(self, target, numbers, index):
        try:
            target(numbers, random.Random(f"{self._seed}/{index}"))
        except Exception as error:  # pylint: disable=broad-except
            self.failure = f"{type(error).__name__}: {error}"
            raise

    def _note(self, what):
        with self._lock:
            self.errors[what] += 1

    def _take(self, number):
        with self._lock:
            self.accepted[number] = time.time()

    @contextlib.contextmanager
    def _ask(self):
        with self._lock:
            self.asking += 1
        try:
            yield
        finally:
            with self._lock:
                self.asking -= 1

    def _wait(self, pause, chance):
        self.giving_up.wait(pause * 2 * chance.random())

    def _smtp(self, numbers, chance):
        session, left = None, 0
        for number in numbers:
            self._wait(self._pause, chance)
            mail = self.mail(number)  # the same each time: so it has the same Date
            while not self.giving_up.is_set():
                try:
                    if not session:
                        session, left = self.postfix.session(), MAILS_IN_A_SESSION
                    left -= 1
                    with self._ask():
                        code, text = session_send(session, mail)
                except (OSError, smtplib.SMTPException) as error:
                    code, text = type(error).__name__, ""
                    session = self._end(session)
                if code == 250:
                    self._take(number)
                    if left <= 0:
                        session = self._end(session)
                    break
                self._note(f"{code} {text}"[:90])
                session = self._end(session)
                self.giving_up.wait(RETRY)
        self._end(session)

    @staticmethod
    def _end(session):
        if session:
            try:
                session.quit()
            except (OSError, smtplib.SMTPException):
                session.close()

    def _submit(self, numbers, chance):
        for number in numbers:
            self._wait(self._pause * SUBMITTED / self._sessions, chance)
            mail = self.mail(number)
            while not self.giving_up.is_set():
                try:
                    done = self.postfix.submit(mail)
                    code = done.returncode
                except subprocess.TimeoutExpired:
                    code = "timeout"
                if code == 0:
                    self._take(number)
                    break
                self._note(f"sendmail {code}")
                self.giving_up.wait(RETRY)
