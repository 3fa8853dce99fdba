/* SPDX-License-Identifier: MIT */

#include "tests/unit/test.h"

#include <fcntl.h>
#include <stdio.h>

#include "milterd/mail-reader.h"

#define MAX_MESSAGE (1 << 20)

static void assert_body(const Mail *mail, const char *body)
{
    assert_int_equal(mail->body_size, strlen(body));
    assert_memory_equal(mail->body, body, strlen(body));
}

/* The subjects of all mails, "a b c", read from memory and from a pipe, which must not differ. */
static char *subjects(const char *text, size_t size)
{
    char *found[2] = {};

    for (size_t i = 0; i < ELEMENTSOF(found); i++) {
        _cleanup_(mail_reader_done) MailReader reader;
        size_t length = 0;
        FILE *file = tmpfile(), *stream = open_memstream(&found[i], &length);
        int r;

        assert_non_null(file);
        assert_int_equal(fwrite(text, 1, size, file), size);
        rewind(file);
        if (i == 0)
            mail_reader_open_bytes(&reader, text, size);
        else
            assert_return_code(mail_reader_open(&reader, fileno(file)), 0);
        for (;;) {
            _cleanup_(mail_done) Mail mail = {};
            const char *subject;

            r = mail_reader_next(&reader, &mail, MAX_MESSAGE);
            if (r == 0)
                break;
            assert_int_equal(r, 1);
            subject = mail_header(&mail, "Subject");
            fprintf(stream, "%s%s", ftell(stream) > 0 ? " " : "", subject ? subject : "?");
        }
        fclose(stream);
        fclose(file);
    }
    assert_string_equal(found[0], found[1]);
    free(found[1]);
    return found[0];
}

static void assert_subjects(const char *text, const char *expected)
{
    _cleanup_free_ char *found = subjects(text, strlen(text));

    assert_string_equal(found, expected);
}

static void mail_reader_mbox_gives_each_mail(void **state)
{
    assert_subjects("From root@example.org Sat Nov 21 06:25:01 2026\n"
                    "Subject: one\n"
                    "\n"
                    "text\n"
                    "\n"
                    "From - Sat Nov 21 06:26 2026\r\n"
                    "Subject: two\r\n"
                    "\r\n"
                    "text\r\n"
                    "\r\n"
                    "From MAILER-DAEMON Sat, 21 Nov 2026 06:27:01 +0100\n"
                    "Subject: three\n"
                    "\n",
                    "one two three");
}

static void mail_reader_prose_does_not_end_a_mail(void **state)
{
    assert_subjects("From root Sat Nov 21 06:25:01 2026\n"
                    "Subject: one\n"
                    "\n"
                    "\n"
                    "From here on all is well\n"
                    "\n"
                    "From 06:25 on all was well\n"
                    "text\n"
                    "From root Sat Nov 21 06:25:01 2026\n",
                    "one");
    /* A file of one mail is no mbox, whatever stands in it. */
    assert_subjects("Subject: one\n\n\nFrom root Sat Nov 21 06:25:01 2026\nSubject: two\n", "one");
}

static void mail_reader_lengths_in_headers_are_not_believed(void **state)
{
    assert_subjects("From root Sat Nov 21 06:25:01 2026\n"
                    "Content-Length: 999999\n"
                    "Lines: 1000\n"
                    "Subject: one\n"
                    "\n"
                    "text\n"
                    "\n"
                    "From root Sat Nov 21 06:25:01 2026\n"
                    "Content-Length: 1\n"
                    "Subject: two\n"
                    "\n"
                    "text\n",
                    "one two");
}

static void mail_reader_mail_without_a_body_ends_at_the_next(void **state)
{
    assert_subjects("From a Sat Nov 21 06:25:01 2026\n"
                    "Subject: one\n"
                    "\n"
                    "From a Sat Nov 21 06:25:01 2026\n"
                    "\n"
                    "From a Sat Nov 21 06:25:01 2026\n"
                    "Subject: three\n",
                    "one ? three");
}

static void mail_reader_quoting_of_an_mbox_is_undone(void **state)
{
    static const char text[] = "From a Sat Nov 21 06:25:01 2026\n"
                               "Subject: x\n"
                               "\n"
                               ">From the start\n"
                               ">>From a reply\n"
                               "> From a reply\n"
                               ">Frome\n"
                               "\n"
                               "\n"
                               "From a Sat Nov 21 06:25:01 2026\n"
                               "Subject: y\n"
                               "\n"
                               "last\n"
                               "\n";
    _cleanup_(mail_reader_done) MailReader reader;
    _cleanup_(mail_done) Mail first = {}, second = {}, single = {};

    mail_reader_open_bytes(&reader, text, strlen(text));
    assert_int_equal(mail_reader_next(&reader, &first, MAX_MESSAGE), 1);
    assert_body(&first, "From the start\r\n>From a reply\r\n> From a reply\r\n>Frome\r\n\r\n");
    assert_true(reader.has_more);
    assert_int_equal(mail_reader_next(&reader, &second, MAX_MESSAGE), 1);
    assert_body(&second, "last\r\n");
    assert_false(reader.has_more);

    /* What is no mbox quotes nothing. */
    mail_reader_done(&reader);
    mail_reader_open_bytes(&reader, "Subject: x\n\n>From the start", 27);
    assert_int_equal(mail_reader_next(&reader, &single, MAX_MESSAGE), 1);
    assert_body(&single, ">From the start\r\n");
}

/* A line that no window holds, with a CRLF, or the end, at any place of it. */
static void mail_reader_long_lines_are_whole(void **state)
{
    for (size_t i = 0; i < 50; i++) {
        size_t length = 65520 + i / 2;
        bool at_end = i % 2;
        _cleanup_(mail_reader_done) MailReader reader;
        _cleanup_(mail_done) Mail mail = {};
        FILE *file = tmpfile();

        assert_non_null(file);
        fputs("Subject: ", file);
        for (size_t k = 0; k < length; k++)
            fputc('s', file);
        fputs("\n folded\n\n", file);
        for (size_t k = 0; k < length; k++)
            fputc('b', file);
        if (!at_end)
            fputs("\r\nnext\r\n", file);
        rewind(file);
        assert_return_code(mail_reader_open(&reader, fileno(file)), 0);
        assert_int_equal(mail_reader_next(&reader, &mail, MAX_MESSAGE), 1);
        assert_int_equal(strlen(mail_header(&mail, "Subject")), length + strlen("\n folded"));
        assert_int_equal(mail.body_size, length + (at_end ? 2 : 8));
        assert_memory_equal(mail.body + length - 1, "b\r\nnext\r\n", at_end ? 3 : 9);
        fclose(file);
    }
}

static void mail_reader_endless_header_is_counted_not_kept(void **state)
{
    _cleanup_(mail_reader_done) MailReader reader;
    _cleanup_(mail_done) Mail mail = {};
    FILE *file = tmpfile();

    assert_non_null(file);
    fputs("X: ", file);
    for (size_t i = 0; i < 3 << 20; i++)
        fputc('x', file);
    fputs("\nSubject: y\n\nz\n", file);
    rewind(file);
    assert_return_code(mail_reader_open(&reader, fileno(file)), 0);
    assert_int_equal(mail_reader_next(&reader, &mail, MAX_MESSAGE), 1);
    assert_true(mail.truncated);
    assert_int_equal(mail.n_headers, 1);
    assert_string_equal(mail_header(&mail, "Subject"), "y");
    assert_body(&mail, "z\r\n");
    fclose(file);
}

static void mail_reader_nothing_is_no_mail(void **state)
{
    assert_subjects("", "");
    assert_subjects("\n", "?");
    assert_subjects("From ", "?");
}

static void mail_reader_what_is_no_file_is_told(void **state)
{
    _cleanup_(mail_reader_done) MailReader reader;
    _cleanup_close_ int fd = open("/", O_RDONLY | O_CLOEXEC);
    _cleanup_(mail_done) Mail mail = {};

    assert_return_code(mail_reader_open(&reader, fd), 0);
    assert_int_equal(mail_reader_next(&reader, &mail, MAX_MESSAGE), -EISDIR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mail_reader_mbox_gives_each_mail),
        cmocka_unit_test(mail_reader_prose_does_not_end_a_mail),
        cmocka_unit_test(mail_reader_lengths_in_headers_are_not_believed),
        cmocka_unit_test(mail_reader_mail_without_a_body_ends_at_the_next),
        cmocka_unit_test(mail_reader_quoting_of_an_mbox_is_undone),
        cmocka_unit_test(mail_reader_long_lines_are_whole),
        cmocka_unit_test(mail_reader_endless_header_is_counted_not_kept),
        cmocka_unit_test(mail_reader_nothing_is_no_mail),
        cmocka_unit_test(mail_reader_what_is_no_file_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
