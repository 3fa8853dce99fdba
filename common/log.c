/* SPDX-License-Identifier: MIT */

/*
 * A line is put together in buffers on the stack, made harmless on the way in, and leaves with
 * one system call: a datagram to the journal or a write to standard error. Nothing is allocated,
 * nothing is kept between two lines but the choice that log_init() made; so any thread may log
 * at any time, also when memory is short.
 *
 * The journal is spoken to in its native protocol and not by sd_journal_sendv(): that keeps a
 * descriptor which a forked child, having closed what it does not know, would mistake for its
 * own. Our values never hold a line end, so the protocol is lines of NAME=value.
 */

#include "common/log.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#ifndef LOG_JOURNAL_PATH
#define LOG_JOURNAL_PATH "/run/systemd/journal/socket"
#endif

#define MESSAGE_MAX 4096 /* of a message before its fields */
#define VALUE_MAX 1024   /* of a field */
#define NAME_MAX_BYTES 64
#define TEXT_MAX 8192   /* of message and fields */
#define ENTRY_MAX 20480 /* of all that goes to the journal for it */

static const char replacement[] = "\xEF\xBF\xBD"; /* U+FFFD */
static const char ellipsis[] = "\xE2\x80\xA6";

static const char *log_ident;
static bool log_to_journal;
static atomic_int log_max_level = LOG_INFO;

/* Text under construction. What does not fit is left out whole, and `cut` set. */
typedef struct Line {
    char *text;
    size_t size, max;
    bool cut;
} Line;

static void line_add(Line *line, const char *text, size_t size)
{
    if (line->cut || size > line->max - line->size) {
        line->cut = true;
        return;
    }
    memcpy(line->text + line->size, text, size);
    line->size += size;
}

static void line_add_string(Line *line, const char *text)
{
    line_add(line, text, strlen(text));
}

/* The length of the valid UTF-8 sequence at `text` (NUL-terminated) and its code point; 0: none. */
static size_t decode(const char *text, uint32_t *ret)
{
    static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
    const unsigned char *bytes = (const unsigned char *)text;
    size_t n = bytes[0] < 0x80   ? 1
               : bytes[0] < 0xC2 ? 0
               : bytes[0] < 0xE0 ? 2
               : bytes[0] < 0xF0 ? 3
               : bytes[0] < 0xF5 ? 4
                                 : 0;
    uint32_t code;

    if (n <= 1) {
        *ret = bytes[0];
        return n;
    }
    code = bytes[0] & (0x7FU >> n);
    for (size_t i = 1; i < n; i++) {
        if ((bytes[i] & 0xC0) != 0x80)
            return 0;
        code = code << 6 | (bytes[i] & 0x3F);
    }
    if (code < smallest[n] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
        return 0;
    *ret = code;
    return n;
}

/* What moves the cursor, ends a line or turns the direction of writing around. */
static bool is_harmful(uint32_t code)
{
    return code < 0x20 || (code >= 0x7F && code < 0xA0) || (code >= 0x2028 && code <= 0x202E) ||
           (code >= 0x2066 && code <= 0x2069) || code == 0xFFFE || code == 0xFFFF;
}

/* Adds `text` made harmless, at most `max` bytes of it. */
static void line_add_clean(Line *line, const char *text, size_t max, bool quoted)
{
    size_t n;

    for (size_t used = 0; *text; text += n) {
        uint32_t code = 0;

        n = decode(text, &code);
        if (used + n > max) {
            line_add_string(line, ellipsis);
            return;
        }
        if (n == 0) {
            n = 1;
            line_add_string(line, replacement);
        } else if (code == '\n' || code == '\r' || code == '\t') {
            line_add(line, " ", 1);
        } else if (is_harmful(code)) {
            line_add_string(line, replacement);
        } else {
            if (quoted && (code == '"' || code == '\\'))
                line_add(line, "\\", 1);
            line_add(line, text, n);
        }
        used += n;
    }
}

static bool is_plain_value(const char *value)
{
    for (const char *at = value; *at; at++)
        if ((unsigned char)*at <= ' ' || *at == '"' || *at == '\\' || *at == '=')
            return false;
    return true;
}

static bool field_is_empty(const LogField *field)
{
    return !field->value || !*field->value;
}

/* The text that both outputs show. */
static void compose_text(Line *line, const char *message, const LogField *fields, size_t n_fields)
{
    line_add_clean(line, message, MESSAGE_MAX, false);
    for (size_t i = 0; i < n_fields; i++) {
        size_t before = line->size;
        bool quoted;

        if (field_is_empty(&fields[i]))
            continue;
        quoted = !is_plain_value(fields[i].value);
        line_add(line, " ", 1);
        line_add_clean(line, fields[i].name, NAME_MAX_BYTES, false);
        line_add_string(line, quoted ? "=\"" : "=");
        line_add_clean(line, fields[i].value, VALUE_MAX, quoted);
        if (quoted)
            line_add(line, "\"", 1);
        if (line->cut) {
            line->size = before;
            return;
        }
    }
}

/* Names that the journal gives a meaning of its own (systemd.journal-fields(7)). */
static bool is_journal_name(const char *name)
{
    static const char *const taken[] = { "message", "message_id", "priority", "errno",
                                         "syslog_", "code_",      "unit",     "documentation" };

    for (size_t i = 0; i < ELEMENTSOF(taken); i++) {
        size_t n = strlen(taken[i]);

        if (taken[i][n - 1] == '_' ? strncmp(name, taken[i], n) == 0 : streq(name, taken[i]))
            return true;
    }
    return false;
}

static void entry_add_field(Line *line, const LogField *field)
{
    size_t before = line->size;

    if (is_journal_name(field->name))
        line_add_string(line, "MAIL_");
    for (const char *at = field->name; *at; at++) {
        char upper = (char)toupper((unsigned char)*at);

        line_add(line, &upper, 1);
    }
    line_add(line, "=", 1);
    line_add_clean(line, field->value, VALUE_MAX, false);
    line_add(line, "\n", 1);
    if (line->cut)
        line->size = before;
}

static bool send_to_journal(int level, const Line *text, const LogField *fields, size_t n_fields)
{
    static const struct sockaddr_un address = { .sun_family = AF_UNIX,
                                                .sun_path = LOG_JOURNAL_PATH };
    char buffer[ENTRY_MAX], start[128];
    Line entry = { .text = buffer, .max = sizeof(buffer) };
    _cleanup_close_ int fd = -1;
    ssize_t sent;

    snprintf(start, sizeof(start), "PRIORITY=%d\nSYSLOG_IDENTIFIER=%.64s\nMESSAGE=", level,
             log_ident);
    line_add_string(&entry, start);
    line_add(&entry, text->text, text->size);
    line_add(&entry, "\n", 1);
    for (size_t i = 0; i < n_fields; i++)
        if (!field_is_empty(&fields[i]))
            entry_add_field(&entry, &fields[i]);

    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    do
        sent = sendto(fd, entry.text, entry.size, MSG_NOSIGNAL, (const struct sockaddr *)&address,
                      sizeof(address));
    while (sent < 0 && errno == EINTR);
    return sent >= 0;
}

static void write_to_stderr(int level, const Line *text)
{
    const char *word = level <= LOG_ERR       ? "error: "
                       : level == LOG_WARNING ? "warning: "
                       : level == LOG_DEBUG   ? "debug: "
                                              : "";
    char buffer[TEXT_MAX + 128], start[128];
    Line line = { .text = buffer, .max = sizeof(buffer) - 1 };
    ssize_t written;

    snprintf(start, sizeof(start), "%.64s%s%s", log_ident ? log_ident : "", log_ident ? ": " : "",
             word);
    line_add_string(&line, start);
    line_add(&line, text->text, text->size);
    line.text[line.size++] = '\n';
    do
        written = write(STDERR_FILENO, line.text, line.size);
    while (written < 0 && errno == EINTR);
}

static void log_write(int level, const LogField *fields, size_t n_fields, const char *format,
                      va_list args) __attribute__((format(printf, 4, 0)));

static void log_write(int level, const LogField *fields, size_t n_fields, const char *format,
                      va_list args)
{
    /* One more than is shown, so that line_add_clean() sees that something is missing. */
    char message[MESSAGE_MAX + 2], buffer[TEXT_MAX];
    Line text = { .text = buffer, .max = sizeof(buffer) };
    int saved_errno = errno;

    if (vsnprintf(message, sizeof(message), format, args) < 0)
        snprintf(message, sizeof(message), "(a message that could not be formatted)");
    compose_text(&text, message, fields, n_fields);
    if (!log_to_journal || !send_to_journal(level, &text, fields, n_fields))
        write_to_stderr(level, &text);
    errno = saved_errno;
}

void log_init(const char *ident)
{
    const char *stream = getenv("JOURNAL_STREAM");
    char expected[64];
    struct stat status;

    log_ident = ident;
    log_to_journal = false;
    if (!stream || fstat(STDERR_FILENO, &status) < 0)
        return;
    /* It is inherited by all that a service starts: only the same file is the journal's. */
    snprintf(expected, sizeof(expected), "%ju:%ju", (uintmax_t)status.st_dev,
             (uintmax_t)status.st_ino);
    log_to_journal = streq(stream, expected);
}

void log_set_level(int level)
{
    atomic_store_explicit(&log_max_level, level, memory_order_relaxed);
}

int log_level(void)
{
    return atomic_load_explicit(&log_max_level, memory_order_relaxed);
}

void log_line(int level, const char *format, ...)
{
    va_list args;

    if (level > log_level())
        return;
    va_start(args, format);
    log_write(level, NULL, 0, format, args);
    va_end(args);
}

void log_fields(int level, const LogField *fields, size_t n_fields, const char *format, ...)
{
    va_list args;

    if (level > log_level())
        return;
    va_start(args, format);
    log_write(level, fields, n_fields, format, args);
    va_end(args);
}

bool log_limit_pass(LogLimit *limit, usec_t now, unsigned *ret_suppressed)
{
    if (limit->passed == 0 || now < limit->began_usec ||
        now - limit->began_usec >= limit->interval_usec) {
        limit->began_usec = now;
        limit->passed = 0;
    }
    if (limit->passed >= limit->burst) {
        if (limit->suppressed < UINT32_MAX)
            limit->suppressed++;
        return false;
    }
    limit->passed++;
    *ret_suppressed = limit->suppressed;
    limit->suppressed = 0;
    return true;
}
