// SPDX-License-Identifier: GPL-3.0-or-later
#include "http/h2_request.h"

#include <string.h>

#include "http/cookie.h"
#include "http/parse.h"

struct h2_crumb {
    struct h2_crumb *next;
    struct str text;
};

enum { FIELD_OVERHEAD = 32 }; // RFC 9113 section 10.5.1: what a field counts beside its bytes

void h2_request_begin(struct h2_request *r, struct arena *a, struct http_request_head *head)
{
    *r = (struct h2_request){ .arena = a, .head = head };
    r->last_crumb = &r->crumbs;
    head->method = head->target = head->host = head->path_query = STR_NONE;
    head->minor = 1;
    head->fields.n = 0;
    head->content_length = -1;
    head->chunked = head->expect_continue = head->upgrade = false;
    head->keep_alive = true;
    head->bytes = 0;
}

// --- one field

static int shown(struct str s)
{
    return s.n > 64 ? 64 : (int)s.n;
}

static bool take_once(struct h2_request *r, struct str *at, const char *name, struct str value)
{
    if (at->p) return err_set(&r->err, ERR_HTTP_HEADER_NAME, "more than one %s", name);
    *at = arena_str(r->arena, value);
    return true;
}

// RFC 9113 section 8.3: before all other fields, none but those that are defined, each once.
static bool take_pseudo(struct h2_request *r, struct str name, struct str value)
{
    if (r->regular)
        return err_set(&r->err, ERR_HTTP_HEADER_NAME, "'%.*s' after a header field", shown(name), name.p);
    if (str_eq_c(name, ":method")) return take_once(r, &r->head->method, ":method", value);
    if (str_eq_c(name, ":path")) return take_once(r, &r->head->target, ":path", value);
    if (str_eq_c(name, ":authority")) return take_once(r, &r->head->host, ":authority", value);
    if (str_eq_c(name, ":scheme")) return take_once(r, &r->scheme, ":scheme", value);
    return err_set(&r->err, ERR_HTTP_HEADER_NAME, "'%.*s' is no pseudo-header of requests", shown(name),
                   name.p);
}

// RFC 9113 section 8.2.1: names are tokens without upper-case letters. A field with a colon or a line break
// in its name would be two fields in HTTP/1.1.
static bool check_name(struct h2_request *r, struct str name)
{
    if (name.n == 0) return err_set(&r->err, ERR_HTTP_HEADER_NAME, "an empty header name");
    for (size_t i = 0; i < name.n; i++) {
        unsigned char c = (unsigned char)name.p[i];
        if (!http_byte_is(name.p[i], BYTE_TOKEN))
            return err_set(&r->err, ERR_HTTP_HEADER_NAME, "byte 0x%02x in a header name", c);
        if (c >= 'A' && c <= 'Z')
            return err_set(&r->err, ERR_HTTP_HEADER_NAME, "an upper-case letter in '%.*s'", shown(name),
                           name.p);
    }
    return true;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

// The same section: no NUL, CR or LF (request splitting behind us), no space at either end, which HTTP/1.1
// would take off.
static bool check_value(struct h2_request *r, struct str name, struct str value)
{
    if (value.n == 0) return true;
    const char *end = value.p + value.n, *stop = http_skip_value(value.p, end);
    if (stop != end)
        return err_set(&r->err, ERR_HTTP_HEADER_VALUE, "byte 0x%02x in '%.*s'", (unsigned char)*stop,
                       shown(name), name.p);
    if (is_space(value.p[0]) || is_space(end[-1]))
        return err_set(&r->err, ERR_HTTP_HEADER_VALUE, "space around the value of '%.*s'", shown(name),
                       name.p);
    return true;
}

// RFC 9113 section 8.2.2: what speaks of a connection has no place here. Behind us, where HTTP/1.1 is spoken,
// it would be believed.
static bool check_connection_field(struct h2_request *r, enum field_id id, struct str name, struct str value)
{
    switch (id) {
    case FIELD_TRANSFER_ENCODING:
        return err_set(&r->err, ERR_HTTP_TRANSFER_ENCODING, "Transfer-Encoding in HTTP/2");
    case FIELD_CONNECTION:
    case FIELD_KEEP_ALIVE:
    case FIELD_PROXY_CONNECTION:
    case FIELD_UPGRADE:
        return err_set(&r->err, ERR_HTTP_HEADER_NAME, "'%.*s' in HTTP/2", shown(name), name.p);
    case FIELD_TE:
        return str_eq_nocase(value, STR("trailers")) ||
               err_set(&r->err, ERR_HTTP_HEADER_VALUE, "TE is not 'trailers'");
    default: return true;
    }
}

static bool take_length(struct h2_request *r, const struct http_field *f)
{
    struct http_connection c = { .content_length = r->head->content_length };
    if (!http_connection_take(&c, f, &r->err)) return false;
    r->head->content_length = c.content_length;
    return true;
}

// RFC 9110 section 10.1.1
static bool take_expect(struct h2_request *r, struct str value)
{
    if (r->head->expect_continue) return err_set(&r->err, ERR_HTTP_EXPECT, "more than one Expect");
    if (!str_eq_nocase(value, STR("100-continue")))
        return err_set(&r->err, ERR_HTTP_EXPECT, "not 100-continue");
    r->head->expect_continue = true;
    return true;
}

// RFC 9113 section 8.2.3: cookies may come in crumbs, one per field.
static bool take_crumb(struct h2_request *r, struct str value)
{
    struct h2_crumb *crumb = arena_alloc(r->arena, sizeof *crumb);
    if (!crumb) return err_set(&r->err, ERR_NO_MEMORY, "cookies");
    crumb->text = arena_str(r->arena, value);
    *r->last_crumb = crumb;
    r->last_crumb = &crumb->next;
    r->crumb_bytes += value.n + 2;
    return true;
}

// The canonical spelling of names in the table needs no copy.
static struct str keep_name(struct h2_request *r, enum field_id id, struct str name)
{
    struct str canonical = http_field_name(id);
    bool same = canonical.n == name.n && str_find(name, '_') == name.n;
    return same ? canonical : arena_str(r->arena, name);
}

static bool add_field(struct h2_request *r, enum field_id id, struct str name, struct str value)
{
    if (++r->fields > LIMIT_HEADERS)
        return err_set(&r->err, ERR_HTTP_HEADERS_TOO_LARGE, "more than %d header fields", LIMIT_HEADERS);
    struct http_field f = { keep_name(r, id, name), arena_str(r->arena, value), id, false };
    if (!f.value.p || !f.name.p) return err_set(&r->err, ERR_NO_MEMORY, "a header field");
    if (id == FIELD_CONTENT_LENGTH && !take_length(r, &f)) return false;
    if (id == FIELD_EXPECT && !take_expect(r, value)) return false;
    r->head->fields.v[r->head->fields.n++] = f;
    return true;
}

// Compared with :authority in the end, which then stands for both.
static bool take_host(struct h2_request *r, struct str value)
{
    if (r->host.p) return err_set(&r->err, ERR_HTTP_HOST, "more than one Host");
    for (size_t i = 0; i < value.n; i++)
        if (!http_byte_is(value.p[i], BYTE_HOST))
            return err_set(&r->err, ERR_HTTP_HOST, "byte 0x%02x in Host", (unsigned char)value.p[i]);
    r->host = arena_str(r->arena, value);
    return true;
}

static bool take_field(struct h2_request *r, struct str name, struct str value)
{
    if (name.n && name.p[0] == ':') return take_pseudo(r, name, value);
    r->regular = true;
    if (!check_name(r, name) || !check_value(r, name, value)) return false;
    enum field_id id = http_field_id(name);
    if (!check_connection_field(r, id, name, value)) return false;
    if (id == FIELD_HOST) return take_host(r, value);
    if (id == FIELD_COOKIE) return take_crumb(r, value);
    return add_field(r, id, name, value);
}

bool h2_request_field(struct h2_request *r, struct str name, struct str value)
{
    if (!value.p) value = STR("");
    r->bytes += name.n + value.n + FIELD_OVERHEAD;
    if (r->err.code == ERR_NONE && r->bytes > LIMIT_HEAD_BYTES)
        err_set(&r->err, ERR_HTTP_HEADERS_TOO_LARGE, "the head is larger than %d bytes", LIMIT_HEAD_BYTES);
    // What comes behind a wrong field cannot make the request right, and is not kept.
    if (r->err.code != ERR_NONE) return ++r->swallowed <= H2_SWALLOWED_FIELDS;
    take_field(r, name, value);
    return true;
}

// --- the whole

static bool check_method(const struct http_request_head *h, struct err *err)
{
    if (!h->method.p || h->method.n == 0) return err_set(err, ERR_HTTP_METHOD, "no :method");
    for (size_t i = 0; i < h->method.n; i++)
        if (!http_byte_is(h->method.p[i], BYTE_TOKEN))
            return err_set(err, ERR_HTTP_METHOD, "byte 0x%02x in the method", (unsigned char)h->method.p[i]);
    if (h->method.n > LIMIT_METHOD_BYTES)
        return err_set(err, ERR_HTTP_METHOD, "the method is longer than %d bytes", LIMIT_METHOD_BYTES);
    return true;
}

// A tunnel would carry what nobody looks at. (RFC 8441 is not announced, so :protocol is an unknown name.)
static bool check_connect(const struct h2_request *r, struct err *err)
{
    return !str_eq_c(r->head->method, "CONNECT") || err_set(err, ERR_HTTP_METHOD, "CONNECT");
}

static bool check_scheme(const struct h2_request *r, struct err *err)
{
    return (r->scheme.p && str_eq_c(r->scheme, "https")) ||
           err_set(err, ERR_HTTP_TARGET, "%s", r->scheme.p ? ":scheme is not https" : "no :scheme");
}

// RFC 9113 section 8.3.1. An authority that Host contradicts is two hosts for two readers; one that is
// missing leaves the choice to them.
static bool check_authority(const struct h2_request *r, struct err *err)
{
    struct str a = r->head->host;
    if (!a.p) return err_set(err, ERR_HTTP_HOST, "no :authority");
    if (a.n == 0) return err_set(err, ERR_HTTP_HOST, "an empty :authority");
    if (str_find(a, '@') < a.n) return err_set(err, ERR_HTTP_HOST, "user information in :authority");
    for (size_t i = 0; i < a.n; i++)
        if (!http_byte_is(a.p[i], BYTE_HOST))
            return err_set(err, ERR_HTTP_HOST, "byte 0x%02x in :authority", (unsigned char)a.p[i]);
    if (r->host.p && !str_eq_nocase(r->host, a))
        return err_set(err, ERR_HTTP_HOST, "Host is not the host of :authority");
    return true;
}

// Visible ASCII without '#' (RFC 9112 section 3 has the same for the request line). A space or a line break
// here would be a request line of the client's own making behind us.
static bool check_path(const struct http_request_head *h, struct err *err)
{
    struct str path = h->target;
    if (!path.p || path.n == 0) return err_set(err, ERR_HTTP_TARGET, path.p ? "an empty :path" : "no :path");
    if (path.n > LIMIT_TARGET_BYTES)
        return err_set(err, ERR_HTTP_TARGET_TOO_LONG, "the target is longer than %d bytes",
                       LIMIT_TARGET_BYTES);
    for (size_t i = 0; i < path.n; i++)
        if (!http_byte_is(path.p[i], BYTE_TARGET))
            return err_set(err, ERR_HTTP_TARGET, "byte 0x%02x in the target", (unsigned char)path.p[i]);
    if (path.p[0] == '/') return true;
    if (!str_eq_c(path, "*")) return err_set(err, ERR_HTTP_TARGET, ":path does not begin with '/'");
    return str_eq_c(h->method, "OPTIONS") ||
           err_set(err, ERR_HTTP_TARGET, "'*' with a method other than OPTIONS");
}

static bool join_crumbs(struct h2_request *r, struct err *err)
{
    if (!r->crumbs) return true;
    struct str cookies = r->crumbs->text;
    if (r->crumbs->next) {
        char *p = arena_alloc(r->arena, r->crumb_bytes);
        cookies = (struct str){ p, 0 };
        for (const struct h2_crumb *c = r->crumbs; p && c; c = c->next) {
            if (c->text.n == 0) continue;
            if (cookies.n) memcpy(p + cookies.n, "; ", 2);
            cookies.n += cookies.n ? 2 : 0;
            memcpy(p + cookies.n, c->text.p, c->text.n);
            cookies.n += c->text.n;
        }
    }
    if (!cookies.p) return err_set(err, ERR_NO_MEMORY, "cookies");
    struct http_fields *f = &r->head->fields;
    if (f->n == LIMIT_HEADERS)
        return err_set(err, ERR_HTTP_HEADERS_TOO_LARGE, "more than %d header fields", LIMIT_HEADERS);
    f->v[f->n++] = (struct http_field){ http_field_name(FIELD_COOKIE), cookies, FIELD_COOKIE, false };
    return true;
}

// RFC 9113 section 8.1.1: the length must be that of the DATA frames; here there will be none.
static bool check_length(const struct http_request_head *h, bool body, struct err *err)
{
    return body || h->content_length <= 0 ||
           err_set(err, ERR_HTTP_CONTENT_LENGTH, "Content-Length without a body");
}

bool h2_request_end(struct h2_request *r, bool body, struct err *err)
{
    struct http_request_head *h = r->head;
    if (r->err.code != ERR_NONE) {
        *err = r->err;
        return false;
    }
    if (arena_failed(r->arena)) return err_set(err, ERR_NO_MEMORY, "a request head");
    if (!check_method(h, err) || !check_connect(r, err) || !check_scheme(r, err)) return false;
    if (!check_authority(r, err) || !check_path(h, err) || !check_length(h, body, err)) return false;
    if (!join_crumbs(r, err) || !cookie_count_ok(&h->fields, err)) return false;
    h->path_query = h->target;
    h->chunked = body && h->content_length < 0;
    h->bytes = r->bytes;
    return true;
}
