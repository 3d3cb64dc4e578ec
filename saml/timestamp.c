// SPDX-License-Identifier: GPL-3.0-or-later
#include "saml/timestamp.h"

#include <time.h>

// Exactly `n` digits at the front of *s.
static bool take_number(struct str *s, size_t n, int *ret)
{
    int v = 0;
    if (s->n < n) return false;
    for (size_t i = 0; i < n; i++) {
        if (s->p[i] < '0' || s->p[i] > '9') return false;
        v = v * 10 + (s->p[i] - '0');
    }
    *s = str_skip(*s, n);
    *ret = v;
    return true;
}

static bool take_char(struct str *s, char c)
{
    if (!s->n || s->p[0] != c) return false;
    *s = str_skip(*s, 1);
    return true;
}

static int days_in(int year, int month)
{
    static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

static bool take_date(struct str *s, int64_t *ret_days)
{
    int y, m, d;
    if (!take_number(s, 4, &y) || !take_char(s, '-') || !take_number(s, 2, &m) || !take_char(s, '-') ||
        !take_number(s, 2, &d))
        return false;
    if (y < 1970 || m < 1 || m > 12 || d < 1 || d > days_in(y, m)) return false;
    int64_t days = (int64_t)(y - 1970) * 365 + (y - 1969) / 4 - (y - 1901) / 100 + (y - 1601) / 400 + d - 1;
    for (int i = 1; i < m; i++) days += days_in(y, i);
    *ret_days = days;
    return true;
}

static bool take_time(struct str *s, int64_t *ret_seconds)
{
    int h, m, sec;
    if (!take_number(s, 2, &h) || !take_char(s, ':') || !take_number(s, 2, &m) || !take_char(s, ':') ||
        !take_number(s, 2, &sec))
        return false;
    if (h > 23 || m > 59 || sec > 59) return false;
    if (take_char(s, '.')) {
        int digit;
        size_t n = 0;
        while (take_number(s, 1, &digit)) n++;
        if (n == 0) return false;
    }
    *ret_seconds = h * 3600 + m * 60 + sec;
    return true;
}

// "Z" or an offset of at most 14 hours (XML Schema part 2, 3.2.7).
static bool take_zone(struct str *s, int64_t *ret_seconds)
{
    int h, m;
    if (take_char(s, 'Z')) {
        *ret_seconds = 0;
        return true;
    }
    bool minus = take_char(s, '-');
    if (!minus && !take_char(s, '+')) return false;
    if (!take_number(s, 2, &h) || !take_char(s, ':') || !take_number(s, 2, &m)) return false;
    if (m > 59 || h * 60 + m > 14 * 60) return false;
    *ret_seconds = (minus ? -1 : 1) * (h * 3600 + m * 60);
    return true;
}

bool timestamp_parse(struct str text, int64_t *ret)
{
    int64_t days, seconds, zone;
    if (!take_date(&text, &days) || !take_char(&text, 'T') || !take_time(&text, &seconds) ||
        !take_zone(&text, &zone) || text.n)
        return false;
    *ret = days * 86400 + seconds - zone;
    return true;
}

struct str timestamp_format(struct arena *a, int64_t t)
{
    time_t when = (time_t)t;
    struct tm tm;
    char buf[32];
    if (!gmtime_r(&when, &tm) || !strftime(buf, sizeof buf, "%Y-%m-%dT%H:%M:%SZ", &tm)) return STR_NONE;
    return arena_str_c(a, buf);
}
