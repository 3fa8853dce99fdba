/* SPDX-License-Identifier: MIT */

#include "tests/unit/mails.h"

#include "common/text.h"
#include "milterd/mime-part.h"
#include "milterd/mime-tree.h"
#include "milterd/mime.h"

static bool cut;

static char *read_text(Mail mail)
{
    char *text = NULL;

    assert_int_equal(mime_text(&mail, &text, &cut), 0);
    assert_true(text_is_clean(text, strlen(text)));
    mail_done(&mail);
    return text;
}

static void assert_reads(const char *mail, const char *expected)
{
    _cleanup_free_ char *text = read_text(mail_of_text(mail));

    assert_string_equal(text, expected);
}

static void assert_file_reads(const char *name, const char *expected)
{
    _cleanup_free_ char *text = read_text(mail_of_file(name));

    assert_string_equal(text, expected);
}

static void mime_mails_of_real_life_are_read(void **state)
{
    assert_file_reads("cron.eml",
                      "/etc/cron.daily/backup:\n"
                      "pg_dump: Fehler: Verbindung für Datenbank »kunden« nicht möglich\n"
                      "run-parts: /etc/cron.daily/backup exited with return code 1");
    assert_file_reads("grafana-html.eml",
                      "[FIRING:1] DiskAlmostFull\n\nLabel       Value\ninstance    db1:9100\n"
                      "mountpoint  /var\n\nOnly 3 % are left – grows by 1 GB/h.\n\n"
                      "Open the dashboard <https://grafana.example.org/d/disk?var-host=db1>");
    assert_file_reads("gb2312.eml", "主机: db1\n状态: 严重 (磁盘空间不足 囧)");
    assert_file_reads("latin1-unlabelled.eml", "Die Batterie hält noch 5 Minuten.\n"
                                               "Geräte werden heruntergefahren.");
    assert_file_reads("smartd-multipart.eml",
                      "Device: /dev/sda [SAT], 8 Currently unreadable (pending) sectors – check "
                      "it.\n\n[attachment: smartctl.txt (text/plain, 67 bytes)]");
}

static void mime_body_without_type_is_text(void **state)
{
    assert_reads("Subject: x\n\n\n  indented\nb\n\n\n", "  indented\nb");
    assert_reads("Subject: x\n\n", "");
    assert_reads("", "");
    assert_reads("Content-Type: nonsense\n\na", "a");
    assert_reads("Content-Type: text\n\na", "a");
    assert_reads("Content-Type: text/plain; charset\n\na", "a");
    assert_reads("Content-Type: text/plain; charset=\"utf-8\n\n\xc3\xbc", "ü");
    assert_reads("Content-Transfer-Encoding: nonsense\n\na=20b", "a=20b");
}

static void mime_mail_with_little_in_it_is_read(void **state)
{
    assert_reads("Subject: x", "");
    assert_reads("Subject: x\nContent-Type: multipart/mixed; boundary=b", "");
    assert_reads("\n", "");
    assert_reads("From a@x Sat Nov 21 06:25:01 2026\n\ntext", "text");
    assert_reads("text alone", "text alone");
    assert_reads("From: a@x\nno field: but a text\nmore", "no field: but a text\nmore");
    assert_reads("\n\rtext\rwith\r\rbare\n\nends\r", "text\nwith\n\nbare\n\nends");
}

static void mime_encodings_are_undone(void **state)
{
    assert_reads("Content-Transfer-Encoding: quoted-printable\n\na=\nb =C3=BC=ZZ=", "ab ü=ZZ");
    assert_reads("Content-Transfer-Encoding:  BASE64 \n\nw7zD\r\nvA==\r\n-- \nfooter",
                 "üü\n\n-- \nfooter");
    assert_reads("Content-Type: text/plain; charset=iso-8859-1\n"
                 "Content-Transfer-Encoding: quoted-printable\n\n=80 =96 =FC",
                 "€ – ü");
    assert_reads("Content-Type: text/plain; charset=utf-8\n\n\xef\xbb\xbf"
                 "a\xe2\x82",
                 "a\xef\xbf\xbd");
}

#define ALTERNATIVE "Content-Type: multipart/alternative; boundary=b\n\n"
#define MIXED "Content-Type: multipart/mixed; boundary=b\n\n"
#define PART "--b\nContent-Type: "

static void mime_preamble_is_shown_for_want_of_text(void **state)
{
    assert_reads(MIXED "web1 is down\n" PART "text/plain\n\n\n--b--", "web1 is down");
    assert_reads(MIXED "web1 is down\n" PART "application/pdf; name=x.pdf\n\nx\n--b--",
                 "[attachment: x.pdf (application/pdf, 1 byte)]\n\nweb1 is down");
    assert_reads(MIXED "not shown\n" PART "text/plain\n\ntext\n--b--", "text");
    assert_reads(MIXED "not shown\n" PART
                       "multipart/mixed; boundary=c\n\nnor this\n--c\n\ntext\n--b--",
                 "text");
    assert_reads(MIXED "This is a multi-part message in MIME format.\n" PART
                       "image/png; name=x.png\n\nx\n--b--",
                 "[attachment: x.png (image/png, 1 byte)]");
}

static void mime_alternative_is_the_plain_text_unless_empty(void **state)
{
    assert_reads(ALTERNATIVE PART "text/plain\n\nplain\n" PART "text/html\n\n<p>html\n--b--",
                 "plain");
    assert_reads(ALTERNATIVE PART "text/html\n\n<p>html\n" PART "text/plain\n\nplain\n--b--",
                 "plain");
    assert_reads(ALTERNATIVE PART "text/plain\n\n \n\n" PART "text/html\n\n<p>html\n--b--", "html");
    assert_reads(ALTERNATIVE PART
                 "text/plain\n\n\n" PART
                 "multipart/related; boundary=c\n\n--c\nContent-Type: text/html\n\n"
                 "<p>html\n--c\nContent-Type: image/png\n\nx\n--c--\n--b--",
                 "html");
    assert_reads(ALTERNATIVE PART "text/calendar\n\nBEGIN\n" PART "text/html\n\n<p>html\n--b--",
                 "html");
    assert_reads(ALTERNATIVE PART "image/png\n\nx\n--b--", "[attachment: image/png, 1 byte]");
}

static void mime_alternative_stub_gives_way_to_html(void **state)
{
#define STUB "text/plain\n\nYour mail client does not support HTML.\n"
#define HTML                                                                                       \
    "text/html\n\n<p>web1 is down, and this text tells much more of it than that, since it is longer and longer than the other\n"
    assert_reads(
        ALTERNATIVE PART STUB PART HTML "--b--",
        "web1 is down, and this text tells much more of it than that, since it is longer and longer than the other");
    assert_reads(
        ALTERNATIVE PART HTML PART STUB "--b--",
        "web1 is down, and this text tells much more of it than that, since it is longer and longer than the other");
    assert_reads(ALTERNATIVE PART STUB PART "text/html\n\n<p>Not much more.\n--b--",
                 "Your mail client does not support HTML.");
    assert_reads(ALTERNATIVE PART STUB PART "text/html\n\n\n--b--",
                 "Your mail client does not support HTML.");
    assert_reads(
        ALTERNATIVE PART STUB PART "multipart/related; boundary=c\n\n--c\nContent-Type: " HTML
                                   "--c--\n--b--",
        "web1 is down, and this text tells much more of it than that, since it is longer and longer than the other");
}

static void mime_alternative_that_is_skipped_names_its_files(void **state)
{
    assert_reads(ALTERNATIVE PART
                 "text/plain\n\nplain\n" PART
                 "multipart/mixed; boundary=c\n\n--c\nContent-Type: text/html\n\n<p>html\n"
                 "--c\nContent-Type: application/pdf; name=a.pdf\n\nx\n"
                 "--c\nContent-Type: text/plain; name=a.txt\n\nx\n--c--\n--b--",
                 "plain\n\n[attachment: a.pdf (application/pdf, 1 byte)]\n"
                 "[attachment: a.txt (text/plain, 1 byte)]");
}

static void mime_names_are_safe_to_show(void **state)
{
    static const char *const names[][2] = {
        { "filename=\"../../etc/passwd\"", "passwd" },
        { "filename=\"C:\\\\Users\\\\x\\\\a.txt\"", "a.txt" },
        { "filename=\"/\"", "/" },
        { "filename=\"a\x1b[31m\x07 b.txt\"", "a[31m b.txt" },
        { "filename=\"\xe2\x80\xae"
          "fdp.exe\"",
          "fdp.exe" },
        { "filename*=utf-8''%e2%80%aefdp.exe", "fdp.exe" },
        { "filename*0*=iso-8859-1'de'Gr%FC; filename*1*=n; filename*2=.png", "Grün.png" },
        { "filename*0=\"long \"; filename*1=\"name.txt\"", "long name.txt" },
        { "filename=\"=?utf-8?b?R3LDvG4=?= =?utf-8?q?=2Epng?=\"", "Grün.png" },
        { "filename==?iso-8859-1?q?gr=FCn.png?=", "grün.png" },
        { "filename=\"gr\xc3\xbcn.png\"", "grün.png" },
        { "filename=\"gr\xfcn.png\"", "grün.png" },
        { "filename=my report.pdf", "my report.pdf" },
        { "filename=\"two\n\tlines.txt\"", "two lines.txt" },
    };

    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        char mail[512], expected[512];

        sprintf(mail, MIXED PART "image/png\nContent-Disposition: attachment; %s\n\nx\n--b--",
                names[i][0]);
        sprintf(expected, "[attachment: %s (image/png, 1 byte)]", names[i][1]);
        assert_reads(mail, expected);
    }
}

static void mime_mixed_names_attachments(void **state)
{
    assert_reads(MIXED PART "text/plain\n\ntext\n" PART
                            "image/png; name=\"=?utf-8?q?gr=C3=BCn?=.png\"\n"
                            "Content-Transfer-Encoding: base64\n\nAAAA\nAAAA\n" PART
                            "application/pdf\nContent-Disposition: attachment;\n"
                            " filename*=utf-8''b%C3%BCch.pdf\n\nx\n" PART
                            "text/html\n\n<b>more</b>\n--b--\nepilogue",
                 "text\n\n[attachment: grün.png (image/png, 6 bytes)]\n"
                 "[attachment: büch.pdf (application/pdf, 1 byte)]\n\nmore");
}

static void mime_text_in_an_attachment_alone_is_shown(void **state)
{
    assert_reads(MIXED PART
                 "text/plain\n\n\n" PART
                 "text/plain\nContent-Disposition: attachment; filename=r.txt\n\nreport\n"
                 "--b--",
                 "[attachment: r.txt (text/plain, 6 bytes)]\n\nreport");
    assert_reads("Content-Disposition: attachment; filename=x\n\nroot", "root");
}

static void mime_signed_and_related_are_their_first_part(void **state)
{
    assert_reads("Content-Type: multipart/signed; boundary=b\n\n" PART "text/plain\n\ntext\n" PART
                 "application/pgp-signature; name=s.asc\n\nx\n--b--",
                 "text");
    assert_reads("Content-Type: multipart/related; boundary=b\n\n" PART "image/png\n\nx\n" PART
                 "text/html\n\n<p>text\n--b--",
                 "[attachment: image/png, 1 byte]\n\ntext");
    assert_reads("Content-Type: multipart/signed; boundary=b\n\n" PART "text/plain\n\ntext\n" PART
                 "text/plain\n\nfooter\n--b--",
                 "text\n\nfooter");
}

#define RELATED(start) "Content-Type: multipart/related; boundary=b" start "\n\n"

static void mime_related_starts_where_it_says(void **state)
{
    assert_reads(RELATED("; start=\"<root@x>\"") PART
                 "image/png\nContent-ID: <i@x>\n\nx\n" PART
                 "text/plain\nContent-ID: <other@x>\n\nother\n" PART
                 "text/html\nContent-ID: <root@x>\n\n<p>text\n--b--",
                 "[attachment: text/plain, 5 bytes]\n\ntext");
    assert_reads(RELATED("; start=nowhere") PART
                 "text/html\n\n<p>text\n" PART "image/png\n\nx\n" PART "text/css\n\nx\n" PART
                 "application/pdf\n\nx\n" PART
                 "image/png; name=x.png\nContent-Disposition: attachment\n\nx\n--b--",
                 "text\n\n[attachment: application/pdf, 1 byte]\n"
                 "[attachment: x.png (image/png, 1 byte)]");
}

static void mime_picture_alone_is_named(void **state)
{
    assert_reads(RELATED("") PART "text/html\n\n<img src=cid:a>\n" PART
                                  "image/png; name=a.png\n\nx\n" PART "image/png\n\nx\n--b--",
                 "[attachment: a.png (image/png, 1 byte)]");
}

static void mime_encrypted_is_said_so(void **state)
{
    assert_reads("Content-Type: multipart/encrypted; boundary=b\n\n" PART
                 "application/pgp-encrypted\n\nVersion: 1\n--b--",
                 "[encrypted: multipart/encrypted, 67 bytes]");
    assert_reads("Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\n"
                 "Content-Transfer-Encoding: base64\n\nAAAA",
                 "[encrypted: smime.p7m (application/pkcs7-mime, 3 bytes)]");
    assert_reads("Content-Type: application/pkcs7-mime; smime-type=signed-data; name=smime.p7m\n"
                 "Content-Transfer-Encoding: base64\n\nAAAA",
                 "[attachment: smime.p7m (application/pkcs7-mime, 3 bytes)]");
}

static void mime_report_and_its_like_are_read(void **state)
{
    assert_reads("Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n" PART
                 "text/plain\n\nNot delivered.\n" PART
                 "message/delivery-status\n\nStatus: 5.1.1\n" PART
                 "text/rfc822-headers\n\nFrom: a@x\nSubject: =?utf-8?q?=C3=BC?=\nX-Y: z\n--b--",
                 "Not delivered.\n\nStatus: 5.1.1\n\nFrom: a@x\nSubject: ü");
    assert_reads("Content-Type: message/partial; number=1; total=3; id=x\n\nSubject: s\n\ntext",
                 "[part 1 of 3 of a message]\n\nSubject: s\n\ntext");
    assert_reads("Content-Type: message/partial; number=2; id=x\n\nmore text",
                 "[part 2 of a message]\n\nmore text");
#define LINE "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB\n"
    assert_reads("Content-Type: message/partial; number=2; id=x\n\n" LINE LINE LINE LINE "QUFB\n",
                 "[part 2 of a message]\n[attachment: message/partial that is no text, 302 bytes]");
    assert_reads("\n" LINE LINE "text\n" LINE LINE, LINE LINE
                 "text\n" LINE
                 "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB");
    assert_reads("Content-Type: message/external-body; access-type=URL;\n"
                 " URL=\"ftp://x/y\"; name=r.ps\n\nContent-Type: text/plain\n\nphantom",
                 "[not in this mail: r.ps (ftp://x/y)]");
    assert_reads("Content-Type: message/external-body; access-type=anon-ftp; site=h; name=r.ps\n\n",
                 "[not in this mail: r.ps (anon-ftp h r.ps)]");
    assert_reads(MIXED PART "application/ms-tnef; name=winmail.dat\n\nx\n--b--",
                 "[attachment: winmail.dat (application/ms-tnef, 1 byte)]");
}

static void mime_message_in_a_mail_shows_who_and_what(void **state)
{
    assert_reads(MIXED PART "message/rfc822\n\nFrom: a@x\nSubject: =?utf-8?q?=C3=BC?=\n"
                            "Content-Transfer-Encoding: base64\n\naW5uZXI=\n--b--",
                 "From: a@x\nSubject: ü\n\ninner");
    assert_reads("Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: s\n\ntext\n--b--",
                 "Subject: s\n\ntext");
}

static void mime_broken_structure_is_read_as_far_as_it_goes(void **state)
{
    assert_reads("Content-Type: multipart/mixed\n\nno boundary", "no boundary");
    assert_reads(MIXED "no such line", "no such line");
    assert_reads(MIXED PART "text/plain\n\nnever ends", "never ends");
    assert_reads(MIXED "--b\nno header, no empty line\n--b--", "no header, no empty line");
    assert_reads(MIXED "--b\nContent-Type: text/plain\nno empty line\n--b--", "no empty line");
    assert_reads(MIXED "--b\nContent-Type: text/plain;\n x=y\nno empty line\n--b--",
                 "no empty line");
    assert_reads(MIXED "--bb\n\nno\n--b  \r\n\r\nyes\r\n--b--\r\n", "yes");
    /* The inner multipart lacks its end. */
    assert_reads(MIXED PART "multipart/mixed; boundary=c\n\n--c\n\ninner\n--b\n\nouter\n--b--",
                 "inner\n\nouter");
    assert_reads(MIXED "--b--\nx", "x");
}

static void mime_boundaries_are_found_however_they_come(void **state)
{
    assert_reads("Content-Type: multipart/mixed; boundary=\"b  \"\n\n--b\n\na\n--b--", "a");
    assert_reads("Content-Type: multipart/mixed; boundary = b ;\n\n--b\n\na\n--b--", "a");
    assert_reads("Content-Type: multipart/mixed; boundary=\"b\n\n--b\n\na\n--b--", "a");
    assert_reads("Content-Type: multipart/mixed; boundary=----=_Part_1/2:3?(4)\n\n"
                 "------=_Part_1/2:3?(4)\n\na\n------=_Part_1/2:3?(4)--",
                 "a");
    assert_reads("Content-Type: multipart/mixed; boundary='b'\n\n--'b'\n\na\n--'b'--", "a");
    assert_reads("Content-Type: multipart/mixed\n\n--b\nContent-Type: text/plain\n\na\n--b--", "a");
    assert_reads("Content-Type: multipart/mixed; boundary=other\n\n--b\nContent-Type: text/html\n\n"
                 "<p>a\n--b--",
                 "a");
    assert_reads("Content-Type: multipart/mixed; boundary=b\n\n--b\n\na\n--b--\n--b\n\nc\n--b--",
                 "a\n\nc");
    assert_reads("Content-Type: multipart/mixed; boundary=b\n"
                 "Content-Transfer-Encoding: quoted-printable\n\n"
                 "--b\nContent-Type: text/plain\n\na=3Db\n--b--",
                 "a=3Db");
    assert_reads(
        "Content-Type: multipart/mixed; boundary=b\n"
        "Content-Transfer-Encoding: base64\n\nLS1iCkNvbnRlbnQtVHlwZTogdGV4dC9odG1sCgo8cD5h\n",
        "a");
    assert_reads("Content-Type: multipart/mixed; boundary=\"\"\n\ntext", "text");
    assert_reads("Content-Type: multipart/mixed; boundary=b\n\nContent-Length: 4\nX: y\n"
                 "Content-Type: text/html\n\n<p>a",
                 "a");
}

static void mime_encoded_message_is_read(void **state)
{
    assert_reads(MIXED PART "message/rfc822\nContent-Transfer-Encoding: base64\n\n"
                            "U3ViamVjdDogcwoKYm9keQo=\n--b--",
                 "Subject: s\n\nbody");
}

static void mime_header_that_was_cut_off_is_read(void **state)
{
    assert_reads("Received: x\nno field\nSubject: =?utf-8?q?=C3=BC?=\nMIME-Version: 1.0\n"
                 "Content-Type: text/html\n\n<p>a",
                 "Subject: ü\n\na");
    assert_reads("\n\nFrom: a@x\nSubject: s\nContent-Type: multipart/mixed; boundary=b\n\n"
                 "--b\n\na\n--b--",
                 "From: a@x\nSubject: s\n\na");
    /* Text is none. */
    assert_reads("\nStatus: down\nContent-Type: text/html\nbecause\n\n<p>",
                 "Status: down\nContent-Type: text/html\nbecause\n\n<p>");
    assert_reads("Content-Type: text/plain\n\nFrom: a\nSubject: b\nContent-Type: text/html\n\n<p>",
                 "From: a\nSubject: b\nContent-Type: text/html\n\n<p>");
    assert_reads("Subject : x\nContent-Type\t: text/html\n\n<p>a", "a");
    assert_reads(MIXED "--b\nContent-Type : text/html\n\n<p>a\n--b--", "a");
}

static void mime_lines_of_mailboxes_are_no_text(void **state)
{
    assert_reads(MIXED PART "message/rfc822\n\n>From a@x Sat Nov 21 06:25:01 2026\nSubject: s\n\n"
                            ">From here\n--b--",
                 "Subject: s\n\n>From here");
    assert_reads(MIXED "--b\nFrom here on text\n--b--", "From here on text");
    assert_reads(MIXED "--b\nno field\nContent-Type: text/html\n\n<p>a\n--b--", "a");
}

static void mime_parts_and_depth_are_bounded(void **state)
{
    size_t size = 10 << 20;
    _cleanup_free_ char *mail = malloc(size + 256), *text = NULL;
    clock_t began = clock();
    char *at = stpcpy(mail, MIXED);

    while (at < mail + size)
        at = stpcpy(at, "--b\n\nx\n");
    text = read_text(mail_of(mail, (size_t)(at - mail)));
    assert_true(cut);
    assert_true(strlen(text) < 4 * MIME_PARTS_MAX);
    free(steal_ptr(text));

    /* A thousand multiparts in one another, and then lines that look like boundaries. */
    at = stpcpy(mail, "Content-Type: multipart/mixed; boundary=0\n\n");
    for (int i = 0; i < 1000; i++)
        at += sprintf(at, "--%d\nContent-Type: multipart/mixed; boundary=%d\n\n", i, i + 1);
    while (at < mail + size)
        at = stpcpy(at, "\n--1x\n--2x");
    text = read_text(mail_of(mail, (size_t)(at - mail)));
    assert_true(cut);
    free(steal_ptr(text));

    at = mail;
    for (int i = 0; i < 1000; i++)
        at = stpcpy(at, "Content-Type: message/rfc822\n\n");
    text = read_text(mail_of(mail, (size_t)(at - mail)));
    assert_true(cut);
    assert_true(clock() - began < 5 * CLOCKS_PER_SEC);
}

static void mime_multiparts_without_boundaries_are_bounded(void **state)
{
    static const char head[] = "A: a\nB: b\nContent-Transfer-Encoding: quoted-printable\n"
                               "Content-Type: multipart/mixed; boundary=c\n\n";
    size_t size = 1 << 20;
    _cleanup_free_ char *mail = malloc(size + 8192), *text = NULL;
    clock_t began = clock();
    char *at = mail;

    for (int i = 0; i < 30; i++)
        at = stpcpy(at, head);
    at = stpcpy(at, "web1 is down\n");
    while (at < mail + size)
        at = stpcpy(at, "\n--\n");
    text = read_text(mail_of(mail, (size_t)(at - mail)));
    assert_memory_equal(text, "web1 is down\n", 13);
    assert_true(clock() - began < CLOCKS_PER_SEC);
}

static void mime_large_bodies_are_bounded(void **state)
{
    static const char *const heads[] = {
        "Content-Type: text/html\n\n",
        "Content-Type: text/plain; charset=utf-16\n\n",
        "Content-Type: text/plain; charset=us-ascii\nContent-Transfer-Encoding: base64\n\n",
        "Content-Transfer-Encoding: quoted-printable\n\n",
        "Content-Transfer-Encoding: x-uuencode\n\nbegin 644 x\n",
    };
    static const char *const pieces[] = { "=", "<td>\n", "M86$\n", "AAAA\n", "\xff" };
    size_t size = 10 << 20;
    _cleanup_free_ char *mail = malloc(size + 256);
    clock_t began = clock();

    for (size_t i = 0; i < ELEMENTSOF(heads); i++) {
        _cleanup_free_ char *text = NULL;
        char *at = stpcpy(mail, heads[i]);

        while (at < mail + size)
            at = stpcpy(at, pieces[i]);
        text = read_text(mail_of(mail, (size_t)(at - mail)));
        assert_true(strlen(text) <= 3 * MIME_TEXT_MAX);
    }
    assert_true(clock() - began < 8 * CLOCKS_PER_SEC);
}

static void mime_controls_do_not_come_through(void **state)
{
    static const char mail[] = "Subject: x\n\na\0b\x1b[31mc\x7f\r\nd\re\n\0";
    _cleanup_free_ char *text = read_text(mail_of(mail, sizeof(mail) - 1));

    assert_string_equal(text, "abc\nd\ne");
}

static void mime_dates_are_read(void **state)
{
    usec_t usec = 0;

    assert_true(mime_date_read("Sat, 21 Nov 2026 06:12:43 +0100 (CET)", &usec));
    assert_int_equal(usec, 1795237963 * USEC_PER_SEC);
    assert_true(mime_date_read("21 Nov 2026 05:12:43 GMT", &usec));
    assert_int_equal(usec, 1795237963 * USEC_PER_SEC);
    assert_false(mime_date_read("", &usec));
    assert_false(mime_date_read("soon", &usec));
    assert_false(mime_date_read("Sat, 99 Foo 99999999999999999999 99:99:99", &usec));
}

static void assert_tree(const char *text, const char *expected)
{
    _cleanup_mail_ Mail mail = mail_of_text(text);
    _cleanup_free_ char *tree = NULL;

    assert_int_equal(mime_tree(&mail, &tree), 0);
    assert_string_equal(tree, expected);
    assert_true(text_is_clean(tree, strlen(tree)));
}

static void mime_tree_tells_what_became_of_each_part(void **state)
{
    assert_tree("Subject: x\n\ntext", "text/plain, 6 bytes: shown");
    assert_tree("", "text/plain, 0 bytes: empty");
    assert_tree(MIXED PART "multipart/alternative; boundary=c\n\n"
                           "--c\nContent-Type: text/html; charset=utf-8\n\n<p>html\n"
                           "--c\nContent-Type: text/plain\n\nplain\n"
                           "--c\nContent-Type: text/calendar\n\nBEGIN\n--c--\n" PART
                           "image/png; name=\"a\x1b\x80.png\"\nContent-Transfer-Encoding: base64\n"
                           "Content-Disposition: attachment\n\nAAAA\n--b--",
                "multipart/mixed\n"
                "  multipart/alternative\n"
                "    text/html, charset utf-8, 7 bytes: skipped, another alternative is shown\n"
                "    text/plain, 5 bytes: shown\n"
                "    text/calendar, 5 bytes: skipped, another alternative is shown\n"
                "  image/png, base64, attachment, \"a€.png\", 3 bytes: named");
    assert_tree(MIXED PART "message/rfc822\n\nFrom: a@x\n\ninner\n" PART
                           "text/plain\nContent-Disposition: attachment\n\nreport\n--b--",
                "multipart/mixed\n"
                "  message/rfc822\n"
                "    text/plain, 5 bytes: shown\n"
                "  text/plain, attachment, 6 bytes: named, not shown");
}

static void mime_tree_is_bounded(void **state)
{
    _cleanup_free_ char *mail = malloc(1 << 20), *tree = NULL;
    char *at = stpcpy(mail, MIXED);
    _cleanup_mail_ Mail large = {};

    for (int i = 0; i < 10000; i++)
        at = stpcpy(at, "--b\nContent-Type: message/rfc822\n\nContent-Type: message/rfc822\n\nx\n");
    large = mail_of(mail, (size_t)(at - mail));
    assert_int_equal(mime_tree(&large, &tree), 0);
    assert_true(strlen(tree) < 100 * (MIME_TREE_NODES_MAX + 1));
    assert_non_null(strstr(tree, "\n(more parts than are told)"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mime_mails_of_real_life_are_read),
        cmocka_unit_test(mime_body_without_type_is_text),
        cmocka_unit_test(mime_mail_with_little_in_it_is_read),
        cmocka_unit_test(mime_encodings_are_undone),
        cmocka_unit_test(mime_preamble_is_shown_for_want_of_text),
        cmocka_unit_test(mime_alternative_is_the_plain_text_unless_empty),
        cmocka_unit_test(mime_alternative_stub_gives_way_to_html),
        cmocka_unit_test(mime_alternative_that_is_skipped_names_its_files),
        cmocka_unit_test(mime_names_are_safe_to_show),
        cmocka_unit_test(mime_mixed_names_attachments),
        cmocka_unit_test(mime_text_in_an_attachment_alone_is_shown),
        cmocka_unit_test(mime_signed_and_related_are_their_first_part),
        cmocka_unit_test(mime_related_starts_where_it_says),
        cmocka_unit_test(mime_picture_alone_is_named),
        cmocka_unit_test(mime_encrypted_is_said_so),
        cmocka_unit_test(mime_report_and_its_like_are_read),
        cmocka_unit_test(mime_message_in_a_mail_shows_who_and_what),
        cmocka_unit_test(mime_broken_structure_is_read_as_far_as_it_goes),
        cmocka_unit_test(mime_boundaries_are_found_however_they_come),
        cmocka_unit_test(mime_encoded_message_is_read),
        cmocka_unit_test(mime_header_that_was_cut_off_is_read),
        cmocka_unit_test(mime_lines_of_mailboxes_are_no_text),
        cmocka_unit_test(mime_parts_and_depth_are_bounded),
        cmocka_unit_test(mime_multiparts_without_boundaries_are_bounded),
        cmocka_unit_test(mime_large_bodies_are_bounded),
        cmocka_unit_test(mime_controls_do_not_come_through),
        cmocka_unit_test(mime_dates_are_read),
        cmocka_unit_test(mime_tree_tells_what_became_of_each_part),
        cmocka_unit_test(mime_tree_is_bounded),
    };

    mime_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
