// SPDX-License-Identifier: GPL-3.0-or-later
// What the operations listener answers, and to whom.
#include <arpa/inet.h>
#include <string.h>

#include "base/encode.h"
#include "base/url.h"
#include "gateway/ops/http.h"

static const struct ops_route {
    const char *path, *method;
    bool query; // a query is allowed
    struct ops_answer (*answer)(struct ops *o, struct ops_request *r);
} routes[] = {
    { "/healthz", "GET", false, ops_healthz },
    { "/readyz", "GET", false, ops_readyz },
    { "/metrics", "GET", false, ops_metrics },
    { "/admin/identity-providers", "GET", false, ops_providers },
    { "/admin/boards", "GET", false, ops_boards },
    { "/admin/sessions", "GET", true, ops_sessions },
    { "/admin/sessions/revoke", "POST", false, ops_revoke },
};

struct ops_answer ops_json(unsigned status, struct str body)
{
    return (struct ops_answer){ .status = status, .content_type = "application/json", .body = body };
}

void ops_json_key(struct sbuf *b, const char *name)
{
    bool first = b->n > 0 && b->p[b->n - 1] == '{';
    sbuf_addf(b, "%s\"%s\":", first ? "" : ",", name);
}

void ops_json_str(struct sbuf *b, const char *name, struct str value)
{
    ops_json_key(b, name);
    struct str text = encode_json(b->arena, value.p ? value : STR(""));
    if (!text.p) b->failed = true;
    sbuf_add(b, text);
}

void ops_json_int(struct sbuf *b, const char *name, int64_t value)
{
    ops_json_key(b, name);
    sbuf_addf(b, "%lld", (long long)value);
}

void ops_json_bool(struct sbuf *b, const char *name, bool value)
{
    ops_json_key(b, name);
    sbuf_add_c(b, value ? "true" : "false");
}

struct ops_answer ops_refuse(struct ops_request *r, unsigned status, const char *reason, const char *message)
{
    struct sbuf b;
    sbuf_init(&b, r->arena, 4096);
    sbuf_add_c(&b, "{");
    ops_json_str(&b, "error", str_c(reason));
    ops_json_str(&b, "message", str_c(message));
    ops_json_int(&b, "status", status);
    sbuf_add_c(&b, "}\n");
    return ops_json(status, sbuf_str(&b));
}

struct ops_answer ops_failure(struct ops_request *r, const struct err *err)
{
    return ops_refuse(r, (unsigned)err_status(err->code), err_name(err->code), err->detail);
}

static struct str header(struct ops_request *r, const char *name)
{
    return str_c(MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name));
}

// A name that a stranger's DNS can point at 127.0.0.1 (DNS rebinding) is not one of ours.
static bool host_is_local(struct ops_request *r)
{
    struct str raw = header(r, "Host"), host;
    bool ipv6;
    uint16_t port;
    if (!raw.p || raw.n == 0) return true; // HTTP/1.0 probes; browsers always send one
    if (!authority_parse(r->arena, raw, &host, &ipv6, &port)) return false;
    struct in_addr v4;
    char text[64] = "";
    if (host.n < sizeof text) memcpy(text, host.p, host.n);
    return ipv6 || str_eq_c(host, "localhost") || inet_pton(AF_INET, text, &v4) == 1;
}

// No page of a website may talk to this listener through its reader's browser: browsers send these, tools do
// not.
static bool from_browser_page(struct ops_request *r)
{
    struct str site = header(r, "Sec-Fetch-Site");
    return header(r, "Origin").p || (site.p && !str_eq_c(site, "none"));
}

static enum MHD_Result any_argument(void *context, enum MHD_ValueKind kind, const char *name,
                                    const char *value)
{
    (void)kind, (void)name, (void)value;
    *(bool *)context = true;
    return MHD_NO;
}

static bool has_query(struct ops_request *r)
{
    bool any = false;
    MHD_get_connection_values(r->connection, MHD_GET_ARGUMENT_KIND, any_argument, &any);
    return any;
}

static bool method_matches(const struct ops_route *route, struct str method)
{
    return str_eq_c(method, route->method) || (strcmp(route->method, "GET") == 0 && str_eq_c(method, "HEAD"));
}

static struct ops_answer run(struct ops *o, struct ops_request *r, const struct ops_route *route)
{
    bool get = strcmp(route->method, "GET") == 0;
    if (!method_matches(route, r->method)) {
        struct ops_answer a = ops_refuse(r, 405, "method_not_allowed", "this address has another method");
        a.allow = get ? "GET, HEAD" : route->method;
        return a;
    }
    if (get && r->body_n > 0) return ops_refuse(r, 400, "ops.body", "a body makes no sense here");
    if (!route->query && has_query(r)) return ops_refuse(r, 400, "ops.query", "this address takes no query");
    return route->answer(o, r);
}

struct ops_answer ops_dispatch(struct ops *o, struct ops_request *r)
{
    if (!r->path.p || !r->method.p) return ops_json(503, STR_NONE);
    if (r->dropped > 0) return ops_refuse(r, 413, "too_large", "the body is larger than is accepted here");
    if (!host_is_local(r)) return ops_refuse(r, 421, "wrong_host", "use a loopback address as host");
    if (from_browser_page(r)) return ops_refuse(r, 403, "ops.cross_site", "web pages may not call this");
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
        if (str_eq_c(r->path, routes[i].path)) return run(o, r, &routes[i]);
    return ops_refuse(r, 404, "not_found", "there is nothing at this address");
}
