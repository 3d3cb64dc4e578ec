// SPDX-License-Identifier: GPL-3.0-or-later
// One JSON object per line on stderr, one line per event, lines written whole. Field names are fixed:
// time, level, event, then those of docs/logging.md. Values are escaped and cut; a line never exceeds
// LOG_LINE_BYTES. A `struct secret` cannot be given to any of these functions: secrets are masked by
// construction.
#pragma once

#include "base/err.h"
#include "base/str.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum { LOG_LINE_BYTES = 4096, LOG_VALUE_BYTES = 512 };

struct log_line {
    char buf[LOG_LINE_BYTES];
    size_t n;
    bool off;    // below the threshold: nothing is composed
    bool urgent; // not held back
};

// Lines below `level` are dropped. `process` ("gateway", "verifier") becomes a field. Call once per process.
void log_init(enum log_level level, const char *process);
bool log_enabled(enum log_level level);
bool log_level_by_name(struct str name, enum log_level *ret);

// log_begin(&l, LOG_INFO, "login"); log_str(&l, "user", user); log_end(&l);
void log_begin(struct log_line *l, enum log_level level, const char *event);
void log_str(struct log_line *l, const char *key, struct str value); // absent values are left out
void log_c(struct log_line *l, const char *key, const char *value);
void log_int(struct log_line *l, const char *key, int64_t value);
void log_bool(struct log_line *l, const char *key, bool value);
void log_err(struct log_line *l, const struct err *err); // fields reason and detail
void log_end(struct log_line *l);

// Shorthands for events with one sentence: field `message`.
void log_message(enum log_level level, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void log_failure(enum log_level level, const char *event, const struct err *err);
// For threads that write many lines: from now on those of this thread are held back, a few at a time and
// never warnings and errors, until log_flush. `false` writes what is held and ends it.
void log_hold(bool on);
void log_flush(void);
// Redirects lines (default: file descriptor 2). For tests.
void log_to_fd(int fd);
