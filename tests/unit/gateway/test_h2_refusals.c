// SPDX-License-Identifier: GPL-3.0-or-later
// HTTP/2: requests that are wrong get an answer that says so where nghttp2 lets us, a reset where it does
// not, and a log line with the reason in any case; the connection goes on.
#include "h2_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define APP ":method", "GET", ":scheme", "https", ":authority", "app.example.com", ":path", "/"

struct wrong {
    const char *fields[24];
    const char *reason;
    int status; // 0: reset by nghttp2
};

static const struct wrong wrongs[] = {
    // nghttp2 would leave these out and go on
    { { APP, "x y", "1" }, "http.header_name", 400 },
    { { APP, "x:y", "1" }, "http.header_name", 400 },
    { { APP, "", "1" }, "http.header_name", 400 },
    { { APP, "x-a", "1\r\nremote-user: root" }, "http.header_value", 400 },
    { { APP, "x-a", "\x01" }, "http.header_value", 400 },
    { { APP, "x-a", " 1" }, "http.header_value", 400 },
    { { APP, "x-a", "1\t" }, "http.header_value", 400 },
    { { APP, "host", "app.example.com/x" }, "http.host", 400 },
    // nghttp2 would let these pass
    { { APP, "host", "pair.example.com" }, "http.host", 400 },
    { { APP, "expect", "else" }, "http.expect", 417 },
    { { ":method", "GET", ":scheme", "https", ":authority", "u@app.example.com", ":path", "/" },
      "http.host",
      400 },
    { { ":method", "GET", ":scheme", "https", ":authority", "app.example.com", ":path", "/a#b" },
      "http.target",
      400 },
    { { ":method", "GET", ":scheme", "https", ":authority", "app.example.com", ":path", "/\xc3\xa4" },
      "http.target",
      400 },
    { { ":method", "GET", ":scheme", "http", ":authority", "app.example.com", ":path", "/" },
      "http.target",
      400 },
    { { ":method", "GET", ":scheme", "ftp", ":authority", "app.example.com", ":path", "x" },
      "http.target",
      400 },
    { { ":method", "CONNECT", ":authority", "app.example.com:22" }, "http.method", 400 },
    { { ":method", "GET", ":scheme", "https", ":path", "/", "host", "app.example.com" }, "http.host", 400 },
    // the journey's, as with HTTP/1.1
    { { ":method", "GET", ":scheme", "https", ":authority", "app.example.com", ":path", "/a/%2e%2e/b" },
      "http.path",
      400 },
    { { ":method", "TRACE", ":scheme", "https", ":authority", "app.example.com", ":path", "/" },
      "method_not_allowed",
      405 },
    // nghttp2's own
    { { APP, "X-A", "1" }, "http2.protocol", 0 },
    { { APP, "connection", "x-forwarded-user" }, "http2.protocol", 0 },
    { { APP, "transfer-encoding", "chunked" }, "http2.protocol", 0 },
    { { APP, "upgrade", "websocket" }, "http2.protocol", 0 },
    { { APP, "te", "gzip" }, "http2.protocol", 0 },
    { { APP, ":path", "/b" }, "http2.protocol", 0 },
    { { APP, ":status", "200" }, "http2.protocol", 0 },
    { { APP, "content-length", "1", "content-length", "1" }, "http2.protocol", 0 },
    { { APP, "content-length", "-1" }, "http2.protocol", 0 },
    { { APP, "content-length", "5" }, "http2.protocol", 0 },
    { { ":method", "GET", ":scheme", "https", ":authority", "app.example.com" }, "http2.protocol", 0 },
    { { ":method", "GET", ":scheme", "https", ":path", "/" }, "http2.protocol", 0 },
    { { ":scheme", "https", ":authority", "app.example.com", ":path", "/" }, "http2.protocol", 0 },
    { { ":method", "GET", ":scheme", "https", ":authority", "app.example.com", ":path", "*" },
      "http2.protocol",
      0 },
    { { ":method", "G T", ":scheme", "https", ":authority", "app.example.com", ":path", "/" },
      "http2.protocol",
      0 },
    { { ":method", "GET", ":scheme", "https", ":authority", "app.example.com", ":path", "/a b" },
      "http2.protocol",
      0 },
};

static void refuse(struct edge *e, struct h2_client *c, const struct wrong *w, size_t i)
{
    int32_t id = h2_request_raw(c, w->fields);
    h2_until_closed(c, id);
    struct h2_seen *seen = h2_seen(c, id);
    if (seen->status != w->status) fail_msg("%zu (%s): status %d", i, w->reason, seen->status);
    assert_int_equal(seen->error, w->status ? NGHTTP2_NO_ERROR : NGHTTP2_PROTOCOL_ERROR);
    char reason[64];
    snprintf(reason, sizeof reason, "\"reason\":\"%s\"", w->reason);
    edge_expect_log(e, "\"event\":\"access\"", reason);
    if (edge_access_lines(e) != 1) fail_msg("%zu: %d lines", i, edge_access_lines(e));
}

static void test_wrong_requests(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    h2_open(e, &c, 0);
    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        edge_test_begin(state);
        refuse(e, &c, &wrongs[i], i);
        assert_int_equal(backend_accept(e, 0), -1);
    }
    assert_int_equal(c.goaways, 0);
    h2_close(&c);
}

// Whoever asks for a head cannot take a body.
static void test_a_wrong_head_request(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    h2_open(e, &c, 0);
    const char *fields[] = { ":method", "HEAD", ":scheme", "https", ":authority", "a@b", ":path", "/", NULL };
    int32_t id = h2_request_raw(&c, fields);
    h2_until_closed(&c, id);
    assert_int_equal(h2_seen(&c, id)->status, 400);
    assert_int_equal(h2_seen(&c, id)->bytes, 0);
    h2_close(&c);
}

static void too_large(struct edge *e, const char *name, size_t n, size_t length)
{
    struct h2_client c;
    static char value[16 * 1024];
    const char *fields[2 * 160 + 1] = { APP };
    memset(value, 'v', sizeof value - 1);
    value[length] = '\0';
    for (size_t i = 0; i < n; i++) {
        fields[8 + 2 * i] = name;
        fields[9 + 2 * i] = value;
    }
    fields[8 + 2 * n] = NULL;
    h2_open(e, &c, 0);
    int32_t id = h2_request_raw(&c, fields);
    h2_until_closed(&c, id);
    assert_int_equal(h2_seen(&c, id)->status, 431);
    assert_int_equal(h2_seen(&c, id)->error, 0);
    edge_expect_log(e, "\"status\":431", "http.headers_too_large");
    id = h2_get(&c, "/.sallyport/x");
    h2_until_closed(&c, id);
    assert_int_equal(h2_seen(&c, id)->status, 404);
    h2_close(&c);
}

static void test_large_heads(void **state)
{
    too_large(*state, "x-a", 4, 10000);
    edge_test_begin(state);
    too_large(*state, "cookie", 4, 10000);
    edge_test_begin(state);
    too_large(*state, "x-a", LIMIT_HEADERS + 1, 1);
}

// 16 KiB that say 12,000 times what is in the table: they cost neither memory nor an answer.
static void test_a_head_of_many_references(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    static uint8_t head[16000];
    h2_open_raw(e, &c);
    size_t n = h2_hand_made_head(head);
    memset(head + n, 0x80 | 58, sizeof head - n); // user-agent, empty
    h2_frame(&c, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 1, head, sizeof head);
    const uint8_t *error = h2_await_frame(&c, NGHTTP2_RST_STREAM, &n);
    assert_non_null(error);
    assert_int_equal(error[3], NGHTTP2_ENHANCE_YOUR_CALM);
    edge_expect_log(e, "\"event\":\"access\"", "http.headers_too_large");
    h2_close(&c);
}

static void test_trailers_without_end(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    static uint8_t head[16000];
    h2_open_raw(e, &c);
    // a request with a body for the application, then trailers
    size_t n = h2_hand_made_head(head);
    static const char post[] = "\x83\x87\x84\x01\x0f"
                               "app.example.com";
    h2_frame(&c, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, post, sizeof post - 1);
    int b = backend_accept(e, RIG_WAIT_MS);
    backend_await(b, "\r\n\r\n");
    memset(head, 0x80 | 58, sizeof head);
    h2_frame(&c, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 1, head, sizeof head);
    assert_non_null(h2_await_frame(&c, NGHTTP2_RST_STREAM, &n));
    edge_expect_log(e, "\"event\":\"http2.stream\"", "trailers");
    assert_true(backend_is_closed(b));
    h2_close(&c);
    close(b);
}

static void test_too_many_streams(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    uint8_t head[64];
    h2_open_raw(e, &c);
    h2_hand_made_head(head);
    static const char get[] = "\x82\x87\x84\x01\x0f"
                              "app.example.com";
    // More than allowed at once; none is answered, since the backend is silent.
    for (uint32_t i = 0; i < (uint32_t)e->config->max_streams + 1; i++)
        h2_frame(&c, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 2 * i + 1, get,
                 sizeof get - 1);
    size_t n;
    const uint8_t *error = h2_await_frame(&c, NGHTTP2_RST_STREAM, &n);
    assert_non_null(error);
    assert_int_equal(error[3], NGHTTP2_REFUSED_STREAM);
    edge_expect_log(e, "\"event\":\"http2.stream\"", "http2.protocol");
    int backends = 0;
    for (int b; (b = backend_accept(e, 100)) >= 0; backends++) close(b);
    assert_int_equal(backends, (uint32_t)e->config->max_streams);
    h2_close(&c);
}

#define T(f) cmocka_unit_test_setup(f, edge_test_begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_wrong_requests),       T(test_a_wrong_head_request),
        T(test_large_heads),          T(test_a_head_of_many_references),
        T(test_trailers_without_end), T(test_too_many_streams),
    };
    return cmocka_run_group_tests_name("HTTP/2: refusals", tests, edge_setup, edge_teardown);
}
