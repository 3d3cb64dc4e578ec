// SPDX-License-Identifier: GPL-3.0-or-later
// Strings that carry their length. A `struct str` borrows its bytes: whoever made it says how long they live
// (most often: as long as the arena or the buffer they point into). Bytes may be anything, NUL included;
// there is no terminator unless a function promises one. An absent string is { NULL, 0 }; an empty one has p
// != NULL.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct str {
    const char *p;
    size_t n;
};

struct strlist {
    struct str *v;
    size_t n;
};

// A literal as a str; usable in static initialisers.
#define STR(lit) ((struct str){ "" lit, sizeof(lit) - 1 })
#define STR_INIT(lit)                                                                                        \
    {                                                                                                        \
        "" lit, sizeof(lit) - 1                                                                              \
    }
#define STR_NONE ((struct str){ NULL, 0 })
// For printf: "%.*s".
#define STR_FMT(s) (int)(s).n, (s).p ? (s).p : ""

// The C string `s` (may be NULL: absent) as a str.
struct str str_c(const char *s);
bool str_eq(struct str a, struct str b);
bool str_eq_c(struct str a, const char *b);
// ASCII case-insensitive comparison (RFC 9110 tokens, host names).
bool str_eq_nocase(struct str a, struct str b);
bool str_starts(struct str s, struct str prefix);
bool str_starts_nocase(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
// Index of the first `c`, or s.n when there is none.
size_t str_find(struct str s, char c);
// Index of the first `needle`, or s.n.
size_t str_search(struct str s, struct str needle);
// s without its first `n` bytes (n <= s.n).
struct str str_skip(struct str s, size_t n);
struct str str_take(struct str s, size_t n);
// Removes spaces and tabs at both ends (RFC 9110 OWS).
struct str str_trim(struct str s);
// Cuts the part before the first `sep` off *rest into *ret_part; false when *rest is exhausted (p == NULL
// afterwards). "a,,b" gives "a", "", "b"; "" gives "" once.
bool str_cut(struct str *rest, char sep, struct str *ret_part);
// Strict decimal: 1..19 digits, no sign, no spaces, value <= max. False otherwise (*ret untouched).
bool str_to_u64(struct str s, uint64_t max, uint64_t *ret);
// Total order by bytes, for sorting.
int str_cmp(struct str a, struct str b);
bool strlist_has(struct strlist l, struct str s);
// Valid UTF-8 (RFC 3629) without control characters (C0, DEL, C1) when `printable`.
bool str_is_utf8(struct str s, bool printable);
// Decimal digits of v, in buf. For where printf would cost more than the rest.
enum { STR_INT_BYTES = 21 };
struct str str_of_int(int64_t v, char buf[STR_INT_BYTES]);
char ascii_lower(char c);
bool ascii_is_alnum(char c);
