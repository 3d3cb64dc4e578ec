// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct {
    enum log_level level;
    const char *process;
    int fd;
} logger = { LOG_INFO, "", 2 };

static const char *const level_names[] = { "debug", "info", "warn", "error" };

void log_init(enum log_level level, const char *process)
{
    logger.level = level;
    logger.process = process;
}

void log_to_fd(int fd)
{
    logger.fd = fd;
}

bool log_enabled(enum log_level level)
{
    return level >= logger.level;
}

bool log_level_by_name(struct str name, enum log_level *ret)
{
    for (int i = LOG_DEBUG; i <= LOG_ERROR; i++) {
        if (!str_eq_c(name, level_names[i])) continue;
        *ret = (enum log_level)i;
        return true;
    }
    return false;
}

// Room is always kept for the closing brace and newline.
static void put(struct log_line *l, const char *p, size_t n)
{
    if (l->off || n > sizeof l->buf - 3 - l->n) return;
    memcpy(l->buf + l->n, p, n);
    l->n += n;
}

static void put_c(struct log_line *l, const char *s)
{
    put(l, s, strlen(s));
}

// How a byte is written in a JSON string; `text`: it is part of valid UTF-8.
static size_t escape(unsigned char c, bool text, char out[6])
{
    static const char digits[] = "0123456789abcdef";
    if (c < 0x20 || c == 0x7F || (c >= 0x80 && !text)) {
        memcpy(out, "\\u00", 4);
        out[4] = digits[c >> 4];
        out[5] = digits[c & 15];
        return 6;
    }
    size_t n = 0;
    if (c == '"' || c == '\\') out[n++] = '\\';
    out[n++] = (char)c;
    return n;
}

// The value as far as it is logged: whole UTF-8 sequences of at most LOG_VALUE_BYTES.
static struct str cut_value(struct str s)
{
    size_t cut = s.n > LOG_VALUE_BYTES ? LOG_VALUE_BYTES : s.n;
    while (cut < s.n && cut > 0 && ((uint8_t)s.p[cut] & 0xC0) == 0x80) cut--;
    return str_take(s, cut);
}

static size_t escaped_bytes(struct str s, bool text)
{
    char e[6];
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) n += escape((unsigned char)s.p[i], text, e);
    return n;
}

// A field of `need` bytes after the colon is written whole or not at all, so a line is always valid JSON.
static bool begin_field(struct log_line *l, const char *key, size_t need)
{
    if (l->off || need + strlen(key) + 4 > sizeof l->buf - 3 - l->n) return false;
    if (l->n > 1) put(l, ",", 1);
    put(l, "\"", 1);
    put_c(l, key);
    put(l, "\":", 2);
    return true;
}

// The bytes that a JSON string has as they are, at the beginning of s.
static size_t plain_bytes(struct str s)
{
    size_t n = 0;
    while (n < s.n && s.p[n] >= 0x20 && s.p[n] < 0x7F && s.p[n] != '"' && s.p[n] != '\\') n++;
    return n;
}

void log_str(struct log_line *l, const char *key, struct str value)
{
    if (l->off || !value.p) return;
    if (value.n <= LOG_VALUE_BYTES && plain_bytes(value) == value.n) { // nearly always
        if (!begin_field(l, key, value.n + 2)) return;
        put(l, "\"", 1);
        put(l, value.p, value.n);
        put(l, "\"", 1);
        return;
    }
    struct str cut = cut_value(value);
    bool text = str_is_utf8(cut, false);
    if (!begin_field(l, key, escaped_bytes(cut, text) + sizeof "\"...\"")) return;
    l->buf[l->n++] = '"';
    for (size_t i = 0; i < cut.n; i++) l->n += escape((unsigned char)cut.p[i], text, l->buf + l->n);
    if (cut.n < value.n) put_c(l, "...");
    put(l, "\"", 1);
}

void log_c(struct log_line *l, const char *key, const char *value)
{
    log_str(l, key, str_c(value));
}

void log_int(struct log_line *l, const char *key, int64_t value)
{
    if (!begin_field(l, key, 24)) return;
    char text[STR_INT_BYTES];
    struct str digits = str_of_int(value, text);
    put(l, digits.p, digits.n);
}

void log_bool(struct log_line *l, const char *key, bool value)
{
    if (begin_field(l, key, 5)) put_c(l, value ? "true" : "false");
}

void log_err(struct log_line *l, const struct err *err)
{
    log_c(l, "reason", err_name(err->code));
    if (err->detail[0]) log_c(l, "detail", err->detail);
}

// The date changes once a second, lines come by the thousand.
static void put_time(struct log_line *l)
{
    static _Thread_local struct {
        time_t second;
        char text[24];
        size_t n;
    } made;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (made.second != now.tv_sec) {
        struct tm tm;
        gmtime_r(&now.tv_sec, &tm);
        made.n = strftime(made.text, sizeof made.text, "%Y-%m-%dT%H:%M:%S", &tm);
        made.second = now.tv_sec;
    }
    long ms = now.tv_nsec / 1000000;
    const char fraction[] = { '.', (char)('0' + ms / 100), (char)('0' + ms / 10 % 10), (char)('0' + ms % 10),
                              'Z' };
    put_c(l, "\"time\":\"");
    put(l, made.text, made.n);
    put(l, fraction, sizeof fraction);
    put(l, "\"", 1);
}

void log_begin(struct log_line *l, enum log_level level, const char *event)
{
    l->n = 0;
    l->off = level < logger.level;
    l->urgent = level >= LOG_WARN;
    put(l, "{", 1);
    put_time(l);
    log_c(l, "level", level_names[level]);
    log_c(l, "event", event);
    if (logger.process[0]) log_c(l, "process", logger.process);
}

// A full or closed log must not stop the service.
static void write_out(const char *p, size_t n)
{
    ssize_t done = write(logger.fd, p, n);
    (void)done;
}

static _Thread_local struct {
    bool on;
    size_t n;
    char lines[LOG_LINE_BYTES]; // PIPE_BUF: as much as a pipe takes without mixing it with others' lines
} held;

void log_hold(bool on)
{
    if (!on) log_flush();
    held.on = on;
}

void log_flush(void)
{
    if (held.n) write_out(held.lines, held.n);
    held.n = 0;
}

void log_end(struct log_line *l)
{
    if (l->off) return;
    l->buf[l->n++] = '}';
    l->buf[l->n++] = '\n';
    l->off = true;
    if (held.n + l->n > sizeof held.lines) log_flush();
    if (!held.on) {
        write_out(l->buf, l->n);
        return;
    }
    memcpy(held.lines + held.n, l->buf, l->n);
    held.n += l->n;
    if (l->urgent) log_flush();
}

void log_message(enum log_level level, const char *event, const char *fmt, ...)
{
    if (level < logger.level) return;
    char text[LOG_VALUE_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    struct log_line l;
    log_begin(&l, level, event);
    log_c(&l, "message", text);
    log_end(&l);
}

void log_failure(enum log_level level, const char *event, const struct err *err)
{
    struct log_line l;
    log_begin(&l, level, event);
    log_err(&l, err);
    log_end(&l);
}
