// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/proxy.h"

#include "base/log.h"
#include "gateway/answer.h"

static void client_gone(struct exchange *x)
{
    if (x->upstream) upstream_close(x->upstream);
}

// The backend's fault: a page as long as nothing was sent, else the client must notice that the answer is
// incomplete.
static void fail(struct exchange *x)
{
    metric_add(&x->worker->metrics.proxy_errors_total, 1);
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

static void begin(struct exchange *x, bool fresh)
{
    struct upstream *u = upstream_get(x, fresh);
    if (!u) {
        fail(x);
        return;
    }
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

void proxy_run(struct upstream *u)
{
    struct exchange *x = u->x;
    proxy_request_pump(u);
    if (x->body_failed) {
        fail(x);
        return;
    }
    upstream_flush(u);
    switch (proxy_response_pump(u)) {
    case PROXY_WAIT: x->engine->flush(x); return;
    case PROXY_ENDED: end(u); return;
    case PROXY_FAILED: break;
    }
    if (!retry(u)) fail(x);
}

void proxy_connect_failed(struct upstream *u, const char *why)
{
    err_set(&u->x->err, ERR_PROXY_CONNECT, "connecting to %.*s: %s", STR_FMT(u->backend->authority), why);
    fail(u->x);
}

void proxy_timeout(struct upstream *u)
{
    struct exchange *x = u->x;
    if (u->state == UPSTREAM_CONNECTING)
        err_set(&x->err, ERR_PROXY_CONNECT_TIMEOUT, "connecting to %.*s", STR_FMT(u->backend->authority));
    else
        err_set(&x->err, ERR_PROXY_TIMEOUT, "waiting for %.*s", STR_FMT(u->backend->authority));
    fail(x);
}
