// SPDX-License-Identifier: GPL-3.0-or-later
#include "h2_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct h2_seen *h2_seen(struct h2_client *c, int32_t id)
{
    assert_true(id > 0 && id / 2 < H2_STREAMS);
    return &c->seen[id / 2];
}

// --- the wire

static void connect_tls(struct edge *e, struct h2_client *c)
{
    static SSL_CTX *ctx;
    if (!ctx) ctx = SSL_CTX_new(TLS_client_method());
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons(e->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    memset(c, 0, sizeof *c);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(c->fd, (struct sockaddr *)&a, sizeof a), 0);
    struct timeval t = { .tv_sec = RIG_WAIT_MS / 1000 };
    setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
    tcp_options(c->fd);
    c->ssl = SSL_new(ctx);
    SSL_set_fd(c->ssl, c->fd);
    SSL_set_tlsext_host_name(c->ssl, "app.example.com");
    SSL_set_alpn_protos(c->ssl, (const unsigned char *)"\x02h2", 3);
    if (SSL_connect(c->ssl) != 1) fail_msg("TLS handshake failed");
    const unsigned char *name;
    unsigned n;
    SSL_get0_alpn_selected(c->ssl, &name, &n);
    assert_true(n == 2 && memcmp(name, "h2", 2) == 0);
}

static void send_bytes(struct h2_client *c, const void *p, size_t n)
{
    ERR_clear_error();
    if (n && SSL_write(c->ssl, p, (int)n) <= 0) c->ended = true;
}

// 0: nothing came in time, or the connection has ended.
static size_t read_bytes(struct h2_client *c, uint8_t *p, size_t n, int ms)
{
    struct pollfd f = { c->fd, POLLIN, 0 };
    if (c->ended || (!SSL_pending(c->ssl) && poll(&f, 1, ms) != 1)) return 0;
    ERR_clear_error();
    int got = SSL_read(c->ssl, p, (int)n);
    if (got <= 0) c->ended = true;
    return got > 0 ? (size_t)got : 0;
}

// --- nghttp2 as a client

static void send_pending(struct h2_client *c)
{
    const uint8_t *p;
    ssize_t n;
    while ((n = nghttp2_session_mem_send(c->session, &p)) > 0) send_bytes(c, p, (size_t)n);
}

static int on_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *name, size_t name_n,
                     const uint8_t *value, size_t value_n, uint8_t flags, void *arg)
{
    (void)s;
    (void)flags;
    struct h2_seen *seen = h2_seen(arg, f->hd.stream_id);
    size_t used = strlen(seen->fields);
    if (name_n == 7 && memcmp(name, ":status", 7) == 0) {
        seen->status = atoi((const char *)value);
        if (seen->status < 200) seen->interim++;
    }
    snprintf(seen->fields + used, sizeof seen->fields - used, "%.*s: %.*s\n", (int)name_n, (const char *)name,
             (int)value_n, (const char *)value);
    return 0;
}

static int on_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *arg)
{
    (void)s;
    (void)flags;
    struct h2_seen *seen = h2_seen(arg, id);
    for (size_t i = 0; i < n; i++, seen->bytes++) {
        if (seen->bytes < sizeof seen->body - 1) seen->body[seen->bytes] = (char)p[i];
        seen->sum = seen->sum * 31 + p[i];
    }
    return 0;
}

static int on_frame(nghttp2_session *s, const nghttp2_frame *f, void *arg)
{
    (void)s;
    struct h2_client *c = arg;
    bool end = f->hd.flags & NGHTTP2_FLAG_END_STREAM;
    if (f->hd.type == NGHTTP2_GOAWAY) {
        c->goaways++;
        c->goaway_last = f->goaway.last_stream_id;
        c->goaway_error = f->goaway.error_code;
    }
    if (end && (f->hd.type == NGHTTP2_DATA || f->hd.type == NGHTTP2_HEADERS))
        h2_seen(c, f->hd.stream_id)->end = true;
    if (f->hd.type == NGHTTP2_RST_STREAM) h2_seen(c, f->hd.stream_id)->error = f->rst_stream.error_code;
    return 0;
}

static int on_close(nghttp2_session *s, int32_t id, uint32_t error, void *arg)
{
    (void)s;
    h2_seen(arg, id)->closed = true;
    h2_seen(arg, id)->error = error;
    return 0;
}

void h2_open(struct edge *e, struct h2_client *c, int window)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    connect_tls(e, c);
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_option_new(&option);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_option_set_no_http_messaging(option,
                                         1); // ours to check, and some tests want to send what is wrong
    if (window) nghttp2_option_set_no_auto_window_update(option, 1);
    assert_int_equal(nghttp2_session_client_new2(&c->session, callbacks, c, option), 0);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
    nghttp2_settings_entry settings[] = { { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
                                          { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE,
                                            window ? (uint32_t)window : 1024 * 1024 } };
    nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, 2);
    if (!window) nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, 16 * 1024 * 1024);
    send_pending(c);
}

void h2_close(struct h2_client *c)
{
    nghttp2_session_del(c->session);
    SSL_free(c->ssl);
    close(c->fd);
}

static bool step(struct h2_client *c, int ms)
{
    static uint8_t buf[64 * 1024];
    send_pending(c);
    size_t n = read_bytes(c, buf, sizeof buf, ms);
    if (n == 0) return false;
    if (nghttp2_session_mem_recv(c->session, buf, n) < 0) fail_msg("the client does not understand");
    send_pending(c);
    return true;
}

void h2_exchange(struct h2_client *c, int ms)
{
    while (step(c, ms)) {
    }
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void h2_until(struct h2_client *c, bool (*done)(struct h2_client *c))
{
    int64_t until = now_ms() + RIG_WAIT_MS;
    while (!done(c) && !c->ended && now_ms() < until) step(c, 50);
    if (!done(c)) fail_msg("it did not happen (%s)", c->ended ? "the connection ended" : "time is up");
}

static int32_t awaited;
static bool is_closed(struct h2_client *c)
{
    return h2_seen(c, awaited)->closed;
}

void h2_until_closed(struct h2_client *c, int32_t id)
{
    awaited = id;
    h2_until(c, is_closed);
}

static bool has_status(struct h2_client *c)
{
    return h2_seen(c, awaited)->status >= 200;
}

void h2_until_status(struct h2_client *c, int32_t id)
{
    awaited = id;
    h2_until(c, has_status);
}

static bool has_ended(struct h2_client *c)
{
    return c->ended;
}

void h2_until_ended(struct h2_client *c)
{
    h2_until(c, has_ended);
}

bool h2_until_bytes(struct h2_client *c, int32_t id, size_t n)
{
    for (int i = 0; i < 100 && h2_seen(c, id)->bytes < n && !c->ended; i++) step(c, 50);
    return h2_seen(c, id)->bytes >= n;
}

static ssize_t read_body(nghttp2_session *s, int32_t id, uint8_t *buf, size_t n, uint32_t *flags,
                         nghttp2_data_source *source, void *arg)
{
    (void)s;
    (void)id;
    (void)arg;
    struct h2_client *c = source->ptr;
    size_t left = c->body_n - c->body_at;
    if (n > left) n = left;
    if (n == 0 && c->body_open) return NGHTTP2_ERR_DEFERRED;
    memcpy(buf, c->body + c->body_at, n);
    c->body_at += n;
    if (n == left && !c->body_open) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static int32_t submit(struct h2_client *c, const nghttp2_nv *nv, size_t n, bool body)
{
    nghttp2_data_provider source = { .source.ptr = c, .read_callback = read_body };
    int32_t id = nghttp2_submit_request(c->session, NULL, nv, n, body ? &source : NULL, NULL);
    assert_true(id > 0);
    send_pending(c);
    return id;
}

static nghttp2_nv nv_of(const char *name, size_t name_n, const char *value)
{
    return (nghttp2_nv){ (uint8_t *)name, (uint8_t *)value, name_n, strlen(value),
                         NGHTTP2_NV_FLAG_NO_COPY_NAME };
}

int32_t h2_request(struct h2_client *c, const char *method, const char *path, const char *const *fields,
                   bool body)
{
    nghttp2_nv nv[200] = { nv_of(":method", 7, method), nv_of(":scheme", 7, "https"),
                           nv_of(":authority", 10, "app.example.com"), nv_of(":path", 5, path) };
    size_t n = 4;
    for (; fields && *fields; fields++) {
        const char *colon = strstr(*fields, ": ");
        nv[n++] = nv_of(*fields, (size_t)(colon - *fields), colon + 2);
    }
    return submit(c, nv, n, body);
}

int32_t h2_get(struct h2_client *c, const char *path)
{
    return h2_request(c, "GET", path, NULL, false);
}

static int32_t submit_raw(struct h2_client *c, const char *const *fields, bool body)
{
    nghttp2_nv nv[200];
    size_t n = 0;
    for (; *fields; fields += 2) nv[n++] = nv_of(fields[0], strlen(fields[0]), fields[1]);
    return submit(c, nv, n, body);
}

int32_t h2_request_raw(struct h2_client *c, const char *const *fields)
{
    return submit_raw(c, fields, false);
}

int32_t h2_request_raw_body(struct h2_client *c, const char *const *fields)
{
    return submit_raw(c, fields, true);
}

// --- by hand

void h2_frame(struct h2_client *c, uint8_t type, uint8_t flags, uint32_t id, const void *payload, size_t n)
{
    uint8_t frame[9 + 16384] = {
        (uint8_t)(n >> 16),  (uint8_t)(n >> 8),   (uint8_t)n,         type,       flags,
        (uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id
    };
    assert_true(n <= 16384);
    if (n) memcpy(frame + 9, payload, n);
    send_bytes(c, frame, 9 + n);
}

void h2_open_raw(struct edge *e, struct h2_client *c)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    connect_tls(e, c);
    send_bytes(c, preface, sizeof preface - 1);
    h2_frame(c, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
}

size_t h2_hand_made_head(uint8_t *out)
{
    // RFC 7541: indexed :method GET and :scheme https, literals for :path and :authority.
    static const char head[] = "\x82\x87\x04\x0d/.sallyport/x\x01\x0f"
                               "app.example.com";
    memcpy(out, head, sizeof head - 1);
    return sizeof head - 1;
}

static bool read_exactly(struct h2_client *c, uint8_t *p, size_t n)
{
    for (size_t at = 0; at < n;) {
        size_t got = read_bytes(c, p + at, n - at, RIG_WAIT_MS);
        if (got == 0) return false;
        at += got;
    }
    return true;
}

const uint8_t *h2_await_frame(struct h2_client *c, uint8_t type, size_t *ret_n)
{
    static uint8_t payload[1 << 16];
    uint8_t head[9];
    while (read_exactly(c, head, 9)) {
        size_t n = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
        assert_true(n <= sizeof payload);
        if (!read_exactly(c, payload, n)) return NULL;
        *ret_n = n;
        if (head[3] == type) return payload;
    }
    return NULL;
}
