// SPDX-License-Identifier: GPL-3.0-or-later
#include "http/forwarded.h"

#include <string.h>

static bool bad(struct err *err, const char *what)
{
    return err_set(err, ERR_FORWARDED, "%s", what);
}

// --- one node, "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]:80", "unknown"

static bool is_port(struct str s)
{
    uint64_t port;
    return str_to_u64(s, 65535, &port);
}

static bool bracketed(struct str s, struct ip_address *ret)
{
    size_t close = str_find(s, ']');
    if (close == s.n) return false;
    struct str inner = { s.p + 1, close - 1 }, after = str_skip(s, close + 1);
    if (after.n && (after.p[0] != ':' || !is_port(str_skip(after, 1)))) return false;
    return str_find(inner, ':') < inner.n && ip_parse(inner, ret);
}

static bool unbracketed(struct str s, struct ip_address *ret)
{
    size_t colon = str_find(s, ':');
    bool port = colon < s.n && str_find(str_skip(s, colon + 1), ':') == s.n - colon - 1;
    if (!port) return ip_parse(s, ret);
    return is_port(str_skip(s, colon + 1)) && ip_parse(str_take(s, colon), ret);
}

// The unknown address for "unknown" and for names that hide one ("_gazonk", RFC 7239 section 6.3).
static bool node_address(struct str s, struct ip_address *ret)
{
    *ret = (struct ip_address){ { 0 } };
    if (s.n == 0) return false;
    if (str_eq_nocase(s, STR("unknown")) || (s.p[0] == '_' && http_is_token(s))) return true;
    return s.p[0] == '[' ? bracketed(s, ret) : unbracketed(s, ret);
}

// --- X-Forwarded-For

struct walk {
    const struct ip_networks *trusted;
    struct ip_address client;
    unsigned hops;
    bool found; // the client: no need to look further
};

// One step from the end of the list towards its beginning.
static bool walk_step(struct walk *w, struct str element, struct err *err)
{
    if (++w->hops > LIMIT_FORWARDED_HOPS) return bad(err, "more proxies than the gateway looks at");
    if (!node_address(str_trim(element), &w->client)) return bad(err, "X-Forwarded-For: no address");
    w->found = !ip_networks_have(w->trusted, &w->client);
    return true;
}

static size_t last_comma(struct str s)
{
    size_t i = s.n;
    while (i > 0 && s.p[i - 1] != ',') i--;
    return i; // behind it, or 0
}

static bool walk_field(struct walk *w, struct str list, struct err *err)
{
    while (!w->found) {
        size_t at = last_comma(list);
        if (!walk_step(w, str_skip(list, at), err)) return false;
        if (at == 0) break;
        list = str_take(list, at - 1);
    }
    return true;
}

// RFC 9110 section 5.3: several lines are one list, in order.
static bool read_x_for(const struct http_fields *f, const struct ip_networks *trusted, struct forwarded *ret,
                       struct err *err)
{
    struct walk w = { .trusted = trusted };
    for (size_t i = f->n; i > 0 && !w.found; i--) {
        const struct http_field *field = &f->v[i - 1];
        if (field->removed || field->id != FIELD_X_FORWARDED_FOR) continue;
        if (!walk_field(&w, field->value, err)) return false;
        ret->has_client = true;
    }
    ret->client = w.client;
    return true;
}

// --- X-Forwarded-Proto

static enum forwarded_proto proto_of(struct str s)
{
    if (str_eq_nocase(s, STR("https"))) return PROTO_HTTPS;
    return str_eq_nocase(s, STR("http")) ? PROTO_HTTP : PROTO_UNSAID;
}

static bool agree_on_proto(struct str s, enum forwarded_proto *io, struct err *err)
{
    enum forwarded_proto p = proto_of(str_trim(s));
    if (p == PROTO_UNSAID) return bad(err, "X-Forwarded-Proto: neither http nor https");
    if (*io != PROTO_UNSAID && *io != p) return bad(err, "X-Forwarded-Proto: several that differ");
    *io = p;
    return true;
}

// Which of several values is the visitor's depends on habits of each proxy; so they have to be the same.
static bool read_x_proto(const struct http_fields *f, struct forwarded *ret, struct err *err)
{
    for (size_t i = 0; i < f->n; i++) {
        if (f->v[i].removed || f->v[i].id != FIELD_X_FORWARDED_PROTO) continue;
        struct str list = f->v[i].value, part;
        while (str_cut(&list, ',', &part))
            if (!agree_on_proto(part, &ret->proto, err)) return false;
    }
    return true;
}

// --- Forwarded

struct element {
    struct ip_address address; // of `for`
    enum forwarded_proto proto;
    unsigned seen; // parameters that were there: bits
};
enum { SEEN_FOR = 1, SEEN_PROTO = 2, SEEN_BY = 4, SEEN_HOST = 8, VALUE_BYTES = 256 };

struct elements {
    struct element v[LIMIT_FORWARDED_HOPS];
    size_t n;
};

static struct str skip_space(struct str s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t')) s = str_skip(s, 1);
    return s;
}

// RFC 9110 section 5.6.4; without its backslashes in `buf`.
static bool quoted_string(struct str *s, char buf[VALUE_BYTES], struct str *ret)
{
    size_t n = 0, i = 1;
    for (; i < s->n && s->p[i] != '"'; i++) {
        if (s->p[i] == '\\' && ++i == s->n) return false;
        if (n == VALUE_BYTES) return false;
        buf[n++] = s->p[i];
    }
    if (i >= s->n) return false;
    *ret = (struct str){ buf, n };
    *s = str_skip(*s, i + 1);
    return true;
}

static bool token(struct str *s, struct str *ret)
{
    size_t n = 0;
    while (n < s->n && http_is_token((struct str){ s->p + n, 1 })) n++;
    *ret = str_take(*s, n);
    *s = str_skip(*s, n);
    return n > 0;
}

static unsigned parameter_bit(struct str name)
{
    static const struct {
        const char *name;
        unsigned bit;
    } known[] = { { "for", SEEN_FOR }, { "proto", SEEN_PROTO }, { "by", SEEN_BY }, { "host", SEEN_HOST } };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (str_eq_nocase(name, str_c(known[i].name))) return known[i].bit;
    return 0; // extensions (section 5.5) are skipped
}

// RFC 7239 section 4: "each parameter MUST NOT occur more than once per field-value" element.
static bool take_parameter(struct element *e, struct str name, struct str value, struct err *err)
{
    unsigned bit = parameter_bit(name);
    if (e->seen & bit) return bad(err, "Forwarded: a parameter twice");
    e->seen |= bit;
    if (bit == SEEN_FOR && !node_address(value, &e->address)) return bad(err, "Forwarded: for is no address");
    if (bit != SEEN_PROTO) return true;
    e->proto = proto_of(value);
    return e->proto != PROTO_UNSAID || bad(err, "Forwarded: proto is neither http nor https");
}

// token "=" ( token / quoted-string ), no space around "=".
static bool read_pair(struct element *e, struct str *s, struct err *err)
{
    char buf[VALUE_BYTES];
    struct str name, value;
    if (!token(s, &name) || s->n == 0 || s->p[0] != '=') return bad(err, "Forwarded: no name=value");
    *s = str_skip(*s, 1);
    bool quoted = s->n && s->p[0] == '"';
    if (!(quoted ? quoted_string(s, buf, &value) : token(s, &value)))
        return bad(err, "Forwarded: neither token nor quoted string");
    return take_parameter(e, name, value, err);
}

static bool read_element(struct elements *list, struct str *s, struct err *err)
{
    if (list->n == LIMIT_FORWARDED_HOPS) return bad(err, "Forwarded: more proxies than the gateway looks at");
    struct element *e = &list->v[list->n++];
    *e = (struct element){ .proto = PROTO_UNSAID };
    for (;;) {
        *s = skip_space(*s);
        if (!read_pair(e, s, err)) return false;
        *s = skip_space(*s);
        if (s->n == 0 || s->p[0] != ';') return true;
        *s = str_skip(*s, 1);
    }
}

static bool read_line(struct elements *list, struct str s, struct err *err)
{
    for (;;) {
        if (!read_element(list, &s, err)) return false;
        if (s.n == 0) return true;
        if (s.p[0] != ',') return bad(err, "Forwarded: no comma or semicolon between two parts");
        s = str_skip(s, 1);
    }
}

// All elements that are there, wherever they come from: a quote that a client left open would otherwise
// swallow what a proxy appended to it.
static bool read_lines(const struct http_fields *f, struct elements *list, struct err *err)
{
    for (size_t i = 0; i < f->n; i++)
        if (!f->v[i].removed && f->v[i].id == FIELD_FORWARDED && !read_line(list, f->v[i].value, err))
            return false;
    return true;
}

// The element that names the client has its protocol too.
static bool read_forwarded(const struct http_fields *f, const struct ip_networks *trusted,
                           struct forwarded *ret, struct err *err)
{
    struct elements list = { .n = 0 };
    if (!read_lines(f, &list, err)) return false;
    for (size_t i = list.n; i > 0; i--) {
        const struct element *e = &list.v[i - 1];
        if (!(e->seen & SEEN_FOR)) return bad(err, "Forwarded: an element without for");
        *ret = (struct forwarded){ true, e->address, e->proto };
        if (!ip_networks_have(trusted, &e->address)) break;
    }
    return true;
}

// --- both

static bool same(const struct forwarded *a, const struct forwarded *b)
{
    return a->has_client == b->has_client && a->proto == b->proto &&
           memcmp(&a->client, &b->client, sizeof a->client) == 0;
}

bool http_forwarded_read(const struct http_fields *f, const struct ip_networks *trusted,
                         struct forwarded *ret, struct err *err)
{
    bool x = http_fields_get(f, FIELD_X_FORWARDED_FOR) || http_fields_get(f, FIELD_X_FORWARDED_PROTO);
    bool standard = http_fields_get(f, FIELD_FORWARDED) != NULL;
    struct forwarded by_x = { .has_client = false }, by_standard = { .has_client = false };
    if (x && (!read_x_for(f, trusted, &by_x, err) || !read_x_proto(f, &by_x, err))) return false;
    if (standard && !read_forwarded(f, trusted, &by_standard, err)) return false;
    if (x && standard && !same(&by_x, &by_standard))
        return bad(err, "Forwarded and X-Forwarded-* do not say the same");
    *ret = x ? by_x : by_standard;
    return true;
}
