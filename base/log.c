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

static void put_escaped(struct log_line *l, struct str s)
{
    size_t cut = s.n > LOG_VALUE_BYTES ? LOG_VALUE_BYTES : s.n;
    while (cut < s.n && cut > 0 && ((uint8_t)s.p[cut] & 0xC0) == 0x80) cut--; // not inside a UTF-8 sequence
    bool text = str_is_utf8(str_take(s, cut), false);
    for (size_t i = 0; i < cut; i++) {
        unsigned char c = (unsigned char)s.p[i];
        char e[8];
        int n = c < 0x20 || c == 0x7F || (c >= 0x80 && !text) ? snprintf(e, sizeof e, "\\u%04x", c)
                : c == '"' || c == '\\'                       ? snprintf(e, sizeof e, "\\%c", c)
                                                              : snprintf(e, sizeof e, "%c", c);
        put(l, e, (size_t)n);
    }
    if (cut < s.n) put_c(l, "...");
}

static bool begin_field(struct log_line *l, const char *key, size_t need)
{
    // A field is written whole or not at all, so a line is always valid JSON.
    if (l->off || need * 6 + strlen(key) + 32 > sizeof l->buf - 3 - l->n) return false;
    if (l->n > 1) put(l, ",", 1);
    put(l, "\"", 1);
    put_c(l, key);
    put(l, "\":", 2);
    return true;
}

void log_str(struct log_line *l, const char *key, struct str value)
{
    if (!value.p || !begin_field(l, key, value.n > LOG_VALUE_BYTES ? LOG_VALUE_BYTES : value.n)) return;
    put(l, "\"", 1);
    put_escaped(l, value);
    put(l, "\"", 1);
}

void log_c(struct log_line *l, const char *key, const char *value)
{
    log_str(l, key, str_c(value));
}

void log_int(struct log_line *l, const char *key, int64_t value)
{
    if (!begin_field(l, key, 4)) return;
    char text[24];
    put(l, text, (size_t)snprintf(text, sizeof text, "%lld", (long long)value));
}

void log_bool(struct log_line *l, const char *key, bool value)
{
    if (begin_field(l, key, 1)) put_c(l, value ? "true" : "false");
}

void log_err(struct log_line *l, const struct err *err)
{
    log_c(l, "reason", err_name(err->code));
    if (err->detail[0]) log_c(l, "detail", err->detail);
}

static void put_time(struct log_line *l)
{
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    char text[40];
    size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    n += (size_t)snprintf(text + n, sizeof text - n, ".%03ldZ", now.tv_nsec / 1000000);
    log_str(l, "time", (struct str){ text, n });
}

void log_begin(struct log_line *l, enum log_level level, const char *event)
{
    l->n = 0;
    l->off = level < logger.level;
    put(l, "{", 1);
    put_time(l);
    log_c(l, "level", level_names[level]);
    log_c(l, "event", event);
    if (logger.process[0]) log_c(l, "process", logger.process);
}

void log_end(struct log_line *l)
{
    if (l->off) return;
    l->buf[l->n++] = '}';
    l->buf[l->n++] = '\n';
    ssize_t done = write(logger.fd, l->buf, l->n); // a full or closed log must not stop the service
    (void)done;
    l->off = true;
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
