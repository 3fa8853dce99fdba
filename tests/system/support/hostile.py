# SPDX-License-Identifier: MIT
"""
Mails that nobody sends but to do harm, each about one thing that a reader of mail may trip over.

MAILS is what to call one and a function that gives its bytes, as blocks. All are alerts by their
Subject, which says ALERT and the mail's name, and but for those in NO_TEXT begin with NEWS.
"""

import base64
import random

KB, MB = 1 << 10, 1 << 20
NEWS = b"the disk of web1 is full\n"

HEAD = b"""\
From: NMS <nms@example.org>
To: ops@example.org
Date: Sat, 21 Nov 2026 07:00:00 +0000
Message-ID: <%s@hostile.example.org>
MIME-Version: 1.0
"""

MAILS = {}
NO_TEXT = {"noise"}


def mail(function):
    name = function.__name__.replace("_", "-")
    MAILS[name] = lambda: function(name.encode())
    return function


def head(name, *more, subject=None):
    lines = [HEAD % name, b"Subject: " + (subject or b"ALERT " + name) + b"\n"]
    return b"".join(lines + [line + b"\n" for line in more]) + b"\n"


def repeat(block, size, step=MB):
    """About `size` bytes of a block again and again."""
    piece = block * max(1, step // len(block))
    for _ in range(max(1, size // len(piece))):
        yield piece


def html(name, *blocks):
    yield head(name, b"Content-Type: text/html; charset=utf-8")
    yield b"<html><body><p>" + NEWS + b"</p>\n"
    for block in blocks:
        yield block if isinstance(block, bytes) else b"".join(block)


def mixed(name, subtype=b"mixed"):
    yield head(name, b'Content-Type: multipart/%s; boundary="b"' % subtype)
    yield b"--b\nContent-Type: text/plain\n\n" + NEWS


# Size

@mail
def plain_50_mb(name):
    yield head(name)
    yield NEWS
    yield from repeat(b"a line of text that says nothing at all, again and again\n", 50 * MB)


@mail
def line_of_40_mb(name):
    yield head(name)
    yield NEWS
    yield from repeat(b"word ", 40 * MB)


@mail
def base64_50_mb(name):
    yield head(name, b"Content-Type: text/plain", b"Content-Transfer-Encoding: base64")
    yield base64.encodebytes(NEWS)
    yield from repeat(base64.encodebytes(b"abcdefgh\n" * 570), 50 * MB)


@mail
def quoted_printable_20_mb(name):
    yield head(name, b"Content-Type: text/plain; charset=koi8-r",
               b"Content-Transfer-Encoding: quoted-printable")
    yield NEWS
    yield from repeat(b"=C1" * 20 + b"=\n", 20 * MB)


@mail
def line_ends_10_mb(name):
    yield head(name)
    yield NEWS
    yield from repeat(b"\n", 10 * MB)


@mail
def garbage(name):
    yield head(name)
    yield NEWS
    letters = bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100)) + b"\n"
    yield bytes(random.Random(1).choices(letters, k=2 * MB))


@mail
def noise(name):
    yield head(name)
    yield random.Random(1).randbytes(5 * MB)


@mail
def garbage_in_utf_16(name):
    yield head(name, b"Content-Type: text/plain; charset=utf-16")
    yield NEWS.decode().encode("utf-16")
    yield random.Random(2).randbytes(5 * MB)


@mail
def marks_on_one_letter(name):
    yield head(name, b"Content-Type: text/plain; charset=utf-8")
    yield NEWS
    yield from repeat("\u0301".encode(), 5 * MB)


# Headers

@mail
def header_of_10_mb(name):
    yield b"X-Long: "
    yield from repeat(b"a long story ", 10 * MB)
    yield b"\n" + head(name) + NEWS


@mail
def subject_of_10_mb(name):
    yield HEAD % name + b"Subject: ALERT " + name
    yield from repeat(b" again", 10 * MB)
    yield b"\n\n" + NEWS


@mail
def folded_header_of_10_mb(name):
    yield b"X-Long: x\n"
    yield from repeat(b" f\n", 10 * MB)
    yield head(name) + NEWS


@mail
def header_100000_times(name):
    yield from repeat(b"X-Again: and again\n", 100000 * 19)
    yield head(name) + NEWS


@mail
def recipients_10000(name):
    yield b"To: " + b",\n ".join(b"Person %d <p%d@example.org>" % (n, n) for n in range(10000))
    yield b"\n" + head(name) + NEWS


@mail
def encoded_words(name):
    words = b" ".join(b"=?utf-8?B?%s?=" % base64.b64encode(b"word%d" % n) for n in range(10000))
    yield head(name, subject=b"ALERT " + name + b" " + words) + NEWS


@mail
def encoded_words_of_many_charsets(name):
    charsets = [b"koi8-r", b"iso-2022-jp", b"gb18030", b"big5", b"euc-kr", b"windows-1251", b"utf-7",
                b"iso-8859-5", b"shift_jis", b"no-such-%d"]
    words = b" ".join(b"=?%s?Q?=C1=C2?=" % (charset % n if b"%" in charset else charset)
                      for n in range(1000) for charset in charsets)
    yield head(name, subject=b"ALERT " + name + b" " + words) + NEWS


@mail
def encoded_words_that_never_end(name):
    yield head(name, subject=b"ALERT " + name + b" " + b"=?" * 60000) + NEWS


@mail
def encoded_words_that_may_end_anywhere(name):
    yield head(name, subject=b"ALERT " + name + b" " + b"=?=41?Q?x" * 28000) + NEWS


@mail
def encoded_words_in_all_headers(name):
    words = b" ".join(b"=?gb18030?Q?=C1=C2?= =?big5?B?wcI=?=" for n in range(20))
    yield b"".join(b"X-%d: %s\n" % (n, words) for n in range(900)) + head(name) + NEWS


@mail
def subject_for_regexes(name):
    yield head(name, subject=b"ALERT " + name + b" ** PROBLEM " + b"a" * 30000 + b"! is " +
               b"[FIRING:1] (" * 2000 + b"/-: " * 10000) + NEWS


@mail
def text_for_regexes(name):
    yield head(name)
    yield NEWS
    yield b"a" * 200 * KB + b"!\n"
    yield from repeat(b"Host: Service: State: Info: ** = - " * 3 + b"\n", 800 * KB)


@mail
def text_of_brackets(name):
    yield head(name) + NEWS + b"[" * 65000 + b" is DOWN (FIRING) failed: ERROR\n"


@mail
def text_of_numbers(name):
    yield head(name) + NEWS + b"1" * 65000 + b" Jobs: %\n"


@mail
def empty_lines_between_words(name):
    yield head(name) + NEWS + b"".join(b"Host: x%s\nState: -\n" % (b"\n" * 5000) for n in range(20))


@mail
def comments_in_the_sender(name):
    yield b"From: " + b"(" * 50000 + b'"' * 50000 + b"<" * 50000 + b"\nFrom: " + b"a:" * 20000 + b"\n"
    yield head(name) + NEWS


@mail
def addresses(name):
    yield b"From: " + b"a@b,(" * 50000 + b"\n" + head(name) + NEWS


@mail
def parameters(name):
    more = b"; ".join(b"charset*%d*=utf-8''x; a%d=b" % (n, n) for n in range(20000))
    yield head(name, b"Content-Type: text/plain; " + more, b"Content-Disposition: inline; " + more)
    yield NEWS


@mail
def dates(name):
    yield b"Date: " + b"Sat, 21 Nov 99999999999 " * 5000 + b"\n" + head(name) + NEWS


# Parts

@mail
def parts_10000(name):
    yield from mixed(name)
    part = b"--b\nContent-Type: text/plain\n\n" + b"a line of a part that says nothing\n" * 145
    yield from repeat(part, 50 * MB)
    yield b"--b--\n"


@mail
def parts_that_are_empty(name):
    yield from mixed(name)
    yield from repeat(b"--b\n\n", 5 * MB)


@mail
def parts_of_html(name):
    yield from mixed(name)
    part = (b"--b\nContent-Type: text/html\n\n" + b"<table><tr><td>x<td>y" * 200 + b"&amp;" * 500 + b"\n")
    yield from repeat(part, 5 * MB)


@mail
def parts_of_many_charsets(name):
    yield from mixed(name)
    for n in range(1000):
        charset = (b"gb18030", b"iso-2022-jp", b"euc-kr", b"koi8-r", b"utf-7", b"big5")[n % 6]
        yield b"--b\nContent-Type: text/plain; charset=%s\n\n" % charset + b"\xc1\xc2\n" * 1700


@mail
def alternatives(name):
    yield from mixed(name, b"alternative")
    for n in range(5000):
        yield b"--b\nContent-Type: text/html\n\n" + b"<p>or this %d</p>" % n * 50 + b"\n"


@mail
def attachments(name):
    yield from mixed(name)
    part = (b'--b\nContent-Type: image/png; name="%s"\nContent-Disposition: attachment\n\nx\n' %
            (b"=?utf-8?Q?=C3=A4?= " * 100))
    yield from repeat(part, 5 * MB)


def nested(subtypes, depth):
    for n in range(depth):
        subtype = subtypes[n % len(subtypes)]
        yield b'Content-Type: multipart/%s; boundary="b%d"\n\n' % (subtype, n)
        yield b"--b%d\nContent-Type: text/plain\n\n%s\n--b%d\n" % (n, NEWS, n)
    yield b"Content-Type: text/plain\n\nthe innermost\n"
    for n in reversed(range(depth)):
        yield b"--b%d--\n" % n


@mail
def nested_1000_deep(name):
    yield head(name)[:-1] + b"".join(nested([b"mixed"], 1000))


@mail
def nested_alternatives(name):
    yield head(name)[:-1] + b"".join(nested([b"alternative", b"related", b"signed"], 1000))


@mail
def multiparts_without_boundaries(name):
    multipart = b"Content-Transfer-Encoding: quoted-printable\nContent-Type: multipart/mixed\n\n"
    yield head(name)[:-1] + multipart + (b"A: a\nB: b\n" + multipart) * 30
    yield NEWS
    yield from repeat(b"\n--\n", MB // 2, MB // 2)


@mail
def nested_messages(name):
    yield from mixed(name)
    yield b"--b\nContent-Type: message/rfc822\n\n"
    for n in range(10000):
        yield b"Subject: message %d\nFrom: x@example.org\nContent-Type: message/rfc822\n\n" % n
    yield b"Subject: the last\n\n" + NEWS


@mail
def boundaries_nearly(name):
    yield head(name, b'Content-Type: multipart/mixed; boundary="%s"' % (b"-" * 70))
    yield b"--" + b"-" * 70 + b"\n\n" + NEWS
    yield from repeat(b"-" * 71 + b"\n", 20 * MB)


# HTML

@mail
def html_cells_100000(name):
    yield from html(name, b"<table>", repeat(b"<tr>" + b"<td>x</td>" * 10 + b"</tr>", 1000 * KB, KB))


@mail
def html_huge_spans(name):
    yield from html(name, b"<table><tr>",
                    repeat(b'<td colspan=1000000000 rowspan="999999999999">x</td>', 2 * MB))


@mail
def html_nested_tables(name):
    yield from html(name, repeat(b"<table><tr><td>x<td>y", 2 * MB), repeat(b"</table>", MB))


@mail
def html_thirty_nested_tables(name):
    tables = b"<table><tr><th>a<td>b" * 30 + b"<td>cell and cell</td>" * 2000 + b"</table>" * 30
    yield from html(name, repeat(tables, 2 * MB))


@mail
def html_unclosed_tags(name):
    yield from html(name, repeat(b"<div><b><font size=1><p><a href='https://x.org/'><li>x", 10 * MB))


@mail
def html_open_tag(name):
    yield from html(name, b"<a href='", repeat(b"x y=z ", 10 * MB))


@mail
def html_open_quotes(name):
    yield from html(name, repeat(b"<a b='>' ", 10 * MB))


@mail
def html_attributes(name):
    yield from html(name, b"<p ", b" ".join(b"a%d=1" % n for n in range(100000)), b">x</p>")


@mail
def html_entities(name):
    yield from html(name, repeat(b"&amp;&#x41;&unknown;&&#99999999999;", 10 * MB))


@mail
def html_comments(name):
    yield from html(name, repeat(b"<!-- - --", 5 * MB), repeat(b"<!---->", 5 * MB))


@mail
def html_styles(name):
    yield from html(name, repeat(b"<p style='" + b"display;:" * 400 + b"'>x", 10 * MB))


@mail
def html_quotes(name):
    yield from html(name, repeat(b"<blockquote><pre>\n\n\n<br>x<ul><li>", 5 * MB))


@mail
def html_in_utf_7(name):
    yield head(name, b"Content-Type: text/html; charset=utf-7")
    yield NEWS
    yield from repeat(b"+ADw-b+AD4-", 5 * MB)


@mail
def html_of_blanks(name):
    yield from html(name, repeat(b"<pre>" + b" \n" * 500 + b"</pre>&nbsp;", 5 * MB))


def write(folder, names=None):
    """Writes each of them as NAME.eml; gives the paths by name."""
    paths = {}
    for name in names or MAILS:
        paths[name] = folder / f"{name}.eml"
        with open(paths[name], "wb") as stream:
            stream.writelines(MAILS[name]())
    return paths
