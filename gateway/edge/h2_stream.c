// SPDX-License-Identifier: GPL-3.0-or-later
// A stream: the exchange's engine.
#include "gateway/edge/h2.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/journey/access_log.h"
#include "gateway/journey/answer.h"

enum { KEPT_STREAMS = 256, DEFLATE_BOUND = 64 * 1024 };

static struct h2 *h2_of(const struct h2_stream *st)
{
    return st->conn->h2;
}

static int64_t idle_ms(const struct conn *c)
{
    return c->worker->shared->config->timeout_idle * 1000;
}

// The client made progress: its clock starts again.
static void touch(struct h2_stream *st)
{
    timer_set(&st->conn->worker->loop, &st->timer, idle_ms(st->conn));
}

// --- life

static void reset(struct h2_stream *st, uint32_t code)
{
    if (!st->closed) nghttp2_submit_rst_stream(h2_of(st)->session, NGHTTP2_FLAG_NONE, st->id, code);
}

static struct h2_stream *take(struct worker *w)
{
    struct h2_stream *st = w->h2->free_streams;
    if (!st) return calloc(1, sizeof *st);
    w->h2->free_streams = st->next_free;
    w->h2->nfree--;
    memset(st, 0, sizeof *st);
    return st;
}

static void give_back(struct worker *w, struct h2_stream *st)
{
    if (w->h2->nfree >= KEPT_STREAMS) {
        free(st);
        return;
    }
    st->next_free = w->h2->free_streams;
    w->h2->free_streams = st;
    w->h2->nfree++;
}

static void unlink_stream(struct h2_stream *st)
{
    timer_clear(&st->worker->loop, &st->timer);
    h2_list_remove(&st->all);
    h2_list_remove(&st->news);
    h2_list_remove(&st->waiting);
}

static void free_stream(struct h2_stream *st)
{
    unlink_stream(st);
    give_back(st->conn->worker, st);
}

struct h2_stream *h2_stream_new(struct h2 *h, int32_t id)
{
    struct conn *c = h->conn;
    struct h2_stream *st = take(c->worker);
    if (!st) return NULL;
    *st = (struct h2_stream){ .worker = c->worker,
                              .conn = c,
                              .id = id,
                              .left = -1,
                              .timer.fire = h2_stream_timeout,
                              .body.pool = &c->worker->h2->bodies };
    st->x = exchange_new(c->worker, &h2_engine, st);
    if (!st->x) {
        give_back(c->worker, st);
        return NULL;
    }
    conn_introduce(c, st->x);
    h->nexchanges++;
    h2_list_append(&h->streams, &st->all);
    return st;
}

static void exchange_gone(struct h2 *h)
{
    if (--h->nexchanges == 0) h->idle_deadline = h2_now(h) + idle_ms(h->conn);
}

// The exchange's last job has come back, long after the exchange was over.
static void orphan_freed(struct exchange *x)
{
    struct h2_stream *st = x->owner;
    st->orphan = false;
    if (!st->conn) {
        give_back(x->worker, st);
        return;
    }
    exchange_gone(h2_of(st));
    h2_touch(h2_of(st)); // for the clock
    if (st->closed) free_stream(st);
}

// One stream that nobody reads does not stop the others: what is buffered is given back to the connection's
// window at once, except what is beyond the limit. Whoever takes or drops some of it opens the window again.
static void give_window(struct h2 *h)
{
    size_t beyond = h->buffered > LIMIT_H2_BUFFERED ? h->buffered - LIMIT_H2_BUFFERED : 0;
    if (h->withheld <= beyond) return;
    nghttp2_session_consume_connection(h->session, h->withheld - beyond);
    h->withheld = beyond;
}

static void drop_body(struct h2_stream *st)
{
    size_t n = buffer_used(&st->body);
    struct h2 *h = h2_of(st);
    if (n) nghttp2_session_consume_stream(h->session, st->id, n);
    h->buffered -= n;
    give_window(h);
    buffer_release(&st->body);
}

// The exchange is over; the stream may have to send its end still.
static void detach(struct h2_stream *st)
{
    struct h2 *h = h2_of(st);
    struct exchange *x = st->x;
    st->x = NULL;
    h2_list_remove(&st->waiting);
    timer_clear(&st->conn->worker->loop, &st->timer);
    drop_body(st);
    h2_touch(h);
    x->owner = st;
    x->on_orphan = orphan_freed;
    st->orphan = true;
    bool freed = exchange_release(x);
    if (!freed) return; // orphan_freed does the rest
    st->orphan = false;
    exchange_gone(h);
    if (st->closed) free_stream(st);
}

void h2_stream_closed(struct h2_stream *st, uint32_t error)
{
    st->closed = true;
    st->error = error;
    if (st->x && !st->started) {
        h2_stream_gone(st); // nobody but us knows of it yet
    } else if (st->x) {
        h2_list_append(&h2_of(st)->news, &st->news);
        h2_touch(h2_of(st));
    } else if (!st->orphan) {
        free_stream(st);
    }
}

static void say_why_it_closed(struct h2_stream *st)
{
    struct exchange *x = st->x;
    const struct err *why = &h2_of(st)->why;
    if (x->err.code != ERR_NONE) return;
    if (why->code != ERR_NONE)
        x->err = *why;
    else if (st->cancelled)
        err_set(&x->err, ERR_CLIENT_GONE, "the client cancelled the request");
    else if (st->closed && x->req.content_length >= 0 && !x->body_done)
        err_set(&x->err, ERR_HTTP_CONTENT_LENGTH, "the body is not as long as Content-Length says");
    else if (st->closed)
        err_set(&x->err, ERR_HTTP2_PROTOCOL, "%s", nghttp2_http2_strerror(st->error));
    else if (st->conn->broken || st->conn->eof)
        err_set(&x->err, ERR_CLIENT_GONE, "the client went away before the answer was complete");
    else
        err_set(&x->err, ERR_DRAINING, "the gateway stopped before the answer was complete");
}

void h2_stream_gone(struct h2_stream *st)
{
    bool silent = !st->started && !st->closed; // half a head when the connection ends is no request
    if (!st->started && st->closed && !st->cancelled)
        metric_add(&st->conn->worker->metrics.requests_refused_total, 1);
    say_why_it_closed(st);
    if (!silent) access_log(st->x);
    detach(st);
}

void h2_stream_forget(struct h2_stream *st)
{
    unlink_stream(st);
    if (st->orphan)
        st->conn = NULL;
    else
        give_back(st->conn->worker, st);
}

static void finish(struct h2_stream *st)
{
    access_log(st->x);
    detach(st);
}

// --- requests

// A head that is wrong: nothing of it is believed.
static void refuse(struct h2_stream *st)
{
    struct exchange *x = st->x;
    bool head = x->req.method.p && str_eq_c(x->req.method, "HEAD");
    metric_add(&x->worker->metrics.requests_refused_total, 1);
    x->req.method = head ? STR("HEAD") : STR("GET"); // whoever asks for a head cannot take a body
    x->req.content_length = -1;
    x->req.chunked = x->req.expect_continue = false;
    x->req.fields.n = 0;
    x->navigation = true;
    answer_error(x, STR_NONE);
}

void h2_stream_start(struct h2_stream *st)
{
    struct exchange *x = st->x;
    st->started = true;
    touch(st);
    if (x->err.code != ERR_NONE) {
        x->body_done = st->end_received;
        refuse(st);
        return;
    }
    metric_add(&x->worker->metrics.requests_total, 1);
    x->body_done = !x->req.chunked && x->req.content_length <= 0;
    exchange_run(x);
}

bool h2_stream_data(struct h2_stream *st, struct str data)
{
    struct h2 *h = h2_of(st);
    if (!buffer_append(&st->body, data)) return false;
    h->buffered += data.n;
    h->withheld += data.n;
    give_window(h);
    if (st->started) touch(st);
    return true;
}

// RFC 9110 section 10.1.1
static void send_continue(struct h2_stream *st)
{
    if (!st->x->req.expect_continue || st->continue_sent || st->x->head_sent || st->closed) return;
    st->continue_sent = true;
    nghttp2_nv nv = { (uint8_t *)":status", (uint8_t *)"100", 7, 3, NGHTTP2_NV_FLAG_NONE };
    nghttp2_submit_headers(h2_of(st)->session, NGHTTP2_FLAG_NONE, st->id, NULL, &nv, 1, NULL);
    h2_touch(h2_of(st));
}

static void note_end(struct h2_stream *st)
{
    if (buffer_used(&st->body) == 0 && st->end_received) st->x->body_done = true;
}

static struct str body_peek(struct exchange *x)
{
    struct h2_stream *st = x->stream;
    struct str data = buffer_str(&st->body);
    if (data.n > 0) return data;
    note_end(st);
    if (!x->body_done) send_continue(st);
    return STR_NONE;
}

static void body_consume(struct exchange *x, size_t n)
{
    struct h2_stream *st = x->stream;
    struct h2 *h = h2_of(st);
    buffer_consume(&st->body, n);
    h->buffered -= n;
    if (!st->closed) nghttp2_session_consume_stream(h->session, st->id, n);
    give_window(h);
    if (buffer_used(&st->body) == 0) buffer_release(&st->body);
    note_end(st);
    touch(st);
    h2_touch(h);
}

// --- answers

// RFC 9113 section 8.2.2; and what the engine says itself.
static bool is_left_out(const struct http_field *f)
{
    switch (f->id) {
    case FIELD_CONNECTION:
    case FIELD_KEEP_ALIVE:
    case FIELD_PROXY_CONNECTION:
    case FIELD_TRANSFER_ENCODING:
    case FIELD_UPGRADE:
    case FIELD_TE:
    case FIELD_CONTENT_LENGTH: return true;
    default: return f->removed;
    }
}

struct nv_list {
    nghttp2_nv v[LIMIT_HEADERS + LIMIT_HEADERS_ADDED + 2];
    size_t n, bound;
    char status[STR_INT_BYTES], length[STR_INT_BYTES];
};

// nghttp2 copies, and makes the name lower-case.
static void add_nv(struct nv_list *l, struct str name, struct str value)
{
    l->v[l->n++] =
        (nghttp2_nv){ (uint8_t *)name.p, (uint8_t *)value.p, name.n, value.n, NGHTTP2_NV_FLAG_NONE };
    l->bound += name.n + value.n + 12;
}

static void compose_head(struct nv_list *l, const struct exchange *x)
{
    l->n = 0;
    l->bound = 12;
    add_nv(l, STR(":status"), str_of_int(x->status, l->status));
    for (size_t i = 0; i < x->answer.n; i++)
        if (!is_left_out(&x->answer.v[i])) add_nv(l, x->answer.v[i].name, x->answer.v[i].value);
    // HEAD and 304 keep the length that a GET would have had (RFC 9110 section 8.6); 204 has none.
    if (x->length >= 0 && x->status != 204)
        add_nv(l, STR("content-length"), str_of_int(x->length, l->length));
}

static bool h2_head(struct exchange *x)
{
    struct h2_stream *st = x->stream;
    struct nv_list list;
    compose_head(&list, x);
    if (list.bound > DEFLATE_BOUND) return false; // nghttp2 would find out only when it sends
    st->send_body = exchange_body_allowed(x);
    st->left = st->send_body ? x->length : 0;
    st->ended = st->left == 0;
    nghttp2_data_provider source = { .source.ptr = st, .read_callback = h2_session_read_answer };
    if (!st->closed &&
        nghttp2_submit_response(h2_of(st)->session, st->id, list.v, list.n, st->ended ? NULL : &source) != 0)
        return false;
    x->head_sent = true;
    h2_touch(h2_of(st));
    return true;
}

// Whether there is room to write more, once the client has taken what it takes.
static bool has_room(struct conn *c)
{
    if (buffer_used(&c->out) < H2_WRITE_MARK) return true;
    h2_send(c->h2);
    if (buffer_used(&c->out) < H2_WRITE_MARK) return true;
    c->h2->crowded = true;
    return false;
}

static size_t h2_write(struct exchange *x, struct str data)
{
    struct h2_stream *st = x->stream;
    struct h2 *h = h2_of(st);
    if (!st->send_body) return data.n;
    st->source = data;
    st->taken = 0;
    while (st->source.n > 0 && !st->closed && !st->conn->broken && !st->conn->closed && has_room(st->conn)) {
        size_t before = st->taken;
        nghttp2_session_resume_data(h->session, st->id);
        h2_pump(h);
        if (st->taken == before) break; // a window is closed
    }
    st->source = STR_NONE;
    x->bytes_sent += st->taken;
    bool blocked = st->taken < data.n;
    if (st->taken || (blocked && !st->blocked)) touch(st);
    st->blocked = blocked;
    if (blocked) h2_list_append(&h->waiting, &st->waiting);
    h2_touch(h);
    return st->taken;
}

static size_t h2_room(struct exchange *x)
{
    struct h2_stream *st = x->stream;
    struct h2 *h = h2_of(st);
    if (st->closed || !has_room(st->conn)) return 0;
    int32_t stream = nghttp2_session_get_stream_remote_window_size(h->session, st->id),
            connection = nghttp2_session_get_remote_window_size(h->session);
    int32_t least = stream < connection ? stream : connection;
    return least > 0 ? (size_t)least : 0;
}

static void h2_flush(struct exchange *x)
{
    h2_touch(h2_of(x->stream));
}

static void h2_end(struct exchange *x)
{
    struct h2_stream *st = x->stream;
    if (st->left > 0) // shorter than its Content-Length said: the client must notice
        reset(st, NGHTTP2_INTERNAL_ERROR);
    else if (!st->ended && !st->closed)
        nghttp2_session_resume_data(h2_of(st)->session, st->id);
    st->ended = true;
    finish(st);
}

static void h2_abort(struct exchange *x)
{
    struct h2_stream *st = x->stream;
    reset(st, NGHTTP2_INTERNAL_ERROR);
    finish(st);
}

const struct engine h2_engine = {
    .protocol = "HTTP/2.0",
    .body_peek = body_peek,
    .body_consume = body_consume,
    .head = h2_head,
    .write = h2_write,
    .room = h2_room,
    .flush = h2_flush,
    .end = h2_end,
    .abort = h2_abort,
};

// --- the client's clock

static bool waits_for_body(const struct h2_stream *st)
{
    const struct exchange *x = st->x;
    return x->on_body && !x->body_done && !x->tunnel && buffer_used(&st->body) == 0;
}

// What was put into the buffer in this round has not been offered to the client yet.
static bool takes_nothing(struct h2 *h)
{
    if (buffer_used(&h->conn->out) == 0) return false;
    h2_send(h);
    h2_touch(h);
    return buffer_used(&h->conn->out) > 0 && h2_now(h) - h->sent_at >= idle_ms(h->conn);
}

// Only when it is the client that is waited for, the exchange ends; the backend has clocks of its own.
void h2_stream_timeout(struct timer *t)
{
    struct h2_stream *st = container_of(t, struct h2_stream, timer);
    struct exchange *x = st->x;
    struct h2 *h = h2_of(st);
    if (st->waiting.next || takes_nothing(h)) {
        err_set(&x->err, ERR_HTTP_TIMEOUT, "the client did not take the answer");
        reset(st, NGHTTP2_CANCEL);
        finish(st);
    } else if (waits_for_body(st)) {
        err_set(&x->err, ERR_HTTP_TIMEOUT, "the request body did not arrive in time");
        x->body_failed = true;
        touch(st);
        x->on_body(x);
    } else {
        touch(st);
    }
}
