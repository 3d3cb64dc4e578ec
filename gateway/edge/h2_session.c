// SPDX-License-Identifier: GPL-3.0-or-later
// What nghttp2 calls. Nothing here runs an exchange: see h2.h.
#include <string.h>

#include "base/log.h"
#include "gateway/edge/h2.h"

static struct h2_stream *stream_of(nghttp2_session *s, int32_t id)
{
    return id ? nghttp2_session_get_stream_user_data(s, id) : NULL;
}

static void news(struct h2 *h, struct h2_stream *st)
{
    h2_list_append(&h->news, &st->news);
}

// --- floods

static void count_frame(struct h2 *h)
{
    if (!h2_guard_frame(&h->guard, h2_now(h)))
        h2_refuse(h, ERR_HTTP2_FLOOD, "too many frames that bring nothing");
}

static void count_reset(struct h2 *h, const char *whose)
{
    if (!h2_guard_reset(&h->guard, h2_now(h)))
        h2_refuse(h, ERR_HTTP2_FLOOD, "too many requests that %s broken off", whose);
}

// Frames of types unknown to us are dropped, but counted first (on_begin_frame).
static int on_unknown(nghttp2_session *s, void **payload, const nghttp2_frame_hd *hd, void *arg)
{
    (void)s;
    (void)payload;
    (void)hd;
    (void)arg;
    return NGHTTP2_ERR_CANCEL;
}

// DATA is looked at when it has come; how often HEADERS and CONTINUATION may come, others decide.
static int on_begin_frame(nghttp2_session *s, const nghttp2_frame_hd *hd, void *arg)
{
    (void)s;
    if (hd->type != NGHTTP2_DATA && hd->type != NGHTTP2_HEADERS && hd->type != NGHTTP2_CONTINUATION)
        count_frame(arg);
    return 0;
}

// --- heads

// Requests that were broken off and still have work going on in other threads count: else a client could
// start any number of them.
static bool too_many(const struct h2 *h)
{
    return h->nexchanges >= h->max_streams;
}

static void log_stream(const struct h2 *h, int32_t id, const char *why)
{
    struct err err = { 0 };
    err_set(&err, ERR_HTTP2_PROTOCOL, "stream %d: %s", id, why);
    struct log_line l;
    log_begin(&l, LOG_INFO, "http2.stream");
    log_c(&l, "client", h->conn->peer);
    log_err(&l, &err);
    log_end(&l);
    metric_add(&h->conn->worker->metrics.requests_refused_total, 1);
}

// nghttp2 does not tell when a header block is complete whose stream has ended meanwhile, or that was given
// up. What is still to come of it is little, and thrown away: it needs no clock of its own.
static void start_head_clock(struct h2 *h, int32_t id)
{
    h->head_deadline = h2_now(h) + h->conn->worker->shared->config->timeout_request_head * 1000;
    h->head_id = id;
}

static void stop_head_clock(struct h2 *h, int32_t id)
{
    if (h->head_id == id) h->head_deadline = 0;
}

static int on_begin_headers(nghttp2_session *s, const nghttp2_frame *frame, void *arg)
{
    struct h2 *h = arg;
    int32_t id = frame->hd.stream_id;
    h->receiving = NULL;
    h->trailer_bytes = 0;
    start_head_clock(h, id);
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    if (too_many(h)) {
        log_stream(h, id, "too many requests are at work for this connection");
        return nghttp2_submit_rst_stream(s, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
    }
    struct h2_stream *st = h2_stream_new(h, id);
    if (!st) {
        stop_head_clock(h, id);
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    nghttp2_session_set_stream_user_data(s, id, st);
    h->receiving = st;
    h2_request_begin(&h->request, st->x->arena, &st->x->req);
    return 0;
}

static int give_up(nghttp2_session *s, struct h2 *h, int32_t id, const char *why)
{
    if (h->receiving)
        h->receiving->x->err = h->request.err;
    else
        log_stream(h, id, why);
    stop_head_clock(h, id);
    nghttp2_submit_rst_stream(s, NGHTTP2_FLAG_NONE, id, NGHTTP2_ENHANCE_YOUR_CALM);
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int take_field(nghttp2_session *s, struct h2 *h, int32_t id, struct str name, struct str value)
{
    if (h->receiving)
        return h2_request_field(&h->request, name, value) ? 0 : give_up(s, h, id, "too many header fields");
    h->trailer_bytes += name.n + value.n + 32; // dropped, but not without end
    return h->trailer_bytes <= LIMIT_TRAILER_BYTES ? 0 : give_up(s, h, id, "trailers that are too large");
}

static int on_header(nghttp2_session *s, const nghttp2_frame *frame, const uint8_t *name, size_t name_n,
                     const uint8_t *value, size_t value_n, uint8_t flags, void *arg)
{
    (void)flags;
    return take_field(s, arg, frame->hd.stream_id, (struct str){ (const char *)name, name_n },
                      (struct str){ (const char *)value, value_n });
}

// nghttp2 would leave such a field out and go on; we say what is wrong with it.
static int on_invalid_header(nghttp2_session *s, const nghttp2_frame *frame, const uint8_t *name,
                             size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *arg)
{
    struct h2 *h = arg;
    int result = on_header(s, frame, name, name_n, value, value_n, flags, arg);
    if (result == 0 && h->receiving && h->request.err.code == ERR_NONE)
        err_set(&h->request.err, ERR_HTTP_HEADER_VALUE, "an illegal header field");
    return result;
}

static void head_received(struct h2 *h, const nghttp2_frame *frame)
{
    struct h2_stream *st = h->receiving;
    struct err err = { 0 };
    h->receiving = NULL;
    st->end_received = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    if (!h2_request_end(&h->request, !st->end_received, &err)) st->x->err = err;
    st->starting = true;
    h2_guard_moved(&h->guard, 4 * LIMIT_H2_FRAME_PER_BYTES); // browsers send a few frames with each request
    news(h, st);
}

// --- frames

static void end_of_stream(struct h2 *h, struct h2_stream *st, const nghttp2_frame *frame)
{
    if (!st || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) return;
    st->end_received = st->body_news = true;
    news(h, st);
}

static bool is_empty(const nghttp2_frame *frame)
{
    return frame->hd.length <= frame->data.padlen && !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM);
}

// Only what throws work away counts: an answer that is complete may be followed by anything.
static void reset_received(struct h2 *h, struct h2_stream *st)
{
    if (!st || !st->x) return;
    st->cancelled = true;
    count_reset(h, "the client has");
}

static int on_frame_recv(nghttp2_session *s, const nghttp2_frame *frame, void *arg)
{
    struct h2 *h = arg;
    struct h2_stream *st = stream_of(s, frame->hd.stream_id);
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        h->head_deadline = 0;
        if (h->receiving)
            head_received(h, frame);
        else
            end_of_stream(h, st, frame);
        break;
    case NGHTTP2_DATA:
        if (is_empty(frame)) count_frame(h);
        end_of_stream(h, st, frame);
        break;
    case NGHTTP2_RST_STREAM: reset_received(h, st); break;
    case NGHTTP2_PING:
        // What the client sent before it saw the notice has arrived: the last GOAWAY can name the last
        // request.
        if (h->draining && (frame->hd.flags & NGHTTP2_FLAG_ACK)) h->drain_at = h2_now(h);
        break;
    default: break;
    }
    return 0;
}

static int on_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *data, size_t n, void *arg)
{
    struct h2 *h = arg;
    (void)flags;
    h2_guard_moved(&h->guard, n);
    struct h2_stream *st = stream_of(s, id);
    if (!st || !st->x) { // nobody waits for it any more
        nghttp2_session_consume(s, id, n);
        return 0;
    }
    if (!h2_stream_data(st, (struct str){ (const char *)data, n })) {
        nghttp2_session_consume(s, id, n);
        nghttp2_submit_rst_stream(s, NGHTTP2_FLAG_NONE, id, NGHTTP2_INTERNAL_ERROR);
        return 0;
    }
    st->body_news = true;
    news(h, st);
    return 0;
}

static int on_stream_close(nghttp2_session *s, int32_t id, uint32_t error, void *arg)
{
    struct h2 *h = arg;
    struct h2_stream *st = stream_of(s, id);
    stop_head_clock(h, id);
    if (!st) return 0;
    if (h->receiving == st) h->receiving = NULL;
    h2_stream_closed(st, error);
    return 0;
}

static int on_invalid_frame(nghttp2_session *s, const nghttp2_frame *frame, int why, void *arg)
{
    struct h2 *h = arg;
    struct h2_stream *st = stream_of(s, frame->hd.stream_id);
    bool head = frame->hd.type == NGHTTP2_HEADERS;
    if (head) h->head_deadline = 0;
    if (st && st->x && st->x->err.code == ERR_NONE)
        err_set(&st->x->err, ERR_HTTP2_PROTOCOL, "%s", nghttp2_strerror(why));
    else if (!st && frame->hd.stream_id && head)
        log_stream(h, frame->hd.stream_id, nghttp2_strerror(why));
    return 0;
}

// --- sending

// RFC 9113 section 8.1: an answer may be complete before the request is; then the client is asked to stop.
static void answer_sent(struct h2 *h, const nghttp2_frame *frame)
{
    struct h2_stream *st = stream_of(h->session, frame->hd.stream_id);
    if (!st || st->end_received) return;
    st->answered_early = h->answered_early = true;
}

// A reset that the client made us send costs it as much as one of its own.
static bool clients_fault(uint32_t code)
{
    return code != NGHTTP2_NO_ERROR && code != NGHTTP2_INTERNAL_ERROR && code != NGHTTP2_CANCEL;
}

static int on_frame_send(nghttp2_session *s, const nghttp2_frame *frame, void *arg)
{
    struct h2 *h = arg;
    (void)s;
    bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    switch (frame->hd.type) {
    case NGHTTP2_DATA:
    case NGHTTP2_HEADERS:
        if (end) answer_sent(h, frame);
        break;
    case NGHTTP2_RST_STREAM:
        if (clients_fault(frame->rst_stream.error_code)) count_reset(h, "the gateway has");
        break;
    case NGHTTP2_GOAWAY:
        h->terminated = h->terminated || frame->goaway.error_code != NGHTTP2_NO_ERROR;
        if (frame->goaway.error_code != NGHTTP2_NO_ERROR)
            h2_refuse(h, ERR_HTTP2_PROTOCOL, "%s", nghttp2_http2_strerror(frame->goaway.error_code));
        break;
    default: break;
    }
    return 0;
}

// The stream's next bytes, as many as there are, as there is room for, and as the windows (`n`) allow.
ssize_t h2_session_read_answer(nghttp2_session *s, int32_t id, uint8_t *buf, size_t n, uint32_t *flags,
                               nghttp2_data_source *source, void *arg)
{
    (void)s;
    (void)id;
    (void)buf;
    struct h2_stream *st = source->ptr;
    struct h2 *h = arg;
    if (st->source.n == 0) {
        if (!st->ended) return NGHTTP2_ERR_DEFERRED;
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        return 0;
    }
    size_t room = buffer_room(&h->conn->out);
    if (room < H2_FRAME_ROOM + 9 + H2_DATA_BYTES) {
        h->crowded = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (n > H2_DATA_BYTES) n = H2_DATA_BYTES;
    if (n > st->source.n) n = st->source.n;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (st->left >= 0 && (int64_t)n == st->left) {
        st->ended = true;
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    }
    return (ssize_t)n;
}

static int send_data(nghttp2_session *s, nghttp2_frame *frame, const uint8_t *head, size_t n,
                     nghttp2_data_source *source, void *arg)
{
    (void)s;
    (void)frame;
    struct h2_stream *st = source->ptr;
    struct h2 *h = arg;
    struct buffer *out = &h->conn->out;
    if (!buffer_append(out, (struct str){ (const char *)head, 9 }) ||
        !buffer_append(out, str_take(st->source, n)))
        return NGHTTP2_ERR_CALLBACK_FAILURE; // room was looked at before
    st->source = str_skip(st->source, n);
    st->taken += n;
    if (st->left >= 0) st->left -= (int64_t)n;
    h2_guard_moved(&h->guard, n);
    return 0;
}

nghttp2_session_callbacks *h2_session_callbacks(void)
{
    nghttp2_session_callbacks *c;
    if (nghttp2_session_callbacks_new(&c) != 0) return NULL;
    nghttp2_session_callbacks_set_on_begin_frame_callback(c, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(c, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(c, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(c, on_invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame_recv);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(c, on_invalid_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(c, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(c, on_frame_send);
    nghttp2_session_callbacks_set_send_data_callback(c, send_data);
    nghttp2_session_callbacks_set_unpack_extension_callback(c, on_unknown);
    return c;
}

nghttp2_option *h2_session_option(void)
{
    nghttp2_option *o;
    if (nghttp2_option_new(&o) != 0) return NULL;
    nghttp2_option_set_no_auto_window_update(o, 1); // as the exchanges consume
    nghttp2_option_set_no_closed_streams(o, 1);     // there is no tree of priorities
    for (unsigned type = NGHTTP2_CONTINUATION + 1; type <= 0xFF; type++)
        nghttp2_option_set_user_recv_extension_type(o, (uint8_t)type);
    // What one turn reads can be no more, and then count_frame has its say.
    nghttp2_option_set_max_outbound_ack(o, CONN_IN_BYTES / 9);
    nghttp2_option_set_max_continuations(o, LIMIT_H2_CONTINUATIONS);
    // Ours is met first (count_reset); this one stands behind it.
    nghttp2_option_set_stream_reset_rate_limit(o, 2 * LIMIT_H2_RESETS_BURST, 2 * LIMIT_H2_RESETS_PER_SECOND);
    return o;
}
