// SPDX-License-Identifier: GPL-3.0-or-later
#include "http/parse.h"

#include <string.h>

#include "http/cookie.h"

bool http_is_token(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!http_byte_is(s.p[i], BYTE_TOKEN)) return false;
    return s.n > 0;
}

bool http_is_field_value(struct str s)
{
    return s.n == 0 || http_skip_value(s.p, s.p + s.n) == s.p + s.n;
}

static bool refuse_line(struct err *err, const char *why)
{
    return err_set(err, ERR_HTTP_REQUEST_LINE, "%s", why);
}

// RFC 9110 section 9.1: a token; case kept, since methods are case-sensitive.
static bool parse_method(struct scan *s, struct str *ret, struct err *err)
{
    const char *p = s->p;
    while (http_byte_is(*p, BYTE_TOKEN)) p++;
    struct str method = { s->p, (size_t)(p - s->p) };
    if (method.n == 0 && *p == '\r') return refuse_line(err, "an empty line where the request line belongs");
    if (method.n == 0 && *p == ' ') return refuse_line(err, "the request line begins with a space");
    if (*p == '\r') return refuse_line(err, "only one word in the request line");
    if (*p != ' ') return err_set(err, ERR_HTTP_METHOD, "byte 0x%02x in the method", (unsigned char)*p);
    if (method.n > LIMIT_METHOD_BYTES)
        return err_set(err, ERR_HTTP_METHOD, "the method is longer than %d bytes", LIMIT_METHOD_BYTES);
    *ret = method;
    s->p = p + 1;
    return true;
}

// Visible ASCII without '#', between single spaces (RFC 9112 section 3). Parsers that split at any run of
// whitespace, or at the last one, would see another target.
static bool parse_target(struct scan *s, struct str *ret, struct err *err)
{
    const char *p = s->p;
    while (http_byte_is(*p, BYTE_TARGET)) p++;
    struct str target = { s->p, (size_t)(p - s->p) };
    if (*p == '\r') return refuse_line(err, target.n ? "no version (HTTP/0.9)" : "no target");
    if (*p != ' ') return err_set(err, ERR_HTTP_TARGET, "byte 0x%02x in the target", (unsigned char)*p);
    if (target.n == 0) return refuse_line(err, "two spaces after the method");
    if (target.n > LIMIT_TARGET_BYTES)
        return err_set(err, ERR_HTTP_TARGET_TOO_LONG, "the target is longer than %d bytes",
                       LIMIT_TARGET_BYTES);
    *ret = target;
    s->p = p + 1;
    return true;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

// RFC 9112 section 2.3: case-sensitive, one digit each. An unknown minor version may frame bodies in ways
// unknown.
static bool parse_version(struct scan *s, int *ret_minor, struct err *err)
{
    struct str rest = { s->p, (size_t)(s->end - s->p) };
    if (!str_starts(rest, STR("HTTP/")) || !is_digit(rest.p[5]) || rest.p[6] != '.' || !is_digit(rest.p[7]))
        return refuse_line(err, "no HTTP version after the target");
    if (rest.p[8] != '\r' || rest.p[9] != '\n') return refuse_line(err, "something after the version");
    if (rest.p[5] != '1' || rest.p[7] > '1')
        return err_set(err, ERR_HTTP_VERSION, "HTTP/%c.%c", rest.p[5], rest.p[7]);
    *ret_minor = rest.p[7] - '0';
    s->p += sizeof "HTTP/1.1\r\n" - 1;
    return true;
}

static bool parse_line(struct scan *s, struct http_request_head *h, struct err *err)
{
    if (!parse_method(s, &h->method, err) || !parse_target(s, &h->target, err)) return false;
    if (!parse_version(s, &h->minor, err)) return false;
    // A tunnel would carry what nobody looks at.
    if (str_eq(h->method, STR("CONNECT"))) return err_set(err, ERR_HTTP_METHOD, "CONNECT");
    return true;
}

// RFC 9110 section 7.2 and RFC 9112 section 3.2. HTTP/1.0 too, since routes are chosen by host.
static bool take_host(struct http_request_head *h, struct str value, struct err *err)
{
    if (h->host.p) return err_set(err, ERR_HTTP_HOST, "more than one Host");
    if (value.n == 0) return err_set(err, ERR_HTTP_HOST, "an empty Host");
    for (size_t i = 0; i < value.n; i++)
        if (!http_byte_is(value.p[i], BYTE_HOST))
            return err_set(err, ERR_HTTP_HOST, "byte 0x%02x in Host", (unsigned char)value.p[i]);
    h->host = value;
    return true;
}

// RFC 9110 section 10.1.1; from HTTP/1.0 it is to be ignored.
static bool take_expect(struct http_request_head *h, struct str value, struct err *err)
{
    if (h->minor == 0) return true;
    if (h->expect_continue) return err_set(err, ERR_HTTP_EXPECT, "more than one Expect");
    if (!str_eq_nocase(value, STR("100-continue"))) return err_set(err, ERR_HTTP_EXPECT, "not 100-continue");
    h->expect_continue = true;
    return true;
}

static bool take_fields(struct http_request_head *h, struct err *err)
{
    struct http_connection c = { .content_length = -1 };
    bool upgrade = false;
    for (size_t i = 0; i < h->fields.n; i++) {
        const struct http_field *f = &h->fields.v[i];
        if (f->id == FIELD_OTHER) continue;
        if (f->id == FIELD_HOST && !take_host(h, f->value, err)) return false;
        if (f->id == FIELD_EXPECT && !take_expect(h, f->value, err)) return false;
        if (f->id == FIELD_UPGRADE) upgrade = true;
        if (!http_connection_take(&c, f, err)) return false;
    }
    if (!h->host.p) return err_set(err, ERR_HTTP_HOST, "no Host");
    if (!http_connection_check(&c, h->minor, err)) return false;
    h->content_length = c.content_length;
    h->chunked = c.chunked;
    h->keep_alive = http_connection_persists(&c, h->minor);
    h->upgrade = c.upgrade && upgrade && h->minor == 1;
    return true;
}

static struct str after_scheme(struct str target)
{
    if (str_starts_nocase(target, STR("http://"))) return str_skip(target, 7);
    if (str_starts_nocase(target, STR("https://"))) return str_skip(target, 8);
    return STR_NONE;
}

// RFC 9112 section 3.2.2: a server must accept it. Host must say the same, so that whoever looks at either
// sees one host.
static bool split_absolute(struct http_request_head *h, struct err *err)
{
    struct str rest = after_scheme(h->target);
    if (!rest.p) return err_set(err, ERR_HTTP_TARGET, "neither origin-form nor an http(s) URL");
    size_t n = 0;
    while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?') n++;
    struct str authority = str_take(rest, n);
    if (str_find(authority, '@') < n) return err_set(err, ERR_HTTP_TARGET, "user information in the target");
    if (!str_eq_nocase(authority, h->host))
        return err_set(err, ERR_HTTP_HOST, "the target's host is not that of Host");
    // "http://host" and "http://host?q" mean "/" and "/?q" (or "*" for OPTIONS); nothing sends them.
    if (n == rest.n || rest.p[n] != '/')
        return err_set(err, ERR_HTTP_TARGET, "an absolute URL without a path");
    h->path_query = str_skip(rest, n);
    return true;
}

static bool split_target(struct http_request_head *h, struct err *err)
{
    if (h->target.p[0] == '/') {
        h->path_query = h->target;
        return true;
    }
    if (!str_eq(h->target, STR("*"))) return split_absolute(h, err);
    // RFC 9112 section 3.2.4
    if (!str_eq(h->method, STR("OPTIONS")))
        return err_set(err, ERR_HTTP_TARGET, "'*' with a method other than OPTIONS");
    h->path_query = h->target;
    return true;
}

// Everything but the fields, which are too large to be cleared for each request.
static void clear(struct http_request_head *h)
{
    h->method = h->target = h->host = h->path_query = STR_NONE;
    h->minor = 0;
    h->fields.n = 0;
    h->content_length = -1;
    h->chunked = h->keep_alive = h->expect_continue = h->upgrade = false;
    h->bytes = 0;
}

// What cannot become a request line is refused before a whole head has come: TLS on the plain port, other
// protocols.
static bool first_byte_ok(const char *buf, size_t len, struct err *err)
{
    if (len == 0 || http_byte_is(buf[0], BYTE_TOKEN) || buf[0] == '\r') return true;
    if (buf[0] == '\n') return err_set(err, ERR_HTTP_BARE_LF, "LF without CR at byte 0");
    return err_set(err, ERR_HTTP_REQUEST_LINE, "the request begins with byte 0x%02x", (unsigned char)buf[0]);
}

enum http_parse http_request_parse(const char *buf, size_t len, size_t *scanned,
                                   struct http_request_head *ret, struct err *err)
{
    size_t end;
    if (!first_byte_ok(buf, len, err)) return HTTP_BAD;
    enum http_parse found = http_find_end(buf, len, LIMIT_HEAD_BYTES, scanned, &end, err);
    if (found != HTTP_DONE) return found;
    struct scan s = { buf, buf + end };
    if (buf[0] == '\r' && buf[1] == '\n') s.p += 2;
    clear(ret);
    if (!parse_line(&s, ret, err) || !http_parse_fields(&s, &ret->fields, err)) return HTTP_BAD;
    if (!take_fields(ret, err) || !split_target(ret, err) || !cookie_count_ok(&ret->fields, err))
        return HTTP_BAD;
    ret->bytes = end;
    return HTTP_DONE;
}
