// SPDX-License-Identifier: GPL-3.0-or-later
// The addresses of a forwarded exchange: what the backend is asked for and under which host, and what its
// answer calls itself for the browser.
#include "gateway/edge/proxy.h"
#include "http/rewrite.h"

static bool prefix_goes(const struct route_target *t)
{
    return t->strip_prefix || t->rewrite.p;
}

static struct str backend_prefix(const struct route_target *t)
{
    return t->rewrite.p ? t->rewrite : STR("/");
}

static struct str compose_authority(struct exchange *x)
{
    char digits[STR_INT_BYTES];
    struct sbuf b;
    bool v6 = str_find(x->host, ':') < x->host.n;
    if (!v6 && !x->port) return x->host;
    sbuf_init(&b, x->arena, LIMIT_HEAD_BYTES);
    if (v6) sbuf_add(&b, STR("["));
    sbuf_add(&b, x->host);
    if (v6) sbuf_add(&b, STR("]"));
    if (x->port) sbuf_add(&b, STR(":"));
    if (x->port) sbuf_add(&b, str_of_int(x->port, digits));
    return sbuf_str(&b);
}

struct str proxy_public_host(struct exchange *x)
{
    if (!x->authority.p) x->authority = compose_authority(x);
    return x->authority;
}

struct str proxy_backend_host(struct exchange *x, const struct backend *b)
{
    if (x->route->target->preserve_host) return proxy_public_host(x);
    return b->unix_path.p ? b->host : b->authority;
}

struct str proxy_backend_path(struct exchange *x)
{
    const struct route_target *t = x->route->target;
    if (!prefix_goes(t)) return x->target.path;
    return http_rewrite_path(x->arena, x->target.path, t->prefix, backend_prefix(t));
}

struct str proxy_forwarded_prefix(const struct exchange *x)
{
    const struct route_target *t = x->route->target;
    return prefix_goes(t) && !str_eq_c(t->prefix, "/") ? t->prefix : STR_NONE;
}

struct str proxy_public_value(struct exchange *x, const struct backend *b, const struct http_field *f)
{
    const struct route_target *t = x->route->target;
    bool address = f->id == FIELD_LOCATION || f->id == FIELD_CONTENT_LOCATION;
    if (!address || (t->preserve_host && !prefix_goes(t))) return f->value;
    struct str host = proxy_public_host(x);
    struct http_public p = {
        .host = t->preserve_host ? STR_NONE : b->host,
        .port = b->unix_path.p ? 80 : b->port,
        .origin = arena_printf(x->arena, "https://%.*s", STR_FMT(host)),
        .prefix = t->prefix,
        .backend_prefix = prefix_goes(t) ? backend_prefix(t) : STR_NONE,
    };
    return http_public_location(x->arena, &p, f->value);
}
