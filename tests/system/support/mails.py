# SPDX-License-Identifier: MIT
"""Mails as monitoring systems write them."""

import base64
from email.utils import formatdate


def plain(subject="ALERT disk full", body="/var is at 99 %\n", sender="monitor@client.mail.test",
          **headers):
    extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return (f"From: {sender}\r\nTo: ops@mail.test\r\nSubject: {subject}\r\n"
            f"Date: {formatdate(localtime=True)}\r\n"
            f"Message-ID: <{abs(hash((subject, body))):x}@client.mail.test>\r\n{extra}\r\n"
            + body.replace("\r\n", "\n").replace("\n", "\r\n")).encode()


def utf8(subject, body):
    word = base64.b64encode(subject.encode()).decode()
    return (f"From: Monitor <monitor@client.mail.test>\r\nTo: ops@mail.test\r\n"
            f"Subject: =?utf-8?B?{word}?=\r\nMIME-Version: 1.0\r\n"
            "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
            + body.replace("\n", "\r\n")).encode()


def html(subject, markup):
    body = base64.encodebytes(markup.encode()).decode().replace("\n", "\r\n")
    return (f"From: Monitor <monitor@client.mail.test>\r\nTo: ops@mail.test\r\n"
            f"Subject: {subject}\r\nMIME-Version: 1.0\r\n"
            "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
            + body).encode()


NAGIOS_PROBLEM = """\
From: NMS <nms@nms.example.org>
To: ops@example.org
Subject: ** PROBLEM Service Alert: db1/Disk Space is CRITICAL **

***** Nagios *****

Notification Type: PROBLEM

Service: Disk Space
Host: db1
Address: 10.0.3.17
State: CRITICAL

Date/Time: Sat Mar 14 09:26:53 UTC 2026

Additional Info:

DISK CRITICAL - free space: /srv/pg 812 MB (1% inode=97%)
"""

NAGIOS_RECOVERY = """\
From: NMS <nms@nms.example.org>
To: ops@example.org
Subject: ** RECOVERY Service Alert: db1/Disk Space is OK **

***** Nagios *****

Notification Type: RECOVERY

Service: Disk Space
Host: db1
Address: 10.0.3.17
State: OK

Date/Time: Sat Mar 14 09:41:12 UTC 2026

Additional Info:

DISK OK - free space: /srv/pg 214083 MB (41% inode=97%)
"""

CRON = """\
From: root@web2.example.org (Cron Daemon)
To: root@web2.example.org
Subject: Cron <root@web2> /usr/local/sbin/renew-certificates
MIME-Version: 1.0
Content-Type: text/plain; charset=UTF-8
Content-Transfer-Encoding: 8bit
X-Cron-Env: <SHELL=/bin/sh>
X-Cron-Env: <LOGNAME=root>

Zertifikat für mail.example.org läuft in 3 Tagen ab – Erneuerung schlug fehl:
  Übertragung zu »acme-v02« nach 30 s abgebrochen
"""

MDADM = """\
From: mdadm monitoring <root@backup1.example.org>
To: root@backup1.example.org
Subject: DegradedArray event on /dev/md0:backup1

This is an automatically generated mail message from mdadm
running on backup1

A DegradedArray event had been detected on md device /dev/md0.

Faithfully yours, etc.

P.S. The /proc/mdstat file currently contains the following:

Personalities : [raid1]
md0 : active raid1 sdb1[1]
      976630464 blocks super 1.2 [2/1] [_U]

unused devices: <none>
"""

LETTER = """\
From: Erika <erika@example.org>
To: ops@example.org
Subject: Lunch on Thursday?

Shall we try the new place by the river?
"""
