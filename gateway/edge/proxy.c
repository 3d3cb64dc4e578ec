// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/edge/proxy.h"

#include "base/log.h"
#include "gateway/journey/answer.h"

static void proxy_run(struct upstream *u);

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

// Where the request goes first, and where next when nothing of it has been sent.
enum target { ANY_BACKEND, SAME_BACKEND };

static void drop_slot(struct exchange *x)
{
    if (x->slot) backend_slot_release(x->worker, x->route->target, &x->route->target->backends[x->backend]);
    x->slot = false;
}

// x->backend cannot be connected to, as x->err says: another one will do, but this one not again.
static void give_up_backend(struct exchange *x)
{
    const struct route_target *t = x->route->target;
    drop_slot(x);
    backend_failed(x->worker, t, &t->backends[x->backend], &x->err, true);
    backend_tried(x);
    if (x->ntried < t->nbackends) {
        metric_add(&x->worker->metrics.proxy_retries_total, 1);
        log_failure(LOG_WARN, "proxy.backend", &x->err);
    }
}

static void waiter_gone(struct exchange *x)
{
    backend_queue_leave(x);
}

// Until a connection is free. Nothing of the body is read meanwhile.
static void wait_in_queue(struct exchange *x)
{
    x->on_body = x->on_writable = NULL;
    x->on_gone = NULL;
    if (backend_queue_enter(x))
        x->on_gone = waiter_gone;
    else
        fail(x);
}

static void send_request(struct exchange *x, struct upstream *u)
{
    x->on_gone = client_gone;
    x->on_body = x->on_writable = run_for_client;
    x->err.code = ERR_NONE; // of an earlier try
    if (!proxy_request_head(x, u)) {
        err_set(&x->err, ERR_HTTP_HEADERS_TOO_LARGE,
                "the request's head does not fit into the backend's buffer");
        fail(x);
        return;
    }
    if (u->state == UPSTREAM_BUSY) proxy_run(u);
}

static void begin(struct exchange *x, enum target where, bool fresh)
{
    for (;; where = ANY_BACKEND) {
        enum backend_choice choice = where == SAME_BACKEND ? BACKEND_CHOSEN : backend_choose(x);
        if (choice == BACKEND_FULL) {
            wait_in_queue(x);
            return;
        }
        if (choice == BACKEND_NONE) {
            fail(x);
            return;
        }
        struct upstream *u = upstream_get(x, fresh);
        if (u) {
            send_request(x, u);
            return;
        }
        give_up_backend(x);
    }
}

void proxy_start(struct exchange *x)
{
    metric_add(&x->worker->metrics.proxied_total, 1);
    begin(x, ANY_BACKEND, false);
}

void proxy_resume(struct exchange *x, bool turn)
{
    x->on_gone = NULL;
    if (turn)
        begin(x, SAME_BACKEND, false);
    else
        fail(x);
}

static bool is_safe(struct str method)
{
    return str_eq_c(method, "GET") || str_eq_c(method, "HEAD") || str_eq_c(method, "OPTIONS");
}

// The connection that takes this one's place counts instead of it.
static void close_keeping_slot(struct upstream *u)
{
    u->x->slot = u->slot;
    u->slot = false;
    upstream_close(u);
}

// A kept connection that the backend closed just now: the request is sent once more on a fresh one, if that
// is safe.
static bool retry(struct upstream *u)
{
    struct exchange *x = u->x;
    if (!u->reused || u->got_bytes || x->head_sent || !is_safe(x->req.method)) return false;
    if (x->req.chunked || x->req.content_length > 0) return false;
    metric_add(&x->worker->metrics.proxy_retries_total, 1);
    log_message(LOG_DEBUG, "proxy.retry", "%.*s closed a kept connection: the request goes out once more",
                STR_FMT(u->backend->authority));
    close_keeping_slot(u);
    begin(x, SAME_BACKEND, true);
    return true;
}

// It closed the connection while the client took its time over the body: else a few slow clients could have
// backends ejected.
static bool waited_in_vain(const struct upstream *u)
{
    return u->eof && !u->request_done && buffer_used(&u->out) == 0;
}

// A backend that gives no answer, or none that can be understood. What breaks off later is left to the
// client: it may be the answer's own fault.
static void fail_backend(struct upstream *u)
{
    struct exchange *x = u->x;
    if (!u->head_done && !waited_in_vain(u)) backend_failed(x->worker, u->target, u->backend, &x->err, false);
    fail(x);
}

static void end(struct upstream *u)
{
    struct exchange *x = u->x;
    x->on_gone = x->on_body = x->on_writable = NULL;
    upstream_release(u);
    x->engine->end(x);
}

// Seconds of silence that the backend may have.
static int64_t patience(const struct upstream *u)
{
    const struct route_target *t = u->x->route->target;
    return u->stream ? t->stream_timeout : t->response_timeout;
}

void proxy_clock(struct upstream *u)
{
    timer_set(&u->worker->loop, &u->timer, patience(u) * 1000);
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

// What the client sent before it was a tunnel waits to be passed on, and no event will tell.
static enum proxy_step run_response(struct upstream *u)
{
    bool tunnel = u->x->tunnel;
    enum proxy_step step = proxy_response_pump(u);
    if (!tunnel && u->x->tunnel) {
        proxy_request_pump(u);
        proxy_flush(u);
    }
    return step;
}

static void proxy_run(struct upstream *u)
{
    struct exchange *x = u->x;
    u->burst = PROXY_BURST;
    proxy_request_pump(u);
    if (x->body_failed) {
        fail(x);
        return;
    }
    proxy_flush(u);
    enum proxy_step step = run_response(u);
    if (u->head_done) backend_answered(u->worker, u->backend, u->since);
    switch (step) {
    case PROXY_WAIT:
        if (client_left_tunnel(u))
            end(u);
        else
            x->engine->flush(x);
        return;
    case PROXY_ENDED: end(u); return;
    case PROXY_FAILED: break;
    }
    if (!retry(u)) fail_backend(u);
}

static void not_connected(struct upstream *u)
{
    struct exchange *x = u->x;
    bool same = u->addresses_left;
    close_keeping_slot(u);
    if (same)
        log_failure(LOG_WARN, "proxy.backend", &x->err);
    else
        give_up_backend(x);
    begin(x, same ? SAME_BACKEND : ANY_BACKEND, false);
}

static void connect_failed(struct upstream *u, const struct err *why)
{
    u->x->err = *why;
    not_connected(u);
}

static void connected(struct upstream *u)
{
    proxy_clock(u);
    proxy_run(u);
}

// The backend waits for more of the request, or for the client to take what has come: the client's clock runs
// (h1_timeout), not the backend's.
static bool waits_for_client(const struct upstream *u)
{
    bool for_body = !u->request_done && buffer_used(&u->out) == 0 && u->writable;
    return for_body || (u->head_done && buffer_used(&u->in) > 0);
}

static void proxy_timeout(struct upstream *u)
{
    struct exchange *x = u->x;
    if (u->state == UPSTREAM_CONNECTING) {
        err_set(&x->err, ERR_PROXY_CONNECT_TIMEOUT, "%s %.*s took longer than %lld s (timeouts.connect)",
                u->ssl ? "the TLS handshake with" : "connecting to", STR_FMT(u->backend->authority),
                (long long)x->route->target->connect_timeout);
        not_connected(u);
    } else if (!x->tunnel && waits_for_client(u)) {
        proxy_clock(u);
    } else {
        err_set(&x->err, ERR_PROXY_TIMEOUT, "nothing from %.*s for %lld s (timeouts.%s)",
                STR_FMT(u->backend->authority), (long long)patience(u), u->stream ? "stream" : "response");
        fail_backend(u);
    }
}

const struct upstream_user proxy_user = {
    .connected = connected, .run = proxy_run, .failed = connect_failed, .timeout = proxy_timeout
};
