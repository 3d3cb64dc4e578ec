// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/h1.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "gateway/access_log.h"
#include "gateway/answer.h"

enum {
    WRITE_MARK = 32 * 1024,     // body bytes queued before the producer is held back
    LINGER_BYTES = 1024 * 1024, // thrown away at the end of a connection, at most
    LINGER_MS = 2000,
    CHUNK_OVERHEAD = 24,
};

static void h1_check(const struct conn *c)
{
    switch (c->state) {
    case H1_HEAD: assert(!c->exchange); break;
    case H1_EXCHANGE: assert(c->exchange && c->exchange->stream == c); break;
    case H1_FLUSH:
    case H1_LINGER: assert(!c->exchange); break;
    }
}

static int64_t idle_ms(const struct conn *c)
{
    return c->worker->shared->config->timeout_idle * 1000;
}

static void set_state(struct conn *c, enum h1_state state)
{
    c->state = state;
    struct loop *l = &c->worker->loop;
    switch (state) {
    case H1_HEAD:
        c->scanned = 0;
        c->head_deadline = 0;
        timer_set(l, &c->timer, idle_ms(c));
        break;
    case H1_EXCHANGE: timer_set(l, &c->timer, idle_ms(c)); break;
    case H1_FLUSH: timer_set(l, &c->timer, idle_ms(c)); break;
    case H1_LINGER: timer_set(l, &c->timer, LINGER_MS); break;
    }
    h1_check(c);
}

// Progress was made: the clock starts again. Not while a head is awaited: that has a deadline as a whole.
static void touch(struct conn *c)
{
    if (c->state == H1_EXCHANGE || c->state == H1_FLUSH) timer_set(&c->worker->loop, &c->timer, idle_ms(c));
}

void h1_idle_since_accept(struct conn *c)
{
    c->keep_alive = true;
    set_state(c, H1_HEAD);
    // The first request is due within the head's time, not within the longer idle time.
    timer_set(&c->worker->loop, &c->timer, c->worker->shared->config->timeout_request_head * 1000);
}

// --- request body

static struct str body_window(struct conn *c)
{
    return (struct str){ c->in.p + c->in.start, c->in.end - c->in.start };
}

// The body uses the buffer behind the head, which stays where it is because the request points into it.
static void rewind_window(struct conn *c)
{
    if (c->in.start == c->in.end) c->in.start = c->in.end = c->head_bytes;
}

static void send_continue(struct conn *c, struct exchange *x)
{
    if (!x->req.expect_continue || c->continue_sent || x->head_sent) return;
    c->continue_sent = true;
    buffer_append(&c->out, STR("HTTP/1.1 100 Continue\r\n\r\n"));
    conn_flush(c);
}

static void body_failed(struct conn *c, struct exchange *x, const struct err *err)
{
    x->err = *err;
    x->body_failed = true; // whoever consumes the body ends the exchange
    x->close = true;       // framing is lost: nothing after this can be trusted
    c->keep_alive = false;
}

// Looks at the chunked coding at the front of the window until there is data. Empty: none now.
static struct str peek_chunked(struct conn *c, struct exchange *x)
{
    struct str window = body_window(c), data = STR_NONE;
    while (window.n > 0 && !x->body_done) {
        struct chunked before = c->chunked;
        size_t used = 0;
        struct err err;
        enum chunked_step step = chunked_decode(&c->chunked, window.p, window.n, &used, &data, &err);
        if (step == CHUNKED_BAD) {
            body_failed(c, x, &err);
            return STR_NONE;
        }
        if (step == CHUNKED_DATA) {
            // Framing bytes before the data are consumed for good, the data only by body_consume.
            size_t framing = (size_t)(data.p - window.p);
            struct str none;
            c->chunked = before;
            if (framing) chunked_decode(&c->chunked, window.p, framing, &used, &none, &err);
            c->in.start += framing;
            return data;
        }
        c->in.start += used;
        window = str_skip(window, used);
        if (step == CHUNKED_DONE) x->body_done = true;
        if (step == CHUNKED_MORE) break;
    }
    rewind_window(c);
    return STR_NONE;
}

static struct str peek_length(struct conn *c)
{
    struct str window = body_window(c);
    if ((int64_t)window.n > c->body_left) window.n = (size_t)c->body_left;
    return window;
}

static struct str h1_body_peek(struct exchange *x)
{
    struct conn *c = x->stream;
    for (int tries = 0; tries < 2 && !x->body_done && !x->body_failed && !c->broken; tries++) {
        struct str data = x->req.chunked ? peek_chunked(c, x) : peek_length(c);
        if (data.n > 0 || x->body_done || x->body_failed) return data;
        send_continue(c, x);
        rewind_window(c);
        if (!conn_fill(c)) break;
        touch(c);
    }
    return STR_NONE;
}

static void h1_body_consume(struct exchange *x, size_t n)
{
    struct conn *c = x->stream;
    if (x->req.chunked) {
        size_t used;
        struct str data;
        struct err err;
        chunked_decode(&c->chunked, c->in.p + c->in.start, n, &used, &data, &err);
        c->in.start += n;
        rewind_window(c);
        h1_body_peek(x); // takes the end of the body along when it is there
        return;
    }
    c->in.start += n;
    c->body_left -= (int64_t)n;
    if (c->body_left == 0)
        x->body_done = true;
    else
        rewind_window(c);
}

// --- answer

static bool body_allowed(const struct exchange *x)
{
    return !str_eq_c(x->req.method, "HEAD") && x->status != 204 && x->status != 304;
}

static void choose_framing(struct conn *c, struct exchange *x)
{
    c->send_body = body_allowed(x);
    c->send_chunked = c->send_body && x->length < 0 && x->req.minor == 1;
    bool until_close = c->send_body && x->length < 0 && !c->send_chunked;
    if (until_close || x->close || !x->req.keep_alive || c->worker->draining || c->eof) c->keep_alive = false;
    // An unread body would have to be read to find the next request: the connection ends instead.
    if (!x->body_done) c->keep_alive = false;
}

static void put_field(struct sbuf *b, struct str name, struct str value)
{
    sbuf_add(b, name);
    sbuf_add(b, STR(": "));
    sbuf_add(b, value);
    sbuf_add(b, STR("\r\n"));
}

static bool h1_head(struct exchange *x)
{
    struct conn *c = x->stream;
    choose_framing(c, x);
    struct sbuf b;
    sbuf_init(&b, x->arena, LIMIT_RESPONSE_HEAD_BYTES + 16 * 1024);
    sbuf_addf(&b, "HTTP/1.1 %d %s\r\n", x->status, http_status_text(x->status));
    for (size_t i = 0; i < x->answer.n; i++)
        if (!x->answer.v[i].removed) put_field(&b, x->answer.v[i].name, x->answer.v[i].value);
    // HEAD and 304 keep the length that a GET would have had (RFC 9110 section 8.6); 204 has none.
    if (x->length >= 0 && x->status != 204) sbuf_addf(&b, "Content-Length: %lld\r\n", (long long)x->length);
    if (c->send_chunked) sbuf_add_c(&b, "Transfer-Encoding: chunked\r\n");
    if (!c->keep_alive)
        sbuf_add_c(&b, "Connection: close\r\n");
    else if (x->req.minor == 0)
        sbuf_add_c(&b, "Connection: keep-alive\r\n");
    sbuf_add_c(&b, "\r\n");
    struct str head = sbuf_str(&b);
    if (!head.p || !buffer_append(&c->out, head)) return false;
    x->head_sent = true;
    return true;
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
        if (!c->send_body) {
            taken += piece.n;
            continue;
        }
        if (c->send_chunked)
            queue_chunk(c, piece);
        else
            buffer_append(&c->out, piece);
        taken += piece.n;
        x->bytes_sent += piece.n;
    }
    if (taken) touch(c);
    return taken;
}

static void h1_flush(struct exchange *x)
{
    struct conn *c = x->stream;
    conn_flush(c);
    // The producer is on the stack: a broken connection is closed by its timer, not under its feet.
    if (c->broken && !c->in_run) timer_set(&c->worker->loop, &c->timer, 0);
}

static void detach(struct conn *c)
{
    struct exchange *x = c->exchange;
    c->exchange = NULL;
    access_log(x);
    exchange_release(x);
}

static void h1_end(struct exchange *x)
{
    struct conn *c = x->stream;
    // The last chunk always fits: h1_write leaves CHUNK_OVERHEAD bytes free.
    if (c->send_chunked) buffer_append(&c->out, STR("0\r\n\r\n"));
    if (x->close || !x->body_done) c->keep_alive = false;
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
    c->broken = true;
    if (!c->in_run) h1_run(c);
}

static const struct engine h1_engine = {
    .body_peek = h1_body_peek,
    .body_consume = h1_body_consume,
    .head = h1_head,
    .write = h1_write,
    .flush = h1_flush,
    .end = h1_end,
    .abort = h1_abort,
};

// --- requests

static struct exchange *begin_exchange(struct conn *c)
{
    struct exchange *x = exchange_new(c->worker, &h1_engine, c);
    if (!x) return NULL;
    x->client = str_c(c->peer);
    x->secure = c->ssl != NULL;
    c->exchange = x;
    c->send_body = true;
    c->send_chunked = false;
    c->continue_sent = false;
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
    c->head_bytes = c->in.start + x->req.bytes; // bodies rewind to here
    c->in.start = c->head_bytes;
    c->body_left = x->req.content_length;
    x->body_done = !x->req.chunked && x->req.content_length <= 0;
    chunked_init(&c->chunked);
    c->keep_alive = true;
    set_state(c, H1_EXCHANGE);
    exchange_run(x);
}

// Tries to parse a head from what is there. False: nothing more can happen now.
static bool read_head(struct conn *c)
{
    if (c->in.start) buffer_compact(&c->in);
    conn_fill(c);
    struct str bytes = buffer_str(&c->in);
    if (bytes.n == 0) return false;
    struct exchange *x = begin_exchange(c);
    if (!x) {
        c->broken = true;
        return true;
    }
    struct err err = { 0 };
    switch (http_request_parse(bytes.p, bytes.n, &c->scanned, &x->req, &err)) {
    case HTTP_DONE: start_exchange(c, x); return true;
    case HTTP_BAD: refuse(c, x, &err); return true;
    case HTTP_MORE: break;
    }
    c->exchange = NULL;
    exchange_release(x);
    if (c->head_deadline == 0) {
        c->head_deadline = c->worker->loop.now_ms + c->worker->shared->config->timeout_request_head * 1000;
        timer_set(&c->worker->loop, &c->timer, c->worker->shared->config->timeout_request_head * 1000);
    }
    return false;
}

// After an answer: the next request, or the end of the connection. False: nothing more can happen now.
static bool finish_flush(struct conn *c)
{
    if (!conn_flush(c)) return c->broken;
    if (c->keep_alive && !c->worker->draining) {
        buffer_release(&c->out);
        if (buffer_used(&c->in) == 0) buffer_release(&c->in);
        set_state(c, H1_HEAD);
        return true;
    }
    conn_shutdown(c);
    set_state(c, H1_LINGER);
    return true;
}

// Reads and forgets, so that the client gets our answer instead of a reset (RFC 9112 section 9.6).
static bool linger(struct conn *c)
{
    c->lingered += buffer_used(&c->in);
    c->in.start = c->in.end = 0;
    while (conn_fill(c)) {
        c->lingered += buffer_used(&c->in);
        c->in.start = c->in.end = 0;
    }
    if (c->eof || c->lingered > LINGER_BYTES) c->broken = true;
    return c->broken;
}

static bool run_exchange(struct conn *c)
{
    struct exchange *x = c->exchange;
    conn_flush(c);
    if (c->state == H1_EXCHANGE && x->on_writable && buffer_used(&c->out) < WRITE_MARK) x->on_writable(x);
    if (c->state == H1_EXCHANGE && c->exchange == x && x->on_body && !x->body_done) x->on_body(x);
    return c->state != H1_EXCHANGE;
}

// One step in the current state. False: wait for the next event.
static bool step(struct conn *c)
{
    switch (c->state) {
    case H1_HEAD: return read_head(c);
    case H1_EXCHANGE: return run_exchange(c);
    case H1_FLUSH: return finish_flush(c);
    case H1_LINGER: return linger(c);
    }
    return false;
}

static bool head_cannot_come(const struct conn *c)
{
    return c->state == H1_HEAD && c->eof && (buffer_used(&c->in) == 0 || !c->readable);
}

void h1_run(struct conn *c)
{
    c->in_run = true;
    while (!c->broken && step(c)) h1_check(c);
    c->in_run = false;
    if (c->broken || head_cannot_come(c))
        conn_close(c);
    else if (c->state == H1_HEAD && buffer_used(&c->in) == 0)
        buffer_release(&c->in);
}

// Whether an exchange waits for its client: to take what is queued, or to send more of the body.
static bool client_stalls(struct conn *c)
{
    if (buffer_used(&c->out) > 0) return true;
    struct exchange *x = c->exchange;
    return x && x->on_body && !x->body_done && c->in.start == c->in.end;
}

void h1_timeout(struct conn *c)
{
    if (c->state == H1_EXCHANGE && !c->broken && !client_stalls(c)) {
        timer_set(&c->worker->loop, &c->timer, idle_ms(c)); // the backend has limits of its own
        return;
    }
    if (c->state == H1_HEAD && c->head_deadline && buffer_used(&c->in) > 0) {
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

void h1_drain(struct conn *c)
{
    if (!c->handshaken || (c->state == H1_HEAD && buffer_used(&c->in) == 0)) conn_close(c);
}

void h1_gone(struct conn *c)
{
    struct exchange *x = c->exchange;
    if (!x) return;
    c->exchange = NULL;
    access_log(x);
    exchange_release(x);
}
