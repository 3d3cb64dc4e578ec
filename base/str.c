// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/str.h"

#include <string.h>

struct str str_c(const char *s)
{
    return (struct str){ s, s ? strlen(s) : 0 };
}

bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool str_eq_c(struct str a, const char *b)
{
    return str_eq(a, str_c(b));
}

char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

bool ascii_is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z');
}

bool str_eq_nocase(struct str a, struct str b)
{
    if (a.n != b.n) return false;
    for (size_t i = 0; i < a.n; i++)
        if (ascii_lower(a.p[i]) != ascii_lower(b.p[i])) return false;
    return true;
}

bool str_starts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && str_eq(str_take(s, prefix.n), prefix);
}

bool str_starts_nocase(struct str s, struct str prefix)
{
    return s.n >= prefix.n && str_eq_nocase(str_take(s, prefix.n), prefix);
}

bool str_ends(struct str s, struct str suffix)
{
    return s.n >= suffix.n && str_eq(str_skip(s, s.n - suffix.n), suffix);
}

size_t str_find(struct str s, char c)
{
    const char *hit = s.n ? memchr(s.p, c, s.n) : NULL;
    return hit ? (size_t)(hit - s.p) : s.n;
}

size_t str_search(struct str s, struct str needle)
{
    if (needle.n == 0) return 0;
    const char *hit = s.n ? memmem(s.p, s.n, needle.p, needle.n) : NULL;
    return hit ? (size_t)(hit - s.p) : s.n;
}

struct str str_skip(struct str s, size_t n)
{
    return (struct str){ s.p ? s.p + n : NULL, s.n - n };
}

struct str str_take(struct str s, size_t n)
{
    return (struct str){ s.p, n };
}

struct str str_trim(struct str s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t')) s = str_skip(s, 1);
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) s.n--;
    return s;
}

bool str_cut(struct str *rest, char sep, struct str *ret_part)
{
    if (!rest->p) return false;
    size_t i = str_find(*rest, sep);
    *ret_part = str_take(*rest, i);
    *rest = i < rest->n ? str_skip(*rest, i + 1) : STR_NONE;
    return true;
}

bool str_to_u64(struct str s, uint64_t max, uint64_t *ret)
{
    if (s.n == 0 || s.n > 19) return false;
    uint64_t v = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') return false;
        v = v * 10 + (uint64_t)(s.p[i] - '0');
    }
    if (v > max) return false;
    *ret = v;
    return true;
}

int str_cmp(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;
    if (c != 0) return c;
    return a.n < b.n ? -1 : a.n > b.n;
}

bool strlist_has(struct strlist l, struct str s)
{
    for (size_t i = 0; i < l.n; i++)
        if (str_eq(l.v[i], s)) return true;
    return false;
}

// Length of the well-formed UTF-8 sequence at p (RFC 3629 table), 0 when there is none.
static size_t utf8_sequence(const unsigned char *p, size_t n)
{
    unsigned char c = p[0];
    if (c < 0x80) return 1;
    size_t len = c >= 0xC2 && c <= 0xDF ? 2 : (c & 0xF0) == 0xE0 ? 3 : c >= 0xF0 && c <= 0xF4 ? 4 : 0;
    if (len == 0 || len > n) return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xC0) != 0x80) return 0;
    if (c == 0xE0 && p[1] < 0xA0) return 0; // overlong
    if (c == 0xED && p[1] > 0x9F) return 0; // surrogates
    if (c == 0xF0 && p[1] < 0x90) return 0; // overlong
    if (c == 0xF4 && p[1] > 0x8F) return 0; // above U+10FFFF
    return len;
}

// C0, DEL and C1 (U+0080 to U+009F): among the last are a line end and the introducer of terminal sequences.
static bool is_control(const unsigned char *p)
{
    return p[0] < 0x20 || p[0] == 0x7F || (p[0] == 0xC2 && p[1] < 0xA0);
}

bool str_is_utf8(struct str s, bool printable)
{
    const unsigned char *p = (const unsigned char *)s.p;
    for (size_t i = 0; i < s.n;) {
        size_t len = utf8_sequence(p + i, s.n - i);
        if (len == 0) return false;
        if (printable && is_control(p + i)) return false;
        i += len;
    }
    return true;
}

struct str str_of_int(int64_t v, char buf[STR_INT_BYTES])
{
    uint64_t rest = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    char *end = buf + STR_INT_BYTES, *p = end;
    do {
        *--p = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (v < 0) *--p = '-';
    return (struct str){ p, (size_t)(end - p) };
}
