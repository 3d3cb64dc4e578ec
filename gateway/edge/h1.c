// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/edge/h1.h"

#include <assert.h>
#include <string.h>

#include "base/log.h"
#include "gateway/journey/access_log.h"
#include "gateway/journey/answer.h"

enum {
    WRITE_MARK = 32 * 1024,          // body bytes queued before the producer is held back
    LINGER_BYTES = 32 * 1024 * 1024, // thrown away at the end of a connection, at most
    LINGER_BURST = 512 * 1024,       // of these in one turn
    LINGER_MS = 2000,
    LINGER_TUNNEL_MS = 900, // whoever said goodbye in the tunnel's own way will not be long
    BURST_REQUESTS = 8,     // of one connection, then the others have their turn
    CHUNK_OVERHEAD = 24,
};

static void h1_check(const struct conn *c)
{
    switch (c->h1.state) {
    case H1_HEAD: assert(!c->h1.exchange); break;
    case H1_EXCHANGE: assert(c->h1.exchange && c->h1.exchange->stream == c); break;
    case H1_FLUSH:
    case H1_LINGER: assert(!c->h1.exchange); break;
    }
}

static int64_t idle_ms(const struct conn *c)
{
    return c->worker->shared->config->timeout_idle * 1000;
}

static void h1_run(struct conn *c);

static void set_state(struct conn *c, enum h1_state state)
{
    c->h1.state = state;
    struct loop *l = &c->worker->loop;
    switch (state) {
    case H1_HEAD:
        c->h1.scanned = 0;
        c->h1.head_deadline = 0;
        timer_set(l, &c->timer, idle_ms(c));
        break;
    case H1_EXCHANGE: timer_set(l, &c->timer, idle_ms(c)); break;
    case H1_FLUSH: timer_set(l, &c->timer, idle_ms(c)); break;
    case H1_LINGER: timer_set(l, &c->timer, c->h1.tunnel ? LINGER_TUNNEL_MS : LINGER_MS); break;
    }
    h1_check(c);
}

void h1_touch(struct conn *c)
{
    if (c->h1.state == H1_EXCHANGE || c->h1.state == H1_FLUSH)
        timer_set(&c->worker->loop, &c->timer, idle_ms(c));
}

static bool h1_start(struct conn *c)
{
    c->h1 = (struct h1){ .keep_alive = true };
    set_state(c, H1_HEAD);
    // The first request is due within the head's time, not within the longer idle time.
    int64_t ms = c->worker->shared->config->timeout_request_head * 1000;
    timer_set(&c->worker->loop, &c->timer, c->worker->draining && ms > CONN_DRAIN_MS ? CONN_DRAIN_MS : ms);
    return true;
}

// --- answer

static void choose_framing(struct conn *c, struct exchange *x)
{
    c->h1.send_body = exchange_body_allowed(x);
    c->h1.send_chunked = c->h1.send_body && x->length < 0 && x->req.minor == 1;
    bool until_close = c->h1.send_body && x->length < 0 && !c->h1.send_chunked;
    if (until_close || x->close || !x->req.keep_alive || c->worker->draining || c->eof)
        c->h1.keep_alive = false;
    // An unread body would have to be read to find the next request: the connection ends instead.
    if (!x->body_done) c->h1.keep_alive = false;
}

static bool put(struct conn *c, struct str s)
{
    return buffer_append(&c->out, s);
}

static bool put_fields(struct conn *c, const struct http_fields *f)
{
    for (size_t i = 0; i < f->n; i++) {
        if (f->v[i].removed) continue;
        if (!put(c, f->v[i].name) || !put(c, STR(": ")) || !put(c, f->v[i].value) || !put(c, STR("\r\n")))
            return false;
    }
    return true;
}

static bool put_status_line(struct conn *c, int status)
{
    char digits[STR_INT_BYTES];
    return put(c, STR("HTTP/1.1 ")) && put(c, str_of_int(status, digits)) && put(c, STR(" ")) &&
           put(c, str_c(http_status_text(status))) && put(c, STR("\r\n"));
}

static bool put_framing(struct conn *c, const struct exchange *x)
{
    char digits[STR_INT_BYTES];
    // HEAD and 304 keep the length that a GET would have had (RFC 9110 section 8.6); 204 has none.
    bool length = x->length >= 0 && x->status != 204;
    if (length &&
        (!put(c, STR("Content-Length: ")) || !put(c, str_of_int(x->length, digits)) || !put(c, STR("\r\n"))))
        return false;
    return !c->h1.send_chunked || put(c, STR("Transfer-Encoding: chunked\r\n"));
}

static bool put_persistence(struct conn *c, const struct exchange *x)
{
    if (!c->h1.keep_alive) return put(c, STR("Connection: close\r\n"));
    return x->req.minor != 0 || put(c, STR("Connection: keep-alive\r\n"));
}

// Straight into the buffer and not through the exchange's arena: "short of memory" can be said even when that
// is full.
static bool h1_head(struct exchange *x)
{
    struct conn *c = x->stream;
    size_t before = buffer_used(&c->out);
    choose_framing(c, x);
    x->head_sent = put_status_line(c, x->status) && put_fields(c, &x->answer) && put_framing(c, x) &&
                   put_persistence(c, x) && put(c, STR("\r\n"));
    if (!x->head_sent) c->out.end = c->out.start + before;
    return x->head_sent;
}

static size_t queue_chunk(struct conn *c, struct str data)
{
    char line[CHUNK_OVERHEAD];
    size_t n = chunked_head(line, data.n);
    bool ok = buffer_append(&c->out, (struct str){ line, n }) && buffer_append(&c->out, data) &&
              buffer_append(&c->out, STR("\r\n"));
    assert(ok); // room was made before
    return data.n;
}

static size_t h1_write(struct exchange *x, struct str data)
{
    struct conn *c = x->stream;
    size_t taken = 0;
    while (taken < data.n && !c->broken) {
        if (buffer_used(&c->out) >= WRITE_MARK && !conn_flush(c) && buffer_used(&c->out) >= WRITE_MARK) break;
        if (!buffer_take(&c->out)) break;
        buffer_compact(&c->out);
        size_t room = buffer_room(&c->out) - CHUNK_OVERHEAD;
        struct str piece = str_skip(data, taken);
        if (piece.n > room) piece.n = room;
        if (piece.n == 0) break;
        if (!c->h1.send_body) {
            taken += piece.n;
            continue;
        }
        if (c->h1.send_chunked)
            queue_chunk(c, piece);
        else
            buffer_append(&c->out, piece);
        taken += piece.n;
        x->bytes_sent += piece.n;
    }
    if (taken) h1_touch(c);
    return taken;
}

// One answer at a time: what waits is one buffer, however much it is.
static size_t h1_room(struct exchange *x)
{
    (void)x;
    return SIZE_MAX;
}

// Who has said goodbye and FIN may still wait for an answer, but not for one without an end: a page was
// closed, and its stream may be silent for an hour. Nor for a call that can still be withdrawn.
static void note_leaving(struct conn *c)
{
    if (c->eof && c->hung_up && c->h1.exchange->endless) c->broken = true;
}

static void h1_flush(struct exchange *x)
{
    struct conn *c = x->stream;
    note_leaving(c);
    if (conn_flush(c) && !c->in_run && c->h1.tunnel) buffer_release(&c->out);
    // The producer is on the stack: a broken connection is closed by its timer, not under its feet.
    if (c->broken && !c->in_run) timer_set(&c->worker->loop, &c->timer, 0);
}

static void detach(struct conn *c)
{
    struct exchange *x = c->h1.exchange;
    c->h1.exchange = NULL;
    c->h1.served = true;
    access_log(x);
    exchange_release(x);
}

static void h1_end(struct exchange *x)
{
    struct conn *c = x->stream;
    // The last chunk always fits: h1_write leaves CHUNK_OVERHEAD bytes free.
    if (c->h1.send_chunked) buffer_append(&c->out, STR("0\r\n\r\n"));
    if (x->close || !x->body_done) c->h1.keep_alive = false;
    detach(c);
    set_state(c, H1_FLUSH);
    // The rest happens in h1_run, which is either on the stack below us or called now by the loop.
    conn_flush(c);
    if (!c->in_run) h1_run(c);
}

static void h1_abort(struct exchange *x)
{
    struct conn *c = x->stream;
    detach(c);
    set_state(c, H1_FLUSH);
    conn_flush(c); // what has come is the client's; without close_notify it sees that more was to come
    c->broken = true;
    if (!c->in_run) h1_run(c);
}

// The request's head is in the buffer that now belongs to the tunnel: what is still asked for is kept, so
// that an idle tunnel holds no buffer.
static void forget_head(struct conn *c, struct exchange *x)
{
    x->req.method = STR("GET"); // there is no other upgrade
    x->target.path =
        arena_str(x->arena, x->target.path); // a path that was canonical already is the head's own
    x->host = arena_str(x->arena, x->host);
    x->req.target = x->req.host = x->req.path_query = x->target.query = STR_NONE;
    x->req.fields.n = 0;
    c->h1.head_bytes = 0;
}

static bool h1_upgrade(struct exchange *x)
{
    struct conn *c = x->stream;
    size_t before = buffer_used(&c->out);
    x->head_sent = put_status_line(c, x->status) && put_fields(c, &x->answer) &&
                   put(c, STR("Connection: upgrade\r\nUpgrade: ")) && put(c, x->upgrade) &&
                   put(c, STR("\r\n\r\n"));
    if (!x->head_sent) c->out.end = c->out.start + before;
    if (!x->head_sent) return false;
    c->h1.keep_alive = c->h1.send_chunked = false;
    c->h1.send_body = c->h1.tunnel = true;
    forget_head(c, x);
    return true;
}

static bool h1_sent(struct exchange *x)
{
    struct conn *c = x->stream;
    return conn_flush(c) && !c->broken;
}

static const struct engine h1_engine = {
    .protocol = "HTTP/1.1",
    .body_peek = h1_body_peek,
    .body_consume = h1_body_consume,
    .head = h1_head,
    .write = h1_write,
    .room = h1_room,
    .flush = h1_flush,
    .end = h1_end,
    .abort = h1_abort,
    .upgrade = h1_upgrade,
    .sent = h1_sent,
};

// --- requests

static struct exchange *begin_exchange(struct conn *c)
{
    struct exchange *x = exchange_new(c->worker, &h1_engine, c);
    if (!x) return NULL;
    conn_introduce(c, x);
    c->h1.exchange = x;
    c->h1.send_body = true;
    c->h1.send_chunked = false;
    c->h1.continue_sent = false;
    return x;
}

// A head that could not be parsed: nothing of it is believed, the answer closes the connection.
static void refuse(struct conn *c, struct exchange *x, const struct err *err)
{
    metric_add(&c->worker->metrics.requests_refused_total, 1);
    x->req.method = STR("GET");
    x->req.minor = 1;
    x->req.content_length = -1;
    x->req.chunked = x->req.expect_continue = false;
    x->req.fields.n = 0;
    x->body_done = false;
    x->navigation = true; // most likely a person with a broken browser is looking at this
    x->err = *err;
    x->close = true;
    set_state(c, H1_EXCHANGE);
    answer_error(x, STR_NONE);
}

static void start_exchange(struct conn *c, struct exchange *x)
{
    metric_add(&c->worker->metrics.requests_total, 1);
    c->h1.head_bytes = c->in.start + x->req.bytes; // bodies rewind to here
    c->in.start = c->h1.head_bytes;
    c->h1.body_left = x->req.content_length;
    x->body_done = !x->req.chunked && x->req.content_length <= 0;
    chunked_init(&c->h1.chunked);
    c->h1.keep_alive = true;
    set_state(c, H1_EXCHANGE);
    exchange_run(x);
}

// Every second attempt of a board whose login was refused is nothing but the close frame of its old
// connection, masked and empty, where a request should be. That is no attack and gets no answer.
static bool is_stray_close(const struct conn *c, struct str bytes)
{
    return !c->h1.served && bytes.n <= 6 && bytes.n >= 2 && (uint8_t)bytes.p[0] == 0x88 &&
           (uint8_t)bytes.p[1] == 0x80;
}

// Tries to parse a head from what is there. False: nothing more can happen now.
static bool read_head(struct conn *c)
{
    if (c->in.start) buffer_compact(&c->in);
    conn_fill(c);
    struct str bytes = buffer_str(&c->in);
    if (bytes.n == 0) return false;
    if (is_stray_close(c, bytes)) {
        metric_add(&c->worker->metrics.pico_stray_closes_total, 1);
        c->broken = true;
        return true;
    }
    struct exchange *x = begin_exchange(c);
    if (!x) {
        c->broken = true;
        return true;
    }
    struct err err = { 0 };
    switch (http_request_parse(bytes.p, bytes.n, &c->h1.scanned, &x->req, &err)) {
    case HTTP_DONE: start_exchange(c, x); return true;
    case HTTP_BAD: refuse(c, x, &err); return true;
    case HTTP_MORE: break;
    }
    c->h1.exchange = NULL;
    exchange_release(x);
    if (c->h1.head_deadline == 0) {
        c->h1.head_deadline = c->worker->loop.now_ms + c->worker->shared->config->timeout_request_head * 1000;
        timer_set(&c->worker->loop, &c->timer, c->worker->shared->config->timeout_request_head * 1000);
    }
    return false;
}

// The client's clock runs while it takes nothing, however long the whole answer takes.
static bool flush(struct conn *c)
{
    size_t before = buffer_used(&c->out);
    bool all = conn_flush(c);
    if (buffer_used(&c->out) < before) h1_touch(c);
    return all;
}

// After an answer: the next request, or the end of the connection. False: nothing more can happen now.
static bool finish_flush(struct conn *c)
{
    if (!flush(c)) return c->broken;
    if (c->h1.keep_alive && !c->worker->draining) {
        buffer_release(&c->out);
        if (buffer_used(&c->in) == 0) buffer_release(&c->in);
        set_state(c, H1_HEAD);
        return true;
    }
    if (!conn_shutdown(c)) return false;
    set_state(c, H1_LINGER);
    return true;
}

// Reads and forgets, so that the client gets our answer instead of a reset (RFC 9112 section 9.6).
static bool linger(struct conn *c)
{
    size_t before = c->h1.lingered;
    do {
        c->h1.lingered += buffer_used(&c->in);
        c->in.start = c->in.end = 0;
        if (c->h1.lingered - before > LINGER_BURST && loop_again(&c->worker->loop, &c->io)) break;
    } while (conn_fill(c));
    if (c->eof || c->h1.lingered > LINGER_BYTES) c->broken = true;
    return c->broken;
}

static bool run_exchange(struct conn *c)
{
    struct exchange *x = c->h1.exchange;
    flush(c);
    if (c->h1.state == H1_EXCHANGE && x->on_writable && buffer_used(&c->out) < WRITE_MARK) x->on_writable(x);
    if (c->h1.state == H1_EXCHANGE && c->h1.exchange == x && x->on_body && !x->body_done) x->on_body(x);
    // A FIN without close_notify is no half-closed connection: the client has gone, and the backend need not
    // work on.
    if (c->h1.state == H1_EXCHANGE && c->hung_up && c->h1.exchange->body_done) conn_fill(c);
    if (c->h1.state == H1_EXCHANGE) note_leaving(c);
    return c->h1.state != H1_EXCHANGE;
}

// One step in the current state. False: wait for the next event.
static bool step(struct conn *c)
{
    switch (c->h1.state) {
    case H1_HEAD: return read_head(c);
    case H1_EXCHANGE: return run_exchange(c);
    case H1_FLUSH: return finish_flush(c);
    case H1_LINGER: return linger(c);
    }
    return false;
}

// Tunnels are many and idle: they hold no buffers meanwhile.
static void release_idle(struct conn *c)
{
    if (!c->h1.tunnel || c->h1.state != H1_EXCHANGE) return;
    if (buffer_used(&c->in) == 0) buffer_release(&c->in);
    if (buffer_used(&c->out) == 0) buffer_release(&c->out);
}

static void h1_run(struct conn *c)
{
    int served = 0;
    bool more = true;
    c->in_run = true;
    while (!c->broken && more) {
        more = step(c);
        h1_check(c);
        // A client that sends requests faster than they are answered would keep the thread to itself.
        if (c->h1.state == H1_HEAD && more && ++served >= BURST_REQUESTS &&
            loop_again(&c->worker->loop, &c->io))
            break;
    }
    c->in_run = false;
    bool head_cannot_come = c->h1.state == H1_HEAD && c->eof && !more;
    if (c->broken || head_cannot_come)
        conn_close(c);
    else if (c->h1.state == H1_HEAD && buffer_used(&c->in) == 0)
        buffer_release(&c->in);
    else
        release_idle(c);
}

static bool waits_for_body(const struct conn *c)
{
    const struct exchange *x = c->h1.exchange;
    bool nothing = c->in.start == c->in.end && !c->readable; // readable: the backend does not take it
    return x && x->on_body && !x->body_done && !x->tunnel && nothing;
}

// An exchange's clock has run out. Only when it is the client that is waited for, it ends.
static void exchange_timeout(struct conn *c)
{
    struct exchange *x = c->h1.exchange;
    struct err err = { 0 };
    if (buffer_used(&c->out) > 0) {
        err_set(&x->err, ERR_HTTP_TIMEOUT, "the client did not take the answer");
        conn_close(c);
    } else if (waits_for_body(c)) {
        err_set(&err, ERR_HTTP_TIMEOUT, "the request body did not arrive in time");
        h1_body_failed(x, &err);
        h1_touch(c);
        h1_run(c);
    } else {
        h1_touch(c); // the backend has limits of its own
    }
}

static void h1_timeout(struct conn *c)
{
    if (c->h1.state == H1_EXCHANGE && !c->broken) {
        exchange_timeout(c);
        return;
    }
    if (c->h1.state == H1_HEAD && c->h1.head_deadline && buffer_used(&c->in) > 0) {
        struct exchange *x = begin_exchange(c);
        struct err err = { 0 };
        err_set(&err, ERR_HTTP_TIMEOUT, "the request head did not arrive in time");
        c->in_run = true;
        if (x) refuse(c, x, &err);
        c->in_run = false;
        if (x) {
            h1_run(c);
            return;
        }
    }
    conn_close(c);
}

// A request that is on its way meets a closed connection if that is closed at once; the browser tries again
// on a kept connection, not on a fresh one (RFC 9112 section 9.3.1).
static void h1_drain(struct conn *c)
{
    if (c->h1.state != H1_HEAD) return;
    c->readable = true;
    conn_fill(c);
    if (c->broken || ((c->h1.served || c->eof) && buffer_used(&c->in) == 0))
        conn_close(c);
    else if (buffer_used(&c->in) > 0)
        h1_run(c);
    else
        timer_set(&c->worker->loop, &c->timer, CONN_DRAIN_MS);
}

static void h1_gone(struct conn *c)
{
    struct exchange *x = c->h1.exchange;
    if (!x) return;
    bool as_usual = x->tunnel && c->broken; // that is how tunnels end
    if (x->err.code == ERR_NONE && c->broken && !as_usual)
        err_set(&x->err, ERR_CLIENT_GONE, "the client went away before the answer was complete");
    else if (x->err.code == ERR_NONE && !as_usual)
        err_set(&x->err, ERR_DRAINING, "the gateway stopped before the answer was complete");
    c->h1.exchange = NULL;
    access_log(x);
    exchange_release(x);
}

const struct conn_protocol h1_protocol = {
    .start = h1_start,
    .run = h1_run,
    .timeout = h1_timeout,
    .drain = h1_drain,
    .gone = h1_gone,
};
