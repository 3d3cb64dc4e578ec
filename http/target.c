// SPDX-License-Identifier: GPL-3.0-or-later
#include "http/target.h"

#include <string.h>

#include "base/limits.h"
#include "base/url.h"
#include "http/parse.h"

// What a byte means in a path as it was received.
enum byte_kind {
    REFUSED = 0,
    PLAIN,  // kept: unreserved, sub-delims but ';', ':' and '@' (RFC 3986 section 3.3)
    ENCODE, // visible, but in no URI; browsers send some of them as they are
    SLASH,
    DOT,
    PERCENT,
};

static const uint8_t kinds[256] = {
    ['!'] = PLAIN,
    ['"'] = ENCODE,
    ['$'] = PLAIN,
    ['%'] = PERCENT,
    ['&' ... '-'] = PLAIN, // & ' ( ) * + , -
    ['.'] = DOT,
    ['/'] = SLASH,
    ['0' ... '9'] = PLAIN,
    [':'] = PLAIN,
    ['<'] = ENCODE,
    ['='] = PLAIN,
    ['>'] = ENCODE,
    ['@'] = PLAIN,
    ['A' ... 'Z'] = PLAIN,
    ['['] = ENCODE,
    [']'] = ENCODE,
    ['^'] = ENCODE,
    ['_'] = PLAIN,
    ['`'] = ENCODE,
    ['a' ... 'z'] = PLAIN,
    ['{' ... '}'] = ENCODE, // { | }
    ['~'] = PLAIN,
};

// A path being made canonical. `out` begins with '/' and ends with '/' whenever a segment begins.
struct builder {
    char *out;
    size_t n;
    char *decoded; // bytes of the current segment with its escapes resolved
    size_t decoded_n;
    struct err *err;
};

static bool refuse(struct builder *b, const char *why)
{
    return err_set(b->err, ERR_HTTP_PATH, "%s", why);
}

static bool is_unreserved(char c)
{
    return ascii_is_alnum(c) || (c && strchr("-._~", c));
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void put_escaped(struct builder *b, char c)
{
    static const char digits[] = "0123456789ABCDEF";
    b->out[b->n++] = '%';
    b->out[b->n++] = digits[(unsigned char)c >> 4];
    b->out[b->n++] = digits[(unsigned char)c & 15];
}

// What some backend decodes before it splits the path, and another one after.
static const char *ambiguous_escape(char c)
{
    switch (c) {
    case '/': return "an encoded slash (%2f)";
    case '\\': return "an encoded backslash (%5c)";
    case '%': return "double encoding (%25)";
    case ';': return "an encoded semicolon (%3b)";
    default: return (unsigned char)c < 0x20 || c == 0x7F ? "an encoded control byte" : NULL;
    }
}

static bool put_escape(struct builder *b, struct str rest)
{
    int high = rest.n >= 3 ? hex_value(rest.p[1]) : -1, low = rest.n >= 3 ? hex_value(rest.p[2]) : -1;
    if (high < 0 || low < 0) return refuse(b, "a malformed %-escape");
    char c = (char)(high * 16 + low);
    const char *why = ambiguous_escape(c);
    if (why) return refuse(b, why);
    b->decoded[b->decoded_n++] = c;
    // RFC 3986 section 6.2.2.2: the two spellings are equivalent, so there must be only one.
    if (is_unreserved(c))
        b->out[b->n++] = c;
    else
        put_escaped(b, c);
    return true;
}

static bool refuse_byte(struct builder *b, char c)
{
    if (c == '\\') return refuse(b, "a backslash");
    if (c == ';') return refuse(b, "a semicolon (matrix parameters)");
    return err_set(b->err, ERR_HTTP_PATH, "byte 0x%02x", (unsigned char)c);
}

static bool put_bytes(struct builder *b, struct str raw)
{
    b->decoded_n = 0;
    for (size_t i = 0; i < raw.n; i++) {
        char c = raw.p[i];
        enum byte_kind kind = kinds[(unsigned char)c];
        if (kind == REFUSED) return refuse_byte(b, c);
        if (kind == PERCENT) {
            if (!put_escape(b, str_skip(raw, i))) return false;
            i += 2;
            continue;
        }
        b->decoded[b->decoded_n++] = c;
        if (kind == ENCODE)
            put_escaped(b, c);
        else
            b->out[b->n++] = c;
    }
    return true;
}

// RFC 3986 section 5.2.4, for "..": back to the '/' before the last whole segment.
static bool climb(struct builder *b)
{
    if (b->n == 1) return refuse(b, "'..' above the root");
    b->n--;
    while (b->out[b->n - 1] != '/') b->n--;
    return true;
}

// Windows drops dots and spaces at the end of a name, so that "..." or ".. " may climb and " " be nothing.
static bool is_dots_and_spaces(struct str segment)
{
    for (size_t i = 0; i < segment.n; i++)
        if (segment.p[i] != '.' && segment.p[i] != ' ') return false;
    return true;
}

static bool put_segment(struct builder *b, struct str raw, bool last)
{
    if (raw.n == 0) return last || refuse(b, "an empty segment ('//')");
    if (str_eq(raw, STR("."))) return true;
    if (str_eq(raw, STR(".."))) return climb(b);
    if (!put_bytes(b, raw)) return false;
    struct str decoded = { b->decoded, b->decoded_n };
    if (str_eq(decoded, STR(".")) || str_eq(decoded, STR("..")))
        return refuse(b, "an encoded dot segment (%2e)");
    if (is_dots_and_spaces(decoded)) return refuse(b, "a segment of dots and spaces");
    if (!str_is_utf8(decoded, true)) return refuse(b, "escapes that are not UTF-8");
    if (!last) b->out[b->n++] = '/';
    return true;
}

static bool canonicalise(struct arena *a, struct str path, struct str *ret, struct err *err)
{
    struct builder b = { .out = arena_alloc(a, 3 * path.n + 1),
                         .decoded = arena_alloc(a, path.n),
                         .err = err };
    if (!b.out || !b.decoded) return err_set(err, ERR_NO_MEMORY, "a path");
    b.out[b.n++] = '/';
    struct str rest = str_skip(path, 1), segment;
    while (str_cut(&rest, '/', &segment))
        if (!put_segment(&b, segment, !rest.p)) return false;
    *ret = (struct str){ b.out, b.n };
    return true;
}

// Nearly every path: nothing to decode, encode, resolve or refuse. Then the bytes received are the canonical
// ones.
static bool is_canonical(struct str path)
{
    for (size_t i = 0; i < path.n; i++) {
        enum byte_kind kind = kinds[(unsigned char)path.p[i]];
        if (kind == PLAIN) continue;
        if (kind != SLASH && kind != DOT) return false;
        if (i > 0 && path.p[i - 1] == '/') return false; // "//", or a segment that may be "." or ".."
    }
    return true;
}

static bool query_ok(struct str query)
{
    for (size_t i = 0; i < query.n; i++)
        if (!http_byte_is(query.p[i], BYTE_TARGET)) return false;
    return true;
}

bool http_target_parse(struct arena *a, struct str path_query, struct http_target *ret, struct err *err)
{
    struct http_target t = { path_query, STR_NONE };
    if (path_query.n > LIMIT_TARGET_BYTES)
        return err_set(err, ERR_HTTP_TARGET_TOO_LONG, "the target is longer than %d bytes",
                       LIMIT_TARGET_BYTES);
    size_t mark = str_find(path_query, '?');
    if (mark < path_query.n) {
        t.query = str_skip(path_query, mark + 1);
        t.path = str_take(path_query, mark);
    }
    if (!query_ok(t.query)) return err_set(err, ERR_HTTP_QUERY, "a byte in the query that URLs do not have");
    if (str_eq(path_query, STR("*"))) {
        *ret = t;
        return true;
    }
    if (t.path.n == 0 || t.path.p[0] != '/')
        return err_set(err, ERR_HTTP_PATH, "the path does not begin with '/'");
    if (!is_canonical(t.path) && !canonicalise(a, t.path, &t.path, err)) return false;
    *ret = t;
    return true;
}

bool http_host_parse(struct arena *a, struct str raw_host, struct str *ret_host, uint16_t *ret_port,
                     struct err *err)
{
    struct str host;
    bool ipv6;
    uint16_t port;
    if (!authority_parse(a, raw_host, &host, &ipv6, &port)) {
        if (arena_failed(a)) return err_set(err, ERR_NO_MEMORY, "a host");
        return err_set(err, ERR_HTTP_HOST, "'%.*s' is no host name or address",
                       raw_host.n > 100 ? 100 : (int)raw_host.n, raw_host.p ? raw_host.p : "");
    }
    *ret_host = host;
    *ret_port = port;
    return true;
}
