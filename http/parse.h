// SPDX-License-Identifier: GPL-3.0-or-later
// Private to http/: what the heads of requests and of answers have in common. A head is complete before it is
// parsed, so it ends with CRLF CRLF; every loop over a byte class stops there at the latest and needs no
// other bound.
#pragma once

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
