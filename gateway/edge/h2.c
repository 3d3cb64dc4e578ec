// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/edge/h2.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

enum {
    KEPT_BODIES = 8,
    READ_BURST = 256 * 1024,         // of one connection, then the others have their turn
    NEWS_BURST = 64,                 // the same, for what is told to exchanges
    OUT_MARK = 64 * 1024,            // bytes in conn->out that make us stop listening
    LINGER_BYTES = 32 * 1024 * 1024, // thrown away at the end of a connection, at most
    LINGER_MS = 2000,
};

// --- lists

void h2_list_init(struct h2_link *head)
{
    head->prev = head->next = head;
}

bool h2_list_empty(const struct h2_link *head)
{
    return head->next == head;
}

void h2_list_append(struct h2_link *head, struct h2_link *l)
{
    if (l->next) return;
    l->prev = head->prev;
    l->next = head;
    head->prev->next = l;
    head->prev = l;
}

void h2_list_remove(struct h2_link *l)
{
    if (!l->next) return;
    l->prev->next = l->next;
    l->next->prev = l->prev;
    l->prev = l->next = NULL;
}

// --- what a worker's connections share

struct h2_worker *h2_worker_new(size_t connections)
{
    struct h2_worker *w = calloc(1, sizeof *w);
    if (!w) return NULL;
    w->callbacks = h2_session_callbacks();
    w->option = h2_session_option();
    buffer_pool_init(&w->bodies, LIMIT_H2_STREAM_WINDOW, KEPT_BODIES);
    h2_list_init(&w->dirty);
    h2_memory_init(&w->memory, connections);
    if (w->callbacks && w->option) return w;
    h2_worker_free(w);
    return NULL;
}

void h2_worker_free(struct h2_worker *w)
{
    if (!w) return;
    while (w->free_streams) {
        struct h2_stream *st = w->free_streams;
        w->free_streams = st->next_free;
        free(st);
    }
    buffer_pool_done(&w->bodies);
    nghttp2_session_callbacks_del(w->callbacks);
    nghttp2_option_del(w->option);
    h2_memory_done(&w->memory);
    free(w);
}

void h2_touch(struct h2 *h)
{
    h2_list_append(&h->conn->worker->h2->dirty, &h->dirty);
}

// --- the end of a connection

// One line per connection, however it goes on after that.
static void log_connection(const struct h2 *h)
{
    struct log_line l;
    log_begin(&l, LOG_INFO, "http2.connection");
    log_c(&l, "client", h->conn->peer);
    log_err(&l, &h->why);
    log_end(&l);
}

// The last words are on their way. Whoever does not take them is not waited for.
static void end_soon(struct h2 *h)
{
    h->head_deadline = 0;
    if (h->end_by == 0) h->end_by = h2_now(h) + LINGER_MS;
}

void h2_refuse(struct h2 *h, enum err_code code, const char *fmt, ...)
{
    if (h->why.code != ERR_NONE) return;
    va_list ap;
    va_start(ap, fmt);
    h->why.code = code;
    vsnprintf(h->why.detail, sizeof h->why.detail, fmt, ap);
    va_end(ap);
    end_soon(h);
    metric_add(&h->conn->worker->metrics.http2_connections_refused_total, 1);
    log_connection(h);
    h2_touch(h);
}

static void terminate(struct h2 *h)
{
    if (h->why.code == ERR_NONE || h->terminated) return;
    h->terminated = true;
    nghttp2_session_terminate_session(h->session, NGHTTP2_ENHANCE_YOUR_CALM);
}

// RFC 9113 section 6.8: first that no more requests should come, then, when those on their way have arrived,
// which one was the last.
static void start_draining(struct h2 *h)
{
    if (h->draining) return;
    h->draining = true;
    h->drain_at = h2_now(h) + CONN_DRAIN_MS;
    nghttp2_submit_shutdown_notice(h->session);
    nghttp2_submit_ping(h->session, NGHTTP2_FLAG_NONE, NULL);
    h2_touch(h);
}

static void last_goaway(struct h2 *h)
{
    if (h->goaway) return;
    h->goaway = true;
    nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h->session),
                          NGHTTP2_NO_ERROR, NULL, 0);
    h2_touch(h);
}

// --- sending

void h2_pump(struct h2 *h)
{
    struct buffer *out = &h->conn->out;
    for (;;) {
        const uint8_t *p;
        if (!buffer_take(out)) {
            h->conn->broken = true;
            return;
        }
        if (buffer_room(out) < H2_FRAME_ROOM) buffer_compact(out);
        if (buffer_room(out) < H2_FRAME_ROOM) {
            h->crowded = true;
            return;
        }
        ssize_t n = nghttp2_session_mem_send(h->session, &p);
        if (n < 0) h->conn->broken = true;
        if (n <= 0) return;
        buffer_append(out, (struct str){ (const char *)p, (size_t)n });
    }
}

void h2_send(struct h2 *h)
{
    struct buffer *out = &h->conn->out;
    size_t before = buffer_used(out);
    conn_flush(h->conn);
    if (buffer_used(out) < before) h->sent_at = h2_now(h);
}

static void flush(struct h2 *h)
{
    struct conn *c = h->conn;
    h2_send(h);
    if (buffer_used(&c->out) == 0) buffer_release(&c->out);
}

static bool full(struct h2 *h, size_t mark)
{
    bool full = buffer_used(&h->conn->out) >= mark;
    h->crowded = h->crowded || full;
    return full;
}

static bool window_open(struct h2 *h, const struct h2_stream *st)
{
    return nghttp2_session_get_stream_remote_window_size(h->session, st->id) > 0;
}

// Those that could not write go on, in turn, as long as the client takes it.
static void serve_waiting(struct h2 *h)
{
    struct h2_link *last = h->waiting.prev;
    unsigned turns = h->nexchanges; // not more, whatever becomes of the last one meanwhile
    while (turns-- > 0 && !h2_list_empty(&h->waiting) && !full(h, H2_WRITE_MARK) &&
           nghttp2_session_get_remote_window_size(h->session) > 0) {
        struct h2_link *l = h->waiting.next;
        struct h2_stream *st = container_of(l, struct h2_stream, waiting);
        h2_list_remove(l);
        if (!window_open(h, st))
            h2_list_append(&h->waiting, l);
        else if (st->x && st->x->on_writable)
            st->x->on_writable(st->x);
        if (l == last) break;
    }
}

// --- news

static void tell(struct h2 *h, struct h2_stream *st)
{
    struct exchange *x = st->x;
    if (!x) return;
    if (st->closed) {
        h2_stream_gone(st);
    } else if (st->starting) {
        st->starting = false;
        if (st->body_news) h2_list_append(&h->news, &st->news);
        h2_stream_start(st);
    } else if (st->body_news) {
        st->body_news = false;
        if (x->on_body && !x->body_done) x->on_body(x);
    }
}

// Tells exchanges what has happened to their streams. False: there is more, but the others have their turn.
static bool serve_news(struct h2 *h)
{
    for (int i = 0; !h2_list_empty(&h->news); i++) {
        if (i >= NEWS_BURST && loop_again(&h->conn->worker->loop, &h->conn->io)) return false;
        struct h2_link *l = h->news.next;
        h2_list_remove(l);
        tell(h, container_of(l, struct h2_stream, news));
    }
    return true;
}

// --- receiving

static bool receive_some(struct h2 *h, struct str bytes)
{
    ssize_t n = nghttp2_session_mem_recv(h->session, (const uint8_t *)bytes.p, bytes.n);
    if (n >= 0) return true;
    h2_refuse(h,
              n == NGHTTP2_ERR_FLOODED || n == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS ? ERR_HTTP2_FLOOD
                                                                                  : ERR_HTTP2_PROTOCOL,
              "%s", nghttp2_strerror((int)n));
    h->conn->broken = true; // nghttp2 says nothing more
    return false;
}

static bool listens(struct h2 *h)
{
    const struct conn *c = h->conn;
    return !c->broken && h->why.code == ERR_NONE && (conn_has_more(c) || buffer_used(&c->in) > 0) &&
           !full(h, OUT_MARK);
}

static void receive(struct h2 *h)
{
    struct conn *c = h->conn;
    for (size_t taken = 0; listens(h); h2_pump(h)) {
        conn_fill(c);
        size_t n = buffer_used(&c->in);
        if (n == 0 || !receive_some(h, buffer_str(&c->in))) break;
        buffer_consume(&c->in, n);
        if (!serve_news(h)) break;
        taken += n;
        if (taken >= READ_BURST && loop_again(&c->worker->loop, &c->io)) break;
    }
}

// --- the connection

static bool finished(const struct h2 *h)
{
    bool quiet = !nghttp2_session_want_read(h->session) && !nghttp2_session_want_write(h->session);
    return quiet && (h->nexchanges == 0 || h->why.code != ERR_NONE);
}

static void all_gone(struct h2 *h)
{
    for (struct h2_link *l = h->streams.next, *next; l != &h->streams; l = next) {
        struct h2_stream *st = container_of(l, struct h2_stream, all);
        next = l->next;
        if (!st->x) continue;
        h2_stream_gone(st);
        next = h->streams.next; // whoever goes may take others along
    }
}

// Everything has been said. What still comes is thrown away, so that the client gets our last words instead
// of a reset.
static void say_goodbye(struct h2 *h)
{
    all_gone(h);
    if (!conn_shutdown(h->conn)) return; // no room yet: the next event tries again
    h->linger = true;
    timer_set(&h->conn->worker->loop, &h->conn->timer, LINGER_MS);
}

static void linger(struct h2 *h)
{
    struct conn *c = h->conn;
    for (size_t n = 0; conn_fill(c);) {
        n += buffer_used(&c->in);
        h->lingered += buffer_used(&c->in);
        c->in.start = c->in.end = 0;
        if (n > READ_BURST && loop_again(&c->worker->loop, &c->io)) break;
    }
    buffer_release(&c->in);
    if (c->eof || h->lingered > LINGER_BYTES) c->broken = true;
}

static void earlier(int64_t *at, int64_t other)
{
    if (other && (*at == 0 || other < *at)) *at = other;
}

static void set_clock(struct h2 *h)
{
    int64_t at = h->head_deadline;
    earlier(&at, h->end_by);
    if (h->nexchanges == 0 && !h->end_by) earlier(&at, h->idle_deadline);
    if (h->draining && !h->goaway) earlier(&at, h->drain_at);
    struct conn *c = h->conn;
    if (at == h->clock && (c->timer.next || at == 0)) return;
    h->clock = at;
    if (at)
        timer_set(&c->worker->loop, &c->timer, at - h2_now(h));
    else
        timer_clear(&c->worker->loop, &c->timer);
}

// After everything else: whether the connection goes on, and what it waits for.
static void settle(struct h2 *h)
{
    struct conn *c = h->conn;
    if (!c->broken && !h->linger && buffer_used(&c->out) == 0 && finished(h)) say_goodbye(h);
    if (c->broken || c->eof) {
        conn_close(c);
        return;
    }
    if (buffer_used(&c->in) == 0) buffer_release(&c->in);
    if (!h->linger) set_clock(h);
}

// NO_ERROR asks clients to stop sending without taking the answer for a failure (RFC 9113 section 8.1). It
// travels behind the answer, in a TLS record of its own: curl up to 7.88 takes both in one for a failure.
static void reset_answered(struct h2 *h)
{
    h->answered_early = false;
    for (struct h2_link *l = h->streams.next; l != &h->streams; l = l->next) {
        struct h2_stream *st = container_of(l, struct h2_stream, all);
        if (st->answered_early && !st->closed && !st->end_received)
            nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_NO_ERROR);
        st->answered_early = false;
    }
}

static void send_all(struct h2 *h)
{
    terminate(h);
    if (h->draining && h2_now(h) >= h->drain_at) last_goaway(h);
    h2_pump(h);
    flush(h);
    if (!h->answered_early) return;
    reset_answered(h);
    h2_pump(h);
    flush(h);
}

static void work(struct h2 *h)
{
    receive(h);
    serve_waiting(h);
    h2_touch(h);
}

static void h2_run(struct conn *c)
{
    struct h2 *h = c->h2;
    c->in_run = true;
    if (h->linger) {
        linger(h);
    } else {
        if (buffer_used(&c->out) > 0) flush(h);
        work(h);
    }
    c->in_run = false;
    if (h->linger || c->broken) settle(h);
}

// Whoever stopped for want of room goes on when there is some again. No event will tell: the socket has taken
// everything at once.
static void go_on(struct h2 *h)
{
    struct conn *c = h->conn;
    if (!h->crowded || c->broken || h->linger || buffer_used(&c->out) >= H2_WRITE_MARK) return;
    h->crowded = false;
    if (!loop_again(&c->worker->loop, &c->io)) work(h);
}

static void end_of_round(struct h2 *h)
{
    struct conn *c = h->conn;
    c->in_run = true;
    if (!h->linger) serve_news(h);
    h2_list_remove(&h->dirty); // what is said from here on needs another turn
    if (!h->linger) {
        send_all(h);
        go_on(h);
    }
    c->in_run = false;
    settle(h);
}

void h2_worker_flush(struct h2_worker *w)
{
    while (!h2_list_empty(&w->dirty)) end_of_round(container_of(w->dirty.next, struct h2, dirty));
}

// --- the protocol

static bool submit_settings(struct h2 *h)
{
    const nghttp2_settings_entry settings[] = {
        { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, h->max_streams },
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, LIMIT_H2_STREAM_WINDOW },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, LIMIT_HEAD_BYTES },
        { NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1 },
    };
    return nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings,
                                   sizeof settings / sizeof *settings) == 0 &&
           nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, LIMIT_H2_CONN_WINDOW) == 0;
}

static bool h2_start(struct conn *c)
{
    struct h2_worker *shared = c->worker->h2;
    const struct config *config = c->worker->shared->config;
    struct h2 *h = calloc(1, sizeof *h);
    if (!h) return false;
    h->conn = c;
    h->max_streams = config->max_streams > 0 ? (unsigned)config->max_streams : H2_STREAMS_DEFAULT;
    h2_list_init(&h->streams);
    h2_list_init(&h->news);
    h2_list_init(&h->waiting);
    if (nghttp2_session_server_new3(&h->session, shared->callbacks, h, shared->option, &shared->memory.mem) !=
            0 ||
        !submit_settings(h)) {
        nghttp2_session_del(h->session);
        free(h);
        return false;
    }
    c->h2 = h;
    h->guard.frames.at = h->guard.resets.at = h->sent_at = h2_now(h);
    h->idle_deadline = h2_now(h) + config->timeout_request_head * 1000; // the first request
    if (c->worker->draining) start_draining(h);
    set_clock(h);
    h2_touch(h);
    return true;
}

static void h2_timeout(struct conn *c)
{
    struct h2 *h = c->h2;
    int64_t now = h2_now(h);
    if (h->linger || (h->end_by && now >= h->end_by)) {
        conn_close(c);
        return;
    }
    if (h->head_deadline && now >= h->head_deadline)
        h2_refuse(h, ERR_HTTP_TIMEOUT, "a request head did not arrive in time");
    if (h->nexchanges == 0 && now >= h->idle_deadline) {
        last_goaway(h);
        end_soon(h);
    }
    h2_touch(h); // the last GOAWAY of a drain, too
}

static void h2_drain(struct conn *c)
{
    start_draining(c->h2);
}

static void h2_gone(struct conn *c)
{
    struct h2 *h = c->h2;
    all_gone(h);
    while (!h2_list_empty(&h->streams))
        h2_stream_forget(container_of(h->streams.next, struct h2_stream, all));
    h2_list_remove(&h->dirty);
    nghttp2_session_del(h->session);
    free(h);
    c->h2 = NULL;
}

const struct conn_protocol h2_protocol = {
    .start = h2_start,
    .run = h2_run,
    .timeout = h2_timeout,
    .drain = h2_drain,
    .gone = h2_gone,
};
