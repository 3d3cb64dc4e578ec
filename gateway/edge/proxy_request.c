// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/edge/proxy.h"
#include "http/policy.h"

enum {
    CHUNK_OVERHEAD = 24,
    BODY_PIECE = 16 * 1024,
    DIRECT_BYTES = 4 * 1024, // from here on a system call is cheaper than a copy
};

static bool put(struct upstream *u, struct str s)
{
    return buffer_append(&u->out, s);
}

static bool put_field(struct upstream *u, struct str name, struct str value)
{
    return put(u, name) && put(u, STR(": ")) && put(u, value) && put(u, STR("\r\n"));
}

// Fields that this hop says itself (RFC 9112 framing, RFC 9110 section 7.2 Host).
static bool is_ours(enum field_id id)
{
    return id == FIELD_HOST || id == FIELD_CONTENT_LENGTH || id == FIELD_EXPECT;
}

static bool put_fields(struct upstream *u, const struct http_fields *f)
{
    for (size_t i = 0; i < f->n; i++) {
        if (f->v[i].removed || is_ours(f->v[i].id)) continue;
        if (!put(u, f->v[i].name) || !put(u, STR(": ")) || !put(u, f->v[i].value) || !put(u, STR("\r\n")))
            return false;
    }
    return true;
}

static bool put_forwarding(struct exchange *x, struct upstream *u, struct str host)
{
    struct str forwarded = http_forwarded(x->arena, x->client, host, true);
    return forwarded.p && put_field(u, STR("X-Forwarded-For"), x->client) &&
           put_field(u, STR("X-Forwarded-Proto"), STR("https")) &&
           put_field(u, STR("X-Forwarded-Host"), host) && put_field(u, STR("Forwarded"), forwarded);
}

static bool put_prefix(struct exchange *x, struct upstream *u)
{
    struct str prefix = proxy_forwarded_prefix(x);
    return !prefix.p || put_field(u, STR("X-Forwarded-Prefix"), prefix);
}

static bool put_trace(struct exchange *x, struct upstream *u)
{
    if (http_fields_get(&x->req.fields, FIELD_TRACEPARENT)) return true;
    const struct str trace = { x->request_id, 32 }, span = { x->request_id + 16, 16 }; // W3C Trace Context
    return put(u, STR("traceparent: 00-")) && put(u, trace) && put(u, STR("-")) && put(u, span) &&
           put(u, STR("-00\r\n"));
}

// RFC 9110 section 7.8
static bool put_upgrade(struct exchange *x, struct upstream *u)
{
    return !x->upgrade.p ||
           (put_field(u, STR("Connection"), STR("upgrade")) && put_field(u, STR("Upgrade"), x->upgrade));
}

static bool put_framing(struct exchange *x, struct upstream *u)
{
    char length[STR_INT_BYTES];
    if (x->req.chunked) return put_field(u, STR("Transfer-Encoding"), STR("chunked"));
    if (x->req.content_length < 0) return true;
    return put_field(u, STR("Content-Length"), str_of_int(x->req.content_length, length));
}

bool proxy_request_head(struct exchange *x, struct upstream *u)
{
    bool query = x->target.query.p != NULL;
    struct str public = proxy_public_host(x), host = proxy_backend_host(x, u->backend);
    struct str path = proxy_backend_path(x);
    u->request_done = !x->req.chunked && x->req.content_length <= 0;
    return public.p && host.p && path.p && put(u, x->req.method) && put(u, STR(" ")) && put(u, path) &&
           (!query || put(u, STR("?"))) && put(u, x->target.query) && put(u, STR(" HTTP/1.1\r\n")) &&
           put_field(u, STR("Host"), host) && put_fields(u, &x->req.fields) && put_forwarding(x, u, public) &&
           put_prefix(x, u) && put_trace(x, u) && put_upgrade(x, u) && put_framing(x, u) &&
           put(u, STR("\r\n"));
}

// Without Content-Length nobody knows before; with one, the journey has refused already.
static bool body_too_large(struct exchange *x, size_t more)
{
    int64_t max = x->route->target->max_body;
    if (max < 0 || x->tunnel || (int64_t)(x->bytes_received + more) <= max) return false;
    err_set(&x->err, ERR_HTTP_BODY_TOO_LARGE, "more than the %lld bytes that the route takes",
            (long long)max);
    x->body_failed = true;
    return true;
}

static void put_body(struct upstream *u, struct str data)
{
    char line[CHUNK_OVERHEAD];
    if (!u->x->req.chunked || u->x->tunnel) {
        put(u, data);
        return;
    }
    put(u, (struct str){ line, chunked_head(line, data.n) });
    put(u, data);
    put(u, STR("\r\n"));
}

// Into the buffer, as one piece; or past it, when nothing is in front. Returns how much was taken.
static size_t pass_body(struct upstream *u, struct str data)
{
    bool framed = u->x->req.chunked && !u->x->tunnel;
    if (!framed && data.n >= DIRECT_BYTES && buffer_used(&u->out) == 0) {
        size_t taken = upstream_send(u, data);
        if (taken) proxy_clock(u);
        return taken;
    }
    if (data.n > BODY_PIECE) data.n = BODY_PIECE;
    put_body(u, data);
    return data.n;
}

// Room for one more piece; the backend has to take some first when there is none.
static bool make_room(struct upstream *u)
{
    if (!buffer_take(&u->out)) {
        u->broken = true;
        return false;
    }
    if (buffer_room(&u->out) >= BODY_PIECE + CHUNK_OVERHEAD) return true;
    proxy_flush(u);
    buffer_compact(&u->out);
    return buffer_room(&u->out) >= BODY_PIECE + CHUNK_OVERHEAD;
}

static void end_request(struct upstream *u)
{
    if (u->x->req.chunked && !u->x->tunnel) put(u, STR("0\r\n\r\n"));
    u->request_done = true;
}

void proxy_request_pump(struct upstream *u)
{
    struct exchange *x = u->x;
    size_t moved = 0;
    while (!u->request_done && !u->broken && !proxy_yields(u, moved)) {
        if (!make_room(u)) return;
        struct str data = x->engine->body_peek(x);
        if (body_too_large(x, data.n)) return;
        if (data.n > 0 && buffer_used(&u->out) > 0 && data.n >= DIRECT_BYTES) proxy_flush(u);
        moved = data.n ? pass_body(u, data) : 0;
        if (data.n > 0 && moved == 0) return; // the backend has to take some first
        x->bytes_received += moved;
        if (moved) x->engine->body_consume(x, moved);
        if (x->body_done)
            end_request(u);
        else if (moved == 0)
            return; // the client has to send some first
    }
}
