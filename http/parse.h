// SPDX-License-Identifier: GPL-3.0-or-later
// Private to http/: what the heads of requests and of answers have in common. A head is complete before it is
// parsed, so it ends with CRLF CRLF; every loop over a byte class stops there at the latest and needs no
// other bound.
#pragma once

#include <string.h>

#include "http/head.h"

// Byte classes (RFC 9110 section 5.6.2 and 5.5, RFC 3986 section 3.2.2).
enum {
    BYTE_TOKEN = 1 << 0,
    BYTE_TARGET = 1 << 1, // visible ASCII but '#'
    BYTE_VALUE = 1 << 2,  // visible ASCII, SP, HTAB, obs-text
    BYTE_HOST = 1 << 3,   // letters, digits, "-._:[]"
    BYTE_NAME = 1 << 4,   // letters, digits, "-": what every reader of a field name takes for the same
};
extern const uint8_t http_byte_class[256];
static inline bool http_byte_is(char c, int class)
{
    return http_byte_class[(unsigned char)c] & class;
}

// Eight, four or one byte with the case bit of letters set.
static inline uint64_t http_fold8(const char *p)
{
    uint64_t w;
    memcpy(&w, p, sizeof w);
    return w | 0x2020202020202020u;
}
static inline uint32_t http_fold4(const char *p)
{
    uint32_t w;
    memcpy(&w, p, sizeof w);
    return w | 0x20202020u;
}

// Whether p[0..n) is `word`, which has letters, digits and '-' only, ignoring case; n is a constant wherever
// this is called, so that this becomes a few comparisons of whole registers. The last bytes come first: names
// that begin alike (X-Forwarded-...) differ there. That 0x20 also merges '-' with CR, and digits with
// controls, does not matter, as these are in no token and no value.
static inline __attribute__((always_inline)) bool http_same(const char *p, const char *word, size_t n)
{
    size_t i = n;
    for (; i >= 8; i -= 8)
        if (http_fold8(p + i - 8) != http_fold8(word + i - 8)) return false;
    if (n >= 8) return i == 0 || http_fold8(p) == http_fold8(word);
    if (n >= 4) return http_fold4(p + n - 4) == http_fold4(word + n - 4) && http_fold4(p) == http_fold4(word);
    for (; i > 0; i--)
        if ((p[i - 1] | 0x20) != (word[i - 1] | 0x20)) return false;
    return true;
}
#define HTTP_IS(s, word) ((s).n == sizeof word - 1 && http_same((s).p, word, sizeof word - 1))

struct scan {
    const char *p, *end;
};

// Looks for the end of the head in the part of buf that was not looked at before. Finds bare LF on the way,
// so that such a head is refused at once and does not wait for an end that never comes.
enum http_parse http_find_end(const char *buf, size_t len, size_t limit, size_t *scanned, size_t *ret_end,
                              struct err *err);
// First byte at or after p that cannot be in a field value.
const char *http_skip_value(const char *p, const char *end);
// The field lines up to the empty line that ends the head.
bool http_parse_fields(struct scan *s, struct http_fields *ret, struct err *err);

// How the body ends and whether the connection stays: from the fields, the same for both directions.
struct http_connection {
    int64_t content_length; // -1: none
    bool chunked, close, keep_alive, upgrade;
    size_t options;
};
// Looks at one field, whatever it is. Call for each, then http_connection_check once.
bool http_connection_take(struct http_connection *c, const struct http_field *f, struct err *err);
bool http_connection_check(const struct http_connection *c, int minor, struct err *err);
bool http_connection_persists(const struct http_connection *c, int minor);
