// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/edge/proxy.h"

#include "base/log.h"
#include "gateway/journey/answer.h"

static void client_gone(struct exchange *x)
{
    if (x->upstream) upstream_close(x->upstream);
}

bool proxy_yields(struct upstream *u, size_t moved)
{
    u->burst -= moved < u->burst ? moved : u->burst;
    return u->burst == 0 && loop_again(&u->worker->loop, &u->io);
}

// A page as long as nothing was sent, else the client must notice that the answer is incomplete.
static void fail(struct exchange *x)
{
    if (!x->body_failed) metric_add(&x->worker->metrics.proxy_errors_total, 1);
    if (x->upstream) upstream_close(x->upstream);
    x->on_body = x->on_writable = NULL;
    if (x->head_sent) {
        x->engine->abort(x);
        return;
    }
    x->answer.n = 0;
    x->close = x->close || !x->body_done;
    answer_error(x, STR_NONE);
}

static void run_for_client(struct exchange *x)
{
    if (x->upstream && x->upstream->state == UPSTREAM_BUSY) proxy_run(x->upstream);
}

// Nothing of the request has been sent: any other backend of the route will do.
static bool other_backend(struct exchange *x)
{
    size_t n = x->route->target->nbackends;
    x->backend = (x->backend + 1) % n;
    x->addresses_tried = 0;
    return ++x->backends_tried < n;
}

static void begin(struct exchange *x, bool fresh)
{
    struct upstream *u;
    while (!(u = upstream_get(x, fresh)) && other_backend(x)) {
    }
    if (!u) {
        fail(x);
        return;
    }
    x->err.code = ERR_NONE; // of an earlier try
    if (!proxy_request_head(x, u)) {
        err_set(&x->err, ERR_HTTP_HEADERS_TOO_LARGE,
                "the request's head does not fit into the backend's buffer");
        fail(x);
        return;
    }
    if (u->state == UPSTREAM_BUSY) proxy_run(u);
}

void proxy_start(struct exchange *x)
{
    metric_add(&x->worker->metrics.proxied_total, 1);
    x->on_gone = client_gone;
    x->on_body = run_for_client;
    x->on_writable = run_for_client;
    upstream_choose(x);
    begin(x, false);
}

static bool idempotent(struct str method)
{
    return str_eq_c(method, "GET") || str_eq_c(method, "HEAD") || str_eq_c(method, "OPTIONS");
}

// A kept connection that the backend closed just now: the request is sent once more on a fresh one, if that
// is safe.
static bool retry(struct upstream *u)
{
    struct exchange *x = u->x;
    if (!u->reused || u->got_bytes || x->head_sent || !idempotent(x->req.method)) return false;
    if (x->req.chunked || x->req.content_length > 0) return false;
    upstream_close(u);
    begin(x, true);
    return true;
}

static void end(struct upstream *u)
{
    struct exchange *x = u->x;
    x->on_gone = x->on_body = x->on_writable = NULL;
    upstream_release(u);
    x->engine->end(x);
}

void proxy_clock(struct upstream *u)
{
    const struct route_target *t = u->x->route->target;
    timer_set(&u->worker->loop, &u->timer, (u->stream ? t->stream_timeout : t->response_timeout) * 1000);
}

void proxy_flush(struct upstream *u)
{
    size_t before = buffer_used(&u->out);
    upstream_flush(u);
    if (buffer_used(&u->out) < before) proxy_clock(u);
}

// The client has ended its direction of a tunnel and everything of it has been passed on: nobody is left to
// hear more.
static bool client_left_tunnel(const struct upstream *u)
{
    return u->x->tunnel && u->request_done && buffer_used(&u->out) == 0;
}

void proxy_run(struct upstream *u)
{
    struct exchange *x = u->x;
    u->burst = PROXY_BURST;
    proxy_request_pump(u);
    if (x->body_failed) {
        fail(x);
        return;
    }
    proxy_flush(u);
    switch (proxy_response_pump(u)) {
    case PROXY_WAIT:
        if (client_left_tunnel(u))
            end(u);
        else
            x->engine->flush(x);
        return;
    case PROXY_ENDED: end(u); return;
    case PROXY_FAILED: break;
    }
    if (!retry(u)) fail(x);
}

static void not_connected(struct upstream *u)
{
    struct exchange *x = u->x;
    if (!u->addresses_left) {
        upstream_avoid(u);
        if (!other_backend(x)) {
            fail(x);
            return;
        }
    }
    log_failure(LOG_WARN, "proxy.backend", &x->err);
    upstream_close(u);
    begin(x, false);
}

void proxy_connect_failed(struct upstream *u, const char *why)
{
    err_set(&u->x->err, ERR_PROXY_CONNECT, "connecting to %.*s: %s", STR_FMT(u->backend->authority), why);
    not_connected(u);
}

// The backend waits for more of the request, or for the client to take what has come: the client's clock runs
// (h1_timeout), not the backend's.
static bool waits_for_client(const struct upstream *u)
{
    return (!u->request_done && buffer_used(&u->out) == 0) || (u->head_done && buffer_used(&u->in) > 0);
}

void proxy_timeout(struct upstream *u)
{
    struct exchange *x = u->x;
    if (u->state == UPSTREAM_CONNECTING) {
        err_set(&x->err, ERR_PROXY_CONNECT_TIMEOUT, "connecting to %.*s", STR_FMT(u->backend->authority));
        not_connected(u);
    } else if (!x->tunnel && waits_for_client(u)) {
        proxy_clock(u);
    } else {
        err_set(&x->err, ERR_PROXY_TIMEOUT, "waiting for %.*s", STR_FMT(u->backend->authority));
        fail(x);
    }
}
